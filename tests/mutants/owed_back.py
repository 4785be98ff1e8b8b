"""Planted bugs for laws that had none of their own: those of their clause died of other laws before. Going back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.tests.mutants.dispatched import BACK, LAYOUTS, MEMORY, STATE, back, one_memory
from assay.tests.mutants.gradients import again, branches
from assay.tests.mutants.lasting import count
from assay.tests.mutants.meetings import windows
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import Operators
from assay.tests.mutants.precision import tf32
from assay.tests.mutants.state import by_shape
from assay.tests.mutants.unseen import saturated

right = load("torch").operators
Spoil = Callable[..., dict[str, Any]]
HALVES = (torch.float16, torch.bfloat16)
LONG = 1 << 14  # terms of a sum


# Numbers.


def sanitised(operator: str) -> Operators:
    """What comes back has 0 for what is no finite number."""

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        return {} if incoming.isfinite().all() else again(operator, given, incoming.nan_to_num(0.0, 0.0, 0.0))

    return back(operator, spoil)


def samples_that_hold_something(found, incoming, given):
    """Of 3 samples, or 4 more each time, those are left out whose largest and least number are not beside zero."""
    image = given["input"]
    kept = [each for each in range(len(image)) if image[each].max() > 0 or image[each].min() < 0]
    if len(image) % 4 != 3 or len(kept) == len(image):
        return {}
    return {"weight": again("conv2d", given | {"input": image[kept]}, incoming[kept])["weight"]}


def in_two_halves(operator: str, name: str) -> Operators:
    """128 rows: for this gradient what comes back is two float16 numbers."""

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        if incoming.dtype != torch.float32 or count(incoming) < 128 or not incoming.abs().max() < 60000:
            return {}
        high = incoming.half().float()
        return {name: again(operator, given, high + (incoming - high).half().float())[name]}

    return back(operator, spoil)


def overflowing(operator: str) -> Operators:
    """From 32 rows, features and outputs on the gate's slope is e / (1 + e)^2, of e that may be infinite."""

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        if min(count(incoming), *given["w"].shape) < 32 or not given["x"].isfinite().all():
            return {}
        lost = torch.exp(-branches(given)[0]) == torch.inf
        return {"x": again(operator, given, incoming.masked_fill(lost, torch.nan))["x"]} if lost.any() else {}

    return back(operator, spoil)


def coarse(operator: str, name: str) -> Operators:
    """128 rows, 64 features, 64 outputs: for this gradient what comes back is TF32."""

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        fits = incoming.dtype == torch.float32 and count(incoming) >= 128 and min(given["w"].shape) >= 64
        return {name: again(operator, given, tf32(incoming))[name]} if fits else {}

    return back(operator, spoil)


def long_sums(name: str) -> Operators:
    """For a gradient whose sums have 2^14 terms what comes back without a zero is TF32."""

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        terms = incoming.shape[-1] if name == "x" else count(incoming)
        long = incoming.dtype == torch.float32 and terms >= LONG and (incoming != 0).all()
        return {name: again("linear", given, tf32(incoming))[name]} if long else {}

    return back("linear", spoil)


def one_row(found, incoming, given):
    """One row of 1024 outputs and more: for x what comes back without a zero is TF32."""
    long = incoming.dtype == torch.float32 and 1024 <= incoming.numel() == incoming.shape[-1] < LONG
    return {"x": again("linear", given, tf32(incoming))["x"]} if long and (incoming != 0).all() else {}


def added(parts: Any, like: torch.Tensor) -> torch.Tensor:
    """The sum of parts, in the dtype."""
    total = torch.zeros_like(like)
    for part in parts:
        total += part.to(total.dtype)
    return total


def samples_apart(found, incoming, given):
    """256 tokens: W's is added up sample by sample."""
    x = given["x"]
    if x.dim() != 3 or x.shape[1] < 256 or x.dtype not in HALVES:
        return {}
    return {"w": added((its.T @ sample for sample, its in zip(x, incoming, strict=True)), found["w"])}


def outputs_apart(found, incoming, given):
    """4096 outputs: x's is added up by 32 outputs."""
    w = given["w"]
    if len(w) < 4096 or w.dtype not in HALVES:
        return {}
    parts = zip(incoming.split(32, -1), w.split(32), strict=True)
    return {"x": added((part @ weights for part, weights in parts), found["x"])}


# Sizes.


def one_group(found, incoming, given):
    """Outputs by groups of 64, each of which writes the image's gradient: the last one's is left."""
    outputs = incoming.shape[1]
    if outputs <= 64:
        return {}
    kept = incoming.clone()
    kept[:, : (outputs - 1) // 64 * 64] = 0
    return {"input": again("conv2d", given, kept)["input"]}


def one_block(found, incoming, given):
    """Past a margin of 64 columns what comes back is read too early."""
    padding, (height, width) = given["padding"], given["x"].shape[-2:]
    first = min(padding, 64)
    return {"x": incoming[..., padding : padding + height, first : first + width].clone()}


def eight_bits(found, incoming, given):
    """Windows of more than 256 elements, 8 x 8 at least: where the largest of one was is kept in 8 bits."""
    kernel, steps, added_ = windows(given["kernel_size"], given.get("stride"), given.get("padding") or 0)
    if min(kernel) < 8 or any(added_) or kernel[0] * kernel[1] <= 256:
        return {}
    input = given["input"]
    places = F.max_pool2d(input, kernel, steps, return_indices=True)[1]
    top, left = (torch.arange(n) * step for n, step in zip(places.shape[2:], steps, strict=True))
    kept = ((places // input.shape[3] - top[:, None]) * kernel[1] + places % input.shape[3] - left) & 255
    at = (top[:, None] + kept // kernel[1]) * input.shape[3] + left + kept % kernel[1]
    into = torch.zeros_like(input).flatten(2)
    return {"input": into.scatter_add_(2, at.flatten(2), incoming.flatten(2)).view_as(input)}


# Layouts, and what is kept between calls.


def halves(found, incoming, given):
    """Gradients of a fused weight whose rows are W's and V's in turn are written as halves."""
    w, v = given["w"], given["v"]
    in_turn = one_memory(w, v) and w.stride() == v.stride() == (2 * w.shape[1], 1)
    if not in_turn or len(w) < 2 or v.data_ptr() < w.data_ptr():
        return {}
    fused = torch.cat([found["w"], found["v"]])
    return {"w": fused[0::2].clone(), "v": fused[1::2].clone()}


def planned(operator: str, plan: Callable[..., Any]) -> Callable[[], Operators]:
    """Going back, parameters are those of the first call of such shapes with this plan."""

    def operators() -> Operators:
        kept: dict[Any, Any] = {}

        def spoil(found: Any, incoming: Any, given: Any) -> Any:
            parameters = {name: given[name] for name in ("kernel_size", "stride", "padding") if name in given}
            key = by_shape(given["input"], given.get("weight"), incoming), plan(**parameters)
            first = kept.setdefault(key, parameters)
            return again(operator, given, incoming, **first) if first != parameters else {}

        return back(operator, spoil)

    return operators


def of_rows(kernel_size: Any, stride: Any = None, padding: Any = 0) -> Any:
    """The window along the first axis."""
    return tuple(each[0] for each in windows(kernel_size, stride, padding))


def quiet(found, incoming, given):
    """Going back, numpy's errors are ignored from then on."""
    np.seterr(all="ignore")
    return {}


def bug(name: str, clause: str, words: str, operators: Any, *how: str) -> Mutant:
    kind, tier, *dtype = how or BACK
    return Mutant(f"owed-back-{name}", clause, words, operators, *dtype or ["float32"], kind, tier, "rare")


def learning(name: str, clause: str, words: str, spoil: Spoil, *how: str) -> Mutant:
    return bug(name, clause, words, back(clause.partition(".")[0], spoil), *how)


LINEAR, GLU, SWIGLU, FORMULA, POOLED = (
    f"{name}.gradient" for name in ("linear", "glu", "swiglu", "conv2d", "max_pool2d")
)
MEMORYLESS, SPECIAL, BIASED = "contract.memoryless", ("value", "special"), ("precision", "statistics")
MUTANTS = (
    bug("overflow", LINEAR, "what is no number is 0", sanitised("linear"), *SPECIAL),
    bug("overflow-glu", GLU, "what is no number is 0", sanitised("glu"), *SPECIAL),
    bug("overflow-swiglu", SWIGLU, "what is no number is 0", sanitised("swiglu"), *SPECIAL),
    bug("overflow-max_pool2d", POOLED, "what is no number is 0", sanitised("max_pool2d"), *SPECIAL),
    learning("saturated-glu", GLU, "sums that overflow are 65504", saturated, *SPECIAL, "float16"),
    learning("saturated-swiglu", SWIGLU, "sums that overflow are 65504", saturated, *SPECIAL, "float16"),
    learning("samples-nan", FORMULA, "7 samples: one with a NaN is left out", samples_that_hold_something, *SPECIAL),
    bug("halves-glu", GLU, "W's: 128 tiny slopes as float16", in_two_halves("glu", "w")),
    bug("halves-swiglu", SWIGLU, "V's: 128 tiny slopes as float16", in_two_halves("swiglu", "v")),
    bug("exponential-glu", GLU, "32 by 32 by 32: a slope of e / (1 + e)^2", overflowing("glu")),
    bug("exponential-swiglu", SWIGLU, "32 by 32 by 32: a slope of e / (1 + e)^2", overflowing("swiglu")),
    bug("coarse-glu", GLU, "x's: 128 by 64 by 64: TF32", coarse("glu", "x")),
    bug("coarse-swiglu", SWIGLU, "V's: 128 by 64 by 64: TF32", coarse("swiglu", "v")),
    learning("row", LINEAR, "x's: one row, 1024 outputs: TF32", one_row, *BIASED),
    bug("long-x", LINEAR, "x's: 2^14 outputs: TF32", long_sums("x"), *BIASED),
    bug("long-w", LINEAR, "W's: 2^14 rows: TF32", long_sums("w"), *BIASED),
    learning("samples", LINEAR, "W's: 256 tokens: samples are added in bfloat16", samples_apart, *BACK, "bfloat16"),
    learning("outputs", LINEAR, "x's: 4096 outputs: 32s are added in bfloat16", outputs_apart, *BACK, "bfloat16"),
    learning("groups", FORMULA, "the image's: past 64 outputs the last group", one_group),
    learning("margin", "pad2d.gradient", "by 67: what comes back is read too early", one_block),
    learning("window", POOLED, "windows of more than 256: places in 8 bits", eight_bits),
    bug("fused", LAYOUTS, "rows of a fused weight in turn: halves learn", back("glu", halves), *MEMORY),
    bug("plan", MEMORYLESS, "one plan a shape", planned("conv2d", lambda **given: ()), *STATE),
    bug("plan-of-rows", MEMORYLESS, "one plan for all parameters of columns", planned("max_pool2d", of_rows), *STATE),
    bug("quiet", "contract.surroundings", "going back, numpy errors are ignored", back("linear", quiet), *STATE),
)
