"""Leftovers: what a larger call has left in a buffer, where a smaller one does not write and reads all the same.

Times zero, as one hopes; but a NaN or an infinity stays.
"""

from __future__ import annotations

import math

import numpy as np

from assay.tests.conformance.test_contract import ALL, MODES
from assay.tests.conformance.test_layers import layer
from assay.tests.conformance.test_lifetimes import begin_anew, of_reals
from assay.tests.trial.alike import one_answer
from assay.tests.trial.cases import Case
from assay.tests.trial.laws import clause
from assay.tests.trial.textures import Texture

# Rows, features and outputs; the smaller ones are multiples of no tile.
LARGER, SMALLER = ((1, 300, 80), (3, 300, 80), (264, 300, 8)), ((1, 6, 5), (1, 37, 33), (3, 37, 5), (264, 261, 8))


def matrices(weights, biases):
    """Larger layers, and smaller ones, by the shapes of their tensors."""

    def shapes(rows, features, outputs):
        return {
            "x": (rows, features),
            **dict.fromkeys(weights, (outputs, features)),
            **dict.fromkeys(biases, (outputs,)),
        }

    return [shapes(*sizes) for sizes in LARGER], [shapes(*sizes) for sizes in SMALLER], {}


def convolution(samples, inputs, outputs, *sides):
    """The shapes of 3 x 3 kernels over an image."""
    return {"input": (samples, inputs, *sides), "weight": (outputs, inputs, 3, 3), "bias": (outputs,)}


# Larger layers, smaller ones, and what they have in common.
SHAPES = {
    "swish": ([{"x": (1031,)}], [{"x": (37,)}, {"x": (6,)}], {"beta": -1.5}),
    "linear": matrices("w", "b"),
    "glu": matrices("wv", "bc"),
    "swiglu": matrices("wv", "bc"),
    "pad2d": ([{"x": (2, 9, 20, 22)}], [{"x": (1, 3, 5, 6)}], {"padding": 1}),
    "conv2d": ([convolution(2, 17, 9, 12, 13)], [convolution(1, 3, 5, 5, 6)], {"stride": 1, "padding": 1}),
    "max_pool2d": ([{"input": (2, 9, 20, 22)}], [{"input": (1, 3, 5, 6)}], {"kernel_size": 3, "padding": 1}),
}


def of_special(operator, shapes, parameters, value):
    """A layer that holds nothing but this value, and gets it back."""
    held = {name: Texture("normal").holding(np.full(shape, value), 1) for name, shape in shapes.items()}
    case = Case(operator, shapes, held, parameters, 300)
    return case.changed(incoming=Texture("normal").holding(np.full(case.result_shape, value), 1))


def around(operator):
    """Smaller cases, and larger ones that are all special, which come before them once."""
    larger, smaller, parameters = SHAPES[operator]
    for small in smaller:
        plain = of_reals(layer(operator, small, parameters)).changed(incoming=Texture("normal", 9))
        for large in larger:
            for value in (math.nan, math.inf):
                yield plain, of_special(operator, large, parameters, value)


@clause("contract.memoryless", tier="state", operators=ALL)
def test_state_special_numbers_of_a_larger_call_do_not_stay(candidate, operator):
    """NaN and infinities, of all tensors, in training and in inference. Blind to buffers that are kept for less."""
    for case, special in around(operator):
        for recording in MODES:
            begin_anew(candidate)
            first = candidate.answer(case, recording=recording)
            candidate.answer(special, recording=recording)
            one_answer(candidate, case, first, candidate.answer(case, recording=recording))


@clause("contract.memoryless", tier="state", operators=ALL, gradient=True)
def test_state_special_numbers_of_a_larger_call_do_not_stay_going_back(candidate, operator):
    """Nor of what comes back, which is special as well. Blind to buffers that are kept for less."""
    for case, special in around(operator):
        begin_anew(candidate)
        first = candidate.ask_gradient(case)
        candidate.ask_gradient(special)
        one_answer(candidate, case, first, candidate.ask_gradient(case))
