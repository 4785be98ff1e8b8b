"""Habits: what hundreds of calls that are alike have not shown, and then comes."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np

from assay.implementations.memory import TURNS
from assay.implementations.observe import NO_GRAD
from assay.reference.arithmetic.formats import BFLOAT16
from assay.tests.conformance.test_contract import ALL, MODES, SUMMED, demand, one_lying
from assay.tests.conformance.test_state import WARM, reseeded
from assay.tests.conformance.test_threads import lying_otherwise
from assay.tests.trial.alike import are_right, one_answer
from assay.tests.trial.candidate import on_and_back
from assay.tests.trial.laws import clause
from assay.tests.trial.layers import LAYERS, lasting, matrices, of_reals, of_samples
from assay.tests.trial.textures import Texture

OFTEN, AT_FIRST, GOING_BACK = 260, 20, 130  # calls
MANY = 40  # samples: of a shape that nobody has asked about
MATRICES = {"linear": "xw", "glu": "xwv", "swiglu": "xwv"}
ONE, TWO = ("float32",), ("float32", "bfloat16")


def small(operator, samples=0):
    """A layer of a few normal numbers; of so many samples more."""
    shapes, parameters = LAYERS[operator].small
    first, (rows, *others) = next(iter(shapes.items()))
    return of_reals(operator, {**shapes, first: (rows + samples, *others)}, parameters)


def with_nan(case, name="", place=-1):
    """The case, one of whose numbers is NaN: the last of the first tensor, or another."""
    name = name or next(iter(case.shapes))
    place = place % math.prod(case.shapes[name])
    return case.with_textures(**{name: Texture("normal", case.textures[name].seed, ((place, math.nan),))})


def meeting_zeros(case):
    """The case, all of whose features, or channels, but the last are zero in all samples."""
    name, shape = next(iter(case.shapes.items()))
    values = Texture("normal", case.textures[name].seed).fill(shape, BFLOAT16).values.copy()
    values[:, :-1] = 0.0
    return case.with_textures(**{name: Texture("normal").holding(values, 1)})


def half_of_it(case):
    """The case, to half of whose units, or channels, nothing comes back."""
    incoming = np.ones(case.result_shape)
    incoming[:, ::2] = 0.0
    return case.changed(incoming=Texture("normal").holding(incoming, 1))


def quiet(case):
    """The case, to which a 256th of one comes back everywhere."""
    return case.changed(incoming=Texture("normal").holding(np.full(case.result_shape, 2.0**-8), 1))


def comes_as_a_surprise(candidate, usual, rare, elsewhere, anew=True, **how):
    """Judge what comes after calls that are alike, where it is right in a layer of another size, which comes first.

    In a process that is ``anew``, where what counts may have been counted by its shape for long.
    """
    candidate.begin(anew=anew)
    (first,), _ = candidate.answers_in_turn([elsewhere], **how)
    seen, _ = candidate.answers_in_turn([*usual, rare], **how)
    are_right(candidate, (elsewhere, rare), (first, seen[-1]), how.get("back", False))


@clause("contract.memoryless", tier="state", operators=ALL, dtypes=ONE)
def test_state_a_nan_after_hundreds_of_calls_shows(candidate, operator):
    """Which had none, in inference. Blind to what takes thousands."""
    usual = [small(operator), reseeded(small(operator), 1)] * (OFTEN // 2)
    rare, elsewhere = (with_nan(small(operator, samples)) for samples in range(2))
    comes_as_a_surprise(candidate, usual, rare, elsewhere, recording=False)


@clause("contract.memoryless", tier="state", operators=ALL, dtypes=TWO)
def test_state_what_lies_otherwise_after_hundreds_of_calls_gives_its_own_result(candidate, operator):
    """Of one shape, all of which lay in one way, in inference. Blind to what takes thousands."""
    candidate.begin()
    case = lasting(operator)
    seen, _ = candidate.answers_in_turn([case] * OFTEN, recording=False)
    one_answer(candidate, case, seen[0], candidate.answer(lying_otherwise(case), recording=False))


@clause("contract.memoryless", tier="state", operators=ALL, gradient=True, dtypes=ONE)
def test_state_calls_in_between_change_no_gradient_in_a_new_process(candidate, operator):
    """Which has met nothing as large: what grows for it grows before the first goes back. Blind to larger ones."""
    candidate.begin(anew=True)
    case = lasting(operator)
    one_answer(candidate, case, *(candidate.ask_gradient(case, revisited=each, visited=each) for each in (True, False)))


@clause("contract.memoryless", tier="state", operators=SUMMED)
def test_state_a_nan_in_a_weight_that_met_zeros_shows(candidate, operator):
    """In inference, where it had none before: in the middle of a kernel. Blind to what takes dozens of calls."""
    for recording in (False, NO_GRAD):
        usual, elsewhere = (meeting_zeros(small(operator, samples)) for samples in range(2))
        weight, shape = list(usual.shapes.items())[1]
        rare, elsewhere = (with_nan(case, weight, math.prod(shape[2:]) // 2) for case in (usual, elsewhere))
        comes_as_a_surprise(candidate, [usual] * WARM, rare, elsewhere, anew=False, recording=recording)


@clause("contract.memoryless", tier="state", operators=ALL, gradient=True)
def test_state_a_smaller_batch_after_one_with_a_nan_has_its_own_gradients(candidate, operator):
    """As the last one of an epoch. Blind to batches of other sizes."""
    larger, rare, elsewhere = (of_samples(operator, samples) for samples in (60, 40, 36))
    comes_as_a_surprise(candidate, [with_nan(larger)], rare, elsewhere, anew=False, back=True)


@clause("contract.memoryless", tier="state", operators=ALL, dtypes=TWO)
def test_state_reals_after_ones_and_zeros_have_all_digits(candidate, operator):
    """As after a warm-up that tries kernels out. Blind to what takes hundreds."""
    case, elsewhere = small(operator, MANY), small(operator, MANY + 1)
    for family in ("ones", "zeros"):
        usual = case.changed(textures=dict.fromkeys(case.shapes, Texture(family)))
        comes_as_a_surprise(candidate, [usual] * AT_FIRST, case, elsewhere, recording=False)


@clause("contract.memoryless", tier="state", operators=ALL, gradient=True, dtypes=ONE)
def test_state_units_to_which_nothing_came_back_are_alive(candidate, operator):
    """As of an expert that was not chosen. Blind to what takes hundreds."""
    rare, elsewhere = (small(operator, k).changed(incoming=Texture("normal", 9)) for k in range(2))
    comes_as_a_surprise(candidate, [half_of_it(rare)] * GOING_BACK, rare, elsewhere, back=True)


@clause("contract.memoryless", tier="state", operators=ALL, gradient=True, dtypes=("float32", "float16"))
def test_state_a_spike_after_quiet_steps_comes_back(candidate, operator):
    """As of a batch unlike all others. Blind to what takes dozens of steps."""
    rare, elsewhere = (small(operator, k).changed(incoming=Texture("normal", 9)) for k in range(2))
    usual = [reseeded(quiet(rare), k) for k in range(AT_FIRST)]
    comes_as_a_surprise(candidate, usual, rare, elsewhere, anew=False, back=True, stepped=True)


@clause("contract.memoryless", tier="state", operators=ALL, gradient=True, dtypes=ONE)
def test_state_who_was_first_called_in_inference_can_learn(candidate, operator):
    """What is made at the first call is made for all of them. Blind to wrong numbers, which other laws see."""
    for more, recording in enumerate((False, NO_GRAD)):
        candidate.begin(anew=True)
        case = small(operator, MANY + 2 + more)
        arguments, incoming = case.arguments(candidate.format), case.cotangent(candidate.format)
        candidate.observe(operator, arguments, recording=recording)
        seen = candidate.observe(operator, arguments, incoming, tuple(case.shapes))
        candidate.compared()
        demand(seen, not seen.raised, f"does not learn after a first call in inference: {seen.fault}")


# --- what looks like what was there before


@clause("contract.memoryless", tier="state", operators=ALL)
def test_state_numbers_that_python_takes_for_alike_are_apart(candidate, operator):
    """The hash of -1 is that of -2: one tensor, of each in turn, differs there alone. Blind to other ways to tell."""
    case = small(operator)
    for name, recording in itertools.product(case.shapes, (*MODES, NO_GRAD)):
        candidate.begin()
        held = Texture("normal", case.textures[name].seed).fill(case.shapes[name], candidate.format).values
        cases = [
            case.with_textures(**{name: Texture("normal").holding(np.where(held < 0.0, number, held), 1)})
            for number in (-1.0, -2.0)
        ]
        are_right(candidate, cases, [candidate.answer(each, recording=recording) for each in cases])


def with_inputs(case, more):
    """The case with another first tensor."""
    first, texture = next(iter(case.textures.items()))
    return case.with_textures(**{first: replace(texture, seed=texture.seed + more)})


@clause("contract.memoryless", tier="state", operators=SUMMED)
def test_state_two_layers_in_turn_give_their_own_results_of_what_the_input_is_then(candidate, operator):
    """As actor and critic, where it is written to without a word. Blind to more layers."""
    for recording in (*MODES, NO_GRAD):
        candidate.begin()
        cases = [with_inputs(reseeded(lasting(operator), k % 2), 2 * k) for k in range(len(TURNS["layer"]))]
        seen, _ = candidate.answers_in_turn(cases, recording=recording, turns="layer")
        are_right(candidate, cases, seen)


@clause("contract.memoryless", tier="state", operators=ALL)
def test_state_frames_of_one_memory_give_their_own_results(candidate, operator):
    """Each, of a sample or several, is written when the one before was asked about, on and back. Blind to gradients."""
    for case, recording in itertools.product((lasting(operator), of_samples(operator, 1)), (*MODES, NO_GRAD)):
        for seeds in on_and_back("frame"):
            candidate.begin()
            cases = [with_inputs(case, 2 * k) for k in seeds]
            seen, _ = candidate.answers_in_turn(cases, recording=recording, turns="frame")
            are_right(candidate, cases, seen)


@clause("contract.memoryless", tier="state", operators=tuple(MATRICES))
def test_state_square_weights_that_are_turned_give_their_own_result(candidate, operator):
    """Each holds in its memory what the last one held. Blind to weights that are not square."""
    for size, name, recording in itertools.product((8, 33), MATRICES[operator][1:], (*MODES, NO_GRAD)):
        candidate.begin()
        case = of_reals(operator, matrices(MATRICES[operator], (3, size), size), {})
        held = case.textures[name].fill(case.shapes[name], candidate.format, size).values
        turned = one_lying(case.with_textures(**{name: Texture("normal").holding(held.T, size)}), name, "transposed")
        are_right(candidate, (case, turned), [candidate.answer(each, recording=recording) for each in (case, turned)])


@clause("contract.memoryless", tier="state", operators=("swish", *MATRICES))
def test_state_a_longer_sequence_that_begins_and_ends_like_the_last_one_has_its_own_result(candidate, operator):
    """As a prompt with another word, and one token more. Blind to several layers."""
    names = MATRICES.get(operator, "x")
    for batch, recording in itertools.product(((), (2,)), (*MODES, NO_GRAD)):
        candidate.begin()
        longer = of_reals(operator, matrices(names, (*batch, 13, 24), 16), {})
        tokens = longer.textures["x"].fill(longer.shapes["x"], candidate.format, 24).values[..., :-1, :].copy()
        tokens[..., 1:-1, :] *= -1.0
        shorter = longer.changed(shapes={**longer.shapes, "x": tokens.shape})
        cases = shorter.with_textures(x=Texture("normal").holding(tokens, 24)), longer
        seen, _ = candidate.answers_in_turn(cases, recording=recording)
        are_right(candidate, cases, seen)
