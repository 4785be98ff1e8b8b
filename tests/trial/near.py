"""What is so near to numpy's that no bound is as narrow: of most answers that says at once that they are permitted.

An enclosure works an element out by the formula, on arithmetic that knows its errors, which takes a thousand times as
long as numpy does. So what an answer may be off at the least is worked out here for whole arrays: half of what a sum
of so many terms may be (Higham, section 3.1: n u times their magnitudes), a few roundings of a sigmoid, what storing
the parts of a gate in 16 bits loses, and how all of these go on. Who is not as near is judged by an enclosure. In
float64 numpy's own roundings come on top: there, what is off by more than is permitted may pass, by as little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.implementations.arrays import Values
from assay.implementations.observe import Observation
from assay.reference.arithmetic.formats import FLOAT32, FLOAT64, Format
from assay.tests.trial import suspects
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.cases import Case
from assay.tests.trial.plain import GRADIENTS, RESULTS, Gradients, linear, linear_back, sigmoid, values_of
from assay.tests.trial.suspects import GATES, SUMS
from assay.tests.trial.textures import rounded

MOVED = ("pad2d", "max_pool2d")
KNOWN = ("swish", *SUMS, *GATES, *MOVED)  # of others nothing is near
ROUNDINGS = 3.0  # that a sigmoid may take, at the least, besides numpy's own


def is_near(candidate: Candidate, case: Case, seen: Observation) -> bool:
    """Whether each element of a result is as near."""
    if suspects.is_dear(case) or case.operator not in KNOWN:
        return False
    operator, values, steps = case.operator, values_of(seen), Steps.of(candidate, case.operator, "forward")
    with np.errstate(all="ignore"):
        expected = RESULTS[operator](*values)
        return _holds(candidate, seen.output, expected, steps.off(operator, values), steps)


def far_gradients(candidate: Candidate, case: Case, seen: Observation) -> list[str]:
    """The tensors whose gradients are not as near."""
    known = case.operator in KNOWN and case.operator != "max_pool2d"  # of whose ties numpy knows nothing here
    if suspects.is_dear(case) or not known:
        return list(seen.gradients)
    assert seen.call.cotangent is not None
    operator, values, incoming = case.operator, values_of(seen), seen.call.cotangent.values
    steps = Steps.of(candidate, operator, "backward")
    with np.errstate(all="ignore"):
        expected = GRADIENTS[operator](incoming, *values)
        off = steps.off_back(operator, incoming, values)
        names = seen.gradients.items()
        return [name for name, got in names if not _holds(candidate, got, expected[name], off[name], steps)]


def _holds(candidate: Candidate, got: Values | None, expected: Values, off: Values, steps: Steps) -> bool:
    """Whether all elements are what is stored of numbers that are so much off."""
    assert got is not None
    if not steps.direct or not np.all(np.abs(expected) + off < steps.most):
        return False
    least, most = (rounded(expected + sign * off, candidate.format) for sign in (-1.0, 1.0))
    return bool(np.all((least <= got) & (got <= most)))


@dataclass(frozen=True)
class Steps:
    """What a candidate may lose at a step: of a sum, by its ``unit``, and of a part that it may store, ``part``."""

    unit: float
    part: float
    most: float
    direct: bool
    storage: Format

    @classmethod
    def of(cls, candidate: Candidate, operator: str, direction: str) -> Steps:
        """By what is declared."""
        precision, storage = candidate.precision(operator, direction), candidate.format
        part = storage.unit * (operator in GATES and storage.unit > FLOAT32.unit)
        most = min(storage.largest, precision.accumulation.largest)
        return cls(precision.accumulation.unit, part, most, precision.algorithm == "direct", storage)

    def off(self, operator: str, values: list[Any]) -> Values:
        """What the elements of a result may be off, at the least."""
        if operator in GATES:
            (opened, _), other = self._branches(operator, values)
            return (opened * other).off
        if operator in SUMS:
            return self.of_sum(RESULTS[operator], values)
        if operator in MOVED:
            return np.zeros(())
        x, beta = values
        return (Part(x) * self._gate("glu", self._stored(Part(x if beta is None else beta * x)))[0]).off

    def off_back(self, operator: str, incoming: Values, values: list[Any]) -> Gradients:
        """What the elements of the gradients may be off, at the least."""
        comes = Part(incoming)
        if operator in GATES:
            x, w, v, b, c = values
            (opened, slope), other = self._branches(operator, values)
            left, right = self._stored(comes * other * slope), comes * opened
            scaled = np.abs(np.frexp(incoming)[0]) == 0.5  # by a power of two: what was stored is stored as it is
            right = Part(right.value, np.where(scaled, right.off, self._stored(right).off))
            one, another = self._of_branch(left, x, w, b), self._of_branch(right, x, v, c)
            return {"x": one["x"] + another["x"], "w": one["w"], "b": one["b"], "v": another["w"], "c": another["b"]}
        if operator in SUMS:
            return self.of_sums(GRADIENTS[operator], [incoming, *values])
        if operator in MOVED:
            return {"x": np.zeros(())}
        x, beta = values[0], 1.0 if values[1] is None else values[1]
        z = self._stored(Part(beta * x))
        each = comes * Part(x * x) * self._gate("glu", z)[1]
        sizes = np.abs(each.value)
        summed = each.off.sum() + self.unit / 2 * _more_than_one(np.count_nonzero(sizes)) * sizes.sum()
        return {"x": (comes * self._gate("swiglu", z)[1]).off, "beta": np.reshape(summed, np.shape(beta))}

    def of_sum(self, operation: Callable[..., Values], operands: list[Any]) -> Values:
        """Half of what sums of products may be off, of which those of zeros are none; one alone may be exact."""
        return self.unit / 2 * _more_than_one(operation(*_not_zero(operands))) * operation(*suspects.absolute(operands))

    def of_sums(self, operation: Callable[..., Gradients], operands: list[Any]) -> Gradients:
        """The same of several."""
        terms, sizes = operation(*_not_zero(operands)), operation(*suspects.absolute(operands))
        return {name: self.unit / 2 * _more_than_one(terms[name]) * sizes[name] for name in terms}

    def _branches(self, operator: str, values: list[Any]) -> tuple[tuple[Part, Part], Part]:
        """The gate and its slope, and the other branch."""
        x, w, v, b, c = values
        sums = [Part(linear(*each), self.of_sum(linear, [*each])) for each in ((x, w, b), (x, v, c))]
        before, other = map(self._stored, sums)
        return self._gate(operator, before), other

    def _gate(self, operator: str, z: Part) -> tuple[Part, Part]:
        """Of numbers that are off, and its slope: s (1 - s) is as far off as s is, where that is nearly 1."""
        few = ROUNDINGS * self.unit * (z.value != 0.0)  # the sigmoid of zero is exact
        s = sigmoid(z.value)
        own, back = self._stored(Part(s, few * s)).off, 1.0 - 2.0 * s
        value, slope = s, s * (1.0 - s)
        bend, sizes = slope * back, slope
        if operator == "swiglu":
            value, bend, back = z.value * s, 2.0 * slope + z.value * bend, 1.0 + z.value * back
            slope, sizes = s + z.value * slope, s + np.abs(z.value) * slope
        gate = self._stored(Part(value, np.abs(slope) * z.off + few * np.abs(value)))
        return gate, Part(slope, np.abs(bend) * z.off + np.abs(back) * own + few * sizes)

    def _stored(self, part: Part) -> Part:
        value, off = part.value, part.off
        changed = (rounded(value, self.storage) != value) | (np.asarray(off) > 0.0)
        below = value * (1.0 - FLOAT64.unit)  # a power of two has its neighbour half as far away there
        binade = np.ldexp(0.5, np.frexp(below)[1]) * (value != 0.0)  # half a unit in the last place is a part of this
        return Part(value, off + self.part * changed * binade)

    def _of_branch(self, back: Part, x: Values, w: Values, b: Values | None) -> Gradients:
        """Of a branch's gradients, where what comes back to it is off already."""
        sums, moved = self.of_sums(linear_back, [back.value, x, w, b]), linear_back(back.off, np.abs(x), np.abs(w), b)
        return {name: sums[name] + moved[name] for name in sums}


@dataclass(frozen=True)
class Part:
    """Numbers on the way, and what they may be off."""

    value: Values
    off: Any = 0.0

    def __mul__(self, other: Part) -> Part:
        return Part(self.value * other.value, np.abs(self.value) * other.off + np.abs(other.value) * self.off)


def _more_than_one(terms: Values) -> Values:
    return np.maximum(terms - 1.0, 0.0)


def _not_zero(operands: Iterable[Any]) -> list[Any]:
    return [(each != 0.0) * 1.0 if isinstance(each, np.ndarray) else each for each in operands]
