"""Large layers in every manner: how tensors lie, what comes back, what is learned, what else is in the graph.

Small layers are asked all of this with values that are drawn. Fast code is chosen by size, and has manners of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np

from assay.implementations.layouts import LAYOUTS, TOGETHER
from assay.implementations.observe import NO_GRAD
from assay.tests.conformance.test_contract import (
    ALL,
    DIFFERENTIATED_BY_SEVERAL,
    MODES,
    SUMMED,
    batched,
    going_back_writes_to_no_input,
)
from assay.tests.conformance.test_layers import FEW
from assay.tests.conformance.test_layouts import comes_back, give_what_copies_give
from assay.tests.conformance.test_state import (
    ONE_WAY,
    answers_are_alike,
    leaves_alone,
    reseeded,
    writing_to_the_result_changes_no_gradient,
)
from assay.tests.conformance.test_training import parts_give_what_the_whole_gives
from assay.tests.trial import judge
from assay.tests.trial.alike import are_right, one_answer
from assay.tests.trial.candidate import Candidate, on_and_back
from assay.tests.trial.cases import Case
from assay.tests.trial.failure import RAISED, NonConformance
from assay.tests.trial.laws import clause
from assay.tests.trial.layers import LAYERS, of_reals
from assay.tests.trial.textures import Texture
from assay.tests.trial.whole import gradients_are_exact, gradients_are_rounded_once, sums_once

DTYPES = ("float32", "bfloat16")
WAYS = (*ONE_WAY, ("accumulated",))


def large_layers(candidate: Candidate, operator: str) -> Iterator[Case]:
    """Layers of normal numbers, to which few incoming gradients come back; in pooling no window has a tie."""
    for each in LAYERS[operator].mannered:
        candidate.begin()
        yield of_reals(operator, *each).changed(pick=7, incoming=Texture("few", 3))


@clause("contract.layouts", tier="contract", operators=ALL)
def test_contract_large_tensors_of_any_layout_give_what_copies_give(candidate, operator):
    """One after the other, in inference. Blind to what every call has wrong."""
    for case in large_layers(candidate, operator):
        give_what_copies_give(candidate, case, case.shapes, partial(candidate.answer, recording=False))


@clause("contract.layouts", tier="contract", operators=ALL, gradient=True, dtypes=DTYPES)
def test_contract_large_tensors_of_any_layout_have_the_gradients_of_copies(candidate, operator):
    """One after the other; who refuses to go back hands back no wrong number. Blind to what every call has wrong."""
    for case in large_layers(candidate, operator):
        give_what_copies_give(candidate, case, case.shapes, candidate.ask_gradient, RAISED)


@clause("contract.layouts", tier="contract", operators=ALL, gradient=True, dtypes=DTYPES)
def test_contract_a_large_incoming_gradient_of_any_layout_is_heeded(candidate, operator):
    """As transposing, cutting and adding up hand it back. Blind to what every call has wrong."""
    for case in large_layers(candidate, operator):
        comes_back(candidate, case, LAYOUTS)


@clause("contract.layouts", tier="contract", operators=DIFFERENTIATED_BY_SEVERAL, gradient=True, dtypes=DTYPES)
def test_contract_large_tensors_in_one_memory_have_the_gradients_of_several(candidate, operator):
    """As the parts of a fused layer. Blind to what every call has wrong."""
    for case in large_layers(candidate, operator):
        one_answer(candidate, case, *(candidate.ask_gradient(case, together=together) for together in ("", *TOGETHER)))


@clause("contract.memoryless", tier="state", operators=ALL, gradient=True, dtypes=DTYPES)
def test_state_what_else_is_in_the_graph_changes_no_gradient_of_a_large_layer(candidate, operator):
    """Other layers, other uses of its weights, and gradients from before. Blind to what every call has wrong."""
    for case in large_layers(candidate, operator):
        one_answer(candidate, case, *(candidate.ask_gradient(case, **dict.fromkeys(way, True)) for way in WAYS))


@clause("contract.no-alias", tier="state", operators=ALL, gradient=True, dtypes=DTYPES)
def test_state_writing_to_the_result_of_a_large_layer_changes_no_gradient(candidate, operator):
    """As an activation in place does; who needs the result again may refuse. Blind to inputs that are written to."""
    for case in large_layers(candidate, operator):
        writing_to_the_result_changes_no_gradient(candidate, case)


@clause("contract.surroundings", tier="state", operators=ALL, gradient=True, dtypes=DTYPES)
def test_state_large_layers_leave_settings_and_functions_alone(candidate, operator):
    """Forward and back, and in inference. Blind to what is put back."""
    for case in large_layers(candidate, operator):
        leaves_alone(candidate, case, "", case.cotangent(candidate.format), tuple(case.shapes))
        leaves_alone(candidate, case, recording=False)


@clause("contract.inputs-unchanged", tier="contract", operators=ALL, gradient=True, dtypes=DTYPES)
def test_contract_going_back_through_a_large_layer_writes_to_no_input(candidate, operator):
    """Nor to what comes back, nor to gradients that are there. Blind to what is put back."""
    for case in large_layers(candidate, operator):
        going_back_writes_to_no_input(candidate, case)


@clause("contract.some-gradients", tier="gradient", operators=DIFFERENTIATED_BY_SEVERAL, dtypes=DTYPES)
def test_contract_large_layers_of_which_parts_are_frozen_have_the_gradients_of_whole_ones(candidate, operator):
    """Inputs, weights, biases, or a branch. Blind to what every call has wrong."""
    for case in large_layers(candidate, operator):
        parts_give_what_the_whole_gives(candidate, case, candidate.ask_gradient(case))


@clause("contract.recording", tier="state", operators=ALL, dtypes=DTYPES)
def test_state_large_layers_give_in_inference_what_they_give_in_training(candidate, operator):
    """For one row as for many. Blind to what both have wrong."""
    for case in large_layers(candidate, operator):
        one_answer(candidate, case, *(candidate.answer(case, recording=mode) for mode in (*MODES, NO_GRAD)))


@clause("contract.memoryless", tier="state", operators=SUMMED, dtypes=DTYPES)
def test_state_large_layers_with_biases_and_without_are_told_apart(candidate, operator):
    """In inference, one after the other. Blind to what every call has wrong."""
    for case in large_layers(candidate, operator):
        bare = case.changed(shapes={name: shape for name, shape in case.shapes.items() if len(shape) > 1})
        for cases in ([case, bare, case], [bare, case, bare]):
            candidate.begin(anew=True)
            are_right(candidate, cases, [candidate.answer(each, recording=False) for each in cases])


@clause("contract.memoryless", tier="state", operators=ALL, gradient=True, dtypes=DTYPES)
def test_state_new_values_in_large_tensors_have_their_own_gradients(candidate, operator):
    """As weights after a step of training. Blind to what every call has wrong."""
    for case in large_layers(candidate, operator):
        answers_are_alike(candidate, [case, reseeded(case, 1)], back=True)


@clause("contract.memoryless", tier="state", operators=SUMMED, gradient=True, dtypes=DTYPES)
def test_state_parts_of_one_large_memory_have_their_own_gradients(candidate, operator):
    """As of fused queries, keys and values, one after the other. Blind to what every call has wrong."""
    for case in large_layers(candidate, operator):
        for seeds in on_and_back("part"):
            answers_are_alike(candidate, [reseeded(case, k) for k in seeds], back=True, turns="part")


@clause("contract.memoryless", tier="state", operators=ALL, gradient=True, dtypes=DTYPES)
def test_state_gradients_in_other_dtypes_change_none_of_a_large_layer(candidate, operator):
    """Of layers of its sizes, when they come first. Blind to dtypes that the candidate does not have."""
    for case in large_layers(candidate, operator):
        candidate.begin(anew=True)
        for dtype in sorted({*candidate.implementation.offered()} - {candidate.dtype}):
            other = replace(candidate, dtype=dtype)
            with suppress(NonConformance):  # who dies of it does so in another dtype
                other.observe(operator, case.arguments(other.format), case.cotangent(other.format), tuple(case.shapes))
        judge.gradient_conforms(candidate, case, sparse=True)


@clause("contract.empty-batch", tier="contract", operators=SUMMED, gradient=True, dtypes=DTYPES)
def test_contract_no_samples_hand_back_zeros_to_large_weights(candidate, operator):
    """As of an expert that has no tokens. Blind to memory that happens to hold zeros."""
    for case in large_layers(candidate, operator):
        seen = candidate.ask_gradient(batched(case, (0,)))
        for name, gradient in seen.gradients.items():
            what = f"no samples hand back something else than zeros to {name}"
            judge.same_arrays(candidate, what, gradient, np.zeros_like(gradient), f"gradient of {name}", of_last=True)


@clause("swish.beta-learned", tier="gradient", dtypes=DTYPES)
def test_the_gradient_of_a_large_swish_by_a_beta_of_no_axes_stays_within_its_enclosure(candidate):
    """Where few incoming gradients are not zero. Blind to longer sums."""
    case = next(large_layers(candidate, "swish"))
    judge.gradient_conforms(candidate, case, ("beta",), sparse=True)


@clause("max_pool2d.gradient-first-tie", tier="gradient", dtypes=DTYPES)
def test_the_first_of_ties_in_a_large_plane_gets_the_whole_gradient(candidate):
    """Among ones. Blind to other ties."""
    for case in large_layers(candidate, "max_pool2d"):
        ones, incoming = Texture("ones"), Texture("integers", 3)
        gradients_are_exact(candidate, case.changed(textures={"input": ones}, incoming=incoming))


@clause("max_pool2d.gradient", tier="gradient")
def test_max_pool2d_gradients_of_a_large_plane_are_rounded_once(candidate):
    """What comes back to several windows is added up in float32. Blind to sums that are not exact there."""
    for case in large_layers(candidate, "max_pool2d"):
        if sums_once(candidate, "max_pool2d", "backward"):
            gradients_are_rounded_once(candidate, case.changed(incoming=Texture("bytes", 3)))


def one_bias_counts(candidate, operator):
    """Judge results, and the gradient by the bias, where only one of the two is there."""
    for case in (each for each in large_layers(candidate, operator) if "b" in each.shapes):
        for bias, other in ("bc", "cb"):
            each = case.changed(shapes={name: shape for name, shape in case.shapes.items() if name != other})
            judge.answer_conforms(candidate, each, candidate.answer(each, recording=False), FEW)
            judge.gradient_conforms(candidate, each, (bias,), sparse=True)


@clause("glu.biases", tier="enclosure", gradient=True, dtypes=DTYPES)
def test_one_bias_of_a_large_glu_counts_without_the_other(candidate):
    """That of the gate, or the other. Blind to elements that are not sampled."""
    one_bias_counts(candidate, "glu")


@clause("swiglu.biases", tier="enclosure", gradient=True, dtypes=DTYPES)
def test_one_bias_of_a_large_swiglu_counts_without_the_other(candidate):
    """That of the gate, or the other. Blind to elements that are not sampled."""
    one_bias_counts(candidate, "swiglu")
