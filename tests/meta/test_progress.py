"""Long work says how far it is: in a log ten times, or once a minute, and nothing after the end."""

from __future__ import annotations

import types
from io import StringIO

import pytest
from rich.console import Console

from assay.report.progress import LINES, Steps


@pytest.mark.parametrize("total", [1, 7, 10, 439])
def test_a_log_has_a_line_for_each_tenth_and_the_last_is_the_whole(total):
    console = Console(file=StringIO(), force_terminal=False)
    with Steps(console, "tasks", total) as steps:
        for number in range(total):
            steps.step(f"task {number}")
    lines = console.file.getvalue().splitlines()
    assert len(lines) == min(total, LINES)
    assert lines[-1].startswith(f"{total}/{total} tasks, ")


def test_a_terminal_has_a_bar_that_is_taken_away():
    console = Console(file=StringIO(), force_terminal=True, width=80)
    with Steps(console, "tasks", 3) as steps:
        steps.step("the first", ", 1 failed")
    shown = console.file.getvalue()
    assert "the first, 1 failed" in shown and "1/3" in shown
    assert shown.endswith("\x1b[1A\x1b[2K") or shown.endswith("\x1b[2K")  # the line is erased


def test_the_bar_is_taken_away_by_an_interrupt_too():
    console = Console(file=StringIO(), force_terminal=True, width=80)
    with pytest.raises(KeyboardInterrupt), Steps(console, "tasks", 3) as steps:
        raise KeyboardInterrupt
    assert not steps.bar.live.is_started


def test_a_log_is_not_silent_where_a_tenth_takes_minutes(monkeypatch):
    clock = iter(range(0, 10**6, 25))
    monkeypatch.setattr("assay.report.progress.time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    console = Console(file=StringIO(), force_terminal=False)
    with Steps(console, "tasks", 100) as steps:
        for _ in range(9):
            steps.step()
    assert console.file.getvalue().splitlines() == ["3/100 tasks, 75 s", "6/100 tasks, 150 s", "9/100 tasks, 225 s"]
