"""Planted bugs that few arguments show: tensors of no axes or of many, a NaN among the weights, a beta of many bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.parametrised import with_argument

right = load("torch").operators


def number_for_nan(operator: str, name: str) -> dict[str, Callable[..., Any]]:
    """NaN in one argument counts as 0."""
    return {operator: with_argument(operator, name, torch.nan_to_num)}


def four_axes_at_most(operator: str) -> dict[str, Callable[..., Any]]:
    """Of tensors of more than four axes the result is off by a tenth."""

    def called(x: Any, *others: Any) -> Any:
        y = right[operator](x, *others)
        return y * 1.1 if x.ndim > 4 else y

    return {operator: called}


def beta_without_axes_is_one(x, beta=1.0):
    return right["swish"](x, 1.0 if isinstance(beta, torch.Tensor) and beta.ndim == 0 else beta)


def x_without_axes_has_no_beta(x, beta=1.0):
    return right["swish"](x, beta if x.ndim else 1.0)


def beta_in_bfloat16(x, beta=1.0):
    rounded = beta if isinstance(beta, torch.Tensor) else float(torch.tensor(beta, dtype=torch.bfloat16))
    return right["swish"](x, rounded)


def saturated(operator: str) -> dict[str, Callable[..., Any]]:
    """What overflows is the largest number."""

    def called(*given: Any) -> Any:
        y = right[operator](*given)
        return torch.where(y.isinf(), y.sign() * torch.finfo(y.dtype).max, y)

    return {operator: called}


def partly_in_bfloat16(x, w, b=None):
    """Past 4096 terms a sum is split, and its parts are handed over in bfloat16."""
    parts = x.shape[-1] // 1024
    if parts <= 4:
        return right["linear"](x, w, b)
    sums = [F.linear(a, u).bfloat16().to(x.dtype) for a, u in zip(x.chunk(parts, -1), w.chunk(parts, -1), strict=True)]
    return sum(sums) if b is None else sum(sums) + b


def deep_in_bfloat16(input, weight, bias=None, stride=1, padding=0):
    """Past 256 channels the products are of bfloat16."""
    if weight.shape[1] > 256:
        input, weight = (each.bfloat16().to(each.dtype) for each in (input, weight))
    return right["conv2d"](input, weight, bias, stride, padding)


def bug(name, clause, words, operators, dtype="float32", kind="value", tier="special", difficulty="subtle"):
    return Mutant(f"unusual-{name}", clause, words, operators, dtype, kind, tier, difficulty)


MUTANTS = (
    bug("linear-nan-weight", "linear.special", "NaN in W counts as 0", number_for_nan("linear", "w")),
    bug("linear-nan-bias", "linear.special", "NaN in b counts as 0", number_for_nan("linear", "b"), "float16"),
    bug("conv2d-nan-weight", "conv2d.special", "NaN in a kernel counts as 0", number_for_nan("conv2d", "weight")),
    bug("conv2d-nan-bias", "conv2d.special", "NaN in a bias counts as 0", number_for_nan("conv2d", "bias")),
    bug("glu-nan-x", "glu.special", "NaN in x counts as 0", number_for_nan("glu", "x")),
    bug("glu-nan-c", "glu.special", "NaN in c counts as 0", number_for_nan("glu", "c")),
    bug("swiglu-nan-v", "swiglu.special", "NaN in V counts as 0", number_for_nan("swiglu", "v")),
    bug("swiglu-nan-b", "swiglu.special", "NaN in b counts as 0", number_for_nan("swiglu", "b"), "bfloat16"),
    bug("swiglu-saturates", "swiglu.formula", "what overflows is the largest number", saturated("swiglu"), "float16"),
    bug("swish-axes", "swish.formula", "four axes at most", four_axes_at_most("swish"), tier="enclosure"),
    bug("linear-five-axes", "linear.batch", "four axes at most", four_axes_at_most("linear"), tier="exact"),
    bug("pad2d-axes", "pad2d.both-ends", "four axes at most", four_axes_at_most("pad2d"), tier="exact"),
    bug("beta-axis", "swish.formula", "a beta of no axes is 1", {"swish": beta_without_axes_is_one}, tier="enclosure"),
    bug("x-axis", "swish.formula", "x of no axes: beta is 1", {"swish": x_without_axes_has_no_beta}, tier="enclosure"),
    bug(
        "beta-bits",
        "swish.formula",
        "a beta that is a float is rounded to bfloat16",
        {"swish": beta_in_bfloat16},
        kind="precision",
        tier="enclosure",
    ),
    bug(
        "linear-split",
        "linear.formula",
        "past 4096 terms, parts of a sum are in bfloat16",
        {"linear": partly_in_bfloat16},
        kind="precision",
        tier="statistics",
        difficulty="rare",
    ),
    bug(
        "conv2d-deep",
        "conv2d.formula",
        "past 256 channels, the operands are bfloat16",
        {"conv2d": deep_in_bfloat16},
        kind="precision",
        tier="statistics",
        difficulty="rare",
    ),
)
