"""Formats round as the hardware's do, and declarations say what they mean."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from assay.reference.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS, STORAGE, TF32
from assay.reference.arithmetic.precision import BadDeclaration, Precision
from assay.tests.meta.oracles import budget

FORMAT = st.sampled_from(tuple(FORMATS.values()))
DOUBLES = st.floats(allow_nan=False)
SINGLES = st.floats(width=32, allow_nan=False)


def to_numpy(x, dtype):
    with np.errstate(over="ignore"):
        return float(np.float64(x).astype(dtype))


def same(a, b):
    """The same number, a zero's sign included."""
    return a == b and math.copysign(1.0, a) == math.copysign(1.0, b)


@budget(300)
@given(x=DOUBLES)
@example(x=2.0**-149)
@example(x=1.5 * 2.0**-149)
@example(x=2.0**-150)
@example(x=3.4028235677973366e38)
@example(x=np.nextafter(3.4028235677973366e38, 0.0))
@example(x=-0.0)
def test_float32_rounds_as_numpy_does(x):
    assert same(FLOAT32.round(float(x)), to_numpy(x, "float32"))


@budget(300)
@given(x=st.one_of(DOUBLES, st.floats(-70000, 70000), st.floats(-1e-4, 1e-4)))
@example(x=65519.99)
@example(x=65520.0)
@example(x=2.0**-25)
@example(x=-(2.0**-25) * 1.0001)
@example(x=1.0 + 2.0**-11)
@example(x=1.0 + 3 * 2.0**-11)
def test_float16_rounds_as_numpy_does(x):
    assert same(FLOAT16.round(x), to_numpy(x, "float16"))


@budget(300)
@given(x=SINGLES)
@example(x=2.0**-134)
@example(x=3.0 * 2.0**-134)
@example(x=float(np.float32(3.3961775e38)))
@example(x=1.0 + 2.0**-8)
@example(x=1.0 + 3 * 2.0**-8)
def test_bfloat16_rounds_as_torch_does(x):
    assert same(BFLOAT16.round(x), float(torch.tensor(x, dtype=torch.float32).to(torch.bfloat16)))


@budget(100)
@given(x=DOUBLES)
def test_float64_holds_every_double(x):
    assert FLOAT64.holds(x) and same(FLOAT64.round(x), x)


@pytest.mark.parametrize("dtype", ("bfloat16", "float16"))
def test_a_format_holds_each_of_its_numbers_and_none_between(dtype):
    bits = torch.arange(-(2**15), 2**15, 7, dtype=torch.int32).to(torch.int16)
    numbers = bits.view(getattr(torch, dtype)).double()
    fmt, finite = STORAGE[dtype], sorted(set(numbers[numbers.isfinite()].tolist()))
    assert all(fmt.holds(x) for x in finite)
    assert not any(fmt.holds(x + math.copysign(float(fmt.spacing(x)) / 2, x)) for x in finite)


@budget(200)
@given(fmt=FORMAT, x=st.one_of(DOUBLES, st.fractions(-70000, 70000)))
def test_rounding_goes_to_the_nearest_and_ties_to_even(fmt, x):
    got = fmt.round(x)
    if math.isfinite(got) and math.isfinite(x):
        error, step = abs(Fraction(x) - Fraction(got)), fmt.spacing(x)
        assert error < step / 2 or (error == step / 2 and Fraction(got) / step % 2 == 0)
        assert error <= max(
            fmt.unit * abs(Fraction(x)), Fraction(fmt.least_subnormal if fmt.least_subnormal else 0) / 2
        )


@budget(100)
@given(fmt=FORMAT, x=DOUBLES)
def test_rounding_twice_rounds_once(fmt, x):
    assert fmt.holds(fmt.round(x))


@pytest.mark.parametrize("fmt", FORMATS.values(), ids=str)
def test_the_constants_of_a_format_are_ieee_754s(fmt):
    largest = Fraction(2) ** (fmt.emax + 1) - Fraction(2) ** (fmt.emax + 1 - fmt.precision)
    assert (fmt.largest, fmt.least_normal) == (float(largest), 2.0 ** (1 - fmt.emax))
    assert fmt.round(largest + Fraction(fmt.spacing(fmt.largest)) / 2) == math.inf
    assert fmt.round(-(Fraction(10) ** 400)) == -math.inf
    assert fmt.spacing(0.0) == fmt.spacing(fmt.least_normal) == fmt.least_subnormal


@pytest.mark.parametrize("dtype", ("float64", "float32", "float16", "bfloat16"))
def test_the_constants_of_a_format_are_torchs(dtype):
    info, fmt = torch.finfo(getattr(torch, dtype)), STORAGE[dtype]
    assert (fmt.largest, fmt.least_normal, 2.0 * fmt.unit) == (info.max, info.tiny, info.eps)


def test_tf32_is_float32_with_the_fraction_of_float16():
    assert (TF32.precision, TF32.emax) == (FLOAT16.precision, FLOAT32.emax)


@pytest.mark.parametrize("fmt", STORAGE.values(), ids=str)
def test_strict_sums_are_float32_or_wider(fmt):
    strict = Precision.strict(fmt)
    assert strict.accumulation is (FLOAT64 if fmt is FLOAT64 else FLOAT32) and strict.operands is fmt
    assert not strict.flush and strict.algorithm == "direct" and str(strict) == "strict"


@pytest.mark.parametrize(
    ("declaration", "words"),
    [
        ({"rounding": "up"}, "unknown key 'rounding'; allowed: accumulation, operands, flush, "),
        ({"accumulation": "int8"}, "accumulation='int8'; allowed: float64, float32, tf32, bfloat16, float16, storage"),
        ({"flush": "no"}, "flush='no'; allowed: True, False"),
        ({"algorithm": "strassen"}, "algorithm='strassen'; allowed: direct, winograd, fft"),
    ],
)
def test_a_declaration_without_meaning_is_refused(declaration, words):
    with pytest.raises(BadDeclaration) as problem:
        Precision.declared(FLOAT32, declaration)
    assert str(problem.value).startswith(words)


@pytest.mark.parametrize(
    ("fmt", "declared", "exact"),
    [
        (FLOAT32, {}, True),
        (FLOAT32, {"operands": "tf32"}, True),
        (FLOAT32, {"operands": "bfloat16"}, False),
        (FLOAT32, {"accumulation": "bfloat16"}, False),
        (FLOAT64, {"operands": "float32"}, True),
        (FLOAT64, {"accumulation": "float32"}, False),
        (BFLOAT16, {"accumulation": "storage"}, True),
        (FLOAT16, {"operands": "bfloat16"}, False),
        (FLOAT32, {"algorithm": "fft"}, False),
    ],
    ids=str,
)
def test_integers_stay_exact_where_no_number_on_the_way_has_fewer_bits(fmt, declared, exact):
    assert Precision.declared(fmt, declared).exact_on_integers is exact
