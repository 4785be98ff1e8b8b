"""The operators in numpy, without differentiation or with derivatives written out."""

from __future__ import annotations

from typing import Any

import numpy as np

from assay.reference.conv2d import pair
from assay.tests.mutants.correct.arguments import demand


def _wide(*arrays: Any) -> list[Any]:
    """In at least float32."""
    return [None if a is None else a.astype(np.promote_types(a.dtype, np.float32)) for a in arrays]


def _quiet(function: Any) -> Any:
    """Overflow and NaN are results, not warnings."""

    def silent(*arguments: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*arguments)

    return silent


def _sigmoid(t: Any) -> Any:
    e = np.exp(-np.abs(t))
    return np.where(t >= 0, 1 / (1 + e), e / (1 + e))


@_quiet
def swish(x, beta=1.0):
    """Two branches, in at least float32."""
    (t,) = _wide(x)
    beta = np.asarray(beta, t.dtype)
    return (t * _sigmoid(beta * t)).astype(x.dtype)


@_quiet
def linear(x, w, b=None):
    """A matrix product in at least float32."""
    demand(x.shape[-1] == w.shape[1] and (b is None or b.shape == w.shape[:1]))
    x_, w_, b_ = _wide(x, w, b)
    return (x_ @ w_.T if b is None else x_ @ w_.T + b_).astype(x.dtype)


@_quiet
def _gated(gate, x, w, v, b, c):
    demand(w.shape == v.shape)
    x_, w_, v_, b_, c_ = _wide(x, w, v, b, c)
    t = linear(x_, w_, b_)
    return (gate(t) * linear(x_, v_, c_)).astype(x.dtype)


def glu(x, w, v, b=None, c=None):
    """Nothing rounded between."""
    return _gated(_sigmoid, x, w, v, b, c)


def swiglu(x, w, v, b=None, c=None):
    """Nothing rounded between."""
    return _gated(lambda t: t * _sigmoid(t), x, w, v, b, c)


def pad2d(x, padding):
    """numpy's own."""
    return np.pad(x, [(0, 0)] * (x.ndim - 2) + [(padding, padding)] * 2)


def _windows(x: Any, kernel: Any, stride: Any, padding: Any, fill: float) -> Any:
    (above, before), (down, right) = pair(padding), pair(stride)
    demand(min(above, before) >= 0 and min(down, right) > 0)
    padded = np.pad(x, [(0, 0), (0, 0), (above, above), (before, before)], constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(2, 3))[:, :, ::down, ::right]


@_quiet
def conv2d(input, weight, bias=None, stride=1, padding=0):
    """Windows as views, one product over channels and kernel."""
    demand(input.shape[1] == weight.shape[1] and (bias is None or bias.shape == weight.shape[:1]))
    x, w, b = _wide(input, weight, bias)
    seen = _windows(x, weight.shape[2:], stride, padding, 0.0)
    result = np.moveaxis(np.tensordot(seen, w, axes=((1, 4, 5), (1, 2, 3))), -1, 1)
    return (result if bias is None else result + b[:, None, None]).astype(input.dtype)


def max_pool2d(input, kernel_size, stride=None, padding=0):
    """The maximum of windows as views."""
    kernel = pair(kernel_size)
    demand(all(2 * p <= k for p, k in zip(pair(padding), kernel, strict=True)))
    return _windows(input, kernel, kernel if stride is None else stride, padding, -np.inf).max((4, 5))


def _linear_back(arguments: Any, g: Any) -> dict[str, Any]:
    x, w, g_ = _wide(arguments["x"], arguments["w"], g)
    rows = g_.reshape(-1, w.shape[0])
    return {"x": g_ @ w, "w": rows.T @ x.reshape(-1, x.shape[-1]), "b": rows.sum(0)}


def _conv2d_back(arguments: Any, g: Any) -> dict[str, Any]:
    x, w, g_ = _wide(arguments["input"], arguments["weight"], g)
    (above, before), (down, right) = pair(arguments["padding"]), pair(arguments["stride"])
    seen = _windows(x, w.shape[2:], (down, right), (above, before), 0.0)
    back = np.zeros((*x.shape[:2], x.shape[2] + 2 * above, x.shape[3] + 2 * before), x.dtype)
    rows, columns = g.shape[2:]
    for u, v in np.ndindex(*w.shape[2:]):
        part = np.einsum("noij,oc->ncij", g_, w[:, :, u, v])
        back[:, :, u : u + (rows - 1) * down + 1 : down, v : v + (columns - 1) * right + 1 : right] += part
    inner = back[:, :, above : above + x.shape[2], before : before + x.shape[3]]
    kernels = np.tensordot(g_, seen, axes=((0, 2, 3), (0, 2, 3)))
    return {"input": inner, "weight": kernels, "bias": g_.sum((0, 2, 3))}


@_quiet
def vjp(operator, arguments, cotangent):
    """The derivatives of the two linear operators, by hand, in at least float32."""
    found = {"linear": _linear_back, "conv2d": _conv2d_back}[operator](arguments, cotangent)
    return {name: found[name].astype(cotangent.dtype) for name in found if arguments.get(name) is not None}
