"""Planted bugs of axes in other orders, of long batches and of constants that are printed.

They lived at quick among 64 kernels after reports of libraries and compilers, and of rounds before.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.tests.mutants.dispatched import BACK, LAYOUTS, MEMORY, back
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import valued

right = load("torch").operators


def turned_again(y, x, w, v, b=None, c=None):
    """x of four axes, dense: worked on as it lies in memory, and put back by that permutation, not its inverse."""
    if x.dim() != 4:
        return y
    order = *sorted(range(3), key=lambda axis: -x.stride(axis)), 3
    return y.permute(order).permute(order).reshape(y.shape) if x.permute(order).is_contiguous() else y


def columns_first(y, input, weight, bias=None, stride=1, padding=0):
    """Channels last, of which the columns come before the rows: read as if the rows came first."""
    samples, channels, rows, columns = input.shape
    if not input.permute(0, 3, 2, 1).is_contiguous() or min(channels, rows, columns) == 1:
        return y
    taken = input.permute(0, 3, 2, 1).reshape(samples, rows, columns, channels).permute(0, 3, 1, 2)
    return F.conv2d(taken, weight, bias, stride, padding)


def blocks_of_channels(y, input, weight, bias=None, stride=1, padding=0):
    """More than 128 channels, of kernels whose first axes were swapped: the second 64 are read as if packed."""
    outputs, channels, *kernel = weight.shape
    if channels <= 128 or outputs == 1 or not weight.transpose(0, 1).is_contiguous() or weight.is_contiguous():
        return y
    taps, wrong = kernel[0] * kernel[1], weight.clone()
    steps = (weight.stride(0), weight.stride(1), kernel[1], 1)
    wrong[:, 64:128] = weight.as_strided((outputs, 64, *kernel), steps, weight.storage_offset() + 64 * taps)
    return F.conv2d(input, wrong, bias, stride, padding)


def one_constant(found, incoming, given):
    """4096 elements of three axes: what comes back, if of one sample and one column, is one number."""
    x = given["x"]
    if x.dim() < 3 or x.numel() < 4096 or incoming.stride(0) or incoming.stride(-1):
        return {}
    gate = torch.sigmoid(given["beta"] * x)
    slope = incoming.flatten()[0] * x * x * gate * (1 - gate)
    return {"beta": slope.sum().reshape(found["beta"].shape)} if "beta" in found else {}


def last_row_twice(found, incoming, given):
    """16 features and outputs by more than 2^15 rows: the last row counts twice."""
    x, g = given["x"].flatten(0, -2), incoming.flatten(0, -2)
    if len(x) <= 2**15 or min(given["w"].shape) < 16:
        return {}
    return {"w": found["w"] + g[-1:].T @ x[-1:]}


def six_decimals(x, beta=None):
    """A beta that is a number is printed into the program."""
    return right["swish"](x, float(f"{beta:f}") if isinstance(beta, float) else beta)


def bug(name, clause, words, operators, kind="size", tier="exact", dtype="float32"):
    return Mutant(f"reordered-{name}", clause, words, operators, dtype, kind, tier, "rare")


MUTANTS = (
    bug(
        "heads", LAYOUTS, "four axes in turn: put back the wrong way", valued("glu", turned_again), *MEMORY, "bfloat16"
    ),
    bug("columns", LAYOUTS, "channels last, columns first: as rows first", valued("conv2d", columns_first), *MEMORY),
    bug("blocks", LAYOUTS, "129 channels: packed kernels", valued("conv2d", blocks_of_channels), *MEMORY, "float64"),
    bug("ends", LAYOUTS, "one sample and column come back: one number", back("swish", one_constant), *MEMORY),
    bug("rows", "linear.gradient", "2^15 rows: the last counts twice", back("linear", last_row_twice), *BACK),
    bug("digits", "swish.formula", "beta by six decimals", {"swish": six_decimals}, "value", "enclosure", "bfloat16"),
)
