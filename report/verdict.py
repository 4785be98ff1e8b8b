"""The verdict: one entry a law and dtype, rows of operator and tier, and the exit code that they make."""

from __future__ import annotations

import math
import platform
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from typing import Any

from assay.reference.arithmetic.formats import STORAGE
from assay.reference.arithmetic.precision import Precision, Refusal
from assay.report import interrupt
from assay.report.waivers import OUT_OF_DATE, Use, uses
from assay.spec import OPERATORS
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.failure import TIERS, NonConformance
from assay.tests.trial.laws import Law, all_laws
from assay.tests.trial.run import Run, operators_of

SCHEMA = 1
CONFORMS, FAILS, REFUSED, NOT_PROVIDED = "conforms", "fails", "cannot judge", "not provided"
WAIVED, OUTDATED = "waived", "waivers out of date"  # of a law or a run: it conforms on all but what is waived
LEFT_OUT = "left out"  # of a law: what is declared leaves it nothing to judge
EXIT_CODES = {CONFORMS: 0, WAIVED: 0, FAILS: 1, OUTDATED: 1, "usage": 2, REFUSED: 3, "interrupted": interrupt.CODE}


def entry(
    law: Law, operator: str, candidate: Candidate, problem: BaseException | None, seconds: float
) -> dict[str, Any]:
    """What one law saw of one candidate, as plain data; ``problem`` is what it raised."""
    tally = candidate.tally
    margin = tally.margin  # of what conforms: while a failure is looked into, others are seen that nobody is shown
    verdict, reason, lacking = CONFORMS, tally.left_out, candidate.lacks(law.clause)
    if isinstance(problem, NonConformance):
        verdict, reason, margin = FAILS, problem.what, max(margin, problem.margin or 0.0)
    elif isinstance(problem, Refusal):
        verdict, reason = REFUSED, str(problem)
    elif candidate.given_up:
        verdict, reason = REFUSED, candidate.given_up
    elif problem is not None:
        verdict, reason = REFUSED, f"the law itself raised {type(problem).__name__}: {problem}"
    elif failed := [met.what for met in tally.waived.values() if met.failed]:
        verdict, reason = WAIVED, failed[0]
    elif not tally.compared and tally.left_out:
        verdict = LEFT_OUT
    elif lacking:
        verdict, reason = NOT_PROVIDED, f"its program does not know {', '.join(lacking)} of docs/protocol.md"
    elif not tally.compared:
        verdict, reason = REFUSED, "the law compared nothing"
    return {
        "clause": law.clause,
        "law": law.name,
        "tier": law.tier,
        "operator": operator,
        "dtype": candidate.dtype,
        "device": candidate.device,
        "verdict": verdict,
        "reason": reason,
        "examples": tally.examples,
        "compared": tally.compared,
        "undetermined": tally.undetermined,
        "lacking": lacking,
        "margin": float(margin),
        "waived": [{"entry": entry, **asdict(met)} for entry, met in tally.waived.items()],
        "seconds": round(seconds, 4),
    }


@dataclass
class Verdict:
    """Everything that a run found."""

    run: Run
    entries: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    lacking: dict[tuple[str, str, str], None] = field(default_factory=dict)  # operator, tier, what is missing
    errors: list[str] = field(default_factory=list)
    interrupted: bool = False
    seconds: float = 0.0

    def exit_code(self) -> int:
        """0 conforms, 1 does not, 3 cannot judge, 130 interrupted."""
        return EXIT_CODES[self.word]

    @property
    def word(self) -> str:
        """The verdict in a word."""
        found = {e["verdict"] for e in self.entries}
        if FAILS in found:
            return FAILS
        if self.interrupted:
            return "interrupted"
        if any(use.state in OUT_OF_DATE for use in self.waivers()):
            return OUTDATED
        if REFUSED in found or self.errors or CONFORMS not in found:  # no run conforms by its waivers alone
            return REFUSED
        return WAIVED if WAIVED in found else CONFORMS

    def waivers(self) -> list[Use]:
        """What became of each waiver."""
        return uses(self.run, self.entries)

    def rows(self) -> list[dict[str, Any]]:
        """One row for each operator and tier: examples, largest margin, verdict."""
        return [self._row(operator, tier) for operator in self.run.operators for tier in TIERS]

    def _row(self, operator: str, tier: str) -> dict[str, Any]:
        mine = [e for e in self.entries if e["operator"] == operator and e["tier"] == tier]
        missing = {what for (op, at, what) in self.lacking if op == operator and at == tier}
        missing |= {word for e in mine if e["verdict"] == NOT_PROVIDED for word in e["lacking"]}
        mine = [e for e in mine if e["verdict"] != NOT_PROVIDED]
        words = [e["verdict"] for e in mine]
        # Workers collect by themselves, and what they leave out is not told: what is wholly missing is known anyway.
        absent = NOT_PROVIDED if missing or operator not in self.run.implementation.operators else "no law"
        return {
            "operator": operator,
            "tier": tier,
            "examples": sum(e["examples"] for e in mine),
            "compared": sum(e["compared"] for e in mine),
            "margin": max((e["margin"] for e in mine), default=0.0),
            "verdict": next((word for word in (FAILS, REFUSED, WAIVED, CONFORMS, LEFT_OUT) if word in words), absent),
            "waived": words.count(WAIVED),
            "missing": sorted(missing),
        }

    def extent(self) -> dict[str, int]:
        """How many clauses and trials ran, of those that the candidate can be asked at this budget and profile."""
        run = replace(self.run, operators=tuple(OPERATORS), dtypes=self.run.implementation.offered())
        whole = [
            (law.clause, law.name, operator, dtype)
            for law in all_laws(run.budget)
            for operator in operators_of(law)
            if run.wants(law, operator) and not run.missing(law, operator)
            for dtype in run.dtypes
            if dtype in law.dtypes
        ]
        ran = {"clauses": len({e["clause"] for e in self.entries}), "trials": len(self.entries)}
        return ran | {"of_clauses": len({clause for clause, *_ in whole}), "of_trials": len(whole)}

    def left_out(self) -> list[str]:
        """The names of the laws that were left out, in whole or in part, a line for each operator, dtype and reason."""
        found: dict[str, list[str]] = {}
        for e in self.entries:
            if e["verdict"] == LEFT_OUT or (e["verdict"] == CONFORMS and e["reason"]):
                part = "" if e["verdict"] == LEFT_OUT else " in part"
                laws = found.setdefault(f"LEFT OUT{part} {e['operator']} · {e['dtype']}, as {e['reason']}", [])
                laws.append(e["law"].removeprefix("test_").replace("_", " "))
        return [f"{why}: {', '.join(laws)}" for why, laws in found.items()]

    def declared(self) -> dict[str, str]:
        """What is declared beyond the strict precision, by operator.direction.dtype."""
        found = {}
        for key, declaration in self.run.implementation.precision.items():
            operator, _, dtype = key.split(".")
            if operator in self.run.operators and dtype in self.run.dtypes:
                found[key] = str(Precision.declared(STORAGE[dtype], declaration))
        return found

    def settings(self) -> dict[str, Any]:
        """Every setting of the run, and the versions of what took part."""
        import hypothesis
        import numpy

        run = self.run
        worker = run.implementation.worker
        return {
            "candidate": run.implementation.name,
            "version": run.implementation.version,
            "array": run.implementation.array,
            "provides": sorted(run.implementation.operators),
            "not_provided": [name for name in OPERATORS if name not in run.implementation.operators],
            "operators": list(run.operators),
            "dtypes": list(run.dtypes),
            "device": run.device,
            "profile": run.profile,
            "budget": run.budget,
            "seed": run.seed,
            "precision": list(run.precision),
            "waivers": run.waivers[0].file if run.waivers else None,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "hypothesis": hypothesis.__version__,
            "numpy": numpy.__version__,
            "torch": _torch(),
            "isolated": worker is not None,
            "worker": worker.environment if worker else "",
        }

    def as_data(self) -> dict[str, Any]:
        """Everything that the terminal shows, and each law's own figures."""
        found = {
            "schema": SCHEMA,
            "verdict": self.word,
            "exit_code": self.exit_code(),
            "seconds": round(self.seconds, 3),
            "settings": self.settings(),
            "extent": self.extent(),
            "declared_precision": self.declared(),
            "rows": self.rows(),
            "laws": self.entries,
            "failures": self.failures,
            "waivers": [use.as_data() for use in self.waivers()],
            "errors": self.errors,
        }
        return {key: plain(value) for key, value in found.items()}


def plain(value: Any) -> Any:
    """JSON has no NaN and no infinities: they are kept as words, which `float` reads."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _torch() -> str | None:
    """The version of PyTorch, if there is one: many runs do without loading it here."""
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return None
