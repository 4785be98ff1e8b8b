"""Whole results and gradients, held to numpy's: on integers every order of a sum gives one number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from assay.implementations.arrays import Values
from assay.implementations.observe import NO_GRAD, Observation
from assay.reference.arithmetic.formats import FLOAT32
from assay.tests.trial import judge, near, transforms
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.cases import Case
from assay.tests.trial.plain import GRADIENTS, RESULTS, bare, pad2d, pad2d_back, values_of
from assay.tests.trial.simplify import by_its_case
from assay.tests.trial.suspects import absolute
from assay.tests.trial.textures import Texture, largest_integer, rounded

FEW = 8  # elements that are judged, besides the farthest, of what is not near to numpy's
SMALL = 2**12  # elements of a result, up to which enclosures of gradients take no minutes


def sums_once(candidate: Candidate, operator: str, direction: str) -> bool:
    """Whether sums of 16-bit numbers are in float32, term by term; if not, the tally says why it is left out."""
    precision = candidate.precision(operator, direction)
    if precision.accumulation.precision < FLOAT32.precision:
        candidate.tally.left_out = f"{precision} is declared, which lets the sums be rounded on the way"
        return False
    return integers_are_exact(candidate, operator, direction)


def integers_are_exact(candidate: Candidate, operator: str, direction: str) -> bool:
    """Whether sums of integers have one right answer; if not, the tally says why it is left out."""
    precision = candidate.precision(operator, direction)
    if not precision.exact_on_integers:
        candidate.tally.left_out = f"{precision} is declared, under which integers are not exact"
    return precision.exact_on_integers


def of_whole_numbers(case: Case) -> Case:
    """The case with integers that lie as its numbers do."""
    textures = {name: replace(each, family="integers", elements=()) for name, each in case.textures.items()}
    return case.changed(textures=textures)


def fits(candidate: Candidate, case: Case, back: bool = False) -> bool:
    """Whether all sums of a case of few bits, or of its gradients, are numbers of the dtype, in whatever order.

    A pattern may leave halves, and fewer zeros than integers were drawn for.
    """
    values, incoming = bare(case.arguments(candidate.format)), case.cotangent(candidate.format).values
    factors = [each for each in (*values, *([incoming] if back else [])) if isinstance(each, np.ndarray)]
    sizes = absolute(values)
    sums = GRADIENTS[case.operator](np.abs(incoming), *sizes).values() if back else (RESULTS[case.operator](*sizes),)
    largest = max(each.max(initial=0.0) for each in sums)
    return bool(largest <= math.prod(map(_unit, factors)) * 2.0**candidate.format.precision)


def _unit(values: Values) -> float:
    """The largest power of two up to 1 of which all of these are multiples; 0 of none that is near."""
    powers = (2.0**-k for k in range(5))
    return next((each for each in powers if (values / each == np.round(values / each)).all()), 0.0)


def going_back(candidate: Candidate, case: Case, layout: str) -> Case:
    """The case with numbers of which all gradients' sums are exact, and an incoming gradient that lies so."""
    (outputs, *taps), result = case.shapes["w" if "w" in case.shapes else "weight"], math.prod(case.result_shape)
    terms = max(math.prod(taps), outputs * math.prod(taps[1:]), result // outputs)
    layout = layout if largest_integer(candidate.format, terms) else "contiguous"  # sparse numbers, repeated, add up
    return case.changed(incoming=Texture("integers", case.pick, (), layout), terms=terms)


@by_its_case
def result_is_exact(candidate: Candidate, case: Case) -> None:
    """Hold the result of a case of integers to numpy's, element by element; two in three are put as in inference.

    Raises:
        NonConformance: as `judge.same_results`, which knows how far another declared algorithm may be off.
    """
    seen = candidate.answer(case, recording=(None, False, NO_GRAD)[case.pick % 3])
    expected = RESULTS[case.operator](*values_of(seen))
    judge.same_results(candidate, "the result is another number", seen.output, expected, of_last=True)


def result_is_within(candidate: Candidate, case: Case, seen: Observation, sampled: int = FEW) -> None:
    """Judge so many elements of a result that is not near to numpy's, the farthest among them.

    Raises:
        NonConformance: as `judge.answer_conforms`.
    """
    candidate.compared(seen.output.size)
    if not near.is_near(candidate, case, seen):
        judge.answer_conforms(candidate, case, seen, sampled)


def gradients_are_within(candidate: Candidate, case: Case, seen: Observation, names: Sequence[str] = ()) -> None:
    """Judge the farthest elements of these gradients, or of all, that are not near to numpy's.

    Raises:
        NonConformance: as `judge.gradients_conform`.
    """
    candidate.compared(sum(each.size for each in seen.gradients.values() if each is not None))
    far = [name for name in near.far_gradients(candidate, case, seen) if not names or name in names]
    if case.operator == "swish" and "x" in far:
        far.remove("x")
        judge.gradient_of_each_conforms(candidate, case, seen, FEW)
    if far:
        judge.farthest_gradients_conform(candidate, case, seen, far)


@by_its_case
def padding_is_exact(candidate: Candidate, case: Case) -> None:
    """Hold the result of padding to the input amid zeros, element by element.

    Raises:
        NonConformance: as `judge.same_arrays`.
    """
    seen = candidate.ask(case)
    what = "padding is not zeros around the input"
    judge.same_arrays(candidate, what, seen.output, pad2d(*values_of(seen)), of_last=True)


@by_its_case
def incoming_is_within(candidate: Candidate, case: Case) -> None:
    """Hold the gradient of padding to the incoming one at the places of the input, element by element.

    Raises:
        NonConformance: as `judge.same_arrays`.
    """
    seen = candidate.ask_gradient(case.changed(incoming=Texture("tiled normal", case.pick)))
    assert seen.call.cotangent is not None
    expected = pad2d_back(seen.call.cotangent.values, *values_of(seen))["x"]
    what = "the gradient is not the incoming one within"
    judge.same_arrays(candidate, what, seen.gradients["x"], expected, "gradient of x", of_last=True)


@by_its_case
def gradients_are_exact(candidate: Candidate, case: Case, learn: Sequence[str] = ()) -> None:
    """Hold the gradients of a case of integers to numpy's; where integers are not exact, small ones to enclosures.

    All of them, or those of the tensors that ``learn``, the others being frozen.

    Raises:
        NonConformance: as `are_all`, `transforms.gradients_are_within`, or `judge.gradient_conforms`.
    """
    ask = partial(candidate.ask_gradient, case, learn, alone=bool(learn))
    if case.operator == "conv2d" and transforms.is_bounded(candidate, "backward"):
        seen = ask()
        transforms.gradients_are_within(candidate, seen, seen.gradients)
        return
    if not integers_are_exact(candidate, case.operator, "backward"):
        if math.prod(case.result_shape) <= SMALL:
            judge.gradient_conforms(candidate, case, learn, alone=bool(learn))
        return
    seen = ask()
    are_all(candidate, seen.gradients, GRADIENTS[case.operator](seen.call.cotangent.values, *values_of(seen)))


@by_its_case
def gradients_are_rounded_once(candidate: Candidate, case: Case, **more: Any) -> None:
    """Hold gradients whose sums are exact in float32 to the nearest numbers of the dtype, element by element.

    ``more`` are further fields of the `Call`.

    Raises:
        NonConformance: as `are_all`.
    """
    seen = candidate.ask_gradient(case, **more)
    are_rounded_once(candidate, seen, seen.gradients)


def are_rounded_once(candidate: Candidate, seen: Observation, names: Iterable[str]) -> None:
    """Hold these gradients, which were given already, as `gradients_are_rounded_once`."""
    assert seen.call.cotangent is not None
    exact = GRADIENTS[seen.call.operator](seen.call.cotangent.values, *values_of(seen))
    gradients = {name: seen.gradients[name] for name in names}
    are_all(candidate, gradients, {name: rounded(exact[name], candidate.format) for name in gradients})


def are_all(candidate: Candidate, gradients: Mapping[str, Values | None], expected: Mapping[str, Values]) -> None:
    """Hold gradients to what they are, element by element.

    Raises:
        NonConformance: as `judge.same_arrays`.
    """
    for name, gradient in gradients.items():
        what, subject = "the gradient is another number", f"gradient of {name}"
        judge.same_arrays(candidate, what, gradient, expected[name], subject, of_last=True)
