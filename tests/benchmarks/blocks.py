"""What times of candidate and baseline in A B B A blocks say about their ratio, and what they cannot say.

Blocks are taken in stretches of four or more consecutive ones. A stretch's number is the logarithm of the ratio of the
lower quartiles of both sides' times in it. The lower quartile, because noise only adds: it is the time of a call that
nobody disturbed, as long as one call in four is one, and unlike the least time it does not hang on a single call. Both
sides of a stretch were taken in turn, so a clock that slows or a neighbour that stays is in both.

The interval is the bootstrap's (`scipy.stats.bootstrap`, percentiles) of the median of the stretches: nothing is
assumed of the noise's form. For a median the percentile bootstrap is nearly the binomial interval between two order
statistics (Efron, *The Jackknife, the Bootstrap and Other Resampling Plans*, 1982, section 10.1), whose confidence
holds for any distribution. What it needs is independence: the noise of neighbouring calls is alike, that of stretches,
which are long against it, nearly not (batch means: Law, *Simulation Modeling and Analysis*, section 9.5.3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

STRETCHES, IN_STRETCH = 40, 4
QUARTILE = 0.25
RESAMPLES = 9999
FALSE_ALARMS = 0.01  # of a whole run: shared among its cases


@dataclass
class Times:
    """Seconds by call, in order: two of each a block."""

    candidate: list[float] = field(default_factory=list)
    baseline: list[float] = field(default_factory=list)

    @property
    def rounds(self) -> int:
        """Whole blocks."""
        return min(len(self.candidate), len(self.baseline)) // 2

    def typical(self) -> tuple[float, float]:
        """The lower quartiles of candidate and baseline, in seconds."""
        return _quartile(self.candidate), _quartile(self.baseline)

    def stretches(self) -> list[float]:
        """The log-ratio of each stretch: at most `STRETCHES` even ones, of `IN_STRETCH` blocks or more."""
        parts = max(1, min(STRETCHES, self.rounds // IN_STRETCH))
        cut = [np.array_split(np.reshape(t, (-1, 2)), parts) for t in (self.candidate, self.baseline)]
        return [math.log(_quartile(a) / _quartile(b)) for a, b in zip(*cut, strict=True)]


def _quartile(times: Any) -> float:
    return float(np.quantile(times, QUARTILE))


@dataclass(frozen=True)
class Interval:
    """A ratio, and between which ratios it lies, as logarithms."""

    middle: float
    low: float
    high: float

    @property
    def half(self) -> float:
        """The larger of the two distances from the middle."""
        return max(self.high - self.middle, self.middle - self.low)

    @property
    def visible(self) -> float:
        """The smallest difference that could have been seen, as a fraction: 0.02 is 2 %."""
        return math.expm1(self.half)

    def excludes(self, ratio: float) -> int:
        """1 where all of it is above ``ratio``, -1 where all is below, else 0."""
        at = math.log(ratio)
        return int(self.low > at) - int(self.high < at)


def confidence(cases: int) -> float:
    """Of one case's interval, so that all of a run's are right together but for `FALSE_ALARMS` (Bonferroni)."""
    return 1.0 - FALSE_ALARMS / max(cases, 1)


def fewest(confidence: float) -> int:
    """The fewest blocks: with n stretches the median lies outside all of them with probability 2^(1 - n)."""
    return IN_STRETCH * math.ceil(1 - math.log2(1.0 - confidence))


def interval(times: Times, confidence: float) -> Interval:
    """Where the ratio lies, with this confidence."""
    return _bootstrapped([times.stretches()], confidence)


def moved(now: Times, then: Times, confidence: float) -> Interval:
    """Where the ratio of two runs' ratios lies. The runs are independent of each other."""
    return _bootstrapped([now.stretches(), then.stretches()], confidence)


def rounds_for(half: float, rounds: int, wanted: float) -> int:
    """How many rounds would have an interval of half-width ``wanted``: it shrinks with the root of their number."""
    return math.ceil(rounds * (half / max(wanted, 1e-3)) ** 2)


def _difference_of_medians(*samples: Any, axis: int = -1) -> Any:
    first, *others = (np.median(sample, axis=axis) for sample in samples)
    return first - sum(others)


def _bootstrapped(samples: Sequence[list[float]], confidence: float) -> Interval:
    from scipy.stats import bootstrap

    middle = float(_difference_of_medians(*map(np.asarray, samples)))
    if all(min(sample) == max(sample) for sample in samples):  # no noise at all: nothing to resample
        return Interval(middle, middle, middle)
    found = bootstrap(
        samples,
        _difference_of_medians,
        vectorized=True,
        confidence_level=confidence,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Interval(middle, min(float(found.low), middle), max(float(found.high), middle))
