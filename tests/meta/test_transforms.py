"""Whole convolutions by a declared FFT, or by Winograd's algorithm, and how far off they may be."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from assay.implementations.arrays import Argument
from assay.implementations.contract import Implementation
from assay.tests.conformance import test_patterns as patterns
from assay.tests.conformance.test_mixtures import answer_of, gradients_of
from assay.tests.mutants.correct import VARIANTS, variant
from assay.tests.mutants.dispatched import back
from assay.tests.trial import transforms
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.failure import NonConformance
from assay.tests.trial.mixtures import mixtures
from assay.tests.trial.patterned import BACK
from assay.tests.trial.sweeps import Sweep

FEW = [case for _, case in zip(range(24), mixtures("conv2d", random.Random(7)), strict=False)]
DTYPES = ("float64", "float32", "bfloat16", "float16")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name, each in VARIANTS.items() if "algorithm" in str(each.precision)])
def test_right_ones_are_within(name, dtype):
    candidate = Candidate(variant(name), dtype)
    both = transforms.is_bounded(candidate, "backward")
    assert transforms.is_bounded(candidate, "forward") and both == ("backward" in str(VARIANTS[name].precision))
    for case in FEW:
        transforms.result_is_within(candidate, answer_of(candidate, case))
        if both:
            seen = gradients_of(candidate, case)
            transforms.gradients_are_within(candidate, seen, seen.gradients)
    assert candidate.tally.compared and not candidate.tally.undetermined


def wrong(name, **operators):
    """A variant, which declares an algorithm, with other operators."""
    right = variant(name)
    return Candidate(Implementation("wrong", {**right.operators, **operators}, precision=right.precision), "float32")


def last_off(y):
    """The last element is off by one."""
    y = y.clone(memory_format=torch.contiguous_format)
    y.view(-1)[-1] += 1.0
    return y


def largest_gone(y):
    """The largest element is zero."""
    flat = y.clone(memory_format=torch.contiguous_format).view(-1)
    flat[flat.abs().argmax()] = 0.0
    return flat.view(y.shape)


@pytest.mark.parametrize(
    ("name", "spoil"), [("fft", last_off), ("fft-float32", largest_gone), ("winograd", largest_gone)]
)
def test_a_result_of_which_an_element_is_wrong_is_not(name, spoil):
    """By one in float64; in float32 a bound is wide."""
    right = variant(name).operators["conv2d"]
    candidate = wrong(name, conv2d=lambda *given: spoil(right(*given)))
    for case in FEW[:6]:
        with pytest.raises(NonConformance, match="the result is farther off than the declared algorithm may be"):
            transforms.result_is_within(candidate, answer_of(candidate, case))


@pytest.mark.parametrize("which", ["input", "weight", "bias"])
def test_a_gradient_of_which_an_element_is_another_integer_is_not(which):
    def spoiled(found, incoming, given):
        return {which: last_off(found[which])} if which in found else {}

    candidate = wrong("fft-back", **back("conv2d", spoiled))
    told = 0
    for case in FEW:
        seen = gradients_of(candidate, case)
        transforms.gradients_are_within(candidate, seen, seen.gradients.keys() - {which})
        if which in seen.gradients:
            told += 1
            with pytest.raises(NonConformance, match=f"the gradient of {which} is farther off than the declared"):
                transforms.gradients_are_within(candidate, seen, [which])
    assert told


def test_what_may_overflow_on_the_way_is_not_determined():
    candidate = Candidate(variant("fft-float32"), "float32")
    seen = answer_of(candidate, FEW[0])
    arguments = {**seen.call.arguments, "input": Argument(np.full(FEW[0].shapes["input"], 3e38))}
    seen = replace(seen, call=replace(seen.call, arguments=arguments))
    transforms.result_is_within(candidate, seen)
    assert candidate.tally.undetermined == seen.output.size


@pytest.mark.parametrize(
    ("words", "bounded"),
    [
        ({"algorithm": "fft"}, True),
        ({}, False),
        ({"algorithm": "fft", "operands": "bfloat16"}, False),
        ({"algorithm": "fft", "accumulation": "float16"}, False),
    ],
)
def test_only_what_would_be_exact_as_a_direct_sum_is_held_to_the_bound_alone(words, bounded):
    right = variant("eager")
    declared = Implementation("declared", right.operators, precision={"conv2d.backward.float32": words})
    assert transforms.is_bounded(Candidate(declared, "float32"), "backward") is bounded


def test_what_a_convolution_declares_is_not_what_a_linear_layer_of_fewer_bits_is_held_to():
    words = {"linear.backward.float32": {"operands": "tf32"}, "conv2d.backward.float32": {"algorithm": "fft"}}
    candidate = Candidate(Implementation("declared", variant("eager").operators, precision=words), "float32")
    for case in Sweep("linear", BACK, 1).cases():
        patterns.gradients_are_right(candidate, case)
    assert candidate.tally.compared
