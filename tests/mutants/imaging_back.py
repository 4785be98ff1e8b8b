"""Planted bugs of kernels for images on the way back, and of what they keep between calls."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.dispatched import LAYOUTS, MEMORY, STATE, back, recorded
from assay.tests.mutants.gradients import again, gradients
from assay.tests.mutants.imaging import framed
from assay.tests.mutants.meetings import windows
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import Operators, last, valued
from assay.tests.mutants.precision import wide
from assay.tests.mutants.state import by_shape

right = load("torch").operators


# Convolution.


def sums_of_rows(found, incoming, given):
    """256 places and more: sums of rows are kept in the dtype."""
    if "bias" not in found or incoming.shape[2] * incoming.shape[3] < 256:
        return {}
    return {"bias": wide(incoming.sum(3)).sum((0, 2)).to(incoming.dtype)}


def in_two_halves(found, incoming, given):
    """1024 places and more: what comes back is two float16 numbers."""
    if incoming.dtype != torch.float32 or incoming[:, 0].numel() < 1024 or incoming.abs().max() >= 60000:
        return {}
    high = incoming.half().float()
    low = ((incoming - high) * 2048).half().float() / 2048
    return {"weight": again("conv2d", given, high)["weight"] + again("conv2d", given, low)["weight"]}


def last_chunk(found, incoming, given):
    """Where one chunk of the batch and a part fit a workspace, the part overwrites."""
    unfolded = given["weight"][0].numel() * incoming.shape[2] * incoming.shape[3]
    chunk = max(1, 2**20 // max(1, unfolded))
    if not chunk < len(incoming) < 2 * chunk:
        return {}
    kept = incoming.clone()
    kept[:chunk] = 0
    return {"weight": again("conv2d", given, kept)["weight"]}


def one_a_plane(found, incoming, given):
    """What comes back is one number for all columns, as of a mean over them: taken to be one for all places."""
    if incoming.stride(3) or incoming.shape[3] < 2:
        return {}
    return again("conv2d", given, incoming[:, :, :1, :1].expand_as(incoming))


def row_order(found, incoming, given):
    """The weight's channels are last, the image's are not: written in order of rows into the weight's strides."""
    input, weight = given["input"], given["weight"]
    if not last(weight) or not input.is_contiguous() or input.is_contiguous(memory_format=torch.channels_last):
        return {}
    return {"weight": found["weight"].contiguous().view(-1).as_strided(weight.shape, weight.stride())}


def by_default(found, incoming, given):
    """Past 8 samples and 4096 places, in the dtype of new tensors."""
    if len(incoming) <= 8 or incoming[:, 0].numel() <= 4096:
        return {}
    return {"weight": found["weight"].to(torch.get_default_dtype()).to(incoming.dtype)}


class Scratch(torch.autograd.Function):
    """The padded input is kept, and where it is large its gradient is made in its memory."""

    @staticmethod
    def forward(ctx: Any, input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0) -> Any:
        ctx.padded, ctx.padding = framed(input, padding), padding
        ctx.bias, ctx.stride = bias, stride
        ctx.save_for_backward(weight)
        return right["conv2d"](input, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, incoming: Any) -> Any:
        given = {"input": ctx.padded, "weight": ctx.saved_tensors[0], "bias": ctx.bias, "stride": ctx.stride}
        found, (above, before) = gradients("conv2d", given, incoming), pair(ctx.padding)
        gradient = found["input"]
        if max(above, before) and gradient.numel() >= 65536 and ctx.needs_input_grad[0]:
            gradient = ctx.padded.copy_(gradient)
        rows, columns = gradient.shape[2:]
        inner = gradient[:, :, above : rows - above, before : columns - before].clone()
        return inner, found["weight"], found.get("bias"), None, None


def scratch(input, weight, bias=None, stride=1, padding=0):
    return Scratch.apply(input, weight, bias, stride, padding)


# Pooling.


def sent(incoming: torch.Tensor, input: torch.Tensor, places: torch.Tensor, adding: bool = True) -> dict[str, Any]:
    """The gradient of the input, where each result was taken at such a place of its plane."""
    flat = torch.zeros_like(input.flatten(2))
    scatter = flat.scatter_add if adding else flat.scatter
    return {"input": scatter(2, places.flatten(2), incoming.flatten(2)).view(input.shape)}


def taken(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0) -> torch.Tensor:
    return F.max_pool2d(input, kernel_size, stride, padding, return_indices=True)[1]


def overwritten(found, incoming, given):
    """Large: where rows do not overlap, contributions do not add up."""
    kernel, steps, _ = windows(given["kernel_size"], given.get("stride"), given.get("padding", 0))
    if steps[0] < kernel[0] or given["input"].numel() < 16384:
        return {}
    return sent(incoming, given["input"], taken(**given), adding=False)


def sixteen_bits(found, incoming, given):
    """The place in a plane is kept as 16 bits."""
    return sent(incoming, given["input"], taken(**given) & 0xFFFF)


def columns_first(found, incoming, given):
    """9 x 9 and more: along columns, then along rows, so that the first column's element is taken."""
    kernel, steps, added = windows(given["kernel_size"], given.get("stride"), given.get("padding", 0))
    if min(kernel) < 9:
        return {}
    (high, along), (down, across), (above, before) = kernel, steps, added
    tall, rows = F.max_pool2d(given["input"], (high, 1), (down, 1), (above, 0), return_indices=True)
    columns = taken(tall, (1, along), (1, across), (0, before))
    return sent(incoming, given["input"], rows.flatten(2).gather(2, columns.flatten(2)))


def whole_planes(input, kernel_size, stride=None, padding=0):
    """7 x 7 and more, as large as the plane: tied elements share the gradient."""
    y, kernel = right["max_pool2d"](input, kernel_size, stride, padding), pair(kernel_size)
    whole = kernel == tuple(input.shape[2:]) and pair(padding) == (0, 0) and min(kernel) >= 7
    return input.amax((2, 3), True) if whole else y


def ring_of_places() -> Operators:
    """The places are kept for the way back in the next of 48 buffers."""
    rings: dict[Any, list[torch.Tensor]] = {}

    class InRing(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, input: Any, *given: Any) -> Any:
            y, places = F.max_pool2d(input, *given, return_indices=True)
            ring = rings.setdefault(by_shape(input, y), [])
            ring.append(ring.pop(0) if len(ring) >= 48 else torch.empty_like(places))
            ctx.places, ctx.input = ring[-1].copy_(places), input.detach()
            return y

        @staticmethod
        def backward(ctx: Any, incoming: Any) -> Any:
            return sent(incoming, ctx.input, ctx.places)["input"], None, None, None

    def max_pool2d(input, kernel_size, stride=None, padding=0):
        given = input, kernel_size, stride, padding
        return InRing.apply(*given) if recorded(input) else right["max_pool2d"](*given)

    return {"max_pool2d": max_pool2d}


# Between calls.


def plans() -> Operators:
    """Batches past 32: the sixteens of the first batch of the same power of two."""
    kept: dict[Any, int] = {}

    def change(y, input, weight, bias=None, *parameters):
        samples = len(input)
        if samples > 32:
            key = (samples - 1).bit_length(), by_shape(input[0], weight), parameters
            y[16 * kept.setdefault(key, -(-samples // 16)) :] = 0
        return y

    return valued("conv2d", change)


def tables() -> Operators:
    """What a window sees is kept by the rows' parameters."""
    kept: dict[Any, Any] = {}

    def change(y, input, kernel_size, stride=None, padding=0):
        kernel, steps, added = given = windows(kernel_size, stride, padding)
        if kernel[0] * kernel[1] > 49 or y.shape[2] * y.shape[3] > 4096:
            return y
        key = input.shape[2:], y.shape[2:], kernel[0], steps[0], added[0]
        return F.max_pool2d(input, *kept.setdefault(key, given))

    return valued("max_pool2d", change)


def checksums() -> Operators:
    """Weights are kept by the sums of themselves, their magnitudes and their squares."""
    kept: dict[Any, torch.Tensor] = {}

    def conv2d(input, weight, *given):
        if not torch.is_grad_enabled() and weight.numel() >= 1024 and weight.isfinite().all():
            w = weight.double()
            marks = [f"{sum_.item():.9e}" for sum_ in (w.sum(), w.abs().sum(), (w * w).sum())]
            weight = kept.setdefault((by_shape(weight), *marks), weight.clone())
        return right["conv2d"](input, weight, *given)

    return {"conv2d": conv2d}


def ring() -> Operators:
    """Without gradients results lie in 40 buffers."""
    rings: dict[Any, list[torch.Tensor]] = {}

    def conv2d(*given):
        y = right["conv2d"](*given)
        if torch.is_grad_enabled() or torch.is_inference_mode_enabled() or y.numel() < 1024:
            return y
        buffers = rings.setdefault(by_shape(y), [])
        buffers.append(buffers.pop(0) if len(buffers) >= 40 else torch.empty_like(y))
        return buffers[-1].copy_(y)

    return {"conv2d": conv2d}


def frames() -> Operators:
    """A frame of zeros is kept by its size, and what was in it."""
    kept: dict[Any, torch.Tensor] = {}

    def pad2d(x, padding):
        y = right["pad2d"](x, padding)
        if y.requires_grad or torch.is_inference_mode_enabled() or y.numel() < 65536:
            return y
        frame = kept.setdefault(by_shape(y), torch.zeros_like(y))
        frame[..., padding : padding + x.shape[-2], padding : padding + x.shape[-1]] = x.detach()
        return frame.clone()

    return {"pad2d": pad2d}


def bug(name, clause, words, operators, kind="gradient", tier="gradient", dtype="float32"):
    return Mutant(f"imaging-{name}", clause, words, operators, dtype, kind, tier, "rare")


def wrong(name, clause, words, spoil, *how, **more):
    return bug(name, clause, words, back(clause.partition(".")[0], spoil), *how, **more)


GRADIENT, PLACES, FIRST = "conv2d.gradient", "max_pool2d.gradient", "max_pool2d.gradient-first-tie"
MEMORYLESS = "contract.memoryless"
MUTANTS = (
    wrong("rows", GRADIENT, "bias: 256 places, sums of rows in bfloat16", sums_of_rows, dtype="bfloat16"),
    wrong("halves", GRADIENT, "weight: 1024 places, tiny slopes as float16", in_two_halves),
    wrong("chunk", GRADIENT, "weight: a workspace and a part, the part alone", last_chunk),
    wrong("default", GRADIENT, "weight: 9 samples, 4097 places in float32", by_default, dtype="float64"),
    bug("order", LAYOUTS, "weight: its channels last alone, in order of rows", back("conv2d", row_order), *MEMORY),
    bug("means", LAYOUTS, "back from a mean over columns: over places", back("conv2d", one_a_plane), *MEMORY),
    bug("scratch", MEMORYLESS, "the second time back a gradient is the input", {"conv2d": scratch}, *STATE),
    wrong("overwritten", PLACES, "2 x 2 by (2, 1), large: slopes overwrite others", overwritten),
    wrong("places", PLACES, "places past 65535 wrap around", sixteen_bits),
    wrong("columns", FIRST, "9 x 9: the first column of tied elements", columns_first),
    bug("whole", FIRST, "whole planes of 7 x 7: tied elements share", {"max_pool2d": whole_planes}),
    bug("plans", MEMORYLESS, "33 samples: a plan for 48 serves 64", plans, *STATE),
    bug("checksums", MEMORYLESS, "frozen kernels by their sums: mirrored ones are one", checksums, *STATE),
    bug("ring", "contract.results-kept", "40 buffers of results go round", ring, *STATE),
    bug("tables", MEMORYLESS, "windows are kept by their rows alone", tables, *STATE),
    bug("frames", MEMORYLESS, "a frame is kept by its size", frames, *STATE),
    bug("ring-of-places", MEMORYLESS, "48 buffers of places go round", ring_of_places, *STATE),
)
