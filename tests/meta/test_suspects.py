"""One wrong element among many is judged, wherever it is, as numpy's whole results and gradients point there."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assay.implementations.arrays import Argument
from assay.implementations.contract import Implementation
from assay.implementations.load import load
from assay.implementations.observe import Call
from assay.reference.arithmetic.formats import STORAGE
from assay.reference.arithmetic.precision import Precision
from assay.spec import OPERATORS
from assay.tests.meta.oracles import budget
from assay.tests.trial import judge, suspects
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.cases import Case, gated_cases, pad2d_cases, swish_cases
from assay.tests.trial.failure import NonConformance
from assay.tests.trial.permitted import backward, forward
from assay.tests.trial.plain import GRADIENTS, RESULTS
from assay.tests.trial.textures import Texture

FLOAT64 = STORAGE["float64"]
GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
MATRICES = {"x": (40, 30), "w": (50, 30)}
LARGE = {
    "swish": ({"x": (50, 41)}, {"beta": 0.5}),
    "linear": (MATRICES, {}),
    "glu": ({**MATRICES, "v": (50, 30)}, {}),
    "swiglu": ({**MATRICES, "v": (50, 30), "b": (50,)}, {}),
    "pad2d": ({"x": (2, 3, 20, 20)}, {"padding": 1}),
    "conv2d": ({"input": (2, 6, 18, 20), "weight": (40, 6, 3, 3)}, {"stride": 1, "padding": 1}),
    "max_pool2d": ({"input": (2, 5, 20, 20)}, {"kernel_size": 2}),
}


def case_of(operator):
    shapes, parameters = LARGE[operator]
    textures = {name: Texture("distinct" if operator == "max_pool2d" else "normal", k) for k, name in enumerate(shapes)}
    terms = math.prod(next((shapes[name][1:] for name in ("w", "weight") if name in shapes), ()))
    return Case(operator, shapes, textures, parameters, terms, 5, Texture("few", 9))


def off(values):
    """The values, one of which, far from the corners, is off by a hundredth of the largest."""
    values = values.clone()
    values.view(-1)[int(GOLDEN * values.numel())] += 0.01 * values.abs().max()
    return values


class Astray(torch.autograd.Function):
    """Hands a tensor on, and one element of its gradient is wrong."""

    forward = staticmethod(lambda ctx, x: x.clone())
    backward = staticmethod(lambda ctx, g: off(g))


@pytest.mark.parametrize("operator", LARGE)
def test_one_wrong_element_of_a_result_is_judged(operator):
    right, case = load("torch").operators[operator], case_of(operator)
    wrong = Implementation("wrong", {operator: lambda *given: off(right(*given))})
    with pytest.raises(NonConformance):
        judge.conforms(Candidate(wrong, "float32"), case)
    judge.conforms(Candidate(load("torch"), "float32"), case)


@pytest.mark.parametrize(("operator", "name"), [(op, name) for op in LARGE for name in LARGE[op][0] if name != "b"])
def test_one_wrong_element_of_a_gradient_is_judged(operator, name):
    right, case = load("torch").operators[operator], case_of(operator)
    place = OPERATORS[operator].arguments.index(name)
    astray = lambda *given: right(*given[:place], Astray.apply(given[place]), *given[place + 1 :])  # noqa: E731
    with pytest.raises(NonConformance) as caught:
        judge.gradient_conforms(Candidate(Implementation("wrong", {operator: astray}), "float32"), case)
    assert caught.value.subject == f"gradient of {name}"
    judge.gradient_conforms(Candidate(load("torch"), "float32"), case)


HANGING = {
    "linear": ({"x": (2, 3, 5), "w": (4, 5), "b": (4,)}, {}),
    "glu": ({"x": (3, 5), "w": (4, 5), "v": (4, 5), "b": (4,), "c": (4,)}, {}),
    "conv2d": ({"input": (2, 3, 5, 6), "weight": (4, 3, 3, 2), "bias": (4,)}, {"stride": 2, "padding": 1}),
    "swish": ({"x": (7, 9), "beta": (1,)}, {}),
}
OF_A_LAYER = [(op, name, None) for op in HANGING for name in HANGING[op][0] if (op, name) != ("swish", "x")]


@pytest.mark.parametrize(("operator", "name", "axes"), [*OF_A_LAYER, ("swish", "beta", 0)])
def test_the_farthest_elements_are_judged_by_all_that_they_hang_on(operator, name, axes):
    """What is right but for its roundings conforms, and what is not is told."""
    shapes, parameters = HANGING[operator]
    shapes = shapes | {"beta": ()} if axes == 0 else shapes
    textures = {each: Texture("normal", seed) for seed, each in enumerate(shapes)}
    case = Case(operator, shapes, textures, parameters, 9, 1, Texture("normal", 9))
    candidate = Candidate(load("torch"), "float32")
    seen = candidate.ask_gradient(case)
    assert suspects.farthest_of_the_gradients(case, seen, (name,))[name]
    judge.farthest_gradients_conform(candidate, case, seen, (name,))
    wrong = seen.gradients[name].copy()
    wrong.flat[-1] += 0.01
    seen = replace(seen, gradients={**seen.gradients, name: wrong})
    with pytest.raises(NonConformance):
        judge.farthest_gradients_conform(candidate, case, seen, (name,))


def test_exact_results_are_suspected_too():
    right = load("torch").operators["linear"]
    case = case_of("linear").changed(textures={name: Texture("integers", 1) for name in MATRICES})
    for wrong, judged in ((off, judge.conforms_exactly), (Astray.apply, judge.gradient_conforms_exactly)):
        linear = lambda x, w, b=None, wrong=wrong: wrong(right(x, Astray.apply(w) if wrong is not off else w, b))  # noqa: E731
        with pytest.raises(NonConformance):
            judged(Candidate(Implementation("wrong", {"linear": linear}), "float64"), case)


SMALL = {
    "swish": swish_cases(("normal", "integers"), sizes=(2, 3)),
    "glu": gated_cases("glu", ("normal",), sizes=(1, 2)),
    "swiglu": gated_cases("swiglu", ("normal",), sizes=(1, 2)),
    "pad2d": pad2d_cases(("normal",), sizes=(1, 2)),
}


@pytest.mark.parametrize("operator", SMALL)
@budget(40)
@given(data=st.data())
def test_numpys_results_and_gradients_are_permitted_ones(operator, data):
    """In float64, element by element; of the other operators `test_usual.py` asks for more."""
    case = data.draw(SMALL[operator]).changed(incoming=Texture("normal", 3))
    call = Call(operator, case.arguments(FLOAT64), "float64", "cpu", case.cotangent(FLOAT64))
    values = [each.values if isinstance(each, Argument) else each for each in call.arguments.values()]
    strict = Precision.declared(FLOAT64, {})
    result, permitted = RESULTS[operator](*values), forward(case, call)(strict)
    assert all(permitted(at).margin(float(result[at])) <= 1.0 for at in np.ndindex(*result.shape))
    gradients = GRADIENTS[operator](call.cotangent.values, *values)
    for name, argument in call.tensors.items():
        of_one = backward(case, call, name)(strict)
        assert all(of_one(at).margin(float(gradients[name][at])) <= 1.0 for at in np.ndindex(*argument.values.shape))


@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(1, 1, 1), (4096, 1, 1), (7, 3, 1), (1, 3, 5), (50, 40, 30)])
def test_numpy_multiplies_zero_by_infinity_wherever_it_stands(rows, inputs, outputs):
    """BLAS scales by zero without looking at what it scales."""
    x, w, g = np.zeros((rows, inputs)), np.zeros((outputs, inputs)), np.zeros((rows, outputs))
    x[-1, -1] = g[0, 0] = math.inf
    with np.errstate(invalid="ignore"):
        result, back = RESULTS["linear"](x, w, None), GRADIENTS["linear"](g, x, w, None)
        image, kernel = x.T.reshape(1, inputs, rows, 1), w.reshape(outputs, inputs, 1, 1)
        convolved = RESULTS["conv2d"](image, kernel, None, 1, 0)
    assert np.isnan(result[-1]).all() and not result[:-1].any()
    assert np.isnan(back["x"][0]).all() and not back["x"][1:].any()
    assert not np.isfinite(back["w"][0]).all()
    assert np.array_equal(convolved[0, :, :, 0].T, result, equal_nan=True)


def test_the_worst_are_those_that_are_farthest_off_for_their_size_and_the_farthest():
    expected = np.ones((2, 5))
    size = np.array([[1.0, 1.0, 1.0, 1.0, 100.0], [1e-3, 1.0, 1.0, 1.0, 1.0]])
    got = expected + np.array([[0.0, 0.0, 0.1, 0.2, 3.0], [0.01, 0.0, 0.0, 0.0, 0.05]])
    assert suspects.worst(got, expected, size)[0] == (0, 4)
    assert set(suspects.worst(got, expected, size)) == {(0, 4), (1, 0), (0, 3), (0, 2)}


def test_a_nan_or_an_infinity_is_suspected_where_it_is_not_expected():
    """And where it is, not."""
    odd = [math.nan, math.inf, -math.inf, 1.0, 1.0]
    expected, got = np.array([*odd, 1.0]), np.array([*odd, math.nan])
    with np.errstate(invalid="ignore"):
        assert suspects.worst(got, expected, np.ones(6)) == [(5,)]
        assert suspects.worst(np.array([*odd, 1.0]), expected, np.ones(6)) == []
