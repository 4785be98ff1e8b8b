"""Words that were not understood: what was given, what is allowed, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from pathlib import Path


class UsageProblem(ValueError):
    """The run cannot be made from what was given; the text says what was given, what is allowed, what to do."""


def known(what: str, given: Iterable[object], allowed: Collection[str]) -> None:
    """Hold words to those that are allowed.

    Raises:
        UsageProblem: naming the first that is not, and what it may have been meant for.
    """
    for word in given:
        if word not in allowed:
            close = difflib.get_close_matches(str(word), allowed, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise UsageProblem(f"unknown {what} {word!r}; allowed: {', '.join(allowed)}{hint}")


def writable(option: str, path: str) -> Path:
    """The file that an option names, which is made where there is none.

    Raises:
        UsageProblem: it cannot be written.
    """
    try:
        with Path(path).open("a"):
            return Path(path)
    except OSError as problem:
        what = f"{option} {path} cannot be written: {problem.strerror}"
        raise UsageProblem(f"{what}; give a file in a folder that is there and can be written to") from None
