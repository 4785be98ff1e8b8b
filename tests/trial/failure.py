"""What is raised when a candidate does not conform: everything that a report needs, as data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from assay.implementations.observe import Call
from assay.reference.tensor import Index

if TYPE_CHECKING:
    from assay.tests.trial.weaker import Weaker

# The class of a failure, by the tier that saw it.
CLASSES = {
    "exact": "structure",
    "enclosure": "precision",
    "special": "special value",
    "contract": "contract",
    "gradient": "gradient",
    "statistics": "statistics",
    "state": "state",
}
TIERS = tuple(CLASSES)
DIED = ("crash", "hang")
RAISED = "exception"
MALFORMED = "malformed"  # an answer that no law can judge


@dataclass(repr=False)
class NonConformance(AssertionError):
    """The candidate's answer is not among the permitted ones.

    ``what`` is one sentence; ``subject`` names the tensor that is wrong ("result", or "gradient of x"); the rest is
    there where one element shows it.
    """

    what: str
    calls: Sequence[Call] = ()
    subject: str = "result"
    index: Index | None = None
    got: float | None = None
    permitted: tuple[float, float] | None = None
    exact: float | None = None
    margin: float | None = None
    wrong: int = 0
    judged: int = 0
    weaker: Callable[[], Weaker | None] | None = None
    malformed: bool = False  # no tensor, or of another dtype, device or shape: there is nothing to hold to the law
    kind: str = ""  # what there was instead of an answer: one of DIED, or RAISED
    of_last: bool = False  # the wrong element is of the last call's answer, and not of several answers
    complete: bool = False  # these calls show it in a process that has answered nothing else
    alone: str = ""  # what is to be said where the example by itself does not
    after_others: bool = False  # its last call by itself conforms, in a process that has answered nothing else
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return self.what

    def __repr__(self) -> str:
        """For pytest and Hypothesis, which ask for it at each failure: every number of every call took minutes."""
        return f"{type(self).__name__}({self.what!r})"

    @cached_property
    def hint(self) -> Weaker | None:
        """The weaker declaration under which it would hold, if any: worked out if somebody asks, as few do."""
        return self.weaker() if self.weaker else None


ONCE = "asked again, it conformed: it takes other calls, made earlier, or chance"


def verdict_of(problem: BaseException | None) -> BaseException | None:
    """``problem``; or, where an example failed once and then passed, which Hypothesis calls flaky, that failure.

    A candidate that remembers answers the same call in two ways, and either answer is judged.
    """
    if isinstance(problem, BaseExceptionGroup):
        found = problem.subgroup(NonConformance)
        while isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
        if isinstance(found, NonConformance):
            found.alone, found.after_others = ONCE, True
        return found or problem
    return problem
