"""Linear: the laws of its clauses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.tests.trial import judge
from assay.tests.trial.cases import SMALL, linear_cases
from assay.tests.trial.laws import clause
from assay.tests.trial.textures import INTEGERS


@clause("linear.formula", tier="exact")
@given(case=linear_cases(INTEGERS))
def test_linear_of_integers_is_exact(candidate, case):
    """Each output is its row of W times x plus its bias. Blind to rounding: integers hide low precision."""
    judge.conforms_exactly(candidate, case)


@clause("linear.formula", tier="enclosure")
@given(case=linear_cases())
def test_linear_stays_within_its_enclosure(candidate, case):
    """Each output is among the results of some order of summation. Blind to errors below the worst order's."""
    judge.conforms(candidate, case)


@clause("linear.gradient", tier="gradient")
@given(case=linear_cases(sizes=(*SMALL, 7, 8, 17)))
def test_linear_gradients_stay_within_their_enclosures(candidate, case):
    """The tape's gradients for x, W and b. Blind to gradients of sums longer than a few dozen terms."""
    judge.gradient_conforms(candidate, case)
