"""The command as its users meet it: a process of its own, its exit code, its words."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from io import StringIO

import pytest
from rich.console import Console

from assay.report import terminal
from assay.report.verdict import plain

KERNELS = """
import torch
import torch.nn.functional as F

def swish(x, beta=1.0):
    return x * torch.sigmoid(x)          # beta is forgotten

def linear(x, w, b=None):
    return None

def pad2d(x, padding):
    raise RuntimeError("the kernel gave up")

def max_pool2d(input, kernel_size, stride=None, padding=0):
    return F.max_pool2d(input, kernel_size, stride, padding).double()
"""

JUDGED = ("check", "kernels.py", "--dtype", "float32")
# A third of the laws: those that every operator has are many, and those of large cases, or of many, are slow.
FORMULAS = (
    "-k",
    "not state and not contract and not large and not usual and not tails and not mixture and not patterns",
)

FORGETFUL = """
import gc, signal, sys, time, weakref
from assay.report import interrupt

class Kept:
    pass

class Ending:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

def collected(phase, info):
    if phase == "start":
        signal.raise_signal(signal.SIGINT)

class Asked:
    armed = False
    def __hash__(self):
        if Asked.armed:
            signal.raise_signal(signal.SIGINT)
        return 0

interrupt.listen()
try:
    if sys.argv[1] == "garbage":
        gc.callbacks.append(collected)
        gc.collect()
    elif sys.argv[1] == "destructor":
        Ending()
    else:
        kept, of = Kept(), weakref.WeakValueDictionary()
        of[Asked()] = kept
        Asked.armed = True
        del kept
    time.sleep(30)
except KeyboardInterrupt as problem:
    gc.callbacks.clear()
    Asked.armed = False
    print("heard:", problem)
"""


def assay(*words, cwd, check=None):
    """Run the command; the answer's text holds both streams."""
    done = subprocess.run(
        [sys.executable, "-m", "assay.cli", *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "COLUMNS": "100", "PYTEST_ADDOPTS": ""},
    )
    done.text = done.stdout + done.stderr
    assert "Traceback (most recent call last)" not in done.text, done.text
    assert check is None or done.returncode == check, done.text
    return done


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """One run of the wrong kernels, which several tests read."""
    folder = tmp_path_factory.mktemp("author")
    (folder / "kernels.py").write_text(KERNELS)
    done = assay(*JUDGED, "--json", "out.json", "--", *FORMULAS, cwd=folder, check=1)
    return folder, done.text, json.loads((folder / "out.json").read_text())


def test_a_wrong_kernel_is_told_what_is_wrong_where_and_by_how_much(judged):
    _, text, _ = judged
    assert "FAIL swish.formula   swish(x) = x * sigmoid(beta * x)" in text
    block = text.split("FAIL swish.formula")[1].split("FAIL ")[0]
    for word in (
        "candidate  kernels.py.swish · cpu · float32",
        "got ",
        "permitted  ",
        "margin ",
        "again      assay replay",
    ):
        assert word in block
    profile = "the clause is PyTorch's; the profile documented judges without it"
    assert profile not in block and profile in text.split("FAIL linear.refuses-sizes")[1].split("FAIL ")[0]
    assert "kernels.py does not conform" in text


def test_what_cannot_be_judged_as_a_tensor_is_told_in_a_sentence(judged):
    _, text, _ = judged
    assert "linear returned NoneType, not a plain array of its library" in text
    assert "pad2d raised RuntimeError: the kernel gave up (kernels.py, line 12)" in text
    assert "max_pool2d returned dtype float64 for inputs of dtype float32" in text


def test_what_is_missing_is_not_provided_and_never_passed(judged):
    _, text, data = judged
    assert "not provided  glu, swiglu, conv2d" in text
    assert data["settings"]["not_provided"] == ["glu", "swiglu", "conv2d"]
    assert all(row["verdict"] in ("not provided", "no law") for row in data["rows"] if row["operator"] == "conv2d")
    assert not [law for law in data["laws"] if law["operator"] == "conv2d"]


def test_the_json_has_no_number_that_strict_parsers_refuse(judged):
    """Pooling in a wider dtype is wrong by any number of the permitted ones, which are none."""
    folder, _, data = judged
    told = []
    for name in ("out.json", ".assay/failures.json"):
        json.loads((folder / name).read_text(), parse_constant=told.append)
    assert told == []
    assert all(float(failure["margin"]) > 1.0 for failure in data["failures"] if failure.get("margin"))


def test_numbers_that_json_does_not_have_are_words_that_float_reads():
    found = plain({"margin": math.inf, "permitted": (-math.inf, 1.0), "got": math.nan, "dtypes": ("float32",)})
    assert found == {"margin": "inf", "permitted": ["-inf", 1.0], "got": "nan", "dtypes": ["float32"]}


def test_the_json_carries_what_the_terminal_shows(judged):
    _, text, data = judged
    assert (data["schema"], data["verdict"], data["exit_code"]) == (1, "fails", 1)
    for failure in data["failures"]:
        assert failure["clause"] in text
    assert {"what", "input", "script", "nodeid", "class"} <= data["failures"][0].keys()


def wrong_number(data):
    """The smallest of swish's: large ones are simplified for as long as there is time."""
    told = [f for f in data["failures"] if f["clause"] == "swish.formula" and "got" in f]
    return min(told, key=lambda f: f["elements"])


def test_the_script_shows_the_fault_by_itself(judged):
    folder, _, data = judged
    failure = wrong_number(data)
    done = subprocess.run([sys.executable, "-c", failure["script"]], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "assay" not in failure["script"].replace(str(folder), "")
    assert "tensor(" in done.stdout


@pytest.mark.parametrize("lines", [2, 2000])
def test_a_script_that_is_too_long_for_a_terminal_stands_in_a_file(judged, tmp_path, monkeypatch, lines):
    """And is the same."""
    monkeypatch.chdir(tmp_path)
    script = "print(1)\n" * lines
    found = judged[2]["failures"][0] | {"script": script, "id": "linear-5ede02c7"}
    out = Console(file=StringIO(), width=80)
    terminal._failure(found, [], out)
    kept = tmp_path / ".assay" / "linear-5ede02c7.py"
    assert kept.exists() == (lines > 2)
    assert ("script     " + str(kept.relative_to(tmp_path)) in out.file.getvalue()) == (lines > 2)
    assert ("print(1)" in out.file.getvalue()) == (lines == 2)
    assert lines == 2 or kept.read_text().strip() == script.strip()


def test_a_failure_can_be_seen_again(judged):
    folder, _, data = judged
    failure = wrong_number(data)
    text = assay("replay", failure["id"], cwd=folder, check=1).text
    assert f"got        {failure['got']:.9g}"[:18] in text
    assert "FAIL swish.formula" in text


def test_what_is_kept_for_a_replay_is_of_the_last_run(tmp_path):
    """A replay is none, and leaves it as it is."""
    words = ("check", "k.py", "--dtype", "float32", "--", "-k", "test_pad2d_adds_zeros or pad2d.additive")
    right = (
        "array = 'numpy'\nimport numpy\ndef pad2d(x, p): return numpy.pad(x, [(0, 0)] * (x.ndim - 2) + [(p, p)] * 2)\n"
    )
    (tmp_path / "k.py").write_text(right.replace("* 2)", "* 2) + x.dtype.type(1)"))
    text = assay(*words, cwd=tmp_path, check=1).text
    first, *_, last = (block.split()[0] for block in text.split("assay replay ")[1:])
    for each in (first, last):
        assay("replay", each, cwd=tmp_path, check=1)
    (tmp_path / "k.py").write_text(right)
    assay("replay", last, cwd=tmp_path, check=0)
    assay(*words, cwd=tmp_path, check=0)
    assert "no failures are kept in this folder" in assay("replay", last, cwd=tmp_path, check=2).text


def test_workers_find_what_one_process_finds(judged):
    folder, _, data = judged
    text = assay(*JUDGED, "-n", "2", "--json", "two.json", "--", *FORMULAS, cwd=folder, check=1).text
    two = json.loads((folder / "two.json").read_text())
    assert two["errors"] == [] and "INTERNALERROR" not in text
    assert figures(two) == figures(data)


def figures(data):
    """What each law saw; a failure's margin hangs on how far there was time to simplify its input."""
    words = ("law", "operator", "verdict", "examples", "compared")
    told = [[str(law[word]) for word in words] + [law["margin"]] * (law["verdict"] != "fails") for law in data["laws"]]
    return sorted(told, key=str)


def test_a_replay_that_is_not_there_is_refused(judged, tmp_path):
    assert "no failure 'nothing-0000' in the last run" in assay("replay", "nothing-0000", cwd=judged[0], check=2).text
    assert "no failures are kept in this folder" in assay("replay", "x", cwd=tmp_path, check=2).text


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["check", "none.py"], 2, "none.py: the file none.py does not exist"),
        (["check", "torch", "--op", "conv3d"], 2, "unknown operator 'conv3d'; allowed: swish, linear"),
        (["check", "torch", "--json", "no/such/folder/out.json"], 2, "out.json cannot be written: No such file"),
        (["check", "torch", "--op", "pad2d", "--", "-k", "nothing_is_called_this"], 3, "torch cannot be judged"),
        (["check", "torch", "--seed", "many"], 2, "invalid int value: 'many'"),
        (["explain", "swish.formul"], 2, "no clause 'swish.formul'; did you mean swish.formula"),
    ],
)
def test_bad_words_get_a_clear_answer_and_their_exit_code(words, code, message, tmp_path):
    assert message in assay(*words, cwd=tmp_path, check=code).text


def test_a_declared_precision_without_a_bound_cannot_be_judged(tmp_path):
    words = "import torch.nn.functional as F\nlinear = F.linear\n"
    declared = "precision = {'linear.forward.float32': {'algorithm': 'winograd'}}\n"
    (tmp_path / "k.py").write_text(words + declared)
    words = ("--op", "linear", "--dtype", "float32", "--", "-k", "enclosure")
    text = assay("check", "k.py", *words, cwd=tmp_path, check=3).text
    assert "no cited error bound for algorithm=winograd" in text


def test_a_precision_failure_says_what_would_hold(tmp_path):
    (tmp_path / "k.py").write_text(
        "import torch\n"
        "def rounded(t): return ((t.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)\n"
        "def linear(x, w, b=None): return torch.nn.functional.linear(rounded(x), rounded(w), b)\n"
    )
    words = ("check", "k.py", "--op", "linear", "--dtype", "float32", "--", "-k", "enclosure")
    text = assay(*words, cwd=tmp_path, check=1).text
    assert "under precision = {'linear.forward.float32': {'operands': 'tf32'}}" in text


def test_the_same_run_by_plain_pytest(tmp_path):
    import assay.cli

    folder = assay.cli.ROOT / "tests" / "conformance"
    (tmp_path / "k.py").write_text("def pad2d(x, padding): return x\n")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            folder,
            "-c",
            assay.cli.ROOT / "pytest.ini",
            "--impl",
            "k.py",
            "--dtype",
            "float32",
            *FORMULAS,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 1, done.stdout
    assert "k.py does not conform" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_is_interrupted_or_ended_gives_the_partial_report(tmp_path, number):
    (tmp_path / "k.py").write_text(
        "import pathlib\nimport torch.nn.functional as F\n"
        "def pad2d(x, padding):\n    pathlib.Path('called').touch()\n    return F.pad(x, [padding] * 4)\n"
    )
    running = subprocess.Popen(
        [sys.executable, "-m", "assay.cli", "check", "k.py", "--budget", "deep"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with running:
        while running.poll() is None and not (tmp_path / "called").exists():
            time.sleep(0.05)
        os.killpg(running.pid, number)
        text = running.communicate(timeout=60)[0]
    assert running.returncode == 130, text
    assert "Interrupted: what follows is a part" in text and "k.py was not judged to the end" in text
    assert ".py:" not in text, "pytest's place in the code is of no use"


def test_an_interrupt_while_the_kernel_is_loaded_is_no_traceback(tmp_path):
    (tmp_path / "k.py").write_text("import os, signal, time\nos.kill(os.getppid(), signal.SIGINT)\ntime.sleep(30)\n")
    assay("check", "k.py", cwd=tmp_path, check=130)


@pytest.mark.parametrize(
    ("words", "said"),
    [("pad2d.additive", "1 clauses, 1 trials (1 conforms)"), ("nothing-is-called-so", "(none ran: no law of what was")],
)
def test_laws_are_selected_by_their_clause_and_none_is_said(tmp_path, words, said):
    done = assay("check", "torch", "--op", "pad2d", "--dtype", "float32", "--", "-k", words, cwd=tmp_path)
    assert said in done.stdout, done.text


@pytest.mark.parametrize("way", ["garbage", "destructor", "weak reference"])
def test_an_interrupt_where_python_forgets_what_is_raised_is_not_lost(way):
    """In a process of its own: what is forgotten is printed, and pytest takes that for an error of the test."""
    done = subprocess.run([sys.executable, "-c", FORGETFUL, way], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("heard: what follows is a part\n", "")


@pytest.mark.parametrize("processes", ["0", "2"])
def test_what_cannot_be_collected_cannot_be_judged(tmp_path, processes):
    """And is no interrupt."""
    (tmp_path / "test_broken.py").write_text("import no_such_module\n")
    words = ("check", "torch", "--op", "pad2d", "--dtype", "float32", "-n", processes, "--", "-k", "pad2d.additive")
    done = subprocess.run(
        [sys.executable, "-m", "assay.cli", *words, tmp_path / "test_broken.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert " cannot be collected: " in done.stdout and "test_broken.py" in done.stdout
    assert "No module named 'no_such_module'" in done.stdout and "torch cannot be judged" in done.stdout


def test_the_command_line_is_there_before_pytorch_is():
    line = "import sys, assay.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", line]).returncode == 0


def test_an_interrupt_at_a_place_without_a_line_number_is_still_a_partial_report(tmp_path):
    """Python 3.11 has such places in `with (`; pytest alone ends in a traceback of its own there."""
    (tmp_path / "plugin.py").write_text(
        "def strike():\n    raise KeyboardInterrupt\n"
        "strike.__code__ = strike.__code__.replace(co_linetable=b'')\n"
        "def pytest_runtest_teardown(item):\n    strike()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "assay.cli", "check", "torch", "--op", "pad2d", "--", "-p", "plugin"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 130, done.stdout + done.stderr
    assert "torch was not judged to the end" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
