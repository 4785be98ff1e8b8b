"""Two small Triton kernels: the product of a gate's silu and a branch, and max pooling that lets NaN through."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def silu_times(gate, branch, result, elements, BLOCK: tl.constexpr):
    """result = silu(gate) * branch, element by element, in float32 or wider between loading and storing."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < elements
    x, y = tl.load(gate + at, mask=inside), tl.load(branch + at, mask=inside)
    wide = x if x.dtype == tl.float64 else x.to(tl.float32)
    tl.store(result + at, (wide / (1.0 + tl.exp(-wide)) * y).to(x.dtype), mask=inside)


@triton.jit
def window_maximum(
    images, result, elements, rows, columns, high, wide, down, across, top, left, BLOCK: tl.constexpr,
    out_rows, out_columns,
):  # fmt: skip
    """The largest of each window, NaN above all; what lies outside of the image is -inf."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    plane, i, j = at // (out_rows * out_columns), at // out_columns % out_rows, at % out_columns
    most = tl.full((BLOCK,), float("-inf"), images.dtype.element_ty)
    for di in range(high):
        for dj in range(wide):
            row, column = i * down - top + di, j * across - left + dj
            there = (at < elements) & (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
            place = (plane * rows + row) * columns + column
            here = tl.load(images + place, mask=there, other=float("-inf"))
            most = tl.where((here > most) | (here != here), here, most)
    tl.store(result + at, most, mask=at < elements)
