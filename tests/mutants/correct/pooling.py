"""max_pool2d and pad2d by other ways."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from assay.tests.mutants.correct.arguments import framed, refusing_pool, taps, windows

LOWEST = -float("inf")


@refusing_pool
def unfolded(input, kernel, stride, padding):
    """The maximum over windows laid out flat."""
    return windows(input, kernel, stride, padding, LOWEST).flatten(4).max(-1).values


@refusing_pool
def separable(input, kernel, stride, padding):
    """Columns first, then rows."""
    rows = framed(input, padding, LOWEST).unfold(3, kernel[1], stride[1]).max(-1).values
    return rows.unfold(2, kernel[0], stride[0]).max(-1).values


@refusing_pool
def sorted_windows(input, kernel, stride, padding):
    """The last of each window in order, NaN being last; of equals the first comes last."""
    flat = windows(input, kernel, stride, padding, LOWEST).flatten(4).flip(-1)
    return flat.sort(dim=-1, stable=True).values[..., -1]


@refusing_pool
def running(input, kernel, stride, padding):
    """The best so far, over shifted views of the planes: replaced by what is larger, or is NaN."""
    best = None
    for _, _, view in taps(framed(input, padding, LOWEST), kernel, stride):
        best = view.clone() if best is None else torch.where((view > best) | (view.isnan() & ~best.isnan()), view, best)
    return best


@refusing_pool
def volumes(input, kernel, stride, padding):
    """Planes as volumes of depth one."""
    return F.max_pool3d(input.unsqueeze(2), (1, *kernel), (1, *stride), (0, *padding)).squeeze(2)


@refusing_pool
def gathered(input, kernel, stride, padding):
    """Where the largest is, and then what is there."""
    flat = windows(input, kernel, stride, padding, LOWEST).flatten(4)
    with torch.no_grad():
        where = flat.argmax(-1, keepdim=True)
    return flat.gather(-1, where).squeeze(-1)


class _Own(torch.autograd.Function):
    """Max pooling whose derivative is written out: each window's goes whole to its first maximum."""

    @staticmethod
    def forward(ctx: Any, input: Any, kernel: Any, stride: Any, padding: Any) -> Any:
        flat = windows(input, kernel, stride, padding, LOWEST).flatten(4)
        ctx.where, ctx.shape, ctx.parameters = flat.argmax(-1), input.shape, (kernel, stride, padding)
        return flat.amax(-1)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        kernel, stride, padding = ctx.parameters
        total = torch.zeros(ctx.shape, dtype=torch.float64)
        padded = framed(total, padding)
        for u, v, view in taps(padded, kernel, stride):
            view += torch.where(ctx.where == u * kernel[1] + v, g.double(), 0.0)
        (above, before), (height, width) = padding, ctx.shape[2:]
        return padded[:, :, above : above + height, before : before + width].to(g.dtype), None, None, None


@refusing_pool
def with_own_gradient(input, kernel, stride, padding):
    """The derivative by hand, summed in float64."""
    return _Own.apply(input, kernel, stride, padding)


def padded_by_copy(x, padding):
    """A tensor of zeros, and x copied into its middle."""
    *n, height, width = x.shape
    result = x.new_zeros(*n, height + 2 * padding, width + 2 * padding)
    result[..., padding : padding + height, padding : padding + width] = x
    return result


def padded_by_cat(x, padding):
    """Zeros joined on, side by side."""
    for axis in (-1, -2):
        shape = list(x.shape)
        shape[axis] = padding
        x = torch.cat([x.new_zeros(shape), x, x.new_zeros(shape)], dim=axis)
    return x
