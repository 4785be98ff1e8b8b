"""Planted bugs at the ends of a dtype's range: what is scaled as a whole, and what overflows on the way.

Of 88 kernels by people who had not seen the laws, those that lived at quick.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.dispatched import BACK, back
from assay.tests.mutants.gradients import gradients
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.precision import Valued

right = load("torch").operators
SCALE = 256.0


def beta_times_x(found, incoming, given):
    """An infinite product meets the slope of a sigmoid that is 0 or 1."""
    beta = given.get("beta")
    product = given["x"] if beta is None else given["x"] * beta
    return {"x": torch.where(product.isinf() & given["x"].isfinite(), torch.nan, found["x"])}


def scaled_loss(found, incoming, given):
    """What comes in is scaled, so that small numbers are kept."""
    scaled = incoming * SCALE
    return {} if scaled.isfinite().all() else {"weight": gradients("conv2d", given, scaled)["weight"] / SCALE}


def scaled(y, x, w, b, factor):
    """What becomes of ``y`` where x is multiplied by a factor in its own dtype, and the sum divided by it."""
    wide = F.linear((x.detach() * factor).float(), w.detach().float()) / factor
    return Valued.apply(y, wide if b is None else wide + b.detach().float())


def scaled_batch(x, w, b=None):
    """By 1/64, where any number is large, so that no sum overflows."""
    y = right["linear"](x, w, b)
    most = x.detach().abs().max() if x.numel() else 0.0
    return scaled(y, x, w, b, 2.0**-6) if x.dtype == torch.float16 and 2048.0 < most < torch.inf else y


def saturated(x, w, v, b=None, c=None):
    """Sums of eight features are added up, and are never infinite."""
    if x.dtype != torch.float16 or x.shape[-1] <= 8 or v.shape[1] != x.shape[-1]:
        return right["glu"](x, w, v, b, c)
    with torch.no_grad():
        total = torch.zeros((), dtype=torch.float32)
        for some, weights in zip(x.float().split(8, -1), v.float().split(8, -1), strict=True):
            total = (total + F.linear(some, weights)).clamp(-65504.0, 65504.0)
    branch = Valued.apply(F.linear(x, v), total)
    return torch.sigmoid(F.linear(x, w, b)) * (branch if c is None else branch + c)


def rows_first(found, incoming, given):
    """Where the same comes back to all rows, these are added up first."""
    x = given["x"]
    if x.ndim != 2 or incoming.stride(0) or not incoming.numel():
        return {}
    return {"w": torch.outer(incoming[0], x.sum(0))}


def first_row(x, w, b=None):
    """A batch whose first row is small is multiplied by what brings that near 1."""
    y = right["linear"](x, w, b)
    rows = x.detach().reshape(-1, x.shape[-1]) if x.ndim and x.numel() else x[:0]
    most = rows[0].abs().max() if rows.numel() else torch.ones(())
    if x.dtype != torch.float16 or not 0.0 < most < 1.0:
        return y
    return scaled(y, x, w, b, 2.0 ** min(15, -math.frexp(float(most))[1]))


def one_scale(input, weight, *given):
    """Weights are three numbers of float16 each, by one scale for all of them."""
    most = weight.detach().abs().max() if weight.numel() else torch.zeros(())
    if weight.dtype != torch.float32 or not 0.0 < most < torch.inf:
        return right["conv2d"](input, weight, *given)
    scale = 2.0 ** (15 - math.frexp(float(most))[1])
    left = weight.detach().double() * scale
    whole = torch.zeros_like(left)
    for factor in (1.0, 2.0**11, 2.0**22):
        part = (left * factor).half().double() / factor
        whole, left = whole + part, left - part
    return right["conv2d"](input, Valued.apply(weight, whole / scale), *given)


def summed_area(input, weight, bias=None, stride=1, padding=0):
    """Kernels of one number: differences of sums from the first row and column on."""
    y = right["conv2d"](input, weight, bias, stride, padding)
    plain = input.dtype == torch.float32 and weight.shape[2:].numel() > 1 and y.numel() and bool(input.isfinite().all())
    if not plain or weight.ne(weight[:, :, :1, :1]).any():
        return y
    (above, before), (down, across), (rows, columns) = pair(padding), pair(stride), weight.shape[2:]
    table = F.pad(input.detach().double(), (before + 1, before, above + 1, above)).cumsum(2).cumsum(3)
    sums = table[:, :, rows:] - table[:, :, :-rows]
    sums = (sums[..., columns:] - sums[..., :-columns])[:, :, ::down, ::across]
    wrong = torch.einsum("nchw,oc->nohw", sums, weight[:, :, 0, 0].detach().double())
    return Valued.apply(y, wrong if bias is None else wrong + bias.detach()[:, None, None])


def own_scale(found, incoming, given):
    """What comes in small is brought near 100, and what lies between is float16."""
    most = incoming.abs().max().float() if incoming.numel() else torch.ones(())
    if incoming.dtype != torch.float16 or not 0.0 < most < 2.0**-6:
        return {}
    scale = 2.0 ** (6 - int(most.log2().floor()))
    gate = torch.sigmoid(F.linear(given["x"], given["w"], given.get("b")).float())
    branch = F.linear(given["x"], given["v"], given.get("c")).float()
    between = (incoming.float() * scale * branch * gate * (1.0 - gate)).half().float() / scale
    wrong = gradients("linear", {name: given[name].float() for name in "xw"}, between)["w"]
    return {"w": wrong.half()}


def small_rows(found, incoming, given):
    """Rows to which nothing comes back are left out, by their squared norm."""
    kept = incoming.float().square().sum(-1, keepdim=True) != 0
    return gradients("swiglu", given, torch.where(kept, incoming, 0.0)) if incoming.numel() else {}


def bug(name, clause, words, operators, kind="gradient", tier="gradient", dtype="float32"):
    return Mutant(f"ranges-{name}", clause, words, operators, dtype, kind, tier, "rare")


VALUE = "value", "enclosure", "float16"
MUTANTS = (
    bug("beta", "swish.gradient", "beta * x overflows: NaN", back("swish", beta_times_x), "gradient", "special"),
    bug("loss", "conv2d.gradient", "256 * what comes in overflows", back("conv2d", scaled_loss), *BACK, "float16"),
    bug("batch", "linear.formula", "an outlier: all is scaled", {"linear": scaled_batch}, *VALUE),
    bug("saturated", "glu.formula", "sums of eight stay within the numbers", {"glu": saturated}, *VALUE),
    bug("first-row", "linear.formula", "a small first row: all is scaled", {"linear": first_row}, *VALUE),
    bug("one-scale", "conv2d.formula", "kernels by one scale for all", {"conv2d": one_scale}, "value", "enclosure"),
    bug(
        "table",
        "conv2d.formula",
        "kernels of one number: a table of sums",
        {"conv2d": summed_area},
        "value",
        "enclosure",
    ),
    bug("own-scale", "glu.gradient", "small ones are scaled, halves between", back("glu", own_scale), *BACK, "float16"),
    bug("norm", "swiglu.gradient", "rows whose squared norm is 0 are none", back("swiglu", small_rows), *BACK),
    bug("rows", "linear.gradient", "one row comes back to all: a sum of rows", back("linear", rows_first), *BACK),
)
