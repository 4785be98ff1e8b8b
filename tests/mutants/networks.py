"""Planted bugs of images in the sizes, layouts and modes that networks have: no law had seen them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.dispatched import LAYOUTS, MEMORY, STATE
from assay.tests.mutants.meetings import layer, windows
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.precision import Valued, by_transform, wide
from assay.tests.mutants.state import by_pointer, by_shape

right = load("torch").operators
Operators = dict[str, Callable[..., Any]]


def valued(operator: str, change: Callable[..., Any]) -> Operators:
    """What ``change`` makes of a copy of the result and of what was given, with the right slopes."""

    def called(*given: Any) -> Any:
        y = right[operator](*given)
        with torch.no_grad():
            wrong = change(y.detach().clone(memory_format=torch.contiguous_format), *given)
        return Valued.apply(y, wrong)

    return {operator: called}


def packed(operator: str, where: Callable[[Any], bool]) -> Callable[[], Operators]:
    """The weight is packed once for each place in memory, which stays its own."""

    def operators() -> Operators:
        kept: dict[Any, Any] = {}

        def called(x: Any, w: Any, *given: Any) -> Any:
            if where(w):
                w, _ = kept.setdefault(by_pointer(w), (w.detach().clone(), w))
            return right[operator](x, w, *given)

        return {operator: called}

    return operators


def last(x: torch.Tensor) -> bool:
    """Whether the channels, and nothing else, are last in memory."""
    return x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


# Padding.


def border_after(y, x, padding):
    """Of columns after the row two are 0, and the rest repeats its end."""
    rows, columns = x.shape[-2:]
    if padding >= 3 and columns >= 128:
        y[..., padding : padding + rows, padding + columns + 2 :] = x[..., -1:]
    return y


def border_before(y, x, padding):
    """From row 16 on the column before the row repeats its start."""
    rows = x.shape[-2]
    if padding >= 2 and min(x.shape[-2:]) >= 32:
        y[..., padding + 16 : padding + rows, padding - 1] = x[..., 16:, 0]
    return y


def row_above(y, x, padding):
    """Where eights of channels are last, the row above repeats the first."""
    if padding >= 2 and last(x) and x.shape[1] % 8 == 0:
        y[..., padding - 1, padding:-padding] = x[..., 0, :]
    return y


# Convolution.


def one_grid(y, *given):
    """Places past 65535 of a sample are not written."""
    if min(y.shape[2:]) > 1:
        y.flatten(2)[..., 65535:] = 0
    return y


def split(y, input, weight, bias=None, *parameters):
    """Sums of 4096 products or more: parts of 1024, each stored in the dtype."""
    taps = weight[0, 0].numel()
    if y.dtype not in (torch.bfloat16, torch.float16) or weight[0].numel() < 4096:
        return y
    step, total = max(1, 1024 // taps), 0
    for part, weights in zip(input.split(step, 1), weight.split(step, 1), strict=True):
        total = total + F.conv2d(wide(part), wide(weights), None, *parameters).to(y.dtype)
    return total if bias is None else total + bias[:, None, None]


def by_fourier(y, input, weight, bias=None, stride=1, padding=0):
    """Kernels of 11 x 11 or more: errors are relative to the plane's largest element."""
    large = min(weight.shape[2:]) >= 11 and input.shape[2] * input.shape[3] >= 4096
    fits = large and pair(stride) == (1, 1) and y.dtype == torch.float32
    return by_transform(input, weight, bias, stride, padding) if fits else y


def corner_without_bias(y, input, weight, bias=None, *parameters):
    """The last tile of 64 channels and 64 places, where both leave a rest, has no bias."""
    outputs, places = len(weight), y.shape[2] * y.shape[3]
    if bias is not None and outputs > 128 and outputs % 64 and places > 64 and places % 64:
        channels = outputs // 64 * 64
        y.flatten(2)[:, channels:, places // 64 * 64 :] -= bias[channels:, None]
    return y


def bias_of_the_first_tile(y, input, weight, bias=None, *parameters):
    """The second 128 channels have the first ones' biases."""
    if bias is not None and len(weight) > 128 and y.shape[2] * y.shape[3] > 64:
        second = bias[128:256]
        y[:, 128:256] += (bias[: len(second)] - second)[:, None, None]
    return y


def magic_division(y, *given):
    """A place's row is place * (2^20 / columns rounded up) / 2^20."""
    rows, columns = y.shape[2:]
    if not 1 < columns <= 256:
        return y
    places = torch.arange(rows * columns)
    row = (places * -(-(1 << 20) // columns)) >> 20
    found = row * columns + (places - row * columns).clamp(min=0)
    return y.flatten(2)[..., found.clamp(max=rows * columns - 1)].view_as(y)


def border_without_bias(y, input, weight, bias=None, stride=1, padding=0):
    """What a 1 x 1 kernel sees of the padding alone is 0."""
    above, before = pair(padding)
    if layer(weight, stride, 0) != (1, 1, 1, 1, 0, 0) or weight.shape[1] % 16 or bias is None:
        return y
    return F.pad(y[:, :, above : y.shape[2] - above, before : y.shape[3] - before], (before, before, above, above))


def halo(where: Callable[..., bool]) -> Operators:
    """The first row of the second tile of 128 and its like does not see the row above."""

    def change(y: Any, input: Any, weight: Any, *given: Any) -> Any:
        if weight.shape[2] > 1 and y.shape[2] > 128 and where(y, input, weight):
            lower = weight.clone()
            lower[:, :, 0] = 0
            y[:, :, 128::128] = right["conv2d"](input, lower, *given)[:, :, 128::128]
        return y

    return valued("conv2d", change)


def shortcut(y, input, weight, bias=None, stride=1, padding=0):
    """1 x 1 by 2, of even rows: the last column is gathered twice."""
    fits = layer(weight, stride, padding) == (1, 1, 2, 2, 0, 0) and len(weight) >= 128 and weight.shape[1] % 64 == 0
    if fits and input.shape[3] % 2 == 0 and y.shape[3] > 1:
        y[..., -1] = y[..., -2]
    return y


# Pooling.


def running_maximum(y, input, kernel_size, stride=None, padding=0):
    """Wide overlapping windows miss their last column."""
    (high, wide_), (down, along), (above, before) = windows(kernel_size, stride, padding)
    if wide_ <= 10 or high == wide_ or along >= wide_ or wide_ % along == 0:
        return y
    x = F.pad(input, (before, before, above, above), value=-torch.inf)
    return F.max_pool2d(x, (high, wide_ - 1), (down, along))[..., : y.shape[2], : y.shape[3]]


def tiles_of_rows(y, input, kernel_size, stride=None, padding=0):
    """Tiles of 64 results: the last one's window misses its last row."""
    (high, wide_), (down, along), (above, before) = windows(kernel_size, stride, padding)
    if min(input.shape[2:]) > 128 and high > down and not above:
        lower = F.max_pool2d(input, (high - 1, wide_), (down, along), (0, before))
        y[:, :, 63::64] = lower[:, :, 63 : y.shape[2] : 64]
    return y


# Between calls.


def buffer_in_inference() -> Operators:
    kept: dict[Any, Any] = {}

    def max_pool2d(*given):
        y = right["max_pool2d"](*given)
        return kept.setdefault(by_shape(y), y).copy_(y) if torch.is_inference_mode_enabled() else y

    return {"max_pool2d": max_pool2d}


def tuned() -> Operators:
    """From the third call of a shape on another kernel runs, without the last row's bias."""
    calls: Counter[Any] = Counter()

    def change(y, input, weight, bias=None, *parameters):
        key = by_shape(input, weight, *parameters)
        calls[key] += 1
        fits = len(input) >= 2 and input.shape[1] % 16 == 0 and weight.shape[2] == 3
        if calls[key] >= 3 and fits and bias is not None:
            y[:, :, -1] -= bias[:, None]
        return y

    return valued("conv2d", change)


def plans() -> Operators:
    """Plans by the weight's version, which a tensor made in inference has not."""
    kept: dict[int, int] = {}

    def conv2d(input, weight, *given):
        kept[id(weight)] = weight._version
        return right["conv2d"](input, weight, *given)

    return {"conv2d": conv2d}


def bug(name, clause, words, operators, kind="size", tier="exact", dtype="float32"):
    return Mutant(f"networks-{name}", clause, words, operators, dtype, kind, tier, "rare")


def wrong(name, clause, words, change, *how):
    return bug(name, clause, words, valued(clause.partition(".")[0], change), *how)


def three_rows(y, input, weight):
    return y.shape[3] >= 128 and weight.shape[1] >= 3


def one_large_image(y, input, weight):
    return len(input) == 1 and min(weight.shape[:2]) >= 16 and min(input.shape[2:]) >= 200


ZEROS, FORMULA, LARGEST = "pad2d.zeros", "conv2d.formula", "max_pool2d.definition"
MEMORYLESS, UNITS = "contract.memoryless", ("precision", "enclosure")
IN_INFERENCE = packed("conv2d", lambda w: torch.is_inference_mode_enabled())
MUTANTS = (
    wrong("border-after", ZEROS, "128 columns, by 3: the end repeats", border_after),
    wrong("border-before", ZEROS, "32 x 32, by 2: the start repeats from row 16 on", border_before),
    bug("row-above", LAYOUTS, "8 channels last, by 2: the first row repeats", valued("pad2d", row_above), *MEMORY),
    wrong("grid", FORMULA, "places past 65535 are 0", one_grid),
    wrong("split", FORMULA, "4096 products: parts in bfloat16", split, *UNITS, "bfloat16"),
    wrong("fourier", FORMULA, "11 x 11 through the frequency domain", by_fourier, *UNITS),
    wrong("corner", FORMULA, "past 128 outputs the corner of tiles has no bias", corner_without_bias),
    wrong("second-tile", FORMULA, "past 128 outputs the first ones' biases", bias_of_the_first_tile),
    wrong("magic", FORMULA, "places far down a plane are of the next row", magic_division),
    wrong("border", FORMULA, "1 x 1, padded: no bias in the border", border_without_bias),
    bug("large-halo", FORMULA, "one sample of 200 x 200: row 128 without the row above", halo(one_large_image)),
    bug("halo", FORMULA, "128 x 128: row 128 without the row above", halo(three_rows)),
    wrong("shortcut", FORMULA, "1 x 1 by 2, 128 outputs: the last column", shortcut),
    wrong("wide", LARGEST, "windows of unequal sides past 10 columns: the last", running_maximum),
    wrong("tiles", LARGEST, "planes past 128 x 128: rows 63, 127 ...", tiles_of_rows),
    bug("packed", MEMORYLESS, "in inference mode: weights by address", IN_INFERENCE, *STATE),
    bug("tuned", MEMORYLESS, "16 channels, 3 x 3: no bias from the third call on", tuned, *STATE),
    bug("buffer", "contract.results-kept", "in inference mode: one buffer", buffer_in_inference, *STATE),
    bug("plans", "contract.recording", "weights made in inference mode: an error", plans, *STATE),
)
