"""Drawn values are numbers of their format, integer sums stay exact, and a layout changes no value."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assay.implementations.arrays import Argument, arrays_of
from assay.implementations.layouts import LAYOUTS, WITHIN, distinct, memory_of, strides_of
from assay.reference.arithmetic.formats import STORAGE
from assay.tests.meta.oracles import SEEDS, budget
from assay.tests.trial.cases import conv2d_cases, gated_cases, linear_cases
from assay.tests.trial.textures import FAMILIES, INTEGERS, Texture, largest_integer, rounded, textures

FORMAT = st.sampled_from(tuple(STORAGE.values()))
SHAPE = st.sampled_from(((), (1,), (7,), (0, 3), (2, 3), (3, 1, 2), (2, 3, 2, 4), (1, 5, 3, 1)))
TERMS = st.sampled_from((1, 2, 9, 64, 129, 255, 256, 1000, 2048, 10000))
LAYOUT = st.sampled_from(LAYOUTS)


@pytest.mark.parametrize("family", FAMILIES)
@budget(40)
@given(fmt=FORMAT, seed=SEEDS, terms=TERMS, layout=LAYOUT)
def test_values_are_numbers_of_the_format(family, fmt, seed, terms, layout):
    filled = Texture(family, seed, ((3, 0.1), (100, -20.0)), layout).fill((5, 5), fmt, terms).values
    assert filled.dtype == np.float64 and all(math.isfinite(x) and fmt.holds(x) for x in filled.ravel().tolist())


@budget(200)
@given(fmt=FORMAT, x=st.floats(allow_nan=False, allow_infinity=False, width=32))
@example(fmt=STORAGE["bfloat16"], x=1.0 + 2.0**-8)
@example(fmt=STORAGE["bfloat16"], x=1.0 + 3 * 2.0**-8)
@example(fmt=STORAGE["float16"], x=1e5)
def test_rounding_an_array_is_rounding_its_elements_kept_finite(fmt, x):
    assert float(rounded(np.array([x]), fmt)[0]) == max(-fmt.largest, min(fmt.largest, fmt.round(x)))


@budget(150)
@given(fmt=FORMAT, families=st.tuples(*[st.sampled_from(INTEGERS)] * 3), seed=SEEDS, terms=TERMS)
def test_sums_of_products_of_integers_are_exact_in_any_order(fmt, families, seed, terms):
    """sum|x w| + |b| <= 2**p: every partial sum, in every order, is an integer that the format holds."""
    x, w, b = (Texture(family, seed + k).fill((terms,), fmt, terms).values for k, family in enumerate(families))
    assert np.abs(x * w).sum() + np.abs(b).max() <= 2**fmt.precision
    assert all(v == int(v) for v in (*x, *w, *b))


@budget(100)
@given(fmt=FORMAT, terms=st.integers(1, 5000))
def test_the_largest_integers_just_fit(fmt, terms):
    """m**2 in each product and m in the bias, however they fall."""
    most = largest_integer(fmt, terms)
    assert terms * most**2 + most <= 2**fmt.precision


@pytest.mark.parametrize("cases", (linear_cases(INTEGERS), conv2d_cases(INTEGERS)), ids=("linear", "conv2d"))
@budget(60)
@given(data=st.data(), fmt=FORMAT)
def test_no_sum_of_a_case_is_longer_than_it_says(cases, data, fmt):
    case = data.draw(cases)
    names = [name for name in ("x", "input", "w", "weight") if name in case.shapes]
    inner, rows = math.prod(case.shapes[names[1]][1:]), math.prod(case.result_shape) // case.shapes[names[1]][0]
    assert case.terms >= max(inner, rows)


@budget(40)
@given(case=gated_cases("swiglu"))
def test_no_sum_of_a_gated_unit_is_longer_than_it_says(case):
    assert case.terms >= max(case.shapes["x"][-1], 2 * case.shapes["w"][0], math.prod(case.shapes["x"][:-1]))


def test_a_texture_is_what_its_seed_says():
    fmt = STORAGE["float32"]
    same, other = (Texture("normal", seed).fill((4,), fmt).values.tolist() for seed in (3, 4))
    assert Texture("normal", 3).fill((4,), fmt).values.tolist() == same != other


@budget(30)
@given(texture=textures(), fmt=FORMAT)
def test_elements_set_by_hand_are_there(texture, fmt):
    filled = texture.fill((4096,), fmt).values
    if not texture.layout.startswith("expanded"):
        assert all(filled[position] == value for position, value in dict(texture.elements).items())


@pytest.mark.parametrize("library", ("torch", "numpy"))
@budget(150)
@given(shape=SHAPE, layout=LAYOUT, seed=SEEDS, dtype=st.sampled_from(("float64", "float32", "float16", "bfloat16")))
def test_a_layout_changes_no_value(library, shape, layout, seed, dtype):
    arrays = arrays_of(library)
    dtype = dtype if dtype in arrays.dtypes else "float32"
    argument = Texture("wide", seed, (), layout).fill(shape, STORAGE[dtype])
    made = arrays.make(argument, dtype, "cpu")
    assert (arrays.read(made) == argument.values).all() and tuple(made.shape) == shape
    assert arrays.dtype_of(made) == dtype and arrays.is_array(made)


@budget(100)
@given(shape=SHAPE, layout=LAYOUT, seed=SEEDS)
def test_between_the_elements_lies_nan(shape, layout, seed):
    argument = Texture("normal", seed, (), layout).fill(shape, STORAGE["float32"])
    made = arrays_of("torch").make(argument, "float32", "cpu")
    memory = made.as_strided((made.untyped_storage().nbytes() // 4,), (1,), 0)
    _, strides, offset = strides_of(shape, layout)
    places = {offset + int(np.dot(index, strides)) for index in np.ndindex(*shape)}
    assert set(np.flatnonzero(~memory.isnan().numpy())) == places


@budget(100)
@given(shape=SHAPE, layout=LAYOUT, seed=SEEDS)
def test_elements_that_share_their_memory_are_seen(shape, layout, seed):
    for library in map(arrays_of, ("torch", "numpy")):
        made = library.make(Texture("normal", seed, (), layout).fill(shape, STORAGE["float32"]), "float32", "cpu")
        _, strides, _ = strides_of(shape, layout)
        places = {int(np.dot(index, strides)) for index in np.ndindex(*shape)}
        assert library.overlaps(made) is (len(places) < math.prod(shape))


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("contiguous", (24, (12, 4, 1), 0)),
        ("offset", (30, (12, 4, 1), 3)),
        ("transposed", (24, (1, 2, 6), 0)),
        ("swapped", (24, (4, 8, 1), 0)),
        ("swapped_middle", (24, (12, 4, 1), 0)),
        ("swapped_last", (24, (12, 1, 3), 0)),
        ("axes 120", (24, (1, 8, 2), 0)),
        ("axes 201", (24, (3, 1, 6), 0)),
        ("axes 1230", (24, (12, 4, 1), 0)),
        ("cropped", (30, (15, 5, 1), 0)),
        ("chunked", (32, (16, 4, 1), 0)),
        ("expanded", (24, (0, 4, 1), 0)),
        ("expanded_second", (24, (12, 0, 1), 0)),
        ("expanded_rows", (24, (0, 0, 1), 0)),
        ("expanded_columns", (24, (12, 4, 0), 0)),
        ("expanded_last", (24, (12, 4, 0), 0)),
        ("expanded_ends", (24, (0, 4, 0), 0)),
        ("expanded_all", (24, (0, 0, 0), 0)),
        ("expanded_frames", (24, (12, 2, 1), 0)),
        ("offset_even", (28, (12, 4, 1), 2)),
    ],
)
def test_a_layout_lies_as_it_is_called(layout, expected):
    assert strides_of((2, 3, 4), layout) == expected


def test_of_layouts_that_are_the_same_for_a_shape_the_first_stands():
    assert distinct((2, 3), ("transposed", "swapped", "strided", "swapped_last")) == ["transposed", "strided"]
    assert distinct((2, 3, 4), ("transposed", "swapped")) == ["transposed", "swapped"]


def test_channels_last_lies_as_torchs():
    import torch

    like = torch.zeros(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    assert strides_of((2, 3, 4, 5), "channels_last")[1] == like.stride()
    like = torch.zeros(2, 3, 4, 5, 6).contiguous(memory_format=torch.channels_last_3d)
    assert strides_of((2, 3, 4, 5, 6), "channels_last")[1] == like.stride()
    larger = torch.zeros(2, 3, 5, 6).contiguous(memory_format=torch.channels_last)
    assert strides_of((2, 3, 4, 5), "channels_last_cropped")[1] == larger[..., :-1, :-1].stride()


def test_an_image_within_a_larger_one_has_three_rows_and_columns_around_it():
    import torch

    inner = torch.zeros(2, 3, 10, 11)[..., 3:-3, 3:-3]
    for layout in WITHIN:
        assert strides_of((2, 3, 4, 5), layout)[1:] == (inner.stride(), inner.storage_offset())


@pytest.mark.parametrize(("layout", "zeros"), [("within", (0, 0)), ("letterbox", (6, 0)), ("pillarbox", (0, 6))])
def test_a_letterbox_has_zeros_above_and_below_and_a_pillarbox_left_and_right(layout, zeros):
    values = np.ones((2, 4, 5))
    memory, _, offset = memory_of(values, layout)
    image = memory[: memory.size - 2 * offset].reshape(2, 10, 11)
    assert (image[:, 3:-3, 3:-3] == 1.0).all() and np.isnan(image[:, :3, :3]).all() == (zeros == (0, 0))
    assert tuple((image == 0.0).all(axis).sum() // 2 for axis in (2, 1)) == zeros


def test_a_layout_is_read_where_it_is_written_and_shares_its_memory():
    arrays = arrays_of("torch")
    made = arrays.make(Argument(np.arange(6.0).reshape(2, 3), "strided"), "float32", "cpu")
    assert arrays.share(made, made[0]) and not arrays.share(made, made.clone())
