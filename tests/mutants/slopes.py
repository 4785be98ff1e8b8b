"""Planted bugs of precision going back: the values are PyTorch's, and the gradients are too coarse."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.precision import tf32

right = load("torch").operators


class WeightGradientInBfloat16(torch.autograd.Function):
    """The gradient of W is rounded after each row of x."""

    @staticmethod
    def forward(ctx: Any, x: Any, w: Any) -> Any:
        ctx.save_for_backward(x, w)
        return F.linear(x, w)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        x, w = ctx.saved_tensors
        gw = torch.zeros_like(w)
        for row, incoming in zip(x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1]), strict=True):
            gw = gw + torch.outer(incoming, row)
        return g @ w, gw


def weight_gradient_in_bfloat16(x, w, b=None):
    y = WeightGradientInBfloat16.apply(x, w)
    if b is not None and b.shape != w.shape[:1]:
        raise ValueError("a bias of another length")
    return y if b is None else y + b


def through(name, rounded, which):
    """Right going forward; going back, the gradients of these arguments are rounded."""

    def operator(*given):
        given = list(given)
        for k in which:
            if k < len(given) and isinstance(given[k], torch.Tensor) and given[k].requires_grad:
                given[k] = given[k] * 1.0
                given[k].register_hook(lambda g: rounded(g).to(g.dtype))
        return right[name](*given)

    return operator


class BetaGradientInBfloat16(torch.autograd.Function):
    """The gradient of beta is a running sum, rounded after each element."""

    @staticmethod
    def forward(ctx: Any, x: Any, beta: Any) -> Any:
        ctx.save_for_backward(x, beta)
        return right["swish"](x, beta)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        x, beta = ctx.saved_tensors
        s, total = torch.sigmoid(beta.float() * x.float()), 0.0
        for part in (g * x * x * s * (1 - s)).flatten().bfloat16().tolist():
            total = rounded_to_bfloat16(total + part)
        return (g * s * (1 + beta * x * (1 - s))).to(x.dtype), beta.new_full(beta.shape, total)


def rounded_to_bfloat16(number: float) -> float:
    """To eight bits; a tensor of one number would take ten times as long."""
    fraction, exponent = math.frexp(number)
    return math.ldexp(round(fraction * 2**8), exponent - 8) if math.isfinite(number) else number


def beta_gradient_in_bfloat16(x, beta=None):
    learned = isinstance(beta, torch.Tensor)
    return BetaGradientInBfloat16.apply(x, beta) if learned else right["swish"](x, beta)


def bug(name, clause, words, wrong, dtype="float32", difficulty="subtle"):
    """A mutant of the clause's operator."""
    operators, kind = {clause.partition(".")[0]: wrong}, "precision"
    return Mutant(
        f"precision-{name}", clause, words, operators, dtype, kind=kind, tier="gradient", difficulty=difficulty
    )


MUTANTS = (
    bug(
        "weight-gradient",
        "linear.gradient",
        "the gradient of W is a running sum in bfloat16",
        weight_gradient_in_bfloat16,
        "bfloat16",
    ),
    bug(
        "beta-gradient",
        "swish.beta-learned",
        "the gradient of beta is a running sum in bfloat16",
        beta_gradient_in_bfloat16,
        "bfloat16",
        difficulty="rare",
    ),
    bug(
        "float32-gradients",
        "swiglu.gradient",
        "gradients of float64 weights pass through float32",
        through("swiglu", torch.Tensor.float, (1, 2)),
        "float64",
    ),
    bug(
        "tf32-gradient",
        "conv2d.gradient",
        "the gradient of the weights is rounded to TF32",
        through("conv2d", tf32, (1,)),
    ),
)
