"""What few inputs are: padded batches, outputs without weights, no features, sums that overflow, windows of -inf."""

from __future__ import annotations

import itertools
import math

import numpy as np

from assay.implementations.arrays import Argument
from assay.tests.conformance.test_contract import MODES, are_refused, demand, takes
from assay.tests.conformance.test_layers import not_finite
from assay.tests.conformance.test_magnitudes import KEPT_SUBNORMAL, SEED, convolution, dense, times
from assay.tests.trial import judge
from assay.tests.trial.candidate import well_formed
from assay.tests.trial.cases import Case
from assay.tests.trial.laws import clause
from assay.tests.trial.textures import Texture

FEW = 12  # elements of a result that are judged, beside the suspected
PADDED = (30, 48, 33)  # rows, features and outputs of a batch of which few rows are full
FULL = (5, 17)
BATCH, OUTPUTS = 16, 6  # of a layer whose gradients overflow
LAYER = {"x": (BATCH, 4), "w": (OUTPUTS, 4), "b": (OUTPUTS,)}
GATES = LAYER | {"v": (OUTPUTS, 4), "c": (OUTPUTS,)}
IMAGES = {"input": (2, 3, 5, 6), "weight": (OUTPUTS, 3, 3, 3), "bias": (OUTPUTS,)}
HALF_OPEN = Texture("zeros", 0, tuple((k, -3.0) for k in range(OUTPUTS)))  # where x and W are ones


# --- padded batches


def a_padded_batch_conforms(candidate, operator):
    """Judge a batch of which two rows hold numbers, in training and in inference."""
    for recording in MODES:
        candidate.begin()
        full = np.isin(np.arange(PADDED[0]), FULL)[:, None]
        case = times(candidate, dense(operator, *PADDED), x=full)
        judge.answer_conforms(candidate, case, candidate.answer(case, recording=recording), FEW)


@clause("linear.formula", tier="enclosure")
def test_linear_of_a_padded_batch_stays_within_its_enclosure(candidate):
    """Most rows are zero, and few are full. Blind to rows that are full in part."""
    a_padded_batch_conforms(candidate, "linear")


@clause("glu.formula", tier="enclosure")
def test_glu_of_a_padded_batch_stays_within_its_enclosure(candidate):
    """Most rows are zero, and few are full. Blind to rows that are full in part."""
    a_padded_batch_conforms(candidate, "glu")


@clause("swiglu.formula", tier="enclosure")
def test_swiglu_of_a_padded_batch_stays_within_its_enclosure(candidate):
    """Most rows are zero, and few are full. Blind to rows that are full in part."""
    a_padded_batch_conforms(candidate, "swiglu")


# --- outputs without weights


def what_is_not_finite(candidate, operator, held, what, expected):
    """Hold a result's NaN and infinities, in training and in inference, to what is expected; else say what is wrong."""
    for recording in MODES:
        candidate.begin()
        arguments = {name: Argument(each) if isinstance(each, np.ndarray) else each for name, each in held.items()}
        seen = candidate.observe(operator, arguments, recording=recording)
        well_formed(seen, expected.shape)
        judge.same_arrays(candidate, what, not_finite(seen.output), expected)


def a_nan_reaches_rows_of_zeros(candidate, operator):
    """Give each weight in turn a NaN in one output, where rows of x are padding, or features dead: 0 NaN is NaN."""
    outputs, weights = 10, "w" if operator == "linear" else "wv"
    for name, features, dead, (rows, mostly) in itertools.product(
        weights, (24, 64), (0, 16), ((12, False), (72, True))
    ):
        kept = (np.arange(rows) % 3 > 0) != mostly
        x = np.ones((rows, features)) * kept[:, None] * (np.arange(features) >= dead)
        held = {"x": x, **dict.fromkeys(weights, np.ones((outputs, features)))}
        held[name] = np.where(np.arange(outputs * features).reshape(outputs, features) == 4 * features + 7, math.nan, 1)
        expected = np.where(np.arange(outputs) == 4, math.nan, np.zeros((rows, outputs)))
        what = f"a NaN in {name} does not reach rows that are zero, or reaches another output"
        what_is_not_finite(candidate, operator, held, what, expected)


@clause("linear.special", tier="special")
def test_a_nan_in_a_weight_reaches_the_rows_of_linear_that_hold_nothing_but_zeros(candidate):
    """One or two in three, in training and in inference. Blind to infinities, which such rows need not take up."""
    a_nan_reaches_rows_of_zeros(candidate, "linear")


@clause("glu.special", tier="special")
def test_a_nan_in_a_weight_reaches_the_rows_of_glu_that_hold_nothing_but_zeros(candidate):
    """One or two in three, in training and in inference. Blind to infinities, which such rows need not take up."""
    a_nan_reaches_rows_of_zeros(candidate, "glu")


@clause("swiglu.special", tier="special")
def test_a_nan_in_a_weight_reaches_the_rows_of_swiglu_that_hold_nothing_but_zeros(candidate):
    """One or two in three, in training and in inference. Blind to infinities, which such rows need not take up."""
    a_nan_reaches_rows_of_zeros(candidate, "swiglu")


def a_nan_reaches_pruned_outputs(candidate, operator, names):
    """Give x a NaN in one row, where half of the outputs have no weights but zeros. Zero times NaN is NaN."""
    rows, features, outputs = 3, 24, 10
    held = {"x": np.ones((rows, features))}
    held |= {name: np.tile(np.arange(outputs) % 2.0, (features, 1)).T for name in names}
    held["x"][1, 7] = math.nan
    expected = np.zeros((rows, outputs))
    expected[1] = math.nan
    what = "a NaN in x does not reach outputs whose weights are zero, or reaches another row"
    what_is_not_finite(candidate, operator, held, what, expected)


@clause("linear.special", tier="special")
def test_a_nan_reaches_the_outputs_of_linear_that_have_no_weights_but_zeros(candidate):
    """Half of them, in training and in inference. Blind to infinities, which such weights need not pass on."""
    a_nan_reaches_pruned_outputs(candidate, "linear", "w")


@clause("glu.special", tier="special")
def test_a_nan_reaches_the_outputs_of_glu_that_have_no_weights_but_zeros(candidate):
    """Half of them, in training and in inference. Blind to infinities, which such weights need not pass on."""
    a_nan_reaches_pruned_outputs(candidate, "glu", "wv")


@clause("swiglu.special", tier="special")
def test_a_nan_reaches_the_outputs_of_swiglu_that_have_no_weights_but_zeros(candidate):
    """Half of them, in training and in inference. Blind to infinities, which such weights need not pass on."""
    a_nan_reaches_pruned_outputs(candidate, "swiglu", "wv")


# --- subnormal numbers, going back


def subnormal_operands_count(candidate, case):
    candidate.begin()
    textures = {name: Texture("subnormal", k) for k, name in enumerate(case.shapes)}
    judge.gradient_conforms(candidate, case.changed(textures=textures, incoming=Texture("few", SEED)), sparse=True)


@clause("linear.gradient", tier="gradient", dtypes=KEPT_SUBNORMAL)
def test_linear_gradients_of_subnormal_weights_and_inputs_stay_as_near(candidate):
    """Where few incoming gradients are not zero. Blind to sums that underflow on the way."""
    subnormal_operands_count(candidate, dense("linear", 33, 64, 48))


@clause("conv2d.gradient", tier="gradient", dtypes=KEPT_SUBNORMAL)
def test_conv2d_gradients_of_subnormal_kernels_and_images_stay_as_near(candidate):
    """Where few incoming gradients are not zero. Blind to sums that underflow on the way."""
    subnormal_operands_count(candidate, convolution((2, 16, 12, 12), (24, 16, 3, 3)))


# --- branches beyond the largest number


def halves_of_overflows_count(candidate, operator):
    """Judge gates that are nearly shut, times numbers that float16 does not have."""
    candidate.begin()
    outputs = 24
    shapes = {"x": (3, 2), "w": (outputs, 2), "v": (outputs, 2), "b": (outputs,)}
    v = [(-1) ** (k // 2) * (150.0 + 8 * k) for k in range(2 * outputs)]
    b = [0.125 - 1.5 * (k % 2) for k in range(outputs)]
    held = {"v": tuple(enumerate(v)), "b": tuple(enumerate(b)), "x": tuple((k, 300.0) for k in range(6))}
    judge.conforms(candidate, Case(operator, shapes, {n: Texture("zeros", 0, held.get(n, ())) for n in shapes}, {}, 2))


@clause("glu.formula", tier="special", dtypes=("float16",))
def test_half_of_what_is_no_number_of_the_dtype_is_itself_or_infinite_in_glu(candidate):
    """Not half of the largest one. Blind to gates that may be zero."""
    halves_of_overflows_count(candidate, "glu")


@clause("swiglu.formula", tier="special", dtypes=("float16",))
def test_half_of_what_is_no_number_of_the_dtype_is_itself_or_infinite_in_swiglu(candidate):
    """Not half of the largest one. Blind to gates that may be zero."""
    halves_of_overflows_count(candidate, "swiglu")


# --- no features


def biases_are_left(candidate, operator, hold=judge.conforms):
    """Judge results of no features, with biases and without, of whom takes such layers."""
    weights, biases = ("w", "b") if operator == "linear" else ("wv", "bc")
    for given in (biases, ""):
        candidate.begin()
        shapes = {"x": (3, 0), **dict.fromkeys(weights, (5, 0)), **dict.fromkeys(given, (5,))}
        case = Case(operator, shapes, {name: Texture("digits", k) for k, name in enumerate(shapes)})
        if takes(candidate, case):
            hold(candidate, case)


@clause("linear.bias", tier="exact")
def test_linear_of_no_features_is_its_bias_or_nothing(candidate):
    """The empty sum is zero. Blind to other sizes that are zero."""
    biases_are_left(candidate, "linear", judge.conforms_exactly)


@clause("glu.biases", tier="enclosure")
def test_glu_of_no_features_is_what_its_biases_give(candidate):
    """Empty sums are zero. Blind to other sizes that are zero."""
    biases_are_left(candidate, "glu")


@clause("swiglu.biases", tier="enclosure")
def test_swiglu_of_no_features_is_what_its_biases_give(candidate):
    """Empty sums are zero. Blind to other sizes that are zero."""
    biases_are_left(candidate, "swiglu")


# --- gradients whose sums overflow


def sums_overflow(candidate, operator, shapes, parameters, **textures):
    """Have half of the largest number come back everywhere: every gradient is a sum beyond it, in whatever order."""
    candidate.begin()
    held = dict.fromkeys(shapes, Texture("ones")) | textures
    case = Case(operator, shapes, held, parameters)
    half = np.full(case.result_shape, candidate.format.largest / 2.0)
    seen = candidate.ask_gradient(case.changed(incoming=Texture("normal").holding(half, 1)))
    for name, each in seen.gradients.items():
        candidate.compared(each.size)
        demand(seen, not np.isfinite(each).any(), f"gave numbers for a gradient of {name} whose sum overflows")


@clause("linear.gradient", tier="special", gradient=True)
def test_gradients_of_linear_whose_sums_overflow_are_no_numbers(candidate):
    """By which a scale of losses is halved. Blind to sums that overflow on the way alone."""
    sums_overflow(candidate, "linear", LAYER, {})


@clause("glu.gradient", tier="special", gradient=True)
def test_gradients_of_glu_whose_sums_overflow_are_no_numbers(candidate):
    """By which a scale of losses is halved. Blind to sums that overflow on the way alone."""
    sums_overflow(candidate, "glu", GATES, {}, b=HALF_OPEN, c=Texture("zeros"))


@clause("swiglu.gradient", tier="special", gradient=True)
def test_gradients_of_swiglu_whose_sums_overflow_are_no_numbers(candidate):
    """By which a scale of losses is halved. Blind to sums that overflow on the way alone."""
    sums_overflow(candidate, "swiglu", GATES, {}, b=HALF_OPEN, c=Texture("zeros"))


@clause("conv2d.gradient", tier="special", gradient=True)
def test_gradients_of_conv2d_whose_sums_overflow_are_no_numbers(candidate):
    """By which a scale of losses is halved. Blind to sums that overflow on the way alone."""
    sums_overflow(candidate, "conv2d", IMAGES, {"stride": 1, "padding": 0})


# --- sizes that are multiples


def multiples_are_refused(candidate, operator, **weights):
    """Twice and three times as many features as the weights have are errors."""
    for features, factor, rows in ((4, 2, 2), (4, 3, 6), (16, 2, 8), (3, 3, 9)):
        candidate.begin()
        for batch in ((rows,), (2, rows)):
            sizes = {"x": (*batch, features * factor)}
            sizes |= {name: (5, features)[:axes] for name, axes in weights.items()}
            are_refused(candidate, operator, sizes)


def misfits_are_refused(candidate, operator, given):
    """One of two tensors or more of so many outputs is longer or shorter by one, or x is: an error."""
    features, outputs = 264, 300
    fitting = {"x": (2, 20, features), **dict.fromkeys("wv", (outputs, features)), **dict.fromkeys("bc", (outputs,))}
    for name, off in itertools.product("x" + given * (len(given) > 1), (-1, 1)):
        candidate.begin()
        sizes = {each: list(fitting[each]) for each in "x" + given}
        sizes[name][-1 if name == "x" else 0] += off
        are_refused(candidate, operator, sizes)


@clause("glu.refuses-sizes", tier="contract")
def test_glu_refuses_large_weights_that_do_not_match(candidate):
    """Nor their biases, nor x. Blind to which error it is."""
    misfits_are_refused(candidate, "glu", "wv")
    misfits_are_refused(candidate, "glu", "wvbc")


@clause("swiglu.refuses-sizes", tier="contract")
def test_swiglu_refuses_large_weights_that_do_not_match(candidate):
    """Nor their biases, nor x. Blind to which error it is."""
    misfits_are_refused(candidate, "swiglu", "wv")
    misfits_are_refused(candidate, "swiglu", "wvbc")


@clause("linear.refuses-sizes", tier="contract")
def test_linear_refuses_large_weights_that_do_not_match(candidate):
    """Nor their bias, nor x. Blind to which error it is."""
    misfits_are_refused(candidate, "linear", "w")
    misfits_are_refused(candidate, "linear", "wb")


@clause("glu.refuses-sizes", tier="contract")
def test_glu_refuses_a_multiple_of_its_features(candidate):
    """Which a matrix of other rows would hold. Blind to which error it is."""
    multiples_are_refused(candidate, "glu", w=2, v=2)
    multiples_are_refused(candidate, "glu", w=2, v=2, b=1, c=1)


@clause("swiglu.refuses-sizes", tier="contract")
def test_swiglu_refuses_a_multiple_of_its_features(candidate):
    """Which a matrix of other rows would hold. Blind to which error it is."""
    multiples_are_refused(candidate, "swiglu", w=2, v=2)
    multiples_are_refused(candidate, "swiglu", w=2, v=2, b=1, c=1)


@clause("linear.refuses-sizes", tier="contract")
def test_linear_refuses_a_multiple_of_its_features(candidate):
    """Which a matrix of other rows would hold. Blind to which error it is."""
    multiples_are_refused(candidate, "linear", w=2)
    multiples_are_refused(candidate, "linear", w=2, b=1)
