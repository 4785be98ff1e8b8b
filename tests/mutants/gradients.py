"""Planted bugs of the derivatives: the result is right, and the gradient of one tensor is wrong.

Each one is a kernel's backward that somebody wrote by hand. What is right in it comes from PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.spec import OPERATORS
from assay.tests.mutants.mutant import Mutant

right = load("torch").operators

Named = dict[str, Any]
Spoil = Callable[[Named, Any, Named], Named]


def going_back(operator: str, spoil: Spoil) -> Callable[..., Any]:
    """PyTorch's operator; going back, ``spoil(found, incoming, given)`` names the gradients that are wrong."""
    names = OPERATORS[operator].arguments

    class Spoilt(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *given: Any) -> Any:
            ctx.save_for_backward(*(each for each in given if isinstance(each, torch.Tensor)))
            ctx.others = [None if isinstance(each, torch.Tensor) else (each,) for each in given]
            return right[operator](*given)

        @staticmethod
        def backward(ctx: Any, incoming: Any) -> Any:
            saved = iter(ctx.saved_tensors)
            values = [next(saved) if each is None else each[0] for each in ctx.others]
            given = dict(zip(names, values, strict=False))
            found = gradients(operator, given, incoming)
            found |= spoil(found, incoming, given)
            return tuple(found.get(name) for name in given)

    return Spoilt.apply


def gradients(operator: str, given: Mapping[str, Any], incoming: Any) -> Named:
    """The right gradients, by name."""
    tensors = {name: a.detach().requires_grad_() for name, a in given.items() if isinstance(a, torch.Tensor)}
    with torch.enable_grad():
        result = right[operator](*{**given, **tensors}.values())
    return dict(zip(tensors, torch.autograd.grad(result, list(tensors.values()), incoming), strict=True))


def again(operator: str, given: Named, incoming: Any, **changed: Any) -> Named:
    """The gradients that other arguments would have."""
    return gradients(operator, {**given, **changed}, incoming)


def only(name: str, change: Callable[[Any], Any]) -> Spoil:
    """The gradient of this tensor is ``change`` of the right one."""
    return lambda found, incoming, given: {name: change(found[name])} if name in found else {}


# --- swish


def gate(given):
    """x, beta and the sigmoid."""
    x, beta = given["x"], given.get("beta")
    beta = 1.0 if beta is None else beta
    return x, beta, torch.sigmoid(beta * x)


def sign_of_the_second_term(found, incoming, given):
    x, beta, s = gate(given)
    return {"x": incoming * s * (1 - beta * x * (1 - s))}


def without_the_first_term(found, incoming, given):
    x, beta, s = gate(given)
    return {"x": incoming * beta * x * s * (1 - s)}


def without_beta_in_the_sigmoid(found, incoming, given):
    x, beta, _ = gate(given)
    s = torch.sigmoid(x)
    return {"x": incoming * s * (1 + beta * x * (1 - s))}


def without_the_inner_derivative(found, incoming, given):
    x, _, s = gate(given)
    return {"x": incoming * s * (1 + x * (1 - s))}


def by_x_once(found, incoming, given):
    x, _, s = gate(given)
    return {"beta": (incoming * x * s * (1 - s)).sum().reshape(1)} if "beta" in found else {}


def deaf_beta(found, incoming, given):
    x, _, s = gate(given)
    return {"beta": (x * x * s * (1 - s)).sum().reshape(1)} if "beta" in found else {}


def beta_adds_up():
    total = []

    def spoil(found, incoming, given):
        total.extend([found["beta"]] if "beta" in found else [])
        return {"beta": sum(total)} if "beta" in found else {}

    return {"swish": going_back("swish", spoil)}


# --- linear, GLU and SwiGLU


def rows(x):
    return x.reshape(-1, x.shape[-1])


def branches(given):
    """W x + b, its sigmoid, and V x + c."""
    x1 = F.linear(given["x"], given["w"], given.get("b"))
    return x1, torch.sigmoid(x1), F.linear(given["x"], given["v"], given.get("c"))


def square_is_transposed(gradient):
    return gradient.mT if gradient.shape[0] == gradient.shape[1] else gradient


def as_if_constant(operator, name):
    """Right for an incoming gradient that is the same everywhere, as that of a sum is."""

    def spoil(found, incoming, given):
        return {name: again(operator, given, incoming.mean().expand_as(incoming).contiguous())[name]}

    return spoil


def four_rows_at_most(found, incoming, given):
    return {"w": rows(incoming)[:4].T @ rows(given["x"])[:4]}


def adds_to_the_last():
    """A buffer for the gradient of W that nobody zeroes while its shape stays."""
    kept = {}

    def spoil(found, incoming, given):
        shape = found["w"].shape
        kept["w"] = kept["w"] + found["w"] if "w" in kept and kept["w"].shape == shape else found["w"]
        return {"w": kept["w"].clone()}

    return {"linear": going_back("linear", spoil)}


def slope_is_the_sigmoid(found, incoming, given):
    _, s, x2 = branches(given)
    return {"w": rows(incoming * x2 * s).T @ rows(given["x"])}


def gate_left_out(found, incoming, given):
    return {"v": rows(incoming).T @ rows(given["x"])}


def exchanged(a, b):
    return lambda found, incoming, given: {a: found[b], b: found[a]} if a in found and b in found else {}


def mean_over_rows(name):
    return lambda found, incoming, given: {name: found[name] / max(1, len(rows(given["x"])))} if name in found else {}


def recomputed_without_b(found, incoming, given):
    bare = again("swiglu", {name: given[name] for name in ("x", "w", "v")}, incoming)
    return {"w": bare["w"]}


def gated_by_the_sigmoid(found, incoming, given):
    _, s, _ = branches(given)
    return {"v": rows(incoming * s).T @ rows(given["x"])}


def sign_of_the_slope(found, incoming, given):
    x1, s, x2 = branches(given)
    return {"b": rows(incoming * x2 * s * (1 - x1 * (1 - s))).sum(0)} if "b" in found else {}


def of_the_first_row(found, incoming, given):
    return {"c": again("swiglu", given, rows(incoming)[:1], x=rows(given["x"])[:1]).get("c")}


# --- pad2d, conv2d and max_pool2d


def cropped_at_the_start(found, incoming, given):
    height, width = given["x"].shape[-2:]
    return {"x": incoming[..., :height, :width]}


def sampled(name, choose):
    """The gradient of ``name`` as another batch, chosen by ``choose``, would have it."""
    return lambda found, incoming, given: (
        {name: again("conv2d", given, choose(incoming), input=choose(given["input"])).get(name)}
    )


def shifted_when_strided(found, incoming, given):
    strided = max(pair(given.get("stride", 1))) > 1
    return {"input": found["input"].roll(1, -1)} if strided else {}


def not_cropped_when_padded(found, incoming, given):
    return {"input": found["input"].roll(pair(given.get("padding", 0)), (-2, -1))}


def places_averaged(found, incoming, given):
    return {"bias": incoming.mean((2, 3)).sum(0)} if "bias" in found else {}


def incoming_in_bfloat16(found, incoming, given):
    return {"weight": again("conv2d", given, incoming.bfloat16().to(incoming.dtype))["weight"]}


def shared_by_the_window(found, incoming, given):
    across, down = pair(given["kernel_size"])
    return {"input": found["input"] / (across * down)}


def first_in_column_order(found, incoming, given):
    turned = {name: pair(value)[::-1] for name, value in given.items() if name != "input" and value is not None}
    found = again("max_pool2d", {**given, **turned}, incoming.mT, input=given["input"].mT)
    return {"input": found["input"].mT.contiguous()}


def bug(operator, name, clause, words, spoil, **more):
    """A mutant whose forward is right. ``clause`` is the part of its id after the operator."""
    operators = {operator: going_back(operator, spoil)}
    return Mutant(
        id=f"gradient-{operator}-{name}",
        clause=f"{operator}.{clause}",
        words=words,
        operators=operators,
        **{"kind": "gradient", "tier": "gradient", **more},
    )


def doubled(gradient):
    return gradient * 2


MUTANTS = (
    bug("swish", "sign", "gradient", "the second term is subtracted", sign_of_the_second_term),
    bug("swish", "first-term", "gradient", "the sigmoid itself is left out", without_the_first_term),
    bug("swish", "sigmoid-of-x", "gradient", "the slope's sigmoid is that of x", without_beta_in_the_sigmoid),
    bug("swish", "inner", "gradient", "the slope's factor of beta is left out", without_the_inner_derivative),
    bug("swish", "beta-x-once", "beta-learned", "beta's has x where the formula has x * x", by_x_once),
    bug("swish", "beta-deaf", "beta-learned", "beta's ignores the incoming gradient", deaf_beta),
    Mutant(
        id="gradient-swish-beta-adds-up",
        clause="swish.beta-learned",
        words="beta's gradients of all calls so far are summed",
        operators=beta_adds_up,
        kind="gradient",
        tier="gradient",
    ),
    bug("linear", "x-none", "gradient", "x gets none", only("x", lambda gradient: None)),
    bug("linear", "w-twice", "gradient", "W's is added twice", only("w", doubled)),
    bug(
        "linear",
        "w-transposed",
        "gradient",
        "a square W's is transposed",
        only("w", square_is_transposed),
        difficulty="rare",
    ),
    bug("linear", "w-four-rows", "gradient", "W's takes four rows of x", four_rows_at_most, difficulty="subtle"),
    Mutant(
        id="gradient-linear-w-kept",
        clause="linear.gradient",
        words="W's is added to that of the last call, if that had its shape",
        operators=adds_to_the_last,
        kind="gradient",
        tier="gradient",
        difficulty="rare",
    ),
    bug("linear", "x-of-the-mean", "gradient", "x's takes the mean incoming gradient", as_if_constant("linear", "x")),
    bug("linear", "b-bfloat16", "gradient", "b's passes through bfloat16", only("b", lambda b: b.bfloat16().float())),
    bug("glu", "x-twice", "gradient", "x's is added twice", only("x", doubled)),
    bug("glu", "w-slope", "gradient", "the sigmoid's slope is the sigmoid", slope_is_the_sigmoid),
    bug("glu", "v-ungated", "gradient", "V's leaves the gate out", gate_left_out),
    bug("glu", "b-mean", "gradient", "b's is the mean over the rows", mean_over_rows("b"), difficulty="subtle"),
    bug("glu", "biases-exchanged", "gradient", "b has c's, c has b's", exchanged("b", "c"), dtype="bfloat16"),
    bug("swiglu", "x-half", "gradient", "x's passes through float16", only("x", lambda x: x.half().float())),
    bug("swiglu", "w-without-b", "gradient", "the gate is recomputed, and b forgotten", recomputed_without_b),
    bug("swiglu", "v-sigmoid", "gradient", "V's is gated as GLU's", gated_by_the_sigmoid),
    bug("swiglu", "b-sign", "gradient", "b's has a term of the wrong sign", sign_of_the_slope, dtype="float16"),
    bug("swiglu", "c-first-row", "gradient", "c's takes the first row alone", of_the_first_row, difficulty="subtle"),
    bug("pad2d", "at-the-start", "gradient", "is cut from the first row and column on", cropped_at_the_start),
    bug("pad2d", "clipped", "gradient", "is kept between -1 and 1", only("x", lambda x: x.clamp(-1.0, 1.0))),
    bug("conv2d", "input-strided", "gradient", "with a stride, the input's is a column late", shifted_when_strided),
    bug("conv2d", "input-padded", "gradient", "with padding, the input's is not cropped", not_cropped_when_padded),
    bug(
        "conv2d",
        "weight-mean",
        "gradient",
        "the weight's is the mean over the batch",
        lambda found, incoming, given: {"weight": found["weight"] / max(1, len(incoming))},
        difficulty="subtle",
    ),
    bug(
        "conv2d", "weight-first-sample", "gradient", "the weight's takes one sample", sampled("weight", lambda x: x[:1])
    ),
    bug("conv2d", "weight-flipped", "gradient", "the weight's is flipped", only("weight", lambda w: w.flip(2, 3))),
    bug("conv2d", "weight-bfloat16", "gradient", "the weight's takes bfloat16", incoming_in_bfloat16),
    bug("conv2d", "bias-mean", "gradient", "the bias's is the mean over the places", places_averaged),
    bug("max_pool2d", "shared", "gradient", "is shared by all of the window", shared_by_the_window),
    bug("max_pool2d", "bfloat16", "gradient", "passes through bfloat16", only("input", lambda x: x.bfloat16().float())),
    bug(
        "max_pool2d",
        "column-order",
        "gradient-first-tie",
        "of tied elements the first in column order gets it",
        first_in_column_order,
        difficulty="subtle",
    ),
)
