"""A law's example, held: what it was given and what it drew, so that its body can be run on it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from assay.tests.trial.candidate import Candidate
from assay.tests.trial.cases import Case
from assay.tests.trial.textures import Texture

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


def refilled(state: State, family: str, seed: int) -> State:
    """The state with tensors of other numbers: of this family, from this seed. Where few are not zero, few are."""

    def filled(texture: Texture, k: int) -> Texture:
        kept = texture.family if texture.family == "few" else family
        return Texture(kept, 100 * seed + k, (), texture.layout)

    def changed(value: Any) -> Any:
        if not isinstance(value, Case):
            return filled(value, 0) if isinstance(value, Texture) else value
        textures = {name: filled(each, k) for k, (name, each) in enumerate(value.textures.items())}
        return value.changed(textures=textures, incoming=filled(value.incoming, 1))

    return {name: changed(value) for name, value in state.items()}


def outcome(body: Callable[..., Any], candidate: Candidate, state: State) -> Exception | None:
    """What a law's body raises with these arguments, if anything."""
    data = Repeating([value for name, value in state.items() if isinstance(name, int)])
    arguments = {name: data if value is DATA else value for name, value in state.items() if isinstance(name, str)}
    try:
        body(candidate=candidate, **arguments)
    except Exception as problem:
        return problem
    return None
