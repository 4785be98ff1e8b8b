"""MaxPool: the largest element of each window stays, the rest is dropped.

    max_pool2d(input)[n, c, i, j] = max(input[n, c, i * stride ... + kernel, j * stride ... + kernel])
                                                                             [max_pool2d.definition]

>>> notes = [[1.0, 3.0, 2.0, 4.0], [5.0, 7.0, 0.0, 2.0], [1.0, 2.0, 3.0, 4.0], [2.0, 6.0, 7.0, 8.0]]
>>> max_pool2d([[notes]], 2)                                # [max_pool2d.example]
[[[[7.0, 4.0], [6.0, 8.0]]]]
"""

from __future__ import annotations

from typing import Any

from assay.reference.arithmetic.primitives import maximum
from assay.reference.conv2d import Size, output_size, pair
from assay.reference.tensor import Index, Tensor, Vector, build


def pool_window(at: Index, input: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0) -> Vector:
    """The elements that ``at`` = (n, c, i, j) chooses from; padding, being -inf, is never chosen."""
    n, c, i, j = at
    (down, right), (above, before) = pair(kernel_size if stride is None else stride), pair(padding)
    return input.clipped_window(n, c, i * down - above, j * right - before, pair(kernel_size))


def max_pool2d_element(
    at: Index, input: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0
) -> Any:
    """The element ``at`` = (n, c, i, j): ``input`` (N, C, H, W). ``stride`` is ``kernel_size`` unless given."""
    return maximum(pool_window(at, input, kernel_size, stride, padding))


def max_pool2d_shape(input: Index, kernel_size: Size, stride: Size | None = None, padding: Size = 0) -> Index:
    """(N, C, H, W) gives (N, C, rows, columns)."""
    steps = pair(kernel_size if stride is None else stride)
    sizes = zip(input[2:], pair(kernel_size), steps, pair(padding), strict=True)
    return (*input[:2], *(output_size(*axis) for axis in sizes))


def max_pool2d(input: Any, kernel_size: Size, stride: Size | None = None, padding: Size = 0) -> Any:
    """Max pooling of nested lists, as a nested list."""
    input = Tensor(input)
    shape = max_pool2d_shape(input.shape, kernel_size, stride, padding)
    return build(shape, lambda at: max_pool2d_element(at, input, kernel_size, stride, padding))
