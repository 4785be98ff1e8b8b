"""Convolutions by a declared FFT, or by Winograd's algorithm: whole results and gradients, held to numpy's.

The bound of such an algorithm is one number for a whole array, so that all elements can be held to it at once. What is
convolved are integers, of which a direct sum would be exact: nothing else is permitted besides the bound.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from assay.implementations.arrays import Values
from assay.implementations.observe import Observation
from assay.reference.arithmetic.enclosure import Enclosure
from assay.reference.arithmetic.formats import FLOAT32
from assay.tests.trial import judge
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.permitted import going_back_by_fft, tensor_of
from assay.tests.trial.plain import GRADIENTS, convolved, values_of
from assay.tests.trial.textures import rounded

BOUNDED = {"forward": ("fft", "winograd"), "backward": ("fft",)}
ROOM = 2.0  # beside a bound: what is as large as the rounding of a sum to the format it is added up in


def is_bounded(candidate: Candidate, direction: str) -> bool:
    """Whether an algorithm is declared that has a bound, whose operands and sums would leave a direct one exact."""
    precision = candidate.precision("conv2d", direction)
    exact = replace(precision, algorithm="direct").exact_on_integers
    return exact and precision.algorithm in BOUNDED[direction] and precision.accumulation.precision >= FLOAT32.precision


def result_is_within(candidate: Candidate, seen: Observation) -> None:
    """Hold a result to numpy's, a bias being added before the sum is stored, or after it.

    Raises:
        NonConformance: as `judge.same_arrays`.
    """
    x, w, bias, *parameters = values_of(seen)
    enclosure, fmt = Enclosure(candidate.precision("conv2d")), candidate.format
    apart = ROOM * enclosure.apart(*(tensor_of(values, enclosure, "") for values in (x, w)))
    bare = convolved(x, w, None, *parameters)
    added = np.zeros(()) if bias is None else bias[:, None, None]
    sizes = np.abs(bare) + np.abs(added)
    apart = apart and apart + ROOM * enclosure.precision.accumulation.unit * sizes
    ends = [rounded(bare + added + sign * apart, fmt) for sign in (-1.0, 1.0)]
    if bias is not None:
        ends += [rounded(rounded(bare + sign * apart, fmt) + added + sign * apart, fmt) for sign in (-1.0, 1.0)]
    _hold(candidate, "result", seen.output, bare + added, sizes + apart, ends)


def gradients_are_within(candidate: Candidate, seen: Observation, names: Iterable[str]) -> None:
    """Hold these gradients to numpy's.

    Raises:
        NonConformance: as `judge.same_arrays`.
    """
    assert seen.call.cotangent is not None
    image, kernel, *_ = values = values_of(seen)
    incoming, stride = seen.call.cotangent.values, seen.call.arguments.get("stride") or 1
    exact = GRADIENTS["conv2d"](incoming, *values)
    precision = candidate.precision("conv2d", "backward")
    for name in names:
        apart = ROOM * going_back_by_fft(name, precision, image, kernel, incoming, stride)
        ends = [rounded(exact[name] + sign * apart, candidate.format) for sign in (-1.0, 1.0)]
        _hold(candidate, f"gradient of {name}", seen.gradients[name], exact[name], np.abs(exact[name]) + apart, ends)


def _hold(
    candidate: Candidate, subject: str, got: Values | None, exact: Values, sizes: Values, ends: list[Values]
) -> None:
    """Between the ends, unless something may overflow: ``sizes`` are what numbers on the way are no larger than."""
    assert got is not None
    if not np.all(sizes < candidate.format.largest):
        candidate.tally.undetermined += got.size
        return
    expected = rounded(exact, candidate.format)
    near = (np.minimum.reduce(ends) <= got) & (got <= np.maximum.reduce(ends))
    what = f"the {subject} is farther off than the declared algorithm may be"
    judge.same_arrays(candidate, what, np.where(near, expected, got), expected, subject, of_last=True)
