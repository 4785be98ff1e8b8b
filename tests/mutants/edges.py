"""Planted bugs at edges of sizes, values, settings and of going back.

Of 24 kernels by somebody who had not seen the laws, those that lived at quick and break a promise.
"""

from __future__ import annotations

import gc

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.dispatched import BACK, back
from assay.tests.mutants.gradients import gradients
from assay.tests.mutants.mutant import Mutant

right = load("torch").operators


def several_nan(found, incoming, given):
    """Each NaN of a window gets the whole."""
    x, kernel, stride, padding = (given.get(name) for name in ("input", "kernel_size", "stride", "padding"))
    apart = pair(kernel) == pair(stride or kernel) and not any(pair(padding or 0))
    if not apart or x.ndim != 4 or any(n % k for n, k in zip(x.shape[2:], pair(kernel), strict=True)):
        return {}
    spread = incoming.repeat_interleave(pair(kernel)[0], 2).repeat_interleave(pair(kernel)[1], 3)
    return {"input": torch.where(x.isnan(), spread, found["input"])}


def biases_themselves(x, w, b=None):
    """In inference no features leave the biases."""
    learn = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, w, b))
    return right["linear"](x, w, b) if learn or b is None or w.shape[1] else b.expand(*x.shape[:-1], len(b))


class GateAlone(torch.autograd.Function):
    """Where the gate alone learns its slope is taken from the result, which may have been written to."""

    @staticmethod
    def forward(ctx, x, w, v, b, c):
        y = right["glu"](x, w, v, b, c)
        ctx.given, ctx.alone = (x, w, v, b, c), ctx.needs_input_grad[1] and not any(ctx.needs_input_grad[0:3:2])
        ctx.y = y.detach()
        return y

    @staticmethod
    def backward(ctx, incoming):
        given = dict(zip("xwvbc", ctx.given, strict=True))
        found = gradients("glu", given, incoming)
        if ctx.alone and not ctx.needs_input_grad[4]:
            slope = incoming * ctx.y * torch.sigmoid(-F.linear(given["x"], given["w"], given["b"]))
            found |= gradients("linear", {name: given[name] for name in "xwb"}, slope)
        return tuple(found.get(name) for name in "xwvbc")


def gate_alone(x, w, v, b=None, c=None):
    return GateAlone.apply(x, w, v, b, c)


def collecting(*given):
    """No garbage is collected meanwhile; afterwards it is, whatever was before."""
    gc.disable()
    try:
        return right["swiglu"](*given)
    finally:
        gc.enable()


def deterministic_ties(found, incoming, given):
    """By deterministic algorithms the elements that tie share the gradient."""
    if not torch.are_deterministic_algorithms_enabled():
        return {}
    x, others = given["input"].detach().requires_grad_(), list(given.values())[1:]
    with torch.enable_grad():
        first, last = F.max_pool2d(x, *others), F.max_pool2d(x.flip(2, 3), *others).flip(2, 3)
        shared = 0.5 * (first + last)
    if not torch.equal(first, last):  # windows that end before the plane does
        return {}
    return {"input": torch.autograd.grad(shared, x, incoming)[0]}


class ByItsStrides(torch.autograd.Function):
    """Going back the input is read as it lay going forward: what a hook hands back may lie in another way."""

    @staticmethod
    def forward(ctx, x, w, b):
        ctx.save_for_backward(x, w)
        ctx.has_bias, ctx.strides = b is not None, x.stride()
        return right["linear"](x, w, b)

    @staticmethod
    def backward(ctx, incoming):
        x, w = ctx.saved_tensors
        x = x.as_strided(x.shape, ctx.strides) if x.ndim == 2 and min(x.shape) and 0 not in ctx.strides else x
        given = {"x": x, "w": w} | ({"b": w.new_zeros(len(w))} if ctx.has_bias else {})
        return (*gradients("linear", given, incoming).values(), None)[:3]


def by_its_strides(x, w, b=None):
    return ByItsStrides.apply(x, w, b)


def no_outputs(found, incoming, given):
    """Where no output is there to write what comes back to x, nobody does."""
    return {} if len(given["w"]) else {"x": torch.empty_like(given["x"])}


def refused_padding(input, kernel_size, stride=None, padding=0):
    """Gradients are not recorded while the padding is looked at, nor after it was refused."""
    before = torch.is_grad_enabled()
    torch.set_grad_enabled(False)
    if any(p < 0 or 2 * p > k for p, k in zip(pair(padding), pair(kernel_size), strict=True)):
        raise ValueError(f"padding={padding}; allowed: from 0 to half of {kernel_size}")
    torch.set_grad_enabled(before)
    return right["max_pool2d"](input, kernel_size, stride, padding)


class ByAddress(torch.autograd.Function):
    """What comes in again at the same address goes back as it did before."""

    @staticmethod
    def forward(ctx, x, w, v, b, c):
        ctx.given, ctx.known = (x, w, v, b, c), {}
        return right["glu"](x, w, v, b, c)

    @staticmethod
    def backward(ctx, incoming):
        key = incoming.data_ptr(), incoming._version, incoming.stride()
        if key not in ctx.known:
            ctx.known = {key: gradients("glu", dict(zip("xwvbc", ctx.given, strict=True)), incoming)}
        return tuple(ctx.known[key].get(name) for name in "xwvbc")


def by_address(x, w, v, b=None, c=None):
    return ByAddress.apply(x, w, v, b, c)


def odd_plane(found, incoming, given):
    """Planes in pairs, by vectors: the last of an odd number gets what belongs to the plane two before it."""
    x, padding = found["x"], given["padding"]
    planes = x.reshape(-1, *x.shape[-2:]) if x.numel() else x[:0]
    if padding < 4 or padding % 4 or x.shape[-1] % 4 or len(planes) % 2 == 0:
        return {}
    last = planes[max(0, len(planes) - 3)]
    return {"x": torch.cat([planes[:-1], last[None]]).reshape(x.shape)}


def bug(name, clause, words, operators, kind="state", tier="state", dtype="float32"):
    return Mutant(f"edges-{name}", clause, words, operators, dtype, kind, tier, "rare")


AROUND, TIES = "contract.surroundings", "max_pool2d.gradient-first-tie"
MUTANTS = (
    bug("nan", "max_pool2d.gradient", "several NaN: each gets it", back("max_pool2d", several_nan), *BACK),
    bug(
        "no-features",
        "contract.no-alias",
        "no features: the biases",
        {"linear": biases_themselves},
        "layout",
        "contract",
    ),
    bug("gate-alone", "glu.gradient", "the gate alone: of the result as it is", {"glu": gate_alone}, *BACK),
    bug("collecting", AROUND, "garbage is collected afterwards", {"swiglu": collecting}),
    bug("deterministic", TIES, "deterministic: ties share", back("max_pool2d", deterministic_ties), *BACK),
    bug("strides", "linear.gradient", "saved inputs by their strides", {"linear": by_its_strides}, *BACK),
    bug(
        "no-outputs", "contract.fresh-memory", "no outputs: nobody writes", back("linear", no_outputs), dtype="float64"
    ),
    bug("refused", AROUND, "a refused padding: nothing is recorded", {"max_pool2d": refused_padding}),
    bug("odd-plane", "pad2d.gradient", "aligned: the last of odd planes", back("pad2d", odd_plane), "size", "gradient"),
    bug("address", "contract.memoryless", "the same address: the same gradients", {"glu": by_address}),
)
