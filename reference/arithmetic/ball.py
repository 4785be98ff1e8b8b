"""Balls: a midpoint, which is the exact value, and a radius, which is all that rounding may have moved it by.

Interval arithmetic in midpoint-radius form, see Rump, *Fast and parallel interval arithmetic*, BIT 39 (1999), and
Johansson, *Arb*, IEEE Trans. Comput. 66 (2017). Radii are rounded up by `UP`; midpoints are binary64 for storage
formats of 32 bits or fewer (their products are exact there) and fractions for float64.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assay.reference.arithmetic.enclosure import Enclosure

UP = 1.0 + 2.0**-48  # more than the roundings of any radius, each a dozen binary64 operations at most


class Ball:
    """All reals within ``radius`` of ``middle``; ``overflow`` when an infinity is permitted besides.

    ``stored`` says that the value has been through storage already: storing it again changes nothing. ``grown``
    bounds the product of those of its factors that are larger than 1: where a product is grouped otherwise, some of
    them multiply a part that has underflowed, and its error with it. ``is_sum`` says that it was added up, ``of_sum``
    that it is a product of such a one: distributed, some part may have underflowed where the product has not. All
    ``parts`` are of so large magnitudes together, where they are more than the value.
    """

    __slots__ = ("arithmetic", "grown", "is_sum", "middle", "of_sum", "overflow", "parts", "radius", "stored")

    def __init__(
        self,
        arithmetic: Enclosure,
        middle: Any,
        radius: float,
        overflow: bool = False,
        stored: bool = False,
        grown: float = 1.0,
    ) -> None:
        self.arithmetic, self.middle, self.radius = arithmetic, middle, radius
        self.overflow, self.stored, self.grown = overflow, stored, grown
        self.is_sum = self.of_sum = False
        self.parts = 0.0

    def __add__(self, other: Any) -> Ball:
        other = self._like(other)
        return self._combined(other, self.middle + other.middle, self.radius + other.radius, is_sum=True)

    def __sub__(self, other: Any) -> Ball:
        other = self._like(other)
        return self._combined(other, self.middle - other.middle, self.radius + other.radius, is_sum=True)

    def __mul__(self, other: Any) -> Ball:
        factor = self._like(other)
        if factor.is_one:
            return self
        if self.is_one:
            return factor
        if self.overflow != factor.overflow and (self if factor.overflow else factor).keeps_infinite:
            product = self._without_overflow() * factor._without_overflow()
            product.overflow = True
            return product
        radius = 0.0
        if self.radius or factor.radius:
            radius = _product(size_of(self.middle), factor.radius) + _product(self.radius, factor.size)
        return self._combined(factor, self.middle * factor.middle, radius, self.grown * factor.grown)

    def __truediv__(self, other: Any) -> Ball:
        other = self._like(other)
        least = size_of(other.middle) / UP - other.radius
        if not least > 0.0:
            return self.arithmetic.undetermined()
        quotient = self.middle / other.middle
        return self._combined(other, quotient, (self.radius + size_of(quotient) * other.radius) / least)

    def __radd__(self, other: Any) -> Ball:
        return self._like(other) + self

    def __rsub__(self, other: Any) -> Ball:
        return self._like(other) - self

    def __rmul__(self, other: Any) -> Ball:
        return self._like(other) * self

    def __rtruediv__(self, other: Any) -> Ball:
        return self._like(other) / self

    @property
    def size(self) -> float:
        """The largest magnitude inside."""
        return (size_of(self.middle) + self.radius) * UP

    @property
    def all_parts(self) -> float:
        """The magnitudes of all parts that it may be distributed into, or its own."""
        return max(self.parts, self.size)

    @property
    def least_size(self) -> float:
        """The smallest magnitude inside; none where a part of it may be any."""
        return 0.0 if self.of_sum else max(0.0, size_of(self.middle) / UP - self.radius)

    @property
    def at_a_number(self) -> bool:
        """Whether all of these are stored as the middle: half a unit in the last place is u |x| / 2 at the least."""
        precision, least = self.arithmetic.precision, self.arithmetic.least_normal
        near = self.radius <= precision.storage.unit / 4.0 * abs(self.middle) and self.least_size >= least
        return (self.radius == 0.0 or near) and self.arithmetic.exactly(self.middle)

    @property
    def keeps_infinite(self) -> bool:
        """Whether an infinity times any of these is an infinity: not if one is zero, or may be flushed to it."""
        least = self.arithmetic.least_normal if self.arithmetic.precision.flush else 0.0
        return self.determined and math.isfinite(self.middle) and self.least_size > least

    @property
    def is_one(self) -> bool:
        """Whether this is exactly 1, by which multiplying rounds nothing."""
        return self.radius == 0.0 and bool(self.middle == 1)

    @property
    def determined(self) -> bool:
        """Whether more is known of the value than that it is a number or NaN."""
        return self.radius != math.inf

    @property
    def required(self) -> bool:
        """Whether anything at all is required of the element, if this is the result."""
        return self.determined or math.isinf(self.middle)

    def __contains__(self, got: float) -> bool:
        return self.margin(got) <= 1.0

    def margin(self, got: float) -> float:
        """|got - exact| / permitted: at most 1 for a conforming element, infinite where no error is permitted."""
        if not self.determined:
            return math.inf if self.required and got != self.middle else 0.0
        if not (math.isfinite(self.middle) and math.isfinite(got)):
            same = got == self.middle or (got != got and self.middle != self.middle)
            return 0.0 if same or (self.overflow and self._may_overflow_to(got)) else math.inf
        if not self.radius:
            return math.inf if got != self.middle else 0.0
        if self.radius == math.inf:
            return 0.0
        if isinstance(self.middle, Fraction):  # an error below the normal numbers may be twice its size, rounded
            return nearest(abs(Fraction(got) - self.middle) / Fraction(self.radius))
        return size_of(got - self.middle) / self.radius

    def _may_overflow_to(self, got: float) -> bool:
        return math.isinf(got) and ((got > 0.0) == (self.middle > 0) or self.radius >= size_of(self.middle))

    @property
    def exact(self) -> float:
        """The middle, as the nearest binary64 number."""
        return nearest(self.middle)

    def bounds(self) -> tuple[float, float]:
        """The least and the largest permitted value."""
        if not self.determined and self.required:
            return self.middle, self.middle
        return nearest(self.middle) - self.radius, nearest(self.middle) + self.radius

    def widened(self, unit: float, least: float) -> Ball:
        """This ball after one more rounding: relative ``unit``, absolute ``least`` below the normal numbers."""
        radius = (self.radius + unit * self.size + least) * UP
        return self.marking(Ball(self.arithmetic, self.middle, radius, self.overflow, grown=self.grown))

    def marking(self, found: Ball) -> Ball:
        """The other ball, which is of this value after a rounding, and marked as a sum, or of one, where this is."""
        found.is_sum, found.of_sum, found.parts = self.is_sum, self.of_sum, self.parts
        return found

    def _without_overflow(self) -> Ball:
        return self.marking(Ball(self.arithmetic, self.middle, self.radius, False, self.stored, self.grown))

    def _like(self, other: Any) -> Ball:
        return other if isinstance(other, Ball) else self.arithmetic.number(float(other))

    def _combined(self, other: Ball, middle: Any, radius: float, grown: float = 0.0, is_sum: bool = False) -> Ball:
        """The result of an operation whose operands' radii give ``radius``, with its own rounding added."""
        arithmetic = self.arithmetic
        if self.middle != self.middle or other.middle != other.middle:
            return arithmetic.point(math.nan)  # whatever the other operand is
        if not (self.determined and other.determined) or self.overflow or other.overflow:
            return arithmetic.undetermined()
        found = Ball(arithmetic, middle, radius, grown=grown or max(self.grown, other.grown))
        found.is_sum, found.of_sum = is_sum, self.of_sum or other.of_sum
        if is_sum:
            found.parts = self.all_parts + other.all_parts
        else:
            found.of_sum |= self.is_sum or other.is_sum
            among = self.all_parts * other.all_parts if grown else math.inf  # of a quotient
            found.parts = among if found.of_sum else 0.0
        if radius == 0.0 and arithmetic.exactly(middle):
            return found
        if arithmetic.carrier:  # the middle was computed in binary64
            found.radius += arithmetic.carrier * size_of(middle)
        return arithmetic.rounded(found)


def size_of(x: Any) -> float:
    """|x| rounded up to a binary64 number."""
    if isinstance(x, float):
        return abs(x)
    numerator, denominator = x.as_integer_ratio()
    try:
        return math.nextafter(abs(numerator / denominator), math.inf) if numerator else 0.0
    except OverflowError:
        return math.inf


def nearest(x: Any) -> float:
    """``x`` as a binary64 number, infinite past the largest."""
    try:
        return float(x)
    except OverflowError:
        return math.inf if x > 0 else -math.inf


def _product(a: float, b: float) -> float:
    return a * b if a and b else 0.0
