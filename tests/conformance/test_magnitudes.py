"""Numbers of very different size beside each other, or all of one kind: what shares digits, and what cuts corners."""

from __future__ import annotations

import itertools
import math

import numpy as np

from assay.tests.trial import judge
from assay.tests.trial.cases import Case
from assay.tests.trial.laws import clause
from assay.tests.trial.plain import convolved, pooled, values_of
from assay.tests.trial.textures import Texture, rounded
from assay.tests.trial.whole import are_rounded_once, of_whole_numbers, sums_once

FEW = 12  # elements of a result that are judged, beside the suspected
SEED = 20
OUTLIER = 3e4
KEPT_SUBNORMAL = ("float64", "float32", "float16")  # a processor's product of bfloat16 takes them for 0: findings, 2
GATED = {"glu": "wv", "swiglu": "wv"}


def dense(operator, rows, features, outputs):
    """A layer of normal numbers."""
    shapes = {"x": (rows, features), **dict.fromkeys(GATED.get(operator, "w"), (outputs, features))}
    return Case(operator, shapes, normal(shapes), {}, features)


def convolution(image, kernels, **parameters):
    """A layer of normal numbers."""
    shapes = {"input": image, "weight": kernels}
    return Case("conv2d", shapes, normal(shapes), {"stride": 1, "padding": 1, **parameters}, math.prod(kernels[1:]))


def normal(shapes):
    return {name: Texture("normal", SEED + k) for k, name in enumerate(shapes)}


def times(candidate, case, **factors):
    """The case whose tensors are these factors, of one element or of as many as they have, times what they were."""
    textures = dict(case.textures)
    for name, factor in factors.items():
        held = textures[name].fill(case.shapes[name], candidate.format, case.terms).values
        textures[name] = textures[name].holding(rounded(held * factor, candidate.format), case.terms)
    return case.changed(textures=textures)


def steps(candidate, count):
    """1, 1/8, 1/64, ... eight of them in any order; halves in float16, whose range is small."""
    return (0.5 if candidate.dtype == "float16" else 0.125) ** np.random.default_rng(count).integers(0, 8, count)


@clause("linear.formula", tier="enclosure")
def test_linear_of_rows_of_different_size_stays_within_its_enclosure(candidate):
    """And of outputs. Blind to one scale a row."""
    for case in (dense("linear", 64, 256, 48), dense("linear", 512, 512, 512)):
        candidate.begin()
        rows, outputs = (steps(candidate, case.shapes[name][0])[:, None] for name in "xw")
        judge.conforms(candidate, times(candidate, case, x=rows, w=outputs), FEW)


@clause("linear.gradient", tier="gradient", dtypes=("float64", "float32", "bfloat16"))
def test_linear_gradients_of_outputs_of_different_size_are_rounded_once(candidate):
    """What comes back to three of four is small beside the rest. Blind to float16, whose sizes are few."""
    candidate.begin()
    case = dense("linear", 40, 48, 72)
    sizes = np.where(np.arange(72) % 4, 2.0**-30, 1.0)
    back = sizes * np.random.default_rng(SEED).integers(1, 5, (40, 72))
    whole = of_whole_numbers(case.changed(incoming=case.incoming.holding(back, 1)))
    if sums_once(candidate, "linear", "backward"):
        are_rounded_once(candidate, candidate.ask_gradient(whole), ("w",))


@clause("conv2d.formula", tier="enclosure")
def test_conv2d_of_images_and_kernels_of_different_size_stays_within_its_enclosure(candidate):
    """Samples, and output channels. Blind to one scale a channel of the image."""
    candidate.begin()
    case = convolution((8, 32, 12, 12), (40, 32, 3, 3))
    samples, kernels = (steps(candidate, case.shapes[name][0])[:, None, None, None] for name in ("input", "weight"))
    judge.conforms(candidate, times(candidate, case, input=samples, weight=kernels), FEW)


@clause("linear.formula", tier="enclosure")
def test_an_outlier_takes_no_digits_from_outputs_that_it_does_not_meet(candidate):
    """A feature that is huge in one row, and of no weight for half of the outputs. Blind to several."""
    candidate.begin()
    case = dense("linear", 64, 256, 64)
    x, w = np.full(case.shapes["x"], 0.01), np.ones(case.shapes["w"])
    x[5, 0], w[::2, 0] = outlier(candidate), 0.0
    judge.conforms(candidate, times(candidate, case, x=x, w=w), FEW)


@clause("conv2d.formula", tier="enclosure")
def test_an_outlier_takes_no_digits_from_places_and_channels_that_it_does_not_meet(candidate):
    """An element that is huge, and of no weight for half of the kernels. Blind to several."""
    candidate.begin()
    case = convolution((1, 32, 14, 14), (32, 32, 3, 3))
    image, kernels = np.full(case.shapes["input"], 0.01), np.ones(case.shapes["weight"])
    image[0, 0, 6, 7], kernels[::2, 0] = outlier(candidate), 0.0
    judge.conforms(candidate, times(candidate, case, input=image, weight=kernels), FEW)


def outlier(candidate):
    return min(OUTLIER, candidate.format.largest / 8)


@clause("linear.formula", tier="enclosure")
def test_features_that_are_small_in_every_row_count_beside_dead_ones(candidate):
    """Half of the features are zero, a quarter nearly, with weights to match. Blind to smaller ones."""
    candidate.begin()
    case = dense("linear", 20, 256, 33)
    x, w = np.ones(case.shapes["x"]), np.ones(case.shapes["w"])
    x[:, ::2], x[:, 1::4], w[:, 1::4] = 0.0, 2.0 * candidate.format.least_normal, 1000.0
    judge.conforms(candidate, times(candidate, case, x=x, w=w), FEW)


@clause("conv2d.formula", tier="exact")
def test_conv2d_of_an_empty_image_with_one_element_is_the_kernel_around_it(candidate):
    """Among four thousand, in one sample of two. Blind to several."""
    for place in (71 * 64 + 1, 64 * 63 + 37, 4 * 4096 - 66):
        candidate.begin()
        case = convolution((2, 4, 64, 64), (8, 4, 3, 3))
        textures = {"input": Texture("zeros", 0, ((place, 1.0),)), "weight": Texture("digits", 1)}
        seen = candidate.ask(case.changed(textures=textures))
        judge.same_results(candidate, "it is not the kernel", seen.output, convolved(*values_of(seen)))


@clause("conv2d.formula", tier="enclosure")
def test_conv2d_by_kernels_of_one_number_stays_within_its_enclosure(candidate):
    """A box that blurs, at every place of a large image. Blind to other separable kernels."""
    candidate.begin()
    case = convolution((1, 1, 200, 260), (1, 1, 5, 5), padding=2)
    textures = {"input": Texture("positive", SEED), "weight": Texture("ones")}
    judge.conforms(candidate, case.changed(textures=textures), FEW)


@clause("conv2d.formula", tier="enclosure")
def test_conv2d_by_nearly_separable_kernels_stays_within_its_enclosure(candidate):
    """A column times a row, and a ten-thousandth off. Blind to how near is near."""
    candidate.begin()
    case = convolution((1, 2, 16, 18), (3, 2, 5, 5), padding=2)
    rng = np.random.default_rng(SEED)
    kernels = np.einsum("ocx,ocy->ocxy", *rng.uniform(0.5, 1.5, (2, 3, 2, 5)))
    kernels = rounded(kernels + 1e-4 * rng.standard_normal(kernels.shape), candidate.format)
    held = case.textures["weight"].holding(kernels, case.terms)
    judge.conforms(candidate, case.with_textures(weight=held), FEW)


@clause("max_pool2d.padding", tier="exact")
def test_max_pool2d_pads_planes_below_zero_beside_others_above(candidate):
    """As what a ReLU left beside what it did not see. Blind to planes of both signs."""
    candidate.begin()
    shapes, parameters = {"input": (2, 8, 12, 13)}, {"kernel_size": 3, "stride": 2, "padding": 1}
    case = Case("max_pool2d", shapes, {"input": Texture("positive", SEED)}, parameters)
    signs = np.where(np.arange(8) < 5, 1.0, -1.0)[:, None, None]
    seen = candidate.ask(times(candidate, case, input=signs))
    judge.same_arrays(candidate, "it is not the largest of a window", seen.output, pooled(*values_of(seen)))


@clause("swish.formula", tier="enclosure")
def test_swish_of_small_numbers_alone_stays_within_its_enclosure(candidate):
    """A thousand below a quarter. Blind to numbers that are smaller still."""
    for scale in (0.06, 0.01, 0.001):
        candidate.begin()
        case = Case("swish", {"x": (33, 32)}, {"x": Texture("normal", SEED)})
        judge.conforms(candidate, times(candidate, case, x=scale))


@clause("swish.formula", tier="enclosure")
def test_swish_reads_every_digit_of_beta(candidate):
    """That is given as a number, and is then another by a digit. Blind to digits beyond the dtype's."""
    for beta in (1.2345678901234567, -0.98765432109876543, 3.1415926535897931):
        for digit in (0.0, 2.0**-8, 2.0**-14, 2.0**-20, 2.0**-36):
            candidate.begin()
            parameters = {"beta": beta * (1.0 + digit)}
            judge.conforms(candidate, Case("swish", {"x": (33, 32)}, {"x": Texture("normal", SEED)}, parameters))


@clause("swish.formula", tier="enclosure")
def test_swish_of_a_ramp_stays_within_its_enclosure(candidate):
    """Of equal steps from -32 to 32, as few as the dtype has. Blind to ramps that are longer."""
    candidate.begin()
    size = 2 ** min(candidate.format.precision + 1, 12)
    ramp = (np.arange(size) - size // 2) * (64.0 / size)
    judge.conforms(candidate, Case("swish", {"x": (size,)}, {"x": Texture("normal").holding(ramp, 1)}))


@clause("swish.formula", tier="enclosure")
def test_swish_of_large_numbers_reads_betas_near_zero(candidate):
    """One after the other, and zero before them. Blind to other numbers that are near to each other."""
    for beta in (0.0, 2.0**-11, 2.0**-14, -(2.0**-14)):
        candidate.begin()
        case = Case("swish", {"x": (65, 64)}, {"x": Texture("large", SEED)}, {"beta": beta})
        judge.conforms(candidate, case, FEW)


@clause("swish.gradient", tier="gradient")
def test_gradients_of_a_large_swish_of_small_numbers_stay_within_their_enclosures(candidate):
    """Near the least normal number. Blind to smaller ones."""
    candidate.begin()
    case = Case("swish", {"x": (256, 260)}, {"x": Texture("normal", SEED)}, incoming=Texture("few", SEED))
    judge.gradient_conforms(candidate, times(candidate, case, x=candidate.format.least_normal / 4), ("x",))


@clause("glu.special", tier="special")
def test_a_nan_beside_a_shut_gate_of_glu_is_a_nan(candidate):
    """Zero times NaN is NaN. Blind to gates that are nearly shut."""
    a_nan_comes_through(candidate, "glu")


@clause("swiglu.special", tier="special")
def test_a_nan_beside_a_shut_gate_of_swiglu_is_a_nan(candidate):
    """Zero times NaN is NaN. Blind to gates that are nearly shut."""
    a_nan_comes_through(candidate, "swiglu")


def a_nan_comes_through(candidate, operator):
    """Rows that shut all gates, whose other branch is NaN in some outputs."""
    rows, features, outputs = 3, 2, 40
    x, w, v = np.ones((rows, features)), np.full((outputs, features), -1e4), np.ones((outputs, features))
    v[::3] = math.nan
    candidate.begin()
    got = candidate.values(operator, x, w, v)
    expected = np.tile(np.where(np.arange(outputs) % 3, 0.0, math.nan), (rows, 1))
    judge.same_arrays(candidate, "a NaN does not come through a shut gate", got, expected)


def coming_back(candidate, case, incoming):
    """The case, with this incoming gradient."""
    return case.changed(incoming=case.incoming.holding(rounded(incoming, candidate.format), 1))


INCOMING = {
    **{name: (dense(name, 130, 40, 34), dense(name, 128, 48, 64)) for name in ("linear", "glu", "swiglu")},
    "conv2d": (
        convolution((1, 4, 36, 36), (5, 4, 3, 3)),
        convolution((2, 16, 12, 12), (32, 16, 3, 3)),
        convolution((2, 16, 12, 12), (32, 16, 1, 1), padding=0),
    ),
}


def small_ones_count(candidate, operator):
    """Judge what comes back from incoming gradients far below 1; in float16 they are below the least normal number.

    And from some of all digits.
    """
    for case, size in itertools.product(
        INCOMING[operator], (2.0**-20 if candidate.dtype == "float16" else 2.0**-36, 1)
    ):
        candidate.begin()
        case = case.changed(incoming=Texture("few", SEED))
        digits = np.random.default_rng(SEED).uniform(0.5, 1.5, case.result_shape)
        incoming = case.cotangent(candidate.format).values * digits
        judge.gradient_conforms(candidate, coming_back(candidate, case, incoming * size), sparse=True)


@clause("linear.gradient", tier="gradient")
def test_small_incoming_gradients_of_a_large_linear_count(candidate):
    """As a mean over a large batch hands back. Blind to those of large layers that are not small."""
    small_ones_count(candidate, "linear")


@clause("glu.gradient", tier="gradient")
def test_small_incoming_gradients_of_a_large_glu_count(candidate):
    """As a mean over a large batch hands back. Blind to those of large layers that are not small."""
    small_ones_count(candidate, "glu")


@clause("swiglu.gradient", tier="gradient")
def test_small_incoming_gradients_of_a_large_swiglu_count(candidate):
    """As a mean over a large batch hands back. Blind to those of large layers that are not small."""
    small_ones_count(candidate, "swiglu")


@clause("conv2d.gradient", tier="gradient")
def test_small_incoming_gradients_of_a_large_image_count(candidate):
    """As a mean over a large batch hands back. Blind to those of large layers that are not small."""
    small_ones_count(candidate, "conv2d")
