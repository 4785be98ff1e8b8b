"""What is smaller, or rounder, than a case: pure steps, each of which keeps what a law may have assumed.

Sums stay exact where they were: no element grows, no integer becomes a fraction, no sum becomes longer than the case
says. Windows without ties stay without, and those apart stay apart.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from assay.implementations.arrays import Values
from assay.reference.conv2d import pair
from assay.tests.trial.cases import Case
from assay.tests.trial.textures import Given, Texture

# The axes of each tensor, and of the incoming gradient, by name: axes of one name have one length. Leading axes,
# however many, stand by themselves; None is an axis that follows from others.
_LINEAR: dict[str, tuple[Any, ...]] = {
    "x": (..., "features"),
    "w": ("outputs", "features"),
    "b": ("outputs",),
    "incoming": (..., "outputs"),
}
_GATED = {**_LINEAR, "v": ("outputs", "features"), "c": ("outputs",)}
NAMED_AXES: dict[str, dict[str, tuple[Any, ...]]] = {
    "swish": {"x": (...,), "incoming": (...,)},
    "linear": _LINEAR,
    "glu": _GATED,
    "swiglu": _GATED,
    "pad2d": {"x": (..., "height", "width"), "incoming": (..., None, None)},
    "conv2d": {
        "input": ("batch", "channels", "height", "width"),
        "weight": ("outputs", "channels", "rows", "columns"),
        "bias": ("outputs",),
        "incoming": ("batch", "outputs", None, None),
    },
    "max_pool2d": {
        "input": ("batch", "channels", "height", "width"),
        "incoming": ("batch", "channels", None, None),
    },
}
TOGETHER = (("height", "width", "rows", "columns"), ("height", "rows"), ("width", "columns"), ("rows", "columns"))
LEAST = {"kernel_size": 1, "stride": 1, "padding": 0}
# What a parameter is when it is left out.
USUAL: dict[str, dict[str, Any]] = {
    "conv2d": {"stride": 1, "padding": 0},
    "max_pool2d": {"stride": None, "padding": 0},
}


def in_words(value: Any) -> Any:
    """All that can change of a value, so that nothing is tried twice."""
    if isinstance(value, Given):
        return value.values.shape, hashlib.sha256(value.values.tobytes()).digest(), value.layout
    if isinstance(value, Case):
        filled = [in_words(value.textures[name]) for name in value.shapes]
        return value.shapes, value.parameters, filled, in_words(value.incoming), value.manner
    return value if isinstance(value, Texture) else None


# --- shapes


def named_axes(case: Case) -> dict[str, tuple[Any, ...]]:
    """The names of the axes of a case's tensors and of its incoming gradient; leading ones are numbered."""
    ranks = {name: len(shape) for name, shape in case.shapes.items()} | {"incoming": len(case.result_shape)}
    named = {name: axes for name, axes in NAMED_AXES[case.operator].items() if name in ranks}
    for name, axes in named.items():
        if axes[0] is ...:
            named[name] = (*range(ranks[name] - len(axes) + 1), *axes[1:])
    return named


def length(case: Case, axis: Any) -> int:
    """How long the axis of this name is; 0 if there is none."""
    named = named_axes(case)
    return next((case.shapes[name][named[name].index(axis)] for name in case.shapes if axis in named.get(name, ())), 0)


def axes_to_shorten(case: Case) -> list[tuple[Any, ...]]:
    """Single axes; first, those of an input and its kernel together, which leaves the number of places as it is."""
    single = dict.fromkeys(axis for axes in named_axes(case).values() for axis in axes if axis is not None)
    return [*(TOGETHER if case.operator == "conv2d" else ()), *((axis,) for axis in single)]


def without_all(case: Case, axes: tuple[Any, ...], positions: range) -> Case:
    """The case without these positions along each of the axes."""
    for axis in axes:
        case = without(case, axis, positions)
    return case


def without(case: Case, axis: Any, positions: range) -> Case:
    """The case without these positions along the axis."""

    def shortened(texture: Texture, k: int) -> Texture:
        if not isinstance(texture, Given) or texture.values.ndim <= k:
            return texture
        there = [position for position in positions if position < texture.values.shape[k]]
        return replace(texture, values=np.delete(texture.values, there, k))

    shapes, textures = dict(case.shapes), {**case.textures, "incoming": case.incoming}
    for name, axes in named_axes(case).items():
        if axis in axes:
            k = axes.index(axis)
            textures[name] = shortened(textures[name], k)
            if name in shapes:
                shapes[name] = (*shapes[name][:k], shapes[name][k] - len(positions), *shapes[name][k + 1 :])
    return case.changed(shapes=shapes, incoming=textures.pop("incoming"), textures=textures)


def without_leading_axis(case: Case) -> Case | None:
    """The case without its first leading axis, where that has one element and is not the only one."""
    named = named_axes(case)
    name = next(iter(case.shapes))
    if named[name][0] != 0 or case.shapes[name][0] != 1 or len(case.shapes[name]) == 1:
        return None

    def flatter(texture: Texture) -> Texture:
        first = isinstance(texture, Given) and texture.values.shape[:1] == (1,)
        return replace(texture, values=texture.values[0]) if first else texture

    textures = {**case.textures, name: flatter(case.textures[name])}
    shapes = {**case.shapes, name: case.shapes[name][1:]}
    return case.changed(shapes=shapes, textures=textures, incoming=flatter(case.incoming))


# --- parameters


def lower_parameters(case: Case) -> Iterator[Case]:
    """Lower kernels, strides and padding, the lowest first; first of both directions, if they are one number.

    With the padding go the first places, or the last ones; their incoming gradients with them.
    """
    for name, value in case.parameters.items():
        if name in LEAST and value is not None:
            for other in _lower(value, LEAST[name], one=case.operator == "pad2d"):
                lowered = case.changed(parameters={**case.parameters, name: other})
                yield lowered
                if name == "padding" and isinstance(case.incoming, Given):
                    rows, columns = (more - less for more, less in zip(pair(value), pair(other), strict=True))
                    first = replace(case.incoming, values=case.incoming.values[..., rows:, columns:])
                    yield lowered.changed(incoming=first)


def _lower(value: Any, least: int, one: bool = False) -> Iterator[Any]:
    if isinstance(value, int):
        yield from sorted({least, (least + value) // 2, value - 1} & set(range(least, value)))
    if not one:
        down, right = pair(value)
        yield from ((number, right) for number in _lower(down, least, one=True))
        yield from ((down, number) for number in _lower(right, least, one=True))


def narrower_kernels(case: Case) -> Iterator[Case]:
    """A convolution with a row or column less of padding on both sides, and of the kernel: places stay the same."""
    if case.operator != "conv2d":
        return
    for k, axis in enumerate(("rows", "columns")):
        padding, size = list(pair(case.parameters.get("padding") or 0)), length(case, axis)
        if padding[k] and size > 2:
            padding[k] -= 1
            narrower = without(without(case, axis, range(size - 1, size)), axis, range(1))
            yield narrower.changed(parameters={**case.parameters, "padding": tuple(padding)})


def briefer(case: Case) -> Iterator[Case]:
    """The same parameters in fewer words: a number for a pair of it, nothing for what is usual."""
    for name, value in case.parameters.items():
        if value == USUAL.get(case.operator, {}).get(name, ...):
            yield case.changed(parameters={key: other for key, other in case.parameters.items() if key != name})
        elif isinstance(value, tuple) and len(set(value)) == 1:
            yield case.changed(parameters={**case.parameters, name: value[0]})


# --- values


def changes_of(values: Values) -> Iterator[Callable[[Values], Values]]:
    """Ways to make these values rounder, the roundest first."""
    yield np.zeros_like
    finite = np.abs(values[np.isfinite(values)])
    largest = finite.max(initial=0.0)
    if largest >= 1.0:
        yield np.sign  # fractions too: none exceeds the largest
    yield np.abs
    if np.all(values == np.trunc(values)):
        yield _ranks
    for rung in _rungs(largest):
        yield lambda old, rung=rung: np.where(np.abs(old) > rung, np.copysign(rung, old), old)
    yield lambda old: np.where(np.abs(old) > 1.0, np.trunc(old), old)
    for bits in (1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 14, 16, 20):
        yield lambda old, bits=bits: _leading_bits(old, bits)


def _rungs(largest: float) -> list[float]:
    """1, 2, 3, 4, 5, 8, 9, 16, 17, ...: 2**k and 2**k + 1, the numbers that formats and clamps are bounded by."""
    powers = [2.0**k for k in range(min(25, max(0, math.frexp(largest)[1])))]
    return sorted({number for power in powers for number in (power, power + 1.0) if number < largest})


def _ranks(values: Values) -> Values:
    """Integers numbered away from zero, in their order: for values that have to differ."""
    positive, negative = (np.unique(sign * values[sign * values > 0]) for sign in (1, -1))
    return np.searchsorted(positive, values, "right") - np.searchsorted(negative, -values, "right") + 0.0


def _leading_bits(values: Values, bits: int) -> Values:
    """The values cut to so many significant bits, which no element grows by."""
    with np.errstate(invalid="ignore"):
        part, exponent = np.frexp(values)
        return np.where(np.isfinite(values), np.ldexp(np.trunc(np.ldexp(part, bits)), exponent - bits), values)


# --- what must not be broken


def keeps_its_word(before: Any, after: Any) -> bool:
    """Whether there is a result, sums are no longer than the case says, and pooling has no new overlaps and ties."""
    if not isinstance(after, Case) or after is before:
        return True
    if min(after.result_shape, default=1) < 0:
        return False
    if after.operator == "conv2d":
        return _places(after) <= max(after.terms, _places(before))  # which gradients of weights sum over
    if after.operator == "max_pool2d":
        tied = untied(before.textures["input"]) and not untied(after.textures["input"])
        return _overlapping(after) <= _overlapping(before) and not tied
    return True


def _places(case: Case) -> int:
    samples, _, rows, columns = case.result_shape
    return samples * rows * columns


def _overlapping(case: Case) -> int:
    """How many windows an element may lie in."""
    kernel = case.parameters["kernel_size"]
    steps = case.parameters.get("stride") or kernel
    return math.prod(-(-size // step) for size, step in zip(pair(kernel), pair(steps), strict=True))


def untied(texture: Texture) -> bool:
    """Whether the values are written out, and those of each plane all differ."""
    if not isinstance(texture, Given):
        return False
    planes = texture.values.reshape(math.prod(texture.values.shape[:-2]), -1)
    return all(len(np.unique(plane)) == plane.size for plane in planes)
