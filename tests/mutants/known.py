"""Which law is known to see each planted bug, so that it is asked first: most others cost more and see nothing.

    python -m assay.tests.mutants.known

notes in `known.json` those that are not there or are seen by another law by now; delete the file to have all anew. What
is noted is tried and not trusted: where it is wrong or missing, a test takes longer and says the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from assay.report.progress import Steps
from assay.tests.mutants.alone import MADE
from assay.tests.mutants.catalogue import MUTANTS
from assay.tests.mutants.described import DESCRIBED
from assay.tests.mutants.hunt import Finding, Trial, hunt, soonest_first, trials
from assay.tests.mutants.mutant import Mutant
from assay.tests.power.survivors import REASONS
from assay.tests.trial.laws import Law, all_laws
from assay.tests.trial.run import register_budgets

PATH = Path(__file__).with_name("known.json")
NOTED: dict[str, list[str]] = json.loads(PATH.read_text(encoding="utf-8")) if PATH.exists() else {}


@dataclass(frozen=True)
class Kill:
    """What saw a planted bug, and at which budget."""

    budget: str
    found: Finding

    @property
    def noted(self) -> list[str]:
        """What is kept of it."""
        return [self.budget, self.found.law, self.found.operator]


def judges(mutant: Mutant) -> list[Law]:
    """The laws of which one is to see the mutant: those of its clause where a chapter or a clause has it, else all."""
    of_a_clause = mutant.id in DESCRIBED or mutant.id in MADE.values()
    return [law for law in all_laws() if law.clause == mutant.clause or not of_a_clause]


def first_kill(mutant: Mutant, laws: Iterable[Law]) -> Kill | None:
    """What sees the mutant first, of these laws, at the gate's budget."""
    for budget, tried in _attempts(mutant, list(laws)):
        found = hunt(mutant, tried, budget)
        if found and found[-1].caught:
            return Kill(budget, found[-1])
    return None


def _attempts(mutant: Mutant, laws: list[Law]) -> Iterator[tuple[str, list[Trial]]]:
    """What to try, at which budget: what is known to see it; then all, those of its clause and that cost least first.

    A law of another clause may see something else than what was planted. Most are seen at the quick budget already,
    where the laws before the one that sees them cost less.
    """
    if mutant.id in NOTED:
        budget, *known = NOTED[mutant.id]
        yield budget, [trial for trial in trials(mutant, laws) if [trial[0].name, trial[0].judged(trial[1])] == known]
    for budget in ("quick", "gate"):
        tried = soonest_first(trials(mutant, [law for law in laws if law.belongs_to(budget)]))
        yield budget, sorted(tried, key=lambda trial: trial[0].clause != mutant.clause)


def main() -> None:
    """The command line."""
    register_budgets()
    found: dict[str, list[str]] = {}
    hunted = [mutant for mutant in MUTANTS if mutant.id not in REASONS]
    with Steps(Console(), "planted bugs", len(hunted)) as steps:
        for mutant in hunted:
            kill = first_kill(mutant, judges(mutant))
            found |= {mutant.id: kill.noted} if kill else {}
            steps.step(mutant.id)
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(noted)}" for name, noted in sorted(found.items()))
    PATH.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
