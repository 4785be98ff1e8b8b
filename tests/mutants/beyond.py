"""Planted bugs beyond the sizes that had been asked about: of 72 kernels by two who had not read the laws, 26 lived."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.dispatched import BACK, LAYOUTS, MEMORY, back, recorded
from assay.tests.mutants.gradients import Named, again
from assay.tests.mutants.imaging import framed
from assay.tests.mutants.meetings import windows
from assay.tests.mutants.mutant import Mutant, Operators
from assay.tests.mutants.networks import MEMORYLESS, last, valued

right = load("torch").operators


def learning(given: Named) -> set[str]:
    """The tensors whose gradients are asked for."""
    return {name for name, each in given.items() if isinstance(each, torch.Tensor) and each.requires_grad}


# Matrices.


def whole_blocks(x, w, b=None):
    """One row, weights stored by columns, no bias: features in blocks of 512, of which the last is left out."""
    outputs, features = w.shape
    if x[..., 0].numel() != 1 or b is not None or features <= 512 or outputs == 1 or w.stride() != (1, outputs):
        return right["linear"](x, w, b)
    whole = features // 512 * 512
    return F.linear(x[..., :whole], w[:, :whole])


def whole_chunks(found, incoming, given):
    """A first layer without bias: rows in chunks of 4096, of which the last is left out."""
    x, rows = given["x"], incoming[..., 0].numel() // 4096 * 4096
    if learning(given) != {"w"} or not rows or given.get("b") is not None:
        return {}
    return {"w": incoming.flatten(0, -2)[:rows].T @ x.flatten(0, -2)[:rows]}


def grid_of_samples(y, x, *given):
    if x.dim() == 3 and x.shape[1] > 1:
        y[65535:] = 0
    return y


def by_address(found, incoming, given):
    """Gradients are kept by address: a bias of both branches has that of one."""
    b, c = given.get("b"), given.get("c")
    return {"c": torch.zeros_like(c)} if {"b", "c"} <= learning(given) and b.data_ptr() == c.data_ptr() else {}


def last_chunk_of_biases(found, incoming, given):
    """Where biases alone learn: chunks of 1024 rows, of which each writes over the one before."""
    rows = incoming[..., 0].numel()
    if learning(given) != {"b", "c"} or rows <= 1024:
        return {}
    start = (rows - 1) // 1024 * 1024
    there = {**given, "x": given["x"].flatten(0, -2)[start:]}
    return {
        name: each for name, each in again("swiglu", there, incoming.flatten(0, -2)[start:]).items() if name in "bc"
    }


def clamped(x, w, v, b=None, c=None):
    """128 rows and outputs, and more: what the exponential is given is at most 88."""
    if x[..., 0].numel() < 128 or len(w) < 128:
        return right["swiglu"](x, w, v, b, c)
    return F.silu(F.linear(x, w, b).clamp(max=88.0)) * F.linear(x, v, c)


def packed_by_version() -> Operators:
    """2^18 weights and more, frozen: packed once for each version, which writing through numpy does not raise."""
    kept: dict[Any, Any] = {}

    def swiglu(x, w, v, *biases):
        if w.numel() >= 2**18 and not recorded(w, v) and not w.is_inference():
            key = id(w), id(v), w._version, v._version, w.data_ptr()
            w, v = kept.setdefault(key, (w.clone(), v.clone(), w, v))[:2]
        return right["swiglu"](x, w, v, *biases)

    return {"swiglu": swiglu}


# Activations.


def as_silu(found, incoming, given):
    """A thousand elements and more, beta is 1 and learns alone: the way of silu, which knows no beta."""
    beta = given.get("beta")
    unlearned = learning(given) == {"beta"} and given["x"].numel() >= 1024 and bool((beta == 1).all())
    return {"beta": torch.zeros_like(beta)} if unlearned else {}


def square(found, incoming, given):
    """What comes back to a square is read as it lies, and lies turned."""
    x = given["x"]
    turned = x.dim() == 2 and len(x) == x.shape[1] >= 32 and x.is_contiguous() and incoming.stride() == (1, len(x))
    return {"x": again("swish", given, incoming.T.contiguous())["x"]} if turned else {}


def four_buffers() -> Operators:
    """Results of 2^16 elements and more, of which nothing is recorded, lie in four buffers in turn."""
    kept: dict[Any, list[Any]] = {}

    def swish(x, *beta):
        y = right["swish"](x, *beta)
        if y.numel() < 2**16 or y.requires_grad:
            return y
        buffers = kept.setdefault((y.shape, y.dtype, y.is_inference()), [])
        buffers.append(torch.empty_like(y) if len(buffers) < 4 else buffers.pop(0))
        return buffers[-1].copy_(y)

    return {"swish": swish}


# Convolutions.


def dense_rows(input, weight, bias=None, *given):
    """1 x 1, 64 channels and more: rows of a wider weight are taken to be as long as they are here."""
    outputs, inputs, *kernel = weight.shape
    wider = kernel == [1, 1] and inputs >= 64 and outputs > 1 and weight.stride(1) == 1 and weight.stride(0) > inputs
    return right["conv2d"](input, weight.as_strided(weight.shape, (inputs, 1, 1, 1)) if wider else weight, bias, *given)


def corner(y, input, weight, bias=None, stride=1, padding=0):
    """3 x 3, 64 channels and more, 4 x 4 tiles: the last one's columns are masked by the count of its rows."""
    usual = (tuple(weight.shape[2:]), pair(stride), pair(padding)) == ((3, 3), (1, 1), (1, 1))
    down, across = y.shape[2] % 4, y.shape[3] % 4
    if not usual or min(weight.shape[:2]) < 64 or not 0 < down < across:
        return y
    seen = framed(input, padding)[:, :, -down - 2 :, -across - 2 :].clone()
    seen[..., down + 1 :] = 0
    y[:, :, -down:, -across:] = F.conv2d(seen, weight, bias)
    return y


def slots(found, incoming, given):
    """One output: 32 slots of 16384 places are added up."""
    most = 2**19
    if "bias" not in found or incoming.shape[1] > 1 or incoming.numel() <= most:
        return {}
    return {"bias": incoming.flatten()[:most].sum().reshape(1)}


def taps_in_16_bits(y, input, weight, bias=None, stride=1, padding=0):
    """How far a tap lies behind the first is kept in 16 bits with a sign: who lies farther is left out."""
    (rows, columns), wide = weight.shape[2:], input.shape[3] + 2 * pair(padding)[1]
    behind = torch.arange(rows)[:, None] * wide + torch.arange(columns)
    if rows < 7 or int(behind.max()) < 2**15:
        return y
    return F.conv2d(input, torch.where(behind < 2**15, weight, 0.0), bias, stride, padding)


def ninth_tap(y, input, weight, bias=None, *given):
    """Channels last, more than 256 of them: what is left over from 32 lacks its ninth tap."""
    inputs = weight.shape[1]
    if not last(input) or tuple(weight.shape[2:]) != (3, 3) or inputs <= 256 or not inputs % 32:
        return y
    lacking = weight.clone()
    lacking[:, inputs // 32 * 32 :, 2, 2] = 0
    return F.conv2d(input, lacking, bias, *given)


def padded_copies() -> Operators:
    """Kernels of five and more: padded copies are kept by their shape, and their border is cleared once."""
    kept: dict[Any, torch.Tensor] = {}

    def conv2d(input, weight, bias=None, stride=1, padding=0):
        (down, across), (rows, columns) = pair(padding), input.shape[2:]
        if min(down, across) == 0 or max(weight.shape[2:]) < 5 or recorded(input, weight, bias):
            return right["conv2d"](input, weight, bias, stride, padding)
        made = framed(input, padding)
        copy = kept.setdefault((made.shape, made.dtype, made.is_inference()), made)
        copy[:, :, down : down + rows, across : across + columns] = input
        return F.conv2d(copy, weight, bias, stride)

    return {"conv2d": conv2d}


def one_output_padding(found, incoming, given):
    """The image's gradient alone, 3 x 3 by 2: what is left of its rows is taken from its columns."""
    rows, columns = given["input"].shape[2:]
    usual = (tuple(given["weight"].shape[2:]), pair(given["stride"]), pair(given["padding"])) == (
        (3, 3),
        (2, 2),
        (1, 1),
    )
    if learning(given) != {"input"} or not usual or given["input"].shape[1] < 16 or rows % 2 or not columns % 2:
        return {}
    lacking = found["input"].clone()
    lacking[:, :, -1] = 0
    return {"input": lacking}


def strips(found, incoming, given):
    """One channel, kernels of five rows and more: strips of 128 rows of places, each of which begins a row early."""
    if given["weight"].shape[1] > 1 or given["weight"].shape[2] < 5 or incoming.shape[2] <= 128:
        return {}
    twice = torch.zeros_like(incoming)
    twice[:, :, 127:-1:128] = incoming[:, :, 127:-1:128]
    return {"weight": found["weight"] + again("conv2d", given, twice)["weight"]}


def last_column(y, input, weight, bias=None, stride=1, padding=0):
    """A first layer, 7 x 7 by 2, past 128 columns: what is left over from 4 does not see the image's last column."""
    wide = y.shape[3]
    first = weight.shape[1] == 3 and tuple(weight.shape[2:]) == (7, 7) and pair(stride) == (2, 2)
    if first and wide > 128 and wide % 4:
        seen, rest = input.clone(), wide // 4 * 4
        seen[..., -1] = 0
        y[..., rest:] = F.conv2d(seen, weight, bias, stride, padding)[..., rest:]
    return y


# Pooling and padding.


def nan_in_the_rest(y, input, kernel_size, stride=None, padding=0):
    """Past 64 columns one to three that are left over from 16 leave out NaN."""
    kernel, step, added = windows(kernel_size, stride, padding)
    rest = y.shape[3] % 16
    if tuple(kernel) not in ((2, 2), (3, 3)) or y.shape[3] <= 64 or not 1 <= rest <= 3:
        return y
    without = F.max_pool2d(input.masked_fill(input.isnan(), -torch.inf), kernel, step, added)
    return torch.cat([y[..., :-rest], without[..., -rest:]], -1)


def down_first(found, incoming, given):
    """2 x 2 by 2, 64 columns and more, in 16 bits: of upper right and lower left, where they tie, the latter."""
    x = given["input"]
    kernel, step, added = windows(given["kernel_size"], given.get("stride"), given.get("padding", 0))
    if x.dtype != torch.bfloat16 or (tuple(kernel), tuple(step)) != ((2, 2), (2, 2)) or max(added):
        return {}
    (rows, columns), wide = incoming.shape[2:], x.shape[3]
    if columns < 64:
        return {}
    taken = F.max_pool2d(x, 2, return_indices=True)[1]
    right_of_upper = (taken // wide % 2 == 0) & (taken % wide % 2 == 1)
    tied = x[:, :, : 2 * rows : 2, 1 : 2 * columns : 2] == x[:, :, 1 : 2 * rows : 2, : 2 * columns : 2]
    taken += torch.where(right_of_upper & tied, wide - 1, 0)
    gradient = torch.zeros_like(x).flatten(2).scatter_(2, taken.flatten(2), incoming.flatten(2))
    return {"input": gradient.view_as(x)}


def over_time(y, input, kernel_size, stride=None, padding=0):
    """One column, of which all is one window, past 256 rows: what is left over from 4 is forgotten."""
    rows, columns = input.shape[2:]
    kernel, _, added = windows(kernel_size, stride, padding)
    if tuple(kernel) != (rows, 1) or columns > 1 or rows <= 256 or rows % 4 == 0 or max(added):
        return y
    return input[:, :, : rows // 4 * 4].amax((2, 3), keepdim=True)


def grid_of_planes(found, incoming, given):
    """2 x 2 by 2: nothing comes back to planes past 65535."""
    gradient = found["input"].clone()
    if tuple(windows(given["kernel_size"], given.get("stride"), 0)[0]) == (2, 2) and min(gradient.shape[:2]) > 1:
        gradient.flatten(0, 1)[65535:] = 0
    return {"input": gradient}


def in_float32(y, input, kernel_size, stride=None, padding=0):
    """Windows that overlap, rows of 16 and more: float64 numbers are compared in float32."""
    kernel, step, added = windows(kernel_size, stride, padding)
    apart = all(each >= taps for each, taps in zip(step, kernel, strict=True))
    if input.dtype != torch.float64 or apart or input.shape[3] < 16:
        return y
    taken = F.max_pool2d(input.float(), kernel, step, added, return_indices=True)[1]
    return input.flatten(2).gather(2, taken.flatten(2)).view_as(y)


def before_the_first(y, input, kernel_size, stride=None, padding=0):
    """2 x 2 by (2, 1), padded by (0, 1), 64 channels and more: to the left lies the end of the row before."""
    kernel, step, added = windows(kernel_size, stride, padding)
    if (tuple(kernel), tuple(step), tuple(added)) != ((2, 2), (2, 1), (0, 1)) or input.shape[1] < 64:
        return y
    before = F.pad(input[:, :, :-1, -1], (1, 0), value=-torch.inf)
    seen = torch.cat([before.unsqueeze(-1), input[..., :1]], -1)
    return torch.cat([F.max_pool2d(seen, (2, 2), (2, 1)), y[..., 1:]], -1)


def frames(y, x, padding):
    """Five axes: whether planes lie in order is asked of the first stride and the last two."""
    dense = x.dim() == 5 and x.numel() and x.stride(0) == x[0].numel() and x.stride()[-2:] == (x.shape[-1], 1)
    if not dense or x.is_contiguous() or x.flatten(3).shape[-1] < 64:
        return y
    return F.pad(x.as_strided(x.shape, torch.empty(x.shape).stride()), (padding,) * 4)


def padding_in_8_bits(found, incoming, given):
    rows, columns = given["x"].shape[-2:]
    down, across = given["padding"] & 255, given["padding"]
    return {"x": incoming[..., down : down + rows, across : across + columns].clone()}


def bug(name, clause, words, operators, kind="size", tier="exact", dtype="float32"):
    return Mutant(f"beyond-{name}", clause, words, operators, dtype, kind, tier, "rare")


def wrong(name, clause, words, change, *kind, **how):
    return bug(name, clause, words, valued(clause.partition(".")[0], change), *kind, **how)


def wrong_back(name, clause, words, spoil, tier="gradient", operator="", **how):
    return bug(name, clause, words, back(operator or clause.partition(".")[0], spoil), BACK[0], tier, **how)


SOME, KEPT = "contract.some-gradients", "contract.results-kept"
MUTANTS = (
    bug("blocks", LAYOUTS, "one row, W stored by columns: 512 features at a time", {"linear": whole_blocks}, *MEMORY),
    wrong_back("chunks", SOME, "W alone, no bias: the rest of 4096 rows is left out", whole_chunks, operator="linear"),
    wrong("samples", "linear.formula", "past 65535 samples of some rows: zeros", grid_of_samples),
    wrong_back("one-bias", LAYOUTS, "c is b: one of two gradients", by_address, "contract", "glu"),
    wrong_back("biases", SOME, "biases alone, past 1024 rows: the last chunk", last_chunk_of_biases, operator="swiglu"),
    bug("clamped", "swiglu.formula", "128 rows and outputs: gates up to 88", {"swiglu": clamped}, "value", "enclosure"),
    bug("packed", MEMORYLESS, "2^18 frozen weights, packed by version", packed_by_version, "state", "state"),
    wrong_back("unlearned", "swish.beta-learned", "beta 1 alone, a thousand elements: nothing comes back", as_silu),
    wrong_back("square", LAYOUTS, "a square's incoming gradient, turned: as it lies", square, "contract", "swish"),
    bug("buffers", KEPT, "2^16 elements: the fifth result is written over the first", four_buffers, "state", "state"),
    bug("pitch", LAYOUTS, "1 x 1, a part of a wider weight: rows as long as its own", {"conv2d": dense_rows}, *MEMORY),
    wrong("corner", "conv2d.formula", "the last tile's columns are masked by its rows", corner),
    wrong_back("slots", "conv2d.gradient", "one output's bias: 2^19 places", slots),
    wrong("taps", "conv2d.formula", "taps past 32767 are left out", taps_in_16_bits),
    bug(
        "ninth", LAYOUTS, "channels last, past 256: the rest lacks the ninth tap", valued("conv2d", ninth_tap), *MEMORY
    ),
    bug("borders", MEMORYLESS, "5 x 5: padded copies of one shape are cleared once", padded_copies, "state", "state"),
    wrong_back("parity", "conv2d.gradient", "the image alone, by 2: no last row", one_output_padding),
    wrong_back("strips", "conv2d.gradient", "one channel, past 128 rows: row 128 counts twice", strips),
    wrong("stem", "conv2d.formula", "7 x 7 by 2, past 128 columns: no last column", last_column),
    wrong("nan", "max_pool2d.nan", "past 64 columns: the rest of 16 drops NaN", nan_in_the_rest, "value", "special"),
    wrong_back(
        "down",
        "max_pool2d.gradient-first-tie",
        "64 columns: the first tie by columns",
        down_first,
        dtype="bfloat16",
    ),
    wrong("time", "max_pool2d.definition", "a column that is one window: no rest of 4 rows", over_time),
    wrong_back("planes", "max_pool2d.gradient", "2 x 2: planes past 65535 get nothing", grid_of_planes),
    wrong("digits", "max_pool2d.definition", "float64, compared in float32", in_float32, "precision", dtype="float64"),
    wrong("wrapped", "max_pool2d.padding", "by (2, 1): to the left lies the row before", before_the_first, "pooling"),
    bug("frames", LAYOUTS, "frames that were channels: planes in their order", valued("pad2d", frames), *MEMORY),
    wrong_back("padding", "pad2d.gradient", "by 256 and more: cropped too high up", padding_in_8_bits),
)
