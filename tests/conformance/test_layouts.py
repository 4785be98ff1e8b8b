"""Layouts: of all tensors, of several in one memory, and of one at a time beside others that lie plainly."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from assay.implementations.layouts import FUSED, LAYOUTS, ORDERS, TIED, TOGETHER, WITHIN, distinct, same_tensors
from assay.implementations.observe import NO_GRAD, Observation
from assay.reference.tensor import Index
from assay.spec import OPERATORS
from assay.tests.conformance.test_contract import (
    ALL,
    CASES,
    DIFFERENTIATED,
    DIFFERENTIATED_BY_SEVERAL,
    FAMILIES,
    MODES,
    SUMMED,
    copied,
    lying,
    one_lying,
)
from assay.tests.trial.alike import one_answer
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.cases import Case
from assay.tests.trial.failure import RAISED, NonConformance
from assay.tests.trial.laws import clause
from assay.tests.trial.layers import LAYERS, aligned, spread
from assay.tests.trial.textures import REPEATED, Texture

# PyTorch's conv2d may refuse to go back from weights of one channel, repeated (docs/findings.md, 3).
OF_INPUTS = tuple(layout for layout in LAYOUTS[1:] if layout not in (*TIED, "expanded_second"))
ANY = (*LAYOUTS[1:], *ORDERS)
ALWAYS = ("expanded", "channels_last", "transposed_cropped", "swapped_last_cropped")  # layouts that are always tried
# How gradients come back, always tried: from means and sums over an axis or several, from what was turned or cut.
HANDED_BACK = (
    *("expanded_all", "expanded_ends", "expanded_last", "expanded_columns"),
    *("expanded_second", "expanded", "expanded_rows"),
    *("swapped_last", "channels_last", "chunked", "channels_last_chunked"),
)
OF_VECTORS = ("offset", "offset_even", "strided", "expanded")
# So many channels, or features and outputs, some of which are left over from vectors of 4 to 32. In these layouts they
# lie beside each other as they usually do not.
COUNTS = (*range(1, 18), 20, 23, 31, 33, 65)
INNERMOST = ("channels_last", "channels_last_chunked", "swapped_last", "transposed")
LAID = (None, 2, 1, 2)  # so many tensors of each plain case: all of the first
SEEDS = st.integers(0, 255)
# Tensors that are another one, or that turned; they are of this many rows and columns.
SAME = {
    "swish": ("beta = x",),
    "linear": ("w = x", "w = x.T"),
    **dict.fromkeys(("glu", "swiglu"), ("v = w", "v = w.T", "w = x, v = x.T", "c = b")),
    "conv2d": ("weight = input", "weight = input.T"),
}
SQUARES = (2, 3, 8, 17, 32, 45, 64, 100, 129)


def plain_cases(operator: str, seed: int) -> list[Case]:
    """Such a layer; of matrices others, of x of three axes, of one row, and of hundreds of outputs; a larger image."""
    case = spread(operator, seed)
    if operator == "swish":
        return [case, case.changed(shapes={"x": (2, 3, 4, 5, 6)})]
    if operator == "conv2d":
        return [case, case.changed(shapes={**case.shapes, "input": (2, 8, 32, 34)})]
    if operator not in ("linear", "glu", "swiglu"):
        return [case]
    wide = {name: {2: (264, 144), 1: (264,)}.get(len(shape), (6, 144)) for name, shape in case.shapes.items()}
    others = [case.changed(shapes={**case.shapes, "x": x}) for x in ((6, 8, 24), (1, 24))]
    return [case, *others, case.changed(shapes=wide, terms=144)]


def of_so_many(candidate: Candidate, operator: str) -> Iterator[tuple[Case, list[str]]]:
    """Small layers of so many channels each, or features and outputs, and their tensors of several axes."""
    for number, (count, outputs) in enumerate(zip(COUNTS, reversed(COUNTS), strict=True)):
        case = spread(operator, number)
        first, *weights = case.shapes
        shapes = {name: (outputs, count, 3, 3)[: len(case.shapes[name])] for name in weights}
        inputs = (2, 3, count) if "w" in weights else (2, count, 6, 7)
        candidate.begin()
        wide = [first, *(name for name, shape in shapes.items() if len(shape) > 1)]
        yield case.changed(shapes={first: inputs, **shapes}, terms=9 * count), wide


def one_laid(
    case: Case, names: Iterable[str], layouts: Iterable[str] = LAYOUTS[1:]
) -> Iterator[tuple[Case | None, Case]]:
    """The case with each tensor in each layout, and with a plain copy of what that holds where it is not the same."""
    for name in names:
        shape = case.shapes[name]
        for layout in distinct(shape, layouts if len(shape) > 1 else OF_VECTORS):
            if layout in TIED and case.operator == "max_pool2d":
                continue
            ways = (REPEATED + layout, layout) if layout.startswith("expanded") else (layout,)
            laid = [one_lying(case, name, way) for way in ways]
            yield laid[0] if len(laid) > 1 else None, laid[-1]


@clause("contract.layouts", tier="contract", operators=("glu", "swiglu"))
def test_contract_slices_of_one_tensor_give_what_others_give(candidate, operator):
    """Halves of a fused weight, in either order, or every other row, with biases and without. Blind to thirds."""
    for case, recording in itertools.product(biased_or_not(spread(operator, 0)), (*MODES, NO_GRAD)):
        candidate.begin()
        ask = partial(candidate.answer, case, recording=recording)
        one_answer(candidate, case, *(ask(together=together) for together in ("", *FUSED)))


@clause("contract.layouts", tier="contract", operators=("glu", "swiglu"), gradient=True)
def test_contract_slices_of_one_tensor_have_the_gradients_of_others(candidate, operator):
    """Halves of a fused weight, in either order, or every other row, with biases and without. Blind to thirds."""
    for case in biased_or_not(spread(operator, 0)):
        candidate.begin()
        one_answer(candidate, case, *(candidate.ask_gradient(case, together=together) for together in ("", *FUSED)))


def biased_or_not(case: Case) -> list[Case]:
    """The case with its biases, and without them."""
    return [case, case.changed(shapes={name: shape for name, shape in case.shapes.items() if name not in "bc"})]


@clause("contract.layouts", tier="contract", operators=("linear", "glu", "swiglu"))
def test_contract_wide_tensors_in_one_memory_give_what_others_give(candidate, operator):
    """More than a hundred outputs, an odd number, with biases and without. Blind to gaps of other sizes."""
    case = spread(operator, 0)
    lengths = {2: (131, 24), 1: (131,)}
    shapes = {name: lengths.get(len(shape), shape) for name, shape in case.shapes.items()}
    for each in biased_or_not(case.changed(shapes=shapes)):
        candidate.begin()
        one_answer(candidate, each, *(candidate.answer(each, together=together) for together in ("", *TOGETHER)))


PADDED: dict[str, dict[str, Any]] = {
    "pad2d": {"padding": 2},
    "conv2d": {"stride": 1, "padding": 1},
    "max_pool2d": {"kernel_size": 3, "stride": 1, "padding": 1},
}


@clause("contract.layouts", tier="contract", operators=tuple(PADDED))
def test_contract_an_image_within_a_larger_one_gives_what_it_gives_alone(candidate, operator):
    """Padding is zeros, or minus infinity, whatever lies there. Blind to padding of more than three."""
    candidate.begin()
    case = spread(operator, 0).changed(parameters=PADDED[operator])
    within = [one_lying(case, next(iter(case.shapes)), layout) for layout in WITHIN]
    one_answer(candidate, case, *(candidate.answer(each) for each in (case, *within)))


def of_one_shape(operator: str, size: int) -> dict[str, Index]:
    """The shapes of a layer whose tensors are of one shape, but for biases; of images up to 17 rows."""
    if operator == "swish":
        return {"x": (1,), "beta": (1,)}
    if operator == "conv2d":
        return dict.fromkeys(("input", "weight"), (3, min(size, 17), min(size, 17), 3))
    return {name: (size,) * min(len(shape), 2) for name, shape in LAYERS[operator].spread[0].items()}


def tied(candidate: Candidate, operator: str, seed: int) -> Iterator[tuple[Case, str]]:
    """Such layers, in which some tensors hold what others do, or that turned; and which."""
    for size, ties in itertools.product(SQUARES, SAME[operator]):
        shapes = of_one_shape(operator, size)
        textures = {name: Texture("normal", seed + k) for k, name in enumerate(shapes)}
        for name, (other, turned) in same_tensors(ties).items():
            held = textures[other].fill(shapes[other], candidate.format).values
            textures[name] = textures[other].holding(held.T if turned else held, 1)
        parameters = LAYERS[operator].spread[1] if operator == "conv2d" else {}
        candidate.calls.clear()
        yield Case(operator, shapes, textures, parameters, 9 * size**2, seed, Texture("few", seed)), ties


@clause("contract.layouts", tier="contract", operators=tuple(SAME), share=12)
@given(seed=SEEDS)
def test_contract_one_tensor_given_twice_is_taken_for_two(candidate, operator, seed):
    """Or beside its own transpose, of the same memory. Blind to a tensor and a part of it."""
    for case, ties in tied(candidate, operator, seed):
        one_answer(candidate, case, candidate.ask(case), candidate.answer(case, together=ties))


@clause("contract.layouts", tier="contract", operators=tuple(SAME), gradient=True, share=12)
@given(seed=SEEDS)
def test_contract_one_tensor_given_twice_has_two_gradients(candidate, operator, seed):
    """As of two tensors in one memory. Blind to a tensor and a part of it."""
    for case, ties in tied(candidate, operator, seed):
        one_answer(candidate, case, candidate.ask_gradient(case), candidate.ask_gradient(case, together=ties))


def give_what_copies_give(
    candidate: Candidate,
    plain: Case,
    names: Iterable[str],
    ask: Callable[[Case], Observation],
    passed_over: str = "-",
    layouts: Iterable[str] = LAYOUTS[1:],
) -> None:
    """Ask for the case with each of these tensors in each layout; failures of one kind may be passed over."""
    usual = ask(plain)
    for copy, laid in one_laid(plain, names, layouts):
        candidate.calls.clear()
        first = ask(copy) if copy else usual
        try:
            seen = ask(laid)
        except NonConformance as problem:
            if problem.kind != passed_over:
                raise
        else:
            one_answer(candidate, copy or plain, first, seen)


@clause("contract.layouts", tier="contract", operators=ALL, share=6)
@given(seed=SEEDS)
def test_contract_one_tensor_of_any_layout_gives_what_a_copy_gives(candidate, operator, seed):
    """Each in each. Blind to what every call has wrong."""
    for number, plain in enumerate(plain_cases(operator, seed)):
        give_what_copies_give(candidate, plain, list(plain.shapes)[: LAID[number]], candidate.ask, layouts=ANY)


@clause("contract.layouts", tier="contract", operators=ALL, gradient=True, share=12)
@given(seed=SEEDS)
def test_contract_one_tensor_of_any_layout_has_the_gradients_of_a_copy(candidate, operator, seed):
    """Each in each; who refuses to go back hands back no wrong number. Blind to what every call has wrong."""
    for number, plain in enumerate(plain_cases(operator, seed)):
        names = list(plain.shapes)[: LAID[number]]
        give_what_copies_give(candidate, plain, names, candidate.ask_gradient, RAISED, ANY)


@clause("contract.layouts", tier="contract", operators=ALL, dtypes=("float32", "bfloat16"))
def test_contract_any_number_of_channels_may_lie_innermost(candidate, operator):
    """1 to 17, and some to 65, or of features and outputs. Blind to tiles that are larger."""
    for plain, wide in of_so_many(candidate, operator):
        give_what_copies_give(candidate, plain, wide, candidate.ask, layouts=INNERMOST)


@clause("contract.layouts", tier="contract", operators=ALL, gradient=True, dtypes=("float32", "bfloat16"))
def test_contract_any_number_of_channels_may_lie_innermost_going_back(candidate, operator):
    """In what comes back, too. Blind to tiles that are larger."""
    for plain, wide in of_so_many(candidate, operator):
        give_what_copies_give(candidate, plain, wide, candidate.ask_gradient, RAISED, INNERMOST)
        comes_back(candidate, plain.changed(incoming=Texture("normal", plain.pick)), INNERMOST)


@clause("contract.layouts", tier="contract", operators=ALL)
@given(data=st.data(), layout=st.sampled_from(LAYOUTS[1:]))
def test_contract_tensors_of_any_layout_give_what_the_formula_gives(candidate, operator, data, layout):
    """What lies between a view's elements is NaN here, and not read; or in the first alone. Blind to other mixtures."""
    case = data.draw(CASES[operator](FAMILIES))
    for each in dict.fromkeys((layout, *ALWAYS)):
        lies, copy = lying(case, each), copied(case, each)
        first = OPERATORS[operator].tensors[0]
        mixed = copy.with_textures(**{first: lies.textures[first]})
        one_answer(candidate, copy, *map(candidate.ask, (copy, lies, mixed)))


@clause("contract.layouts", tier="contract", operators=ALL, gradient=True)
@given(data=st.data(), layout=st.sampled_from(OF_INPUTS))
def test_contract_tensors_of_any_layout_have_the_formulas_gradients(candidate, operator, data, layout):
    """The incoming gradient lies as the inputs do: expanded, as a sum hands it back. Blind to mixed layouts."""
    case = data.draw(DIFFERENTIATED[operator](FAMILIES))
    for each in dict.fromkeys((layout, "channels_last")):
        copy = copied(case, each)
        one_answer(candidate, copy, *map(candidate.ask_gradient, (copy, lying(case, each))))


@clause("contract.layouts", tier="contract", operators=ALL, gradient=True, share=1)
@given(data=st.data(), layout=st.sampled_from(LAYOUTS[1:]))
def test_contract_an_incoming_gradient_of_any_layout_is_heeded(candidate, operator, data, layout):
    """Whatever inputs are like: expanded as a mean hands it back, or turned. Blind to what every call has wrong."""
    case = data.draw(DIFFERENTIATED[operator](FAMILIES))
    comes_back(candidate, case.changed(textures=lying(case, "contiguous").textures), (*HANDED_BACK, layout))


@clause("contract.layouts", tier="contract", operators=("linear", "glu", "swiglu"), gradient=True)
def test_contract_an_incoming_gradient_of_one_row_of_any_layout_is_heeded(candidate, operator):
    """As of a classifier that is asked about one sample. Blind to what every call has wrong."""
    candidate.begin()
    case = spread(operator, 0)
    comes_back(candidate, case.changed(shapes={**case.shapes, "x": (1, 24)}, incoming=Texture("normal")), LAYOUTS[1:])


@clause("contract.layouts", tier="contract", operators=SUMMED, gradient=True)
def test_contract_an_incoming_gradient_of_any_layout_is_heeded_where_one_tensor_learns(candidate, operator):
    """Biases alone, say, beside frozen weights, or where there are none. Blind to what every call has wrong."""
    for plain in aligned(operator):
        candidate.begin()
        case = plain.changed(incoming=Texture("normal", 9))
        weights = {name: shape for name, shape in case.shapes.items() if len(shape) > 1}
        for asked in (case, case.changed(shapes=weights)):
            for name in asked.shapes:
                comes_back(candidate, asked, HANDED_BACK, (name,))


def comes_back(candidate: Candidate, case: Case, layouts: Iterable[str], alone: Sequence[str] = ()) -> None:
    """Hold gradients to one answer, however the incoming one lies: all of them, or these ``alone``."""
    ask = partial(candidate.ask_gradient, wanted=alone, alone=bool(alone))
    views: dict[str, dict[str, None]] = {}
    for each in distinct(case.result_shape, layouts):
        views.setdefault(REPEATED + each if each.startswith("expanded") else "contiguous", {})[each] = None
    for copy, alike in views.items():
        cases = [case.changed(incoming=replace(case.incoming, layout=each)) for each in (copy, *alike)]
        one_answer(candidate, cases[0], *map(ask, cases))


@clause("contract.layouts", tier="contract", operators=DIFFERENTIATED_BY_SEVERAL, share=4)
@given(data=st.data())
def test_contract_tensors_in_one_memory_give_what_the_formula_gives(candidate, operator, data):
    """One behind the other in either order, by rows in turn, as in a fused layer, or apart. Blind to other gaps."""
    case = lying(data.draw(CASES[operator](FAMILIES)), "contiguous")
    one_answer(candidate, case, *(candidate.answer(case, together=together) for together in ("", *TOGETHER)))


@clause("contract.layouts", tier="contract", operators=DIFFERENTIATED_BY_SEVERAL, gradient=True, share=4)
@given(data=st.data())
def test_contract_tensors_in_one_memory_have_the_formulas_gradients(candidate, operator, data):
    """As parameters that are kept in one vector have, or those of fused layers. Blind to gaps of other sizes."""
    case = lying(data.draw(DIFFERENTIATED[operator](FAMILIES)), "contiguous")
    one_answer(candidate, case, *(candidate.ask_gradient(case, together=together) for together in ("", *TOGETHER)))
