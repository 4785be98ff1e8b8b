"""Planted bugs of fast ways that take for the whole what one number says of it, or for zeros what is small or a NaN.

Of 22 kernels by another who had not seen the laws, those that lived at quick.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.dispatched import BACK, back
from assay.tests.mutants.networks import valued
from assay.tests.mutants.sampled import CONVOLUTION, TIES, bug

right = load("torch").operators


def pivots(y, input, weight, bias=None, stride=1, padding=0):
    """Columns by rows, which cross in one place of all kernels: those with a zero there are zero."""
    if weight.shape[1] != 1 or min(weight.shape[2:]) < 5:
        return y
    at, across = divmod(int(weight.abs().amax((0, 1)).argmax()), weight.shape[3])
    column, row = weight[..., across : across + 1], weight[..., at : at + 1, :]
    middle = row[..., across : across + 1]
    if not torch.equal(weight * middle, column * row):
        return y
    return F.conv2d(input, column * (row / middle.masked_fill(middle == 0, 1)), bias, stride, padding)


def small_columns(found, incoming, given):
    """What comes back to an output is 10^-7 of what comes back to another: its weights learn nothing."""
    sizes = incoming.reshape(-1, incoming.shape[-1]).abs()
    if not sizes.numel() or sizes.shape[1] < 64:
        return {}
    largest = sizes.amax(0)
    return {"w": found["w"].masked_fill((largest <= 1e-7 * largest.max())[:, None], 0.0)}


def of_a_relu(y, x, beta=1.0):
    """All are far from 0: x or 0."""
    t = x * beta
    return torch.where(t > 0, x, 0.0) if x.numel() >= 4096 and bool((t.abs() > 20).all()) else y


def by_a_ratio(y, x, beta=1.0):
    """Equal steps: each exponential is the one before by the same number."""
    steps = x.diff() if x.ndim == 1 and x.numel() >= 512 else x
    if steps is x or bool((steps != steps[0]).any()):
        return y
    ratio = torch.exp(-beta * steps[:1]).expand(x.numel() - 1)
    return x / (1 + torch.exp(-beta * x[:1]) * torch.cat([torch.ones_like(x[:1]), ratio.cumprod(0)]))


def sparse(found, incoming, given):
    """One number comes back, told from every eighth row and column."""
    seen = incoming[..., ::8, ::8]
    if min(incoming.shape[-2:]) < 64 or not seen.numel() or bool((seen != seen.flatten()[0]).any()):
        return {}
    return {"x": torch.full_like(found["x"], seen.flatten()[0].item())}


def empty_rows(y, x, padding):
    """Rows in which nothing is larger than 0, nor smaller, as of NaN."""
    if not x.numel() or x.numel() // x.shape[-1] < 256:
        return y
    filled = (x.amax(-1, keepdim=True) > 0) | (x.amin(-1, keepdim=True) < 0)
    return y if filled.sum() * 4 > filled.numel() else right["pad2d"](torch.where(filled, x, 0.0), padding)


def first_rows(input, kernel_size, stride=None, padding=0):
    """Rows are alike: the first ones of all windows are those of the plane, which get the gradients."""
    kernel, steps = pair(kernel_size), pair(stride or kernel_size)
    alike = input.numel() and input.ndim == 4 and input.shape[2] >= 16 and bool((input == input[:, :, :1]).all())
    if not alike or any(pair(padding)) or input.shape[2] < kernel[0] or input.amin() == input.amax():
        return right["max_pool2d"](input, kernel_size, stride, padding)
    once = F.max_pool2d(input[:, :, : kernel[0]], kernel, steps)
    return once.repeat(1, 1, (input.shape[2] - kernel[0]) // steps[0] + 1, 1)


def padded_tokens(found, incoming, given):
    """Sequences of which half is padding, and more: the biases learn of the rest."""
    x = given["x"]
    filled = (x != 0).any(-1)
    if x.ndim != 3 or filled.numel() < 64 or 2 * filled.sum() > filled.numel() or given.get("c") is None:
        return {}
    return {"c": (incoming * F.silu(F.linear(x, given["w"], given["b"])))[filled].sum(0)}


def picked(y, x, w, v, b=None, c=None):
    """Rows of one 1, told from their largest number and from the sum of squares."""
    rows = x.reshape(-1, x.shape[-1])
    if len(rows) < 16 or not x.shape[-1] or bool((rows.amax(-1) != 1).any() or ((rows * rows).sum(-1) != 1).any()):
        return y
    ones = torch.zeros_like(rows).scatter(1, rows.argmax(-1, keepdim=True), 1.0)
    return right["glu"](ones.reshape(x.shape), w, v, b, c)


def grey(y, input, weight, bias=None, stride=1, padding=0):
    """Grey images, told from the first, the one in the middle and the last."""
    seen = input[[0, len(input) // 2, -1]] if len(input) >= 5 else input
    if seen is input or input.shape[1] < 2 or bool((seen != seen[:, :1]).any()):
        return y
    return F.conv2d(input[:, :1], weight.sum(1, keepdim=True), bias, stride, padding)


def mirrored(y, input, weight, bias=None, stride=1, padding=0):
    """A mirrored image by mirrored kernels: the right half as the left one, though a stride leaves a rest."""
    alike = input.shape[3] >= 32 and torch.equal(weight, weight.flip(3)) and torch.equal(input, input.flip(3))
    if not alike or pair(stride)[1] == 1:
        return y
    half = (y.shape[3] + 1) // 2
    return torch.cat([y[..., :half], y[..., : y.shape[3] - half].flip(3)], 3)


def opposite_kernels(y, input, weight, bias=None, stride=1, padding=0):
    """A ring of zeros, told from the sum of all kernels: cut off."""
    around, inner = pair(padding), weight[:, :, 1:-1, 1:-1]
    total = weight.sum(0)
    total[:, 1:-1, 1:-1] = 0.0
    if min(weight.shape[2:]) < 5 or not min(around) or total.any():
        return y
    return F.conv2d(input, inner, bias, stride, [size - 1 for size in around])


MUTANTS = (
    bug("pivots", CONVOLUTION, "columns by rows: zeros where they cross", valued("conv2d", pivots)),
    bug("small-columns", "linear.gradient", "10^-7 of the rest: nothing", back("linear", small_columns), *BACK),
    bug("relu", "swish.formula", "all far from 0: x or 0", valued("swish", of_a_relu)),
    bug("ratio", "swish.formula", "equal steps: by one ratio", valued("swish", by_a_ratio), "precision"),
    bug("sparse", "pad2d.gradient", "one number, by every eighth", back("pad2d", sparse), *BACK, "bfloat16"),
    bug("empty-rows", "pad2d.zeros", "rows of NaN: empty", valued("pad2d", empty_rows), "value", "special", "float16"),
    bug("first-rows", TIES, "rows that are alike: the first gets all", {"max_pool2d": first_rows}, *BACK, "float64"),
    bug("padded-tokens", "swiglu.gradient", "padding teaches no bias", back("swiglu", padded_tokens), *BACK),
    bug("picked", "glu.formula", "squares add up to 1: one 1 a row", valued("glu", picked), dtype="bfloat16"),
    bug("grey", CONVOLUTION, "three images are grey: all", valued("conv2d", grey)),
    bug("mirrored", CONVOLUTION, "mirrored: the half, with a rest", valued("conv2d", mirrored)),
    bug("opposite", CONVOLUTION, "kernels that add up to 0: 3 x 3", valued("conv2d", opposite_kernels)),
)
