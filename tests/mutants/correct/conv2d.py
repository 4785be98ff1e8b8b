"""conv2d by other ways than the library's own."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from assay.tests.mutants.correct.arguments import (
    framed,
    places,
    plain,
    refusing_conv2d,
    taps,
    wide_of,
    widened,
    windows,
)


def _reached(padded: Any, kernel: Any, stride: Any) -> Any:
    """The planes without the rows and columns that no whole stride reaches."""
    rows, columns = places(padded, kernel, stride)
    return padded[:, :, : (rows - 1) * stride[0] + kernel[0], : (columns - 1) * stride[1] + kernel[1]]


def _with_bias(result: Any, bias: Any) -> Any:
    return result if bias is None else result + bias[:, None, None]


def _of_the_library(input: Any, weight: Any, bias: Any, stride: Any, padding: Any) -> Any:
    """PyTorch's own where it is right (docs/findings.md): of copies in row order, in wider numbers if the kernel is
    large, or in bfloat16 takes steps."""
    wide = torch.float64 if min(weight.shape[2:]) > 13 and input.dtype == torch.float32 else input.dtype
    wide = torch.float32 if wide == torch.bfloat16 and stride[1] > 1 else wide
    x, w, b = widened(wide, plain(input), plain(weight), bias)
    return F.conv2d(x, w, b, stride, padding).to(input.dtype)


@refusing_conv2d
def im2col(input, weight, bias, stride, padding):
    """Windows laid out as rows, one matrix product, the bias added after it."""
    columns = windows(input, weight.shape[2:], stride, padding).permute(0, 2, 3, 1, 4, 5)
    return _with_bias((columns.flatten(3) @ weight.flatten(1).T).permute(0, 3, 1, 2), bias)


@refusing_conv2d
def unfold_einsum(input, weight, bias, stride, padding):
    """The library's columns, and the sum over them spelled out."""
    if not len(input):
        return F.conv2d(input, weight, bias, stride, padding)
    shape = places(framed(input, padding), weight.shape[2:], stride)
    columns = F.unfold(input, weight.shape[2:], 1, padding, stride)
    return _with_bias(torch.einsum("nkp,ok->nop", columns, weight.flatten(1)).unflatten(2, shape), bias)


@refusing_conv2d
def shift_and_add(input, weight, bias, stride, padding):
    """One tap of the kernel after the other, last first, summed in at least float32."""
    x, w, b = widened(wide_of(input), input, weight, bias)
    total = 0 if b is None else b[:, None, None]
    for u, v, view in reversed(list(taps(framed(x, padding), weight.shape[2:], stride))):
        total = total + torch.einsum("ncij,oc->noij", view, w[:, :, u, v])
    return total.to(input.dtype)


@refusing_conv2d
def row_by_row(input, weight, bias, stride, padding):
    """A kernel of one row is a convolution of lines; those of all rows are added."""
    x, w, b = widened(wide_of(input), input, weight, bias)
    padded = framed(x, padding)
    rows, _ = places(padded, weight.shape[2:], stride)
    total = 0 if b is None else b[:, None, None]
    for u in range(weight.shape[2]):
        lines = padded[:, :, u : u + (rows - 1) * stride[0] + 1 : stride[0]].transpose(1, 2)
        part = F.conv1d(lines.flatten(0, 1), w[:, :, u], None, stride[1])
        total = total + part.unflatten(0, lines.shape[:2]).transpose(1, 2)
    return total.to(input.dtype)


@refusing_conv2d
def sample_by_sample(input, weight, bias, stride, padding):
    """Each sample by itself, and its channels in two groups."""
    if not len(input):
        return F.conv2d(input, weight, bias, stride, padding)
    half = input.shape[1] // 2 or 1
    x, w, b = widened(wide_of(input), input, weight, bias)
    parts = [(x[:, :half], w[:, :half], b), *([(x[:, half:], w[:, half:], None)] if half < x.shape[1] else [])]
    results = [sum(_of_the_library(p[n : n + 1], k, c, stride, padding) for p, k, c in parts) for n in range(len(x))]
    return torch.cat(results).to(input.dtype)


@refusing_conv2d
def correlated(input, weight, bias, stride, padding):
    """A correlation is what a convolution's weight has for a gradient: samples for channels, the stride a dilation.

    In float64, for docs/findings.md, 5.
    """
    if not len(input):
        return F.conv2d(input, weight, bias, stride, padding)
    x, w, b = widened(torch.float64, input, weight, bias)
    seen = _reached(framed(x, padding), weight.shape[2:], stride)
    shape = (len(w), len(x), *places(seen, weight.shape[2:], stride))
    result = torch.nn.grad.conv2d_weight(seen.transpose(0, 1), shape, w.transpose(0, 1), dilation=stride)
    return _with_bias(result.transpose(0, 1), b).to(input.dtype)


@refusing_conv2d
def adjoint(input, weight, bias, stride, padding):
    """What the transposed convolution hands back to its input, in float64."""
    if not len(input):
        return F.conv2d(input, weight, bias, stride, padding)
    x, w, b = widened(torch.float64, input, weight, bias)
    seen, recorded = _reached(framed(x, padding), weight.shape[2:], stride).contiguous(), torch.is_grad_enabled()
    with torch.inference_mode(False), torch.enable_grad():
        seen, w = (each.clone() if each.is_inference() else each for each in (seen, w))
        origin = seen.new_zeros(len(x), len(w), *places(seen, weight.shape[2:], stride), requires_grad=True)
        spread = F.conv_transpose2d(origin, w, stride=stride)
        (result,) = torch.autograd.grad(spread, origin, seen, create_graph=recorded)
    return _with_bias(result, b).to(input.dtype)


@refusing_conv2d
def toeplitz(input, weight, bias, stride, padding):
    """A banded matrix for each pair of channels, made of the kernel's rows, times the lines of the planes."""
    x, w, b = widened(wide_of(input), input, weight, bias)
    padded = framed(x, padding)
    rows, columns = places(padded, weight.shape[2:], stride)
    bands = w.new_zeros(*w.shape[:3], columns, padded.shape[3])
    for j in range(columns):
        bands[..., j, j * stride[1] : j * stride[1] + w.shape[3]] = w
    total = 0 if b is None else b[:, None, None]
    for u in range(w.shape[2]):
        lines = padded[:, :, u : u + (rows - 1) * stride[0] + 1 : stride[0]]
        total = total + torch.einsum("nciw,ocjw->noij", lines, bands[:, :, u])
    return total.to(input.dtype)


@refusing_conv2d
def channels_last(input, weight, bias, stride, padding):
    """The library's own, whose result lies with its channels together."""
    return _of_the_library(input, weight, bias, stride, padding).to(memory_format=torch.channels_last)


@refusing_conv2d
def turned(input, weight, bias, stride, padding):
    """Planes and kernels on their side, and the result turned back; kernels in a copy, for docs/findings.md, 3."""
    wide = widened(wide_of(input), input.transpose(2, 3), weight.transpose(2, 3).contiguous(), bias)
    return _of_the_library(*wide, stride[::-1], padding[::-1]).transpose(2, 3).to(input.dtype)


@refusing_conv2d
def into_a_buffer(input, weight, bias, stride, padding):
    """The result is a part of new memory that has a border and a gap between columns."""
    result = _of_the_library(input, weight, bias, stride, padding)
    n, outputs, rows, columns = result.shape
    view = result.new_full((n, outputs, rows + 2, 2 * columns + 1), float("nan"))[:, :, 1:-1, 1::2]
    return view.copy_(result)
