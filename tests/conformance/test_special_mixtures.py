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
from assay.tests.trial.plain import GRADIENTS, RESULTS, convolved, convolved_back, values_of
from assay.tests.trial.sweeps import mixed
from assay.tests.trial.textures import Texture
from assay.tests.trial.whole import are_rounded_once

VANISHED = "NaN vanished, or shows elsewhere"
# What is multiplied for a result of conv2d, or for a gradient.
FACTORS = {
    "result": ("input", "weight"),
    "input": ("weight", INCOMING),
    "weight": ("input", INCOMING),
    "bias": (INCOMING,),
}
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


def without_zeros_coming_back(candidate, case):
    """The case, with ones for zeros of the incoming gradient: whether a NaN times those counts is nobody's promise."""
    incoming = numbers_of(candidate, case, INCOMING)
    return changed(case, INCOMING, np.where(incoming == 0.0, 1.0, incoming))


@np.errstate(invalid="ignore", over="ignore")
def is_in_the_result(candidate, case):
    seen = answer_of(candidate, with_a_nan(candidate, case, case.shapes))
    nans = np.isnan(RESULTS[case.operator](*values_of(seen)))
    nan_alone_at(candidate, VANISHED, seen.output, nans, "result", of_last=True)


def that_learn(case, names=()):
    """Those of all tensors, or of these, that learn."""
    return [name for name in case.learning if name in (names or case.shapes)]


@np.errstate(invalid="ignore", over="ignore")
def goes_back(candidate, case, learning=()):
    """Where something comes back to all; gradients of all that learns, or of these."""
    wanted = that_learn(case, learning)
    if not wanted:
        return
    case = without_zeros_coming_back(candidate, case)
    of = [name for name in case.shapes if name not in OF_RESULTS]
    seen = gradients_of(candidate, with_a_nan(candidate, case, [*of, INCOMING]))
    expected = GRADIENTS[case.operator](seen.call.cotangent.values, *values_of(seen))
    for name in wanted:
        nans = np.isnan(expected[name])
        nan_alone_at(candidate, VANISHED, seen.gradients[name], nans, f"gradient of {name}", of_last=True)


def ones_at_nan(values, whole_planes):
    """Ones where there is a NaN, or in planes that have one, and zeros; ones alone where there is none."""
    nans = np.isnan(values)
    if whole_planes:
        nans = np.broadcast_to(nans.any((-2, -1), keepdims=True), nans.shape)
    return np.where(nans, 1.0, float(not nans.any()))


def reached(seen, whole_planes=False):
    """Where a NaN of images, kernels or what comes back is a factor of an element that is read, not of padding.

    By result or gradient; or planes in which there is such a place, of planes in which there is a NaN.
    """
    image, weight, _, *geometry = values_of(seen)
    tensors = {"input": image, "weight": weight}
    if seen.call.cotangent:
        tensors[INCOMING] = seen.call.cotangent.values
    ones = {name: ones_at_nan(values, whole_planes) for name, values in tensors.items()}
    if seen.call.cotangent:
        found = convolved_back(ones[INCOMING], ones["input"], ones["weight"], None, *geometry)
    else:
        found = {"result": convolved(ones["input"], ones["weight"], None, *geometry)}
    for name, values in found.items():
        counts = any(np.isnan(tensors[factor]).any() for factor in FACTORS[name])
        planes = values.any((-2, -1), keepdims=True) if whole_planes and values.ndim == 4 else values != 0.0
        found[name] = np.broadcast_to(planes, values.shape) & counts
    return found


def may_reach(candidate, seen, direction):
    """Where NaN may be besides: anywhere, or in planes that have something of one."""
    anywhere = candidate.precision("conv2d", direction).reaches_further
    return {name: anywhere | planes for name, planes in reached(seen, whole_planes=True).items()}


def keep_their_nan(candidate, seen, got, direction):
    """Hold results or gradients of conv2d to NaN where one is read, and to none in planes that have nothing of it.

    Whether a NaN times padding, or at a place that no step reaches, counts is nobody's promise.
    """
    must = reached(seen)
    further = {name: np.isnan(values) & ~must[name] for name, values in got.items()}
    may = may_reach(candidate, seen, direction) if any(each.any() for each in further.values()) else further
    for name, values in got.items():
        nans = must[name] | further[name] & may[name]
        told = name if name == "result" else f"gradient of {name}"
        nan_alone_at(candidate, VANISHED, values, nans, told, of_last=True)


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


@clause("conv2d.special", tier="special", share=SHARE)
@mixed("conv2d")
def test_conv2d_in_any_mixture_has_nan_where_a_kernel_or_image_has_one(candidate, case):
    """Images or kernels. Blind to infinities, to what padding makes of a NaN, and to mixtures that are rare."""
    seen = answer_of(candidate, with_a_nan(candidate, case, ["input", "weight"]))
    keep_their_nan(candidate, seen, {"result": seen.output}, "forward")


@clause("conv2d.gradient", tier="special", share=SHARE, gradient=True)
@mixed("conv2d")
def test_conv2d_gradients_in_any_mixture_have_nan_where_a_tensor_has_one(candidate, case):
    """Or what comes back. Blind to infinities, to what padding makes of a NaN, and to mixtures that are rare."""
    case = with_a_nan(candidate, without_zeros_coming_back(candidate, case), ["input", "weight", INCOMING])
    seen = gradients_of(candidate, case)
    keep_their_nan(candidate, seen, seen.gradients, "backward")
