"""The hunt: which laws see a planted bug, after how many examples and how many seconds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import hypothesis

from assay.implementations.surroundings import on_own_kernels
from assay.tests.mutants.mutant import Mutant
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.costs import cost
from assay.tests.trial.failure import NonConformance, verdict_of
from assay.tests.trial.laws import Law, at_budget

# A law on one operator: the second is what a law of several is given, or nothing.
Trial = tuple[Law, str | None]

FIRST = ("test_state_the_first_call", "test_state_calls_in_other_dtypes")  # in a judged run they have a new process


@dataclass(frozen=True)
class Finding:
    """What one law said of one mutant. ``problem`` is what it raised besides a verdict; that kills nothing.

    ``malformed``: it saw an answer that it could not judge, which says nothing of its clause.
    """

    law: str
    clause: str
    tier: str
    operator: str
    caught: bool
    examples: int
    seconds: float
    problem: str = ""
    malformed: bool = False


@contextmanager
def searching(budget: str, laws: Iterable[Law], share: int = 1) -> Iterator[None]:
    """Run laws by a share of a budget's examples without shrinking, which would only tell a failure more briefly.

    Without oneDNN, whose own bugs the gate sees in whatever calls it: a mutant is to die of the bug that was planted.
    """
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    profile = hypothesis.settings.get_profile(f"assay-{budget}")
    settings = hypothesis.settings(profile, phases=phases, max_examples=profile.max_examples // share)
    with at_budget(settings, laws), on_own_kernels():
        yield


def trials(mutant: Mutant, laws: Iterable[Law]) -> list[Trial]:
    """The laws that could see the mutant: of an operator that it replaces, or that need one, in its dtype."""
    replaced = set(mutant.made()) or set(mutant.implementation().operators)
    found: list[Trial] = []
    for law in laws:
        for operator in law.operators or (None,):
            judged = {law.judged(operator), *law.needs}
            if mutant.dtype in law.dtypes and judged & replaced:
                found.append((law, operator))
    return found


def soonest_first(given: Iterable[Trial]) -> list[Trial]:
    """The trials that cost least first.

    Before them what asks about the first call: in a judged run it has a new process, here an object of its own.
    """
    return sorted(given, key=lambda trial: (not trial[0].name.startswith(FIRST), cost(trial[0])))


def hunt(mutant: Mutant, given: Sequence[Trial], budget: str, whole: bool = False) -> list[Finding]:
    """Run the trials on one object of the mutant, in order: to the first kill, or all of them.

    What has a new process in a judged run has an object of its own here.
    """
    return list(findings(mutant, given, budget, whole))


def findings(mutant: Mutant, given: Sequence[Trial], budget: str, whole: bool = False) -> Iterator[Finding]:
    """As `hunt`, one after the other."""
    implementation = mutant.implementation()
    with searching(budget, dict.fromkeys(law for law, _ in given)):
        for law, operator in given:
            asked = mutant.implementation() if law.name.startswith(FIRST) else implementation
            found = _tried(law, operator, Candidate(asked, mutant.dtype))
            yield found
            if found.caught and not whole:
                return


def _tried(law: Law, operator: str | None, candidate: Candidate) -> Finding:
    caught, problem, malformed, start = False, "", False, time.perf_counter()
    try:
        law.function(candidate=candidate, **({"operator": operator} if operator else {}))
    except Exception as other:
        verdict = verdict_of(other)
        caught = isinstance(verdict, NonConformance)
        malformed = isinstance(verdict, NonConformance) and verdict.malformed
        if verdict is not other or not caught:
            problem = f"{type(other).__name__}: {str(other).partition(chr(10))[0]}"
    else:
        problem = "" if candidate.tally.compared or candidate.tally.left_out else "the law compared nothing"
    seconds = time.perf_counter() - start
    tried = candidate.tally.examples - caught  # Hypothesis runs a failing example once more
    judged = law.judged(operator)
    return Finding(law.name, law.clause, law.tier, judged, caught, max(1, tried), round(seconds, 4), problem, malformed)
