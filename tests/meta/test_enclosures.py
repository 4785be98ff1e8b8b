"""Enclosures hold whatever a conforming implementation may return: every order, every rounding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.reference.conv2d import conv2d_element
from assay.reference.glu import glu_element
from assay.reference.linear import linear_element
from assay.reference.max_pool2d import max_pool2d_element
from assay.reference.swiglu import swiglu_element
from assay.reference.swish import swish_element
from assay.tests.meta.oracles import (
    FAMILIES, SEEDS, budget, inside, machines, real, tensor, under, values,
)

TERMS = st.sampled_from((1, 2, 3, 5, 8, 17, 33, 64))
KINDS = st.tuples(*[st.sampled_from(FAMILIES)] * 3)


@budget(250)
@given(machine=machines(), terms=TERMS, kinds=KINDS, seed=SEEDS, biased=st.booleans())
def test_linear_is_enclosed(machine, terms, kinds, seed, biased):
    fmt = machine.precision.storage
    x, w, b = (values(s, fmt, k, seed + i) for i, (s, k) in enumerate(zip([(1, terms), (1, terms), (1,)], kinds)))
    numbers = [tensor(a, under(machine)) for a in (x, w, b)][: 2 + biased]
    ball = linear_element((0, 0), *numbers)
    got = machine.stored(machine.dot(x[0], w[0], b[0] if biased else None))
    assert inside(got, ball), (float(got), ball.bounds(), ball.margin(float(got)))


@budget(400)
@given(machine=machines(), kind=st.sampled_from(FAMILIES), seed=SEEDS, beta=st.sampled_from((None, 0.5, 2.0, -1.0, 1.7, 0.0)))
def test_swish_is_enclosed(machine, kind, seed, beta):
    fmt = machine.precision.storage
    x = values((1,), fmt, kind, seed)
    beta = None if beta is None else fmt.round(beta)
    betas = [] if beta is None else [tensor(np.array([beta]), under(machine))]
    ball = swish_element((0,), tensor(x, under(machine)), *betas)
    got = machine.stored(machine.swish(real(float(x[0])), beta))
    assert inside(got, ball), (float(got), ball.bounds(), ball.margin(float(got)))


@pytest.mark.parametrize(("element", "activation"), [(glu_element, "sigmoid"), (swiglu_element, "swish")])
@budget(250)
@given(machine=machines(), terms=TERMS, kinds=KINDS, seed=SEEDS, biased=st.booleans())
def test_gated_is_enclosed(element, activation, machine, terms, kinds, seed, biased):
    fmt = machine.precision.storage
    shapes = [(1, terms), (1, terms), (1, terms), (1,), (1,)]
    arrays = [values(s, fmt, kinds[i % 3], seed + i) for i, s in enumerate(shapes)]
    x, w, v, b, c = arrays
    numbers = [tensor(a, under(machine)) for a in arrays][: 3 + 2 * biased]
    ball = element((0, 0), *numbers)
    got = machine.stored(machine.gated(activation, x[0], w[0], v[0], b[0] if biased else None, c[0] if biased else None))
    assert inside(got, ball), (float(got), ball.bounds(), ball.margin(float(got)))
