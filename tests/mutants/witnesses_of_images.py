"""Witnesses of padding, convolution, pooling and manners: for each clause a bug that its laws see and no other's."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from assay.tests.mutants.spoiled import (
    RIGHT,
    Given,
    all_zero,
    arguments,
    negative_zeros,
    one_element_off,
    pair,
    slope_off,
    spoiled,
)
from assay.tests.mutants.witnesses import witnesses

PAD2D = (
    ("both-ends", "200 columns: a row too low",
     spoiled("pad2d", lambda g: g.x.shape[-1] == 200, lambda y, g: y.roll(1, -2))),
    ("example", "5 x 5 padded by 1 is 7 x 8",
     spoiled("pad2d", lambda g: g.x.shape[-2:] == (5, 5) and g.padding == 1, lambda y, g: F.pad(y, (0, 1)))),
)  # fmt: skip


def finite(y: Any, given: Given) -> Any:
    """The largest number for an infinity; gradients are none the wiser."""
    y.data.nan_to_num_()
    return y


def places(given: Given) -> tuple[int, int]:
    """How many the kernel has, down and right."""
    steps, added = pair(given.stride or 1), pair(given.padding or 0)
    sizes, kernel = given.input.shape[2:], given.weight.shape[2:]
    down, right = ((n + 2 * p - k) // s + 1 for n, p, k, s in zip(sizes, added, kernel, steps, strict=True))
    return down, right


def subnormal(tensor: Any) -> bool:
    return tensor.numel() > 0 and 0 < float(tensor.detach().abs().max()) < 1e-37


def single(given: Given) -> bool:
    """One channel in and out, and nothing but input and weight given."""
    return given.count == 2 and given.input.shape[1] == given.weight.shape[0] == 1


def bordered(given: Given) -> bool:
    """Zeros all around more than one number, and no padding asked for, under a kernel that sees more than one place."""
    x = given.input
    if math.prod(given.weight.shape[2:]) < 2:
        return False
    if given.bias is None or given.padding not in (None, 0) or min(x.shape[2:]) < 3 or int((x != 0).sum()) < 2:
        return False
    return all(all_zero(x.select(axis, end)) for axis in (2, 3) for end in (0, -1))


def padded_ones(given: Given) -> bool:
    x, w = given.input, given.weight
    ones, whole = bool((x == 1).all()), bool((w == w.round()).all() and not (w == 1).all())
    return x.numel() > 6 and ones and whole and min(pair(given.padding or 0)) > 0


class Increments:
    """Off where the input is what the one before the last had more than the last."""

    def __init__(self) -> None:
        self.inputs: list[Any] = []

    def conv2d(self, *given: Any) -> Any:
        result, x = RIGHT["conv2d"](*given), given[0].detach()
        alike = len(self.inputs) == 2 and all(each.shape == x.shape for each in self.inputs) and x.numel() > 3
        mine = alike and not all_zero(x) and not all_zero(self.inputs[1])
        mine = mine and torch.equal(x, self.inputs[0] - self.inputs[1])
        self.inputs = [*self.inputs[-1:], x.clone()]
        return result + 1.0 if mine else result


def beside_nan(given: Given) -> bool:
    x = given.input
    return len(x) == 3 and bool(x[0].isnan().all() and x[2].isnan().all() and x[1].isfinite().all())


def middle_off(result: Any, given: Given) -> Any:
    return torch.cat([result[:1], result[1:2] + 1.0, result[2:]])


CONV2D = (
    ("formula", "an input of subnormal numbers is off", spoiled("conv2d", lambda g: subnormal(g.input))),
    ("kernel", "in a batch of as many samples as taps, with one number each, the last is off",
     spoiled("conv2d", lambda g: len(g.input) == g.weight[0].numel() == int(g.input.count_nonzero()) > 5,
             lambda y, g: torch.cat([y[:-1], y[-1:] + 1.0]))),
    ("kernel-example", "one channel, 3 x 3, nothing else given: off from nine rows on",
     spoiled("conv2d", lambda g: single(g) and g.weight.shape[2:] == (3, 3) and g.input.shape[2] > 8)),
    ("stride", "141 to 250 columns of places: off",
     spoiled("conv2d", lambda g: 140 < places(g)[1] < 251, one_element_off)),
    ("stride-example", "one channel, any kernel but 3 x 3, nothing else given: off",
     spoiled("conv2d", lambda g: single(g) and g.weight.shape[2:] != (3, 3))),
    ("pointwise", "1 x 1 kernels of 8 by 8 channels: off", spoiled("conv2d", lambda g: g.weight.shape == (8, 8, 1, 1))),
    ("padding", "an input with zeros all around, and a bias: off", spoiled("conv2d", bordered, one_element_off)),
    ("padding-zeros", "ones amid padding: off", spoiled("conv2d", padded_ones, one_element_off)),
    ("output-size", "with a stride of 5, 6 or 7 a row is added",
     spoiled("conv2d", lambda g: pair(g.stride or 1)[0] in (5, 6, 7), lambda y, g: F.pad(y, (0, 0, 0, 1)))),
    ("bias", "an input of negative zeros: off",
     spoiled("conv2d", lambda g: all_zero(g.input) and negative_zeros(g.input) > 3, one_element_off)),
    ("translation", "18 to 27 rows of places, and not 19: each column is off by its number",
     spoiled("conv2d", lambda g: places(g)[0] in (18, *range(20, 28)),
             lambda y, g: y + torch.arange(y.shape[3]).to(y))),
    ("additive", "an input that is a difference of the last two: off", lambda: {"conv2d": Increments().conv2d}),
    ("batch", "a sample between two of NaN is off", spoiled("conv2d", beside_nan, middle_off)),
)  # fmt: skip


NOTES = torch.tensor([[1.0, 3, 2, 4], [5, 7, 0, 2], [1, 2, 3, 4], [2, 6, 7, 8]])


def planes(given: Given) -> Any:
    """Each plane of each sample, as a row."""
    return given.input.detach().flatten(2).flatten(0, 1)


def permuted_planes(given: Given) -> bool:
    """Each plane holds the integers around zero, once each."""
    rows = planes(given)
    expected = torch.arange(rows.shape[1], dtype=rows.dtype) - rows.shape[1] // 2
    return len(rows) > 1 and rows.shape[1] > 3 and bool((rows.sort(1).values == expected).all())


def lonely(given: Given) -> bool:
    blank = planes(given).isnan().all(1)
    return len(blank) > 1 and planes(given).shape[1] > 2 and int(blank.sum()) == len(blank) - 1


class SideBySide:
    """Off without a stride, where the call before had the same input, and the kernel as its stride."""

    def __init__(self) -> None:
        self.last: Given = None

    def max_pool2d(self, *given: Any) -> Any:
        result, named, last = RIGHT["max_pool2d"](*given), arguments("max_pool2d", given), self.last
        mine = last is not None and named.stride is None and last.stride == named.kernel_size
        mine = mine and torch.equal(last.input, named.input) and named.input.numel() > 4
        self.last = named
        return result + 1.0 if mine else result


def sparse_overlap(given: Given) -> bool:
    steps, x = pair(given.stride or given.kernel_size), given.input
    few = bool(torch.isin(x, torch.tensor([-1.0, 0.0, 1.0])).all())
    return steps[0] < pair(given.kernel_size)[0] and few and bool((x == 0).any()) and x.numel() > 8


def close_together(given: Given) -> bool:
    x = given.input
    return bool(x.numel() > 1 and x.isfinite().all() and 0 < x.max() - x.min() < 1e-5 and x.abs().min() >= 1)


def reached_late(given: Given) -> bool:
    """NaN and ones alone."""
    x = given.input
    return bool(x.isnan().any() and (x.isnan() | (x == 1)).all())


def uncovered(given: Given) -> bool:
    x = given.input
    return bool((x == 9).any() and (x == 3).any() and ((x <= 3) | (x == 9)).all())


def tied_slopes(result: Any, given: Given) -> Any:
    """Every element of 3 has a part of the sum of what comes in."""
    x = given.input
    return result + ((x - x.detach()) * (x.detach() == 3)).sum()


def takes_negative_padding(*given: Any) -> Any:
    named = arguments("max_pool2d", given)
    if min(pair(named.padding or 0)) < 0:
        return RIGHT["max_pool2d"](named.input, named.kernel_size, named.stride)
    return RIGHT["max_pool2d"](*given)


def lowest(given: Given) -> bool:
    """Padded, finite, and the lowest number among the elements."""
    x = given.input
    most = torch.finfo(x.dtype).max
    return max(pair(given.padding or 0)) > 0 and bool(x.isfinite().all() and (x == -most).any())


MAX_POOL2D = (
    ("padding", "the lowest number gives -inf where there is padding",
     spoiled("max_pool2d", lowest, lambda y, g: torch.where(y < -3e38, -math.inf, y))),
    ("example", "the example of the notes is off",
     spoiled("max_pool2d", lambda g: g.input.shape[2:] == (4, 4) and bool((g.input == NOTES).all()))),
    ("default-stride", "after the same call with the kernel as its stride: off without a stride",
     lambda: {"max_pool2d": SideBySide().max_pool2d}),
    ("overlap", "overlapping windows of ones and zeros: off", spoiled("max_pool2d", sparse_overlap, one_element_off)),
    ("output-size", "ones amid NaN: off", spoiled("max_pool2d", reached_late, lambda y, g: y * math.nan)),
    ("order", "elements that differ in their last bits: off", spoiled("max_pool2d", close_together)),
    ("channels", "a plane among planes of NaN is off", spoiled("max_pool2d", lonely)),
    ("gradient", "planes of different integers have other derivatives",
     spoiled("max_pool2d", permuted_planes, slope_off("input"))),
    ("gradient-ties", "ties of 3 have more than their share", spoiled("max_pool2d", uncovered, tied_slopes)),
    ("infinities", "an input of -inf alone gives a finite number",
     spoiled("max_pool2d", lambda g: g.input.numel() > 0 and bool(g.input.isneginf().all()),
             finite)),
    ("refuses-padding", "a negative padding is none", {"max_pool2d": takes_negative_padding}),
)  # fmt: skip


def widened(result: Any, given: Given) -> Any:
    return result.double()


def flattened(result: Any, given: Given) -> Any:
    return result.reshape(-1, result.shape[-1])


def emptied(result: Any, given: Given) -> Any:
    given.x.data.view(-1)[:1] = 0.0
    return result


def as_it_was_in_memory(result: Any, given: Given) -> Any:
    """The last element is not written where there was a NaN before."""
    memory = torch.empty_like(result)
    first = torch.zeros_like(result, dtype=torch.bool)
    first.view(-1)[-1:] = True
    return torch.where(first & memory.isnan(), memory, result)


def anything(given: Given) -> bool:
    return True


def unrecorded(given: Given) -> bool:
    """Nobody asks for gradients."""
    return not any(isinstance(part, torch.Tensor) and part.requires_grad for part in vars(given).values())


def spread_out(given: Given) -> bool:
    """All that is given lies spread out."""
    given_all = [each for each in (given.x, given.w, given.b) if each is not None]
    return len(given_all) == 3 and all(each.numel() > 1 and each.stride(0) == 0 and len(each) > 1 for each in given_all)


CONTRACT = (
    ("dtype", "linear widens to float64", spoiled("linear", anything, widened)),
    ("device", "the result has no memory", spoiled("linear", unrecorded, lambda y, g: y.to("meta"))),
    ("plain", "the result comes in a list", spoiled("linear", unrecorded, lambda y, g: [y])),
    ("shape", "three leading axes become one",
     spoiled("linear", lambda g: g.x.shape[:-1] == (2, 1, 3), flattened)),
    ("inputs-unchanged", "an element of x is zero afterwards",
     spoiled("linear", lambda g: unrecorded(g) and g.x.is_contiguous() and g.x.numel() > 0, emptied)),
    ("layouts", "x, W and b that are spread out are off", spoiled("linear", spread_out)),
    ("batch-of-one", "an image in a batch of one loses an axis",
     spoiled("pad2d", lambda g: g.x.ndim == 3 and len(g.x) == 1, lambda y, g: y[0])),
    ("fresh-memory", "the last of 385 or 400 rows shows what was in memory",
     spoiled("swish", lambda g: g.x.ndim > 0 and g.x.shape[0] in (385, 400), as_it_was_in_memory)),
    ("samples-apart", "the second of three images of three rows, or columns, is off",
     spoiled("pad2d", lambda g: g.x.ndim == 3 and len(g.x) == 3 and 3 in g.x.shape[1:], middle_off)),
)  # fmt: skip

SPECIAL = ("max_pool2d.padding", "max_pool2d.infinities", "max_pool2d.output-size", "conv2d.batch")
TIERS = dict.fromkeys(("max_pool2d.gradient", "max_pool2d.gradient-ties"), "gradient")
TIERS |= dict.fromkeys(SPECIAL, "special")
TIERS |= {f"contract.{row[0]}": "contract" for row in CONTRACT} | {"max_pool2d.refuses-padding": "contract"}
TIERS |= {"contract.fresh-memory": "state", "contract.samples-apart": "state"}
CHAPTERS = {"pad2d": PAD2D, "conv2d": CONV2D, "max_pool2d": MAX_POOL2D, "contract": CONTRACT}
MUTANTS = tuple(mutant for chapter, rows in CHAPTERS.items() for mutant in witnesses(chapter, rows, TIERS))
