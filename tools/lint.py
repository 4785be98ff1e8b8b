"""The project's own rules, which neither ruff nor mypy knows.

    python tools/lint.py

One finding a line, ``path:line: message``; the exit code is 1 where there is one.
"""

from __future__ import annotations

import ast
import io
import os
import sys
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOADER = "implementations/load.py"
LONGEST_BODY, LONGEST_FILE = 25, 330

ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.MatMult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow)
TABLES = (ast.Tuple, ast.List, ast.Dict, ast.Set, ast.Constant)
COMPARING = ("abs", "bool", "float", "int", "max", "min", "round", "sorted")
CLOSE = ("allclose", "isclose", "approx", "assert_allclose", "assert_close", "assert_almost_equal")
TOLERANCES = ("rtol", "atol", "tolerance")
ASKING = ("pair", "parameter_count", "relu")  # in files of formulas, of sizes or of floats alone
# Themselves, and the judges of other projects, re-created to be measured beside this one: their tolerances are theirs.
EXEMPT_FROM_TOLERANCES = ("tools/lint.py", "tests/meta/test_lint.py", "tests/power/peers.py", "tests/mutants/state.py")

Found = tuple[int, str]


@dataclass(frozen=True)
class Source:
    """A file of the repository, read once."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def nodes(self) -> list[Any]:
        return list(ast.walk(self.tree))

    @cached_property
    def functions(self) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
        return [node for node in self.nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

    @cached_property
    def tokens(self) -> list[tokenize.TokenInfo]:
        return list(tokenize.generate_tokens(io.StringIO(self.text).readline))

    @cached_property
    def composed(self) -> set[int]:
        """The lines with a ``# composed:`` comment."""
        return {t.start[0] for t in self.tokens if t.type == tokenize.COMMENT and t.string.startswith("# composed:")}


def reference_imports(source: Source) -> Iterator[Found]:
    """reference/ stands on the standard library and itself alone."""
    for node in source.nodes:
        for name in imported(node):
            own = name == "assay.reference" or name.startswith("assay.reference.")
            if not own and name.split(".")[0] not in sys.stdlib_module_names:
                yield node.lineno, f"reference/ imports {name!r}; allowed: the standard library and assay.reference"


def imported(node: ast.AST) -> list[str]:
    """The modules that an import names; a relative one by its dots."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return ["." * node.level + (node.module or "")]
    return []


def adapter_catches_nothing(source: Source) -> Iterator[Found]:
    """What an operator raises is an observation: the adapter lets it through."""
    for node in source.nodes:
        caught = isinstance(node, ast.Try | ast.TryStar)
        if caught or name_of(node).rpartition(".")[2] == "suppress":
            yield node.lineno, "an adapter catches an exception; let it through, the judge sees it"


def adapter_tolerates_nothing(source: Source) -> Iterator[Found]:
    """No number is compared with, and nothing is named like a tolerance."""
    for node in source.nodes:
        if isinstance(node, ast.Compare) and any(is_number(part) for part in ast.walk(node)):
            yield node.lineno, "an adapter compares with a number; adapters enter, call and leave"
    for token in source.tokens:
        if token.type == tokenize.NAME and any(word in token.string.lower() for word in TOLERANCES):
            yield token.start[0], f"an adapter names {token.string!r}; bounds come from the accuracy model alone"


def adapter_computes_nothing(source: Source) -> Iterator[Found]:
    """Arithmetic stands only in a function, on a line that says what it composes."""
    inside = {id(node) for function in source.functions for node in ast.walk(function)}
    for node in source.nodes:
        if not is_arithmetic(node):
            continue
        if id(node) not in inside or source.composed.isdisjoint(range(node.lineno, node.end_lineno + 1)):
            yield node.lineno, "an adapter computes; compose only what the library lacks, with '# composed: why' there"


def is_arithmetic(node: ast.AST) -> bool:
    """Whether this is one of + - * / and the like on values; ``-1`` is a number."""
    if isinstance(node, ast.BinOp | ast.AugAssign):
        return isinstance(node.op, ARITHMETIC)
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and not is_number(node.operand)


def is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool)


def formulas_decide_nothing(source: Source) -> Iterator[Found]:
    """An enclosure that straddles zero has no answer to ``x > 0``: a formula asks ``is None`` at most."""
    for function in source.functions:
        if function.name in ASKING or function.name.endswith("_shape"):
            continue
        for node in ast.walk(function):
            if (what := decision(node)) is not None:
                line = getattr(node, "lineno", function.lineno)  # a comprehension has no line of its own
                yield line, f"{function.name} has {what}; a formula may ask 'is None', nothing of numbers"


def decision(node: ast.AST) -> str | None:
    """What in a formula depends on a value, in words."""
    if isinstance(node, ast.If | ast.IfExp | ast.While | ast.Assert):
        return None if asks_none(node.test) else f"'{type(node).__name__.lower()}' on a value"
    if isinstance(node, ast.comprehension):
        return None if all(map(asks_none, node.ifs)) else "a filter"
    if isinstance(node, ast.Compare):
        return None if asks_none(node) else "a comparison"
    if isinstance(node, ast.BoolOp):
        return None if all(map(asks_none, node.values)) else "'and' or 'or'"
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return "'not'"
    if isinstance(node, ast.Match):
        return "'match'"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in COMPARING:
        return f"a call of {node.func.id}"
    return None


def asks_none(node: ast.expr) -> bool:
    """Whether this is ``... is None`` or ``... is not None``, or several of them."""
    if isinstance(node, ast.BoolOp):
        return all(map(asks_none, node.values))
    if not isinstance(node, ast.Compare) or not all(isinstance(op, ast.Is | ast.IsNot) for op in node.ops):
        return False
    return all(isinstance(side, ast.Constant) and side.value is None for side in node.comparators)


def no_closeness(source: Source) -> Iterator[Found]:
    """There is no tolerance outside the accuracy model. Texts may speak of them; code may not."""
    for token in source.tokens:
        if token.type == tokenize.NAME and token.string in (*TOLERANCES[:2], *CLOSE):
            yield token.start[0], f"{token.string!r} is a tolerance; compare exactly, or with an enclosure"


def no_execution(source: Source) -> Iterator[Found]:
    """No text is run as code."""
    for node in source.nodes:
        if isinstance(node, ast.Call) and name_of(node.func) in ("exec", "eval", "builtins.exec", "builtins.eval"):
            yield node.lineno, f"a call of {name_of(node.func)}; import the module, or call the function"


def no_exit(source: Source) -> Iterator[Found]:
    """Only the command line decides an exit code."""
    for node in source.nodes:
        named = isinstance(node, ast.ImportFrom) and node.module == "sys" and "exit" in [a.name for a in node.names]
        if named or (isinstance(node, ast.Attribute) and name_of(node) == "sys.exit"):
            yield node.lineno, "sys.exit outside cli.py; raise, and let cli.py choose the exit code"


def name_of(node: ast.AST) -> str:
    """``a.b`` of a name or an attribute; of anything else nothing."""
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}" if name_of(node.value) else ""
    return node.id if isinstance(node, ast.Name) else ""


def short_functions(source: Source) -> Iterator[Found]:
    """A body fits on part of a screen; tables in it do not count."""
    for function in source.functions:
        body = function.body[ast.get_docstring(function, clean=False) is not None :]
        length = lines(body) - tabled(body)
        if length > LONGEST_BODY:
            yield function.lineno, f"{function.name} has {length} lines; at most {LONGEST_BODY}, so split it"


def short_files(source: Source) -> Iterator[Found]:
    """A file can be read in one go; tables in it do not count."""
    length = len(source.text.splitlines()) - tabled(source.tree.body)
    if length > LONGEST_FILE:
        yield 1, f"the file has {length} lines besides its tables; at most {LONGEST_FILE}, so split it"


def lines(body: list[ast.stmt]) -> int:
    """How many lines lie between the first and the last of ``body``, both included."""
    return (body[-1].end_lineno or body[-1].lineno) - body[0].lineno + 1 if body else 0


def tabled(body: list[ast.stmt]) -> int:
    """How many lines of ``body`` are literal tables, or texts, of several lines that are assigned or returned."""
    given = [s for s in body if isinstance(s, ast.Assign | ast.AnnAssign | ast.Return) and isinstance(s.value, TABLES)]
    return sum(lines([statement]) for statement in given if lines([statement]) > 1)


Rule = Callable[[Source], Iterator[Found]]

EVERYWHERE: tuple[Rule, ...] = (no_execution, short_functions, short_files)
ADAPTER: tuple[Rule, ...] = (adapter_catches_nothing, adapter_tolerates_nothing, adapter_computes_nothing)


def rules_of(path: str, adapters: tuple[str, ...]) -> list[Rule]:
    """The rules that hold for a file."""
    chosen = list(EVERYWHERE)
    chosen += ADAPTER if path in adapters else ()
    chosen += [reference_imports] if path.startswith("reference/") else []
    formula = path.startswith("reference/") and path.count("/") == 1 and path != "reference/tensor.py"
    chosen += [formulas_decide_nothing] if formula else []
    chosen += [no_closeness] if path not in EXEMPT_FROM_TOLERANCES else []
    chosen += [no_exit] if path != "cli.py" else []
    return chosen


def adapters_of(root: Path) -> tuple[str, ...]:
    """The files that ADAPTERS in the loader lists.

    Raises:
        ValueError: there is no such table, it is not literal, or a file of it is missing.
    """
    values = assigned(ast.parse((root / LOADER).read_text(encoding="utf-8")), "ADAPTERS")
    if len(values) != 1:
        raise ValueError(f"{LOADER} assigns ADAPTERS {len(values)} times; once, a literal table of modules by name")
    modules = dict(ast.literal_eval(values[0])).values()
    files = tuple(module.removeprefix("assay.").replace(".", "/") + ".py" for module in modules)
    if missing := [file for file in files if not (root / file).is_file()]:
        raise ValueError(f"ADAPTERS in {LOADER} names {missing[0]}, which does not exist")
    return files


def assigned(tree: ast.Module, name: str) -> list[ast.expr]:
    """What the file assigns to ``name``, at its top level."""
    found = []
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            found += [statement.value for target in targets if name_of(target) == name]
    return found


def sources(root: Path) -> Iterator[Source]:
    """Every Python file of the repository; what is hidden, built or cached is not looked at."""
    for folder, inner, files in os.walk(root):
        inner[:] = sorted(d for d in inner if not d.startswith((".", "__")) and d not in ("build", "dist"))
        for name in sorted(files):
            if name.endswith(".py"):
                path = Path(folder, name)
                yield Source(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))


def findings(root: Path = ROOT) -> list[str]:
    """Everything that is wrong below ``root``, as lines."""
    try:
        adapters = adapters_of(root)
    except (OSError, SyntaxError, TypeError, ValueError) as problem:
        return [f"{LOADER}:1: cannot tell which files are adapters: {problem}"]
    found = []
    for source in sources(root):
        try:
            broken = {place for rule in rules_of(source.path, adapters) for place in rule(source)}
        except SyntaxError as problem:
            broken = {(problem.lineno or 1, f"does not parse: {problem.msg}")}
        found += [f"{source.path}:{line}: {message}" for line, message in sorted(broken)]
    return found


def main() -> int:
    found = findings()
    print("\n".join(found), end="\n" if found else "")
    return bool(found)


if __name__ == "__main__":
    raise SystemExit(main())
