"""Every law on the correct implementations, over many seeds: whoever is rejected here is a false alarm.

    python -m assay.tests.mutants.soundness --seeds 20 --budget quick --variants eager fft --dtypes float32 -n 2

Each false alarm is a line: variant, dtype, seed, law, and what was said. The exit code is 1 where there is one. Laws
have the examples of a judged run (`at_budget`); each variant, dtype and seed has a process of its own.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import hypothesis
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from assay.implementations.contract import Implementation
from assay.reference.arithmetic.formats import STORAGE
from assay.tests.mutants.correct import VARIANTS, variant
from assay.tests.power import processes
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.laws import Law, all_laws, at_budget
from assay.tests.trial.run import BUDGETS, register_budgets

# A variant, a dtype and a seed.
Task = tuple[str, str, int]


@dataclass(frozen=True)
class Alarm:
    """A correct implementation that a law rejected."""

    variant: str
    dtype: str
    seed: int | None
    law: str
    said: str


@dataclass(frozen=True)
class Search:
    """Alarms, the examples that were tried, and how many laws tried them."""

    alarms: list[Alarm]
    examples: int
    laws: int


def pairs(implementation: Implementation, dtype: str, laws: Sequence[Law]) -> Iterator[tuple[Law, str]]:
    """The laws that have something to judge, each with its operator."""
    if dtype not in implementation.offered():
        return
    for law in laws:
        if dtype not in law.dtypes or (law.gradient and not implementation.gradients):
            continue
        for operator in law.operators or (law.clause.split(".")[0],):
            if {operator, *law.needs} <= implementation.operators.keys():
                yield law, operator


def complaint(law: Law, operator: str, candidate: Candidate) -> str:
    """What the law says against the candidate, or nothing."""
    try:
        law.function(candidate=candidate, **({"operator": operator} if law.operators else {}))
    except Exception as problem:
        return f"{type(problem).__name__}: {str(problem).strip().splitlines()[0]}"
    return "" if candidate.tally.compared else "compared nothing"


def alarms(name: str, dtype: str, seed: int | None, laws: Sequence[Law]) -> Iterator[Alarm]:
    """The false alarms of all laws on one variant in one dtype, each law with this seed, or with the fixed examples.

    A seed stays with the laws, in this process.
    """
    return iter(searched(name, dtype, seed, laws).alarms)


def searched(name: str, dtype: str, seed: int | None, laws: Sequence[Law]) -> Search:
    """As `alarms`, with what was tried."""
    implementation, found, tried, examples = variant(name), [], 0, 0
    for law, operator in pairs(implementation, dtype, laws):
        if seed is not None and hasattr(law.function, "hypothesis"):
            hypothesis.seed(seed)(law.function)
        candidate = Candidate(implementation, dtype)
        said = complaint(law, operator, candidate)
        tried, examples = tried + 1, examples + candidate.tally.examples
        if said:
            found.append(Alarm(name, dtype, seed, f"{law.name}[{operator}]", said))
    return Search(found, examples, tried)


def work(task: Task, budget: str) -> dict[str, Any]:
    """What one process does."""
    register_budgets()
    laws = all_laws()
    with at_budget(hypothesis.settings.get_profile(f"assay-{budget}-seeded"), laws):
        return asdict(searched(*task, laws))


def tasks_of(names: Sequence[str], dtypes: Sequence[str], seeds: range) -> list[Task]:
    """One a process; the seeds outermost, so that a search that is cut short has met every variant."""
    offered = {name: variant(name).offered() for name in names}
    return [(name, dtype, seed) for seed in seeds for name in names for dtype in dtypes if dtype in offered[name]]


def search(tasks: Sequence[Task], budget: str, workers: int, console: Console) -> dict[Task, Search]:
    """What came of each task, until an interrupt; each false alarm is printed when it is seen."""
    found: dict[Task, Search] = {}
    preload = [__name__, *sorted({law.module for law in all_laws()})]
    with Progress(console=console) as progress:
        bar = progress.add_task("", total=len(tasks))
        try:
            for number, answer in processes.each(functools.partial(work, budget=budget), tasks, workers, preload):
                name, dtype, seed = tasks[number]
                if isinstance(answer, processes.Died):
                    answer = {"alarms": [asdict(Alarm(name, dtype, seed, "-", str(answer)))], "examples": 0, "laws": 0}
                mine = [Alarm(**each) for each in answer["alarms"]]
                for each in mine:
                    console.print(f"{name} {dtype} seed {seed} {each.law}: {each.said}", markup=False)
                found[tasks[number]] = Search(mine, answer["examples"], answer["laws"])
                progress.update(bar, advance=1, description=f"{name} {dtype} seed {seed}")
        except KeyboardInterrupt:
            console.print("interrupted: what follows is a part")
    return found


def summary(found: dict[Task, Search]) -> Table:
    """A line a variant: how often it was tried and rejected, and by which laws."""
    table = Table("variant", "dtypes", "seeds", "laws run", "examples", "false alarms", "laws")
    for name in dict.fromkeys(task[0] for task in found):
        mine = {task: each for task, each in found.items() if task[0] == name}
        alarmed = [alarm for each in mine.values() for alarm in each.alarms]
        counted = (len({t[1] for t in mine}), len({t[2] for t in mine}))
        done = (sum(each.laws for each in mine.values()), sum(each.examples for each in mine.values()))
        table.add_row(
            name, *map(str, (*counted, *done, len(alarmed))), "\n".join(sorted({alarm.law for alarm in alarmed}))
        )
    return table


def main(words: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m assay.tests.mutants.soundness", description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=20, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--budget", choices=list(BUDGETS), default="quick")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--dtypes", nargs="+", choices=list(STORAGE), default=list(STORAGE), metavar="DTYPE")
    parser.add_argument("-n", type=int, default=1, metavar="WORKERS", help="processes at a time")
    given = parser.parse_args(words)
    console, start = Console(), time.perf_counter()
    tasks = tasks_of(given.variants, given.dtypes, range(given.first, given.first + given.seeds))
    found = search(tasks, given.budget, given.n, console)
    console.print(summary(found))
    alarmed, examples = sum(len(each.alarms) for each in found.values()), sum(e.examples for e in found.values())
    took = time.perf_counter() - start
    console.print(f"{len(found)} of {len(tasks)} searches, {examples} examples, {alarmed} false alarms, {took:.0f} s")
    return 1 if alarmed else 0


if __name__ == "__main__":
    raise SystemExit(main())
