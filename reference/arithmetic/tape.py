"""Gradients of every formula, with enclosures, and no second formula to get wrong: reverse mode on scalars.

The tape runs on top of another arithmetic. Going back, each input's contributions are gathered, one group for each
operator that read it, and each group is reduced by that arithmetic's own `dot`: its error bound covers every order
of accumulation. Where the forward formula stores a result, the gradient that comes back to it may be stored too;
what an elementwise product hands back is a stored tensor as well, and groups are summed through storage, because
that is how automatic differentiation adds the gradients of two operators.

>>> from assay.reference.arithmetic import primitives
>>> from assay.reference.tensor import Tensor
>>> tape = Tape(primitives.FLOAT)
>>> x = Tensor([3.0], arithmetic=tape)
>>> gradients = tape.backward([(x[0,] * x[0,], 1.0)])
>>> gradients(x, 0)
6.0
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from assay.reference.arithmetic import real
from assay.reference.arithmetic.primitives import Differentiable
from assay.reference.tensor import OUTSIDE, Tensor, Vector

Pull = Callable[[Any, "Contributions"], None]


class Span:
    """What a product of two vectors hands back to one of them: looked up where it is asked for, never written out."""

    def __init__(self, vector: Vector, others: Vector, g: Any) -> None:
        self.places, self.others, self.g = vector.places, others, g

    @cached_property
    def numbers(self) -> dict[int, int]:
        """Which number of the vector lies at each place."""
        return dict(zip(self.places, range(len(self.places)), strict=True))

    def at(self, place: int) -> tuple[Any, float] | None:
        """The incoming gradient and its factor, for the element at this place of the tensor, if it is one of these."""
        if isinstance(self.places, range):
            number = place - self.places.start if place in self.places else None
        else:
            number = self.numbers.get(place)
        return None if number is None else (self.g, self.others[number])


class Contributions:
    """What has come back so far: to inner nodes, and to inputs by tensor, position and operator."""

    def __init__(self) -> None:
        self.nodes: dict[int, list[Any]] = defaultdict(list)
        self.spans: dict[int, list[Span]] = defaultdict(list)
        self.chosen: dict[tuple[int, int], list[Any]] = defaultdict(list)
        self.values: dict[tuple[int, int], dict[int, list[Any]]] = defaultdict(dict)

    def groups(self, tensor: int, position: int) -> list[list[tuple[Any, float]]]:
        """What came back to one element, a group an operator: gradients, each with its factor."""
        products: dict[int, list[tuple[Any, float]]] = defaultdict(list)
        for span in self.spans[tensor]:
            if (pair := span.at(position)) is not None:
                products[id(span.others.tensor.whole)].append(pair)
        plain = [self.chosen[tensor, position], *self.values[tensor, position].values()]
        return [*products.values(), *([(part, 1.0) for part in parts] for parts in plain if parts)]


class Node:
    """A number on the tape: a value of the inner arithmetic, and how a gradient goes back from it."""

    __slots__ = ("arithmetic", "compute", "computed", "pull", "serial")

    def __init__(self, tape: Tape, compute: Callable[[], Any], pull: Pull) -> None:
        self.arithmetic, self.compute, self.pull, self.computed = tape, compute, pull, None
        self.serial = tape.record(self)

    @property
    def value(self) -> Any:
        """The value, computed when first asked for: a linear operator's gradient never asks."""
        if self.computed is None:
            self.computed = self.compute()
        return self.computed

    def __add__(self, other: Any) -> Node:
        return self._with(other, lambda a, b: a + b, lambda a, b: (1, 1))

    def __sub__(self, other: Any) -> Node:
        return self._with(other, lambda a, b: a - b, lambda a, b: (1, -1))

    def __mul__(self, other: Any) -> Node:
        return self._with(other, lambda a, b: a * b, lambda a, b: (b, a))

    def __truediv__(self, other: Any) -> Node:
        return self._with(other, lambda a, b: a / b, lambda a, b: (1 / b, -1 * (a / b) / b))

    def __radd__(self, other: Any) -> Node:
        return self.arithmetic.constant(other) + self

    def __rsub__(self, other: Any) -> Node:
        return self.arithmetic.constant(other) - self

    def __rmul__(self, other: Any) -> Node:
        return self.arithmetic.constant(other) * self

    def _with(self, other: Any, result: Callable[[Any, Any], Any], partials: Callable[[Any, Any], Any]) -> Node:
        tape, inner = self.arithmetic, self.arithmetic.inner
        right = other if isinstance(other, Node) else tape.constant(other)

        def pull(g: Any, back: Contributions) -> None:
            for node, partial in zip((self, right), partials(self.value, right.value), strict=True):
                node.receive(inner.store(g * partial, regrouped=True), back)

        return Node(tape, lambda: result(self.value, right.value), pull)

    def receive(self, g: Any, back: Contributions) -> None:
        """Take a contribution to this node's gradient."""
        back.nodes[self.serial].append(g)


class Leaf(Node):
    """An input's element: what comes back to it is kept by operator, and reduced when asked for."""

    __slots__ = ("place", "received")

    def __init__(self, tape: Tape, tensor: Tensor, position: int) -> None:
        super().__init__(tape, lambda: tape.inner.number(tensor.elements[position]), lambda g, back: None)
        self.place, self.received = (id(tensor), position), 0

    def receive(self, g: Any, back: Contributions) -> None:
        # Two products of one element that read the same input are two operators. A product that reads one input in
        # every element of the result (a learned beta) is one: each element has a leaf of its own.
        back.values[self.place].setdefault(self.received, []).append(g)
        self.received += 1


class Tape:
    """Reverse mode over ``inner``: build results from tensors whose arithmetic is this tape, then `backward`."""

    def __init__(self, inner: Differentiable) -> None:
        self.inner = inner
        self.nodes: list[Node] = []

    def record(self, node: Node) -> int:
        """Remember ``node``; its serial number is its place in the order of evaluation."""
        self.nodes.append(node)
        return len(self.nodes) - 1

    def leaf(self, tensor: Tensor, position: int) -> Leaf:
        """The element of an input at a flat position."""
        return Leaf(self, tensor, position)

    def number(self, x: float) -> Node:
        return self.constant(x)

    def constant(self, x: Any) -> Node:
        """A number that nothing is differentiated by."""
        value = self.inner.number(float(x)) if isinstance(x, int | float) else x
        return Node(self, lambda: value, lambda g, back: None)

    def dot(self, xs: Vector, ws: Vector, bias: Node | None = None) -> Node:
        inner = self.inner

        def compute() -> Any:
            return inner.dot(_on(inner, xs), _on(inner, ws), bias.value if bias is not None else None)

        def pull(g: Any, back: Contributions) -> None:
            for mine, others in ((xs, ws), (ws, xs)):
                back.spans[id(mine.tensor.whole)].append(Span(mine, others, g))
            if bias is not None:
                bias.receive(g, back)

        return Node(self, compute, pull)

    def sigmoid(self, t: Node) -> Node:
        inner = self.inner
        result = Node(self, lambda: inner.sigmoid(t.value), lambda g, back: None)

        def pull(g: Any, back: Contributions) -> None:
            kept = inner.store(result.value)  # a framework keeps the result for going back, rounded to storage
            slope = inner.store(kept * inner.store(1 - kept))
            t.receive(inner.store(g * slope, regrouped=True), back)

        result.pull = pull
        return result

    def maximum(self, xs: Vector) -> Node:
        """The gradient goes whole to the first of the largest: [max_pool2d.gradient-first-tie]."""
        largest = real.maximum(xs.values)
        place = next((p for p, x in zip(xs.places, xs.values, strict=True) if x == largest or x != x), OUTSIDE)

        def pull(g: Any, back: Contributions) -> None:
            back.chosen[id(xs.tensor.whole), place].append(g)

        return Node(self, lambda: self.inner.number(largest), pull)

    def store(self, x: Node, regrouped: Any = False) -> Node:
        inner = self.inner

        def pull(g: Any, back: Contributions) -> None:
            came = inner.store(g, regrouped=True)
            if regrouped:  # who has this factor last goes back by it first
                came = inner.unless_infinite(came, g * regrouped.value)
            x.receive(came, back)

        return Node(self, lambda: inner.store(x.value, regrouped), pull)

    def backward(self, results: Sequence[tuple[Node, float]]) -> Callable[[Tensor, int], Any]:
        """Go back from ``results``, each with its incoming gradient; the answer gives any input's gradient."""
        back = Contributions()
        for node, g in results:
            node.receive(self.inner.number(g), back)
        for node in reversed(self.nodes):
            arrived = back.nodes.pop(node.serial, None)
            if arrived:
                node.pull(self._total(arrived), back)
        return lambda tensor, position: self._gradient(back.groups(id(tensor), position))

    def _total(self, parts: list[Any]) -> Any:
        return parts[0] if len(parts) == 1 else self._added(parts)

    def _added(self, parts: list[Any]) -> Any:
        """A stored sum; silu's gradient, g s (1 + x (1 - s)), has taken its terms' factor g s out of it."""
        return self.inner.store(self.inner.factored(parts))

    def _gradient(self, groups: list[list[tuple[Any, float]]]) -> Any:
        inner = self.inner
        if not groups:
            return inner.number(0.0)
        apart = inner.store(self._total([inner.store(self._sum(group)) for group in groups]))
        if len(groups) == 1:
            return apart
        return inner.either(apart, inner.store(self._sum([pair for group in groups for pair in group])))

    def _sum(self, pairs: list[tuple[Any, float]]) -> Any:
        return self.inner.dot(*map(list, zip(*pairs, strict=True)))


def _on(inner: Any, v: Vector) -> Vector:
    """The same elements, read by the inner arithmetic."""
    twin: Tensor | None = getattr(v.tensor, "twin", None)
    if twin is None:
        twin = Tensor(v.tensor.values, v.tensor.shape, inner, v.tensor.name)
        v.tensor.twin = twin  # type: ignore[attr-defined]
    return Vector(twin, v.positions)
