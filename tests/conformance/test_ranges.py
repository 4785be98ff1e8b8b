"""The ends of a dtype's range beside each other: what is scaled as a whole loses or overflows there."""

from __future__ import annotations

import itertools
import math

import numpy as np

from assay.tests.conformance.test_magnitudes import FEW, SEED, coming_back, convolution, dense, normal, times
from assay.tests.trial import judge
from assay.tests.trial.laws import clause
from assay.tests.trial.layers import completed
from assay.tests.trial.textures import Texture, rounded


def huge(candidate):
    """A number so large that few products and sums of it overflow, nor those of a transform in a wider dtype."""
    return candidate.format.largest * 2.0 ** (-4 if candidate.dtype == "float16" else -40)


def holding(candidate, case, **values):
    """The case whose tensors hold these values, rounded."""
    held = {name: case.textures[name].holding(rounded(each, candidate.format), 1) for name, each in values.items()}
    return case.with_textures(**held)


def from_one_to_two(shape, seed=SEED):
    return 1.0 + np.random.default_rng(seed).random(shape)


def near_one(case):
    """Numbers for the tensors of a case, by name."""
    return {name: from_one_to_two(shape, k) for k, (name, shape) in enumerate(case.shapes.items())}


def by_row(numbers, tensor):
    """A number for each row of a tensor, to multiply it by."""
    return numbers.reshape(-1, *[1] * (tensor.ndim - 1))


def small_beside_an_outlier(candidate, case, **others):
    """Judge a batch whose first number is huge, and all others near the least normal one, by weights near 1."""
    candidate.begin()
    held = near_one(case) | others
    first = next(iter(held.values()))
    first *= candidate.format.least_normal
    first.flat[0] = huge(candidate)
    judge.conforms(candidate, holding(candidate, case, **held), FEW)


def of_all_sizes(candidate, case):
    """Judge layers of which the rows of one tensor are of all sizes, from small ones to large ones and back."""
    for name, turn in itertools.product(case.shapes, (1, -1)):
        candidate.begin()
        held, most = near_one(case), math.log2(huge(candidate)) - 7.0
        rows = len(held[name])
        sizes = 2.0 ** np.round(np.linspace(math.log2(candidate.format.least_normal) + 1.0, most, rows))[::turn]
        held[name] *= by_row(sizes, held[name])
        judge.conforms(candidate, holding(candidate, case, **held), FEW)


def sized(candidate, case, of_first, of_weights, of_biases):
    """Judge a layer of numbers of these sizes, of either sign, and so few that no sum of them overflows."""
    candidate.begin()
    held, first = near_one(case), next(iter(case.shapes))
    for name, each in held.items():
        factor = of_first if name == first else of_biases if each.ndim == 1 else of_weights
        each *= factor * (-1.0) ** np.arange(each.size).reshape(each.shape)
        each += 0.0  # no zero is negative
    judge.conforms(candidate, holding(candidate, case, **held), FEW)


def ends_meet(candidate, case):
    """Judge products of the largest numbers and the smallest."""
    most, least = candidate.format.largest / 16, candidate.format.least_normal
    sized(candidate, case, most, least, 1.0)
    sized(candidate, case, least, most, 1.0)


def biases_count(candidate, case):
    """Judge biases of some size beside what is tiny, and beside what is large and multiplied by zeros."""
    most, least = candidate.format.largest / 16, candidate.format.least_normal
    sized(candidate, case, 1.0, least, math.sqrt(most))
    sized(candidate, case, 0.0, most, 1.0 / math.sqrt(most))


def of_few_rows(candidate, operator):
    """Judge layers of one row or three, or of one feature, with biases and without."""
    for rows, features in ((1, 9), (3, 9), (3, 1)):
        case = dense(operator, rows, features, 5)
        for each in (case, biased(case)):
            ends_meet(candidate, each)
        biases_count(candidate, biased(case))


@clause("linear.formula", tier="enclosure")
def test_ends_of_the_range_meet_in_linear(candidate):
    """The largest numbers times the smallest, and biases beside them. Blind to sums that may overflow."""
    of_few_rows(candidate, "linear")


@clause("glu.formula", tier="enclosure")
def test_ends_of_the_range_meet_in_glu(candidate):
    """The largest numbers times the smallest, and biases beside them. Blind to sums that may overflow."""
    of_few_rows(candidate, "glu")


@clause("swiglu.formula", tier="enclosure")
def test_ends_of_the_range_meet_in_swiglu(candidate):
    """The largest numbers times the smallest, and biases beside them. Blind to sums that may overflow."""
    of_few_rows(candidate, "swiglu")


OF_FEW_IMAGES = [convolution(image, (5, 1, 3, 3), padding=0) for image in ((1, 1, 5, 6), (3, 1, 6, 7))]


@clause("conv2d.formula", tier="enclosure")
def test_ends_of_the_range_meet_in_conv2d(candidate):
    """The largest numbers times the smallest. Blind to biases, and to sums that may overflow."""
    for case in OF_FEW_IMAGES:
        ends_meet(candidate, case)


@clause("conv2d.bias", tier="enclosure")
def test_biases_of_conv2d_count_beside_ends_of_the_range(candidate):
    """Beside tiny kernels, and large ones that meet zeros. Blind to sums that may overflow."""
    for case in OF_FEW_IMAGES:
        biases_count(candidate, biased(case))


@clause("linear.formula", tier="enclosure")
def test_rows_and_outputs_of_linear_may_be_of_any_size(candidate):
    """In one batch, or in one weight. Blind to features of any size."""
    of_all_sizes(candidate, dense("linear", 3, 32, 5))


@clause("glu.formula", tier="enclosure")
def test_rows_and_outputs_of_glu_may_be_of_any_size(candidate):
    """In one batch, or in one weight. Blind to features of any size."""
    of_all_sizes(candidate, dense("glu", 3, 32, 5))


@clause("swiglu.formula", tier="enclosure")
def test_rows_and_outputs_of_swiglu_may_be_of_any_size(candidate):
    """In one batch, or in one weight. Blind to features of any size."""
    of_all_sizes(candidate, dense("swiglu", 3, 32, 5))


@clause("conv2d.formula", tier="enclosure")
def test_images_and_kernels_of_conv2d_may_be_of_any_size(candidate):
    """In one batch, or in one weight. Blind to channels of any size."""
    of_all_sizes(candidate, convolution((3, 4, 6, 7), (5, 4, 3, 3)))


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
    """By kernels of one number, too. Blind to several outliers."""
    case = convolution((2, 4, 6, 7), (5, 4, 3, 3))
    for others in ({}, {"weight": np.ones(case.shapes["weight"])}):
        small_beside_an_outlier(candidate, case, **others)


def any_size_counts(candidate, case):
    """Judge what comes back from huge gradients to small tensors, from the smallest ones, and from ones of all sizes.

    Rows of all sizes come back to the input, outputs or channels of all sizes to the weights.
    """
    least = candidate.format.least_normal * (4.0 if candidate.dtype == "float16" else 2.0**40)
    for factor, most in ((2.0**-6, huge(candidate)), (1.0, least)):
        candidate.begin()
        asked = times(candidate, case, **dict.fromkeys(case.shapes, factor)).changed(incoming=Texture("few", SEED))
        incoming = asked.cotangent(candidate.format).values * from_one_to_two(case.result_shape)
        scaled = incoming * (most / np.abs(incoming).max())
        judge.gradient_conforms(candidate, coming_back(candidate, asked, scaled), sparse=True)
    first, *weights = case.shapes
    biases = [name for name in weights if len(case.shapes[name]) == 1]
    for axis, names, alone in ((0, [first], False), (1, weights, False), (1, biases, True)):
        if not names:
            continue
        candidate.begin()
        incoming = from_one_to_two(case.result_shape)
        along = np.moveaxis(incoming, axis, 0)
        along *= by_row(2.0 ** np.linspace(math.log2(least), math.log2(huge(candidate)) - 8.0, len(along)), along)
        judge.gradient_conforms(candidate, coming_back(candidate, case, incoming), names, alone)


def biased(case):
    """The case with all of its biases, which hundreds of rows or places come back to."""
    shapes = completed(case.operator, case.shapes)
    return case.changed(shapes=shapes, textures={**normal(shapes), **case.textures})


@clause("linear.gradient", tier="gradient")
def test_incoming_gradients_of_linear_may_be_of_any_size(candidate):
    """As a loss that is scaled hands back, or one that is nearly none. Blind to sums that overflow."""
    for case in (dense("linear", 17, 24, 12), biased(dense("linear", 130, 3, 4))):
        any_size_counts(candidate, case)


@clause("glu.gradient", tier="gradient")
def test_incoming_gradients_of_glu_may_be_of_any_size(candidate):
    """As a loss that is scaled hands back, or one that is nearly none. Blind to sums that overflow."""
    for case in (dense("glu", 17, 24, 12), biased(dense("glu", 130, 3, 4))):
        any_size_counts(candidate, case)


@clause("swiglu.gradient", tier="gradient")
def test_incoming_gradients_of_swiglu_may_be_of_any_size(candidate):
    """As a loss that is scaled hands back, or one that is nearly none. Blind to sums that overflow."""
    for case in (dense("swiglu", 17, 24, 12), biased(dense("swiglu", 130, 3, 4))):
        any_size_counts(candidate, case)


@clause("conv2d.gradient", tier="gradient")
def test_incoming_gradients_of_conv2d_may_be_of_any_size(candidate):
    """As a loss that is scaled hands back, or one that is nearly none. Blind to sums that overflow."""
    for case in (convolution((3, 4, 5, 6), (5, 4, 3, 3)), biased(convolution((2, 1, 12, 11), (3, 1, 3, 3)))):
        any_size_counts(candidate, case)


def small_meets_large(candidate, operator):
    """Judge what comes back small to a gate whose other branch is huge."""
    candidate.begin()
    case = dense(operator, 9, 8, 6)
    case = case.changed(shapes={**case.shapes, "c": (6,)}, textures={**case.textures, "c": Texture("normal")})
    case = holding(candidate, case, c=from_one_to_two(6) * huge(candidate)).changed(incoming=Texture("few", SEED))
    incoming = case.cotangent(candidate.format).values
    judge.gradient_conforms(candidate, coming_back(candidate, case, incoming * 2.0**-10), sparse=True)


@clause("glu.gradient", tier="gradient")
def test_small_incoming_gradients_of_glu_meet_a_large_branch(candidate):
    """What lies between is an ordinary number. Blind to a gate that is shut."""
    small_meets_large(candidate, "glu")


@clause("swiglu.gradient", tier="gradient")
def test_small_incoming_gradients_of_swiglu_meet_a_large_branch(candidate):
    """What lies between is an ordinary number. Blind to a gate that is shut."""
    small_meets_large(candidate, "swiglu")


@clause("swiglu.gradient", tier="gradient")
def test_gradients_of_swiglu_count_where_the_result_is_lost(candidate):
    """A product of gate and branch that underflows, or overflows. Blind to how many elements are lost."""
    small = candidate.format.least_subnormal**0.6
    for number, incoming in ((small, 1.0), (1.0 / small, small)):
        candidate.begin()
        case = dense("swiglu", 3, 4, 5)
        values = {"x": np.full((3, 4), 0.25), "w": np.full((5, 4), number), "v": from_one_to_two((5, 4)) * number}
        asked = holding(candidate, case, **values)
        judge.gradient_conforms(candidate, coming_back(candidate, asked, np.full((3, 5), incoming)), ["w"])


@clause("linear.gradient", tier="gradient", dtypes=("float32", "bfloat16"))
def test_gradients_of_linear_by_rows_whose_sum_overflows_count(candidate):
    """The same small number comes back to all of them, at one address. Blind to sums that overflow themselves."""
    candidate.begin()
    case = dense("linear", 40, 6, 5)
    case = holding(candidate, case, x=from_one_to_two(case.shapes["x"]) * (candidate.format.largest / 16))
    incoming = Texture("ones", 0, (), "expanded").holding(np.full(case.result_shape, 2.0**-8), 1)
    judge.gradient_conforms(candidate, case.changed(incoming=incoming), ("w",))


def factors_meet_in_any_order(candidate, operator):
    """Judge the gradient of W where what comes back, x and the other branch are small and large: two overflow, or none.

    What comes back and x, multiplied first, are no number of the dtype, or zero.
    """
    root = math.log2(candidate.format.largest) / 2 - 3.0
    for rows, turn in itertools.product((1, 3), (1, -1)):
        candidate.begin()
        case = dense(operator, rows, 3, 5)
        x, w, v, incoming = 2.0 ** (turn * root * np.array((-0.95, 0.95, 1.9, -1.2)))
        factors = {"x": x, "w": w / 8.0, "v": v}
        held = {name: values * factors[name] for name, values in near_one(case).items()}
        case = holding(candidate, case, **held)
        judge.gradient_conforms(candidate, coming_back(candidate, case, np.full(case.result_shape, incoming)), ["w"])


@clause("glu.gradient", tier="gradient")
def test_factors_of_a_gradient_of_glu_are_small_and_large(candidate):
    """Of one row and three. Blind to gates far open or far shut."""
    factors_meet_in_any_order(candidate, "glu")


@clause("swiglu.gradient", tier="gradient")
def test_factors_of_a_gradient_of_swiglu_are_small_and_large(candidate):
    """Of one row and three. Blind to gates far open or far shut."""
    factors_meet_in_any_order(candidate, "swiglu")
