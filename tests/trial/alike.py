"""Laws about a difference: between layouts, calls, or modes. What is wrong alike in all of them, others decide."""

from __future__ import annotations

from collections.abc import Callable

from assay.tests.trial.failure import NonConformance


def right_alike(*judged: Callable[[], object]) -> None:
    """Judge several answers that ought to be alike.

    Raises:
        NonConformance: the first that was raised, if some of the answers conform and some do not.
    """
    failures = []
    for judge in judged:
        try:
            judge()
        except NonConformance as problem:
            failures.append(problem)
    if 0 < len(failures) < len(judged):
        raise failures[0]
