"""Waivers: cases on which a candidate is known to fail, each with its reason and its end, and nothing beside them.

A waiver is about single cases. A law whose example fails on a case that is waived goes on to the next one, and fails
on the first that is not. What was waived is noted, and is not among what was compared.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import numpy as np

from assay.implementations.arrays import Argument, Values
from assay.implementations.observe import Call
from assay.reference.arithmetic.formats import STORAGE, Format
from assay.spec import OPERATORS
from assay.tests.trial.failure import NonConformance


def _subnormal(values: Values, fmt: Format) -> bool:
    return bool(np.any((values != 0) & (np.abs(values) < fmt.least_normal)))


RESULT = "result"  # whose sizes are bounded as a tensor's are
ONE_OF_A_PAIR = re.compile(r"(\w+)\[([01])\]")
# What `special` may name: whether such a value stands in a tensor.
SPECIAL: dict[str, Callable[[Values, Format], bool]] = {
    "nan": lambda values, fmt: bool(np.any(np.isnan(values))),
    "inf": lambda values, fmt: bool(np.any(np.isinf(values))),
    "subnormal": _subnormal,
    "negative-zero": lambda values, fmt: bool(np.any((values == 0) & np.signbit(values))),
}


@dataclass(frozen=True)
class Where:
    """What a case must be to be waived: everything that is given, on one and the same call.

    ``dtype``, ``device``, ``tier`` and ``direction`` name what they may be; ``special`` names values of which one
    stands in an argument of the call or in its incoming gradient, and ``layout`` how one of them lies; ``least``
    and ``most`` bound parameters (a pair with both its numbers, or with one of them: ``stride[1]``),
    ``tensor.shape[axis]`` and ``tensor.size``, of the ``result``, too.
    """

    dtype: tuple[str, ...] = ()
    device: tuple[str, ...] = ()
    tier: tuple[str, ...] = ()
    direction: tuple[str, ...] = ()
    special: tuple[str, ...] = ()
    layout: tuple[str, ...] = ()
    least: Mapping[str, int] = field(default_factory=dict)
    most: Mapping[str, int] = field(default_factory=dict)

    def may_hold(self, tier: str, dtype: str, device: str) -> bool:
        """Whether a law of this tier can meet such a case in this dtype on this device."""
        asked = ((self.tier, tier), (self.dtype, dtype), (self.device, device.partition(":")[0]))
        return all(not allowed or word in allowed for allowed, word in asked)

    @property
    def asks_of_calls(self) -> bool:
        """Whether it asks anything of a call."""
        return any((self.direction, self.special, self.layout, self.least, self.most))

    def holds(self, call: Call) -> bool:
        """Whether a call is such a case, its tier, dtype and device set aside."""
        tensors = [*call.tensors.values(), *([call.cotangent] if call.cotangent else [])]
        return (
            (not self.direction or ("backward" if call.cotangent else "forward") in self.direction)
            and (not self.special or any(_special(word, call, tensors) for word in self.special))
            and (not self.layout or any(tensor.layout in self.layout for tensor in tensors))
            and all(_all(call, name, lambda n, least=least: n >= least) for name, least in self.least.items())
            and all(_all(call, name, lambda n, most=most: n <= most) for name, most in self.most.items())
        )


def _special(word: str, call: Call, tensors: Iterable[Argument]) -> bool:
    scalars = [np.asarray(value) for value in call.arguments.values() if isinstance(value, float)]
    return any(SPECIAL[word](values, STORAGE[call.dtype]) for values in (*(t.values for t in tensors), *scalars))


def _all(call: Call, name: str, test: Callable[[int], bool]) -> bool:
    numbers = numbers_of(call, name)
    return bool(numbers) and all(map(test, numbers))


def numbers_of(call: Call, name: str) -> tuple[int, ...]:
    """The numbers that ``least`` and ``most`` call so: a parameter's, an axis' length or a tensor's size; or none."""
    if one := ONE_OF_A_PAIR.fullmatch(name):
        both = 2 * numbers_of(call, one[1])
        return both[int(one[2]) :][:1]
    name, _, part = name.partition(".")
    if part:
        shape = _shape(call, name)
        if part == "size":
            return () if shape is None else (math.prod(shape),)
        axis = int(part.removeprefix("shape[").removesuffix("]"))
        return (shape or ())[axis : axis + 1]
    value = call.arguments.get(name)
    if isinstance(value, int):
        return (value,)
    return tuple(value) if isinstance(value, tuple) else ()


def _shape(call: Call, name: str) -> tuple[int, ...] | None:
    """Of a tensor, or of the result that the formula gives; of a call that is an error there is none."""
    shapes = {each: tensor.values.shape for each, tensor in call.tensors.items()}
    if name != RESULT:
        return shapes.get(name)
    try:
        return OPERATORS[call.operator].shape_of(shapes, call.arguments)
    except (ArithmeticError, LookupError, ValueError):
        return None


@dataclass(frozen=True)
class Waiver:
    """One entry of a file of waivers, and the line on which it begins."""

    file: str
    line: int
    clause: str
    operator: str
    candidate: str
    reason: str
    url: str
    expiry: date
    where: Where = Where()
    budget: str = "quick"  # the least budget at which the failure shows
    strict: bool = True  # the failure shows on every machine, so that a run without it makes the waiver out of date
    entry: int = 1  # which one of its file: several may stand on one line

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.file}, line {self.line}"

    def expired(self, today: date) -> bool:
        """Whether its last day is over."""
        return today > self.expiry

    def covers(self, calls: Iterable[Call]) -> bool:
        """Whether one of the calls of a failure, or of an example, is a case that it is about."""
        return not self.where.asks_of_calls or any(map(self.where.holds, calls))


@dataclass
class Waived:
    """What a law met of a waiver: the examples it covers, those of them that failed, and how the first did."""

    covered: int = 0
    failed: int = 0
    what: str = ""

    def note(self, problem: NonConformance | None) -> None:
        """One more example that the waiver covers."""
        self.covered += 1
        if problem is not None:
            self.failed += 1
            self.what = self.what or problem.what


def run(body: Callable[..., Any], given: Mapping[str, Any]) -> Any:
    """Run a law's body on an example. What it raises of a case that is waived is noted, and that is all.

    Raises:
        NonConformance: as the law does, of a case that is not waived.
    """
    candidate = given["candidate"]
    if not candidate.waivers:
        return body(**given)
    before, result = replace(candidate.tally), None
    try:
        result = body(**given)
    except NonConformance as problem:
        covering = [each for each in candidate.waivers if each.covers(problem.calls or candidate.calls)]
        if not covering:
            raise
        for name in ("compared", "undetermined", "margin"):  # what is waived was not compared
            setattr(candidate.tally, name, getattr(before, name))
        _note(candidate, covering, problem)
    else:
        _note(candidate, [each for each in candidate.waivers if each.covers(candidate.calls)], None)
    return result


def _note(candidate: Any, covering: Iterable[Waiver], problem: NonConformance | None) -> None:
    for each in covering:
        candidate.tally.waived.setdefault(each.entry, Waived()).note(problem)
