"""The example that a failure shows is as small and as round as its fault allows, and keeps to what its law assumes."""

from __future__ import annotations

import math
from dataclasses import replace

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assay.implementations.contract import Implementation
from assay.implementations.load import load
from assay.reference.arithmetic.formats import STORAGE
from assay.report import failures
from assay.tests.meta.oracles import SEEDS, budget
from assay.tests.mutants.catalogue import MUTANTS
from assay.tests.trial import simplify, smaller, steps
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.cases import (
    Case,
    conv2d_cases,
    gated_cases,
    linear_cases,
    max_pool2d_cases,
    pad2d_cases,
    swish_cases,
)
from assay.tests.trial.drawn import refilled
from assay.tests.trial.failure import NonConformance
from assay.tests.trial.laws import all_laws, under
from assay.tests.trial.textures import INTEGERS, Given, Texture

CASES = (swish_cases(), gated_cases("glu"), linear_cases(), pad2d_cases(), conv2d_cases(), max_pool2d_cases())

# Mutant and law: how many elements each tensor has at most, how many of all are not 0, and how many significant bits.
SHOWN = (
    ("conv2d.flipped-columns", "conv2d_of_integers_is_exact", {"input": 2, "weight": 2}, 2, 1),
    ("conv2d.transposed-square-kernel", "conv2d_of_integers_is_exact", {"input": 4, "weight": 4}, 2, 1),
    ("conv2d.ten-bit-operands", "conv2d_stays_within_its_enclosure", {"input": 1, "weight": 1}, 2, 14),
    (
        "conv2d.row-stride-for-columns",
        "conv2d_with_a_stride_takes_every_so_many_of_stride_one",
        {"input": 2, "weight": 1},
        0,
        0,
    ),
    ("conv2d.padding-swapped", "conv2d_with_padding_is_conv2d_of_the_padded_input", {"input": 1, "weight": 2}, 0, 0),
    (
        "conv2d.no-bias-on-padding-alone",
        "conv2d_of_padding_alone_is_the_bias",
        {"input": 1, "weight": 1, "bias": 1},
        1,
        1,
    ),
    ("conv2d.third-input-channel-unread", "conv2d_sums_over_all_input_channels", {"input": 3, "weight": 3}, 2, 1),
    ("conv2d.taps-past-eight-rows-unread", "conv2d_with_wide_kernels_is_exact", {"input": 9, "weight": 9}, 2, 1),
    (
        "conv2d.last-column-of-weights-not-learned",
        "conv2d_gradients_of_integers_are_exact",
        {"input": 2, "weight": 2, "incoming": 2},
        2,
        1,
    ),
    ("max_pool2d-padding-zero", "max_pool2d_never_takes_what_padding_adds", {"input": 1}, 1, 1),
    ("max_pool2d-nan-ignored", "max_pool2d_gives_nan_wherever_in_the_window_it_is", {"input": 1}, 1, 0),
    ("max_pool2d-nan-compared", "max_pool2d_gives_nan_wherever_in_the_window_it_is", {"input": 2}, 1, 0),
    ("max_pool2d-magnitude", "max_pool2d_takes_the_largest_of_each_window_bit_for_bit", {"input": 2}, 1, 1),
    (
        "max_pool2d-last-tie",
        "max_pool2d_gradients_of_ties_go_to_the_first_in_row_order",
        {"input": 2, "incoming": 1},
        1,
        1,
    ),
    ("linear-no-tail", "linear_of_integers_is_exact", {"x": 17, "w": 17}, 2, 1),
    ("linear-bfloat16", "linear_of_integers_is_exact", {"x": 1, "w": 1, "b": 1}, 2, 9),
    ("linear-row-twice", "linear_of_rows_turned_round_is_turned_round", {"x": 5, "w": 1}, 2, 1),
    ("glu-exchanged", "glu_stays_within_its_enclosure", dict.fromkeys("xwvbc", 1), 2, 1),
    ("glu-bias-after", "glu_of_zero_is_the_sigmoid_of_b_times_c", {"x": 1, "w": 1, "v": 1, "c": 1}, 1, 1),
    ("swiglu-gelu", "swiglu_stays_within_its_enclosure", dict.fromkeys("xwvbc", 1), 3, 1),
    ("swish-beta-twice", "swish_stays_within_its_enclosure", {"x": 1, "beta": 1}, 1, 1),
    ("swish-half-sigmoid", "swish_stays_within_its_enclosure", {"x": 1}, 1, 1),
    ("pad2d.all-at-the-end", "pad2d_adds_as_many_elements_at_both_ends", {"x": 1}, 1, 1),
    ("contract-squeezed-image", "contract_a_batch_of_one_keeps_its_axis", {"input": 1, "weight": 1}, 0, 0),
)


@pytest.fixture(autouse=True)
def unhurried(monkeypatch):
    """No limit in seconds: what is found does not depend on who else is at work here."""
    monkeypatch.setattr(simplify, "SECONDS", math.inf)


def law_named(name):
    (law,) = (law for law in all_laws() if law.name == f"test_{name}")
    return law


def failure_of(mutant, law):
    """The failure that a law ends in at the quick budget, and the candidate."""
    candidate = Candidate(mutant.implementation(), mutant.dtype)
    operator = {"operator": mutant.operator} if law.operators else {}
    with under(hypothesis.settings.get_profile("assay-quick"), [law]), pytest.raises(NonConformance) as caught:
        law.function(candidate=candidate, **operator)
    return caught.value, candidate


def mutant_named(identifier):
    (mutant,) = (mutant for mutant in MUTANTS if mutant.id == identifier)
    return mutant


def tensors(problem):
    """The values of the call that shows the failure."""
    call = problem.calls[-1]
    held = {key: argument.values for key, argument in call.tensors.items()}
    return held | ({"incoming": call.cotangent.values} if call.cotangent else {})


def significant_bits(values):
    """The most significant bits that any of the values has; zero, NaN and the infinities have none."""
    numbers = [abs(float(value)).as_integer_ratio()[0] for value in values.flat if np.isfinite(value)]
    return max(number.bit_length() - (number & -number).bit_length() + (number > 0) for number in [0, *numbers])


def test_what_is_left_has_to_pass_on_pytorch_without_onednn(monkeypatch):
    seen, before = set(), torch.backends.mkldnn.enabled

    def pad2d(x, padding):
        seen.add(torch.backends.mkldnn.enabled)
        return load("torch").operators["pad2d"](x, padding)

    monkeypatch.setattr(simplify, "trusted", lambda: Implementation("noting", {"pad2d": pad2d}))
    failure_of(mutant_named("pad2d.all-at-the-end"), law_named("pad2d_adds_as_many_elements_at_both_ends"))
    assert (seen, torch.backends.mkldnn.enabled) == ({False}, before)


@pytest.mark.parametrize(("mutant", "law", "elements", "nonzero", "bits"), SHOWN, ids=[shown[0] for shown in SHOWN])
def test_a_mutant_is_shown_by_no_more_than(mutant, law, elements, nonzero, bits):
    problem, _ = failure_of(mutant_named(mutant), law_named(law))
    held = tensors(problem)
    assert {key for key, values in held.items() if values.size > elements.get(key, 0)} == set()
    assert sum(map(np.count_nonzero, held.values())) <= nonzero
    assert max(map(significant_bits, held.values())) <= bits and problem.notes == []


def test_a_mixture_is_shown_without_what_its_fault_does_not_take():
    """It fails first in inference, beside parameters."""
    problem, _ = failure_of(mutant_named("mixed-split-k"), law_named("linear_in_any_mixture_is_rounded_once"))
    call = problem.calls[-1]
    assert (call.recording, call.together, call.setting) == (None, "", "")


def test_the_same_run_shows_the_same_example():
    law, mutant = law_named("conv2d_of_integers_is_exact"), mutant_named("conv2d.flipped-columns")
    first, second = (tensors(failure_of(mutant, law)[0]) for _ in range(2))
    assert {key: values.tolist() for key, values in first.items()} == {
        k: values.tolist() for k, values in second.items()
    }


def test_examples_tried_to_simplify_are_not_counted(monkeypatch):
    law, mutant = law_named("linear_of_integers_is_exact"), mutant_named("linear-bfloat16")
    _, simplified = failure_of(mutant, law)
    monkeypatch.setattr(simplify.Search, "simplest", lambda search: search.problem)
    _, plain = failure_of(mutant, law)
    assert simplified.tally.examples == plain.tally.examples


def test_without_shrinking_nothing_is_simplified(monkeypatch):
    monkeypatch.setattr(simplify, "Search", None)
    law = law_named("linear_of_integers_is_exact")
    found = hypothesis.settings(hypothesis.settings.get_profile("assay-quick"), phases=[hypothesis.Phase.generate])
    with under(found, [law]), pytest.raises(NonConformance) as caught:
        law.function(candidate=Candidate(mutant_named("linear-bfloat16").implementation(), "float32"))
    assert caught.value.notes == []


# --- what a law may assume is not broken


def simplest(body, **arguments):
    """The state that a search ends in for a law ``body(candidate, **arguments)`` that fails on a candidate "wrong"."""
    wrong = Candidate(Implementation("wrong", load("torch").operators), "float32")
    try:
        body(candidate=wrong, **arguments)
    except NonConformance as problem:
        search = simplify.Search(body, wrong, arguments, problem)
        search.simplest()
        return search.state
    raise AssertionError("the law does not fail")


def filled(candidate, case):
    return case.arguments(candidate.format)


def fails_where(assumed):
    """A law that a wrong candidate fails, and a right one too unless what it assumes of its case holds."""

    def body(candidate, case):
        if candidate.implementation.name == "wrong" or not assumed(filled(candidate, case)):
            raise NonConformance("it is wrong", [])

    return body


@budget(12)
@given(case=linear_cases(("integers",), (3, 4, 5)))
def test_what_pytorch_does_not_pass_is_not_kept(case):
    sums = fails_where(lambda arguments: np.abs(arguments["x"].values).sum() >= 3)
    if np.abs(filled(Candidate(load("torch"), "float32"), case)["x"].values).sum() >= 3:
        x = simplest(sums, case=case)["case"].arguments(STORAGE["float32"])["x"].values
        assert np.abs(x).sum() >= 3 and x.size <= 3


@budget(12)
@given(case=st.one_of(CASES))
def test_an_example_is_not_touched_where_pytorch_fails_too(case):
    assert simplest(fails_where(lambda arguments: False), case=case)["case"] is case


@budget(30)
@given(case=max_pool2d_cases(("distinct",), places=(1, 2, 3)))
def test_windows_without_ties_stay_without(case):
    """Of a law that needs two rows: PyTorch's choice among ties would hide that they were made."""
    two_rows = fails_where(lambda arguments: arguments["input"].values.shape[2] >= 2)
    if case.shapes["input"][2] >= 2:
        values = simplest(two_rows, case=case)["case"].arguments(STORAGE["float32"])["input"].values
        assert values.shape[2] == 2 and all(len(np.unique(plane)) == plane.size for row in values for plane in row)


@budget(100)
@given(family=st.sampled_from((*INTEGERS, "normal", "wide", "tiny", "large", "spikes")), seed=SEEDS)
def test_rounding_makes_nothing_larger_and_no_fraction_of_an_integer(family, seed):
    old = Texture(family, seed).fill((3, 4), STORAGE["float32"], 4).values
    for change in smaller.changes_of(old):
        new = change(old)
        assert np.abs(new).max() <= np.abs(old).max() and np.all((new == np.trunc(new)) | (old != np.trunc(old)))
        assert np.all(np.abs(new) <= np.abs(old)) or np.any(old != np.trunc(old))
        assert all(STORAGE["float32"].holds(x) for x in new.ravel().tolist())


@budget(60)
@given(data=st.data())
def test_a_shorter_axis_is_shorter_in_every_tensor_that_has_it(data):
    case = data.draw(st.one_of(CASES))
    for axes in smaller.axes_to_shorten(case):
        if min(smaller.length(case, axis) for axis in axes) > 1:
            shorter = smaller.without_all(case, axes, range(1))
            assert all(smaller.length(shorter, axis) == smaller.length(case, axis) - 1 for axis in axes)
            if smaller.keeps_its_word(case, shorter) and case.operator in ("linear", "glu", "swish"):
                assert Candidate(load("torch"), "float32").ask(shorter).output.shape == shorter.result_shape


@budget(40)
@given(case=st.one_of(CASES), more=st.integers(0, 3))
def test_given_values_fill_as_they_stand_and_families_asked_for_are_had(case, more):
    fmt = STORAGE["float32"]
    texture = Texture("normal", 5)
    held = Given("normal", 5, (), "contiguous", texture.fill((2, 3), fmt).values, 1, ("normal", 5))
    wider = held.fill((2, 3 + more), fmt).values
    assert (wider[:, :3] == held.values).all() and not wider[:, 3:].any()
    other = replace(held, family="integers", seed=case.pick)
    assert (other.fill((2, 3), fmt).values == Texture("integers", case.pick).fill((2, 3), fmt).values).all()


def test_given_integers_are_cut_to_the_size_that_longer_sums_allow():
    """Integers up to 511 make exact sums of 64 terms in float32, not of 4096."""
    held = Given("integers", 1, (), "contiguous", np.array([500.0, -3.0]), 64, ("integers", 1))
    assert held.fill((2,), STORAGE["float32"], 4096).values.tolist() == [63.0, -3.0]


def test_a_search_that_is_spent_goes_through_no_more_values(monkeypatch):
    """Halves of halves of a tensor of a million elements are many, though none of them is tried any more."""
    asked, fails = [], simplify.Search.fails
    monkeypatch.setattr(simplify, "CALLS", 1)
    monkeypatch.setattr(simplify, "STEPS", (steps.round_values,))
    monkeypatch.setattr(simplify.Search, "fails", lambda search, state: asked.append(state) or fails(search, state))

    def law(candidate, case):
        if filled(candidate, case) and candidate.implementation.name == "wrong":
            raise NonConformance("it is wrong", [])

    simplest(law, case=Case("swish", {"x": (64,)}, {"x": Texture("normal")}))
    assert len(asked) == 2  # of half of it, which was the one call; with its values written out, which was none


def test_an_interrupt_is_not_swallowed():
    calls = []

    def body(candidate, case):
        calls.append(case)
        if len(calls) > 3:
            raise KeyboardInterrupt
        if candidate.implementation.name == "wrong":
            raise NonConformance("it is wrong", [])

    with pytest.raises(KeyboardInterrupt):
        simplest(body, case=Case("swish", {"x": (4,)}, {"x": Texture("normal")}))


@pytest.mark.parametrize(("axis", "wide"), [(2, 100), (3, 201)])
def test_what_a_size_sets_off_is_shown_at_the_least_such_size(axis, wide):
    """A layer of few terms, whose places may be no more than there were."""

    def law(candidate, case):
        if filled(candidate, case)["input"].values.shape[axis] >= wide and candidate.implementation.name == "wrong":
            raise NonConformance("it is wrong", [])

    shapes = {"input": (2, 3, 258, 258), "weight": (4, 3, 3, 3)}
    case = Case("conv2d", shapes, dict.fromkeys(shapes, Texture("normal")), {"stride": 1, "padding": 1}, 4)
    found = filled(Candidate(load("torch"), "float32"), simplest(law, case=case)["case"])["input"].values
    assert found.shape[axis] == wide and math.prod(found.shape) <= 2 * wide and not found.any()


@pytest.mark.parametrize("parameters", [{}, {"stride": 2}, {"padding": 1}])
def test_parameters_that_are_left_out_hinder_nothing(parameters):
    def law(candidate, case):
        if filled(candidate, case) and candidate.implementation.name == "wrong":
            raise NonConformance("it is wrong", [])

    shapes = {"input": (1, 2, 9, 9), "weight": (2, 2, 3, 3)}
    case = Case("conv2d", shapes, dict.fromkeys(shapes, Texture("normal")), parameters, 18)
    assert set(simplest(law, case=case)["case"].shapes.values()) == {(1, 1, 1, 1)}


def test_what_hinders_a_search_is_told(monkeypatch):
    """The example is shown as it was found."""

    def hindered(search):
        raise KeyError("padding")

    monkeypatch.setattr(simplify, "STEPS", (hindered,))
    law = law_named("conv2d_of_integers_is_exact")
    problem, candidate = failure_of(mutant_named("conv2d.flipped-columns"), law)
    assert problem.notes == ["not simplified: KeyError: 'padding'"]
    found = failures.record(problem, law, candidate, "")
    assert "  note       not simplified: KeyError: 'padding'" in failures.text(found).splitlines()


def test_what_is_last_is_last_at_the_least_size():
    """Sizes become less before values are written out: whose end would be cut off."""

    def law(candidate, case):
        wide = filled(candidate, case)["input"].values.shape[3] >= 201
        last = case.cotangent(candidate.format).values[..., -1]
        if wide and last.any() and candidate.implementation.name == "wrong":
            raise NonConformance("it is wrong", [])

    shapes = {"input": (1, 1, 258, 258), "weight": (1, 1, 1, 1)}
    textures = dict.fromkeys(shapes, Texture("normal"))
    case = Case("conv2d", shapes, textures, {"stride": 1, "padding": 0}, 1, 0, Texture("few"))
    assert simplest(law, case=case)["case"].shapes["input"] == (1, 1, 1, 201)


def test_other_numbers_are_as_few_as_they_were():
    """A gradient of a million outputs that are not zero would take minutes to judge."""
    case = Case(
        "linear", {"x": (600, 2), "w": (500, 2)}, dict.fromkeys("xw", Texture("normal")), {}, 2, 0, Texture("few")
    )
    (other,) = refilled({"case": case}, "normal", 3).values()
    assert np.count_nonzero(other.cotangent(STORAGE["float32"]).values) <= 64
    assert other.textures["x"] != case.textures["x"]
