"""Long sums of 16-bit numbers: gradients of weights and biases, which are added up in more than they are stored in."""

from __future__ import annotations

import numpy as np

from assay.tests.conformance.test_magnitudes import SEED, coming_back, normal
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
