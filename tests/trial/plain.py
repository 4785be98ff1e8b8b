"""Operators and their gradients in plain numpy, in float64, whole arrays at once: exact on integers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial, reduce
from typing import Any

import numpy as np

from assay.implementations.arrays import Argument, Values
from assay.implementations.observe import Observation
from assay.reference.conv2d import pair

Pair = tuple[int, int]
Gradients = dict[str, Values]


def values_of(seen: Observation) -> list[Any]:
    """The arguments of a call: tensors as arrays, the rest as it is."""
    return bare(seen.call.arguments)


def bare(arguments: Mapping[str, Any]) -> list[Any]:
    """Arguments: tensors as arrays, the rest as it is."""
    return [value.values if isinstance(value, Argument) else value for value in arguments.values()]


def windows(image: Values, kernel: Pair, stride: Pair) -> Values:
    """What the kernel sees: (N, C, rows, columns, kernel's rows, kernel's columns)."""
    seen = np.lib.stride_tricks.sliding_window_view(image, kernel, axis=(2, 3))  # type: ignore[call-overload]
    return seen[:, :, :: stride[0], :: stride[1]]  # type: ignore[no-any-return]


def padded(x: Values, padding: Pair, fill: float) -> Values:
    """x with so many rows and columns of ``fill`` around."""
    above, before = padding
    around = np.full((*x.shape[:2], x.shape[2] + 2 * above, x.shape[3] + 2 * before), fill)
    around[:, :, above : above + x.shape[2], before : before + x.shape[3]] = x
    return around


def sums_of(a: Values, b: Values, of: tuple[int, ...], by: tuple[int, ...]) -> Values:
    """Sums of products along these axes, as of `numpy.tensordot`.

    Its BLAS may take zero times an infinity, or NaN, for zero, as of a matrix of one number: it is not asked for those.
    Of matrices `numpy.matmul` takes a fifth of its time.
    """
    if np.isfinite(a).all() and np.isfinite(b).all():
        if a.ndim == b.ndim == 2:
            return (a if of == (1,) else a.T) @ (b if by == (0,) else b.T)
        return np.tensordot(a, b, (of, by))
    ours, theirs = list(range(a.ndim)), list(range(a.ndim, a.ndim + b.ndim))
    for axis, other in zip(of, by, strict=True):
        theirs[other] = ours[axis]
    left = [axis for axis in ours if axis not in of] + [axis for axis in theirs if axis >= a.ndim]
    return np.einsum(a, ours, b, theirs, left)


def linear(x: Values, w: Values, b: Values | None) -> Values:
    """linear."""
    sums = sums_of(_rows(x), w, (1,), (1,)).reshape(*x.shape[:-1], len(w))
    return sums if b is None else sums + b


def _rows(x: Values) -> Values:
    """x as a matrix."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def linear_back(g: Values, x: Values, w: Values, b: Values | None) -> Gradients:
    """The gradients of linear where ``g`` comes in."""
    rows = _rows(g)
    within = sums_of(rows, w, (1,), (0,)).reshape(x.shape)
    return {"x": within, "w": sums_of(rows, _rows(x), (0,), (0,)), "b": rows.sum(0)}


def convolved(x: Values, w: Values, b: Values | None, stride: Any, padding: Any) -> Values:
    """conv2d."""
    seen = windows(padded(x, pair(padding or 0), 0.0), w.shape[2:], pair(stride or 1))
    sums = np.moveaxis(sums_of(seen, w, (1, 4, 5), (1, 2, 3)), -1, 1)
    return sums if b is None else sums + b[:, None, None]


def convolved_back(g: Values, x: Values, w: Values, b: Values | None, stride: Any, padding: Any) -> Gradients:
    """The gradients of conv2d where ``g`` comes in."""
    (down, right), (above, before) = pair(stride or 1), pair(padding or 0)
    image = padded(x, (above, before), 0.0)
    back, rows, columns = np.zeros_like(image), down * g.shape[2], right * g.shape[3]
    taps = sums_of(w, g, (0,), (1,)).swapaxes(0, 3)  # (N, kernel's rows, kernel's columns, C, rows, columns)
    for i, j in np.ndindex(*w.shape[2:]):
        back[:, :, i : i + rows - down + 1 : down, j : j + columns - right + 1 : right] += taps[:, i, j]
    weight = sums_of(g, windows(image, w.shape[2:], (down, right)), (0, 2, 3), (0, 2, 3))
    within = back[:, :, above : above + x.shape[2], before : before + x.shape[3]]
    return {"input": within, "weight": weight, "bias": g.sum((0, 2, 3))}


def pooled(x: Values, kernel: Any, stride: Any, padding: Any) -> Values:
    """max_pool2d."""
    (rows, columns), (down, right) = pair(kernel), pair(stride or kernel)
    image = padded(x, pair(padding or 0), -math.inf)
    along = windows(image, (1, columns), (1, right))[..., 0, :]  # a maximum of many windows' few axes takes numpy long
    image = reduce(np.maximum, np.moveaxis(along, -1, 0))
    return reduce(np.maximum, np.moveaxis(windows(image, (rows, 1), (down, 1))[..., 0], -1, 0))  # type: ignore[no-any-return]


def pooled_back(g: Values, x: Values, kernel: Any, stride: Any, padding: Any) -> Gradients:
    """The gradient of max_pool2d where ``g`` comes in and no window has a tie."""
    (down, right), (above, before) = pair(stride or kernel), pair(padding or 0)
    image = padded(x, (above, before), -math.inf)
    taken = windows(image, pair(kernel), (down, right)).reshape(*g.shape, -1).argmax(-1)
    n, c, i, j = np.indices(g.shape)
    back = np.zeros_like(image)
    np.add.at(back, (n, c, i * down + taken // pair(kernel)[1], j * right + taken % pair(kernel)[1]), g)
    return {"input": back[:, :, above : above + x.shape[2], before : before + x.shape[3]]}


def sigmoid(z: Values) -> Values:
    """The logistic function, without an overflow."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0.0, 1.0, e) / (1.0 + e)  # type: ignore[no-any-return]


def swish(x: Values, beta: Any) -> Values:
    """swish."""
    return x * sigmoid(x if beta is None else beta * x)


def swish_back(g: Values, x: Values, beta: Any) -> Gradients:
    """The gradients of swish where ``g`` comes in."""
    beta = 1.0 if beta is None else beta
    s = sigmoid(beta * x)
    slope = s * (1.0 - s)
    return {"x": g * (s + beta * x * slope), "beta": np.reshape((g * x * x * slope).sum(), np.shape(beta))}


def gate(operator: str, z: Values) -> tuple[Values, Values]:
    """The gate of glu or swiglu, and its slope."""
    s = sigmoid(z)
    slope = s * (1.0 - s)
    return (s, slope) if operator == "glu" else (z * s, s + z * slope)


def gated(operator: str, x: Values, w: Values, v: Values, b: Any, c: Any) -> Values:
    """glu, or swiglu."""
    return gate(operator, linear(x, w, b))[0] * linear(x, v, c)


def gated_back(operator: str, g: Values, x: Values, w: Values, v: Values, b: Any, c: Any) -> Gradients:
    """The gradients of glu, or of swiglu, where ``g`` comes in."""
    opened, slope = gate(operator, linear(x, w, b))
    left, right = linear_back(g * slope * linear(x, v, c), x, w, b), linear_back(g * opened, x, v, c)
    return {"x": left["x"] + right["x"], "w": left["w"], "b": left["b"], "v": right["w"], "c": right["b"]}


def pad2d(x: Values, padding: int) -> Values:
    """pad2d."""
    return np.pad(x, [(0, 0)] * (x.ndim - 2) + [(padding, padding)] * 2)


def pad2d_back(g: Values, x: Values, padding: int) -> Gradients:
    """The gradient of pad2d where ``g`` comes in."""
    return {"x": g[..., padding : padding + x.shape[-2], padding : padding + x.shape[-1]]}


RESULTS: dict[str, Callable[..., Values]] = {
    "swish": swish,
    "linear": linear,
    "glu": partial(gated, "glu"),
    "swiglu": partial(gated, "swiglu"),
    "pad2d": pad2d,
    "conv2d": convolved,
    "max_pool2d": pooled,
}
GRADIENTS: dict[str, Callable[..., Gradients]] = {
    "swish": swish_back,
    "linear": linear_back,
    "glu": partial(gated_back, "glu"),
    "swiglu": partial(gated_back, "swiglu"),
    "pad2d": pad2d_back,
    "conv2d": convolved_back,
    "max_pool2d": pooled_back,
}
