"""Processes of their own, from the command line: the server in C, crashes, limits, and what is misspelt."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from assay.tests.meta.test_cli import FORMULAS, assay

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


def compiled(folder, text):
    (folder / "server.c").write_text(text)
    subprocess.run(["cc", "-O1", "-o", str(folder / "server"), str(folder / "server.c"), "-lm"], check=True)
    return folder / "server"


def test_a_server_in_c_conforms(tmp_path):
    server = compiled(tmp_path, SERVER.read_text())
    done = assay("check", "--command", server, cwd=tmp_path, check=0)
    assert f"{server} conforms" in done.text
    assert "not provided  swish, linear, glu, swiglu, pad2d" in done.text


def test_a_wrong_server_in_c_is_told_what_is_wrong(tmp_path):
    text = SERVER.read_text()
    assert text.count("x > most || isnan(x)") == 1
    server = compiled(tmp_path, text.replace("x > most || isnan(x)", "x > most"))
    done = assay("check", "--command", server, "--op", "max_pool2d", cwd=tmp_path, check=1)
    assert "FAIL max_pool2d.nan" in done.text
    again = done.text.split("assay replay ")[1].split()[0]
    assert "FAIL max_pool2d.nan" in assay("replay", again, cwd=tmp_path, check=1).text


def test_a_crash_is_one_failure_with_the_last_words_and_the_rest_is_judged(tmp_path):
    (tmp_path / "dying.py").write_text(DYING)
    done = assay("check", "dying.py", "--", *FORMULAS, cwd=tmp_path, check=1)
    assert done.text.count("ended its process, with exit code 7; its last lines of stderr: too wide for me") >= 1
    assert done.text.count("(crash)") == 1
    assert "swish raised TypeError: no float32 here" in done.text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give an implementation, or --command and a program"),
        (("torch", "--command", "x"), "give an implementation, or --command and a program"),
        (("--command", "./missing"), "./missing cannot be started: No such file or directory"),
        (("torch", "--python", "./missing"), "--python ./missing: there is no such program"),
        (("torch", "--python", sys.executable, "--in-process"), "--in-process runs in this interpreter: give no"),
        (("torch", "--time-limit", "0"), "--time-limit 0: give a positive number"),
        (("torch", "--memory-limit", "-1"), "--memory-limit -1: give a positive number"),
        (("torch", "--time-limit", "soon"), "argument --time-limit: invalid float value: 'soon'"),
    ],
)
def test_what_cannot_be_run_is_a_usage_problem(tmp_path, words, message):
    assert message in assay("check", *words, cwd=tmp_path, check=2).text
