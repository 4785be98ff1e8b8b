"""Sequences that end in padding: tokens of zeros, of which biases alone make something, and which count."""

from __future__ import annotations

import numpy as np

from assay.tests.conformance.test_magnitudes import GATED, normal, times
from assay.tests.trial import judge
from assay.tests.trial.cases import Case
from assay.tests.trial.laws import clause

FEW = 12  # elements of a result that are judged, beside the suspected
LENGTHS = np.array((9, 14, 6, 3))[:, None, None]  # of sequences


def padded_tokens(candidate, operator):
    """A layer of sequences that end in tokens of zeros, of which biases alone make something; the second is longest."""
    candidate.begin()
    weights = GATED.get(operator, "w")
    shapes = {"x": (4, 20, 64), **dict.fromkeys(weights, (40, 64)), **dict.fromkeys("bc"[: len(weights)], (40,))}
    case = Case(operator, shapes, normal(shapes), {}, 64)
    return times(candidate, case, x=np.arange(20)[:, None] < LENGTHS)


@clause("linear.formula", tier="enclosure")
def test_tokens_of_zeros_at_the_end_of_sequences_give_the_bias_of_linear(candidate):
    """As of padded texts. Blind to zeros within sequences."""
    judge.conforms(candidate, padded_tokens(candidate, "linear"), FEW)


@clause("linear.gradient", tier="gradient")
def test_linear_gradients_count_the_tokens_of_zeros_at_the_end_of_sequences(candidate):
    """Biases learn from them, too. Blind to zeros within sequences."""
    judge.gradient_conforms(candidate, padded_tokens(candidate, "linear"))


@clause("glu.biases", tier="enclosure")
def test_tokens_of_zeros_at_the_end_of_sequences_give_what_biases_make_of_them_in_glu(candidate):
    """As of padded texts. Blind to zeros within sequences."""
    judge.conforms(candidate, padded_tokens(candidate, "glu"), FEW)


@clause("glu.gradient", tier="gradient")
def test_glu_gradients_count_the_tokens_of_zeros_at_the_end_of_sequences(candidate):
    """Biases learn from them, too. Blind to zeros within sequences."""
    judge.gradient_conforms(candidate, padded_tokens(candidate, "glu"))


@clause("swiglu.biases", tier="enclosure")
def test_tokens_of_zeros_at_the_end_of_sequences_give_what_biases_make_of_them_in_swiglu(candidate):
    """As of padded texts. Blind to zeros within sequences."""
    judge.conforms(candidate, padded_tokens(candidate, "swiglu"), FEW)


@clause("swiglu.gradient", tier="gradient")
def test_swiglu_gradients_count_the_tokens_of_zeros_at_the_end_of_sequences(candidate):
    """Biases learn from them, too. Blind to zeros within sequences."""
    judge.gradient_conforms(candidate, padded_tokens(candidate, "swiglu"))
