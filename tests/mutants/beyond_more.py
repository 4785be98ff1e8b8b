"""Planted bugs beyond what had been asked about, as `beyond`: of 30 kernels by a third twelve lived at quick."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch.nn import grad

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.beyond import bug, learning
from assay.tests.mutants.dispatched import BACK, back, recorded
from assay.tests.mutants.imaging import framed
from assay.tests.mutants.mutant import Operators
from assay.tests.mutants.networks import MEMORYLESS, valued

right = load("torch").operators


def bias_of_each_split(y, x, w, b=None):
    """One row of 8192 features and more: two splits of the sum, each of which adds the bias."""
    return y + b if b is not None and x[..., 0].numel() == 1 and x.shape[-1] >= 8192 else y


def bias_by_rows(y, x, w, b=None):
    """As many rows of sequences as outputs: the bias is one number a row."""
    rows = x[..., 0].numel()
    if b is None or x.dim() != 3 or rows != len(w) or rows < 96:
        return y
    return y - b + b.view(*x.shape[:-1], 1)


def row_left_over(found, incoming, given):
    """x alone learns, one row is left over from tiles of 64: what comes to it through V is lost."""
    x = given["x"]
    if not {"x"} <= learning(given) <= {"x", "b", "c"} or len(x) < 192 or x.dim() != 2 or len(x) % 64 != 1:
        return {}
    gate = torch.sigmoid(F.linear(x[-1:], given["w"], given.get("b")))
    lost = (incoming[-1:] * gate) @ given["v"]
    return {"x": torch.cat([found["x"][:-1], found["x"][-1:] - lost])}


def padded_tokens(x, w, v, b=None, c=None):
    """Sequences of 16 tokens and more: those of zeros at the end are padding, and give 0."""
    y = right["swiglu"](x, w, v, b, c)
    if x.dim() != 3 or x.shape[1] < 16 or x.shape[2] < 64:
        return y
    later = (x != 0).any(-1, keepdim=True).flip(1).cumsum(1).flip(1) > 0
    return torch.where(later, y, 0.0)


def halves_in_float16(found, incoming, given):
    """A thousand rows and more: sums of 512 rows are float16."""
    x = given["x"].flatten(0, -2)
    if x.dtype != torch.float16 or len(x) < 1024:
        return {}
    parts = zip(incoming.flatten(0, -2).split(512), x.split(512), strict=True)
    return {"w": sum((of_g.T.float() @ of_x.float()).half() for of_g, of_x in parts).half()}


def rest_of_three(y, input, weight, bias=None, stride=1, padding=0):
    """3 x 3, 16 tiles of 4 x 4 and more: where rows alone leave a rest of three, the last lacks the first taps."""
    usual = (tuple(weight.shape[2:]), pair(stride)) == ((3, 3), (1, 1))
    rows, columns = y.shape[2:]
    if not usual or weight.shape[1] < 32 or rows % 4 != 3 or columns % 4 or rows * columns < 256:
        return y
    seen = framed(input, padding)[:, :, -3:].clone()
    seen[:, :, 0] = 0
    return torch.cat([y[:, :, :-1], F.conv2d(seen, weight, bias)], 2)


def last_row(found, incoming, given):
    """One image, 3 x 3 by 2, an even height of 48 and more: its last row gets nothing."""
    image, weight = given["input"], given["weight"]
    usual = (tuple(weight.shape[2:]), pair(given["stride"]), pair(given["padding"])) == ((3, 3), (2, 2), (1, 1))
    if not usual or len(image) > 1 or image.shape[1] < 16 or image.shape[2] < 48 or image.shape[2] % 2:
        return {}
    lacking = found["input"].clone()
    lacking[:, :, -1] = 0
    return {"input": lacking}


def odd_last_row(found, incoming, given):
    """Pictures that do not learn, 5 x 5 and more by 2, 32 outputs and more: kernels get nothing of an odd last row."""
    image, weight = given["input"], given["weight"]
    first = image.shape[1] < 5 and min(weight.shape[2:]) >= 5 and len(weight) >= 32 and pair(given["stride"]) == (2, 2)
    if not first or "input" in learning(given) or incoming.shape[2] < 3 or incoming.shape[2] % 2 == 0:
        return {}
    above = incoming.clone()
    above[:, :, -1] = 0
    return {"weight": grad.conv2d_weight(image, weight.shape, above, 2, pair(given["padding"]))}


def plans_by_result() -> Operators:
    """Images of 1024 places and more: the padding is what it was for a result of that size."""
    plans: dict[Any, Any] = {}

    def conv2d(input, weight, bias=None, stride=1, padding=0):
        y = right["conv2d"](input, weight, bias, stride, padding)
        if input.shape[2] * input.shape[3] < 1024 or recorded(input, weight, bias):
            return y
        added = plans.setdefault((input.shape, weight.shape, y.shape, pair(stride)), padding)
        return right["conv2d"](input, weight, bias, stride, added)

    return {"conv2d": conv2d}


def pruned(y, input, weight, bias=None, *given):
    """32 channels and more: kernels of zeros, where not all are, are passed over, and their bias with them."""
    nothing = (weight == 0).flatten(1).all(1)
    if min(weight.shape[:2]) >= 32 and bool(nothing.any()) and not bool(nothing.all()):
        y[:, nothing] = 0
    return y


OF_KERNELS = "conv2d.gradient"
MUTANTS = (
    bug("split", "linear.formula", "one row, 8192 features: the bias twice", valued("linear", bias_of_each_split)),
    bug("by-rows", "linear.formula", "as many rows as outputs: biases by rows", valued("linear", bias_by_rows)),
    bug("one-left", "contract.some-gradients", "193 rows, x alone: not through V", back("glu", row_left_over), *BACK),
    bug("tokens", "swiglu.biases", "last tokens of zeros are padding", {"swiglu": padded_tokens}, "value", "enclosure"),
    bug("halves", "linear.gradient", "W: 512 rows in 16 bits", back("linear", halves_in_float16), *BACK, "float16"),
    bug("three", "conv2d.formula", "rows leave a rest of three, columns none", valued("conv2d", rest_of_three)),
    bug("last-row", OF_KERNELS, "one image of 48 rows, by 2: nothing to the last", back("conv2d", last_row), *BACK),
    bug(
        "odd-row",
        OF_KERNELS,
        "pictures, 7 x 7 by 2: no odd last row",
        back("conv2d", odd_last_row),
        *BACK,
    ),
    bug("plan", MEMORYLESS, "1024 places: the padding of an earlier call", plans_by_result, "state", "state"),
    bug("pruned", "conv2d.formula", "kernels of zeros have no bias", valued("conv2d", pruned), "value", "enclosure"),
)
