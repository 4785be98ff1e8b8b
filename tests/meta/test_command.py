"""Processes of their own, from the command line: the server in C, crashes, limits, and what is misspelt."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from assay.implementations.arrays import Argument
from assay.implementations.isolated import Place, started
from assay.implementations.observe import Call
from assay.implementations.protocol import KNOWN, OPTIONAL, asked, read_call
from assay.tests.meta.test_cli import FORMULAS, assay
from assay.tests.trial.unheard import ABOUT, ESSENTIAL, unheard

SERVER = Path(__file__).resolve().parents[2] / "docs" / "server.c"

DYING = """
import os
array, dtypes, said = "numpy", ("float32",), print
def max_pool2d(input, kernel_size, stride=None, padding=0):
    if input.shape[-1] > 4:
        said("too wide for me", file=__import__("sys").stderr, flush=True)
        os._exit(7)
    return input.copy()
def swish(x, beta=None):
    raise TypeError(f"no {x.dtype} here")
"""


ALWAYS_SAID = ("operator", "arguments", "dtype", "device", "cotangent", "differentiate")
OTHER = {bool: True, int: 3, str: "halves"}


@pytest.mark.parametrize("word", [*OPTIONAL, "in_turn"])
def test_what_a_call_says_crosses_over(word):
    plain = Call("swish", {"x": Argument(np.ones(2))}, "float32", "cpu")
    said = replace(plain, **{word: False if word == "recording" else OTHER[type(getattr(plain, word))]})
    crossed = read_call(asked(said, "new" if said.in_turn else ""))
    assert getattr(crossed, word) == getattr(said, word) != getattr(plain, word)
    assert {each.name for each in fields(Call)} == {*OPTIONAL, "in_turn", *ALWAYS_SAID}


def compiled(folder, text):
    (folder / "server.c").write_text(text)
    subprocess.run(["cc", "-O3", "-o", str(folder / "server"), str(folder / "server.c"), "-lm"], check=True)
    return folder / "server"


def test_a_server_in_c_conforms(tmp_path):
    server = compiled(tmp_path, SERVER.read_text())
    # Those that are left out are dear, and ask for nothing else of the protocol.
    dear = "mixture or large or tails or patterns or hundreds or one_tensor or other_sizes"
    done = assay("check", "--command", server, "--json", "out.json", "--", "-k", f"not ({dear})", cwd=tmp_path, check=0)
    assert f"{server} conforms" in done.text
    assert "not provided  swish, linear, glu, swiglu, pad2d" in done.text
    unknown = "does not know beside, changed, copied, disturbed, frame, inferred, layer, layout, memory"
    assert unknown in " ".join(done.text.split())
    laws = json.loads((tmp_path / "out.json").read_text())["laws"]
    untold = {law["clause"] for law in laws if law["verdict"] == "not provided"}
    conforming = {law["clause"] for law in laws if law["verdict"] == "conforms"}
    assert untold >= set(ABOUT) and not conforming & set(ABOUT)
    assert {"conv2d.formula", "contract.samples-apart", "contract.shape"} <= conforming


def test_the_worker_knows_all_that_laws_ask_for(tmp_path):
    (tmp_path / "k.py").write_text("array = 'numpy'\ndef swish(x, beta=1.0): return x\n")
    knows = started(str(tmp_path / "k.py"), Place()).worker.knows
    assert {*ABOUT.values(), *ESSENTIAL} <= knows == {*KNOWN, "memory"}


def test_words_that_make_a_call_what_it_is_are_missed_where_the_program_does_not_know_them():
    given = {"x": Argument(np.ones(2), "strided")}
    plain = Call("swish", given, "float32", "cpu", poison=2, recording=False)
    turned = replace(plain, in_turn=True, twice=True, setting="5 threads")
    assert unheard([plain], frozenset()) == set()
    assert unheard([plain, turned], frozenset(["twice"])) == {"memory", "setting"}


def test_a_wrong_server_in_c_is_told_what_is_wrong(tmp_path):
    text = SERVER.read_text()
    assert text.count("x > most || isnan(x)") == 1
    server = compiled(tmp_path, text.replace("x > most || isnan(x)", "x > most"))
    done = assay("check", "--command", server, "--op", "max_pool2d", "--", *FORMULAS, cwd=tmp_path, check=1)
    assert "FAIL max_pool2d.nan" in done.text
    again = done.text.split("assay replay ")[1].split()[0]
    assert "FAIL max_pool2d.nan" in assay("replay", again, cwd=tmp_path, check=1).text


def test_a_crash_is_one_failure_with_the_last_words_and_the_rest_is_judged(tmp_path):
    (tmp_path / "dying.py").write_text(DYING)
    done = assay("check", "dying.py", "--", *FORMULAS, cwd=tmp_path, check=1)
    assert done.text.count("ended its process, with exit code 7; its last lines of stderr: too wide for me") >= 1
    assert done.text.count("(crash)") == 1
    assert "swish raised TypeError: no float32 here" in done.text


@pytest.mark.parametrize(("asked", "code"), [("", 0), ("error", 1)])
def test_a_kernel_that_warns_does_no_wrong_unless_warnings_are_to_be_errors(tmp_path, monkeypatch, asked, code):
    (tmp_path / "k.py").write_text(
        "import warnings\nfrom torch.nn.functional import pad\n"
        "def pad2d(x, p):\n    warnings.warn('old', FutureWarning, stacklevel=2)\n    return pad(x, [p] * 4)\n"
    )
    monkeypatch.setenv("PYTHONWARNINGS", asked and f"{asked}::FutureWarning")
    assay("check", "k.py", "--in-process", "--", "-k", "pad2d.example or pad2d.additive", cwd=tmp_path, check=code)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give an implementation, or --command and a program"),
        (("torch", "--command", "x"), "give an implementation, or --command and a program"),
        (("",), "give an implementation, or --command and a program"),
        (("--command", ""), "give an implementation, or --command and a program"),
        (("torch", "--command", ""), "give an implementation to load, or --command and a program, and not both"),
        (("", "--command", "x"), "give an implementation to load, or --command and a program, and not both"),
        (("torch", "--python", ""), "--python : there is no such program"),
        (("torch", "--python", "", "--in-process"), "--in-process runs in this interpreter: give no"),
        (("--command", "./missing"), "./missing cannot be started: No such file or directory"),
        (("torch", "--python", "./missing"), "--python ./missing: there is no such program"),
        (("torch", "--python", sys.executable, "--in-process"), "--in-process runs in this interpreter: give no"),
        (
            ("torch", "--time-limit", "9"),
            "torch runs in the judge's process, which --time-limit and --memory-",
        ),
        (("torch", "--memory-limit", "9", "--in-process"), "torch runs in the judge's process, which --time-limit and"),
        (("--command", "./server", "--python", sys.executable), "--command runs a program as it is: give no --python"),
        (("torch", "--time-limit", "0"), "--time-limit 0: give a positive number"),
        (("torch", "--memory-limit", "-1"), "--memory-limit -1: give a positive number"),
        (("torch", "--memory-limit", "0.0001"), "--memory-limit 0.0001: give at least 0.0625; an"),
        (("torch", "-n", "-1"), "-n -1: give a number of processes, or auto"),
        (("torch", "-n", "two"), "-n two: give a number of processes, or auto"),
        (("torch", "-n", "\u00b2"), "-n \u00b2: give a number of processes, or auto"),
        (("torch", "--device", "cuda:\u00b2"), "unknown device 'cuda:\u00b2'; allowed: cpu, cuda, cuda:N"),
        (("torch", "--time-limit", "soon"), "argument --time-limit: invalid float value: 'soon'"),
    ],
)
def test_what_cannot_be_run_is_a_usage_problem(tmp_path, words, message):
    assert message in assay("check", *words, cwd=tmp_path, check=2).text
