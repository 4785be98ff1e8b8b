"""Reading a file of waivers: TOML, one ``[[waiver]]`` an entry, every word of it held to what there is."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from assay.implementations.layouts import LAYOUTS, ORDERS, WITHIN
from assay.implementations.load import DIRECTIONS
from assay.reference.arithmetic.formats import STORAGE
from assay.spec import CLAUSES, OPERATORS
from assay.tests.trial.failure import TIERS
from assay.tests.trial.laws import BUDGETS, Law, all_laws
from assay.tests.trial.run import operators_of
from assay.tests.trial.usage import UsageProblem, known
from assay.tests.trial.waivers import ONE_OF_A_PAIR, RESULT, SPECIAL, Waiver, Where

NEEDED = ("clause", "operator", "candidate", "reason", "url", "expiry")
EXAMPLE = "[[waiver]] and, below it, " + ", ".join(f"{key} = ..." for key in NEEDED)
_HEADER = re.compile(r"\s*\[\[\s*waiver\s*\]\]")
_AXIS = re.compile(r"shape\[[0-7]\]|size")


def read(path: str | Path) -> tuple[Waiver, ...]:
    """The waivers of a file.

    Raises:
        UsageProblem: there is no such file, it is not TOML, or an entry names what does not exist, lacks what is
            needed or says the same as another; with the file, the line, and what to do.
    """
    text = _text(Path(path))
    try:
        entries = _entries(tomllib.loads(text))
    except tomllib.TOMLDecodeError as problem:
        raise UsageProblem(f"{path} is not TOML: {problem}") from None
    except UsageProblem as problem:
        raise UsageProblem(f"{path}: {problem}") from None
    found: list[Waiver] = []
    for number, (entry, line) in enumerate(zip(entries, _lines(text, len(entries)), strict=True), 1):
        try:
            for made in _waivers(entry, str(path), line):
                _check_new(made, found)
                found.append(replace(made, entry=number))
        except UsageProblem as problem:
            raise UsageProblem(f"{path}, line {line}: {problem}") from None
    return tuple(found)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as problem:
        raise UsageProblem(f"--waivers {path} cannot be read: {problem.strerror}; give a file of waivers") from None
    except UnicodeDecodeError:
        raise UsageProblem(f"--waivers {path} is not UTF-8 text; give a TOML file of waivers") from None


def _entries(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    known("table", data, ("waiver",))
    entries = data.get("waiver", [])
    if not (isinstance(entries, list) and entries and all(isinstance(entry, dict) for entry in entries)):
        raise UsageProblem(f"holds no waivers; write each as {EXAMPLE}")
    return entries


def _lines(text: str, count: int) -> list[int]:
    """The line of each header. One inside of a text over several lines is none: what is before it is not TOML."""
    lines, found = text.splitlines(), list[int]()
    for number, line in enumerate(lines, 1):
        if _HEADER.match(line) and _is_toml("\n".join(lines[: number - 1])):
            found.append(number)
    return found if len(found) == count else [1] * count  # written as one array, waiver = [{...}, ...]


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


def _waivers(entry: Mapping[str, Any], file: str, line: int) -> Iterable[Waiver]:
    """One for each clause and operator that an entry names, where the clause is about the operator."""
    known("key", entry, (*NEEDED, "where", "budget", "strict"))
    if missing := [key for key in NEEDED if key not in entry]:
        raise UsageProblem(f"lacks {', '.join(missing)}; each waiver is {EXAMPLE}")
    clauses, operators = (_listed(key, entry[key]) for key in ("clause", "operator"))
    known("clause", clauses, CLAUSES)
    known("operator", operators, OPERATORS)
    laws = all_laws()
    about = {clause: _laws_by_operator(clause, laws) for clause in clauses}
    for clause, its in about.items():
        if not its.keys() & set(operators):
            raise UsageProblem(f"{clause} says nothing of {' or '.join(operators)}, but of {', '.join(its)}")
    for operator in operators:
        if not any(operator in its for its in about.values()):
            raise UsageProblem(f"operator {operator!r}: none of the clauses says anything of it; drop it")
    for clause, operator in product(clauses, operators):
        if operator in about[clause]:
            made = _waiver({**entry, "clause": clause, "operator": operator}, file, line)
            _check_laws(made, about[clause][operator])
            yield made


def _listed(key: str, given: Any) -> list[str]:
    words = given if isinstance(given, list) else [given]
    if not (words and all(isinstance(word, str) and word.strip() for word in words)):
        raise UsageProblem(f"{key} = {given!r}; give a text that is not empty, or a list of such")
    return words


def _laws_by_operator(clause: str, laws: Iterable[Law]) -> dict[str, list[Law]]:
    """The laws of a clause, by the operators of which they say something."""
    found: dict[str, list[Law]] = {}
    for law in laws:
        for operator in operators_of(law) if law.clause == clause else ():
            found.setdefault(operator, []).append(law)
    return found


def _waiver(entry: Mapping[str, Any], file: str, line: int) -> Waiver:
    for key in ("candidate", "reason", "url", "budget"):
        if not isinstance(text := entry.get(key, "quick"), str) or not text.strip():
            raise UsageProblem(f"{key} = {text!r}; give a text that is not empty")
    if not isinstance(strict := entry.get("strict", True), bool):
        raise UsageProblem(f"strict = {strict!r}; give true, or false for a failure that not every machine shows")
    _check_url(entry["url"])
    if not isinstance(entry["expiry"], date) or isinstance(entry["expiry"], datetime):
        raise UsageProblem(f"expiry = {str(entry['expiry'])!r}; give a day, without quotes: expiry = 2027-01-31")
    known("budget", [entry.get("budget", "quick")], BUDGETS)
    where = _where(entry.get("where", {}), entry["operator"])
    return Waiver(file, line, **{**entry, "where": where})


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
    except ValueError:  # a bracket that opens an address of IPv6, and is not closed
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UsageProblem(f"url = {url!r}; give the address of the report, beginning in https://")


def _check_new(made: Waiver, before: Iterable[Waiver]) -> None:
    for other in before:
        if all(getattr(made, key) == getattr(other, key) for key in ("clause", "operator", "candidate", "where")):
            raise UsageProblem(f"says the same of {made.clause} as the waiver on line {other.line}; drop one of them")


def _check_laws(waiver: Waiver, laws: Sequence[Law]) -> None:
    """Hold a waiver to the laws that it is about."""
    known(f"tier of {waiver.clause}", waiver.where.tier, dict.fromkeys(law.tier for law in laws))
    known(f"dtype of {waiver.clause}", waiver.where.dtype, dict.fromkeys(each for law in laws for each in law.dtypes))


# --- where


def _where(given: Any, operator: str) -> Where:
    if not isinstance(given, dict):
        raise UsageProblem(f"where = {given!r}; give a table, for example where = {{ dtype = ['bfloat16'] }}")
    known("key of where", given, _READERS)
    return Where(**{key: _READERS[key](key, value, operator) for key, value in given.items()})


def _words(allowed: Iterable[str], key: str, given: Any, operator: str) -> tuple[str, ...]:
    if not (isinstance(given, list) and given and all(isinstance(word, str) for word in given)):
        raise UsageProblem(f"where.{key} = {given!r}; give a list, of {', '.join(allowed)}")
    known(key, given, tuple(allowed))
    return tuple(given)


def _bounds(key: str, given: Any, operator: str) -> dict[str, int]:
    if not (isinstance(given, dict) and given):
        raise UsageProblem(f"where.{key} = {given!r}; give a table of sizes and whole numbers")
    for name, bound in given.items():
        tensor, dot, part = name.partition(".")
        spec, one = OPERATORS[operator], ONE_OF_A_PAIR.fullmatch(name)
        of_tensor = dot and tensor in (*spec.tensors, RESULT) and _AXIS.fullmatch(part)
        if not (of_tensor or (one[1] if one else name) in spec.parameters):
            raise UsageProblem(f"where.{key} names {name!r}; allowed for {operator}: {_sizes(operator)}")
        if not isinstance(bound, int) or isinstance(bound, bool):
            raise UsageProblem(f"where.{key}: {name} = {bound!r}; give a whole number")
    return dict(given)


def _sizes(operator: str) -> str:
    spec = OPERATORS[operator]
    tensors = [f'"{name}.{part}"' for name in (*spec.tensors, RESULT) for part in ("shape[0]", "size")]
    pairs = [f'"{name}[1]"' for name in spec.parameters]
    return ", ".join([*spec.parameters, *pairs, *tensors])


_READERS: dict[str, Callable[[str, Any, str], Any]] = {
    "dtype": partial(_words, tuple(STORAGE)),
    "device": partial(_words, ("cpu", "cuda")),
    "tier": partial(_words, TIERS),
    "direction": partial(_words, DIRECTIONS),
    "special": partial(_words, tuple(SPECIAL)),
    "layout": partial(_words, (*LAYOUTS, *WITHIN, *ORDERS)),
    "least": _bounds,
    "most": _bounds,
}
