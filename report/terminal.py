"""What the terminal shows: the settings, live progress, a table of operators and tiers, and each failure in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.syntax import Syntax
from rich.table import Table

from assay.report import REPLAYS, failures
from assay.report.progress import Steps
from assay.report.verdict import CONFORMS, FAILS, LEFT_OUT, NOT_PROVIDED, OUTDATED, REFUSED, WAIVED, Verdict
from assay.report.waivers import UNTOLD, USED, Use
from assay.tests.trial.declared import keys
from assay.tests.trial.failure import TIERS

SEVERAL = 3  # waivers that were not used, of which each is told
LONG = 8000  # characters of a script: what is longer stands in a file
STYLES = {CONFORMS: "green", FAILS: "bold red", REFUSED: "yellow", WAIVED: "magenta"}
STYLES |= {NOT_PROVIDED: "dim", LEFT_OUT: "dim", "no law": "dim", OUTDATED: "bold red"}
MARKS = {CONFORMS: "ok", FAILS: "FAIL", REFUSED: "cannot judge", WAIVED: "waived"}
MARKS |= {NOT_PROVIDED: "not provided", LEFT_OUT: "left out", "no law": "-"}
COUNTED = (CONFORMS, WAIVED, FAILS, REFUSED, LEFT_OUT, NOT_PROVIDED)
SAID = {
    CONFORMS: "conforms",
    FAILS: "does not conform",
    REFUSED: "cannot be judged",
    WAIVED: "conforms",
    OUTDATED: "conforms, but for waivers that are out of date",
    "interrupted": "was not judged to the end",
}


class Live(Steps):
    """Progress of laws, and how many have failed."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, "laws")
        self.failed = 0

    def judged(self, operator: str, verdict: str) -> None:
        """One more law has ended."""
        self.failed += verdict == FAILS
        self.step(f"{operator:<10}", f", {self.failed} failed" if self.failed else "")


def header(verdict: Verdict, console: Console) -> None:
    """Who is judged, on what, by what: every setting."""
    s = verdict.settings()
    seed = "fixed" if s["seed"] is None else s["seed"]
    say(console, f"[bold]assay[/] judges [bold]{escape(s['candidate'])}[/]  {s['version']}")
    say(console, f"  on {s['device']} in {', '.join(s['dtypes'])}")
    if s["isolated"]:
        say(console, f"  in a process of its own{'  ' if s['worker'] else ''}{s['worker']}")
    say(console, f"  profile {s['profile']} · budget {s['budget']} · seed {seed}")
    if s["precision"]:
        say(console, f"  precision on the command line: {escape(' '.join(s['precision']))}")
    if s["waivers"]:
        say(console, f"  waivers of {escape(s['waivers'])}")
    say(
        console,
        f"  python {s['python']} · numpy {s['numpy']} · torch {s['torch'] or '-'} · hypothesis {s['hypothesis']}",
    )


UNSELECTED = "none ran: no law of what was asked for is selected, by --op, --dtype, or -k and others after --"


def report(verdict: Verdict, console: Console) -> None:
    """The failures, the table, and the verdict, which stands last."""
    for found, others in failures.grouped(verdict.failures):
        _failure(found, others, console)
    for e in verdict.entries:
        if e["verdict"] == REFUSED:
            say(
                console, f"[yellow]CANNOT JUDGE[/] {e['clause']}  {e['operator']} · {e['dtype']}: {escape(e['reason'])}"
            )
    for line in verdict.left_out():
        say(console, f"[dim]{escape(line)}[/]")
    for error in verdict.errors:
        say(console, f"[red]ERROR[/] {escape(error)}")
    _waivers(verdict.waivers(), console)
    console.print(_table(verdict))
    say(console, "[dim]each cell: examples tried; below, the largest margin, of which 1.0 is the limit[/]")
    provided = verdict.run.implementation.operators
    if lacking := dict.fromkeys(what for operator, _, what in verdict.lacking if operator in provided):
        say(console, f"[dim](part): laws were left out that need {escape(', '.join(lacking))}[/]")
    if unheard := {word for e in verdict.entries if e["verdict"] == NOT_PROVIDED for word in e["lacking"]}:
        words = escape(", ".join(sorted(unheard)))
        say(console, f"[dim](part): laws tell nothing of a program that does not know {words} (docs/protocol.md)[/]")
    _closing(verdict, console)


def say(console: Console, text: str) -> None:
    """A line of rich's markup, as it stands: no number of it is coloured, and it is not broken."""
    console.print(text, highlight=False, soft_wrap=True)


def _failure(found: failures.Record, others: Sequence[failures.Record], console: Console) -> None:
    heading, *lines = failures.text(found, others).splitlines()
    say(console, f"[bold red]{escape(heading)}[/]")
    for line in lines:
        say(console, escape(line))
    if kept := _kept_apart(found):
        say(console, f"  script     {escape(str(kept))}")
    elif found["script"]:
        say(console, "  script")
        console.print(Syntax(found["script"], "python", theme="ansi_dark", background_color="default"), soft_wrap=True)
    say(console, "")


def _kept_apart(found: failures.Record) -> Path | None:
    """The file of a script that is too long for a terminal; None where it is not, or nothing can be written."""
    if len(found["script"]) <= LONG:
        return None
    path = REPLAYS.parent / f"{found['id']}.py"
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text(found["script"] + "\n")
    except OSError:
        return None
    return path


def _waivers(uses: Sequence[Use], console: Console) -> None:
    """Each that says something of the candidate; of the others, where they are many, how many there are."""
    untold = [use for use in uses if use.state == UNTOLD]
    for use in uses if len(untold) <= SEVERAL else [use for use in uses if use.state != UNTOLD]:
        _waiver(use, console)
    if len(untold) > SEVERAL:
        what = f"{len(untold)}: what they cover conforms here, or this run cannot tell; --json says of each why"
        say(console, f"[dim]WAIVERS NOT USED[/] {what}")


def _waiver(use: Use, console: Console) -> None:
    """A waiver that was needed, in full; one that is out of date, with what to do; one that is neither, in a line."""
    waiver = use.waiver
    style = {USED: STYLES[WAIVED], UNTOLD: "dim"}.get(use.state, STYLES[OUTDATED])
    heading = "WAIVER NOT USED" if use.state == UNTOLD else "WAIVED" if use.state == USED else f"WAIVER {use.state}"
    about = escape(f"{waiver.clause} · {waiver.operator}  ({waiver.place})")
    say(console, f"[{style}]{heading}[/] {about}: {escape(use.said)}")
    if use.state == USED:
        counts = f"{use.laws} trial{'s' * (use.laws != 1)}, {use.examples} example{'s' * (use.examples != 1)}"
        say(console, escape(f"  {counts}, until {waiver.expiry}: {waiver.reason}  {waiver.url}"))


def _table(verdict: Verdict) -> Table:
    rows = {(row["operator"], row["tier"]): row for row in verdict.rows()}
    judged = {e["tier"] for e in verdict.entries}
    tiers = [tier for tier in TIERS if tier in judged]
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("operator", no_wrap=True)
    for tier in tiers:  # at their narrowest, a word and a number below each other
        table.add_column(tier)
    for operator in verdict.run.operators:
        if operator not in verdict.run.implementation.operators:
            continue  # it is named below, as not provided
        table.add_row(operator, *(_cell(rows[operator, tier]) for tier in tiers))
    return table


def _cell(row: dict[str, object]) -> str:
    """Verdict and examples, and below them the margin: eight columns stand side by side in a terminal of 80."""
    word = str(row["verdict"])
    lines = MARKS[word].split()
    if word in (CONFORMS, FAILS, WAIVED):
        margin = float(str(row["margin"]))
        below = [_short(margin)] if margin else []
        below += ["(part)"] if row["missing"] else []
        lines = [f"{MARKS[word]} {row['examples']}", *below]
    text = "\n".join(lines)
    return f"[{STYLES[word]}]{text}[/]"


def _short(margin: float) -> str:
    """Two decimals, or as few digits as a margin of many thousands needs."""
    return f"{margin:.2f}" if margin < 1000 else f"{margin:.1e}"


def _closing(verdict: Verdict, console: Console) -> None:
    commanded = keys(verdict.run.precision)
    for key, text in verdict.declared().items():
        say(console, f"  declared  {key}: {text}{'  (on the command line)' if key in commanded else ''}")
    missing = verdict.settings()["not_provided"]
    if missing:
        say(console, f"  not provided  {', '.join(missing)}")
    words = [e["verdict"] for e in verdict.entries]
    clauses = len({e["clause"] for e in verdict.entries})
    counts = ", ".join(f"{words.count(word)} {word}" for word in COUNTED if word in words)
    none = "none ran" if verdict.interrupted or verdict.errors else UNSELECTED
    elements = sum(e["compared"] for e in verdict.entries)
    seconds = f"{verdict.seconds:.1f} s"
    say(
        console,
        f"{clauses} clauses, {len(words)} trials ({counts or none}), {elements} elements, {seconds}",
    )
    loose = [text for text in verdict.declared().values() if text != "strict"]
    under = " under the declared precision" if verdict.word in (CONFORMS, WAIVED) and loose else ""
    waived = words.count(WAIVED)
    but = f", {waived} trial{'s' * (waived != 1)} waived" if verdict.word == WAIVED else ""
    style = STYLES.get(verdict.word, "yellow")
    said = f"{SAID[verdict.word]}{under}{but}{_in_part(verdict)}"
    say(console, f"[{style}]{escape(verdict.run.implementation.name)} {said}[/]")


def _in_part(verdict: Verdict) -> str:
    """Nobody conforms in what was left out, by --op, --dtype or -k, or in a replay."""
    n = verdict.extent()
    if verdict.word not in (CONFORMS, WAIVED) or n["trials"] >= n["of_trials"]:
        return ""
    clauses = f"{n['clauses']} of {n['of_clauses']} clauses, {n['trials']} of {n['of_trials']} trials"
    return f" in what was asked: {clauses}"
