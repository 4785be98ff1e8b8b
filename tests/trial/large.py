"""Large cases: one axis as long as in production, or longer, and the others short, so that an example stays cheap.

A sum along the long axis has few terms that are not zero, its first and its last among them: exact in every dtype, and
narrow in its enclosure.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import example
from hypothesis import strategies as st

from assay.tests.trial.cases import Case, kept
from assay.tests.trial.textures import Texture

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
SEEDS = st.integers(0, 2**16 - 1)
Rng = random.Random


def large_case(operator: str, axis: str, length: int, seed: int) -> Case:
    """A case with one axis of this length; the rest comes from the seed. Few incoming gradients are not zero."""
    rng = Rng(seed)
    sizes = {each: rng.choice((2, 1, 3) if length < 2**12 else (2, 1)) for each in AXES[operator]} | {axis: length}
    case = _SHAPED[operator](rng, operator, sizes)
    return case.changed(
        textures=_few_terms(rng, case) if axis in OF_SUMS else case.textures,
        incoming=_texture(rng, "few"),
        pick=rng.randrange(2**16),
    )


@kept
def large_cases(operator: str, axes: tuple[str, ...] = ()) -> st.SearchStrategy[Case]:
    """Cases of which one of these axes, or one of all, is long."""
    return st.sampled_from(axes or tuple(AXES[operator])).flatmap(
        lambda axis: st.builds(partial(large_case, operator, axis), lengths(AXES[operator][axis]), SEEDS)
    )


@kept
def lengths(most: int) -> st.SearchStrategy[int]:
    """Around the powers of two from 128 on; and often the longest."""
    around = [2**k + more for k in range(7, most.bit_length()) for more in (0, 1, -1)]
    return st.sampled_from((129, most)) | st.sampled_from(around)


def longest(operator: str, axes: tuple[str, ...] = (), **more: Any) -> Callable[..., Any]:
    """Have a law tried on each of these axes at its longest, in every run: who stops anywhere before is wrong there."""

    def tried(law: Any) -> Any:
        for number, axis in enumerate(axes or tuple(AXES[operator])):
            law = example(case=large_case(operator, axis, AXES[operator][axis], number), **more)(law)
        return law

    return tried


def _texture(rng: Rng, family: str) -> Texture:
    return Texture(family, rng.randrange(2**16))


def _few_terms(rng: Rng, case: Case) -> dict[str, Texture]:
    """Few numbers in what is summed over, and digits in what they are multiplied by."""
    first, *others = case.shapes
    family = "tiled digits" if case.operator in ("linear", "conv2d") else "tiled normal"
    return {first: _texture(rng, "few"), **{name: _texture(rng, family) for name in others}}


def _filled(rng: Rng, operator: str, shapes: dict[str, Any], family: str, terms: int = 1, **parameters: Any) -> Case:
    held = {name: _texture(rng, f"tiled {family}") for name in shapes}
    return Case(operator, shapes, held, parameters, terms)


def _swish(rng: Rng, operator: str, sizes: dict[str, int]) -> Case:
    return _filled(rng, operator, {"x": (sizes["elements"],), "beta": (1,)}, "normal")


def _matrix(rng: Rng, operator: str, sizes: dict[str, int]) -> Case:
    rows, features, outputs = sizes.values()
    weights, biases = ("w", "b") if operator == "linear" else ("wv", "bc")
    shapes = {"x": (rows, features), **dict.fromkeys(weights, (outputs, features)), **dict.fromkeys(biases, (outputs,))}
    return _filled(rng, operator, shapes, "integers" if operator == "linear" else "normal", terms=features)


def _pad2d(rng: Rng, operator: str, sizes: dict[str, int]) -> Case:
    return _filled(rng, operator, {"x": (1, *sizes.values())}, "normal", padding=1)


def _conv2d(rng: Rng, operator: str, sizes: dict[str, int]) -> Case:
    kernel, stride = rng.choice(((1, 2), (1, 1), (2, 1), (2, 3))), rng.choice(((1, 2), (2, 1), (1, 1)))
    samples, inputs, outputs, *places = sizes.values()
    image = tuple(size + k - 1 for size, k in zip(places, kernel, strict=True))
    shapes = {"input": (samples, inputs, *image), "weight": (outputs, inputs, *kernel), "bias": (outputs,)}
    parameters = {"stride": stride, "padding": rng.choice(((0, 1), (0, 0), (1, 0)))}
    return _filled(rng, operator, shapes, "integers", inputs * kernel[0] * kernel[1], **parameters)


def _max_pool2d(rng: Rng, operator: str, sizes: dict[str, int]) -> Case:
    kernel, stride = rng.choice(((1, 2), (2, 2), (3, 1))), rng.choice(((2, 1), (1, 1), (2, 2)))
    samples, planes, *places = sizes.values()
    shape = (samples, planes, *(size + k - 1 for size, k in zip(places, kernel, strict=True)))
    parameters = {"kernel_size": kernel, "stride": stride, "padding": 0}
    return _filled(rng, operator, {"input": shape}, "distinct", **parameters)


_SHAPED = {
    "swish": _swish,
    "linear": _matrix,
    "glu": _matrix,
    "swiglu": _matrix,
    "pad2d": _pad2d,
    "conv2d": _conv2d,
    "max_pool2d": _max_pool2d,
}
