"""What laws cost. A fault shows soonest where the cheapest law is asked first, and the dearest last.

`costs.json` has the seconds that a law took of PyTorch at quick, the mean of its operators and dtypes; `python -m
assay.tests.trial.costs RUN.json` makes it of what `assay check torch --json RUN.json` wrote.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay.tests.trial.laws import Law, all_laws

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


def main() -> None:
    """Keep what a run has measured; laws that it left out keep what they have."""
    parser = argparse.ArgumentParser(description="Keep what laws cost.")
    parser.add_argument("run", type=Path, help="what `make check ARGS='--json RUN.json'` wrote")
    run = json.loads(parser.parse_args().run.read_text(encoding="utf-8"))
    names = {law.name for law in all_laws()}
    kept = {law: seconds for law, seconds in (costs() | measured(run)).items() if law in names}
    FILE.write_text(json.dumps(dict(sorted(kept.items())), indent=0) + "\n")


if __name__ == "__main__":
    main()
