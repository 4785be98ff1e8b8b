"""Functions of real numbers, to binary64 accuracy and to fifty digits.

>>> float(exact_sigmoid(Fraction(1))) == sigmoid(1.0)
True
>>> sigmoid(-1000.0)
0.0
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Sequence
from fractions import Fraction

DIGITS = 50
_CONTEXT = decimal.Context(prec=DIGITS, Emin=-(10**9), Emax=10**9, traps=[])

# The C library's exp is taken to be right to 2**-50, four times what glibc documents for the worst of its double
# functions here (1 ulp); with the addition and the division a sigmoid is then right to SIGMOID_ERROR. A test of
# assay itself holds this against mpmath.
SIGMOID_ERROR = 2.0**-48

FAR = Fraction(2000)


def sigmoid(t: float) -> float:
    """1 / (1 + exp(-t)) in binary64, relative error at most ``SIGMOID_ERROR`` above the subnormals."""
    if t >= 0.0:
        return 1.0 / (1.0 + math.exp(-t))
    grown = math.exp(t)
    return grown / (1.0 + grown)


def exact_sigmoid(t: Fraction) -> Fraction:
    """1 / (1 + exp(-t)) to ``DIGITS`` - 2 significant digits; beyond |t| = ``FAR``, what it is there.

    exp(-FAR) is below 2**-2800, nothing beside the least number of any format.
    """
    t = max(-FAR, min(FAR, t))
    return Fraction(_CONTEXT.divide(1, _CONTEXT.add(1, _exp(-t)))) if t else Fraction(1, 2)


def _exp(t: Fraction) -> decimal.Decimal:
    # exp turns the absolute error of its argument into a relative one, so large arguments carry extra digits.
    whole = len(str(abs(t.numerator) // t.denominator))
    argument = decimal.Context(prec=DIGITS + whole, traps=[])
    quotient = argument.divide(decimal.Decimal(t.numerator), decimal.Decimal(t.denominator))
    return _CONTEXT.exp(quotient)


def maximum(xs: Sequence[float]) -> float:
    """The largest of ``xs``; NaN if one of them is NaN."""
    return math.nan if any(x != x for x in xs) else max(xs)
