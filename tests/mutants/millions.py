"""Planted bugs of results of millions: past what a grid of blocks has, or what float32 or 16 bits can count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from assay.tests.mutants.gradients import rows
from assay.tests.mutants.lasting import count
from assay.tests.mutants.meetings import windows
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import valued

Change = Callable[..., Any]
BLOCKS = 65535  # which a grid of a GPU has at most in two of its directions


def grid(block: int) -> Change:
    """Results past so many blocks of this size are not written."""

    def change(y: Any, *given: Any) -> Any:
        y.view(-1)[BLOCKS * block :] = 0
        return y

    return change


def by_float32(y, *given):
    """A result's number is a float32, which past 2^24 is even."""
    flat, most = y.view(-1), 2**24
    if len(flat) > most:
        numbers = torch.arange(most, len(flat)).float().long()
        flat[most:] = flat[numbers.clamp(max=len(flat) - 1)]
    return y


def in_bits(bits: int) -> Change:
    """A result's number is kept in so few bits: past them come the first results again."""

    def change(y: Any, *given: Any) -> Any:
        flat = y.view(-1)
        flat[2**bits :] = flat[: max(0, len(flat) - 2**bits)].clone()
        return y

    return change


def signed_outputs(y, x, w, b=None):
    """Where there are several tiles of 64 rows an output's number has 16 bits and a sign."""
    if count(x) > 64:
        rows(y)[:, 2**15 :] = 0
    return y


def last_rows(y, x, w, b=None):
    """Past 2^15 outputs the tile of rows that is not full is left out."""
    whole = count(x) // 64 * 64
    if whole and len(w) > 2**15:
        rows(y)[whole:] = 0
    return y


def border_of_the_grid(y, x, padding):
    """Zeros are written by 65535 blocks of 64: the padding past them is what memory held."""
    late = torch.zeros(y.numel(), dtype=torch.bool)
    late[BLOCKS * 64 :] = True
    late = late.view(y.shape)
    late[..., padding : padding + x.shape[-2], padding : padding + x.shape[-1]] = False
    y[late] = 1.0
    return y


def first_video(y, x, padding):
    """Of videos of 2^20 elements and more all are the first."""
    if y.dim() == 5 and y[0].numel() >= 2**20:
        y[1:] = y[:1]
    return y


def a_sample_at_a_time(y, *given):
    """A sample's results past 65535 blocks of 64 are not written."""
    y.flatten(1)[:, BLOCKS * 64 :] = 0
    return y


def sixteen_bits(y, input, kernel_size, stride=None, padding=0):
    """2 x 2 by 2, rows of whole eights: a plane's number has 16 bits."""
    planes = y.flatten(0, 1)
    if windows(kernel_size, stride, padding) == ((2, 2), (2, 2), (0, 0)) and input.shape[3] % 8 == 0:
        planes[2**16 :] = planes[: max(0, len(planes) - 2**16)].clone()
    return y


def wrong(name: str, clause: str, words: str, change: Change, tier: str = "exact") -> Mutant:
    operators = valued(clause.partition(".")[0], change)
    return Mutant(f"millions-{name}", clause, words, operators, "float32", "size", tier, "rare")


SWISH, LINEAR, ZEROS = "swish.formula", "linear.formula", "pad2d.zeros"
FORMULA, LARGEST = "conv2d.formula", "max_pool2d.definition"
MUTANTS = (
    wrong("swish-grid", SWISH, "elements past 65535 x 256: 0", grid(256), "enclosure"),
    wrong("swish-float", SWISH, "elements past 2^24 are counted by float32", by_float32, "enclosure"),
    wrong("linear-grid", LINEAR, "results past 65535 x 64: 0", grid(64)),
    wrong("linear-bits", LINEAR, "results past 2^22 are the first ones", in_bits(22)),
    wrong("linear-signed", LINEAR, "65 rows: outputs past 32767 are 0", signed_outputs),
    wrong("linear-rows", LINEAR, "past 2^15 outputs: the rows past the last 64 are 0", last_rows),
    wrong("pad2d-grid", ZEROS, "elements past 65535 x 64: 0", grid(64)),
    wrong("pad2d-border", ZEROS, "padding past 65535 x 64 is what memory held", border_of_the_grid),
    wrong("pad2d-video", ZEROS, "videos of 2^20 elements are the first", first_video),
    wrong("conv2d-grid", FORMULA, "results past 65535 x 256: 0", grid(256)),
    wrong("conv2d-float", FORMULA, "results past 2^24 are counted by float32", by_float32),
    wrong("conv2d-sample", FORMULA, "a sample's results past 65535 x 64: 0", a_sample_at_a_time),
    wrong("max_pool2d-grid", LARGEST, "windows past 65535 x 64: 0", grid(64)),
    wrong("max_pool2d-bits", LARGEST, "windows past 2^22 are the first ones", in_bits(22)),
    wrong("max_pool2d-small-grid", LARGEST, "windows past 65535 x 16: 0", grid(16)),
    wrong("max_pool2d-planes", LARGEST, "2 x 2 by 2, eights of columns: planes past 65535 are the first", sixteen_bits),
)
