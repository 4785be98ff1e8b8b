"""Two small Triton kernels: the product of a gate's silu and a branch, and max pooling that lets NaN through."""

from __future__ import annotations

import torch
import torch.nn.functional as F
import triton
import triton.language as tl

from assay.reference.conv2d import output_size, pair

BLOCK = 128


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


def swiglu(x, w, v, b=None, c=None):
    """silu(x @ w.T + b) * (x @ v.T + c); the products are PyTorch's."""
    gate, branch = F.linear(x, w, b), F.linear(x, v, c)
    if gate.shape != branch.shape:
        raise ValueError(
            f"gate of shape {tuple(gate.shape)}, branch of {tuple(branch.shape)}: they have to be the same"
        )
    result = torch.empty_like(gate)
    if result.numel():
        silu_times[(triton.cdiv(result.numel(), BLOCK),)](gate, branch, result, result.numel(), BLOCK=BLOCK)
    return result


def max_pool2d(input, kernel_size, stride=None, padding=0):
    """The largest of each window; ``input`` (N, C, H, W).

    Raises:
        ValueError: as PyTorch does: padding over half the kernel, a kernel that does not fit, a stride of 0.
    """
    sizes, steps, sides = pair(kernel_size), pair(kernel_size if stride is None else stride), pair(padding)
    for rows, size, step, side in zip(input.shape[2:], sizes, steps, sides, strict=True):
        if step < 1 or not 0 <= side <= size // 2 or size > rows + 2 * side:
            raise ValueError(f"kernel {size}, stride {step}, padding {side} on {rows} elements: no window fits")
    result = input.new_empty((*input.shape[:2], *map(output_size, input.shape[2:], sizes, steps, sides)))
    words = (*input.shape[2:], *sizes, *steps, *sides, BLOCK, *result.shape[2:])
    if result.numel():
        blocks = (triton.cdiv(result.numel(), BLOCK),)
        window_maximum[blocks](input.contiguous(), result, result.numel(), *words)
    return result
