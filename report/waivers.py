"""What became of each waiver of a run: it covered failures, or it is out of date, or the run could not tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from assay.spec import CLAUSES, PROFILES
from assay.tests.trial.laws import BUDGETS, Law, all_laws
from assay.tests.trial.run import Run, operators_of
from assay.tests.trial.waivers import Waiver

USED, EXPIRED, PASSES, UNMATCHED, UNTOLD = "waived", "expired", "passes", "unmatched", "not told"
OUT_OF_DATE = (EXPIRED, PASSES, UNMATCHED)
RAN_TO_THEIR_END = ("conforms", "waived")

Entry = Mapping[str, Any]
Trial = tuple[str, str, str]  # a law's name, an operator, a dtype


@dataclass(frozen=True)
class Use:
    """A waiver, what became of it, how many laws and examples it was needed for, and one sentence more."""

    waiver: Waiver
    state: str
    said: str
    laws: int = 0
    examples: int = 0

    def as_data(self) -> dict[str, Any]:
        """As plain data."""
        waiver = self.waiver
        told = {key: getattr(waiver, key) for key in ("clause", "operator", "candidate", "reason", "url", "line")}
        counts = {"laws": self.laws, "examples": self.examples}
        return told | {"expiry": waiver.expiry.isoformat(), "state": self.state, "said": self.said} | counts


def uses(run: Run, entries: Sequence[Entry]) -> list[Use]:
    """What became of each waiver."""
    laws = all_laws(run.budget) if run.waivers else []
    return [_use(run, waiver, laws, entries) for waiver in run.waivers]


def _use(run: Run, waiver: Waiver, laws: Sequence[Law], entries: Sequence[Entry]) -> Use:
    if elsewhere := _elsewhere(run, waiver):
        return Use(waiver, UNTOLD, f"not part of this run: {elsewhere}")
    trials = _trials(run, waiver, laws)
    ran = {_trial(entry): entry for entry in entries if _trial(entry) in trials}
    if not ran:
        return Use(waiver, UNTOLD, "not part of this run: none of its laws ran")
    if waiver.expired(date.today()):
        return Use(
            waiver, EXPIRED, f"its last day was {waiver.expiry}: mend the fault, or review it and set another day"
        )
    met = [item for entry in ran.values() for item in entry["waived"] if item["entry"] == waiver.entry]
    if any(item["failed"] for item in met):
        failed = [item for item in met if item["failed"]]
        return Use(waiver, USED, failed[0]["what"], len(failed), sum(item["failed"] for item in failed))
    return _idle(run, waiver, trials <= _ended(ran), sum(item["covered"] for item in met))


def _idle(run: Run, waiver: Waiver, whole: bool, covered: int) -> Use:
    """A waiver that no failure needed: whether a run like this one would have shown the failure."""
    if not whole:
        return Use(
            waiver, UNTOLD, "no failure needed it, but not all of its laws ran in all of its dtypes to their end"
        )
    if list(BUDGETS).index(run.budget) < list(BUDGETS).index(waiver.budget):
        return Use(waiver, UNTOLD, f"no failure needed it; it is expected from --budget {waiver.budget} on")
    if run.seed is not None:
        return Use(waiver, UNTOLD, "no failure needed it, in the examples that --seed drew")
    if covered and not waiver.strict:
        return Use(waiver, UNTOLD, f"all {covered} examples that it covers conform here, as strict = false says")
    if covered:
        return Use(waiver, PASSES, f"all {covered} examples that it covers conform: remove it", examples=covered)
    return Use(waiver, UNMATCHED, "no example of its laws is what its `where` asks for: correct it, or remove it")


def _elsewhere(run: Run, waiver: Waiver) -> str:
    """Why a waiver has nothing to do with a run, if so."""
    provided = run.implementation.operators
    device = run.device.partition(":")[0]
    reasons = {
        f"it is about the candidate {waiver.candidate}": waiver.candidate != run.implementation.name,
        f"{waiver.operator} is not judged": waiver.operator not in run.operators,
        f"{waiver.operator} is not provided": waiver.operator not in provided,
        f"profile {run.profile}": CLAUSES[waiver.clause].kind not in PROFILES[run.profile],
        f"it is about {', '.join(waiver.where.device)}": bool(waiver.where.device)
        and device not in waiver.where.device,
        f"it is about {', '.join(waiver.where.dtype)}": bool(waiver.where.dtype)
        and not set(waiver.where.dtype) & set(run.dtypes),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _trials(run: Run, waiver: Waiver, laws: Sequence[Law]) -> set[Trial]:
    """Every trial in which the waiver's failure could show, in whatever dtype the candidate offers."""
    return {
        (law.name, waiver.operator, dtype)
        for law in laws
        if law.clause == waiver.clause and waiver.operator in operators_of(law)
        if not run.missing(law, waiver.operator)
        for dtype in run.implementation.offered()
        if dtype in law.dtypes and waiver.where.may_hold(law.tier, dtype, run.device)
    }


def _trial(entry: Entry) -> Trial:
    return entry["law"], entry["operator"], entry["dtype"]


def _ended(ran: Mapping[Trial, Entry]) -> set[Trial]:
    return {trial for trial, entry in ran.items() if entry["verdict"] in RAN_TO_THEIR_END}
