"""What timing says of noise, its clocks, its ceilings, memory and growth."""

from __future__ import annotations

import math
import threading
import time

import numpy as np
import pytest
import torch
from rich.console import Console

from assay import cli
from assay.implementations.load import load
from assay.spec import OPERATORS
from assay.tests.benchmarks import blocks, clock, growth, memory, proof, roofline
from assay.tests.benchmarks.blocks import Times
from assay.tests.benchmarks.cases import LAYERS, SETS, Timed, chosen
from assay.tests.benchmarks.paired import Match
from assay.tests.meta.test_bench import CONV, SWISH
from assay.tests.trial.run import UsageProblem

right = load("torch")


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


@pytest.mark.parametrize(("dtype", "operations"), [("bfloat16", 9.0), ("float32", 9.0), ("float64", 4.0)])
def test_sixteen_bits_may_be_calculated_with_in_thirty_two(monkeypatch, dtype, operations):
    monkeypatch.setattr(roofline, "_product", lambda device, of: {"bfloat16": 1.0, "float32": 9.0, "float64": 4.0}[of])
    assert roofline.ceilings("cpu", dtype, 2**16).operations == operations


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


# Growth, and the delay of the proof.


def test_an_exponent_is_that_of_the_larger_sizes():
    sizes = (1, 2, 4, 8, 16)
    assert round(growth.exponent(sizes, [5.0, 5.0, 16.0, 64.0, 256.0]), 12) == 2.0


@pytest.mark.parametrize("given", ["growth", "growth.pdf", "nowhere/growth.png"])
def test_a_picture_is_a_file_that_can_be_written(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageProblem, match="--growth"):
        growth._picture(given)


def test_growth_takes_no_words_about_cases(tmp_path):
    given = ["--growth", str(tmp_path / "g.svg"), "--set", "full", "--max-regression", "3%"]
    words = cli._parser().parse_args(["bench", "torch", *given])
    words.pytest = []
    with pytest.raises(UsageProblem, match="heeds no --set, --max-regression: leave them away"):
        growth.run(words, Console())


def test_growth_is_drawn(tmp_path):
    path = tmp_path / "growth.svg"
    growth._draw({"swish": [(0.1 * 4**k, 0.2 * 4**k, 0.3) for k in range(5)]}, ("a", "b", "c"), path)
    assert "<svg" in path.read_text()


def test_a_planted_delay_is_as_long_as_it_says():
    slow = proof.delayed(right, "swish", 0.01).operators["swish"]
    start = clock.NOW()
    slow(torch.ones(4))
    assert clock.NOW() - start >= 0.01
    assert proof.delayed(right, "swish", 0.0) is right
