"""What every correct implementation does with its arguments: refuses what does not fit, and chooses a wide format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from assay.reference.conv2d import pair

Function = Callable[..., Any]


def wide_of(x: Any) -> Any:
    """The format in which sums are strict: float32, or float64 for float64."""
    return torch.promote_types(x.dtype, torch.float32)


def widened(dtype: Any, *tensors: Any) -> list[Any]:
    """The tensors in another format, None where there is none."""
    return [None if tensor is None else tensor.to(dtype) for tensor in tensors]


def plain(x: Any) -> Any:
    """A copy in row order, whose strides say nothing else: others PyTorch's conv2d may get wrong, or refuse.

    Both stand in docs/findings.md, 3 and 4.
    """
    return x.clone(memory_format=torch.contiguous_format)


def demand(fits: bool) -> None:
    """Raise unless the arguments fit each other."""
    if not fits:
        raise ValueError("these arguments do not fit each other")


def refusing_linear(function: Function) -> Function:
    """``function``, which raises on sizes that do not match."""

    def checked(x, w, b=None):
        demand(w.ndim == 2 and x.shape[-1] == w.shape[1] and (b is None or b.shape == w.shape[:1]))
        return function(x, w, b)

    return checked


def refusing_gated(function: Function) -> Function:
    """``function``, which raises on sizes that do not match."""

    def checked(x, w, v, b=None, c=None):
        demand(w.shape == v.shape and x.shape[-1] == w.shape[1])
        demand(all(bias is None or bias.shape == w.shape[:1] for bias in (b, c)))
        return function(x, w, v, b, c)

    return checked


def refusing_conv2d(function: Function) -> Function:
    """``function``, which raises on arguments that do not fit each other."""

    def checked(input, weight, bias=None, stride=1, padding=0):
        axes = zip(input.shape[2:], pair(padding), weight.shape[2:], strict=True)
        demand(all(size + 2 * p >= k for size, p, k in axes))
        demand(input.shape[1] == weight.shape[1] and (bias is None or bias.shape == weight.shape[:1]))
        demand(min(pair(stride)) > 0 and min(pair(padding)) >= 0)
        return function(input, weight, bias, pair(stride), pair(padding))

    return checked


def refusing_pool(function: Function) -> Function:
    """``function``, which raises on arguments that do not fit each other; its stride is filled in."""

    def checked(input, kernel_size, stride=None, padding=0):
        kernel, step = pair(kernel_size), pair(kernel_size if stride is None else stride)
        axes = zip(input.shape[2:], kernel, pair(padding), strict=True)
        demand(all(size + 2 * p >= k >= 2 * p >= 0 for size, k, p in axes) and min(step) > 0)
        return function(input, kernel, step, pair(padding))

    return checked


def framed(input: Any, padding: tuple[int, int], fill: float = 0.0) -> Any:
    """The planes with ``fill`` around them."""
    return F.pad(input, (padding[1], padding[1], padding[0], padding[0]), value=fill)


def windows(input: Any, kernel: Any, stride: Any, padding: Any, fill: float = 0.0) -> Any:
    """(N, C, rows, columns, kernel height, kernel width): what lies under the kernel, as views."""
    return framed(input, padding, fill).unfold(2, kernel[0], stride[0]).unfold(3, kernel[1], stride[1])


def places(padded: Any, kernel: Any, stride: Any) -> tuple[int, int]:
    """(rows, columns) of the result on planes that have been padded."""
    sizes = zip(padded.shape[2:], kernel, stride, strict=True)
    rows, columns = ((size - k) // step + 1 for size, k, step in sizes)
    return rows, columns


def taps(padded: Any, kernel: Any, stride: Any) -> Any:
    """For each place (u, v) of the kernel, in row order, what all windows have there: (u, v, view)."""
    (down, right), (rows, columns) = stride, places(padded, kernel, stride)
    for u in range(kernel[0]):
        for v in range(kernel[1]):
            yield u, v, padded[:, :, u : u + (rows - 1) * down + 1 : down, v : v + (columns - 1) * right + 1 : right]


def in_float64(function: Function) -> Function:
    """The same in float64 throughout, rounded once."""

    def wide(*arguments: Any) -> Any:
        given = [a.double() if isinstance(a, torch.Tensor) else a for a in arguments]
        return function(*given).to(arguments[0].dtype)

    return wide
