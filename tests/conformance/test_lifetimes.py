"""Long lives: hundreds of calls, results that are kept, batches that grow, weights that only moved.

What is remembered by too little, or for too long, is right until then.
"""

from __future__ import annotations

import itertools
from contextlib import suppress
from dataclasses import replace

import numpy as np

from assay.implementations.observe import NO_GRAD
from assay.implementations.settings import SETTINGS
from assay.implementations.surroundings import ONCE
from assay.spec import OPERATORS
from assay.tests.conformance.test_contract import ALL, MODES, SUMMED
from assay.tests.conformance.test_state import changed_nothing, refusals, reseeded, stay_as_they_are
from assay.tests.trial.alike import are_right, one_answer
from assay.tests.trial.candidate import on_and_back
from assay.tests.trial.failure import NonConformance
from assay.tests.trial.laws import clause
from assay.tests.trial.layers import LAYERS, completed, lasting, of_integers, of_reals, of_samples, wide
from assay.tests.trial.textures import Texture
from assay.tests.trial.whole import result_is_within

OFTEN, OTHERS = 260, 66  # calls of one kind, and others after them, whose results are kept
ODD = 5  # of a row, the place of an element that whoever looks at one in two, or in a power of two, passes over
OF_ONE_SHAPE = 3  # layers
# Weights of 2^18 elements and more.
HEAVY = {
    "linear": {"x": (2, 1024), "w": (264, 1024), "b": (264,)},
    **{operator: {"x": (2, 1024), "w": (264, 1024), "v": (264, 1024)} for operator in ("glu", "swiglu")},
    "conv2d": {"input": (1, 128, 3, 4), "weight": (260, 128, 3, 3)},
}
BATCHES = (40, 64, 33, 48, 17, 5, 1, 12)  # after a batch a larger one that rounds up to the same, and smaller ones
# Layers of the same numbers: rows, features and outputs; channels and sides of an image.
TURNED = {"linear": ((16, 128, 144), (16, 144, 128), (128, 16, 144), (144, 128, 16))}
TURNED["glu"] = TURNED["swiglu"] = ((16, 96, 112), (16, 112, 96), (96, 16, 112), (112, 96, 16))
IMAGES = ((8, 4, 12, 16), (8, 4, 16, 12), (4, 8, 12, 16), (8, 12, 4, 16))
# Kernel, stride and padding, two at a time, that make as many places of nine.
AXES = (((3, 1, 1), (1, 1, 0)), ((2, 2, 0), (3, 2, 0)), ((3, 2, 1), (1, 2, 0)), ((2, 3, 0), (2, 4, 1)))


@clause("contract.memoryless", tier="state", operators=ALL)
def test_state_the_first_call_of_a_process_is_as_right_as_the_second(candidate, operator):
    """What is made when first used is made by then, in training and in inference. Blind to a process that is old."""
    case = lasting(operator)
    for recording in MODES:
        candidate.begin(anew=True)
        first, second = (candidate.answer(case, recording=recording) for _ in range(2))
        one_answer(candidate, case, second, first)


@clause("contract.memoryless", tier="state", operators=ALL, dtypes=("float32",))
def test_state_the_first_call_of_a_process_may_have_another_default_dtype(candidate, operator):
    """Float16, of new tensors, as while another model is made. Blind to a process that is old."""
    case = lasting(operator)
    plain = candidate.answer(case)
    candidate.begin(anew=True)
    candidate.answer(case, setting="float16 by default")
    one_answer(candidate, case, plain, candidate.answer(case))


@clause("contract.surroundings", tier="state", operators=ALL, dtypes=("float32",))
def test_state_the_first_call_of_a_process_leaves_settings_and_random_numbers_alone(candidate, operator):
    """Whose shapes nobody has asked about either. Blind to what is made once: threads, say, and filters of warnings."""
    case = lasting(operator)
    for recording in MODES:
        candidate.begin(anew=True)
        seen = candidate.observe(operator, case.arguments(candidate.format), recording=recording, watched=True)
        changed_nothing(candidate, seen, ", at the first call of a process", ONCE)


@clause("contract.memoryless", tier="state", operators=ALL, dtypes=("float32",))
def test_state_what_comes_after_hundreds_of_calls_is_as_right_as_before(candidate, operator):
    """In inference, on the same memory; then come other values, in turn. Blind to what takes more calls."""
    candidate.begin()
    case = lasting(operator)
    cases = [case] * OFTEN + [reseeded(case, 1 + k % 2) for k in range(OTHERS)]
    cases += [case.changed(parameters={"beta": 0.75})] * (operator == "swish")
    seen, _ = candidate.answers_in_turn(cases, recording=False)
    one_answer(candidate, case, *seen[:OFTEN])
    one_answer(candidate, cases[OFTEN], *seen[OFTEN : OFTEN + OTHERS : 2])
    one_answer(candidate, cases[OFTEN + 1], *seen[OFTEN + 1 : OFTEN + OTHERS : 2])
    judged = (0, OFTEN, OFTEN + 1, -1)
    are_right(candidate, [cases[k] for k in judged], [seen[k] for k in judged])


@clause("contract.memoryless", tier="state", operators=ALL)
def test_state_calls_in_other_dtypes_change_no_result(candidate, operator):
    """Of large layers, and of padded ones, when they come first. Blind to dtypes that the candidate does not have."""
    cases = wide(operator), of_reals(operator, *LAYERS[operator].leaving[0])
    for recording in MODES:
        candidate.begin(anew=True)
        dtypes = [each for each in sorted(candidate.implementation.offered()) if each != candidate.dtype]
        for dtype, case in itertools.product(dtypes[:: -1 if recording is None else 1], cases):
            other = replace(candidate, dtype=dtype)
            with suppress(NonConformance):  # who dies of it does so in another dtype
                other.observe(operator, case.arguments(other.format), recording=recording)
        for case in cases:
            result_is_within(candidate, case, candidate.answer(case, recording=recording))


@clause("contract.memoryless", tier="state", operators=SUMMED, dtypes=("float32",))
def test_state_layers_of_one_shape_give_their_own_results(candidate, operator):
    """As the layers of a model do, in turn, in inference, of one row too. Blind to more than a dozen calls."""
    for case in (of_samples(operator, 1), lasting(operator)):
        candidate.begin()
        cases = [reseeded(case, k) for k in range(OF_ONE_SHAPE)]
        seen = [candidate.answer(each, recording=False) for each in cases * 4]
        for k in range(OF_ONE_SHAPE):
            one_answer(candidate, cases[k], *seen[k::OF_ONE_SHAPE])


@clause("contract.results-kept", tier="state", operators=ALL, dtypes=("float32", "bfloat16"))
def test_state_dozens_of_results_stay_as_they_are(candidate, operator):
    """Of a thousand elements, where no gradients are recorded. Blind to buffers that are used again later."""
    candidate.begin()
    case = lasting(operator)
    stay_as_they_are(candidate, [reseeded(case, k) for k in range(OTHERS)], recording=NO_GRAD)


@clause("contract.memoryless", tier="state", operators=tuple(name for name in ALL if name != "swish"))
def test_state_batches_of_other_sizes_give_their_own_results(candidate, operator):
    """As of a server: larger, smaller, the same rounded up; from one on. Blind to what every call has wrong."""
    for sizes in (BATCHES, sorted(BATCHES)):
        candidate.begin()
        cases = [of_samples(operator, size) for size in sizes]
        seen, _ = candidate.answers_in_turn(cases, recording=False)
        are_right(candidate, cases, seen)


@clause("contract.memoryless", tier="state", operators=tuple(name for name in ALL if name != "swish"))
def test_state_layers_of_the_same_numbers_give_their_own_results(candidate, operator):
    """Features and outputs, rows and columns in another order. Blind to what every call has wrong."""
    candidate.begin()
    if operator in ("linear", "glu", "swiglu"):
        weights = "w" if operator == "linear" else "wv"
        shapes = [{"x": (n, k), **dict.fromkeys(weights, (m, k))} for n, k, m in TURNED[operator]]
    elif operator == "conv2d":
        shapes = [{"input": (2, c, *sides), "weight": (o, c, 3, 3)} for c, o, *sides in IMAGES]
    else:
        shapes = [{OPERATORS[operator].tensors[0]: (2, c, *sides)} for c, _, *sides in IMAGES]
    cases = [lasting(operator, **each) for each in shapes]
    cases = [
        each.changed(shapes={name: each.shapes[name] for name in own}) for each, own in zip(cases, shapes, strict=True)
    ]
    seen = [candidate.ask(case) for case in cases]
    are_right(candidate, cases, seen)


@clause("contract.memoryless", tier="state", operators=("conv2d", "max_pool2d"))
def test_state_other_padding_of_a_large_image_gives_its_own_result(candidate, operator):
    """Of a thousand places, whose result has the same size. Blind to what every call has wrong."""
    candidate.begin()
    cases = [axes_of(operator, *[(2, 3, padding)] * 2, side=35) for padding in (0, 1, 0)]
    are_right(candidate, cases, [candidate.ask(each) for each in cases])


@clause("contract.memoryless", tier="state", operators=("conv2d", "max_pool2d"))
def test_state_parameters_of_unequal_axes_give_their_own_results(candidate, operator):
    """Kernel, stride and padding of one axis alone change, and the results are of one shape. Blind to wrong ones."""
    for one, other in AXES:
        candidate.begin()
        cases = [axes_of(operator, *axes) for axes in ((one, one), (one, other), (other, other), (other, one))]
        seen = [candidate.ask(case) for case in cases]
        are_right(candidate, cases, seen)


@clause("contract.memoryless", tier="state", operators=("conv2d", "max_pool2d"), gradient=True)
def test_state_parameters_of_unequal_axes_have_their_own_gradients(candidate, operator):
    """Kernel, stride and padding of one axis alone change, and the results are of one shape. Blind to wrong ones."""
    for one, other in AXES:
        candidate.begin()
        cases = [axes_of(operator, *axes, side=17) for axes in ((one, one), (one, other), (other, other), (other, one))]
        seen = [candidate.ask_gradient(case) for case in cases]
        are_right(candidate, cases, seen, back=True)


def axes_of(operator, *axes, side=9):
    """A layer with such a kernel, stride and padding along each axis."""
    kernel, stride, padding = zip(*axes, strict=True)
    if operator == "max_pool2d":
        case = lasting(operator, input=(2, 3, side, side))
        return case.changed(parameters={"kernel_size": kernel, "stride": stride, "padding": padding})
    case = lasting(operator, input=(2, 3, side, side), weight=(4, 3, *kernel))
    return case.changed(parameters={"stride": stride, "padding": padding})


def moved_are_others(candidate, case, name):
    """Mirror a tensor along each axis, one after the other, and all of them, where it lies, and judge each result."""
    candidate.begin()
    texture, shape = case.textures[name], case.shapes[name]
    held = texture.fill(shape, candidate.format, case.terms).values
    moved = [held]
    for axes in (*range(held.ndim), None):
        moved.append(np.flip(moved[-1], axes))
    cases = [case.with_textures(**{name: texture.holding(values, case.terms)}) for values in moved]
    seen, _ = candidate.answers_in_turn(cases, recording=False)
    are_right(candidate, cases, seen)


@clause("contract.memoryless", tier="state", operators=SUMMED)
def test_state_weights_whose_elements_only_moved_are_other_weights(candidate, operator):
    """Mirrored or reordered, so that sums over them are the same, in inference. Blind to what every call has wrong."""
    moved_are_others(candidate, lasting(operator), "weight" if operator == "conv2d" else "w")


@clause("contract.memoryless", tier="state", operators=ALL, dtypes=("float32", "bfloat16"))
def test_state_inputs_whose_elements_only_moved_are_other_inputs(candidate, operator):
    """Of 2^16 whole numbers, as pictures are mirrored to be asked about twice. Blind to what every call has wrong."""
    moved_are_others(candidate, of_integers(operator, *LAYERS[operator].wide), OPERATORS[operator].tensors[0])


@clause("contract.memoryless", tier="state", operators=SUMMED)
def test_state_one_row_of_large_weights_that_is_another_shows(candidate, operator):
    """As after pruning, in inference. Blind to what every call has wrong."""
    candidate.begin()
    case = wide(operator)
    name = "weight" if operator == "conv2d" else "w"
    texture, shape = case.textures[name], case.shapes[name]
    values = texture.fill(shape, candidate.format, case.terms).values.copy()
    values[shape[0] // 3] = 0.5
    pruned = case.with_textures(**{name: texture.holding(values, case.terms)})
    seen, _ = candidate.answers_in_turn([case, pruned], recording=False)
    are_right(candidate, (case, pruned), seen)


@clause("contract.memoryless", tier="state", operators=SUMMED, dtypes=("float32", "bfloat16"))
def test_state_new_values_of_hundreds_of_thousands_of_weights_give_their_own_result(candidate, operator):
    """Written over in place, in inference. Blind to what every call has wrong."""
    cases = [reseeded(lasting(operator, **HEAVY[operator]), k) for k in range(2)]
    for inferred in (False, True):
        candidate.begin()
        seen, _ = candidate.answers_in_turn(cases, recording=False, inferred=inferred)
        are_right(candidate, cases, seen)


@clause("contract.memoryless", tier="state", operators=("linear", "glu", "swiglu", "conv2d", "max_pool2d"))
def test_state_a_refused_call_changes_no_result(candidate, operator):
    """Of new weights and a bias that does not fit, of sums of a thousand terms. Blind to other errors."""
    of_terms = {"linear": "xw", "glu": "xwv", "swiglu": "xwv"}.get(operator, "")
    shapes = {name: (8, 1024) if name == "x" else (16, 1024) for name in of_terms}
    case = lasting(operator, **shapes, **({"b": (16,)} if of_terms else {}))
    new = reseeded(case, 1)
    other = new.changed(shapes={**case.shapes, "b": (17,)}) if of_terms else refusals(new)[0]
    for recording in (None, NO_GRAD):
        candidate.begin()
        first, _ = (candidate.answer(each, recording=recording) for each in (new, case))
        candidate.observe(operator, other.arguments(candidate.format), recording=recording)
        one_answer(candidate, new, first, candidate.answer(new, recording=recording))


@clause("contract.results-kept", tier="state", operators=ALL, dtypes=("float32",))
def test_state_results_of_hundreds_of_calls_stay_as_they_are(candidate, operator):
    """As of all batches of an evaluation. Blind to buffers that are used again later."""
    candidate.begin()
    stay_as_they_are(candidate, [reseeded(lasting(operator), k) for k in range(OFTEN)], recording=False)


@clause("contract.memoryless", tier="state", operators=SUMMED)
def test_state_parts_of_one_memory_give_their_own_results(candidate, operator):
    """As of fused queries, keys and values, one after the other and back. Blind to gradients of parts."""
    for recording, seeds in itertools.product((*MODES, NO_GRAD), on_and_back("part")):
        candidate.begin()
        cases = [reseeded(lasting(operator), k) for k in seeds]
        seen, _ = candidate.answers_in_turn(cases, recording=recording, turns="part")
        are_right(candidate, cases, seen)


@clause("contract.memoryless", tier="state", operators=ALL)
def test_state_other_settings_change_no_large_result(candidate, operator):
    """Of large layers, or few samples, by default dtype, determinism, threads. Blind to what every call has wrong."""
    (shapes, parameters), (first, *_) = LAYERS[operator].wide, OPERATORS[operator].tensors
    for samples in (*shapes[first][:1], 1, 2, 3, 5, 11):  # fewer than there are threads, too, or as few planes
        candidate.begin()
        planes = (samples, 1) if operator in ("pad2d", "max_pool2d") and samples > 2 else (samples,)
        case = of_reals(operator, {**shapes, first: (*planes, *shapes[first][len(planes) :])}, parameters)
        one_answer(candidate, case, *(candidate.answer(case, setting=each) for each in ("", *SETTINGS)))


@clause("contract.memoryless", tier="state", operators=ALL, gradient=True)
def test_state_other_settings_change_no_gradient(candidate, operator):
    """By default dtype, determinism, threads; it may have ended going back. Blind to what every call has wrong."""
    shapes, parameters = LAYERS[operator].wide
    layers = [(shapes, parameters), ({"x": (4, 32, 34), "beta": (1,)}, {})]
    for each, given in layers if operator == "swish" else [(completed(operator, shapes), parameters)]:
        candidate.begin()
        case = of_reals(operator, each, given).changed(incoming=Texture("normal", 5))
        how = itertools.product(("", *SETTINGS), (False, True))
        one_answer(candidate, case, *(candidate.ask_gradient(case, setting=name, late=late) for name, late in how))


@clause("contract.memoryless", tier="state", operators=ALL, gradient=True)
def test_state_large_layers_go_back_twice(candidate, operator):
    """In two parts, of 2^16 elements; or of one at an odd place alone. Blind to what every call has wrong."""
    case = wide(operator)
    one_hot = np.zeros(case.result_shape)
    one_hot[(0,) * (one_hot.ndim - 1) + (ODD,)] = 1.0
    for each in (case, case.changed(incoming=Texture("normal").holding(one_hot, 1))):
        candidate.begin()
        one_answer(candidate, each, *(candidate.ask_gradient(each, twice=twice) for twice in (False, True)))
