"""More planted bugs where two things meet: sizes and going back, what networks have, what is frozen."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from assay.reference.conv2d import pair
from assay.tests.mutants.crossed import CHANNELS, CONTRACT, Operators, bug, in_inference, right
from assay.tests.mutants.dispatched import AROUND, BACK, LAYOUTS, MEMORY, STATE, UNCHANGED, back
from assay.tests.mutants.gradients import again, going_back
from assay.tests.mutants.networks import valued
from assay.tests.mutants.pad2d import border_times_zero

TILE, LARGE, LARGER = 256, 2**15, 2**21  # sizes from which on fast code is taken

# --- sizes, going back and of networks


def in_bfloat16(found: Any, incoming: Any, given: Any) -> Any:
    sizes = (incoming[..., 0].numel(), *given["w"].shape)
    if any(size % 64 or size < TILE for size in sizes):
        return {}
    return again("linear", given, incoming.bfloat16().to(incoming.dtype), w=given["w"].bfloat16().to(incoming.dtype))


def behind(operator: str, most: int) -> Operators:
    """A grid without a loop: behind so many elements, zeros."""

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        if found["x"].numel() > most:
            found["x"].view(-1)[most:] = 0.0
        return {}

    return back(operator, spoil)


def last_part_alone(operator: str, name: str, size: Callable[..., int], most: int) -> Operators:
    """Chunks of samples, each of which writes what all were to add up, where there is more than so much."""

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        if size(incoming, given) <= most:
            return {}
        last = incoming.clone()
        last[: len(last) * 3 // 4] = 0.0
        return {name: again(operator, given, last)[name]}

    return back(operator, spoil)


def gates(incoming: Any, given: Any) -> int:
    return int(incoming.numel())


def columns(incoming: Any, given: Any) -> int:
    """The elements of an image that was unfolded."""
    return int(given["weight"][0].numel() * incoming[:, 0].numel())


def chunks_of_rows(y: Any, x: Any, *given: Any) -> Any:
    if x.numel() > LARGER:
        y.view(-1, y.shape[-1])[2**10 * (len(y) // 2**10) :] = 0.0
    return y


def half_tiles(y: Any, *given: Any) -> Any:
    rest = y.shape[-1] % TILE
    if y.shape[-1] > TILE and rest > TILE // 2:
        y[..., TILE // 2 - rest :] = 0.0
    return y


def one_block_over(channels: int) -> bool:
    """Whether channels that are worked on in two blocks of 32 at a time leave one."""
    return channels > 32 and channels % 64 == 32


def odd_blocks(y: Any, image: Any, weight: Any, bias: Any = None, *given: Any) -> Any:
    if not one_block_over(len(weight)):
        return y
    first = right["conv2d"](image, weight[:32], None if bias is None else bias[:32], *given)
    y[..., -32:, :, :] = first
    return y


def odd_blocks_of_channels(y: Any, image: Any, *given: Any) -> Any:
    if image.dim() == 4 and image.stride(1) == 1 and one_block_over(image.shape[1]):
        y[:, -32:] = y[:, :32].clone()
    return y


def shared_out(axes: int) -> Callable[..., Any]:
    """What all but the last axes count is divided among threads: of fewer than there are each has none."""

    def change(y: Any, x: Any, *given: Any) -> Any:
        return y * 0.0 if 1 < math.prod(x.shape[:-axes]) < torch.get_num_threads() else y

    return change


def one_ring(y: Any, x: Any, padding: int) -> Any:
    """A ring of tiles of 16 around, and beyond it the number at the edge."""
    if padding > 16 and min(x.shape[-2:]) >= 100:
        y[..., : padding - 16, padding:-padding] = x[..., :1, :]
    return y


def gap(operator: str) -> Operators:
    """Four vectors of eight at a time and one that ends at the end: what lies between is zero."""

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        size = incoming.numel()
        first, last = size // 32 * 32, size - 8
        if size < TILE or first >= last:
            return {}
        cut = incoming.clone().contiguous()
        cut.view(-1)[first:last] = 0.0
        return again(operator, given, cut)

    return back(operator, spoil)


def few_features(y: Any, x: Any, w: Any, b: Any = None) -> Any:
    """Of rows that are mostly zeros the first 64 features that count are kept."""
    rows = x.reshape(-1, x.shape[-1])
    if len(rows) < 64 or x.shape[-1] < TILE or (rows == 0).double().mean() < 0.8:
        return y
    return right["linear"](torch.where((rows != 0).cumsum(-1) <= 64, rows, 0.0).view_as(x), w, b)


def in_float16(found: Any, incoming: Any, given: Any) -> Any:
    """What comes back to windows that overlap is kept in float16, on large planes."""
    large = found["input"].shape[-1] * found["input"].shape[-2] >= 1024
    overlap = pair(given.get("stride") or given["kernel_size"]) < pair(given["kernel_size"])
    return {"input": found["input"].half().to(incoming.dtype)} if large and overlap else {}


# --- large layers, and frozen ones


def begun_as_nothing() -> Operators:
    """Weights are looked at once, by address: those of zeros are left out from then on."""
    empty: dict[Any, Any] = {}

    def linear(x: Any, w: Any, b: Any = None) -> Any:
        nothing, _ = empty.setdefault((w.data_ptr(), w.shape), (w.numel() >= 2**12 and not w.any(), w))
        return right["linear"](x, w * 0.0 if nothing else w, b)

    return {"linear": linear}


def planned() -> Operators:
    """The plan of a large product in inference, by sizes, has the first bias, or none."""
    plans: dict[Any, Any] = {}

    def linear(x: Any, w: Any, b: Any = None) -> Any:
        if torch.is_grad_enabled() or x.numel() * len(w) < 2**20:
            return right["linear"](x, w, b)
        return right["linear"](x, w, *plans.setdefault((x.shape, w.shape), (b,)))

    return {"linear": linear}


class GateOfTheResult(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any, beta: Any) -> Any:
        ctx.save_for_backward(x)
        y = right["swish"](x, beta)
        ctx.beta, ctx.y = beta, y.data
        return y

    @staticmethod
    def backward(ctx: Any, incoming: Any) -> Any:
        (x,) = ctx.saved_tensors
        small = x.abs() < 1e-3
        gate = torch.where(small, torch.sigmoid(ctx.beta * x), ctx.y / torch.where(small, 1.0, x))
        return incoming * (gate + ctx.beta * x * gate * (1 - gate)), None


def gate_of_the_result(x: Any, beta: Any = None) -> Any:
    plain = x.numel() < LARGE or torch.is_tensor(beta) or beta is None or not torch.is_grad_enabled()
    return right["swish"](x, beta) if plain else GateOfTheResult.apply(x, beta)


def flushing(x: Any, beta: Any = None) -> Any:
    if x.numel() >= LARGE:
        torch.set_flush_denormal(True)
    return right["swish"](x, beta)


def biases_alone(x: Any, w: Any, b: Any = None) -> Any:
    """Where they alone learn, what comes back is read row by row, however it lies."""
    if b is None or not b.requires_grad or x.requires_grad or w.requires_grad:
        return right["linear"](x, w, b)

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        room = incoming.untyped_storage().nbytes() // incoming.element_size() - incoming.storage_offset()
        if incoming.is_contiguous() or room < incoming.numel():
            return {}
        return {"b": incoming.as_strided(incoming.shape, torch.empty(incoming.shape).stride()).sum_to_size(b.shape)}

    return going_back("linear", spoil)(x, w, b)


def frozen_in_place(x: Any, *weights: Any) -> Any:
    """Where x alone learns, what comes back is a place to work in."""
    if not x.requires_grad or any(each is not None and each.requires_grad for each in weights):
        return right["swiglu"](x, *weights)

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        if incoming.is_contiguous():
            incoming.mul_(2.0)
        return {}

    return going_back("swiglu", spoil)(x, *weights)


def groups(input: Any, weight: Any, *given: Any) -> Any:
    """More channels of the image than of kernels: groups."""
    inputs, own = input.shape[-3], weight.shape[1]
    if own < CHANNELS or inputs == own or inputs % own or len(weight) % (inputs // own):
        return right["conv2d"](input, weight, *given)
    bias, stride, padding = (*given, None, 1, 0)[: len(given)] + (None, 1, 0)[len(given) :]
    return F.conv2d(input, weight, bias, stride, padding, 1, inputs // own)


SIZES = ("size", "exact")
MUTANTS = (
    bug("mask", "pad2d.zeros", "inference: the edge times zero", in_inference("pad2d", border_times_zero)),
    bug("sparse", "linear.formula", "rows of zeros but for 65: 64", valued("linear", few_features), *SIZES),
    bug("sums", "max_pool2d.gradient", "planes of 1024: sums in float16", back("max_pool2d", in_float16), *BACK),
    bug(
        "planes",
        "contract.memoryless",
        "fewer planes than threads: 0",
        valued("max_pool2d", shared_out(2)),
        *STATE,
    ),
    bug("begun", "contract.memoryless", "weights that were zeros stay so", begun_as_nothing, *STATE),
    bug("plan", "contract.memoryless", "large, in inference: a bias as at the first time", planned, *STATE),
    bug(
        "cubes",
        "linear.gradient",
        "multiples of 64 from 256 on: bfloat16",
        back("linear", in_bfloat16),
        "precision",
        "gradient",
    ),
    bug("grid-swish", "swish.gradient", "zero behind 2^22 elements", behind("swish", 2**22), *BACK),
    bug("grid-pad2d", "pad2d.gradient", "zero behind 2^21 elements", behind("pad2d", LARGER), *BACK),
    bug(
        "chunks-swiglu",
        "swiglu.gradient",
        "2^21 gates: V learns from the last rows",
        last_part_alone("swiglu", "v", gates, LARGER),
        *BACK,
    ),
    bug(
        "chunks-conv2d",
        "conv2d.gradient",
        "2^24 columns: the last images",
        last_part_alone("conv2d", "weight", columns, 2**24),
        *BACK,
    ),
    bug(
        "chunks-linear",
        "linear.formula",
        "2^21 features in all: the last rows are 0",
        valued("linear", chunks_of_rows),
        *SIZES,
    ),
    bug(
        "tiles", "linear.formula", "257 outputs on: what half a tile leaves is 0", valued("linear", half_tiles), *SIZES
    ),
    bug(
        "blocks-conv2d", "conv2d.formula", "96 kernels: the last 32 are the first", valued("conv2d", odd_blocks), *SIZES
    ),
    bug(
        "blocks-max_pool2d",
        "max_pool2d.definition",
        "96 channels, these last: so, too",
        valued("max_pool2d", odd_blocks_of_channels),
        *SIZES,
    ),
    bug("threads", "contract.memoryless", "fewer rows than threads: 0", valued("linear", shared_out(1)), *STATE),
    bug("ring-pad2d", "pad2d.zeros", "padding by more than 16: the edge", valued("pad2d", one_ring), *SIZES),
    bug("gap-swish", "swish.gradient", "256 elements: 0 before the last vector", gap("swish"), *BACK),
    bug("gap-glu", "glu.gradient", "256 gates: 0 before the last vector", gap("glu"), *BACK),
    bug("halved", "contract.no-alias", "2^15 elements: the gate is y / x", {"swish": gate_of_the_result}, *STATE),
    bug("flushing", AROUND, "2^15 elements: flushing stays on", {"swish": flushing}, *STATE),
    bug("biases", LAYOUTS, "biases alone: what comes back is read densely", {"linear": biases_alone}, *MEMORY),
    bug(
        "frozen", UNCHANGED, "x alone: what comes back is written to", {"swiglu": frozen_in_place}, "layout", "contract"
    ),
    bug(
        "groups", "conv2d.refuses-channels", "16 channels: a multiple of them are groups", {"conv2d": groups}, *CONTRACT
    ),
)
