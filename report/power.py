"""The kill matrix in words: one set of tables from a record's data, for the terminal and for docs/power.md."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from assay.report import power_words as said
from assay.report.progress import Steps
from assay.report.verdict import CONFORMS, EXIT_CODES, FAILS, REFUSED
from assay.spec import OPERATORS
from assay.spec.pages_text import escaped, table
from assay.tests.mutants.origins import ORIGINS, OURS, UNTOLD, origin_of
from assay.tests.power.record import Asked, Record, written
from assay.tests.trial.failure import TIERS
from assay.tests.trial.usage import writable

Row = dict[str, Any]
Cells = Sequence[str]
GROUPS = ("kind", "tier", "difficulty")
NONE = "-"


@dataclass(frozen=True)
class Section:
    """A heading, words, and a table; ``whole`` ones are too long for a terminal."""

    title: str
    words: str = ""
    head: Cells = ()
    rows: list[Cells] = field(default_factory=list)
    whole: bool = False


def sections(data: Row) -> list[Section]:
    """Everything that a record says, in order. What was not asked is not there."""
    budgets: list[str] = data["run"]["budgets"]
    found = [Section("Power", *_overview(data, budgets))]
    for title, key in (("the catalogue", "mutants"), ("the generated mutants", "generated")):
        if data[key]:
            found += _of_mutants(title, data[key], budgets)
    whole = data["mutants"] and not any(data["run"].get(word) for word in ("only", "interrupted", "first"))
    found += [_origins(data["mutants"], budgets), _alone(data), _lonely(data)] if whole else []
    found += [_peers(data, budgets)] if data["run"]["peers"] else []
    found += [_smallest("Smallest error, by tier", said.SMALLEST, data["smallest"])] if data["smallest"] else []
    found += [_smallest("Smallest error, by terms", said.TERMS, data["terms"])] if data["terms"] else []
    found += [_matrix("Kill matrix", data["mutants"], budgets)] if data["mutants"] else []
    found += [_matrix("Kill matrix, generated", data["generated"], budgets)] if data["generated"] else []
    return [section for section in found if section.rows or section.words]


def run(asked: Asked, path: str | None, console: Console) -> int:
    """Do what is asked, with a bar, show it, and keep it. The exit code: 0 unless a mutant outlives the gate.

    Raises:
        UsageProblem: there is nothing to do, or the file cannot be written.
    """
    record = Record(asked, asked.tasks())
    keeping = writable("--json", path) if path is not None else None
    try:
        data = _done(record, keeping, console)
        if keeping:
            keeping.write_text(written(data), encoding="utf-8")
        show(data, console)
    except KeyboardInterrupt:
        console.print("interrupted")
        return EXIT_CODES["interrupted"]
    if data["run"]["interrupted"] and keeping:
        console.print(f"Interrupted; the same command goes on where it was, with {keeping}.part.", highlight=False)
    return exit_code(data)


def _done(record: Record, keeping: Path | None, console: Console) -> Row:
    with Steps(console, "tasks", len(record.tasks)) as steps:
        record.run(lambda task: steps.step(" ".join(task[:2])), keeping)
    return record.data()


def exit_code(data: Row) -> int:
    """0, 1 where a mutant of the catalogue outlives more than the quick budget, 3 where a process gave no answer."""
    if data["run"]["interrupted"]:
        return EXIT_CODES["interrupted"]
    if any(alive(data["mutants"], budget) for budget in data["run"]["budgets"] if budget != "quick"):
        return EXIT_CODES[FAILS]
    return EXIT_CODES[REFUSED] if data["failed"] else EXIT_CODES[CONFORMS]


def alive(rows: Iterable[Row], budget: str) -> list[Row]:
    """The mutants that ran at a budget and that no law caught."""
    return [row for row in rows if row[budget] is not None and row[budget]["kill"] is None]


def _overview(data: Row, budgets: Sequence[str]) -> tuple[str, Cells, list[Cells]]:
    run = data["run"]
    words = (
        f"python {run['python']}, torch {run['torch']}, hypothesis {run['hypothesis']}; {run['workers']} processes on "
    )
    words += f"{run['cores']} cores, {run['seconds']:.0f} s in all."
    words += " Interrupted: what follows is a part." if run["interrupted"] else ""
    words += f" Only mutants whose id begins with {run['only']!r}." if run["only"] else ""
    words += f" {run['later']}" if run.get("later") else ""  # rows that were put in by hand
    words += "".join(f" {task}: {why}." for task, why in data["failed"].items())
    head = ("mutants", "budget", "caught", "share", "median", "90 %", "longest", "median by file")
    kinds = (("catalogue", "mutants"), (f"generated, seed {run['generated']}", "generated"))
    rows = [(name, budget, *_figures(data[key], budget)) for name, key in kinds for budget in budgets if data[key]]
    return words, head, rows


def _figures(rows: Sequence[Row], budget: str) -> Cells:
    """Caught, share, and of the seconds to the kill the median, the 90 % point, the longest, and the files' median."""
    ran = [row[budget] for row in rows if row[budget] is not None]
    times = sorted(each["kill"]["seconds"] for each in ran if each["kill"])
    filed = [each["by_file"] for each in ran if each["by_file"] is not None]
    if not times:
        return (f"0 of {len(ran)}", *[NONE] * 5)
    ninety = times[math.ceil(0.9 * len(times)) - 1]
    share = f"{100 * len(times) / len(ran):.1f} %"
    seconds = (statistics.median(times), ninety, times[-1])
    by_file = f"{statistics.median(filed):.2f} s" if filed else NONE
    return (f"{len(times)} of {len(ran)}", share, *(f"{s:.2f} s" for s in seconds), by_file)


def _of_mutants(title: str, rows: Sequence[Row], budgets: Sequence[str]) -> list[Section]:
    groups: list[Cells] = []
    for name in GROUPS:
        for value in dict.fromkeys(row[name] for row in rows):
            mine = [row for row in rows if row[name] == value]
            groups.append((name, value, *(cell for budget in budgets for cell in _figures(mine, budget)[:3:2])))
    head = ("", "", *(cell for budget in budgets for cell in (f"caught, {budget}", "median")))
    last = budgets[-1]
    tiers = [tier for tier in TIERS if any(tier in (row[last] or {"tiers": ()})["tiers"] for row in rows)]
    kinds = [
        (kind, *(_sees(rows, kind, tier, last) for tier in tiers)) for kind in dict.fromkeys(r["kind"] for r in rows)
    ]
    words = f"Mutants that a tier's laws catch, of those that it has laws for; {last}."
    return [
        Section(f"By kind, tier and difficulty: {title}", "", head, groups),
        Section(f"Kind by tier: {title}", words, ("kind", *tiers), kinds),
        _survivors(title, rows, budgets),
    ]


def _origins(rows: Sequence[Row], budgets: Sequence[str]) -> Section:
    """By whom they are."""
    found: list[Cells] = []
    for origin in (OURS, *ORIGINS):
        if mine := [row for row in rows if origin_of(row["id"]) == origin]:
            caught = (_figures(mine, budget)[0] for budget in budgets)
            beginnings = ", ".join(f"`{word}`" for word in origin.beginnings) or "all others"
            counts = (str(number or "") for number in (origin.kernels, origin.past))
            found.append((beginnings, origin.whence, *counts, *caught))
    head = ("mutants", "whence", "kernels", "got past", *(f"caught, {budget}" for budget in budgets))
    return Section("By origin", f"{said.ORIGINS} {'; '.join(UNTOLD)}.", head, found)


def _sees(rows: Iterable[Row], kind: str, tier: str, budget: str) -> str:
    tried = [
        row[budget]["tiers"][tier] for row in rows if row["kind"] == kind and tier in (row[budget] or _NOTHING)["tiers"]
    ]
    return f"{sum(cell is not None for cell in tried)} of {len(tried)}" if tried else ""


_NOTHING: Row = {"tiers": {}}


def _survivors(title: str, rows: Sequence[Row], budgets: Sequence[str]) -> Section:
    lived = {budget: [row["id"] for row in alive(rows, budget)] for budget in budgets}
    found: list[Cells] = []
    for row in rows:
        mine = [budget for budget in budgets if row["id"] in lived[budget]]
        if mine:
            seen = "; ".join(dict.fromkeys(p for budget in mine for p in row[budget]["problems"]))
            why = row["reason"] or seen or _later(row, budgets)
            found.append((row["id"], row["clause"], row["dtype"], ", ".join(mine), row["words"], why))
    words = "" if found else "None: every mutant that ran was caught."
    return Section(f"Alive: {title}", words, ("mutant", "clause", "dtype", "alive at", "what is wrong", "why"), found)


def _later(row: Row, budgets: Sequence[str]) -> str:
    """That a mutant is seen with more examples, if it is."""
    kills = {budget: row[budget]["kill"] for budget in budgets if row[budget] and row[budget]["kill"]}
    return "; ".join(f"rare: seen at {budget}, by example {kill['examples']}" for budget, kill in kills.items()) or NONE


def _alone(data: Row) -> Section:
    rows = [(clause, str(len(ids)), ", ".join(ids[:3])) for clause, ids in data["alone"].items() if ids]
    words = (
        f"Mutants that only the laws of one clause catch ({data['run']['budgets'][-1]}): without it, they would live."
    )
    return Section("Clauses that somebody needs", words, ("clause", "mutants", "for example"), rows, whole=True)


def _lonely(data: Row) -> Section:
    lacking = [clause for clause, ids in data["alone"].items() if not ids]
    words = f"{len(lacking)} of {len(data['alone'])}: {', '.join(lacking) or 'none'}."
    return Section("Clauses without a mutant of their own", words)


def _peers(data: Row, budgets: Sequence[str]) -> Section:
    rows = [row for row in data["mutants"] + data["generated"] if row.get("rejected_by") is not None]
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    judges = [(f"assay, {budget}", [bool(row[budget] and row[budget]["kill"]) for row in rows]) for budget in budgets]
    judges += [(peer, [peer in row["rejected_by"] for row in rows]) for peer in data["run"]["peers"]]
    found: list[Cells] = []
    for name, rejected in judges:
        each = [[no for no, row in zip(rejected, rows, strict=True) if row["kind"] == kind] for kind in kinds]
        wrongly = [name in row["rejected_by"] for row in data["correct"]]
        fair = _of(wrongly) if wrongly and name in data["run"]["peers"] else ""
        found.append((name, _of(rejected), *map(_of, each), fair))
    return Section("Peers on the same mutants", said.PEERS, ("judge", "rejected", *kinds, "correct rejected"), found)


def _of(each: Sequence[bool]) -> str:
    return f"{sum(each)} of {len(each)}"


def _smallest(title: str, words: str, rows: Sequence[Row]) -> Section:
    tiers = [tier for tier in TIERS if any(row["tier"] == tier for row in rows)]
    keys = list(dict.fromkeys((row["operator"], row["dtype"], row.get("n")) for row in rows))
    by_key = {(row["operator"], row["dtype"], row.get("n"), row["tier"], row["where"]): row for row in rows}
    found = []
    for key in sorted(keys, key=lambda k: (list(OPERATORS).index(k[0]), keys.index(k))):
        cells = [" / ".join(_error(by_key.get((*key, tier, where))) for where in ("all", "one")) for tier in tiers]
        found.append((*map(str, key[: 2 if key[2] is None else 3]), *(cell.strip(" /") for cell in cells)))
    head = ("operator", "dtype", *(["n"] if any("n" in row for row in rows) else []), *tiers)
    return Section(title, words, head, found)


def _error(row: Row | None) -> str:
    if row is None:
        return ""
    return "none" if row["e"] is None else f"{row['e']:.1e}"


def _matrix(title: str, rows: Sequence[Row], budgets: Sequence[str]) -> Section:
    ran = [(row, last) for row in rows if (last := _last(row, budgets))]
    tiers = [tier for tier in TIERS if any(tier in last["tiers"] for _, last in ran)]
    found = [
        (*_who(row), *_first(row, budgets), str(last["clauses"]), *(_cell(last["tiers"], tier) for tier in tiers))
        for row, last in ran
    ]
    head = ("mutant", "kind", "difficulty", "dtype", *(f"killed, {b}" for b in budgets), "clauses", *tiers)
    return Section(f"{title} ({budgets[-1]}, or the last that it ran at)", said.MATRIX, head, found, whole=True)


def _last(row: Row, budgets: Sequence[str]) -> Any:
    """What was seen at the last of the budgets that the mutant ran at, or None."""
    return next((row[budget] for budget in reversed(budgets) if row[budget] is not None), None)


def _who(row: Row) -> Cells:
    return row["id"], row["kind"], row["difficulty"], row["dtype"]


def _first(row: Row, budgets: Sequence[str]) -> Cells:
    """When it was killed at each budget that it ran at."""
    ran = [row[budget] for budget in budgets]
    kills = [found and found["kill"] for found in ran]
    alive = [NONE if found is None else "alive" for found in ran]
    return tuple(f"{kill['seconds']:.2f} s" if kill else lives for kill, lives in zip(kills, alive, strict=True))


def _cell(tiers: Row, tier: str) -> str:
    if tier not in tiers:
        return ""
    return NONE if tiers[tier] is None else f"{tiers[tier][0]} · {tiers[tier][1]:.2f} s"


def markdown(data: Row) -> str:
    """docs/power.md."""
    parts = []
    for number, section in enumerate(sections(data)):
        parts.append(f"{'##' if number else '#'} {section.title}")
        parts += [said.ABOUT] if not number else []
        parts += [escaped(section.words)] if section.words else []
        parts += [table(section.head, (map(escaped, row) for row in section.rows))] if section.rows else []
    return "\n\n".join(parts) + "\n"


def show(data: Row, console: Console) -> None:
    """What fits a terminal: all but the whole matrix."""
    for section in sections(data):
        if section.whole:
            continue
        console.print(f"\n[bold]{escape(section.title)}[/]", highlight=False)
        if section.words:
            console.print(escape(" ".join(section.words.split())), highlight=False)
        if section.rows:
            shown = Table(*section.head, box=None, pad_edge=False)
            for row in section.rows:
                shown.add_row(*map(escape, row))
            console.print(shown)
