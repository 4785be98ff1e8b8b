"""The candidate as a law sees it: one implementation on one device in one dtype, and a tally of what was asked."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NoReturn

import hypothesis
from hypothesis.control import currently_in_test_context

from assay.implementations.arrays import Argument, Values
from assay.implementations.contract import Implementation
from assay.implementations.isolated import GivenUp
from assay.implementations.memory import TURNS
from assay.implementations.observe import Call, Observation, observe, observe_in_turn
from assay.implementations.running import MAY_BE_REFUSED
from assay.reference.arithmetic.formats import STORAGE, Format
from assay.reference.arithmetic.precision import Precision
from assay.spec import OPERATORS
from assay.tests.trial.cases import Case
from assay.tests.trial.failure import RAISED, NonConformance
from assay.tests.trial.unheard import ABOUT, unheard
from assay.tests.trial.waivers import Waived, Waiver

BACK = "back"  # a mode of a call in a sequence: gradients are recorded, and asked for
Mode = bool | str | None | tuple[str, ...]


def on_and_back(turns: str) -> tuple[Sequence[int], Sequence[int]]:
    """Seeds of what each of its `TURNS` holds: new numbers when its turn comes back, or those that it held."""
    return range(len(TURNS[turns])), TURNS[turns]


@dataclass
class Tally:
    """Examples tried, elements compared, elements of which nothing was required, and the largest margin seen.

    ``waived`` holds what was met of each waiver, by its line; ``left_out`` says why something was not judged at all;
    ``unheard`` is what the candidate's program did not know.
    """

    examples: int = 0
    compared: int = 0
    undetermined: int = 0
    margin: float = 0.0
    waived: dict[int, Waived] = field(default_factory=dict)
    left_out: str = ""
    unheard: set[str] = field(default_factory=set)


@dataclass
class Candidate:
    """What a law is given. ``calls`` holds the calls of the current example, for the report of a failure."""

    implementation: Implementation
    dtype: str
    device: str = "cpu"
    tally: Tally = field(default_factory=Tally)
    calls: list[Call] = field(default_factory=list)
    given_up: str = ""  # why it was not asked again, if it was not
    example: Any = None  # the last one that failed, a `history.Example`
    waivers: Sequence[Waiver] = ()  # those that may cover a case of the law that is running
    shown: bool = False  # whether a report shows what fails, for which a simpler case is searched
    put: tuple[int, int] = (0, 1)  # of each sweep's cases which is the first, and one in how many

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """A word for Hypothesis, which would print every array of every call."""
        printer.text(f"<{self.implementation.name} on {self.device} in {self.dtype}>")

    @cached_property
    def format(self) -> Format:
        """The format of the dtype."""
        return STORAGE[self.dtype]

    def precision(self, operator: str, direction: str = "forward") -> Precision:
        """What the implementation declares for this operator and direction in this dtype."""
        declared = self.implementation.precision.get(f"{operator}.{direction}.{self.dtype}", {})
        return Precision.declared(self.format, declared)

    def calls_until(self, call: Call) -> list[Call]:
        """The calls of this example up to this one, which stands last."""
        return [*itertools.takewhile(lambda each: each is not call, self.calls), call]

    def aside(self) -> Candidate:
        """The same one, put something that counts nowhere and is shown to nobody."""
        return replace(self, tally=Tally(), calls=[], shown=False)

    def begin(self, anew: bool = False) -> None:
        """Another example starts, in a new process if asked and the candidate has one."""
        self.tally.examples += 1
        self.calls.clear()
        if anew and self.implementation.worker:
            self.implementation.worker.renew()

    def ask(self, case: Case) -> Observation:
        """The well-formed answer to a case.

        Raises:
            NonConformance: the candidate raised, or returned what is not a tensor of the right shape and dtype.
        """
        return self.answer(case)

    def answer(self, case: Case, **more: Any) -> Observation:
        """As `ask`; ``more`` are further fields of the `Call`: ``recording``, ``together``, ``setting``."""
        poison = math.prod(case.result_shape)
        seen = self.observe(case.operator, case.arguments(self.format), poison=poison, **more)
        well_formed(seen, case.result_shape)
        return seen

    def repeat(self, seen: Observation) -> Observation:
        """The well-formed answer to the call of ``seen``, made once more: its values are not drawn again.

        Raises:
            NonConformance: as `ask`.
        """
        call = seen.call
        again = self.observe(call.operator, call.arguments, recording=call.recording, poison=call.poison)
        well_formed(again, None if seen.output is None else seen.output.shape)
        return again

    def answers_in_turn(
        self,
        cases: Sequence[Case],
        back: bool = False,
        recording: bool | str | None = None,
        wanted: Sequence[str] = (),
        turns: str = "",
        **more: Any,
    ) -> tuple[list[Observation], list[Values]]:
        """The well-formed answers to cases, each on the memory of the last, and what they hold after the last call.

        Going ``back``, with the gradients of the ``wanted`` tensors, or of all; else with their ``recording`` as in
        `answer`. Of the field that ``turns`` names each has its own of `TURNS`; ``more`` are further fields of all of
        them: ``inferred``, ``copied``.

        Raises:
            NonConformance: as `ask`, and as `ask_gradient`.
        """
        calls = [self._asking(case, BACK if back else recording, wanted) for case in cases]
        if turns:
            calls = [replace(call, **{turns: place}) for call, place in zip(calls, TURNS[turns], strict=True)]
        return self._answered(cases, [replace(call, **more) for call in calls])

    def answers_in_modes(
        self, cases: Sequence[Case], modes: Sequence[Mode], passed: bool = False, **more: Any
    ) -> tuple[list[Observation], list[Values]]:
        """As `answers_in_turn`, each with its own recording, or going `BACK` to all tensors, or to those it names.

        Results may live until the next call, or be ``passed`` on to it. Of those that go back ``more`` are so.

        Raises:
            NonConformance: as `answers_in_turn`.
        """
        calls = [replace(self._asking(*each), passed=passed) for each in zip(cases, modes, strict=True)]
        return self._answered(cases, [replace(call, **more) if call.cotangent else call for call in calls])

    def _answered(self, cases: Sequence[Case], calls: Sequence[Call]) -> tuple[list[Observation], list[Values]]:
        self._note(*calls)
        try:
            seen, kept = observe_in_turn(self.implementation, calls)
        except GivenUp as problem:
            self._give_up(problem)
        for each in seen:
            _alive(each)
        for each, case in zip(seen, cases, strict=True):
            well_formed(each, case.result_shape)
            for name in each.call.differentiate:
                _well_formed_gradient(each, name)
        return seen, kept

    def _asking(self, case: Case, mode: Mode, wanted: Sequence[str] = ()) -> Call:
        if isinstance(mode, tuple):
            mode, wanted = BACK, mode
        given = {name: _to_write_over(value) for name, value in case.arguments(self.format).items()}
        call = Call(case.operator, given, self.dtype, self.device, in_turn=True)
        if mode != BACK:
            return replace(call, recording=mode)
        return replace(call, cotangent=case.cotangent(self.format), differentiate=tuple(wanted or call.tensors))

    def ask_gradient(self, case: Case, wanted: Sequence[str] = (), alone: bool = False, **more: Any) -> Observation:
        """The answer to a case and, going back from its incoming gradient, the gradients of all tensors.

        Only those of the ``wanted`` tensors, or of all unless some are named, have to be well-formed; if ``alone``,
        no others are asked for. ``more`` are further fields of the `Call`: ``interrupted``, ``twice``, ``halved``. Who
        refuses what may be refused is asked without it.

        Raises:
            NonConformance: as `ask`, or a gradient is missing or has another shape or dtype than its input.
        """
        arguments = case.arguments(self.format)
        names = tuple(name for name, value in arguments.items() if isinstance(value, Argument))
        asked = tuple(wanted) if alone else names
        more["poison"] = math.prod(case.result_shape)
        back = case.cotangent(self.format), asked
        seen = self.observe(case.operator, arguments, *back, **more)
        if seen.raised and more.keys() & MAY_BE_REFUSED:
            rest = {word: value for word, value in more.items() if word not in MAY_BE_REFUSED}
            seen = self.observe(case.operator, arguments, *back, **rest)
        well_formed(seen, case.result_shape)
        for name in wanted or names:
            _well_formed_gradient(seen, name)
        return seen

    def call(self, operator: str, arguments: Mapping[str, Any], shape: tuple[int, ...] | None = None) -> Observation:
        """The well-formed answer to a call with these arguments; ``shape`` is what the result's has to be.

        Raises:
            NonConformance: as `ask`.
        """
        seen = self.observe(operator, arguments)
        well_formed(seen, shape)
        return seen

    def values(self, operator: str, *arguments: Any, **named: Any) -> Values:
        """The result of a call with numpy arrays and parameters in order, for laws with values of their own.

        Raises:
            NonConformance: as `ask`.
        """
        formula = OPERATORS[operator]
        given = dict(zip(formula.arguments, arguments, strict=False)) | named
        wrapped = {name: self._wrapped(name, operator, given.get(name)) for name in formula.arguments}
        shapes = {name: each.values.shape for name, each in wrapped.items() if isinstance(each, Argument)}
        seen = self.call(operator, wrapped, formula.shape_of(shapes, given))
        assert seen.output is not None
        return seen.output

    def observe(
        self,
        operator: str,
        arguments: Mapping[str, Any],
        cotangent: Argument | None = None,
        differentiate: tuple[str, ...] = (),
        **more: Any,
    ) -> Observation:
        """Whatever the candidate does with this call, judged by nobody; ``more`` are further fields of the `Call`.

        Raises:
            NonConformance: its process did not live to answer.
        """
        call = Call(operator, arguments, self.dtype, self.device, cotangent, differentiate, **more)
        self._note(call)
        try:
            seen = observe(self.implementation, call)
        except GivenUp as problem:
            self._give_up(problem)
        _alive(seen)
        return seen

    def _note(self, *calls: Call) -> None:
        self.calls += calls
        worker = self.implementation.worker
        if worker is not None:
            self.tally.unheard |= unheard(calls, worker.knows)

    def lacks(self, clause: str) -> list[str]:
        """The words of the protocol without which a law of this clause has told nothing so far."""
        worker, word = self.implementation.worker, ABOUT.get(clause)
        own = {word} if worker is not None and word and word not in worker.knows else set()
        return sorted(self.tally.unheard | own)

    def _give_up(self, problem: GivenUp) -> NoReturn:
        """Have Hypothesis drop the example, if there is one: nothing is known of it."""
        self.given_up = str(problem)
        if currently_in_test_context():
            hypothesis.reject()
        raise problem

    def compared(self, elements: int = 1, margin: float = 0.0) -> None:
        """Note that elements were compared, and by which margin the worst of them conforms."""
        self.tally.compared += int(elements)  # plain numbers, which can go to another process
        self.tally.margin = max(self.tally.margin, float(margin))

    def _wrapped(self, name: str, operator: str, value: Any) -> Any:
        tensor = name in OPERATORS[operator].tensors and value is not None and not isinstance(value, Argument)
        return Argument(value) if tensor and not isinstance(value, float | int) else value


def _to_write_over(value: Any) -> Any:
    """A tensor of which each element has a place of its own: what is repeated cannot be written over."""
    repeated = isinstance(value, Argument) and value.layout.startswith("expanded")
    return Argument(value.values) if repeated else value


def _alive(seen: Observation) -> None:
    if seen.died:
        raise NonConformance(f"{seen.call.operator} {seen.fault}", [seen.call], malformed=True, kind=seen.died)


def well_formed(seen: Observation, shape: tuple[int, ...] | None) -> None:
    """Raise if the answer cannot be judged at all: an exception, not a tensor, a wrong dtype, device or shape."""
    if seen.fault:
        kind = RAISED if seen.raised else ""
        raise NonConformance(f"{seen.call.operator} {seen.fault}", [seen.call], malformed=True, kind=kind)
    assert seen.output is not None
    if shape is not None and seen.output.shape != shape:
        what = f"{seen.call.operator} returned shape {seen.output.shape} where the formula gives {shape}"
        raise NonConformance(what, [seen.call], malformed=True)


def _well_formed_gradient(seen: Observation, name: str) -> None:
    call, gradient = seen.call, seen.gradients.get(name)
    if gradient is None:
        what = (
            f"{call.operator} gave no gradient for {name}: its result does not depend on {name} as far as it can tell; "
            "where that is so, zeros are expected"
        )
    elif gradient.shape != call.tensors[name].values.shape:
        what = f"the gradient of {name} has shape {gradient.shape}, {name} has {call.tensors[name].values.shape}"
    elif seen.gradient_dtypes[name] != call.dtype:
        what = f"the gradient of {name} has dtype {seen.gradient_dtypes[name]}, {name} has {call.dtype}"
    else:
        return
    raise NonConformance(what, [call], subject=f"gradient of {name}", malformed=True)
