"""Edges: layers of no features and of no outputs, planes of no rows, windows that hold several NaN."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from assay.tests.conformance.test_contract import MODES, demand_own_memory, takes
from assay.tests.trial import judge
from assay.tests.trial.candidate import well_formed
from assay.tests.trial.cases import Case, pad2d_cases
from assay.tests.trial.laws import clause
from assay.tests.trial.textures import Texture
from assay.tests.trial.whole import are_rounded_once, sums_once

OF_MATRICES = ("linear", "glu", "swiglu")


def layer(operator, rows, features, outputs):
    """A layer of these sizes, with its biases."""
    branches, biases = ("w", "b") if operator == "linear" else ("wv", "bc")
    shapes = {"x": (rows, features), **dict.fromkeys(branches, (outputs, features))}
    shapes |= dict.fromkeys(biases, (outputs,))
    return Case(operator, shapes, {name: Texture("digits", k) for k, name in enumerate(shapes)})


@clause("contract.no-alias", tier="contract", operators=OF_MATRICES)
@given(rows=st.integers(1, 40), outputs=st.integers(1, 40))
def test_contract_what_is_left_of_no_features_has_memory_of_its_own(candidate, operator, rows, outputs):
    """The biases are, in training and in inference, of whom takes such a layer. Blind to other sizes that are zero."""
    case = layer(operator, rows, 0, outputs)
    for recording in MODES if takes(candidate, case) else ():
        seen = candidate.answer(case, recording=recording)
        candidate.compared()
        demand_own_memory(seen)


@clause("contract.no-alias", tier="contract", operators=("max_pool2d",))
def test_contract_windows_of_one_element_are_copied(candidate, operator):
    """Though the elements that a stride leaves may lie as a tensor of their own. Blind to windows of several."""
    for shape, stride in (((2, 3, 1, 1), 2), ((1, 1, 4, 5), 5), ((1, 2, 1, 6), (3, 1)), ((1, 1, 3, 1), None)):
        case = Case(operator, {"input": shape}, {"input": Texture("digits")}, {"kernel_size": 1, "stride": stride})
        for recording in MODES:
            seen = candidate.answer(case, recording=recording)
            candidate.compared()
            demand_own_memory(seen)


@clause("contract.fresh-memory", tier="state", operators=OF_MATRICES, gradient=True)
@given(rows=st.integers(1, 40), features=st.integers(1, 300))
def test_state_what_was_in_memory_does_not_come_back_from_no_outputs(candidate, operator, rows, features):
    """No outputs hand back zeros, of whom takes such a layer. Blind to memory that happens to hold zeros."""
    case = layer(operator, rows, features, 0)
    back = case.cotangent(candidate.format), tuple(case.shapes)
    seen = candidate.observe(operator, case.arguments(candidate.format), *back, poison=rows * features)
    candidate.compared()
    if seen.raised:
        return
    well_formed(seen, case.result_shape)
    for name, gradient in seen.gradients.items():
        if gradient is not None:
            what = f"{name} has a derivative where nothing comes out"
            judge.same_arrays(candidate, what, gradient, np.zeros_like(gradient), f"gradient of {name}")


@clause("contract.shape", tier="gradient", operators=OF_MATRICES)
@given(rows=st.integers(1, 40), outputs=st.integers(1, 40))
def test_contract_what_comes_back_to_no_features_reaches_the_biases(candidate, operator, rows, outputs):
    """Of whom goes back through such a layer; gates are half open, so that all is exact. Blind to other tensors."""
    case = layer(operator, rows, 0, outputs).changed(incoming=Texture("digits", rows), terms=rows)
    if operator != "linear":
        case = case.with_textures(b=Texture("zeros"))
    if not sums_once(candidate, operator, "backward"):
        return
    back = case.cotangent(candidate.format), tuple(name for name in case.shapes if name in "bc")
    seen = candidate.observe(operator, case.arguments(candidate.format), *back)
    candidate.compared()
    if not seen.raised:
        well_formed(seen, case.result_shape)
        are_rounded_once(candidate, seen, seen.gradients)


@clause("pad2d.zeros", tier="exact")
@given(case=pad2d_cases(), axis=st.integers(1, 2))
def test_pad2d_of_no_rows_or_columns_is_zeros_alone(candidate, case, axis):
    """Of whom takes such a plane. Blind to what comes back."""
    shape = list(case.shapes["x"])
    shape[-axis] = 0
    case = case.changed(shapes={"x": tuple(shape)})
    if takes(candidate, case):
        result = candidate.ask(case).output
        judge.same_arrays(candidate, "around nothing are no zeros", result, np.zeros(case.result_shape))


@clause("max_pool2d.gradient", tier="gradient")
@given(side=st.integers(1, 4), kernel=st.integers(1, 3), share=st.integers(1, 8), seed=st.integers(0, 4095))
def test_max_pool2d_hands_back_to_one_of_several_nan_at_most(candidate, side, kernel, share, seed):
    """What comes back to a window with NaN is no more than came in, or NaN. Blind to which of its elements gets it."""
    rng = np.random.default_rng(seed)
    shape = (2, 3, side * kernel, side * kernel)
    values = np.where(rng.integers(0, 8, shape) < share, math.nan, rng.integers(-8, 9, shape))
    case = Case("max_pool2d", {"input": shape}, {"input": Texture().holding(values, 16)}, {"kernel_size": kernel}, 16)
    seen = candidate.ask_gradient(case)
    blocks = seen.gradients["input"].reshape(2, 3, side, kernel, side, kernel)
    total = blocks.sum((3, 5))
    expected = np.where(np.isnan(total) | (total == 0.0), total, 1.0)
    judge.same_arrays(candidate, "more comes back to a window than came in", total, expected)
