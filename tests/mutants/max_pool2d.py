"""Planted bugs of max_pool2d, a few lines of torch each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from assay.reference.conv2d import pair
from assay.tests.mutants.mutant import Mutant

INF = float("inf")
right = F.max_pool2d


def windows(x: Any, kernel: Any, stride: Any, padding: Any, added: float = -INF) -> Any:
    """(N, C, rows, columns, kernel elements): each window's elements in row order."""
    (kh, kw), (down, across), (above, before) = pair(kernel), pair(kernel if stride is None else stride), pair(padding)
    padded = F.pad(x, (before, before, above, above), value=added)
    return padded.unfold(2, kh, down).unfold(3, kw, across).flatten(4)


def pooling(choose: Callable[[Any], Any], added: float = -INF) -> Callable[..., Any]:
    """A pooling that does with each window's elements what ``choose`` does."""
    return lambda x, kernel, stride=None, padding=0: choose(windows(x, kernel, stride, padding, added))


def with_gradient(scatter: Callable[..., Any]) -> Callable[..., Any]:
    """PyTorch's pooling, going back by ``scatter(g, indices, zeros)`` over flat planes."""

    class Pool(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, *parameters: Any) -> Any:
            result, indices = right(x, *parameters, return_indices=True)
            ctx.save_for_backward(x, indices)
            return result

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            x, indices = ctx.saved_tensors
            zeros = torch.zeros(x.shape, dtype=x.dtype).flatten(2)
            return scatter(g.flatten(2), indices.flatten(2), zeros).view(x.shape), None, None, None

    return lambda x, kernel, stride=None, padding=0: Pool.apply(x, kernel, stride, padding)


def picked(key: Callable[[Any], Any]) -> Callable[..., Any]:
    """Takes the element whose key is largest."""
    return pooling(lambda w: w.gather(-1, key(w).argmax(-1, keepdim=True)).squeeze(-1))


def repeats_row_64(x, kernel, stride=None, padding=0):
    result = right(x, kernel, stride, padding).clone()
    result[:, :, 64:] = result[:, :, 63:64] if result.shape[2] > 64 else 0
    return result


def steps_by_the_height(x, kernel, stride=None, padding=0):
    return right(x, kernel, pair(kernel)[0] if stride is None else stride, padding)


def shares_nothing(x, kernel, stride=None, padding=0):
    """Windows end where the next one starts."""
    w = windows(x, kernel, stride, padding).unflatten(-1, pair(kernel))
    down, across = pair(kernel if stride is None else stride)
    return w[..., :down, :across].amax((-1, -2))


def last_window_runs_to_the_end(x, kernel, stride=None, padding=0):
    result = right(x, kernel, stride, padding)
    down = pair(kernel if stride is None else stride)[0]
    reached = (result.shape[2] - 1) * down + pair(kernel)[0] - pair(padding)[0]
    rest = x[:, :, reached:]
    if not rest.shape[2]:
        return result
    tail = right(
        rest.amax(2, keepdim=True),
        (1, pair(kernel)[1]),
        (1, pair(kernel if stride is None else stride)[1]),
        (0, pair(padding)[1]),
    )
    return torch.cat([result[:, :, :-1], torch.maximum(result[:, :, -1:], tail)], 2)


def rounds_up(x, kernel, stride=None, padding=0):
    return right(x, kernel, stride, padding, ceil_mode=True)


def pads_with_the_least(x, kernel, stride=None, padding=0):
    return windows(x, kernel, stride, padding, added=float(x.min())).amax(-1)


def skips_nan(w):
    """best = first; if x > best: best = x. A NaN is kept when it comes first, and is lost otherwise."""
    best = w[..., 0]
    for x in w.unbind(-1)[1:]:
        best = torch.where(x > best, x, best)
    return best


def starts_from_the_lowest_number(w):
    return w.amax(-1).clamp(min=torch.finfo(w.dtype).min)


def gives_the_largest_number(w):
    return w.amax(-1).clamp(max=torch.finfo(w.dtype).max)


def every_tie(x, kernel, stride=None, padding=0):
    """Each tied element gets the whole gradient."""
    w = windows(x, kernel, stride, padding)
    largest = w.detach().amax(-1, keepdim=True)
    kept = torch.where(w.detach() == largest, w, 0)
    return kept.sum(-1) - (kept.sum(-1) - largest[..., 0]).detach()


def accepts_padding(x, kernel, stride=None, padding=0):
    return windows(x, kernel, stride, padding).amax(-1)


def crops_the_kernel(x, kernel, stride=None, padding=0):
    sizes = [min(k, n + 2 * p) for k, n, p in zip(pair(kernel), x.shape[2:], pair(padding), strict=True)]
    return right(x, sizes, kernel if stride is None else stride, padding)


def reads_zero_as_one(x, kernel, stride=None, padding=0):
    return right(x, kernel, None if stride is None else [max(s, 1) for s in pair(stride)], padding)


def first_of_a_window(most: int) -> Callable[..., Any]:
    """Elements of a window after so many, in row order, are not read."""

    def pool(x: Any, kernel: Any, stride: Any = None, padding: Any = 0) -> Any:
        y = right(x, kernel, stride, padding)
        if math.prod(pair(kernel)) <= most:
            return y
        return pooling(lambda w: w[..., :most].amax(-1))(x, kernel, stride, padding)

    return pool


def mutant(name: str, clause: str, words: str, function: Callable[..., Any], dtype: str = "float32") -> Mutant:
    return Mutant(f"max_pool2d-{name}", f"max_pool2d.{clause}", words, {"max_pool2d": function}, dtype)


MUTANTS = (
    mutant("magnitude", "definition", "takes the largest magnitude", picked(torch.abs)),
    mutant(
        "through-float32",
        "definition",
        "float64 passes through float32",
        pooling(lambda w: w.float().amax(-1).double()),
        "float64",
    ),
    mutant(
        "rows-after-64", "definition", "rows of the result after the 64th repeat it: one tile is all", repeats_row_64
    ),
    mutant(
        "first-64-of-a-window",
        "definition",
        "elements of a window after the 64th are not read",
        first_of_a_window(64),
        "float64",
    ),
    mutant(
        "transposed",
        "example",
        "rows and columns change places in the result",
        lambda x, *parameters: right(x, *parameters).mT.contiguous(),
    ),
    mutant(
        "stride-one",
        "default-stride",
        "a stride left out is 1",
        lambda x, kernel, stride=None, padding=0: right(x, kernel, 1 if stride is None else stride, padding),
    ),
    mutant(
        "stride-of-the-height", "default-stride", "a stride left out is the kernel's height, twice", steps_by_the_height
    ),
    mutant("apart", "overlap", "a window ends where the next one starts", shares_nothing),
    mutant("ceiling", "output-size", "the output's size is rounded up", rounds_up),
    mutant(
        "last-window-longer",
        "output-size",
        "the last row of windows runs to the end of the input",
        last_window_runs_to_the_end,
    ),
    mutant(
        "coarse-comparison", "order", "compares in bfloat16, so that neighbours tie", picked(lambda w: w.bfloat16())
    ),
    mutant("least-of-all", "channels", "pads with the least element of all samples", pads_with_the_least),
    mutant(
        "gradient-overwrites",
        "gradient",
        "where windows overlap the last gradient stays, where it should add",
        with_gradient(lambda g, indices, zeros: zeros.scatter(2, indices, g)),
    ),
    mutant(
        "gradient-of-ones",
        "gradient",
        "the incoming gradient is taken for 1",
        with_gradient(lambda g, indices, zeros: zeros.scatter_add(2, indices, torch.ones_like(g))),
    ),
    mutant(
        "place-in-a-byte",
        "gradient",
        "the gradient goes to the place modulo 256",
        with_gradient(lambda g, at, zeros: zeros.scatter_add(2, at % 256, g)),
    ),
    mutant("every-tie", "gradient-ties", "each of the tied elements gets the whole gradient", every_tie),
    mutant(
        "gradient-beside",
        "gradient-ties",
        "the gradient goes to the element after the one that was taken",
        with_gradient(lambda g, at, zeros: zeros.scatter_add(2, (at + 1) % zeros.shape[2], g)),
    ),
    mutant(
        "shared-ties", "gradient-first-tie", "tied elements share the gradient evenly", pooling(lambda w: w.amax(-1))
    ),
    mutant(
        "last-tie",
        "gradient-first-tie",
        "the last of the tied elements gets the gradient",
        pooling(lambda w: w.flip(-1).max(-1)[0]),
    ),
    mutant("padding-zero", "padding", "pads with zeros", pooling(lambda w: w.amax(-1), added=0.0)),
    mutant("padding-ten-thousand", "padding", "pads with -10000", pooling(lambda w: w.amax(-1), added=-1e4)),
    mutant("nan-ignored", "nan", "NaN is passed over", pooling(lambda w: w.nan_to_num(-INF, INF, -INF).amax(-1))),
    mutant("nan-compared", "nan", "x > best is false for NaN, so only a first one is kept", pooling(skips_nan)),
    mutant(
        "finite-start",
        "infinities",
        "the search starts from the lowest finite number",
        pooling(starts_from_the_lowest_number),
    ),
    mutant("saturates", "infinities", "+inf comes out as the largest finite number", pooling(gives_the_largest_number)),
    mutant(
        "any-padding",
        "refuses-padding",
        "padding of more than half the kernel, or less than 0, is taken as given",
        accepts_padding,
    ),
    mutant("crops-the-kernel", "refuses-kernel", "a kernel that is too large is cropped", crops_the_kernel),
    mutant("zero-stride", "refuses-stride", "a stride of 0 is read as 1", reads_zero_as_one),
)
