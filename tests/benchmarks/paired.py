"""Timing one case: candidate and baseline in A B B A blocks, in one process.

pytest-benchmark times the candidate (`benchmark.pedantic`), so that its options, statistics and files are its own. The
baseline is timed between its rounds, by the same clock and the same lines around it: after the first call of a block
(its teardown) and before the second (its setup).
"""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np

from assay.implementations.contract import Implementation
from assay.reference.arithmetic.precision import Refusal
from assay.tests.benchmarks import clock as clocks
from assay.tests.benchmarks.answers import Answers, Wrong
from assay.tests.benchmarks.blocks import Times
from assay.tests.benchmarks.cases import BACKWARD, Timed
from assay.tests.benchmarks.inputs import Draw, Numbers, Subject, Visit

JUDGED_FIRST = 40  # elements of the first answer
JUDGED_IN_ALL = 128  # elements of the timed answers, at least two each
SPARSE = 3  # elements of an incoming gradient whose gradients are judged in every input
STABLE, WARM, WARM_SECONDS = 0.02, 5, 2.0  # warm when the last 5 blocks are no more than 2 % faster than those before
MOST = 2000  # blocks, whatever the time allowed


class Match:
    """Candidate and baseline in one case. Call `begin`, then `measure`."""

    def __init__(
        self, timed: Timed, candidate: Implementation, baseline: Implementation, device: str, seed: int | None = None
    ) -> None:
        """``seed`` of the inputs; drawn unless it is given, so that no candidate can know them."""
        self.timed, self.clock = timed, clocks.of_device(device)
        self.numbers = Numbers(timed, np.random.default_rng(seed))
        memory: dict[str, Any] = {}
        self.subjects = [Subject(each, self.numbers, device, memory) for each in (candidate, baseline)]
        self.answers = [Answers(subject) for subject in self.subjects]
        self.elements = 2

    def begin(self) -> float:
        """Judge a first answer of both, and warm up. Returns seconds a block, everything that it takes included.

        Raises:
            Wrong: an answer of the candidate is not permitted.
            Refusal: one of the baseline is not, or nobody knows what is.
        """
        for who in (0, 1):
            self._first(who)
        times: list[float] = []
        start = clocks.NOW()
        while True:
            before, spent = clocks.NOW(), self._block()
            times.append(spent)
            now = clocks.NOW()
            recent, earlier = times[-WARM:], times[:-WARM]
            if earlier and (min(recent) > min(earlier) * (1 - STABLE) or now - start > WARM_SECONDS):
                return now - before

    def measure(self, benchmark: Any, rounds: int) -> Times:
        """``rounds`` blocks; ``benchmark`` is pytest-benchmark's fixture, or what has its `pedantic`.

        Raises:
            Wrong: an answer of the candidate is not permitted.
        """
        times, deep = Times(), int(self.numbers.rng.integers(2 * rounds))
        self.elements = max(2, JUDGED_IN_ALL // (2 * rounds))
        made = 0

        def setup() -> tuple[tuple[Visit], dict[str, Any]]:
            nonlocal made
            draw = self.numbers.draw()
            if made % 2:
                times.baseline.append(self.timed_call(1, draw))
            made += 1
            return (self.ready(0, draw),), {}

        def teardown(visit: Visit) -> None:
            self.finish(0, visit, gradients=made - 1 == deep)
            if made % 2:
                times.baseline.append(self.timed_call(1, visit.draw))

        benchmark.pedantic(Visit.make, setup=setup, teardown=teardown, rounds=2 * rounds)
        times.candidate = list(benchmark.stats.stats.data)
        return times

    def _block(self) -> float:
        """Four calls that do not count."""
        draws = self.numbers.draw(), self.numbers.draw()
        order = ((0, draws[0]), (1, draws[0]), (1, draws[1]), (0, draws[1]))
        return statistics.fmean(self.timed_call(who, draw) for who, draw in order)

    def _first(self, who: int) -> None:
        draws: list[Draw] = [self.numbers.draw()]
        draws += [self.numbers.draw(nonzero=SPARSE)] if self.timed.direction == BACKWARD else []
        for draw in draws:
            self.elements = JUDGED_FIRST if draw.kept is None else SPARSE
            visit = self.ready(who, draw)
            visit.make()
            self.clock.settle()
            self.finish(who, visit, gradients=draw.kept is not None, extremes=True)
        self.elements = 2

    def ready(self, who: int, draw: Draw) -> Visit:
        """A call of the candidate (0) or the baseline (1) with these numbers; caches are as they are to be."""
        visit = self.subjects[who].prepare(draw)
        self.answers[who].expect(visit, self.elements)
        self.clock.flush()
        return visit

    def timed_call(self, who: int, draw: Draw) -> float:
        """The seconds of one call, taken as pytest-benchmark takes them."""
        visit = self.ready(who, draw)
        timer = self.clock.stamp
        start = timer()
        visit.make()
        end = timer()
        seconds: float = end - start
        self.finish(who, visit)
        return seconds

    def finish(self, who: int, visit: Visit, gradients: bool = False, extremes: bool = False) -> None:
        """Judge the answer of a call that has been made, and its least and greatest elements if asked.

        Raises:
            Wrong, Refusal: as `begin`.
        """
        try:
            taken = self.answers[who].take(visit, extremes)
            self.answers[who].check(visit, taken, gradients)
        except Wrong as problem:
            if who:
                raise Refusal(f"the baseline cannot be timed: {problem}") from None
            raise
        visit.result = None


def rounds_within(seconds: float, block: float, least: int) -> int:
    """How many blocks of ``block`` seconds fit, but no fewer than ``least``."""
    return max(least, min(MOST, math.floor(seconds / max(block, 1e-6))))
