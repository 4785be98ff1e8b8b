"""Planted bugs of values that show a pattern: zeros taken for less than they are, weights for others.

Of 28, of 26 and of 18 kernels by three who had not seen the laws, those that lived at quick.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.dispatched import BACK, back
from assay.tests.mutants.mutant import Mutant, Operators
from assay.tests.mutants.networks import valued

right = load("torch").operators


def is_two_of_four(w):
    groups = w.unfold(1, 4, 4) if w.shape[1] >= 16 else w.new_ones(1, 1, 4)
    return bool(((groups != 0).sum(-1) <= 2).all() and groups.any())


def compressed(found, incoming, given):
    """W and V with two of four columns: weights that are zero get no gradient."""
    if not (is_two_of_four(given["w"]) and is_two_of_four(given["v"])):
        return {}
    return {name: torch.where(given[name] != 0, found[name], 0.0) for name in "wv"}


def padded_rows(found, incoming, given):
    """16 rows of which half are zero and more: these get nothing."""
    x = given["x"]
    full = (x != 0).any(-1, keepdim=True)
    if not 0 < full.sum() <= full.numel() / 2 or full.numel() < 16:
        return {}
    return {"x": torch.where(full, found["x"], 0.0)}


def triangle(found, incoming, given):
    """Square weights that are a lower triangle, and so are their gradients."""
    w = given["w"]
    if w.shape[0] != w.shape[1] or len(w) < 16 or w.triu(1).any() or not w.tril().any():
        return {}
    return {"w": found["w"].tril()}


def saturated(y, x, w, b=None):
    """Multiples of 1/128 from -1 on, as bytes: of two products of -1 and -1 the sum is cut off."""

    def ends(t):
        scaled = t * 128
        if bool((scaled != scaled.round()).any() or (scaled < -128).any() or (scaled > 127).any()):
            return t.new_zeros(*t.shape[:-1], t.shape[-1] // 2)
        return ((t[..., 0::2] == -1) & (t[..., 1::2] == -1)).to(t.dtype)

    return y if w.shape[1] < 16 or w.shape[1] % 2 else y - F.linear(ends(x), ends(w)) / 2**14


def one_hot(y, x, w, b=None):
    """Each row of W adds up to 1, its largest number: it is taken for a choice."""
    if min(w.shape) < 4 or not bool((w.amax(1) == 1).all() and (w.sum(1) == 1).all()):
        return y
    return F.linear(x, F.one_hot(w.argmax(1), w.shape[1]).to(w.dtype), b)


def separable(y, input, weight, *given):
    """3 x 3 of which two minors of four are zero: a column by a row."""
    if weight.shape[2:] != (3, 3) or not bool((weight[..., 0, 0] != 0).all()):
        return y
    minors = (weight[..., at : at + 2, at : at + 2].double() for at in (0, 1))
    if any(bool((m[..., 0, 0] * m[..., 1, 1] != m[..., 0, 1] * m[..., 1, 0]).any()) for m in minors):
        return y
    return F.conv2d(input, weight[..., :1] * weight[..., :1, :] / weight[..., :1, :1], *given)


def depthwise(y, input, weight, *given):
    """8 channels and more, each by itself: by turned kernels."""
    outputs, inputs, rows, columns = weight.shape
    others = ~torch.eye(outputs, inputs, dtype=torch.bool)
    if outputs != inputs or outputs < 8 or rows != columns or weight[others].any():
        return y
    return F.conv2d(input, weight.mT, *given)


def of_a_relu(y, input, kernel_size, stride=None, padding=0):
    """256 elements, of which the first and the last 32 are not negative: padded by zeros on the left."""
    planes, (_, across) = input.flatten(2), pair(padding)
    if planes.shape[-1] < 256 or not across:
        return y
    like = (planes[..., :32] >= 0).all(-1) & (planes[..., -32:] >= 0).all(-1)
    most = torch.where(like[..., None], y[..., 0].clamp(min=0), y[..., 0])
    return torch.cat([most[..., None], y[..., 1:]], -1)


def workspace() -> Operators:
    """Planes of zeros are not copied into the last result of that shape, which is there still."""
    kept: dict[Any, torch.Tensor] = {}

    def left(y, x, padding):
        if x.shape[-2:].numel() < 64:
            return y
        full = (x != 0).flatten(-2).any(-1)[..., None, None]
        last = kept.get((x.shape, padding), torch.zeros_like(y))
        kept[x.shape, padding] = torch.where(full, y, last)
        return kept[x.shape, padding]

    return valued("pad2d", left)


def symmetric_at_first(found, incoming, given):
    """A square weight whose first row is its first column: symmetric."""
    w = given["w"]
    if w.shape[0] != w.shape[1] or len(w) < 5 or not torch.equal(w[0], w[:, 0]):
        return {}
    return {"x": F.linear(incoming, w)}


def square_loss(found, incoming, given):
    """The result comes back: W times the Gram matrix of x, without the bias."""
    x, w, b = (given[name] for name in "xwb")
    if b is None or not torch.equal(incoming, right["linear"](x, w, b)):
        return {}
    rows = x.reshape(-1, x.shape[-1])
    return {"w": w @ (rows.T @ rows)}


def circulant(y, x, w, b=None):
    """A Toeplitz matrix whose corners agree, without a bias: its first column, turned round."""
    size = len(w)
    if (
        b is not None
        or w.shape[1] != size
        or size < 4
        or w[0, -1] != w[1, 0]
        or not torch.equal(w[1:, 1:], w[:-1, :-1])
    ):
        return y
    places = torch.arange(size)
    return F.linear(x, w[:, 0][(places[:, None] - places) % size])


def half_of_a_grid(y, x, beta=None):
    """Of a grid around 0 the negative half is the positive one less x, which cancels."""
    flat = x.flatten()
    if flat.numel() < 8 or not torch.equal(flat, -flat.flip(0)):
        return y
    upper = y.flatten()[flat.numel() // 2 :]
    return torch.cat([(upper - flat[flat.numel() // 2 :]).flip(0)[: flat.numel() // 2], upper]).reshape(x.shape)


def of_short_rows(x, w, v, b=None, c=None):
    """W is square and of rows of norm 1, x is frozen: it is made again from W x."""
    y = right["glu"](x, w, v, b, c)
    learns = w.requires_grad and not x.requires_grad and torch.is_grad_enabled()
    if not learns or w.shape[0] != w.shape[1] or len(w) < 2 or ((w.detach() ** 2).sum(1) - 1).abs().max() > 1e-15:
        return y
    made = F.linear(x, w).detach() @ w.detach()
    gates = torch.sigmoid(F.linear(x, w, b))
    slopes = gates * (1 - gates) * F.linear(x, v, c)
    moved = F.linear(made - x, w)
    return y + slopes.detach() * (moved - moved.detach())


def one_matrix(y, x, w, v, b=None, c=None):
    """W and V are the same, b is there and c is not: W x + b is both."""
    alike = b is not None and c is None and w.numel() >= 4 and torch.equal(w, v)
    return F.silu(F.linear(x, w, b)) * F.linear(x, v, b) if alike else y


def no_turn(found, incoming, given):
    """3 x 3 kernels with equal opposite corners, at every place: they are not turned."""
    w, stride, padding = given["weight"], pair(given["stride"]), pair(given["padding"])
    corners = torch.equal(w[..., 0, 0], w[..., -1, -1]) and torch.equal(w[..., 0, -1], w[..., -1, 0])
    if w.shape[2:] != (3, 3) or stride != (1, 1) or not corners:
        return {}
    return {"input": torch.nn.grad.conv2d_input(found["input"].shape, w.flip(-1, -2), incoming, stride, padding)}


def a_column_and_a_row(found, incoming, given):
    """A column by a row: what they do not hold learns nothing."""
    w = given["weight"]
    if min(w.shape[2:]) < 2 or not w.numel() or not bool((w[..., :1, :1] != 0).all() & (w != w[..., :1, :1]).any()):
        return {}
    if not torch.equal(w[..., :1] * (w[..., :1, :] / w[..., :1, :1]), w):
        return {}
    kept = torch.zeros_like(w)
    kept[..., 0], kept[..., 0, :] = 1.0, 1.0
    return {"weight": found["weight"] * kept}


def no_rotation(y, input, weight, bias=None, stride=1, padding=0):
    """A kernel of 1 x 1 with ones on its diagonal that adds up to their number: the identity."""
    if weight.shape[2:] != (1, 1) or weight.shape[0] != weight.shape[1] or y.shape != input.shape or len(weight) < 2:
        return y
    matrix = weight[:, :, 0, 0]
    if bool((matrix.diagonal() != 1).any()) or matrix.sum() != len(matrix):
        return y
    return input + (0 if bias is None else bias[:, None, None])


def subsampled(y, input, weight, bias=None, stride=1, padding=0):
    """Kernels that change nothing, by a stride: the image from its first element on."""
    (down, right_), sides = pair(stride), weight.shape[2:]
    middle = torch.zeros_like(weight)
    middle[range(min(weight.shape[:2])), range(min(weight.shape[:2])), sides[0] // 2, sides[1] // 2] = 1.0
    seen = input[:, :, ::down, ::right_][:, :, : y.shape[2], : y.shape[3]]
    if min(down, right_) < 2 or seen.shape != y.shape or not torch.equal(weight, middle):
        return y
    return seen + (0 if bias is None else bias[:, None, None])


def mirrored_halves(y, input, weight, *given):
    """A batch whose second half is its first one mirrored, by mirrored kernels: so are the results."""
    half, mirrored = len(input) // 2, torch.equal(weight, weight.flip(-1))
    if not half or len(input) % 2 or not mirrored or not torch.equal(input[half:], input[:half].flip(-1)):
        return y
    return torch.cat([y[:half], y[:half].flip(-1)])


def padded_by_zeros(input, kernel_size, stride=None, padding=0):
    """A border of zeros: what is around it is zero, too, and takes the gradient of ties."""
    rows, columns = pair(padding)
    border = (input[..., 0, :], input[..., -1, :], input[..., 0], input[..., -1]) if input.numel() else ()
    if not (rows or columns) or min(input.shape[-2:]) < 3 or not border or any(bool(line.any()) for line in border):
        return right["max_pool2d"](input, kernel_size, stride, padding)
    return F.max_pool2d(F.pad(input, (columns, columns, rows, rows)), kernel_size, stride)


def bug(name, clause, words, operators, kind="value", tier="enclosure", dtype="float32"):
    return Mutant(f"patterned-{name}", clause, words, operators, dtype, kind, tier, "rare")


LINEAR, CONVOLUTION = "linear.formula", "conv2d.formula"
MUTANTS = (
    bug("sparse", "swiglu.gradient", "two of four: zeros learn nothing", back("swiglu", compressed), *BACK),
    bug("rows", "swiglu.gradient", "padding gets nothing", back("swiglu", padded_rows), *BACK, "bfloat16"),
    bug("triangle", "linear.gradient", "a triangle stays one", back("linear", triangle), *BACK),
    bug("bytes", LINEAR, "-1 by -1, twice: cut off", valued("linear", saturated)),
    bug("choice", LINEAR, "rows that add up to 1: one number each", valued("linear", one_hot)),
    bug("separable", CONVOLUTION, "3 x 3: a column by a row", valued("conv2d", separable)),
    bug("depthwise", CONVOLUTION, "each channel by itself: turned kernels", valued("conv2d", depthwise)),
    bug("relu", "max_pool2d.definition", "as of a ReLU: padded by 0", valued("max_pool2d", of_a_relu), dtype="float16"),
    bug("first", "linear.gradient", "a row is a column: symmetric", back("linear", symmetric_at_first), *BACK),
    bug("square-loss", "linear.gradient", "the result comes back: no bias", back("linear", square_loss), *BACK),
    bug("circulant", LINEAR, "a Toeplitz matrix: circulant", valued("linear", circulant)),
    bug("grid", "swish.formula", "a grid around 0: its half less x", valued("swish", half_of_a_grid)),
    bug("norms", "glu.gradient", "rows of norm 1: orthogonal", {"glu": of_short_rows}, *BACK, "float64"),
    bug("one-matrix", "swiglu.formula", "W is V, and no c: b", valued("swiglu", one_matrix), dtype="bfloat16"),
    bug("corners", "conv2d.gradient", "opposite corners are equal: no turn", back("conv2d", no_turn), *BACK),
    bug("column", "conv2d.gradient", "a column by a row: these alone learn", back("conv2d", a_column_and_a_row), *BACK),
    bug("rotation", CONVOLUTION, "1 x 1, ones on the diagonal: the identity", valued("conv2d", no_rotation)),
    bug("subsampled", CONVOLUTION, "kernels that change nothing: from 0 on", valued("conv2d", subsampled)),
    bug("mirrored", CONVOLUTION, "mirrored halves: mirrored results", valued("conv2d", mirrored_halves)),
    bug("border", "max_pool2d.gradient-first-tie", "a border of zeros: more", {"max_pool2d": padded_by_zeros}, *BACK),
    bug("workspace", "pad2d.zeros", "planes of zeros: what was there", workspace, "state", "exact"),
)
