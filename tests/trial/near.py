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
# That a sigmoid may take, at the least, and for exp's argument besides: the enclosure's DIVISION_AND_SUM and EXP_SLOPE
# are more, which leaves room for numpy's own.
ROUNDINGS, BY_ARGUMENT = 3.0, 2.0


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
    least: float
    most: float
    direct: bool
    storage: Format

    @classmethod
    def of(cls, candidate: Candidate, operator: str, direction: str) -> Steps:
        """By what is declared."""
        precision, storage = candidate.precision(operator, direction), candidate.format
        narrow = storage.unit > precision.accumulation.unit and storage.unit > FLOAT32.unit
        most = min(storage.largest, precision.accumulation.largest)
        unit, least = precision.accumulation.unit, precision.accumulation.least_normal
        return cls(unit, storage.unit * narrow, least, most, precision.algorithm == "direct", storage)

    def off(self, operator: str, values: list[Any]) -> Values:
        """What the elements of a result may be off, at the least."""
        if operator in GATES:
            (opened, _), other = self._branches(operator, values)
            return self._result(other, opened)
        if operator in SUMS:
            return self.of_sum(RESULTS[operator], values)
        if operator in MOVED:
            return np.zeros(())
        x, beta = values
        return self._result(Part(x), self._gate("glu", self._stored(Part(x if beta is None else beta * x)))[0])

    def off_back(self, operator: str, incoming: Values, values: list[Any]) -> Gradients:
        """What the elements of the gradients may be off, at the least."""
        comes = Part(incoming)
        if operator in GATES:
            x, w, v, b, c = values
            (opened, slope), other = self._branches(operator, values)
            left, right = self._product(self._product(comes, other), slope), self._product(comes, opened)
            one, another = self._of_branch(left, x, w, b), self._of_branch(right, x, v, c)
            return {"x": one["x"] + another["x"], "w": one["w"], "b": one["b"], "v": another["w"], "c": another["b"]}
        if operator in SUMS:
            return self.of_sums(GRADIENTS[operator], [incoming, *values])
        if operator in MOVED:
            return {"x": np.zeros(())}
        x, beta = values[0], 1.0 if values[1] is None else values[1]
        opened, slope = self._gate("glu", self._stored(Part(beta * x)))
        before = self._product(self._product(comes, Part(x)), slope)
        each = self._product(Part(x), before)
        sizes = np.abs(each.value)
        summed = each.off.sum() + self.unit / 2 * _more_than_one(np.count_nonzero(sizes)) * sizes.sum()
        apart = self._product(comes, opened).off + self._product(Part(beta), before).off
        return {"x": apart, "beta": np.reshape(summed, np.shape(beta))}

    def of_sum(self, operation: Callable[..., Values], operands: list[Any]) -> Values:
        """Half of what sums of products may be off, of which those of zeros are none; one alone may be exact.

        In 16 bits they may be stored before a bias is added.
        """
        sizes, (x, w, bias, *parameters) = operation(*suspects.absolute(operands)), operands
        summed = self.unit / 2 * _more_than_one(operation(*_not_zero(operands))) * sizes
        if bias is None or not self.part:
            return summed
        return self._stored(Part(operation(x, w, None, *parameters), summed)).off

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
        """Of numbers that are off, and its slope, of whose factors s and 1 - s are as far off as s is."""
        s = sigmoid(z.value)
        few = (ROUNDINGS + BY_ARGUMENT * np.abs(z.value) * (1.0 - s)) * self.unit * (z.value != 0.0)  # at 0: exact
        vanishing = s < self.least  # it may, or be twice as large
        own, back = self._stored(Part(s, few * s)).off - few * s, 1.0 - 2.0 * s
        value, slope = s, s * (1.0 - s)
        bend, other = slope * back, s
        if operator == "swiglu":
            value, bend, back = z.value * s, 2.0 * slope + z.value * bend, 1.0 + z.value * back
            slope, other = s + z.value * slope, np.abs(z.value) * s
        off = np.maximum(np.abs(slope) * z.off + few * np.abs(value), vanishing * np.abs(value))
        sizes = np.abs(slope) + other * s
        off_back = np.maximum(np.abs(bend) * z.off + few * sizes, vanishing * sizes) + np.abs(back) * own
        return self._stored(Part(value, off)), Part(slope, off_back)

    def _result(self, factor: Part, stored: Part) -> Values:
        """What a product is off that is a result. Where it was stored before nothing is near but what is nearest."""
        return np.where(factor.is_power_of_two(), 0.0, (factor * stored).off)

    def _product(self, factor: Part, stored: Part) -> Part:
        """A product that is stored; times a power of two, what was stored is stored as it is."""
        product = factor * stored
        return Part(product.value, np.where(factor.is_power_of_two(), product.off, self._stored(product).off))

    def _stored(self, part: Part) -> Part:
        if not self.part:
            return part
        value, off = part.value, part.off
        changed = (rounded(value, self.storage) != value) | (np.asarray(off) > self.part / 4.0 * np.abs(value))
        below = value * (1.0 - FLOAT64.unit)  # a power of two has its neighbour half as far away there
        binade = np.maximum(np.ldexp(0.5, np.frexp(below)[1]), self.storage.least_normal)
        half = np.minimum(self.part * binade, np.abs(value))  # a unit in the last place; no more than there is
        return Part(value, off + changed * half)

    def _of_branch(self, back: Part, x: Values, w: Values, b: Values | None) -> Gradients:
        """Of a branch's gradients, where what comes back to it is off already; x's is stored, and two are added."""
        sums, moved = self.of_sums(linear_back, [back.value, x, w, b]), linear_back(back.off, np.abs(x), np.abs(w), b)
        off = {name: sums[name] + moved[name] for name in sums}
        return off | {"x": self._stored(Part(linear(back.value, w.T, None), off["x"])).off}


@dataclass(frozen=True)
class Part:
    """Numbers on the way, and what they may be off."""

    value: Values
    off: Any = 0.0

    def is_power_of_two(self) -> Any:
        """Where this is one, without error."""
        return (np.abs(np.frexp(self.value)[0]) == 0.5) & (self.off == 0.0)

    def __mul__(self, other: Part) -> Part:
        return Part(self.value * other.value, np.abs(self.value) * other.off + np.abs(other.value) * self.off)


def _more_than_one(terms: Values) -> Values:
    return np.maximum(terms - 1.0, 0.0)


def _not_zero(operands: Iterable[Any]) -> list[Any]:
    return [(each != 0.0) * 1.0 if isinstance(each, np.ndarray) else each for each in operands]
