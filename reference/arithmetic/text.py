"""A formula as the document prints it: run it on symbols.

>>> from assay.reference.arithmetic import primitives
>>> x, beta = Symbol("x"), Symbol("beta")
>>> print(x * primitives.sigmoid(beta * x))
x * sigmoid(beta * x)
>>> print((x + 1) * beta)
(x + 1) * beta
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SUM, PRODUCT, ATOM = 1, 2, 3


class Symbol:
    """A text that knows how tightly it binds."""

    __slots__ = ("binds", "text")

    def __init__(self, text: str, binds: int = ATOM) -> None:
        self.text, self.binds = text, binds

    @property
    def arithmetic(self) -> Text:
        return TEXT

    def within(self, binds: int) -> str:
        """The text, in brackets where it binds less tightly than its surroundings."""
        return self.text if self.binds >= binds else f"({self.text})"

    def _joined(self, sign: str, other: Any, binds: int, swapped: bool = False) -> Symbol:
        left, right = (_symbol(other), self) if swapped else (self, _symbol(other))
        if swapped and sign == "*" and left.text == "1":
            return self
        after = binds + (sign in "-/")  # a - (b - c) keeps its brackets
        return Symbol(f"{left.within(binds)} {sign} {right.within(after)}", binds)

    def __add__(self, other: Any) -> Symbol:
        return self._joined("+", other, SUM)

    def __sub__(self, other: Any) -> Symbol:
        return self._joined("-", other, SUM)

    def __mul__(self, other: Any) -> Symbol:
        return self._joined("*", other, PRODUCT)

    def __truediv__(self, other: Any) -> Symbol:
        return self._joined("/", other, PRODUCT)

    def __radd__(self, other: Any) -> Symbol:
        return self._joined("+", other, SUM, swapped=True)

    def __rsub__(self, other: Any) -> Symbol:
        return self._joined("-", other, SUM, swapped=True)

    def __rmul__(self, other: Any) -> Symbol:
        return self._joined("*", other, PRODUCT, swapped=True)

    def __str__(self) -> str:
        return self.text


class SymbolicTensor:
    """A tensor with a name and no values: indexing it, or taking a window of it, writes that down."""

    def __init__(self, name: str, shape: Sequence[Any] = ()) -> None:
        self.name, self.shape = name, shape

    def __getitem__(self, index: Any) -> Symbol:
        parts = index if isinstance(index, tuple) else (index,)
        return Symbol(f"{self.name}[{', '.join(map(str, parts))}]" if parts else self.name)

    @property
    def only(self) -> Symbol:
        """The one element."""
        return Symbol(self.name)

    def window(self, n: Any, channel: Any, top: Any, left: Any, size: Any) -> Symbol:
        """The ``size`` elements from (top, left) on."""
        channels = ":" if channel is None else channel
        return Symbol(f"{self.name}[{n}, {channels}, {_run(top, size[0])}, {_run(left, size[1])}]")

    def element_or_zero(self, index: Any) -> Symbol:
        """An element, or zero outside."""
        return Symbol(f"({self[index]} or 0 outside)")

    clipped_window = window


def _run(start: Any, length: Any) -> str:
    return f"{start} : + {length}"


class Text:
    """The arithmetic that writes."""

    def number(self, x: float) -> Symbol:
        return _symbol(x)

    def dot(self, xs: Any, ws: Any, bias: Any = None) -> Symbol:
        product = Symbol(f"sum({xs} * {ws})")
        return product if bias is None else product + bias

    def sigmoid(self, t: Any) -> Symbol:
        return Symbol(f"sigmoid({t})")

    def maximum(self, xs: Any) -> Symbol:
        return Symbol(f"max({xs})")

    def store(self, x: Any, regrouped: Any = False) -> Any:
        return x


TEXT = Text()


def _symbol(x: Any) -> Symbol:
    return x if isinstance(x, Symbol) else Symbol(f"{x:g}" if isinstance(x, float) else str(x))
