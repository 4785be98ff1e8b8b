"""Leftovers: what a larger call has left in a buffer, where a smaller one does not write and reads all the same.

Times zero, as one hopes; but a NaN or an infinity stays.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from assay.tests.conformance.test_contract import ALL, MODES
from assay.tests.trial.alike import one_answer
from assay.tests.trial.cases import Case
from assay.tests.trial.laws import clause
from assay.tests.trial.layers import LAYERS, of_reals
from assay.tests.trial.textures import Texture


def of_special(operator, shapes, parameters, value):
    """A layer that holds nothing but this value, and gets it back."""
    held = {name: Texture("normal").holding(np.full(shape, value), 1) for name, shape in shapes.items()}
    case = Case(operator, shapes, held, parameters, 300)
    return case.changed(incoming=Texture("normal").holding(np.full(case.result_shape, value), 1))


def around(operator):
    """Smaller cases, and larger ones that are all special, which come before them once."""
    for small, large in itertools.product(LAYERS[operator].left, LAYERS[operator].leaving):
        plain = of_reals(operator, *small).changed(incoming=Texture("normal", 9))
        for value in (math.nan, math.inf):
            yield plain, of_special(operator, *large, value)


@clause("contract.memoryless", tier="state", operators=ALL)
def test_state_special_numbers_of_a_larger_call_do_not_stay(candidate, operator):
    """NaN and infinities, of all tensors, in training and in inference. Blind to buffers that are kept for less."""
    for case, special in around(operator):
        for recording in MODES:
            candidate.begin(anew=True)
            first = candidate.answer(case, recording=recording)
            candidate.answer(special, recording=recording)
            one_answer(candidate, case, first, candidate.answer(case, recording=recording))


@clause("contract.memoryless", tier="state", operators=ALL, gradient=True)
def test_state_special_numbers_of_a_larger_call_do_not_stay_going_back(candidate, operator):
    """Nor of what comes back, which is special as well. Blind to buffers that are kept for less."""
    for case, special in around(operator):
        candidate.begin(anew=True)
        first = candidate.ask_gradient(case)
        candidate.ask_gradient(special)
        one_answer(candidate, case, first, candidate.ask_gradient(case))
