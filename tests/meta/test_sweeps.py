"""Sweeps: every size is met, the cases are ones that the operator takes, and a failure is of one small call."""

from __future__ import annotations

import itertools
import math
from datetime import date

import pytest
import torch

from assay.implementations.contract import Implementation
from assay.implementations.load import load
from assay.reference.arithmetic.formats import STORAGE
from assay.reference.conv2d import pair
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.failure import NonConformance
from assay.tests.trial.laws import all_laws
from assay.tests.trial.networks import KNOWN_LAYERS
from assay.tests.trial.plain import windows
from assay.tests.trial.sweeps import SWEPT, Sweep
from assay.tests.trial.waivers import Waiver, Where

LINEAR = load("torch").operators["linear"]
(LAW,) = (law.function for law in all_laws() if law.name == "test_linear_of_every_size_is_exact")


def sizes(case):
    """All numbers of features, channels and so on of a call's tensors, and of an image's places at steps of one."""
    kernel = pair(case.parameters.get("kernel_size", case.shapes.get("weight", ())[2:] or 1))
    places = [size - k + 1 for size, k in zip(next(iter(case.shapes.values()))[-2:], kernel, strict=False)]
    return {*places, *(size for shape in case.shapes.values() for size in shape)}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("operator", "axes"),
    [(operator, axes) for operator in SWEPT for axes in SWEPT[operator]],
)
def test_a_sweep_meets_every_size_up_to_its_most(operator, axes, seed):
    most, swept = SWEPT[operator][axes], len(axes.split())
    cases = list(Sweep(operator, axes, seed).cases())
    assert len(cases) == most**swept
    for lengths, case in zip(itertools.product(range(1, most + 1), repeat=swept), cases, strict=True):
        assert math.prod(case.result_shape)
        if operator != "pad2d":
            assert sizes(case) >= set(lengths)


@pytest.mark.parametrize("operator", ["conv2d", "max_pool2d"])
def test_settings_are_all_small_ones_as_numbers_and_as_pairs(operator):
    met, spelled = set(), set()
    for case in Sweep(operator, "settings", 1).cases():
        assert math.prod(case.result_shape)
        kernel = case.parameters.get("kernel_size", case.shapes.get("weight", ())[2:])
        stride, padding = case.parameters["stride"], case.parameters["padding"]
        met.add((pair(kernel), stride and pair(stride), pair(padding)))
        spelled |= {type(kernel), type(stride), type(padding)}
    assert met >= {((k, k), (s, s), (k // 2, k // 2)) for k in range(1, 8) for s in (1, 2, 3, 4)}
    assert spelled >= {int, tuple}


@pytest.mark.parametrize("operator", ["linear", "conv2d", "max_pool2d"])
def test_layers_are_what_the_operator_takes(operator):
    cases = list(Sweep(operator, "layers", 1).cases())
    assert len(cases) >= len(KNOWN_LAYERS[operator]) >= 5
    assert all(2**7 < math.prod(case.result_shape) < 2**20 for case in cases)


@pytest.mark.parametrize("operator", ["linear", "glu", "conv2d", "max_pool2d"])
def test_small_layers_come_with_biases_and_without_and_in_either_layout(operator):
    ways = {
        ("b" in case.shapes or "bias" in case.shapes, next(iter(case.textures.values())).layout)
        for case in Sweep(operator, "layers", 1).cases()
    }
    assert len(ways) == {"conv2d": 4}.get(operator, 2)


@pytest.mark.parametrize("dtype", STORAGE)
def test_windows_of_pooling_have_no_ties(dtype):
    case = max(
        Sweep("max_pool2d", "settings", 2).cases(), key=lambda case: math.prod(pair(case.parameters["kernel_size"]))
    )
    kernel = pair(case.parameters["kernel_size"])
    values = case.arguments(STORAGE[dtype])["input"].values
    assert all(
        len(set(window)) == len(window)
        for window in windows(values, kernel, (1, 1)).reshape(-1, math.prod(kernel)).tolist()
    )


def test_one_in_so_many_leave_none_out_over_seeds():
    every = list(Sweep("linear", "rows", 0).cases())
    rows = {case.shapes["x"][-2] for seed in range(16) for case in Sweep("linear", "rows", seed, every=16).cases()}
    assert rows == {case.shapes["x"][-2] for case in every}
    assert len(list(Sweep("linear", "rows", 3, every=16).cases())) == math.ceil((len(every) - 3) / 16)


def repeats_the_last_of_so_many(wrong):
    def linear(x, w, b=None):
        y = LINEAR(x, w, b)
        return torch.cat([y[..., :-1], y[..., -2:-1]], -1) if len(w) in wrong else y

    return Candidate(Implementation("tails", {"linear": linear}), "float32")


def test_a_failure_is_of_one_call_as_small_as_can_be():
    candidate = repeats_the_last_of_so_many((37, 66))
    with pytest.raises(NonConformance) as raised:
        LAW(candidate=candidate)
    again = candidate.example.run(repeats_the_last_of_so_many((37, 66)))
    for problem in (raised.value, again):  # the last is what is put to a fresh process
        tensors = problem.calls[-1].tensors
        assert {name: tensor.values.shape for name, tensor in tensors.items()} == {"x": (1,), "w": (37, 1)}
        assert sum(abs(tensor.values).sum() for tensor in tensors.values()) == 2


def test_a_waiver_covers_one_size_and_no_others():
    candidate = repeats_the_last_of_so_many((37,))
    where = Where(least={"w.shape[0]": 37}, most={"w.shape[0]": 37})
    candidate.waivers = (Waiver("w.toml", 1, "linear.formula", "linear", "tails", "-", "-", date.max, where),)
    LAW(candidate=candidate)
    assert candidate.tally.waived[1].failed
    beyond = repeats_the_last_of_so_many((37, 66))
    beyond.waivers = candidate.waivers
    with pytest.raises(NonConformance):
        LAW(candidate=beyond)


def test_what_is_waived_in_a_sweep_is_not_simplified():
    """It is shown to nobody; simplifying it would take hundreds of calls for each size."""
    asked = {"given": 0}

    def linear(x, w, b=None):
        asked["given"] += 1
        return LINEAR(x, w, b) + 1

    candidate = Candidate(Implementation("tails", {"linear": linear}), "float32")
    candidate.waivers = (Waiver("w.toml", 1, "linear.formula", "linear", "tails", "-", "-", date.max, Where()),)
    LAW(candidate=candidate)
    assert asked["given"] == candidate.tally.waived[1].failed > 129


def long_axes(case):
    """Rows in all, features and outputs; or samples, channels, kernels and sides; or planes and sides."""
    first, *others = case.shapes.values()
    if case.operator in ("linear", "glu", "swiglu"):
        return {"rows": math.prod(first[:-1]), "features": first[-1], "outputs": others[0][0]}
    axes = {"rows": first[-2], "columns": first[-1]}
    if case.operator == "conv2d":
        return axes | {"samples": first[0], "channels": first[1], "kernels": others[0][0]}
    return axes | {"planes": math.prod(first[:-2])}


@pytest.mark.parametrize("operator", ["linear", "glu", "swiglu", "pad2d", "conv2d", "max_pool2d"])
def test_every_rest_of_tiles_of_32_is_met(operator):
    """In the cases that a law is put in every run: whose rows come in pairs, say, meet no odd rest."""
    law = next(law for law in all_laws() if law.name.startswith(f"test_{operator}_of_every_size"))
    sweeps = [given.kwargs["sweep"] for given in law.function.hypothesis_explicit_examples]
    met = [long_axes(case) for sweep in sweeps for case in sweep.cases()]
    for axis in met[0]:
        rests = {sizes[axis] % 32 for sizes in met if sizes[axis] > 32}
        assert rests == set(range(32)), f"{axis}: no rest of {sorted(set(range(32)) - rests)}"
