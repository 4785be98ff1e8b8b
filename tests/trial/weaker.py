"""What a failing candidate could declare of its precision, so that it would hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from assay.implementations.arrays import Values
from assay.implementations.observe import Call
from assay.reference.arithmetic.formats import TF32
from assay.reference.arithmetic.precision import Precision, Refusal
from assay.reference.tensor import Index
from assay.tests.trial.candidate import Candidate

# Weaker declarations that a failure is tried under, to tell its author what would hold.
WEAKER: tuple[dict[str, object], ...] = (
    {"flush": True},
    {"operands": "tf32"},
    {"operands": "bfloat16"},
    {"accumulation": "storage"},
    {"accumulation": "storage", "flush": True},
)
MEANT = 2.0**-10  # a smaller margin says that a declaration permits nearly anything, and explains nothing


@dataclass(frozen=True)
class Weaker:
    """A declaration, ``changes`` for the operator, direction and dtype ``key``, and the margin that it leaves."""

    key: str
    changes: Mapping[str, object]
    margin: float

    def __str__(self) -> str:
        return f"would hold, with a margin of {self.margin:.3g}, under precision = {{{self.key!r}: {self.changes!r}}}"

    def of(self, candidate: Candidate) -> Candidate:
        """The candidate, had it declared this."""
        precision = {**candidate.implementation.precision, self.key: self.changes}
        return replace(candidate, implementation=replace(candidate.implementation, precision=precision))


def what_would_hold(
    candidate: Candidate, call: Call, direction: str, got: Values, places: Sequence[Index], enclose: Any
) -> Weaker | None:
    """The weaker declaration, with what is declared already, under which every element just conforms; if any."""
    key = f"{call.operator}.{direction}.{candidate.dtype}"
    declared, now = candidate.implementation.precision.get(key, {}), candidate.precision(call.operator, direction)
    found = list[Weaker]()
    for changes in WEAKER:
        weaker = {**declared, **changes}
        precision = Precision.declared(candidate.format, weaker)
        fewer = precision.operands.precision < now.operands.precision
        if "operands" in changes and not (fewer and candidate.format.precision > TF32.precision):
            continue  # TF32 is not fewer bits than a half format has, and no unit rounds one half format to another
        try:
            permitted = enclose(precision)
            margin = max(permitted(at).margin(float(got[at])) for at in places)
        except Refusal:
            continue
        if MEANT <= margin <= 1.0:
            found.append(Weaker(key, weaker, margin))
    return max(found, key=lambda each: each.margin, default=None)
