"""Leftovers: what a larger call has left in a buffer, where a smaller one does not write and reads all the same.

Times zero, as one hopes; but a NaN or an infinity stays.
"""

from __future__ import annotations

import itertools
import math
from functools import partial

import numpy as np

from assay.implementations.observe import NO_GRAD
from assay.tests.conformance.test_contract import ALL, MODES
from assay.tests.trial.alike import are_right, one_answer
from assay.tests.trial.cases import Case
from assay.tests.trial.laws import clause
from assay.tests.trial.layers import LAYERS, lasting, of_reals
from assay.tests.trial.smaller import named_axes
from assay.tests.trial.textures import Texture

# Of one axis, one after the other: tails of tiles, and parts of a sum in every number up to eight. Those of conv2d
# begin with 1031: a compiler takes a tenth of a second for each new size.
SHRINKING = (4099, 3331, 2819, 2051, 1543, 1031, 515, 259, 131, 67, 33, 17, 9)
OF_KERNELS = ("rows", "columns")
# What is padded, and the other tensors and parameters.
BORDERED = {
    "pad2d": ("x", {}, {}),
    "conv2d": ("input", {"weight": (4, 8, 5, 5)}, {"stride": 1}),
    "max_pool2d": ("input", {}, {"kernel_size": 9, "stride": 1}),
}


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


def shrinking(operator):
    """Small layers, one of whose sizes is long at first, and shorter each time, by axis."""
    plain = of_reals(operator, *LAYERS[operator].small)
    named = {name: axes for name, axes in named_axes(plain).items() if name in plain.shapes}
    sizes = SHRINKING[SHRINKING.index(1031) if operator == "conv2d" else 0 :]
    for axis in dict.fromkeys(itertools.chain(*named.values())):
        if axis not in OF_KERNELS:
            yield [of_reals(operator, of_size(plain, named, axis, size), plain.parameters) for size in sizes]


def up_and_down(candidate, cases, ask):
    """Hold what is asked after a larger case to what is asked after a smaller one."""
    growing = [ask(case) for case in reversed(cases)]
    for case, first in zip(cases, reversed(growing), strict=True):
        one_answer(candidate, case, first, ask(case))


def of_size(plain, named, axis, size):
    """The shapes of a case, where the axis has this size; ``named`` are the axes of its tensors."""
    sizes = {name: zip(axes, plain.shapes[name], strict=True) for name, axes in named.items()}
    return {name: tuple(size if each == axis else one for each, one in sizes[name]) for name in plain.shapes}


@clause("contract.memoryless", tier="state", operators=ALL)
def test_state_what_is_smaller_in_one_size_gives_its_own_result(candidate, operator):
    """Than the call before, in training and in inference, as when it was larger. Blind to what every call has wrong."""
    for cases, recording in itertools.product(shrinking(operator), MODES):
        candidate.begin()
        up_and_down(candidate, cases, partial(candidate.answer, recording=recording))


@clause("contract.memoryless", tier="state", operators=ALL, gradient=True)
def test_state_what_is_smaller_in_one_size_has_its_own_gradients(candidate, operator):
    """Than the call before, as when it was larger. Blind to what every call has wrong."""
    for cases in shrinking(operator):
        candidate.begin()
        up_and_down(candidate, [case.changed(incoming=Texture("few", 3)) for case in cases], candidate.ask_gradient)


def bordered(operator):
    """Images by more padding each time, which are of one size once they are padded, 2^16 elements."""
    name, own, parameters = BORDERED[operator]
    return [
        lasting(operator, **{name: (2, 8, 66 - 2 * p, 68 - 2 * p)}, **own).changed(
            parameters={**parameters, "padding": p}
        )
        for p in (1, 2, 4)
    ]


@clause("contract.memoryless", tier="state", operators=tuple(BORDERED))
def test_state_more_padding_around_less_gives_its_own_result(candidate, operator):
    """Of one size in all. Blind to what every call has wrong."""
    for recording in (*MODES, NO_GRAD):
        candidate.begin()
        cases = bordered(operator)
        are_right(candidate, cases, [candidate.answer(case, recording=recording) for case in cases])


@clause("contract.memoryless", tier="state", operators=tuple(BORDERED), gradient=True)
def test_state_more_padding_around_less_has_its_own_gradients(candidate, operator):
    """Of one size in all. Blind to what every call has wrong."""
    candidate.begin()
    cases = [case.changed(incoming=Texture("few", 1)) for case in bordered(operator)]
    are_right(candidate, cases, [candidate.ask_gradient(case) for case in cases], back=True)


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
