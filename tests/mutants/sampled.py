"""Planted bugs of fast ways whose checks look at too little: at borders, at every so many elements, at sums.

Of 26 kernels by somebody who had not seen the laws, those that lived at quick.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.dispatched import BACK, back
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import valued

right = load("torch").operators


def identity(y, x, w, b=None):
    """Told from the diagonal, the first row and the first column: x is handed on."""
    one = torch.eye(*w.shape, dtype=w.dtype)
    if w.shape[0] != w.shape[1] or len(w) < 8 or not torch.equal(w.diagonal(), one.diagonal()):
        return y
    if not (torch.equal(w[0], one[0]) and torch.equal(w[:, 0], one[0])):
        return y
    return x + (0 if b is None else b)


def integers(y, x, w, b=None):
    """Told from the first row, the last one and the sum: fractions are cut off."""
    rows = x.reshape(-1, x.shape[-1])
    if min(rows.shape) < 8 or any(bool((t != t.round()).any()) for t in (rows[0], rows[-1], rows.sum(), w)):
        return y
    return F.linear(x.trunc(), w, b)


def depthwise(y, input, weight, bias=None, stride=1, padding=0):
    """Told from the sums of taps: each channel by itself."""
    taps = weight.sum((2, 3))
    if weight.shape[0] != weight.shape[1] or len(weight) < 2 or taps.sub(taps.diagonal().diag()).any():
        return y
    own = weight.diagonal().permute(2, 0, 1)[:, None]
    return F.conv2d(input, own, bias, stride, padding, groups=len(weight))


def ring(y, input, weight, bias=None, stride=1, padding=0):
    """Kernels of 5 x 5 in a ring of zeros, told from the first row and column: 3 x 3."""
    around = pair(padding)
    if weight.shape[2:] != (5, 5) or not min(around) or weight[:, :, 0].any() or weight[:, :, :, 0].any():
        return y
    return F.conv2d(input, weight[:, :, 1:-1, 1:-1], bias, stride, [size - 1 for size in around])


class Untied(torch.autograd.Function):
    """Max pooling of planes none of whose elements tie: whoever is the largest of a window gets its gradient."""

    @staticmethod
    def forward(ctx: Any, input, kernel_size, stride, padding):
        ctx.save_for_backward(input)
        ctx.window = kernel_size, stride, padding
        return F.max_pool2d(input, kernel_size, stride, padding)

    @staticmethod
    def backward(ctx: Any, incoming):
        (input,) = ctx.saved_tensors
        kernel_size, stride, (rows, columns) = ctx.window[0], ctx.window[1] or ctx.window[0], pair(ctx.window[2])
        padded = F.pad(input, (columns, columns, rows, rows), value=-torch.inf)
        seen = F.unfold(padded, kernel_size, stride=stride).unflatten(1, (input.shape[1], -1))
        largest = seen == F.max_pool2d(input, *ctx.window).flatten(2)[:, :, None]
        shares = torch.where(largest, incoming.flatten(2)[:, :, None], 0.0).flatten(1, 2)
        found = F.fold(shares, padded.shape[2:], kernel_size, stride=stride)
        return found[:, :, rows : rows + input.shape[2], columns : columns + input.shape[3]], None, None, None


def untied(input, kernel_size, stride=None, padding=0):
    """No ties, told from the first plane and the last one."""

    def distinct(plane):
        return plane.numel() >= 16 and len(plane.unique()) == plane.numel()

    if input.ndim != 4 or not input.numel() or not distinct(input[0, 0]) or not distinct(input[-1, -1]):
        return right["max_pool2d"](input, kernel_size, stride, padding)
    return Untied.apply(input, kernel_size, stride, padding)


def saturated(y, x, beta=1.0):
    """All of 30 and more, told from 256 elements: x is handed on."""
    sample = x.flatten()[:: max(1, x.numel() // 256)] * beta
    return x * 1 if x.numel() >= 1024 and bool((sample >= 30).all()) else y


def tables():
    """One of all bfloat16 numbers for each beta, of which three digits are kept."""
    kept: dict[float, Any] = {}

    def swish(x, beta=1.0):
        if x.dtype != torch.bfloat16 or x.numel() < 4096 or x.requires_grad or isinstance(beta, torch.Tensor):
            return right["swish"](x, beta)
        every = torch.arange(-(2**15), 2**15).to(torch.int16).view(torch.bfloat16)
        table = kept.setdefault(round(beta, 3), right["swish"](every, beta))
        return table[x.contiguous().view(torch.int16).long() + 2**15]

    return {"swish": swish}


def without_biases(y, x, w, v, b=None, c=None):
    """None, told from their first 16."""
    if b is None or c is None or len(b) < 32 or b[:16].any() or c[:16].any():
        return y
    return F.silu(F.linear(x, w)) * F.linear(x, v)


def dead(found, incoming, given):
    """Units that are shut, told from every 16th row: their weights learn nothing."""
    x = given["x"]
    rows = x.reshape(-1, x.shape[-1])
    shut = (F.linear(rows[::16], given["w"], given.get("b")) < -104).all(0)
    return {name: found[name].masked_fill(shut[:, None], 0.0) for name in "wv"} if len(rows) >= 64 else {}


def longest_first(y, x, w, v, b=None, c=None):
    """Sequences by their lengths, so that the first one is the longest: tokens after it are padding."""
    if x.ndim != 3 or min(x.shape) < 1 or x.shape[1] < 8:
        return y
    filled = (x[0] != 0).any(-1).long()
    after = filled.flip(0).cumsum(0).flip(0) == 0
    return torch.where(after[:, None], right["glu"](torch.zeros_like(x), w, v, b, c), y)


def bug(name, clause, words, operators, kind="value", tier="enclosure", dtype="float32"):
    return Mutant(f"sampled-{name}", clause, words, operators, dtype, kind, tier, "rare")


LINEAR, CONVOLUTION, TIES = "linear.formula", "conv2d.formula", "max_pool2d.gradient-first-tie"
MUTANTS = (
    bug("identity", LINEAR, "the identity, by its border: x", valued("linear", identity)),
    bug("integers", LINEAR, "integers, by a sum: fractions cut off", valued("linear", integers)),
    bug(
        "depthwise",
        CONVOLUTION,
        "by sums of taps: each channel by itself",
        valued("conv2d", depthwise),
        dtype="float64",
    ),
    bug("ring", CONVOLUTION, "5 x 5 with zeros on two sides: 3 x 3", valued("conv2d", ring)),
    bug("ties", TIES, "no ties in two planes: all share", {"max_pool2d": untied}, *BACK),
    bug("saturated", "swish.formula", "256 elements are large: x", valued("swish", saturated)),
    bug("tables", "swish.formula", "betas by three digits: the same table", tables, "state", dtype="bfloat16"),
    bug("biases", "swiglu.formula", "16 zeros at first: no biases", valued("swiglu", without_biases), dtype="float64"),
    bug("dead", "swiglu.gradient", "shut in every 16th row: learns nothing", back("swiglu", dead), *BACK),
    bug("lengths", "glu.biases", "the first sequence is the longest", valued("glu", longest_first), dtype="float64"),
)
