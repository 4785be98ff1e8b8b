"""`assay bench`: its words, the table of times in a terminal, and the exit code."""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from assay.report import interrupt
from assay.report.progress import Steps
from assay.report.terminal import say
from assay.report.verdict import CONFORMS, EXIT_CODES, FAILS
from assay.report.verdict import REFUSED as CANNOT_JUDGE
from assay.tests.trial.usage import UsageProblem

LACKING = "assay bench needs scipy, and matplotlib for --growth: pip install 'assay[bench]'"
STYLES = {"wrong": "bold red", "regressed": "bold red", "cannot tell": "yellow", "cannot judge": "yellow"}
HEAD = ("case", "candidate", "baseline", "ratio", "sees", "of ceiling", "memory")
CEILINGS = {"product": "ops", "copy": "copy"}
WIDE = 100  # columns that the table takes; in fewer it is shown without those that follow from others, or matter less
DISPENSABLE = ("baseline", "memory")
LEGEND = "ratio: candidate / baseline, with its interval; sees: the smallest difference that would show"
MARKS = {"wrong": "WRONG", "regressed": "REGRESSED"}


def run(words: argparse.Namespace) -> int:
    """Time what is asked, and show it. The exit code is as `assay check`'s.

    Raises:
        UsageProblem, LoadError: scipy is not there, a word has no meaning, or what is timed cannot be loaded.
    """
    try:
        import scipy  # noqa: F401  asked for before anything is timed
    except ImportError:
        raise UsageProblem(LACKING) from None
    interrupt.listen()
    console = Console()
    if not console.is_terminal:  # a file or a log, which has no width
        console.width = max(console.width, WIDE)
    try:
        if words.growth:
            from assay.tests.benchmarks import growth

            return growth.run(words, console)
        return _timed(words, console)
    except KeyboardInterrupt:
        return EXIT_CODES["interrupted"]


def _timed(words: argparse.Namespace, console: Console) -> int:
    from assay.tests.benchmarks import session as sessions

    asked = sessions.asked(words)
    with Steps(console, "cases", len(asked.cases)) as steps:
        session = sessions.Session(asked, lambda row: steps.step(row.timed.id))
        header(session, console)
        code = sessions.run(session, words.pytest)
    rows = session.rows
    show(rows, session, console)
    if code not in (0, 1):  # neither all done nor a case that raised
        return EXIT_CODES["interrupted" if code == 2 else "usage"]
    if code == 1 and not any(row.verdict in ("wrong", "cannot judge") for row in rows):
        return EXIT_CODES[FAILS]  # what pytest-benchmark was asked to hold it to, after --
    return exit_code([row.verdict for row in rows])


def exit_code(verdicts: Sequence[str]) -> int:
    """1 where something is wrong or has become slower, 3 where nobody can tell, else 0."""
    if {"wrong", "regressed"} & set(verdicts):
        return EXIT_CODES[FAILS]
    unknown = not verdicts or {"cannot tell", "cannot judge", ""} & set(verdicts)
    return EXIT_CODES[CANNOT_JUDGE if unknown else CONFORMS]


def header(session: Any, console: Console) -> None:
    """Who is timed against whom, on what."""
    asked, machine = session.asked, session.machine
    say(console, f"[bold]assay[/] times [bold]{escape(asked.candidate.name)}[/]  {machine['candidate_version']}")
    say(console, f"  against {escape(asked.baseline.name)}  {machine['baseline_version']}")
    say(
        console,
        f"  on {machine['device']} · {machine['processor']} · {machine['threads']} of {machine['cores']} threads",
    )
    say(console, f"  cases {len(asked.cases)}, each interval at {asked.confidence:.2%}")
    if asked.compare:
        say(console, f"  held against {asked.compare.path}, at most {asked.limit:+.1%}")
        for change in asked.compare.changed(machine):
            say(console, f"    {escape(change)}")


def show(rows: Sequence[Any], session: Any, console: Console) -> None:
    """The table, and a line for each case that has more to say."""
    console.print(_table(rows, session.asked.compare is not None, console.width), highlight=False)
    say(console, f"[dim]{LEGEND}[/]")
    for row in rows:
        if row.reason:
            mark = MARKS.get(row.verdict, row.verdict)
            say(console, f"[{STYLES.get(row.verdict, 'dim')}]{mark}[/] {row.timed.id}: {escape(row.reason)}")
    _closing(rows, session, console)


def _table(rows: Sequence[Any], compared: bool, width: int) -> Table:
    table = Table(box=None, pad_edge=False, collapse_padding=True, padding=(0, 1))
    head = (*HEAD, "against" if compared else "")
    kept = [k for k, name in enumerate(head) if width >= WIDE or name not in DISPENSABLE]
    for name in (head[k] for k in kept):
        table.add_column(name, justify="left" if name in ("case", "against", "") else "right", no_wrap=True)
    layer = None
    for row in rows:
        if row.timed.layer is not layer:
            layer = row.timed.layer
            table.add_row(f"[bold]{layer.id}[/]")
        cells = _cells(row, compared)
        table.add_row(*(cells[k] for k in kept if k < len(cells)))
    return table


def _cells(row: Any, compared: bool) -> list[str]:
    name = f"  {row.timed.dtype} {row.timed.direction}"
    if row.ratio is None:
        return [name, f"[{STYLES.get(row.verdict, 'dim')}]{MARKS.get(row.verdict, row.verdict or '-')}[/]"]
    candidate, baseline = row.times.typical()
    words = {1: "slower", -1: "faster", 0: ""}[row.ratio.excludes(1.0)]
    if compared:
        mark = "ok" if row.verdict == "timed" else MARKS.get(row.verdict, row.verdict)
        words = f"[{STYLES.get(row.verdict, 'green')}]{mark}[/]"
    middle, low, high = (math.exp(part) for part in (row.ratio.middle, row.ratio.low, row.ratio.high))
    return [
        name,
        seconds(candidate),
        seconds(baseline),
        f"{middle:.3f} \\[{low:.3f}, {high:.3f}]",
        f"{row.ratio.visible:.1%}",
        f"{row.fraction:.0%} {CEILINGS[row.ceiling]}",
        "-" if row.peak is None else f"{row.peak / 2**20:.1f} MiB",
        words,
    ]


def seconds(value: float) -> str:
    """A time in the unit that suits it, to three digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def _closing(rows: Sequence[Any], session: Any, console: Console) -> None:
    asked = session.asked
    lacking = [name for name in asked.baseline.operators if name not in asked.candidate.operators]
    if lacking:
        say(console, f"  not provided  {', '.join(lacking)}")
    judged = sum(row.judged for row in rows)
    rounds = sum(row.times.rounds for row in rows)
    counts = Counter(row.verdict for row in rows if row.verdict)
    words = f" ({', '.join(f'{n} {word}' for word, n in counts.items())})" if counts else ""
    done = f"{counts.total()} of {len(asked.cases)} cases{words}"
    say(console, f"{done}, {rounds} rounds, {judged} elements judged")
    if asked.save and any(row.ratio for row in rows):
        say(console, f"  kept as {asked.save} in {Path('.benchmarks')}")
