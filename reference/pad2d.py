"""Padding: N elements more at the start and the end of each row and each column.

    pad2d(x, padding)[i, j] = x[i - padding, j - padding], or 0 outside      [pad2d.both-ends] [pad2d.zeros]

>>> pad2d([[1.0, 2.0]], 1)
[[0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
>>> pad2d_shape((5, 5), 1)                                  # [pad2d.example]
(7, 7)
"""

from __future__ import annotations

from typing import Any

from assay.reference.tensor import Index, Tensor, build


def pad2d_element(at: Index, x: Tensor, padding: int) -> Any:
    """The element ``at`` = (..., i, j) of ``x`` (..., height, width) padded with zeros."""
    *n, i, j = at
    return x.element_or_zero((*n, i - padding, j - padding))


def pad2d_shape(x: Index, padding: int) -> Index:
    """The last two axes grow by twice the padding."""
    *n, height, width = x
    return (*n, height + 2 * padding, width + 2 * padding)


def pad2d(x: Any, padding: int) -> Any:
    """A padded nested list."""
    x = Tensor(x)
    return build(pad2d_shape(x.shape, padding), lambda at: pad2d_element(at, x, padding))
