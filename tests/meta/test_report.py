"""What the report says of a run as a whole: its table and its last lines."""

from __future__ import annotations

from io import StringIO
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from assay.implementations.load import described
from assay.report import session, terminal
from assay.report import verdict as report_verdict
from assay.tests.trial.laws import all_laws
from assay.tests.trial.run import make_run

CLAUSES = ("swish.formula", "swish.zero")


def quick_laws(*clauses):
    """Theirs, without those that take seconds."""
    slow = ("millions", "every_size", "mixture")
    return [law for law in all_laws() if law.clause in clauses and not any(word in law.name for word in slow)]


def judged(monkeypatch, swish):
    laws = [law for law in quick_laws(*CLAUSES) if law.tier in ("exact", "enclosure")]
    monkeypatch.setattr(session, "all_laws", lambda: laws)
    kernels = SimpleNamespace(swish=swish, dtypes=("float32",))
    return session.judge(make_run(described(kernels, "kernels"), ["swish"], ["float32"]))


def shown(verdict):
    out = Console(file=StringIO(), width=100)
    terminal.report(verdict, out)
    return out.file.getvalue()


@pytest.mark.parametrize(("off", "told"), [(1.0, False), (1.01, True)])
def test_the_largest_margin_of_a_tier_is_that_of_its_failure(monkeypatch, off, told):
    verdict = judged(monkeypatch, lambda x, beta=1.0: off * x * torch.sigmoid(beta * x))
    rows = {row["tier"]: float(row["margin"]) for row in verdict.rows()}
    assert (rows["enclosure"] > 1.0) is told
    margins = [float(each["margin"]) for each in verdict.failures if "margin" in each]
    assert rows["enclosure"] >= max(margins, default=0.0)
    assert terminal._short(rows["enclosure"]) in shown(verdict)


def test_an_infinite_margin_stands_in_the_table(monkeypatch):
    verdict = judged(monkeypatch, lambda x, beta=1.0: x * torch.sigmoid(beta * x) + float("inf"))
    row = terminal._cell(next(row for row in verdict.rows() if row["tier"] == "enclosure"))
    assert "FAIL" in row and "\ninf" in row


def right(x, beta=1.0):
    return x * torch.sigmoid(beta * x)


def test_who_was_asked_in_part_conforms_in_that_part(monkeypatch):
    verdict = judged(monkeypatch, right)
    trials = len(verdict.entries)
    *_, last = shown(verdict).strip().splitlines()
    assert last.startswith(f"kernels conforms in what was asked: 2 of {verdict.extent()['of_clauses']} clauses, ")
    assert last.endswith(f"{trials} of {verdict.extent()['of_trials']} trials")
    assert verdict.extent()["of_trials"] > trials and verdict.as_data()["extent"] == verdict.extent()


def test_who_was_asked_all_conforms(monkeypatch):
    """Of other operators, which it does not provide, nothing could be asked."""
    verdict = judged(monkeypatch, right)
    monkeypatch.setattr(report_verdict, "all_laws", lambda budget: session.all_laws())
    assert shown(verdict).strip().splitlines()[-1] == "kernels conforms"
