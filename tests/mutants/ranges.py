"""Planted bugs at the ends of a dtype's range: what is scaled as a whole, and what overflows on the way.

Of 48 kernels by people who had not seen the laws, those that lived at quick.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from assay.implementations.load import load
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


def scaled_batch(x, w, b=None):
    """By 1/64, where any number is large, so that no sum overflows."""
    y = right["linear"](x, w, b)
    most = x.detach().abs().max() if x.numel() else 0.0
    if x.dtype != torch.float16 or not 2048.0 < most < torch.inf:
        return y
    wide = F.linear((x.detach() / 64.0).float(), w.detach().float()) * 64.0
    return Valued.apply(y, wide if b is None else wide + b.detach().float())


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


def bug(name, clause, words, operators, kind="gradient", tier="gradient", dtype="float32"):
    return Mutant(f"ranges-{name}", clause, words, operators, dtype, kind, tier, "rare")


VALUE = "value", "enclosure", "float16"
MUTANTS = (
    bug("beta", "swish.gradient", "beta * x overflows: NaN", back("swish", beta_times_x), "gradient", "special"),
    bug("loss", "conv2d.gradient", "256 * what comes in overflows", back("conv2d", scaled_loss), *BACK, "float16"),
    bug("batch", "linear.formula", "an outlier: all is scaled", {"linear": scaled_batch}, *VALUE),
    bug("saturated", "glu.formula", "sums of eight stay within the numbers", {"glu": saturated}, *VALUE),
    bug("rows", "linear.gradient", "one row comes back to all: a sum of rows", back("linear", rows_first), *BACK),
)
