"""A NaN in mixtures: one in any tensor, or in what comes back, is where the formula has it, and nowhere else."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np

from assay.tests.conformance.test_mixtures import SHARE, answer_of, gradients_of, numbers_of
from assay.tests.trial.laws import clause
from assay.tests.trial.mixtures import INCOMING
from assay.tests.trial.nans import nan_alone_at
from assay.tests.trial.plain import GRADIENTS, RESULTS, values_of
from assay.tests.trial.sweeps import mixed
from assay.tests.trial.textures import Texture
from assay.tests.trial.whole import are_rounded_once

VANISHED = "NaN vanished, or shows elsewhere"
OF_RESULTS = ("v", "b", "c")  # where results show whether their NaN are lost


def changed(case, name, values):
    """The case with these numbers, which lie as those before."""
    if name == INCOMING:
        return case.changed(incoming=case.incoming.holding(values, case.terms))
    return case.with_textures(**{name: case.textures[name].holding(values, case.terms)})


def with_a_nan(candidate, case, names):
    """The case with one NaN, at the end or anywhere, in one of these."""
    rng = random.Random(f"a NaN {case.pick}")
    name = rng.choice(list(names))
    values = numbers_of(candidate, case, name)
    values.flat[rng.choice((-1, rng.randrange(values.size)))] = math.nan
    return changed(case, name, values)


@np.errstate(invalid="ignore", over="ignore")
def is_in_the_result(candidate, case):
    seen = answer_of(candidate, with_a_nan(candidate, case, case.shapes))
    nans = np.isnan(RESULTS[case.operator](*values_of(seen)))
    nan_alone_at(candidate, VANISHED, seen.output, nans, "result", of_last=True)


@np.errstate(invalid="ignore", over="ignore")
def goes_back(candidate, case, learning=()):
    """Where something comes back to all: whether a NaN counts to which nothing does is nobody's promise.

    Gradients of all that learns, or of these.
    """
    wanted = [name for name in case.learning if name in (learning or case.shapes)]
    if not wanted:
        return
    incoming = numbers_of(candidate, case, INCOMING)
    case = changed(case, INCOMING, np.where(incoming == 0.0, 1.0, incoming))
    of = [name for name in case.shapes if name not in OF_RESULTS]
    seen = gradients_of(candidate, with_a_nan(candidate, case, [*of, INCOMING]))
    expected = GRADIENTS[case.operator](seen.call.cotangent.values, *values_of(seen))
    for name in wanted:
        nans = np.isnan(expected[name])
        nan_alone_at(candidate, VANISHED, seen.gradients[name], nans, f"gradient of {name}", of_last=True)


@clause("linear.special", tier="special", share=SHARE)
@mixed("linear")
def test_linear_in_any_mixture_has_nan_where_a_tensor_has_one(candidate, case):
    """x, W or b. Blind to infinities, and to mixtures that are rare."""
    is_in_the_result(candidate, case)


@clause("glu.special", tier="special", share=SHARE)
@mixed("glu")
def test_glu_in_any_mixture_has_nan_where_a_tensor_has_one(candidate, case):
    """x, W, V, b or c. Blind to infinities, and to mixtures that are rare."""
    is_in_the_result(candidate, case)


@clause("swiglu.special", tier="special", share=SHARE)
@mixed("swiglu")
def test_swiglu_in_any_mixture_has_nan_where_a_tensor_has_one(candidate, case):
    """x, W, V, b or c. Blind to infinities, and to mixtures that are rare."""
    is_in_the_result(candidate, case)


@clause("linear.gradient", tier="special", share=SHARE, gradient=True)
@mixed("linear")
def test_linear_gradients_in_any_mixture_have_nan_where_a_tensor_has_one(candidate, case):
    """Or what comes back. Blind to infinities, and to mixtures that are rare."""
    goes_back(candidate, case)


@clause("glu.gradient", tier="special", share=SHARE, gradient=True)
@mixed("glu")
def test_glu_gradients_in_any_mixture_have_nan_where_a_tensor_has_one(candidate, case):
    """Or what comes back. Blind to infinities, and to mixtures that are rare."""
    goes_back(candidate, case)


@clause("swiglu.gradient", tier="special", share=SHARE, gradient=True)
@mixed("swiglu")
def test_swiglu_gradients_in_any_mixture_have_nan_where_a_tensor_has_one(candidate, case):
    """Or what comes back. Blind to infinities, and to mixtures that are rare."""
    goes_back(candidate, case)


@clause("swish.gradient", tier="special", share=SHARE, gradient=True)
@mixed("swish")
def test_gradients_of_swish_in_any_mixture_have_nan_where_a_tensor_has_one(candidate, case):
    """Or what comes back, or beta; by x. Blind to infinities, and to mixtures that are rare."""
    goes_back(candidate, case, ["x"])


@clause("swish.beta-learned", tier="special", share=SHARE, gradient=True)
@mixed("swish")
def test_gradients_of_swish_by_beta_in_any_mixture_are_nan_where_a_tensor_has_one(candidate, case):
    """Or what comes back, or beta. Blind to infinities, and to mixtures that are rare."""
    goes_back(candidate, case, ["beta"])


@clause("max_pool2d.gradient", tier="special", share=SHARE, gradient=True)
@mixed("max_pool2d")
def test_max_pool2d_gradients_in_any_mixture_go_to_the_nan_of_a_window(candidate, case):
    """Which is what was taken; ones come back, whose sums are exact. Blind to more than one, and to rare mixtures."""
    ones = case.changed(incoming=replace(Texture("ones"), layout=case.incoming.layout))
    seen = gradients_of(candidate, with_a_nan(candidate, ones, case.shapes))
    are_rounded_once(candidate, seen, seen.gradients)
