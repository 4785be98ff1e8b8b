"""Planted bugs that hang on a value: right for the numbers that are usually tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.tests.mutants.max_pool2d import picked, pooling
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.precision import Valued

right = load("torch").operators


def valued(name: str, wrong: Callable[..., Any]) -> Callable[..., Any]:
    """PyTorch's operator with other values, and its own gradients."""
    return lambda *given: Valued.apply(right[name](*given), wrong(*given))


def flushed(t):
    """Zero where it is subnormal."""
    return torch.where(t.abs() < torch.finfo(t.dtype).tiny, torch.zeros((), dtype=t.dtype), t)


def from_flushed(name):
    """The operator of arguments whose subnormal numbers are zero."""
    return lambda *given: right[name](*[flushed(a) if isinstance(a, torch.Tensor) else a for a in given])


def closed_below_eighteen(x, beta=None):
    return torch.where(x < -18, 0.0, right["swish"](x, beta))


def exponent_of_float32(x, beta=None):
    return x * torch.sigmoid((x if beta is None else beta * x).clamp(-88, 88))


def open_above_twenty(x, w, v, b=None, c=None):
    x1 = F.linear(x, w, b)
    return torch.where(x1 > 20, x1, F.silu(x1)) * F.linear(x, v, c)


def logarithm_of_the_size(x, beta=None):
    """Sign and logarithm apart: the sign bit of -0.0 says negative, and its size says nothing."""
    y = right["swish"](x, beta)
    return torch.where((x == 0) & x.signbit(), torch.log(x) * 0.0, y)


def beta_up_to_eight(x, beta=None):
    if beta is None:
        return right["swish"](x)
    return right["swish"](x, beta.clamp(-8, 8) if isinstance(beta, torch.Tensor) else max(-8.0, min(beta, 8.0)))


def sigmoid_of_two_branches(x, w, v, b=None, c=None):
    """One formula above zero and one below, and none for zero."""
    t = F.linear(x, w, b)
    gate = torch.where(t > 0, 1 / (1 + torch.exp(-t.abs())), 0.0)
    gate = torch.where(t < 0, torch.exp(-t.abs()) / (1 + torch.exp(-t.abs())), gate)
    return torch.where(t.isnan(), t, gate) * F.linear(x, v, c)


def nothing_for_nothing(x, w, v, b=None, c=None):
    y = right["glu"](x, w, v, b, c)
    return y if x.any() else torch.zeros_like(y)


def product_before_the_gate(x, w, v, b=None, c=None):
    x1 = F.linear(x, w, b)
    return x1 * F.linear(x, v, c) * torch.sigmoid(x1)


def integers_in_float32(x, w, b=None):
    y = right["linear"](x, w, b)
    whole = bool((x == x.round()).all() and (w == w.round()).all())
    return F.linear(x.float(), w.float(), None if b is None else b.float()) if whole else y


def rows_without_a_positive(x, w, b=None):
    y = right["linear"](x, w, b)
    return torch.where((x > 0).any(-1, keepdim=True) | x.isnan().any(-1, keepdim=True), y, 0.0 if b is None else b)


def repeated_rows_are_padding(x, w, b=None):
    y = right["linear"](x, w, b).clone()
    if x.ndim > 1 and len(x) > 1:
        y[1:][(x[1:] == x[:-1]).all(-1)] = 0.0
    return y


def up_to_65504(name):
    """Finite results are clipped to float16's range."""

    def operator(*given):
        y = right[name](*given)
        return torch.where(y.isfinite(), y.clamp(-65504, 65504), y)

    return operator


def constant_input_by_sums(input, weight, bias=None, *parameters):
    """An input of one value is that value times the sum of the weights: at the border too."""
    y = right["conv2d"](input, weight, bias, *parameters)
    if not input.numel() or (input != input.flatten()[0]).any():
        return y
    total = input.flatten()[0] * weight.flatten(1).sum(1) + (0.0 if bias is None else bias)
    return total[:, None, None].expand_as(y)


def flushed_convolution(*given):
    return flushed(right["conv2d"](*given))


def at_most_zero(x, padding):
    """What is added is the largest element, or zero if that is less."""
    filler = min(float(x.max()), 0.0) if x.numel() else 0.0
    return F.pad(x, (padding, padding, padding, padding), value=filler)


def signed_bits(w):
    """Bits as integers: in order above zero, in reverse below."""
    return w.contiguous().view(torch.int32)


def ordered_bits(w):
    """Bits as integers in the order of their numbers, and of NaN by its sign."""
    bits = signed_bits(w)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


def sum_of_the_largest(w):
    largest = w.amax(-1, keepdim=True)
    one_hot = torch.where(w == largest, w, 0.0).sum(-1)
    return torch.where(largest[..., 0].isfinite(), one_hot, largest[..., 0])


def all_but_the_last(w):
    return (w[..., :-1] if w.shape[-1] > 2 else w).amax(-1)


def bug(name, clause, words, wrong, dtype="float32", tier="enclosure", difficulty="subtle"):
    """A mutant of the clause's operator: ``wrong`` gives its values, PyTorch its gradients."""
    operator = clause.partition(".")[0]
    operators, kind = {operator: valued(operator, wrong)}, "value"
    return Mutant(f"value-{name}", clause, words, operators, dtype, kind=kind, tier=tier, difficulty=difficulty)


MUTANTS = (
    bug("below-18", "swish.formula", "below -18 the gate is taken for closed", closed_below_eighteen),
    bug(
        "exponent-of-float32",
        "swish.formula",
        "float64's exponents are clamped to 88, as float32's are",
        exponent_of_float32,
        "float64",
    ),
    bug("minus-zero", "swish.zero", "-0.0 gives NaN", logarithm_of_the_size, "float16", tier="exact"),
    bug(
        "subnormal-results",
        "swish.formula",
        "subnormal results are zero, undeclared",
        lambda *given: flushed(right["swish"](*given)),
        "float16",
        tier="special",
    ),
    bug("beta-past-8", "swish.formula", "beta is clamped to 8", beta_up_to_eight, difficulty="rare"),
    bug("above-20", "swiglu.formula", "above 20 the gate is taken for open", open_above_twenty, "float64"),
    bug(
        "product-first",
        "swiglu.biases",
        "the branches are multiplied before the gate, and overflow",
        product_before_the_gate,
        "float16",
        difficulty="rare",
    ),
    bug(
        "gate-of-zero",
        "glu.formula",
        "the sigmoid is 0 at 0, between its two branches",
        sigmoid_of_two_branches,
        tier="exact",
    ),
    bug(
        "zeros-skipped",
        "glu.biases",
        "an x of zeros is skipped, biases too",
        nothing_for_nothing,
        "bfloat16",
        difficulty="rare",
    ),
    bug(
        "integers",
        "linear.formula",
        "whole numbers are summed in float32, which ends at 2**24",
        integers_in_float32,
        "float64",
        tier="exact",
    ),
    bug(
        "negative-rows",
        "linear.formula",
        "rows without a positive number are skipped",
        rows_without_a_positive,
        "float16",
    ),
    bug(
        "equal-rows",
        "linear.formula",
        "a row that equals the one before it is taken for padding",
        repeated_rows_are_padding,
        "bfloat16",
        tier="exact",
        difficulty="plain",
    ),
    bug("linear-past-65504", "linear.formula", "results are clipped to 65504", up_to_65504("linear"), "bfloat16"),
    bug(
        "subnormal-operands",
        "linear.formula",
        "subnormal inputs are zero, undeclared",
        from_flushed("linear"),
        "float16",
        difficulty="rare",
    ),
    bug(
        "constant-input",
        "conv2d.padding-zeros",
        "an input of one value is not padded",
        constant_input_by_sums,
        tier="exact",
        difficulty="rare",
    ),
    bug(
        "subnormal-sums",
        "conv2d.formula",
        "subnormal results are zero, undeclared",
        flushed_convolution,
        "float16",
        difficulty="rare",
    ),
    bug(
        "padding-below-zero", "pad2d.zeros", "negative inputs are padded with their largest", at_most_zero, tier="exact"
    ),
    bug(
        "padded-past-65504",
        "pad2d.both-ends",
        "finite numbers are clipped to 65504",
        up_to_65504("pad2d"),
        tier="exact",
        difficulty="rare",
    ),
    bug(
        "padded-subnormals",
        "pad2d.zeros",
        "subnormal numbers become zero",
        from_flushed("pad2d"),
        "float16",
        tier="exact",
        difficulty="rare",
    ),
    bug(
        "signed-bits",
        "max_pool2d.definition",
        "compares bits as integers, which reverses negative numbers",
        picked(signed_bits),
        tier="exact",
        difficulty="plain",
    ),
    bug(
        "negative-nan",
        "max_pool2d.nan",
        "a NaN whose sign bit is set is below all numbers",
        picked(ordered_bits),
        tier="special",
        difficulty="rare",
    ),
    bug(
        "neighbours-tie",
        "max_pool2d.order",
        "float64 is compared in float32",
        picked(lambda w: w.float()),
        "float64",
        tier="exact",
    ),
    bug(
        "ties-add-up",
        "max_pool2d.definition",
        "tied elements are added up",
        pooling(sum_of_the_largest),
        "bfloat16",
        tier="exact",
        difficulty="plain",
    ),
    bug(
        "last-place",
        "max_pool2d.definition",
        "the last element of a window is not compared",
        pooling(all_but_the_last),
        "float16",
        tier="exact",
        difficulty="plain",
    ),
    bug(
        "pooled-subnormals",
        "max_pool2d.definition",
        "subnormal numbers become zero",
        lambda *given: flushed(right["max_pool2d"](*given)),
        "bfloat16",
        tier="exact",
        difficulty="rare",
    ),
)
