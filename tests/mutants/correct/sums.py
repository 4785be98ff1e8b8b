"""Sums of products in every order: each takes the terms along the first axis, and gives their sum.

None of them is recorded: to each term comes back what comes back to the sum (`_Sum`). They are numpy's, which takes
less time than PyTorch for small arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from assay.tests.mutants.correct.arguments import Function, refusing_conv2d, refusing_linear, wide_of, widened, windows

Terms = NDArray[Any]


def in_order(terms: Terms) -> Terms:
    """One after the other."""
    total = terms[0].copy()
    for term in terms[1:]:
        total += term
    return total


def from_the_end(terms: Terms) -> Terms:
    """The last one first."""
    return in_order(terms[::-1])


def pairwise(terms: Terms) -> Terms:
    """Neighbours, then sums of neighbours."""
    while len(terms) > 1:
        even = len(terms) // 2 * 2
        terms = np.concatenate([terms[0:even:2] + terms[1:even:2], terms[even:]])
    return terms[0]


def by_size(terms: Terms) -> Terms:
    """The smallest first. Numbers are put in order as integers whose last bit is the sign, which numpy is fast at."""
    kind = np.dtype(f"u{terms.itemsize}")
    bits = np.ascontiguousarray(terms).view(kind)
    last = kind.type(1)
    ordered = np.sort(bits << last | np.signbit(terms), axis=0)
    signs = ordered << kind.type(8 * kind.itemsize - 1)
    return in_order((ordered >> last | signs).view(terms.dtype))


def blocked(terms: Terms, size: int = 8) -> Terms:
    """Blocks of eight, whose sums are added."""
    sums = terms[::size].copy()
    for k in range(1, min(size, len(terms))):
        those = terms[k::size]
        sums[: len(those)] += those
    return in_order(sums)


def in_lanes(terms: Terms, lanes: int = 4) -> Terms:
    """Every fourth to a sum of its own, as vector registers have it, and those in pairs."""
    return pairwise(np.stack([in_order(terms[lane::lanes]) for lane in range(min(lanes, len(terms)))]))


def halves(terms: Terms) -> Terms:
    """Two sums, each by the library."""
    half = len(terms) // 2
    return terms[:half].sum(0) + terms[half:].sum(0)


def _kept(error: Terms) -> Terms:
    """A correction where it is one: infinities and NaN are the sum's own matter."""
    return np.where(np.isfinite(error), error, error.dtype.type(0))


def kahan(terms: Terms) -> Terms:
    """Kahan, *Further remarks on reducing truncation errors* (1965): what an addition lost goes with the next term."""
    total, lost = terms[0], np.zeros_like(terms[0])
    for term in terms[1:]:
        corrected = term - lost
        new = total + corrected
        lost = _kept((new - total) - corrected)
        total = new
    return total


def neumaier(terms: Terms) -> Terms:
    """Neumaier (1974): what each addition lost, told by which of the two is larger, is added at the end."""
    total, lost = terms[0], np.zeros_like(terms[0])
    for term in terms[1:]:
        new = total + term
        larger = np.abs(total) >= np.abs(term)
        lost = lost + np.where(larger, (total - new) + term, (term - new) + total)
        total = new
    return total + _kept(lost)


def two_sum(terms: Terms) -> Terms:
    """Ogita, Rump and Oishi (2005): the same by Knuth's branchless TwoSum."""
    total, lost = terms[0], np.zeros_like(terms[0])
    for term in terms[1:]:
        new = total + term
        back = new - total
        lost = lost + ((total - (new - back)) + (term - back))
        total = new
    return total + _kept(lost)


class _Sum(torch.autograd.Function):
    """The sum of terms along the first axis, by ``total``."""

    @staticmethod
    def forward(ctx: Any, terms: Any, total: Function) -> Any:
        ctx.shape = terms.shape
        if not len(terms):
            return terms.sum(0)
        with np.errstate(all="ignore"):
            return torch.from_numpy(np.array(total(terms.numpy())))

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
