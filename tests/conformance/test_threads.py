"""Threads: a server's, which call one operator at once, and a thread that did not import it."""

from __future__ import annotations

from assay.implementations.observe import NO_GRAD
from assay.tests.conformance.test_contract import ALL, MODES
from assay.tests.conformance.test_lifetimes import lasting
from assay.tests.trial.alike import one_answer
from assay.tests.trial.laws import clause


@clause("contract.threads", tier="state", operators=ALL)
def test_state_calls_of_several_threads_are_right(candidate, operator):
    """On other numbers, in training and in inference. Blind to what is rarer, where a kernel is not Python."""
    case = lasting(operator)
    for recording in (*MODES, NO_GRAD):
        candidate.begin()
        plain, beside = (candidate.answer(case, recording=recording, beside=each) for each in (False, True))
        one_answer(candidate, case, plain, beside)


@clause("contract.threads", tier="state", operators=ALL, gradient=True)
def test_state_gradients_of_several_threads_are_right(candidate, operator):
    """Of one shape, on other numbers. Blind to what is rarer, where a kernel is not Python."""
    candidate.begin()
    case = lasting(operator)
    one_answer(candidate, case, *(candidate.ask_gradient(case, beside=each) for each in (False, True)))
