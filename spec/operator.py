"""An operator of the documents: its formula, by element, and the names of its arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from assay.reference.arithmetic.cost import Cost
from assay.reference.arithmetic.text import Symbol, SymbolicTensor
from assay.reference.tensor import Index, LargeTensor, Tensor


@dataclass(frozen=True)
class Operator:
    """``element(at, *tensors, *parameters)`` is the formula, ``shape(*shapes, *parameters)`` the result's shape.

    ``axes`` names the result's axes, ``numbers`` the parameters that are one number and no pair; ``elementwise`` is
    an operator whose result at a place reads the first tensor there alone.
    """

    name: str
    element: Callable[..., Any]
    shape: Callable[..., Index]
    axes: tuple[str, ...]
    tensors: tuple[str, ...]
    optional: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    elementwise: bool = False

    @property
    def arguments(self) -> tuple[str, ...]:
        """Every argument's name, in order."""
        return (*self.tensors, *self.parameters)

    @property
    def formula(self) -> str:
        """The formula as text, from the same code that judges."""
        at = tuple(Symbol(name) for name in self.axes)
        return f"{self.name}[{', '.join(self.axes)}] = {self.element(at, *self._symbols())}"

    def _symbols(self) -> list[Any]:
        tensors = [SymbolicTensor(name, ("O", "C", Symbol("kh"), Symbol("kw"))) for name in self.tensors]
        return [*tensors, *(Symbol(name) if name in self.numbers else _pair(name) for name in self.parameters)]

    def shape_of(self, shapes: Mapping[str, Index], arguments: Mapping[str, Any]) -> Index:
        """The result's shape for tensors of these shapes, and the operator's parameters among these arguments."""
        given = {name: arguments[name] for name in self.parameters if arguments.get(name) is not None}
        return self.shape(*(shapes.get(name) for name in self.tensors), **given)

    def cost(self, shapes: Mapping[str, Index], parameters: Mapping[str, Any], itemsize: int) -> tuple[int, int]:
        """(floating-point operations, least bytes moved) for tensors of these shapes, borders counted as interiors."""
        result = self.shape_of(shapes, parameters)
        cost = Cost()
        tensors = [self._counting(name, shapes, cost) for name in self.tensors]
        self.element((0,) * len(result), *tensors, **parameters)
        sizes = [math.prod(shape) for shape in (*shapes.values(), result)]
        return cost.operations * math.prod(result), sum(sizes) * itemsize

    def _counting(self, name: str, shapes: Mapping[str, Index], cost: Cost) -> Tensor | None:
        """A tensor of this shape, on whose elements each operation is counted; their values are never used."""
        if name not in shapes:
            return None
        return LargeTensor(range(math.prod(shapes[name])), shapes[name], cost, name)


def _pair(name: str) -> tuple[Symbol, Symbol]:
    return Symbol(f"{name}.rows"), Symbol(f"{name}.columns")
