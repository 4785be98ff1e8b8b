"""Laws about a difference: between layouts, calls, or modes. What is wrong alike in all of them, others decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np

from assay.implementations.arrays import Values
from assay.implementations.observe import Observation
from assay.tests.trial import judge, near
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.cases import Case
from assay.tests.trial.failure import NonConformance
from assay.tests.trial.suspects import LAYERS
from assay.tests.trial.whole import result_is_within


def right_alike(*judged: Callable[[], object]) -> None:
    """Judge several answers that ought to be alike.

    Raises:
        NonConformance: the first that was raised, if some of the answers conform and some do not.
    """
    assert len(judged) > 1, "one answer is alike to itself"
    failures = []
    for hold in judged:
        try:
            hold()
        except NonConformance as problem:
            failures.append(problem)
    if 0 < len(failures) < len(judged):
        raise failures[0]


def are_right(candidate: Candidate, cases: Sequence[Case], seen: Sequence[Observation], back: bool = False) -> None:
    """Judge answers to several cases that ought to be right alike; or, going ``back``, their gradients.

    Raises:
        NonConformance: as `right_alike`.
    """
    judged = _gradients_are_right if back else _result_is_right
    right_alike(*(partial(judged, candidate, *each) for each in zip(cases, seen, strict=True)))


def _result_is_right(candidate: Candidate, case: Case, seen: Observation) -> None:
    result_is_within(candidate, case, seen, judge.SAMPLED)


def _gradients_are_right(candidate: Candidate, case: Case, seen: Observation) -> None:
    candidate.compared(sum(each.size for each in seen.gradients.values() if each is not None))
    if far := near.far_gradients(candidate, case, seen):
        _gradients_conform(candidate, case, seen, far)


def one_answer(candidate: Candidate, case: Case, first: Observation, *others: Observation) -> None:
    """Hold several answers to one case to each other: those that are another one, bit by bit, are judged beside it.

    Raises:
        NonConformance: as `right_alike`.
    """
    candidate.compared(sum(each.size for each in first.arrays()))
    another = [each for each in others if not each.call.halved and not _same(first.output, each.output)]
    if another:
        right_alike(*(partial(_result_is_right, candidate, case, each) for each in (first, *another)))
    answers = (first, *others)
    far = cache(lambda number: near.far_gradients(candidate, case, answers[number]))

    def gradient_is_right(name: str, number: int) -> None:
        if name in far(number):
            _gradients_conform(candidate, case, answers[number], (name,))

    for name, gradient in first.gradients.items():
        another = [k for k, each in enumerate(others, 1) if not _same(gradient, each.gradients[name])]
        if another:
            right_alike(*(partial(gradient_is_right, name, k) for k in (0, *another)))


def _gradients_conform(candidate: Candidate, case: Case, seen: Observation, names: Sequence[str]) -> None:
    conform = judge.farthest_gradients_conform if case.operator in LAYERS else judge.gradients_conform
    conform(candidate, case, seen, names)


def _same(one: Values | None, other: Values | None) -> bool:
    assert one is not None and other is not None
    return np.array_equal(one, other, equal_nan=True)
