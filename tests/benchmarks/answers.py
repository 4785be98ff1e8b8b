"""Judging the calls that were timed, after the clock has stopped: a few elements of each, against their enclosures.

What an implementation has returned is looked at at once, at places that it could not know, and again later: work that
it left to a thread shows as a wrong number first, and as a number that has changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from assay.implementations.observe import Call
from assay.reference.arithmetic.ball import Ball
from assay.reference.arithmetic.enclosure import Enclosure
from assay.reference.conv2d import pair
from assay.reference.tensor import Index
from assay.tests.benchmarks.cases import BACKWARD, Timed
from assay.tests.benchmarks.inputs import INCOMING, Subject, Visit
from assay.tests.trial import permitted
from assay.tests.trial.candidate import Candidate

AFFORDABLE = 2**18  # products on the way to one element of a gradient, beyond which a dense one is not judged
RESULT = "result"


class Wrong(Exception):
    """An implementation is not to be timed, and why, in words."""


Taken = dict[str, list[tuple[Index, float]]]


class Answers:
    """What one subject returns, held to its own precision. ``judged`` counts elements."""

    def __init__(self, subject: Subject) -> None:
        self.subject, self.timed = subject, subject.timed
        self.candidate = Candidate(subject.implementation, self.timed.dtype, subject.device)
        self.judged, self.margin = 0, 0.0

    def expect(self, visit: Visit, elements: int) -> None:
        """Choose what will be looked at, before the call is made."""
        shapes = {RESULT: self.timed.layer.case.result_shape}
        if self.timed.direction == BACKWARD:
            shapes |= {n: shape for n, shape in self.subject.numbers.shapes.items() if n != INCOMING}
        visit.places = {name: self.subject.numbers.places(shape, elements) for name, shape in shapes.items()}

    def take(self, visit: Visit, extremes: bool = False) -> Taken:
        """The chosen elements as they are now; with ``extremes``, the least and the greatest of all as well.

        What is far off, or not a number, is among those, and so is what the largest input leads to.

        Raises:
            Wrong: it raised, or there is no plain tensor of the right shape and dtype.
        """
        if visit.raised is not None:
            words = str(visit.raised).strip().splitlines() or [""]
            raise Wrong(f"it raised {type(visit.raised).__name__}: {words[0]}")
        arrays = self._arrays(visit)
        if extremes:
            for name, places in visit.places.items():
                values = self.subject.library.read(arrays[name])
                ends = (np.unravel_index(find(values), values.shape) for find in (np.argmin, np.argmax))
                places += [tuple(map(int, end)) for end in ends]
        return {name: [(at, _number(arrays[name], at)) for at in places] for name, places in visit.places.items()}

    def check(self, visit: Visit, taken: Taken, gradients: bool = False) -> None:
        """Judge what was taken of the result, and of the gradients if asked, and see that it is still there.

        Raises:
            Wrong: an element is outside what is permitted, or has changed since.
        """
        for name, elements in taken.items():
            array = self._arrays(visit)[name]
            for at, before in elements:
                now = _number(array, at)
                if not (now == before or (now != now and before != before)):
                    raise Wrong(
                        f"its {name} changed after it had returned: element {at} was {before:.6g}, then {now:.6g}; "
                        "work that goes on in a thread or a stream is not timed"
                    )
        call = visit.draw.call(self.subject.device)
        self._judge(RESULT, taken[RESULT], self._forward(call), "forward")
        for name in taken.keys() - {RESULT} if gradients else ():
            if enclose := self._backward(call, visit, name):
                self._judge(f"gradient of {name}", taken[name], enclose, "backward")

    def _arrays(self, visit: Visit) -> dict[str, Any]:
        result, gradients = visit.result if self.timed.direction == BACKWARD else (visit.result, {})
        found = {RESULT: result, **gradients}
        library = self.subject.library
        for name in visit.places:
            shape = self.timed.layer.case.result_shape if name == RESULT else self.timed.layer.shapes[name]
            array = found.get(name)
            if not library.is_array(array):
                raise Wrong(f"its {name} is {type(array).__name__}, not a plain array: what is lazy is not timed")
            if tuple(array.shape) != shape or library.dtype_of(array) != self.timed.dtype:
                got = f"shape {tuple(array.shape)}, dtype {library.dtype_of(array)}"
                raise Wrong(f"its {name} has {got}; the formula gives shape {shape}, dtype {self.timed.dtype}")
        return found

    def _judge(
        self, what: str, elements: Iterable[tuple[Index, float]], enclose: Callable[[Index], Ball], direction: str
    ) -> None:
        for at, got in elements:
            ball = enclose(at)
            margin = ball.margin(got)
            self.judged += ball.required
            if margin > 1.0:
                low, high = ball.bounds()
                declared = self.candidate.precision(self.timed.layer.operator, direction)
                raise Wrong(
                    f"its {what}[{', '.join(map(str, at))}] is {got:.9g}; permitted [{low:.9g}, {high:.9g}], "
                    f"margin {margin:.3g} under the precision {declared}"
                )
            self.margin = max(self.margin, margin)

    def _forward(self, call: Call) -> Callable[[Index], Ball]:
        case = self.timed.layer.case
        return permitted.elements(Enclosure(self.candidate.precision(case.operator)), case, call)

    def _backward(self, call: Call, visit: Visit, name: str) -> Callable[[Index], Ball] | None:
        """The enclosure of an input's gradient; None where it takes too long to know."""
        sparse, case = visit.draw.kept, self.timed.layer.case
        readers = sparse if sparse is not None else readers_of(self.timed, name, visit.places[name])
        if readers is None:
            return None
        gradient = permitted.tape(case, call, Enclosure(self.candidate.precision(case.operator, "backward")), readers)
        return lambda at: gradient((name, at))


def readers_of(timed: Timed, name: str, places: Iterable[Index]) -> list[Index] | None:
    """Every element of the result that reads one of these elements of an input; None where they are too many.

    More than those that do would change nothing: what does not read an element gives its gradient nothing.
    """
    layer, found = timed.layer, set()
    result = layer.case.result_shape
    operations, _ = timed.cost(1)
    terms = max(1, operations // math.prod(result))
    for at in places:
        axes = _axes(timed, name, at, result)
        if math.prod(map(len, axes)) * terms > AFFORDABLE:
            return None
        found |= {tuple(axis[k] for axis, k in zip(axes, index, strict=True)) for index in np.ndindex(*map(len, axes))}
    return sorted(found) if len(found) * terms <= 4 * AFFORDABLE else None


def _axes(timed: Timed, name: str, at: Index, result: Index) -> list[range]:
    """For each axis of the result, the indices that may read the element ``at`` of an input."""
    layer = timed.layer
    if layer.operator == "swish":
        return [range(i, i + 1) for i in at] if name == "x" else [range(size) for size in result]
    if layer.operator == "pad2d":
        around = (0, 0, *(layer.parameters["padding"],) * 2)
        return [range(i + more, i + more + 1) for i, more in zip(at, around, strict=True)]
    if layer.operator in ("linear", "glu", "swiglu"):
        mine = range(at[0], at[0] + 1)
        return [mine, range(result[1])] if name == "x" else [range(result[0]), mine]
    if name in ("weight", "bias"):
        return [range(result[0]), range(at[0], at[0] + 1), range(result[2]), range(result[3])]
    channels = range(at[1], at[1] + 1) if layer.operator == "max_pool2d" else range(result[1])
    return [range(at[0], at[0] + 1), channels, *_windows(timed, at, result)]


def _windows(timed: Timed, at: Index, result: Index) -> list[range]:
    given = timed.layer.parameters
    kernel = pair(given["kernel_size"]) if "kernel_size" in given else timed.layer.shapes["weight"][2:]
    strides, paddings = pair(given.get("stride") or given.get("kernel_size", 1)), pair(given.get("padding", 0))
    found = []
    for i, k, stride, padding, size in zip(at[2:], kernel, strides, paddings, result[2:], strict=True):
        first = -(-(i + padding - k + 1) // stride)
        found.append(range(max(0, first), min(size, (i + padding) // stride + 1)))
    return found


def _number(array: Any, at: Index) -> float:
    return float(array[at].item())
