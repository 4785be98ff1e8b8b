"""NaN in its places: where it has to be, and nowhere else."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from assay.implementations.arrays import Values
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.failure import NonConformance


def nan_alone_at(
    candidate: Candidate, what: str, got: Values, nans: NDArray[np.bool_], subject: str, of_last: bool = False
) -> None:
    """Hold an array to being NaN in these places, and any number in all others.

    ``of_last`` says that it is the ``subject`` of the last call's answer, as a whole.

    Raises:
        NonConformance: with ``what`` as its sentence.
    """
    candidate.compared(got.size)
    wrong = np.argwhere(np.isnan(got) != nans)
    if len(wrong):
        at = tuple(int(i) for i in wrong[0])
        permitted = (math.nan, math.nan) if nans[at] else (-math.inf, math.inf)
        where = (float(got[at]), permitted, math.nan, math.inf, len(wrong), got.size)
        raise NonConformance(what, list(candidate.calls), subject, at, *where, of_last=of_last)
