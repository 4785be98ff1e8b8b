"""Binary floating-point formats, as parameters: a precision and an exponent range, nothing else.

Unit roundoff u = 2**-p, as in Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., section 2.1.

>>> FLOAT32.unit == 2.0**-24
True
>>> BFLOAT16.round(1.001)
1.0
>>> FLOAT16.largest, FLOAT16.least_subnormal == 2.0**-24
(65504.0, True)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Format:
    """A binary format: ``precision`` significand bits (the hidden one included) and an exponent range.

    ``emax`` is the exponent of the largest finite number's leading bit, ``1 - emax`` that of the least normal one.
    """

    name: str
    precision: int
    emax: int

    @property
    def unit(self) -> float:
        """Unit roundoff u: the largest relative error of rounding to nearest."""
        return 2.0**-self.precision

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return math.ldexp(2.0 - 2.0 ** (1 - self.precision), self.emax)

    @property
    def least_normal(self) -> float:
        """The least positive normal number."""
        return math.ldexp(1.0, 1 - self.emax)

    @property
    def least_subnormal(self) -> float:
        """The least positive number."""
        return math.ldexp(1.0, 2 - self.emax - self.precision)

    def spacing(self, x: float | Fraction) -> Fraction:
        """Distance between neighbours of this format around ``x`` (one unit in the last place)."""
        exponent = _exponent(Fraction(x)) if x else 1 - self.emax
        return Fraction(2) ** (max(exponent, 1 - self.emax) - self.precision + 1)

    def round(self, x: float | Fraction) -> float:
        """``x`` rounded to nearest, ties to even, overflowing to infinity as IEEE 754 has it."""
        if isinstance(x, float) and not math.isfinite(x):
            return x
        step = self.spacing(x)
        rounded = round(Fraction(x) / step) * step
        if abs(rounded) > Fraction(self.largest):
            return math.inf if rounded > 0 else -math.inf
        return math.copysign(float(rounded), x) if isinstance(x, float) else float(rounded)

    def holds(self, x: float) -> bool:
        """Whether ``x`` is one of this format's numbers (NaN and the infinities are)."""
        if math.isfinite(x) and not (math.frexp(x)[0] * 2.0**self.precision).is_integer():
            return False  # as most are not, which is soon told
        return x != x or self.round(x) == x

    def __str__(self) -> str:
        return self.name


def _exponent(x: Fraction) -> int:
    """floor(log2(|x|)) of a nonzero fraction."""
    guess = x.numerator.bit_length() - x.denominator.bit_length()
    return guess - 1 if abs(x) < Fraction(2) ** guess else guess


FLOAT64 = Format("float64", 53, 1023)
FLOAT32 = Format("float32", 24, 127)
TF32 = Format("tf32", 11, 127)
BFLOAT16 = Format("bfloat16", 8, 127)
FLOAT16 = Format("float16", 11, 15)

FORMATS = {fmt.name: fmt for fmt in (FLOAT64, FLOAT32, TF32, BFLOAT16, FLOAT16)}
STORAGE = {fmt.name: fmt for fmt in (FLOAT64, FLOAT32, BFLOAT16, FLOAT16)}
