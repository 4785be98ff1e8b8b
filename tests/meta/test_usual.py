"""Usual layers: numpy's whole results are the reference's, and the cases are what they say."""

from __future__ import annotations

import math

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.implementations.arrays import Argument
from assay.implementations.observe import Call
from assay.reference.arithmetic.formats import STORAGE
from assay.reference.conv2d import pair
from assay.tests.meta.oracles import SEEDS, budget
from assay.tests.trial import plain, usual
from assay.tests.trial.cases import conv2d_cases, linear_cases
from assay.tests.trial.laws import all_laws, at_budget
from assay.tests.trial.permitted import exact_backward, exact_forward
from assay.tests.trial.planes import untied_cases
from assay.tests.trial.textures import Texture

FLOAT32 = STORAGE["float32"]
SMALL = {
    "linear": linear_cases(("integers",), (1, 2, 3)),
    "conv2d": conv2d_cases(("integers",), (1, 2, 3), (1, 2)),
    "max_pool2d": untied_cases(),
}


@pytest.mark.parametrize("operator", SMALL)
@budget(60)
@given(data=st.data())
def test_every_element_is_the_references(operator, data):
    case = data.draw(SMALL[operator]).changed(incoming=Texture("integers", 1))
    call = Call(operator, case.arguments(FLOAT32), "float32", "cpu", case.cotangent(FLOAT32))
    values = [each.values if isinstance(each, Argument) else each for each in call.arguments.values()]
    result = plain.RESULTS[operator](*values)
    gradients = plain.GRADIENTS[operator](call.cotangent.values, *values)
    element, gradient = exact_forward(case, call), exact_backward(case, call)
    assert result.shape == case.result_shape
    assert {at: result[at] for at in np.ndindex(*result.shape)} == {at: element(at) for at in np.ndindex(*result.shape)}
    for name, argument in call.tensors.items():
        for at in np.ndindex(*argument.values.shape):
            assert gradients[name][at] == gradient((name, at))


@budget(100)
@given(case=usual.usual_cases("conv2d") | usual.usual_cases("max_pool2d"))
def test_a_case_is_one_that_the_operator_takes_and_not_too_large(case):
    kernel = pair(case.parameters.get("kernel_size") or case.shapes["weight"][2:])
    assert min(case.result_shape) >= 1
    assert math.prod(case.result_shape) * math.prod(kernel) <= 2**22
    if case.operator == "max_pool2d":
        assert all(p <= k // 2 for p, k in zip(pair(case.parameters["padding"]), kernel, strict=True))
        windows = [-(-k // s) for k, s in zip(kernel, pair(case.parameters["stride"] or kernel), strict=True)]
        assert case.terms >= math.prod(windows), "an element is in so many windows, whose gradients add up"


@budget(30)
@given(seed=SEEDS, layer=st.sampled_from(usual.POOLINGS), layout=st.sampled_from(("contiguous", "channels_last")))
@pytest.mark.parametrize("dtype", STORAGE)
def test_no_window_of_blocks_has_a_tie_in_any_dtype(dtype, seed, layer, layout):
    fmt = STORAGE[dtype]
    values = usual.Blocks("ties", seed, (), layout).fill((2, 3, 19, 23), fmt).values
    assert all(fmt.holds(value) for value in values.ravel().tolist())
    seen = plain.windows(values, layer[0], layer[1]).reshape(-1, math.prod(layer[0]))
    assert (np.diff(np.sort(seen, axis=1), axis=1) > 0).all()


@pytest.mark.parametrize("share", (0.25, 1, 4))
def test_a_share_below_one_is_that_many_more_examples(share, monkeypatch):
    (law,) = (law for law in all_laws() if law.name == "test_pad2d_adds_zeros_and_leaves_the_rest")
    monkeypatch.setitem(vars(law), "share", share)
    with at_budget(hypothesis.settings(max_examples=8), [law]):
        assert law.function._hypothesis_internal_use_settings.max_examples == 8 / share
