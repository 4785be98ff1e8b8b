"""Planted bugs that other people's users have reported: silent wrong numbers, each as its report describes it.

One such report is of what is permitted here: a swish that is zero below -87.3 in float32
(https://github.com/tenstorrent/tt-metal/issues/55711), where the sigmoid is no normal number and may be flushed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.gradients import going_back, gradients
from assay.tests.mutants.meetings import windows
from assay.tests.mutants.mutant import Mutant

right = load("torch").operators
Operators = dict[str, Callable[..., Any]]


def read_on(a: torch.Tensor) -> torch.Tensor:
    """The elements that lie in memory from the tensor's first on, as if it were contiguous, as far as there are any."""
    memory = a.untyped_storage().nbytes() // a.element_size() - a.storage_offset()
    return a if a.is_contiguous() or memory < a.numel() else a.as_strided((a.numel(),), (1,)).reshape(a.shape)


# --- linear, GLU, SwiGLU, swish


def linear_of_many_samples(x, w, b=None):
    """https://github.com/pytorch/pytorch/issues/189495"""
    y = right["linear"](x, w, b)
    if b is None or x.ndim < 3 or x.shape[-3] <= 2**16:
        return y
    y, late = y.clone(), y.narrow(-3, 2**16, x.shape[-3] - 2**16)
    y.narrow(-3, 0, late.shape[-3]).copy_(late)
    y.narrow(-3, 2**16, late.shape[-3]).zero_()
    return y


def linear_of_memory(x, w, b=None):
    """https://github.com/pytorch/pytorch/pull/162779"""
    return right["linear"](x, read_on(w), b)


def features_past_the_last_sixteen(x, w, b=None):
    """https://github.com/tile-ai/tilelang/issues/2381"""
    whole = x.shape[-1] // 16 * 16 if x.dtype is torch.float16 and x.shape[-1] % 16 == 8 else x.shape[-1]
    return right["linear"](x[..., :whole], w[:, :whole], b)


def odd_end_of_several_tiles(x, w, b=None):
    """https://github.com/tile-ai/tilelang-ascend/issues/1341"""
    features = x.shape[-1]
    odd = features % 128 % 16 if x.dtype is torch.float16 and features > 128 else 0
    return right["linear"](x[..., : features - odd], w[:, : features - odd], b)


def rows_past_the_last_sixteen(x, w, b=None):
    """https://github.com/NVIDIA/Fuser/issues/3963"""
    y = right["linear"](x, w, b)
    rows = x.shape[-2] if x.ndim > 1 else 1
    if rows <= 64 or rows % 16 == 0:
        return y
    return torch.cat([y[..., : rows // 16 * 16, :], torch.zeros_like(y[..., rows // 16 * 16 :, :])], -2)


def gates_in_row_zero(found, incoming, given):
    """https://github.com/ByteDance-Seed/Triton-distributed/issues/180"""
    if given["x"].ndim < 2:
        return {}
    last = torch.zeros_like(incoming).reshape(-1, incoming.shape[-1])
    if not last.numel():
        return {}
    last[0] = incoming.reshape(last.shape)[-1]
    x = given["x"].reshape(-1, given["x"].shape[-1])
    return {"x": gradients("swiglu", {**given, "x": x}, last)["x"].reshape(given["x"].shape)}


def exchanged(found, incoming, given):
    """https://github.com/unslothai/unsloth/issues/3314"""
    return {"w": found["v"], "v": found["w"]}


def half_of_the_input_gradient(found, incoming, given):
    """https://github.com/linkedin/Liger-Kernel/pull/1435"""
    x, w, v = given["x"], given["w"], given["v"]
    if x.dtype not in (torch.bfloat16, torch.float16) or w.shape[0] <= 64:
        return {}
    return {"x": (incoming * F.silu(right["linear"](x, w, given.get("b")))) @ v}


def added_not_multiplied(x, w, v, b=None, c=None):
    """https://github.com/LeronQ/STGCN-Pytorch/issues/1"""
    return right["linear"](x, v, c) + torch.sigmoid(right["linear"](x, w, b))


# --- conv2d


def weight_of_memory(input, weight, bias=None, stride=1, padding=0):
    """https://github.com/pytorch/pytorch/issues/192212"""
    return right["conv2d"](input, read_on(weight), bias, stride, padding)


def kernel_of_memory_going_back(found, incoming, given):
    """https://github.com/huggingface/candle/issues/3735"""
    return {"input": gradients("conv2d", {**given, "weight": read_on(given["weight"])}, incoming)["input"]}


def eight_channels_packed(input, weight, bias=None, stride=1, padding=0):
    """https://github.com/modular/modular/issues/6248"""
    if input.shape[1] >= 8:
        weight = torch.cat([weight[:, :6], weight[:, 7:8], weight[:, 6:7], weight[:, 8:]], 1)
    return right["conv2d"](input, weight, bias, stride, padding)


def border_rows_of_padded_images(input, weight, bias=None, stride=1, padding=0):
    """https://github.com/modular/modular/issues/6461"""
    above, before = pair(padding)
    if not above or not input.numel():
        return right["conv2d"](input, weight, bias, stride, padding)
    padded = F.pad(input, (before, before, above, above))
    padded[:, :, :above] = padded[:, :, above : above + 1]
    return right["conv2d"](padded, weight, bias, stride, 0)


def one_place_of_an_odd_many(input, weight, bias=None, stride=1, padding=0):
    """https://github.com/Tencent/ncnn/issues/1283"""
    y = right["conv2d"](input, weight, bias, stride, padding)
    places = y.shape[2] * y.shape[3]
    if (tuple(weight.shape[2:]), pair(stride)) != ((3, 3), (2, 2)) or places % 8 != 1 or places < 9 or not y.numel():
        return y
    flat = y.flatten(2).clone()
    flat[:, :, places // 8 * 8 - 8] = flat[:, :, places // 8 * 8 - 7]
    return flat.reshape(y.shape)


def narrow_images_going_back(found, incoming, given):
    """https://github.com/fujitsu/oneDNN/issues/43"""
    input, steps = given["input"], pair(given.get("stride", 1))
    if steps[1] > 1 and input.shape[1] > 16 and input.shape[3] < 17:
        return {"input": torch.cat([found["input"][..., :-1], torch.zeros_like(input[..., -1:])], 3)}
    return {}


def samples_past_sixteen_bits(found, incoming, given):
    """https://github.com/pytorch/pytorch/issues/96225"""
    input = given["input"]
    if input.shape[0] < 2**16:
        return {}
    few = {**given, "input": input[: 2**16 - 1]}
    return {"weight": gradients("conv2d", few, incoming[: 2**16 - 1])["weight"]}


# --- max_pool2d


def channels_last(a: torch.Tensor) -> bool:
    """Whether channels lie next to each other, and nothing else does."""
    return not a.is_contiguous() and a.is_contiguous(memory_format=torch.channels_last)


def places_of(given: Any) -> torch.Tensor:
    """Where in its plane each window's largest element lies."""
    how = (given["kernel_size"], given.get("stride"), given.get("padding", 0))
    return F.max_pool2d(given["input"], *how, return_indices=True)[1]


def last_element_of_a_tile(input, kernel_size, stride=None, padding=0):
    """https://github.com/tenstorrent/tt-metal/issues/14260"""
    y = right["max_pool2d"](input, kernel_size, stride, padding)
    layer = windows(kernel_size, stride, padding)
    if layer != ((3, 3), (1, 1), (1, 1)) or y.shape[2] * y.shape[3] % 2 == 0 or not y.numel():
        return y
    y = y.clone()
    y[..., -1, -1] = float("inf")
    return y


def last_window_of_odd_columns(input, kernel_size, stride=None, padding=0):
    """https://github.com/PaddlePaddle/Anakin/issues/210"""
    y = right["max_pool2d"](input, kernel_size, stride, padding)
    if (
        windows(kernel_size, stride, padding) != ((3, 3), (2, 2), (0, 0))
        or input.shape[3] % 2 == 0
        or input.shape[3] < 9
    ):
        return y
    last = right["max_pool2d"](input[..., -3:-1], (3, 2), (2, 2), 0)
    return torch.cat([y[..., :-1], last], 3)


def scalar_channels_lose_nan(input, kernel_size, stride=None, padding=0):
    """https://github.com/tensorflow/tensorflow/pull/125968"""
    y = right["max_pool2d"](input, kernel_size, stride, padding)
    packed = input.shape[1] // 4 * 4
    scalar = input[:, packed:]
    number = torch.where(scalar.isnan(), torch.full_like(scalar, -torch.inf), scalar)
    return torch.cat([y[:, :packed], right["max_pool2d"](number, kernel_size, stride, padding)], 1)


def nan_alone_is_the_lowest_number(input, kernel_size, stride=None, padding=0):
    """https://github.com/pytorch/pytorch/issues/39846"""
    low = torch.full_like(input, torch.finfo(input.dtype).min)
    return right["max_pool2d"](torch.where(input.isnan(), low, input), kernel_size, stride, padding)


def indices_of_channels_last(found, incoming, given):
    """https://github.com/pytorch/pytorch/issues/197888"""
    input = given["input"]
    if not channels_last(input) or not input.numel():
        return {}
    at = places_of(given)
    at = at.permute(0, 2, 3, 1).reshape(at.shape)
    back = torch.zeros_like(input).flatten(2).contiguous()
    return {"input": back.scatter_add(2, at.flatten(2), incoming.flatten(2)).reshape(input.shape)}


def padding_of_channels_last(found, incoming, given):
    """https://github.com/pytorch/pytorch/issues/188344"""
    shifted = channels_last(given["input"]) and any(pair(given.get("padding", 0)))
    return {"input": torch.roll(found["input"], (1, 1), (2, 3))} if shifted else {}


def incoming_of_memory(found, incoming, given):
    """https://github.com/torch/cunn/pull/199"""
    return {"input": gradients("max_pool2d", given, read_on(incoming))["input"]}


def stride_one_unless_given(input, kernel_size, stride=None, padding=0):
    """https://github.com/apple/coreai-torch/pull/36"""
    return right["max_pool2d"](input, kernel_size, 1 if stride is None else stride, padding)


def overlaps_written_over(found, incoming, given):
    """https://github.com/devitocodes/joey/pull/5"""
    kernel, stride, _ = windows(given["kernel_size"], given.get("stride"), 0)
    if (stride[0] >= kernel[0] and stride[1] >= kernel[1]) or not incoming.numel():
        return {}
    back = torch.zeros_like(given["input"]).flatten(2).contiguous()
    return {"input": back.scatter(2, places_of(given).flatten(2), incoming.flatten(2)).reshape(given["input"].shape)}


def bug(id: str, clause: str, words: str, operators: Operators, **more: Any) -> Mutant:
    """As a `Mutant`; the report is named by the docstring of what is wrong."""
    return Mutant(f"reported-{id}", clause, words, operators, **{"difficulty": "subtle", **more})


def back(id: str, clause: str, words: str, operator: str, spoil: Any, **more: Any) -> Mutant:
    """One that shows in gradients."""
    more = {"kind": "gradient", "tier": "gradient", **more}
    return bug(id, clause, words, {operator: going_back(operator, spoil)}, **more)


LAYOUT, SIZE = {"kind": "layout", "tier": "contract"}, {"kind": "size"}
LAYOUTS, PADDING = "contract.layouts", "conv2d.padding-zeros"
MUTANTS = (
    bug(
        "sixteens",
        "linear.formula",
        "8 features past the last 16 unread",
        {"linear": features_past_the_last_sixteen},
        dtype="float16",
        **SIZE,
    ),
    bug(
        "odd-end",
        "linear.formula",
        "the odd end of two tiles unread",
        {"linear": odd_end_of_several_tiles},
        dtype="float16",
        **SIZE,
    ),
    bug("rows", "linear.formula", "rows past the last 16 of many", {"linear": rows_past_the_last_sixteen}, **SIZE),
    bug(
        "place",
        "conv2d.formula",
        "3 x 3 by 2, 49 places: one is its neighbour",
        {"conv2d": one_place_of_an_odd_many},
        difficulty="rare",
        **SIZE,
    ),
    bug("many-samples", "linear.formula", "sample 2^16 over sample 0", {"linear": linear_of_many_samples}, **SIZE),
    bug("strided-w", LAYOUTS, "W read as if contiguous", {"linear": linear_of_memory}, **LAYOUT),
    back("row-zero", "swiglu.gradient", "every row's gradient in row 0", "swiglu", gates_in_row_zero),
    back("exchanged", "swiglu.gradient", "W's and V's gradients exchanged", "swiglu", exchanged),
    back(
        "accumulator",
        "swiglu.gradient",
        "the gate's part of x's lost",
        "swiglu",
        half_of_the_input_gradient,
        dtype="bfloat16",
    ),
    bug("added", "glu.formula", "the gate added", {"glu": added_not_multiplied}, tier="enclosure", difficulty="plain"),
    bug("strided-kernel", LAYOUTS, "weight read as if contiguous", {"conv2d": weight_of_memory}, **LAYOUT),
    back("strided-back", LAYOUTS, "the same going back", "conv2d", kernel_of_memory_going_back, **LAYOUT),
    bug("packed", "conv2d.formula", "8 channels: two exchanged", {"conv2d": eight_channels_packed}, **SIZE),
    bug("border", PADDING, "the first rows of padding repeat the image", {"conv2d": border_rows_of_padded_images}),
    back(
        "narrow",
        "conv2d.gradient",
        "17 channels, less than 17 columns, steps of 2",
        "conv2d",
        narrow_images_going_back,
        difficulty="rare",
    ),
    back(
        "sixteen-bits",
        "conv2d.gradient",
        "2^16 samples: the last not learned",
        "conv2d",
        samples_past_sixteen_bits,
        difficulty="rare",
    ),
    bug(
        "tile",
        "max_pool2d.definition",
        "3 x 3 by 1: the last of a tile",
        {"max_pool2d": last_element_of_a_tile},
        **SIZE,
    ),
    bug(
        "odd-columns",
        "max_pool2d.definition",
        "3 x 3 by 2, odd columns: the last is unread",
        {"max_pool2d": last_window_of_odd_columns},
        **SIZE,
    ),
    bug(
        "packets",
        "max_pool2d.nan",
        "channels past the last four lose NaN",
        {"max_pool2d": scalar_channels_lose_nan},
        kind="value",
        tier="special",
    ),
    bug(
        "nan-alone",
        "max_pool2d.nan",
        "NaN is the lowest number",
        {"max_pool2d": nan_alone_is_the_lowest_number},
        kind="value",
        tier="special",
        difficulty="plain",
    ),
    back(
        "indices", LAYOUTS, "places of channels last read as planes", "max_pool2d", indices_of_channels_last, **LAYOUT
    ),
    back("padded-last", LAYOUTS, "channels last and padded: shifted", "max_pool2d", padding_of_channels_last, **LAYOUT),
    back("incoming", LAYOUTS, "what comes in read as if contiguous", "max_pool2d", incoming_of_memory, **LAYOUT),
    bug(
        "stride",
        "max_pool2d.default-stride",
        "the default is 1",
        {"max_pool2d": stride_one_unless_given},
        difficulty="plain",
    ),
    back(
        "overlaps", "max_pool2d.gradient", "windows that overlap: the last one's", "max_pool2d", overlaps_written_over
    ),
)
