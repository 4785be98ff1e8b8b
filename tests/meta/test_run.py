"""The words of a run, checked before anything is run, and its limits."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis.internal.conjecture import providers

from assay import cli
from assay.implementations.arrays import Argument
from assay.implementations.isolated import Place, started
from assay.implementations.observe import Call, observe
from assay.spec import OPERATORS
from assay.tests.trial.laws import BUDGETS, all_laws, at_budget, clause
from assay.tests.trial.run import UsageProblem, found, make_run

SWISH = "def swish(x, beta=1.0): return x\n"


def test_a_run_takes_every_operator_and_dtype_unless_told_otherwise():
    run = make_run("torch")
    assert run.operators == tuple(OPERATORS)
    assert run.dtypes == ("float64", "float32", "bfloat16", "float16")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"operators": ["conv3d"]}, "unknown operator 'conv3d'; allowed: swish, linear, glu, swiglu, pad2d, conv2d"),
        ({"dtypes": ["float8"]}, "unknown dtype 'float8'; allowed: float64, float32, bfloat16, float16; did you mean"),
        ({"device": "tpu"}, "unknown device 'tpu'; allowed: cpu, cuda, cuda:N"),
        ({"device": "cuda:x"}, "unknown device 'cuda:x'; allowed: cpu, cuda, cuda:N"),
        ({"profile": "jax"}, "unknown profile 'jax'; allowed: documented, torch"),
        ({"budget": "huge"}, "unknown budget 'huge'; allowed: quick, gate, deep"),
    ],
)
def test_an_unknown_word_is_refused_with_what_is_allowed(words, message):
    with pytest.raises(UsageProblem, match=re.escape(message)):
        make_run("torch", **words)


@pytest.mark.parametrize(("budget", "tried"), [("quick", False), ("gate", True), ("deep", True)])
def test_a_law_from_the_gate_on_is_not_tried_at_the_quick_budget(budget, tried):
    (law,) = (law for law in all_laws() if law.name == "test_conv2d_gradients_with_wide_kernels_are_exact")
    assert (law in all_laws(budget), make_run("torch", budget=budget).wants(law, "conv2d")) == (tried, tried)
    assert law.tried == "gradient, from gate on"


def test_a_law_from_an_unknown_budget_on_is_refused():
    with pytest.raises(ValueError, match=f"budget='huge'; allowed: {', '.join(BUDGETS)}"):
        clause("swish.zero", tier="exact", budget="huge")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without a GPU shows this")
def test_a_device_that_is_missing_is_refused():
    with pytest.raises(UsageProblem, match=r"device 'cuda' is not to be had here: .*; use --device cpu"):
        make_run("torch", device="cuda")


def test_an_operator_that_the_candidate_lacks_is_refused_when_nothing_else_is_asked(tmp_path):
    path = tmp_path / "k.py"
    path.write_text(SWISH)
    with pytest.raises(UsageProblem, match=r"has none of the operators asked for \(conv2d\); it has swish"):
        make_run(str(path), operators=["conv2d"])


def test_a_dtype_that_the_array_library_lacks_is_refused(tmp_path):
    path = tmp_path / "k.py"
    path.write_text("array = 'numpy'\n" + SWISH)
    assert make_run(str(path)).dtypes == ("float64", "float32", "float16")
    with pytest.raises(UsageProblem, match=r"has no bfloat16; it has float64, float32, float16"):
        make_run(str(path), dtypes=["bfloat16"])


def test_a_device_that_the_candidate_does_not_support_is_refused(tmp_path):
    path = tmp_path / "k.py"
    path.write_text("devices = ('cuda',)\n" + SWISH)
    with pytest.raises(UsageProblem, match=r"supports the devices cuda, not cpu: use --device cuda, or name it in its"):
        make_run(str(path))


@pytest.mark.parametrize(("said", "devices"), [("", None), ("devices = ('cpu', 'cuda')\n", ("cpu", "cuda"))])
def test_who_names_no_devices_in_its_process_is_asked_about_each(tmp_path, said, devices):
    path = tmp_path / "k.py"
    path.write_text(said + SWISH)
    implementation = found(str(path), Place())
    assert implementation.devices == devices
    assert implementation.device_problem("cpu") is None and implementation.device_problem("cuda:99")


def test_hypothesis_draws_as_ever_once_a_judgement_is_over():
    before = providers._get_local_constants
    with at_budget(hypothesis.settings.get_profile("assay-quick"), []):
        assert providers._get_local_constants is not before
    assert providers._get_local_constants is before


@pytest.mark.parametrize(("cores", "workers", "threads"), [(2, "2", "1"), (16, "02", "8"), (1, "auto", "1")])
def test_workers_share_the_cores_by_threads_that_do_not_spin(monkeypatch, cores, workers, threads):
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # so that it is put back, whatever is set meanwhile
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.setattr(pytest, "main", lambda options: 0)
    assert cli.main(["check", "torch", "-n", workers]) == 0
    assert (os.environ["OMP_NUM_THREADS"], os.environ["OMP_WAIT_POLICY"]) == (threads, "PASSIVE")


def test_no_workers_are_no_workers_however_that_is_written(monkeypatch):
    given = []
    monkeypatch.setattr(pytest, "main", lambda options: given.append(options) or 0)
    assert [cli.main(["check", "torch", "-n", workers]) for workers in ("0", "00")] == [0, 0]
    assert given[0] == given[1] and "-n" not in given[0]


@pytest.mark.parametrize("kept", [b"[{", b"null", b"[1]", b"[{}]", b'[{"failure": {"id": "x"}}]', b"\xff"])
def test_a_replay_from_a_broken_file_is_refused(kept, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".assay").mkdir()
    (tmp_path / ".assay" / "failures.json").write_bytes(kept)
    assert cli.main(["replay", "x"]) == 2
    said = capsys.readouterr().err
    assert "failures.json cannot be read (" in said and "run `assay check` here again" in said


@pytest.mark.parametrize("limit", ["1e12", "1e300"])
def test_more_memory_than_the_system_counts_is_no_limit(limit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "k.py").write_text("array = 'numpy'\n" + SWISH)
    words = [sys.executable, "-m", "assay.cli", "check", "k.py", "--memory-limit", limit, "--", "-k", "swish.zero"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr


def test_who_dies_of_too_little_memory_is_told_the_limit(tmp_path):
    path = tmp_path / "dying.py"
    path.write_text("import os\narray = 'numpy'\ndef swish(x, beta=1.0): os.write(2, b'MemoryError'); os._exit(1)\n")
    asked = Call("swish", {"x": Argument(np.ones(2))}, "float64", "cpu")
    seen = observe(started(str(path), Place(memory=2**30)), asked)
    assert seen.died and seen.fault.endswith("MemoryError; its process may take 1 GiB more (--memory-limit)")


def test_who_asks_for_too_much_memory_is_told_the_limit(tmp_path):
    path = tmp_path / "greedy.py"
    path.write_text("import numpy as np\narray = 'numpy'\ndef swish(x, beta=1.0): return np.ones(2**30)[: len(x)]\n")
    asked = Call("swish", {"x": Argument(np.ones(2))}, "float64", "cpu")
    seen = observe(started(str(path), Place(memory=2**30)), asked)
    assert seen.fault.startswith("raised ") and "its process may take 1 GiB more (--memory-limit)" in seen.fault
