"""Judge every adapter on its own library, each in an environment of its own, and write docs/matrix.json and .md.

    python tools/matrix.py [--budget quick|gate|deep] [--only NAME] [--render]

An environment is made from the extra of the same name in pyproject.toml, pinned by constraints-matrix.txt. A run that
was made before, of the same adapters under the same pins, is kept; a library that does not install, or does not load,
stops nobody else, and is tried again; the exit code is 1 if it was asked for by name. Who was never judged on this
machine keeps the row that docs/matrix.json has.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.tools import matrix_text

ROOT = Path(__file__).resolve().parents[1]
KEPT, ENVIRONMENTS = ROOT / ".assay" / "matrix", ROOT / ".venvs"
PINS, DATA, PAGE = ROOT / "constraints-matrix.txt", ROOT / "docs" / "matrix.json", ROOT / "docs" / "matrix.md"
JUDGEMENTS = ROOT / "docs" / "matrix-judgements.toml"
HERE = ""  # the environment that assay itself has


@dataclass(frozen=True)
class Entrant:
    """An adapter, the extra that it needs, and what its run is given besides."""

    adapter: str
    extra: str = HERE
    options: tuple[str, ...] = ()


# What compiles for each new shape keeps a lot in memory, and takes its time: not every dtype is asked of it.
LARGE = ("--memory-limit", "16")
ONE, FEW = ("--dtype", "float32"), ("--dtype", "float32", "--dtype", "bfloat16")
COMPILED = ("--op", "swish", "--dtype", "float32", "--time-limit", "300")
ENTRANTS = (
    Entrant("torch"),
    Entrant("torch-channels-last"),
    Entrant("torch-without-onednn"),
    Entrant("torch-compiled", HERE, (*LARGE, *COMPILED)),
    Entrant("equinox", "jax", (*LARGE, *FEW)),
    Entrant("flax", "jax", (*LARGE, *ONE, "--op", "swish", "--op", "max_pool2d")),
    Entrant("jax", "jax", (*LARGE, *ONE)),
    Entrant("liger", "triton"),
    Entrant("mlx", "mlx"),
    Entrant("mnn", "mnn"),
    Entrant("ncnn", "ncnn"),
    Entrant("onnx-reference", "onnxruntime"),
    Entrant("onnxruntime", "onnxruntime"),
    Entrant("opencv", "opencv"),
    Entrant("openvino", "openvino"),
    Entrant("paddle", "paddle"),
    Entrant("scipy", "scipy"),
    Entrant("tensorflow", "tensorflow", LARGE),
    Entrant("tinygrad", "tinygrad", ONE),
    Entrant("tract", "tract"),
    Entrant("triton", "triton"),
    Entrant("tvm", "tvm", (*ONE, "--op", "swish", "--op", "max_pool2d")),
)


class NotRun(Exception):
    """Why there is no verdict; the text is the last thing that was said."""


def main() -> int:
    """Judge what has not been judged, then write the table."""
    words = _parser().parse_args()
    chosen = [each for each in ENTRANTS if not words.only or each.adapter in words.only]
    if not words.render:
        for entrant in chosen:
            print(f"{entrant.adapter:<22}{judged(entrant, words.budget)}", flush=True)
    found = rows()
    DATA.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(matrix_text.page(json.loads(DATA.read_text()), _judgements()), encoding="utf-8")
    unjudged = {row["adapter"] for row in found if "problem" in row}
    return 1 if unjudged & set(words.only or ()) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Judge every adapter on its own library.")
    parser.add_argument("--budget", default="gate", choices=("quick", "gate", "deep"), help="how hard (default gate)")
    names = [each.adapter for each in ENTRANTS]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help="this adapter only (repeatable)")
    parser.add_argument("--render", action="store_true", help="run nothing; write the table from what is kept")
    return parser


def _judgements() -> dict[str, Any]:
    return tomllib.loads(JUDGEMENTS.read_text(encoding="utf-8"))


def judged(entrant: Entrant, budget: str) -> str:
    """The verdict of one candidate, in a word, from an earlier run if nothing has changed."""
    path, key = _record(entrant), _key(entrant, budget)
    kept = json.loads(path.read_text()) if path.is_file() else {}
    if kept.get("key") == key and "problem" not in kept:
        return "kept"
    try:
        found = _check(entrant, _environment(entrant.extra), budget)
    except NotRun as problem:
        found = {"problem": str(problem)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"adapter": entrant.adapter, "extra": entrant.extra, "key": key, **found}))
    return str(found.get("verdict") or found["problem"])


def rows() -> list[dict[str, Any]]:
    """Every candidate's last run on this machine; of who had none here, what the table has already."""
    written = {row["adapter"]: row for row in json.loads(DATA.read_text())} if DATA.is_file() else {}
    return [_row(entrant, written) for entrant in ENTRANTS]


def _row(entrant: Entrant, written: dict[str, Any]) -> dict[str, Any]:
    if _record(entrant).is_file():
        return matrix_text.condensed([json.loads(_record(entrant).read_text())])[0]
    unseen = f"not judged yet: make matrix ARGS='--only {entrant.adapter}'"
    return dict(written.get(entrant.adapter, {"adapter": entrant.adapter, "extra": entrant.extra, "problem": unseen}))


def _record(entrant: Entrant) -> Path:
    return KEPT / f"{entrant.adapter}.json"


def _key(entrant: Entrant, budget: str) -> str:
    """What a verdict depends on, besides the laws and the formulas: delete .assay/matrix when those have changed."""
    code = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "implementations").glob("*.py"))]
    parts = (repr(entrant), budget, *code, *_requirements(entrant.extra))
    return hashlib.sha256("\n".join((*parts, PINS.read_text(encoding="utf-8"))).encode()).hexdigest()


def _requirements(extra: str) -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return list(project["optional-dependencies"][extra]) if extra else []


def _environment(extra: str) -> Path:
    """The interpreter of an environment that has what the extra asks for.

    Raises:
        NotRun: it cannot be installed.
    """
    if not extra:
        return Path(sys.executable)
    folder = ENVIRONMENTS / extra
    python, stamp, wanted = folder / "bin" / "python", folder / ".ready", "\n".join(_requirements(extra))
    if not (stamp.is_file() and stamp.read_text() == wanted + PINS.read_text()):
        _run(sys.executable, "-m", "venv", str(folder))
        _run(str(python), "-m", "pip", "install", "--quiet", "-c", str(PINS), *_requirements(extra))
        stamp.write_text(wanted + PINS.read_text())
    return python


def _check(entrant: Entrant, python: Path, budget: str) -> dict[str, Any]:
    result = KEPT / f"{entrant.adapter}.run.json"
    result.parent.mkdir(parents=True, exist_ok=True)
    result.unlink(missing_ok=True)
    where = ("--python", str(python), *entrant.options, "--budget", budget, "--json", str(result))
    said = _run(sys.executable, "-m", "assay.cli", "check", entrant.adapter, *where, failing=True)
    if not (result.is_file() and result.stat().st_size):
        raise NotRun(said)
    return dict(json.loads(result.read_text()))


def _run(*command: str, failing: bool = False) -> str:
    """Run a command; returns what it said of its failure: its lines with ERROR, or else its last one.

    Raises:
        NotRun: it failed, and that is no verdict.
    """
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines() or [""]
    said = " ".join([line for line in lines if "ERROR" in line] or lines[-1:])
    if done.returncode and not failing:
        raise NotRun(said)
    return said


if __name__ == "__main__":
    raise SystemExit(main())
