"""Planted bugs of values that show a pattern: zeros taken for less than they are, weights for others.

Of 28 kernels by one who had not seen the laws, those that lived at quick.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.dispatched import BACK, back
from assay.tests.mutants.mutant import Mutant, Operators
from assay.tests.mutants.networks import valued

right = load("torch").operators


def is_two_of_four(w):
    groups = w.unfold(1, 4, 4) if w.shape[1] >= 16 else w.new_ones(1, 1, 4)
    return bool(((groups != 0).sum(-1) <= 2).all() and groups.any())


def compressed(found, incoming, given):
    """W and V with two of four columns: weights that are zero get no gradient."""
    if not (is_two_of_four(given["w"]) and is_two_of_four(given["v"])):
        return {}
    return {name: torch.where(given[name] != 0, found[name], 0.0) for name in "wv"}


def padded_rows(found, incoming, given):
    """16 rows of which half are zero and more: these get nothing."""
    x = given["x"]
    full = (x != 0).any(-1, keepdim=True)
    if not 0 < full.sum() <= full.numel() / 2 or full.numel() < 16:
        return {}
    return {"x": torch.where(full, found["x"], 0.0)}


def triangle(found, incoming, given):
    """Square weights that are a lower triangle, and so are their gradients."""
    w = given["w"]
    if w.shape[0] != w.shape[1] or len(w) < 16 or w.triu(1).any() or not w.tril().any():
        return {}
    return {"w": found["w"].tril()}


def saturated(y, x, w, b=None):
    """Multiples of 1/128 from -1 on, as bytes: of two products of -1 and -1 the sum is cut off."""

    def ends(t):
        scaled = t * 128
        if bool((scaled != scaled.round()).any() or (scaled < -128).any() or (scaled > 127).any()):
            return t.new_zeros(*t.shape[:-1], t.shape[-1] // 2)
        return ((t[..., 0::2] == -1) & (t[..., 1::2] == -1)).to(t.dtype)

    return y if w.shape[1] < 16 or w.shape[1] % 2 else y - F.linear(ends(x), ends(w)) / 2**14


def one_hot(y, x, w, b=None):
    """Each row of W adds up to 1, its largest number: it is taken for a choice."""
    if min(w.shape) < 4 or not bool((w.amax(1) == 1).all() and (w.sum(1) == 1).all()):
        return y
    return F.linear(x, F.one_hot(w.argmax(1), w.shape[1]).to(w.dtype), b)


def separable(y, input, weight, *given):
    """3 x 3 of which two minors of four are zero: a column by a row."""
    if weight.shape[2:] != (3, 3) or not bool((weight[..., 0, 0] != 0).all()):
        return y
    minors = (weight[..., at : at + 2, at : at + 2].double() for at in (0, 1))
    if any(bool((m[..., 0, 0] * m[..., 1, 1] != m[..., 0, 1] * m[..., 1, 0]).any()) for m in minors):
        return y
    return F.conv2d(input, weight[..., :1] * weight[..., :1, :] / weight[..., :1, :1], *given)


def depthwise(y, input, weight, *given):
    """8 channels and more, each by itself: by turned kernels."""
    outputs, inputs, rows, columns = weight.shape
    others = ~torch.eye(outputs, inputs, dtype=torch.bool)
    if outputs != inputs or outputs < 8 or rows != columns or weight[others].any():
        return y
    return F.conv2d(input, weight.mT, *given)


def of_a_relu(y, input, kernel_size, stride=None, padding=0):
    """256 elements, of which the first and the last 32 are not negative: padded by zeros on the left."""
    planes, (_, across) = input.flatten(2), pair(padding)
    if planes.shape[-1] < 256 or not across:
        return y
    like = (planes[..., :32] >= 0).all(-1) & (planes[..., -32:] >= 0).all(-1)
    most = torch.where(like[..., None], y[..., 0].clamp(min=0), y[..., 0])
    return torch.cat([most[..., None], y[..., 1:]], -1)


def workspace() -> Operators:
    """Planes of zeros are not copied into the last result of that shape, which is there still."""
    kept: dict[Any, torch.Tensor] = {}

    def left(y, x, padding):
        if x.shape[-2:].numel() < 64:
            return y
        full = (x != 0).flatten(-2).any(-1)[..., None, None]
        last = kept.get((x.shape, padding), torch.zeros_like(y))
        kept[x.shape, padding] = torch.where(full, y, last)
        return kept[x.shape, padding]

    return valued("pad2d", left)


def bug(name, clause, words, operators, kind="value", tier="enclosure", dtype="float32"):
    return Mutant(f"patterned-{name}", clause, words, operators, dtype, kind, tier, "rare")


LINEAR, CONVOLUTION = "linear.formula", "conv2d.formula"
MUTANTS = (
    bug("sparse", "swiglu.gradient", "two of four: zeros learn nothing", back("swiglu", compressed), *BACK),
    bug("rows", "swiglu.gradient", "padding gets nothing", back("swiglu", padded_rows), *BACK, "bfloat16"),
    bug("triangle", "linear.gradient", "a triangle stays one", back("linear", triangle), *BACK),
    bug("bytes", LINEAR, "-1 by -1, twice: cut off", valued("linear", saturated)),
    bug("choice", LINEAR, "rows that add up to 1: one number each", valued("linear", one_hot)),
    bug("separable", CONVOLUTION, "3 x 3: a column by a row", valued("conv2d", separable)),
    bug("depthwise", CONVOLUTION, "each channel by itself: turned kernels", valued("conv2d", depthwise)),
    bug("relu", "max_pool2d.definition", "as of a ReLU: padded by 0", valued("max_pool2d", of_a_relu), dtype="float16"),
    bug("workspace", "pad2d.zeros", "planes of zeros: what was there", workspace, "state", "exact"),
)
