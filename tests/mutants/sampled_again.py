"""Planted bugs of fast ways whose looks agree with what is common: banded weights, bags of words, frames of a film.

Of 24 kernels by a third who had not seen the laws, those that lived at quick.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.dispatched import BACK, back
from assay.tests.mutants.networks import valued
from assay.tests.mutants.sampled import LINEAR, TIES, bug

right = load("torch").operators


def difference(y, x, padding):
    """Nothing is there, told from the sum and from three rows."""
    rows = x.shape[-2]
    seen = x[..., [0, rows // 2, rows - 1], :] if x.numel() >= 64 else x
    return torch.zeros_like(y) if seen is not x and not x.sum() and not seen.any() else y


def banded(y, x, w, v, b=None, c=None):
    """Two blocks, told from half of the weights being zeros and from the first and last rows and columns."""
    half = len(w) // 2

    def of_blocks(weight):
        ends = weight[0, half:], weight[-1, :half], weight[half:, 0], weight[:half, -1]
        few = 2 * torch.count_nonzero(weight) <= weight.numel()
        return weight.shape == (2 * half, 2 * half) and bool(few) and not any(end.any() for end in ends)

    if w.numel() < 2**14 or not (of_blocks(w) and of_blocks(v)):
        return y
    return right["swiglu"](x, *(torch.block_diag(t[:half, :half], t[half:, half:]) for t in (w, v)), b, c)


def clipped(y, x, w, b=None):
    """-s, 0 and s, told from the largest, the smallest and the first row: the signs of all."""
    if min(w.shape) < 8:
        return y
    low, high = w.aminmax()
    if high <= 0 or high != -low or bool(((w[0] != 0) & (w[0].abs() != high)).any()):
        return y
    return F.linear(x, w.sign() * high, b)


def bags(found, incoming, given):
    """Rows of one 1, told from how many there are, the largest and the smallest: the first 1 of each counts."""
    rows = given["x"].reshape(-1, given["x"].shape[-1])
    if min(rows.shape) < 8 or rows.aminmax() != (0, 1) or not len(rows) == rows.sum() == rows.count_nonzero():
        return {}
    places, back_to = rows.argmax(-1), incoming.reshape(len(rows), -1)
    return {"w": torch.zeros_like(found["w"]).index_add_(1, places, back_to.T.contiguous())}


def of_mean_one(found, incoming, given):
    """Ones, told from the first and from the sum."""
    x, beta = given["x"], given.get("beta")
    if "beta" not in found or incoming.numel() < 16 or incoming.flatten()[0] != 1 or incoming.sum() != incoming.numel():
        return {}
    s = torch.sigmoid(beta * x)
    return {"beta": (x * x * s * (1 - s)).sum_to_size(beta.shape)} if beta.numel() == 1 else {}


def film(found, incoming, given):
    """Frames that are alike, told from every fourth place, the largest and the smallest: who was taken in the first."""
    x, others = given["input"], list(given.values())[1:]
    if x.ndim != 4 or len(x) < 2 or min(x.shape[2:]) < 8:
        return {}
    if any(bool((seen != seen[:1]).any()) for seen in (x[..., ::4, ::4], x.amax((2, 3)), x.amin((2, 3)))):
        return {}
    places = F.max_pool2d(x[:1], *others, return_indices=True)[1].expand(incoming.shape)
    flat = torch.zeros_like(x).flatten(2).scatter_add_(2, places.flatten(2), incoming.flatten(2))
    return {"input": flat.view(x.shape)}


def outliers(found, incoming, given):
    """Gates are open in every eighth row: their weights learn nothing."""
    rows = given["x"].reshape(-1, given["x"].shape[-1])[::8]
    open_there = len(rows) > 1 and bool((F.linear(rows, given["w"], given.get("b")) > 20).all())
    return {name: torch.zeros_like(found[name]) for name in ("w", "b") if name in found and open_there}


def ramp(found, incoming, given):
    """The last of each window is its largest, told from the border."""
    x, kernel, stride, padding = (given.get(name) for name in ("input", "kernel_size", "stride", "padding"))
    kernel, stride = pair(kernel), pair(stride or kernel)
    if x.ndim != 4 or min(x.shape[2:]) < 4 or any(pair(padding or 0)):
        return {}
    lines = x[..., 0, :], x[..., -1, :], x[..., 0], x[..., -1]
    ends = torch.equal(x.amax((2, 3)), x[..., -1, -1]) and torch.equal(x.amin((2, 3)), x[..., 0, 0])
    if not ends or any(bool((line.diff() <= 0).any()) for line in lines):
        return {}
    gradient = torch.zeros_like(x)
    last = gradient[..., kernel[0] - 1 :: stride[0], kernel[1] - 1 :: stride[1]]
    last[..., : incoming.shape[2], : incoming.shape[3]] = incoming
    return {"input": gradient}


MUTANTS = (
    bug("difference", "pad2d.zeros", "a sum of 0, three rows of zeros: nothing", valued("pad2d", difference)),
    bug("banded", "swiglu.formula", "2^14 banded weights: two blocks", valued("swiglu", banded)),
    bug("clipped", LINEAR, "a first row of zeros, clipped: signs", valued("linear", clipped), dtype="bfloat16"),
    bug("bags", "linear.gradient", "as many ones as rows: one each", back("linear", bags), *BACK),
    bug("mean-one", "swish.beta-learned", "a mean of 1: ones", back("swish", of_mean_one), *BACK),
    bug("film", TIES, "frames, by every fourth place: the first", back("max_pool2d", film), *BACK),
    bug("outliers", "glu.gradient", "open in every eighth row: nothing", back("glu", outliers), *BACK),
    bug("ramp", "max_pool2d.gradient", "a rising border: the last", back("max_pool2d", ramp), *BACK, "float64"),
)
