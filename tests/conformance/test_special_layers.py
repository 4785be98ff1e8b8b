"""Special numbers in layers that are not small: infinities, NaN, what is huge, and weights of zeros, forward and back.

Fast code is chosen by size. That it splits its operands, leaves out rows, or takes short cuts shows on such numbers.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from assay.tests.conformance.test_layers import EDGES, VALUES, not_finite
from assay.tests.conformance.test_magnitudes import convolution, dense, times
from assay.tests.conformance.test_unusual_inputs import what_is_not_finite
from assay.tests.trial import judge
from assay.tests.trial.cases import Case
from assay.tests.trial.laws import clause
from assay.tests.trial.plain import GRADIENTS, convolved, pad2d, pooled, values_of
from assay.tests.trial.textures import Texture
from assay.tests.trial.usual import Blocks

FEW = 12  # elements of a result that are judged, beside the suspected
ROWS, FEATURES, OUTPUTS = 72, 24, 40
HUGE = 2.0**20  # past float16's largest number, and far from float32's
WITH_HUGE = ("float64", "float32", "bfloat16")
CUBES = (256, 256, 256), (320, 256, 512)  # rows, features and outputs, all multiples of 64
NONZERO = (-3.0, -1.0, 1.0, 2.0)


# --- NaN and infinities


def spreads(candidate, direction="forward"):
    """Whether conv2d may give NaN elsewhere, which is noted: then there is nothing to judge."""
    further = candidate.precision("conv2d", direction).reaches_further
    if further:
        candidate.tally.left_out = "spreading is declared, or an algorithm that spreads"
    return further


@clause("conv2d.special", tier="special")
def test_a_nan_or_infinity_in_an_image_of_many_channels_reaches_the_windows_that_hold_it(candidate):
    """An infinity stays one; kernels of zeros give NaN for NaN. Blind to more than one, and to declared spreading."""
    if spreads(candidate):
        return
    rng = np.random.default_rng(1)
    for value in VALUES:
        image, weight = rng.choice(NONZERO, (2, 16, 6, 8)), rng.choice(NONZERO, (32, 16, 3, 3))
        image[1, 5, 2, 3] = value
        weight[::4] *= 0.0 if math.isnan(value) else 1.0
        held = {"input": image, "weight": weight, "bias": None, "stride": 1, "padding": 1}
        what = "NaN or an infinity in the image does not reach all windows that hold it, or reaches more"
        what_is_not_finite(candidate, "conv2d", held, what, not_finite(convolved(*held.values())))


@clause("max_pool2d.nan", tier="special")
def test_max_pool2d_gives_nan_in_inference_where_a_window_has_one(candidate):
    """Of windows that lie apart and that overlap, beside infinities. Blind to which NaN it is."""
    for kernel, stride, padding in ((2, 2, 0), (3, 2, 1), (3, 1, 1)):
        candidate.begin()
        texture = Texture("normal", kernel, ((7, math.nan), (40, math.inf), (171, math.nan), (172, -math.inf)))
        parameters = {"kernel_size": kernel, "stride": stride, "padding": padding}
        case = Case("max_pool2d", {"input": (2, 16, 8, 10)}, {"input": texture}, parameters)
        seen = candidate.answer(case, recording=False)
        judge.same_arrays(candidate, "a NaN vanishes, or reaches more", seen.output, pooled(*values_of(seen)))


@clause("pad2d.zeros", tier="special")
def test_padding_is_zeros_in_inference_whatever_is_at_the_edge(candidate):
    """NaN and infinities in corners, rows and columns, and among zeros alone. Blind to padding that is wider."""
    for value in VALUES:
        candidate.begin()
        texture = Texture("normal", 1, tuple((at, value) for at in (0, 5, 47, 48, 95)))
        among_zeros = Texture("zeros", 1, ((652, value),))
        for shape, held in (((2, 6, 8), texture), ((2, 130, 5), among_zeros)):
            seen = candidate.answer(Case("pad2d", {"x": shape}, {"x": held}, {"padding": 2}), recording=False)
            what = "padding is not zeros around the input"
            judge.same_arrays(candidate, what, seen.output, pad2d(*values_of(seen)))


@clause("conv2d.special", tier="special")
def test_a_nan_of_a_kernel_reaches_images_of_its_channel_that_hold_nothing_but_zeros(candidate):
    """Half of the channels are dead. Blind to infinities of kernels, and to declared spreading."""
    if spreads(candidate):
        return
    for channels in (2, 24):
        image, weight = np.ones((2, channels, 6, 8)), np.ones((8, channels, 3, 3))
        image[:, : channels // 2], weight[5, 0, 1, 2] = 0.0, math.nan
        expected = np.zeros((2, 8, 4, 6))
        expected[:, 5] = math.nan
        held = {"input": image, "weight": weight, "bias": None, "stride": 1, "padding": 0}
        what = "a NaN of a kernel does not reach images that are zero, or reaches another channel"
        what_is_not_finite(candidate, "conv2d", held, what, expected)


def rows_of_nan_are_nan(candidate, operator, weights):
    """Give x rows of nothing but NaN, as of tokens that are lost already, among many others."""
    held = {"x": np.ones((ROWS, FEATURES)), **dict.fromkeys(weights, np.ones((OUTPUTS, FEATURES)))}
    held["x"][::7] = math.nan
    expected = np.zeros((ROWS, OUTPUTS))
    expected[::7] = math.nan
    what_is_not_finite(candidate, operator, held, "rows of NaN do not give NaN, or others do", expected)


@clause("linear.special", tier="special")
def test_rows_of_nan_give_nan_in_a_linear_of_many(candidate):
    """In training and in inference. Blind to fewer rows."""
    rows_of_nan_are_nan(candidate, "linear", "w")


@clause("glu.special", tier="special")
def test_rows_of_nan_give_nan_in_a_glu_of_many(candidate):
    """In training and in inference. Blind to fewer rows."""
    rows_of_nan_are_nan(candidate, "glu", "wv")


@clause("swiglu.special", tier="special")
def test_rows_of_nan_give_nan_in_a_swiglu_of_many(candidate):
    """In training and in inference. Blind to fewer rows."""
    rows_of_nan_are_nan(candidate, "swiglu", "wv")


def nan_comes_back(candidate, operator):
    """Hand back a NaN to an output of a row of many, as of a loss that has overflown."""
    candidate.begin()
    case = dense(operator, ROWS, FEATURES, OUTPUTS)
    incoming = np.zeros(case.result_shape)
    incoming[::3], incoming[50, 17] = 1.0, math.nan
    seen = candidate.ask_gradient(case.changed(incoming=Texture("normal").holding(incoming, 1)))
    expected = GRADIENTS[operator](incoming, *values_of(seen))
    for name, gradient in seen.gradients.items():
        what, places = "a NaN that comes back does not reach all it is for, or reaches more", not_finite(expected[name])
        judge.same_arrays(candidate, what, not_finite(gradient), places, f"gradient of {name}")


@clause("linear.gradient", tier="special", gradient=True)
def test_a_nan_that_comes_back_reaches_what_it_is_for_in_linear(candidate):
    """Its row of x, and its output of W. Blind to fewer rows."""
    nan_comes_back(candidate, "linear")


@clause("glu.gradient", tier="special", gradient=True)
def test_a_nan_that_comes_back_reaches_what_it_is_for_in_glu(candidate):
    """Its row of x, and its output of W and V. Blind to fewer rows."""
    nan_comes_back(candidate, "glu")


@clause("swiglu.gradient", tier="special", gradient=True)
def test_a_nan_that_comes_back_reaches_what_it_is_for_in_swiglu(candidate):
    """Its row of x, and its output of W and V. Blind to fewer rows."""
    nan_comes_back(candidate, "swiglu")


# --- huge numbers, and the edges of the exponential


@clause("linear.formula", tier="enclosure", dtypes=WITH_HUGE)
def test_linear_of_huge_numbers_stays_within_its_enclosure(candidate):
    """Of aligned sizes, x and W in turn past what 16 bits may hold. Blind to numbers beside them that are small."""
    for name in "xw":
        candidate.begin()
        judge.conforms(candidate, times(candidate, dense("linear", 32, 64, 48), **{name: HUGE}), FEW)


@clause("conv2d.formula", tier="enclosure", dtypes=WITH_HUGE)
def test_conv2d_of_huge_numbers_stays_within_its_enclosure(candidate):
    """Of aligned sizes, image and kernels in turn past what 16 bits may hold. Blind to others that are small."""
    for name in ("input", "weight"):
        candidate.begin()
        case = convolution((2, 16, 8, 8), (32, 16, 3, 3))
        judge.conforms(candidate, times(candidate, case, **{name: HUGE}), FEW)


def heights(candidate):
    """Where an exponential overflows, up and down in turn; and what has no square."""
    edges = [*EDGES, *([4e19] if candidate.dtype != "float16" else [])]
    return [sign * edge for edge in edges for sign in (1.0, -1.0)]


def at_the_edges(candidate):
    """A swish of 2^16 elements, some of which, and what comes back to them, are at the edges of the exponential."""
    placed = tuple((2111 * k + 7, height) for k, height in zip(range(30), itertools.cycle(heights(candidate))))
    ones = tuple((at, 1.0) for at, _ in placed)
    texture, incoming = Texture("normal", 1, placed), Texture("zeros", 0, ones)
    return Case(
        "swish", {"x": (4, 128, 130), "beta": (1,)}, {"x": texture, "beta": Texture("ones")}, {}, 1, 3, incoming
    )


@clause("swish.formula", tier="special")
def test_a_long_swish_survives_the_edges_of_the_exponential(candidate):
    """Thousands of elements, where an exponential overflows. Blind to other betas."""
    candidate.begin()
    judge.conforms(candidate, at_the_edges(candidate), FEW)


@clause("swish.gradient", tier="gradient")
def test_the_gradient_of_a_long_swish_survives_the_edges_of_the_exponential(candidate):
    """Thousands of elements, where an exponential overflows. Blind to other betas."""
    candidate.begin()
    case = at_the_edges(candidate)
    judge.gradient_of_each_conforms(candidate, case, candidate.ask_gradient(case), FEW)


@clause("swish.beta-learned", tier="gradient")
def test_the_gradient_of_swish_by_beta_survives_numbers_whose_squares_overflow(candidate):
    """Thousands of elements, some of 4e19, where x is frozen, too. Blind to other betas."""
    for alone in (False, True):
        candidate.begin()
        judge.gradient_conforms(candidate, at_the_edges(candidate), ("beta",), alone, sparse=True)


@clause("linear.formula", tier="exact")
def test_linear_of_rows_that_are_mostly_zeros_is_exact(candidate):
    """One feature in fourteen of a thousand counts, as behind a ReLU. Blind to rows that are sparser."""
    candidate.begin()
    case = Case("linear", {"x": (ROWS, 1280), "w": (OUTPUTS, 1280)}, {"w": Texture("ones")}, {}, 128)
    x = np.random.default_rng(2).choice((0.0, 1.0, -1.0), (ROWS, 1280), p=(0.93, 0.035, 0.035))
    judge.conforms_exactly(candidate, case.with_textures(x=Texture("normal").holding(x, 1)))


@clause("max_pool2d.gradient", tier="gradient")
def test_what_comes_back_to_overlapping_windows_of_a_large_plane_keeps_its_digits(candidate):
    """Real numbers, of which up to nine are added up. Blind to elements that are not sampled."""
    candidate.begin()
    parameters = {"kernel_size": 3, "stride": 1, "padding": 1}
    case = Case("max_pool2d", {"input": (1, 1, 40, 42)}, {"input": Blocks("ties", 1)}, parameters, 9)
    judge.gradient_conforms(candidate, case.changed(incoming=Texture("normal", 2)))


def pruned_outputs_give_their_bias(candidate, case, weight, bias):
    """Judge a layer, every fifth output of which has weights of zeros."""
    candidate.begin()
    outputs, *others = case.shapes[weight]
    kept = (np.arange(outputs) % 5 != 3).reshape(-1, *[1] * len(others))
    case = case.changed(
        shapes={**case.shapes, bias: (outputs,)}, textures={**case.textures, bias: Texture("positive", 3)}
    )
    judge.conforms(candidate, times(candidate, case, **{weight: kept}), FEW)


@clause("linear.formula", tier="enclosure")
def test_outputs_of_linear_that_are_pruned_give_their_bias(candidate):
    """Of dozens. Blind to layers of zeros alone."""
    pruned_outputs_give_their_bias(candidate, dense("linear", ROWS, 64, OUTPUTS), "w", "b")


@clause("conv2d.formula", tier="enclosure")
def test_kernels_that_are_pruned_give_their_bias(candidate):
    """Of dozens, over as many channels. Blind to layers of zeros alone."""
    pruned_outputs_give_their_bias(candidate, convolution((2, 32, 6, 6), (40, 32, 3, 3)), "weight", "bias")


# --- layers that begin at zero, and wide ones, going back


def learns_from_zero(candidate, operator):
    """Judge gradients where each weight in turn is zeros, as of a branch that is to begin as nothing."""
    images = operator == "conv2d"
    case = convolution((2, 8, 6, 6), (72, 8, 3, 3)) if images else dense(operator, ROWS, FEATURES, 80)
    for name in list(case.shapes)[1:]:
        candidate.begin()
        nothing = case.changed(textures={**case.textures, name: Texture("zeros")}, incoming=Texture("few", 3))
        judge.gradient_conforms(candidate, nothing, sparse=True)


@clause("linear.gradient", tier="gradient")
def test_linear_learns_from_weights_of_zeros(candidate):
    """Of dozens of outputs. Blind to some of the weights alone."""
    learns_from_zero(candidate, "linear")


@clause("glu.gradient", tier="gradient")
def test_glu_learns_from_weights_of_zeros(candidate):
    """Of dozens of outputs, each branch in turn. Blind to some of the weights alone."""
    learns_from_zero(candidate, "glu")


@clause("swiglu.gradient", tier="gradient")
def test_swiglu_learns_from_weights_of_zeros(candidate):
    """Of dozens of outputs, each branch in turn. Blind to some of the weights alone."""
    learns_from_zero(candidate, "swiglu")


@clause("conv2d.gradient", tier="gradient")
def test_conv2d_learns_from_kernels_of_zeros(candidate):
    """Of dozens of outputs. Blind to some of the kernels alone."""
    learns_from_zero(candidate, "conv2d")


def cubes_go_back(candidate, operator):
    """Judge gradients of real numbers to which few incoming ones come back: each shows how operands are rounded."""
    for sizes in CUBES:
        candidate.begin()
        case = dense(operator, *sizes).changed(incoming=Texture("few", 5))
        judge.gradient_conforms(candidate, case, sparse=True)


@clause("linear.gradient", tier="gradient", dtypes=("float32", "bfloat16"))
def test_linear_gradients_of_multiples_of_64_stay_within_their_enclosures(candidate):
    """256 and more rows, features and outputs. Blind to sums of many terms."""
    cubes_go_back(candidate, "linear")


@clause("glu.gradient", tier="gradient", dtypes=("float32", "bfloat16"))
def test_glu_gradients_of_multiples_of_64_stay_within_their_enclosures(candidate):
    """256 and more rows, features and outputs. Blind to sums of many terms."""
    cubes_go_back(candidate, "glu")


@clause("swiglu.gradient", tier="gradient", dtypes=("float32", "bfloat16"))
def test_swiglu_gradients_of_multiples_of_64_stay_within_their_enclosures(candidate):
    """256 and more rows, features and outputs. Blind to sums of many terms."""
    cubes_go_back(candidate, "swiglu")
