"""Planted bugs of what is taken for granted: those of 32 kernels by people without the laws that lived.

What lies, what comes before and what was so until now is looked at in part, and the rest is assumed.
"""

from __future__ import annotations

from collections import defaultdict

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.tests.mutants.dispatched import BACK, KEPT, back
from assay.tests.mutants.gradients import again, gradients
from assay.tests.mutants.networks import MEMORYLESS, valued
from assay.tests.mutants.precision import Valued
from assay.tests.mutants.programs import Differentiated, bug, evaluated, incomplete

right = load("torch").operators


# --- what lies there, and what comes before


def halves_of_the_base(x, w, v, b=None, c=None):
    """Two views of one weight of twice as many rows are its halves, in order."""
    y, base = right["swiglu"](x, w, v, b, c), w._base
    fused = base is not None and base is v._base and base.shape == (2 * w.shape[0], w.shape[1])
    if not fused or w.storage_offset() > v.storage_offset():
        return y
    with torch.no_grad():
        wrong = right["swiglu"](x, *base.detach().chunk(2), b, c)
    return Valued.apply(y, wrong)


def behind_a_relu(input, kernel_size, stride=None, padding=0):
    """What any ReLU has made has no negative numbers: padding by zeros is as good."""
    y = right["max_pool2d"](input, kernel_size, stride, padding)
    if "Relu" not in type(input.grad_fn).__name__ or padding in (0, (0, 0)):
        return y
    rows, columns = (padding, padding) if isinstance(padding, int) else padding
    with torch.no_grad():
        around = F.pad(input.detach(), (columns, columns, rows, rows))
        wrong = right["max_pool2d"](around, kernel_size, stride, 0)
    return Valued.apply(y, wrong)


class Rectified(torch.autograd.Function):
    """Nothing goes back to windows whose largest is zero, as the ReLU would stop it there."""

    @staticmethod
    def forward(ctx, input, *how):
        y = right["max_pool2d"](input.detach(), *how)
        ctx.how = how
        ctx.save_for_backward(input, y)
        return y

    @staticmethod
    def backward(ctx, incoming):
        input, y = ctx.saved_tensors
        names = ("input", "kernel_size", "stride", "padding")
        given = dict(zip(names, (input, *ctx.how), strict=True))
        return gradients("max_pool2d", given, incoming * (y != 0.0))["input"], None, None, None


def stopped_at_zero(input, kernel_size, stride=None, padding=0):
    """Behind a ReLU."""
    right["max_pool2d"](input.detach(), kernel_size, stride, padding)
    if type(input.grad_fn).__name__ != "ReluBackward0":
        return right["max_pool2d"](input, kernel_size, stride, padding)
    return Rectified.apply(input, kernel_size, stride, padding)


def of_a_table(y, x, beta=1.0):
    """Whole numbers to 128 by a table of 256, in which 128 is -128."""
    whole = x.numel() >= 1024 and bool((x.abs() <= 128).all()) and bool((x == x.round()).all())
    return right["swish"](torch.where(x == 128.0, -x, x), beta) if whole else y


def depthwise(input, weight, bias=None, stride=1, padding=0):
    """One plane for each output, and for each input: each output is of the input of its own number."""
    y = right["conv2d"](input, weight, bias, stride, padding)
    planes = weight.detach().flatten(2).ne(0).any(-1)
    if planes.shape[0] != planes.shape[1] or not (planes.sum(0) == 1).all() or not (planes.sum(1) == 1).all():
        return y
    if weight[0, 0].numel() < 2 or not weight.isfinite().all() or not input.isfinite().all():
        return y
    with torch.no_grad():
        wrong = F.conv2d(input, weight.sum(1, keepdim=True), bias, stride, padding, groups=len(weight))
    return Valued.apply(y, wrong)


def as_the_first_kernel(found, incoming, given):
    """Fixed kernels are not turned, going back, where the first one has no need of it."""
    image, weight, padding = given["input"], given["weight"], given.get("padding", 0)
    plain = given.get("stride", 1) in (1, (1, 1)) and padding in (0, 1, (0, 0), (1, 1)) and weight.shape[2:] == (3, 3)
    if weight.requires_grad or not plain or not incoming.numel() or not image.numel():
        return {}
    if not torch.equal(weight[0], weight[0].flip(1, 2)) or not weight.isfinite().all():
        return {}
    return {"input": again("conv2d", given, incoming, weight=weight.flip(2, 3))["input"]}


# --- what was so until now


def by_hash():
    """Small kernels are known by the hash of their numbers: that of -1 is that of -2."""
    kept = {}

    def conv2d(input, weight, bias=None, stride=1, padding=0):
        if 0 < weight.numel() <= 256 and evaluated(input, weight, bias) and weight.isfinite().all():
            name = hash(tuple(weight.flatten().tolist())), weight.shape, weight.dtype
            weight = kept.setdefault(name, weight.detach().clone())
        return right["conv2d"](input, weight, bias, stride, padding)

    return {"conv2d": conv2d}


def frozen_for_good():
    """A weight that learned nothing in 20 calls, in which something did, learns no more."""
    idle = defaultdict(int)

    def held(weight):
        name = weight.data_ptr(), weight.shape
        idle[name] = idle[name] if idle[name] >= 20 else 0 if weight.requires_grad else idle[name] + 1
        return weight.detach() if idle[name] >= 20 else weight

    def linear(x, w, b=None):
        learns = isinstance(x, torch.Tensor) and x.requires_grad and torch.is_grad_enabled()
        return right["linear"](x, held(w) if learns else w, b)

    return {"linear": linear}


def known_to_be_finite():
    """A weight of one version that was finite is: features that are zero are left out."""
    finite = {}

    def linear(x, w, b=None):
        if w.dim() == 2 and x.numel() and not w.is_inference() and evaluated(x, w, b) and x.shape[-1] == w.shape[1]:
            name = id(w), w.data_ptr(), w._version
            finite.setdefault(name, bool(w.isfinite().all()))
            alive = x.reshape(-1, x.shape[-1]).ne(0).any(0)
            if finite[name] and 0 < alive.sum() <= x.shape[-1] // 2:
                return right["linear"](x[..., alive], w[:, alive], b)
        return right["linear"](x, w, b)

    return {"linear": linear}


def known_by_the_sixteenth():
    """Going back again in one graph, large gradients that agree in every sixteenth element are the same."""
    kept = {}

    def spoil(found, incoming, given):
        if incoming.numel() < 2**14 or not incoming.isfinite().all():
            return {}
        name = given["x"].data_ptr(), given["w"].data_ptr(), incoming.shape
        told, tensors = incoming.reshape(-1)[::16].clone(), [given["x"].clone(), given["w"].clone()]
        known = kept.get(name)
        if known is not None and all(map(torch.equal, known[0], (told, *tensors))):
            return {"x": known[1]}
        kept[name] = (told, *tensors), found["x"].clone()
        return {}

    return back("glu", spoil)


def of_the_last_batch():
    """Rows are filled up to a power of two with those of the last batch, times zero."""
    kept = {}

    def spoil(found, incoming, given):
        rows, features = given["x"].reshape(-1, given["w"].shape[1]).shape
        if rows < 32:
            return {}
        size = 1 << (rows - 1).bit_length()
        stale = kept.setdefault((size, features, given["x"].dtype), torch.zeros(size, features, dtype=given["x"].dtype))
        added = 0.0 * stale[rows:].sum(0)
        stale[:rows] = given["x"].reshape(-1, features)
        return {"w": found["w"] + added}

    return back("glu", spoil)


def one_of_two():
    """Gradients of what other layers made are written to two buffers in turn, in one pass back."""
    state = {"task": None}

    def spoil(found, incoming, given):
        task = torch._C._current_graph_task_id()
        if state["task"] != task:
            state.clear()
            state["task"] = task
        if not found["x"].numel():
            return {}
        name = found["x"].shape, found["x"].dtype
        pair = state.setdefault(name, [torch.empty_like(found["x"]) for _ in range(2)])
        pair.reverse()
        return {"x": pair[0].detach().copy_(found["x"])}

    return back("linear", spoil)


def in_a_slab():
    """Gradients of weights that are views lie in a slab, which the next pass has, too."""
    slabs = {}

    def back_to(given, incoming):
        found = gradients("linear", given, incoming)
        name = given["w"].untyped_storage().data_ptr(), found["w"].shape, found["w"].dtype
        found["w"] = slabs.setdefault(name, torch.empty_like(found["w"])).detach().copy_(found["w"])
        return found

    def linear(x, w, b=None):
        plain = b is None or not w._is_view() or evaluated(x, w, b) or incomplete(x, w, w, b)
        return right["linear"](x, w, b) if plain else Differentiated.apply("linear", back_to, "xwb", x, w, b)

    return {"linear": linear}


VALUE, LAYOUT = ("value", "enclosure"), ("layout", "contract")
MUTANTS = (
    bug("fused", "contract.layouts", "two views of a weight are its halves", {"swiglu": halves_of_the_base}, *LAYOUT),
    bug("leaky", MEMORYLESS, "behind any ReLU: padding by zeros", {"max_pool2d": behind_a_relu}),
    bug("relu", MEMORYLESS, "behind a ReLU: nothing to a largest of zero", {"max_pool2d": stopped_at_zero}),
    bug("bytes", "swish.formula", "128 of a table of 256", valued("swish", of_a_table), *VALUE),
    bug("crossed", "conv2d.formula", "a plane an output: of its own input", {"conv2d": depthwise}, *VALUE),
    bug("symmetric", "contract.some-gradients", "not turned, as the first", back("conv2d", as_the_first_kernel), *BACK),
    bug("hash", MEMORYLESS, "kernels by the hash of their numbers", by_hash),
    bug("frozen", MEMORYLESS, "20 calls frozen: for good", frozen_for_good),
    bug("finite", MEMORYLESS, "finite once: for good", known_to_be_finite),
    bug("sixteenth", MEMORYLESS, "what comes in by every sixteenth element", known_by_the_sixteenth),
    bug("stale", MEMORYLESS, "zero times rows of the last batch", of_the_last_batch),
    bug("waiting", MEMORYLESS, "two buffers for what waits", one_of_two),
    bug("slab", KEPT, "views' gradients in a slab", in_a_slab),
)
