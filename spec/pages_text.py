"""The readable pages of the specification, rendered from the clauses, the formulas and the laws that decide them.

`assay pages` writes them to spec/pages; a test of assay itself holds what is written against what is rendered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Protocol

from assay.spec import CHAPTERS, CLAUSES, KINDS, OPERATORS, PROFILES, Clause, Operator, contract

MEANING = {
    "documented": "the documents say it",
    "example": "the documents show it",
    "derived": "it follows from what they say",
    "torch": "PyTorch's documentation adds it where they are silent",
}


class Decides(Protocol):
    """A law, as far as a page speaks of it."""

    @property
    def clause(self) -> str: ...
    @property
    def tried(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def sentence(self) -> str: ...
    @property
    def blind(self) -> str: ...


def pages(laws: Iterable[Decides]) -> dict[str, str]:
    """Every page's text by its file's name: the index, and one page a chapter. ``laws`` come in the order to show."""
    laws = list(laws)
    chapters = {chapter.__name__.rpartition(".")[2]: chapter.__doc__ or "" for chapter in (*CHAPTERS, contract)}
    texts = {"index.md": _index(chapters, laws)}
    return texts | {f"{name}.md": _chapter(name, about, laws) for name, about in chapters.items()}


def _index(chapters: Iterable[str], laws: Sequence[Decides]) -> str:
    parts = [
        "# The specification",
        "Rendered from `spec/` and from the laws in `tests/conformance/` by `assay pages`; edit those, not this.",
        table(("kind", "meaning", "clauses", "gated by profile"), map(_kind_row, KINDS)),
    ]
    for chapter in chapters:
        rows = (_clause_row(clause, laws) for clause in _of(chapter))
        parts += [f"## [{chapter}]({chapter}.md)", table(("clause", "kind", "statement", "laws"), rows)]
    return _joined(parts)


def _kind_row(kind: str) -> tuple[str, ...]:
    count = sum(clause.kind == kind for clause in CLAUSES.values())
    return kind, MEANING[kind], str(count), ", ".join(name for name, kinds in PROFILES.items() if kind in kinds)


def _clause_row(clause: Clause, laws: Sequence[Decides]) -> tuple[str, ...]:
    anchor = clause.id.replace(".", "")  # what GitHub makes of the heading
    count = sum(law.clause == clause.id for law in laws)
    return f"[{clause.id}]({clause.chapter}.md#{anchor})", clause.kind, escaped(clause.statement), str(count)


def _chapter(chapter: str, about: str, laws: Sequence[Decides]) -> str:
    parts = [f"# {chapter}", escaped(" ".join(about.split()))]
    parts += _operator(OPERATORS[chapter]) if chapter in OPERATORS else []
    for clause in _of(chapter):
        parts += _clause(clause, [law for law in laws if law.clause == clause.id])
    return _joined([*parts, "[All chapters](index.md)"])


def _operator(operator: Operator) -> list[str]:
    """The formula, as a block, and the arguments in order."""
    names = [f"`{name}`" + (" (optional)" if name in operator.optional else "") for name in operator.arguments]
    return [f"```text\n{operator.formula}\n```", f"Arguments, by position: {', '.join(names)}."]


def _clause(clause: Clause, laws: Sequence[Decides]) -> list[str]:
    parts = [f"## {clause.id}", f"{escaped(_sentence(clause.statement))}"]
    parts += [f"- kind: {clause.kind}, {MEANING[clause.kind]}\n- source: {escaped(clause.source)}"]
    parts += [f"Note: {escaped(_sentence(clause.note))}"] if clause.note else []
    rows = [(_words(law.name), law.tried, law.sentence, law.blind) for law in laws]
    decided = table(("law", "tier", "says", "blind to"), (map(escaped, row) for row in rows))
    return [*parts, decided if rows else "No law decides it yet."]


def _of(chapter: str) -> list[Clause]:
    return [clause for clause in CLAUSES.values() if clause.chapter == chapter]


def _words(name: str) -> str:
    """``test_a_b_is_c`` as the sentence it is."""
    return name.removeprefix("test_").replace("_", " ")


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", ":")) else text + "."


def table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown, of cells that are `escaped` already."""
    lines: list[Iterable[str]] = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escaped(text: str) -> str:
    """The text with what Markdown would take for markup, or for a column's end, shielded."""
    return re.sub(r"[|<\\]|(?<!\s)\*|\*(?!\s)", lambda found: "\\" + found[0], text)


def _joined(parts: Iterable[str]) -> str:
    return "\n\n".join(parts) + "\n"
