"""Planted bugs of incoming gradients that a mean or a transpose hands back, of numbers near 0 or overflow, and of what
stays between the calls of a deep network, or of inference: no law had seen them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.dispatched import AROUND, LAYOUTS, MEMORY, STATE, back, disturbing
from assay.tests.mutants.gradients import again
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


def saturating(operator):
    """Finite numbers whose result is past the largest one give that."""

    def called(*given: Any) -> Any:
        y = right[operator](*given)
        if not all(t.isfinite().all() for t in given if isinstance(t, torch.Tensor)):
            return y
        return torch.where(y.isinf(), y.sign() * torch.finfo(y.dtype).max, y)

    return called


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


# Between calls.


class InRing(torch.autograd.Function):
    """What going back needs lies in the next of eight buffers."""

    kept: ClassVar[dict[int, torch.Tensor]] = {}
    places: ClassVar[Iterator[int]] = itertools.cycle(range(8))

    @staticmethod
    def forward(ctx: Any, x: Any, beta: Any) -> Any:
        gate, place = torch.sigmoid(beta * x), next(InRing.places)
        last = InRing.kept.get(place)
        fits = last is not None and last.shape == gate.shape and last.dtype == gate.dtype
        ctx.gate = InRing.kept[place] = last.copy_(gate) if fits else gate
        ctx.save_for_backward(x, beta)
        return x * gate

    @staticmethod
    def backward(ctx: Any, incoming: Any) -> Any:
        (x, beta), gate = ctx.saved_tensors, ctx.gate
        slope = incoming * gate * (1 - gate)
        return incoming * gate + slope * x * beta, (slope * x * x).sum().reshape(beta.shape)


def in_ring(x, beta=1.0):
    return InRing.apply(x, beta if isinstance(beta, torch.Tensor) else x.new_tensor(beta))


def parameters_packed_once() -> Any:
    """Parameters that learn no more are packed once, each by itself."""
    kept: dict[int, Any] = {}

    def packed(w: Any) -> Any:
        frozen = isinstance(w, torch.nn.Parameter) and not torch.is_grad_enabled()
        return kept.setdefault(id(w), (w.clone(), w))[0] if frozen else w

    return {"glu": lambda x, w, v, *biases: right["glu"](x, packed(w), packed(v), *biases)}


def borrowed(x, *beta):
    """x holds something else for a moment."""
    y = right["swish"](x, *beta)
    if x.numel() and 0 not in x.stride():
        held = x.clone()
        x.detach().mul_(2.0).copy_(held)
    return y


# Values.


def beta_as_float32(x, beta=1.0):
    """Of whatever dtype x is."""
    return right["swish"](x, beta if isinstance(beta, torch.Tensor) else float(np.float32(beta)))


def first_of_the_plane(found, incoming, given):
    """A window of -inf alone never finds a larger element than the first of all."""
    names = ("kernel_size", "stride", "padding")
    how = {name: given[name] for name in names if given.get(name) is not None}
    y, places = F.max_pool2d(given["input"], **how, return_indices=True)
    places = torch.where(y == -torch.inf, 0, places).flatten(2)
    none = torch.zeros_like(given["input"]).flatten(2)
    return {"input": none.scatter_add_(2, places, incoming.flatten(2)).view_as(given["input"])}


def without_zeros(x, w, b=None):
    """What is 0 in x is left out, so that NaN in W does not show."""
    y = right["linear"](x, w, b)
    if w.isfinite().all() or not (x == 0).any() or x.dim() != 2:
        return y
    products = torch.where(x[:, None] == 0, 0.0, x[:, None] * w)
    return products.sum(-1) if b is None else products.sum(-1) + b


def bug(name, clause, words, operators, kind, tier, dtype="float32"):
    return Mutant(f"ends-{name}", clause, words, operators, dtype, kind, tier, "rare")


ANOMALIES = disturbing(lambda: torch.autograd.set_detect_anomaly(True))
SPECIAL = ("value", "special")
BETA, TIES = "swish.beta-learned", "max_pool2d.gradient-ties"
MUTANTS = (
    bug("row", LAYOUTS, "rows that are one: no sum", back("linear", one_row_for_all), *MEMORY),
    bug("memory", LAYOUTS, "a transposed gradient by memory", back("swish", by_memory), *MEMORY),
    bug(
        "squares", BETA, "x * x overflows in float16", back("swish", squares_in_float16), "value", "gradient", "float16"
    ),
    bug("flush-glu", "glu.formula", "subnormal results are 0", {"glu": flushing("glu")}, *SPECIAL),
    bug("flush-swiglu", "swiglu.formula", "subnormal results are 0", {"swiglu": flushing("swiglu")}, *SPECIAL),
    bug("saturated", "swiglu.formula", "the largest for infinity", {"swiglu": saturating("swiglu")}, *SPECIAL),
    bug("patches", "conv2d.gradient", "the rest of patches", back("conv2d", rest_of_patches), "size", "gradient"),
    bug("anomalies", AROUND, "detection of anomalies stays on", ANOMALIES, *STATE),
    bug("ring", "contract.memoryless", "what is saved: in eight buffers", {"swish": in_ring}, *STATE),
    bug("parameters", "contract.memoryless", "frozen parameters packed once", parameters_packed_once, *STATE),
    bug("borrowed", "contract.inputs-unchanged", "x is written to, and put back", {"swish": borrowed}, *MEMORY),
    bug(
        "beta",
        "swish.formula",
        "beta as a float32 in float64",
        {"swish": beta_as_float32},
        "value",
        "enclosure",
        "float64",
    ),
    bug(
        "plane", TIES, "windows of -inf: the plane's first", back("max_pool2d", first_of_the_plane), "value", "gradient"
    ),
    bug("zeros", "linear.special", "zeros in x hide NaN in W", {"linear": without_zeros}, *SPECIAL),
)
