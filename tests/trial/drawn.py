"""A law's example, held: what it was given and what it drew, so that its body can be run on it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from assay.tests.trial.candidate import Candidate

State = dict[Any, Any]  # a law's arguments by name; what it drew from ``data``, by number
DATA = object()


class Noting:
    """Stands for ``data`` in a law, and notes what is drawn."""

    def __init__(self, data: st.DataObject) -> None:
        self.data, self.values = data, list[Any]()

    def draw(self, strategy: st.SearchStrategy[Any], label: Any = None) -> Any:
        self.values.append(self.data.draw(strategy, label))
        return self.values[-1]


class Repeating:
    """Stands for ``data`` in a law, and hands out these values in order."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = iter(values)

    def draw(self, strategy: st.SearchStrategy[Any], label: Any = None) -> Any:
        return next(self.values)


def state_of(given: Mapping[str, Any]) -> State:
    """What a law was given and what it drew."""
    state: State = {}
    for name, value in given.items():
        if isinstance(value, Noting):
            state |= {name: DATA} | dict(enumerate(value.values))
        elif name != "candidate":
            state[name] = value
    return state


def outcome(body: Callable[..., Any], candidate: Candidate, state: State) -> Exception | None:
    """What a law's body raises with these arguments, if anything."""
    data = Repeating([value for name, value in state.items() if isinstance(name, int)])
    arguments = {name: data if value is DATA else value for name, value in state.items() if isinstance(name, str)}
    try:
        body(candidate=candidate, **arguments)
    except Exception as problem:
        return problem
    return None
