"""Enclosures hold whatever a conforming implementation may return, every order and every rounding, and little else."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.reference.arithmetic.enclosure import Enclosure
from assay.reference.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, TF32
from assay.reference.arithmetic.precision import Precision
from assay.reference.conv2d import conv2d_element
from assay.reference.glu import glu_element
from assay.reference.linear import linear_element
from assay.reference.max_pool2d import max_pool2d_element
from assay.reference.swiglu import swiglu_element
from assay.reference.swish import swish_element
from assay.tests.meta.formulas import true_dot, true_swish, window
from assay.tests.meta.oracles import (
    DECLARED,
    FAMILIES,
    SEEDS,
    STRICT,
    Machine,
    budget,
    fraction,
    inside,
    machines,
    real,
    tensor,
    under,
    values,
)
from assay.tests.mutants.correct.sums import kahan
from assay.tests.trial.textures import REALS

TERMS = st.sampled_from((1, 2, 3, 5, 8, 17, 33, 64))
KINDS = st.tuples(*[st.sampled_from(FAMILIES)] * 3)
LARGER = st.tuples(*[st.sampled_from(REALS)] * 3)  # 400 bits do not hold 1 and a subnormal number of float64
BETAS = st.sampled_from((None, 0.5, 2.0, -1.0, 1.7, 0.0, -0.3))
SINGLE = Machine(Precision.strict(FLOAT32), "nearest", 0)
GATED = [(glu_element, "sigmoid"), (swiglu_element, "swish")]


def drawn(machine, shapes, kinds, seed):
    """Arrays of these shapes in the machine's storage format."""
    fmt = machine.precision.storage
    return [values(shape, fmt, kinds[i % len(kinds)], seed + i) for i, shape in enumerate(shapes)]


def enclosed(machine, got, element, at, arrays, *parameters):
    """Whether a simulated result lies in the enclosure of the formula's element."""
    numbers = [None if array is None else tensor(array, under(machine)) for array in arrays]
    return inside(got, element(at, *numbers, *parameters))


@budget(400)
@given(machine=machines(), terms=TERMS, kinds=KINDS, seed=SEEDS, biased=st.booleans())
def test_linear_is_enclosed(machine, terms, kinds, seed, biased):
    x, w, b = drawn(machine, [(1, terms), (1, terms), (1,)], kinds, seed)
    got = machine.stored(machine.dot(x[0], w[0], b[0] if biased else None))
    assert enclosed(machine, got, linear_element, (0, 0), [x, w, b if biased else None])


@budget(800)
@given(machine=machines(), kind=st.sampled_from(FAMILIES), seed=SEEDS, beta=BETAS)
def test_swish_is_enclosed(machine, kind, seed, beta):
    (x,) = drawn(machine, [(1,)], (kind,), seed)
    beta = None if beta is None else machine.precision.storage.round(beta)
    got = machine.stored(machine.swish(real(float(x[0])), beta))
    assert enclosed(machine, got, swish_element, (0,), [x, None if beta is None else np.array([beta])])


@pytest.mark.parametrize(("element", "activation"), GATED, ids=("glu", "swiglu"))
@budget(250)
@given(machine=machines(), terms=TERMS, kinds=KINDS, seed=SEEDS, biased=st.booleans())
def test_gated_units_are_enclosed(element, activation, machine, terms, kinds, seed, biased):
    x, w, v, b, c = drawn(machine, [(1, terms), (1, terms), (1, terms), (1,), (1,)], kinds, seed)
    biases = (b[0], c[0]) if biased else (None, None)
    got = machine.stored(machine.gated(activation, x[0], w[0], v[0], *biases))
    assert enclosed(machine, got, element, (0, 0), [x, w, v, *((b, c) if biased else (None, None))])


@budget(200)
@given(
    machine=machines(),
    channels=st.sampled_from((1, 2, 3)),
    kernel=st.sampled_from(((3, 3), (1, 2), (2, 5), (1, 1))),
    stride=st.sampled_from(((1, 1), (2, 1), (1, 3))),
    padding=st.sampled_from(((0, 0), (1, 0), (0, 2), (2, 1))),
    kinds=KINDS,
    seed=SEEDS,
    biased=st.booleans(),
)
def test_conv2d_is_enclosed(machine, channels, kernel, stride, padding, kinds, seed, biased):
    shapes = [(2, channels, 6, 8), (2, channels, *kernel), (2,)]
    input, weight, bias = drawn(machine, shapes, kinds, seed)
    at = (1, 1, machine.choice.randrange(2), machine.choice.randrange(2))
    seen = window(input[1], at[2:], kernel, stride, padding, 0.0)
    got = machine.stored(machine.dot(seen, weight[1].ravel(), bias[1] if biased else None))
    arrays = [input, weight, bias if biased else None]
    assert enclosed(machine, got, conv2d_element, at, arrays, stride, padding)


@budget(40)
@given(machine=machines(), kernel=st.sampled_from(((2, 2), (3, 2), (1, 3))), kinds=KINDS, seed=SEEDS)
def test_max_pool2d_is_one_of_its_inputs_and_nothing_else(machine, kernel, kinds, seed):
    (input,) = drawn(machine, [(1, 2, 5, 6)], kinds, seed)
    seen = window(input[0, 1], (1, 1), kernel, (1, 2), (0, 1), -np.inf)
    ball = max_pool2d_element((0, 1, 1, 1), tensor(input, under(machine)), kernel, (1, 2), (0, 1))
    assert max(seen) in ball
    assert machine.precision.flush or np.nextafter(max(seen), np.inf) not in ball


# Some computations by hand, each of which a bound of the first order alone would miss.


def test_tf32_operands_and_float32_sums_err_together():
    machine = Machine(Precision.declared(FLOAT32, {"operands": "tf32"}), "away", 0)
    x, w = np.array([[1.7421875 + 2.0**-20]]), np.array([[1.3359375 + 2.0**-21]])
    assert enclosed(machine, machine.dot(x[0], w[0]), linear_element, (0, 0), [x, w])


@pytest.mark.parametrize("fmt", (FLOAT32, BFLOAT16), ids=str)
def test_a_sigmoid_whose_argument_cancels_may_be_anything(fmt):
    """1e10 - 400 - 400 - 1e10 is -800 exactly, and 0 in float32: sigmoid is 1/2 there, and not exp(-800)."""
    big, small = fmt.round(1e5), 20.0
    x, w = [big, small, small, -big], [big, -small, -small, big]
    total = np.float32(0.0)
    for a, b in zip(x, w, strict=True):
        total += np.float32(a) * np.float32(b)
    arrays = [np.array([x]), np.array([w]), np.zeros((1, 4)), None, np.ones(1)]
    assert total == 0.0 and enclosed(Machine(Precision.strict(fmt), "nearest", 0), 0.5, glu_element, (0, 0), arrays)


def test_a_product_stored_before_its_bias_may_overflow():
    """40000 + 40000 is infinite in float16, whatever bias comes after."""
    strict = Enclosure(Precision.strict(FLOAT16))
    x, w, b = np.array([[200.0, 200.0]]), np.array([[200.0, 200.0]]), np.array([-30000.0])
    ball = linear_element((0, 0), *(tensor(a, strict) for a in (x, w, b)))
    assert np.inf in ball and 50000.0 in ball and -np.inf not in ball and 50100.0 not in ball


def test_a_format_of_fewer_bits_than_storage_rounds_products_too():
    declared = Enclosure(Precision.declared(FLOAT32, {"accumulation": "bfloat16"}))
    x, beta = np.array([1.01171875]), np.array([0.0])
    assert FLOAT32.holds(x[0] / 2) and BFLOAT16.round(x[0] / 2) != x[0] / 2
    assert BFLOAT16.round(x[0] / 2) in swish_element((0,), tensor(x, declared), tensor(beta, declared))


def test_who_flushes_may_flush_a_product_that_is_exact():
    declared = Enclosure(Precision.declared(FLOAT32, {"flush": True}))
    assert 0.0 in declared.number(2.0**-126) * declared.number(0.5)


# The middle is the exact value, and the radius is what the model's steps add up to.


@budget(60)
@given(precision=st.sampled_from(DECLARED), terms=TERMS, kinds=LARGER, seed=SEEDS, biased=st.booleans())
def test_the_middle_of_a_sum_is_its_exact_value(precision, terms, kinds, seed, biased):
    machine = Machine(precision, "nearest", seed)
    x, w, b = drawn(machine, [(1, terms), (1, terms), (1,)], kinds, seed)
    ball = linear_element((0, 0), *[tensor(a, under(machine)) for a in (x, w, b)][: 2 + biased])
    exact = fraction(true_dot(x[0], w[0], b[0] if biased else None))
    assert not ball.determined or abs(Fraction(ball.middle) - exact) <= carrier(precision) * abs(exact)


def test_the_middle_of_a_sum_survives_cancelling():
    arrays = [np.array([[2.0**20, 1.0, -(2.0**20)]]), np.array([[2.0**20, 2.0**-20, 2.0**20]])]
    strict = Enclosure(Precision.strict(FLOAT32))
    assert linear_element((0, 0), *(tensor(a, strict) for a in arrays)).middle == 2.0**-20


@budget(60)
@given(precision=st.sampled_from(STRICT), seed=SEEDS, beta=st.sampled_from((1.0, 0.5, -2.0)))
def test_the_middle_of_swish_is_its_exact_value(precision, seed, beta):
    machine = Machine(precision, "nearest", seed)
    (x,) = drawn(machine, [(1,)], ("normal",), seed)
    ball = swish_element((0,), tensor(x, under(machine)), tensor(np.array([beta]), under(machine)))
    exact = fraction(true_swish(float(x[0]), beta))
    assert abs(Fraction(ball.middle) - exact) <= carrier(precision, digits=47) * abs(exact)


def carrier(precision, digits=400):
    """The middle's relative error: none for fractions (the sigmoid's digits apart), else the last bits of binary64."""
    return Fraction(10) ** -digits if precision.storage is FLOAT64 else Fraction(1, 2**50)


@pytest.mark.parametrize("precision", DECLARED, ids=lambda precision: f"{precision.storage}-{precision}")
def test_a_sums_radius_is_its_first_order_bound(precision):
    """n u sum|x w|, twice the operands' roundoff, and storage's for the result and for the product before the bias.

    gamma_n is n u / (1 - n u), hence the factor.
    """
    terms = 16
    machine = Machine(precision, "nearest", 0)
    x, w, b = drawn(machine, [(1, terms), (1, terms), (1,)], ("positive",), 5)
    ball = linear_element((0, 0), *(tensor(a, under(machine)) for a in (x, w, b)))
    n, u, own = terms + 1, precision.accumulation.unit, precision.storage is precision.accumulation
    units = n * u + (0.0 if precision.operands is precision.storage else 2.0 * precision.operands.unit)
    units += 0.0 if own else 2.0 * precision.storage.unit
    assert 0.5 < ball.radius / (units * float(ball.middle)) < 1.01 * (1.0 + 2.0 * units) / (1.0 - n * u)


def test_a_compensated_sum_of_two_terms_and_a_zero_is_enclosed():
    """Where the second term is the larger one, Kahan's correction is off, and is added when the zero comes."""
    rng, most = np.random.default_rng(0), 0.0
    for x, w in rng.uniform(0.68, 0.72, (2000, 2, 3)).astype(np.float32):
        x[1], x[2] = x[1] * np.float32(1.25), 0.0
        got = fraction(float(kahan(x * w)))
        ball = linear_element((0, 0), *(tensor(a[None].astype(float), under(SINGLE)) for a in (x, w)))
        assert inside(got, ball)
        most = max(most, float(abs(got - ball.middle) / ball.middle))
    assert most > 2.0 * FLOAT32.unit


@pytest.mark.parametrize("precision", STRICT, ids=lambda precision: str(precision.storage))
@pytest.mark.parametrize("x", (0.75, -0.5, 3.0, -6.0, 8.0, -32.0))
def test_the_radius_of_swish_is_its_first_order_bound(precision, x):
    """Steps: t = beta x, stored; the sigmoid, moved by t's error, stored; the product, stored."""
    strict = Enclosure(precision)
    beta, u = 1.25, precision.accumulation.unit
    ball = swish_element((0,), tensor(np.array([x]), strict), tensor(np.array([beta]), strict))
    store = 0.0 if precision.storage is precision.accumulation else precision.storage.unit
    t, rest = beta * x, 1.0 - float(true_swish(x, beta)) / x
    steps = abs(t) * rest * (u + store) + (5.0 + rest * (4.0 + 2.346 * abs(t))) * u + store + u + store
    least = precision.storage.least_subnormal * abs(x)
    assert ball.radius < 1.25 * steps * abs(float(ball.middle)) + 4.0 * least


def two_parts(a, b):
    """a * b and what its rounding lost, added: TwoProduct by Veltkamp's split."""

    def split(t):
        high = t * 134217729.0
        high -= high - t
        return high, t - high

    (a1, a2), (b1, b2), p = split(a), split(b), a * b
    return p + (a2 * b2 - (((p - a1 * b1) - a2 * b1) - a1 * b2))


def test_a_product_in_two_parts_may_be_off_below_the_normal_numbers():
    rng = np.random.default_rng(0)
    balls, off = [], 0
    for a, b in zip(rng.standard_normal(400), rng.standard_normal(400) * FLOAT64.least_normal, strict=True):
        x, w = (tensor(np.array([[t]]), Enclosure(Precision.strict(FLOAT64))) for t in (a, b))
        balls.append((linear_element((0, 0), x, w, None), two_parts(a, b)))
        off += two_parts(a, b) != a * b
    assert off > 40 and all(got in ball for ball, got in balls)


ALL_POSITIVE = [values((1, 64), FLOAT32, "positive", seed) for seed in range(12)]


def bad_sums(x, w):
    """What implementations that do not conform to float32 make of a sum of 64 products."""
    exact = float(true_dot(x, w))
    yield "operands in TF32", float(true_dot([TF32.round(v) for v in x], [TF32.round(v) for v in w]))
    total = 0.0
    for a, b in zip(x, w, strict=True):
        total = BFLOAT16.round(total + a * b)
    yield "sums in bfloat16", total
    yield "1e-5 too large", exact * (1 + 1e-5)
    yield "1e-5 too small", exact * (1 - 1e-5)


@pytest.mark.parametrize("k", range(6))
def test_what_is_not_float32_lies_outside(k):
    x, w = ALL_POSITIVE[2 * k], ALL_POSITIVE[2 * k + 1]
    strict = Enclosure(Precision.strict(FLOAT32))
    ball = linear_element((0, 0), tensor(x, strict), tensor(w, strict))
    assert [name for name, got in bad_sums(x[0], w[0]) if ball.margin(got) <= 1.0] == []


def test_a_subnormal_error_is_not_doubled():
    """It is half of the least number and a little, by one rounding; as a binary64 number it would be two of them."""
    strict = Enclosure(Precision.strict(FLOAT64))
    x, beta = float.fromhex("-0x0.360a55dd33de3p-1022"), 2.0**1022
    ball = swish_element((0,), tensor(np.array([x]), strict), tensor(np.array([beta]), strict))
    assert 0.5 < ball.margin(float.fromhex("-0x0.182dc6bebbce4p-1022")) < 1.0
    assert ball.margin(float.fromhex("-0x0.182dc6bebbce2p-1022")) > 1.0
