"""The words that a formula is written in, besides + - * and /.

Each asks its operand which arithmetic it belongs to, so one formula text runs on all of them. There is no ``if`` on
numbers among these words: an enclosure that straddles zero has no answer to ``x > 0``.

>>> sigmoid(0.0)
0.5
>>> sigmoid(Fraction(0))
Fraction(1, 2)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from operator import mul
from typing import Any, Protocol

from assay.reference.arithmetic import real


class Arithmetic(Protocol):
    """What an arithmetic supplies: how it reads an input, and the four words below."""

    def number(self, x: float) -> Any: ...
    def dot(self, xs: Any, ws: Any, bias: Any = None) -> Any: ...
    def sigmoid(self, t: Any) -> Any: ...
    def maximum(self, xs: Any) -> Any: ...
    def store(self, x: Any, regrouped: Any = False) -> Any: ...


class Differentiable(Arithmetic, Protocol):
    """What the tape asks for besides, of the arithmetic that it runs on."""

    def either(self, a: Any, b: Any) -> Any:
        """One value, computed in two ways of which either is right."""

    def factored(self, parts: Sequence[Any]) -> Any:
        """The sum of parts, whose common factor may be taken out, and multiplied by in the end."""

    def unless_infinite(self, x: Any, product: Any) -> Any:
        """``x``, where another grouping of its factors stores ``product`` on the way, which may be infinite."""


def dot(xs: Any, ws: Any, bias: Any = None) -> Any:
    """The sum of products of two vectors of equal length, plus ``bias`` if there is one. In any order."""
    return arithmetic_of(xs).dot(xs, ws, bias)


def sigmoid(t: Any) -> Any:
    """1 / (1 + exp(-t))."""
    return arithmetic_of(t).sigmoid(t)


def maximum(xs: Any) -> Any:
    """The largest of a vector's elements; NaN if one of them is NaN."""
    return arithmetic_of(xs).maximum(xs)


def store(x: Any, regrouped: Any = False) -> Any:
    """``x``, as a result that an operator of the documents hands on: an implementation may round it to storage.

    ``regrouped`` where the documents state a product of three factors in two groupings, of which either is right: the
    factor that is the last of the other.
    """
    return arithmetic_of(x).store(x, regrouped)


def arithmetic_of(value: Any) -> Arithmetic:
    """The arithmetic that ``value`` belongs to: its own, or the plain one of floats, or the exact one of fractions."""
    if isinstance(value, Fraction):
        return EXACT
    found: Arithmetic = getattr(value, "arithmetic", FLOAT)
    return found


class FloatArithmetic:
    """Plain Python floats: the readable reference."""

    def number(self, x: float) -> float:
        return x

    def dot(self, xs: Sequence[float], ws: Sequence[float], bias: float | None = None) -> float:
        return math.fsum([*map(mul, xs, ws), *([] if bias is None else [bias])])

    def sigmoid(self, t: float) -> float:
        return real.sigmoid(t)

    def maximum(self, xs: Sequence[float]) -> float:
        return real.maximum(xs)

    def store(self, x: float, regrouped: Any = False) -> float:
        return x

    # For the tape: nothing is rounded here, so that both ways give one value.
    def either(self, a: Any, b: Any) -> Any:
        return a

    def factored(self, parts: Sequence[Any]) -> Any:
        return self.dot(parts, [1.0] * len(parts))

    def unless_infinite(self, x: Any, product: Any) -> Any:
        return x


class ExactArithmetic(FloatArithmetic):
    """Fractions: sums and products exact, the sigmoid right to 50 digits."""

    def number(self, x: float) -> Any:
        return Fraction(x)

    def dot(self, xs: Sequence[float], ws: Sequence[float], bias: Any = None) -> Any:
        return sum((Fraction(x) * Fraction(w) for x, w in zip(xs, ws, strict=True)), start=Fraction(bias or 0))

    def sigmoid(self, t: Any) -> Any:
        return real.exact_sigmoid(t)

    def maximum(self, xs: Sequence[float]) -> Any:
        return Fraction(max(xs))


FLOAT = FloatArithmetic()
EXACT = ExactArithmetic()
