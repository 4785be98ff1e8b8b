"""GLU: one linear map, gated elementwise by the sigmoid of another.

    glu(x, w, v, b, c) = sigmoid(w x + b) * (v x + c)                        [glu.formula]

>>> glu([[0.0]], [[5.0]], [[7.0]], [0.0], [3.0])            # [glu.biases]
[[1.5]]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from assay.reference.arithmetic.primitives import sigmoid, store
from assay.reference.linear import linear_element, linear_shape
from assay.reference.tensor import Index, Tensor, build


def gated_element(activation: Callable[[Any], Any], at: Index, x: Tensor, w: Tensor, v: Tensor, *biases: Any) -> Any:
    """x1 = w x + b and activation(x1) * (v x + c) at one element, not stored yet: what GLU and its variants share."""
    b, c = biases
    x1 = linear_element(at, x, w, b)
    x2 = linear_element(at, x, v, c)
    return x1, store(activation(x1)) * x2


def glu_element(at: Index, x: Tensor, w: Tensor, v: Tensor, b: Tensor | None = None, c: Tensor | None = None) -> Any:
    """The element ``at`` = (..., o) of GLU: ``x`` (..., in), ``w`` and ``v`` (out, in), ``b`` and ``c`` (out,)."""
    _, product = gated_element(sigmoid, at, x, w, v, b, c)
    return store(product)


def glu_shape(x: Index, w: Index, v: Index, b: Index | None = None, c: Index | None = None) -> Index:
    """(..., in) and (out, in) give (..., out)."""
    return linear_shape(x, w)


def glu(x: Any, w: Any, v: Any, b: Any = None, c: Any = None) -> Any:
    """GLU of nested lists, as a nested list."""
    x, w, v, b, c = (None if part is None else Tensor(part) for part in (x, w, v, b, c))
    return build(glu_shape(x.shape, w.shape, v.shape), lambda at: glu_element(at, x, w, v, b, c))
