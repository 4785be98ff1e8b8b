"""Planted bugs of how layers are used: sums that are differentiated, parameters, first calls, parts, frames.

No law had met them."""

from __future__ import annotations

from typing import Any

import torch

from assay.implementations.load import load
from assay.tests.mutants.dispatched import AROUND, LAYOUTS, MEMORY, STATE, back
from assay.tests.mutants.gradients import gradients
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import Operators, valued

right = load("torch").operators
MEMORYLESS = "contract.memoryless"


# Layouts.


def one_number(found, incoming, given):
    """Of the sum of all comes one number back: b's gradient counts x's first axis."""
    if incoming.dim() < 2 or not incoming.numel() or any(incoming.stride()):
        return {}
    return {"b": found["b"] / max(1, given["x"].shape[:-1].numel()) * given["x"].shape[0]} if "b" in found else {}


def even_border(y, input, weight, bias=None, stride=1, padding=0):
    """An image of one number is that number times the kernels' sums, at the border, too."""
    if input.numel() < 2 or any(input.stride()):
        return y
    one = input.flatten()[0] * weight.sum((1, 2, 3)) + (0.0 if bias is None else bias)
    return one[:, None, None].expand(y.shape).clone()


def aligned_loads(y, x, padding):
    """16 bytes are loaded wherever 8 are aligned: two elements of float32 earlier."""
    if x.data_ptr() % 16 != 8 or not x.is_contiguous() or x.storage_offset() < 2:
        return y
    return right["pad2d"](x.as_strided(x.shape, x.stride(), x.storage_offset() - 2), padding)


def apart_rows(y, x, w, b=None):
    """Rows are as far apart as they are long, or farther."""
    if x.dim() < 2 or not 0 < x.stride(-2) < x.shape[-1] or x.stride(-1) != 1:
        return y
    flat = x.as_strided((x.untyped_storage().nbytes() // x.element_size(),), (1,), 0)
    places = torch.arange(x.shape[-2])[:, None] * x.shape[-1] + torch.arange(x.shape[-1])
    read = flat[(places + x.storage_offset()) % len(flat)]
    return right["linear"](read.expand(x.shape), w, b)


def strides_of_x(x, beta=1.0):
    """The result has the strides of x, which may overlap."""
    y = right["swish"](x, beta)
    if y.requires_grad or 0 in x.stride() or x.dim() < 2 or not 0 < x.stride(-2) < x.shape[-1]:
        return y
    memory = torch.empty(x.untyped_storage().nbytes() // x.element_size(), dtype=y.dtype)
    place = memory.as_strided(x.shape, x.stride(), x.storage_offset())
    for at in range(x.shape[-2]):
        place[..., at, :] = y.detach()[..., at, :]
    return place


# State.


def packed_for_the_way_back() -> Operators:
    """A parameter is packed once for the way back."""

    class Linear(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, w: Any, b: Any, pack: Any) -> Any:
            ctx.save_for_backward(x, w, b, pack)
            return right["linear"](x, w, b)

        @staticmethod
        def backward(ctx: Any, incoming: Any) -> Any:
            x, w, b, pack = ctx.saved_tensors
            found = gradients("linear", {"x": x, "w": w, "b": b}, incoming)
            return incoming @ pack, found["w"], found.get("b"), None

    def linear(x, w, b=None):
        if not isinstance(w, torch.nn.Parameter) or not torch.is_grad_enabled() or w.dim() != 2:
            return right["linear"](x, w, b)
        if not hasattr(w, "packed"):
            w.packed = w.detach().clone()
        return Linear.apply(x, w, b, w.packed)

    return {"linear": linear}


def kept_with_the_parameter() -> Operators:
    """The memory of W's gradient is kept: where W is used twice in one graph, the last is added to itself."""
    kept: dict[Any, torch.Tensor] = {}

    def spoil(found, incoming, given):
        w = found["w"]
        place = kept.setdefault((given["w"].data_ptr(), w.shape, w.dtype), torch.empty_like(w))
        return {"w": place.copy_(w)}

    return back("linear", spoil)


def beta_of_the_last_step() -> Operators:
    """Without recording a learned beta is that of the last step."""

    def swish(x, beta=1.0):
        if isinstance(beta, torch.Tensor) and beta.requires_grad:
            if torch.is_grad_enabled():
                beta.held = beta.detach().clone()
            beta = beta if torch.is_grad_enabled() else getattr(beta, "held", beta)
        return right["swish"](x, beta)

    return {"swish": swish}


def reading_columns(workspace: dict[str, Any]) -> Any:
    """A conv2d that goes back from what the workspace holds, unless that is of another call."""

    class Conv(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0) -> Any:
            ctx.save_for_backward(input, weight, bias)
            ctx.how, ctx.mine = (stride, padding), object()
            columns = input.detach().clone(memory_format=torch.contiguous_format)
            workspace["columns"], workspace["of"] = columns, ctx.mine
            return right["conv2d"](input, weight, bias, stride, padding)

        @staticmethod
        def backward(ctx: Any, incoming: Any) -> Any:
            (input, weight, bias), (stride, padding) = ctx.saved_tensors, ctx.how
            columns = workspace["columns"] if workspace["of"] is ctx.mine else input
            given = {"input": columns, "weight": weight, "bias": bias, "stride": stride, "padding": padding}
            found = gradients("conv2d", given, incoming)
            return found["input"], found["weight"], found.get("bias"), None, None

    return Conv.apply


def one_workspace() -> Operators:
    """conv2d's columns, which its way back reads, lie where max_pool2d writes its result."""
    workspace: dict[str, Any] = {}
    recorded = reading_columns(workspace)

    def conv2d(*given):
        return (recorded if torch.is_grad_enabled() and not torch.is_inference_mode_enabled() else right["conv2d"])(
            *given
        )

    def max_pool2d(*given):
        y, columns = right["max_pool2d"](*given), workspace.get("columns")
        if columns is not None and columns.dtype == y.dtype and not torch.is_inference_mode_enabled():
            size = min(columns.numel(), y.numel())
            columns.view(-1)[:size] = y.detach().reshape(-1)[:size]
        return y

    return {"conv2d": conv2d, "max_pool2d": max_pool2d}


def parts() -> Operators:
    """Under no_grad a part of a larger weight is packed once for that, whatever part it is."""
    packs: dict[Any, Any] = {}

    def linear(x, w, b=None):
        if torch.is_grad_enabled() or w._base is None or w.is_inference() or w.dim() != 2:
            return right["linear"](x, w, b)
        key = (w._base.data_ptr(), w._base._version, w.shape, w.stride(), w.dtype)
        pack, _ = packs.setdefault(key, (w.detach().clone(), w._base))
        return right["linear"](x, pack, b)

    return {"linear": linear}


def tuned() -> Operators:
    """The first call of its sizes tries ways on random numbers."""
    seen: set[Any] = set()

    def linear(x, w, b=None):
        if (x.shape, w.shape) not in seen:
            seen.add((x.shape, w.shape))
            torch.randn(4)
        return right["linear"](x, w, b)

    return {"linear": linear}


def started() -> Operators:
    """The first call of a process has subnormal numbers taken for zero from then on."""
    begun: list[bool] = []

    def swish(x, beta=1.0):
        if not begun:
            begun.append(True)
            torch.set_flush_denormal(True)
        return right["swish"](x, beta)

    return {"swish": swish}


def in_the_dtype_of_x(x, w, b=None):
    """What is made is made in x's dtype, by default; who raises for W's leaves it so."""
    if x.dtype != w.dtype:
        torch.set_default_dtype(x.dtype)
    return right["linear"](x, w, b)


def shares_of_outputs(y, x, w, b=None):
    """Fewer rows than threads: outputs are shared out evenly, and those that are left over are none's."""
    threads, share = torch.get_num_threads(), len(w) // torch.get_num_threads()
    if threads >= 4 and x.shape[:-1].numel() < threads and share and not x.requires_grad:
        y[..., share * threads :] = 0.0
    return y


def bug(name, clause, words, operators, how=STATE, dtype="float32"):
    return Mutant(f"unmet-{name}", clause, words, operators, dtype, *how, "rare")


MUTANTS = (
    bug("sum", LAYOUTS, "the sum of all is differentiated: b by x's first axis", back("linear", one_number), MEMORY),
    bug("even", LAYOUTS, "an image of one number: the border, too", valued("conv2d", even_border), MEMORY),
    bug("loads", LAYOUTS, "8 bytes aligned, 16 loaded", valued("pad2d", aligned_loads), MEMORY),
    bug("frames", LAYOUTS, "rows that overlap are read apart", valued("linear", apart_rows), MEMORY),
    bug("strides", "contract.no-alias", "the strides of frames are the result's", {"swish": strides_of_x}, MEMORY),
    bug("packed", MEMORYLESS, "a parameter is packed once for the way back", packed_for_the_way_back),
    bug("twice", MEMORYLESS, "W's gradient is kept: twice in one graph", kept_with_the_parameter),
    bug("beta", MEMORYLESS, "without recording, beta of the last step", beta_of_the_last_step),
    bug("workspace", MEMORYLESS, "max_pool2d writes where conv2d reads going back", one_workspace),
    bug("parts", MEMORYLESS, "parts of a weight are packed for the whole", parts),
    bug("tuned", AROUND, "tuning draws random numbers", tuned),
    bug("started", AROUND, "from the first call on, subnormals are zero", started),
    bug(
        "dtypes", AROUND, "after a call of two dtypes, x's by default", {"linear": in_the_dtype_of_x}, STATE, "float64"
    ),
    bug("shares", MEMORYLESS, "fewer rows than threads: some outputs are 0", valued("linear", shares_of_outputs)),
)
