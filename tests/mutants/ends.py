"""Planted bugs of incoming gradients that a mean or a transpose hands back, and of numbers near 0 or overflow."""

from __future__ import annotations

from typing import Any

import torch

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.gradients import again, going_back
from assay.tests.mutants.mutant import Mutant

right = load("torch").operators


def one_row_for_all(found, incoming, given):
    """Rows that are one in memory, as a mean over the batch hands its gradient back, are taken for one."""
    aligned = incoming.dim() == 2 and min(incoming.shape) >= 32
    return {"w": torch.outer(incoming[0], given["x"][0])} if aligned and incoming.stride() == (0, 1) else {}


def by_memory(found, incoming, given):
    """Where the memory of both is dense, it is walked in one loop, whatever the order."""
    x, turned = given["x"], incoming.transpose(-1, -2) if incoming.dim() > 1 else incoming
    dense = x.is_contiguous() and turned.is_contiguous() and not incoming.is_contiguous()
    if x.numel() < 1024 or not dense:
        return {}
    return {"x": again("swish", given, turned.reshape(x.shape))["x"]}


def squares_in_float16(found, incoming, given):
    """x * x * sigmoid'(beta * x) with the square in the dtype."""
    x, beta = (given.get(name) for name in ("x", "beta"))
    if "beta" not in found or x.dtype != torch.float16:
        return {}
    gate = torch.sigmoid(beta.float() * x.float())
    terms = incoming.float() * (x * x).float() * (gate * (1 - gate))
    return {"beta": terms.sum().to(x.dtype).expand(beta.shape).clone()}


def flushing(operator):
    """Results below the least normal number are 0."""

    def gated(*given: Any) -> Any:
        y = right[operator](*given)
        return torch.where(y.abs() < torch.finfo(y.dtype).tiny, y * 0.0, y)

    return gated


def rest_of_patches(found, incoming, given):
    """Columns behind the last patch have the first ones' gradients."""
    kernel, columns = tuple(given["weight"].shape[2:]), given["input"].shape[3]
    patches = kernel == pair(given.get("stride", 1)) and kernel[1] >= 8 and not any(pair(given.get("padding", 0)))
    rest = columns % kernel[1]
    if not (patches and rest and columns > kernel[1]):
        return {}
    wrong = found["input"].clone()
    wrong[..., columns - rest :] = wrong[..., :rest]
    return {"input": wrong}


def detecting_anomalies(*given):
    torch.autograd.set_detect_anomaly(True)
    return right["max_pool2d"](*given)


def bug(name, clause, words, wrong, kind, tier, dtype="float32"):
    operators = {clause.partition(".")[0]: wrong} if not isinstance(wrong, dict) else wrong
    return Mutant(f"ends-{name}", clause, words, operators, dtype, kind, tier, "rare")


MEMORY = ("layout", "contract")
MUTANTS = (
    bug(
        "row",
        "contract.layouts",
        "rows that are one: no sum",
        {"linear": going_back("linear", one_row_for_all)},
        *MEMORY,
    ),
    bug(
        "memory",
        "contract.layouts",
        "a transposed gradient by memory",
        {"swish": going_back("swish", by_memory)},
        *MEMORY,
    ),
    bug(
        "squares",
        "swish.beta-learned",
        "x * x overflows in float16",
        going_back("swish", squares_in_float16),
        "value",
        "gradient",
        "float16",
    ),
    bug("flush-glu", "glu.formula", "subnormal results are 0", flushing("glu"), "value", "special"),
    bug("flush-swiglu", "swiglu.formula", "subnormal results are 0", flushing("swiglu"), "value", "special"),
    bug("patches", "conv2d.gradient", "the rest of patches", going_back("conv2d", rest_of_patches), "size", "gradient"),
    bug(
        "anomalies",
        "contract.surroundings",
        "detection of anomalies stays on",
        {"max_pool2d": detecting_anomalies},
        "state",
        "state",
    ),
)
