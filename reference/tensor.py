"""Tensors and vectors of the reference: a shape, a flat list of floats in row order, and an arithmetic.

>>> x = Tensor([[1.0, 2.0], [3.0, 4.0]])
>>> x.shape, x[1, 0], list(x[1])
((2, 2), 3.0, [3.0, 4.0])
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any

from assay.reference.arithmetic.primitives import FLOAT, Arithmetic

Index = tuple[int, ...]
PART = 2**12  # elements of a large tensor that are looked at together
ROUNDED_UP = 1.0 + 2.0**-48  # more than the roundings of a norm: hypot is right to a unit in the last place
OUTSIDE = -1  # the position of an element that padding adds: the flat list's extra last entry, zero


class Tensor:
    """Values with a shape. A whole index gives a number of the tensor's arithmetic, a shorter one a `Vector`."""

    taken_from: Tensor | None = None  # the large tensor of which this one holds a vector
    taken_at: Sequence[int] | None = None  # and where in it these elements lie

    def __init__(
        self,
        values: Any,
        shape: Index | None = None,
        arithmetic: Arithmetic = FLOAT,
        name: str = "x",
    ) -> None:
        """``values`` nested as the shape says, or flat in row order with ``shape`` given."""
        if shape is None:
            shape, values = _flatten(values)
        self.shape, self.arithmetic, self.name = shape, arithmetic, name
        self.values: list[float] = list(values)
        if len(self.values) != math.prod(shape):
            raise ValueError(f"shape={shape} holds {math.prod(shape)} elements, values={len(self.values)} were given")

    def position(self, index: Index) -> int:
        """Where ``index`` lies in the flat list."""
        flat = 0
        for size, i in zip(self.shape, index, strict=False):
            flat = flat * size + i
        return flat * math.prod(self.shape[len(index) :])

    def __getitem__(self, index: int | Index) -> Any:
        index = (index,) if isinstance(index, int) else index
        start = self.position(index)
        if len(index) == len(self.shape):
            return self.number(start)
        return self.vector(range(start, start + math.prod(self.shape[len(index) :])))

    def vector(self, positions: Sequence[int]) -> Vector:
        """The elements at these flat positions."""
        return Vector(self, positions)

    def number(self, position: int) -> Any:
        """The element at a flat position, lifted into the tensor's arithmetic."""
        lift = getattr(self.arithmetic, "leaf", None)  # the tape remembers where a number came from
        return lift(self, position) if lift else self.arithmetic.number(self.elements[position])

    @property
    def only(self) -> Any:
        """The one element of a tensor that holds one, whatever its axes."""
        return self.number(0)

    def element_or_zero(self, index: Index) -> Any:
        """The element at ``index``, or zero where there is none."""
        inside = all(0 <= i < size for i, size in zip(index, self.shape, strict=True))
        return self[index] if inside else self.arithmetic.number(0.0)

    def window(self, n: int, channel: int | None, top: int, left: int, size: Index) -> Vector:
        """The ``size`` elements of sample ``n`` from (top, left) on, of one channel or (None) all; zero outside."""
        return self.vector(self._places(n, channel, top, left, size))

    def clipped_window(self, n: int, channel: int, top: int, left: int, size: Index) -> Vector:
        """The elements of `window` that are not outside: as if what lies outside were minus infinity."""
        return self.vector([p for p in self._places(n, channel, top, left, size) if p != OUTSIDE])

    def _places(self, n: int, channel: int | None, top: int, left: int, size: Index) -> list[int]:
        _, count, height, width = self.shape
        channels = range(count) if channel is None else range(channel, channel + 1)
        if 0 <= top <= height - size[0] and 0 <= left <= width - size[1]:
            first = ((n * count + channels.start) * height + top) * width + left
            return [first + step for step in _steps(len(channels), height, width, size)]
        rows = [i if 0 <= i < height else None for i in range(top, top + size[0])]
        columns = [j if 0 <= j < width else None for j in range(left, left + size[1])]
        places = []
        for base in [(n * count + c) * height for c in channels]:
            for i in rows:
                start = None if i is None else (base + i) * width
                places += [OUTSIDE if start is None or j is None else start + j for j in columns]
        return places

    @cached_property
    def padded(self) -> list[float]:
        """The values and one zero, which position ``OUTSIDE`` finds."""
        return [*self.values, 0.0]

    @cached_property
    def scaled(self) -> tuple[list[int], int]:
        """Integers m and a shift k with values[i] == m[i] / 2**k exactly, and the zero of ``padded``. Finite only."""
        return _scaled(tuple(self.padded))

    @cached_property
    def finite(self) -> bool:
        """Whether no value is NaN or infinite."""
        return all(map(math.isfinite, self.values))

    @property
    def whole(self) -> Tensor:
        """The tensor that an operator was given, of which this may be a part."""
        return self.taken_from or self

    @cached_property
    def norm(self) -> float:
        """The square root of the sum of all squares, neither too low nor overflowing on the way."""
        return math.nextafter(math.hypot(*(math.hypot(*part) for part in self._parts())), math.inf) * ROUNDED_UP

    @cached_property
    def most(self) -> float:
        """The largest magnitude; not finite where the norm is not."""
        return max(map(abs, chain(*self._parts())), default=0.0) if math.isfinite(self.norm) else self.norm

    def _parts(self) -> Iterator[Sequence[float]]:
        """All values, a few thousand at a time."""
        return (self.elements[start : start + PART] for start in range(0, len(self.elements), PART))

    @property
    def elements(self) -> Sequence[float]:
        """All values in row order, wherever they are."""
        return self.values


class LargeTensor(Tensor):
    """A tensor that is never copied as a whole: each vector takes what it needs, at a cost that does not grow.

    >>> weights = LargeTensor(range(10**9), (10**6, 1000))
    >>> list(weights[999_999])[:2]
    [999999000, 999999001]
    """

    def __init__(self, values: Sequence[float], shape: Index, arithmetic: Arithmetic = FLOAT, name: str = "x") -> None:
        """``values`` flat in row order, in anything that gives elements and slices: a memoryview, an array."""
        self.shape, self.arithmetic, self.name = shape, arithmetic, name
        self.buffer = values

    def vector(self, positions: Sequence[int]) -> Vector:
        """The elements at these flat positions, in a small tensor of their own."""
        if isinstance(positions, range):
            taken = list(self.buffer[positions.start : positions.stop])
        else:
            taken = [0.0 if p == OUTSIDE else self.buffer[p] for p in positions]
        part = Tensor(taken, (len(taken),), self.arithmetic, self.name)
        part.taken_from, part.taken_at = self, positions
        return Vector(part, range(len(taken)))

    @property
    def elements(self) -> Sequence[float]:
        """All values in row order, wherever they are."""
        return self.buffer


class Vector(Sequence[float]):
    """Some elements of a tensor, in order: what `dot` and `maximum` take."""

    __slots__ = ("_values", "positions", "tensor")

    def __init__(self, tensor: Tensor, positions: Sequence[int]) -> None:
        self.tensor, self.positions = tensor, positions
        self._values: list[float] | None = None

    @property
    def arithmetic(self) -> Arithmetic:
        return self.tensor.arithmetic

    @property
    def values(self) -> list[float]:
        """The elements as plain floats."""
        if self._values is None:
            self._values = _take(self.tensor.padded, self.positions)
        return self._values

    @property
    def places(self) -> Sequence[int]:
        """Where the elements lie in the `whole` tensor."""
        return self.positions if self.tensor.taken_at is None else self.tensor.taken_at

    @property
    def integers(self) -> list[int]:
        """The elements as integers over the tensor's common power of two."""
        return _take(self.tensor.scaled[0], self.positions)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, k: Any) -> Any:
        return self.values[k]

    def __iter__(self) -> Iterator[float]:
        return iter(self.values)


def build(shape: Index, element: Callable[[Index], Any]) -> Any:
    """A nested list of ``shape`` whose entries are ``element(index)``.

    >>> build((2, 3), lambda at: at[0] * 10 + at[1])
    [[0, 1, 2], [10, 11, 12]]
    """

    def nested(prefix: Index) -> Any:
        if len(prefix) == len(shape):
            return element(prefix)
        return [nested((*prefix, i)) for i in range(shape[len(prefix)])]

    return nested(())


@lru_cache(maxsize=16)
def _steps(channels: int, height: int, width: int, size: Index) -> list[int]:
    """How far each element of a window lies behind its first one, in so many images."""
    rows = [(c * height + i) * width for c in range(channels) for i in range(size[0])]
    return [row + j for row in rows for j in range(size[1])]


@lru_cache(maxsize=16)  # calls that differ in layout or in one tensor read the same values
def _scaled(values: tuple[float, ...]) -> tuple[list[int], int]:
    least = min(map(abs, filter(None, values)), default=1.0)
    shift = 0 if all(map(float.is_integer, values)) else 53 - math.frexp(least)[1]  # no number ends in a finer bit
    try:
        return list(map(int, map((2.0**shift).__mul__, values))), shift
    except OverflowError:  # the smallest number and the largest are too far apart
        ratios = map(float.as_integer_ratio, values)
        return [(n << shift) // d for n, d in ratios], shift


def _take(values: list[Any], positions: Sequence[int]) -> list[Any]:
    if isinstance(positions, range):
        return values[positions.start : positions.stop]
    return list(map(values.__getitem__, positions))


def _flatten(nested: Any) -> tuple[Index, list[float]]:
    if not isinstance(nested, Sequence):
        return (), [nested]
    parts = [_flatten(part) for part in nested]
    if len({shape for shape, _ in parts}) > 1:
        raise ValueError(f"rows of unequal shapes: {sorted({shape for shape, _ in parts})}")
    return (len(nested), *(parts[0][0] if parts else ())), [x for _, flat in parts for x in flat]
