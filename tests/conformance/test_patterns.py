"""Patterns in values: one tensor in each, and all at once, in results and in gradients that are compared whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from assay.implementations.settings import DEBUGGED, DETERMINISTIC
from assay.tests.trial import transforms
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.cases import Case
from assay.tests.trial.laws import clause
from assay.tests.trial.patterned import BACK, OF_BETA, OF_TIES, Result
from assay.tests.trial.suspects import SUMS
from assay.tests.trial.sweeps import in_patterns
from assay.tests.trial.textures import Texture
from assay.tests.trial.whole import (
    are_rounded_once,
    fits,
    going_back,
    gradients_are_rounded_once,
    gradients_are_within,
    of_whole_numbers,
    result_is_exact,
    result_is_within,
    sums_once,
)

SHARE = 12


def is_exact(candidate: Candidate, operator: str, direction: str) -> bool:
    """Whether sums are asked of integers: numpy is near to no reals by transforms, nor by operands of fewer bits."""
    precision = candidate.precision(operator, direction)
    plain = precision.algorithm == "direct" and precision.operands.precision >= candidate.format.precision
    return operator in SUMS and not plain


def is_right(candidate: Candidate, case: Case) -> None:
    """Judge what of the result is not near to numpy's, in training and in inference."""
    if is_exact(candidate, case.operator, "forward"):
        whole = of_whole_numbers(case)
        if fits(candidate, whole):
            result_is_exact(candidate, whole)
        return
    for recording in (None, False):
        result_is_within(candidate, case, candidate.answer(case, recording=recording))


def filled_in(candidate: Candidate, case: Case) -> Case:
    """The case, to which its result comes back where that is to be so."""
    if not isinstance(case.incoming, Result):
        return case
    return case.changed(incoming=Texture("normal").holding(candidate.answer(case).output, case.terms))


def gradients_are_right(candidate: Candidate, case: Case, names: Sequence[str] = ()) -> None:
    """Judge what of the gradients, or of these, is not near to numpy's; the input of every second layer is frozen."""
    case = filled_in(candidate, case)
    frozen = case.pick % 2 == 1 and len(case.shapes) > 1
    ask = partial(candidate.ask_gradient, wanted=[*case.shapes][1:] if frozen else (), alone=frozen)
    if not is_exact(candidate, case.operator, "backward"):
        gradients_are_within(candidate, case, ask(case), names)
        return
    bounded = case.operator == "conv2d" and transforms.is_bounded(candidate, "backward")
    if bounded or sums_once(candidate, case.operator, "backward"):
        whole = going_back(candidate, of_whole_numbers(case), "contiguous")
        whole = whole.changed(incoming=replace(case.incoming, family="integers"))
        if fits(candidate, whole, back=True):
            seen = ask(whole)
            judged = transforms.gradients_are_within if bounded else are_rounded_once
            judged(candidate, seen, seen.gradients)


@clause("swish.formula", tier="enclosure", share=SHARE)
@in_patterns("swish")
def test_swish_of_patterns_stays_within_its_enclosure(candidate, case):
    """Zeros in rows, rows that are alike. Blind to patterns of other sizes."""
    is_right(candidate, case)


@clause("swish.gradient", tier="gradient", share=SHARE)
@in_patterns("swish", BACK)
def test_gradients_of_swish_of_patterns_stay_within_their_enclosures(candidate, case):
    """Of zeros in rows, in what comes back, too. Blind to patterns of other sizes."""
    gradients_are_right(candidate, case)


@clause("swish.beta-learned", tier="gradient", share=SHARE)
@in_patterns("swish", OF_BETA)
def test_the_gradient_of_swish_by_beta_of_patterns_stays_within_its_enclosure(candidate, case):
    """Zeros in rows, in what comes back, too. Blind to patterns of other sizes."""
    gradients_are_right(candidate, case, ("beta",))


@clause("linear.formula", tier="enclosure", share=SHARE)
@in_patterns("linear")
def test_linear_of_patterns_stays_within_its_enclosure(candidate, case):
    """Weights of triangles, of two columns of four. Blind to patterns of other sizes."""
    is_right(candidate, case)


@clause("linear.gradient", tier="gradient", share=SHARE)
@in_patterns("linear", BACK)
def test_linear_gradients_of_patterns_stay_within_their_enclosures(candidate, case):
    """Zeros of weights have gradients, too. Blind to patterns of other sizes."""
    gradients_are_right(candidate, case)


@clause("glu.formula", tier="enclosure", share=SHARE)
@in_patterns("glu")
def test_glu_of_patterns_stays_within_its_enclosure(candidate, case):
    """Weights of triangles, of two columns of four. Blind to patterns of other sizes."""
    is_right(candidate, case)


@clause("glu.gradient", tier="gradient", share=SHARE)
@in_patterns("glu", BACK)
def test_glu_gradients_of_patterns_stay_within_their_enclosures(candidate, case):
    """Zeros of weights have gradients, too. Blind to patterns of other sizes."""
    gradients_are_right(candidate, case)


@clause("swiglu.formula", tier="enclosure", share=SHARE)
@in_patterns("swiglu")
def test_swiglu_of_patterns_stays_within_its_enclosure(candidate, case):
    """Weights of triangles, of two columns of four. Blind to patterns of other sizes."""
    is_right(candidate, case)


@clause("swiglu.gradient", tier="gradient", share=SHARE)
@in_patterns("swiglu", BACK)
def test_swiglu_gradients_of_patterns_stay_within_their_enclosures(candidate, case):
    """Zeros of weights have gradients, too. Blind to patterns of other sizes."""
    gradients_are_right(candidate, case)


@clause("pad2d.zeros", tier="exact", share=SHARE)
@in_patterns("pad2d")
def test_pad2d_of_patterns_adds_zeros_and_leaves_the_rest(candidate, case):
    """Planes of zeros beside others. Blind to patterns of other sizes."""
    is_right(candidate, case)


@clause("pad2d.gradient", tier="gradient", share=SHARE)
@in_patterns("pad2d", BACK)
def test_pad2d_gradients_of_patterns_are_the_incoming_ones_within(candidate, case):
    """Planes of zeros beside others. Blind to patterns of other sizes."""
    gradients_are_right(candidate, case)


@clause("conv2d.formula", tier="enclosure", share=SHARE)
@in_patterns("conv2d")
def test_conv2d_of_patterns_stays_within_its_enclosure(candidate, case):
    """Taps of zeros, planes of one number, of one row, turned. Blind to patterns of other sizes."""
    is_right(candidate, case)


@clause("conv2d.gradient", tier="gradient", share=SHARE)
@in_patterns("conv2d", BACK)
def test_conv2d_gradients_of_patterns_stay_within_their_enclosures(candidate, case):
    """Zeros of kernels have gradients, too. Blind to patterns of other sizes."""
    gradients_are_right(candidate, case)


@clause("max_pool2d.definition", tier="exact", share=SHARE)
@in_patterns("max_pool2d")
def test_max_pool2d_of_patterns_takes_the_largest_of_each_window(candidate, case):
    """Sorted planes, and negative ones within positive rows. Blind to patterns of other sizes."""
    is_right(candidate, case)


@clause("max_pool2d.gradient", tier="gradient", share=SHARE)
@in_patterns("max_pool2d", BACK)
def test_max_pool2d_gradients_of_patterns_are_rounded_once(candidate, case):
    """Few outputs whose windows share an element come back, or whole rows. Blind to patterns of other sizes."""
    if sums_once(candidate, "max_pool2d", "backward"):
        gradients_are_rounded_once(candidate, filled_in(candidate, case))


@clause("max_pool2d.gradient-first-tie", tier="gradient", share=SHARE)
@in_patterns("max_pool2d", OF_TIES)
def test_the_first_of_ties_of_patterns_gets_the_whole_gradient(candidate, case):
    """Borders of zeros, planes of one number; at times deterministic, or debugged. Blind to other sizes."""
    if sums_once(candidate, "max_pool2d", "backward"):
        settings = ("", *DETERMINISTIC, *DEBUGGED)
        gradients_are_rounded_once(candidate, case, setting=settings[case.pick % 3])
