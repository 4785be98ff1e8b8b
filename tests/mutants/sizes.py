"""Planted bugs that hang on a size: wrong in some shapes alone, those that tiles and fast paths get wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.max_pool2d import first_of_a_window
from assay.tests.mutants.mutant import Mutant

right = load("torch").operators
INF = float("inf")


def edited(name: str, change: Callable[..., None]) -> Callable[..., Any]:
    """The right result, after ``change`` has written into it."""

    def operator(*given: Any) -> Any:
        result = right[name](*given).clone(memory_format=torch.contiguous_format)
        change(result, *given)
        return result

    return operator


def tail_unwritten(name: str, tile: int, axis: int = -1) -> Callable[..., Any]:
    """Past the last whole tile of the result there are zeros, where there is a whole one."""

    def change(result: Any, *given: Any) -> None:
        size = result.shape[axis]
        if size > tile:
            result.narrow(axis, size - size % tile, size % tile).zero_()

    return edited(name, change)


def repeats_past(name: str, limit: int, axis: int = -1) -> Callable[..., Any]:
    """What lies past the first ``limit`` places is the last of them again."""

    def change(result: Any, *given: Any) -> None:
        if result.ndim >= -axis and result.shape[axis] > limit:
            rest = result.narrow(axis, limit, result.shape[axis] - limit)
            rest.copy_(result.narrow(axis, limit - 1, 1).clone())

    return edited(name, change)


def off_by_one_every(name: str, period: int) -> Callable[..., Any]:
    """The last of each ``period`` elements is one too large."""
    return edited(name, lambda result, *given: result.view(-1)[period - 1 :: period].add_(1.0))


def last_tile_overlaps(x, w, b=None):
    """Tiles of four terms; the last one starts where it still fits, and shares terms with the one before."""
    y, n = right["linear"](x, w, b), w.shape[1]
    if n < 4 or n % 4 == 0:
        return y
    shared = slice(n - 4, n - n % 4)
    return y + F.linear(x[..., shared], w[:, shared])


def first_256_terms(x, w, b=None):
    return right["linear"](x, w, b) if w.shape[1] <= 256 else F.linear(x[..., :256], w[:, :256], b)


def square_weight_by_columns(x, w, v, b=None, c=None):
    return right["swiglu"](x, w, v.T if v.shape[0] == v.shape[1] else v, b, c)


def first_100_terms(x, w, v, b=None, c=None):
    kept = v.clone()
    kept[:, 100:] = 0.0
    return right["glu"](x, w, kept, b, c)


def third_row_takes_the_first_gate(x, w, v, b=None, c=None):
    y = right["swiglu"](x, w, v, b, c)
    if x.ndim < 2 or len(x) < 3:
        return y
    third = F.silu(F.linear(x[:1], w, b)) * F.linear(x[2:3], v, c)
    return torch.cat([y[:2], third, y[3:]])


def power_of_two_without_its_last(result, *given):
    n = result.numel()
    if n >= 16 and n & (n - 1) == 0:
        result.view(-1)[-1] = 0.0


def whole_blocks_alone(result, *given):
    """A grid of as many blocks of 256 as fit."""
    if result.numel() > 256:
        result.view(-1)[result.numel() // 256 * 256 :] = 0.0


def seven_by_seven_without_its_corner(input, weight, *rest):
    kept = weight.clone()
    if weight.shape[2:] == (7, 7):
        kept[:, :, 6, 6] = 0.0
    return right["conv2d"](input, kept, *rest)


def strided_pointwise_is_late(input, weight, bias=None, stride=1, padding=0):
    late = weight.shape[2:] == (1, 1) and pair(stride)[1] > 1
    return right["conv2d"](input.roll(-1, 3) if late else input, weight, bias, stride, padding)


def steps_by_the_kernel_at_most(input, weight, bias=None, stride=1, padding=0):
    y = right["conv2d"](input, weight, bias, stride, padding)
    steps = [min(s, k) for s, k in zip(pair(stride), weight.shape[2:], strict=True)]
    return right["conv2d"](input, weight, bias, steps, padding)[:, :, : y.shape[2], : y.shape[3]]


def first_32_channels(input, weight, *rest):
    kept = weight.clone()
    kept[:, 32:] = 0.0
    return right["conv2d"](input, kept, *rest)


def first_128_taps(input, weight, *rest):
    kept = weight.flatten(1).clone()
    kept[:, 128:] = 0.0
    return right["conv2d"](input, kept.view(weight.shape), *rest)


def eight_channels_at_a_time(result, input, weight, bias=None, *rest):
    whole = weight.shape[0] // 8 * 8
    if whole:
        result[:, whole:] = 0.0 if bias is None else bias[whole:, None, None]


def no_bias_where_the_kernel_is_the_input(input, weight, bias=None, stride=1, padding=0):
    return right["conv2d"](input, weight, None if weight.shape[2:] == input.shape[2:] else bias, stride, padding)


def two_samples_teach_the_weight(input, weight, *rest):
    if len(input) < 3:
        return right["conv2d"](input, weight, *rest)
    first, others = right["conv2d"](input[:2], weight, *rest), right["conv2d"](input[2:], weight.detach(), *rest)
    return torch.cat([first, others])


def odd_width_without_its_last(input, *parameters):
    input = input.clone()
    if input.shape[3] % 2 and input.shape[3] > 1:
        input[..., -1] = -INF
    return right["max_pool2d"](input, *parameters)


def last_tile_of_columns_repeats(result, *given):
    size = result.shape[3]
    if size > 32 and size % 32:
        whole = size - size % 32
        result[..., whole:] = result[..., whole - 1 : whole].clone()


def bug(name, clause, words, wrong, dtype="float32", tier="exact", difficulty="rare"):
    """A mutant of the clause's operator."""
    operators, kind = {clause.partition(".")[0]: wrong}, "size"
    return Mutant(f"size-{name}", clause, words, operators, dtype, kind=kind, tier=tier, difficulty=difficulty)


MUTANTS = (
    bug(
        "overlapping-tile",
        "linear.formula",
        "the last tile of 4 terms counts some of them twice",
        last_tile_overlaps,
        difficulty="subtle",
    ),
    bug(
        "outputs-past-32",
        "linear.formula",
        "outputs past the last whole tile of 32 are not written",
        tail_unwritten("linear", 32),
        "bfloat16",
    ),
    bug("terms-past-256", "linear.formula", "sums end after 256 terms", first_256_terms),
    bug("rows-past-64", "linear.batch", "rows past the 64th repeat it", repeats_past("linear", 64, -2), "float16"),
    bug("one-in-512", "linear.additive", "one element in 512 is off by one", off_by_one_every("linear", 512)),
    bug("terms-past-100", "glu.formula", "V's sums end after 100 terms", first_100_terms),
    bug(
        "outputs-past-8",
        "glu.formula",
        "outputs past the last whole tile of 8 are not written",
        tail_unwritten("glu", 8),
        "float16",
        tier="enclosure",
        difficulty="plain",
    ),
    bug("one-in-4096", "glu.formula", "one element in 4096 is off by one", off_by_one_every("glu", 4096)),
    bug(
        "square-weight",
        "swiglu.formula",
        "as many outputs as features: V is read by columns",
        square_weight_by_columns,
        "float64",
        tier="enclosure",
    ),
    bug(
        "outputs-past-128",
        "swiglu.biases",
        "outputs past the 128th repeat it",
        repeats_past("swiglu", 128),
        "float64",
        tier="enclosure",
    ),
    bug(
        "third-row",
        "swiglu.formula",
        "the third row is gated by the first",
        third_row_takes_the_first_gate,
        "bfloat16",
        tier="enclosure",
        difficulty="subtle",
    ),
    bug(
        "power-of-two",
        "swish.formula",
        "the last of 16, 32, 64, ... elements is not written",
        edited("swish", power_of_two_without_its_last),
        "bfloat16",
        tier="enclosure",
    ),
    bug(
        "blocks-of-256",
        "swish.formula",
        "past the last whole block of 256 nothing is written",
        edited("swish", whole_blocks_alone),
        tier="enclosure",
    ),
    bug(
        "block-of-1024",
        "swish.formula",
        "past 1024 elements nothing is written",
        edited("swish", lambda result, *given: result.view(-1)[1024:].zero_()),
        "float16",
        tier="enclosure",
    ),
    bug(
        "seven-by-seven",
        "conv2d.kernel",
        "a 7 x 7 kernel lacks its last tap",
        seven_by_seven_without_its_corner,
    ),
    bug(
        "strided-pointwise",
        "conv2d.pointwise",
        "1 x 1 with a stride starts a column late",
        strided_pointwise_is_late,
        "float64",
        difficulty="subtle",
    ),
    bug(
        "stride-past-kernel",
        "conv2d.stride",
        "no step is longer than the kernel",
        steps_by_the_kernel_at_most,
        "float16",
        difficulty="plain",
    ),
    bug("columns-past-64", "conv2d.formula", "columns past the 64th repeat it", repeats_past("conv2d", 64), "float64"),
    bug("channels-past-32", "conv2d.channels", "input channels past the 32nd are not read", first_32_channels),
    bug("taps-past-128", "conv2d.formula", "sums end after 128 terms", first_128_taps, "bfloat16"),
    bug(
        "channels-of-eight",
        "conv2d.channels",
        "output channels past a multiple of 8 are their bias",
        edited("conv2d", eight_channels_at_a_time),
    ),
    bug(
        "kernel-is-input",
        "conv2d.formula",
        "where the kernel is the whole input the bias is forgotten",
        no_bias_where_the_kernel_is_the_input,
    ),
    bug(
        "two-samples",
        "conv2d.gradient",
        "the third sample's gradient of the weight is lost",
        two_samples_teach_the_weight,
        "float64",
        tier="gradient",
        difficulty="subtle",
    ),
    bug(
        "odd-width",
        "max_pool2d.definition",
        "the last of an odd number of columns is not read",
        odd_width_without_its_last,
        difficulty="plain",
    ),
    bug(
        "long-window",
        "max_pool2d.definition",
        "windows are read up to their 16th element",
        first_of_a_window(16),
        "float16",
    ),
    bug(
        "last-columns",
        "max_pool2d.definition",
        "the last part of a tile of 32 columns repeats the column before it",
        edited("max_pool2d", last_tile_of_columns_repeats),
        "bfloat16",
    ),
    bug(
        "rows-of-sixteen",
        "pad2d.both-ends",
        "rows past the last whole tile of 16 are not written",
        tail_unwritten("pad2d", 16, -2),
        "bfloat16",
    ),
    bug("padded-columns-past-64", "pad2d.zeros", "columns past the 64th repeat it", repeats_past("pad2d", 64)),
)
