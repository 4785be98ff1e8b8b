"""Planted bugs of zero padding, in the order of its clauses."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from assay.tests.mutants.mutant import Mutant


def pad2d(x, padding):
    return F.pad(x, (padding, padding, padding, padding))


def all_at_the_end(x, padding):
    return F.pad(x, (0, 2 * padding, 0, 2 * padding))


def a_row_too_high(x, padding):
    above = max(padding - 1, 0)
    return F.pad(x, (padding, padding, above, 2 * padding - above))


def squares_once(x, padding):
    square = x.shape[-1] == x.shape[-2]
    return F.pad(x, (padding, 0, padding, 0)) if square else pad2d(x, padding)


def repeats_the_border(x, padding):
    rows, columns = (torch.arange(-padding, size + padding).clamp(0, size - 1) for size in x.shape[-2:])
    return x[..., rows, :][..., columns]


def nan_is_zero(x, padding):
    return pad2d(torch.where(x.isnan(), 0.0, x), padding)


def mean_times_zero(x, padding):
    return pad2d(x, padding) + 0.0 * x.mean() * (1.0 - pad2d(torch.ones_like(x), padding))


def at_most_nine(x, padding):
    return pad2d(x, min(padding, 9))


def padding_flows_back(x, padding):
    edge = repeats_the_border(x, padding)
    return pad2d(x, padding) + (edge - edge.detach()) * (1.0 - pad2d(torch.ones_like(x), padding))


def border_times_zero(x, padding):
    return repeats_the_border(x, padding) * pad2d(torch.ones_like(x), padding)


def bug(clause, words, function, dtype="float32"):
    """A mutant named after its function."""
    return Mutant(f"pad2d.{function.__name__.replace('_', '-')}", f"pad2d.{clause}", words, {"pad2d": function}, dtype)


MUTANTS = (
    bug("both-ends", "all padding goes to the end", all_at_the_end),
    bug("both-ends", "a row fewer above and one more below", a_row_too_high),
    bug("example", "square inputs are padded at the start alone", squares_once),
    bug("zeros", "padding repeats the border", repeats_the_border),
    bug("zeros", "a NaN becomes zero", nan_is_zero, "bfloat16"),
    bug("zeros", "padding is the mean times zero", mean_times_zero, "float16"),
    bug("additive", "padding by more than nine is padding by nine", at_most_nine),
    bug("gradient", "what falls on the padding flows to the border", padding_flows_back),
    bug("gradient", "what falls on the padding is multiplied by zero", border_times_zero, "float64"),
)
