"""What a call does to random numbers is seen at every call, and looking at it changes nothing."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from assay.implementations import surroundings
from assay.implementations.arrays import Argument
from assay.implementations.contract import Implementation
from assay.implementations.load import load
from assay.implementations.observe import Call, observe

CALL = Call("pad2d", {"x": Argument(np.ones((2, 2))), "padding": 1}, "float32", "cpu", watched=True)
NUMBERS = "random numbers of"


def candidate(disturbing):
    """PyTorch, but for what it does besides."""
    own = load("torch")

    def pad2d(x, padding):
        disturbing()
        return own.operators["pad2d"](x, padding)

    return Implementation("disturbing", {"pad2d": pad2d})


@pytest.mark.parametrize(
    ("disturbing", "seen"),
    [
        (lambda: torch.manual_seed(0), (f"{NUMBERS} torch",)),
        (lambda: np.random.seed(0), (f"{NUMBERS} numpy",)),
        (lambda: random.seed(0), (f"{NUMBERS} Python",)),
        (lambda: torch.rand(3), (f"{NUMBERS} torch",)),
        (lambda: (torch.manual_seed(0), torch.rand(1)), (f"{NUMBERS} torch",)),
        (lambda: None, ()),
    ],
)
def test_who_touches_random_numbers_is_seen_at_each_call(disturbing, seen):
    """The second time it finds the state in which it leaves it."""
    disturbing()
    implementation = candidate(disturbing)
    assert [observe(implementation, CALL).disturbed for _ in range(3)] == [seen] * 3


def test_looking_draws_no_number():
    before = torch.get_rng_state(), repr(np.random.get_state(legacy=False)), random.getstate()
    surroundings.restore(surroundings.state(thorough=True))
    after = torch.get_rng_state(), repr(np.random.get_state(legacy=False)), random.getstate()
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]
