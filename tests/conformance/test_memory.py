"""Fresh memory: what was in it before a call does not show in what the call gives."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from assay.implementations.observe import NO_GRAD, Observation
from assay.tests.conformance.test_contract import ALL, MODES, demand
from assay.tests.conformance.test_state import reseeded
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.cases import (
    conv2d_cases,
    gated_cases,
    linear_cases,
    max_pool2d_cases,
    pad2d_cases,
    swish_cases,
)
from assay.tests.trial.laws import clause
from assay.tests.trial.layers import lasting
from assay.tests.trial.textures import Texture

# Allocators give a block back at once where it is not too small: results of some 300 elements and more.
# They hold numbers below 0.7 in float16, and below 1e-8 in wider formats: no sum or product of them overflows.
SPOILT = 4  # results
SMALL_VALUES = ("tiny",)
SPACIOUS: dict[str, Any] = {
    "swish": swish_cases(SMALL_VALUES, sizes=(385, 400)),
    "glu": gated_cases("glu", SMALL_VALUES, sizes=(257, 301)),
    "swiglu": gated_cases("swiglu", SMALL_VALUES, sizes=(257, 301)),
    "linear": linear_cases(SMALL_VALUES, sizes=(301, 257)),
    "pad2d": pad2d_cases(SMALL_VALUES, sizes=(129, 257)),
    "conv2d": conv2d_cases(SMALL_VALUES, places=(17, 16, 20), channels=(5, 4)),
    "max_pool2d": max_pool2d_cases(SMALL_VALUES, places=(17, 16, 20)),
}


def no_nan(candidate: Candidate, seen: Observation) -> None:
    """Hold result and gradients to having no NaN: there is none in the values of `SPACIOUS`."""
    for name, values in {"result": seen.output, **seen.gradients}.items():
        if values is not None:
            candidate.compared(values.size)
            demand(seen, not np.isnan(values).any(), f"shows what was in memory: its {name} holds a NaN")


@clause("contract.fresh-memory", tier="state", operators=ALL)
@given(data=st.data())
def test_state_what_was_in_memory_does_not_show(candidate, operator, data):
    """Blocks of NaN of the result's size are freed before the call. Blind to memory that never held a NaN."""
    no_nan(candidate, candidate.ask(data.draw(SPACIOUS[operator])))


@clause("contract.fresh-memory", tier="state", operators=ALL)
def test_state_what_was_written_to_a_result_that_is_gone_does_not_show(candidate, operator):
    """NaN, without a word, where its memory is lent again. Blind to what takes dozens of calls."""
    for recording in (*MODES, NO_GRAD):
        candidate.begin()
        cases = [reseeded(lasting(operator), k) for k in range(SPOILT)]
        for seen in candidate.answers_in_turn(cases, recording=recording, spoilt=True)[0]:
            no_nan(candidate, seen)


@clause("contract.fresh-memory", tier="state", operators=ALL, gradient=True)
@given(data=st.data())
def test_state_what_was_in_memory_does_not_show_going_back(candidate, operator, data):
    """Nor in gradients. Blind to blocks of other sizes than the result's."""
    case = data.draw(SPACIOUS[operator])
    no_nan(candidate, candidate.ask_gradient(case.changed(incoming=Texture("tiny", case.pick))))
