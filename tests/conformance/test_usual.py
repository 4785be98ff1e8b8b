"""Usual layers in any size: every element of what networks compute, where other laws judge some."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from assay.implementations.layouts import LAYOUTS
from assay.tests.trial import judge
from assay.tests.trial.large import dense_batches, real
from assay.tests.trial.laws import clause
from assay.tests.trial.plain import convolved, pooled, values_of
from assay.tests.trial.textures import Texture, laid
from assay.tests.trial.usual import usual_activations, usual_cases, usual_matrices
from assay.tests.trial.whole import going_back, gradients_are_exact, result_is_exact

SHARE = 1 / 8  # an example is cheap, and what is special in one is the meeting of several sizes
LAYOUTS_BACK = ("contiguous", "channels_last", "cropped", "chunked", *(each for each in LAYOUTS if "expanded" in each))
places = st.lists(st.integers(0, 2**16 - 1), min_size=1, max_size=3)


def with_nan(candidate, case, places):
    """The answer where some elements of the input are NaN."""
    arguments = case.arguments(candidate.format)
    values = arguments["input"].values.copy()
    values.flat[[place % values.size for place in places]] = math.nan
    return candidate.call(
        case.operator, {**arguments, "input": laid(values, case.textures["input"].layout)}, case.result_shape
    )


@clause("swish.formula", tier="enclosure", share=SHARE * 4)
@given(case=usual_activations())
def test_swish_of_usual_layers_stays_within_its_enclosure(candidate, case):
    """Of samples, tokens and features. Blind to elements that are not sampled."""
    judge.conforms(candidate, case)


@clause("linear.formula", tier="exact", share=SHARE)
@given(case=usual_matrices("linear"))
def test_linear_of_usual_layers_is_exact(candidate, case):
    """One row or many, square weights, stored either way, all elements. Blind to other layouts, and to rounding."""
    result_is_exact(candidate, case)


@clause("linear.gradient", tier="gradient", share=SHARE * 2)
@given(case=usual_matrices("linear"), layout=st.sampled_from(LAYOUTS_BACK))
def test_linear_gradients_of_usual_layers_are_exact(candidate, case, layout):
    """All elements of all gradients. Blind to other layouts, and to rounding."""
    gradients_are_exact(candidate, going_back(candidate, case, layout))


@clause("linear.formula", tier="enclosure", share=SHARE * 2)
@given(case=usual_matrices("linear"))
def test_linear_of_usual_layers_stays_within_its_enclosure(candidate, case):
    """Of reals: who rounds operands where sizes are aligned, shows it. Blind to elements that are not sampled."""
    judge.conforms(candidate, real(case))


@clause("linear.gradient", tier="gradient", share=SHARE * 4)
@given(case=usual_matrices("linear"))
def test_linear_gradients_of_usual_layers_stay_within_their_enclosures(candidate, case):
    """Of reals, where few incoming gradients are not zero. Blind to elements that are not sampled."""
    judge.gradient_conforms(candidate, real(case).changed(incoming=Texture("few", case.pick)), sparse=True)


@clause("linear.gradient", tier="gradient", share=SHARE * 8)
@given(case=dense_batches("linear"))
def test_linear_gradients_that_sum_over_many_rows_stay_within_their_enclosures(candidate, case):
    """Up to 120 rows, and no incoming gradient is zero. Blind to more than two outputs."""
    judge.gradient_conforms(candidate, case, ("w", "b"))


@clause("glu.formula", tier="enclosure", share=SHARE * 2)
@given(case=usual_matrices("glu"))
def test_glu_of_usual_layers_stays_within_its_enclosure(candidate, case):
    """One row or many, square weights, stored either way. Blind to elements that are not sampled."""
    judge.conforms(candidate, case)


@clause("swiglu.formula", tier="enclosure", share=SHARE * 2)
@given(case=usual_matrices("swiglu"))
def test_swiglu_of_usual_layers_stays_within_its_enclosure(candidate, case):
    """One row or many, square weights, stored either way. Blind to elements that are not sampled."""
    judge.conforms(candidate, case)


@clause("glu.gradient", tier="gradient", share=SHARE * 4)
@given(case=usual_matrices("glu"))
def test_glu_gradients_of_usual_layers_stay_within_their_enclosures(candidate, case):
    """Where few incoming gradients are not zero. Blind to elements that are not sampled."""
    judge.gradient_conforms(candidate, case.changed(incoming=Texture("few", case.pick)), sparse=True)


@clause("glu.gradient", tier="gradient", share=SHARE * 8)
@given(case=dense_batches("glu"))
def test_glu_gradients_that_sum_over_many_rows_stay_within_their_enclosures(candidate, case):
    """Up to 120 rows, and no incoming gradient is zero. Blind to more than two outputs."""
    judge.gradient_conforms(candidate, case, ("w", "v", "b", "c"))


@clause("swiglu.gradient", tier="gradient", share=SHARE * 4)
@given(case=usual_matrices("swiglu"))
def test_swiglu_gradients_of_usual_layers_stay_within_their_enclosures(candidate, case):
    """Where few incoming gradients are not zero. Blind to elements that are not sampled."""
    judge.gradient_conforms(candidate, case.changed(incoming=Texture("few", case.pick)), sparse=True)


@clause("swiglu.gradient", tier="gradient", share=SHARE * 8)
@given(case=dense_batches("swiglu"))
def test_swiglu_gradients_that_sum_over_many_rows_stay_within_their_enclosures(candidate, case):
    """Up to 120 rows, and no incoming gradient is zero. Blind to more than two outputs."""
    judge.gradient_conforms(candidate, case, ("w", "v", "b", "c"))


@clause("conv2d.formula", tier="exact", share=SHARE / 2)
@given(case=usual_cases("conv2d"))
def test_conv2d_of_usual_layers_is_exact(candidate, case):
    """VGG's, ResNet's, others' and any, all elements. Blind to kernels beyond 10, and to rounding."""
    result_is_exact(candidate, case)


@clause("conv2d.formula", tier="enclosure", share=SHARE * 2)
@given(case=usual_cases("conv2d"))
def test_conv2d_of_usual_layers_stays_within_its_enclosure(candidate, case):
    """Of reals: who rounds operands where channels are aligned, shows it. Blind to elements that are not sampled."""
    judge.conforms(candidate, real(case))


@clause("conv2d.gradient", tier="gradient", share=SHARE * 8)
@given(case=dense_batches("conv2d"))
def test_conv2d_gradients_that_sum_over_many_places_stay_within_their_enclosures(candidate, case):
    """Up to 120 samples, and no incoming gradient is zero. Blind to more than two outputs."""
    judge.gradient_conforms(candidate, case, ("weight", "bias"))


@clause("conv2d.gradient", tier="gradient", share=SHARE * 2)
@given(case=usual_cases("conv2d", ("contiguous",)), layout=st.sampled_from(LAYOUTS_BACK))
def test_conv2d_gradients_of_usual_layers_are_exact(candidate, case, layout):
    """All elements of all gradients. Blind to kernels beyond 10, and to rounding."""
    gradients_are_exact(candidate, going_back(candidate, case, layout))


@clause("conv2d.special", tier="special", share=SHARE * 4)
@given(case=usual_cases("conv2d"), places=places)
def test_conv2d_of_usual_layers_has_nan_where_a_window_has(candidate, case, places):
    """And, unless it is declared to spread, nowhere else; all elements. Blind to infinities, and to NaN in weights."""
    seen = with_nan(candidate, case, places)
    expected = convolved(*values_of(seen))
    further = candidate.precision("conv2d").reaches_further
    got = np.where(np.isnan(expected), seen.output, expected) if further else seen.output
    judge.same_results(candidate, "a NaN vanished, or shows elsewhere", got, expected)


@clause("max_pool2d.definition", tier="exact", share=SHARE / 2)
@given(case=usual_cases("max_pool2d"))
def test_max_pool2d_of_usual_layers_takes_the_largest_of_each_window(candidate, case):
    """ResNet's, others' and any, all elements. Blind to windows beyond 10, and to ties."""
    result_is_exact(candidate, case)


@clause("max_pool2d.nan", tier="special", share=SHARE)
@given(case=usual_cases("max_pool2d"), places=places)
def test_max_pool2d_of_usual_layers_gives_nan_where_a_window_has_one(candidate, case, places):
    """And nowhere else; all elements. Blind to windows beyond 10."""
    seen = with_nan(candidate, case, places)
    judge.same_arrays(candidate, "a NaN vanished, or shows elsewhere", seen.output, pooled(*values_of(seen)))


@clause("max_pool2d.gradient", tier="gradient", share=SHARE * 2)
@given(case=usual_cases("max_pool2d"), layout=st.sampled_from(LAYOUTS_BACK))
def test_max_pool2d_gradients_of_usual_layers_are_exact(candidate, case, layout):
    """All elements. Blind to windows beyond 10, and to ties."""
    gradients_are_exact(candidate, case.changed(incoming=Texture("integers", case.pick, (), layout)))
