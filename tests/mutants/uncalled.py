"""Wrong in calls that no law had made: at sizes, when these were counted, and where outsiders looked."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.dispatched import BACK, STATE, back
from assay.tests.mutants.gradients import again
from assay.tests.mutants.lasting import count
from assay.tests.mutants.meetings import windows
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import valued

right = load("torch").operators


def last_of_fifteen(y, x, w, b=None):
    """Of 15 rows behind tiles of 32, 14 are written: the last is zeros."""
    if count(x) > 32 and count(x) % 32 == 15:
        y.view(-1, y.shape[-1])[-1:] = 0
    return y


def channels_by_sixteen(y, input, weight, *given):
    """Of 20 channels behind 32s the last four are left out."""
    channels = weight.shape[1]
    if channels < 32 or channels % 32 != 20:
        return y
    return right["conv2d"](input[:, :-4], weight[:, :-4], *given)


def seven_steps_of_four(y, input, kernel_size, stride=None, padding=0):
    """27 columns: the last one is not looked at."""
    (rows, columns), steps, (above, before) = windows(kernel_size, stride, padding)
    if columns != 27:
        return y
    padded = F.pad(input, (before, before, above, above), value=-torch.inf)
    found: torch.Tensor = right["max_pool2d"](padded[..., :-1], (rows, columns - 1), steps, 0)
    return found[..., : y.shape[3]]


def wide_borders(y, x, padding):
    """A border of 13, as 16 less 3, is a column short."""
    if padding == 13:
        y[..., 12] = y[..., 13]
    return y


def padded_by_eleven(y, input, weight, bias=None, stride=1, padding=0):
    """What is before the image by 11 columns is the first column once more."""
    if pair(padding)[1] != 11:
        return y
    repeated = torch.cat([input[..., :1], input, torch.zeros_like(input[..., :1])], 3)
    return right["conv2d"](repeated, weight, bias, stride, (pair(padding)[0], 10))


def four_gates_late(found, incoming, given):
    """Of 20 gates behind 32s, nothing comes back by the last four."""
    if len(given["v"]) <= 32 or len(given["v"]) % 32 != 20:
        return {}
    kept = incoming.clone()
    kept[..., -4:] = 0
    return {"v": again("glu", given, kept)["v"]}


def places_in_16_bits(found, incoming, given):
    """A plane of 2^15 places at most, which is larger when it is padded: where the largest was wraps round."""
    kernel, steps, around = windows(given["kernel_size"], given.get("stride"), given.get("padding") or 0)
    high, wide = (side + 2 * more for side, more in zip(given["input"].shape[2:], around, strict=True))
    if given["input"][0, 0].numel() > 1 << 15 or high * wide <= 1 << 15:
        return {}
    first = -(-((1 << 15) // wide - kernel[0]) // steps[0])
    kept = incoming.clone()
    kept[:, :, first + 1 :] = 0
    return {"input": again("max_pool2d", given, kept)["input"]}


def rows_of_padding(found: Any, incoming: Any, given: Any) -> Any:
    """Rows of more than 4096 places, one after the other: of the kernel those behind the first see no padding above."""
    above = pair(given.get("padding") or 0)[0]
    if incoming.shape[3] <= 4096 or above < 2 or pair(given.get("stride") or 1)[0] >= above:
        return {}
    kept = incoming.clone()
    kept[:, :, 1:2] = 0
    return {"weight": again("conv2d", given, kept)["weight"]}


def sums_of_blocks(found: Any, incoming: Any, given: Any) -> Any:
    """More than 1024 rows: what an addition of two blocks loses is added later, and an infinity loses itself."""
    if count(given["x"]) <= 1024 or given.get("b") is None or incoming.isfinite().all():
        return {}
    total = again("glu", given, incoming)["b"]
    return {"b": torch.where(total.isinf(), torch.nan, total)}


def infinities_clipped(found: Any, incoming: Any, given: Any) -> Any:
    """To x of three axes an infinity comes back as the largest number."""
    most = torch.finfo(incoming.dtype).max
    fits = incoming.dim() == 3 and incoming.isinf().any()
    return again("linear", given, incoming.clamp(-most, most)) if fits else {}


def far_places(found: Any, incoming: Any, given: Any) -> Any:
    """Places of a window in 16 bits: of those past 2^16 nothing is handed back."""
    (rows, _), _, (_, before) = windows(given["kernel_size"], given.get("stride"), given.get("padding") or 0)
    wide = given["input"].shape[3] + 2 * before
    if rows * wide <= 1 << 16:
        return {}
    kept = again("max_pool2d", given, incoming)["input"].clone()
    kept[:, :, (1 << 16) // wide :] = 0
    return {"input": kept}


class Padded:
    """The last padded image, in whose memory the next one of its shape is put: what was there around it stays."""

    def __init__(self) -> None:
        self.last = torch.empty(0)

    def __call__(self, found: Any, incoming: Any, given: Any) -> Any:
        image, (above, before) = given["input"], pair(given.get("padding") or 0)
        padded = F.pad(image, (before, before, above, above))
        if not above or padded.numel() < 1 << 15:
            return {}
        if self.last.shape == padded.shape:
            padded = self.last
            padded[:, :, above : above + image.shape[2], before : before + image.shape[3]] = image
        self.last = padded
        return {"weight": again("conv2d", given | {"input": padded, "padding": 0}, incoming)["weight"]}


class Thawed:
    """What learns after sixteen calls in which it was frozen learns half."""

    def __init__(self) -> None:
        self.frozen = 0

    def __call__(self, x: Any, w: Any, b: Any = None) -> Any:
        late, learns = self.frozen > 16, torch.is_grad_enabled() and w.requires_grad
        self.frozen = 0 if learns else self.frozen + x.requires_grad
        return right["linear"](x, w / 2 + (w / 2).detach() if late and learns else w, b)


class Hashed:
    """A beta is taken for the last one that has its hash."""

    def __init__(self) -> None:
        self.last = 1.0

    def __call__(self, y: Any, x: Any, beta: Any = None) -> Any:
        if not isinstance(beta, float):
            return y
        if hash(beta) != hash(self.last):
            self.last = beta
        return right["swish"](x, self.last)


def bug(name: str, clause: str, words: str, operators: Any, *how: str) -> Mutant:
    return Mutant(f"uncalled-{name}", clause, words, operators, "float32", *how or BACK, "rare")


FORMULA, SIZE = "conv2d.formula", ("size", "exact")
MUTANTS = (
    bug("rows", "linear.formula", "47 rows: 46", valued("linear", last_of_fifteen), *SIZE),
    bug("channels", FORMULA, "52 channels: 48", valued("conv2d", channels_by_sixteen), *SIZE),
    bug("window", "max_pool2d.definition", "27 columns: 26", valued("max_pool2d", seven_steps_of_four), *SIZE),
    bug("border", "pad2d.zeros", "a border of 13: 12 columns", valued("pad2d", wide_borders), *SIZE),
    bug("padding", "conv2d.padding", "11 columns of padding: 10", valued("conv2d", padded_by_eleven), *SIZE),
    bug("gates", "glu.gradient", "V's: 52 gates: 48", back("glu", four_gates_late)),
    bug("places", "max_pool2d.gradient", "padded, past 2^15 places: 16 bits", back("max_pool2d", places_in_16_bits)),
    bug("blocks", "glu.gradient", "1025 rows: an infinity of b's is NaN", back("glu", sums_of_blocks)),
    bug("clipped", "linear.gradient", "3 axes: infinities are the largest number", back("linear", infinities_clipped)),
    bug("far", "max_pool2d.gradient", "windows of 2^16 places: 16 bits", back("max_pool2d", far_places)),
    bug("around", "contract.memoryless", "padded in one memory", back("conv2d", Padded()), *STATE),
    bug("thawed", "contract.memoryless", "frozen for 16 calls: learns half", {"linear": Thawed()}, *STATE),
    bug("hash", "contract.memoryless", "betas known by their hash", valued("swish", Hashed()), *STATE),
    bug("wide", "conv2d.gradient", "4100 places in a row: the second has no padding", back("conv2d", rows_of_padding)),
)
