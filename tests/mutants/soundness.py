"""Every law on the correct implementations, over many seeds: whoever is rejected here is a false alarm.

    python -m assay.tests.mutants.soundness --seeds 20 --budget quick --variants eager fft --dtypes float32

Each false alarm is a line: variant, dtype, seed, law, and what was said. The exit code is 1 where there is one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import hypothesis
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from assay.implementations.contract import Implementation
from assay.reference.arithmetic.formats import STORAGE
from assay.tests.mutants.correct import VARIANTS, variant
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.laws import Law, all_laws, under
from assay.tests.trial.run import BUDGETS, register_budgets


@dataclass(frozen=True)
class Alarm:
    """A correct implementation that a law rejected."""

    variant: str
    dtype: str
    seed: int | None
    law: str
    said: str


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
    implementation = variant(name)
    for law, operator in pairs(implementation, dtype, laws):
        if seed is not None and hasattr(law.function, "hypothesis"):
            hypothesis.seed(seed)(law.function)
        said = complaint(law, operator, Candidate(implementation, dtype))
        if said:
            yield Alarm(name, dtype, seed, f"{law.name}[{operator}]", said)


def search(names: Sequence[str], dtypes: Sequence[str], seeds: range, budget: str, console: Console) -> list[Alarm]:
    """The false alarms of all these, each printed when it is seen; manners have half the examples, as in a run."""
    laws, found = all_laws(), []
    contract = [law for law in laws if law.tier == "contract"]
    hard = hypothesis.settings.get_profile(f"assay-{budget}-seeded")
    easy = hypothesis.settings(hard, max_examples=max(1, hard.max_examples // 2))
    with Progress(console=console) as progress, under(hard, laws), under(easy, contract):
        task = progress.add_task("", total=len(names) * len(dtypes) * len(seeds))
        for name, dtype, seed in ((n, d, s) for n in names for d in dtypes for s in seeds):
            progress.update(task, description=f"{name} {dtype} seed {seed}")
            for alarm in alarms(name, dtype, seed, laws):
                console.print(
                    f"{alarm.variant} {alarm.dtype} seed {alarm.seed} {alarm.law}: {alarm.said}", markup=False
                )
                found.append(alarm)
            progress.advance(task)
    return found


def summary(names: Sequence[str], found: Sequence[Alarm], seeds: int) -> Table:
    """A line a variant: how often it was rejected, by which laws."""
    table = Table("variant", "seeds", "false alarms", "laws")
    for name in names:
        mine = [alarm for alarm in found if alarm.variant == name]
        table.add_row(name, str(seeds), str(len(mine)), "\n".join(sorted({alarm.law for alarm in mine})))
    return table


def main(words: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m assay.tests.mutants.soundness", description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=20, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--budget", choices=list(BUDGETS), default="quick")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--dtypes", nargs="+", choices=list(STORAGE), default=list(STORAGE), metavar="DTYPE")
    given = parser.parse_args(words)
    register_budgets()
    console, start = Console(), time.perf_counter()
    seeds = range(given.first, given.first + given.seeds)
    found = search(given.variants, given.dtypes, seeds, given.budget, console)
    console.print(summary(given.variants, found, given.seeds))
    console.print(f"{len(found)} false alarms, {time.perf_counter() - start:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
