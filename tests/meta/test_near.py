"""Whoever is so near to numpy's that no enclosure is asked would have been permitted by it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.implementations.contract import Implementation
from assay.implementations.load import load
from assay.reference.arithmetic.formats import FLOAT32, STORAGE
from assay.tests.conformance.test_layouts import DIFFERENTIATED, plain_cases
from assay.tests.meta.oracles import budget
from assay.tests.trial import judge, near, suspects
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.plain import GRADIENTS, RESULTS, values_of
from assay.tests.trial.textures import Texture, rounded

OPERATORS = [name for name in DIFFERENTIATED if name != "max_pool2d"]


def drifted(rng, fmt, values, sizes, roundings, stores):
    """Each value off by up to so many roundings of its terms, so large, and so many of the format of 16 bits."""
    few = fmt.unit > FLOAT32.unit
    off = roundings * (FLOAT32.unit if few else fmt.unit) + stores * fmt.unit * few
    return rounded(values + rng.choice([-1.0, -0.9, 0.0, 0.5, 1.0], values.shape) * off * np.abs(sizes), fmt)


def drifting(seen, fmt, seed, roundings, stores):
    """The answer with others than its own numbers: numpy's, drifted."""
    operator, values, incoming = seen.call.operator, values_of(seen), seen.call.cotangent.values
    drift = partial(drifted, np.random.default_rng(seed), fmt, roundings=roundings, stores=stores)
    with np.errstate(all="ignore"):
        result, gradients = RESULTS[operator](*values), GRADIENTS[operator](incoming, *values)
        sizes = suspects.sizes(operator, values, result)
        sizes_back = suspects.sizes_back(operator, np.abs(incoming), values) or gradients
        back = {name: drift(gradients[name], sizes_back[name]) for name in seen.gradients}
        return replace(seen, output=drift(result, sizes), gradients=back)


@pytest.mark.parametrize("dtype", STORAGE)
@pytest.mark.parametrize("operator", OPERATORS)
@budget(30)
@given(
    data=st.data(),
    family=st.sampled_from(["normal", "few", "integers"]),
    seed=st.integers(0, 2**16),
    roundings=st.sampled_from([0.1, 0.4, 0.9, 1.9, 4.9, 9.9]),
    stores=st.sampled_from([0.0, 0.2, 0.9]),
)
def test_what_is_near_is_permitted(operator, dtype, data, family, seed, roundings, stores):
    candidate = Candidate(load("torch"), dtype)
    case = data.draw(DIFFERENTIATED[operator](("normal", "integers", "spikes")))
    case = case.changed(incoming=Texture(family, seed))
    seen = drifting(candidate.ask_gradient(case), candidate.format, seed, roundings, stores)
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
