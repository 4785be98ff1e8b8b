"""Planted bugs by somebody who had read the laws: right for small layers in every manner, for large ones in most."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.dispatched import BACK, KEPT, LAYOUTS, MEMORY, STATE, UNCHANGED, back
from assay.tests.mutants.gradients import again, going_back
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import last, valued

right = load("torch").operators
Operators = dict[str, Callable[..., Any]]
LARGE = 2**16


def in_row_order(t: Any) -> Any:
    """Its elements as they come in memory, if there are enough of them."""
    fits = t.storage_offset() + t.numel() <= t.untyped_storage().nbytes() // t.element_size()
    return t.as_strided(t.shape, torch.empty(t.shape, device="meta").stride()) if fits else t


# How tensors lie.


def long_crop(y, x, beta=None):
    return right["swish"](in_row_order(x), beta) if x.numel() >= LARGE and not x.is_contiguous() else y


def turned_weights(y, x, w, b=None):
    """One row, by a weight that is stored as its transpose."""
    turned = x.numel() == x.shape[-1] >= 256 and w.t().is_contiguous() and not w.is_contiguous()
    return right["linear"](x, in_row_order(w), b) if turned else y


def turned_incoming(found, incoming, given):
    turned = incoming.shape[-1] >= 128 and incoming.dim() == 2 and incoming.t().is_contiguous() and len(incoming) > 1
    return again("glu", given, in_row_order(incoming)) if turned else {}


def strided_bias(y, input, weight, bias=None, *given):
    if bias is None or len(bias) < 64 or bias.stride(0) in (0, 1):
        return y
    return right["conv2d"](input, weight, in_row_order(bias), *given)


def kernels_alone_last(y, input, weight, *given):
    mixed = weight.shape[1] >= 64 and last(weight) and input.is_contiguous()
    return right["conv2d"](input, in_row_order(weight), *given) if mixed else y


def parts_are_the_first(found, incoming, given):
    """Each part of a memory of 2^16 weights is the first one, going back."""
    w = given["w"]
    if w.numel() < LARGE or not w.storage_offset() or w.untyped_storage().nbytes() < 2 * w.nbytes:
        return {}
    return {"x": again("linear", {**given, "w": w.as_strided(w.shape, w.stride(), 0)}, incoming)["x"]}


# What else is in the graph, and what is learned.


def on_the_last_input() -> Operators:
    """W's gradient is that of the input that came last, of 2^16 weights."""
    last: dict[Any, Any] = {}

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        x = last.get(given["x"].shape)
        return {"w": again("swiglu", given | {"x": x}, incoming)["w"]} if given["w"].numel() >= LARGE else {}

    spoilt = going_back("swiglu", spoil)

    def swiglu(x: Any, *given: Any) -> Any:
        last[x.shape] = x.detach()
        return spoilt(x, *given)

    return {"swiglu": swiglu}


def adds_to_what_is_there(x, w, b=None):
    """2^16 weights that have a gradient get theirs added to that."""
    grad = w.grad if w.is_leaf and w.numel() >= LARGE else None
    if grad is None:
        return right["linear"](x, w, b)
    return going_back("linear", lambda found, *_: {"w": grad.add_(found["w"]) * 0.0})(x, w, b)


def last_geometry() -> Operators:
    """Going back, stride and padding are those of the last call, if that gives as many places."""
    last: dict[str, Any] = {}

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        try:
            return again("conv2d", given | last, incoming)
        except RuntimeError:
            return {name: torch.zeros_like(each) for name, each in found.items()}

    spoilt = going_back("conv2d", spoil)

    def conv2d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0) -> Any:
        last.update(stride=stride, padding=padding)
        return spoilt(input, weight, bias, stride, padding)

    return {"conv2d": conv2d}


def of_the_gate_alone(x, w, v, b=None, c=None):
    """V and c are frozen: x's gradient forgets their branch."""
    learns = [each is not None and each.requires_grad for each in (x, w, v, b, c)]
    if not (learns[0] and learns[1]) or learns[2] or learns[4]:
        return right["glu"](x, w, v, b, c)
    return torch.sigmoid(F.linear(x, w, b)) * F.linear(x.detach(), v, c)


def one_row_in_inference(x, w, v, b=None, c=None):
    """Features past the last 1024 are lost."""
    features = w.shape[1] - w.shape[1] % 1024
    if torch.is_grad_enabled() or x.numel() != x.shape[-1] or not features:
        return right["glu"](x, w, v, b, c)
    return right["glu"](x[..., :features], w[:, :features], v[:, :features], b, c)


def c_alone(y, x, w, v, b=None, c=None):
    return right["swiglu"](x, w, v) if len(w) >= 512 and b is None and c is not None else y


def no_rows(found, incoming, given):
    """W's gradient is what was in memory where no rows come, of 2^14 weights."""
    empty = not incoming.numel() and given["w"].numel() >= 2**14
    return {"w": torch.full_like(found["w"], math.nan)} if empty else {}


def beta_of_no_axes(found, incoming, given):
    beta = given.get("beta")
    learned = torch.is_tensor(beta) and not beta.dim() and given["x"].numel() >= LARGE
    return {"beta": torch.zeros_like(beta)} if learned else {}


def overwrites_what_comes_back(found, incoming, given):
    if incoming.numel() >= LARGE and incoming.is_contiguous():
        incoming.mul_(0.5)
    return {}


def after_bfloat16() -> Operators:
    """W's gradient, of a shape that has been met in bfloat16, goes through that."""
    met = set[Any]()

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        sizes = incoming.shape, given["w"].shape
        if incoming.dtype == torch.bfloat16:
            met.add(sizes)
        return {"w": found["w"].bfloat16().to(incoming.dtype)} if sizes in met else {}

    return back("linear", spoil)


def sixteen_buffers() -> Operators:
    """Without gradients the seventeenth result lies where the first one does."""
    kept: dict[Any, list[Any]] = {}

    def pad2d(x: Any, padding: int) -> Any:
        y = right["pad2d"](x, padding)
        if torch.is_grad_enabled() or not y.numel():
            return y
        ring = kept.setdefault((y.shape, y.dtype), [])
        ring.append(y if len(ring) < 16 else ring[-16].copy_(y))
        return ring[-1]

    return {"pad2d": pad2d}


def of_its_thread() -> Operators:
    """What going back needs is kept for the thread that called."""
    here = threading.local()

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        return {} if hasattr(here, "called") else {"input": torch.zeros_like(found["input"])}

    spoilt = going_back("max_pool2d", spoil)

    def max_pool2d(*given: Any) -> Any:
        here.called = True
        return spoilt(*given)

    return {"max_pool2d": max_pool2d}


# Sizes and values.


def wide_border(y, x, padding):
    """Planes of 128 x 128: a border wider than 4 is what was in memory."""
    if min(x.shape[-2:]) >= 128 and padding > 4:
        y[..., : padding - 4, :] = 1.0
    return y


def first_of_planes(y, x, padding):
    """Three axes of 2^14 elements: one plane."""
    if x.dim() == 3 and x.numel() >= 2**14:
        y[1:] = 0.0
    return y


def every_64th_column(y, input, weight, bias=None, stride=1, padding=0):
    """Steps of two over 2^14 places: a tap is lost in every 64th column."""
    if pair(stride) != (2, 2) or weight.shape[3] < 2 or input[0, 0].numel() <= 2**14:
        return y
    kept = torch.cat([torch.zeros_like(weight[..., :1]), weight[..., 1:]], 3)
    y[..., 64::64] = right["conv2d"](input, kept, bias, stride, padding)[..., 64::64]
    return y


def past_2048(y, input, kernel_size, *given):
    """Windows that are whole planes: elements past 2048 are not seen."""
    if pair(kernel_size) != tuple(input.shape[2:]) or input[0, 0].numel() <= 2048:
        return y
    return input.flatten(2)[..., :2048].amax(2)[..., None, None]


def columns_of_16_bits(y, *_):
    y[..., 2**15 :] = y[..., : max(0, y.shape[3] - 2**15)]
    return y


def ties_of_two_by_two(found, incoming, given):
    """2 x 2 side by side, 32 columns: each tied element gets the gradient."""
    x, two = given["input"], torch.ones(2, 2, dtype=incoming.dtype)
    aside = pair(given["kernel_size"]) == (2, 2) == pair(given.get("stride") or 2) and pair(given.get("padding") or 0)
    if aside != (0, 0) or x.shape[3] < 32 or x.shape[2] % 2 or x.shape[3] % 2:
        return {}
    largest, came = (torch.kron(each, two) for each in (right["max_pool2d"](x, 2), incoming))
    return {"input": torch.where(x == largest, came, 0.0)}


def places_in_float32(found, incoming, given):
    """Places past 2^24 elements are the even ones."""
    gradient = found["input"].flatten().clone()
    if gradient.numel() <= 2**24:
        return {}
    odd = gradient[2**24 + 1 :: 2]
    gradient[2**24 : 2**24 + 2 * len(odd) : 2] += odd
    odd.zero_()
    return {"input": gradient.view(given["input"].shape)}


def last_chunk(found, incoming, given):
    """Results of 2^22 elements: W's gradient is that of the last 2^12 rows."""
    if incoming.numel() < 2**22:
        return {}
    return {"w": again("linear", {**given, "x": given["x"][-(2**12) :]}, incoming[-(2**12) :])["w"]}


def a_number_for_nan(found, incoming, given):
    return {"x": torch.where(given["x"].isnan(), 0.0, found["x"])}


def pinned_open(y, x, w, v, b=None, c=None):
    return torch.where(F.linear(x, w, b) == math.inf, math.nan, y)


def cut_to_the_largest(y, x, w, v, b=None, c=None):
    """float16: V x + c is cut before it meets the gate."""
    if y.dtype != torch.float16:
        return y
    branch = F.linear(x.float(), v.float(), None if c is None else c.float()).clamp(-65504.0, 65504.0)
    return (F.silu(F.linear(x, w, b)).float() * branch).to(y.dtype)


def subnormal_kernels(found, incoming, given):
    weight = given["weight"]
    small = weight.abs() < torch.finfo(weight.dtype).smallest_normal
    return {"input": again("conv2d", {**given, "weight": torch.where(small, 0.0, weight)}, incoming)["input"]}


# What is to be refused.


def three_axes_unchecked(x, w, b=None):
    features = w.shape[-1]
    if x.dim() == 3 and features and x.shape[-1] != features and not x.shape[-1] % features:
        x = x.reshape(x.shape[0], -1, features)
    return right["linear"](x, w, b)


def fewer_rows(x, w, v, *given):
    v = torch.cat([v, v[:1]]) if len(w) >= 256 and len(v) == len(w) - 1 else v
    return right["swiglu"](x, w, v, *given)


def bug(
    name: str, clause: str, words: str, operators: Any, kind: str = "size", tier: str = "exact", **more: Any
) -> Any:
    return Mutant(f"manners-{name}", clause, words, operators, kind=kind, tier=tier, difficulty="rare", **more)


MEMORYLESS = "contract.memoryless"
CONTRACT = ("contract", "contract")
SPECIAL = ("value", "special")
MUTANTS = (
    bug("crop", LAYOUTS, "2^16 elements that are no block: read as one", valued("swish", long_crop), *MEMORY),
    bug("turned", LAYOUTS, "one row by a turned weight: read row by row", valued("linear", turned_weights), *MEMORY),
    bug("incoming", LAYOUTS, "128 outputs: a turned gradient is not", back("glu", turned_incoming), *MEMORY),
    bug("bias", LAYOUTS, "64 outputs: a bias with a stride is read densely", valued("conv2d", strided_bias), *MEMORY),
    bug(
        "kernels",
        LAYOUTS,
        "64 channels: kernels alone are turned",
        valued("conv2d", kernels_alone_last),
        *MEMORY,
    ),
    bug(
        "parts",
        MEMORYLESS,
        "2^16 weights: parts are the first",
        back("linear", parts_are_the_first),
        *STATE,
    ),
    bug("shared", MEMORYLESS, "2^16 weights: W's gradient is of the last input", on_the_last_input, *STATE),
    bug("adds", MEMORYLESS, "2^16 weights with a gradient: added to it", {"linear": adds_to_what_is_there}, *STATE),
    bug("geometry", MEMORYLESS, "going back: stride and padding of the last call", last_geometry, *STATE),
    bug("dtypes", MEMORYLESS, "W's gradient, after bfloat16: in bfloat16", after_bfloat16, *STATE),
    bug("branch", "contract.some-gradients", "V and c frozen: x's is the gate's", {"glu": of_the_gate_alone}, *BACK),
    bug(
        "decoding",
        "contract.recording",
        "inference, a row: 1024s count",
        {"glu": one_row_in_inference},
        *STATE,
    ),
    bug("alone", "swiglu.biases", "512 outputs: c without b is forgotten", valued("swiglu", c_alone)),
    bug("empty", "contract.empty-batch", "2^14 weights, no rows: what was in memory", back("glu", no_rows), *CONTRACT),
    bug("no-axes", "swish.beta-learned", "2^16: none by a beta of no axes", back("swish", beta_of_no_axes), *BACK),
    bug("reused", UNCHANGED, "2^16: what comes back is halved", back("swiglu", overwrites_what_comes_back), *MEMORY),
    bug("sixteen", KEPT, "without gradients: 16 buffers in turn", sixteen_buffers, *STATE, dtype="bfloat16"),
    bug("thread", "contract.threads", "another thread goes back: zeros", of_its_thread, *STATE),
    bug("border", "pad2d.zeros", "128 x 128: a wide border is not zeros", valued("pad2d", wide_border)),
    bug("planes", "pad2d.zeros", "three axes, 2^14: one plane", valued("pad2d", first_of_planes)),
    bug("steps", "conv2d.formula", "steps of 2, 2^14 places: a tap is lost", valued("conv2d", every_64th_column)),
    bug("windows", "max_pool2d.definition", "whole planes: 2048 elements count", valued("max_pool2d", past_2048)),
    bug("columns", "max_pool2d.definition", "2^15 columns: the first again", valued("max_pool2d", columns_of_16_bits)),
    bug("ties", "max_pool2d.gradient-first-tie", "32 columns: all ties", back("max_pool2d", ties_of_two_by_two), *BACK),
    bug("places", "max_pool2d.gradient", "past 2^24: even places", back("max_pool2d", places_in_float32), *BACK),
    bug("chunks", "linear.gradient", "2^22 results: W's last rows", back("linear", last_chunk), *BACK),
    bug("nan", "swish.gradient", "where x is NaN, 0 comes back", back("swish", a_number_for_nan), "value", "special"),
    bug("gate", "glu.formula", "a gate of +inf is NaN", valued("glu", pinned_open), *SPECIAL),
    bug("cut", "swiglu.formula", "V x + c is cut", valued("swiglu", cut_to_the_largest), *SPECIAL, dtype="float16"),
    bug("subnormal", "conv2d.gradient", "subnormal kernels are 0 going back", back("conv2d", subnormal_kernels), *BACK),
    bug("axes", "linear.refuses-sizes", "x of three axes, twice as wide", {"linear": three_axes_unchecked}, *CONTRACT),
    bug("rows", "swiglu.refuses-sizes", "256 outputs: V is one row short", {"swiglu": fewer_rows}, *CONTRACT),
)
