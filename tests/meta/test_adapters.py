"""The adapters as files, and the matrix as text: what holds of both without any of the libraries."""

from __future__ import annotations

import ast
import json
import math
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from assay.implementations.arrays import Argument, NumpyArrays
from assay.implementations.contract import OPERATOR_NAMES
from assay.implementations.load import ADAPTERS, load
from assay.implementations.observe import Call, observe
from assay.spec import CLAUSES

matrix = pytest.importorskip("assay.tools.matrix", reason="the matrix is made in the repository and not installed")
matrix_text = pytest.importorskip("assay.tools.matrix_text")

ROOT = Path(__file__).resolve().parents[2]
# What an adapter may import at its top besides the library that it is named after.
SHARED = ("__future__", "assay", "numpy", "ml_dtypes")
LIBRARIES = {
    "equinox": ("equinox", "jax"),
    "flax": ("flax", "jax"),
    "liger": ("liger_kernel", "torch"),
    "mnn": ("MNN",),
    "onnx-reference": ("onnx",),
    "opencv": ("cv2",),
    "triton": ("triton", "torch"),
}


def path_of(adapter: str) -> Path:
    return ROOT / (ADAPTERS[adapter].removeprefix("assay.").replace(".", "/") + ".py")


def tree_of(adapter: str) -> ast.Module:
    return ast.parse(path_of(adapter).read_text(encoding="utf-8"))


def imports_of(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


def bound_by(tree: ast.Module) -> set[str]:
    """The names that a module binds at its top."""
    found = set()
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef):
            found.add(statement.name)
        elif isinstance(statement, ast.Assign):
            targets = [name for target in statement.targets for name in ast.walk(target)]
            found |= {name.id for name in targets if isinstance(name, ast.Name)}
        elif isinstance(statement, ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in statement.names}
    return found


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_imports_its_own_library_and_numpy_alone(adapter):
    own = LIBRARIES.get(adapter, (adapter.split("-")[0],))
    strange = {name for name in imports_of(tree_of(adapter)) if name not in (*SHARED, *own, *sys.stdlib_module_names)}
    assert not strange


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_has_an_operator_and_its_librarys_version(adapter):
    bound = bound_by(tree_of(adapter))
    assert "version" in bound
    assert bound & {*OPERATOR_NAMES, "*"}


@pytest.mark.parametrize(
    "adapter", [each for each in ADAPTERS if each.split("-")[0] not in ("torch", "triton", "liger")]
)
def test_an_adapter_of_another_library_says_what_it_has_and_how_it_differentiates(adapter):
    bound = bound_by(tree_of(adapter))
    assert {"array", "devices", "dtypes"} <= bound
    assert "vjp" in bound or "gradients" in bound


def test_numpy_has_bfloat16_where_ml_dtypes_is_installed():
    pytest.importorskip("ml_dtypes")
    assert str(NumpyArrays.dtypes["bfloat16"]) == "bfloat16"


IN_TORCHSCRIPT = """
import torch

@torch.jit.script
def product(x: torch.Tensor) -> torch.Tensor:
    return x * torch.sigmoid(x) + 0.0 * x

def swish(x, beta=None):
    return product(x)
"""


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_a_kernel_in_torchscript_may_be_made_again_from_a_checkpoint(tmp_path):
    """What stops a checkpoint early is an exception, which an interpreter of its own makes an error of."""
    (tmp_path / "scripted.py").write_text(IN_TORCHSCRIPT)
    x = Argument(np.ones(2))
    asked = Call("swish", {"x": x}, "float32", "cpu", x, ("x",), checkpointed=True)
    assert not observe(load(str(tmp_path / "scripted.py")), asked).fault


def test_who_was_not_judged_here_keeps_the_row_that_the_table_has(tmp_path, monkeypatch):
    monkeypatch.setattr(matrix, "KEPT", tmp_path)
    monkeypatch.setattr(matrix, "DATA", tmp_path / "matrix.json")
    first, second = matrix.ENTRANTS[0].adapter, matrix.ENTRANTS[1].adapter
    matrix.DATA.write_text(json.dumps([{"adapter": first, "extra": "", "problem": "as it was"}]))
    (tmp_path / f"{second}.json").write_text(json.dumps(RUN | {"adapter": second}))
    found = matrix.rows()
    assert (found[0]["problem"], found[1]["adapter"]) == ("as it was", second)
    assert found[1]["deviations"] and found[2]["problem"].startswith("not judged yet")


@pytest.mark.parametrize(("found", "words"), [({"verdict": "fails"}, "kept"), (matrix.NotRun("offline"), "offline")])
def test_a_verdict_is_kept_and_an_install_that_failed_is_tried_again(tmp_path, monkeypatch, found, words):
    def check(*_):
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(matrix, "KEPT", tmp_path)
    monkeypatch.setattr(matrix, "_check", check)
    monkeypatch.setattr(matrix, "_environment", lambda extra: None)
    matrix.judged(matrix.ENTRANTS[0], "quick")
    assert matrix.judged(matrix.ENTRANTS[0], "quick") == words


def test_a_verdict_hangs_on_what_adapters_share(tmp_path, monkeypatch):
    (tmp_path / "implementations").mkdir()
    for file in (
        "pyproject.toml",
        *(f"implementations/{each.name}" for each in (ROOT / "implementations").glob("*.py")),
    ):
        (tmp_path / file).write_bytes((ROOT / file).read_bytes())
    monkeypatch.setattr(matrix, "ROOT", tmp_path)
    before = {each.adapter: matrix._key(each, "quick") for each in matrix.ENTRANTS}
    with (tmp_path / "implementations" / "onnx_models.py").open("a") as shared:
        shared.write("# another\n")
    assert all(matrix._key(each, "quick") != before[each.adapter] for each in matrix.ENTRANTS)


def test_every_adapter_is_in_the_matrix_and_its_extra_in_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {each.adapter for each in matrix.ENTRANTS} | {"torch-tf32"} == set(ADAPTERS)  # TF32 is of a GPU
    assert {each.extra for each in matrix.ENTRANTS if each.extra} <= set(project["optional-dependencies"])


def test_every_judgement_names_clauses_and_candidates_that_exist():
    for cause in tomllib.loads(matrix.JUDGEMENTS.read_text(encoding="utf-8"))["cause"]:
        assert set(cause["candidates"]) <= set(ADAPTERS), cause["title"]
        assert set(cause["clauses"]) <= set(CLAUSES), cause["title"]
        assert cause["judgement"] in ("bug", "documented difference", "unspecified"), cause["title"]


# --- the page, from a run as `assay check --json` writes it

FAILURE = {
    "clause": "max_pool2d.nan",
    "candidate": "some.max_pool2d",
    "dtype": "float32",
    "law": "test_max_pool2d_gives_nan_wherever_in_the_window_it_is",
    "what": "the result is another number, where only one is right",
    "input": ["input (1, 1, 1, 2): zeros, but input[0, 0, 0, 0] = nan", "kernel_size = (1, 2)"],
    "subject": "result",
    "index": [0, 0, 0, 0],
    "got": 0.0,
    "permitted": [math.nan, math.nan],
    "exact": math.nan,
    "margin": math.inf,
    "hint": "",
}
RUN = {
    "adapter": "some",
    "extra": "some",
    "verdict": "fails",
    "seconds": 1.0,
    "declared_precision": {"swish.forward.float32": "flush"},
    "errors": [],
    "settings": {
        "version": "some 1.0",
        "budget": "quick",
        "profile": "torch",
        "dtypes": ["float32"],
        "provides": ["linear", "max_pool2d", "swish"],
    },
    "rows": [
        {"operator": "swish", "tier": "exact", "verdict": "conforms", "examples": 9, "compared": 9, "margin": 0.25},
        {"operator": "max_pool2d", "tier": "special", "verdict": "fails", "examples": 9, "compared": 9, "margin": 0.0},
        {"operator": "linear", "tier": "exact", "verdict": "not provided", "examples": 0, "compared": 0, "margin": 0.0},
    ],
    "laws": [{"verdict": "cannot judge", "reason": "no bound is known"}],
    "failures": [FAILURE, {**FAILURE, "dtype": "float64", "input": ["a longer input than the other, " * 9]}],
}
CAUSE = {
    "title": "NaN is lost",
    "judgement": "bug",
    "candidates": ["some"],
    "clauses": ["max_pool2d.nan"],
    "why": "Because.",
    "snippet": "pool(nan)",
}


def page(**judgements):
    runs = [RUN, {"adapter": "other", "extra": "other", "problem": "ERROR: no wheel | for this"}]
    return matrix_text.page(matrix_text.condensed(runs), {"cause": [], **judgements})


def test_the_page_shows_each_operator_of_each_candidate():
    assert "| [some](#some) | some 1.0 | ok 0.25* | not asked | - | - | - | - | **1** | quick |" in page()
    assert "| swish | ok 0.25 |" in page()
    assert "Cannot judge: no bound is known" in page()


def test_a_deviation_without_a_judgement_says_so_and_one_with_it_names_the_cause():
    row = "| max_pool2d.nan | max_pool2d | float32, float64 |"
    assert row in page() and "| not yet judged |" in page() and "1 of them not yet judged" in page()
    judged = page(cause=[CAUSE])
    assert row in judged and "| bug: NaN is lost |" in judged and "0 of them not yet judged" in judged
    assert "```python\npool(nan)\n```" in judged


def test_a_judgement_of_other_operators_or_dtypes_is_not_taken():
    assert "0 of them not yet judged" in page(cause=[{**CAUSE, "operators": ["max_pool2d"], "dtypes": ["float64"]}])
    assert "1 of them not yet judged" in page(cause=[{**CAUSE, "operators": ["swish"]}])
    assert "1 of them not yet judged" in page(cause=[{**CAUSE, "dtypes": ["float16"]}])


def test_a_deviation_of_two_causes_names_both():
    assert "| bug: NaN is lost; bug: Both |" in page(cause=[CAUSE, {**CAUSE, "title": "Both"}])


def test_of_several_failures_the_smallest_input_is_shown():
    assert "zeros, but input[0, 0, 0, 0] = nan; kernel_size = (1, 2)" in page()
    assert "a longer input" not in page()


def test_who_did_not_run_is_left_out_with_the_reason_and_stops_nobody():
    assert "| other | ERROR: no wheel \\| for this |" in page()


def test_what_is_kept_is_json_without_nan():
    assert json.loads(json.dumps(matrix_text.condensed([RUN]), allow_nan=False))[0]["deviations"][0]["margin"] == "inf"
