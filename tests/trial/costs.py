"""What laws cost. A fault shows soonest where the cheapest law is asked first, and the dearest last.

`costs.json` has the seconds that a law took of PyTorch at quick, the mean of its operators and dtypes; `python -m
assay.tests.trial.costs RUN.json` makes it of what `assay check torch --json RUN.json` wrote.
"""

from __future__ import annotations

import functools
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay.tests.trial.laws import Law

FILE = Path(__file__).with_suffix(".json")


@functools.cache
def costs() -> dict[str, float]:
    """Seconds, by the law's name."""
    found: dict[str, float] = json.loads(FILE.read_text())
    return found


def cost(law: Law) -> float:
    """Seconds; of a law that was not timed, as a usual one."""
    return costs().get(law.name, _usual())


@functools.cache
def _usual() -> float:
    return statistics.median(costs().values())


def measured(run: Mapping[str, Any]) -> dict[str, float]:
    """What laws cost in a run, as `--json` writes it."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for entry in run["laws"]:
        seconds[entry["law"]].append(entry["seconds"])
    return {law: float(f"{statistics.mean(each):.2g}") for law, each in sorted(seconds.items())}


if __name__ == "__main__":
    FILE.write_text(json.dumps(measured(json.loads(Path(sys.argv[1]).read_text())), indent=0) + "\n")
