"""The reference's real functions and exact arithmetic, held against mpmath."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assay.reference.arithmetic import real as functions
from assay.reference.arithmetic.formats import BFLOAT16, FLOAT32, FLOAT64
from assay.reference.arithmetic.primitives import EXACT, FLOAT, maximum
from assay.spec import OPERATORS
from assay.tests.meta.formulas import SHAPES, TRUE, a_case, true_sigmoid
from assay.tests.meta.oracles import FAMILIES, REAL, SEEDS, budget, real, tensor, values

KINDS = st.tuples(*[st.sampled_from(FAMILIES)] * 3)
# Below -708 exp(t), and so the sigmoid, is a subnormal number of binary64, and below -745 it is zero.
NORMAL = st.floats(-708.0, 2000.0)


@budget(1500)
@given(t=st.one_of(NORMAL, st.floats(-708.0, -1.0), st.floats(-1.0, 1.0)))
@example(t=-708.0)
@example(t=0.0)
@example(t=math.log(2.0))
def test_sigmoid_is_right_to_its_stated_error(t):
    exact = true_sigmoid(t)
    assert abs(real(functions.sigmoid(t)) - exact) <= functions.SIGMOID_ERROR * exact


@budget(300)
@given(t=st.floats(-2000.0, -708.0))
@example(t=-745.0)
@example(t=-745.2)
@example(t=-744.5)
def test_sigmoid_below_the_normal_numbers_errs_by_less_than_two_of_the_least(t):
    assert abs(real(functions.sigmoid(t)) - true_sigmoid(t)) < 2 * real(5e-324)


def test_sigmoid_keeps_what_is_no_number_and_has_its_limits():
    assert math.isnan(functions.sigmoid(math.nan))
    assert (functions.sigmoid(math.inf), functions.sigmoid(-math.inf), functions.sigmoid(0.0)) == (1.0, 0.0, 0.5)


@budget(300)
@given(t=st.one_of(st.fractions(-1999, 1999), NORMAL.map(Fraction), st.floats(-1e-300, 1e-300).map(Fraction)))
@example(t=Fraction(0))
@example(t=Fraction(-745))
@example(t=Fraction(745))
@example(t=Fraction(1, 10**40))
@example(t=Fraction(-5995, 3))
@example(t=Fraction(-5990, 7) - 1000)
def test_the_exact_sigmoid_is_right_to_48_digits(t):
    exact = true_sigmoid(t)
    assert abs(real(functions.exact_sigmoid(t)) - exact) <= REAL.mpf(10) ** -48 * exact


@pytest.mark.parametrize("t", (2001, 10**6, 10**400))
def test_far_out_the_exact_sigmoid_is_as_good_as_its_limit(t):
    assert 0 < functions.exact_sigmoid(Fraction(-t)) < Fraction(1, 2**2800)
    assert 1 - functions.exact_sigmoid(Fraction(t)) < Fraction(1, 2**160)


def test_the_largest_of_numbers_is_nan_where_one_is():
    assert functions.maximum([1.0, 3.0, -2.0]) == maximum([1.0, 3.0]) == 3.0
    assert math.isnan(functions.maximum([1.0, math.nan, 3.0])) and math.isnan(functions.maximum([math.nan, 1.0]))


@pytest.mark.parametrize("operator", SHAPES)
@budget(12)
@given(kinds=KINDS, seed=SEEDS, fmt=st.sampled_from((BFLOAT16, FLOAT32, FLOAT64)))
def test_fractions_give_what_mpmath_gives(operator, kinds, seed, fmt):
    """48 digits of each sigmoid; sums and products are exact, but for the reals' own 120 digits."""
    arrays, _ = a_case(operator, fmt, kinds, seed)
    numbers = [tensor(array, EXACT) for array in arrays]
    size = real(1 + max(float(np.abs(array).max()) for array in arrays)) ** 4 * 10
    for at, exact in TRUE[operator](*arrays).items():
        got = OPERATORS[operator].element(at, *numbers, *SHAPES[operator][1])
        assert abs(real(got) - real(exact)) <= size * REAL.mpf(10) ** -48


@pytest.mark.parametrize("operator", ("linear", "pad2d", "conv2d", "max_pool2d"))
@budget(8)
@given(seed=SEEDS)
def test_floats_of_integers_give_what_fractions_give(operator, seed):
    arrays, _ = a_case(operator, BFLOAT16, ("integers",), seed)
    element, parameters = OPERATORS[operator].element, SHAPES[operator][1]
    for at in TRUE[operator](*arrays):
        floats, fractions = (element(at, *(tensor(a, kind) for a in arrays), *parameters) for kind in (FLOAT, EXACT))
        assert Fraction(floats) == fractions


@budget(30)
@given(seed=SEEDS, beta=st.sampled_from((1.0, 0.5, -2.0, 3.0)))
def test_swish_of_fractions_is_x_less_its_mirror_image(seed, beta):
    """swish(x) - swish(-x) = x, because sigmoid(t) + sigmoid(-t) = 1."""
    (x,) = values((1,), FLOAT64, "normal", seed)
    swish = OPERATORS["swish"].element
    sides = [swish((0,), tensor(np.array([s * x]), EXACT), tensor(np.array([beta]), EXACT)) for s in (1.0, -1.0)]
    assert abs(sides[0] - sides[1] - Fraction(x)) < Fraction(1, 10**46)
