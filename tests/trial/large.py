"""Large cases: one axis as long as in production, or longer, the others short, so that an example stays cheap.

Or several at once, less long: the layers that networks have.

A sum along the long axis has few terms that are not zero, its first and its last among them: exact in every dtype, and
narrow in its enclosure.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from typing import Any

from hypothesis import example
from hypothesis import strategies as st

from assay.spec import OPERATORS
from assay.tests.trial.cases import Case, kept
from assay.tests.trial.textures import SEEDS, Texture

# The axes of each operator, and how long they get. 2^16: grids of a GPU have fewer blocks in two of their directions.
AXES = {
    "swish": {"elements": 2**20 + 1},
    "linear": {"rows": 2**16 + 1, "features": 2**16 + 1, "outputs": 2**16 + 1},
    "pad2d": {"planes": 2**16 + 1, "rows": 2**12 + 1, "columns": 2**16 + 1},
    "conv2d": {
        "samples": 2**16 + 1,
        "inputs": 2**11 + 1,
        "outputs": 2**11 + 1,
        "rows": 2**10 + 1,
        "columns": 2**10 + 1,
        "kernel": 2**6 + 1,
    },
    "max_pool2d": {
        "samples": 2**16 + 1,
        "planes": 2**12 + 1,
        "rows": 2**12 + 1,
        "columns": 2**12 + 1,
        "window": 2**7 + 1,
    },
}
AXES["glu"] = AXES["swiglu"] = AXES["linear"]
# Of these several are long at once.
TOGETHER = {
    "pad2d": {"rows columns": 2**9 + 1},
    "linear": {
        "rows features": 2**10 + 1,
        "rows outputs": 2**10 + 1,
        "features outputs": 2**11 + 1,
        "rows features outputs": 2**8 + 1,
    },
    "conv2d": {
        "inputs outputs": 2**8 + 1,
        "rows columns": 2**8 + 1,
        "inputs outputs rows columns": 2**6 + 1,
        "samples inputs outputs rows columns": 2**4 + 1,
    },
    "max_pool2d": {
        "samples planes": 2**8 + 1,
        "rows columns": 2**9 + 1,
        "planes rows columns": 2**6 + 1,
        "samples planes rows columns": 2**4 + 1,
    },
}
TOGETHER["glu"] = TOGETHER["swiglu"] = {
    "rows outputs": 2**10 + 1,
    "features outputs": 2**10 + 1,
    "rows features outputs": 2**8 + 1,
}
# An axis more, before the others: linear maps by the sample count their samples by other numbers than their rows.
LEADING = {operator: {"samples": 2**16 + 1} for operator in ("linear", "glu", "swiglu")}
RESIDUAL = (((3, 3), (1, 1), (1, 1)), ((3, 3), (2, 2), (1, 1)), ((1, 1), (1, 1), (0, 0)))  # kernel, stride, padding
POOLING = (((3, 3), (2, 2), 1), ((2, 2), (2, 2), 0), ((3, 3), (1, 1), 1))
# How many settings are usual, and tried on each axis besides.
USUAL = dict.fromkeys(("swish", "linear", "glu", "swiglu"), 1)
USUAL |= {"pad2d": 0, "conv2d": len(RESIDUAL), "max_pool2d": len(POOLING)}
LONG = {op: {**axes, **TOGETHER.get(op, {}), **LEADING.get(op, {})} for op, axes in AXES.items()}
OF_SUMS = ("features", "inputs")
DEEP, WIDE = 5 * 2**8 + 1, 2**8 + 1
DENSE = 2**9  # terms of a sum up to which none of them need be zero
Rng = random.Random


def large_case(operator: str, axis: str, length: int, seed: int, usual: int = 0) -> Case:
    """A case with one axis of this length, or several; the rest comes from the seed.

    Few incoming gradients are not zero. ``usual`` is the number of a setting that layers mostly have: no biases, an
    even number of rows that are two samples', the kernels and steps of residual networks; 0 is none of them.
    """
    rng, long = Rng(seed), axis.split()
    sizes = {each: rng.choice((2, 1, 3) if length < 2**12 else (2, 1)) for each in AXES[operator]}
    return _of_sizes(rng, operator, sizes | dict.fromkeys(long, length), long if length > DENSE else [], usual)


def _of_sizes(rng: Rng, operator: str, sizes: dict[str, int], long: Collection[str], usual: int) -> Case:
    """A case of axes of these sizes, of which these are so long that a sum along them has few terms."""
    case = SHAPED[operator](rng, operator, sizes, usual)
    return case.changed(
        textures=_few_terms(rng, case) if set(long) & set(OF_SUMS) else case.textures,
        incoming=_texture(rng, "few"),
        pick=rng.randrange(2**16),
    )


@kept
def large_cases(operator: str, axes: tuple[str, ...] = ()) -> st.SearchStrategy[Case]:
    """Cases of which one of these axes, or one of all, is long; or several, whose names stand in one."""
    return st.sampled_from(axes or tuple(LONG[operator])).flatmap(
        lambda axis: st.builds(
            partial(large_case, operator, axis),
            lengths(LONG[operator][axis]),
            SEEDS,
            st.sampled_from(range(USUAL[operator] + 1)),
        )
    )


@kept
def lengths(most: int) -> st.SearchStrategy[int]:
    """Around the powers of two from 128, or half of the longest, on; and often the longest."""
    last = most.bit_length()
    around = [2**k + more for k in range(min(7, last - 1), last) for more in (0, 1, -1)]
    return st.sampled_from((min(129, most), most)) | st.sampled_from(around)


def longest(operator: str, axes: tuple[str, ...] = (), each_as_usual: bool = False, **more: Any) -> Callable[..., Any]:
    """Have a law tried on each of these axes at its longest, in every run: who stops anywhere before is wrong there.

    And those that are long together, or ``each``, for a quarter of that, in each of the usual settings.
    """
    together = TOGETHER.get(operator, AXES[operator])

    def tried(law: Any) -> Any:
        for number, axis in enumerate(axes or tuple(LONG[operator])):
            for usual in range(USUAL[operator] + 1 if each_as_usual or axis in together else 1):
                length = (LONG[operator][axis] - 1) // (4 if usual else 1) + 1
                law = example(case=large_case(operator, axis, length, number, usual), **more)(law)
        return law

    return tried


def deepest(operator: str) -> Callable[..., Any]:
    """Have a law tried on matrices of which one axis is five times as long as the others, in every run.

    As in a feed-forward layer, where the work is divided along the sum.
    """

    def tried(law: Any) -> Any:
        for number, axis in enumerate(AXES[operator]):
            sizes = {each: DEEP if each == axis else WIDE for each in AXES[operator]}
            law = example(case=_of_sizes(Rng(number), operator, sizes, [axis], usual=0))(law)
        return law

    return tried


def real(case: Case) -> Case:
    """The case with reals in place of integers, which hide how they are rounded."""
    textures = {
        name: each if each.family == "few" else replace(each, family="tiled normal")
        for name, each in case.textures.items()
    }
    return case.changed(textures=textures)


def of_millions(operator: str, shapes: dict[str, Any], **parameters: Any) -> Case:
    """A case of these shapes and few terms a sum, of integers, or of numbers without ties in a window."""
    terms = math.prod(list(shapes.values())[-1][1:]) if len(shapes) > 1 else 1
    family = "distinct" if operator == "max_pool2d" else "integers"
    return _filled(Rng(0), operator, shapes, family, terms, **parameters)


@kept
def dense_batches(operator: str) -> st.SearchStrategy[Case]:
    """Cases of many rows, or places, and an incoming gradient without zeros: parameters' gradients are long sums."""
    rows = st.sampled_from((64, 65, 100, 120))  # of more terms a sum in bfloat16 has no useful bound
    return st.builds(partial(_dense_batch, operator), rows, st.sampled_from((1, 2)), SEEDS)


def _dense_batch(operator: str, rows: int, outputs: int, seed: int) -> Case:
    parameters: dict[str, Any] = {}
    shapes: dict[str, Any] = {"x": (rows, 1), "w": (outputs, 1), "v": (outputs, 1), "b": (outputs,), "c": (outputs,)}
    if operator == "conv2d":
        shapes = {"input": (rows, 1, 1, 2), "weight": (outputs, 1, 1, 2), "bias": (outputs,)}
        parameters = {"stride": 1, "padding": 0}
    taken = {name: shapes[name] for name in OPERATORS[operator].tensors}
    textures = {name: Texture("normal", seed + k) for k, name in enumerate(taken)}
    incoming = Texture(("normal", "positive")[seed % 2], seed)
    return Case(operator, taken, textures, parameters, rows, seed, incoming)


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


def _swish(rng: Rng, operator: str, sizes: dict[str, int], usual: int) -> Case:
    shapes = {"x": (2, 3, sizes["elements"], 1)} if usual else {"x": (sizes["elements"],), "beta": (1,)}
    if tokens := sizes.get("tokens"):
        shapes = {"x": (2, tokens, sizes["elements"])}
    return _filled(rng, operator, shapes, "normal")


def _matrix(rng: Rng, operator: str, sizes: dict[str, int], usual: int) -> Case:
    rows, features, outputs, *samples = sizes.values()
    rows = 1 if min(features, outputs) > 2**10 else rows  # as in decoding: weights of millions meet one token
    rows = max(rows, 2) if samples else rows
    weights, biases = ("w", "b") if operator == "linear" else ("wv", "bc")
    halved = usual and not samples and rows % 2 == 0
    leading = (2, rows // 2) if halved else (*samples, rows)
    shapes = {"x": (*leading, features), **dict.fromkeys(weights, (outputs, features))}
    shapes |= {} if usual else dict.fromkeys(biases, (outputs,))
    return _filled(rng, operator, shapes, "integers" if operator == "linear" else "normal", terms=features)


def _pad2d(rng: Rng, operator: str, sizes: dict[str, int], usual: int) -> Case:
    return _filled(rng, operator, {"x": (*rng.choice(((), (1, 1), (1,))), *sizes.values())}, "normal", padding=1)


def _conv2d(rng: Rng, operator: str, sizes: dict[str, int], usual: int) -> Case:
    samples, inputs, outputs, *places, long = sizes.values()
    kernel, stride = rng.choice(((1, long), (long, 1), (long, 2))), rng.choice(((1, 2), (2, 1), (1, 1)))
    padding = rng.choice(((0, 1), (0, 0), (1, 0)))
    if usual:
        kernel, stride, padding = RESIDUAL[usual - 1]
    image = tuple(size + k - 1 for size, k in zip(places, kernel, strict=True))
    shapes = {"input": (samples, inputs, *image), "weight": (outputs, inputs, *kernel)}
    shapes |= {} if usual else {"bias": (outputs,)}
    parameters = {"stride": stride, "padding": padding}
    return _filled(rng, operator, shapes, "integers", inputs * kernel[0] * kernel[1], **parameters)


def _max_pool2d(rng: Rng, operator: str, sizes: dict[str, int], usual: int) -> Case:
    samples, planes, *places, long = sizes.values()
    kernel, stride = rng.choice(((1, long), (2, long), (long, 1))), rng.choice(((2, 1), (1, 1), (2, 2)))
    padding = 0
    if usual:
        kernel, stride, padding = POOLING[usual - 1]
    shape = (samples, planes, *(size + k - 1 for size, k in zip(places, kernel, strict=True)))
    parameters = {"kernel_size": kernel, "stride": stride, "padding": padding}
    return _filled(rng, operator, {"input": shape}, "distinct", **parameters)


# The case of an operator with axes of these sizes, in a setting.
SHAPED = {
    "swish": _swish,
    "linear": _matrix,
    "glu": _matrix,
    "swiglu": _matrix,
    "pad2d": _pad2d,
    "conv2d": _conv2d,
    "max_pool2d": _max_pool2d,
}
