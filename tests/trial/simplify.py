"""Counterexamples as small and as round as the fault allows.

Hypothesis shrinks what it drew: sizes, parameters, a family of values and a seed. The values themselves it never saw.
So when it is done, the textures of its last failing example are written out, and elements, rows, biases, strides and
digits are taken away one after the other, each for good if the law still fails in the same way without it.

That a law fails says nothing if the example breaks what the law assumes of it. So each step keeps what can be kept
(`smaller`), and PyTorch on its own kernels has to pass the law on whatever is left.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import hypothesis
from hypothesis import strategies as st
from hypothesis.control import current_build_context

from assay.implementations.load import trusted
from assay.implementations.surroundings import on_own_kernels
from assay.tests.trial import smaller
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.cases import Case
from assay.tests.trial.drawn import Noting, State, outcome, refilled, state_of
from assay.tests.trial.failure import NonConformance
from assay.tests.trial.history import Example
from assay.tests.trial.steps import STEPS, Holder, ask_plainly, say_briefly, shorten, write_out
from assay.tests.trial.textures import Texture
from assay.tests.trial.weaker import Weaker

# A failure may cost so many calls of its law. The seconds are for devices on which a call is dear; where they end the
# search, the example is not as small as it could be, and the verdict is the same.
CALLS, SECONDS = 400, 5.0
ROUNDS = 3
OTHERS = 4  # seeds of other numbers, on which a hint has to hold


def run(body: Callable[..., Any], given: Mapping[str, Any]) -> Any:
    """Run a law's body on an example; of the last one that a failing law shows search for a simpler one.

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
        if _is_last(candidate, state):
            state = _simplest(body, candidate, state, problem)
        # With what was tried to simplify it: the example may fail because of that, and of nothing else.
        asked = list(candidate.implementation.worker.asked) if candidate.implementation.worker else []
        candidate.example = Example(lambda other: outcome(body, other, state), problem, asked)
        raise


def by_its_case(judged: Callable[..., Any]) -> Callable[..., Any]:
    """A function that judges a case, which in a law that draws nothing searches for a simpler one where it fails.

    Not where waivers may cover the case, which a simpler one might leave.
    """

    @functools.wraps(judged)
    def judging(candidate: Candidate, case: Case, *rest: Any, **named: Any) -> Any:
        if hypothesis.currently_in_test_context() or candidate.waivers or not candidate.shown:
            return judged(candidate, case, *rest, **named)
        given = {"candidate": candidate, "case": case}
        return run(lambda candidate, case: judged(candidate, case, *rest, **named), given)

    return judging


def _simplest(body: Callable[..., Any], candidate: Candidate, state: State, problem: NonConformance) -> State:
    search = Search(body, candidate, state, problem)
    try:
        vars(problem).update(vars(search.simplest()))  # the traceback stays the law's own
        if problem.hint and not (search.only_rounds() and search.holds_under(problem.hint, state)):
            problem.hint = None
    except Exception as trouble:  # no verdict is lost for want of a smaller example
        problem.notes.append(f"not simplified: {type(trouble).__name__}: {trouble}")
    return search.state


def _is_last(candidate: Candidate, state: State) -> bool:
    """Whether somebody is shown this one: Hypothesis, where it draws, has shrunk to it, if it was to shrink at all.

    Of a law that draws nothing that is a case, and not the law, which can be made no simpler.
    """
    if not hypothesis.currently_in_test_context():
        return candidate.shown and any(isinstance(value, Case) for value in state.values())
    return current_build_context().is_final and hypothesis.Phase.shrink in hypothesis.settings.default.phases


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
            ask_plainly(self)
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
        probe = self.candidate.aside()
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
        probe = self.candidate.aside()
        return not (self._passes(state) and isinstance(outcome(self.body, probe, state), NonConformance))

    def holds_under(self, hint: Weaker, first: State) -> bool:
        """Whether the law holds under a weaker precision on other numbers, of the first state's sizes too."""
        weaker = hint.of(self.candidate.aside())
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
                state[name] = state[name].with_textures(**{tensor: texture})
            else:
                state[name] = texture
        return state

    def all_or_each(self, textures: Mapping[Holder, Texture]) -> None:
        """Take these textures, all at once or as many of them as can be."""
        if textures and not self.fails(self.holding(textures)) and len(textures) > 1:
            for holder, texture in textures.items():
                self.fails(self.holding({holder: texture}))
