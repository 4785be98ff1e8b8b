"""The statistics tier: are the rounding errors of many sums as small, and as even, as those of the declared precision?

A worst-case bound grows as n, rounding errors as sqrt(n): with thousands of sums, much smaller faults show. What is
assumed is the usual model (Higham and Mary, *A new approach to probabilistic rounding error analysis*, SIAM J. Sci.
Comput. 41, 2019; *Sharper probabilistic backward error analysis ...*, 42, 2020): each operation errs by at most u
relatively, by 0 on average whatever came before.

T sums of n products p_ti, whose signs are drawn evenly and independently. Each operation adds an error of at most
u |s|, s its partial sum, so, for partial sums given, the weighted sum of all errors is a martingale: by Azuma and
Hoeffding it passes lambda u sqrt(sum of w_t^2 s^2) with a probability of at most 2 exp(-lambda^2 / 2). In any order
of summation that the signs do not decide, the s^2 of a sum's at most n additions average at most sum_i p_ti^2 each;
as a quadratic form in the signs, their total Q over all T sums passes

    A (1 + 2 sqrt(tau max_t A_t / A) + 2 tau max_t A_t / A),    A_t = (n + 1) sum_i p_ti^2,  A = sum of A_t,

with a probability of at most exp(-tau): the main theorem of Hsu, Kakade and Zhang, *A tail inequality for quadratic
forms of subgaussian random vectors*, Electron. Commun. Probab. 17 (2012), no. 52 (theorem 1 of arXiv:1110.2842), whose
tr(Sigma^2) is at most tr(Sigma) times the largest eigenvalue. (n + 1: the products round too.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.implementations.arrays import Values
from assay.reference.arithmetic.precision import Precision

# A run asks at most 10^5 questions (a deep one 12 948); its false-alarm probability is to be 1e-9, 1e-14 for each. In
# thirds: one for Q and two for the martingale (`most`), or one each for Q, for the largest of its T parts and for the
# theorem once more (`most_squared`).
TAU = math.log(3.0 / 1e-14)
LAMBDA = math.sqrt(2.0 * TAU)  # 2 exp(-LAMBDA^2 / 2) is two thirds


@dataclass(frozen=True)
class Sums:
    """T exact values, the sums of their products' squares and magnitudes, and n.

    ``stored`` counts the roundings to storage of each; ``common`` bounds a relative error that all may share, ``apart``
    an absolute one that each may have.
    """

    exact: Values
    squares: Values
    magnitudes: Values
    terms: int
    stored: int = 1
    common: float = 0.0
    apart: float = 0.0


def sums_of(products: Values, factor: float = 1.0, **more: Any) -> Sums:
    """The sums of the rows of ``products`` (T, n), each times a factor."""
    squares, magnitudes = (products**2).sum(1) * factor**2, np.abs(products).sum(1) * abs(factor)
    return Sums(_added(products) * factor, squares, magnitudes, products.shape[1], **more)


def _added(rows: Values) -> Values:
    """The sum of each row, its halves added to each other; what each addition rounds away is added in the end.

    For n terms it is off by 2^-53 of it, and n 2^-102 of the terms' magnitudes: Ogita, Rump and Oishi, *Accurate sum
    and dot product*, SIAM J. Sci. Comput. 26 (2005), section 4. (math.fsum takes ten times as long.)
    """
    lost = np.zeros(len(rows))
    while (length := rows.shape[1]) > 1:
        half = length // 2
        left, right, odd = rows[:, :half], rows[:, half : 2 * half], rows[:, 2 * half :]
        total = left + right
        seen = total - left
        lost += ((left - (total - seen)) + (right - seen)).sum(1)
        rows = np.concatenate([total, odd], 1)
    return rows[:, 0] + lost


def most(sums: Sums, precision: Precision) -> float:
    """What the sum of all errors, each times 1 or -1, does not pass."""
    return LAMBDA * math.sqrt(_variance(sums, precision)[0]) + _granted(sums, precision)


def most_squared(sums: Sums, precision: Precision) -> float:
    """What the sum of the errors' squares does not pass: the theorem once more, now for the errors given the Q_t."""
    total, largest = _variance(sums, precision)
    shared = _granted(sums, precision)
    return (math.sqrt(total + 2.0 * math.sqrt(TAU * total * largest) + 2.0 * TAU * largest) + shared) ** 2


def _variance(sums: Sums, precision: Precision) -> tuple[float, float]:
    """The sum over t of the variance proxies of the errors, and the largest that one of them may be."""
    a = (sums.terms + 1) * sums.squares
    total, largest, unit = float(a.sum()), float(a.max()), precision.accumulation.unit
    q = total + 2.0 * math.sqrt(TAU * total * largest) + 2.0 * TAU * largest
    tau = TAU + math.log(len(a))  # for all T of them at once
    one = largest * (1.0 + 2.0 * math.sqrt(tau) + 2.0 * tau)
    second_order = (1.0 + sums.terms * unit) ** 2  # the partial sums have errors themselves
    storage = (sums.stored * precision.storage.unit * sums.exact) ** 2 * (1.0 + precision.storage.unit) ** 4
    operands = sums.squares * _operand_error(precision) ** 2
    others = storage + operands
    return q * unit**2 * second_order + float(others.sum()), one * unit**2 * second_order + float(others.max())


def _operand_error(precision: Precision) -> float:
    """Of a product whose operands are rounded: each by its own share, whose sign is even as the product's is."""
    unit = precision.operands.unit
    return 0.0 if precision.operands is precision.storage else 2.0 * unit + unit**2


def _granted(sums: Sums, precision: Precision) -> float:
    """What is not left to chance: a shared error, operands that all shrink, underflow, and the judge's own sums."""
    shared = (sums.common + _operand_error(precision)) * float(np.abs(sums.exact).sum())
    least = precision.storage.least_normal if precision.flush else precision.storage.least_subnormal
    shared += len(sums.exact) * sums.apart
    own = 2.0**-52 * float(np.abs(sums.exact).sum()) if precision.storage.precision < 53 else 0.0
    own += sums.terms * 2.0**-102 * float(sums.magnitudes.sum())
    return shared + own + len(sums.exact) * (sums.terms + 2) * least


def margins(got: Values, sums: Sums, precision: Precision) -> dict[str, float]:
    """By question, what was seen over what it does not pass: more than 1 is a fault."""
    error = got - sums.exact
    if not np.isfinite(error).all():
        return {"are not all numbers": math.inf}
    signed, plain = (abs(math.fsum((error * w).tolist())) for w in (np.sign(sums.exact), 1.0))
    squares = math.fsum((error * error).tolist())
    once = most(sums, precision)
    return {
        "are together too large or too small": signed / once,
        "lean to one side": plain / once,
        "scatter too widely": math.sqrt(squares / most_squared(sums, precision)),
    }
