"""Does the gate cry wolf, does it see? `python -m assay.tests.benchmarks.proof` prints docs/benchmarking.md's table.

PyTorch is timed against itself, again and again, as it is and with a planted delay of 5, 10 and 20 % of a call's time.
Each run is held against a run without delay that was made just before it. pytest-benchmark's own comparison
(`--benchmark-compare-fail=median:5%`) reads the very same times. With --load a second process computes all the while.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import subprocess
import sys
import types
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from pytest_benchmark.stats import Stats
from pytest_benchmark.utils import parse_compare_fail
from rich.console import Console

from assay.implementations.contract import Implementation
from assay.implementations.load import load
from assay.spec import OPERATORS
from assay.tests.benchmarks import clock
from assay.tests.benchmarks.blocks import Times, confidence, fewest, interval, moved
from assay.tests.benchmarks.cases import Timed, chosen
from assay.tests.benchmarks.paired import Match

DELAYS = (0.0, 5.0, 10.0, 20.0)  # percent
LIMITS = (0.02, 0.05)
LOAD = "import torch\ntorch.set_num_threads(1)\na = torch.randn(512, 512)\nwhile True: a @ a"


class Rounds:
    """pytest-benchmark's `pedantic`, outside of pytest: hundreds of runs in one process."""

    def __init__(self) -> None:
        self.stats = types.SimpleNamespace(stats=Stats())

    def pedantic(self, target: Any, setup: Any, teardown: Any, rounds: int) -> None:
        for _ in range(rounds):
            arguments, named = setup()
            start = clock.NOW()
            target(*arguments, **named)
            end = clock.NOW()
            self.stats.stats.update(end - start)
            teardown(*arguments, **named)


def delayed(implementation: Implementation, operator: str, seconds: float) -> Implementation:
    """The same, but that each call of the operator takes so much longer."""
    call = implementation.operators[operator]

    def slow(*given: Any) -> Any:
        result = call(*given)
        end = clock.NOW() + seconds
        while clock.NOW() < end:
            pass
        return result

    return dataclasses.replace(implementation, operators={operator: slow}) if seconds else implementation


def once(timed: Timed, candidate: Implementation, baseline: Implementation, rounds: int) -> Times:
    """One run of a case."""
    match = Match(timed, candidate, baseline, "cpu")
    match.begin()
    return match.measure(Rounds(), rounds)


def fired(now: Times, then: Times, level: float) -> Iterator[str]:
    """The gates that fire, and what assay says where it cannot tell."""
    move = moved(now, then, level)
    for limit in LIMITS:
        found = move.excludes(1 + limit)
        if found > 0:
            yield f"assay {limit:.0%}"
        elif not found:
            yield f"assay {limit:.0%} cannot tell"
        stats = [Stats(), Stats()]
        stats[0].data, stats[1].data = list(now.candidate), list(then.candidate)
        check = parse_compare_fail(f"median:{limit:.0%}")
        if check.fails({"median": stats[0].median}, {"median": stats[1].median}):
            yield f"median:{limit:.0%}"


@contextlib.contextmanager
def loaded(wanted: bool) -> Iterator[None]:
    """A second process that multiplies matrices meanwhile."""
    other = subprocess.Popen([sys.executable, "-c", LOAD]) if wanted else None
    try:
        yield
    finally:
        if other is not None:
            other.kill()
            other.wait()


def proof(timed: Timed, delays: Sequence[float], runs: int, rounds: int, console: Console) -> None:
    """One case: ``runs`` pairs of runs for each delay, in percent of a call's time."""
    torch = load("torch")
    level = confidence(5)  # as in a run of the quick set
    typical, _ = once(timed, torch, torch, rounds).typical()
    for delay in delays:
        slow = delayed(torch, timed.layer.operator, delay / 100.0 * typical)
        found: Counter[str] = Counter()
        widths = []
        for _ in range(runs):
            then, now = once(timed, torch, torch, rounds), once(timed, slow, torch, rounds)
            found.update(fired(now, then, level))
            widths.append(interval(now, level).visible)
        cells = []
        for limit in LIMITS:
            unknown = found[f"assay {limit:.0%} cannot tell"]
            cells += [f"{found[f'assay {limit:.0%}']} ({unknown})", str(found[f"median:{limit:.0%}"])]
        sees = f"{sorted(widths)[len(widths) // 2]:.1%}"
        console.print("| " + " | ".join((timed.layer.id, f"{delay:g}%", str(runs), *cells, sees)) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--case", action="append", help="cases of the quick set whose names hold this (repeatable)")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=fewest(confidence(5)))
    parser.add_argument("--delay", type=float, action="append", help="in percent (repeatable; default 0, 5, 10, 20)")
    parser.add_argument("--load", action="store_true", help="a second process computes meanwhile")
    words = parser.parse_args()
    head = [f"{who} {limit:.0%} fires" for limit in LIMITS for who in ("assay", "median")]
    console = Console(width=120, highlight=False)
    console.print("| " + " | ".join(("case", "slower by", "runs", *head, "sees")) + " |\n" + "|---" * 8 + "|")
    with loaded(words.load):
        for timed in chosen("quick", "cpu", tuple(OPERATORS), ("float32",)):
            if not words.case or any(part in timed.id for part in words.case):
                proof(timed, words.delay or DELAYS, words.runs, words.rounds, console)


if __name__ == "__main__":
    main()
