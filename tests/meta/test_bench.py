"""Timing: what it says of noise, and that who cheats is not timed."""

from __future__ import annotations

import math
import threading
import time
import types

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from assay.implementations.load import described, load
from assay.spec import OPERATORS
from assay.tests.benchmarks import blocks, clock, memory, roofline
from assay.tests.benchmarks.answers import Wrong, readers_of
from assay.tests.benchmarks.blocks import Times
from assay.tests.benchmarks.cases import LAYERS, SETS, Layer, Timed, chosen
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

    def swish(x, beta=1.0):
        result = F.silu(x)
        threading.Timer(0.003, result.zero_).start()
        return result

    match = Match(Timed(SWISH, "float32", "forward"), candidate(swish=swish), right, "cpu")
    visit = match._ready(0, match.numbers.draw())
    visit.make()
    taken = match.answers[0].take(visit)
    time.sleep(0.05)
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


# What is said of noise.


def noisy(rng, rounds, factor=1.0):
    """Times as of a machine whose neighbour comes in bursts, and whose clock drifts."""
    calls = 4 * rounds
    burst = np.repeat(rng.random(calls // 16 + 1) < 0.3, 16)[:calls]
    drift = 1.0 + 0.2 * np.sin(np.arange(calls) / 200.0)
    times = (
        drift
        * (1 + 0.01 * rng.random(calls))
        * np.where(burst & (rng.random(calls) < 0.5), rng.uniform(1, 4, calls), 1)
    )
    quads = times.reshape(-1, 4)
    return Times((quads[:, [0, 3]] * factor).ravel().tolist(), quads[:, [1, 2]].ravel().tolist())


def test_an_interval_misses_the_truth_no_more_often_than_it_says():
    rng = np.random.default_rng(1)
    intervals = [blocks.interval(noisy(rng, 60), 0.95) for _ in range(200)]
    missed = sum(not each.low <= 0.0 <= each.high for each in intervals)
    assert missed <= 20  # of 10 that may be missed; twice as many has a probability of 0.3 %


def test_a_difference_that_is_visible_is_seen_and_one_that_is_not_is_not_claimed():
    rng = np.random.default_rng(2)
    then = noisy(rng, 100)
    seen = [blocks.moved(noisy(rng, 100, 1.1), then, 0.998).excludes(1.05) for _ in range(20)]
    same = [blocks.moved(noisy(rng, 100), then, 0.998).excludes(1.05) for _ in range(20)]
    assert (sum(s == 1 for s in seen), sum(s == 1 for s in same)) == (20, 0)


def test_more_rounds_see_smaller_differences():
    rng = np.random.default_rng(3)
    few, many = blocks.interval(noisy(rng, 40), 0.99), blocks.interval(noisy(rng, 1000), 0.99)
    assert many.visible < few.visible
    assert blocks.rounds_for(0.10, 40, 0.05) == 160


def test_the_fewest_rounds_are_those_of_which_an_interval_can_be_made():
    assert blocks.fewest(0.5) == 2 * blocks.IN_STRETCH
    assert blocks.fewest(1 - 2**-9) == 10 * blocks.IN_STRETCH
    times = noisy(np.random.default_rng(4), blocks.fewest(0.998))
    assert 2 ** (1 - len(times.stretches())) <= 0.002 + 1e-12


# Clocks.


class Runtime:
    """Stands in for a device's runtime: the current stream does its work at once, another one until it is joined."""

    def __init__(self):
        self.other = []
        runtime = self

        class Event:
            def __init__(self, enable_timing):
                assert enable_timing

            def record(self):
                self.at = clock.NOW()

            def synchronize(self):
                runtime.waited = True

            def elapsed_time(self, later):
                return 1000.0 * (later.at - self.at)

        self.Event = Event

    def synchronize(self):
        for thread in self.other:
            thread.join()
        self.other.clear()


def test_a_devices_time_is_that_between_its_events():
    runtime = Runtime()
    device = clock.Device(runtime, torch.ones(8))
    device.flush()
    start = device.stamp()
    time.sleep(0.01)
    seconds = device.stamp() - start
    assert 0.01 <= seconds < 1.0 and runtime.waited
    assert device.scratch.sum() == 0.0  # what a flush has written


def test_work_on_another_stream_is_waited_for_and_counted():
    runtime = Runtime()
    device = clock.Device(runtime)
    start = device.stamp()
    runtime.other.append(threading.Thread(target=time.sleep, args=(0.05,)))
    runtime.other[0].start()
    assert device.stamp() - start >= 0.05


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: device events are tried on a stand-in alone")
def test_a_gpu_is_timed_by_its_events():
    match = Match(Timed(SWISH, "float32", "forward"), right, right, "cuda")
    match.begin()
    device = clock.of_device("cuda")
    start = device.stamp()
    assert 0.0 < device.stamp() - start < 1.0


# Ceilings, memory, cases.


def test_the_nearer_ceiling_is_the_one_that_needs_more_time():
    ceilings = roofline.Ceilings(operations=1e9, bytes=1e8)
    assert ceilings.fraction(10**9, 10**7, 2.0) == (0.5, "product")
    assert ceilings.fraction(10**6, 10**8, 4.0) == (0.25, "copy")
    measured = roofline.ceilings("cpu", "float32", 2**20)
    assert 1e8 < measured.operations < 1e14 and 1e7 < measured.bytes < 1e13


def test_going_back_costs_three_times_the_operations_of_going_forward():
    forward, back = (Timed(CONV, "float32", way).cost(4) for way in ("forward", "backward"))
    inputs = 4 * sum(math.prod(shape) for shape in CONV.shapes.values())
    assert back == (3 * forward[0], 2 * forward[1] + inputs)


def test_memory_is_that_of_the_call():
    held = []
    taken = memory.peak(lambda: held.append(np.ones(2**22)), "cpu")
    if taken is None:
        pytest.skip("this system does not tell how much memory a process has used at most")
    assert 0.9 * 2**25 <= taken <= 2 * 2**25


def test_a_larger_set_holds_every_smaller_one_and_names_are_not_repeated():
    ids = [[each.id for each in chosen(size, "cuda", tuple(OPERATORS), ("float32",))] for size in SETS]
    assert set(ids[0]) < set(ids[1]) < set(ids[2])
    assert len(set(ids[2])) == len(ids[2]) == 2 * len(LAYERS)
    assert not [each for each in chosen("full", "cpu", tuple(OPERATORS), ("float32",)) if each.layer.devices]
