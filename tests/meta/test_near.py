"""Whoever is so near to numpy's that no enclosure is asked would have been permitted by it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.implementations.contract import Implementation
from assay.implementations.load import load
from assay.reference.arithmetic.formats import FLOAT32, FLOAT64, STORAGE
from assay.tests.conformance.test_layouts import DIFFERENTIATED, plain_cases
from assay.tests.meta.oracles import budget
from assay.tests.trial import judge, near
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.plain import GRADIENTS, RESULTS, values_of
from assay.tests.trial.textures import Texture, rounded

OPERATORS = [name for name in DIFFERENTIATED if name != "max_pool2d"]


def at_the_edge(candidate, seen, seed):
    """The answer with the last numbers on either side that are near; in float64 numpy's own roundings need room."""
    operator, values, incoming = seen.call.operator, values_of(seen), seen.call.cotangent.values
    rng, fmt = np.random.default_rng(seed), candidate.format
    room = 0.25 if fmt is FLOAT64 else 1.0

    def last(value, off):
        return rounded(value + rng.choice([-room, room], np.shape(value)) * off, fmt)

    with np.errstate(all="ignore"):
        off = near.Steps.of(candidate, operator, "forward").off(operator, values)
        back = near.Steps.of(candidate, operator, "backward").off_back(operator, incoming, values)
        gradients = GRADIENTS[operator](incoming, *values)
        gradients = {name: last(gradients[name], back[name]) for name in seen.gradients}
        return replace(seen, output=last(RESULTS[operator](*values), off), gradients=gradients)


@pytest.mark.parametrize("dtype", STORAGE)
@pytest.mark.parametrize("operator", OPERATORS)
@budget(12)
@given(
    data=st.data(),
    textures=st.sampled_from(["normal", "integers", "spikes", "large", "tiny"]),
    incoming=st.sampled_from(["normal", "few", "integers"]),
    seed=st.integers(0, 2**16),
)
def test_what_is_near_is_permitted(operator, dtype, data, textures, incoming, seed):
    """The last that is near on each side, and so all between."""
    candidate = Candidate(load("torch"), dtype)
    case = data.draw(DIFFERENTIATED[operator]((textures,))).changed(incoming=Texture(incoming, seed))
    seen = at_the_edge(candidate, candidate.ask_gradient(case), seed)
    if near.is_near(candidate, case, seen):
        judge.answer_conforms(candidate, case, seen)
    for name in seen.gradients.keys() - set(near.far_gradients(candidate, case, seen)):
        judge.gradients_conform(candidate, case, seen, (name,))


@pytest.mark.parametrize("dtype", STORAGE)
@pytest.mark.parametrize("operator", OPERATORS)
def test_most_right_answers_are_near_and_none_that_is_twice_as_large(operator, dtype):
    """So that no enclosure is asked for most of the former, and one is for all of the latter."""
    candidate = Candidate(load("torch"), dtype)
    strict = Candidate(Implementation("strict", load("torch").operators), dtype)  # by the bounds of every operator
    judged, far = 0, 0
    for case in plain_cases(operator, 1):
        seen = candidate.ask_gradient(case.changed(incoming=Texture("normal", 5)))
        off = replace(seen, output=2.0 * seen.output, gradients={n: 2.0 * g for n, g in seen.gradients.items()})
        assert not near.is_near(strict, case, off)
        assert near.far_gradients(strict, case, off) == list(off.gradients)
        judged += len(seen.arrays())
        far += (not near.is_near(candidate, case, seen)) + len(near.far_gradients(candidate, case, seen))
    stores = operator == "swish" and candidate.format.unit > FLOAT32.unit  # PyTorch's parts, which is its own profile
    assert far <= judged / 2 or stores
