"""Linear: W x + b, a row of weights for each output.

    linear(x, w, b)[n, o] = sum over k of x[n, k] * w[o, k]  + b[o]          [linear.formula]

>>> linear([[1.0, 2.0]], [[10.0, 1.0], [0.0, -1.0]], [0.5, 0.0])
[[12.5, -2.0]]
"""

from __future__ import annotations

from typing import Any

from assay.reference.arithmetic.primitives import dot, store
from assay.reference.tensor import Index, Tensor, build


def linear_element(at: Index, x: Tensor, w: Tensor, b: Tensor | None = None) -> Any:
    """The element ``at`` = (..., o) of linear of ``x`` (..., in), ``w`` (out, in) and ``b`` (out,)."""
    *n, o = at
    return store(dot(x[tuple(n)], w[o], None if b is None else b[(o,)]))


def linear_shape(x: Index, w: Index, b: Index | None = None) -> Index:
    """(..., in) and (out, in) give (..., out)."""
    return (*x[:-1], w[0])


def linear(x: Any, w: Any, b: Any = None) -> Any:
    """Linear of nested lists, as a nested list."""
    x, w, b = Tensor(x), Tensor(w), None if b is None else Tensor(b)
    return build(linear_shape(x.shape, w.shape), lambda at: linear_element(at, x, w, b))
