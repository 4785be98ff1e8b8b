"""`assay power`: the hunt, the processes, the bisection, the peers, and what is written of them."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assay import cli
from assay.report import power
from assay.tests.mutants import hunt
from assay.tests.mutants.catalogue import MUTANTS
from assay.tests.mutants.mutant import Mutant
from assay.tests.power import journal, processes, record
from assay.tests.trial.failure import NonConformance
from assay.tests.trial.laws import Law, all_laws

DOCS = Path(cli.__file__).parent / "docs"
SCALED = Mutant(
    "scaled", "linear.formula", "", {"linear": lambda x, w, b=None: 1.0009 * (x @ w.T + (0 if b is None else b))}
)
SETTINGS = {"peers": [], "generated": None, "only": "", "interrupted": False, "seconds": 1.0, "workers": 1, "cores": 2}
SETTINGS |= {"python": "3", "torch": "2", "hypothesis": "6", "budgets": ["quick", "gate"]}
KILL = {"tier": "exact", "clause": "pad2d.zeros", "examples": 3, "seconds": 0.25}
SEEN = {
    "kill": KILL,
    "by_file": 0.5,
    "tiers": {"exact": [3, 0.25], "special": None},
    "clauses": 1,
    "laws": 9,
    "problems": [],
}
MISSED = {
    "kill": None,
    "by_file": None,
    "tiers": {"exact": None},
    "clauses": 0,
    "laws": 9,
    "problems": ["a: KeyError: b|c"],
}


def a_law(function, tier="exact", name="test_a", clause="linear.formula", dtypes=("float32",), operators=(), needs=()):
    return Law(clause, tier, name, "nowhere", needs, operators, dtypes, False, "quick", 1, "", "", function)


def raising(problem):
    def function(candidate):
        candidate.begin()
        raise problem

    return function


def catching(candidate):
    raise NonConformance("wrong")


def passing(candidate):
    candidate.compared()


def found(*functions, whole=True):
    trials = [(a_law(function, name=f"test_{k}"), None) for k, function in enumerate(functions)]
    return hunt.hunt(SCALED, trials, "quick", whole)


# --- the hunt


def test_the_hunt_ends_at_the_first_kill_unless_it_is_to_be_whole():
    assert [each.caught for each in found(passing, catching, catching, whole=False)] == [False, True]
    assert [each.caught for each in found(passing, catching, catching)] == [False, True, True]


def test_another_exception_than_a_verdict_kills_nothing_and_is_told():
    (each,) = found(raising(KeyError("lost")))
    assert (each.caught, each.problem) == (False, "KeyError: 'lost'")


def test_a_law_that_compared_nothing_is_told():
    assert found(lambda candidate: None)[0].problem == "the law compared nothing"


def test_a_failure_that_does_not_come_again_is_a_kill():
    calls = []

    @given(st.integers())
    def forgets(candidate, number):
        calls.append(number)
        if len(calls) == 2:
            raise NonConformance("wrong, once")

    (each,) = found(forgets)
    assert each.caught
    assert each.problem.startswith("FlakyFailure")


def test_the_examples_of_a_kill_do_not_count_its_repetition():
    (law,) = (law for law in all_laws() if law.name == "test_linear_of_integers_is_exact")
    (each,) = hunt.hunt(dataclasses.replace(SCALED, operators={"linear": lambda *a: None}), [(law, None)], "quick")
    assert (each.caught, each.examples) == (True, 1)


def test_laws_of_the_contract_take_half_of_the_examples():
    clauses = "linear.formula", "linear.refuses-sizes"
    laws = [law for law in all_laws() if law.clause in clauses and law.share in (1, 2)]
    laws = [law for law in laws if hasattr(law.function, "hypothesis")]
    with hunt.searching("quick", laws):
        most = {law.tier: law.function._hypothesis_internal_use_settings.max_examples for law in laws}
    assert (most["exact"], most["contract"]) == (12, 6)


def test_a_planted_bug_is_hunted_without_onednn_and_its_own_bugs():
    before, x = torch.backends.mkldnn.enabled, torch.arange(16 * 64.0).reshape(16, 1, 8, 8) * 1499.0
    with hunt.searching("quick", []):
        assert not torch.backends.mkldnn.enabled
        summed = torch.nn.functional.conv2d(x, torch.ones(1, 1, 3, 3))  # NNPACK would round here
        assert torch.equal(summed[:, :, 0, 0], x[:, :, :3, :3].sum((2, 3)))
    assert torch.backends.mkldnn.enabled == before


def test_the_trials_are_of_the_operators_replaced_or_needed_in_the_dtype():
    laws = [
        a_law(passing, name="own"),
        a_law(passing, name="other", clause="swish.formula"),
        a_law(passing, name="needing", clause="swiglu.formula", needs=("linear",)),
        a_law(passing, name="dtype", dtypes=("float64",)),
        a_law(passing, name="several", clause="contract.dtype", operators=("swish", "linear")),
    ]
    trials = hunt.trials(SCALED, laws)
    assert [(law.name, operator) for law, operator in trials] == [
        ("own", None),
        ("needing", None),
        ("several", "linear"),
    ]


# --- processes and the record


def test_a_process_answers_or_its_death_is_told():
    assert list(processes.each(json.loads, ['{"a": 1}'], 1, [])) == [(0, {"a": 1})]
    ((_, died),) = processes.each(os._exit, [3], 1, [])
    assert str(died) == "its process ended with exit code 3"


def test_a_mutant_is_run_and_what_is_kept_of_it_can_be_written():
    answer = record.of_mutant("pad2d.nan-is-zero", "", "quick")
    assert answer["kill"]["tier"] == "special"
    assert answer["clauses"] == ["pad2d.zeros"]
    assert json.loads(json.dumps(answer)) == answer


def test_an_interrupt_leaves_what_there_is(monkeypatch):
    task = ("mutant", MUTANTS[0].id, "", "quick")

    def interrupted(*given):
        yield 0, dict(SEEN, clauses=["pad2d.zeros"])
        raise KeyboardInterrupt

    monkeypatch.setattr(processes, "each", interrupted)
    run = record.Record(record.Asked(), [task, ("mutant", MUTANTS[1].id, "", "quick")])
    run.run()
    data = run.data()
    assert [row["quick"] is None for row in data["mutants"]] == [False, True]
    assert data["alone"]["pad2d.zeros"] == [MUTANTS[0].id]
    assert power.exit_code(data) == 130
    assert "Interrupted" in power.markdown(data)


def test_at_all_budgets_but_the_last_a_mutant_is_met_until_the_first_kill():
    tasks = record.Asked(("quick", "gate"), ("pad2d.nan-is-zero",)).tasks()
    assert [(task[0], task[3]) for task in tasks] == [("first", "quick"), ("mutant", "gate")]
    first, whole = (record.work(("first" if k else "mutant", "pad2d.nan-is-zero", "", "quick")) for k in (1, 0))
    assert first["laws"] < whole["laws"]
    assert first["kill"].keys() == whole["kill"].keys()
    asked = record.Asked(only=("pad2d.nan-is-zero",), first=True)
    assert [task[0] for task in asked.tasks()] == ["first"]
    data = record.Record(asked, asked.tasks(), {asked.tasks()[0]: first}).data()
    assert data["run"]["first"] and data["mutants"][0]["quick"]["kill"] == first["kill"]


ASKED = record.Asked(("gate",), ("linear-nan",))
TASK = ("mutant", "linear-nan-lost", "", "gate")


def run_until(monkeypatch, path, *answers):
    """A run whose processes give these answers and are then interrupted."""

    def each(work, tasks, *rest):
        yield from enumerate(answers)
        raise KeyboardInterrupt

    monkeypatch.setattr(processes, "each", each)
    run = record.Record(ASKED, [TASK, ("peers", "linear-nan-lost", "")])
    run.run(path=path)
    return run


def test_an_interrupted_run_goes_on_where_it_was(monkeypatch, tmp_path):
    path = tmp_path / "power.json"
    run_until(monkeypatch, path, SEEN)
    assert run_until(monkeypatch, path).answers == {TASK: SEEN}
    monkeypatch.setattr(processes, "each", lambda work, tasks, *rest: enumerate([{"rejected_by": []}] * len(tasks)))
    whole = record.Record(ASKED, [TASK, ("peers", "linear-nan-lost", "")])
    whole.run(path=path)
    assert (len(whole.answers), whole.interrupted, list(tmp_path.iterdir())) == (2, False, [])


def test_answers_of_other_code_or_other_questions_are_not_taken_over(monkeypatch, tmp_path):
    path = tmp_path / "power.json"
    run_until(monkeypatch, path, SEEN)
    monkeypatch.setattr(journal, "digest_of_code", lambda: "other")
    assert run_until(monkeypatch, path).answers == {}


def test_a_line_that_was_cut_short_is_left_out_and_what_comes_after_it_is_not(monkeypatch, tmp_path):
    path = tmp_path / "power.json"
    run_until(monkeypatch, path, SEEN)
    with path.with_name("power.json.part").open("a") as part:
        part.write('{"task": ["mutant"')
    both = {TASK: SEEN, ("peers", "linear-nan-lost", ""): {"rejected_by": []}}
    assert run_until(monkeypatch, path, {"rejected_by": []}).answers == both
    assert run_until(monkeypatch, path).answers == both


def test_an_interrupt_while_the_report_is_printed_is_no_traceback_and_the_file_is_written(monkeypatch, tmp_path):
    def interrupted(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(processes, "each", lambda *given: iter([(0, dict(SEEN, clauses=["pad2d.zeros"]))]))
    monkeypatch.setattr(power, "show", interrupted)
    path = tmp_path / "power.json"
    assert cli.main(["power", "--only", "linear-nan-lost", "--json", str(path)]) == 130
    assert len(json.loads(path.read_text())["mutants"]) == 1


# --- what is written


def a_row(name, quick, gate, **more):
    row = {"id": name, "clause": "pad2d.zeros", "kind": "formula", "tier": "exact", "difficulty": "plain"}
    return row | {"dtype": "float32", "words": f"{name} is wrong", "reason": "", "quick": quick, "gate": gate} | more


def a_record(*rows, **more):
    data = {"run": dict(SETTINGS), "mutants": list(rows), "generated": [], "alone": {}, "correct": []}
    return data | {"smallest": [], "terms": [], "failed": {}} | more


def test_the_page_tells_who_was_caught_who_lives_and_why():
    text = power.markdown(a_record(a_row("one", SEEN, SEEN), a_row("two", MISSED, SEEN), a_row("three", SEEN, None)))
    assert "| catalogue | quick | 2 of 3 | 66.7 % | 0.25 s | 0.25 s | 0.25 s | 0.50 s |" in text
    assert "| catalogue | gate | 2 of 2 | 100.0 % |" in text
    assert "| two | pad2d.zeros | float32 | quick | two is wrong | a: KeyError: b\\|c |" in text
    assert "| one | formula | plain | float32 | 0.25 s | 0.25 s | 1 | 3 · 0.25 s | - |" in text
    assert "| three | formula | plain | float32 | 0.25 s | - | 1 | 3 · 0.25 s | - |" in text


def test_clauses_that_lack_a_mutant_of_their_own_are_named():
    text = power.markdown(a_record(a_row("one", SEEN, SEEN), alone={"pad2d.zeros": ["one"], "pad2d.example": []}))
    assert "1 of 2: pad2d.example." in text
    assert "| pad2d.zeros | 1 | one |" in text


def test_peers_are_counted_on_the_same_mutants_and_on_correct_ones():
    rows = [a_row("one", SEEN, SEEN, rejected_by=["b"]), a_row("two", SEEN, SEEN, rejected_by=[], kind="state")]
    data = a_record(*rows, correct=[{"variant": "eager", "dtype": "float32", "rejected_by": ["a"]}])
    data["run"]["peers"] = ["a", "b"]
    text = power.markdown(data)
    for line in ("| assay, gate | 2 of 2 | 1 of 1 | 1 of 1 |  |", "| a | 0 of 2 | 0 of 1 | 0 of 1 | 1 of 1 |"):
        assert line in text
    assert "| b | 1 of 2 | 1 of 1 | 0 of 1 | 0 of 1 |" in text


def test_the_smallest_errors_stand_side_by_side():
    rows = [
        {"operator": "linear", "dtype": "float32", "tier": "exact", "where": w, "e": e, "n": 16}
        for w, e in (("all", 3e-8), ("one", None))
    ]
    assert "| linear | float32 | 16 | 3.0e-08 / none |" in power.markdown(a_record(terms=rows))


@pytest.mark.parametrize(
    ("quick", "gate", "failed", "code"),
    [(SEEN, SEEN, {}, 0), (MISSED, SEEN, {}, 0), (SEEN, MISSED, {}, 1), (SEEN, SEEN, {"a": "b"}, 3)],
)
def test_only_who_outlives_the_gate_makes_the_run_red(quick, gate, failed, code):
    assert power.exit_code(a_record(a_row("one", quick, gate), failed=failed)) == code


def test_a_record_is_written_with_one_line_a_mutant():
    data = a_record(a_row("one", SEEN, MISSED), a_row("two", SEEN, SEEN), alone={"pad2d.zeros": ["one"]})
    text = record.written(data)
    assert json.loads(text) == data
    assert sum('"id"' in line for line in text.splitlines()) == 2


@pytest.mark.skipif(not DOCS.is_dir(), reason="docs/ stands in the repository and is not installed")
def test_the_written_page_is_the_rendered_one():
    data = json.loads((DOCS / "power.json").read_text(encoding="utf-8"))
    assert (DOCS / "power.md").read_text(encoding="utf-8") == power.markdown(data), "run `assay power --render`"


# --- the command


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "nobody"], "no mutant's id begins so"),
        (["--only", "linear", "--only", "nobody"], "--only nobody: no mutant's id begins so"),
        (["-n", "0"], "at least one process"),
        (["--only", "linear", "--json", "/nowhere/at/all.json"], "cannot be written"),
    ],
)
def test_the_command_says_what_it_cannot_do(words, said, capsys):
    assert cli.main(["power", *words]) == 2
    assert said in capsys.readouterr().err


def test_an_unknown_budget_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["power", "--budget", "huge"])
    assert stopped.value.code == 2
    assert "huge" in capsys.readouterr().err


def test_the_command_runs_a_mutant_and_its_peers(tmp_path, capsys):
    path = tmp_path / "power.json"
    assert cli.main(["power", "--only", "pad2d.nan-is-zero", "--budget", "quick", "-n", "1", "--json", str(path)]) == 0
    assert "1 of 1" in capsys.readouterr().out
    (row,) = json.loads(path.read_text())["mutants"]
    assert row["quick"]["kill"]["seconds"] > 0
