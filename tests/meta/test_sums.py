"""The statistics tier: what it permits holds for sums in any order, and small faults are outside."""

from __future__ import annotations

import math

import numpy as np
import pytest

from assay.reference.arithmetic.formats import FLOAT32
from assay.reference.arithmetic.precision import Precision
from assay.tests.trial.sums import margins, sums_of

STRICT = Precision.strict(FLOAT32)


def drawn(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def summed(products, order):
    """Sums in float32, one term after the other."""
    total = np.zeros(len(products), np.float32)
    for k in order:
        total = (total + products[:, k]).astype(np.float32)
    return total.astype(np.float64)


@pytest.mark.parametrize("seed", range(20))
def test_sums_in_any_order_are_within(seed):
    x, w = drawn(seed, 1, 256), drawn(seed + 100, 512, 256)
    exact = sums_of(w.astype(np.float64) * x.astype(np.float64))
    for order in (range(256), np.random.default_rng(seed).permutation(256), np.argsort(-np.abs(x[0]))):
        got = summed(w * x, order)
        assert max(margins(got, exact, STRICT).values()) < 1.0


@pytest.mark.parametrize(
    ("question", "spoil"),
    [
        ("are together too large or too small", lambda got: got * (1.0 + 1e-5)),
        ("lean to one side", lambda got: got + 1e-5),
        ("scatter too widely", lambda got: got + np.random.default_rng(0).standard_normal(got.shape) * 3e-4),
        ("are not all numbers", lambda got: np.where(np.arange(got.size) % 2, np.inf, -np.inf)),
    ],
)
def test_each_question_sees_its_fault(question, spoil):
    x, w = drawn(1, 1, 256), drawn(2, 512, 256)
    exact = sums_of(w.astype(np.float64) * x.astype(np.float64))
    found = margins(spoil(summed(w * x, range(256))), exact, STRICT)
    assert found[question] > 1.0


@pytest.mark.parametrize("terms", [1, 2, 3, 64, 577, 2**12])
def test_what_the_sums_are_held_to_is_as_exact_as_fsum(terms):
    rng = np.random.default_rng(terms)
    rows = rng.standard_normal((8, terms)) * 2.0 ** rng.integers(-30, 30, (8, terms))
    rows[0, : terms // 2] = -rows[0, terms - terms // 2 :]  # which cancel
    exact = np.array(list(map(math.fsum, rows.tolist())))
    off = np.abs(sums_of(rows).exact - exact)
    assert (off <= 2.0**-52 * np.abs(exact) + terms * 2.0**-102 * np.abs(rows).sum(1)).all()


def test_a_declared_tf32_is_granted_what_it_loses():
    x, w = drawn(3, 1, 256), drawn(4, 512, 256)
    rounded = [(a.view(np.int32) + 0x1000 & ~0x1FFF).view(np.float32) for a in (x, w)]
    exact = sums_of(w.astype(np.float64) * x.astype(np.float64))
    got = summed(rounded[0] * rounded[1], range(256))
    assert max(margins(got, exact, STRICT).values()) > 1.0
    assert max(margins(got, exact, Precision.declared(FLOAT32, {"operands": "tf32"})).values()) < 1.0
