"""What a formula costs: floating-point operations of one element, counted by running it on numbers that count.

An operation is one of + - * / or one sigmoid or comparison; a sum of n products is 2 n - 1, with a bias 2 n.

>>> from assay.reference.arithmetic import primitives
>>> from assay.reference.tensor import Tensor
>>> cost = Cost()
>>> dot = primitives.dot(Tensor([[1.0, 2.0]], arithmetic=cost)[0], Tensor([[3.0, 4.0]], arithmetic=cost)[0])
>>> cost.operations
3
"""

from __future__ import annotations

from typing import Any


class Counted:
    """A number without a value: each operation on it is counted."""

    __slots__ = ("arithmetic",)

    def __init__(self, arithmetic: Cost) -> None:
        self.arithmetic = arithmetic

    def _count(self, other: Any = None) -> Counted:
        self.arithmetic.operations += 1
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _count


class Cost:
    """The arithmetic that counts. ``operations`` is the sum so far."""

    def __init__(self) -> None:
        self.operations = 0

    def number(self, x: float) -> Counted:
        return Counted(self)

    def dot(self, xs: Any, ws: Any, bias: Any = None) -> Counted:
        self.operations += 2 * len(xs) - (bias is None)
        return Counted(self)

    def sigmoid(self, t: Any) -> Counted:
        self.operations += 1
        return Counted(self)

    def maximum(self, xs: Any) -> Counted:
        self.operations += len(xs) - 1
        return Counted(self)

    def store(self, x: Any, regrouped: Any = False) -> Any:
        return x
