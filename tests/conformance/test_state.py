"""State: an operator is a function. What was called before, where values lie, and who records, change nothing."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from operator import ne
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from assay.implementations.observe import NO_GRAD, OUTPUT, Observation
from assay.implementations.running import WAYS_BACK
from assay.implementations.settings import BY_DEFAULT
from assay.implementations.surroundings import THREADS
from assay.reference.arithmetic.formats import Format
from assay.reference.conv2d import output_size, pair
from assay.spec import OPERATORS
from assay.tests.conformance.test_contract import ALL, CASES, DIFFERENTIATED, FAMILIES, MODES, batched, demand
from assay.tests.trial import judge
from assay.tests.trial.aligned import aligned_cases
from assay.tests.trial.alike import are_right, one_answer, right_alike
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.cases import Case
from assay.tests.trial.laws import clause
from assay.tests.trial.textures import SEEDED as VALUES
from assay.tests.trial.textures import Texture
from assay.tests.trial.whole import of_whole_numbers

LATER = 9  # calls, after which a ring of eight buffers comes round
MUCH_LATER = 66  # as many gradients as a network of 65 layers of one shape keeps
REFUSING = ", where it was to refuse the call"
WARM = 5  # calls of one kind, after which who records what a call does has done so
GROWING = 256  # calls, of which one leaves the number of threads alone, or it grows without end
REPEATS = 100  # a fault of one call in 50 is missed by 100 calls and 6 examples with a probability of 6e-6


def reseeded(case: Case, by: int) -> Case:
    """The case with other values, in the same shapes."""
    return case.changed(textures={name: replace(t, seed=t.seed + by) for name, t in case.textures.items()})


def one_element_changed(case: Case, name: str, place: int) -> Case:
    """The case with another value in one place of one tensor."""
    texture = case.textures[name]
    return case.with_textures(**{name: replace(texture, elements=(*texture.elements, (place, 7.0)))})


def answers_are_alike(candidate: Candidate, cases: list[Case], **how: Any) -> None:
    """Judge the answers to cases that lie in the same memory, one after the other; or, going back, their gradients."""
    seen, _ = candidate.answers_in_turn(cases, **how)
    are_right(candidate, cases, seen, how.get("back", False))


@clause("contract.memoryless", tier="state", operators=ALL, share=4)
@given(data=st.data())
def test_state_another_default_dtype_changes_nothing(candidate, operator, data):
    """What is left out is made in the inputs' dtype, not in that of new tensors. Blind to gradients."""
    of_no_axes = [Case("swish", {"x": ()}, {"x": Texture("digits")})] if operator == "swish" else []
    for case in (*of_no_axes, data.draw(CASES[operator](FAMILIES))):
        one_answer(candidate, case, *(candidate.answer(case, setting=each) for each in ("", *BY_DEFAULT)))


@clause("contract.memoryless", tier="state", operators=ALL)
@given(data=st.data())
def test_state_new_values_in_the_same_memory_give_their_own_result(candidate, operator, data):
    """Written over the old ones, without a word, in inference after some calls. Blind to memory of earlier laws."""
    case = data.draw(CASES[operator](VALUES))
    answers_are_alike(candidate, [case, reseeded(case, 1)])
    for recording, inferred in ((False, False), (False, True), (NO_GRAD, False)):
        answers_are_alike(candidate, [*[case] * WARM, reseeded(case, 1)], recording=recording, inferred=inferred)


@clause("contract.memoryless", tier="state", operators=ALL)
@given(data=st.data(), place=st.integers(0, 4095))
def test_state_one_changed_element_shows(candidate, operator, data, place):
    """So a sum over some elements does not tell one call from another. Blind to changes of many elements."""
    case = data.draw(CASES[operator](VALUES))
    name = data.draw(st.sampled_from(sorted(case.textures)))
    answers_are_alike(candidate, [case, one_element_changed(case, name, place)])


@clause("contract.memoryless", tier="state", operators=ALL, gradient=True)
@given(data=st.data())
def test_state_new_values_in_the_same_memory_have_their_own_gradients(candidate, operator, data):
    """As weights after a step of training. Blind to memory of more than one call."""
    case = data.draw(DIFFERENTIATED[operator](VALUES))
    answers_are_alike(candidate, [case, reseeded(case, 1)], back=True)


NO_WAY = ("interrupted", "halved", "offloaded", "elsewhere", "late")  # which have laws of their own
ONE_WAY = ((), *((way,) for way in WAYS_BACK if way not in NO_WAY))
IN_BETWEEN = (
    *ONE_WAY,
    ("twice", "interrupted"),
    ("twice", "visited"),
    ("residual", "interrupted"),
    ("sharded", "recurrent"),
)


@clause("contract.memoryless", tier="state", operators=ALL, gradient=True)
@given(data=st.data())
def test_state_calls_in_between_change_no_gradient(candidate, operator, data):
    """As in a network, behind other layers; in two parts, or from a checkpoint. Blind to more than 66 in between."""
    case = data.draw(DIFFERENTIATED[operator](VALUES))
    one_answer(candidate, case, *(candidate.ask_gradient(case, **dict.fromkeys(way, True)) for way in IN_BETWEEN))


@clause("contract.no-alias", tier="state", operators=ALL, gradient=True)
@given(data=st.data())
def test_state_writing_to_the_result_changes_no_gradient(candidate, operator, data):
    """As an activation in place does; who needs the result again may refuse. Blind to inputs that are written to."""
    writing_to_the_result_changes_no_gradient(candidate, data.draw(DIFFERENTIATED[operator](FAMILIES)))


def writing_to_the_result_changes_no_gradient(candidate: Candidate, case: Case) -> None:
    plain = candidate.ask_gradient(case)
    back = case.cotangent(candidate.format), tuple(plain.gradients)
    halved = candidate.observe(case.operator, plain.call.arguments, *back, halved=True)
    if halved.raised:
        return candidate.compared()
    one_answer(candidate, case, plain, halved)


def plans() -> Iterator[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """(operator, shapes, parameters, other parameters): one of them differs, and both give results of one shape."""
    for one, other in ((0.5, -3.25), (-1.0, -2.0), (1.0, 2.0**-61)):  # of the last two Python makes one hash each
        yield "swish", {"x": (2, 3)}, {"beta": one}, {"beta": other}
    for side in range(4, 9):
        every = [(k, s, p) for k, s, p in itertools.product(range(1, 4), range(1, 5), range(4)) if side + 2 * p >= k]
        for (kernel, *one), (window, *other) in itertools.permutations(every, 2):
            differing = sum(map(ne, (kernel, *one), (window, *other)))
            if differing > 1 or output_size(side, kernel, *one) != output_size(side, window, *other):
                continue
            first, second = (dict(zip(("stride", "padding"), each, strict=True)) for each in (one, other))
            if kernel == window:
                shapes = {"input": (2, 2, side, side), "weight": (3, 2, kernel, kernel)}
                yield "conv2d", shapes, first, second
            if one[1] <= kernel // 2 and other[1] <= window // 2:
                windows = {"kernel_size": kernel, **first}, {"kernel_size": window, **second}
                yield "max_pool2d", {"input": (2, 3, side, side)}, *windows


PLANS = tuple(plans())


def planned(operator: str, shapes: dict[str, Any], parameters: dict[str, Any], seed: int) -> Case:
    textures = {name: Texture("normal", seed + k) for k, name in enumerate(shapes)}
    return Case(operator, shapes, textures, parameters, terms=18)


@clause("contract.memoryless", tier="state", operators=("swish", "conv2d", "max_pool2d"))
@given(data=st.data())
def test_state_other_parameters_on_the_same_tensors_give_their_own_result(candidate, operator, data):
    """The results are of one shape, so that a plan kept by shapes fits both. Blind to parameters of unequal axes."""
    plan = data.draw(st.sampled_from([plan for plan in PLANS if plan[0] == operator]))
    case = data.draw(st.builds(partial(planned, *plan[:3]), st.integers(0, 255)))
    answers_are_alike(candidate, [case, case.changed(parameters=plan[3]), case])


@clause("contract.memoryless", tier="state", operators=("conv2d", "max_pool2d"), gradient=True, share=4)
@given(data=st.data())
def test_state_other_parameters_on_the_same_tensors_have_their_own_gradients(candidate, operator, data):
    """Asked for in turn, of results of one shape. Blind to parameters of unequal axes."""
    plan = data.draw(st.sampled_from([plan for plan in PLANS if plan[0] == operator]))
    case = data.draw(st.builds(partial(planned, *plan[:3]), st.integers(0, 255)))
    answers_are_alike(candidate, [case, case.changed(parameters=plan[3]), case], back=True)


@clause("contract.memoryless", tier="state", operators=ALL)
@given(data=st.data())
def test_state_calls_in_another_order_give_the_same(candidate, operator, data):
    """Other shapes come between two calls of one shape. Blind to what is remembered for longer."""
    case, other = data.draw(CASES[operator](VALUES)), data.draw(CASES[operator](VALUES))
    right_alike(*(partial(judge.conforms, candidate, each) for each in (case, other, reseeded(case, 1), case)))


@clause("contract.memoryless", tier="state", operators=ALL)
@given(data=st.data())
def test_state_the_hundredth_call_is_as_right_as_the_first(candidate, operator, data):
    """The same call, over and over: results may differ by rounding alone. Blind to faults that are rarer."""
    small, aligned = data.draw(CASES[operator](VALUES)), data.draw(aligned_cases(operator, VALUES))
    for case, repeats in ((small, REPEATS), (aligned, LATER)):
        candidate.calls.clear()
        stays_right(candidate, case, repeats)


def stays_right(candidate: Candidate, case: Case, repeats: int) -> None:
    """Make the same call over and over."""
    seen = candidate.answer(case)
    candidate.compared()
    for _ in range(repeats):
        again = candidate.repeat(seen)
        candidate.calls.pop()  # what is shown is the first call, and one that differs
        if not np.array_equal(again.output, seen.output, equal_nan=True):
            candidate.calls.append(again.call)
            one_answer(candidate, case, seen, again)


def stay_as_they_are(candidate: Candidate, cases: list[Case], modes: Sequence[Any] = (), **how: Any) -> None:
    """Hold what each call gave, each in its mode if there are any, to what is left of it after the last one."""
    asked = (candidate.answers_in_modes, cases, modes) if modes else (candidate.answers_in_turn, cases)
    seen, kept = asked[0](*asked[1:], **how)
    given = [(f"call {k} of {len(seen)}", *each) for k, one in enumerate(seen, 1) for each in one.named().items()]
    for (call, name, first), later in zip(given, kept, strict=True):
        judge.same_arrays(candidate, f"the {name} of {call} changed when later ones were made", later, first, name)


@clause("contract.results-kept", tier="state", operators=ALL)
@given(data=st.data())
def test_state_results_stay_as_they_are(candidate, operator, data):
    """Further calls of the same shape write elsewhere. Blind to buffers that are used again much later."""
    case = data.draw(CASES[operator](VALUES))
    for recording in MODES:
        cases = [reseeded(case, k) for k in range(LATER)]
        stay_as_they_are(candidate, cases, recording=recording)


@clause("contract.results-kept", tier="state", operators=ALL, gradient=True, share=6)
@given(data=st.data())
def test_state_gradients_stay_as_they_are(candidate, operator, data):
    """The next ones are written elsewhere. Blind to buffers that are used again much later."""
    case = data.draw(DIFFERENTIATED[operator](VALUES))
    others = [
        reseeded(case, k).changed(incoming=replace(case.incoming, seed=case.incoming.seed + k))
        for k in range(1, MUCH_LATER)
    ]
    stay_as_they_are(candidate, [case, *others], back=True)


def single(case: Case, which: int, fmt: Format) -> Case:
    """One sample of a case's batch, in a batch of its own."""
    name = OPERATORS[case.operator].tensors[0]
    texture, shape = case.textures[name], case.shapes[name]
    values = texture.fill(shape, fmt, case.terms).values[which : which + 1]
    textures = {**case.textures, name: texture.holding(values, case.terms)}
    return case.changed(shapes={**case.shapes, name: (1, *shape[1:])}, textures=textures)


@clause("contract.samples-apart", tier="state", operators=ALL)
@given(data=st.data())
def test_state_a_sample_gives_in_a_batch_what_it_gives_alone(candidate, operator, data):
    """A batch of three and each of its samples, held to the formula. Blind to errors that both have."""
    batch = batched(data.draw(CASES[operator](FAMILIES)), (3,))
    samples = [single(batch, which, candidate.format) for which in range(3)]
    right_alike(
        partial(judge.conforms, candidate, batch), lambda: [judge.conforms(candidate, each) for each in samples]
    )


@clause("contract.recording", tier="state", operators=ALL)
@given(data=st.data())
def test_state_the_result_is_right_without_recording(candidate, operator, data):
    """As a model is run in inference, on whole numbers, too. Blind to other ways of switching gradients off."""
    case = data.draw(CASES[operator](FAMILIES))
    for each in (case, of_whole_numbers(case)):
        plain, unrecorded = candidate.ask(each), candidate.answer(each, recording=False)
        one_answer(candidate, each, plain, unrecorded)
        demand(unrecorded, not unrecorded.recorded, "gave a result that gradients can be asked of, in inference")


@clause("contract.recording", tier="state", operators=ALL, gradient=True)
@given(data=st.data())
def test_state_the_result_is_right_while_gradients_are_recorded(candidate, operator, data):
    """The result that a gradient is asked of. Blind to the gradients."""
    case = data.draw(DIFFERENTIATED[operator](FAMILIES))
    plain, recorded = candidate.ask(case), candidate.ask_gradient(case)
    one_answer(candidate, case, plain, recorded)


def leaves_alone(candidate: Candidate, case: Case, when: str = "", *back: Any, **more: Any) -> None:
    """Hold a call, and going ``back``, to changing no settings and nobody's functions."""
    for _ in range(GROWING):
        seen = candidate.observe(case.operator, case.arguments(candidate.format), *back, watched=True, **more)
        if seen.disturbed != (THREADS,):
            break
        candidate.calls.pop()  # a pool of threads may grow as it is used, and is full some day
    else:
        candidate.calls.append(seen.call)
    changed_nothing(candidate, seen, when)


def changed_nothing(candidate: Candidate, seen: Observation, when: str = "", but: Collection[str] = ()) -> None:
    """Hold a watched call to having changed no settings, ``but`` these, and nobody's functions."""
    candidate.compared()
    others = [name for name in seen.disturbed if name not in (OUTPUT, *but)]
    did = [f"changed {name}" if "'s " in name else f"changed the {name}" for name in others]
    did += [f"wrote to the {OUTPUT}"] * (OUTPUT in seen.disturbed)
    demand(seen, not did, f"{' and '.join(did)}{when}")


@clause("contract.surroundings", tier="state", operators=ALL)
@given(data=st.data())
def test_state_settings_and_functions_are_left_alone(candidate, operator, data):
    """And nothing is printed: a program's output is its own. Blind to what is patched before the first call."""
    case = data.draw(CASES[operator](FAMILIES))
    candidate.ask(case)  # what a kernel makes once, as a pool of threads, is there from now on
    leaves_alone(candidate, case)


@clause("contract.surroundings", tier="state", operators=ALL, gradient=True)
@given(data=st.data())
def test_state_going_back_leaves_settings_and_functions_alone(candidate, operator, data):
    """Nor does a gradient, nor what is broken off. Blind to what is patched before the first call."""
    case = data.draw(DIFFERENTIATED[operator](FAMILIES))
    back = case.cotangent(candidate.format), tuple(candidate.ask_gradient(case).gradients)
    for way in ((), ("broken",), ("revisited",)):
        leaves_alone(candidate, case, ", forward or back", *back, **dict.fromkeys(way, True))


def refusals(case: Case) -> list[Case]:
    """The case with another stride or padding, or with a tensor of a wrong length, which is an error."""
    others: list[dict[str, Any]] = [{"stride": 0}, {"padding": -1}]
    if case.operator == "max_pool2d":
        others.append({"padding": max(pair(case.parameters["kernel_size"]))})
    wrong = list[Case]()
    for name in [*case.shapes][1:]:
        *outputs, last = case.shapes[name][:2]
        wrong.append(case.changed(shapes={**case.shapes, name: (*outputs, last + 2, *case.shapes[name][2:])}))
    return wrong + [case.changed(parameters={**case.parameters, **other}) for other in others if case.parameters]


@clause("contract.surroundings", tier="state", operators=("linear", "glu", "swiglu", "conv2d", "max_pool2d"))
@given(data=st.data())
def test_state_a_refused_call_leaves_settings_and_functions_alone(candidate, operator, data):
    """Of sizes, settings, or two dtypes: who raises puts back what it had changed. Blind to errors while going back."""
    case = data.draw(CASES[operator](FAMILIES))
    for other in refusals(case):
        leaves_alone(candidate, other, REFUSING)
    if operator != "max_pool2d":
        leaves_alone(candidate, case, REFUSING, mixed=True)
