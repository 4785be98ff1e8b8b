"""Laws that draw nothing: what a report shows of their failures."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from assay.implementations.contract import Implementation
from assay.implementations.load import load
from assay.tests.trial import simplify
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.failure import NonConformance
from assay.tests.trial.laws import all_laws
from assay.tests.trial.waivers import Waiver, Where
from assay.tests.trial.weaker import Weaker


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


def test_a_law_without_a_case_is_run_once_and_keeps_its_hint():
    """There is nothing of which it could be said on other numbers whether the hint holds."""
    runs, hint = [], Weaker("linear.forward.float32", {"accumulation": "bfloat16"}, 0.5)

    def law(candidate):
        runs.append(candidate)
        raise NonConformance("the result is outside what is permitted", weaker=lambda: hint)

    _, wrong = wrong_from_seven_rows(shown=True)
    with pytest.raises(NonConformance) as found:
        simplify.run(law, {"candidate": wrong})
    assert runs == [wrong] and found.value.hint is hint


def test_a_waiver_is_heeded_of_the_case_that_was_met_and_not_of_a_simpler_one():
    waiver = Waiver("w.toml", 1, "linear.formula", "linear", "wrong", "-", "-", date.max, Where(least={"x.0": 30}))
    law, wrong = wrong_from_seven_rows(shown=True, waivers=[waiver])
    law.function(candidate=wrong)
    assert [each.failed for each in wrong.tally.waived.values()] == [1]
    law, wrong = wrong_from_seven_rows(shown=True, waivers=[replace(waiver, where=Where(most={"x.0": 10}))])
    with pytest.raises(NonConformance):
        law.function(candidate=wrong)
