"""Habits: what hundreds of calls that are alike have not shown, and then comes."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from assay.tests.conformance.test_contract import ALL
from assay.tests.conformance.test_state import reseeded
from assay.tests.trial import judge
from assay.tests.trial.alike import right_alike
from assay.tests.trial.laws import clause
from assay.tests.trial.layers import LAYERS, of_reals
from assay.tests.trial.textures import Texture

OFTEN, AT_FIRST, GOING_BACK = 260, 20, 130  # calls
MANY = 40  # samples: of a shape that nobody has asked about
ONE, TWO = ("float32",), ("float32", "bfloat16")


def small(operator, samples=0):
    """A layer of a few normal numbers; of so many samples more."""
    shapes, parameters = LAYERS[operator].small
    first, (rows, *others) = next(iter(shapes.items()))
    return of_reals(operator, {**shapes, first: (rows + samples, *others)}, parameters)


def with_nan(case):
    """The case, one of whose numbers is NaN: the last of the first tensor."""
    name, shape = next(iter(case.shapes.items()))
    texture = case.textures[name]
    return case.with_textures(**{name: Texture("normal", texture.seed, ((math.prod(shape) - 1, math.nan),))})


def half_of_it(case):
    """The case, to half of whose units, or channels, nothing comes back."""
    incoming = np.ones(case.result_shape)
    incoming[:, ::2] = 0.0
    return case.changed(incoming=Texture("normal").holding(incoming, 1))


def comes_as_a_surprise(candidate, usual, rare, elsewhere, **how):
    """Judge what comes after calls that are alike, where it is right in a layer of another size, which comes first."""
    candidate.begin(anew=True)
    back = how.get("back", False)
    conform = judge.gradients_conform if back else judge.answer_conforms
    (first,), _ = candidate.answers_in_turn([elsewhere], **how)
    seen, _ = candidate.answers_in_turn([*usual, rare], **how)
    candidate.compared()
    right_alike(*(partial(conform, candidate, *each) for each in ((elsewhere, first), (rare, seen[-1]))))


@clause("contract.memoryless", tier="state", operators=ALL, dtypes=ONE)
def test_state_a_nan_after_hundreds_of_calls_shows(candidate, operator):
    """Which had none, in inference. Blind to what takes thousands."""
    usual = [small(operator), reseeded(small(operator), 1)] * (OFTEN // 2)
    rare, elsewhere = (with_nan(small(operator, samples)) for samples in range(2))
    comes_as_a_surprise(candidate, usual, rare, elsewhere, recording=False)


@clause("contract.memoryless", tier="state", operators=ALL, dtypes=TWO)
def test_state_reals_after_ones_and_zeros_have_all_digits(candidate, operator):
    """As after a warm-up that tries kernels out. Blind to what takes hundreds."""
    case, elsewhere = small(operator, MANY), small(operator, MANY + 1)
    for family in ("ones", "zeros"):
        usual = case.changed(textures=dict.fromkeys(case.shapes, Texture(family)))
        comes_as_a_surprise(candidate, [usual] * AT_FIRST, case, elsewhere, recording=False)


@clause("contract.memoryless", tier="state", operators=ALL, gradient=True, dtypes=ONE)
def test_state_units_to_which_nothing_came_back_are_alive(candidate, operator):
    """As of an expert that was not chosen. Blind to what takes hundreds."""
    rare, elsewhere = (small(operator, k).changed(incoming=Texture("normal", 9)) for k in range(2))
    comes_as_a_surprise(candidate, [half_of_it(rare)] * GOING_BACK, rare, elsewhere, back=True)
