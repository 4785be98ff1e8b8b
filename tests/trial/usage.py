"""Words that were not understood: what was given, what is allowed, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable


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
