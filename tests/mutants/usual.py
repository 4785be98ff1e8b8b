"""Planted bugs of layers as networks have them, each for a law that had none of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.tests.mutants.dispatched import BACK, STATE, back
from assay.tests.mutants.gradients import again, gate
from assay.tests.mutants.lasting import count
from assay.tests.mutants.meetings import windows
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import Operators, valued
from assay.tests.mutants.precision import tf32, wide
from assay.tests.mutants.state import by_shape

right = load("torch").operators


def eights(rows: int, w: torch.Tensor) -> bool:
    """16 to 64 rows, and features and outputs by eights."""
    return w.dtype == torch.float32 and 16 <= rows <= 64 and not any(size % 8 for size in w.shape)


def through_tf32(operator: str) -> Operators:
    """Such layers: x's gradient is that of a TF32 weight."""

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        w = given["w"]
        return {"x": again(operator, given, incoming, w=tf32(w))["x"]} if eights(count(incoming), w) else {}

    return back(operator, spoil)


def coarse_bias(operator: str, name: str) -> Operators:
    """64 rows and up to two outputs: this bias learns from TF32."""

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        narrow = name in found and found[name].dtype == torch.float32 and len(found[name]) <= 2
        return {name: again(operator, given, tf32(incoming))[name]} if narrow and len(incoming) >= 64 else {}

    return back(operator, spoil)


def others_as_stored(y, x, w, v, *biases):
    """Square weights that are stored turned, and x in order: from 16 rows on V is read as stored."""
    outputs, features = w.shape
    turned = outputs == features > 1 and w.stride() == v.stride() == (1, outputs) and x.is_contiguous()
    return right["swiglu"](x, w, v.T, *biases) if turned and count(x) >= 16 else y


def last_output(y, x, w, v, *biases):
    """Tiles of 64 outputs, of which 43 are left over: the last is 0."""
    if y.numel() and len(w) % 64 == 43:
        y[..., -1] = 0
    return y


def other_kernels(y, input, weight, bias=None, stride=1, padding=0):
    """Kernels that are neither 1 x 1 nor 3 x 3, channels by eights: TF32."""
    outputs, inputs, *kernel = weight.shape
    if kernel in ([1, 1], [3, 3]) or outputs % 8 or inputs % 8 or input.dtype != torch.float32:
        return y
    return right["conv2d"](tf32(input), tf32(weight), bias, stride, padding)


def last_slopes(found, incoming, given):
    """Tiles of 64 columns, of which 61 are left over: the last column's slopes are lost."""
    if incoming.shape[3] % 64 != 61:
        return {}
    kept = incoming.clone()
    kept[..., -1] = 0
    return {"input": again("max_pool2d", given, kept)["input"]}


def overwritten(found, incoming, given):
    """5 x 5 by 1, padded by 2, 8 planes and more: of the windows of one element the last one's slope is left."""
    input, how = given["input"], windows(given["kernel_size"], given.get("stride"), given.get("padding") or 0)
    if how != ((5, 5), (1, 1), (2, 2)) or input.shape[1] < 8:
        return {}
    places = F.max_pool2d(input, *how, return_indices=True)[1].flatten(2)
    into = torch.zeros_like(input).flatten(2)
    for k in range(places.shape[2]):
        into.scatter_(2, places[..., k : k + 1], incoming.flatten(2)[..., k : k + 1])
    return {"input": into.view_as(input)}


def added_in_16_bits(found, incoming, given):
    """1024 to 4096 elements: four at a time, added in beta's dtype."""
    beta = found.get("beta")
    if beta is None or beta.dtype not in (torch.float16, torch.bfloat16) or not 1024 <= incoming.numel() < 4096:
        return {}
    x, _, s = gate(given)
    total = torch.zeros_like(beta)
    for block in (wide(incoming) * wide(x) ** 2 * wide(s) * (1 - wide(s))).flatten().split(4):
        total += block.sum().to(total.dtype)
    return {"beta": total}


def worn() -> Operators:
    """From the 90th call of a small shape on the last result is one more."""
    calls: Counter[Any] = Counter()

    def change(y: Any, input: Any, *how: Any) -> Any:
        calls[by_shape(input, *how)] += 1
        if 0 < input.numel() <= 1000 and calls[by_shape(input, *how)] >= 90:
            y.view(-1)[-1:] += 1.0
        return y

    return valued("max_pool2d", change)


def bug(name: str, clause: str, words: str, operators: Any, kind: str, tier: str, dtype: str = "float32") -> Mutant:
    return Mutant(f"usual-{name}", clause, words, operators, dtype, kind, tier, "rare")


def wrong(name: str, clause: str, words: str, change: Callable[..., Any], *how: str) -> Mutant:
    return bug(name, clause, words, valued(clause.partition(".")[0], change), *how)


def learning(name: str, clause: str, words: str, spoil: Callable[..., Any], *how: str) -> Mutant:
    return bug(name, clause, words, back(clause.partition(".")[0], spoil), *(how or BACK))


LINEAR, GLU, SWIGLU, CONV2D = (f"{name}.gradient" for name in ("linear", "glu", "swiglu", "conv2d"))
POOLED, SIZE, UNITS = "max_pool2d.gradient", ("size", "enclosure"), ("precision", "enclosure")
MUTANTS = (
    bug("linear-weight", LINEAR, "x's: 16 rows by eights: W is TF32", through_tf32("linear"), *BACK),
    bug("glu-weight", GLU, "x's: 16 rows by eights: W is TF32", through_tf32("glu"), *BACK),
    bug("swiglu-weight", SWIGLU, "x's: 16 rows by eights: W is TF32", through_tf32("swiglu"), *BACK),
    bug("linear-bias", LINEAR, "b's: 64 rows, two outputs: TF32", coarse_bias("linear", "b"), *BACK),
    bug("glu-bias", GLU, "c's: 64 rows, two outputs: TF32", coarse_bias("glu", "c"), *BACK),
    bug("swiglu-bias", SWIGLU, "b's: 64 rows, two outputs: TF32", coarse_bias("swiglu", "b"), *BACK),
    bug("conv2d-bias", CONV2D, "64 samples, two outputs: TF32", coarse_bias("conv2d", "bias"), *BACK),
    wrong("stored", "swiglu.formula", "square weights, turned: V as stored", others_as_stored, *SIZE),
    wrong("output", "swiglu.formula", "43 outputs past tiles of 64: the last is 0", last_output, *SIZE),
    wrong("conv2d", "conv2d.formula", "neither 1 x 1 nor 3 x 3, by eights: TF32", other_kernels, *UNITS),
    learning("column", POOLED, "61 columns past tiles of 64: the last", last_slopes),
    learning("pooled", POOLED, "5 x 5 by 1, 8 planes: slopes overwrite others", overwritten),
    learning("beta", "swish.beta-learned", "1024 elements: fours in bfloat16", added_in_16_bits, *BACK, "bfloat16"),
    bug("worn", "contract.memoryless", "the 90th call of a small shape: one more", worn, *STATE),
)
