"""What the oracle costs: `python -m assay.tests.benchmarks.oracle` prints the tables of docs/performance.md.

Times compare two things in one run: the oracle's own sum of products beside `math.fsum(map(mul, xs, ws))`, and the
judging of one production-size result beside a small one.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from operator import mul

import numpy as np
from rich.console import Console
from rich.table import Table

from assay.implementations.load import load
from assay.reference.arithmetic.enclosure import Enclosure
from assay.reference.arithmetic.formats import STORAGE
from assay.reference.arithmetic.precision import Precision
from assay.reference.linear import linear_element
from assay.reference.tensor import Tensor
from assay.spec import OPERATORS
from assay.tests.trial import judge
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.cases import Case
from assay.tests.trial.textures import Texture, rounded

ROUNDS = 31


def paired(first: Callable[[], object], second: Callable[[], object], calls: int) -> tuple[float, float, float]:
    """Median seconds a call of both, taken in turn, and the median of the ratios pair by pair."""
    pairs = [(_time(first, calls), _time(second, calls)) for _ in range(ROUNDS)]
    ratios = [b / a for a, b in pairs]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs), statistics.median(ratios)


def _time(function: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def multiply_adds(console: Console) -> None:
    """Nanoseconds a multiply-add, in each storage format, for short and long sums."""
    table = Table("dtype", "terms", "fsum, ns", "oracle, ns", "ratio", title="the oracle's sum of products")
    for name, fmt in STORAGE.items():
        for terms in (27, 256, 4096):
            values = rounded(np.random.default_rng(terms).standard_normal(2 * terms), fmt).tolist()
            xs, ws = values[:terms], values[terms:]
            enclosure = Enclosure(Precision.strict(fmt))
            x, w = (Tensor(part, (1, terms), enclosure) for part in (xs, ws))
            plain, oracle, ratio = paired(
                lambda xs=xs, ws=ws: math.fsum(map(mul, xs, ws)),
                lambda x=x, w=w: linear_element((0, 0), x, w),
                calls=max(1, 8192 // terms),
            )
            table.add_row(name, str(terms), f"{plain / terms * 1e9:.0f}", f"{oracle / terms * 1e9:.0f}", f"{ratio:.2f}")
    console.print(table)


PRODUCTION = {
    "SwiGLU 4096 -> 11008, 16 rows, bfloat16": (
        "swiglu",
        {"x": (16, 4096), "w": (11008, 4096), "v": (11008, 4096)},
        {},
        "bfloat16",
    ),
    "the same, 4096 -> 16": ("swiglu", {"x": (16, 4096), "w": (16, 4096), "v": (16, 4096)}, {}, "bfloat16"),
    "conv 64 -> 64, 3 x 3, 56 x 56, batch 8, float32": (
        "conv2d",
        {"input": (8, 64, 56, 56), "weight": (64, 64, 3, 3), "bias": (64,)},
        {"stride": 1, "padding": 1},
        "float32",
    ),
    "the same, 8 x 8, batch 1": (
        "conv2d",
        {"input": (1, 64, 8, 8), "weight": (64, 64, 3, 3), "bias": (64,)},
        {"stride": 1, "padding": 1},
        "float32",
    ),
}


def production(console: Console) -> None:
    """Seconds of the oracle on a production-size result and on a small one with sums of the same length."""
    table = Table("case", "elements", "judged", "torch, s", "oracle, s", "margin", title="judged on sampled elements")
    for words, (operator, shapes, parameters, dtype) in PRODUCTION.items():
        textures = {name: Texture("normal", seed) for seed, name in enumerate(shapes)}
        case = Case(operator, shapes, textures, parameters)
        candidate = Candidate(load("torch"), dtype)
        seen = candidate.ask(case)
        candidate.ask = lambda case, seen=seen: seen  # type: ignore[method-assign]  # only the oracle is timed
        start = time.perf_counter()
        judge.conforms(candidate, case)
        seconds = time.perf_counter() - start
        judged = f"{candidate.tally.compared}"
        numbers = (f"{math.prod(case.result_shape)}", judged, f"{seen.seconds:.3f}", f"{seconds:.3f}")
        table.add_row(words, *numbers, f"{candidate.tally.margin:.3f}")
        operations, moved = OPERATORS[operator].cost(shapes, parameters, itemsize=2 if dtype == "bfloat16" else 4)
        table.add_row(f"  {operations / 1e9:.2f} G operations, at least {moved / 1e6:.1f} MB", style="dim")
    console.print(table)


if __name__ == "__main__":
    multiply_adds(Console())
    production(Console())
