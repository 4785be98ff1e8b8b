"""What laws cost, and the order that follows from it."""

from __future__ import annotations

import json

from assay.tests.meta.test_cli import assay
from assay.tests.meta.test_power import a_law, passing
from assay.tests.mutants import hunt
from assay.tests.trial import costs
from assay.tests.trial.laws import all_laws


def test_the_trials_that_cost_least_come_first_after_those_of_first_calls(monkeypatch):
    monkeypatch.setattr(costs, "costs", {"dear": 3.0, "cheap": 0.1, "usual": 1.0, hunt.FIRST[0]: 2.0}.copy)
    monkeypatch.setattr(costs, "_usual", lambda: 1.0)
    trials = [(a_law(passing, name=name), None) for name in ("dear", "new", "usual", "cheap", hunt.FIRST[0])]
    assert [law.name for law, _ in hunt.soonest_first(trials)] == [hunt.FIRST[0], "cheap", "new", "usual", "dear"]


def test_what_laws_cost_is_the_mean_of_what_they_took():
    entries = [{"law": "b", "seconds": 0.123}, {"law": "a", "seconds": 1.0}, {"law": "b", "seconds": 0.125}]
    assert costs.measured({"laws": entries}) == {"a": 1.0, "b": 0.12}


def test_costs_are_of_laws():
    assert costs.costs().keys() <= {law.name for law in all_laws("deep")}


def test_a_judged_run_asks_the_laws_that_cost_least_first(tmp_path):
    words = ("check", "torch", "--op", "swish", "--dtype", "float32", "--json", "out.json")
    assay(*words, "--", "-k", "zero", cwd=tmp_path, check=0)
    laws = {law.name: law for law in all_laws()}
    seconds = [costs.cost(laws[entry["law"]]) for entry in json.loads((tmp_path / "out.json").read_text())["laws"]]
    assert len(set(seconds)) > 3 and seconds == sorted(seconds)
