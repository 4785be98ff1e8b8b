"""Planted bugs of manners: the values are right, and yet nobody could use them in PyTorch's place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.contract import Implementation
from assay.implementations.load import load
from assay.tests.mutants.mutant import Mutant

right = load("torch").operators


@dataclass(frozen=True)
class GoingBack(Mutant):
    """A bug that a library's own differentiation would mend or refuse: the implementation brings its own."""

    handed_back: Callable[[Any], Any] = lambda gradient: gradient

    def implementation(self) -> Implementation:
        return replace(super().implementation(), vjp=self.vjp)

    def vjp(self, operator: str, arguments: Any, incoming: Any) -> dict[str, Any]:
        tensors = {name: a.detach().requires_grad_() for name, a in arguments.items() if isinstance(a, torch.Tensor)}
        result = right[operator](*{**arguments, **tensors}.values())
        found = torch.autograd.grad(result, list(tensors.values()), incoming)
        return {name: self.handed_back(gradient) for name, gradient in zip(tensors, found, strict=True)}


class Named(torch.Tensor):
    """A tensor of another class."""


class SwishOverItsInput(torch.autograd.Function):
    """Going back, the saved input's memory is used for the sigmoid."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return F.silu(x)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        slope = torch.sigmoid(x) * (1 + x * torch.sigmoid(-x))
        x.detach().sigmoid_()
        return g * slope


class PadDeafToStrides(torch.autograd.Function):
    """Right going forward; going back, the incoming gradient is read as if it were contiguous."""

    @staticmethod
    def forward(ctx: Any, x: Any, padding: int) -> Any:
        ctx.padding = padding
        return right["pad2d"](x, padding)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return right["pad2d"](as_if_contiguous(g), -ctx.padding), None


def as_if_contiguous(x):
    return x.as_strided(x.shape, torch.empty(x.shape, device="meta").stride())


def half_stays_float32(x, beta=None):
    return right["swish"](x.to(torch.promote_types(x.dtype, torch.float32)), beta)


def beta_is_float64(x, beta=None):
    return right["swish"](x, torch.tensor([beta], dtype=torch.float64) if isinstance(beta, float) else beta)


def fixed_unless(operator: str, learning: int, fixed: int) -> Callable[..., Any]:
    """One tensor has no gradient unless another, by its place, needs its own."""

    def wrong(*given: Any) -> Any:
        held = list(given)
        both = len(given) > max(learning, fixed) and all(isinstance(given[k], torch.Tensor) for k in (learning, fixed))
        if both and not given[learning].requires_grad:
            held[fixed] = given[fixed].detach()
        return right[operator](*held)

    return wrong


class LearnsWhereItsInputDoes(torch.autograd.Function):
    """The weight's gradient is computed along with the input's, or not at all."""

    @staticmethod
    def forward(ctx: Any, x: Any, w: Any) -> Any:
        ctx.save_for_backward(x, w)
        return F.linear(x, w)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        x, w = ctx.saved_tensors
        if not ctx.needs_input_grad[0]:
            return None, torch.zeros_like(w)
        return g @ w, g.reshape(-1, w.shape[0]).T @ x.reshape(-1, w.shape[1])


def linear_that_learns_where_its_input_does(x, w, b=None):
    y = LearnsWhereItsInputDoes.apply(x, w)
    return y if b is None else y + b


def result_and_indices(x, kernel, stride=None, padding=0):
    return F.max_pool2d(x, kernel, stride, padding, return_indices=True)


def forgets_to_return(x, padding):
    right["pad2d"](x, padding)


def flat_batch(x, w, b=None):
    return right["linear"](x.flatten(0, -2) if x.ndim > 1 else x, w, b)


def one_output_is_none(x, w, v, b=None, c=None):
    result = right["glu"](x, w, v, b, c)
    return result.squeeze(-1) if result.ndim > 1 else result


def writes_where_contiguous(x, beta=None):
    result = right["swish"](x, beta)
    if x.is_contiguous():
        x.detach().copy_(result)
    return result


def flips_the_weight(input, weight, bias=None, stride=1, padding=0):
    """A convolution by a flipping one: the weight is flipped in its place."""
    weight.detach().copy_(weight.detach().flip(2, 3).clone())
    return right["conv2d"](input, weight.flip(2, 3), bias, stride, padding)


def swish_in_place_going_back(x, beta=None):
    return right["swish"](x, beta) if beta is not None else SwishOverItsInput.apply(x)


def identity_is_a_view(x, kernel, stride=None, padding=0):
    identity = kernel in (1, (1, 1)) and stride in (1, (1, 1), None)
    return x[:] if identity else right["max_pool2d"](x, kernel, stride, padding)


def sums_into_an_input(x, w, b=None):
    """Where there are as many outputs as inputs, x's memory is good enough for the result."""
    result = right["linear"](x, w, b)
    return x.detach().copy_(result) if result.shape == x.shape and x.is_contiguous() else result


def weight_as_if_contiguous(x, w, b=None):
    return right["linear"](x, as_if_contiguous(w), b)


def offset_forgotten(x, padding):
    return right["pad2d"](x.as_strided(x.shape, x.stride(), 0), padding)


def viewed(x, kernel, stride=None, padding=0):
    n, c, height, width = x.shape
    return right["max_pool2d"](x.view(n * c, height, width), kernel, stride, padding).unflatten(0, (n, c))


def expanded_read_as_rows(x, w, v, b=None, c=None):
    return right["swiglu"](as_if_contiguous(x) if x.ndim > 1 and x.stride(0) == 0 else x, w, v, b, c)


def scaled_by_the_largest(x, beta=None):
    """A rescaling that cancels, and needs a largest element."""
    x.abs().max()
    return right["swish"](x, beta)


def row_by_row(x, w, b=None):
    return torch.stack([right["linear"](row, w, b) for row in x]) if x.ndim > 1 else right["linear"](x, w, b)


def at_least_one(input, weight, bias=None, stride=1, padding=0):
    input = input if len(input) else input.new_zeros((1, *input.shape[1:]))
    return right["conv2d"](input, weight, bias, stride, padding)


def squeezed(name):
    """A batch of one comes back as a sample."""

    def operator(x, *rest):
        result = right[name](x, *rest)
        return result[0] if x.ndim > 1 and len(x) == 1 else result

    return {name: operator}


def mutant(name: str, clause: str, words: str, operators: Any, dtype: str = "float32") -> Mutant:
    return Mutant(f"contract-{name}", f"contract.{clause}", words, operators, dtype)


MUTANTS = (
    mutant(
        "float32-inside", "dtype", "bfloat16 comes back as float32", {"swish": half_stays_float32}, dtype="bfloat16"
    ),
    mutant("beta-float64", "dtype", "a float beta becomes a float64 tensor, and widens", {"swish": beta_is_float64}),
    GoingBack(
        "contract-gradient-float32",
        "contract.dtype",
        "gradients stay float32",
        {},
        "float16",
        handed_back=torch.Tensor.float,
    ),
    mutant(
        "elsewhere",
        "device",
        "the result is on another device",
        {"glu": lambda *given: right["glu"](*given).to("meta")},
    ),
    mutant("pair", "plain", "returns the indices too", {"max_pool2d": result_and_indices}),
    mutant("nothing", "plain", "forgets to return the result", {"pad2d": forgets_to_return}),
    mutant("list", "plain", "returns a list of samples", {"conv2d": lambda *given: list(right["conv2d"](*given))}),
    mutant(
        "subclass",
        "plain",
        "returns a tensor of a class of its own",
        {"linear": lambda *given: right["linear"](*given).as_subclass(Named)},
    ),
    mutant("flat-batch", "shape", "several leading axes become one", {"linear": flat_batch}),
    mutant("one-output", "shape", "the axis of outputs is dropped where there is one", {"glu": one_output_is_none}),
    GoingBack(
        "contract-gradient-shape",
        "contract.shape",
        "gradients of vectors are columns",
        {},
        handed_back=lambda gradient: gradient[:, None] if gradient.ndim == 1 else gradient,
    ),
    mutant("in-place", "inputs-unchanged", "writes to x where it is contiguous", {"swish": writes_where_contiguous}),
    mutant("flips-the-weight", "inputs-unchanged", "the weight is left flipped", {"conv2d": flips_the_weight}),
    mutant(
        "in-place-back",
        "inputs-unchanged",
        "the gradient's computation overwrites x",
        {"swish": swish_in_place_going_back},
    ),
    mutant("identity", "no-alias", "pooling by 1 returns a view", {"max_pool2d": identity_is_a_view}),
    mutant("reuses-memory", "no-alias", "the result is written into x where it fits", {"linear": sums_into_an_input}),
    mutant("contiguous-weight", "layouts", "the weight's strides are ignored", {"linear": weight_as_if_contiguous}),
    mutant("offset", "layouts", "the offset is ignored", {"pad2d": offset_forgotten}),
    mutant("expanded", "layouts", "an expanded x is read row after row", {"swiglu": expanded_read_as_rows}),
    mutant("viewed", "layouts", "a view that only some strides allow", {"max_pool2d": viewed}),
    mutant(
        "gradient-strides", "layouts", "the incoming gradient's strides are ignored", {"pad2d": PadDeafToStrides.apply}
    ),
    mutant("largest-of-none", "empty-batch", "looks for the largest element", {"swish": scaled_by_the_largest}),
    mutant("stack-of-none", "empty-batch", "stacks one result a sample", {"linear": row_by_row}),
    mutant("one-of-none", "empty-batch", "gives one sample for none", {"conv2d": at_least_one}),
    GoingBack(
        "contract-gradient-of-none",
        "contract.empty-batch",
        "where every derivative is zero, memory is handed back that nobody wrote to",
        {},
        handed_back=lambda gradient: gradient if gradient.any() else torch.full_like(gradient, torch.nan),
    ),
    mutant("squeezed-image", "batch-of-one", "one image comes back without its batch", squeezed("conv2d")),
    mutant("squeezed-row", "batch-of-one", "one row comes back without its batch", squeezed("swiglu")),
    mutant(
        "first-layer",
        "some-gradients",
        "where x needs no gradient the weight's is zero",
        {"linear": linear_that_learns_where_its_input_does},
    ),
    mutant(
        "beta-alone",
        "some-gradients",
        "where x needs no gradient beta has none",
        {"swish": fixed_unless("swish", 0, 1)},
    ),
    mutant(
        "frozen-weight",
        "some-gradients",
        "where the weight needs no gradient the bias has none",
        {"conv2d": fixed_unless("conv2d", 1, 2)},
    ),
    mutant(
        "frozen-gate",
        "some-gradients",
        "where W needs no gradient V has none",
        {"swiglu": fixed_unless("swiglu", 1, 2)},
    ),
)
