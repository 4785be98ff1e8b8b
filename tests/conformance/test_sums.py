"""Sums of 16-bit numbers, which are added up in more than they are stored in: long ones, and those that come back."""

from __future__ import annotations

import numpy as np

from assay.tests.conformance.test_magnitudes import SEED, coming_back, convolution, dense, normal
from assay.tests.conformance.test_ranges import holding
from assay.tests.trial import judge
from assay.tests.trial.cases import Case
from assay.tests.trial.laws import clause
from assay.tests.trial.textures import Texture
from assay.tests.trial.whole import gradients_are_rounded_once, gradients_are_within, sums_once

ROWS, MANY = 1200, 4096
HALVES = ("bfloat16", "float16")


@clause("swish.beta-learned", tier="gradient", dtypes=HALVES)
def test_the_gradient_by_beta_of_many_elements_is_summed_in_more_than_16_bits(candidate):
    """A thousand terms of one sign, all over half a million elements. Blind to terms of both."""
    candidate.begin()
    shapes = {"x": (1024, 512), "beta": (1,)}
    case = Case("swish", shapes, {"x": Texture("positive", SEED), "beta": Texture("ones")})
    incoming = np.zeros((1024, 512))
    incoming[:, 7] = 1.0
    if sums_once(candidate, "swish", "backward"):
        judge.gradient_conforms(candidate, coming_back(candidate, case, incoming), ("beta",), sparse=True)


@clause("linear.gradient", tier="gradient", dtypes=HALVES)
def test_linear_gradients_that_sum_over_samples_and_tokens_are_rounded_once(candidate):
    """Sums that are exact in float32, over a batch of two axes. Blind to where they are added up in 16 bits."""
    candidate.begin()
    if sums_once(candidate, "linear", "backward"):
        shapes = {"x": (8, 300, 16), "w": (8, 16), "b": (8,)}
        textures = {name: Texture("few bits", k) for k, name in enumerate(shapes)}
        case = Case("linear", shapes, textures, {}, 1, 0, Texture("few bits", 9))
        gradients_are_rounded_once(candidate, case)


@clause("linear.gradient", tier="gradient", dtypes=HALVES)
def test_linear_gradients_whose_halves_cancel_are_rounded_once(candidate):
    """Over a thousand rows, of which one half adds up to more than 16 bits may hold. Blind to other orders."""
    candidate.begin()
    if sums_once(candidate, "linear", "backward"):
        shapes = {"x": (ROWS, 8), "w": (8, 8), "b": (8,)}
        textures = {"x": Texture("ones"), "w": Texture("few bits"), "b": Texture("few bits")}
        case = Case("linear", shapes, textures, {}, 1)
        incoming = np.repeat([[256.0], [-256.0]], ROWS // 2, axis=0) + np.zeros(8)
        incoming[7] -= 16.0
        gradients_are_rounded_once(candidate, coming_back(candidate, case, incoming))


@clause("glu.gradient", tier="gradient", dtypes=HALVES)
def test_glu_gradients_by_biases_of_hundreds_of_rows_are_summed_in_more_than_16_bits(candidate):
    """Sums of terms of one sign. Blind to other gradients."""
    biases_learn(candidate, "glu")


@clause("swiglu.gradient", tier="gradient", dtypes=HALVES)
def test_swiglu_gradients_by_biases_of_hundreds_of_rows_are_summed_in_more_than_16_bits(candidate):
    """Sums of terms of one sign. Blind to other gradients."""
    biases_learn(candidate, "swiglu")


def biases_learn(candidate, operator):
    """Judge the gradients of a layer of 8 outputs: of one, of a few large terms and many small ones."""
    candidate.begin()
    shapes = {"x": (ROWS, 2), **dict.fromkeys("wv", (8, 2)), **dict.fromkeys("bc", (8,))}
    case = Case(operator, shapes, {name: Texture("positive", SEED + k) for k, name in enumerate(shapes)}, {}, 2)
    incoming = np.zeros((ROWS, 8))
    incoming[:, 3] = np.random.default_rng(SEED).uniform(0.05, 0.15, ROWS)
    incoming[:40, 3] = 30.0
    if sums_once(candidate, operator, "backward"):
        judge.gradient_conforms(candidate, coming_back(candidate, case, incoming), sparse=True)


@clause("glu.gradient", tier="gradient", dtypes=HALVES)
def test_glu_gradients_whose_halves_cancel_are_summed_in_more_than_16_bits(candidate):
    """Behind gates of zero, over thousands of rows, of which one half adds up to much. Blind to other orders."""
    halves_cancel(candidate, "glu")


@clause("swiglu.gradient", tier="gradient", dtypes=HALVES)
def test_swiglu_gradients_whose_halves_cancel_are_summed_in_more_than_16_bits(candidate):
    """Behind gates of zero, over thousands of rows, of which one half adds up to much. Blind to other orders."""
    halves_cancel(candidate, "swiglu")


def halves_cancel(candidate, operator):
    """Judge the gradients of a layer whose gates are zero, where all parts are exact: the first and the last differ."""
    candidate.begin()
    shapes = {"x": (MANY, 1), **dict.fromkeys("wv", (2, 1)), **dict.fromkeys("bc", (2,))}
    textures = {name: Texture("ones" if name in "xv" else "zeros") for name in shapes}
    incoming = np.repeat([[256.0], [-256.0]], MANY // 2, axis=0) + np.zeros(2)
    incoming[[0, -1]] += [[4.0], [12.0]]
    if sums_once(candidate, operator, "backward"):
        case = coming_back(candidate, Case(operator, shapes, textures, {}, 1), incoming)
        gradients_are_within(candidate, case, candidate.ask_gradient(case))


@clause("conv2d.gradient", tier="gradient", dtypes=HALVES)
def test_the_gradient_by_the_bias_of_an_image_is_summed_in_more_than_16_bits(candidate):
    """Hundreds of terms that nearly cancel. Blind to other gradients."""
    candidate.begin()
    shapes = {"input": (1, 1, 16, 17), "weight": (2, 1, 1, 1), "bias": (2,)}
    case = Case("conv2d", shapes, normal(shapes), {"stride": 1, "padding": 0})
    incoming = np.zeros((1, 2, 16, 17))
    incoming[0, 1] = balanced(16 * 17).reshape(16, 17)
    if sums_once(candidate, "conv2d", "backward"):
        judge.gradient_conforms(candidate, coming_back(candidate, case, incoming), ("bias",), sparse=True)


def balanced(count):
    """So many normal numbers whose sum is nearly nothing."""
    values = np.random.default_rng(SEED).standard_normal(count)
    return values - values.mean()


# --- sums that pass the largest number on the way


def turning(candidate, case, name, sums):
    """The case by weights of 16 and as many of -16, which but for their last add up to nothing, to inputs of 256.

    The last one adds a few steps to the sum, by output.
    """
    outputs, *taps = case.shapes[name]
    weights = np.repeat([16.0, -16.0], np.prod(taps) // 2) + np.zeros((outputs, 1))
    weights[:, -1] += np.arange(outputs) % sums * 2.0**-6
    first = next(iter(case.shapes))
    held = {first: np.full(case.shapes[first], 256.0), name: weights.reshape(case.shapes[name])}
    return holding(candidate, case, **held)


def comes_back(candidate, case, name, sums=8):
    """Judge sums half of whose terms are above the largest number, and the other half below the least."""
    candidate.begin()
    if sums_once(candidate, case.operator, "forward"):
        judge.conforms(candidate, turning(candidate, case, name, sums))


@clause("linear.formula", tier="enclosure", dtypes=("float16",))
def test_sums_of_linear_that_pass_the_largest_number_on_the_way_come_back(candidate):
    """Half of the terms and the other one. Blind to sums that pass it near their end alone."""
    comes_back(candidate, dense("linear", 3, 64, 8), "w")


@clause("glu.formula", tier="enclosure", dtypes=("float16",))
def test_sums_of_glu_that_pass_the_largest_number_on_the_way_come_back(candidate):
    """Of the gate and of the other branch. Blind to sums that pass it near their end alone."""
    branches_come_back(candidate, "glu")


@clause("swiglu.formula", tier="enclosure", dtypes=("float16",))
def test_sums_of_swiglu_that_pass_the_largest_number_on_the_way_come_back(candidate):
    """Of the gate and of the other branch. Blind to sums that pass it near their end alone."""
    branches_come_back(candidate, "swiglu")


def branches_come_back(candidate, operator):
    """Each beside one that is 1 or so."""
    for turned, plain in ("wv", "vw"):
        case = dense(operator, 3, 64, 8)
        one = holding(candidate, case, **{plain: np.full(case.shapes[plain], 2.0**-14)})
        comes_back(candidate, one, turned, 2 if turned == "w" else 8)


@clause("conv2d.formula", tier="enclosure", dtypes=("float16",))
def test_sums_of_conv2d_that_pass_the_largest_number_on_the_way_come_back(candidate):
    """Half of the terms and the other one. Blind to sums that pass it near their end alone."""
    comes_back(candidate, convolution((2, 8, 4, 5), (8, 8, 3, 3), padding=0), "weight")
