"""Sums of whole numbers: bytes, as of networks that were quantised, and numbers that cancel."""

from __future__ import annotations

import itertools

import numpy as np

from assay.tests.conformance.test_magnitudes import SEED, convolution, dense
from assay.tests.trial import judge
from assay.tests.trial.cases import Case
from assay.tests.trial.laws import clause
from assay.tests.trial.textures import Texture

LARGE, FEW = 2**12, 12  # elements, and those of them that are judged, the ends among them


@clause("linear.formula", tier="exact")
def test_linear_of_rows_and_features_that_cancel_is_exact(candidate):
    """Every other row, or feature, is the last one's opposite. Blind to what cancels otherwise."""
    case = dense("linear", 16, 128, 33)
    textures = {"x": Texture("integers", SEED), "w": Texture("integers", SEED + 1)}
    for axis in (0, 1):
        candidate.begin()
        judge.conforms_exactly(candidate, opposed(candidate, case.changed(textures=textures), "x", axis))


@clause("conv2d.formula", tier="exact")
def test_conv2d_of_samples_and_places_that_cancel_is_exact(candidate):
    """Every other sample, channel or column is the last one's opposite. Blind to what cancels otherwise."""
    case = convolution((2, 16, 12, 12), (16, 16, 3, 3))
    textures = {"input": Texture("integers", SEED), "weight": Texture("integers", SEED + 1)}
    for axis in (0, 1, 3):
        candidate.begin()
        judge.conforms_exactly(candidate, opposed(candidate, case.changed(textures=textures), "input", axis))


def opposed(candidate, case, name, axis):
    """The case with a tensor of which every other part along the axis is the opposite of the last."""
    values = case.textures[name].fill(case.shapes[name], candidate.format, case.terms).values
    values = np.repeat(values.take(range(0, values.shape[axis], 2), axis), 2, axis)
    signs = np.where(np.arange(values.shape[axis]) % 2, -1.0, 1.0)
    held = values * signs.reshape([-1 if k == axis else 1 for k in range(values.ndim)])
    return case.with_textures(**{name: case.textures[name].holding(held, case.terms)})


@clause("linear.formula", tier="exact", dtypes=("float64", "float32"))
def test_linear_of_bytes_is_exact(candidate):
    """As in networks that were quantised: 0 to 255 times -127 to 127. Blind to bias and rescaling."""
    candidate.begin()
    case = dense("linear", 20, 256, 33)
    judge.conforms_exactly(candidate, case.changed(textures={"x": Texture("bytes"), "w": Texture("signed bytes", 1)}))


@clause("swish.formula", tier="enclosure")
def test_swish_of_bytes_less_some_number_stays_within_its_enclosure(candidate):
    """0 to 256 less 0, 127 or 128, as of pictures; the ends and some between. Blind to what does not begin there."""
    for less, beta in itertools.product((0, 127, 128), (None, 1.5)):
        candidate.begin()
        numbers = np.resize(np.arange(256.0, -1.0, -1.0), LARGE)
        numbers[-1] = 0.0
        case = Case("swish", {"x": (LARGE,)}, {"x": Texture("integers").holding(numbers - less, 1)}, {"beta": beta})
        judge.conforms(candidate, case, FEW)


@clause("conv2d.formula", tier="exact", dtypes=("float64", "float32"))
def test_conv2d_of_bytes_is_exact(candidate):
    """As in networks that were quantised: 0 to 255 times -127 to 127. Blind to bias and rescaling."""
    candidate.begin()
    case, textures = convolution((2, 32, 9, 8), (16, 32, 3, 3)), (Texture("bytes"), Texture("signed bytes", 1))
    judge.conforms_exactly(candidate, case.changed(textures=dict(zip(case.shapes, textures, strict=True))))
