"""Sums of products in every order: each takes the terms along the first axis, and gives their sum.

None of them is recorded: to each term comes back what comes back to the sum (`_Sum`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from assay.tests.mutants.correct.arguments import Function, refusing_conv2d, refusing_linear, wide_of, widened, windows


def in_order(terms: Any) -> Any:
    """One after the other."""
    total = terms[0].clone()
    for term in terms[1:]:
        total += term
    return total


def from_the_end(terms: Any) -> Any:
    """The last one first."""
    return in_order(terms.flip(0))


def pairwise(terms: Any) -> Any:
    """Halves, and halves of halves."""
    half = len(terms) // 2
    return pairwise(terms[:half]) + pairwise(terms[half:]) if half else terms[0]


def by_size(terms: Any) -> Any:
    """The smallest first. Numbers are put in order as integers whose last bit is the sign, which numpy is fast at."""
    numbers = terms.numpy()
    kind = np.dtype(f"u{numbers.itemsize}")
    bits = np.ascontiguousarray(numbers).view(kind)
    last = kind.type(1)
    ordered = np.sort(bits << last | np.signbit(numbers), axis=0)
    signs = ordered << kind.type(8 * kind.itemsize - 1)
    return in_order(torch.from_numpy((ordered >> last | signs).view(numbers.dtype)))


def blocked(terms: Any, size: int = 8) -> Any:
    """Blocks of eight, whose sums are added."""
    return in_order([in_order(block) for block in terms.split(size)])


def in_lanes(terms: Any, lanes: int = 4) -> Any:
    """Every fourth to a sum of its own, as vector registers have it, and those in pairs."""
    return pairwise([in_order(terms[lane::lanes]) for lane in range(min(lanes, len(terms)))])


def halves(terms: Any) -> Any:
    """Two sums, each by the library."""
    half = len(terms) // 2
    return terms[:half].sum(0) + terms[half:].sum(0)


def _kept(error: Any) -> Any:
    """A correction where it is one: infinities and NaN are the sum's own matter."""
    return torch.where(torch.isfinite(error), error, 0.0)


def kahan(terms: Any) -> Any:
    """Kahan, *Further remarks on reducing truncation errors* (1965): what an addition lost goes with the next term."""
    total, lost = terms[0], torch.zeros_like(terms[0])
    for term in terms[1:]:
        corrected = term - lost
        new = total + corrected
        lost = _kept((new - total) - corrected)
        total = new
    return total


def neumaier(terms: Any) -> Any:
    """Neumaier (1974): what each addition lost, told by which of the two is larger, is added at the end."""
    total, lost = terms[0], torch.zeros_like(terms[0])
    for term in terms[1:]:
        new = total + term
        larger = total.abs() >= term.abs()
        lost += torch.where(larger, (total - new) + term, (term - new) + total)
        total = new
    return total + _kept(lost)


def two_sum(terms: Any) -> Any:
    """Ogita, Rump and Oishi (2005): the same by Knuth's branchless TwoSum."""
    total, lost = terms[0], torch.zeros_like(terms[0])
    for term in terms[1:]:
        new = total + term
        back = new - total
        lost += (total - (new - back)) + (term - back)
        total = new
    return total + _kept(lost)


class _Sum(torch.autograd.Function):
    """The sum of terms along the first axis, by ``total``."""

    @staticmethod
    def forward(ctx: Any, terms: Any, total: Function) -> Any:
        ctx.shape = terms.shape
        return total(terms) if len(terms) else terms.sum(0)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g.expand(ctx.shape), None


def linear_by(total: Function, stored: bool = False) -> Function:
    """linear whose sums are taken by ``total``, in at least float32, or in the inputs' own format."""

    @refusing_linear
    def linear(x, w, b=None):
        x_, w_, b_ = widened(x.dtype if stored else wide_of(x), x, w, b)
        terms = x_.movedim(-1, 0).unsqueeze(-1) * w_.T.reshape(w.shape[1], *[1] * (x.ndim - 1), w.shape[0])
        result = _Sum.apply(terms, total)
        return (result if b is None else result + b_).to(x.dtype)

    return linear


def conv2d_by(total: Function, stored: bool = False) -> Function:
    """conv2d whose sums are taken by ``total``, in at least float32, or in the inputs' own format."""

    @refusing_conv2d
    def conv2d(input, weight, bias, stride, padding):
        x, w, b = widened(input.dtype if stored else wide_of(input), input, weight, bias)
        seen = windows(x, weight.shape[2:], stride, padding).permute(1, 4, 5, 0, 2, 3)
        kernels = w.permute(1, 2, 3, 0)[:, :, :, None, :, None, None]
        result = _Sum.apply((seen.unsqueeze(4) * kernels).flatten(0, 2), total)
        return (result if bias is None else result + b[:, None, None]).to(input.dtype)

    return conv2d


def summed_by(total: Function, stored: bool = False) -> dict[str, Function]:
    """Both operators that are sums of products."""
    return {"linear": linear_by(total, stored), "conv2d": conv2d_by(total, stored)}
