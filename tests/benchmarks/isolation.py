"""What a process of its own costs a call: the same calls in the judge's process and in a worker, in turn.

python -m assay.tests.benchmarks.isolation
"""

from __future__ import annotations

import statistics
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from assay.implementations.arrays import Argument
from assay.implementations.contract import Implementation
from assay.implementations.isolated import Place, started
from assay.implementations.load import load
from assay.implementations.observe import Call, observe

SHAPES = ((2, 3), (16, 64), (256, 256), (1024, 1024))
ROUNDS = 31


def seconds(implementation: Implementation, call: Call, times: int) -> float:
    """Of one call, on the average of some."""
    start = time.perf_counter()
    for _ in range(times):
        observe(implementation, call)
    return (time.perf_counter() - start) / times


def row(here: Implementation, there: Implementation, shape: tuple[int, ...]) -> list[str]:
    """The medians in microseconds, and the median difference."""
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32).astype(np.float64)
    call = Call("swish", {"x": Argument(values), "beta": None}, "float32", "cpu")
    times = 200 if values.size < 2000 else 5
    pairs = [(seconds(here, call, times), seconds(there, call, times)) for _ in range(ROUNDS)]
    plain, isolated = (statistics.median(each) for each in zip(*pairs, strict=True))
    cost = statistics.median(b - a for a, b in pairs)
    return [str(shape), *(f"{1e6 * each:.0f}" for each in (plain, isolated, cost))]


def main() -> None:
    """Print the table."""
    here, there = load("torch"), started("torch", Place())
    table = Table("tensor", "in the judge's process, µs", "in its own, µs", "cost, µs")
    for shape in SHAPES:
        table.add_row(*row(here, there, shape))
    Console().print(table)
    there.worker.close()


if __name__ == "__main__":
    main()
