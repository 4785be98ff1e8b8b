"""A judged run without pytest's own: every law of a run, one after the other, in this process, for other suites."""

from __future__ import annotations

import time
from collections.abc import Iterator

import hypothesis

from assay.report.failures import Record, grouped, record, text
from assay.report.verdict import FAILS, LEFT_OUT, OUTDATED, REFUSED, WAIVED, Verdict, entry
from assay.report.waivers import OUT_OF_DATE, USED
from assay.tests.trial.candidate import Candidate, Tally
from assay.tests.trial.failure import NonConformance, verdict_of
from assay.tests.trial.laws import Law, all_laws, at_budget, seeded
from assay.tests.trial.run import Run, operators_of, register_budgets

SHOWN = 3  # failures in full; of the others, a line

Trial = tuple[Law, str, Candidate]


def judge(run: Run) -> Verdict:
    """Run the laws of a run.

    They run under assay's own settings of Hypothesis, whatever profile is loaded; a seed draws other examples.
    """
    register_budgets()
    start, verdict, trials = time.monotonic(), Verdict(run), list(_trials(run))
    laws = list({law.name: law for law, _, _ in trials}.values())
    profile = f"assay-{run.budget}{'' if run.seed is None else '-seeded'}"
    with at_budget(hypothesis.settings.get_profile(profile), laws), seeded(run.seed, laws):
        for law, operator, candidate in trials:
            _try(verdict, law, operator, candidate)
    verdict.seconds = time.monotonic() - start
    return verdict


def _trials(run: Run) -> Iterator[Trial]:
    for law in all_laws():
        for operator in operators_of(law):
            if run.wants(law, operator) and not run.missing(law, operator):
                yield from ((law, operator, candidate) for candidate in run.candidates(law))


def _try(verdict: Verdict, law: Law, operator: str, candidate: Candidate) -> None:
    problem, start = None, time.perf_counter()
    candidate.tally = Tally()
    candidate.waivers = verdict.run.waivers_for(law, operator, candidate.dtype)
    try:
        law.function(candidate=candidate, **({"operator": operator} if law.operators else {}))
    except Exception as raised:
        problem = verdict_of(raised)
    verdict.entries.append(entry(law, operator, candidate, problem, time.perf_counter() - start))
    if isinstance(problem, NonConformance):
        verdict.failures.append(record(problem, law, candidate, ""))


def said(verdict: Verdict) -> str:
    """The verdict in words: the failures as in the terminal, and lines for what else is red and what was left out."""
    groups = grouped(verdict.failures)
    blocks = [_in_full(found, others) for found, others in groups[:SHOWN]]
    blocks += ["\n".join(f"FAIL {found['clause']}   {found['what']}" for found, _ in groups[SHOWN:])]
    red = [e for e in verdict.entries if e["verdict"] == REFUSED]
    blocks += [f"CANNOT JUDGE {e['clause']}  {e['operator']} · {e['dtype']}: {e['reason']}" for e in red]
    blocks += verdict.left_out()
    blocks += [
        f"WAIVER {use.state} {use.waiver.clause} ({use.waiver.place}): {use.said}"
        for use in verdict.waivers()
        if use.state in OUT_OF_DATE
    ]
    return "\n\n".join(block for block in [*blocks, closing(verdict)] if block)


def _in_full(found: Record, others: list[Record]) -> str:
    script = "\n".join(f"    {line}" for line in found["script"].splitlines())
    return text(found, others) + (f"\n  script\n{script}" if script else "")


def closing(verdict: Verdict) -> str:
    """One line: who, the verdict, and in how many trials."""
    words = [e["verdict"] for e in verdict.entries]
    told = {FAILS: "does not conform", REFUSED: "cannot be judged", OUTDATED: "has waivers that are out of date"}
    waived = f", {words.count(WAIVED)} waived" if WAIVED in words else ""
    left_out = f", {words.count(LEFT_OUT)} left out" if LEFT_OUT in words else ""
    failed = f", {words.count(FAILS)} failed" if FAILS in words else ""
    lines = {use.waiver.place for use in verdict.waivers() if use.state == USED}
    place = f" ({'; '.join(sorted(lines))})" if lines else ""
    said = told.get(verdict.word, "conforms")
    return f"{verdict.run.implementation.name} {said}: {len(words)} trials{failed}{waived}{left_out}{place}"
