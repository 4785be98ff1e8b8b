"""Precision on the command line: what it says in place of the candidate."""

from __future__ import annotations

import json
import re

import pytest

from assay.tests.meta.test_cli import assay
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.declared import overridden
from assay.tests.trial.run import UsageProblem, make_run

OWN = {"linear.forward.float32": {"operands": "tf32"}, "linear.backward.float32": {"flush": True}}


@pytest.mark.parametrize(
    ("words", "declared"),
    [
        ([], OWN),
        (["strict"], {}),
        (["linear.forward.float32=flush:true"], {**OWN, "linear.forward.float32": {"flush": True}}),
        (["linear.forward.float32=strict"], {**OWN, "linear.forward.float32": {}}),
        (["swish.forward.float16=flush:True, spreads:false", "strict"], {"swish.forward.float16": None}),
    ],
)
def test_words_stand_in_place_of_what_the_candidate_declares(words, declared):
    found = overridden(OWN, words)
    assert found == {
        key: {"flush": True, "spreads": False} if value is None else value for key, value in declared.items()
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tf32"], "--precision 'tf32' is not understood; give operator.direction.dtype=key:value"),
        (["linear.float32=operands:tf32"], "is not understood; give operator.direction.dtype"),
        (["linear.forward.float32="], "is not understood; give operator.direction.dtype"),
        (["liner.forward.float32=flush:true"], "unknown operator 'liner'; allowed: "),
        (
            ["linear.forwards.float32=flush:true"],
            "unknown direction 'forwards'; allowed: forward, backward; did you mean",
        ),
        (["linear.forward.float8=flush:true"], "unknown dtype 'float8'"),
        (["linear.forward.float32=operand:tf32"], "unknown key 'operand'; allowed: accumulation, operands, flush"),
        (["linear.forward.float32=operands:tf16"], "operands='tf16'; allowed: float64, float32, tf32"),
        (["linear.forward.float32=flush"], "'flush' is not key:value"),
        (["linear.forward.float32=flush:true,flush:false"], "flush is given twice"),
        (["linear.forward.float32=flush:true", "linear.forward.float32=spreads:true"], "is declared twice"),
    ],
)
def test_a_word_that_is_not_understood_is_refused(words, message):
    with pytest.raises(UsageProblem, match=re.escape(message)):
        overridden(OWN, words)


def test_a_run_is_judged_under_what_the_command_line_says():
    run = make_run("torch", ["conv2d"]).under(["strict", "conv2d.forward.float32=operands:tf32"], ())
    assert str(Candidate(run.implementation, "float32").precision("conv2d")) == "operands=tf32"
    assert str(Candidate(run.implementation, "bfloat16").precision("conv2d", "backward")) == "strict"
    assert run.precision == ("strict", "conv2d.forward.float32=operands:tf32")


TF32 = """
import torch
def rounded(t): return ((t.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)
def linear(x, w, b=None): return torch.nn.functional.linear(rounded(x), rounded(w), b)
"""


def test_the_report_says_that_the_command_line_declared_it(tmp_path):
    (tmp_path / "k.py").write_text(TF32)
    words = ("check", "k.py", "--in-process", "--op", "linear", "--dtype", "float32", "--json", "out.json")
    words = (*words, "--precision", "linear.forward.float32=operands:tf32")
    text = assay(*words, "--", "-k", "linear_stays", cwd=tmp_path, check=0).text
    assert "precision on the command line: linear.forward.float32=operands:tf32" in text
    assert "declared  linear.forward.float32: operands=tf32  (on the command line)" in text
    assert "k.py conforms under the declared precision" in text
    data = json.loads((tmp_path / "out.json").read_text())
    assert data["settings"]["precision"] == ["linear.forward.float32=operands:tf32"]
    assert data["declared_precision"] == {"linear.forward.float32": "operands=tf32"}


def test_a_bad_word_is_a_usage_error(tmp_path):
    text = assay("check", "torch", "--op", "pad2d", "--precision", "tf32", cwd=tmp_path, check=2).text
    assert "ERROR: --precision 'tf32' is not understood" in text


def test_sums_that_are_too_long_for_a_bound_are_left_out_and_shorter_ones_are_judged(tmp_path):
    """Who adds up in bfloat16 would have no verdict at all if every long sum were a refusal."""
    words = ("check", "torch", "--op", "linear", "--dtype", "bfloat16", "--precision")
    words = (*words, "linear.forward.bfloat16=accumulation:storage")
    text = assay(*words, "--", "-k", "linear_of_usual_layers_stays or linear_stays", cwd=tmp_path, check=0).text
    said = "LEFT OUT in part linear · bfloat16, as accumulation=bfloat16 is declared, under which sums of more than 127"
    assert f"{said} terms have no useful bound: linear of usual layers stays within its enclosure" in text
    assert "(2 conforms)" in text


def test_a_law_of_which_the_bound_of_a_declared_algorithm_permits_anything_is_left_out(tmp_path):
    words = ("check", "torch", "--op", "conv2d", "--dtype", "float64", "--precision")
    words = (
        *words,
        "conv2d.forward.float64=algorithm:fft",
        "--",
        "-k",
        "ends_of_the_range_meet_in_conv2d or inputs_dtype",
    )
    text = " ".join(assay(*words, cwd=tmp_path, check=0).text.split())
    assert "LEFT OUT conv2d · float64, as algorithm=fft is declared, whose bound permits any number here" in text


def test_a_law_that_a_declaration_leaves_nothing_to_judge_is_left_out(tmp_path):
    """And says so: it has not seen the candidate conform."""
    words = ("check", "torch", "--op", "linear", "--dtype", "bfloat16", "--json", "out.json", "--precision")
    words = (*words, "linear.backward.bfloat16=accumulation:storage")
    text = assay(
        *words, "--", "-k", "tokens_are_rounded_once or linear_of_integers_is_exact", cwd=tmp_path, check=0
    ).text
    assert "LEFT OUT linear · bfloat16, as accumulation=bfloat16 is declared, which lets the sums be rounded" in text
    assert "(1 conforms, 1 left out)" in text
    verdicts = {law["law"]: law["verdict"] for law in json.loads((tmp_path / "out.json").read_text())["laws"]}
    assert verdicts.pop("test_linear_gradients_that_sum_over_samples_and_tokens_are_rounded_once") == "left out"
    assert list(verdicts.values()) == ["conforms"]
