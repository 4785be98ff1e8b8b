"""Linear: planted bugs, one or more a clause."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from assay.tests.mutants.mutant import Mutant


def without_its_tail(x, w, b=None):
    whole = w.shape[1] - w.shape[1] % 16 if w.shape[1] > 16 else w.shape[1]
    return F.linear(x[..., :whole], w[:, :whole], b)


def in_bfloat16(x, w, b=None):
    return F.linear(x.bfloat16(), w.bfloat16(), None if b is None else b.bfloat16()).to(x.dtype)


def result_in_half_precision(x, w, b=None):
    return F.linear(x, w, b).half().to(x.dtype)


def bias_by_rows(x, w, b=None):
    y = F.linear(x, w)
    square = b is not None and y.dim() == 2 and y.shape[0] == y.shape[1]
    return y if b is None else y + (b[:, None] if square else b)


def bias_twice_for_vectors(x, w, b=None):
    return F.linear(x, w, b) + (b if b is not None and x.dim() == 1 else 0)


def bias_of_ones(x, w, b=None):
    return F.linear(x, w, torch.full_like(w[:, 0], 1e-3) if b is None else b)


def saturated(x, w, b=None):
    return F.linear(x, w, b).clamp(max=127)


def scaled_by_the_batch(x, w, b=None):
    scale = x.abs().max().clamp(1, 64).log2().ceil().exp2()
    y = F.linear(x / scale, w) * scale
    return y if b is None else y + b


def first_row_twice(x, w, b=None):
    y = F.linear(x, w, b)
    return torch.cat([y[:1], y[:1], y[2:]]) if x.dim() == 2 and len(x) > 4 else y


def bias_learns_the_mean(x, w, b=None):
    if b is not None:
        b = b.detach() + (b - b.detach()) / max(1, x[..., 0].numel())
    return F.linear(x, w, b)


def weights_learn_from_the_first_row(x, w, b=None):
    if x.dim() < 2:
        return F.linear(x, w, b)
    return torch.cat([F.linear(x[:1], w, b), F.linear(x[1:], w.detach(), b)])


def numbers_alone(x, w, b=None):
    return F.linear(torch.nan_to_num(x), w, b)


def blank_where_infinite(x, w, b=None):
    y = F.linear(x, w, b)
    return torch.where(y.isinf(), torch.nan, y)


def shortest_of_both(x, w, b=None):
    shared = min(x.shape[-1], w.shape[1])
    return F.linear(x[..., :shared], w[:, :shared], b)


def bias_cut_to_length(x, w, b=None):
    y = F.linear(x, w)
    if b is None:
        return y
    return y + F.pad(b, (0, max(0, len(w) - len(b))))[: len(w)]


MUTANTS = (
    Mutant(
        "linear-no-tail", "linear.formula", "the features past a multiple of 16 are lost", {"linear": without_its_tail}
    ),
    Mutant("linear-bfloat16", "linear.formula", "computes in bfloat16", {"linear": in_bfloat16}),
    Mutant(
        "linear-half-result",
        "linear.formula",
        "the result passes through float16",
        {"linear": result_in_half_precision},
    ),
    Mutant("linear-bias-by-rows", "linear.bias", "adds b along the rows of a square result", {"linear": bias_by_rows}),
    Mutant(
        "linear-bias-twice", "linear.bias", "adds b twice to a vector", {"linear": bias_twice_for_vectors}, "float16"
    ),
    Mutant("linear-bias-unasked", "linear.bias", "adds 1/1000 where b is left out", {"linear": bias_of_ones}),
    Mutant("linear-saturated", "linear.additive", "nothing exceeds 127", {"linear": saturated}),
    Mutant(
        "linear-batch-scale",
        "linear.batch",
        "scales by the largest of the whole batch, so one row's NaN reaches all",
        {"linear": scaled_by_the_batch},
    ),
    Mutant("linear-row-twice", "linear.batch", "of five rows the second is the first", {"linear": first_row_twice}),
    Mutant(
        "linear-bias-mean",
        "linear.gradient",
        "the gradient of b is the mean over rows, not the sum",
        {"linear": bias_learns_the_mean},
    ),
    Mutant(
        "linear-first-row-learns",
        "linear.gradient",
        "the gradient of W takes the first row alone",
        {"linear": weights_learn_from_the_first_row},
        "bfloat16",
    ),
    Mutant("linear-nan-lost", "linear.special", "NaN counts as 0", {"linear": numbers_alone}),
    Mutant(
        "linear-infinity-blank", "linear.special", "an infinite result becomes NaN", {"linear": blank_where_infinite}
    ),
    Mutant("linear-shortest", "linear.refuses-sizes", "sums as far as both go", {"linear": shortest_of_both}),
    Mutant(
        "linear-bias-cut",
        "linear.refuses-sizes",
        "cuts a bias to length, or fills it with zeros",
        {"linear": bias_cut_to_length},
    ),
)
