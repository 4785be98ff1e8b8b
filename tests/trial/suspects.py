"""Where an answer looks worst: the elements that are farthest from numpy's, to be judged beside those that are drawn.

Numpy judges nothing here. It only says where to look, so that no part of a large array is out of sight.
"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Iterable
from typing import Any

import numpy as np

from assay.implementations.arrays import Values
from assay.implementations.observe import Observation
from assay.reference.tensor import Index
from assay.tests.trial.cases import Case
from assay.tests.trial.plain import (
    GRADIENTS,
    RESULTS,
    Gradients,
    gate,
    linear,
    linear_back,
    sigmoid,
    swish_back,
    values_of,
)

WORST = 3  # elements of an array
MANY = 4  # times as many as are judged anyway: of fewer, chance meets each soon enough
SUMS, GATES = ("linear", "conv2d"), ("glu", "swiglu")
LAYERS = (*SUMS, *GATES)
DEAR = 2**25  # products, from which nobody is asked


def places(case: Case, shape: Index, count: int, suspected: Iterable[Index]) -> list[Index]:
    """All indices of a small shape; of a large one the corners and drawn ones, ``count`` in all, and the suspected."""
    return [*dict.fromkeys([*_sample(case.pick, shape, count), *suspected])]


@functools.lru_cache(maxsize=256)
def _sample(pick: int, shape: Index, count: int) -> list[Index]:
    if math.prod(shape) <= count:
        return [tuple(at) for at in np.ndindex(*shape)]
    rng = random.Random(pick)
    corners = {tuple(rng.choice((0, size - 1)) for size in shape) for _ in range(8)}
    corners |= {(0,) * len(shape), tuple(size - 1 for size in shape)}
    while len(corners) < count:
        corners.add(tuple(rng.randrange(size) for size in shape))
    return sorted(corners)


def of_the_result(case: Case, seen: Observation, count: int) -> list[Index]:
    """The elements of a result that are worth judging, where it has many more than the ``count`` that are drawn."""
    if math.prod(case.result_shape) <= MANY * count or is_dear(case):
        return []
    values = values_of(seen)
    with np.errstate(all="ignore"):
        expected = RESULTS[case.operator](*values)
        return worst(seen.output, expected, sizes(case.operator, values, expected))


def of_the_gradients(case: Case, seen: Observation, names: Iterable[str], count: int) -> dict[str, list[Index]]:
    """The elements of each gradient that are worth judging, where it has many more than ``count``."""
    large = [name for name in names if math.prod(case.shapes[name]) > MANY * count]
    return farthest_of_the_gradients(case, seen, large) if large and not is_dear(case) else {}


def farthest_of_the_gradients(case: Case, seen: Observation, names: Iterable[str]) -> dict[str, list[Index]]:
    """The elements of each gradient that are farthest off."""
    assert seen.call.cotangent is not None
    values, incoming = values_of(seen), seen.call.cotangent.values
    with np.errstate(all="ignore"):
        expected = GRADIENTS[case.operator](incoming, *values)
        off = sizes_back(case.operator, np.abs(incoming), values) or expected
        return {name: worst(seen.gradients[name], expected[name], off[name]) for name in names}


def outputs_of(name: str, at: Index) -> tuple[Any, ...]:
    """Where a layer's outputs lie that an element of this gradient hangs on; swish's beta meets all of them."""
    if name in ("x", "input"):
        return at[:-1] if name == "x" else at[:1]
    every = slice(None) if name in ("weight", "bias") else ...
    return (every,) if name == "beta" else (every, at[0])


def worst(got: Values | None, expected: Values, size: Values) -> list[Index]:
    """The elements that are farthest off for the ``size`` of their terms, and the one that is farthest of all."""
    assert got is not None
    got, expected, size, shape = got.ravel(), expected.ravel(), size.ravel(), got.shape
    apart = np.abs(got - expected)
    off = np.flatnonzero(apart != 0.0)  # among millions that are not, and so all alike, a partition takes seconds
    off = off[~(np.isnan(apart[off]) & _same(got[off], expected[off]))]
    apart = np.nan_to_num(apart[off], copy=False, nan=math.inf, posinf=math.inf)
    share = apart / np.abs(size[off])
    first = off[np.argpartition(share, -WORST)[-WORST:]] if off.size > WORST else off
    chosen = dict.fromkeys(map(int, (off[np.argmax(apart)], *first))) if off.size else ()
    return [tuple(map(int, np.unravel_index(k, shape))) for k in chosen]


def _same(got: Values, expected: Values) -> Any:
    return (got == expected) | (np.isnan(got) & np.isnan(expected))


def is_dear(case: Case) -> bool:
    """Whether numpy is asked nothing about a case, as it would take too long."""
    taps = math.prod(next((case.shapes[name][1:] for name in ("w", "weight") if name in case.shapes), (1,)))
    return math.prod(case.result_shape) * taps > DEAR


def absolute(values: Iterable[Any]) -> list[Any]:
    """Each array without its signs; what is none as it is."""
    return [np.abs(value) if isinstance(value, np.ndarray) else value for value in values]


def sizes(operator: str, values: list[Any], expected: Values) -> Values:
    """How large the terms of each element are."""
    if operator in SUMS:
        return RESULTS[operator](*absolute(values))
    if operator not in GATES:
        return expected
    x, w, v, b, c = values
    (opened, slope), (_, before, other) = gate(operator, linear(x, w, b)), _branches(values)
    return np.abs(opened) * other + np.abs(slope * linear(x, v, c)) * before


def sizes_back(operator: str, incoming: Values, values: list[Any]) -> Gradients | None:
    """How large the terms of each element of the gradients are, where those are sums."""
    if operator in SUMS:
        return GRADIENTS[operator](incoming, *absolute(values))
    if operator == "swish":
        x, beta = values[0], 1.0 if values[1] is None else values[1]
        s = sigmoid(beta * x)
        return {"x": incoming * (s + np.abs(beta * x) * s * (1.0 - s)), "beta": swish_back(incoming, x, beta)["beta"]}
    if operator not in GATES:
        return None
    x, w, v, b, c = values
    (opened, slope), (x_size, before, other) = gate(operator, linear(x, w, b)), _branches(values)
    left = linear_back(incoming * (np.abs(slope) * other + before * np.abs(linear(x, v, c))), x_size, np.abs(w), b)
    right = linear_back(incoming * (np.abs(opened) + np.abs(slope) * before), x_size, np.abs(v), c)
    return {"x": left["x"] + right["x"], "w": left["w"], "b": left["b"], "v": right["w"], "c": right["b"]}


def _branches(values: list[Any]) -> tuple[Values, Values, Values]:
    """The sizes of x and of the terms of both branches."""
    x, w, v, b, c = absolute(values)
    return x, linear(x, w, b), linear(x, v, c)
