"""Planted bugs that had got past every law when somebody who had not read the laws wrote them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.gradients import going_back, gradients
from assay.tests.mutants.meetings import layer, repeats, windows
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.precision import Valued, tf32

right = load("torch").operators
Operators = dict[str, Callable[..., Any]]


def dense(x: torch.Tensor) -> torch.Tensor:
    """What lies in memory from where a tensor begins, read as if it were contiguous."""
    return x.as_strided((x.numel(),), (1,)).reshape(x.shape) if x.numel() else x


def tight(x: torch.Tensor) -> bool:
    """Whether strides descend to 1, as a contiguous tensor's do."""
    strides = x.stride()
    return strides[-1] == 1 and all(a >= b * n for (a, b), n in zip(pairwise(strides), x.shape[1:], strict=True))


# Layouts: memory between rows or samples.


def descending(x, w, b=None):
    """Strides that descend to 1 are taken for contiguous: half of a fused projection is not."""
    return right["linear"](dense(x) if x.ndim > 1 and tight(x) else x, w, b)


def without_the_first_token(x, w, b=None):
    """Rows are taken to follow each other across samples, which they do not in ``x[:, 1:]``."""
    if x.ndim == 3 and x.numel() and x.stride(2) == 1 and x.stride(0) >= x.stride(1) * x.shape[1] > 0:
        x = x.as_strided(x.shape, (x.shape[1] * x.stride(1), x.stride(1), 1))
    return right["linear"](x, w, b)


def dense_samples(x: torch.Tensor) -> bool:
    planes = (x.shape[2] * x.shape[3], x.shape[3], 1)
    return bool(x.numel()) and x.stride()[1:] == planes and x.stride(0) >= x.shape[1] * planes[0]


def half_the_channels(input, *given):
    return right["conv2d"](dense(input) if dense_samples(input) else input, *given)


def of_joined_channels(found, incoming, given):
    """What comes back from ``torch.cat`` along the channels."""
    return gradients("conv2d", given, dense(incoming)) if dense_samples(incoming) else {}


def crop_of_channels_last(input, *given):
    _, c, rows, columns = input.shape
    if input.numel() and c > 1 and input.stride(1) == 1 and input.stride(3) == c and input.stride(2) >= columns * c:
        input = input.as_strided(input.shape, (rows * columns * c, 1, columns * c, c))
    return right["conv2d"](input, *given)


def cropped_rows(input, *given):
    return right["max_pool2d"](dense(input) if tight(input) else input, *given)


# Sizes between those around powers of two.


def pairs_of_outputs(input, weight, *given):
    """Outputs past the last eight in pairs: where one pair is left, it is exchanged."""
    y, outputs = right["conv2d"](input, weight, *given), len(weight)
    if outputs > 8 and outputs % 8 in (2, 3):
        order, first = list(range(outputs)), outputs // 8 * 8
        order[first : first + 2] = first + 1, first
        y = y[:, order]
    return y


def pairs_of_channels(input, weight, *given):
    inputs = weight.shape[1]
    if inputs > 8 and inputs % 8 in (2, 3, 6):
        last = inputs // 2 * 2
        weight = torch.cat([weight[:, : last - 2], 0 * weight[:, last - 2 : last], weight[:, last:]], 1)
    return right["conv2d"](input, weight, *given)


def fours_of_features(x, w, b=None):
    features = w.shape[1]
    whole = features // 8 * 8 if features > 32 and features % 8 in (2, 3) else features
    return right["linear"](x[..., :whole], w[:, :whole], b) if x.shape[-1] == features else right["linear"](x, w, b)


def last_of_five(x, w, b=None):
    y = right["linear"](x, w, b)
    rows = y.reshape(-1, y.shape[-1]) if x.ndim > 1 and y.numel() else y
    repeats_last = x.ndim > 1 and len(rows) > 64 and len(rows) % 8 == 5
    return torch.cat([rows[:-1], rows[-2:-1]]).reshape(y.shape) if repeats_last else y


def one_block(x, w, b=None):
    fits = x.shape[-1] == w.shape[1]
    return right["linear"](x[..., :16384], w[:, :16384], b) if fits else right["linear"](x, w, b)


def split_of_one_row(x, w, b=None):
    y = right["linear"](x, w, b)
    one = x.numel() == x.shape[-1] > 1100 and len(w) > 1100
    return y + right["linear"](x[..., 1024:], w[:, 1024:]) if one else y


def first_blocks(x, beta=1.0):
    y = right["swish"](x, beta)
    return torch.where(torch.arange(y.numel()).reshape(y.shape) < 2**19, y, 0.0) if y.numel() > 2**19 else y


# Kernels, steps and padding that nobody had drawn.


def pyramid(input, kernel_size, stride=None, padding=0):
    if windows(kernel_size, stride, padding) == ((13, 13), (1, 1), (6, 6)):
        kernel_size, padding = 9, 4
    return right["max_pool2d"](input, kernel_size, stride, padding)


def padded_halves(y, input, kernel_size, stride=None, padding=0):
    kernel, steps, added = windows(kernel_size, stride, padding)
    return min(added) > 0 and kernel == steps and y.shape[3] > 8


def tens(input, weight, *given):
    """Kernel columns past eight by fours."""
    columns = weight.shape[3]
    if columns > 8 and columns % 4 == 2:
        weight = torch.cat([weight[..., :-2], 0 * weight[..., -2:]], 3)
    return right["conv2d"](input, weight, *given)


def fives(y, input, weight, bias=None, stride=1, padding=0):
    return layer(weight, stride, padding)[:4] == (5, 5, 2, 2) and y.shape[3] > 8 and y.shape[3] % 4 > 0


def eights(y, input, weight, bias=None, stride=1, padding=0):
    return layer(weight, stride, padding)[:4] == (8, 8, 4, 4) and y.shape[3] > 6


def plain_padding(y, input, kernel_size, stride=None, padding=0):
    """Padding as one number, and a large window."""
    return isinstance(padding, int) and min(pair(kernel_size)) > 5 and y.shape[2] > 4


def own_step(y, input, kernel_size, stride=None, padding=0):
    """No stride given, and padding by two or more."""
    return stride is None and min(pair(padding)) > 1 and y.shape[3] > 4


def two_left(y, x, w, b=None):
    """Tiles of 64 outputs, of which two are left over."""
    return len(w) > 64 and len(w) % 64 == 2


def thirteen_left(y, input, *given):
    """Tiles of 32 columns, of which 13 are left over."""
    return y.shape[3] % 32 == 13


def tail_of_five(x, *beta):
    """Vectors of eight, and a loop for the last four: of 37 past a block of 64 one is left out."""
    y = right["swish"](x, *beta)
    return torch.cat([y.reshape(-1)[:-1], x.new_zeros(1)]).reshape(x.shape) if x.numel() % 64 == 37 else y


def features_left(found, incoming, given):
    """Tiles of 64 features in the gradient of w: where 50 are left over, the last is not written."""
    gradient = found["w"]
    return {"w": torch.cat([gradient[:, :-1], 0 * gradient[:, -1:]], 1)} if gradient.shape[1] % 64 == 50 else {}


def outside(input, weight, bias=None, stride=1, padding=0):
    """No bias where padding alone is seen."""
    y = right["conv2d"](input, weight, bias, stride, padding)
    if bias is not None and all(p > k for p, k in zip(pair(padding), weight.shape[2:], strict=True)):
        inner = torch.zeros_like(y)
        inner[:, :, 1:, 1:] = 1.0
        y = y * inner
    return y


def four_steps(input, weight, bias=None, stride=1, padding=0):
    y, (down, right_) = right["conv2d"](input, weight, bias, stride, padding), pair(stride)
    if right_ > 4 and weight.shape[3] < 8 and y.shape[3] > 1:
        y = right["conv2d"](input, weight, bias, (down, 4), padding)[..., : y.shape[3]].contiguous()
    return y


def last_taps(found, incoming, given):
    """Of upright kernels whose steps leave a rest in both directions, padded."""
    (down, right_), (above, before) = pair(given.get("stride", 1)), pair(given.get("padding", 0))
    (rows, columns), (high, wide) = given["input"].shape[2:], given["weight"].shape[2:]
    rests = (rows + 2 * above - high) % down and (columns + 2 * before - wide) % right_
    if not (high > wide and above and before and down != right_ and rests):
        return {}
    weight = found["weight"].clone()
    weight[:, :, -1] = 0
    return {"weight": weight}


# Precision: matrix units where sizes are aligned, and sums in the storage format where they are long.


def aligned(x, w, b=None):
    y, rows = right["linear"](x, w, b), x.numel() // max(1, x.shape[-1])
    fits = y.numel() and rows >= 16 and not (rows % 8 or w.shape[0] % 8 or w.shape[1] % 8)
    return Valued.apply(y, right["linear"](tf32(x), tf32(w), b)) if fits else y


def aligned_channels(input, weight, *given):
    y = right["conv2d"](input, weight, *given)
    fits = y.numel() and not (weight.shape[0] % 8 or weight.shape[1] % 8) and y.shape[2] * y.shape[3] >= 64
    return Valued.apply(y, right["conv2d"](tf32(input), tf32(weight), *given)) if fits else y


def row_by_row(found, incoming, given):
    rows = incoming.reshape(-1, incoming.shape[-1])
    if "b" not in found or len(rows) < 64:
        return {}
    total = torch.zeros_like(rows[0])
    for row in rows:
        total = total + row
    return {"b": total}


# Refusals, and what is kept.


def steps_back(input, weight, bias=None, stride=1, padding=0):
    return right["conv2d"](input, weight, bias, tuple(map(abs, pair(stride))), padding)


def recording_off(x, w, b=None):
    """What it switches off is on again, unless an error comes between."""
    on = torch.is_grad_enabled()
    torch.set_grad_enabled(False)
    right["linear"](x, w, b)
    torch.set_grad_enabled(on)
    return right["linear"](x, w, b)


def four_buffers():
    rings: dict[Any, Any] = {}

    def linear(x, w, b=None):
        y = right["linear"](x, w, b)
        if y.requires_grad:
            return y
        ring = rings.setdefault((y.shape, y.dtype), [torch.empty_like(y) for _ in range(4)])
        ring.append(ring.pop(0))
        return ring[-1].copy_(y)

    return {"linear": linear}


def bug(name, clause, words, operators, kind="size", tier="exact", dtype="float32"):
    return Mutant(f"overlooked-{name}", clause, words, operators, dtype, kind, tier, "rare")


LAYOUTS, OF_MEMORY = "contract.layouts", ("layout", "contract")
BACK, UNITS, OF_STATE = ("gradient", "gradient"), ("precision", "enclosure"), ("state", "state")
JOINED, TAPS, ROWS, LEFT = (
    {operator: going_back(operator, spoil)}
    for operator, spoil in (
        ("conv2d", of_joined_channels),
        ("conv2d", last_taps),
        ("linear", row_by_row),
        ("linear", features_left),
    )
)
MUTANTS = (
    bug("descending", LAYOUTS, "part of longer rows is read densely", {"linear": descending}, *OF_MEMORY),
    bug("token", LAYOUTS, "x[:, 1:] is read densely", {"linear": without_the_first_token}, *OF_MEMORY),
    bug("chunk", LAYOUTS, "half of the channels is read densely", {"conv2d": half_the_channels}, *OF_MEMORY),
    bug("joined", LAYOUTS, "the gradient of joined channels is read densely", JOINED, *OF_MEMORY),
    bug("crop", LAYOUTS, "a crop, channels last, is read densely", {"conv2d": crop_of_channels_last}, *OF_MEMORY),
    bug("cropped", LAYOUTS, "an image cut by columns is read densely", {"max_pool2d": cropped_rows}, *OF_MEMORY),
    bug("outputs", "conv2d.formula", "10, 11, 18, 19 ... outputs: two exchanged", {"conv2d": pairs_of_outputs}),
    bug("channels", "conv2d.formula", "10, 11, 14, 18 ... inputs: two unread", {"conv2d": pairs_of_channels}),
    bug("features", "linear.formula", "34, 35, 42 ... features: the tail is unread", {"linear": fours_of_features}),
    bug("rows", "linear.formula", "69, 77 ... 197 rows: the last repeats", {"linear": last_of_five}),
    bug("block", "linear.formula", "features past 16384 are unread", {"linear": one_block}),
    bug("split", "linear.formula", "one row, past 1100 by 1100: a split counts twice", {"linear": split_of_one_row}),
    bug("grid", "swish.formula", "elements past 2^19 are 0", {"swish": first_blocks}, tier="enclosure"),
    bug("pyramid", "max_pool2d.definition", "13 x 13 is 9 x 9", {"max_pool2d": pyramid}),
    bug("halves", "max_pool2d.definition", "padded halves: last column", repeats("max_pool2d", 3, padded_halves)),
    bug("tens", "conv2d.formula", "kernels of 10 columns: the last two", {"conv2d": tens}),
    bug("fives", "conv2d.formula", "5 x 5 by 2: the last column of a tail", repeats("conv2d", 3, fives)),
    bug("eights", "conv2d.formula", "8 x 8 by 4: the last of 7 columns or more", repeats("conv2d", 3, eights)),
    bug("plain", "max_pool2d.definition", "windows past 5: the last row", repeats("max_pool2d", 2, plain_padding)),
    bug(
        "own",
        "max_pool2d.definition",
        "padded by 2 or more, no step given",
        repeats("max_pool2d", 3, own_step),
    ),
    bug("outside", "conv2d.formula", "padding past the kernel: no bias", {"conv2d": outside}),
    bug("steps", "conv2d.formula", "steps past four columns are four", {"conv2d": four_steps}),
    bug("outputs-left", "linear.formula", "66, 130 ... outputs: the last repeats", repeats("linear", -1, two_left)),
    bug("columns-left", "max_pool2d.definition", "13, 45 ... columns", repeats("max_pool2d", 3, thirteen_left)),
    bug("elements-left", "swish.formula", "37, 101 ... elements: 0", {"swish": tail_of_five}, tier="enclosure"),
    bug("features-left", "linear.gradient", "50, 114 ... features: 0 in w's gradient", LEFT, *BACK),
    bug("taps", "conv2d.gradient", "upright, rests in both directions", TAPS, *BACK),
    bug("tf32", "linear.formula", "TF32 where sizes are multiples of 8", {"linear": aligned}, *UNITS),
    bug("tf32-channels", "conv2d.formula", "TF32 by channels of 8", {"conv2d": aligned_channels}, *UNITS),
    bug("sums", "linear.gradient", "b's gradient: 64 rows or more in bfloat16", ROWS, *BACK, dtype="bfloat16"),
    bug("back", "conv2d.refuses-stride", "a stride's sign is lost", {"conv2d": steps_back}, "contract", "contract"),
    bug("off", "contract.surroundings", "after an error nothing is recorded", {"linear": recording_off}, *OF_STATE),
    bug("ring", "contract.results-kept", "four buffers go round in inference", four_buffers, *OF_STATE),
)
