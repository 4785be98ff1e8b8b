"""Swish: planted bugs, one or more a clause."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from assay.tests.mutants.mutant import Mutant


def exponentials_that_overflow(x, beta=1.0):
    grown = torch.exp(beta * x)
    return x * (grown / (1 + grown))


def sigmoid_in_half_precision(x, beta=1.0):
    return x * torch.sigmoid(beta * x.to(torch.bfloat16)).to(x.dtype)


def beta_twice(x, beta=1.0):
    return x * beta * torch.sigmoid(beta * x)


def beta_is_a_constant(x, beta=1.0):
    return x * torch.sigmoid((beta.detach() if isinstance(beta, torch.Tensor) else beta) * x)


def beta_learns_the_mean(x, beta=1.0):
    if isinstance(beta, torch.Tensor):
        beta = beta.detach() + (beta - beta.detach()) / x.numel()
    return x * torch.sigmoid(beta * x)


def folded_at_zero(x, beta=1.0):
    return F.relu(x) - x.abs() * torch.sigmoid(-beta * x.abs())


class ReluGoingBack(torch.autograd.Function):
    """Right going forward, ReLU's slope going back."""

    @staticmethod
    def forward(ctx, x, beta):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(beta * x)

    @staticmethod
    def backward(ctx, g):
        return g * (ctx.saved_tensors[0] > 0), None


class OnesGoingBack(torch.autograd.Function):
    """Right going forward, deaf to the incoming gradient going back."""

    @staticmethod
    def forward(ctx, x, beta):
        ctx.beta = float(beta)
        ctx.save_for_backward(x)
        return x * torch.sigmoid(beta * x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(ctx.beta * x)
        return s * (1 + ctx.beta * x * (1 - s)), None


def beta_of_gelu(x, beta=1.702):
    return x * torch.sigmoid(beta * x)


def divided_by_itself(x, beta=1.0):
    return x * x / (x + x * torch.exp(-beta * x))


def away_from_zero(x, beta=1.0):
    x = torch.where(x.abs() < 1e-6, 1e-6, x)
    return x * torch.sigmoid(beta * x)


def zero_means_not_given(x, beta=None):
    return x * torch.sigmoid((beta or 1.0) * x)


def gate_never_quite_closed(x, beta=1.0):
    return x * torch.sigmoid(beta * x).clamp_min(1e-4)


def shifted_by_the_largest(x, beta=1.0):
    t = beta * x
    top = t.max().clamp_min(0)
    return x * torch.exp(t - top) / (torch.exp(-top) + torch.exp(t - top))


def gate_is_a_constant(x, beta=1.0):
    return x * torch.sigmoid(beta * x).detach()


def nan_becomes_a_number(x, beta=1.0):
    x = torch.fmax(x, torch.full_like(x, -1e4))
    return x * torch.sigmoid(beta * x)


def infinity_keeps_its_sign(x, beta=1.0):
    return x * torch.sigmoid(beta * x).clamp_min(torch.finfo(x.dtype).tiny)


MUTANTS = (
    Mutant(
        "swish-exponentials-overflow",
        "swish.formula",
        "exp(t) / (1 + exp(t)) is NaN where exp(t) overflows",
        {"swish": exponentials_that_overflow},
    ),
    Mutant(
        "swish-half-sigmoid",
        "swish.formula",
        "the sigmoid is computed in bfloat16",
        {"swish": sigmoid_in_half_precision},
    ),
    Mutant("swish-beta-twice", "swish.formula", "beta scales the result too", {"swish": beta_twice}),
    Mutant("swish-beta-constant", "swish.beta-learned", "beta gets no gradient", {"swish": beta_is_a_constant}),
    Mutant(
        "swish-beta-mean",
        "swish.beta-learned",
        "the gradient of beta is the mean over elements, not the sum",
        {"swish": beta_learns_the_mean},
    ),
    Mutant(
        "swish-folded",
        "swish.smooth",
        "relu(x) - |x| sigmoid(-|x|): the right value everywhere, the derivative at 0 is 0",
        {"swish": folded_at_zero},
    ),
    Mutant(
        "swish-relu-back",
        "swish.smooth",
        "the derivative is ReLU's",
        {"swish": lambda x, beta=1.0: ReluGoingBack.apply(x, beta)},
        "bfloat16",
    ),
    Mutant(
        "swish-gelu-beta", "swish.silu", "beta is 1.702 unless given, as in GELU's short form", {"swish": beta_of_gelu}
    ),
    Mutant("swish-zero-by-zero", "swish.zero", "divides by x, so 0 gives NaN", {"swish": divided_by_itself}),
    Mutant("swish-away-from-zero", "swish.zero", "moves x to 1e-6 where it is smaller", {"swish": away_from_zero}),
    Mutant(
        "swish-zero-beta",
        "swish.beta-zero",
        "beta = 0 is taken for a beta that is not given",
        {"swish": zero_means_not_given},
        "float16",
    ),
    Mutant(
        "swish-leaks",
        "swish.odd-part",
        "the gate closes to 1e-4 and no further",
        {"swish": gate_never_quite_closed},
    ),
    Mutant(
        "swish-shifted",
        "swish.elementwise",
        "guards its exponentials by the tensor's largest element, as a softmax does",
        {"swish": shifted_by_the_largest},
        "float64",
    ),
    Mutant("swish-gate-constant", "swish.gradient", "the gate is not differentiated", {"swish": gate_is_a_constant}),
    Mutant(
        "swish-deaf",
        "swish.gradient",
        "the backward ignores the incoming gradient",
        {"swish": lambda x, beta=1.0: OnesGoingBack.apply(x, beta)},
    ),
    Mutant("swish-nan-lost", "swish.special", "fmax turns NaN into a number", {"swish": nan_becomes_a_number}),
    Mutant(
        "swish-minus-infinity",
        "swish.special",
        "the gate is kept from 0, so -inf stays -inf",
        {"swish": infinity_keeps_its_sign},
    ),
)
