"""What a failure takes: its last call alone, its example, or calls of earlier examples.

A law that fails has been running for a while, and a candidate may remember. So the example is put once more to a
process of the candidate that has answered nothing. Where it conforms there, calls from before are put first, as few as
will do; where it does not, the calls are left out that it fails without. So a report shows what somebody else will see.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.implementations.isolated import Asked, GivenUp, Worker
from assay.implementations.load import LoadError
from assay.implementations.observe import Call, Observation
from assay.implementations.running import WAYS_BACK
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.failure import CLASSES, DIED, MALFORMED, NonConformance

# Seconds that one failure may cost, and all failures: a process takes some where a library has started threads.
SECONDS, ALL = 8.0, 30.0
SHOWN = 4  # calls: the last one, and those before it
COUNTS = (1, 2, 3, 4, 8, 16, 32, 64, 128, 256)  # of calls that may show it, the last one among them

BY_OTHERS = "in a fresh process it conforms: it takes the calls before"
BY_ITSELF = "one call shows it in a fresh process: it is not a fault of memory, batches or modes"
UNTRACED = "in a fresh process it conforms: it takes other calls, made earlier, or chance"


@dataclass(frozen=True)
class Example:
    """A law's body and what it was given, how it failed, and what its process had been asked by then."""

    run: Callable[[Candidate], Exception | None]
    problem: NonConformance
    asked: Sequence[Asked]


def trace_back(problem: NonConformance, candidate: Candidate) -> None:
    """Have the failure hold the calls that show it in a fresh process, or say that the example does not."""
    worker, example = candidate.implementation.worker, candidate.example
    if worker is None or example is None or example.problem is not problem or problem.kind in DIED:
        return
    start = time.monotonic()
    left = min(SECONDS, ALL - worker.traced)
    if left <= 0:
        return
    try:
        _trace_back(problem, Fresh(worker, candidate, example, start + left))
        if problem.alone:  # the next law is not to find what this search has left
            worker.renew()
    except (LoadError, GivenUp) as trouble:  # no verdict is lost for want of a process
        problem.notes.append(f"not traced back: {trouble}")
    worker.traced += time.monotonic() - start


def _trace_back(problem: NonConformance, fresh: Fresh) -> None:
    found, before, alone = fresh.outcome([]), list[Asked](), ""
    if found is None:
        before = fresh.as_few_as_will_do(fresh.example.asked)
        found, alone = fresh.failure, BY_OTHERS if before else UNTRACED
    if found is None:
        problem.alone, problem.after_others = alone, True
    if not isinstance(found, NonConformance):
        return
    vars(problem).update(vars(found) | {"alone": alone, "after_others": bool(alone), "notes": problem.notes})
    last = [number for number, (call, _) in enumerate(fresh.asked) if found.of_last and call is found.calls[-1]]
    # What a process was asked in large calls is not kept.
    asked = fresh.asked[: last[0] + 1] if last else [*before, *as_asked(found.calls, fresh.worker)]
    if found.of_last:
        asked = fresh.shortest(asked, problem)
    problem.calls, problem.complete = [call for call, _ in asked], True


def as_asked(calls: Sequence[Call], worker: Worker) -> list[Asked]:
    """The calls of an example as its process was asked them."""
    asked: list[Asked] = []
    for turned, group in itertools.groupby(calls, lambda call: call.in_turn):
        alike = list(group)
        asked += worker.in_turn(alike) if turned else [(call, "") for call in alike]
    return asked


class Fresh:
    """Processes of the candidate that have answered nothing, one after the other."""

    def __init__(self, worker: Worker, candidate: Candidate, example: Example, until: float) -> None:
        self.worker, self.candidate, self.example, self.until = worker, candidate, example, until
        self.failure: NonConformance | None = None  # the last one
        self.asked: list[Asked] = []  # all that it took

    def outcome(self, before: Sequence[Asked]) -> Exception | None:
        """What the law raises of the example in a process that was asked this ``before``, if anything."""
        self.worker.renew()
        self.worker.ask_again(before)
        found = self.example.run(self.candidate.aside())
        if isinstance(found, NonConformance):
            self.failure, self.asked = found, list(self.worker.asked)
        return found

    def as_few_as_will_do(self, past: Sequence[Asked]) -> list[Asked]:
        """The calls of the past after which the example fails, or none where it never does.

        Its own last call on other numbers is tried first: who reads it sees at once what stays of a call.
        """
        last = self.example.problem.calls[-1:]
        if last and self._fails(other := [(last[0].on_other_numbers(), "")]):
            return other
        kept = next((past[-count:] for count in (1, 8, 64, 512, 4096) if self._fails(past[-count:])), [])
        while len(kept) > 1:
            size = -(-len(kept) // 8)
            parts = (kept[k : k + size] for k in range(0, len(kept), size))
            if (one := next(filter(self._fails, parts), None)) is None:
                return self._without_blocks(list(kept))
            kept = one
        return list(kept)

    def _without_blocks(self, kept: list[Asked]) -> list[Asked]:
        block = len(kept)
        while block > 1:
            block, start = (block + 1) // 2, 0
            while start < len(kept):
                fewer = [*kept[:start], *kept[start + block :]]
                if self._fails(fewer):
                    kept = fewer
                else:
                    start += block
        return kept

    def _fails(self, before: Sequence[Asked]) -> bool:
        return time.monotonic() < self.until and isinstance(self.outcome(before), NonConformance)

    def shortest(self, asked: list[Asked], problem: NonConformance) -> list[Asked]:
        """The last of these calls, or a few, if they give the wrong element of the problem; or all of them.

        One before it on other numbers is tried as soon as the last one by itself has conformed.
        """
        *_, (last, memory) = asked
        few = [asked[-count:] for count in COUNTS if count < len(asked)]
        few[1:1] = [] if memory or len(asked) == 1 else [[(last.on_other_numbers(), ""), (last, "")]]
        for tried in few:
            if time.monotonic() > self.until:
                break
            self.worker.renew()
            if _is_wrong(self.worker.ask_again(tried)[-1], problem):
                return tried
            problem.after_others = True
        return asked


def _is_wrong(seen: Observation, problem: NonConformance) -> bool:
    values: Any = {"result": seen.output} | {f"gradient of {name}": each for name, each in seen.gradients.items()}
    found = values.get(problem.subject)
    if found is None or problem.index is None or problem.permitted is None or problem.got is None:
        return False
    got, (low, high) = float(found[problem.index]), problem.permitted
    return bool(np.array_equal(got, problem.got, equal_nan=True) or got < low or got > high)


def is_of_one_call(problem: NonConformance) -> bool:
    """Whether one plain call is known to show the failure: not interrupted, beside no other, not in inference."""
    if not (problem.complete and problem.of_last and len(problem.calls) == 1):
        return False
    (call,) = problem.calls
    ways = any(getattr(call, way) for way in WAYS_BACK)
    return not (ways or call.beside or call.met or call.setting or call.recording is not None)


def class_of(problem: NonConformance, tier: str) -> str:
    """The class of a failure: that of its tier, unless it is known to be of another, or there was no answer."""
    if problem.after_others:
        tier = "state"
    elif tier == "state" and is_of_one_call(problem):
        tier = "gradient" if problem.subject.startswith("gradient") else "enclosure"
    return problem.kind or (MALFORMED if problem.malformed else CLASSES[tier])
