"""The matrix in words: what docs/matrix.json keeps of each run, and docs/matrix.md rendered from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from assay.reference.arithmetic.formats import STORAGE
from assay.report.verdict import plain
from assay.spec import CLAUSES, OPERATORS
from assay.spec.pages_text import escaped, table
from assay.tests.trial.failure import TIERS

Run = Mapping[str, Any]
COLUMNS = tuple(OPERATORS)
NOT_JUDGED, NOT_ASKED = "not yet judged", "not asked"
HEAD = """# The matrix

Rendered by `make matrix` from `docs/matrix.json` and `docs/matrix-judgements.toml`. Each candidate is a released
library behind an adapter in `implementations/`, judged in a process and an environment of its own, by the laws of the
profile `torch` (a drop-in replacement of PyTorch), at the fixed seed. A cell has `ok` and the largest margin (1.0 is
the limit), or the number of clauses that do not hold; `-` is what a library does not have. A star follows an operator
for which the adapter declares a precision below strict. For a library that never claimed to be PyTorch,
refusing invalid arguments is a difference and no fault; the judgements below say which is which. Who compiles for each
shape anew was asked for some operators or dtypes alone (`ENTRANTS` in `tools/matrix.py`).
"""
KEPT_OF_A_RUN = ("adapter", "extra", "verdict", "seconds", "declared_precision", "errors")
KEPT_OF_A_ROW = ("operator", "tier", "verdict", "examples", "compared", "margin")
KEPT_OF_A_FAILURE = ("clause", "what", "input", "subject", "index", "got", "permitted", "exact", "margin", "hint")


def condensed(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """What is kept of each run: rows, settings and one deviation a clause and operator, with its smallest input."""
    return [_condensed(run) for run in runs]


def _condensed(run: Run) -> dict[str, Any]:
    if "problem" in run:
        return {key: run[key] for key in ("adapter", "extra", "problem")}
    found = {key: run[key] for key in KEPT_OF_A_RUN}
    settings = {key: run["settings"][key] for key in ("version", "budget", "profile", "dtypes", "provides")}
    rows = [{key: row[key] for key in KEPT_OF_A_ROW} for row in run["rows"] if row["compared"]]
    refused = [law["reason"] for law in run["laws"] if law["verdict"] == "cannot judge"]
    return {**found, **settings, "rows": rows, "refused": sorted(set(refused)), "deviations": _deviations(run)}


def _deviations(run: Run) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str], list[Any]] = {}
    for failure in run["failures"]:
        operator = failure["candidate"].rpartition(".")[2]
        groups.setdefault((failure["clause"], operator), []).append(failure)
    return [_deviation(operator, group) for (_, operator), group in sorted(groups.items(), key=_place)]


def _place(group: tuple[tuple[str, str], Any]) -> tuple[int, str]:
    clause, operator = group[0]
    return list(CLAUSES).index(clause), operator


def _deviation(operator: str, failures: Sequence[Run]) -> dict[str, Any]:
    shown = min(failures, key=lambda failure: sum(map(len, failure["input"])))
    kept = {key: plain(shown.get(key)) for key in KEPT_OF_A_FAILURE}
    dtypes = [dtype for dtype in _order(shown) if any(dtype == failure["dtype"] for failure in failures)]
    return {"operator": operator, "dtypes": dtypes, "laws": len({failure["law"] for failure in failures}), **kept}


def _order(shown: Run) -> tuple[str, ...]:
    return tuple(dict.fromkeys((shown["dtype"], *STORAGE)))


def page(runs: Sequence[Run], judgements: Mapping[str, Any]) -> str:
    """docs/matrix.md."""
    judged = [run for run in runs if "problem" not in run]
    parts = [HEAD, _overview(judged), _left_out(runs, judgements), _causes(judged, judgements)]
    return "\n".join([*parts, "## Candidate by candidate\n", *(_candidate(run, judgements) for run in judged)])


def _overview(runs: Sequence[Run]) -> str:
    rows = [(f"[{run['adapter']}](#{run['adapter']})", run["version"], *_cells(run), run["budget"]) for run in runs]
    libraries = {run["version"].split(",")[0].split()[0] for run in runs}
    conform = f"{len(conforming(runs))} of them conform, in what was asked"
    count = f"{len(runs)} candidates from {len(libraries)} libraries; {conform}.\n"
    return f"{count}\n{table(('candidate', 'version', *COLUMNS, 'budget'), rows)}\n"


def conforming(runs: Sequence[Run]) -> list[str]:
    """Who keeps to every clause."""
    return [run["adapter"] for run in runs if run["verdict"] == "conforms"]


def _cells(run: Run) -> list[str]:
    return [_cell(run, operator) for operator in COLUMNS]


def _cell(run: Run, operator: str) -> str:
    if operator not in run["provides"]:
        return "-"
    clauses = {each["clause"] for each in run["deviations"] if each["operator"] == operator}
    margins = [float(row["margin"]) for row in run["rows"] if row["operator"] == operator]
    if not margins:
        return NOT_ASKED
    star = "*" if any(key.startswith(f"{operator}.") for key in run["declared_precision"]) else ""
    return (f"**{len(clauses)}**" if clauses else f"ok {max(margins):.2f}") + star


def _left_out(runs: Sequence[Run], judgements: Mapping[str, Any]) -> str:
    rows = [(each["library"], each["reason"]) for each in judgements.get("left_out", ())]
    rows += [(run["adapter"], escaped(run["problem"])) for run in runs if "problem" in run]
    return f"\n## Left out\n\n{table(('library', 'why'), rows)}\n"


def causes_of(run: Run, deviation: Run, causes: Iterable[Run]) -> list[Run]:
    """The hand-written judgements of a deviation: by candidate, clause and, where named, operator and dtype."""
    return [cause for cause in causes if run["adapter"] in cause["candidates"] and _covers(cause, deviation)]


def _covers(cause: Run, deviation: Run) -> bool:
    operators, dtypes = cause.get("operators", [deviation["operator"]]), cause.get("dtypes", deviation["dtypes"])
    named = deviation["clause"] in cause["clauses"] and deviation["operator"] in operators
    return named and not set(dtypes).isdisjoint(deviation["dtypes"])


def _causes(runs: Sequence[Run], judgements: Mapping[str, Any]) -> str:
    lines = ["\n## What was found, and what we make of it\n"]
    for cause in judgements.get("cause", ()):
        lines += [f"### {cause['title']}\n", f"**{cause['judgement']}** · {', '.join(cause['candidates'])}\n"]
        lines += [cause["why"].strip() + "\n"]
        lines += [f"```python\n{cause['snippet'].strip()}\n```\n"] if "snippet" in cause else []
    unseen = [(run["adapter"], each["clause"], each["operator"]) for run in runs for each in run["deviations"]]
    open_ones = sum(not causes_of(run, each, judgements["cause"]) for run in runs for each in run["deviations"])
    return "\n".join([*lines, f"{len(unseen)} deviations; {open_ones} of them {NOT_JUDGED}.\n"])


def _candidate(run: Run, judgements: Mapping[str, Any]) -> str:
    lines = [f"### {run['adapter']}\n", f"{run['version']} · {', '.join(run['dtypes'])} · {run['verdict']}\n"]
    declared = [f"- `{key}`: {value}" for key, value in run["declared_precision"].items()]
    lines += ["Declared:\n", *declared, ""] if declared else []
    tiers = table(("operator", *TIERS), [_tiers(run, operator) for operator in run["provides"] if operator in COLUMNS])
    lines += [tiers + "\n"]
    lines += [f"Cannot judge: {reason}\n" for reason in run["refused"]]
    rows = [_row(run, each, judgements["cause"]) for each in run["deviations"]]
    titles = ("clause", "operator", "dtypes", "what", "smallest input", "got", "permitted", "judgement")
    return "\n".join([*lines, table(titles, rows) + "\n" if rows else ""])


def _tiers(run: Run, operator: str) -> list[str]:
    rows = {row["tier"]: row for row in run["rows"] if row["operator"] == operator}
    cells = []
    for tier in TIERS:
        row = rows.get(tier)
        words = {"conforms": "ok", "fails": "**fails**"}
        cells.append("" if row is None else f"{words.get(row['verdict'], row['verdict'])} {_margin(row['margin'])}")
    return [operator, *cells]


def _margin(margin: float | str) -> str:
    return f"{float(margin):.2g}" if margin else ""


def _row(run: Run, each: Run, causes: Iterable[Run]) -> list[str]:
    found = [f"{cause['judgement']}: {cause['title']}" for cause in causes_of(run, each, causes)]
    return [
        each["clause"],
        each["operator"],
        ", ".join(each["dtypes"]),
        escaped(each["what"]),
        escaped("; ".join(each["input"])),
        _number(each["got"]),
        _permitted(each),
        "; ".join(found) or NOT_JUDGED,
    ]


def _permitted(each: Run) -> str:
    if each["permitted"] is None:
        return ""
    low, high = map(_number, each["permitted"])
    return low if low == high else f"{low} to {high} (exact {_number(each['exact'])})"


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.9g}" if isinstance(value, float) else str(value)
