"""The `assay` command: a thin front of pytest, and the pages of the spec."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from assay.implementations.load import ADAPTERS
from assay.report import REPLAYS, interrupt

ROOT = Path(__file__).resolve().parent
# Where the run ended before it had a verdict.
PYTEST_TO_ASSAY = {
    pytest.ExitCode.USAGE_ERROR: 2,
    pytest.ExitCode.NO_TESTS_COLLECTED: 3,
    pytest.ExitCode.INTERRUPTED: interrupt.CODE,
}
EPILOG = "Whatever stands after -- goes to pytest: assay check torch -- -k conv2d -x"
PRECISION = "declare this over what it declares itself; strict drops all that it does (repeatable)"
QUIET = [
    "-qq",
    "--assert=plain",
    "--no-header",
    "-rN",
    "--tb=no",
    "--disable-warnings",
    "-oconsole_output_style=classic",
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one `assay` command; the exit code is 0, 1 (does not conform), 2 (usage), 3 (cannot judge) or 130."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    cut = given.index("--") if "--" in given else len(given)
    words = _parser().parse_args(given[:cut])
    words.pytest = given[cut + 1 :]
    try:
        code: int = words.run(words)
    except KeyboardInterrupt:
        print("assay: interrupted", file=sys.stderr)
        return interrupt.CODE
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="assay", description="Judge an implementation of neural-network operators.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _check_arguments(commands.add_parser("check", help="judge an implementation", epilog=EPILOG))
    replay = commands.add_parser("replay", help="show a failure of the last run in this folder again")
    replay.add_argument("id", help="what stands behind 'again' in the report")
    replay.set_defaults(run=_replay)
    commands.add_parser("list", help="all clauses").set_defaults(run=_list)
    explain = commands.add_parser("explain", help="one clause: formula, source, laws, blind spots")
    explain.add_argument("id", help="a clause's id, for example conv2d.output-size")
    explain.set_defaults(run=_explain)
    pages = commands.add_parser("pages", help="render spec/pages from the clauses")
    pages.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page is out of step")
    pages.set_defaults(run=_pages)
    _power_arguments(commands.add_parser("power", help="run wrong implementations: what do the laws catch?"))
    _bench_arguments(commands.add_parser("bench", help="time an implementation against another", epilog=EPILOG))
    return parser


def _check_arguments(check: argparse.ArgumentParser) -> None:
    forms = f"pkg.mod, pkg.mod:attribute, path.py, path.py:attribute, or an adapter: {', '.join(ADAPTERS)}"
    check.add_argument("implementation", nargs="?", help=forms)
    _place_arguments(check)
    check.add_argument(
        "--op", action="append", default=[], metavar="NAME", help="judge this operator only (repeatable)"
    )
    check.add_argument("--dtype", action="append", default=[], metavar="NAME", help="in this dtype only (repeatable)")
    check.add_argument("--device", default="cpu", metavar="cpu|cuda|cuda:N", help="where it runs (default cpu)")
    check.add_argument("--profile", default="torch", metavar="documented|torch", help="default torch: a drop-in")
    check.add_argument("--budget", default="quick", metavar="quick|gate|deep", help="how hard (default quick)")
    check.add_argument("--seed", type=int, metavar="N", help="draw other examples than the fixed ones")
    check.add_argument(
        "--precision", action="append", default=[], metavar="OP.DIRECTION.DTYPE=KEY:VALUE,...|strict", help=PRECISION
    )
    check.add_argument("--waivers", metavar="FILE", help="cases on which it is known to fail (docs/waivers.md)")
    check.add_argument("--json", metavar="FILE", help="write everything that the terminal shows")
    check.add_argument("-n", default="0", metavar="WORKERS", help="processes (default 0: this one)")
    check.set_defaults(run=_check)


def _place_arguments(check: argparse.ArgumentParser) -> None:
    check.add_argument("--python", metavar="PATH", help="the interpreter that loads it (default: this one)")
    check.add_argument("--command", metavar="LINE", help="judge a program that speaks docs/protocol.md instead")
    check.add_argument("--in-process", action="store_true", help="load it into this process, for debugging")
    check.add_argument("--time-limit", default="60", metavar="SECONDS", help="for one call (default 60)")
    check.add_argument("--memory-limit", default="4", metavar="GIB", help="after loading, on the CPU (default 4)")


def _power_arguments(power: argparse.ArgumentParser) -> None:
    budgets = ("quick", "gate", "deep")
    power.add_argument("--budget", action="append", choices=budgets, help="how hard (default quick; repeatable)")
    power.add_argument(
        "--only", action="append", default=[], metavar="ID-PREFIX", help="mutants whose id begins so (repeatable)"
    )
    power.add_argument("--generated", type=int, metavar="SEED", help="also mutants that this seed generates")
    power.add_argument("--first", action="store_true", help="only until the first law that sees a mutant: much faster")
    and_right = "; and, where no --only is given, on correct implementations"
    power.add_argument("--peers", action="store_true", help=f"also four simple judges, on the same mutants{and_right}")
    power.add_argument("--smallest", action="store_true", help="also the smallest error that each tier sees")
    power.add_argument("--json", metavar="FILE", help="write everything, one line a mutant")
    power.add_argument("-n", type=int, default=os.cpu_count() or 1, metavar="WORKERS", help="processes at a time")
    power.add_argument("--render", action="store_true", help="run nothing; render docs/power.md from docs/power.json")
    power.set_defaults(run=_power)


def _bench_arguments(bench: argparse.ArgumentParser) -> None:
    bench.add_argument("implementation", help="what is timed: torch, pkg.mod[:attribute], path.py[:attribute]")
    bench.add_argument(
        "--against", default="torch", metavar="BASELINE", help="what it is timed against (default torch)"
    )
    bench.add_argument("--set", default="quick", metavar="quick|standard|full", help="which cases (default quick)")
    bench.add_argument("--op", action="append", default=[], metavar="NAME", help="this operator only (repeatable)")
    bench.add_argument("--case", default="", metavar="TEXT", help="only cases whose name holds this")
    bench.add_argument("--dtype", action="append", default=[], metavar="NAME", help="in this dtype only (repeatable)")
    bench.add_argument("--device", default="cpu", metavar="cpu|cuda|cuda:N", help="where it runs (default cpu)")
    bench.add_argument("--seconds", type=float, metavar="S", help="to spend on a case (default 3, 6 or 15 by set)")
    bench.add_argument("--rounds", type=int, metavar="N", help="A B B A blocks a case, instead of --seconds")
    bench.add_argument("--save", metavar="NAME", help="keep the run in .benchmarks under this name")
    bench.add_argument("--compare", metavar="NAME", help="hold it against the newest run of this name, or a file")
    bench.add_argument("--max-regression", metavar="P%", help="how much slower it may have become (default 5%%)")
    bench.add_argument("--growth", metavar="FILE", help="instead: time against size, as a picture (.png or .svg)")
    bench.set_defaults(run=_bench)


def _check(words: argparse.Namespace) -> int:
    if bool(words.implementation) == bool(words.command):
        return _usage("check: give an implementation, or --command and a program; `assay check --help` says more")
    if not (words.n.isdecimal() or words.n in ("auto", "logical")):
        return _usage(f"-n {words.n}: give a number of processes, or auto")
    words.n = str(int(words.n)) if words.n.isdecimal() else words.n
    options = _placed(words.implementation, vars(words))
    options += [f"--device={words.device}", f"--profile={words.profile}", f"--budget={words.budget}"]
    options += [*(f"--op={op}" for op in words.op), *(f"--dtype={dtype}" for dtype in words.dtype)]
    options += [f"--time-limit={words.time_limit}", f"--memory-limit={words.memory_limit}"]
    options += [f"--seed={words.seed}"] if words.seed is not None else []
    options += _terms(words.precision, words.waivers)
    options += [f"--json={words.json}"] if words.json else []
    options += ["-n", words.n] if words.n != "0" else []
    if words.n != "0":  # workers share the cores; laws of settings ask for more threads
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _workers(words.n))))
    return _pytest([str(ROOT / "tests" / "conformance"), *options, *words.pytest])


def _placed(implementation: str | None, words: Mapping[str, Any]) -> list[str]:
    """pytest's options for who is judged, and where it runs."""
    options = [f"--impl={implementation}"] if implementation is not None else []
    options += [f"--{name}={words[name]}" for name in ("python", "command") if words[name] is not None]
    return options + (["--in-process"] if words["in_process"] else [])


def _terms(precision: Sequence[str], waivers: str | None) -> list[str]:
    """pytest's options for what is declared and what is waived."""
    return [*(f"--precision={word}" for word in precision), *([f"--waivers={waivers}"] if waivers is not None else [])]


def _workers(given: str) -> int:
    return int(given) if given.isdecimal() else os.cpu_count() or 1


def _pytest(options: list[str]) -> int:
    fixed = ["-c", str(ROOT / "pytest.ini"), "--rootdir", str(ROOT), "-p", "no:cacheprovider", "--assay-live", *QUIET]
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin take the cores of who waits for them
    code = pytest.main([*fixed, *options])
    return PYTEST_TO_ASSAY.get(code, int(code))  # type: ignore[call-overload, no-any-return]


def _replay(words: argparse.Namespace) -> int:
    if not REPLAYS.is_file():
        return _usage(f"no failures are kept in this folder ({REPLAYS}); run `assay check` here first")
    try:
        kept = {each["failure"]["id"]: each for each in json.loads(REPLAYS.read_text(encoding="utf-8"))}
        options = _again(kept[words.id]) if words.id in kept else []
    except (OSError, ValueError, TypeError, KeyError) as problem:
        why = f"{type(problem).__name__}: {problem}"
        return _usage(f"{REPLAYS} cannot be read ({why}); run `assay check` here again")
    if not options:
        return _usage(f"no failure {words.id!r} in the last run of this folder; it has {', '.join(map(str, kept))}")
    return _pytest(options)


def _again(found: Mapping[str, Any]) -> list[str]:
    """pytest's options for a failure that was kept."""
    run = found["run"]
    options = [*_placed(run["impl"], run["place"]), f"--device={run['device']}", f"--profile={run['profile']}"]
    options += [f"--time-limit={run['place']['seconds']}"]
    options += [f"--memory-limit={run['place']['memory'] / 2**30}"] if run["place"]["memory"] else []
    options += [f"--budget={run['budget']}", *(f"--dtype={dtype}" for dtype in run["dtypes"])]
    options += [f"--seed={run['seed']}"] if run["seed"] is not None else []
    options += _terms(run["precision"], run["waivers"])
    return [str(ROOT / found["failure"]["nodeid"]), "--assay-replay", *options]


def _list(words: argparse.Namespace) -> int:
    from assay.spec import CLAUSES
    from assay.tests.trial.laws import all_laws

    laws = all_laws()
    table = Table("clause", "statement, kind, tiers of its laws", box=None, pad_edge=False)
    for each in CLAUSES.values():
        tiers = dict.fromkeys(law.tier for law in laws if law.clause == each.id)
        table.add_row(each.id, f"{escape(each.statement)}\n[dim]{each.kind} · {', '.join(tiers)}[/]")
    Console().print(table)
    return 0


def _explain(words: argparse.Namespace) -> int:
    import difflib

    from assay.spec import CLAUSES, OPERATORS
    from assay.tests.trial.laws import all_laws

    if words.id not in CLAUSES:
        close = difflib.get_close_matches(words.id, CLAUSES, n=3)
        return _usage(
            f"no clause {words.id!r}; {'did you mean ' + ', '.join(close) if close else '`assay list` has all'}"
        )
    clause = CLAUSES[words.id]
    console = Console(highlight=False)
    console.print(f"[bold]{clause.id}[/bold]  ({clause.kind})", markup=True)
    rows = [("says", clause.statement), ("source", clause.source), ("note", clause.note)]
    if clause.chapter in OPERATORS:
        rows.insert(1, ("formula", OPERATORS[clause.chapter].formula))
    for law in (law for law in all_laws() if law.clause == clause.id):
        rows += [("law", f"{law.sentence}  ({law.name}, tier {law.tried})"), ("  blind to", law.blind)]
    table = Table.grid(padding=(0, 2))
    for key, value in rows:
        if value:
            table.add_row(f"  {key}", value.replace("[", "\\["))
    console.print(table)
    return 0


def _pages(words: argparse.Namespace) -> int:
    from assay.spec.pages_text import pages
    from assay.tests.trial.laws import all_laws

    folder = ROOT / "spec" / "pages"
    rendered = pages(all_laws())
    kept = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    stale = sorted(name for name in rendered.keys() | kept.keys() if rendered.get(name) != kept.get(name))
    if words.check:
        for name in stale:
            print(f"spec/pages/{name} is out of step: run `assay pages`")
        return 1 if stale else 0
    folder.mkdir(exist_ok=True)
    for name in stale:
        if name in rendered:
            (folder / name).write_text(rendered[name], encoding="utf-8")
        else:
            (folder / name).unlink()
        print(f"spec/pages/{name} {'written' if name in rendered else 'removed'}")
    return 0


def _power(words: argparse.Namespace) -> int:
    from assay.report import power
    from assay.tests.power.record import Asked
    from assay.tests.trial.usage import UsageProblem

    if words.render:
        source = ROOT / "docs" / "power.json"
        if not source.is_file():
            return _usage(f"there is no {source}; run `assay power --json {source}` first")
        text = power.markdown(json.loads(source.read_text(encoding="utf-8")))
        source.with_suffix(".md").write_text(text, encoding="utf-8")
        return 0
    if words.n < 1:
        return _usage(f"-n {words.n}; at least one process is needed")
    budgets = tuple(dict.fromkeys(words.budget or ["quick"]))
    try:
        asked = Asked(budgets, tuple(words.only), words.peers, words.smallest, words.generated, words.first, words.n)
        return power.run(asked, words.json, Console())
    except UsageProblem as problem:
        return _usage(str(problem))


def _bench(words: argparse.Namespace) -> int:
    from assay.implementations.load import LoadError
    from assay.report import bench
    from assay.tests.trial.usage import UsageProblem

    try:
        return bench.run(words)
    except (LoadError, UsageProblem) as problem:
        return _usage(str(problem))


def _usage(message: str) -> int:
    print(f"assay: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
