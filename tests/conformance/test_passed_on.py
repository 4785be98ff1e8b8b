"""Results that live on: what is passed on to another layer, and what equal calls give meanwhile."""

from __future__ import annotations

import itertools
from contextlib import suppress

from assay.implementations.memory import LAST
from assay.implementations.observe import NO_GRAD
from assay.tests.conformance.test_contract import ALL, MODES, demand
from assay.tests.conformance.test_training import KEEPING
from assay.tests.trial.alike import one_answer
from assay.tests.trial.candidate import BACK
from assay.tests.trial.failure import NonConformance
from assay.tests.trial.laws import clause
from assay.tests.trial.layers import lasting, of_reals
from assay.tests.trial.textures import Texture

CHAINED = {**KEEPING, "pad2d": ({"x": (2, 8, 6, 7)}, {"padding": 1})}


def passed_on(candidate, operator, recording):
    """Pairs of layers, of which the second is given what came of the first: as it came, but for an element, and others.

    The first is of any operator that has such a tensor, and whose result is well-formed: another is told elsewhere.
    """
    shapes, parameters = CHAINED[operator]
    name, given = next(iter(shapes.items()))
    others = [each for each in CHAINED if given in CHAINED[each][0].values()]
    for other in filter(candidate.implementation.operators.__contains__, others):
        first = of_reals(other, *CHAINED[other])
        with suppress(NonConformance):
            came = candidate.answer(first, recording=recording).output
            second = of_reals(operator, {**shapes, name: came.shape}, parameters, 5)
            changed = came.copy()
            changed.flat[-1] = 7.0
            held = [Texture("normal").holding(values, 1) for values in (came, changed)]
            yield from ((first, second.with_textures(**{name: each})) for each in (*held, second.textures[name]))


@clause("contract.memoryless", tier="state", operators=ALL)
def test_state_what_is_passed_on_is_what_it_is_then(candidate, operator):
    """In inference, as it came or written over, as by an activation in place. Blind to what every call has wrong."""
    for recording in (False, NO_GRAD):
        candidate.begin()
        for first, second in passed_on(candidate, operator, recording):
            plain = candidate.answer(second, recording=recording)
            seen, _ = candidate.answers_in_turn([first, second], recording=recording, passed=True)
            one_answer(candidate, second, plain, seen[1])


def of_their_own(candidate, operator, modes):
    """Hold the second of two equal calls to memory of its own, while the first one's result lives."""
    case = lasting(operator)
    for both in modes:
        candidate.begin()
        seen, _ = candidate.answers_in_modes([case, case], both, passed=True)
        demand(seen[1], LAST not in seen[1].shares, "returned the memory of another result, of an equal call")
        candidate.compared()


@clause("contract.results-kept", tier="state", operators=ALL)
def test_state_equal_calls_have_results_of_their_own(candidate, operator):
    """So that what is written to one shows in no other. Blind to results that are gone."""
    of_their_own(candidate, operator, itertools.product((*MODES, NO_GRAD), repeat=2))


@clause("contract.results-kept", tier="state", operators=ALL, gradient=True)
def test_state_a_call_that_goes_back_has_a_result_of_its_own(candidate, operator):
    """After an equal one in inference. Blind to results that are gone."""
    of_their_own(candidate, operator, itertools.product((False, NO_GRAD), (BACK,)))
