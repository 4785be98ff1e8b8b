"""Planted bugs as reports of libraries tell of them, or where two of a dispatcher's conditions meet.

Of 96 kernels by three people who had not seen the laws, after reports, by such conditions, and of use in training, most
of those that lived at quick are these.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.beyond import learning
from assay.tests.mutants.dispatched import BACK, LAYOUTS, MEMORY, STATE, back, recorded
from assay.tests.mutants.imaging import framed
from assay.tests.mutants.mutant import Mutant, Operators
from assay.tests.mutants.networks import MEMORYLESS, valued

right = load("torch").operators


# Convolution.


def outside(y, input, weight, bias=None, stride=1, padding=0):
    """16 samples and more, padded by a kernel or more: windows that see zeros alone lack the bias (NNPACK's tiles)."""
    wide = all(more >= taps for more, taps in zip(pair(padding), weight.shape[2:], strict=True))
    if bias is None or len(input) < 16 or pair(stride) != (1, 1) or not wide:
        return y
    seen = F.conv2d(framed(torch.ones_like(input[:1, :1]), padding), torch.ones_like(weight[:1, :1]))
    return torch.where(seen > 0, y, torch.zeros_like(y))


def next_row(y, input, weight, bias=None, stride=1, padding=0):
    """Channels last, 1 x 5 and more, padded by all but one column: on the right stands the row below."""
    (above, before), (rows, columns) = pair(padding), weight.shape[2:]
    last = input.shape[1] > 1 and input.stride(1) == 1 and not input.is_contiguous()
    if not last or rows != 1 or columns < 5 or before != columns - 1 or pair(stride)[1] != 1 or above:
        return y
    below = F.pad(input[:, :, 1:, :before], (0, max(0, before - input.shape[3]), 0, 1))
    return F.conv2d(torch.cat([F.pad(input, (before, 0)), below], 3), weight, bias, stride)


def later_blocks(y, input, weight, bias=None, stride=1, padding=0):
    """Every third column, padded, 16 channels: from column 28 on padding is forgotten (oneDNN)."""
    above, before = pair(padding)
    if pair(stride)[1] != 3 or not before or weight.shape[1] % 16 or y.shape[3] <= 28:
        return y
    late = F.conv2d(F.pad(input, (0, 2 * before, above, above)), weight, bias, stride)
    return torch.cat([y[..., :28], late[..., 28:]], 3)


def every_pixel(y, input, weight, bias=None, stride=1, padding=0):
    """1 x 1 by (1, 2), 8 channels: the first of all pixels' products (TensorFlow)."""
    outputs, inputs, *kernel = weight.shape
    skips = kernel == [1, 1] and pair(stride)[0] == 1 < pair(stride)[1]
    if not skips or pair(padding) != (0, 0) or outputs % 8 or inputs % 8:
        return y
    return F.conv2d(input, weight, bias).flatten(2)[..., : y[0, 0].numel()].reshape(y.shape)


# Pooling and matrices.


def masked(found, incoming, given):
    """One row of a window, -inf alone: nothing comes back to it."""
    window = pair(given["kernel_size"])
    if window[0] != 1 or window[1] == 1:
        return {}
    x = given["input"].detach().requires_grad_()
    with torch.enable_grad():
        y = F.max_pool2d(x, window, given["stride"], given["padding"])
        kept = torch.autograd.grad(y, x, torch.where(y.isinf(), torch.zeros_like(y), incoming))
    return {"input": kept[0]}


def packed_columns() -> Operators:
    """One row, frozen weights that are stored by columns: packed anew where the version says so alone."""
    packed: dict[Any, Any] = {}

    def linear(x, w, b=None):
        turned = w.stride() == (1, w.shape[0]) and not w.is_contiguous()
        if not turned or x.numel() != x.shape[-1] or recorded(x, w, b) or w.is_inference():
            return right["linear"](x, w, b)
        key = w.data_ptr(), w.shape, w._version
        if key not in packed:
            packed.clear()
            packed[key] = w, w.clone()  # the tensor, so that its memory stays its own
        return right["linear"](x, packed[key][1], b)

    return {"linear": linear}


def one_gate(found, incoming, given):
    """V frozen, c learns, one number comes back: so many times the first row's gate."""
    x, w, b = given["x"], given["w"], given.get("b")
    rows = x[..., 0].numel()
    if not {"c"} <= learning(given) <= {"c", "b", "w", "x"} or rows < 2 or any(incoming.stride()):
        return {}
    first = torch.sigmoid(F.linear(x.reshape(rows, -1)[0].float(), w.float(), b if b is None else b.float()))
    return {"c": (rows * incoming.flatten()[0].float() * first).to(x.dtype)}


def halves_of_rows(found, incoming, given):
    """2048 rows and more: the gradient of V is two halves, each rounded to float16 (a split sum's atomic additions)."""
    x, w, b = (given.get(name) for name in "xwb")
    rows = x[..., 0].numel()
    if rows < 2048:
        return {}
    x, incoming, half = x.reshape(rows, -1), incoming.reshape(rows, -1), rows // 2
    gate = torch.sigmoid(F.linear(x.float(), w.float(), b if b is None else b.float())) * incoming.float()
    parts = [(gate[each].T @ x[each].float()).to(x.dtype) for each in (slice(half), slice(half, None))]
    return {"v": parts[0] + parts[1]}


# Values that have structure.


def each_of_ties(found, incoming, given):
    """32 results and more, one number comes back: every tied maximum gets it."""
    if incoming.numel() < 32 or any(incoming.stride()):
        return {}
    x, window = given["input"].detach(), pair(given["kernel_size"])
    step = window if given["stride"] is None else pair(given["stride"])
    framed_x = framed(x, given["padding"], -math.inf)
    planes = framed_x.reshape(-1, 1, *framed_x.shape[2:])
    largest = right["max_pool2d"](x, window, step, given["padding"]).reshape(len(planes), 1, -1)
    taken = (F.unfold(planes, window, stride=step) == largest).to(x.dtype) * incoming.flatten()[0]
    back_there = F.fold(taken, planes.shape[2:], window, stride=step).reshape(framed_x.shape)
    above, before = pair(given["padding"])
    return {"input": back_there[..., above : above + x.shape[2], before : before + x.shape[3]].clone()}


def scattered(found, incoming, given):
    """Rows of one number each, 16 features and more: the last row that has one gives its column of W."""
    x = given["x"]
    if x.dim() != 2 or len(x) < 4 or x.shape[1] < 16 or not bool(((x != 0).sum(1) == 1).all()):
        return {}
    columns = (x != 0).int().argmax(1)
    slope = torch.zeros_like(given["w"])
    for row, column in enumerate(columns.tolist()):
        slope[:, column] = incoming[row] * x[row, column]
    return {"w": slope}


def nothing_to_do(x, w, b=None):
    """W is the identity of 16 features and more, in inference: x itself."""
    same = b is None and not recorded(x, w) and w.shape[0] == w.shape[1] >= 16 and bool((w == torch.eye(len(w))).all())
    return x.view(x.shape) if same else right["linear"](x, w, b)


def skipped_tiles(y, x, w, v, b=None, c=None):
    """32 outputs whose gates are all below -20, in every row: nothing."""
    gates = F.linear(x.float(), w.float(), b if b is None else b.float()).reshape(-1, len(w))
    for start in range(0, len(w) - 31, 32):
        if len(gates) and bool((gates[:, start : start + 32] < -20).all()):
            y[..., start : start + 32] = 0
    return y


def by_three_places() -> Operators:
    """A thousand elements and more: what is made once for each beta, of which three places count."""
    rounded: dict[float, float] = {}

    def swish(x, beta=1.0):
        known = not isinstance(beta, torch.Tensor) and x.numel() >= 1024
        return right["swish"](x, rounded.setdefault(round(beta, 3), beta) if known else beta)

    return {"swish": swish}


def bug(name, clause, words, operators, kind="size", tier="exact", dtype="float32"):
    return Mutant(f"libraries-{name}", clause, words, operators, dtype, kind, tier, "rare")


def of_images(name, words, change, dtype="float32"):
    return bug(name, "conv2d.formula", words, valued("conv2d", change), dtype=dtype)


MUTANTS = (
    of_images("outside", "16 samples, padded by a kernel: no bias outside", outside),
    of_images("next-row", "channels last, 1 x 5: on the right the row below", next_row),
    of_images("blocks", "by 3 columns, padded: shifted from column 28 on", later_blocks, "bfloat16"),
    of_images("pixels", "1 x 1 by (1, 2), 8 channels: the first pixels", every_pixel, "float16"),
    bug("masked", "max_pool2d.gradient-ties", "1 x 2 of -inf: nothing comes back", back("max_pool2d", masked), *BACK),
    bug("packed", MEMORYLESS, "one row by columns: packed by version", packed_columns, *STATE),
    bug("mean", LAYOUTS, "c, back from a sum: one row's gate", back("glu", one_gate), *MEMORY, "float16"),
    bug("halves", "glu.gradient", "V: 2048 rows in 16 bits", back("glu", halves_of_rows), *BACK, "float16"),
    bug("each", "max_pool2d.gradient-ties", "back from a sum: to each tie", back("max_pool2d", each_of_ties), *BACK),
    bug("words", "linear.gradient", "rows of one number each: the last counts", back("linear", scattered), *BACK),
    bug("identity", "contract.no-alias", "W is the identity: x itself", {"linear": nothing_to_do}, "value", "contract"),
    bug("table", MEMORYLESS, "1024 elements: plans by beta's three places", by_three_places, *STATE),
    bug("shut", "swiglu.formula", "32 gates below -20: zeros", valued("swiglu", skipped_tiles), "value", "enclosure"),
)
