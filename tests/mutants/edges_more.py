"""Planted bugs at further edges: arguments that are to be refused, parts of a layer that learn alone, kept graphs.

Of further kernels by people who had not seen the laws, those that lived at quick and break a promise.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.dispatched import BACK, back
from assay.tests.mutants.edges import AROUND, bug
from assay.tests.mutants.gradients import gradients

right = load("torch").operators


def no_samples(found, incoming, given):
    """No features are taken for no samples: nothing is learned."""
    return {} if given["x"].numel() else {name: torch.zeros_like(each) for name, each in found.items()}


def bias_of_one_row(x, w, b=None):
    """Where the bias alone learns, of a row alone, it is summed over every axis."""
    alone = b is not None and b.requires_grad and not (x.requires_grad or w.requires_grad)
    return BiasAlone.apply(x, w, b) if alone and x.ndim == 1 else right["linear"](x, w, b)


class BiasAlone(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, b):
        return right["linear"](x, w, b)

    @staticmethod
    def backward(ctx, incoming):
        return None, None, incoming.sum(tuple(range(incoming.ndim - 1))).expand_as(incoming)


def refused_bias(x, w, v, b=None, c=None):
    """What it switches off while it looks at c is on again, unless that is an error."""
    on = torch.is_grad_enabled()
    torch.set_grad_enabled(False)
    if c is not None and c.shape != w.shape[:1]:
        raise ValueError(f"c is {tuple(c.shape)}")
    torch.set_grad_enabled(on)
    return right["glu"](x, w, v, b, c)


def compared_as_pairs(input, weight, bias=None, stride=1, padding=0):
    """(1, -1) is more than (0, 0)."""
    down, across = pair(padding)
    if (down, across) < (0, 0):
        raise ValueError(f"padding={padding}")
    return right["conv2d"](F.pad(input, (across, across, down, down)), weight, bias, stride)


def by_one_channel(input, weight, bias=None, stride=1, padding=0):
    """Pointwise, one channel stands for any number."""
    if weight.shape[2:] == (1, 1) and pair(stride) == (1, 1) and 1 in (input.shape[1], weight.shape[1]):
        most = max(input.shape[1], weight.shape[1])
        input, weight = input.expand(-1, most, -1, -1), weight.expand(-1, most, -1, -1)
    return right["conv2d"](input, weight, bias, stride, padding)


class BetaAlone(torch.autograd.Function):
    """Where beta alone learns, what comes in is used as memory."""

    @staticmethod
    def forward(ctx, x, beta):
        ctx.save_for_backward(x, beta)
        return right["swish"](x, beta)

    @staticmethod
    def backward(ctx, incoming):
        x, beta = ctx.saved_tensors
        found = gradients("swish", {"x": x, "beta": beta}, incoming)["beta"]
        incoming.mul_(x)
        return None, found


def beta_alone(x, beta=1.0):
    alone = isinstance(beta, torch.Tensor) and beta.requires_grad and not x.requires_grad
    return BetaAlone.apply(x, beta) if alone else right["swish"](x, beta)


def pooled_gates():
    """Gates are kept in a pool, to which they return when it has gone back once."""
    pool: dict[tuple[int, ...], list[torch.Tensor]] = {}

    class Pooled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w, v, b, c):
            ctx.save_for_backward(x, w, v, b, c)
            gate = F.linear(x, w, b)
            free = pool.setdefault((*gate.shape, gate.element_size()), [])
            ctx.kept, ctx.free = free.pop().copy_(gate) if free else gate, [free]
            return right["swiglu"](x, w, v, b, c)

        @staticmethod
        def backward(ctx, incoming):
            given = dict(zip("xwvbc", ctx.saved_tensors, strict=True))
            found = gradients("swiglu", given, incoming)
            values = gradients("linear", {"x": given["x"], "w": given["v"]}, incoming * F.silu(ctx.kept))
            for free in ctx.free:
                free.append(ctx.kept)
            ctx.free = []
            return tuple((found | {"v": values["w"]}).get(name) for name in "xwvbc")

    return {"swiglu": lambda x, w, v, b=None, c=None: Pooled.apply(x, w, v, b, c)}


def no_rows(x, padding):
    """Of no rows the columns alone."""
    return F.pad(x, (padding, padding, 0, 0)) if x.shape[-2] == 0 else right["pad2d"](x, padding)


class LastBeta(torch.autograd.Function):
    """Numbers but 1 are kept where the next call finds them, too."""

    @staticmethod
    def forward(ctx, x, beta):
        LastBeta.beta = beta
        ctx.save_for_backward(x)
        return right["swish"](x, beta)

    @staticmethod
    def backward(ctx, incoming):
        return gradients("swish", {"x": ctx.saved_tensors[0], "beta": LastBeta.beta}, incoming)["x"], None


def last_beta(x, beta=1.0):
    learns = torch.is_grad_enabled() and x.requires_grad
    kept = learns and not isinstance(beta, torch.Tensor) and beta != 1.0
    return LastBeta.apply(x, beta) if kept else right["swish"](x, beta)


def of_no_axes(x, beta=1.0):
    """A number times a tensor of no axes is of the default dtype."""
    y = right["swish"](x, beta)
    wide = torch.promote_types(y.dtype, torch.get_default_dtype())
    return y if x.ndim or isinstance(beta, torch.Tensor) else y.to(wide)


def no_window(input, kernel_size, stride=None, padding=0):
    """Windows of one element are those that the stride leaves, copied where they do not lie together."""
    down, across = pair(kernel_size if stride is None else stride)
    if pair(kernel_size) != (1, 1) or pair(padding) != (0, 0) or min(down, across) < 1:
        return right["max_pool2d"](input, kernel_size, stride, padding)
    return input[:, :, ::down, ::across].contiguous() if (down, across) != (1, 1) else input.clone()


def left_flat(x, w, b=None):
    """While sizes are compared x has two axes; after an error it still has."""
    if x.ndim < 3 or not x.is_contiguous() or x.is_inference() or x.shape[-1] != w.shape[-1]:
        return right["linear"](x, w, b)
    whole = x.data
    x.data = whole.reshape(-1, whole.shape[-1])
    if b is not None and b.shape != w.shape[:1]:
        raise ValueError(f"b is {tuple(b.shape)}")
    x.data = whole
    return right["linear"](x, w, b)


REFUSED, ALIAS = ("contract", "contract"), ("layout", "contract")
MUTANTS = (
    bug("no-samples", "contract.shape", "no features: no sample", back("linear", no_samples), *BACK),
    bug("bias-alone", "linear.gradient", "a row, the bias alone: the total", {"linear": bias_of_one_row}, *BACK),
    bug("refused-bias", AROUND, "a refused c: nothing is recorded", {"glu": refused_bias}),
    bug("pairs", "conv2d.refuses-padding", "(1, -1) is a padding", {"conv2d": compared_as_pairs}, *REFUSED),
    bug("one-channel", "conv2d.refuses-channels", "pointwise: one for all", {"conv2d": by_one_channel}, *REFUSED),
    bug("beta-alone", "contract.inputs-unchanged", "beta alone: scratch", {"swish": beta_alone}, *REFUSED),
    bug("pooled-gates", "contract.memoryless", "gone back once: the gate is free", pooled_gates),
    bug("last-beta", "contract.memoryless", "going back: the beta of the last call", {"swish": last_beta}),
    bug("no-axes", "contract.memoryless", "no axes: the default dtype", {"swish": of_no_axes}),
    bug("no-window", "contract.no-alias", "one element a window: a slice", {"max_pool2d": no_window}, *ALIAS),
    bug("left-flat", "linear.refuses-sizes", "a refused b: x stays flat", {"linear": left_flat}, *REFUSED),
    bug("no-rows", "pad2d.zeros", "no rows: no frame", {"pad2d": no_rows}, "formula", "exact"),
)
