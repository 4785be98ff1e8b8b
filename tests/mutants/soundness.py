"""Every law on the correct implementations, over many seeds: whoever is rejected here is a false alarm.

    python -m assay.tests.mutants.soundness --seeds 20 --budget quick --variants eager fft --dtypes float32 -n 2

Each false alarm is a line: variant, dtype, seed, law, and what was said. The exit code is 1 where there is one, and
130 where there was none until an interrupt. Laws have the examples of a judged run (`at_budget`). An example is drawn
once, what is permitted for it is worked out once, and all variants answer it in turn; a file of laws, with a dtype
and a seed, has a process of its own. Laws and examples that draw nothing are tried with the first seed alone. A new
law meets all variants by `--laws "words of its name" --seeds 1 --budget gate`.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import hypothesis
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException
from rich.console import Console
from rich.table import Table

from assay.implementations.surroundings import on_own_kernels
from assay.reference.arithmetic.formats import STORAGE
from assay.reference.arithmetic.precision import Refusal
from assay.report import interrupt
from assay.report.progress import Steps
from assay.tests.mutants.correct import VARIANTS, variant
from assay.tests.power import processes
from assay.tests.trial import permitted
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.cases import Case
from assay.tests.trial.drawn import Noting
from assay.tests.trial.laws import BUDGETS, Law, all_laws, at_budget
from assay.tests.trial.run import missing, operators_of, register_budgets
from assay.tests.trial.sweeps import Sweep

# A file of laws, a dtype and a seed.
Task = tuple[str, str, int]

# Who is done with a long sum at once. Who makes sums term by term takes seconds for a large one, and is not put cases
# of more terms, or with more products in all, than these by the laws of large cases.
FAST = (
    "eager",
    "einsum",
    "rows",
    "winograd",
    "correlated",
    "adjoint",
    "toeplitz",
    "fft",
    "numpy",
    "numpy-vjp",
    "few-bits",
    "single",
)
TERMS, PRODUCTS = 2**9, 2**18
# Words in the names of laws that ask for each tensor in each layout.
OF_EACH_LAYOUT = ("one_tensor_of_any_layout", "any_number_of_channels", "where_one_tensor_learns")
ONE_IN = 16  # of a sweep's cases, others for each seed


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
    """Alarms, and by variant the laws that were tried and their examples."""

    alarms: list[Alarm]
    laws: Mapping[str, int]
    examples: Mapping[str, int]


class Again:
    """Stands for ``data`` in a law: what was drawn for an earlier candidate comes again, what was not is drawn now."""

    def __init__(self, noting: Noting) -> None:
        self.noting, self.at = noting, 0

    def draw(self, strategy: st.SearchStrategy[Any], label: Any = None) -> Any:
        if self.at == len(self.noting.values):
            self.noting.draw(strategy, label)
        self.at += 1
        return self.noting.values[self.at - 1]


def complaints(law: Law, operator: str, candidates: Mapping[str, Candidate]) -> dict[str, str]:
    """What the law says against each of these, if it says anything."""
    slow = candidates.keys() - set(FAST) if of_large_cases(law) else set()
    if of_own_cases(law):
        left_out = slow | {"toeplitz"}  # whose matrices are as large as a plane times itself
        candidates, slow = {name: each for name, each in candidates.items() if name not in left_out}, set()
    raised = put_to_all(law, operator, candidates, slow)
    examined = hasattr(law.function, "hypothesis")
    put = {name: each.tally for name, each in candidates.items() if each.tally.examples or not examined}
    said = {name: f"{type(each).__name__}: {str(each).strip().splitlines()[0]}" for name, each in raised.items()}
    return {name: "compared nothing" for name, tally in put.items() if not tally.compared and not tally.left_out} | said


def put_to_all(
    law: Law, operator: str, candidates: Mapping[str, Candidate], slow: Collection[str] = ()
) -> dict[str, Exception]:
    """The first that the law raises of each of these. An example is drawn once, and no large case put to the slow."""
    raised: dict[str, Exception] = {}
    given = {"operator": operator} if law.operators else {}
    handle = getattr(law.function, "hypothesis", None)
    if handle is None:
        _put_to_all(law.function, candidates, slow, raised, given)
        return raised
    body = handle.inner_test
    handle.inner_test = functools.wraps(body)(lambda **drawn: _put_to_all(body, candidates, slow, raised, drawn))
    try:
        law.function(candidate=None, **given)
    finally:
        handle.inner_test = body
    return raised


def of_large_cases(law: Law) -> bool:
    """Whether this is a law of production sizes, of usual layers, or of every size."""
    of_modules = law.module.endswith(
        ("test_large", "test_usual", "test_tails", "layers", "test_wide_gradients", "test_manners")
    )
    return of_modules or of_many_calls(law)


def of_many_calls(law: Law) -> bool:
    """Whether this is a law of which one example makes hundreds of calls, or calls of matrices in many sizes."""
    return law.module.endswith("test_threads") or "given_twice" in law.name


def of_own_cases(law: Law) -> bool:
    """Whether this is a law of large layers, or of many, that it makes itself: it draws none that could be left out."""
    themes = ("layers", "lifetimes", "magnitudes", "training", "manners", "inference", "leftovers", "mixtures", "sums")
    return (
        law.module.endswith((*themes, "patterns", "ranges", "habits", "memory", "passed_on"))
        or of_many_calls(law)
        or any(words in law.name for words in OF_EACH_LAYOUT)
    )


def too_large(given: Iterable[Any]) -> bool:
    """Whether a case among these takes who is slow too long."""
    cases = [value for value in given if isinstance(value, Case)]
    return any(case.terms > TERMS or case.terms * math.prod(case.result_shape) > PRODUCTS for case in cases)


def _put_to_all(
    body: Callable[..., Any],
    candidates: Mapping[str, Candidate],
    slow: Collection[str],
    raised: dict[str, Exception],
    given: Mapping[str, Any],
) -> None:
    """Run a law's body on one example with each candidate; the first complaint about each is kept."""
    given = {key: replace(value, every=ONE_IN) if isinstance(value, Sweep) else value for key, value in given.items()}
    noted = {key: Noting(value) if isinstance(value, st.DataObject) else value for key, value in given.items()}
    for name, candidate in candidates.items():
        if name in slow and too_large(given.values()):
            continue
        own = {key: Again(value) if isinstance(value, Noting) else value for key, value in noted.items()}
        try:
            body(**{**own, "candidate": candidate})
        except HypothesisException:  # the example is dropped, for all
            raise
        except Refusal:  # cannot judge by what the variant declares: no rejection
            continue
        except Exception as problem:
            raised.setdefault(name, problem)


def searched(names: Iterable[str], dtype: str, seed: int | None, laws: Iterable[Law]) -> Search:
    """The laws on these variants in one dtype, each law with this seed, or with the fixed examples.

    A seed stays with the laws, in this process. In bfloat16 PyTorch's own kernels answer: a processor's are wrong in
    products of matrices, too (docs/findings.md, 11).
    """
    implementations = {name: variant(name) for name in names}
    with on_own_kernels() if dtype == "bfloat16" else contextlib.nullcontext():
        return _searched(implementations, dtype, seed, laws)


def _searched(implementations: Mapping[str, Any], dtype: str, seed: int | None, laws: Iterable[Law]) -> Search:
    alarms, tried, examples = list[Alarm](), Counter[str](), Counter[str]()
    for law in laws:
        if seed is not None and hasattr(law.function, "hypothesis"):
            hypothesis.seed(seed)(law.function)
        able = {name: each for name, each in implementations.items() if dtype in law.dtypes and dtype in each.offered()}
        for operator in operators_of(law):
            judged = {name: each for name, each in able.items() if not missing(law, operator, each)}
            candidates = {name: Candidate(each, dtype) for name, each in judged.items()}
            said = complaints(law, operator, candidates) if candidates else {}
            alarms += [Alarm(name, dtype, seed, f"{law.name}[{operator}]", words) for name, words in said.items()]
            tried.update(candidates.keys())
            examples.update({name: each.tally.examples for name, each in candidates.items()})
    return Search(alarms, dict(tried), dict(examples))


def work(task: Task, budget: str, names: Sequence[str], first: int, words: str = "") -> dict[str, Any]:
    """What one process does; with the laws alone in whose names these words are."""
    register_budgets()
    module, dtype, seed = task
    permitted.KEPT.size = 64  # of all variants' calls for one example: those of the layouts, modes and turns of a law
    laws = [law for law in all_laws(budget) if law.module == module and words in law.name]
    settings = hypothesis.settings.get_profile(f"assay-{budget}-seeded")
    if seed != first:
        laws = [law for law in laws if hasattr(law.function, "hypothesis")]
        settings = hypothesis.settings(settings, phases=set(settings.phases) - {hypothesis.Phase.explicit})
    with at_budget(settings, laws):
        return asdict(searched(names, dtype, seed, laws))


def tasks_of(dtypes: Sequence[str], seeds: range, words: str = "") -> list[Task]:
    """One a process; the seeds outermost, so that a search that is cut short has met every law and dtype."""
    modules = dict.fromkeys(law.module for law in all_laws() if words in law.name)
    return [(module, dtype, seed) for seed in seeds for dtype in dtypes for module in modules]


def search(
    tasks: Sequence[Task], budget: str, names: Sequence[str], workers: int, console: Console, words: str = ""
) -> dict[Task, Search]:
    """What came of each task, until an interrupt; each false alarm is printed when it is seen."""
    found: dict[Task, Search] = {}
    first = min(seed for _, _, seed in tasks)
    each = functools.partial(work, budget=budget, names=names, first=first, words=words)
    with Steps(console, "searches", len(tasks)) as steps:
        try:
            for number, answer in processes.each(each, tasks, workers, [__name__, *{task[0] for task in tasks}]):
                module, dtype, seed = tasks[number]
                if isinstance(answer, processes.Died):
                    done = Search([Alarm("-", dtype, seed, module, str(answer))], {}, {})
                else:
                    done = Search(**answer | {"alarms": [Alarm(**alarm) for alarm in answer["alarms"]]})
                for alarm in done.alarms:
                    console.print(f"{alarm.variant} {dtype} seed {seed} {alarm.law}: {alarm.said}", markup=False)
                found[tasks[number]] = done
                steps.step(f"{module.rpartition('.')[2]} {dtype} seed {seed}")
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the next one would cut the summary short
            console.print("interrupted: what follows is a part")
    return found


def summary(found: Mapping[Task, Search]) -> Table:
    """A line a variant: how many laws and examples it met, how often it was rejected, and by which laws."""
    table = Table("variant", "laws run", "examples", "false alarms", "laws")
    laws, examples = (
        sum((Counter(getattr(each, what)) for each in found.values()), Counter[str]()) for what in ("laws", "examples")
    )
    alarms = [alarm for each in found.values() for alarm in each.alarms]
    for name in dict.fromkeys((*laws, *(alarm.variant for alarm in alarms))):
        mine = [alarm.law for alarm in alarms if alarm.variant == name]
        table.add_row(name, *map(str, (laws[name], examples[name], len(mine))), "\n".join(sorted(set(mine))))
    return table


def main(words: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m assay.tests.mutants.soundness", description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=20, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--budget", choices=list(BUDGETS), default="quick")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--dtypes", nargs="+", choices=list(STORAGE), default=list(STORAGE), metavar="DTYPE")
    parser.add_argument("--laws", default="", metavar="WORDS", help="those alone in whose names these words are")
    parser.add_argument("-n", type=int, default=1, metavar="WORKERS", help="processes at a time")
    given = parser.parse_args(words)
    console, start = Console(), time.perf_counter()
    named = "_".join(given.laws.split())
    tasks = tasks_of(given.dtypes, range(given.first, given.first + given.seeds), named)
    if not tasks:
        parser.error(f"--laws {given.laws!r} is in the name of no law; spec/pages lists them")
    found = search(tasks, given.budget, given.variants, given.n, console, named)
    console.print(summary(found))
    alarmed = sum(len(each.alarms) for each in found.values())
    examples = sum(sum(each.examples.values()) for each in found.values())
    took = time.perf_counter() - start
    console.print(f"{len(found)} of {len(tasks)} searches, {examples} examples, {alarmed} false alarms, {took:.0f} s")
    return 1 if alarmed else 0 if len(found) == len(tasks) else interrupt.CODE


if __name__ == "__main__":
    raise SystemExit(main())
