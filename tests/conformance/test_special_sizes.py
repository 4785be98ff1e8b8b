"""Special numbers at every size: NaN, infinities and edges of the exponential in what is left over from vectors.

What is left over, and a window that is a whole plane, is often the work of other code, which is right about numbers.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from assay.tests.conformance.test_magnitudes import KEPT_SUBNORMAL, convolution, dense
from assay.tests.conformance.test_special_layers import FEW, heights, spreads
from assay.tests.conformance.test_unusual_inputs import what_is_not_finite
from assay.tests.trial import judge
from assay.tests.trial.cases import Case
from assay.tests.trial.laws import clause
from assay.tests.trial.textures import Texture

SIZES = (*range(1, 18), 23, 31, 32, 33, 47, 63, 65, 67)
SIDE = 6  # of a plane, which holds so many different numbers squared
WHOLE = ((SIDE, SIDE), (SIDE, 1), (1, SIDE), (SIDE, SIDE // 2), (SIDE // 2, SIDE))  # windows from border to border


# --- edges of the exponential


def edges(candidate, count, first):
    """So many heights at which an exponential overflows, down and up in turn, from this one on."""
    signed = heights(candidate)
    return np.array([-signed[(first + k) % len(signed)] for k in range(count)])


def swish_at_the_edges(candidate, count):
    held = Texture("zeros").holding(edges(candidate, count, count), 1)
    return Case("swish", {"x": (count,), "beta": (1,)}, {"x": held, "beta": Texture("ones")}, {}, 1)


@clause("swish.formula", tier="special")
def test_swish_of_any_size_survives_the_edges_of_the_exponential(candidate):
    """1 to 67 elements, all of them at the edges. Blind to other betas."""
    for count in SIZES:
        candidate.begin()
        judge.conforms(candidate, swish_at_the_edges(candidate, count))


@clause("swish.gradient", tier="gradient")
def test_the_gradient_of_swish_of_any_size_survives_the_edges_of_the_exponential(candidate):
    """1 to 67 elements, all of them at the edges. Blind to other betas."""
    for count in SIZES:
        candidate.begin()
        case = swish_at_the_edges(candidate, count).changed(incoming=Texture("ones"))
        judge.gradient_of_each_conforms(candidate, case, candidate.ask_gradient(case))


def gates_survive(candidate, operator, hold=judge.conforms):
    """Give gates of any number the heights of their biases alone, beside branches of numbers."""
    for outputs in SIZES:
        candidate.begin()
        shapes = {"x": (2, 3), **dict.fromkeys("wv", (outputs, 3)), **dict.fromkeys("bc", (outputs,))}
        textures = {name: Texture("normal", k) for k, name in enumerate(shapes)}
        held = Texture("zeros").holding(edges(candidate, outputs, outputs)[::-1], 1)
        case = Case(operator, shapes, textures | {"w": Texture("zeros"), "b": held}, {}, 3)
        hold(candidate, case.changed(incoming=Texture("normal", outputs)))


def of_biases(candidate, case):
    judge.gradient_conforms(candidate, case, ("b", "c"))


@clause("glu.formula", tier="special")
def test_glu_of_any_size_survives_the_edges_of_the_exponential(candidate):
    """1 to 67 outputs, all of whose gates are far open or shut. Blind to gates in between."""
    gates_survive(candidate, "glu")


@clause("swiglu.formula", tier="special")
def test_swiglu_of_any_size_survives_the_edges_of_the_exponential(candidate):
    """1 to 67 outputs, all of whose gates are far open or shut. Blind to gates in between."""
    gates_survive(candidate, "swiglu")


@clause("glu.gradient", tier="gradient")
def test_gradients_of_glu_biases_of_any_number_survive_the_edges_of_the_exponential(candidate):
    """1 to 67 outputs, all of whose gates are far open or shut. Blind to gates in between."""
    gates_survive(candidate, "glu", of_biases)


@clause("swiglu.gradient", tier="gradient")
def test_gradients_of_swiglu_biases_of_any_number_survive_the_edges_of_the_exponential(candidate):
    """1 to 67 outputs, all of whose gates are far open or shut. Blind to gates in between."""
    gates_survive(candidate, "swiglu", of_biases)


# --- subnormal numbers


def subnormal_numbers_count(candidate, case, *names):
    """Judge a layer in which one of these tensors is subnormal, and the other brings it back to normal numbers."""
    for name in names:
        candidate.begin()
        textures = {each: Texture("ones").holding(np.full(case.shapes[each], 2.0**10), 1) for each in names}
        judge.conforms(candidate, case.changed(textures=textures | {name: Texture("subnormal", case.pick)}), FEW)


@clause("linear.formula", tier="special", dtypes=KEPT_SUBNORMAL)
def test_subnormal_numbers_of_any_feature_of_linear_count(candidate):
    """1 to 67 features, of x and W, unless flushing is declared. Blind to biases."""
    for features in SIZES:
        subnormal_numbers_count(candidate, dense("linear", 2, features, 5).changed(pick=features), "x", "w")


@clause("conv2d.formula", tier="special", dtypes=KEPT_SUBNORMAL)
def test_subnormal_numbers_of_any_channel_of_conv2d_count(candidate):
    """1 to 67 channels, of images and kernels, unless flushing is declared. Blind to biases."""
    for channels in SIZES:
        case = convolution((1, channels, 3, 4), (3, channels, 2, 2), padding=0).changed(pick=channels)
        subnormal_numbers_count(candidate, case, "input", "weight")


# --- NaN and infinities


def a_nan_reaches_its_output(candidate, operator, held, wrong, expected):
    """Give each weight and bias in turn a NaN in the first output, one in the middle, and the last."""
    outputs = expected.shape[1]
    some = [0, outputs // 2, -1]
    expected[:, some] = math.nan
    for name in wrong:
        values = held[name].copy()
        values.reshape(outputs, -1)[some, -1] = math.nan
        what = f"a NaN in {name} does not reach its output, or reaches another"
        what_is_not_finite(candidate, operator, held | {name: values}, what, expected)


def a_nan_reaches_its_output_of_any_number(candidate, operator, weights, biases):
    """In layers of ones."""
    for outputs in SIZES:
        held = {"x": np.ones((3, 5)), **dict.fromkeys(weights, np.ones((outputs, 5)))}
        held |= dict.fromkeys(biases, np.ones(outputs))
        a_nan_reaches_its_output(candidate, operator, held, weights + biases, np.zeros((3, outputs)))


@clause("linear.special", tier="special")
def test_a_nan_in_a_weight_or_bias_reaches_its_output_of_a_linear_of_any_size(candidate):
    """The first, the middle and the last of 1 to 67, in training and in inference. Blind to others."""
    a_nan_reaches_its_output_of_any_number(candidate, "linear", "w", "b")


@clause("glu.special", tier="special")
def test_a_nan_in_a_weight_or_bias_reaches_its_output_of_a_glu_of_any_size(candidate):
    """The first, the middle and the last of 1 to 67, in training and in inference. Blind to others."""
    a_nan_reaches_its_output_of_any_number(candidate, "glu", "wv", "bc")


@clause("swiglu.special", tier="special")
def test_a_nan_in_a_weight_or_bias_reaches_its_output_of_a_swiglu_of_any_size(candidate):
    """The first, the middle and the last of 1 to 67, in training and in inference. Blind to others."""
    a_nan_reaches_its_output_of_any_number(candidate, "swiglu", "wv", "bc")


@clause("conv2d.special", tier="special")
def test_a_nan_in_a_kernel_or_bias_reaches_its_output_of_a_conv2d_of_any_size(candidate):
    """The first, the middle and the last of 1 to 67. Blind to others, to padding, and to declared spreading."""
    if spreads(candidate):
        return
    for outputs in SIZES:
        held = {"input": np.ones((2, 3, 5, 6)), "weight": np.ones((outputs, 3, 3, 3)), "bias": np.ones(outputs)}
        held |= {"stride": 1, "padding": 0}
        a_nan_reaches_its_output(candidate, "conv2d", held, ("weight", "bias"), np.zeros((2, outputs, 3, 4)))


@clause("max_pool2d.gradient", tier="special", gradient=True)
def test_max_pool2d_gradients_of_a_window_from_border_to_border_go_to_its_nan_or_infinity(candidate):
    """At each place of a plane in turn. Blind to more than one."""
    planes = SIDE**2
    order = np.random.default_rng(1).permuted(np.tile(np.arange(planes) - 18.0, (planes, 1)), axis=1)
    for kernel, value in itertools.product(WHOLE, (math.nan, math.inf)):
        candidate.begin()
        values = np.where(np.eye(planes, dtype=bool), value, order).reshape(1, planes, SIDE, SIDE)
        texture = Texture("normal").holding(values, 1)
        case = Case("max_pool2d", {"input": values.shape}, {"input": texture}, {"kernel_size": kernel, "padding": 0})
        seen = judge.gradient_conforms_exactly(candidate, case.changed(incoming=Texture("digits", 1)))
        whole = seen.gradients["input"].sum((2, 3)), seen.call.cotangent.values.sum((2, 3))
        judge.same_arrays(candidate, "what comes back to a plane is not handed on as a whole", *whole)
