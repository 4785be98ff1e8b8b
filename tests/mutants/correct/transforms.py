"""conv2d by transforms, forward; going back, the direct sums' own derivatives, in float64."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from assay.tests.mutants.correct.arguments import Function, framed, places, plain, refusing_conv2d, wide_of

# Winograd's F(2 x 2, 3 x 3): Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (2016), section 4.1.
A = ((1.0, 1.0, 1.0, 0.0), (0.0, 1.0, -1.0, -1.0))
G = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))
B = ((1.0, 0.0, -1.0, 0.0), (0.0, 1.0, 1.0, 0.0), (0.0, -1.0, 1.0, 0.0), (0.0, 1.0, 0.0, -1.0))


def long_enough(length: int) -> int:
    """A power of two, so that nothing comes round."""
    return 1 << (length - 1).bit_length()


def by_fft(x: Any, w: Any, stride: Any, size: Any = None, kept: Any = torch.positive) -> Any:
    """Spectra multiplied and summed over the channels; the kernel's as it is ``kept``."""
    size = size or [*map(long_enough, x.shape[2:])]
    image, kernel = torch.fft.rfft2(x, size), kept(torch.fft.rfft2(w, size)).conj()
    every = torch.fft.irfft2(torch.einsum("nchw,ochw->nohw", image, kernel), size)
    (rows, columns), (down, right) = places(x, w.shape[2:], stride), stride
    return every[:, :, : (rows - 1) * down + 1 : down, : (columns - 1) * right + 1 : right]


def by_winograd(x: Any, w: Any, stride: Any) -> Any:
    """Tiles of 4 x 4, each of which gives 2 x 2 places at stride one; other kernels are summed directly."""
    if tuple(w.shape[2:]) != (3, 3):
        return F.conv2d(plain(x), plain(w), None, stride)
    a, g, b = (torch.tensor(matrix, dtype=x.dtype) for matrix in (A, G, B))
    rows, columns = places(x, (3, 3), (1, 1))
    tiles = F.pad(x, (0, columns % 2, 0, rows % 2)).unfold(2, 4, 2).unfold(3, 4, 2)
    product = torch.einsum("ncijrs,ocrs->noijrs", b @ tiles @ b.T, g @ w @ g.T)
    every = (a @ product @ a.T).permute(0, 1, 2, 4, 3, 5).flatten(4).flatten(2, 3)[:, :, :rows, :columns]
    return every[:, :, :: stride[0], :: stride[1]]


@refusing_conv2d
def both_ways_by_fft(input: Any, weight: Any, bias: Any, stride: Any, padding: Any) -> Any:
    """In float64; going back, PyTorch's derivatives of the transforms, which are transforms."""
    if not len(input):
        return F.conv2d(input, weight, bias, stride, padding)
    result = by_fft(framed(input.double(), padding), weight.double(), stride)
    return (result if bias is None else result + bias.double()[:, None, None]).to(input.dtype)


class _FiniteByFft(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Any, weight: Any, bias: Any, stride: Any, padding: Any) -> Any:
        ctx.save_for_backward(input, weight, bias)
        ctx.where = stride, padding
        return _either_way((input, weight, bias), input, weight, bias, *ctx.where)

    @staticmethod
    def backward(ctx: Any, incoming: Any) -> Any:
        leaves = [None if each is None else each.detach().requires_grad_() for each in ctx.saved_tensors]
        with torch.enable_grad():
            result = _either_way((*leaves, incoming), *leaves, *ctx.where)
        learned = [each for each in leaves if each is not None]
        found = iter(torch.autograd.grad(result, learned, incoming))
        return *(None if each is None else next(found) for each in leaves), None, None


def _either_way(read: Any, input: Any, weight: Any, bias: Any, stride: Any, padding: Any) -> Any:
    if all(each is None or each.isfinite().all() for each in read):
        return both_ways_by_fft(input, weight, bias, stride, padding)
    wide = [each if each is None else each.double() for each in (input, weight, bias)]
    return F.conv2d(*wide, stride, padding).to(input.dtype)


@refusing_conv2d
def finite_by_fft(input: Any, weight: Any, bias: Any, stride: Any, padding: Any) -> Any:
    """As `both_ways_by_fft`; what is not finite is summed directly, so that it gets no further than it should."""
    return _FiniteByFft.apply(input, weight, bias, stride, padding)


def convolving(algorithm: Function, wide: Any = None) -> Function:
    """conv2d by ``algorithm`` in the format ``wide`` (or in at least float32), and the bias added in it."""

    class Convolved(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> Any:
            input, weight, bias, stride, padding = ctx.arguments = arguments
            if not len(input):
                return F.conv2d(*arguments)
            dtype = wide or wide_of(input)
            result = algorithm(framed(input.to(dtype), padding), weight.to(dtype), stride)
            return (result if bias is None else result + bias.to(dtype)[:, None, None]).to(input.dtype)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            *tensors, stride, padding = ctx.arguments
            leaves = [None if t is None else plain(t.detach().double()).requires_grad_() for t in tensors]
            with torch.enable_grad():
                result = F.conv2d(*leaves, stride, padding)
            found = iter(torch.autograd.grad(result, [leaf for leaf in leaves if leaf is not None], plain(g.double())))
            return *(None if leaf is None else next(found).to(g.dtype) for leaf in leaves), None, None

    return refusing_conv2d(lambda *arguments: Convolved.apply(*arguments))
