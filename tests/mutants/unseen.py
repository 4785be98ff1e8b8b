"""Planted bugs that ask for unusual inputs: wide layers, padded batches, weights of zeros, sizes that are multiples.

Somebody who had read the laws wrote them, and no law had seen them.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.dispatched import BACK, back
from assay.tests.mutants.gradients import again, branches, rows
from assay.tests.mutants.lasting import count
from assay.tests.mutants.meetings import layer
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import valued
from assay.tests.mutants.precision import tf32

right = load("torch").operators
HALVES = (torch.float16, torch.bfloat16)
POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)


# Wide layers.


def split_by_rows(found, incoming, given):
    """128 rows, W of 64 x 64: W's is summed by 64 rows, and the parts are added in the dtype."""
    w = given["w"]
    if w.dtype not in HALVES or min(w.shape) < 64 or count(incoming) < 128 or "w" not in found:
        return {}
    total = torch.zeros_like(w)
    for part, its in zip(rows(incoming).split(64), rows(given["x"]).split(64), strict=True):
        total += part.T @ its
    return {"w": total}


def tiles_of_outputs(found, incoming, given):
    """16 rows, 64 outputs: x's is added up by 32 outputs, in the dtype."""
    w, v = given["w"], given["v"]
    if w.dtype not in HALVES or len(w) < 64 or count(incoming) < 16:
        return {}
    z, s, r = branches(given)
    of_gates, others = incoming * r * s * (1 + z * (1 - s)), incoming * z * s
    total = torch.zeros_like(given["x"])
    for k in range(0, len(w), 32):
        part = slice(k, k + 32)
        total += of_gates[..., part] @ w[part] + others[..., part] @ v[part]
    return {"x": total}


def gates_in_tiles(found, incoming, given):
    """128 rows, V of 64 x 64: V's is summed by 32 rows, and the parts are added in the dtype."""
    v = given["v"]
    if v.dtype not in HALVES or min(v.shape) < 64 or count(incoming) < 128:
        return {}
    terms, total = rows(incoming * branches(given)[1]), torch.zeros_like(v)
    for part, its in zip(terms.split(32), rows(given["x"]).split(32), strict=True):
        total += part.T @ its
    return {"v": total}


def many_channels_back(found, incoming, given):
    """64 inputs and outputs, 3 x 3: what comes back to the image is TF32."""
    outputs, inputs, *kernel = given["weight"].shape
    if incoming.dtype != torch.float32 or min(outputs, inputs) < 64 or kernel != [3, 3]:
        return {}
    return {"input": again("conv2d", given, tf32(incoming))["input"]}


def tf32_of(operator: str, tokens: int, size: int) -> Any:
    """From so many rows, and features and outputs of that size on: TF32 operands."""

    def change(y, x, w, *others):
        if x.dtype != torch.float32 or min(w.shape) < size or count(x) < tokens:
            return y
        weights = [tf32(t) if t is not None and t.dim() == 2 else t for t in others]
        return right[operator](tf32(x), tf32(w), *weights)

    return valued(operator, change)


def vandermonde(columns: int) -> torch.Tensor:
    """Powers of the points, the last of which is at infinity."""
    powers = [[point**k for k in range(columns)] for point in POINTS]
    return torch.tensor([*powers, [0.0] * (columns - 1) + [1.0]], dtype=torch.float64)


def minimal_filtering(y, input, weight, bias=None, stride=1, padding=0):
    """64 to 64 channels, 3 x 3, images of 14 x 14: Winograd's F(6 x 6, 3 x 3), undeclared."""
    *how, above, before = layer(weight, stride, padding)
    if how != [3, 3, 1, 1] or above != before or min(weight.shape[:2]) < 64 or min(input.shape[2:]) < 14:
        return y
    if input.dtype != torch.float32:
        return y
    (height, width), image = y.shape[2:], torch.linalg.inv(vandermonde(8)).T.float()
    kernel, result = vandermonde(3).float(), vandermonde(6).T.float()
    down, across = -(-height // 6), -(-width // 6)
    ends = 6 * across + 2 - input.shape[3] - before, 6 * down + 2 - input.shape[2] - above
    x = F.pad(input, (before, ends[0], above, ends[1])).unfold(2, 8, 6).unfold(3, 8, 6)
    seen = torch.einsum("ocij,nctuij->notuij", kernel @ weight @ kernel.T, image @ x @ image.T)
    tiles = (result @ seen @ result.T).permute(0, 1, 2, 4, 3, 5)
    found = tiles.reshape(*y.shape[:2], 6 * down, 6 * across)[:, :, :height, :width]
    return found if bias is None else found + bias[:, None, None]


# Values.


def saturated(found, incoming, given):
    """Finite sums that overflow the dtype are its largest number."""
    most = torch.finfo(incoming.dtype).max
    finite = all(
        t is None or not isinstance(t, torch.Tensor) or t.isfinite().all() for t in (incoming, *given.values())
    )
    return {name: each.clamp(-most, most) for name, each in found.items()} if finite else {}


def pruned(y, x, w, *others):
    """From 16 features on, outputs without a weight are left out: they are the bias."""
    dead = (w == 0).all(1)
    if w.shape[1] < 16 or dead.all() or x.requires_grad:
        return y
    return torch.where(dead, right["linear"](torch.zeros_like(x), w, *others), y)


def pruned_gates(y, x, w, v, *others):
    """From 16 features on, outputs that have no weights but zeros are what their biases give."""
    dead = ((w == 0) & (v == 0)).all(1)
    if w.shape[1] < 16 or dead.all():
        return y
    return torch.where(dead, right["swiglu"](torch.zeros_like(x), w, v, *others), y)


def crowded_rows(operator: str) -> Any:
    """A sparse x has room for four times as many numbers in a row as rows have on average; the rest is left out."""

    def change(y, x, *others):
        if x.dim() < 2 or not x.numel():
            return y
        there = x != 0
        mean = float(there.sum()) / count(x)
        if not 0 < mean <= x.shape[-1] / 4:
            return y
        return right[operator](torch.where(there.cumsum(-1) <= max(8, int(4 * mean)), x, 0.0), *others)

    return valued(operator, change)


def beside_a_nan(found, incoming, given):
    """The largest of a window is sought again, and a NaN is not larger than anything."""
    input = given["input"]
    return again("max_pool2d", given, incoming, input=torch.where(input.isnan(), float("-inf"), input))


def from_the_first(found, incoming, given):
    """Where a window that padding cuts above or before holds -inf alone, its gradient goes to the plane's first."""
    input, how = given["input"], [given.get(name) for name in ("kernel_size", "stride", "padding")]
    y = right["max_pool2d"](input, how[0], how[1], how[2] or 0)
    step, added = pair(how[1] or how[0]), pair(how[2] or 0)
    outside = [torch.arange(n) * by < most for n, by, most in zip(y.shape[2:], step, added, strict=True)]
    lost = (y == float("-inf")) & (outside[0][:, None] | outside[1])
    kept = again("max_pool2d", given, torch.where(lost, 0.0, incoming))["input"]
    kept[..., 0, 0] += torch.where(lost, incoming, 0.0).sum((2, 3))
    return {"input": kept}


# Sizes.


def started_in_the_loop(x, w, *biases):
    """Of no features the result is 0: the bias is added with the first one."""
    y = right["linear"](x, w, *biases)
    return y if x.shape[-1] else y * 0


def gates_of_nothing(operator):
    """Of no features the result is 0, whatever the biases."""

    def gated(x, *given):
        y = right[operator](x, *given)
        return y if x.shape[-1] else y * 0

    return {operator: gated}


def gates_of_multiples(operator):
    """Rows are as long as the weight's, and the last axis is what is left."""

    def gated(x, w, *given):
        times = x.shape[-1] // max(1, w.shape[1]) if x.dim() else 0
        if times < 2 or x.shape[-1] % w.shape[1]:
            return right[operator](x, w, *given)
        return right[operator](x.reshape(-1, w.shape[1]), w, *given).reshape(*x.shape[:-1], times * len(w))

    return {operator: gated}


def linear_of_multiples(x, w, b=None):
    """The same, where there is a bias."""
    times = x.shape[-1] // max(1, w.shape[1]) if x.dim() else 0
    if b is None or times < 2 or x.shape[-1] % w.shape[1]:
        return right["linear"](x, w, b)
    return right["linear"](x.reshape(-1, w.shape[1]), w, b).reshape(*x.shape[:-1], times * len(w))


def one_block_of_margin(y, x, padding):
    """A margin is written by one block of 64 columns: the next are what memory held."""
    if padding > 66:
        y[..., 64:padding] = 1.0
    return y


def bug(name, clause, words, operators, kind="size", tier="exact", dtype="float32"):
    return Mutant(f"unseen-{name}", clause, words, operators, dtype, kind, tier, "rare")


def learning(name, clause, words, operator, spoil, *how):
    return bug(name, clause, words, back(operator, spoil), *(how or BACK))


FORMULA, ENCLOSURE, SPECIAL = "linear.formula", ("precision", "enclosure"), ("value", "special")
GRADIENT, POOLED = "linear.gradient", "max_pool2d.gradient"
MUTANTS = (
    learning("rows", GRADIENT, "W of 64 x 64: parts of 64 rows", "linear", split_by_rows, *BACK, "bfloat16"),
    learning("outputs", "swiglu.gradient", "x's: parts of 32 outputs", "swiglu", tiles_of_outputs, *BACK, "float16"),
    learning("others", "glu.gradient", "V's: parts of 32 rows", "glu", gates_in_tiles, *BACK, "bfloat16"),
    learning("channels", "conv2d.gradient", "64 by 64 channels: TF32 comes back", "conv2d", many_channels_back),
    learning("saturated", GRADIENT, "sums that overflow are 65504", "linear", saturated, *SPECIAL, "float16"),
    learning("clipped", "conv2d.gradient", "sums that overflow are 65504", "conv2d", saturated, *SPECIAL, "float16"),
    bug("pruned", "linear.special", "no weights: a NaN is not seen", valued("linear", pruned), *SPECIAL),
    bug("gates", "swiglu.special", "no weights: a NaN is not seen", valued("swiglu", pruned_gates), *SPECIAL),
    bug("padded", FORMULA, "a sparse batch: full rows are cut", crowded_rows("linear"), "value", "enclosure"),
    bug("tokens", "glu.formula", "a sparse batch: full rows are cut", crowded_rows("glu"), "value", "enclosure"),
    learning("nan", POOLED, "a NaN's gradient goes beside it", "max_pool2d", beside_a_nan, *SPECIAL),
    learning("masked", f"{POOLED}-ties", "-inf at the border: to the first", "max_pool2d", from_the_first),
    bug("body", "conv2d.formula", "64 channels, 14 x 14: Winograd", valued("conv2d", minimal_filtering), "precision"),
    bug("tf32", "swiglu.formula", "128 by 512 by 512: TF32", tf32_of("swiglu", 128, 512), *ENCLOSURE),
    bug("cube", FORMULA, "a thousand cubed: TF32", tf32_of("linear", 1024, 1024), *ENCLOSURE),
    bug("empty", "linear.bias", "no features: no bias", {"linear": started_in_the_loop}),
    bug("nothing", "glu.biases", "no features: no biases", gates_of_nothing("glu"), "size", "enclosure"),
    bug(
        "folded",
        "linear.refuses-sizes",
        "a bias, and twice the features",
        {"linear": linear_of_multiples},
        "size",
        "contract",
    ),
    bug("multiples", "swiglu.refuses-sizes", "twice the features", gates_of_multiples("swiglu"), "size", "contract"),
    bug("margin", "pad2d.zeros", "padding by 67: columns of ones", valued("pad2d", one_block_of_margin)),
)
