"""`assay bench` as its users meet it: its words, what it keeps, what it refuses, and its exit codes."""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys

import pytest
import torch
from rich.console import Console

from assay import cli
from assay.implementations.load import LoadError, load
from assay.report import bench
from assay.tests.benchmarks import saved, session
from assay.tests.benchmarks.blocks import Interval, Times
from assay.tests.benchmarks.cases import LAYERS, Timed
from assay.tests.benchmarks.session import Row, Session, asked, percentage
from assay.tests.trial.run import UsageProblem

SMALL = ["--op", "swish", "--seconds", "0.2"]


def words(*given):
    parsed = cli._parser().parse_args(["bench", "torch", *given])
    parsed.pytest = []
    return parsed


def assay(*given, cwd, check):
    """Run the command; the answer's text holds both streams."""
    # pytest-benchmark times nothing in a process that xdist's environment calls a worker
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    done = subprocess.run(
        [sys.executable, "-m", "assay.cli", "bench", *map(str, given)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
        env={**environment, "COLUMNS": "100", "PYTEST_ADDOPTS": "", "OMP_NUM_THREADS": "1"},
    )
    text = done.stdout + done.stderr
    assert "Traceback (most recent call last)" not in text, text
    assert done.returncode == check, text
    return text


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A run of PyTorch against itself that was kept, which several tests read."""
    folder = tmp_path_factory.mktemp("bench")
    text = assay("torch", *SMALL, "--save", "first", cwd=folder, check=0)
    return folder, text


def test_a_run_shows_times_ratio_interval_and_what_it_could_have_seen(kept):
    _, text = kept
    assert "assay times torch" in text and "against torch" in text
    assert "swish.million" in text and "float32 forward" in text
    assert "1 of 1 cases (1 timed)" in text and "elements judged" in text
    assert "1/1 cases, " in text  # while it runs, though pytest keeps what is said during a test
    assert max(map(len, text.splitlines())) <= 120


def test_a_kept_run_is_pytest_benchmarks_file_with_what_assay_adds(kept):
    folder, _ = kept
    data = json.loads(saved.find("first", folder / ".benchmarks").read_text())
    [case] = data["benchmarks"]
    assert len(case["stats"]["data"]) == len(case["extra_info"]["baseline_seconds"]) == case["stats"]["rounds"]
    assert case["extra_info"]["ratio_low"] <= case["extra_info"]["ratio"] <= case["extra_info"]["ratio_high"]
    assert {"device", "processor", "cores", "threads", "torch", "python", "numpy"} <= data["machine_info"][
        "assay"
    ].keys()
    assert case["options"]["timer"].endswith("perf_counter")


def test_a_run_is_held_against_a_kept_one(kept):
    folder, _ = kept
    text = assay("torch", *SMALL, "--compare", "first", "--max-regression", "400%", cwd=folder, check=0)
    assert "at most +400.0%" in text and " ok" in text


def test_what_became_slower_fails_and_is_named(kept):
    folder, _ = kept
    slow = (
        "import time, torch\n\ndef swish(x, beta=1.0):\n    time.sleep(0.02)\n    return torch.nn.functional.silu(x)\n"
    )
    (folder / "slow.py").write_text(slow)
    text = assay("slow.py", *SMALL, "--compare", "first", cwd=folder, check=1)
    assert "REGRESSED swish.million-float32-forward: the ratio moved by +" in text


def test_who_is_wrong_is_not_timed_and_is_named(tmp_path):
    (tmp_path / "wrong.py").write_text("def swish(x, beta=1.0):\n    return x\n")
    text = assay("wrong.py", *SMALL, cwd=tmp_path, check=1)
    assert "WRONG swish.million-float32-forward: its result[" in text and "1 of 1 cases (1 wrong), 0 rounds" in text
    assert ", 0 elements judged" not in text


def test_options_after_the_dashes_are_pytest_benchmarks(tmp_path):
    assay("torch", *SMALL, "--", "--benchmark-json", tmp_path / "all.json", cwd=tmp_path, check=0)
    assert json.loads((tmp_path / "all.json").read_text())["benchmarks"]
    assay("torch", *SMALL, "--", "--no-such-option", cwd=tmp_path, check=2)


@pytest.mark.parametrize("limit", ["5", "-5%", "five", "0%", "nan%", "%", ""])
def test_a_limit_is_a_percentage(limit):
    with pytest.raises(UsageProblem, match="is not a percentage; write for example --max-regression 5%"):
        percentage(limit)
    assert percentage("5%") == 0.05 and percentage("2.5 %") == 0.025


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--set", "huge"], "unknown set 'huge'; allowed: quick, standard, full"),
        (["--op", "swosh"], "unknown operator 'swosh'"),
        (["--dtype", "int8"], "unknown dtype 'int8'"),
        (["--device", "tpu"], "unknown device 'tpu'"),
        (["--case", "nothing"], "nothing to time"),
        (["--op", "pad2d"], "nothing to time"),
        (["--seconds", "0"], "--seconds 0: give a positive number"),
        (["--seconds", "nan"], "--seconds nan: give a positive number"),
        (["--rounds", "6"], "--rounds 6 is too few"),
        (["--max-regression", "5%"], "--max-regression needs --compare"),
        (["--save", "a/b"], "--save 'a/b': allowed are letters"),
        (["--compare", "nowhere"], "no such run in .benchmarks"),
    ],
)
def test_a_word_without_meaning_is_told_before_anything_is_timed(given, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageProblem) as problem:
        asked(words(*given))
    assert said in str(problem.value)


def test_an_implementation_that_cannot_be_had_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LoadError):
        asked(words("--against", "nowhere.py"))
    assert cli.main(["bench", "torch", "--against", "nowhere.py"]) == 2


def changed(kept, tmp_path, change):
    """The kept run with something changed, as a file."""
    data = json.loads(saved.find("first", kept[0] / ".benchmarks").read_text())
    change(data)
    path = tmp_path / "kept.json"
    path.write_text(json.dumps(data))
    return str(path)


def other(key, value, **more):
    return lambda data: data["machine_info"]["assay"].update({key: value, **more})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other("device", "NVIDIA H100"), "device was 'NVIDIA H100' and is 'cpu': another device has other ratios"),
        (other("processor", "another"), "another machine has other ratios"),
        (other("threads", 96), "ratios depend on the number of threads"),
        (other("baseline_version", "torch 1.0"), "the ratio is taken against the baseline"),
        (other("schema", 99), "has schema 99, this assay reads 1"),
        (lambda data: data["machine_info"].pop("assay"), "has schema none, this assay reads 1"),
        (lambda data: data["benchmarks"][0]["extra_info"].pop("baseline_seconds"), "is not whole"),
        (lambda data: data["benchmarks"][0]["stats"].update(data=[1.0]), "is not whole"),
    ],
)
def test_a_kept_run_that_is_not_comparable_is_refused_with_the_reason(change, said, kept, tmp_path):
    with pytest.raises(UsageProblem) as problem:
        asked(words(*SMALL, "--compare", changed(kept, tmp_path, change)))
    assert said in str(problem.value)


def test_a_kept_run_that_is_cut_off_is_told(kept, tmp_path):
    whole = saved.find("first", kept[0] / ".benchmarks").read_text()
    (tmp_path / "cut.json").write_text(whole[: len(whole) // 2])
    with pytest.raises(UsageProblem, match="it may be cut off: save the run again"):
        asked(words("--compare", str(tmp_path / "cut.json")))


def test_other_versions_are_named_and_compared(kept, tmp_path):
    path = changed(kept, tmp_path, other("numpy", "1.0", threads=torch.get_num_threads()))
    run = asked(words(*SMALL, "--compare", path))
    session = Session(run)
    [change] = [each for each in run.compare.changed(session.machine) if each.startswith("numpy")]
    assert change.startswith("numpy 1.0 -> ")


def compared(now, then, limit=0.05):
    """The row of a case whose blocks have these ratios, each with a little noise."""
    times = [Times([r * (1 + 0.001 * (k % 5)) for k in range(200)], [1.0] * 200) for r in (now, then)]
    run = asked(words("--op", "swish"))
    case = run.cases[0]
    run = session.Asked(run.candidate, run.baseline, "cpu", [case], 1.0, limit=limit)
    row = Row(case, times=times[0])
    Session(run)._compare(row, saved.Saved(saved.Path("kept.json"), {}, {case.id: times[1]}))
    return row


@pytest.mark.parametrize(
    ("now", "then", "verdict"),
    [(1.0, 1.0, "timed"), (1.2, 1.0, "regressed"), (0.5, 1.0, "timed"), (3.0, 2.95, "timed")],
)
def test_a_regression_is_a_ratio_that_moved_and_not_a_large_one(now, then, verdict):
    assert compared(now, then).verdict == verdict


def test_what_the_run_could_not_see_is_said_with_the_rounds_that_would():
    row = compared(1.0501, 1.0, limit=0.05)
    assert row.verdict == "cannot tell"
    assert "rounds a run would tell, these were 100 and 100" in row.reason
    assert math.isfinite(row.move.half)


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        (["timed"], 0),
        (["timed", "new"], 0),
        ([], 3),
        (["timed", "cannot tell"], 3),
        (["cannot judge"], 3),
        (["cannot tell", "regressed"], 1),
        (["wrong", "timed"], 1),
    ],
)
def test_the_exit_code_says_what_was_found(verdicts, code):
    assert bench.exit_code(verdicts) == code


def test_a_baseline_that_is_wrong_cannot_be_judged_against(tmp_path):
    (tmp_path / "wrong.py").write_text("def swish(x, beta=1.0):\n    return x\n")
    text = assay("torch", *SMALL, "--against", "wrong.py", cwd=tmp_path, check=3)
    assert "the baseline cannot be timed" in text


def test_the_baseline_is_loaded_first(monkeypatch):
    order = []
    monkeypatch.setattr(session, "load", lambda spec: (order.append(spec), load(spec))[1])
    monkeypatch.setattr(session, "make_run", lambda *given, **more: order.append("candidate") or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        asked(words())
    assert order == ["torch", "candidate"]


@pytest.mark.parametrize("width", [80, 100])
def test_the_widest_row_fits_a_terminal_of_80_or_100_columns(width):
    times, interval = Times([0.123] * 8, [0.0333] * 8), Interval(0.5, 0.2, 1.5)
    longest = max(LAYERS, key=lambda layer: len(layer.id))
    row = Row(
        Timed(longest, "bfloat16", "backward"), "cannot tell", "", times, interval, None, 1.91, "product", 25 << 20
    )
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(bench._table([row], compared=True, width=width))
    shown = console.export_text()
    assert "cannot tell" in shown and max(len(line.rstrip()) for line in shown.splitlines()) <= width
    assert ("25.0 MiB" in shown) == (width == 100)
