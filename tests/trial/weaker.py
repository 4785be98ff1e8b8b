"""What a failing candidate could declare of its precision, so that it would hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assay.implementations.arrays import Values
from assay.implementations.observe import Call
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


def what_would_hold(
    candidate: Candidate, call: Call, direction: str, got: Values, places: Sequence[Index], enclose: Any
) -> str:
    """The weaker declaration, with what is declared already, under which every element just conforms; its margin."""
    key = f"{call.operator}.{direction}.{candidate.dtype}"
    declared, strict = candidate.implementation.precision.get(key, {}), candidate.precision(call.operator, direction)
    found = dict[float, str]()
    for changes in WEAKER:
        weaker = {**declared, **changes}
        precision = Precision.declared(candidate.format, weaker)
        if "operands" in changes and precision.operands.precision >= strict.operands.precision:
            continue  # TF32 is not fewer bits than a half format has
        try:
            permitted = enclose(precision)
            margin = max(permitted(at).margin(float(got[at])) for at in places)
        except Refusal:
            continue
        if MEANT <= margin <= 1.0:
            found.setdefault(
                margin, f"would hold, with a margin of {margin:.3g}, under precision = {{{key!r}: {weaker!r}}}"
            )
    return found[max(found)] if found else ""
