"""Runs that are kept: pytest-benchmark's own files, with what assay adds to them, and what makes two comparable.

A file is pytest-benchmark's JSON: the candidate's times are its `stats.data`, and under `extra_info` stand the
baseline's, the ratio and the rest. What the run was made on stands in `machine_info`, under `assay`.
"""

from __future__ import annotations

import json
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.implementations.contract import Implementation
from assay.tests.benchmarks.blocks import Times
from assay.tests.trial.run import UsageProblem

SCHEMA = 1
KEY = "assay"
FOLDER = Path(".benchmarks")
# What has to be the same, for two runs' ratios to be comparable, and why.
SAME = {
    "device": "another device has other ratios",
    "processor": "another machine has other ratios",
    "cores": "another machine has other ratios",
    "threads": "ratios depend on the number of threads",
    "baseline": "the ratio is taken against the baseline, which has to be the same",
    "baseline_version": "the ratio is taken against the baseline, which has to be the same",
}


@dataclass(frozen=True)
class Saved:
    """A kept run: what it was made on, and the times by case."""

    path: Path
    machine: dict[str, Any]
    times: dict[str, Times]

    def differences(self, machine: dict[str, Any]) -> list[str]:
        """Why it cannot be compared with a run on ``machine``, in words; nothing if it can."""
        return [
            f"{key} was {self.machine.get(key)!r} and is {machine.get(key)!r}: {why}"
            for key, why in SAME.items()
            if self.machine.get(key) != machine.get(key)
        ]

    def changed(self, machine: dict[str, Any]) -> list[str]:
        """What else is not as it was: what a comparison may well be about."""
        others = sorted((self.machine.keys() | machine.keys()) - SAME.keys() - {"schema"})
        pairs = ((key, self.machine.get(key), machine.get(key)) for key in others)
        return [f"{key} {then} -> {now}" for key, then, now in pairs if then != now]


def machine_of(candidate: Implementation, baseline: Implementation, device: str) -> dict[str, Any]:
    """Everything that a ratio may depend on."""
    import numpy
    import torch

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu"
    return {
        "schema": SCHEMA,
        "device": name,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "candidate": candidate.name,
        "candidate_version": candidate.version,
        "baseline": baseline.name,
        "baseline_version": baseline.version,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "cuda": torch.version.cuda,
    }


def _processor() -> str:
    """The processor's name, by the kernel or by Python."""
    listed = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", listed.read_text()) if listed.is_file() else None
    return found[1].strip() if found else platform.processor() or platform.machine()


def check_name(name: str) -> str:
    """A name for a run to be kept under.

    Raises:
        UsageProblem: it would not make a file's name.
    """
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        raise UsageProblem(f"--save {name!r}: allowed are letters, digits and . _ -, for example --save main")
    return name


def find(name: str, folder: Path = FOLDER) -> Path:
    """The newest run of this name in the folder, or the file itself.

    Raises:
        UsageProblem: there is none.
    """
    if Path(name).is_file():
        return Path(name)
    files = {path: re.fullmatch(r"(\d+)_(.+)\.json", path.name) for path in sorted(folder.glob("**/*.json"))}
    named = {path: int(found[1]) for path, found in files.items() if found and found[2] == name}
    if not named:
        known = sorted({found[2] for found in files.values() if found})
        has = f"; it has {', '.join(known)}" if known else ", which has none"
        raise UsageProblem(f"--compare {name}: no such run in {folder}{has}; `assay bench ... --save {name}` makes one")
    return max(named, key=lambda path: (named[path], path))


def load(name: str, folder: Path = FOLDER) -> Saved:
    """A kept run.

    Raises:
        UsageProblem: it is missing, cut off, not one of assay's, or of another schema.
    """
    path = find(name, folder)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise UsageProblem(f"{path} cannot be read: {problem}; it may be cut off: save the run again") from None
    machine = _in(_in(data, "machine_info"), KEY)
    if not isinstance(machine, dict) or machine.get("schema") != SCHEMA:
        has = machine.get("schema") if isinstance(machine, dict) else "none"
        raise UsageProblem(f"{path} has schema {has}, this assay reads {SCHEMA}: save the run again with this assay")
    try:
        times = {b["extra_info"]["case"]: _times(b) for b in data["benchmarks"]}
    except (KeyError, TypeError, ValueError) as problem:
        raise UsageProblem(f"{path} is not whole ({type(problem).__name__}: {problem}): save the run again") from None
    return Saved(path, machine, times)


def _times(kept: dict[str, Any]) -> Times:
    found = Times([float(t) for t in kept["stats"]["data"]], [float(t) for t in kept["extra_info"]["baseline_seconds"]])
    if len(found.candidate) != len(found.baseline) or not found.rounds:
        raise ValueError(f"{len(found.candidate)} times of the candidate, {len(found.baseline)} of the baseline")
    return found


def _in(data: Any, key: str) -> Any:
    return data.get(key) if isinstance(data, dict) else None
