"""Whole results and gradients by numpy: exact on integers, where every order of a sum gives one number."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from assay.implementations.arrays import Argument, Values
from assay.implementations.observe import Observation
from assay.reference.conv2d import pair
from assay.tests.trial import judge
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.cases import Case
from assay.tests.trial.textures import Texture, largest_integer

Pair = tuple[int, int]
SMALL = 2**12  # elements of a result, up to which enclosures of gradients take no minutes


def values_of(seen: Observation) -> list[Any]:
    """The arguments of a call: tensors as arrays, the rest as it is."""
    return [value.values if isinstance(value, Argument) else value for value in seen.call.arguments.values()]


def going_back(candidate: Candidate, case: Case, layout: str) -> Case:
    """The case with numbers of which all gradients' sums are exact, and an incoming gradient that lies so."""
    (outputs, *taps), result = case.shapes["w" if "w" in case.shapes else "weight"], math.prod(case.result_shape)
    terms = max(math.prod(taps), outputs * math.prod(taps[1:]), result // outputs)
    layout = layout if largest_integer(candidate.format, terms) else "contiguous"  # sparse numbers, repeated, add up
    return case.changed(incoming=Texture("integers", case.pick, (), layout), terms=terms)


def result_is_exact(candidate: Candidate, case: Case) -> None:
    """Hold the result of a case of integers to numpy's, element by element; half of the cases are put as in inference.

    Raises:
        NonConformance: as `judge.same_results`, which knows how far another declared algorithm may be off.
    """
    seen = candidate.answer(case, recording=False if case.pick % 2 else None)
    expected = RESULTS[case.operator](*values_of(seen))
    judge.same_results(candidate, "the result is another number", seen.output, expected)


def gradients_are_exact(candidate: Candidate, case: Case) -> None:
    """Hold the gradients of a case of integers to numpy's, or a small convolution's by another algorithm to enclosures.

    Raises:
        NonConformance: as `are_all`, or as `judge.gradient_conforms`.
    """
    if case.operator == "conv2d" and candidate.precision("conv2d", "backward").algorithm != "direct":
        candidate.compared()
        if math.prod(case.result_shape) <= SMALL:
            judge.gradient_conforms(candidate, case)
        return
    seen = candidate.ask_gradient(case)
    are_all(candidate, seen.gradients, GRADIENTS[case.operator](seen.call.cotangent.values, *values_of(seen)))


def are_all(candidate: Candidate, gradients: dict[str, Values], expected: dict[str, Values]) -> None:
    """Hold gradients to what they are, element by element.

    Raises:
        NonConformance: as `judge.same_arrays`.
    """
    for name, gradient in gradients.items():
        judge.same_arrays(candidate, "the gradient is another number", gradient, expected[name], f"gradient of {name}")


def windows(image: Values, kernel: Pair, stride: Pair) -> Values:
    """What the kernel sees: (N, C, rows, columns, kernel's rows, kernel's columns)."""
    seen = np.lib.stride_tricks.sliding_window_view(image, kernel, axis=(2, 3))  # type: ignore[call-overload]
    return seen[:, :, :: stride[0], :: stride[1]]  # type: ignore[no-any-return]


def padded(x: Values, padding: Pair, fill: float) -> Values:
    """x with so many rows and columns of ``fill`` around."""
    return np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2), constant_values=fill)


def linear(x: Values, w: Values, b: Values | None) -> Values:
    """linear."""
    return x @ w.T if b is None else x @ w.T + b


def linear_back(g: Values, x: Values, w: Values, b: Values | None) -> dict[str, Values]:
    """The gradients of linear where ``g`` comes in."""
    rows, xs = g.reshape(-1, len(w)), x.reshape(-1, x.shape[-1])
    return {"x": g @ w, "w": rows.T @ xs, "b": rows.sum(0)}


def convolved(x: Values, w: Values, b: Values | None, stride: Any, padding: Any) -> Values:
    """conv2d."""
    seen = windows(padded(x, pair(padding), 0.0), w.shape[2:], pair(stride))
    sums = np.moveaxis(np.tensordot(seen, w, ((1, 4, 5), (1, 2, 3))), -1, 1)
    return sums if b is None else sums + b[:, None, None]


def convolved_back(g: Values, x: Values, w: Values, b: Values | None, stride: Any, padding: Any) -> dict[str, Values]:
    """The gradients of conv2d where ``g`` comes in."""
    (down, right), (above, before) = pair(stride), pair(padding)
    image = padded(x, (above, before), 0.0)
    back, rows, columns = np.zeros_like(image), down * g.shape[2], right * g.shape[3]
    for i, j in np.ndindex(*w.shape[2:]):
        tap = np.moveaxis(np.tensordot(g, w[:, :, i, j], (1, 0)), -1, 1)
        back[:, :, i : i + rows - down + 1 : down, j : j + columns - right + 1 : right] += tap
    weight = np.tensordot(g, windows(image, w.shape[2:], (down, right)), ((0, 2, 3), (0, 2, 3)))
    within = back[:, :, above : above + x.shape[2], before : before + x.shape[3]]
    return {"input": within, "weight": weight, "bias": g.sum((0, 2, 3))}


def pooled(x: Values, kernel: Any, stride: Any, padding: Any) -> Values:
    """max_pool2d."""
    return windows(padded(x, pair(padding), -math.inf), pair(kernel), pair(stride or kernel)).max((-2, -1))


def pooled_back(g: Values, x: Values, kernel: Any, stride: Any, padding: Any) -> dict[str, Values]:
    """The gradient of max_pool2d where ``g`` comes in and no window has a tie."""
    (down, right), (above, before) = pair(stride or kernel), pair(padding)
    image = padded(x, (above, before), -math.inf)
    taken = windows(image, pair(kernel), (down, right)).reshape(*g.shape, -1).argmax(-1)
    n, c, i, j = np.indices(g.shape)
    back = np.zeros_like(image)
    np.add.at(back, (n, c, i * down + taken // pair(kernel)[1], j * right + taken % pair(kernel)[1]), g)
    return {"input": back[:, :, above : above + x.shape[2], before : before + x.shape[3]]}


RESULTS: dict[str, Callable[..., Values]] = {"linear": linear, "conv2d": convolved, "max_pool2d": pooled}
GRADIENTS: dict[str, Callable[..., dict[str, Values]]] = {
    "linear": linear_back,
    "conv2d": convolved_back,
    "max_pool2d": pooled_back,
}
