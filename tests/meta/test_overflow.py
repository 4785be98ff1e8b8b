"""Where numbers end: overflow, underflow, NaN and infinities, and what no cited bound covers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from assay.reference.arithmetic.enclosure import Enclosure
from assay.reference.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, STORAGE, TF32
from assay.reference.arithmetic.precision import Precision, Refusal
from assay.reference.arithmetic.tape import Tape
from assay.spec import OPERATORS
from assay.tests.meta.oracles import tensor

INF, NAN = math.inf, math.nan


def ball(operator, fmt, *arrays, **declaration):
    """The enclosure of the first element of an operator's result."""
    enclosure = Enclosure(Precision.declared(fmt, declaration))
    numbers = [tensor(np.array(array, dtype=float), enclosure) for array in arrays]
    rank = max(1, arrays[0].ndim if hasattr(arrays[0], "ndim") else np.ndim(arrays[0]))
    return OPERATORS[operator].element((0,) * rank, *numbers)


def admits(permitted, *candidates):
    """Which of some answers an enclosure admits."""
    return [got for got in candidates if got in permitted]


@pytest.mark.parametrize("sign", (1.0, -1.0))
def test_a_float16_past_the_largest_may_be_infinite_with_the_right_sign_alone(sign):
    far = ball("linear", FLOAT16, [[300.0]], [[sign * 300.0]])
    assert admits(far, INF, -INF, NAN, 65504.0, -65504.0) == [sign * INF]


def test_a_float16_at_the_edge_may_round_either_way():
    """65519 rounds to 65504 and 65520 to infinity; with float32's error either may come out as the other."""
    edge = ball("linear", FLOAT16, [[255.875, 16.0]], [[256.0, 1.0]])
    assert admits(edge, INF, 65504.0, -INF, 65408.0) == [INF, 65504.0]


def test_a_float16_within_the_numbers_is_never_infinite():
    assert admits(ball("linear", FLOAT16, [[250.0]], [[250.0]]), INF, -INF, 62400.0, 62496.0) == [62496.0]


@pytest.mark.parametrize("fmt", (FLOAT32, BFLOAT16, FLOAT64), ids=str)
def test_a_sum_whose_terms_pass_the_largest_is_undetermined(fmt):
    """Some order of 3/4 + 3/4 - 3/4 - 3/4 times the largest overflows, to either side."""
    big = fmt.round(0.75 * 2.0**fmt.emax)
    permitted = ball("linear", fmt, [[1.0, 1.0, -1.0, -1.0]], [[big, big, big, big]])
    assert not permitted.determined and admits(permitted, INF, -INF, 0.0, NAN) == [INF, -INF, 0.0, NAN]


@pytest.mark.parametrize("fmt", (FLOAT32, BFLOAT16, FLOAT64), ids=str)
@pytest.mark.parametrize("sign", (1.0, -1.0))
def test_a_result_past_the_largest_for_certain_is_infinite(fmt, sign):
    """A product; not one that a rounding may take back, nor a sum, of which a compensated one is NaN."""
    big = fmt.round(0.75 * 2.0**fmt.emax)
    permitted = ball("swiglu", fmt, [[0.0]], [[0.0]], [[0.0]], [16.0], [sign * big])
    assert admits(permitted, INF, -INF, 0.0, NAN, sign * fmt.largest) == [sign * INF]
    assert permitted.bounds() == (sign * INF, sign * INF)
    edge = ball("swiglu", fmt, [[0.0]], [[0.0]], [[0.0]], [32.0], [sign * fmt.largest / 32.0])
    assert sign * fmt.largest in edge and sign * INF in edge
    assert NAN in ball("linear", fmt, [[1.0, 1.0, 1.0]], [[sign * big] * 3])


@pytest.mark.parametrize("sign", (1.0, -1.0))
def test_half_of_what_passes_float16_is_itself_or_infinite_and_not_half_of_the_largest(sign):
    """300 times 300 is no float16, half of it is; a gate that may have underflowed makes NaN of an infinity."""
    branch = ball("glu", FLOAT16, [[300.0]], [[0.0]], [[sign * 300.0]])
    assert admits(branch, INF, -INF, NAN, 45000.0, -45000.0, 32752.0, -32752.0) == [sign * INF, sign * 45000.0]
    shut = ball("glu", FLOAT16, [[300.0]], [[0.0]], [[300.0]], [-20.0])
    assert NAN in shut and 0.0 in shut


def gradient_of_w(operator, fmt, incoming):
    """The enclosure of the gradient of the gate's weight, of an input of 1, a gate of 700 and a branch of 0."""
    tape = Tape(Enclosure(Precision.declared(fmt, {})))
    numbers = [tensor(np.array(array), tape) for array in ([[1.0]], [[700.0]], [[0.0]])]
    back = tape.backward([(OPERATORS[operator].element((0, 0), *numbers), incoming)])
    return back(numbers[1], 0)


@pytest.mark.parametrize("fmt", STORAGE.values(), ids=str)
def test_going_back_swiglu_as_glu_times_the_gate_may_overflow_where_the_incoming_gradient_times_the_gate_does(fmt):
    """100 times 700 is no float16, and who has stored it makes NaN of an infinity times zero."""
    assert gradient_of_w("swiglu", fmt, 100.0).determined == (fmt is not FLOAT16)
    assert gradient_of_w("swiglu", fmt, 1.0).determined
    assert gradient_of_w("glu", fmt, 100.0).determined


def test_nothing_is_required_of_what_is_computed_of_an_overflow():
    """In float64, say, the gate is 1e30 and not infinite."""
    permitted = ball("swiglu", FLOAT32, [[1.0] * 4], [[1e38] * 4], [[1e-38 / 4] * 4], [0.0], [0.0])
    assert admits(permitted, INF, 4.0) == [INF, 4.0]


@pytest.mark.parametrize("fmt", STORAGE.values(), ids=str)
def test_a_sum_that_cannot_overflow_is_determined(fmt):
    big = fmt.round(0.2 * fmt.largest)
    assert ball("linear", fmt, [[1.0, 1.0, -1.0, -1.0]], [[big, big, big, big]]).determined


@pytest.mark.parametrize("fmt", (FLOAT32, BFLOAT16), ids=str)
def test_the_sigmoid_of_a_number_that_overflows_exp_may_be_zero(fmt):
    """swish(-89) is -1.99e-37, a normal number, but exp(89) is infinite in float32."""
    assert admits(ball("swish", fmt, [-89.0]), 0.0, -0.0, fmt.round(-1.987e-37), 1e-36, -1e-36, -89.0) == [
        0.0,
        -0.0,
        fmt.round(-1.987e-37),
    ]


@pytest.mark.parametrize("fmt", (FLOAT32, BFLOAT16, FLOAT64), ids=str)
def test_far_below_the_reach_of_exp_swish_is_next_to_nothing(fmt):
    far = ball("swish", fmt, [fmt.round(-1e8)])
    assert admits(far, 0.0, 1.0, -1.0, -1e8, -1e-20, 1e-20) == [0.0]


def test_the_sigmoid_of_a_number_that_exp_can_take_is_not_zero():
    assert 0.0 not in ball("swish", FLOAT32, [-80.0]) and 0.0 not in ball("swish", FLOAT64, [-700.0])


@pytest.mark.parametrize("fmt", STORAGE.values(), ids=str)
@pytest.mark.parametrize("operator", ("linear", "glu", "swiglu"))
def test_nan_in_a_row_is_nan_in_its_results(operator, fmt):
    weights = [[[1.0, -2.0]]] * (1 if operator == "linear" else 2)
    assert admits(ball(operator, fmt, [[NAN, 1.0]], *weights), NAN, 0.0, INF, 1.0) == [NAN]


@pytest.mark.parametrize("fmt", STORAGE.values(), ids=str)
@pytest.mark.parametrize("operator", ("glu", "swiglu"))
@pytest.mark.parametrize("biases", (([NAN], [1.0]), ([1.0], [NAN])), ids=("b", "c"))
def test_nan_in_a_bias_is_nan_in_its_results(operator, biases, fmt):
    assert admits(ball(operator, fmt, [[1.0, 3.0]], [[1.5, -2.0]], [[0.3125, 1.0]], *biases), NAN, 0.0, 1.0) == [NAN]


@pytest.mark.parametrize("fmt", STORAGE.values(), ids=str)
def test_infinities_add_up_as_ieee_754_has_it(fmt):
    assert admits(ball("linear", fmt, [[INF, 1.0]], [[2.0, 1.0]]), INF, -INF, NAN, 3.0) == [INF]
    assert admits(ball("linear", fmt, [[INF, 1.0]], [[-2.0, 1.0]]), INF, -INF, NAN, 3.0) == [-INF]
    assert admits(ball("linear", fmt, [[INF, -INF]], [[1.0, 1.0]]), INF, -INF, NAN, 0.0) == [NAN]
    assert admits(ball("linear", fmt, [[1.0, 1.0]], [[1.0, 1.0]], [-INF]), INF, -INF, NAN, 2.0) == [-INF]


@pytest.mark.parametrize("fmt", STORAGE.values(), ids=str)
def test_swish_of_what_is_no_number_is_its_limit_where_it_has_one(fmt):
    assert admits(ball("swish", fmt, [INF]), INF, NAN, 0.0) == [INF]
    assert admits(ball("swish", fmt, [NAN]), INF, NAN, 0.0) == [NAN]


@pytest.mark.parametrize("fmt", STORAGE.values(), ids=str)
def test_special_elements_elsewhere_change_nothing(fmt):
    """Row 0 is finite, whatever row 1 holds."""
    alone = ball("linear", fmt, [[1.0, 2.0], [3.0, 4.0]], [[3.0, 5.0]])
    beside = ball("linear", fmt, [[1.0, 2.0], [NAN, INF]], [[3.0, 5.0]])
    assert (alone.middle, alone.radius) == (beside.middle, beside.radius)


@pytest.mark.parametrize("fmt", (FLOAT32, FLOAT64), ids=str)
def test_finite_terms_that_may_overflow_leave_an_infinity_beside_them_undetermined(fmt):
    """inf - largest - largest is inf, or NaN where the two are added first."""
    beside = ball("linear", fmt, [[INF, -1.0, -1.0]], [[1.0, fmt.largest, fmt.largest]])
    elsewhere = ball("linear", fmt, [[-1.0, 1.0], [NAN, 0.0]], [[fmt.largest, fmt.largest]])
    assert not beside.determined and not elsewhere.determined


def test_finite_products_past_binary64_are_undetermined_whatever_the_other_rows_hold():
    """1e400 - 1e400 is 0, infinite or NaN; NaN is in row 1 alone."""
    assert not ball("linear", FLOAT64, [[1e200, -1e200], [NAN, 0.0]], [[1e200, 1e200]]).determined


def test_nothing_says_how_far_a_sum_of_too_many_terms_may_be_off():
    """n u >= 1/2: 128 terms in bfloat16."""
    ones = np.ones((1, 128))
    with pytest.raises(Refusal) as refusal:
        ball("linear", BFLOAT16, ones, ones, accumulation="storage")
    assert str(refusal.value) == (
        "a sum of n=128 terms accumulated in bfloat16 has no useful bound (n u = 0.5, the limit is 0.5)"
    )
    assert ball("linear", BFLOAT16, ones[:, 1:], ones[:, 1:], accumulation="storage").determined


@pytest.mark.parametrize("algorithm", ("winograd", "fft"))
def test_nothing_says_how_far_another_algorithm_may_be_off(algorithm):
    """For a convolution there are bounds (test_algorithms), for a matrix product there are none."""
    with pytest.raises(Refusal) as refusal:
        ball("linear", FLOAT32, [[1.0]], [[1.0]], algorithm=algorithm)
    assert str(refusal.value) == (f"no cited error bound for algorithm={algorithm}; declare 'direct' or leave it out")


@pytest.mark.parametrize("fmt", (FLOAT32, BFLOAT16, FLOAT16), ids=str)
def test_flushing_admits_zero_for_subnormals_only_where_it_is_declared(fmt):
    x, w = [[fmt.least_normal]], [[0.5]]
    strict, flushing = ball("linear", fmt, x, w), ball("linear", fmt, x, w, flush=True)
    assert 0.0 not in strict and 0.0 in flushing
    assert fmt.least_normal / 2 in strict and fmt.least_normal / 2 in flushing


def test_flushing_admits_zero_for_a_subnormal_input_too():
    """CUDA C++ Programming Guide, -ftz=true: subnormal inputs are taken for zero."""
    x, w = [[2.0**-130]], [[2.0**100]]
    assert 0.0 in ball("linear", FLOAT32, x, w, flush=True) and 0.0 not in ball("linear", FLOAT32, x, w)


FLUSHING = {"accumulation": "storage", "flush": True}


def test_flushing_admits_nothing_where_no_number_is_subnormal():
    """One that may be taken for zero adds its own size, and other sums have what they have without."""
    for small, least, most in ((0.25, 0.0, 0.0), (2.0**-15, 2.0**-18, 2.0**-16)):
        given = [[0.5, 0.25, 0.5, small]], [[0.5, 1.0, 2.0, 0.25]]
        strict, flushing = (ball("linear", FLOAT16, *given, **{**FLUSHING, "flush": flush}) for flush in (False, True))
        assert least <= flushing.radius - strict.radius <= most


def test_a_sum_on_the_way_may_be_flushed_where_signs_differ():
    """0.5 + 2^-15 - 0.5 is flushed, and then nothing is added to 1."""
    x, w = [[0.5, 2.0**-7, -0.5, 1.0]], [[1.0, 2.0**-7, 1.0, 1.0]]
    one_sign = [[abs(value) for value in x[0]]]
    permitted, other = (ball("linear", FLOAT16, values, w, **FLUSHING) for values in (x, one_sign))
    assert 1.5 * FLOAT16.least_normal < permitted.radius - other.radius < 2.5 * FLOAT16.least_normal


@pytest.mark.parametrize("flush", (False, True))
def test_an_operand_may_be_no_normal_number_of_its_format(flush):
    """TF32 has 2^-136 for its least number: 1e-39 is a multiple of it but for its half; or it is flushed."""
    nearest = TF32.round(1e-39)
    assert abs(nearest - 1e-39) > 2 * TF32.unit * 1e-39
    permitted = ball("linear", FLOAT32, [[1e-39]], [[1.0]], operands="tf32", flush=flush)
    assert nearest in permitted and (0.0 in permitted) is flush
    assert nearest not in ball("linear", FLOAT32, [[1e-39]], [[1.0]])


def test_an_operand_may_be_infinite_in_its_format():
    permitted = ball("linear", FLOAT32, [[1e5]], [[0.5]], operands="float16")
    assert not permitted.determined and ball("linear", FLOAT32, [[6e4]], [[0.5]], operands="float16").determined
    assert not ball("linear", FLOAT32, [[1e5]], [[0.0]], operands="float16").determined


@pytest.mark.parametrize("declared", ({"flush": True}, {"operands": "float16"}), ids=str)
def test_an_infinity_may_meet_a_zero_that_was_a_subnormal_number(declared):
    x, w = [[np.inf, 1.0]], [[1e-40, 1.0]]
    assert not ball("linear", FLOAT32, x, w, **declared).determined and ball("linear", FLOAT32, x, w).middle == np.inf


def test_a_product_rounds_nothing_where_a_factor_is_zero():
    permitted = ball("linear", FLOAT32, [[0.0, 0.0]], [[3.0, 1e30]])
    assert (permitted.middle, permitted.radius) == (0.0, 0.0)
