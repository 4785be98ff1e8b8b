"""The ends of a dtype's range beside each other: what is scaled as a whole loses or overflows there."""

from __future__ import annotations

import numpy as np

from assay.tests.conformance.test_magnitudes import SEED, coming_back, convolution, dense, times
from assay.tests.trial import judge
from assay.tests.trial.laws import clause
from assay.tests.trial.textures import Texture, rounded


def huge(candidate):
    """A number so large that few products and sums of it overflow, nor those of a transform in a wider dtype."""
    return candidate.format.largest * 2.0 ** (-4 if candidate.dtype == "float16" else -40)


def holding(candidate, case, **values):
    """The case whose tensors hold these values, rounded."""
    held = {name: case.textures[name].holding(rounded(each, candidate.format), 1) for name, each in values.items()}
    return case.changed(textures={**case.textures, **held})


def from_one_to_two(shape, seed=SEED):
    return 1.0 + np.random.default_rng(seed).random(shape)


def small_beside_an_outlier(candidate, case):
    """Judge a batch whose first number is huge, and all others near the least normal one, by weights near 1."""
    candidate.begin()
    held = {name: from_one_to_two(shape, k) for k, (name, shape) in enumerate(case.shapes.items())}
    first = next(iter(held.values()))
    first *= candidate.format.least_normal
    first.flat[0] = huge(candidate)
    judge.conforms(candidate, holding(candidate, case, **held))


@clause("linear.formula", tier="enclosure")
def test_rows_of_linear_of_the_smallest_numbers_keep_their_digits_beside_an_outlier(candidate):
    """Which would be lost, were all of them scaled alike. Blind to several outliers."""
    small_beside_an_outlier(candidate, dense("linear", 3, 32, 5))


@clause("glu.formula", tier="enclosure")
def test_rows_of_glu_of_the_smallest_numbers_keep_their_digits_beside_an_outlier(candidate):
    """Which would be lost, were all of them scaled alike. Blind to several outliers."""
    small_beside_an_outlier(candidate, dense("glu", 3, 32, 5))


@clause("conv2d.formula", tier="enclosure")
def test_images_of_the_smallest_numbers_keep_their_digits_beside_an_outlier(candidate):
    """Which would be lost, were all of them scaled alike. Blind to several outliers."""
    small_beside_an_outlier(candidate, convolution((2, 4, 6, 7), (5, 4, 3, 3)))


def large_ones_count(candidate, case):
    """Judge what comes back from huge incoming gradients to tensors that are small."""
    candidate.begin()
    small = times(candidate, case, **dict.fromkeys(case.shapes, 2.0**-6)).changed(incoming=Texture("few", SEED))
    incoming = small.cotangent(candidate.format).values
    scaled = incoming * (huge(candidate) / np.abs(incoming).max())
    judge.gradient_conforms(candidate, coming_back(candidate, small, scaled), sparse=True)


@clause("linear.gradient", tier="gradient")
def test_large_incoming_gradients_of_linear_count(candidate):
    """As a loss that is scaled hands back. Blind to sums that overflow."""
    large_ones_count(candidate, dense("linear", 17, 24, 12))


@clause("glu.gradient", tier="gradient")
def test_large_incoming_gradients_of_glu_count(candidate):
    """As a loss that is scaled hands back. Blind to sums that overflow."""
    large_ones_count(candidate, dense("glu", 17, 24, 12))


@clause("swiglu.gradient", tier="gradient")
def test_large_incoming_gradients_of_swiglu_count(candidate):
    """As a loss that is scaled hands back. Blind to sums that overflow."""
    large_ones_count(candidate, dense("swiglu", 17, 24, 12))


@clause("conv2d.gradient", tier="gradient")
def test_large_incoming_gradients_of_conv2d_count(candidate):
    """As a loss that is scaled hands back. Blind to sums that overflow."""
    large_ones_count(candidate, convolution((1, 4, 9, 10), (5, 4, 3, 3)))


@clause("linear.gradient", tier="gradient", dtypes=("float32", "bfloat16"))
def test_gradients_of_linear_by_rows_whose_sum_overflows_count(candidate):
    """The same small number comes back to all of them, at one address. Blind to sums that overflow themselves."""
    candidate.begin()
    case = dense("linear", 40, 6, 5)
    case = holding(candidate, case, x=from_one_to_two(case.shapes["x"]) * (candidate.format.largest / 16))
    incoming = Texture("ones", 0, (), "expanded").holding(np.full(case.result_shape, 2.0**-8), 1)
    judge.gradient_conforms(candidate, case.changed(incoming=incoming), ("w",))
