"""Independent oracles: a conforming implementation, simulated step by step, its roundings drawn by an adversary.

Nothing here knows how the enclosures are computed. A `Machine` computes with reals of 400 bits, beside which the
slack of every bound is large; each rounding is to nearest, or off by as much as the accuracy model permits.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from assay.reference.arithmetic.ball import Ball
from assay.reference.arithmetic.enclosure import Enclosure
from assay.reference.arithmetic.formats import STORAGE, Format
from assay.reference.arithmetic.precision import Precision
from assay.reference.tensor import Tensor
from assay.tests.trial.textures import WITH_SUBNORMALS, Texture

REAL = mpmath.MPContext()
REAL.prec = 400
EXP_ERROR = (4, 2.346)  # in units of u, the second by |t|: CUDA C++ Programming Guide, __expf, an ulp being 2 u
DIVISION_ERROR = 4

STRICT = [Precision.strict(fmt) for fmt in STORAGE.values()]
DECLARED = [
    *STRICT,
    Precision.declared(STORAGE["float32"], {"operands": "tf32"}),
    Precision.declared(STORAGE["bfloat16"], {"accumulation": "storage"}),
    Precision.declared(STORAGE["float16"], {"accumulation": "storage"}),
    Precision.declared(STORAGE["float32"], {"operands": "bfloat16", "flush": True}),
    Precision.declared(STORAGE["float32"], {"operands": "float16"}),
    Precision.declared(STORAGE["float32"], {"flush": True}),
    Precision.declared(STORAGE["float16"], {"flush": True}),
    Precision.declared(STORAGE["float16"], {"accumulation": "storage", "flush": True}),
    Precision.declared(STORAGE["float32"], {"accumulation": "bfloat16"}),
]
# To nearest, away from zero, towards zero, towards either infinity; each end of the bound or anywhere within, drawn.
ROUNDINGS = ("nearest", "away", "towards", "above", "below", "ends", "drawn")


def budget(examples: int) -> settings:
    """The same examples on every run, as many as given."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


def fraction(x: Any) -> Fraction:
    """A finite real, exactly."""
    if isinstance(x, int | float | Fraction):
        return Fraction(x)
    sign, mantissa, exponent, _ = x._mpf_
    return Fraction(-mantissa if sign else mantissa) * Fraction(2) ** exponent


def real(x: Any) -> Any:
    """A number as a real of 400 bits."""
    if isinstance(x, Fraction):
        return REAL.mpf(x.numerator) / x.denominator
    return x if isinstance(x, REAL.mpf) else REAL.mpf(float(x))


def inside(got: Any, ball: Ball) -> bool:
    """Whether a real, which need not be a float, lies in a ball: in exact arithmetic."""
    got = real(got)
    if not REAL.isfinite(got) or not ball.determined:
        return float(got) in ball
    return abs(fraction(got) - Fraction(ball.middle)) <= Fraction(ball.radius)


@dataclass
class Machine:
    """An implementation under ``precision``; ``rounding`` is one of `ROUNDINGS`, the seed draws all its choices."""

    precision: Precision
    rounding: str
    seed: int

    def __post_init__(self) -> None:
        self.choice = random.Random(self.seed)
        self.kept: list[Any] = []
        self.habit = self.choice.choice((0.0, 0.5, 1.0))  # how often it stores what it need not: fused, or eager

    def rounded(self, x: Any, fmt: Format, units: float = 1) -> Any:
        """``x`` after one rounding to ``fmt``, or an operation whose error is up to ``units`` of its roundoff."""
        if not REAL.isfinite(x) or not x:
            return x
        if self.precision.flush and abs(x) < fmt.least_normal:
            return REAL.mpf(0)
        nearest = _nearest(fmt, x)
        if self.rounding == "nearest" or nearest == x or not REAL.isfinite(nearest):
            return nearest  # what is a number of the format already is not rounded
        lost = self._sign(x) * min(REAL.mpf(fmt.least_subnormal) / 2, abs(x)) if abs(x) < fmt.least_normal else 0
        return x + abs(x) * self._sign(x) * units * REAL.mpf(fmt.unit) + lost if units > 1 or not lost else x + lost

    def _sign(self, x: Any) -> float:
        """Where to, and by how much of what is permitted, a result is off."""
        away = 1.0 if x > 0 else -1.0
        directions = {"away": away, "towards": -away, "above": 1.0, "below": -1.0}
        if self.rounding == "ends":
            return self.choice.choice((-1.0, 1.0))
        return directions.get(self.rounding) or self.choice.uniform(-1.0, 1.0)

    def computed(self, x: Any, units: float = 1) -> Any:
        """``x`` after one operation."""
        return self.rounded(x, self.precision.accumulation, units)

    def stored(self, x: Any) -> Any:
        """``x`` after a store: what was computed in the storage format, or stored before, stays as it is.

        What is next to a number of the format is stored as that, however badly this machine rounds.
        """
        storage = self.precision.storage
        if storage is self.precision.accumulation or x in self.kept:
            return x
        nearest = _nearest(storage, x) if REAL.isfinite(x) else x
        least = max(storage.least_normal, self.precision.accumulation.least_normal)
        next_to_it = abs(x - nearest) <= storage.unit / 4 * abs(nearest) and abs(x) >= least
        self.kept.append(nearest if next_to_it else self.rounded(x, storage))
        return self.kept[-1]

    def times(self, a: Any, b: Any) -> Any:
        """A product: 1 rounds nothing."""
        return b if a == 1 else a if b == 1 else self.computed(a * b)

    def perhaps_stored(self, x: Any) -> Any:
        """``x`` after a store that an implementation may make or not."""
        return self.stored(x) if self.choice.random() < self.habit else x

    def operand(self, x: Any) -> Any:
        """``x`` as a product reads it."""
        same = self.precision.operands is self.precision.storage
        return self._flushed(real(x)) if same else self.rounded(real(x), self.precision.operands)

    def _flushed(self, x: Any) -> Any:
        """An input: who flushes may take a subnormal one for zero."""
        return REAL.mpf(0) if self.precision.flush and abs(x) < self.precision.storage.least_normal else x

    def dot(self, xs: Sequence[Any], ws: Sequence[Any], bias: Any = None) -> Any:
        """A sum of products: shuffled, split, with or without FMA, bias first or last, stored before it or not."""
        pairs = [(self.operand(x), self.operand(w)) for x, w in zip(xs, ws, strict=True)]
        self.choice.shuffle(pairs)
        first = bias is not None and self.choice.random() < 0.5
        total = self._split(pairs, real(bias) if first else None)
        if bias is None or first:
            return total
        return self._added(self.perhaps_stored(total), real(bias))

    def total(self, parts: Sequence[Any]) -> Any:
        """A sum, in any order: no operand is rounded for it."""
        return self._split([(real(part), REAL.mpf(1)) for part in self.choice.sample(list(parts), len(parts))], None)

    def _split(self, pairs: list[tuple[Any, Any]], start: Any) -> Any:
        parts = self.choice.choice((1, 1, 2, 4, max(1, len(pairs))))
        sums = [self._chain(pairs[k::parts], start if k == 0 else None) for k in range(parts)]
        while len(sums) > 1:
            self.choice.shuffle(sums)
            sums.append(self._added(sums.pop(), sums.pop()))
        return sums[0]

    def _added(self, a: Any, b: Any) -> Any:
        """A sum of two numbers; one that is subnormal is a multiple of the least number, and exact."""
        subnormal = abs(a + b) < self.precision.accumulation.least_normal and not self.precision.flush
        return self.computed(a + b) if a and b and not subnormal else a + b

    def _chain(self, pairs: list[tuple[Any, Any]], start: Any) -> Any:
        fused, total = self.choice.random() < 0.5, start
        for x, w in pairs:
            if fused and total and x * w:
                total = self.computed(total + x * w)
            else:
                total = self.times(x, w) if total is None else self._added(total, self.times(x, w))
        return REAL.mpf(0) if total is None else total

    def exp(self, t: Any) -> Any:
        """exp(t), off by what a fast exponential may be."""
        exact = REAL.exp(t)
        return exact if t == 0 else self.computed(exact, EXP_ERROR[0] + EXP_ERROR[1] * abs(t))

    def sigmoid(self, t: Any) -> Any:
        """1 / (1 + exp(-t)), or exp(t) / (1 + exp(t)) where t < 0. At 0 nothing is rounded: exp(0) = 1."""
        if t == 0 or not REAL.isfinite(t):
            return real(1) / 2 if t == 0 else REAL.mpf(1 if t > 0 else 0 if t < 0 else "nan")
        if abs(t) > 2000:
            return REAL.mpf(t > 0)
        if t < 0 and self.choice.random() < 0.5:
            grown = self.exp(t)
            if grown < self.precision.accumulation.least_normal:
                return grown  # 1 + grown is 1
            return self.computed(grown / self.computed(1 + grown), DIVISION_ERROR)
        return self.computed(1 / self.computed(1 + self.exp(-t)), DIVISION_ERROR)

    def swish(self, x: Any, beta: Any = None) -> Any:
        """x * sigmoid(beta * x), or x / (1 + exp(-beta * x))."""
        t = real(x) if beta is None else self.perhaps_stored(self.times(real(beta), x))
        if self.choice.random() < 0.3 and t != 0 and REAL.isfinite(t):
            return self.computed(x / self.computed(1 + self.exp(-t)), DIVISION_ERROR)
        return self.times(x, self.perhaps_stored(self.sigmoid(t)))

    def gated(self, activation: str, x: Any, w: Any, v: Any, b: Any, c: Any) -> Any:
        """activation(w x + b) * (v x + c)."""
        x1, x2 = self.perhaps_stored(self.dot(x, w, b)), self.perhaps_stored(self.dot(x, v, c))
        gate = self.sigmoid(x1) if activation == "sigmoid" else self.swish(x1)
        return self.times(self.perhaps_stored(gate), x2)


def _nearest(fmt: Format, x: Any) -> Any:
    if abs(x) > 2 * REAL.mpf(fmt.largest):
        return REAL.mpf("inf") if x > 0 else REAL.mpf("-inf")
    return REAL.mpf(fmt.round(fraction(x))) if abs(x) > REAL.mpf(fmt.least_subnormal) / 4 else REAL.mpf(0)


SEEDS = st.integers(0, 2**32 - 1)


def machines(precisions: Sequence[Precision] = tuple(DECLARED)) -> st.SearchStrategy[Machine]:
    """Implementations of these precisions, whose roundings an adversary draws."""
    return st.builds(Machine, st.sampled_from(precisions), st.sampled_from(ROUNDINGS), SEEDS)


FAMILIES = tuple(family for family in WITH_SUBNORMALS if family != "zeros")


def values(shape: tuple[int, ...], fmt: Format, family: str, seed: int) -> np.ndarray:
    """Numbers of ``fmt``."""
    return Texture(family, seed).fill(shape, fmt, 64).values


def tensor(array: np.ndarray, arithmetic: Any, name: str = "x") -> Tensor:
    """An array as a tensor of an arithmetic."""
    return Tensor(array.ravel().tolist(), array.shape, arithmetic, name)


def under(machine: Machine) -> Enclosure:
    """The enclosures of the machine's precision."""
    return Enclosure(machine.precision)
