"""Laws that draw nothing: what a report shows of their failures."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from assay.implementations.contract import Implementation
from assay.implementations.load import load
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.failure import NonConformance
from assay.tests.trial.laws import all_laws
from assay.tests.trial.waivers import Waiver, Where


def wrong_from_seven_rows(**fields):
    """And what a law that draws nothing says of it: of 40 rows, with one number each."""
    right = load("torch").operators["linear"]

    def linear(x, w, b=None):
        return right(x, w, b) + (len(x) > 6)

    (law,) = (law for law in all_laws() if law.name == "test_linear_of_rows_of_one_number_each_is_exact")
    return law, Candidate(Implementation("wrong", {"linear": linear}), "float32", **fields)


@pytest.mark.parametrize("shown", [True, False])
def test_a_case_of_a_law_that_draws_nothing_is_simplified_where_it_is_shown(shown):
    """To as many rows as are wrong together, and one feature."""
    law, wrong = wrong_from_seven_rows(shown=shown)
    with pytest.raises(NonConformance) as found:
        law.function(candidate=wrong)
    assert found.value.calls[-1].tensors["x"].values.shape == ((7, 1) if shown else (40, 16))
    assert found.value.notes == []


def test_a_waiver_is_heeded_of_the_case_that_was_met_and_not_of_a_simpler_one():
    waiver = Waiver("w.toml", 1, "linear.formula", "linear", "wrong", "-", "-", date.max, Where(least={"x.0": 30}))
    law, wrong = wrong_from_seven_rows(shown=True, waivers=[waiver])
    law.function(candidate=wrong)
    assert [each.failed for each in wrong.tally.waived.values()] == [1]
    law, wrong = wrong_from_seven_rows(shown=True, waivers=[replace(waiver, where=Where(most={"x.0": 10}))])
    with pytest.raises(NonConformance):
        law.function(candidate=wrong)
