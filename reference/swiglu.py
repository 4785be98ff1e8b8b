"""SwiGLU: GLU with the gate's sigmoid replaced by swish (beta = 1).

    swiglu(x, w, v, b, c) = swish(w x + b) * (v x + c)                       [swiglu.formula]

>>> swiglu([[0.0]], [[5.0]], [[7.0]], [0.0], [3.0])         # [swiglu.gate]: swish(0) = 0 where sigmoid(0) = 1/2
[[0.0]]
"""

from __future__ import annotations

from typing import Any

from assay.reference.arithmetic.primitives import store
from assay.reference.glu import gated_element, glu_shape
from assay.reference.swish import swish
from assay.reference.tensor import Index, Tensor, build

swiglu_shape = glu_shape


def swiglu_element(at: Index, x: Tensor, w: Tensor, v: Tensor, b: Tensor | None = None, c: Tensor | None = None) -> Any:
    """The element ``at`` = (..., o) of SwiGLU: ``x`` (..., in), ``w`` and ``v`` (out, in), ``b`` and ``c`` (out,)."""
    x1, product = gated_element(swish, at, x, w, v, b, c)
    return store(product, regrouped=x1)  # or GLU times x1, as [swiglu.gate] says


def swiglu(x: Any, w: Any, v: Any, b: Any = None, c: Any = None) -> Any:
    """SwiGLU of nested lists, as a nested list."""
    x, w, v, b, c = (None if part is None else Tensor(part) for part in (x, w, v, b, c))
    return build(swiglu_shape(x.shape, w.shape, v.shape), lambda at: swiglu_element(at, x, w, v, b, c))
