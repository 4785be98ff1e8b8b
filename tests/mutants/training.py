"""Planted bugs of training and of inference: what is kept for the way back, and what is done where none is recorded."""

from __future__ import annotations

from typing import Any

import torch

from assay.implementations.load import load
from assay.tests.mutants.gradients import going_back
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.state import by_pointer, by_shape

right = load("torch").operators
Kept = dict[Any, Any]
MEMORY, KEPT, UNCHANGED = "contract.memoryless", "contract.results-kept", "contract.inputs-unchanged"


def packed_once() -> dict[str, Any]:
    """The weight is packed for the way back once for each place in memory."""
    kept: Kept = {}

    def spoil(found: Any, incoming: Any, given: Any) -> dict[str, Any]:
        w = given["w"]
        packed, _ = kept.setdefault(by_pointer(w), (w.clone(), w))  # w too, so that no other tensor comes to lie there
        return {"x": incoming @ packed}

    return {"linear": going_back("linear", spoil)}


def one_gradient_buffer() -> dict[str, Any]:
    kept: Kept = {}

    def spoil(found: Any, incoming: Any, given: Any) -> dict[str, Any]:
        return {"w": kept.setdefault(by_shape(found["w"]), torch.empty_like(found["w"])).copy_(found["w"])}

    return {"linear": going_back("linear", spoil)}


def stashed() -> dict[str, Any]:
    """Swish of beta 1 keeps its x for the way back in one place for each shape."""
    kept: Kept = {}

    class Stashed(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.key = by_shape(x)
            kept.setdefault(ctx.key, torch.empty_like(x, memory_format=torch.contiguous_format)).copy_(x)
            return right["swish"](x)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            x = kept[ctx.key]
            s = torch.sigmoid(x)
            return g * (s + x * s * (1 - s))

    return {"swish": lambda x, beta=None: Stashed.apply(x) if beta is None else right["swish"](x, beta)}


def places_stashed() -> dict[str, Any]:
    """Pooling keeps where its maxima were in one place for each shape."""
    kept: Kept = {}

    class Stashed(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, *how: Any) -> Any:
            y, kept[by_shape(x)] = torch.nn.functional.max_pool2d(x, *how, return_indices=True)
            ctx.key, ctx.shape = by_shape(x), x.shape
            return y

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            into = g.new_zeros(*ctx.shape[:2], ctx.shape[2] * ctx.shape[3])
            into.scatter_add_(2, kept[ctx.key].flatten(2), g.flatten(2))
            return into.reshape(ctx.shape), None, None, None

    def max_pool2d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Any:
        return Stashed.apply(x, kernel_size, stride, padding)

    return {"max_pool2d": max_pool2d}


def in_place_in_inference(x, beta=1.0):
    if torch.is_grad_enabled() or not x.is_contiguous():
        return right["swish"](x, beta)
    return x.mul_(torch.sigmoid(beta * x))


def one_buffer_in_inference() -> dict[str, Any]:
    kept: Kept = {}

    def conv2d(*given: Any) -> Any:
        y = right["conv2d"](*given)
        return y if torch.is_grad_enabled() else kept.setdefault(by_shape(y), torch.empty_like(y)).copy_(y)

    return {"conv2d": conv2d}


def packed_for_inference() -> dict[str, Any]:
    """Without gradients the weights are taken from where they were packed, once for each place in memory."""
    kept: Kept = {}

    def swiglu(x: Any, w: Any, v: Any, b: Any = None, c: Any = None) -> Any:
        if not torch.is_grad_enabled():
            v, _ = kept.setdefault(by_pointer(v), (v.clone(), v))
        return right["swiglu"](x, w, v, b, c)

    return {"swiglu": swiglu}


def bug(name, clause, words, operators):
    return Mutant(f"training-{name}", clause, words, operators, kind="state", tier="state", difficulty="subtle")


MUTANTS = (
    bug("packed-once", MEMORY, "goes back through the weight that once lay there", packed_once),
    bug("stash", MEMORY, "goes back from the last x of the shape", stashed),
    bug("stashed-places", MEMORY, "goes back to the maxima of the last call of the shape", places_stashed),
    bug("packed-for-inference", MEMORY, "without recording, V is what once lay there", packed_for_inference),
    bug("gradient-buffer", KEPT, "all gradients of one weight lie in one buffer", one_gradient_buffer),
    bug("buffer-in-inference", KEPT, "without recording, results lie in one buffer", one_buffer_in_inference),
    bug("in-place-in-inference", UNCHANGED, "without recording it works in place", {"swish": in_place_in_inference}),
)
