"""Inputs drawn anew for every call, in memory that is rotated, and calls that are ready to be timed.

Numbers come from a pool of normal ones: a tensor is the stretch of the pool from a drawn offset on. So no two calls see
the same values, drawing costs a copy, and the judge finds the values again, in memory that no candidate has seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import numpy as np

from assay.implementations.arrays import Argument, Values, arrays_of
from assay.implementations.contract import Implementation
from assay.implementations.observe import Call
from assay.reference.arithmetic.formats import STORAGE
from assay.reference.tensor import Index
from assay.spec import OPERATORS
from assay.tests.benchmarks.cases import BACKWARD, Timed
from assay.tests.trial.textures import rounded

SPAN = 2**16 + 1  # offsets to draw from
SLOTS = 3  # sets of tensors that are used in turn
INCOMING = "incoming gradient"


class Numbers:
    """The pools of a case: one for each tensor's scale, as float64, every value a number of the case's dtype."""

    def __init__(self, timed: Timed, rng: np.random.Generator) -> None:
        self.timed, self.rng = timed, rng
        shapes = dict(timed.layer.shapes)
        if timed.direction == BACKWARD:
            shapes[INCOMING] = timed.layer.case.result_shape
        self.shapes: dict[str, Index] = shapes
        scales = {name: timed.layer.scale(name) if name != INCOMING else 1.0 for name in shapes}
        fmt, normal = STORAGE[timed.dtype], rng.standard_normal(max(map(math.prod, shapes.values())) + SPAN)
        pools = {scale: rounded(normal * scale, fmt) for scale in set(scales.values())}
        self.pools: dict[str, Values] = {name: pools[scale] for name, scale in scales.items()}
        self.offsets = {name: cycle(rng.permutation(SPAN)) for name in shapes}  # none comes again before all have come

    def draw(self, nonzero: int | None = None) -> Draw:
        """Other numbers for each tensor; an incoming gradient of ``nonzero`` elements that are not zero, or dense."""
        offsets = {name: int(next(offsets)) for name, offsets in self.offsets.items()}
        return Draw(self, offsets, None if nonzero is None else self.places(self.shapes[INCOMING], nonzero))

    def places(self, shape: Index, count: int) -> list[Index]:
        """Indices into a shape, the last one first: work that is not done is likely to be the last."""
        drawn = [tuple(int(self.rng.integers(size)) for size in shape) for _ in range(count - 1)]
        return list(dict.fromkeys([tuple(size - 1 for size in shape), *drawn]))


@dataclass(frozen=True)
class Draw:
    """The values of one call."""

    numbers: Numbers
    offsets: Mapping[str, int]
    kept: list[Index] | None = None  # elements of the incoming gradient that are not zero; None: all

    def values(self, name: str) -> Values:
        """A tensor's values; of the pool itself where nothing is zero."""
        shape = self.numbers.shapes[name]
        start = self.offsets[name]
        found = self.numbers.pools[name][start : start + math.prod(shape)].reshape(shape)
        if name != INCOMING or self.kept is None:
            return found
        sparse = np.zeros(shape)
        for at in self.kept:
            sparse[at] = found[at]
        return sparse

    def call(self, device: str) -> Call:
        """The call as the judge reads it."""
        timed, shapes = self.numbers.timed, self.numbers.shapes
        names = OPERATORS[timed.layer.operator].arguments
        given = {n: Argument(self.values(n)) if n in shapes else timed.layer.parameters.get(n) for n in names}
        cotangent = Argument(self.values(INCOMING)) if INCOMING in shapes else None
        return Call(timed.layer.operator, given, timed.dtype, device, cotangent)


@dataclass
class Visit:
    """A call that is ready: ``result`` is there when it has been made."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    draw: Draw
    result: Any = None
    raised: Exception | None = None
    places: dict[str, list[Index]] = field(default_factory=dict)

    def make(self) -> None:
        """What stands between two readings of the clock. What is raised is kept."""
        try:
            self.result = self.function(*self.arguments)
        except Exception as problem:
            self.raised = problem


class Subject:
    """One implementation in one case: its tensors, and its calls. Here a worker process would take its place."""

    def __init__(self, implementation: Implementation, numbers: Numbers, device: str, shared: dict[str, Any]) -> None:
        """``shared`` is, by array library, the memory that both sides of a match use: its place cannot favour one."""
        self.implementation, self.numbers, self.device = implementation, numbers, device
        self.timed = numbers.timed
        self.library = arrays_of(implementation.array)
        if implementation.array not in shared:
            shared[implementation.array] = self._memory()
        self.pools, self.slots = shared[implementation.array]

    def _memory(self) -> tuple[dict[str, Any], Any]:
        """The pools as arrays of the library, and the sets of tensors."""
        numbers, dtype = self.numbers, self.timed.dtype
        made = {id(p): self.library.make(Argument(p), dtype, self.device) for p in numbers.pools.values()}
        pools = {name: made[id(pool)] for name, pool in numbers.pools.items()}
        sets = [{name: self._zeros(shape) for name, shape in numbers.shapes.items()} for _ in range(SLOTS)]
        return pools, cycle(sets)

    def _zeros(self, shape: Index) -> Any:
        return self.library.make(Argument(np.zeros(shape)), self.timed.dtype, self.device)

    def prepare(self, draw: Draw) -> Visit:
        """A call with these values, in the memory whose turn it is."""
        arrays = next(self.slots)
        for name, array in arrays.items():
            self._write(array, name, draw)
        names = [name for name in arrays if name != INCOMING]
        incoming = arrays.get(INCOMING)
        if incoming is None:
            return Visit(self._operator(), tuple(self._ordered(arrays)), draw)
        given = {name: arrays[name] for name in names}
        if self.implementation.vjp is not None:
            arguments = dict(zip(OPERATORS[self.timed.layer.operator].arguments, self._all(given), strict=True))
            return Visit(self._by_vjp, (arguments, incoming), draw)
        function = self._operator()
        return Visit(self.library.gradients, (lambda a: function(*self._ordered(a)), given, names, incoming), draw)

    def _write(self, array: Any, name: str, draw: Draw) -> None:
        """Copy values within the library, without a word to the tensor: not even its version changes."""
        size, start = math.prod(self.numbers.shapes[name]), draw.offsets[name]
        target = array.data if self.implementation.array == "torch" else array
        target[...] = self.pools[name][start : start + size].reshape(target.shape)
        if name == INCOMING and draw.kept is not None:
            values = [target[at].item() for at in draw.kept]
            target[...] = 0
            for at, value in zip(draw.kept, values, strict=True):
                target[at] = value

    def _operator(self) -> Callable[..., Any]:
        return self.implementation.operators[self.timed.layer.operator]

    def _by_vjp(self, arguments: dict[str, Any], incoming: Any) -> tuple[Any, Any]:
        vjp = self.implementation.vjp
        assert vjp is not None
        return self._operator()(*_trimmed(list(arguments.values()))), vjp(
            self.timed.layer.operator, arguments, incoming
        )

    def _all(self, arrays: Mapping[str, Any]) -> list[Any]:
        names = OPERATORS[self.timed.layer.operator].arguments
        return [arrays.get(name, self.timed.layer.parameters.get(name)) for name in names]

    def _ordered(self, arrays: Mapping[str, Any]) -> list[Any]:
        """The arguments by position; trailing ones that are left out take their defaults."""
        return _trimmed(self._all(arrays))


def _trimmed(values: list[Any]) -> list[Any]:
    while values and values[-1] is None:
        values.pop()
    return values
