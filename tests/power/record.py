"""The record of a run of `assay power`: what is asked, what a process does for each part, and the data it makes."""

from __future__ import annotations

import difflib
import functools
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from assay.implementations.arrays import IMPORTED_LATE
from assay.implementations.contract import Implementation
from assay.reference.arithmetic.formats import STORAGE
from assay.spec import CLAUSES
from assay.tests.mutants import correct, hunt
from assay.tests.mutants.alone import implied_by
from assay.tests.mutants.catalogue import MUTANTS
from assay.tests.mutants.mutant import Mutant
from assay.tests.power import journal, peers, processes, smallest
from assay.tests.power.survivors import REASONS
from assay.tests.trial.laws import all_laws
from assay.tests.trial.run import UsageProblem, register_budgets

# What a task is about, and the words that say which: a mutant's id and the seed that generated it, or "".
Task = tuple[str, ...]
SCHEMA = 1
LATE = ("torch.testing", IMPORTED_LATE)  # which no law is to be charged with


@dataclass(frozen=True)
class Asked:
    """What a run of `assay power` is to find out. ``only`` is how the mutants' ids begin, in one of these ways."""

    budgets: tuple[str, ...] = ("quick",)
    only: tuple[str, ...] = ()
    peers: bool = False
    smallest: bool = False
    generated: int | None = None
    first: bool = False  # whether no law is of interest after the first that sees a mutant
    workers: int = 1

    def tasks(self) -> list[Task]:
        """One task a process, the catalogue's mutants first.

        Raises:
            UsageProblem: no mutant's id begins so.
        """
        seeds = ["", *([str(self.generated)] if self.generated is not None else [])]
        offered = [(name, seed) for seed in seeds for name in known(seed)]
        for beginning in self.only:
            if not any(name.startswith(beginning) for name, _ in offered):
                close = ", ".join(difflib.get_close_matches(beginning, known(""), n=3)) or f"{offered[0][0]}, ..."
                raise UsageProblem(f"--only {beginning}: no mutant's id begins so; there are {close}")
        asked = [which for which in offered if which[0].startswith(self.only or "")]
        tasks: list[Task] = [(_kind(self, budget), *which, budget) for which in asked for budget in self.budgets]
        if self.peers:
            tasks += [("peers", *which) for which in asked]
        if self.peers and not self.only:  # who asks about a few mutants asks nothing about correct implementations
            tasks += [("correct", name, dtype) for name in correct.VARIANTS for dtype in _fair(correct.variant(name))]
        if self.smallest:
            tasks += [("terms", operator, dtype) for operator in smallest.SUMS for dtype in STORAGE]
            tasks += [("smallest", operator, dtype) for operator in smallest.OPERATORS for dtype in STORAGE]
        return tasks


def _kind(asked: Asked, budget: str) -> str:
    """At the last budget all laws meet a mutant, at the others those until the first kill: what is asked of these."""
    return "mutant" if budget == asked.budgets[-1] and not asked.first else "first"


def _fair(variant: Implementation) -> tuple[str, ...]:
    """The dtypes in which to ask the peers about a correct implementation: it takes PyTorch's tensors, and computes
    by no algorithm, such as Winograd's, of which more error is known."""
    known_for_more = any("algorithm" in declared for declared in variant.precision.values())
    return () if variant.array != "torch" or known_for_more else tuple(variant.dtypes or STORAGE)


@functools.cache
def known(seed: str) -> dict[str, Mutant]:
    """The catalogue by id, or the mutants that this seed generates."""
    if not seed:
        return {mutant.id: mutant for mutant in MUTANTS}
    from assay.tests.mutants.generated import generated

    return {mutant.id: mutant for mutant in generated(int(seed))}


def of_mutant(identifier: str, seed: str, budget: str, whole: bool = True) -> dict[str, Any]:
    """How one mutant fares at a budget: the first kill, and of all laws the first in each tier, and who sees it."""
    mutant, laws = known(seed)[identifier], all_laws(budget)
    as_filed = hunt.trials(mutant, laws)
    found = hunt.hunt(mutant, hunt.soonest_first(as_filed), budget, whole)
    filed = {(law.name, law.judged(operator)): k for k, (law, operator) in enumerate(as_filed)}
    tiers = dict.fromkeys(each.tier for each in found)
    kill, by_file = first_kill(found), first_kill(sorted(found, key=lambda f: filed[f.law, f.operator]))
    return {
        "kill": kill and {name: kill[name] for name in ("tier", "clause", "examples", "seconds")},
        "by_file": by_file["seconds"] if whole and by_file else None,
        "tiers": {tier: _brief(first_kill([f for f in found if f.tier == tier])) for tier in tiers},
        "clauses": sorted({each.clause for each in found if each.caught and not each.malformed}),
        "laws": len(found),
        "problems": [f"{each.law}: {each.problem}" for each in found if each.problem],
    }


def first_kill(found: Sequence[hunt.Finding]) -> dict[str, Any] | None:
    """The first law of these that saw it; ``seconds`` and ``examples`` count from the start of the first of them."""
    seconds, examples = 0.0, 0
    for each in found:
        seconds, examples = seconds + each.seconds, examples + each.examples
        if each.caught:
            return asdict(each) | {"seconds": round(seconds, 3), "examples": examples}
    return None


def _brief(kill: dict[str, Any] | None) -> list[float] | None:
    return kill and [kill["examples"], kill["seconds"]]


def of_peers(identifier: str, seed: str) -> dict[str, Any]:
    """The peers that reject a mutant."""
    mutant = known(seed)[identifier]
    given = (mutant.implementation(), tuple(mutant.made()), mutant.dtype)
    return {"rejected_by": [peer for peer in peers.PEERS if not peers.accepted_by(peer, *given)]}


def of_correct(name: str, dtype: str) -> dict[str, Any]:
    """The peers that reject an implementation that is right."""
    variant = correct.variant(name)
    given = (variant, tuple(variant.operators), dtype)
    return {"rejected_by": [peer for peer in peers.PEERS if not peers.accepted_by(peer, *given)]}


WORK: dict[str, Callable[..., dict[str, Any]]] = {
    "mutant": of_mutant,
    "first": functools.partial(of_mutant, whole=False),
    "peers": of_peers,
    "correct": of_correct,
    "terms": lambda operator, dtype: {"rows": smallest.by_terms(operator, dtype)},
    "smallest": lambda operator, dtype: {"rows": smallest.by_tier(operator, dtype)},
}


def work(task: Task) -> dict[str, Any]:
    """What one process does."""
    register_budgets()
    return WORK[task[0]](*task[1:])


@dataclass
class Record:
    """The answers of a run, whole or not, and the data that is kept of them."""

    asked: Asked
    tasks: list[Task]
    answers: dict[Task, dict[str, Any]] = field(default_factory=dict)
    failed: dict[Task, str] = field(default_factory=dict)
    interrupted: bool = False
    seconds: float = 0.0

    def run(self, step: Callable[[Task], None] = lambda task: None, path: Path | None = None) -> None:
        """Do the tasks, ``step`` after each. An interrupt leaves what there is until then.

        Where the record is to be written to a ``path``, an interrupted run of the same goes on where it was.
        """
        kept = journal.Journal(path, self._settings_that_matter())
        self.answers, before = kept.resume()
        for task in self.answers:
            step(task)
        start = time.monotonic() - before
        try:
            self._do([task for task in self.tasks if task not in self.answers], kept, start, step)
            kept.done()
        except KeyboardInterrupt:
            self.interrupted = True
        self.seconds = time.monotonic() - start

    def _do(self, tasks: list[Task], kept: journal.Journal, start: float, step: Callable[[Task], None]) -> None:
        preload = [__name__, *LATE, *sorted({law.module for law in all_laws()})]
        for number, answer in processes.each(work, tasks, self.asked.workers, preload):
            if isinstance(answer, processes.Died):
                self.failed[tasks[number]] = str(answer)
            else:
                self.answers[tasks[number]] = answer
                kept.note(tasks[number], answer, time.monotonic() - start)
            step(tasks[number])

    def _settings_that_matter(self) -> dict[str, Any]:
        """All but how many processes there are, how long they took, and whether they came to the end."""
        unlike = ("workers", "cores", "seconds", "interrupted")
        settings = {key: value for key, value in self._settings().items() if key not in unlike}
        return {"schema": SCHEMA, "smallest": self.asked.smallest, "code": journal.digest_of_code(), **settings}

    def data(self) -> dict[str, Any]:
        """Plain data: settings, one row a mutant, and what else was asked."""
        seed = "" if self.asked.generated is None else str(self.asked.generated)
        return {
            "schema": SCHEMA,
            "run": self._settings(),
            "mutants": self._mutants(""),
            "generated": self._mutants(seed) if seed else [],
            "alone": self._alone(),
            "correct": self._correct(),
            "smallest": self._rows("smallest"),
            "terms": self._rows("terms"),
            "failed": {" ".join(task): why for task, why in self.failed.items()},
        }

    def _settings(self) -> dict[str, Any]:
        import hypothesis
        import torch

        versions = {"torch": torch.__version__, "hypothesis": hypothesis.__version__}
        return {
            "budgets": list(self.asked.budgets),
            "peers": list(peers.PEERS) if self.asked.peers else [],
            "generated": self.asked.generated,
            "first": self.asked.first,
            "only": " or ".join(self.asked.only),
            "interrupted": self.interrupted,
            "seconds": round(self.seconds, 1),
            "workers": self.asked.workers,
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            **versions,
        }

    def _mutants(self, seed: str) -> list[dict[str, Any]]:
        ids = dict.fromkeys(task[1] for task in self.tasks if task[0] in ("mutant", "first") and task[2] == seed)
        return [self._row(known(seed)[identifier], seed) for identifier in ids]

    def _row(self, mutant: Mutant, seed: str) -> dict[str, Any]:
        row: dict[str, Any] = {name: getattr(mutant, name) for name in ("id", "clause", "kind", "tier", "difficulty")}
        row |= {"dtype": mutant.dtype, "words": mutant.words, "reason": REASONS.get(mutant.id, "")}
        for budget in self.asked.budgets:
            answer = self.answers.get((_kind(self.asked, budget), mutant.id, seed, budget))
            row[budget] = answer and {**answer, "clauses": len(answer["clauses"])}
        if self.asked.peers:
            row["rejected_by"] = self.answers.get(("peers", mutant.id, seed), {}).get("rejected_by")
        return row

    def _alone(self) -> dict[str, list[str]]:
        """Each clause's mutants that only its own laws catch, and those of clauses that it follows from."""
        found: dict[str, list[str]] = {identifier: [] for identifier in CLAUSES}
        for task, answer in self.answers.items():
            last = task[0] == "mutant" and task[2] == ""
            for clause in answer["clauses"] if last else ():
                if set(answer["clauses"]) <= implied_by(clause):
                    found[clause].append(task[1])
        return {identifier: sorted(mutants) for identifier, mutants in found.items()}

    def _correct(self) -> list[dict[str, Any]]:
        return [
            {"variant": task[1], "dtype": task[2], **self.answers[task]}
            for task in self.tasks
            if task[0] == "correct" and task in self.answers
        ]

    def _rows(self, what: str) -> list[dict[str, Any]]:
        return [row for task in self.tasks if task[0] == what for row in self.answers.get(task, {}).get("rows", [])]


def written(data: dict[str, Any]) -> str:
    """The data as JSON, one line a mutant or row, so that it can be read and compared."""
    parts = []
    for key, value in data.items():
        if isinstance(value, list) and value:
            inner = ",\n".join(f"  {json.dumps(row)}" for row in value)
            parts.append(f" {json.dumps(key)}: [\n{inner}\n ]")
        elif isinstance(value, dict) and value and key != "run":
            inner = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in value.items())
            parts.append(f" {json.dumps(key)}: {{\n{inner}\n }}")
        else:
            parts.append(f" {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"
