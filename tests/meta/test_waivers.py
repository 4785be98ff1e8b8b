"""Waivers: what a file may say, which cases it covers, and what becomes of one that is out of date."""

from __future__ import annotations

import json
import re
from io import StringIO
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from assay.cli import ROOT
from assay.implementations.layouts import LAYOUTS
from assay.implementations.load import described
from assay.report import session, terminal, waivers
from assay.report.verdict import Verdict
from assay.tests.meta.test_cli import assay
from assay.tests.meta.test_report import quick_laws, right
from assay.tests.trial.laws import all_laws
from assay.tests.trial.run import UsageProblem, make_run
from assay.tests.trial.waiver_file import read
from assay.tests.trial.waivers import Where

ENTRY = """
[[waiver]]
clause = "swish.formula"
operator = "swish"
candidate = "kernels"
reason = "the tail of a vector is rounded twice"
url = "https://example.org/issues/1"
expiry = 2999-01-01
"""
LONG = ENTRY + 'where = { tier = ["enclosure", "special"], least = { "x.size" = 8 } }\n'


def wrong_if_long(x, beta=1.0):
    return right(x, beta) * (1.01 if x.numel() >= 8 else 1)


def wrong_if_short(x, beta=1.0):
    return right(x, beta) * (1.01 if x.numel() < 8 else 1)


def always_wrong(x, beta=1.0):
    return right(x, beta) * 1.01 + 1


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """Judge swish(x, beta) by the laws of two clauses, with the waivers of a text."""
    laws = quick_laws("swish.formula", "swish.zero")
    for module in (session, waivers):  # all that there are, for this run
        monkeypatch.setattr(module, "all_laws", lambda *budget: laws)

    def judge(text: str, swish=wrong_if_long, dtypes=("float32",), offers=("float32",), **words) -> Verdict:
        path = tmp_path / "waivers.toml"
        path.write_text(text)
        kernels = SimpleNamespace(swish=swish, dtypes=offers)
        return session.judge(make_run(described(kernels, "kernels"), ["swish"], dtypes, **words).under([], read(path)))

    return judge


# --- what a run makes of them


def test_a_failure_that_is_waived_is_neither_a_failure_nor_conforming(judged):
    verdict = judged(LONG)
    words = {e["law"]: e["verdict"] for e in verdict.entries}
    assert words["test_swish_stays_within_its_enclosure"] == "waived"
    assert words["test_swish_of_zero_is_zero"] == "conforms"
    assert (verdict.word, verdict.exit_code()) == ("waived", 0)
    (use,) = verdict.waivers()
    assert (use.state, use.said) == ("waived", "the result is outside what is permitted")
    assert use.examples > 0


def test_without_its_waiver_the_same_kernel_fails(judged):
    verdict = judged(LONG.replace('"kernels"', '"other_kernels"'))
    assert verdict.exit_code() == 1
    assert "not part of this run: it is about the candidate other_kernels" in verdict.waivers()[0].said


def test_cases_beside_the_predicate_stay_gated(judged):
    verdict = judged(LONG, always_wrong)
    failures = [failure for failure in verdict.failures if failure["clause"] == "swish.formula"]
    assert failures and all(np.prod(shape_of(failure["input"][0])) < 8 for failure in failures)


def shape_of(line: str) -> tuple[int, ...]:
    found = re.match(r"x \(([\d, ]*)\)", line)
    assert found is not None
    return tuple(int(n) for n in found[1].split(",") if n.strip())


def test_other_tiers_of_the_clause_stay_gated(judged):
    verdict = judged(LONG.replace(', "special"', ""))
    assert {e["tier"] for e in verdict.entries if e["verdict"] == "fails"} == {"special"}
    assert {e["tier"] for e in verdict.entries if e["verdict"] == "waived"} == {"enclosure"}


def test_waivers_of_one_line_are_told_by_themselves(judged):
    keys = ", ".join(ENTRY.splitlines()[2:])
    each = (f'{{ {keys}, where = {{ least = {{ "x.size" = {n} }} }} }}' for n in (8, 10**8))
    assert [use.state for use in judged(f"waiver = [{','.join(each)}]").waivers()] == ["waived", "unmatched"]


def test_what_is_waived_is_not_among_what_was_compared(judged):
    law = "test_swish_stays_within_its_enclosure"
    (waived,) = (e for e in judged(LONG).entries if e["law"] == law)
    (whole,) = (e for e in judged(LONG, right).entries if e["law"] == law)
    assert waived["verdict"] == "waived"
    assert 0 < waived["compared"] < whole["compared"]
    assert waived["margin"] <= 1


def test_a_run_in_which_nothing_but_waivers_ran_cannot_be_judged(judged, monkeypatch):
    monkeypatch.setattr(session, "all_laws", lambda: quick_laws("swish.formula"))
    verdict = judged(ENTRY, always_wrong)
    assert {e["verdict"] for e in verdict.entries} == {"waived"}
    assert {e["compared"] for e in verdict.entries} == {0}
    assert verdict.exit_code() == 3


@pytest.mark.parametrize(
    ("text", "state", "said"),
    [
        (LONG, "passes", "examples that it covers conform: remove it"),
        (LONG.replace("8", "80000000"), "unmatched", "no example of its laws is what its `where` asks for"),
        (LONG.replace("2999", "1999"), "expired", "its last day was 1999-01-01"),
        (LONG.replace("8", "80000000") + "strict = false\n", "unmatched", "is what its `where` asks for"),
    ],
)
def test_a_waiver_that_is_out_of_date_fails_the_run_and_says_its_line(judged, text, state, said):
    verdict = judged(text, right)
    assert (verdict.word, verdict.exit_code()) == ("waivers out of date", 1)
    (use,) = verdict.waivers()
    assert use.state == state and said in use.said
    assert use.waiver.place.endswith("waivers.toml, line 2")
    assert "kernels has waivers that are out of date" in session.said(verdict)


def test_a_waiver_that_has_expired_waives_nothing(judged):
    verdict = judged(LONG.replace("2999", "1999"))
    assert {e["verdict"] for e in verdict.entries} == {"fails", "conforms"}


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        (ENTRY.replace("swish.formula", "glu.formula").replace('"swish"', '"glu"'), {}, "glu is not judged"),
        (LONG.replace("where = {", 'where = { dtype = ["float16"],'), {}, "it is about float16"),
        (LONG.replace("where = {", 'where = { device = ["cuda"],'), {}, "it is about cuda"),
        (LONG, {"offers": ("float32", "float16")}, "not all of its laws ran in all of its dtypes"),
        (LONG + 'budget = "gate"\n', {}, "it is expected from --budget gate on"),
        (LONG, {"seed": 3}, "in the examples that --seed drew"),
        (LONG + "strict = false\n", {}, "conform here, as strict = false says"),
    ],
)
def test_a_waiver_of_which_this_run_can_tell_nothing_fails_nothing(judged, text, words, said):
    verdict = judged(text, right, **words)
    (use,) = verdict.waivers()
    assert use.state == "not told" and said in use.said
    assert (verdict.word, verdict.exit_code()) == ("conforms", 0)


def test_a_law_that_failed_did_not_run_to_its_end_so_nothing_is_said_of_waivers(judged):
    verdict = judged(LONG.replace("8", "80000000"), wrong_if_short)
    assert (verdict.word, verdict.waivers()[0].state) == ("fails", "not told")


def test_the_terminal_says_what_is_waived_why_and_until_when(judged):
    out = Console(file=StringIO(), width=120)
    terminal.report(judged(LONG), out)
    text = out.file.getvalue()
    assert "WAIVED swish.formula · swish" in text and "waivers.toml, line 2" in text
    assert "until 2999-01-01: the tail of a vector is rounded twice  https://example.org/issues/1" in text
    assert re.search(r"swish +ok .* +waived \d+", text)
    assert re.search(r"\d+ conforms, \d+ waived\)", text)
    assert re.search(r"kernels conforms, \d+ trials? waived", text)


@pytest.mark.parametrize(("others", "lines"), [(3, 3), (4, 1)])
def test_many_waivers_that_were_not_used_are_one_line(judged, others, lines):
    unused = [LONG.replace('"kernels"', f'"kernels {k}"') for k in range(others)]
    out = Console(file=StringIO(), width=120)
    terminal.report(judged(LONG + "".join(unused)), out)
    said = [line for line in out.file.getvalue().splitlines() if "NOT USED" in line]
    assert len(said) == lines
    assert lines > 1 or said[0].startswith("WAIVERS NOT USED 4: ")


def test_a_law_without_drawn_examples_is_waived_as_a_whole(monkeypatch, tmp_path):
    law = next(law for law in all_laws() if law.name == "test_max_pool2d_gives_what_the_notes_example_shows")
    monkeypatch.setattr(session, "all_laws", lambda: [law])
    path = tmp_path / "waivers.toml"
    path.write_text(ENTRY.replace("swish.formula", law.clause).replace('"swish"', '"max_pool2d"'))
    wrong = SimpleNamespace(max_pool2d=lambda x, *_: x[..., ::2, ::2])
    run = make_run(described(wrong, "kernels"), ["max_pool2d"], ["float32"])
    assert [e["verdict"] for e in session.judge(run).entries] == ["fails"]
    assert [e["verdict"] for e in session.judge(run.under([], read(path))).entries] == ["waived"]


# --- what a file may say


def test_a_waiver_says_where_it_stands(tmp_path):
    path = tmp_path / "w.toml"
    path.write_text(ENTRY.replace('"the tail', '"""\n[[waiver]]\nthe tail').replace('twice"', 'twice"""') + LONG)
    assert [waiver.line for waiver in read(path)] == [2, 12]


def test_an_entry_may_name_several_clauses_and_operators(tmp_path):
    path = tmp_path / "w.toml"
    clauses = ENTRY.replace('"swish.formula"', '["linear.formula", "glu.formula", "contract.layouts"]')
    path.write_text(clauses.replace('"swish"', '["linear", "glu"]'))
    assert [(waiver.clause, waiver.operator, waiver.line) for waiver in read(path)] == [
        ("linear.formula", "linear", 2),
        ("glu.formula", "glu", 2),
        ("contract.layouts", "linear", 2),
        ("contract.layouts", "glu", 2),
    ]


def test_of_an_entry_about_two_clauses_each_is_told_by_itself(judged):
    both = LONG.replace('"swish.formula"', '["swish.formula", "swish.zero"]')
    uses = judged(both.replace('tier = ["enclosure", "special"], ', "")).waivers()
    assert [(use.waiver.clause, use.state) for use in uses] == [("swish.formula", "waived"), ("swish.zero", "passes")]


@pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="an installed package has no docs/")
def test_the_example_of_the_documentation_is_understood(tmp_path):
    text = (ROOT / "docs" / "waivers.md").read_text(encoding="utf-8")
    (tmp_path / "w.toml").write_text(text.partition("```toml\n")[2].partition("```")[0])
    (waiver,) = read(tmp_path / "w.toml")
    assert waiver.where == Where(dtype=("bfloat16",), special=("nan",), least={"kernel_size": 5})
    assert all(f"`{layout}`" in text for layout in LAYOUTS)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("swish.formula", "swish.formla", "line 2: unknown clause 'swish.formla'; allowed: "),
        ("swish.formula", "swish.formla", "did you mean 'swish.formula'?"),
        ('operator = "swish"', 'operator = "swich"', "line 2: unknown operator 'swich'"),
        ('operator = "swish"', 'operator = "glu"', "line 2: swish.formula says nothing of glu, but of swish"),
        ('operator = "swish"', 'operator = "*"', "line 2: unknown operator '*'"),
        ('operator = "swish"', "operator = 3", "line 2: operator = 3; give a text that is not empty, or a list"),
        ('operator = "swish"', "operator = []", "line 2: operator = []; give a text that is not empty"),
        ('operator = "swish"', 'operator = ["swish", "glu"]', "line 2: operator 'glu': none of the clauses says"),
        ('"swish.formula"', '["swish.zero", "glu.product"]', "line 2: glu.product says nothing of swish, but of glu"),
        (
            '"swish.formula"',
            '["swish.zero", "swish.zero"]',
            "line 2: says the same of swish.zero as the waiver on line 2",
        ),
        ("reason", "reasons", "line 2: unknown key 'reasons'; allowed: clause, operator"),
        ("reason", "#", "line 2: lacks reason; each waiver is [[waiver]] and, below it, clause = ..."),
        ('"the tail of a vector is rounded twice"', '" "', "line 2: reason = ' '; give a text that is not empty"),
        ("https://example.org/issues/1", "issue 1", "line 2: url = 'issue 1'; give the address"),
        ("https://example.org/issues/1", "https://[bad", "line 2: url = 'https://[bad'; give the address"),
        ("2999-01-01", '"2999-01-01"', "line 2: expiry = '2999-01-01'; give a day, without quotes"),
        ("2999-01-01", "2999-01-01T00:00:00", "give a day, without quotes"),
        ("2999-01-01", "2999-13-01", "w.toml is not TOML: "),
        ("expiry = 2999-01-01", "expiry", "w.toml is not TOML: "),
        ("[[waiver]]", "[[waivers]]", "unknown table 'waivers'; allowed: waiver; did you mean 'waiver'?"),
        ("[[waiver]]", "[waiver]", "holds no waivers; write each as [[waiver]]"),
        ("2999-01-01", "2999-01-01\nwhere = 3", "where = 3; give a table"),
        ("2999-01-01", "2999-01-01\nwhere = { dtypes = [] }", "unknown key of where 'dtypes'; allowed: dtype, device"),
        ("2999-01-01", "2999-01-01\nwhere = { dtype = 'float32' }", "where.dtype = 'float32'; give a list"),
        ("2999-01-01", "2999-01-01\nwhere = { dtype = ['float8'] }", "unknown dtype 'float8'"),
        ("2999-01-01", "2999-01-01\nwhere = { tier = ['exact'] }", "unknown tier of swish.formula 'exact'"),
        ("2999-01-01", "2999-01-01\nwhere = { special = ['NaN'] }", "unknown special 'NaN'; allowed: nan, inf"),
        (
            "2999-01-01",
            "2999-01-01\nwhere = { least = { stride = 2 } }",
            "where.least names 'stride'; allowed for swish",
        ),
        (
            "2999-01-01",
            "2999-01-01\nwhere = { most = { 'x.shape[0]' = 1.5 } }",
            "x.shape[0] = 1.5; give a whole number",
        ),
        ("2999-01-01", "2999-01-01\nbudget = 'huge'", "unknown budget 'huge'; allowed: quick, gate, deep"),
        ("2999-01-01", "2999-01-01\nstrict = 'no'", "strict = 'no'; give true, or false for a failure that"),
        ("2999-01-01", "2999-01-01\n" + ENTRY, "line 10: says the same of swish.formula as the waiver on line 2"),
        (ENTRY, "", "holds no waivers; write each as [[waiver]]"),
    ],
)
def test_a_file_that_is_not_understood_is_refused_with_its_line_and_what_to_do(tmp_path, old, new, message):
    path = tmp_path / "w.toml"
    assert old in ENTRY
    path.write_text(ENTRY.replace(old, new))
    with pytest.raises(UsageProblem, match=re.escape(message)) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(UsageProblem, match=r"none.toml cannot be read: No such file or directory; give a file"):
        read(tmp_path / "none.toml")
    (tmp_path / "w.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageProblem, match=r"w.toml is not UTF-8 text"):
        read(tmp_path / "w.toml")


# --- on the command line

KERNELS = """
import torch
def pad2d(x, padding):
    return torch.nan_to_num(torch.nn.functional.pad(x, (padding,) * 4), nan=0.0, posinf=torch.inf, neginf=-torch.inf)
"""


def test_workers_tell_what_they_waived(tmp_path):
    (tmp_path / "k.py").write_text(KERNELS)
    entry = ENTRY.replace("swish.formula", "pad2d.zeros").replace('"swish"', '"pad2d"').replace('"kernels"', '"k.py"')
    (tmp_path / "w.toml").write_text(entry + 'where = { special = ["nan"] }\n')
    words = ("--op", "pad2d", "--dtype", "float32", "--waivers", "w.toml", "-n", "2", "--json", "out.json")
    theirs = ("--", "-k", "pad2d.py", f"--junit-xml={tmp_path / 'out.xml'}")
    text = assay("check", "k.py", "--in-process", *words, *theirs, cwd=tmp_path, check=0).text
    assert "k.py conforms, 1 trial waived" in text
    data = json.loads((tmp_path / "out.json").read_text())
    assert (data["verdict"], data["settings"]["waivers"]) == ("waived", "w.toml")
    assert [(use["state"], use["laws"]) for use in data["waivers"]] == [("waived", 1)]
    (skipped,) = ElementTree.parse(tmp_path / "out.xml").iter("skipped")  # what other tools are told: not a pass
    assert (skipped.get("type"), skipped.get("message")) == ("pytest.xfail", f"waived: {_reason(data)}")


def _reason(data):
    (waived,) = [entry for entry in data["laws"] if entry["verdict"] == "waived"]
    return waived["reason"]


def test_a_bad_file_is_a_usage_error(tmp_path):
    (tmp_path / "bad.toml").write_text(ENTRY.replace("formula", "formla"))
    text = assay("check", "torch", "--op", "pad2d", "--waivers", "bad.toml", cwd=tmp_path, check=2).text
    assert "bad.toml, line 2: unknown clause 'swish.formla'" in text
