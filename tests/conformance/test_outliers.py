"""What one large number does to others, and many small ones to their sum: whole numbers, bright pixels, lost rests."""

from __future__ import annotations

import numpy as np

from assay.tests.conformance.test_magnitudes import FEW, SEED, coming_back, convolution, dense
from assay.tests.conformance.test_ranges import from_one_to_two, holding, huge, near_one
from assay.tests.conformance.test_wide_gradients import Slight, are_on_lines, of_ones
from assay.tests.conformance.test_wide_gradients import dense as biased
from assay.tests.trial import judge
from assay.tests.trial.cases import Case
from assay.tests.trial.laws import clause
from assay.tests.trial.textures import Texture
from assay.tests.trial.whole import sums_once

# --- whole numbers that are large


def of_whole_numbers(candidate, case, names):
    """Judge sums of products of whole numbers of 31 bits, which 64 do not hold; of fewer in float16."""
    candidate.begin()
    most = 2.0 ** (4 if candidate.dtype == "float16" else 30)
    held = {name: np.floor(each * most) for name, each in near_one(case).items() if name in names}
    judge.conforms(candidate, holding(candidate, case, **held), FEW)


@clause("linear.formula", tier="enclosure")
def test_linear_of_large_whole_numbers_stays_within_its_enclosure(candidate):
    """Whose products pass 2^63 when they are added up. Blind to fractions."""
    of_whole_numbers(candidate, dense("linear", 3, 32, 5), "xw")


@clause("glu.formula", tier="enclosure")
def test_glu_of_large_whole_numbers_stays_within_its_enclosure(candidate):
    """Whose products pass 2^63 when they are added up, beside open gates. Blind to fractions."""
    of_whole_numbers(candidate, dense("glu", 3, 32, 5), "xv")


@clause("conv2d.formula", tier="enclosure")
def test_conv2d_of_large_whole_numbers_stays_within_its_enclosure(candidate):
    """Whose products pass 2^63 when they are added up. Blind to fractions."""
    of_whole_numbers(candidate, convolution((2, 4, 6, 7), (5, 4, 3, 3)), ("input", "weight"))


# --- outliers


def beside_an_outlier(candidate, operator):
    """Judge rows of numbers near 1 and one that is far larger, where all weights are zeros; and huge weights, too.

    These meet zeros in their turn, and the product of both, which nobody asks for, overflows.
    """
    case = dense(operator, 3, 32, 5)
    for large, weights in ((min(huge(candidate), 2.0**56), False), (huge(candidate), True)):
        candidate.begin()
        held = near_one(case)
        held["x"][:, 7], held["x"][:, 19] = large, 0.0 if weights else 1.0
        for name in case.shapes.keys() - {"x"}:
            held[name][:, 7], held[name][:, 19] = 0.0, large if weights else 1.0
        judge.conforms(candidate, holding(candidate, case, **held), FEW)


@clause("linear.formula", tier="enclosure")
def test_a_feature_of_linear_whose_weights_are_zeros_takes_no_digits_of_the_others(candidate):
    """As of a time stamp that was pruned away. Blind to outliers that count."""
    beside_an_outlier(candidate, "linear")


@clause("glu.formula", tier="enclosure")
def test_a_feature_of_glu_whose_weights_are_zeros_takes_no_digits_of_the_others(candidate):
    """As of a time stamp that was pruned away. Blind to outliers that count."""
    beside_an_outlier(candidate, "glu")


@clause("swiglu.formula", tier="enclosure")
def test_a_feature_of_swiglu_whose_weights_are_zeros_takes_no_digits_of_the_others(candidate):
    """As of a time stamp that was pruned away. Blind to outliers that count."""
    beside_an_outlier(candidate, "swiglu")


@clause("linear.formula", tier="enclosure")
def test_linear_of_the_largest_numbers_by_small_ones_stays_within_its_enclosure(candidate):
    """Of x, and of W. Blind to products that overflow."""
    case = dense("linear", 3, 8, 5)
    for name in case.shapes:
        candidate.begin()
        held = {each: from_one_to_two(shape) * 2.0**-9 for each, shape in case.shapes.items()}
        held[name][0] *= 2.0**7
        held[name][0] *= candidate.format.largest
        judge.conforms(candidate, holding(candidate, case, **held), FEW)


def takes_back(candidate, operator, shapes):
    """Judge sums of 73728, to which the last tensor, a bias, adds -65000."""
    if sums_once(candidate, operator, "forward"):
        candidate.begin()
        first, *_, weight, bias = shapes
        numbers = {**dict.fromkeys(shapes, 0.0), first: 72.0, weight: 64.0, bias: -65000.0}
        values = {name: np.full(shapes[name], number) for name, number in numbers.items()}
        judge.conforms(candidate, holding(candidate, of_ones(operator, shapes, 17), **values))


@clause("linear.bias", tier="enclosure", dtypes=("float16",))
def test_a_bias_of_linear_takes_back_what_is_beyond_float16(candidate):
    """From sums that float32 holds. Blind to biases that take nothing back."""
    takes_back(candidate, "linear", {"x": (3, 16), "w": (4, 16), "b": (4,)})


@clause("glu.biases", tier="enclosure", dtypes=("float16",))
def test_a_bias_of_glu_takes_back_what_is_beyond_float16(candidate):
    """From sums that float32 holds, beside open gates. Blind to biases that take nothing back."""
    takes_back(candidate, "glu", {"x": (3, 16), "w": (4, 16), "v": (4, 16), "c": (4,)})


@clause("conv2d.bias", tier="enclosure", dtypes=("float16",))
def test_a_bias_of_conv2d_takes_back_what_is_beyond_float16(candidate):
    """From sums that float32 holds. Blind to biases that take nothing back."""
    takes_back(candidate, "conv2d", {"input": (1, 16, 3, 3), "weight": (4, 16, 1, 1), "bias": (4,)})


def beside_a_bright_pixel(candidate, kernels, tap):
    """Judge images of numbers near 1 and one that is far larger, by kernels of one tap, which meets it in one place."""
    candidate.begin()
    case = convolution((1, kernels[1], 20, 21), kernels, padding=kernels[-1] // 2)
    held = near_one(case)
    held["input"][0, 0, 9, 10] = min(huge(candidate), 2.0**56)
    held["weight"] *= tap
    judge.conforms(candidate, holding(candidate, case, **held), FEW)


def one_tap(side, at):
    """1 in one place of a kernel, and zeros."""
    tap = np.zeros((side, side))
    tap[at] = 1.0
    return tap


@clause("conv2d.formula", tier="enclosure")
def test_weights_of_zero_that_meet_a_bright_pixel_take_no_digits_of_the_others(candidate):
    """Pruned kernels, 3 x 3, of 16 channels. Blind to kernels of more taps."""
    for at in ((0, 0), (1, 1), (2, 1)):
        beside_a_bright_pixel(candidate, (16, 16, 3, 3), one_tap(3, at))


@clause("conv2d.formula", tier="enclosure")
def test_pixels_out_of_reach_of_a_bright_one_keep_their_digits(candidate):
    """Under kernels of 7 x 7. Blind to what the bright one reaches."""
    for tap in (one_tap(7, (3, 3)), np.ones((7, 7))):
        beside_a_bright_pixel(candidate, (3, 2, 7, 7), tap)


@clause("conv2d.formula", tier="enclosure")
def test_weights_near_1_keep_their_digits_beside_one_that_is_far_larger(candidate):
    """Under pixels that are seen one at a time, of one channel and of four. Blind to kernels of other sizes."""
    for inputs, outputs in ((1, 3), (4, 5)):
        candidate.begin()
        case = convolution((1, inputs, 12, 13), (outputs, inputs, 3, 3))
        held = near_one(case)
        held["input"] *= np.zeros((12, 13))
        held["input"][0, 0, ::3, ::3] = from_one_to_two((4, 5))
        held["weight"][:, 0, 0, 0] = min(huge(candidate), 2.0**56)
        judge.conforms(candidate, holding(candidate, case, **held), 4 * FEW)


# --- what comes back


@clause("max_pool2d.gradient", tier="gradient")
def test_small_incoming_gradients_of_overlapping_windows_count_beside_a_large_one(candidate):
    """Near the least normal number. Blind to elements that the large one reaches."""
    candidate.begin()
    case = Case("max_pool2d", {"input": (1, 2, 12, 13)}, {"input": Texture("normal", SEED)}, OVERLAPPING, 9)
    incoming = from_one_to_two(case.result_shape) * candidate.format.least_normal
    incoming[0, 0, 5, 6] = huge(candidate)
    judge.gradient_conforms(candidate, coming_back(candidate, case, incoming), sparse=True)


OVERLAPPING = {"kernel_size": 3, "stride": 1, "padding": 1}


def tiny_products_count(candidate, case, weights):
    """Judge what comes back from 2^-20 by weights of 2^-8: hundreds of terms, each below all numbers of float16."""
    if sums_once(candidate, case.operator, "backward"):
        candidate.begin()
        case = holding(candidate, case, **dict.fromkeys(weights, np.full(case.shapes[weights[0]], 2.0**-8)))
        incoming = np.full(case.result_shape, 2.0**-20)
        judge.gradient_conforms(candidate, coming_back(candidate, case, incoming), [next(iter(case.shapes))])


@clause("linear.gradient", tier="gradient", dtypes=("float16",))
def test_products_below_all_numbers_of_float16_come_back_to_the_input_of_linear(candidate):
    """Added up they are not. Blind to sums that are lost, too."""
    tiny_products_count(candidate, dense("linear", 3, 8, 300), ("w",))


@clause("glu.gradient", tier="gradient", dtypes=("float16",))
def test_products_below_all_numbers_of_float16_come_back_to_the_input_of_glu(candidate):
    """Added up they are not. Blind to sums that are lost, too."""
    tiny_products_count(candidate, dense("glu", 3, 8, 300), ("w", "v"))


@clause("swiglu.gradient", tier="gradient", dtypes=("float16",))
def test_products_below_all_numbers_of_float16_come_back_to_the_input_of_swiglu(candidate):
    """Added up they are not. Blind to sums that are lost, too."""
    tiny_products_count(candidate, dense("swiglu", 3, 8, 300), ("w", "v"))


@clause("conv2d.gradient", tier="gradient", dtypes=("float16",))
def test_products_below_all_numbers_of_float16_come_back_to_the_input_of_conv2d(candidate):
    """Added up they are not. Blind to sums that are lost, too."""
    tiny_products_count(candidate, convolution((1, 2, 5, 6), (40, 2, 3, 3)), ("weight",))


def samples_cancel(candidate, case, names):
    """Judge what comes back to parameters where each sample's part overflows float16, and their sum does not."""
    if sums_once(candidate, case.operator, "backward"):
        candidate.begin()
        incoming = np.full(case.result_shape, 128.0)
        incoming[1] *= -1.0
        incoming.reshape(2, -1)[1, ::64] = 64.0
        judge.gradient_conforms(candidate, coming_back(candidate, case, incoming), names)


@clause("linear.gradient", tier="gradient", dtypes=("float16",))
def test_sequences_whose_parts_of_a_gradient_of_linear_overflow_cancel(candidate):
    """Of two, as under a loss that is scaled. Blind to sums that overflow themselves."""
    shapes = {"x": (2, 1024, 2), "w": (2, 2), "b": (2,)}
    samples_cancel(candidate, of_ones("linear", shapes, 2048), ["w", "b"])


@clause("conv2d.gradient", tier="gradient", dtypes=("float16",))
def test_images_whose_parts_of_a_gradient_of_conv2d_overflow_cancel(candidate):
    """Of two, as under a loss that is scaled. Blind to sums that overflow themselves."""
    shapes = {"input": (2, 1, 32, 32), "weight": (2, 1, 1, 1), "bias": (2,)}
    samples_cancel(candidate, of_ones("conv2d", shapes, 2048), ["weight", "bias"])


def few_rows_of_a_large_layer(candidate, operator):
    """Judge gradients of 2^18 weights by four rows, on all digits."""
    if sums_once(candidate, operator, "backward"):
        candidate.begin()
        slight = {name: Slight("normal", k) for k, name in enumerate("wv")}
        case = biased(operator, (4, 520, 513), **slight)
        seen = candidate.ask_gradient(case)
        are_on_lines(candidate, case, seen, 3, [0, 257, 512], {})


@clause("linear.gradient", tier="gradient")
def test_gradients_of_large_linear_layers_by_few_rows_have_all_digits(candidate):
    """As when tokens come one at a time. Blind to other rows and outputs."""
    few_rows_of_a_large_layer(candidate, "linear")


@clause("glu.gradient", tier="gradient")
def test_gradients_of_large_glu_layers_by_few_rows_have_all_digits(candidate):
    """As when tokens come one at a time. Blind to other rows and outputs."""
    few_rows_of_a_large_layer(candidate, "glu")


@clause("swiglu.gradient", tier="gradient")
def test_gradients_of_large_swiglu_layers_by_few_rows_have_all_digits(candidate):
    """As when tokens come one at a time. Blind to other rows and outputs."""
    few_rows_of_a_large_layer(candidate, "swiglu")
