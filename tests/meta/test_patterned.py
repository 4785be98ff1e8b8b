"""Patterns in values, and the layers that show them."""

from __future__ import annotations

import numpy as np
import pytest

from assay.implementations.load import load
from assay.reference.arithmetic.formats import STORAGE
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.patterned import BACK, OF_BETA, OF_TIES, PATTERNS, Patterned, Result, patterned
from assay.tests.trial.patterns import ALL, OF_BORDERS, OF_PLANES, OF_ROWS, OF_UNTIED
from assay.tests.trial.planes import Untied
from assay.tests.trial.sweeps import SWEPT
from assay.tests.trial.textures import Texture, rounded
from assay.tests.trial.whole import fits, going_back, of_whole_numbers

SHAPES = ((5, 7), (32, 32), (8, 3), (2, 2), (4, 6, 9, 10), (8, 8, 3, 3), (1, 1, 2, 1))


@pytest.mark.parametrize("dtype", STORAGE)
@pytest.mark.parametrize("pattern", OF_ROWS | OF_BORDERS | OF_PLANES)
def test_a_pattern_leaves_numbers_of_the_dtype_and_what_it_is_made_of(pattern, dtype):
    fmt = STORAGE[dtype]
    for shape in SHAPES:
        if len(shape) == 4 or pattern not in OF_PLANES:
            plain = Texture("normal", 3).fill(shape, fmt).values
            before = plain.copy()
            shown = ALL[pattern](plain)
            assert shown.shape == shape and np.array_equal(shown, rounded(shown, fmt))
            assert np.array_equal(plain, before)


@pytest.mark.parametrize("pattern", OF_UNTIED)
def test_planes_without_ties_stay_without(pattern):
    shown = Patterned.showing(pattern, Untied("ties", 1)).fill((2, 3, 9, 10), STORAGE["bfloat16"]).values
    assert all(len(np.unique(plane)) == plane.size for plane in shown.reshape(6, -1))
    assert np.array_equal(shown, rounded(shown, STORAGE["bfloat16"]))


@pytest.mark.parametrize("operator", SWEPT)
def test_each_pattern_is_shown_by_a_tensor_alone_and_by_what_comes_back(operator):
    for axes in (PATTERNS, BACK):
        cases = [*patterned(operator, axes, 1)]
        first = next(iter(cases[0].shapes))
        shown = {case.textures[first].pattern for case in cases if isinstance(case.textures[first], Patterned)}
        expected = {pattern for pattern in ALL if pattern not in OF_UNTIED}
        if len(cases[0].shapes[first]) == 2:
            expected -= OF_PLANES.keys()
        if operator == "max_pool2d":
            expected = OF_UNTIED.keys() if axes == BACK else ALL.keys()
        assert shown == expected
        back = {case.incoming.pattern for case in cases if isinstance(case.incoming, Patterned)}
        assert bool(back) == any(isinstance(case.incoming, Result) for case in cases) == (axes == BACK)


def test_two_tensors_hold_the_same_numbers():
    """Weights of both branches, with biases, without, and with the first alone; of a beta there is none like it."""
    alike = [case for case in patterned("swiglu", PATTERNS, 1) if case.textures["w"] == case.textures["v"]]
    assert {tuple(case.shapes) for case in alike} == {tuple("xwvbc"), tuple("xwv"), tuple("xwvb")}
    assert {tuple(case.shapes) for case in patterned("swish", OF_BETA, 1)} == {("x", "beta")}


def test_ties_are_shown_where_the_first_of_them_is_asked_for():
    first = next(iter(patterned("max_pool2d", OF_TIES, 1)))
    assert len(np.unique(first.textures["input"].fill(first.shapes["input"], STORAGE["float16"]).values)) == 5


@pytest.mark.parametrize(
    ("pattern", "dtype", "expected"),
    [
        ("every other row", "bfloat16", True),
        ("rows that add up to 1", "float32", True),
        ("columns by rows", "bfloat16", False),
    ],
)
def test_sums_fit_where_a_pattern_leaves_few_bits(pattern, dtype, expected):
    """An FFT of bfloat16 cannot be held to a sum that bfloat16 has no number for."""
    candidate = Candidate(load("torch"), dtype)
    (case,) = (
        case
        for case in patterned("conv2d", PATTERNS, 1)
        if case.parameters["stride"] == 1
        and "bias" in case.shapes
        and case.shapes["weight"][2:] == (3, 3)
        and all(getattr(case.textures[name], "pattern", "") == pattern for name in ("input", "weight"))
    )
    whole = going_back(candidate, of_whole_numbers(case), "contiguous")
    assert fits(candidate, whole) is fits(candidate, whole, back=True) is expected
