"""Planted bugs of fast paths, in large or aligned sizes alone, and of Python's own settings: no law had seen them."""

from __future__ import annotations

import decimal
import gc
import logging
import signal
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.gradients import going_back
from assay.tests.mutants.meetings import windows
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.precision import Valued

right = load("torch").operators
Operators = dict[str, Callable[..., Any]]
LARGE = 1024  # elements


def recorded(*tensors: torch.Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


# Training and inference.


def training_in_bfloat16(x, w, b=None):
    """While gradients are recorded, on other units where sizes allow."""
    y = right["linear"](x, w, b)
    if not recorded(x, w) or w.shape[1] < 32 or w.shape[1] % 16 or x.dtype != torch.float32:
        return y
    return Valued.apply(y, F.linear(x.bfloat16().float(), w.bfloat16().float(), b).detach())


def training_without_bias(input, weight, bias=None, *given):
    y = right["conv2d"](input, weight, bias, *given)
    aligned = recorded(input, weight) and weight.shape[1] >= 16 and bias is not None
    return y - bias.detach().view(1, -1, 1, 1) if aligned else y


def arena() -> Operators:
    """Large results without gradients go into one buffer a shape."""
    kept: dict[Any, torch.Tensor] = {}

    def linear(x, w, b=None):
        y = right["linear"](x, w, b)
        if y.numel() < LARGE or y.requires_grad:
            return y
        return kept.setdefault((y.shape, y.dtype), torch.empty_like(y)).copy_(y)

    return {"linear": linear}


def in_place(x, *beta):
    """Large tensors without gradients are overwritten."""
    y = right["swish"](x, *beta)
    return x.copy_(y).clone() if y.numel() >= LARGE and not y.requires_grad and x.is_contiguous() else y


def packed_once() -> Operators:
    """W and V, frozen and large, are packed by their addresses."""
    kept: dict[Any, Any] = {}

    def swiglu(x, w, v, *biases):
        if len(w) >= 64 and not recorded(w, v):
            key = w.data_ptr(), v.data_ptr(), w.shape, w.dtype
            w, v = kept.setdefault(key, (w.clone(), v.clone(), w, v))[:2]
        return right["swiglu"](x, w, v, *biases)

    return {"swiglu": swiglu}


def bias_buffer() -> Operators:
    """The gradients of large biases lie in one buffer a size."""
    kept: dict[Any, torch.Tensor] = {}

    def spoil(found, incoming, given):
        if given.get("b") is None or len(given["b"]) < 32:
            return {}
        buffer = kept.setdefault((len(given["b"]), incoming.dtype), torch.empty_like(found["b"]))
        return {"b": buffer.copy_(found["b"])}

    return {"linear": going_back("linear", spoil)}


class TakenNow(torch.autograd.Function):
    """Going back, the elements that equal the result as it is then: it is kept where nobody sees that it changes."""

    @staticmethod
    def forward(ctx: Any, input: Any, *given: Any) -> Any:
        ctx.given = given
        ctx.result, ctx.places = F.max_pool2d(input, *given, return_indices=True)
        ctx.input = input
        return ctx.result

    @staticmethod
    def backward(ctx: Any, incoming: Any) -> Any:
        flat, places = ctx.input.flatten(2), ctx.places.flatten(2)
        now, taken = ctx.result.flatten(2), torch.gather(flat, 2, places)
        kept = torch.where((taken == now) | (taken.isnan() & now.isnan()), incoming.flatten(2), 0.0)
        return torch.zeros_like(flat).scatter_add_(2, places, kept).view_as(ctx.input), None, None, None


def taken_now(input, kernel_size, stride=None, padding=0):
    return TakenNow.apply(input, kernel_size, stride, padding)


# Layouts.


def kernels_as_the_image(input, weight, *given):
    """Where the image's channels are last, the kernels' are taken to be, too."""
    last, channels = torch.channels_last, input.shape[1]
    mixed = not input.is_contiguous() and input.is_contiguous(memory_format=last) and weight.is_contiguous()
    if mixed and channels >= 16 and channels % 8 == 0:
        outputs, inputs, *kernel = weight.shape
        weight = weight.reshape(-1).view(outputs, *kernel, inputs).permute(0, 3, 1, 2)
    return right["conv2d"](input, weight, *given)


def one_memory(w: torch.Tensor, v: torch.Tensor) -> bool:
    return bool(w.numel()) and w.untyped_storage().data_ptr() == v.untyped_storage().data_ptr()


def gate_first(x, w, v, *biases):
    """In a fused weight the first half is taken for the gate's."""
    if one_memory(w, v) and v.is_contiguous() and v.data_ptr() + v.nbytes == w.data_ptr():
        w, v = v, w
    return right["glu"](x, w, v, *biases)


def halves(x, w, v, *biases):
    """Rows of a fused weight that are W's and V's in turn are read as halves."""
    outputs, features = w.shape
    if one_memory(w, v) and outputs > 1 and features > 1 and w.stride() == v.stride() == (2 * features, 1):
        fused = torch.as_strided(min(w, v, key=torch.Tensor.data_ptr), (2 * outputs, features), (features, 1))
        w, v = fused[:outputs], fused[outputs:]
    return right["glu"](x, w, v, *biases)


def every_second(input, kernel_size, stride=None, padding=0):
    """A window of one element is a view."""
    (kernel, steps, added) = windows(kernel_size, stride, padding)
    if kernel == (1, 1) and steps != (1, 1) and added == (0, 0):
        return input[:, :, :: steps[0], :: steps[1]]
    return right["max_pool2d"](input, kernel_size, stride, padding)


# Sizes and values.


def last_sample_of_patches(found, incoming, given):
    """Patches' kernels learn from the last sample alone."""
    kernel, stride = tuple(given["weight"].shape[2:]), pair(given.get("stride", 1))
    if kernel != stride or kernel[0] < 8 or any(pair(given.get("padding", 0))) or len(incoming) < 2:
        return {}
    weight = given["weight"].detach().requires_grad_()
    with torch.enable_grad():
        y = right["conv2d"](given["input"][-1:].detach(), weight, None, stride)
    return {"weight": torch.autograd.grad(y, weight, incoming[-1:])[0]}


def four_samples_at_a_time(found, incoming, given):
    """Samples of the bias's gradient by fours, and none of the rest."""
    samples = len(incoming)
    if samples <= 4 or incoming.shape[1] < 32 or given.get("bias") is None:
        return {}
    return {"bias": incoming[: samples // 4 * 4].sum((0, 2, 3))}


def corners_of_tiles(input, kernel_size, stride=None, padding=0):
    """The last element of a window in the corner of a tile of 32 x 32 results is not read."""
    y = right["max_pool2d"](input, kernel_size, stride, padding)
    (kh, kw), (down, along), (above, before) = windows(kernel_size, stride, padding)
    found = y.clone()
    for r in range(31, y.shape[2] - 1, 32):
        for c in range(31, y.shape[3] - 1, 32):
            top, left = r * down - above, c * along - before
            window = input[:, :, max(top, 0) : top + kh, max(left, 0) : left + kw].flatten(2)[..., :-1]
            if window.shape[2] == kh * kw - 1 > 0:
                found[:, :, r, c] = window.amax(2)
    return found


def last_of_ties(found, incoming, given):
    """From eight channels on ties go to the last element."""
    x = given["input"]
    how = windows(given["kernel_size"], given.get("stride"), given.get("padding", 0))
    if x.shape[1] < 8 or any(reached(x, how, axis) != x.shape[axis] for axis in (2, 3)):
        return {}
    turned = x.detach().flip(2, 3).requires_grad_()
    with torch.enable_grad():
        y = right["max_pool2d"](turned, *how)
    return {"input": torch.autograd.grad(y, turned, incoming.flip(2, 3))[0].flip(2, 3)}


def reached(x: Any, how: Any, axis: int) -> int:
    """Of an axis of the image: the elements up to the last that a window holds."""
    kernel, step, added = (size[axis - 2] for size in how)
    return (x.shape[axis] + 2 * added - kernel) // step * step + kernel - 2 * added


def finite_minimum(input, *given):
    """From eight channels on the largest is sought from the least finite number."""
    y = right["max_pool2d"](input, *given)
    return y.clamp(min=torch.finfo(y.dtype).min) if input.shape[1] >= 8 else y


def blocks_of_rows(found, incoming, given):
    """The bias's gradient past 128 rows: sums of 32 rows, added in the dtype."""
    rows = incoming.reshape(-1, incoming.shape[-1])
    if given.get("b") is None or len(rows) <= 128:
        return {}
    total = torch.zeros_like(rows[0])
    for block in rows.split(32):
        total = total + block.float().sum(0).to(rows.dtype)
    return {"b": total}


def flushed(found, incoming, given):
    return {name: torch.where(g.abs() < torch.finfo(g.dtype).tiny, 0.0, g) for name, g in found.items()}


def first_blocks(x, *beta):
    """A grid of 65535 blocks of 64."""
    y = right["swish"](x, *beta)
    most = 65535 * 64
    return torch.cat([y.reshape(-1)[:most], x.new_zeros(y.numel() - most)]).view_as(y) if y.numel() > most else y


# Settings.


def disturbing(act: Callable[[], object]) -> Operators:
    """Pooling that does this at each call."""

    def max_pool2d(*given):
        act()
        return right["max_pool2d"](*given)

    return {"max_pool2d": max_pool2d}


def default_handler() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def bug(name, clause, words, operators, kind="size", tier="exact", dtype="float32"):
    return Mutant(f"dispatched-{name}", clause, words, operators, dtype, kind, tier, "rare")


def back(operator, spoil):
    return {operator: going_back(operator, spoil)}


STATE, MEMORY, BACK = ("state", "state"), ("layout", "contract"), ("gradient", "gradient")
AROUND, KEPT, LAYOUTS = "contract.surroundings", "contract.results-kept", "contract.layouts"
RECORDING, UNCHANGED = "contract.recording", "contract.inputs-unchanged"
MUTANTS = (
    bug("bfloat16", RECORDING, "training with 32, 48 ... features: bfloat16", {"linear": training_in_bfloat16}, *STATE),
    bug("no-bias", RECORDING, "training with 16 channels: no bias", {"conv2d": training_without_bias}, *STATE),
    bug("arena", KEPT, "1024 results in inference: one buffer", arena, *STATE),
    bug("buffer", KEPT, "32 biases' gradients: one buffer", bias_buffer, *STATE),
    bug("in-place", UNCHANGED, "1024 elements in inference: overwritten", {"swish": in_place}, "layout", "contract"),
    bug("packed", "contract.memoryless", "64 outputs in inference: weights by address", packed_once, *STATE),
    bug("taken-now", "contract.no-alias", "going back, the result as it is by then", {"max_pool2d": taken_now}, *STATE),
    bug("mixed", LAYOUTS, "the image's channels last: the kernels', too", {"conv2d": kernels_as_the_image}, *MEMORY),
    bug("gate-first", LAYOUTS, "a fused weight's first half is the gate's", {"glu": gate_first}, *MEMORY),
    bug("halves", LAYOUTS, "a fused weight's rows in turn are halves", {"glu": halves}, *MEMORY),
    bug("view", "contract.no-alias", "a window of one element is a view", {"max_pool2d": every_second}, *MEMORY),
    bug("patches", "conv2d.gradient", "patches: the last sample's", back("conv2d", last_sample_of_patches), *BACK),
    bug("samples", "conv2d.gradient", "5 samples, 32 biases: 4 count", back("conv2d", four_samples_at_a_time), *BACK),
    bug("corners", "max_pool2d.definition", "corners of tiles: an element", {"max_pool2d": corners_of_tiles}),
    bug("ties", "max_pool2d.gradient-first-tie", "8 channels: the last tie", back("max_pool2d", last_of_ties), *BACK),
    bug("minimum", "max_pool2d.infinities", "8 channels: finite", {"max_pool2d": finite_minimum}, "value", "special"),
    bug("blocks", "linear.gradient", "129 rows: b's sums", back("linear", blocks_of_rows), *BACK, "bfloat16"),
    bug("subnormal", "linear.gradient", "subnormal gradients are 0", back("linear", flushed), *BACK),
    bug("subnormal-pool", "max_pool2d.gradient", "subnormal gradients are 0", back("max_pool2d", flushed), *BACK),
    bug("grid", "swish.formula", "elements past 65535 x 64: 0", {"swish": first_blocks}, tier="enclosure"),
    bug(
        "filters", AROUND, "ignores warnings", disturbing(lambda: warnings.simplefilter("ignore", BytesWarning)), *STATE
    ),
    bug("errors", AROUND, "numpy's errors", disturbing(lambda: np.seterr(all="ignore")), *STATE),
    bug("garbage", AROUND, "no collection of garbage", disturbing(gc.disable), *STATE),
    bug("logging", AROUND, "no logging", disturbing(lambda: logging.disable(logging.CRITICAL)), *STATE),
    bug("handler", AROUND, "Ctrl-C ends all at once", disturbing(default_handler), *STATE),
    bug(
        "decimals", AROUND, "decimals of 9 digits", disturbing(lambda: setattr(decimal.getcontext(), "prec", 9)), *STATE
    ),
)
