"""Planted bugs of what stands around a call, and of sizes that are a batch's: no law had seen them."""

from __future__ import annotations

from typing import Any

import torch

from assay.implementations.load import load
from assay.tests.mutants.dispatched import STATE, back
from assay.tests.mutants.mutant import Mutant

right = load("torch").operators


def bias_by_default(x, w, b=None):
    """A bias that is left out is made of zeros, in the dtype of new tensors."""
    return torch.nn.functional.linear(x, w) + (torch.zeros(len(w)) if b is None else b)


def constants_by_default(x, beta=1.0):
    """Beta is made a tensor of the dtype of new tensors."""
    return x * torch.sigmoid((beta if isinstance(beta, torch.Tensor) else torch.tensor(beta)).to(x.dtype) * x)


def one_row_expanded(x, w, b=None):
    """Rows that are one in memory are mapped once, and expanded."""
    if x.dim() == 2 and len(x) > 1 and x.stride(0) == 0:
        return right["linear"](x[:1], w, b).expand(len(x), -1)
    return right["linear"](x, w, b)


def asks_for_gradients(input, weight, *given):
    """The result says that it was recorded, where nothing is."""
    y = right["conv2d"](input, weight, *given)
    return y if torch.is_grad_enabled() else y.requires_grad_()


def tokens_of_seven(x, *beta):
    """The last of seven tokens, of several samples, has another slope."""
    y = right["swish"](x, *beta)
    if x.dim() == 3 and len(x) > 1 and x.shape[1] and x.shape[1] % 7 == 0:
        return torch.cat([y[:, :-1], y[:, -1:] * 1.01], 1)
    return y


def samples_of_eleven(operator: str, axis: int = 0) -> Any:
    """A batch of eleven, or twice as many, is one sample short."""

    def short(input, *given: Any) -> Any:
        y = right[operator](input, *given)
        if input.dim() < 3 or not y.numel() or y.shape[axis] % 11:
            return y
        return y.index_fill(axis, torch.tensor([y.shape[axis] - 1]), 0.0)

    return {operator: short}


def steep_in_float16(found, incoming, given):
    """sigma + t * sigma * (1 - sigma) with t = beta * x in the dtype, where inf * 0 is NaN."""
    x, beta = given["x"], given.get("beta", 1.0)
    if "x" not in found or x.dtype != torch.float16:
        return {}
    t = beta * x
    gate = torch.sigmoid(t)
    return {"x": incoming * torch.where(t.isinf(), gate + t * gate * (1 - gate), found["x"])}


def bug(name, clause, words, operators, kind, tier, dtype="float32"):
    return Mutant(f"defaults-{name}", clause, words, operators, dtype, kind, tier, "rare")


FORMULA, SLOPE = ("size", "enclosure"), ("value", "gradient")
MUTANTS = (
    bug("bias", "contract.memoryless", "no bias: zeros by default", {"linear": bias_by_default}, *STATE),
    bug("beta", "contract.memoryless", "beta by default", {"swish": constants_by_default}, *STATE, "float64"),
    bug("expanded", "contract.no-alias", "one row, expanded", {"linear": one_row_expanded}, "layout", "contract"),
    bug("asks", "contract.recording", "a result that was recorded", {"conv2d": asks_for_gradients}, *STATE),
    bug("steep", "swish.gradient", "beta * x overflows", back("swish", steep_in_float16), *SLOPE, "float16"),
    bug("tokens", "swish.formula", "sevens of tokens", {"swish": tokens_of_seven}, *FORMULA),
    bug("linear-samples", "linear.formula", "elevens of samples", samples_of_eleven("linear"), *FORMULA),
    bug("glu-samples", "glu.formula", "elevens of samples", samples_of_eleven("glu"), *FORMULA),
    bug("pad2d-planes", "pad2d.zeros", "elevens of planes", samples_of_eleven("pad2d", 1), *FORMULA),
    bug("conv2d-samples", "conv2d.formula", "elevens of samples", samples_of_eleven("conv2d"), *FORMULA),
    bug("pooling-samples", "max_pool2d.definition", "elevens of samples", samples_of_eleven("max_pool2d"), *FORMULA),
)
