"""Planted bugs of training and of inference: what is kept for the way back, and what is done where none is recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from assay.implementations.load import load
from assay.tests.mutants.mutant import Mutant

right = load("torch").operators
Kept = dict[Any, Any]
MEMORY, KEPT, UNCHANGED = "contract.memoryless", "contract.results-kept", "contract.inputs-unchanged"


def of_shape(tensor: Any) -> tuple[Any, ...]:
    return tuple(tensor.shape), tensor.dtype


def product(backward: Callable[..., Any]) -> Callable[[], dict[str, Any]]:
    """linear, whose way back is ``backward(x, w, incoming, kept)`` with a memory of its own."""

    def operators() -> dict[str, Any]:
        kept: Kept = {}

        class Product(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Any, w: Any) -> Any:
                ctx.save_for_backward(x, w)
                return x @ w.t()

            @staticmethod
            def backward(ctx: Any, g: Any) -> Any:
                return backward(*ctx.saved_tensors, g, kept)

        def linear(x: Any, w: Any, b: Any = None) -> Any:
            y = Product.apply(x, w)
            return y if b is None else y + b

        return {"linear": linear}

    return operators


def of_weight(x: Any, g: Any) -> Any:
    return g.reshape(-1, g.shape[-1]).t() @ x.reshape(-1, x.shape[-1])


def packed_once(x, w, g, kept):
    """The weight is packed for the way back once for each place in memory."""
    key = (w.data_ptr(), *of_shape(w))
    packed, _ = kept.setdefault(key, (w.clone(), w))  # w too, so that no other tensor comes to lie there
    return g @ packed, of_weight(x, g)


def one_gradient_buffer(x, w, g, kept):
    buffer = kept.setdefault(of_shape(w), torch.empty_like(w))
    return g @ w, buffer.copy_(of_weight(x, g))


def stashed() -> dict[str, Any]:
    """Swish of beta 1 keeps its x for the way back in one place for each shape."""
    kept: Kept = {}

    class Stashed(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.key = of_shape(x)
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
            y, kept[of_shape(x)] = torch.nn.functional.max_pool2d(x, *how, return_indices=True)
            ctx.key, ctx.shape = of_shape(x), x.shape
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
        return y if torch.is_grad_enabled() else kept.setdefault(of_shape(y), torch.empty_like(y)).copy_(y)

    return {"conv2d": conv2d}


def packed_for_inference() -> dict[str, Any]:
    """Without gradients the weights are taken from where they were packed, once for each place in memory."""
    kept: Kept = {}

    def swiglu(x: Any, w: Any, v: Any, b: Any = None, c: Any = None) -> Any:
        if not torch.is_grad_enabled():
            v, _ = kept.setdefault((v.data_ptr(), *of_shape(v)), (v.clone(), v))
        return right["swiglu"](x, w, v, b, c)

    return {"swiglu": swiglu}


def bug(name, clause, words, operators):
    return Mutant(f"training-{name}", clause, words, operators, kind="state", tier="state", difficulty="subtle")


MUTANTS = (
    bug("packed-once", MEMORY, "goes back through the weight that once lay there", product(packed_once)),
    bug("stash", MEMORY, "goes back from the last x of the shape", stashed),
    bug("stashed-places", MEMORY, "goes back to the maxima of the last call of the shape", places_stashed),
    bug("packed-for-inference", MEMORY, "without recording, V is what once lay there", packed_for_inference),
    bug("gradient-buffer", KEPT, "all gradients of one weight lie in one buffer", product(one_gradient_buffer)),
    bug("buffer-in-inference", KEPT, "without recording, results lie in one buffer", one_buffer_in_inference),
    bug("in-place-in-inference", UNCHANGED, "without recording it works in place", {"swish": in_place_in_inference}),
)
