"""Enclosures: for every element of a result, the set that a conforming implementation may return.

Each element is a `Ball`: the exact value, and a radius that holds every rounding that the accuracy model permits.

>>> from assay.reference.arithmetic.formats import FLOAT32
>>> strict = Enclosure(Precision.strict(FLOAT32))
>>> third = strict.number(1.0) / strict.number(3.0)
>>> 1 / 3 in third, 0.3333 in third
(True, False)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from operator import mul
from typing import Any

from assay.reference.arithmetic import real, underflow
from assay.reference.arithmetic.algorithms import DEVIATIONS
from assay.reference.arithmetic.ball import UP, Ball, nearest, size_of
from assay.reference.arithmetic.formats import FLOAT64, Format
from assay.reference.arithmetic.precision import Precision, Refusal, TooLong
from assay.reference.arithmetic.underflow import Factors
from assay.reference.tensor import Tensor, Vector

CARRIER = 2.0**-52  # relative error of one binary64 operation, twice over

# Relative error of a sigmoid computed as 1 / (1 + exp(-t)), in units of u. CUDA C++ Programming Guide, "Intrinsic
# Functions": __expf is within 2 + floor(abs(1.173 t)) ulp, __fdividef within 2 ulp; an ulp is at most 2 u. The
# exponential's error counts by its share exp(-t) / (1 + exp(-t)) = 1 - sigmoid(t) of the denominator.
EXP_CONSTANT, EXP_SLOPE, DIVISION_AND_SUM = 4.0, 2.346, 5.0
# What a product loses below the normal numbers, in units of the least subnormal one: rounded once it is half of one; in
# two parts, the second of which underflows, it is five. Ogita, Rump and Oishi, "Accurate Sum and Dot Product", SIAM J.
# Sci. Comput. 26 (2005), on TwoProduct in the presence of underflow.
PRODUCT_UNDERFLOW = 5.0
VACUOUS = 0.5  # n u, from which on the bound of a sum says next to nothing
EXACT_SIGMOID_ERROR = 10.0 ** (2 - real.DIGITS)


class Enclosure:
    """The arithmetic of enclosures under one declared precision.

    Raises:
        Refusal: where the precision names an algorithm without a cited bound for what is computed.
        TooLong: where a sum is too long for its bound.
    """

    def __init__(self, precision: Precision) -> None:
        self.precision = precision
        self.wide = precision.storage is FLOAT64
        self.carrier = 0.0 if self.wide else CARRIER
        self.unit = precision.accumulation.unit
        self.least_normal = max(precision.storage.least_normal, precision.accumulation.least_normal)
        self.longest = math.ceil(VACUOUS / self.unit) - 1  # terms of a sum that has a useful bound
        self.least = precision.accumulation.least_subnormal / 2 or math.ulp(0.0)
        self.product_least = PRODUCT_UNDERFLOW * precision.accumulation.least_subnormal
        self.beyond_relative = precision.flush or precision.operands is not precision.storage
        operand = precision.operands.unit
        self.operand_error = 0.0 if precision.operands is precision.storage else 2.0 * operand + operand * operand

    def number(self, x: float) -> Ball:
        """An input, known exactly; where flushing is declared, a subnormal one may be taken for zero."""
        point = self.point(Fraction(x) if self.wide and math.isfinite(x) else x)
        if self.precision.flush and abs(x) < self.precision.storage.least_normal:
            point.radius = abs(x)
        return point

    def point(self, middle: Any) -> Ball:
        """A value that nothing has been rounded off."""
        return Ball(self, middle, 0.0, grown=max(1.0, size_of(middle)))

    def undetermined(self) -> Ball:
        """Nothing is required: some order of evaluation, or some permitted rounding, may overflow."""
        return Ball(self, 0.0, math.inf)

    def overflown(self, x: Ball) -> Ball:
        """Past the largest number, or perhaps. If it is past it for certain, an infinity is required of a result.

        But nothing of what is computed of it: whoever keeps a wider number there goes on with that.
        """
        past = Fraction(self.precision.accumulation.largest) * (1 + 2 * Fraction(self.unit))
        if math.isfinite(x.radius) and not x.is_sum and abs(Fraction(x.middle)) - Fraction(x.radius) > past:
            return Ball(self, math.inf if x.middle > 0 else -math.inf, math.inf)
        return self.undetermined()

    def exactly(self, middle: Any) -> bool:
        """Whether ``middle`` needs no rounding, being a number of both formats or not a number at all."""
        if isinstance(middle, Fraction):
            held = middle.denominator & (middle.denominator - 1) == 0 and FLOAT64.round(middle) == middle
        else:
            held = not math.isfinite(middle) or self.precision.storage.holds(middle)
        if self.precision.accumulation.precision < self.precision.storage.precision:
            held = held and self.precision.accumulation.holds(nearest(middle))
        return held and not (self.precision.flush and 0.0 < size_of(middle) < self.least_normal)

    def rounded(self, exact: Ball) -> Ball:
        """A computed value: one rounding to the accumulation format added to what it may be off already."""
        ball = exact.widened(self.unit, self.underflow(exact, self.precision.accumulation, exact.grown))
        return ball if ball.size <= self.precision.accumulation.largest else self.overflown(exact)

    def underflow(self, x: Ball, into: Format, grown: float = 1.0) -> float:
        """What a value may lose, rounded to this format, where that or a part of its product is no normal number: half
        of the least one, which grows with the other factors; or, flushed, all of it, where it is so small. What is
        rounded to the nearest number or to zero loses itself at most, here twice: its parts may be distributed.
        """
        least = into.least_normal if self.flushes(x, into, grown) else into.least_subnormal / 2 or math.ulp(0.0)
        return max(min(least * grown, 2.0 * x.all_parts), math.ulp(0.0))

    def flushes(self, x: Ball, into: Format, grown: float = 1.0) -> bool:
        """Whether a value, or a part of its product, may be taken for zero."""
        return self.precision.flush and x.least_size < into.least_normal * grown

    def gamma(self, n: int) -> float:
        """n u / (1 - n u): Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., lemma 3.1."""
        if n > self.longest:
            raise TooLong(
                f"a sum of n={n} terms accumulated in {self.precision.accumulation} has no useful bound "
                f"(n u = {n * self.unit:.3g}, the limit is {VACUOUS})"
            )
        return n * self.unit / (1.0 - n * self.unit)

    def _with_operands(self, gamma: float) -> float:
        return gamma + self.operand_error + gamma * self.operand_error

    def relative(self, terms: int) -> float:
        """What a sum of so many products may be off, of its terms' magnitudes; as `gamma`, it raises TooLong."""
        return self._with_operands(self.gamma(terms))

    def dot(self, xs: Any, ws: Any, bias: Ball | None = None) -> Ball:
        """Sum of products in any order, split or fused, with or without FMA: Higham, section 3.1.

        ``xs`` and ``ws`` are vectors of inputs, or (in gradients) balls and plain numbers.
        """
        if not isinstance(xs, Vector):
            self._direct()
            return self._dot_of_balls(xs, ws)
        apart = self.apart(xs.tensor.whole, ws.tensor.whole)
        special = bias is not None and not math.isfinite(bias.middle)
        if special or not (xs.tensor.finite and ws.tensor.finite):
            return self._special_dot(xs, ws, bias)
        if self.wide:
            scale = 1 << (xs.tensor.scaled[1] + ws.tensor.scaled[1])
            terms: list[Any] = list(map(mul, xs.integers, ws.integers))
            middle: Any = Fraction(sum(terms), scale)
            mass = size_of(Fraction(sum(map(abs, terms)), scale))
            zeros = terms.count(0)
        else:
            terms = list(map(mul, xs.values, ws.values))
            middle = math.fsum(terms)
            mass = sum(map(abs, terms))
            zeros = terms.count(0.0)
        n = len(terms) - zeros  # a product that is zero rounds nothing
        lost = self._lost(xs, ws, bias.middle if bias else 0.0) if self.beyond_relative else 0.0
        if bias is None:
            return self._sum(middle, mass + lost, n, lost, apart)
        whole = middle + bias.middle if self.wide else math.fsum([*terms, bias.middle])
        mass, n, lost = mass + lost + size_of(bias.middle), n + (bias.middle != 0), lost + bias.radius
        return self._sum(whole, mass, n, lost, apart, middle)

    def _lost(self, xs: Vector, ws: Vector, bias: Any) -> float:
        """What the ends of the formats' ranges add to the error of a sum of products of inputs."""
        pairs = zip(xs, ws, strict=True)
        products = (Factors(abs(x), abs(x), abs(w), (x > 0) == (w > 0)) for x, w in pairs)
        return underflow.lost(self.precision, products, bias)

    def _dot_of_balls(self, gs: Sequence[Ball], ws: Sequence[float]) -> Ball:
        if not all(g.determined and not g.overflow for g in gs):
            return self.undetermined()
        if not all(math.isfinite(g.middle) for g in gs) or not all(map(math.isfinite, ws)):
            return self.number(sum((nearest(g.middle) * w for g, w in zip(gs, ws, strict=True)), start=0.0))
        if self.wide:
            middle: Any = sum((g.middle * Fraction(w) for g, w in zip(gs, ws, strict=True)), start=Fraction(0))
        else:
            middle = math.fsum(g.middle * w for g, w in zip(gs, ws, strict=True))
        mass = sum(g.size * abs(w) for g, w in zip(gs, ws, strict=True))
        spread = sum(g.radius * abs(w) for g, w in zip(gs, ws, strict=True))
        n = sum(1 for g, w in zip(gs, ws, strict=True) if w and g.size)
        if self.beyond_relative:
            pairs = zip(gs, ws, strict=True)
            products = (Factors(g.least_size, g.size, abs(w), (g.middle > 0) == (w > 0)) for g, w in pairs)
            lost = underflow.lost(self.precision, products)
            spread, mass = spread + lost, mass + lost
        found = self._sum(middle, mass, n, (spread + self.carrier * mass) * UP)
        found.is_sum, found.parts = n > 1, sum(g.all_parts * abs(w) for g, w in zip(gs, ws, strict=True))
        return found

    def apart(self, input: Tensor, weight: Tensor) -> float:
        """What a convolution by the declared algorithm may be off, bias and stores aside; 0 for a direct sum.

        Infinite where a number on the way may overflow.
        """
        if self.precision.algorithm == "direct":
            return 0.0
        if not len(input.shape) == len(weight.shape) == 4:
            self._direct()
        found = DEVIATIONS[self.precision.algorithm](input, weight)
        gamma, least, largest = self.gamma(found.roundings), self.least, self.precision.accumulation.largest
        if self.beyond_relative:
            passed = [self.precision.accumulation] + [self.precision.operands] * (self.operand_error > 0.0)
            least = max(
                fmt.least_normal if self.precision.flush else fmt.least_subnormal
                for fmt in (self.precision.storage, *passed)
            )
            largest = min(fmt.largest for fmt in passed)
        if not found.largest * (1.0 + gamma) <= largest:
            return math.inf
        return (self._with_operands(gamma) * found.mass + found.least * least) * UP

    def _direct(self) -> None:
        """Refuse to judge what is not a convolution under an algorithm that is declared for one."""
        if self.precision.algorithm != "direct":
            raise Refusal(
                f"no cited error bound for algorithm={self.precision.algorithm}; declare 'direct' or leave it out"
            )

    def _sum(
        self, middle: Any, mass: float, n: int, spread: float, apart: float = 0.0, before_bias: Any = None
    ) -> Ball:
        """A sum of ``n`` nonzero terms of total magnitude ``mass``, whose terms are uncertain by ``spread``.

        ``apart`` is what another algorithm than the direct one may be off before the bias: the wider bound holds.
        """
        if n == 0 and not apart:
            return Ball(self, middle, spread)
        mass *= 1.0 + n * CARRIER  # the magnitudes were summed in binary64
        gamma = self.gamma(3 if n == 2 else n)  # Kahan's sum of two terms and a zero rounds twice: Higham, (4.8)
        relative = self._with_operands(gamma)
        largest = mass * (1.0 + relative) + 2.0 * apart
        if not largest <= self.precision.accumulation.largest:
            return self.undetermined()  # of one sign, too: a compensated sum makes NaN of an infinity
        rounding = relative * mass + n * self.product_least
        if apart:
            rounding = max(rounding, apart + self.gamma(1) * (mass + apart) + self.least)
        radius = spread + rounding + self.carrier * size_of(middle)
        overflow = False
        if before_bias is not None and self.precision.storage is not self.precision.accumulation:
            alone = Ball(self, before_bias, radius)
            radius += self.precision.storage.unit * alone.size + self.underflow(alone, self.precision.storage)
            overflow = alone.size > self.precision.storage.largest
            if overflow and (before_bias > 0) != (middle > 0):
                return self.undetermined()  # infinite before the bias, of the other sign after it
        found = Ball(self, middle, radius * UP, overflow, grown=max(1.0, mass))
        accumulation = self.precision.accumulation
        return found.widened(0.0, accumulation.least_normal) if self.flushes(found, accumulation) else found

    def _special_dot(self, xs: Vector, ws: Vector, bias: Ball | None) -> Ball:
        """A sum with NaN or infinities among its terms: IEEE 754 gives the same answer in every order."""
        terms = [*map(mul, xs.values, ws.values), nearest(bias.middle) if bias else 0.0]
        beyond = self.beyond_relative and any(map(partial(underflow.unsettled, self.precision), xs, ws))
        if beyond or any(map(_passes_binary64, xs, ws)):
            return self.undetermined()
        if self.precision.algorithm != "direct":  # infinities meet in a transform, and NaN reaches other outputs
            read = [*xs.values, *ws.values, *([bias.middle] if bias else [])]
            return self.point(math.nan) if any(value != value for value in read) else self.undetermined()
        if 2.0 * sum(abs(term) for term in terms if math.isfinite(term)) > self.precision.accumulation.largest:
            return self.undetermined()  # some order may overflow before it meets the infinity
        total = sum(terms, start=0.0)
        if math.isfinite(total):  # the tensor's special elements are outside this sum
            return self.dot(_alone(xs), _alone(ws), bias)
        return self.number(total)

    def sigmoid(self, t: Ball) -> Ball:
        """Monotone, and sigmoid(t +- r) lies within min(s, 1 - s) expm1(r) and within r / 4 of s = sigmoid(t)."""
        self._direct()
        if not t.determined or t.overflow:
            return self.undetermined()
        middle: Any = real.exact_sigmoid(t.middle) if isinstance(t.middle, Fraction) else real.sigmoid(t.middle)
        if not math.isfinite(t.middle) or (t.middle == 0 and t.radius == 0.0):
            return Ball(self, middle, 0.0)
        # A binary64 sigmoid underflows below -745; its bound does not.
        size, other = max(size_of(middle), math.ulp(0.0)), size_of(1 - middle) + self.carrier
        growth = math.expm1(t.radius) if t.radius < 700.0 else math.inf
        moved = min(min(size, other) * growth, t.radius / 4.0, math.exp(-t.least_size))
        share = min(other * (1.0 + growth), 1.0) if other else 0.0
        relative = DIVISION_AND_SUM + share * (EXP_CONSTANT + EXP_SLOPE * t.size)
        rounding = relative * self.unit
        least = self.precision.accumulation.least_normal
        if rounding >= 0.5:  # far below the reach of exp, whose argument may be off by half, it is zero; or subnormal
            vanishes = math.exp(-t.least_size / 2.0) < self.least
            return Ball(self, middle, size if vanishes else max(size, least) if size + moved < least else 2.0)
        rounding /= 1.0 - rounding  # the factors multiply: Higham, lemma 3.1
        own = EXACT_SIGMOID_ERROR if self.wide else real.SIGMOID_ERROR
        radius = moved + rounding * (size + moved) + own * size + self.least
        if size - moved - rounding * (size + moved) < least:
            radius = max(radius, size)  # exp(-t) may overflow, and the quotient is then zero, as it is where flushed
        return Ball(self, middle, radius * UP)

    def maximum(self, xs: Vector) -> Ball:
        """No rounding: one of the inputs, or NaN."""
        self._direct()
        return self.number(real.maximum(xs.values))

    def either(self, a: Ball, b: Ball) -> Ball:
        """Two ways to compute one value are both permitted: the wider of their balls."""
        return b if b.radius > a.radius else a

    def factored(self, parts: Sequence[Ball]) -> Ball:
        """The sum of parts that may have a factor in common: multiplied by that in the end, which is 1 where all parts
        but one are zero, it is rounded once more.
        """
        x = self.dot(parts, [1.0] * len(parts))
        alone = sum(part.size > 0.0 for part in parts) == 1
        return x if alone or x.radius == math.inf else x.widened(self.precision.storage.unit, 0.0)

    def unless_infinite(self, x: Ball, product: Ball) -> Ball:
        """``x``, of which nothing is known where a product that another grouping stores on its way may be infinite."""
        return self.undetermined() if self.store(product).overflow else x

    def store(self, x: Ball, regrouped: Any = False) -> Ball:
        """Rounding to storage: relative u, and an infinity past the largest number. ``regrouped`` where the product may
        have been grouped otherwise: what its other factors do to a stored part that has underflowed is permitted too.
        """
        storage = self.precision.storage
        if x.stored or not x.determined or not math.isfinite(x.middle):
            return x
        if storage is not self.precision.accumulation and not x.at_a_number:
            x = x.widened(storage.unit, self.underflow(x, storage, x.grown if regrouped else 1.0))
        overflow = x.overflow or x.size > storage.largest
        return x.marking(Ball(self, x.middle, x.radius, overflow, stored=True, grown=x.grown))


def _passes_binary64(x: float, w: float) -> bool:
    return math.isfinite(x) and math.isfinite(w) and math.isinf(x * w)


def _alone(v: Vector) -> Vector:
    return Vector(type(v.tensor)(v.values, (len(v),), v.tensor.arithmetic, v.tensor.name), range(len(v)))
