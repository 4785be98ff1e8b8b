"""What a call does to random numbers is seen at every call, and looking at it changes nothing."""

from __future__ import annotations

import decimal
import gc
import logging
import random
import signal
import sys
import warnings

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


@pytest.mark.parametrize("back", [False, True])
def test_who_sets_random_numbers_back_while_going_back_is_seen(back):
    """To what they were at the call: somebody has drawn some since."""

    def swish(x, beta=None):
        state, y = torch.get_rng_state(), 2.0 * x
        if back:
            y.register_hook(lambda incoming: torch.set_rng_state(state))
        return y

    ones = Argument(np.ones(1))
    call = Call("swish", {"x": ones}, "float32", "cpu", ones, ("x",), watched=True)
    seen = observe(Implementation("own", {"swish": swish}), call)
    assert (f"{NUMBERS} torch" in seen.disturbed) is back


def test_looking_draws_no_number():
    before = torch.get_rng_state(), repr(np.random.get_state(legacy=False)), random.getstate()
    surroundings.restore(surroundings.state(thorough=True))
    after = torch.get_rng_state(), repr(np.random.get_state(legacy=False)), random.getstate()
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]


@pytest.mark.parametrize(
    ("disturbing", "seen"),
    [
        (lambda: torch.set_default_dtype(torch.float64), "default dtype"),
        (lambda: torch.autograd.set_detect_anomaly(True), "detection of anomalies"),
        (lambda: torch.set_flush_denormal(True), "flushing of subnormal numbers"),
        (lambda: torch.set_autocast_enabled("cpu", True), "autocast"),
        (lambda: warnings.simplefilter("ignore", BytesWarning), "filters of warnings"),
        (lambda: np.seterr(all="raise"), "numpy's handling of errors"),
        (gc.disable, "collection of garbage"),
        (lambda: logging.disable(logging.ERROR), "level of logging"),
        (lambda: signal.signal(signal.SIGINT, lambda *_: None), "handler of Ctrl-C"),
        (lambda: setattr(decimal.getcontext(), "prec", 7), "precision of decimals"),
        (lambda: sys.setrecursionlimit(4321), "limit of recursion"),
    ],
)
def test_what_everything_else_relies_on_is_put_back_and_named(disturbing, seen):
    """At each call, the same as before."""
    before = surroundings.state()
    implementation = candidate(disturbing)
    assert [observe(implementation, CALL).disturbed for _ in range(3)] == [(seen,)] * 3
    assert surroundings.restore(before) == ()


def test_what_was_filtered_is_filtered_again():
    with warnings.catch_warnings():
        warnings.simplefilter("error", BytesWarning)
        observe(candidate(lambda: warnings.simplefilter("ignore", BytesWarning)), CALL)
        with pytest.raises(BytesWarning):
            warnings.warn("again", BytesWarning, stacklevel=1)


OLDER = not hasattr(torch.backends, "fp32_precision")
newer = pytest.mark.skipif(OLDER, reason="PyTorch 2.9 and later have these words")


@newer
@pytest.mark.parametrize(
    ("disturbing", "seen"),
    [
        (lambda: setattr(torch.backends.mkldnn.conv, "fp32_precision", "tf32"), "float32 precision of mkldnn.conv"),
        (lambda: setattr(torch.backends.cudnn.conv, "fp32_precision", "ieee"), "float32 precision of cudnn.conv"),
        (lambda: setattr(torch.backends, "fp32_precision", "tf32"), "float32 precision of all"),
        (lambda: torch.set_float32_matmul_precision("medium"), "float32 precision of mkldnn.matmul"),
    ],
)
def test_the_precision_of_float32_is_put_back_in_whichever_words_it_was_set(disturbing, seen):
    before = surroundings.state()
    implementation = candidate(disturbing)
    found = [observe(implementation, CALL) for _ in range(3)]
    assert all(seen in each.disturbed and not each.fault for each in found)
    assert surroundings.restore(before) == ()


@newer
def test_who_sets_a_precision_in_newer_words_as_it_is_loaded_is_called():
    """PyTorch does not tell its older settings then, but raises."""
    before = torch.backends.fp32_precision
    try:
        torch.backends.fp32_precision = "tf32"
        seen = observe(load("torch"), CALL)
    finally:
        torch.backends.fp32_precision = before
    assert (seen.fault, seen.disturbed) == ("", ())
