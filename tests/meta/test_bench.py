"""Timing: who is right is timed, who cheats is named."""

from __future__ import annotations

import threading
import time
import types

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from assay.implementations.load import described, load
from assay.spec import OPERATORS
from assay.tests.benchmarks import clock
from assay.tests.benchmarks.answers import Wrong, readers_of
from assay.tests.benchmarks.cases import Layer, Timed
from assay.tests.benchmarks.paired import Match

SWISH = Layer("swish.small", "swish", "", {"x": (96, 128)})
CONV = Layer(
    "conv2d.small",
    "conv2d",
    "",
    {"input": (1, 3, 12, 12), "weight": (4, 3, 3, 3), "bias": (4,)},
    {"stride": 1, "padding": 1},
)
GATE = Layer("swiglu.small", "swiglu", "", {"x": (3, 8), "w": (5, 8), "v": (5, 8)})
POOL = Layer(
    "max_pool2d.small", "max_pool2d", "", {"input": (1, 2, 9, 9)}, {"kernel_size": 3, "stride": 2, "padding": 1}
)
right = load("torch")


class Rounds:
    """Stands in for pytest-benchmark's fixture: `pedantic` as it has it."""

    def __init__(self):
        self.stats = types.SimpleNamespace(stats=types.SimpleNamespace(data=[]))

    def pedantic(self, target, setup, teardown, rounds):
        for _ in range(rounds):
            arguments, named = setup()
            start = clock.NOW()
            target(*arguments, **named)
            end = clock.NOW()
            self.stats.stats.data.append(end - start)
            teardown(*arguments, **named)


def candidate(**operators):
    return described(types.SimpleNamespace(**operators), "candidate")


def measured(implementation, layer=SWISH, direction="forward", rounds=20, dtype="float32"):
    match = Match(Timed(layer, dtype, direction), implementation, right, "cpu")
    match.begin()
    return match, match.measure(Rounds(), rounds)


# Those who cheat.


def cached(key):
    kept = {}

    def swish(x, beta=1.0):
        found = key(x)
        if found not in kept:
            kept[found] = F.silu(x)
        return kept[found]

    return swish


def in_a_thread(x, beta=1.0):
    result = torch.empty_like(x)

    def work():
        time.sleep(0.01)
        result.copy_(F.silu(x))

    threading.Thread(target=work).start()
    return result


class Later:
    """What is not computed until somebody asks."""

    def __init__(self, x):
        self.x, self.shape, self.dtype = x, x.shape, x.dtype

    def __getitem__(self, at):
        return F.silu(self.x)[at]


def every_second_tile(x, beta=1.0):
    if x.shape != (96, 128):
        return F.silu(x)
    result = F.silu(x)
    result.view(-1, 2, 256)[:, 1] = 0.0
    return result


CHEATS = {
    "cached by pointer": (cached(lambda x: x.data_ptr()), r"result\[.*\] is .*permitted"),
    "cached by shape": (cached(lambda x: x.shape), r"result\[.*\] is .*permitted"),
    "cached by version": (cached(lambda x: (x.data_ptr(), x._version)), r"result\[.*\] is .*permitted"),
    "works in a thread": (in_a_thread, r"permitted|changed after it had returned"),
    "lazy": (lambda x, beta=1.0: Later(x), "Later, not a plain array"),
    "skips every second tile": (every_second_tile, r"result\[.*\] is .*permitted"),
    "another dtype": (lambda x, beta=1.0: F.silu(x.double()), "dtype torch.float64|dtype float64"),
    "raises": (lambda x, beta=1.0: 1 / 0, "raised ZeroDivisionError: division by zero"),
}


@pytest.mark.parametrize("name", CHEATS)
def test_who_cheats_is_named_and_not_timed(name):
    swish, words = CHEATS[name]
    with pytest.raises(Wrong, match=words):
        measured(candidate(swish=swish))


def test_work_that_goes_on_after_the_clock_has_stopped_is_named_as_such():
    """Whoever guesses which elements will be looked at still cannot change them afterwards."""
    threads, looked = [], threading.Event()

    def swish(x, beta=1.0):
        result = F.silu(x)
        threads.append(threading.Thread(target=lambda: (looked.wait(), result.zero_())))
        threads[0].start()
        return result

    match = Match(Timed(SWISH, "float32", "forward"), candidate(swish=swish), right, "cpu")
    visit = match.ready(0, match.numbers.draw())
    visit.make()
    taken = match.answers[0].take(visit)
    looked.set()
    threads[0].join()
    with pytest.raises(Wrong, match="changed after it had returned"):
        match.answers[0].check(visit, taken)


def test_a_patched_clock_changes_nothing(monkeypatch):
    def swish(x, beta=1.0):
        monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
        time.sleep(0.002)
        return F.silu(x)

    _, times = measured(candidate(swish=swish), rounds=4)
    assert min(times.candidate) >= 0.002


def test_wrong_only_once_in_a_while_is_wrong():
    calls = []

    def swish(x, beta=1.0):
        calls.append(1)
        return F.silu(x) * (1.0 if len(calls) % 30 else 1.01)

    with pytest.raises(Wrong):
        measured(candidate(swish=swish), rounds=40)


@pytest.mark.parametrize("end", [torch.argmax, torch.argmin], ids=["greatest", "least"])
def test_the_extremes_of_the_first_answer_are_judged(end):
    """Here one element of 2^17, which nobody finds by chance."""

    def swish(x, beta=1.0):
        result = F.silu(x)
        result.view(-1)[end(result)] *= 1.001
        return result

    long = Timed(Layer("swish.long", "swish", "", {"x": (2**17,)}), "float32", "forward")
    match = Match(long, candidate(swish=swish), right, "cpu")
    with pytest.raises(Wrong, match=r"result\[.*\] is .*permitted"):
        match.begin()


@pytest.mark.parametrize("layer", [SWISH, CONV, GATE, POOL], ids=lambda layer: layer.operator)
def test_what_is_right_is_timed_forward_and_back(layer):
    match, times = measured(right, layer, "backward", rounds=6)
    assert (len(times.candidate), len(times.baseline)) == (12, 12)
    assert match.answers[0].judged > 40 and match.answers[0].margin <= 1.0


def wrong_gradient(name):
    class Slope(torch.autograd.Function):
        @staticmethod
        def forward(ctx, value):
            return value.clone()

        @staticmethod
        def backward(ctx, incoming):
            return incoming * 1.5

    def conv2d(input, weight, bias=None, stride=1, padding=0):
        given = {"input": input, "weight": weight, "bias": bias}
        given[name] = Slope.apply(given[name])
        return F.conv2d(*given.values(), stride, padding)

    return candidate(conv2d=conv2d)


@pytest.mark.parametrize("name", ["input", "weight", "bias"])
def test_a_wrong_gradient_is_not_timed(name):
    with pytest.raises(Wrong, match=f"gradient of {name}"):
        measured(wrong_gradient(name), CONV, "backward")


@pytest.mark.parametrize("layer", [CONV, GATE, POOL], ids=lambda layer: layer.operator)
def test_an_element_of_an_input_is_read_by_no_other_results_than_these(layer):
    """By the answer of PyTorch's own differentiation: which results depend on an element."""
    timed = Timed(layer, "float64", "backward")
    rng = np.random.default_rng(0)
    for name, shape in layer.shapes.items():
        at = tuple(int(rng.integers(size)) for size in shape)
        given = {n: torch.ones(s, dtype=torch.float64) for n, s in layer.shapes.items()}
        given[name][at] = 7.0
        ordered = [given.get(n, layer.parameters.get(n)) for n in OPERATORS[layer.operator].arguments]
        while ordered[-1] is None:
            ordered.pop()
        moved = right.operators[layer.operator](*ordered)
        given[name][at] = 1.0
        reads = (moved != right.operators[layer.operator](*ordered)).nonzero().tolist()
        assert {tuple(index) for index in reads} <= set(readers_of(timed, name, [at]))


def test_inputs_are_never_those_of_the_last_call():
    seen = []

    def swish(x, beta=1.0):
        seen.append(x.flatten()[:4].tolist())
        return F.silu(x)

    measured(candidate(swish=swish), rounds=4)
    assert len({tuple(each) for each in seen}) == len(seen)
