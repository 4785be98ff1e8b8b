"""What a long run has found so far, on disk: an interrupted run goes on where it was.

One line a task, beside the file that the run is to write, gone when that one is whole. The first line says of what the
answers are: what was asked, of which code. Answers of anything else are not taken over.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[2]
CODE = ("implementations", "reference", "spec", "tests")


def digest_of_code() -> str:
    """A number for all files that an answer depends on."""
    hashed = hashlib.sha256()
    for path in sorted(file for folder in CODE for file in (PACKAGE / folder).rglob("*.py")):
        hashed.update(str(path.relative_to(PACKAGE)).encode() + b"\0" + path.read_bytes())
    return hashed.hexdigest()


class Journal:
    """The answers of a run that is to write ``path``; none is kept where there is no path."""

    def __init__(self, path: Path | None, about: Mapping[str, Any]) -> None:
        self.path = path and path.with_name(path.name + ".part")
        self.about = json.loads(json.dumps(about))

    def resume(self) -> tuple[dict[tuple[str, ...], dict[str, Any]], float]:
        """The answers by task, and the seconds that they took, of an interrupted run about the same; or nothing."""
        lines = self._lines()
        if self.path and lines[:1] == [self.about]:
            with self.path.open("a", encoding="utf-8") as file:
                file.write("\n")  # the last line may have been cut short
            return {tuple(line["task"]): line["answer"] for line in lines[1:]}, max(
                (line["seconds"] for line in lines[1:]), default=0.0
            )
        if self.path:
            self.path.write_text(json.dumps(self.about) + "\n", encoding="utf-8")
        return {}, 0.0

    def _lines(self) -> list[Any]:
        if not (self.path and self.path.is_file()):
            return []
        found = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):  # the run was killed while it wrote this one
                found.append(json.loads(line))
        return found

    def note(self, task: tuple[str, ...], answer: Mapping[str, Any], seconds: float) -> None:
        """Keep an answer."""
        if self.path:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"task": task, "answer": answer, "seconds": round(seconds, 1)}) + "\n")

    def done(self) -> None:
        """Forget everything: the run is whole."""
        if self.path:
            self.path.unlink(missing_ok=True)
