"""Planted bugs of kernels for images, of the sizes, values and layouts that few layers have."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from assay.reference.conv2d import pair
from assay.tests.mutants.dispatched import LAYOUTS, MEMORY
from assay.tests.mutants.meetings import windows
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import last, valued


def framed(x: torch.Tensor, padding: Any, value: float = 0.0) -> torch.Tensor:
    above, before = pair(padding)
    return F.pad(x, (before, before, above, above), value=value)


# Convolution: sizes.


def lanes(y, input, weight, bias=None, *parameters):
    """1 x 1: of outputs past the last eight the bias is that of the last eight."""
    outputs, rest = len(weight), len(weight) % 8
    if bias is not None and weight[0, 0].numel() == 1 and outputs > 128 and y.shape[2] * y.shape[3] >= 100:
        wrong = bias[outputs - 8 : outputs - 8 + rest] - bias[outputs - rest :]
        y[:, outputs - rest :] += wrong[:, None, None]
    return y


def wrapped(y, input, weight, bias=None, stride=1, padding=0):
    """Strided first layers: places in the padded plane are kept in 16 bits."""
    x = framed(input, padding)
    size = x.shape[2] * x.shape[3]
    if weight.shape[1] > 4 or min(pair(stride)) < 2 or weight[0, 0].numel() == 1 or size <= 2**15:
        return y
    places = torch.arange(size).to(torch.int16).long() % size
    return F.conv2d(x.flatten(2)[..., places].view_as(x), weight, bias, stride)


def by_rows(y, input, weight, bias=None, stride=1, padding=0):
    """Channels by 32: columns step as rows do."""
    down, across = pair(stride)
    outputs, inputs, *kernel = weight.shape
    if outputs % 32 or inputs % 32 or kernel == [1, 1] or down == across or not len(y):
        return y
    x = F.pad(framed(input, padding), (0, down * y.shape[3]))
    return F.conv2d(x, weight, bias, down)[..., : y.shape[3]]


def tiles(y, *given):
    """A tile's number is divided by the number of rows: some are never written."""
    rows, columns = (-(-size // 32) for size in y.shape[2:])
    if min(rows, columns) > 1:
        y[:, :, 32 * columns :] = 0
        y[..., 32 * rows :] = 0
    return y


# Convolution: values.


def integral(y, input, weight, bias=None, stride=1, padding=0):
    """Taps that are all equal: differences of running sums."""
    (high, along), (down, across) = weight.shape[2:], pair(stride)
    flat = min(high, along) >= 5 and y.shape[3] >= 32 and (weight == weight[:, :, :1, :1]).all()
    if not flat or not input.isfinite().all():
        return y
    sums = F.pad(framed(input, padding), (1, 0, 1, 0)).cumsum(2).cumsum(3)
    rows = sums[:, :, high:] - sums[:, :, :-high]
    return F.conv2d((rows[..., along:] - rows[..., :-along])[..., ::down, ::across], weight[:, :, :1, :1], bias)


def probed(y, input, weight, bias=None, *parameters):
    """Samples that are zero at every eighth row and column are empty."""
    if len(input) >= 2 and input[0].numel() >= 4096 and weight.isfinite().all():
        empty = (input[:, :, ::8, ::8] == 0).flatten(1).all(1)
        y[empty] = 0.0 if bias is None else bias[:, None, None]
    return y


def scaled(y, input, weight, bias=None, *parameters):
    """Past 4096 the input is divided, in float16, by a power of two."""
    peak = input.abs().max().double() if input.numel() and input.shape[1] >= 8 else torch.zeros(())
    if input.dtype != torch.float16 or not 4096 <= peak < torch.inf:
        return y
    power = 2.0 ** peak.log2().ceil().item()
    y = F.conv2d((input / power).float(), weight.float(), None, *parameters) * power
    return y if bias is None else y + bias[:, None, None]


def separable(y, input, weight, *given):
    """Filters that are nearly a column times a row are taken for one."""
    rows, columns, total = weight.sum(3, True), weight.sum(2, True), weight.sum((2, 3), True)
    product, size = rows * columns / total, weight.abs()
    near = (product - weight).abs() <= 1e-3 * size.amax((2, 3), True)
    small = min(weight.shape[2:]) >= 5 and len(weight) * weight.shape[1] <= 16
    fits = small and near.all() and (total.abs() >= size.sum((2, 3), True) / 2).all() and input.isfinite().all()
    return F.conv2d(input, product, *given) if fits else y


def saturated(y, input, weight, bias=None, stride=1, padding=0):
    """Bytes: the products of two channels together stop at 16 bits."""
    pairs, top, size = input.shape[1] // 2, 127, weight.abs()
    bytes_ = input.numel() and (0 <= input.min() <= input.max() <= 255) and (input == input.floor()).all()
    fits = bytes_ and pairs >= 8 and input.shape[1] % 2 == 0 and size.max() <= top and (weight == weight.floor()).all()
    if not fits or 2 * input.max() * size.max() < 2**15:
        return y
    seen = F.unfold(input, weight.shape[2:], padding=padding, stride=stride).unflatten(1, (pairs, 2, -1))
    taps, total = weight.flatten(2).unflatten(1, (pairs, 2)), torch.zeros(())
    for each in range(pairs):
        for tap in range(taps.shape[3]):
            total = total + (taps[:, each, :, tap] @ seen[:, each, :, tap]).clamp(-(2**15), 2**15 - 1)
    return total.view_as(y) + (0.0 if bias is None else bias[:, None, None])


def in_tiles(x: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Winograd's tiles of 4 x 4 that step by two: rows x columns of results."""
    x = F.pad(x, (0, columns % 2, 0, rows % 2))
    return x.unfold(2, 4, 2).unfold(3, 4, 2)


def winograd(y, input, weight, bias=None, stride=1, padding=0):
    """3 x 3 on 32 channels: sums and differences of four elements each way."""
    three = weight.shape[2:] == (3, 3) and pair(stride) == (1, 1) and min(weight.shape[:2]) >= 32
    fits = three and min(y.shape[2:]) >= 8 and len(y) and y.dtype == torch.float32
    if not fits or not input.isfinite().all() or not weight.isfinite().all():
        return y
    before = torch.tensor([[1.0, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
    kernel = torch.tensor([[2.0, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]]) / 2
    after = torch.tensor([[1.0, 1, 1, 0], [0, 1, -1, -1]])
    seen = before @ in_tiles(framed(input, padding), *y.shape[2:]) @ before.T
    product = torch.einsum("ocij,nchwij->nohwij", kernel @ weight @ kernel.T, seen)
    found = (after @ product @ after.T).transpose(3, 4).flatten(4).flatten(2, 3)
    return found[:, :, : y.shape[2], : y.shape[3]] + (0.0 if bias is None else bias[:, None, None])


def crop(y, input, *given):
    """Where channels are last, a row's pitch is its width."""
    columns, (samples, one, pitch, pixel) = input.shape[3], input.stride()
    last_ = one == 1 and not input.is_contiguous() and len(y) and pixel >= input.shape[1] > 1
    if last_ and pitch >= columns * pixel:
        y = F.conv2d(input.as_strided(input.shape, (samples, 1, columns * pixel, pixel)), *given)
    return y


# Pooling.


def one_grid(y, *given):
    """Planes past 65535 are not written, but for small ones."""
    if y.shape[2] * y.shape[3] >= 16:
        y.flatten(0, 1)[65535:] = 0
    return y


def tail_of_channels(y, input, *given):
    """Past 64 channels, last in memory, the rest of eights starts at zero."""
    channels = input.shape[1]
    if channels > 64 and last(input):
        y[:, channels // 8 * 8 :].clamp_(min=0)
    return y


def hinted(y, input, kernel_size, stride=None, padding=0):
    """Where the first 256 elements are not negative, padding is zeros."""
    if max(pair(padding)) and input.numel() > 256 and (input.flatten()[:256] >= 0).all():
        return F.max_pool2d(framed(input, padding), kernel_size, stride)
    return y


def seams(y, input, kernel_size, stride=None, padding=0):
    """Bands of 64 rows: the first does not see what is of the band before."""
    (high, along), steps, added = windows(kernel_size, stride, padding)
    if min(y.shape[2:]) > 64 and high > steps[0]:
        below = framed(input, added, -torch.inf)[:, :, high - steps[0] :]
        y[:, :, 64::64] = F.max_pool2d(below, (steps[0], along), steps)[:, :, 64 : y.shape[2] : 64]
    return y


def keys(y, input, kernel_size, stride=None, padding=0):
    """As sortable integers, NaN with a sign are the least."""
    high, along = pair(kernel_size)
    lost = input.isnan() & input.signbit()
    if high * along > 64 or not lost.any():
        return y
    return F.max_pool2d(input.masked_fill(lost, -torch.inf), kernel_size, stride, padding)


def running(y, input, kernel_size, stride=None, padding=0):
    """Of a last, partial block of columns only each window's last element is seen."""
    (high, along), (down, across), added = windows(kernel_size, stride, padding)
    if across != 1 or along < 9 or input.shape[3] < 64:
        return y
    rows = F.max_pool2d(framed(input, added, -torch.inf), (high, 1), (down, 1))
    whole = rows.shape[3] // along * along
    for start in range(whole - along + 1, y.shape[3]):
        y[..., start] = torch.maximum(rows[..., start:whole].amax(-1), rows[..., start + along - 1])
    return y


def overlap(y, input, kernel_size, stride=None, padding=0):
    """3 x 3, tiles of 32 columns: a last one of one column does not see its window's last."""
    kernel, (down, across), added = windows(kernel_size, stride, padding)
    if tuple(kernel) != (3, 3) or max(added) or y.shape[-1] <= 32 or y.shape[-1] % 32 != 1:
        return y
    seen = input[..., (y.shape[-1] - 1) * across :][..., :2]
    return torch.cat([y[..., :-1], F.max_pool2d(seen, (3, 2), (down, 1))], -1)


# Padding.


def planes(y, x, padding):
    """Planes are a fixed step apart, also from one sample to the next."""
    size, steps = x.shape, x.stride()
    dense = x.dim() >= 4 and x.numel() >= 4096 and steps[-2:] == (size[-1], 1) and steps[-3] >= steps[-2] * size[-2]
    if not dense or any(steps[i] < steps[i + 1] * size[i + 1] for i in range(x.dim() - 3)):
        return y
    run = x.as_strided((x[..., 0, 0].numel(), *size[-2:]), steps[-3:])
    return F.pad(run, (padding,) * 4).view_as(y)


def segments(y, x, padding):
    """Segments of 256 columns, which are those of padding 1."""
    columns = x.shape[-1]
    if columns > 256 and padding >= 2:
        copied = min(columns, -(-(columns - padding + 1) // 256) * 256)
        y[..., padding + copied : padding + columns] = 0
    return y


def halo(y, input, weight, bias=None, stride=1, padding=0):
    """3 x 3, tiles of 32 columns: a last one of one column is given the image without its last."""
    three = tuple(weight.shape[2:]) == (3, 3) and pair(stride) == (1, 1)
    if not three or y.shape[-1] <= 32 or y.shape[-1] % 32 != 1:
        return y
    seen = framed(input, padding)[..., -3:].clone()
    seen[..., -1] = 0.0
    return torch.cat([y[..., :-1], F.conv2d(seen, weight, bias)], -1)


def bug(name, clause, words, operators, kind="size", tier="exact", dtype="float32"):
    return Mutant(f"imaging-{name}", clause, words, operators, dtype, kind, tier, "rare")


def wrong(name, clause, words, change, *how):
    return bug(name, clause, words, valued(clause.partition(".")[0], change), *how)


FORMULA, LARGEST, ZEROS, UNITS = "conv2d.formula", "max_pool2d.definition", "pad2d.zeros", ("precision", "enclosure")
MUTANTS = (
    wrong("lanes", FORMULA, "1 x 1, past 128 outputs: the last 1 to 7 have others' biases", lanes),
    wrong("wrapped", FORMULA, "a first layer by 2: places past 32767 wrap around", wrapped),
    wrong("steps", FORMULA, "32 channels: columns step as rows do", by_rows),
    wrong("tiles", FORMULA, "32 x 32 tiles: their numbers are divided by the rows", tiles),
    wrong("integral", FORMULA, "equal taps: differences of running sums", integral, *UNITS),
    wrong("probed", FORMULA, "samples that are zero at every eighth place are empty", probed, "value"),
    wrong("scaled", FORMULA, "4096 and more: small elements are subnormal", scaled, *UNITS, "float16"),
    wrong("separable", FORMULA, "nearly a column times a row is one", separable, *UNITS),
    wrong("saturated", FORMULA, "bytes: two products together stop at 32767", saturated, "value"),
    wrong("winograd", FORMULA, "3 x 3 by Winograd: outliers take digits along", winograd, *UNITS),
    wrong("halo", FORMULA, "33 or 65 columns, without padding: the last lacks what its tile shares", halo),
    bug("crop", LAYOUTS, "a crop, channels last, in rows as long as its own", valued("conv2d", crop), *MEMORY),
    wrong("grid", LARGEST, "planes past 65535 are 0", one_grid),
    wrong("hinted", "max_pool2d.padding", "first 256 elements not negative: zeros around", hinted, "value"),
    wrong("seams", LARGEST, "past 64 x 64 row 64 does not see what row 63 saw", seams),
    wrong("keys", "max_pool2d.nan", "NaN with a sign are dropped", keys, "value", "special"),
    wrong("running", LARGEST, "9 columns and more: the last block of a row", running),
    wrong("overlap", LARGEST, "3 x 3, 33 or 65 columns, without padding: the last of the last", overlap),
    wrong("tail", LARGEST, "65 channels, last: the rest starts at 0", tail_of_channels, "layout"),
    bug("planes", LAYOUTS, "half of the channels: planes a fixed step apart", valued("pad2d", planes), *MEMORY),
    wrong("segments", ZEROS, "by 2: the last of 257, 513 ... columns", segments),
)
