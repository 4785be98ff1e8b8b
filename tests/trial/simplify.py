"""Counterexamples as small and as round as the fault allows.

Hypothesis shrinks what it drew: sizes, parameters, a family of values and a seed. The values themselves it never saw.
So when it is done, the textures of its last failing example are written out, and elements, rows, biases, strides and
digits are taken away one after the other, each for good if the law still fails in the same way without it.

That a law fails says nothing if the example breaks what the law assumes of it. So each step keeps what can be kept
(`smaller`), and PyTorch on its own kernels has to pass the law on whatever is left.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import hypothesis
import numpy as np
from hypothesis import strategies as st
from hypothesis.control import current_build_context

from assay.implementations.arrays import Argument, Values
from assay.implementations.load import trusted
from assay.implementations.surroundings import on_own_kernels
from assay.reference.arithmetic.formats import Format
from assay.spec import OPERATORS
from assay.tests.trial import smaller
from assay.tests.trial.candidate import Candidate, Tally
from assay.tests.trial.cases import Case
from assay.tests.trial.drawn import Noting, State, outcome, refilled, state_of
from assay.tests.trial.failure import NonConformance
from assay.tests.trial.history import Example
from assay.tests.trial.textures import Given, Texture
from assay.tests.trial.weaker import Weaker

# A failure may cost so many calls of its law. The seconds are for devices on which a call is dear; where they end the
# search, the example is not as small as it could be, and the verdict is the same.
CALLS, SECONDS = 400, 5.0
ROUNDS = 3
OTHERS = 4  # seeds of other numbers, on which a hint has to hold

Holder = tuple[Any, str]  # where a texture is: an argument ("") or, in a case, a tensor's or the incoming gradient's


@dataclass(frozen=True, eq=False)
class Noted(Texture):
    """A texture that notes the shapes that it fills, and the terms of their sums."""

    of: Texture = Texture()
    asked: list[tuple[tuple[int, ...], int]] = field(default_factory=list)

    def fill(self, shape: tuple[int, ...], fmt: Format, terms: int = 1) -> Argument:
        if (self.family, self.seed) == (self.of.family, self.of.seed):
            self.asked.append((shape, terms))
        return replace(self.of, **_drawn(self)).fill(shape, fmt, terms)

    def written_out(self, fmt: Format) -> Given:
        """The values of the last fill."""
        shape, terms = self.asked[-1]
        values = self.of.fill(shape, fmt, terms).values
        return self.holding(values, terms)


def _drawn(texture: Texture) -> dict[str, Any]:
    return {name: getattr(texture, name) for name in ("family", "seed", "elements", "layout")}


def run(body: Callable[..., Any], given: Mapping[str, Any]) -> Any:
    """Run a law's body on an example; when Hypothesis runs the last one of a failing law, search for a simpler one.

    The candidate keeps the example that failed, as `history.trace_back` wants it.

    Raises:
        NonConformance: as the law does, of the simplest example found.
    """
    noting = {name: Noting(value) if isinstance(value, st.DataObject) else value for name, value in given.items()}
    try:
        return body(**noting)
    except NonConformance as problem:
        candidate, state = given["candidate"], state_of(noting)
        if candidate.example and candidate.example.problem is problem:  # one case of a sweep, simple already
            raise
        if _is_last():
            state = _simplest(body, candidate, state, problem)
        # With what was tried to simplify it: the example may fail because of that, and of nothing else.
        asked = list(candidate.implementation.worker.asked) if candidate.implementation.worker else []
        candidate.example = Example(lambda other: outcome(body, other, state), problem, asked)
        raise


def _simplest(body: Callable[..., Any], candidate: Candidate, state: State, problem: NonConformance) -> State:
    search = Search(body, candidate, state, problem)
    try:
        vars(problem).update(vars(search.simplest()))  # the traceback stays the law's own
        if problem.hint and not (search.only_rounds() and search.holds_under(problem.hint, state)):
            problem.hint = None
    except Exception as trouble:  # no verdict is lost for want of a smaller example
        problem.notes.append(f"not simplified: {type(trouble).__name__}: {trouble}")
    return search.state


def _is_last() -> bool:
    """Whether Hypothesis shows what it has shrunk to, and was to shrink at all."""
    inside = hypothesis.currently_in_test_context() and current_build_context().is_final
    return inside and hypothesis.Phase.shrink in hypothesis.settings.default.phases


def kind(problem: NonConformance) -> tuple[Any, ...]:
    """What makes two failures alike: the words, the subject, whether it is NaN, and what would have to be declared."""
    words = tuple(re.findall(r"[A-Za-z_]+", problem.what))
    return words, problem.subject, problem.got != problem.got, problem.hint and problem.hint.changes


class Search:
    """The simplest state found so far, and its failure."""

    def __init__(self, body: Callable[..., Any], candidate: Candidate, state: State, problem: NonConformance) -> None:
        self.body, self.candidate, self.state, self.problem = body, candidate, state, problem
        self.guard = Candidate(trusted(), self.candidate.dtype)
        self.left, self.until = CALLS, time.monotonic() + SECONDS
        self.tried: set[str] = set()

    def simplest(self) -> NonConformance:
        """The failure on the simplest state; on the first one, where PyTorch fails too, or nothing can be smaller."""
        if any(isinstance(value, Case | Texture) for value in self.state.values()) and self._passes(self.state):
            shorten(self)  # before values are: there are many, and what a size sets off any values show
            write_out(self)
            for _ in range(ROUNDS):
                before = self.state
                for step in STEPS:
                    step(self)
                if self.state is before:
                    break
            say_briefly(self)
        return self.problem

    def fails(self, state: State) -> bool:
        """Whether the law fails on ``state`` as it did, for the right reason; if so, that is the state from now on."""
        kept = not self.spent() and all(map(smaller.keeps_its_word, self.state.values(), state.values()))
        words = repr([smaller.in_words(value) for value in state.values()]) if kept else ""
        if not kept or words in self.tried:
            return False
        self.left -= 1
        self.tried.add(words)
        probe = replace(self.candidate, tally=Tally(), calls=[])
        problem = outcome(self.body, probe, state)
        alike = isinstance(problem, NonConformance) and kind(problem) == kind(self.problem)
        if not (alike and self._passes(state)):
            return False
        self.state, self.problem = state, problem
        self.candidate.calls[:] = probe.calls
        return True

    def only_rounds(self) -> bool:
        """Whether the law holds on zeros and ones of either sign, as it does where a weaker precision is all."""
        state = refilled(self.state, "sparse", 0)
        probe = replace(self.candidate, tally=Tally(), calls=[])
        return not (self._passes(state) and isinstance(outcome(self.body, probe, state), NonConformance))

    def holds_under(self, hint: Weaker, first: State) -> bool:
        """Whether the law holds under a weaker precision on other numbers, of the first state's sizes too."""
        weaker = hint.of(replace(self.candidate, tally=Tally(), calls=[]))
        states = (refilled(state, "normal", seed) for state in (first, self.state) for seed in range(OTHERS))
        return not any(
            isinstance(outcome(self.body, weaker, state), NonConformance) for state in states if self._passes(state)
        )

    def spent(self) -> bool:
        """Whether no more is to be tried: a tensor of many elements has more changes than there is time for."""
        return self.left <= 0 or time.monotonic() > self.until

    def _passes(self, state: State) -> bool:
        with on_own_kernels():
            return outcome(self.body, self.guard, state) is None

    def changes(self, name: Any, **changes: Any) -> bool:
        """Whether the law fails as it did with these fields of a case changed."""
        return self.fails({**self.state, name: self.state[name].changed(**changes)})

    def repeat(self, name: Any, smaller_ones: Callable[[Case], Iterable[Case]]) -> None:
        """Take smaller cases as long as there is one on which the law fails."""
        while any(self.fails({**self.state, name: case}) for case in smaller_ones(self.state[name])):
            pass

    @property
    def cases(self) -> dict[Any, Case]:
        return {name: value for name, value in self.state.items() if isinstance(value, Case)}

    @property
    def textures(self) -> dict[Holder, Texture]:
        """Every texture, and where it is."""
        found: dict[Holder, Texture] = {(n, ""): each for n, each in self.state.items() if isinstance(each, Texture)}
        for name, case in self.cases.items():
            found |= {(name, tensor): case.textures[tensor] for tensor in case.shapes}
            found[name, "incoming"] = case.incoming
        return found

    def holding(self, textures: Mapping[Holder, Texture]) -> State:
        """The state with these textures in their places."""
        state = dict(self.state)
        for (name, tensor), texture in textures.items():
            if tensor == "incoming":
                state[name] = state[name].changed(incoming=texture)
            elif tensor:
                state[name] = state[name].changed(textures={**state[name].textures, tensor: texture})
            else:
                state[name] = texture
        return state

    def all_or_each(self, textures: Mapping[Holder, Texture]) -> None:
        """Take these textures, all at once or as many of them as can be."""
        if textures and not self.fails(self.holding(textures)) and len(textures) > 1:
            for holder, texture in textures.items():
                self.fails(self.holding({holder: texture}))


# --- the steps


def write_out(search: Search) -> None:
    """The values of every texture that the law fills, in its place."""
    noted = {holder: Noted(**_drawn(texture), of=texture) for holder, texture in search.textures.items()}
    outcome(search.body, replace(search.candidate, tally=Tally(), calls=[]), search.holding(noted))
    fmt = search.candidate.format
    search.all_or_each({holder: texture.written_out(fmt) for holder, texture in noted.items() if texture.asked})


def lay_plainly(search: Search) -> None:
    """Contiguous tensors."""
    odd = {holder: texture for holder, texture in search.textures.items() if texture.layout != "contiguous"}
    search.all_or_each({holder: replace(texture, layout="contiguous") for holder, texture in odd.items()})


def leave_out(search: Search) -> None:
    """No bias, no beta."""
    for name, case in search.cases.items():
        for tensor in OPERATORS[case.operator].optional:
            for part in ("shapes", "parameters"):
                given = getattr(search.state[name], part)
                if tensor in given:
                    search.changes(name, **{part: {key: value for key, value in given.items() if key != tensor}})


def lower_parameters(search: Search) -> None:
    """Kernels and strides towards 1, padding towards 0."""
    for name in search.cases:
        search.repeat(name, smaller.lower_parameters)
        search.repeat(name, smaller.narrower_kernels)


def shorten(search: Search) -> None:
    """Fewer samples, channels, rows, columns, features, outputs: without one half or the other, then quarters, ..."""
    for name, case in search.cases.items():
        for axes in smaller.axes_to_shorten(case):
            block = _shortest(search, name, axes)
            while block > 1:
                block = (block + 1) // 2
                _cut_blocks(search, name, axes, block)
        search.repeat(name, lambda case: filter(None, [smaller.without_leading_axis(case)]))


def _cut_blocks(search: Search, name: Any, axes: tuple[Any, ...], block: int) -> None:
    start = 0
    while not search.spent() and start < (size := _shortest(search, name, axes)):
        cut = range(start, min(start + block, size))
        shorter = smaller.without_all(search.state[name], axes, cut)
        if len(cut) == size or not search.fails({**search.state, name: shorter}):
            start += block


def _shortest(search: Search, name: Any, axes: tuple[Any, ...]) -> int:
    return min(smaller.length(search.state[name], axis) for axis in axes)


def clear(search: Search) -> None:
    """Zeros or, if that is too much, ones of either sign in a whole tensor: blocks of them are alike to cut."""
    for holder, texture in search.textures.items():
        if isinstance(texture, Given):
            values = texture.values
            rounder = (np.zeros_like(values), np.sign(values)) if np.abs(values).max(initial=0.0) >= 1.0 else ()
            any(search.fails(search.holding({holder: replace(texture, values=each)})) for each in rounder)


def round_values(search: Search) -> None:
    """Zeros, ones, small integers, few bits: all values of a tensor at once, or as many as can be."""
    for holder, texture in search.textures.items():
        if isinstance(texture, Given):
            for change in smaller.changes_of(texture.values):
                _change_some(search, holder, change)


def _change_some(search: Search, holder: Holder, change: Callable[[Values], Values]) -> None:
    old = search.textures[holder].values
    new = change(old) + 0.0  # no zero becomes negative
    different = np.flatnonzero(~((new == old) & (np.signbit(new) == np.signbit(old)) | (new != new)))
    parts = [different] if len(different) else []
    while parts and not search.spent():
        part = parts.pop(0)
        texture = search.textures[holder]
        values = texture.values.copy()
        values.flat[part] = new.flat[part]
        if not search.fails(search.holding({holder: replace(texture, values=values)})) and len(part) > 1:
            parts += [part[: len(part) // 2], part[len(part) // 2 :]]


def bring_forward(search: Search) -> None:
    """A tensor's only element that is not 0 stands first, so that what follows it can go."""
    for holder, texture in search.textures.items():
        if isinstance(texture, Given) and np.count_nonzero(texture.values) == 1 and not texture.values.flat[0]:
            values = np.zeros_like(texture.values)
            values.flat[0] = texture.values.flat[np.flatnonzero(texture.values)[0]]
            search.fails(search.holding({holder: replace(texture, values=values)}))


def say_briefly(search: Search) -> None:
    """A stride of 2 for (2, 2), and none for 1."""
    for name in search.cases:
        search.repeat(name, smaller.briefer)


STEPS = (lay_plainly, leave_out, lower_parameters, clear, shorten, round_values, bring_forward)
