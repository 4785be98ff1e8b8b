"""A run of the benchmarks: what is asked, checked; the plugin that pytest runs it with; and what was found."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from assay.implementations.contract import Implementation
from assay.implementations.isolated import Place
from assay.implementations.load import load
from assay.reference.arithmetic.precision import Refusal
from assay.tests.benchmarks import clock, memory, roofline, saved
from assay.tests.benchmarks.answers import Wrong
from assay.tests.benchmarks.blocks import Interval, Times, confidence, fewest, interval, moved, rounds_for
from assay.tests.benchmarks.cases import BACKWARD, DTYPES, SETS, Timed, chosen
from assay.tests.benchmarks.paired import Match, rounds_within
from assay.tests.trial.run import Run, UsageProblem, make_run

ROOT = Path(__file__).resolve().parents[2]
SECONDS = {"quick": 3.0, "standard": 6.0, "full": 15.0}  # a case
TIMED, WRONG, REGRESSED, UNKNOWN, REFUSED, NEW = "timed", "wrong", "regressed", "cannot tell", "cannot judge", "new"
QUIET = ["-qq", "--no-header", "-rN", "--tb=no", "--disable-warnings", "-p", "no:cacheprovider"]
# Hypothesis, which is a plugin of pytest too, has been imported by then: its assertions need no rewriting.
QUIET += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]


@dataclass(frozen=True)
class Asked:
    """What a run times, how long, and what it is held against. Made by `asked`."""

    candidate: Implementation
    baseline: Implementation
    device: str
    cases: Sequence[Timed]
    seconds: float
    rounds: int | None = None
    save: str | None = None
    compare: saved.Saved | None = None
    limit: float = 0.0  # a fraction: 0.05 is 5 %

    @property
    def confidence(self) -> float:
        """Of each case's interval."""
        return confidence(len(self.cases))


@dataclass
class Row:
    """What was found of one case. ``verdict`` is one of the words above, ``reason`` says more."""

    timed: Timed
    verdict: str = ""
    reason: str = ""
    times: Times = field(default_factory=Times)
    ratio: Interval | None = None
    move: Interval | None = None
    fraction: float = math.nan
    ceiling: str = ""
    peak: int | None = None
    judged: int = 0


def asked(words: Any) -> Asked:
    """The run that the command's words ask for, everything checked before anything is timed.

    Raises:
        UsageProblem: a word has no meaning, or a kept run cannot be compared with this one.
        LoadError: the candidate or the baseline cannot be loaded.
    """
    if words.set not in SETS:
        raise UsageProblem(f"unknown set {words.set!r}; allowed: {', '.join(SETS)}")
    if words.max_regression is not None and words.compare is None:
        raise UsageProblem("--max-regression needs --compare and the name of a run that was kept with --save")
    limit = percentage("5%" if words.max_regression is None else words.max_regression)
    kept = saved.load(words.compare) if words.compare else None
    save = saved.check_name(words.save) if words.save else None
    baseline = load(words.against)  # before the candidate, which could change what it is made of
    run = make_run(words.implementation, words.op, words.dtype, words.device, place=Place(in_process=True))
    cases = _cases(words, run, baseline)
    seconds = _seconds(words, len(cases))
    if kept and (why := kept.differences(saved.machine_of(run.implementation, baseline, words.device))):
        raise UsageProblem(f"{kept.path} cannot be compared with this run: {'; '.join(why)}")
    return Asked(run.implementation, baseline, words.device, cases, seconds, words.rounds, save, kept, limit)


def _cases(words: Any, run: Run, baseline: Implementation) -> list[Timed]:
    dtypes = tuple(dtype for dtype in run.dtypes if words.dtype or dtype in DTYPES[words.set])
    both = (run.implementation, baseline)
    operators = tuple(name for name in run.operators if all(name in each.operators for each in both))
    cases = chosen(words.set, words.device, operators, dtypes, words.case)
    cases = [each for each in cases if each.direction != BACKWARD or all(one.gradients for one in both)]
    if not cases:
        raise UsageProblem(
            f"nothing to time: the set {words.set!r} has no case named like {words.case!r} for the operators that "
            f"{words.implementation} and {words.against} have in common ({', '.join(operators) or 'none'})"
        )
    return cases


def _seconds(words: Any, cases: int) -> float:
    seconds = SECONDS[words.set] if words.seconds is None else words.seconds
    if not 0 < seconds < math.inf:
        raise UsageProblem(f"--seconds {seconds:g}: give a positive number")
    level = confidence(cases)
    if words.rounds is not None and words.rounds < fewest(level):
        raise UsageProblem(
            f"--rounds {words.rounds} is too few: an interval at {level:.2%}, for {cases} cases, needs at least "
            f"{fewest(level)}"
        )
    return float(seconds)


def percentage(text: str) -> float:
    """``5%`` as 0.05.

    Raises:
        UsageProblem: it is not a positive percentage.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", text)
    if found is None or not 0 < float(found[1]) < 1000:
        raise UsageProblem(f"--max-regression {text!r} is not a percentage; write for example --max-regression 5%")
    return float(found[1]) / 100


class Session:
    """The plugin: pytest's parameters, the machine in pytest-benchmark's files, and the rows."""

    def __init__(self, asked: Asked, progress: Callable[[Row], None] = lambda row: None) -> None:
        self.asked, self.progress = asked, progress
        self.rows: list[Row] = []
        self.machine = saved.machine_of(asked.candidate, asked.baseline, asked.device)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "timed" in metafunc.fixturenames:
            metafunc.parametrize("timed", self.asked.cases, ids=[each.id for each in self.asked.cases])
            metafunc.parametrize("bench", [self], ids=[""])

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self) -> tuple[str, str, str]:
        return "", "", ""  # the rows say it

    def pytest_runtest_logfinish(self) -> None:
        """A case has ended. What is said before, pytest takes for words of the case, and keeps to itself."""
        if self.rows:
            self.progress(self.rows[-1])

    def pytest_benchmark_update_machine_info(self, machine_info: dict[str, Any]) -> None:
        machine_info[saved.KEY] = self.machine

    def time(self, timed: Timed, benchmark: Any) -> Row:
        """One case: judged, timed, compared. The row is kept whatever comes of it.

        Raises:
            Wrong, Refusal: the candidate's answers are not permitted, or nobody knows what is.
        """
        row = Row(timed)
        self.rows.append(row)
        try:
            self._time(row, benchmark)
        except Wrong as problem:
            row.verdict, row.reason = WRONG, str(problem)
            raise
        except Refusal as problem:
            row.verdict, row.reason = REFUSED, str(problem)
            raise
        return row

    def _time(self, row: Row, benchmark: Any) -> None:
        asked, timed = self.asked, row.timed
        benchmark.skipped = True  # or pytest-benchmark warns that a case whose answers are wrong was not timed
        match = Match(timed, asked.candidate, asked.baseline, asked.device)
        try:
            block = match.begin()
            rounds = asked.rounds or rounds_within(asked.seconds, block, fewest(asked.confidence))
            row.times = match.measure(benchmark, rounds)
        finally:
            row.judged = match.answers[0].judged
        row.ratio = interval(row.times, asked.confidence)
        operations, moved_bytes = timed.cost(roofline.itemsize(timed.dtype))
        ceilings = roofline.ceilings(asked.device, timed.dtype, moved_bytes)
        row.fraction, row.ceiling = ceilings.fraction(operations, moved_bytes, row.times.typical()[0])
        row.peak = memory.peak(match.subjects[0].prepare(match.numbers.draw()).make, asked.device)
        row.verdict, row.reason = TIMED, ""
        if asked.compare:
            self._compare(row, asked.compare)
        benchmark.extra_info.update(self._kept(row))

    def _compare(self, row: Row, kept: saved.Saved) -> None:
        then = kept.times.get(row.timed.id)
        if then is None:
            row.verdict, row.reason = NEW, f"{kept.path} has no such case"
            return
        row.move = move = moved(row.times, then, self.asked.confidence)
        beyond = move.excludes(1 + self.asked.limit)
        row.verdict = {1: REGRESSED, 0: UNKNOWN, -1: TIMED}[beyond]
        if beyond > 0:
            row.reason = f"the ratio moved by {shown(move)} against {kept.path.name}; permitted {self.asked.limit:+.1%}"
        elif not beyond:
            room = abs(math.log1p(self.asked.limit) - move.middle)
            rounds = rounds_for(move.half, row.times.rounds, room)
            row.reason = (
                f"the ratio moved by {shown(move)}, which {self.asked.limit:+.1%} lies in; "
                f"about {rounds} rounds a run would tell, these were {row.times.rounds} and {then.rounds}"
            )

    def _kept(self, row: Row) -> dict[str, Any]:
        assert row.ratio is not None
        return {
            "case": row.timed.id,
            "baseline_seconds": row.times.baseline,
            "ratio": math.exp(row.ratio.middle),
            "ratio_low": math.exp(row.ratio.low),
            "ratio_high": math.exp(row.ratio.high),
            "confidence": self.asked.confidence,
            "smallest_visible_difference": row.ratio.visible,
            "fraction_of_ceiling": row.fraction,
            "nearer_ceiling": row.ceiling,
            "peak_bytes": row.peak,
            "elements_judged": row.judged,
        }


def shown(move: Interval) -> str:
    """An interval as percentages."""
    middle, low, high = (math.expm1(part) for part in (move.middle, move.low, move.high))
    return f"{middle:+.1%} [{low:+.1%}, {high:+.1%}]"


def run(session: Session, further: Sequence[str] = ()) -> int:
    """Have pytest and pytest-benchmark run it; ``further`` are options of theirs. Returns pytest's exit code."""
    asked = session.asked
    options = ["-c", str(ROOT / "pytest.ini"), "--rootdir", str(ROOT), *QUIET, "-p", "benchmark", "-p", "no:xdist"]
    options += [f"--benchmark-timer={clock.of_device(asked.device).timer}", "--benchmark-disable-gc"]
    options += [] if "--benchmark-verbose" in further else ["--benchmark-quiet"]
    options += [f"--benchmark-save={asked.save}", "--benchmark-save-data"] if asked.save else []
    return int(pytest.main([str(ROOT / "tests/benchmarks/test_speed.py"), *options, *further], plugins=[session]))
