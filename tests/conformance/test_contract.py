"""The contract: what holds for every operator, whatever its formula."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from assay.implementations.arrays import Argument
from assay.implementations.layouts import LAYOUTS
from assay.implementations.observe import Observation
from assay.spec import OPERATORS
from assay.tests.trial import judge
from assay.tests.trial.aligned import aligned_cases
from assay.tests.trial.alike import one_answer
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.cases import (
    SMALL,
    Case,
    conv2d_cases,
    gated_cases,
    linear_cases,
    max_pool2d_cases,
    pad2d_cases,
    swish_cases,
)
from assay.tests.trial.failure import RAISED, NonConformance
from assay.tests.trial.laws import clause
from assay.tests.trial.textures import INTEGERS, REPEATED
from assay.tests.trial.textures import MANNERS as FAMILIES

ALL = tuple(OPERATORS)
DIFFERENTIATED_BY_SEVERAL = ("swish", "linear", "glu", "swiglu", "conv2d")
EXACT_ON_INTEGERS = ("linear", "pad2d", "max_pool2d")  # conv2d is not: an FFT in float64 gives 1e-17 for 0
SIZES = (*SMALL, 7, 8, 17)
SUMMED = ("linear", "glu", "swiglu", "conv2d")
MODES = (None, False)  # of recording gradients: as in training, and as in inference

SMALL_CASES: dict[str, Callable[..., st.SearchStrategy[Case]]] = {
    "swish": partial(swish_cases, sizes=SIZES),
    "glu": partial(gated_cases, "glu", sizes=SIZES),
    "swiglu": partial(gated_cases, "swiglu", sizes=SIZES),
    "linear": partial(linear_cases, sizes=SIZES),
    "pad2d": partial(pad2d_cases, sizes=SIZES),
    "conv2d": partial(conv2d_cases, places=(2, 1, 3), channels=(2, 1, 3)),
    "max_pool2d": partial(max_pool2d_cases, places=(2, 1, 3)),
}


def with_aligned(operator: str, small: Callable[..., st.SearchStrategy[Case]], untied: bool = False) -> Any:
    """Small cases, and those that fast code is for."""
    return lambda families: small(families) | aligned_cases(operator, families, untied)


CASES = {operator: with_aligned(operator, small) for operator, small in SMALL_CASES.items()}

# How many of the last axes of the first tensor belong to a sample; the rest are the batch's.
OF_A_SAMPLE = {"swish": 0, "glu": 1, "swiglu": 1, "linear": 1, "pad2d": 2, "conv2d": 3, "max_pool2d": 3}


def takes(candidate: Candidate, case: Case) -> bool:
    """Whether the candidate answers what it may refuse, as PyTorch does not: a layer of no features, say."""
    candidate.compared()
    return not candidate.observe(case.operator, case.arguments(candidate.format)).raised


def answered(candidate: Candidate, case: Case, back: bool = False, **more: Any) -> Observation:
    """What the candidate did with a case, going back too if asked; ``more`` are further fields of the `Call`.

    Raises:
        NonConformance: it raised.
    """
    arguments = case.arguments(candidate.format)
    tensors = tuple(name for name, value in arguments.items() if isinstance(value, Argument))
    asked = (case.cotangent(candidate.format), more.pop("differentiate", tensors)) if back else ()
    seen = candidate.observe(case.operator, arguments, *asked, **more)
    candidate.compared()
    if seen.raised:
        raise NonConformance(f"{case.operator} {seen.fault}", [seen.call], kind=RAISED)
    return seen


def demand(seen: Observation, holds: bool, otherwise: str) -> None:
    """Raise, saying what the operator did ``otherwise``, unless it holds."""
    if not holds:
        raise NonConformance(f"{seen.call.operator} {otherwise}", [seen.call])


def are_refused(candidate: Candidate, operator: str, sizes: Mapping[str, Sequence[int]]) -> None:
    """Hold the candidate to raising an error on tensors of these sizes."""
    arguments = {name: Argument(np.ones(shape)) for name, shape in sizes.items()}
    judge.refuses(candidate, operator, arguments, f"for tensors of the sizes {sizes}")


def readable(seen: Observation, found: object) -> None:
    """Raise unless this was found: a result of which it cannot be said is another clause's matter."""
    if not found:
        raise NonConformance(f"{seen.call.operator} {seen.fault}", [seen.call], malformed=True)


def demand_device(seen: Observation, asked: str) -> None:
    """Raise unless the result is where it was asked for: "cuda:1" is that one, and "cuda" is any."""
    here = asked in (seen.device, seen.device.partition(":")[0])
    demand(seen, here, f"returned a result on {seen.device} for inputs on {asked}")


def demand_own_memory(seen: Observation) -> None:
    """Raise where the result shares the memory of an input, or elements of it their own."""
    demand(seen, not seen.shares, f"returned a result that lies in the memory of {' and '.join(seen.shares)}")


def demand_shape(seen: Observation, case: Case) -> None:
    readable(seen, seen.output is not None)
    what = f"returned shape {seen.output.shape} where the formula gives {case.result_shape}"
    demand(seen, seen.output.shape == case.result_shape, what)


def lying(case: Case, layout: str) -> Case:
    """The case with all its tensors, and the incoming gradient, in one layout."""
    textures = {name: replace(texture, layout=layout) for name, texture in case.textures.items()}
    return case.changed(textures=textures, incoming=replace(case.incoming, layout=layout))


def one_lying(case: Case, name: str, layout: str) -> Case:
    """The case with one of its tensors in a layout."""
    return case.with_textures(**{name: replace(case.textures[name], layout=layout)})


def copied(case: Case, layout: str) -> Case:
    """A contiguous copy of what the case holds in a layout."""
    return lying(case, REPEATED + layout)


def batched(case: Case, batch: tuple[int, ...]) -> Case:
    """The case with this batch: one axis for images, one or more for the others."""
    name = OPERATORS[case.operator].tensors[0]
    shape, own = case.shapes[name], OF_A_SAMPLE[case.operator]
    images = case.operator in ("conv2d", "max_pool2d")
    sample = shape[len(shape) - own :] if own else shape[1:]
    return case.changed(shapes={**case.shapes, name: ((min(batch),) if images else batch) + sample})


@clause("contract.dtype", tier="contract", operators=ALL)
@given(data=st.data())
def test_contract_the_result_has_the_inputs_dtype(candidate, operator, data):
    """No widening, no narrowing. Blind to what was computed between."""
    seen = answered(candidate, data.draw(CASES[operator](FAMILIES)))
    readable(seen, seen.dtype)
    demand(seen, seen.dtype == candidate.dtype, seen.fault)


@clause("contract.dtype", tier="contract", operators=ALL, gradient=True)
@given(data=st.data())
def test_contract_gradients_have_their_inputs_dtype(candidate, operator, data):
    """Going back too. Blind to gradients that an array library's engine casts by itself."""
    seen = answered(candidate, data.draw(CASES[operator](FAMILIES)), back=True)
    for name, dtype in seen.gradient_dtypes.items():
        demand(seen, dtype == candidate.dtype, f"gave {name} of dtype {candidate.dtype} a gradient of dtype {dtype}")


@clause("contract.device", tier="contract", operators=ALL)
@given(data=st.data())
def test_contract_the_result_is_on_the_inputs_device(candidate, operator, data):
    """Where the inputs are, there the result is. Blind to detours."""
    seen = answered(candidate, data.draw(CASES[operator](FAMILIES)))
    readable(seen, seen.device)
    demand_device(seen, candidate.device)


@clause("contract.plain", tier="contract", operators=ALL)
@given(data=st.data())
def test_contract_the_result_is_a_plain_tensor(candidate, operator, data):
    """Not a list, a pair, None, or a subclass. Blind to what its values are."""
    seen = answered(candidate, data.draw(CASES[operator](FAMILIES)))
    demand(seen, bool(seen.dtype), seen.fault)


@clause("contract.shape", tier="contract", operators=ALL)
@given(data=st.data(), batch=st.sampled_from(((2,), (3, 2), (5,))))
def test_contract_the_result_has_the_formulas_shape(candidate, operator, data, batch):
    """Axes of one element stay, and a batch's axes, always three once, apart. Blind to the order of the elements."""
    drawn = data.draw(CASES[operator](FAMILIES))
    for each in (batch, (2, 1, 3)):
        case = batched(drawn, each)
        demand_shape(answered(candidate, case), case)


@clause("contract.shape", tier="contract", operators=ALL, gradient=True)
@given(data=st.data())
def test_contract_gradients_have_their_inputs_shape(candidate, operator, data):
    """Each tensor has a gradient of its own shape. Blind to the order of the elements."""
    seen = answered(candidate, data.draw(CASES[operator](FAMILIES)), back=True)
    for name, argument in seen.call.tensors.items():
        gradient, shape = seen.gradients.get(name), argument.values.shape
        demand(seen, gradient is not None, f"gave no gradient for {name}")
        demand(seen, gradient.shape == shape, f"gave {name} of shape {shape} a gradient of shape {gradient.shape}")


@clause("contract.inputs-unchanged", tier="contract", operators=ALL)
@given(data=st.data())
def test_contract_no_input_is_written_to(candidate, operator, data):
    """The inputs hold afterwards what they held before, bit for bit, in inference too. Blind to what is put back."""
    case = data.draw(CASES[operator](FAMILIES))
    for recording in MODES:
        seen = answered(candidate, case, recording=recording)
        demand(seen, not seen.changed, f"wrote to its input {' and '.join(seen.changed)}")


@clause("contract.inputs-unchanged", tier="contract", operators=ALL, gradient=True)
@given(data=st.data())
def test_contract_going_back_writes_to_no_input(candidate, operator, data):
    """The incoming gradient, gradients that there are or are not, other layers' results. Blind to what is put back."""
    going_back_writes_to_no_input(candidate, data.draw(CASES[operator](FAMILIES)))


def going_back_writes_to_no_input(candidate: Candidate, case: Case) -> None:
    first, *others = case.shapes
    alone = [{"differentiate": tuple(names)} for names in ((first,), others) if names]
    for way in ({}, {"accumulated": True}, {"hidden": True}, {"residual": True}, *alone):
        seen = answered(candidate, case, back=True, **way)
        demand(seen, not seen.changed, f"wrote to its input {' and '.join(seen.changed)}, forward or back")


def own_memory(case: Case) -> Case:
    """The case, without padding by 0, which may return its input, and with pooling that easily does."""
    if case.operator == "pad2d":
        return case.changed(parameters={"padding": case.parameters["padding"] + 1})
    if case.operator == "max_pool2d" and case.pick % 2:
        return case.changed(parameters={"kernel_size": 1, "stride": 1 + case.pick // 2 % 2, "padding": 0})
    return case


@clause("contract.no-alias", tier="contract", operators=ALL)
@given(data=st.data())
def test_contract_the_result_has_memory_of_its_own(candidate, operator, data):
    """Writing to one element changes no other, and no input. Blind to memory of other calls, and padding by 0."""
    case = own_memory(data.draw(CASES[operator](FAMILIES)))
    for each in (case, lying(case, "expanded"), lying(case, "expanded_frames")):
        seen = answered(candidate, each)
        demand_own_memory(seen)


@clause("contract.layouts", tier="contract", operators=EXACT_ON_INTEGERS)
@given(data=st.data(), layout=st.sampled_from(LAYOUTS[1:]))
def test_contract_tensors_of_any_layout_give_what_contiguous_copies_give(candidate, operator, data, layout):
    """On integers, element by element. Blind to what both get wrong."""
    case = lying(data.draw(CASES[operator](INTEGERS)), layout)
    arguments = case.arguments(candidate.format)
    copies = {
        name: Argument(value.values) if isinstance(value, Argument) else value for name, value in arguments.items()
    }
    got, expected = (candidate.call(operator, given, case.result_shape).output for given in (arguments, copies))
    judge.same_arrays(candidate, f"{layout} tensors give something else than their contiguous copies", got, expected)


def small_untied(case: Case) -> Case:
    """Pooling without ties: at most 512 different integers, which bfloat16 tells apart."""
    if case.operator != "max_pool2d":
        return case
    *_, height, width = case.shapes["input"]
    return case.changed(shapes={"input": (2, 2 if height * width <= 128 else 1, height, width)})


SMALL_DIFFERENTIATED: dict[str, Callable[..., st.SearchStrategy[Case]]] = {
    **SMALL_CASES,
    "conv2d": partial(conv2d_cases, places=(2, 1), channels=(2, 1)),
    "max_pool2d": lambda families: max_pool2d_cases(("distinct",), places=(2, 1)).map(small_untied),
}
DIFFERENTIATED = {operator: with_aligned(operator, small, True) for operator, small in SMALL_DIFFERENTIATED.items()}


def trained_together(case: Case) -> dict[tuple[str, ...], None]:
    """Each tensor, all but each, and those of one kind or two: inputs, weights, biases, branches."""
    kinds = ({"x", "input"}, {"w", "v", "weight", "beta"}, {"b", "c", "bias"}, {"w", "b"}, {"v", "c"})
    wanted = [{name} for name in case.shapes] + [set(case.shapes) - {name} for name in case.shapes]
    wanted += [set().union(*some) for count in (1, 2) for some in itertools.combinations(kinds, count)]
    return dict.fromkeys(names for each in wanted if (names := tuple(name for name in case.shapes if name in each)))


@clause("contract.some-gradients", tier="gradient", operators=DIFFERENTIATED_BY_SEVERAL, share=2)
@given(data=st.data())
def test_contract_the_gradient_of_some_inputs_does_not_need_the_others(candidate, operator, data):
    """One alone, or all but one, or those of a kind, as with frozen weights. Blind to what every call has wrong."""
    case = data.draw(CASES[operator](FAMILIES))
    seen = candidate.ask_gradient(case)
    for names in trained_together(case):
        one_answer(candidate, case, candidate.ask_gradient(case, names, alone=True), seen)


@clause("contract.empty-batch", tier="contract", operators=ALL)
@given(data=st.data(), batch=st.sampled_from(((0,), (2, 0), (0, 3))))
def test_contract_an_empty_batch_gives_an_empty_result(candidate, operator, data, batch):
    """No samples in, none out, and no error. Blind to operators that reduce over the batch."""
    case = batched(data.draw(CASES[operator](FAMILIES)), batch)
    demand_shape(answered(candidate, case), case)


@clause("contract.empty-batch", tier="contract", operators=ALL, gradient=True)
@given(data=st.data(), batch=st.sampled_from(((0,), (2, 0), (0, 3))))
def test_contract_an_empty_batch_hands_back_zeros(candidate, operator, data, batch):
    """The weights' derivatives are sums of nothing. Blind to memory that happens to hold zeros."""
    seen = candidate.ask_gradient(batched(data.draw(CASES[operator](FAMILIES)), batch))
    candidate.compared()
    for name, gradient in seen.gradients.items():
        what, nothing = f"{name} has a derivative where there is no sample", np.zeros_like(gradient)
        judge.same_arrays(candidate, what, gradient, nothing, f"gradient of {name}")


@clause("contract.batch-of-one", tier="contract", operators=ALL)
@given(data=st.data(), batch=st.sampled_from(((1,), (1, 1), (1, 3))))
def test_contract_a_batch_of_one_keeps_its_axis(candidate, operator, data, batch):
    """One sample is a batch still. Blind to the sample's values."""
    case = batched(data.draw(CASES[operator](FAMILIES)), batch)
    demand_shape(answered(candidate, case), case)
