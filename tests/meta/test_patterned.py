"""Patterns in values, and the layers that show them."""

from __future__ import annotations

import numpy as np
import pytest

from assay.implementations.load import load
from assay.reference.arithmetic.formats import STORAGE
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.patterned import BACK, OF_BETA, OF_INPUTS, OF_TIES, PATTERNS, Patterned, Result, patterned
from assay.tests.trial.patterns import (
    ALL,
    BUT_TWO,
    OF_BORDERS,
    OF_GATES,
    OF_PLANES,
    OF_ROWS,
    OF_ROWS_BUT_TWO,
    OF_SAMPLED,
    OF_TIED,
    OF_UNTIED,
)
from assay.tests.trial.planes import Untied
from assay.tests.trial.sweeps import SWEPT
from assay.tests.trial.textures import Texture, rounded
from assay.tests.trial.whole import fits, going_back, of_whole_numbers

SHAPES = ((5, 7), (32, 32), (8, 3), (2, 2), (4, 6, 9, 10), (8, 8, 3, 3), (1, 1, 2, 1))


@pytest.mark.parametrize("dtype", STORAGE)
@pytest.mark.parametrize("pattern", OF_ROWS | OF_BORDERS | OF_ROWS_BUT_TWO | OF_GATES | OF_SAMPLED | OF_PLANES)
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
        expected = {*OF_ROWS, *OF_BORDERS, *OF_ROWS_BUT_TWO, *OF_INPUTS.get(operator, {})}
        if len(cases[0].shapes[first]) == 4:
            expected |= OF_PLANES.keys()
        assert shown == (OF_UNTIED.keys() if (operator, axes) == ("max_pool2d", BACK) else expected)
        back = {case.incoming.pattern for case in cases if isinstance(case.incoming, Patterned)}
        assert bool(back) == any(isinstance(case.incoming, Result) for case in cases) == (axes == BACK)


@pytest.mark.parametrize("pattern", [f"{name}{BUT_TWO}" for name in OF_ROWS])
def test_two_neighbours_within_are_another_pattern_whose_sum_is_zero(pattern):
    for shape in ((32, 32), (8, 8, 3, 3)):
        plains = [Texture("normal", seed).fill(shape, STORAGE["float32"]).values for seed in range(4)]
        pairs = [(ALL[pattern](plain), ALL[pattern.removesuffix(BUT_TWO)](plain)) for plain in plains]
        assert {0.5, -0.5} >= {number for shown, rest in pairs for number in shown[shown != rest]}
        assert max((shown != rest).sum() for shown, rest in pairs) in (1, 2)


@pytest.mark.parametrize("shape", [(16, 64), (4, 130), (2, 16, 8, 8), (3, 4, 15, 16), (4, 6, 17, 18)])
def test_two_neighbours_are_at_no_place_where_samples_are_taken(shape):
    """Neither at the ends nor in the middle, nor at a fourth place; two samples have but ends."""
    shown = ALL[f"zeros{BUT_TWO}"](np.ones(shape))
    for axis, places in enumerate(np.nonzero(shown)):
        seen = {0, shape[axis] // 2, shape[axis] - 1, *range(0, shape[axis], 4)}
        assert axis < len(shape) - 2 or not seen & {*places}


def test_frames_that_are_alike_but_for_two_agree_at_their_ends_and_in_all_that_is_summed():
    shown = Patterned.showing("frames that are alike, but for two", Untied("ties", 1))
    values = shown.fill((4, 6, 9, 10), STORAGE["float16"]).values
    assert (np.sort(values.reshape(4, 6, -1)) == np.sort(values[:1].reshape(1, 6, -1))).all()
    assert (values[..., ::4, ::4] == values[:1, :, ::4, ::4]).all() and (values != values[:1]).sum() == 2


def test_gates_of_every_eighth_row_are_open_or_shut():
    cases = {case.textures["x"].pattern: case for case in patterned("glu", PATTERNS, 1) if shows_rows(case)}
    for name, sign in (("every eighth row shut", -1.0), ("every eighth row open", 1.0)):
        x, w = (cases[name].textures[t].fill(cases[name].shapes[t], STORAGE["float16"]).values for t in "xw")
        assert (sign * (x[::8] @ w.T) > 32.0).all() and not (sign * (x[1::8] @ w.T) > 32.0).all()


def shows_rows(case):
    """Whether gates are open or shut in every eighth row."""
    return getattr(case.textures["x"], "pattern", "") in OF_SAMPLED


@pytest.mark.parametrize("names", [(), ("b",), ("b", "c")])
def test_biases_are_zeros_at_first_alone_and_together(names):
    shown = [
        tuple(name for name in "bc" if getattr(case.textures.get(name), "pattern", "") == "zeros at first")
        for case in patterned("swiglu", PATTERNS, 1)
    ]
    assert names in shown
    values = ALL["zeros at first"](np.ones(32))
    assert not values[:16].any() and values[16:].all()


def test_large_kernels_see_one_channel_which_shows_patterns_of_planes():
    large = [case for case in patterned("conv2d", BACK, 1) if case.shapes["weight"][1:] == (1, 5, 5)]
    held = (texture for case in large for texture in (*case.textures.values(), case.incoming))
    assert {each.pattern for each in held if isinstance(each, Patterned)} == {*OF_ROWS, *OF_PLANES}
    images = [case.textures["input"] for case in large]
    assert {each.pattern for each in images if isinstance(each, Patterned)} == OF_PLANES.keys()


def test_the_first_plane_and_the_last_have_no_ties():
    ties = Texture("ties", 1).fill((4, 6, 17, 18), STORAGE["bfloat16"]).values
    shown = OF_TIED["no ties in the first plane and the last"](ties)
    assert np.array_equal(shown, rounded(shown, STORAGE["bfloat16"]))
    assert [len(np.unique(plane)) == plane.size for plane in shown.reshape(24, -1)] == [True, *[False] * 22, True]
    assert any(
        getattr(case.textures["input"], "pattern", "") in OF_TIED for case in patterned("max_pool2d", OF_TIES, 1)
    )


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
        and (case.shapes["weight"][0], case.shapes["weight"][2:]) == (8, (3, 3))
        and all(getattr(case.textures[name], "pattern", "") == pattern for name in ("input", "weight"))
    )
    whole = going_back(candidate, of_whole_numbers(case), "contiguous")
    assert fits(candidate, whole) is fits(candidate, whole, back=True) is expected
