"""How time grows with size: of the candidate, of the baseline, and of assay's own check of sampled elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from assay.implementations.isolated import Place
from assay.implementations.load import load
from assay.reference.arithmetic.precision import Refusal
from assay.tests.benchmarks import clock
from assay.tests.benchmarks.answers import Wrong
from assay.tests.benchmarks.cases import Layer, Timed
from assay.tests.benchmarks.paired import Match
from assay.tests.trial.run import make_run
from assay.tests.trial.usage import UsageProblem, writable

SIDES = (16, 32, 64, 128, 256)
WIDTHS = (64, 128, 256, 512, 1024)
CALLS = 25
JUDGED = 8  # elements
FORMATS = (".png", ".svg")


def _image(kind: str, side: int) -> Layer:
    if kind == "max_pool2d":
        return Layer("", kind, "", {"input": (1, 16, side, side)}, {"kernel_size": 2})
    shapes = {"input": (1, 3, side, side), "weight": (64, 3, 3, 3), "bias": (64,)}
    return Layer("", kind, "", shapes, {"stride": 1, "padding": 1})


def _gate(kind: str, width: int) -> Layer:
    return Layer("", kind, "", {"x": (16, width), "w": (width, width), "v": (width, width)})


# What grows, by operator: the axis's name, the sizes, and the layer of a size.
GROWING: dict[str, tuple[str, Sequence[int], Callable[[int], Layer]]] = {
    "swish": ("elements", (2**12, 2**14, 2**16, 2**18, 2**20), lambda n: Layer("", "swish", "", {"x": (n,)})),
    "linear": (
        "features = outputs, 16 tokens",
        WIDTHS,
        lambda n: Layer("", "linear", "", {"x": (16, n), "w": (n, n)}),
    ),
    "glu": ("features = outputs, 16 tokens", WIDTHS, lambda n: _gate("glu", n)),
    "swiglu": ("features = outputs, 16 tokens", WIDTHS, lambda n: _gate("swiglu", n)),
    "pad2d": (
        "rows = columns, 16 channels, by 1",
        SIDES,
        lambda n: Layer("", "pad2d", "", {"x": (1, 16, n, n)}, {"padding": 1}),
    ),
    "conv2d": ("rows = columns, 3 -> 64, 3x3", SIDES, lambda n: _image("conv2d", n)),
    "max_pool2d": ("rows = columns, 16 channels, 2x2", SIDES, lambda n: _image("max_pool2d", n)),
}

# Words of `assay bench` that are about its cases, and what they are where nobody gives them.
OF_CASES: dict[str, tuple[str, Any]] = {"--set": ("set", "quick"), "--case": ("case", "")}
OF_CASES |= {f"--{word}": (word, None) for word in ("seconds", "rounds", "save", "compare")}
OF_CASES |= {"--max-regression": ("max_regression", None), "words after --": ("pytest", [])}


def run(words: Any, console: Console) -> int:
    """Time every operator at every size, draw the picture, and print the exponents. The exit code is `assay bench`'s.

    Raises:
        UsageProblem: the file is no picture or cannot be written, or there is nothing to time.
    """
    path = _picture(words.growth)
    if given := [option for option, (key, usual) in OF_CASES.items() if getattr(words, key) != usual]:
        raise UsageProblem(f"--growth times sizes of its own, and heeds no {', '.join(given)}: leave them away")
    baseline = load(words.against)
    asked = make_run(words.implementation, words.op, words.dtype, words.device, place=Place(in_process=True))
    pair = (asked.implementation, baseline)
    names = [name for name in asked.operators if name in GROWING and all(name in one.operators for one in pair)]
    if not names:
        raise UsageProblem(f"--growth: nothing to time; operators with sizes are {', '.join(GROWING)}")
    dtype = "float32" if "float32" in asked.dtypes else asked.dtypes[0]
    try:
        found = {name: [_point(name, size, dtype, pair, words.device) for size in GROWING[name][1]] for name in names}
    except (Wrong, Refusal) as problem:
        console.print(f"{words.implementation}: {problem}", highlight=False, markup=False)
        return 1 if isinstance(problem, Wrong) else 3
    lines = (pair[0].name, f"{pair[1].name} (baseline)", "assay's check")
    _draw(found, lines, path)
    table = Table("operator", *(f"{line}: time ~ size^" for line in lines), box=None, pad_edge=False)
    for name, points in found.items():
        table.add_row(name, *(f"{exponent(GROWING[name][1], column):.2f}" for column in zip(*points, strict=True)))
    console.print(table, highlight=False)
    console.print(f"{dtype} on {words.device}, drawn in {path}", highlight=False)
    return 0


def _picture(given: str) -> Path:
    path = Path(given)
    if path.suffix not in FORMATS:
        raise UsageProblem(f"--growth {given}: give a file that ends in {' or '.join(FORMATS)}")
    return writable("--growth", given)


def _point(name: str, size: int, dtype: str, pair: tuple[Any, Any], device: str) -> tuple[float, float, float]:
    """Seconds of the candidate, of the baseline, and of judging `JUDGED` elements: the least of several."""
    match = Match(Timed(GROWING[name][2](size), dtype, "forward"), *pair, device)
    match.begin()
    times: tuple[list[float], ...] = ([], [], [])
    for _ in range(CALLS):
        draw = match.numbers.draw()
        for who in (0, 1):
            times[who].append(match.timed_call(who, draw))
    match.elements = JUDGED
    for _ in range(5):
        visit = match.ready(0, match.numbers.draw())
        visit.make()
        start = clock.NOW()
        match.finish(0, visit)
        times[2].append(clock.NOW() - start)
    candidate, baseline, check = (min(column) for column in times)
    return candidate, baseline, check


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """The slope of log time against log size over the larger half of the sizes, where a call's own cost is small."""
    half = len(sizes) // 2
    return float(np.polyfit(np.log(sizes[half:]), np.log(seconds[half:]), 1)[0])


def _draw(found: dict[str, list[tuple[float, float, float]]], lines: Sequence[str], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(found), figsize=(4 * len(found), 4), squeeze=False, layout="constrained")
    for panel, (name, points) in zip(axes[0], found.items(), strict=True):
        words, sizes, _ = GROWING[name]
        for line, marker, seconds in zip(lines, "os^", zip(*points, strict=True), strict=True):
            label = f"{line}, exponent {exponent(sizes, seconds):.2f}"
            panel.loglog(sizes, [1000 * s for s in seconds], marker=marker, label=label, base=10)
        panel.set(title=name, xlabel=words, ylabel="milliseconds a call")
        panel.set_xticks(sizes, [str(size) for size in sizes], rotation=45)
        panel.minorticks_off()
        panel.grid(True, alpha=0.3)
        panel.legend(fontsize="x-small")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
