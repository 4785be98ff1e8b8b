"""Large cases: one axis as long as in production, or longer, and the others short, so that an example stays cheap.

A sum along the long axis has few terms that are not zero, its first and its last among them: exact in every dtype, and
narrow in its enclosure.
"""

from __future__ import annotations

import functools
from typing import Any

from hypothesis import strategies as st

from assay.tests.trial.cases import Case, Draw, kept
from assay.tests.trial.textures import Texture, textures

# The axes of each operator, and how long they get. 2^16: grids of a GPU have fewer blocks in two of their directions.
AXES = {
    "swish": {"elements": 2**18 + 1},
    "linear": {"rows": 2**16 + 1, "features": 2**13 + 1, "outputs": 2**13 + 1},
    "pad2d": {"planes": 2**16 + 1, "rows": 2**12 + 1, "columns": 2**12 + 1},
    "conv2d": {
        "samples": 2**16 + 1,
        "inputs": 2**11 + 1,
        "outputs": 2**11 + 1,
        "rows": 2**10 + 1,
        "columns": 2**10 + 1,
    },
    "max_pool2d": {"samples": 2**16 + 1, "planes": 2**12 + 1, "rows": 2**12 + 1, "columns": 2**12 + 1},
}
AXES["glu"] = AXES["swiglu"] = AXES["linear"]
OF_SUMS = ("features", "inputs")
SHORT = (2, 1, 3)
SEEDS = st.integers(0, 2**16 - 1)
_among = functools.lru_cache(maxsize=None, typed=True)(st.sampled_from)
_contiguous = functools.partial(textures, layouts=False)


@kept
def lengths(most: int) -> st.SearchStrategy[int]:
    """Around the powers of two from 128 on; and often the longest, on which all are wrong that stop before it."""
    around = [2**k + more for k in range(7, most.bit_length()) for more in (0, 1, -1)]
    return st.sampled_from((129, most, most, most)) | st.sampled_from(around)


@kept
@st.composite
def large_cases(draw: Draw, operator: str, axes: tuple[str, ...] = ()) -> Case:
    """A case of which one of these axes, or one of all, is long. The incoming gradient is zero nearly everywhere."""
    longest = AXES[operator]
    long = draw(_among(axes or tuple(longest)))
    length = draw(lengths(longest[long]))
    short = SHORT if length < 2**12 else SHORT[:2]
    sizes = {axis: draw(_among(short)) for axis in longest} | {long: length}
    case = _MADE[operator](draw, operator, sizes)
    shared = case.textures | (_of_long_sums(case, draw) if long in OF_SUMS else {})
    return case.changed(textures=shared, pick=draw(SEEDS), incoming=draw(_contiguous(("few",))))


def _of_long_sums(case: Case, draw: Draw) -> dict[str, Texture]:
    """Few numbers in what is summed over, and digits in what they are multiplied by."""
    first, *others = case.shapes
    family = "tiled digits" if case.operator in ("linear", "conv2d") else "tiled normal"
    return {first: draw(_contiguous(("few",))), **{name: draw(_contiguous((family,))) for name in others}}


def _filled(draw: Draw, operator: str, shapes: dict[str, Any], family: str, terms: int = 1, **parameters: Any) -> Case:
    held = {name: draw(_contiguous((family,))) for name in shapes}
    return Case(operator, shapes, held, parameters, terms)


def _swish(draw: Draw, operator: str, sizes: dict[str, int]) -> Case:
    return _filled(draw, operator, {"x": (sizes["elements"],), "beta": (1,)}, "tiled normal")


def _matrix(draw: Draw, operator: str, sizes: dict[str, int]) -> Case:
    rows, features, outputs = sizes["rows"], sizes["features"], sizes["outputs"]
    weights, biases = ("w", "b") if operator == "linear" else ("wv", "bc")
    shapes = {"x": (rows, features), **dict.fromkeys(weights, (outputs, features)), **dict.fromkeys(biases, (outputs,))}
    return _filled(draw, operator, shapes, "tiled integers" if operator == "linear" else "tiled normal", terms=features)


def _pad2d(draw: Draw, operator: str, sizes: dict[str, int]) -> Case:
    return _filled(draw, operator, {"x": (1, *sizes.values())}, "tiled normal", padding=1)


def _conv2d(draw: Draw, operator: str, sizes: dict[str, int]) -> Case:
    kernel, stride = draw(_among(((1, 2), (1, 1), (2, 1), (2, 3)))), draw(_among(((1, 2), (2, 1), (1, 1))))
    samples, inputs, outputs, *places = sizes.values()
    padding = draw(_among(((0, 1), (0, 0), (1, 0))))
    image = tuple(size + k - 1 for size, k in zip(places, kernel, strict=True))
    shapes = {"input": (samples, inputs, *image), "weight": (outputs, inputs, *kernel), "bias": (outputs,)}
    terms = inputs * kernel[0] * kernel[1]
    return _filled(draw, operator, shapes, "tiled integers", terms, stride=stride, padding=padding)


def _max_pool2d(draw: Draw, operator: str, sizes: dict[str, int]) -> Case:
    kernel, stride = draw(_among(((1, 2), (2, 2), (3, 1)))), draw(_among(((2, 1), (1, 1), (2, 2))))
    samples, planes, *places = sizes.values()
    image = tuple(size + k - 1 for size, k in zip(places, kernel, strict=True))
    shape, parameters = (samples, planes, *image), {"kernel_size": kernel, "stride": stride, "padding": 0}
    return _filled(draw, operator, {"input": shape}, "tiled distinct", **parameters)


_MADE = {
    "swish": _swish,
    "linear": _matrix,
    "glu": _matrix,
    "swiglu": _matrix,
    "pad2d": _pad2d,
    "conv2d": _conv2d,
    "max_pool2d": _max_pool2d,
}
