"""What `assay power` measures besides kills: the smallest error that a tier sees, and other judges."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from assay.implementations.load import load
from assay.report import power
from assay.tests.meta.test_power import MISSED, SCALED, SEEN, a_record, a_row, raising
from assay.tests.mutants.catalogue import MUTANTS
from assay.tests.mutants.origins import ORIGINS
from assay.tests.power import peers, record, smallest
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.failure import NonConformance
from assay.tests.trial.laws import all_laws

# --- the smallest error


@pytest.mark.parametrize("operator", smallest.SUMS)
def test_statistics_see_a_common_factor_that_no_single_sum_shows(operator):
    case = smallest._case(operator, 256, "normal", 1)
    wrong = smallest.planted(operator, "float32", "all", 2e-6)
    rejects = [smallest._rejects(smallest.TRIED[tier][0], wrong, case) for tier in ("enclosure", "statistics")]
    assert rejects == [False, True]
    assert not smallest._rejects(smallest.averages_out, smallest.planted(operator, "float32", "all", 0.0), case)


@pytest.mark.parametrize(("dtype", "threshold"), [("float32", 1e-3), ("float32", 1e-7), ("bfloat16", 0.02)])
def test_bisection_finds_the_threshold_from_above(dtype, threshold):
    e = smallest.smallest(lambda e: e >= threshold, dtype)
    assert threshold <= e < threshold * 1.2


def test_what_is_not_seen_at_all_has_no_smallest_error():
    assert smallest.smallest(lambda e: False, "float32") is None


@pytest.mark.parametrize(("where", "wrong"), [("all", 12), ("one", 1)])
def test_the_error_is_planted_in_all_elements_or_in_one(where, wrong):
    operators = smallest.planted("swish", "float32", where, 0.5).made()
    x = torch.ones(3, 4)
    assert int((operators["swish"](x) != load("torch").operators["swish"](x)).sum()) == wrong


@pytest.mark.parametrize("operator", smallest.SUMS)
def test_integers_see_one_wrong_element_in_the_last_place_however_long_the_sum(operator):
    case = smallest._case(operator, 4096, "integers", 1)
    assert case.result_shape in ((8, 16), (2, 8, 2, 4))
    rejects = [
        smallest._rejects(smallest.TRIED["exact"][0], smallest.planted(operator, "float32", "one", e), case)
        for e in (0.0, 1e-7)
    ]
    assert rejects == [False, True]


def test_laws_are_grouped_by_tier_and_are_those_of_the_formula_and_its_gradient():
    groups = smallest.laws_of("conv2d", "float32", all_laws())
    assert {"exact", "enclosure", "gradient"} <= groups.keys()
    assert all(
        law.clause.startswith("conv2d.") or operator == "conv2d" for each in groups.values() for law, operator in each
    )


# --- the peers


@pytest.mark.parametrize("peer", peers.PEERS)
def test_a_peer_accepts_pytorch_and_rejects_half_of_it_without_a_gradient(peer):
    assert peers.accepted_by(peer, load("torch"), peers.DRAWN, "float32")
    halved = {name: lambda *a, f=f: f(*a).detach() / 2 + 0 * f(*a) for name, f in load("torch").operators.items()}
    wrong = dataclasses.replace(load("torch"), operators=halved)
    assert not peers.accepted_by(peer, wrong, ["linear"], "float32")


def test_a_peer_rejects_what_raises_and_does_not_look_at_what_it_has_no_case_for():
    broken = dataclasses.replace(SCALED, operators={"linear": raising(ValueError("no"))}).implementation()
    assert [peers.accepted_by(peer, broken, ["linear"], "float32") for peer in peers.PEERS] == [False] * 4
    assert peers.accepted_by("allclose 1e-2", broken, ["conv2d_parameters"], "float32")


def test_peers_differ_as_their_tolerances_do():
    accepted = {peer: peers.accepted_by(peer, SCALED.implementation(), ["linear"], "float32") for peer in peers.PEERS}
    assert accepted == {"allclose 1e-2": True, "assert_close": False, "fixed vectors": True, "gradcheck": True}
    with pytest.raises(NonConformance):
        smallest.judge.conforms_exactly(
            Candidate(SCALED.implementation(), "float32"), smallest._case("linear", 16, "integers", 1)
        )


def test_peers_are_asked_only_about_correct_implementations_that_they_could_accept():
    asked = {task[1:] for task in record.Asked(peers=True).tasks() if task[0] == "correct"}
    assert ("eager", "bfloat16") in asked
    assert {"numpy", "winograd"} & {name for name, _ in asked} == set()
    few = record.Asked(only=("linear-no-tail",), peers=True).tasks()
    assert [task[0] for task in few] == ["mutant", "peers"]


def test_mutants_whose_ids_begin_in_one_of_several_ways_are_asked_for():
    tasks = record.Asked(only=("pad2d.nan-is-zero", "linear-nan-lost")).tasks()
    assert {task[1] for task in tasks} == {"pad2d.nan-is-zero", "linear-nan-lost"}


# --- whence the planted bugs are


def test_every_origin_has_planted_bugs_and_no_beginning_is_named_twice():
    words = [word for origin in ORIGINS for word in origin.beginnings]
    assert len(set(words)) == len(words)
    assert [word for word in words if not any(mutant.id.startswith(word) for mutant in MUTANTS)] == []


def test_the_page_tells_of_each_origin_how_many_of_its_bugs_were_caught():
    rows = [a_row(name, quick, SEEN) for name, quick in (("zeros-a", SEEN), ("sampled-a", SEEN), ("sampled-b", MISSED))]
    text = power.markdown(a_record(*rows))
    assert "| all others | our own, after the issue's list |  |  | 1 of 1 | 1 of 1 |" in text
    assert "or for tests by samples | 69 | 28 | 1 of 2 | 2 of 2 |" in text
