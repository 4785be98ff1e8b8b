"""Planted bugs that epochs of training show in kernels for images: frozen layers, the last batch of an epoch, a pass
of validation, overflows, another dtype before. No law had seen them."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.weak import WeakTensorKeyDictionary

from assay.implementations.load import load
from assay.tests.mutants.dispatched import STATE, recorded
from assay.tests.mutants.epochs import HALVES, MEMORYLESS, SOME, bug, learning, wrong
from assay.tests.mutants.gradients import again, going_back
from assay.tests.mutants.max_pool2d import every_tie
from assay.tests.mutants.networks import Operators
from assay.tests.mutants.precision import tf32
from assay.tests.mutants.state import by_pointer, by_shape

right = load("torch").operators


# Convolution.


def last_columns_without_bias(input, weight, bias=None, *parameters):
    """In training, by 16 columns: what is left of more than 16 has no bias."""
    y = right["conv2d"](input, weight, bias, *parameters)
    columns = y.shape[3]
    if bias is None or columns <= 16 or not columns % 16 or not recorded(input, weight, bias):
        return y
    without = torch.arange(columns) >= columns // 16 * 16
    return y - torch.where(without, bias[:, None, None], 0.0).detach()


def frozen_bias(input, weight, bias=None, *parameters):
    """In training a bias that does not learn is not added."""
    frozen = bias is not None and not bias.requires_grad and recorded(input, weight)
    return right["conv2d"](input, weight, None if frozen else bias, *parameters)


def second_block(y, input, weight, *given):
    """64 samples at a time: the next ones read the first."""
    if y.shape[2] * y.shape[3] < 64 or len(input) <= 64:
        return y
    return right["conv2d"](input[torch.arange(len(input)) % 64], weight, *given)


def wide_units(y, input, weight, *given):
    """128 channels, 64 outputs and 128 places or more: TF32."""
    outputs, channels = weight.shape[:2]
    if (
        y.dtype != torch.float32
        or channels < 128
        or outputs < 64
        or outputs % 8
        or channels % 8
        or y[:, 0].numel() < 128
    ):
        return y
    return right["conv2d"](tf32(input), tf32(weight), *given)


def units_going_back(found, incoming, given):
    """Channels in 32s and 64 places: TF32."""
    outputs, channels = given["weight"].shape[:2]
    if incoming.dtype != torch.float32 or outputs % 32 or channels % 32 or incoming[:, 0].numel() < 64:
        return {}
    rounded = {name: tf32(given[name]) for name in ("input", "weight")}
    return again("conv2d", given, tf32(incoming), **rounded)


def saturated(found, incoming, given):
    """Past 65504: 65504."""
    return {name: g.clamp(-65504, 65504) for name, g in found.items()} if incoming.dtype == torch.float16 else {}


def validated() -> Operators:
    """Where nothing is recorded: the weight as the last step of training had it."""
    packs: Any = WeakTensorKeyDictionary()

    def conv2d(input, weight, *given):
        if recorded(input, weight):
            packs[weight] = weight.detach().clone()
        elif weight.requires_grad:
            weight = packs.get(weight, weight)
        return right["conv2d"](input, weight, *given)

    return {"conv2d": conv2d}


def parts_of_samples() -> Operators:
    """Each sample's part of the weight's gradient has a place, and all places are added up."""
    places: dict[Any, torch.Tensor] = {}

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        weight, input = given["weight"], given["input"]
        if weight.numel() < 1 << 11 or len(input) * weight.numel() > 1 << 20:
            return {}
        key = by_shape(weight, input[:1], *(str(given.get(name)) for name in ("stride", "padding")))
        parts = places.get(key, weight.new_zeros(0, *weight.shape))
        new = [again("conv2d", given, incoming[i : i + 1], input=input[i : i + 1])["weight"] for i in range(len(input))]
        places[key] = torch.cat([*(part[None] for part in new), parts[len(new) :]])
        return {"weight": places[key].sum(0)} if len(parts) > len(new) else {}

    return {"conv2d": going_back("conv2d", spoil)}


def turned_once() -> Operators:
    """A frozen weight is turned for the way back once, by its address."""
    turned: dict[Any, Any] = {}

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        weight = given["weight"]
        if weight.requires_grad:
            return {}
        kept, _ = turned.setdefault(by_pointer(weight), (weight.clone(), weight))
        return {"input": again("conv2d", given, incoming, weight=kept)["input"]}

    return {"conv2d": going_back("conv2d", spoil)}


def plan_of_any_dtype() -> Operators:
    """What operands are converted to is planned at the first call of these sizes, in training and in inference."""
    plans: dict[Any, Any] = {}

    def conv2d(input, weight, *given):
        units = plans.setdefault((torch.is_grad_enabled(), input.shape, weight.shape), input.dtype)
        if units in HALVES and input.dtype not in HALVES:
            input, weight = (t.to(units).to(t.dtype) for t in (input, weight))
        return right["conv2d"](input, weight, *given)

    return {"conv2d": conv2d}


# Pooling.


def half_words(found, incoming, given):
    """64 windows or more: what comes back is kept in half a word."""
    if incoming.dtype != torch.float32 or incoming[0, 0].numel() < 64:
        return {}
    return again("max_pool2d", given, incoming.half().float())


def masked(y, input, *given):
    """Rows of 32 or more: the largest is sought from -1e30."""
    return y.clamp(min=-1e30) if input.shape[3] >= 32 else y


def shares_of_planes(y, *given):
    """Planes are shared among threads, and a share is rounded to nearest."""
    planes, threads = y.flatten(0, 1), torch.get_num_threads()
    planes[round(len(planes) / threads) * threads :] = 0
    return y


def all_of_the_ties(found, incoming, given):
    """Rows of 32 or more: each of a window's largest elements has all of what comes back."""
    input, *how = given.values()
    if input.shape[3] < 32:
        return {}
    input = input.detach().requires_grad_()
    with torch.enable_grad():
        y = every_tie(input, *how)
    return {"input": torch.autograd.grad(y, input, incoming)[0]}


GRADIENT = "conv2d.gradient"
MUTANTS = (
    bug(
        "bias",
        SOME,
        "training: columns past a multiple of 16: no bias",
        {"conv2d": last_columns_without_bias},
        "size",
        "gradient",
    ),
    bug("frozen-bias", SOME, "training: a frozen bias is not added", {"conv2d": frozen_bias}, "state", "gradient"),
    wrong("block", "conv2d.formula", "samples past 64 are the first ones", "conv2d", second_block),
    wrong("wide", "conv2d.formula", "128 channels: TF32", "conv2d", wide_units, "precision", "enclosure"),
    learning("units", GRADIENT, "32 by 32 channels: TF32 going back", "conv2d", units_going_back),
    learning("saturated", GRADIENT, "gradients past 65504: 65504", "conv2d", saturated, "value", "special", "float16"),
    bug("validated", MEMORYLESS, "validation has the weight of the last step", validated, *STATE),
    bug("parts", MEMORYLESS, "a smaller batch: parts of the last one", parts_of_samples, *STATE),
    bug("turned", MEMORYLESS, "going back a frozen weight by address", turned_once, *STATE),
    bug("plan", MEMORYLESS, "bfloat16 before: operands are rounded to it", plan_of_any_dtype, *STATE),
    learning("words", "max_pool2d.gradient", "64 windows: slopes in float16", "max_pool2d", half_words),
    wrong("masked", "max_pool2d.infinities", "rows of 32: -inf is -1e30", "max_pool2d", masked, "value", "special"),
    wrong("shares", MEMORYLESS, "by five threads: the last planes are 0", "max_pool2d", shares_of_planes, *STATE),
    learning("ties", "max_pool2d.gradient-first-tie", "rows of 32: every tie has all", "max_pool2d", all_of_the_ties),
)
