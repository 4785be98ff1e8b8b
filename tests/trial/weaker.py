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
    {"accumulation": "storage"},
    {"accumulation": "storage", "flush": True},
)


def what_would_hold(
    candidate: Candidate, call: Call, direction: str, got: Values, places: Sequence[Index], enclose: Any
) -> str:
    """The first weaker declaration under which every element conforms, with its margin."""
    for weaker in WEAKER:
        precision = Precision.declared(candidate.format, weaker)
        if "operands" in weaker and precision.operands.precision >= candidate.format.precision:
            continue  # TF32 is not fewer bits than a half format has
        try:
            permitted = enclose(precision)
            margin = max(permitted(at).margin(float(got[at])) for at in places)
        except Refusal:
            continue
        if margin <= 1.0:
            key = f"{call.operator}.{direction}.{candidate.dtype}"
            return f"would hold, with a margin of {margin:.3g}, under precision = {{{key!r}: {weaker!r}}}"
    return ""
