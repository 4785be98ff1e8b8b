"""Planted bugs that other libraries have had, at smaller sizes, which no law had seen. Each is named by its issue."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.tests.mutants.dispatched import LAYOUTS, MEMORY, STATE, back
from assay.tests.mutants.gradients import again
from assay.tests.mutants.lasting import count
from assay.tests.mutants.meetings import windows
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import last, valued

right = load("torch").operators
Operators = dict[str, Callable[..., Any]]


def parts_of_the_sum(y, x, w, b=None):
    """A sum five times as long as the matrices are wide is cut in four: the last part counts twice, the first not."""
    features = w.shape[1]
    if features < 1280 or count(x) * len(w) < 2**16 or features < 3 * max(count(x), len(w)):
        return y
    part = features // 4
    return y + x[..., -part:] @ w[:, -part:].T - x[..., :part] @ w[:, :part].T


def of_512_kernels(y, input, weight, bias=None, stride=1, padding=0):
    """3 x 3 by 1: of more than 512 kernels those after are the first ones again."""
    if len(weight) <= 512 or windows(weight.shape[2:], stride, padding)[:2] != ((3, 3), (1, 1)):
        return y
    return right["conv2d"](input, weight[torch.arange(len(weight)) % 512], bias, stride, padding)


def second_pass_pads_zeros(y, input, kernel_size, stride=None, padding=0):
    """11 and more by 1: columns, then rows, before which the padding is 0."""
    kernel, step, (above, before) = windows(kernel_size, stride, padding)
    if min(kernel) < 11 or step != (1, 1) or not above:
        return y
    columns = F.max_pool2d(input, (1, kernel[1]), (1, 1), (0, before))
    return F.max_pool2d(F.pad(columns, (0, 0, above, above)), (kernel[0], 1), (1, 1))


def vectors_without_nan(y, input, *given):
    """Eights of channels, these last: a maximum that passes NaN over."""
    if not last(input) or input.shape[1] % 8:
        return y
    return right["max_pool2d"](torch.where(input.isnan(), -math.inf, input), *given)


def last_of_the_tied(found, incoming, given):
    """Eights of channels, these last: the last element of those that tie."""
    x = given["input"]
    if not last(x) or x.shape[1] % 8:
        return {}
    turned = given | {"input": x.flip(2, 3)}
    kernel, stride, padding = windows(given["kernel_size"], given.get("stride"), given.get("padding", 0))
    reached = [(size + 2 * p - k) % s for size, k, s, p in zip(x.shape[2:], kernel, stride, padding, strict=True)]
    if any(reached):
        return {}
    return {"input": again("max_pool2d", turned, incoming.flip(2, 3))["input"].flip(2, 3)}


def one_row_densely(y, x, w, b=None):
    """One row: its elements are read as if they lay side by side."""
    if x.numel() != x.shape[-1] or x.numel() < 2 or x.stride(-1) < 2:
        return y
    return right["linear"](x.as_strided(x.shape, (1,) * x.dim()), w, b)


def one_incoming_row_densely(found, incoming, given):
    """One row that comes back is read so for W's gradient."""
    if incoming.numel() != incoming.shape[-1] or incoming.numel() < 2 or incoming.stride(-1) < 2:
        return {}
    return {"w": again("linear", given, incoming.as_strided(incoming.shape, (1,) * incoming.dim()))["w"]}


def fused_without_biases(y, x, w, v, b=None, c=None):
    """Without biases the first half of a fused weight of more than 64 rows is the gate's."""
    fused = w.is_contiguous() and v.is_contiguous() and v.data_ptr() + v.nbytes == w.data_ptr()
    return right["swiglu"](x, v, w) if fused and b is None and c is None and len(w) > 64 else y


def scratchpad() -> Operators:
    """From 2^14 elements on the input is packed in one place of the process, where no gradients are recorded."""
    pads: dict[Any, torch.Tensor] = {}

    def linear(x: Any, w: Any, b: Any = None) -> Any:
        if x.numel() < 2**14 or (torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, w, b))):
            return right["linear"](x, w, b)
        packed = pads.setdefault((x.shape, x.dtype), torch.empty(x.shape, dtype=x.dtype))
        packed.copy_(x)
        time.sleep(0)  # where other threads come in
        return right["linear"](packed, w, b)

    return {"linear": linear}


def vector_buffer() -> Operators:
    """One row lies in a buffer that is read to the next multiple of four: what is there is multiplied by zeros."""
    buffers: dict[Any, torch.Tensor] = {}

    def linear(x: Any, w: Any, b: Any = None) -> Any:
        size = -(-x.shape[-1] // 4) * 4
        if not x.numel() or x.numel() != x.shape[-1] or size > 4096:
            return right["linear"](x, w, b)
        with torch.no_grad():
            buffer = buffers.setdefault(x.dtype, torch.zeros(4096, dtype=x.dtype))
            tail = (buffer[x.numel() : size].clone() * 0.0).sum()
            buffer[: x.numel()] = x.reshape(-1)
        return right["linear"](x, w, b) + tail

    return {"linear": linear}


def incoming_buffer() -> Operators:
    """What comes back of an image is copied to a buffer that is read to the next multiple of 16."""
    buffers: dict[Any, torch.Tensor] = {}

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        count, size = incoming.numel(), -(-incoming.numel() // 16) * 16
        buffer = buffers.setdefault(incoming.dtype, torch.zeros(2**16, dtype=incoming.dtype))
        if not count or size > len(buffer):
            return {}
        tail = (buffer[count:size].clone() * 0.0).sum()
        buffer[:count] = incoming.reshape(-1)
        return {"weight": found["weight"] + tail}

    return back("conv2d", spoil)


def bug(name: str, clause: str, words: str, operators: Any, kind: str = "size", tier: str = "exact") -> Mutant:
    return Mutant(f"ported-{name}", clause, words, operators, "float32", kind, tier, "rare")


TIES, NAN, PADDING = "max_pool2d.gradient-first-tie", "max_pool2d.nan", "max_pool2d.padding"
VALUE, MEMORYLESS = ("value", "special"), "contract.memoryless"
MUTANTS = (
    # https://github.com/ml-explore/mlx/issues/3797
    bug("split", "linear.formula", "deep sums: a quarter counts twice", valued("linear", parts_of_the_sum)),
    # https://github.com/ARM-software/ComputeLibrary/issues/1103
    bug("kernels", "conv2d.channels", "3 x 3: kernels from 512 on are the first", valued("conv2d", of_512_kernels)),
    bug("passes", PADDING, "11 x 11: rows are padded with 0", valued("max_pool2d", second_pass_pads_zeros), *VALUE),
    bug("nan", NAN, "eights of channels, these last: NaN is lost", valued("max_pool2d", vectors_without_nan), *VALUE),
    bug(
        "ties",
        TIES,
        "eights of channels, these last: the last tie",
        back("max_pool2d", last_of_the_tied),
        "gradient",
        "gradient",
    ),
    # https://github.com/ml-explore/mlx/issues/1163
    bug("row", LAYOUTS, "one row with a stride is read densely", valued("linear", one_row_densely), *MEMORY),
    bug(
        "row-back", LAYOUTS, "one row comes back, read densely for W", back("linear", one_incoming_row_densely), *MEMORY
    ),
    # https://github.com/flashinfer-ai/flashinfer/pull/4130
    bug(
        "fused",
        LAYOUTS,
        "no biases: a fused weight's first half is the gate's",
        valued("swiglu", fused_without_biases),
        *MEMORY,
    ),
    # https://github.com/apache/mxnet/issues/15576
    bug("scratchpad", "contract.threads", "2^14 elements: packed in one place for all threads", scratchpad, *STATE),
    # https://github.com/OpenMathLib/OpenBLAS/issues/746
    bug("vector", MEMORYLESS, "one row: zeros times what a longer one left", vector_buffer, *STATE),
    bug("incoming", MEMORYLESS, "kernels' gradients: zeros times what a larger one left", incoming_buffer, *STATE),
)
