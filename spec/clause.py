"""A clause: one thing that the documents say, show, or imply, or that PyTorch adds where they are silent."""

from __future__ import annotations

import re
from dataclasses import dataclass

KINDS = ("documented", "example", "derived", "torch")
PROFILES = {"documented": KINDS[:3], "torch": KINDS}

FOLLOWS = "follows from "

_ID = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9-]*)")


@dataclass(frozen=True)
class Clause:
    """Frozen data, checked when it is made. The id never changes and never encodes an order.

    Raises:
        ValueError: the id is not ``operator.words-with-hyphens``, the kind is unknown, or a text is missing.
    """

    id: str
    statement: str
    kind: str
    source: str
    note: str = ""

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ValueError(f"id={self.id!r} is not operator.words-with-hyphens, for example 'conv2d.output-size'")
        if self.kind not in KINDS:
            raise ValueError(f"{self.id}: kind={self.kind!r}; allowed: {', '.join(KINDS)}")
        if not (self.statement.strip() and self.source.strip()):
            raise ValueError(f"{self.id}: statement={self.statement!r}, source={self.source!r}; both are needed")

    @property
    def follows_from(self) -> tuple[str, ...]:
        """The clauses that it follows from: what breaks this one breaks one of those."""
        _, found, clauses = self.source.partition(FOLLOWS)
        return tuple(clauses.split(", ")) if found else ()

    @property
    def chapter(self) -> str:
        """What stands before the dot: an operator's name, or "contract"."""
        return self.id.split(".")[0]
