"""Judging an answer: element by element against the formula, run on the arithmetic that the tier asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from assay.implementations.arrays import Argument, Values
from assay.implementations.observe import Call, Observation
from assay.reference.arithmetic.ball import Ball
from assay.reference.arithmetic.enclosure import Enclosure
from assay.reference.arithmetic.precision import Precision, TooLong
from assay.reference.tensor import Index
from assay.tests.trial import suspects
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.cases import Case
from assay.tests.trial.failure import NonConformance
from assay.tests.trial.permitted import backward, exact_backward, exact_forward, forward, tensor_of
from assay.tests.trial.simplify import by_its_case
from assay.tests.trial.weaker import what_would_hold

SAMPLED = 40  # elements of a result that are judged, where it has more: corners first, then drawn ones
SAMPLED_GRADIENTS = 16  # of each input


@by_its_case
def conforms(candidate: Candidate, case: Case, sampled: int = SAMPLED) -> Observation:
    """Judge so many elements of the result of a case against their enclosures. Returns the observation.

    Raises:
        NonConformance: an element lies outside what is permitted.
        Refusal: the declared precision has no cited bound here.
    """
    seen = candidate.ask(case)
    answer_conforms(candidate, case, seen, sampled)
    return seen


def answer_conforms(candidate: Candidate, case: Case, seen: Observation, sampled: int = SAMPLED) -> None:
    """Judge an answer that was given already, as `conforms`."""
    places = suspects.places(case, case.result_shape, sampled, suspects.of_the_result(case, seen, sampled))
    enclose = forward(case, seen.call)
    _judge(candidate, seen.call, "result", seen.output, places, enclose, "forward")


@by_its_case
def conforms_exactly(candidate: Candidate, case: Case) -> Observation:
    """Judge the result of a case of integers: every sum is exact in any order, so only one answer is right.

    Where what is declared does not keep integers exact, its enclosure is what is permitted.

    Raises:
        NonConformance: an element is another number.
    """
    if not candidate.precision(case.operator).exact_on_integers:
        return conforms(candidate, case)
    seen = candidate.ask(case)
    element = exact_forward(case, seen.call)
    suspected = suspects.of_the_result(case, seen, 4 * SAMPLED)
    places = suspects.places(case, case.result_shape, 4 * SAMPLED, suspected)
    expected = {at: element(at) for at in places}
    same_elements(candidate, seen.call, "result", seen.output, expected)
    return seen


@by_its_case
def gradient_conforms(
    candidate: Candidate, case: Case, names: Sequence[str] = (), alone: bool = False, sparse: bool = False
) -> Observation:
    """Judge the gradients of a case (of the named tensors, or of all) against the enclosures that the tape gives.

    If ``alone``, no others than these are asked for. If ``sparse``, the incoming gradient is zero nearly everywhere,
    and the numbers are far from overflow.

    Raises:
        NonConformance: an element lies outside what is permitted, or there is no gradient.
        Refusal: the declared precision has no cited bound here.
    """
    seen = candidate.ask_gradient(case, names, alone)
    gradients_conform(candidate, case, seen, names, sparse)
    return seen


def gradients_conform(
    candidate: Candidate, case: Case, seen: Observation, names: Sequence[str] = (), sparse: bool = False
) -> None:
    """Judge gradients that were given already, as `gradient_conforms`."""
    sparse = sparse or case.incoming.family == "few"
    suspected = suspects.of_the_gradients(case, seen, names or seen.gradients, SAMPLED_GRADIENTS)
    for name in names or seen.gradients:
        enclose = backward(case, seen.call, name, sparse)
        places = suspects.places(case, case.shapes[name], SAMPLED_GRADIENTS, suspected.get(name, ()))
        _judge(candidate, seen.call, f"gradient of {name}", seen.gradients[name], places, enclose, "backward")


def gradient_of_each_conforms(candidate: Candidate, case: Case, seen: Observation, sampled: int = SAMPLED) -> None:
    """Judge the gradient of the first tensor where each of its elements hangs on the incoming one of its place alone.

    Raises:
        NonConformance: as `gradients_conform`.
    """
    name = next(iter(case.shapes))
    suspected = suspects.of_the_gradients(case, seen, (name,), sampled).get(name, ())
    places = suspects.places(case, case.shapes[name], sampled, suspected)
    _judge_where(candidate, case, seen, name, {at: at for at in places})


def farthest_gradients_conform(candidate: Candidate, case: Case, seen: Observation, names: Iterable[str]) -> None:
    """Judge the elements of a layer's gradients, or of swish's by beta, that are farthest off, by what they hang on.

    The bound of another algorithm is of whole arrays; that is judged as `gradients_conform` does, and what is dear.

    Raises:
        NonConformance: as `gradients_conform`.
    """
    direct = candidate.precision(case.operator, "backward").algorithm == "direct"
    if not direct or suspects.is_dear(case):
        gradients_conform(candidate, case, seen, [*names])
        return
    for name, places in suspects.farthest_of_the_gradients(case, seen, names).items():
        _judge_where(candidate, case, seen, name, {at: suspects.outputs_of(name, at) for at in places})


def _judge_where(candidate: Candidate, case: Case, seen: Observation, name: str, outputs: Mapping[Index, Any]) -> None:
    """Judge elements of a gradient, each of which hangs on these outputs and no others."""
    assert seen.call.cotangent is not None
    incoming = np.zeros(case.result_shape)
    for where in outputs.values():
        incoming[where] = seen.call.cotangent.values[where]
    enclose = backward(case, replace(seen.call, cotangent=Argument(incoming)), name, True)
    _judge(candidate, seen.call, f"gradient of {name}", seen.gradients[name], list(outputs), enclose, "backward")


def gradient_conforms_exactly(candidate: Candidate, case: Case) -> Observation:
    """Judge the gradients of a linear operator on integers, where only one answer is right.

    Raises:
        NonConformance: an element is another number, or there is no gradient.
    """
    if not candidate.precision(case.operator, "backward").exact_on_integers:
        return gradient_conforms(candidate, case)
    seen = candidate.ask_gradient(case)
    gradient = exact_backward(case, seen.call)
    suspected = suspects.of_the_gradients(case, seen, seen.call.tensors, 2 * SAMPLED)
    for name in seen.call.tensors:
        places = suspects.places(case, case.shapes[name], 2 * SAMPLED, suspected.get(name, ()))
        expected = {at: gradient((name, at)) for at in places}
        same_elements(candidate, seen.call, f"gradient of {name}", seen.gradients[name], expected)
    return seen


def same_elements(
    candidate: Candidate, call: Call, subject: str, got: Values | None, expected: dict[Index, float]
) -> None:
    """Hold elements to their one right answer; the sign of a zero is free.

    Raises:
        NonConformance: naming the first wrong element.
    """
    assert got is not None
    candidate.compared(len(expected))
    wrong = [at for at, value in expected.items() if not _equal(float(got[at]), value)]
    if wrong:
        at, value = wrong[0], expected[wrong[0]]
        raise NonConformance(
            f"the {subject} is another number, where only one is right",
            candidate.calls_until(call),
            subject,
            at,
            float(got[at]),
            (value, value),
            value,
            math.inf,
            len(wrong),
            len(expected),
            of_last=True,
        )


def same_results(candidate: Candidate, what: str, got: Values, expected: Values, of_last: bool = False) -> None:
    """Hold results of this example's calls, on integers, to each other: exactly, where what is declared keeps those.

    Another algorithm, or a format of fewer bits, may be off by some e before the bias. The right answer is a number of
    every format, so rounding to nearest at most doubles e: before the bias, with it, and for storage. Each call counts
    once in a comparison.

    Raises:
        NonConformance: with ``what`` as its sentence.
    """
    apart = 8.0 * sum(_apart(candidate, call) for call in candidate.calls)
    if math.isinf(apart):
        candidate.tally.undetermined += got.size
        return
    if apart and got.shape == expected.shape:
        with np.errstate(invalid="ignore"):
            got = np.where(np.abs(got - expected) <= apart, expected, got)
    same_arrays(candidate, what, got, expected, of_last=of_last)


def _apart(candidate: Candidate, call: Call) -> float:
    """What a sum may be off on integers; by another algorithm nothing where it is given NaN or an infinity."""
    precision = candidate.precision(call.operator)
    if precision.exact_on_integers or call.operator not in suspects.SUMS:
        return 0.0
    if precision.algorithm == "direct":
        return _of_few_bits(precision, *(argument.values for argument in call.tensors.values()))
    tensors = [tensor_of(each.values, Enclosure(precision), name) for name, each in [*call.tensors.items()][:2]]
    return Enclosure(precision).apart(*tensors) if all(math.isfinite(tensor.most) for tensor in tensors) else 0.0


def _of_few_bits(precision: Precision, input: Values, weight: Values, *bias: Values) -> float:
    """What any sum of products of these, and a bias, may be off, if operands or partial sums have few bits."""
    terms = math.prod(weight.shape[1:])
    most = [float(np.abs(each[np.isfinite(each)]).max(initial=0.0)) for each in (input, weight, *bias)]
    mass = terms * most[0] * most[1] + sum(most[2:])
    try:
        relative = Enclosure(precision).relative(terms + 1)
    except TooLong:
        return math.inf
    overflows = mass * (1.0 + relative) > precision.accumulation.largest or max(most) > precision.operands.largest
    return math.inf if overflows else relative * mass


def same_arrays(
    candidate: Candidate, what: str, got: Values, expected: Values, subject: str = "result", of_last: bool = False
) -> None:
    """Hold an array to another, element by element, exactly; NaN equals NaN, the sign of a zero is free.

    ``of_last`` says that it is the ``subject`` of the last call's answer, as a whole.

    Raises:
        NonConformance: with ``what`` as its sentence.
    """
    if got.shape != expected.shape:
        raise NonConformance(f"{what}: shape {got.shape}, expected {expected.shape}", list(candidate.calls))
    candidate.compared(got.size)
    unequal = np.argwhere(~((got == expected) | (np.isnan(got) & np.isnan(expected))))
    if len(unequal):
        at = tuple(int(i) for i in unequal[0])
        value = float(expected[at])
        where = (float(got[at]), (value, value), value, math.inf, len(unequal), got.size)
        raise NonConformance(what, list(candidate.calls), subject, at, *where, of_last=of_last)


def within(candidate: Candidate, what: str, at: Index, got: Any, permitted: Ball, subject: str = "result") -> None:
    """Hold one value to a ball that a law has made itself.

    Raises:
        NonConformance: with ``what`` as its sentence.
    """
    margin = permitted.margin(got)
    candidate.tally.undetermined += int(not permitted.required)
    candidate.compared(int(permitted.required), margin if margin <= 1.0 else 0.0)
    if margin > 1.0:
        numbers = (float(got), permitted.bounds(), permitted.exact, margin, 1, 1)
        raise NonConformance(what, list(candidate.calls), subject, at, *numbers)


def refuses(candidate: Candidate, operator: str, arguments: dict[str, Any], why: str) -> None:
    """Hold the candidate to raising an error, of whatever kind, on a call with these arguments, in inference, too.

    Raises:
        NonConformance: it answered, or changed its arguments before it raised.
    """
    for recording in (None, False):
        seen = candidate.observe(operator, arguments, recording=recording)
        candidate.compared()
        if not seen.raised:
            answer = seen.fault or f"returned shape {seen.output.shape if seen.output is not None else None}"
            raise NonConformance(f"{operator} {answer} {why}, which is an error", [seen.call])
        if seen.changed:
            raise NonConformance(f"{operator} changed {' and '.join(seen.changed)}, and refused the call", [seen.call])


def _judge(
    candidate: Candidate,
    call: Call,
    subject: str,
    got: Values | None,
    places: Sequence[Index],
    enclose: Callable[[Precision], Callable[[Index], Ball]],
    direction: str,
) -> None:
    assert got is not None
    precision = candidate.precision(call.operator, direction)
    balls = _balls(candidate, precision, enclose, places)
    margins = [ball.margin(float(got[at])) for at, ball in zip(places, balls, strict=True)]
    undetermined = sum(not ball.required for ball in balls)
    candidate.tally.undetermined += undetermined
    if 0 < undetermined == len(balls) and precision.algorithm != "direct":
        candidate.tally.left_out = f"{precision} is declared, whose bound permits any number here"
    wrong = [k for k, margin in enumerate(margins) if margin > 1.0]
    candidate.compared(len(balls) - undetermined, 0.0 if wrong else max(margins, default=0.0))
    if not wrong:
        return
    worst = max(wrong, key=margins.__getitem__)
    at, ball = places[worst], balls[worst]
    where = (subject, at, float(got[at]), ball.bounds(), ball.exact, margins[worst], len(wrong), len(places))
    weaker = partial(what_would_hold, candidate, call, direction, got, places, enclose)
    what = f"the {subject} is outside what is permitted"
    raise NonConformance(what, candidate.calls_until(call), *where, weaker, of_last=True)


def _balls(
    candidate: Candidate,
    precision: Precision,
    enclose: Callable[[Precision], Callable[[Index], Ball]],
    places: Sequence[Index],
) -> list[Ball]:
    """What is permitted of elements: anything, where sums are too long for a bound, and then the tally says so."""
    balls = list[Ball]()
    try:
        permitted = enclose(precision)
        for at in places:
            balls.append(permitted(at))
        return balls
    except TooLong:
        arithmetic = Enclosure(precision)
        most = f"under which sums of more than {arithmetic.longest} terms have no useful bound"
        candidate.tally.left_out = f"{precision} is declared, {most}"
        return balls + [arithmetic.undetermined()] * (len(places) - len(balls))


def _equal(got: float, expected: float) -> bool:
    return got == expected or (got != got and expected != expected)
