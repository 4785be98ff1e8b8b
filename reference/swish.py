"""Swish: a signal that gates itself.

    swish(x, beta) = x * sigmoid(beta * x)                    [swish.formula]

>>> swish(0.0)                                              # [swish.zero]
0.0
>>> swish(2.0, 0.0)                                         # [swish.beta-zero]
1.0
>>> swish(1.0) - swish(-1.0)                                # [swish.odd-part]
1.0
"""

from __future__ import annotations

from typing import Any

from assay.reference.arithmetic.primitives import sigmoid, store
from assay.reference.tensor import Index, Tensor


def swish(x: Any, beta: Any = 1) -> Any:
    """x * sigmoid(beta * x), for numbers of any arithmetic. ``beta`` is a learned number, 1 unless given."""
    return x * store(sigmoid(store(beta * x)))


def relu(x: float) -> float:
    """max(0, x), which the documents compare swish with.                            [swish.smooth]"""
    return max(0.0, x)


def swish_element(at: Index, x: Tensor, beta: Tensor | None = None) -> Any:
    """The element ``at`` of swish of ``x`` (any shape), ``beta`` holding one element."""
    return store(swish(x[at]) if beta is None else swish(x[at], beta.only))


def swish_shape(x: Index, beta: Index | None = None) -> Index:
    """The result has the input's shape."""
    return x
