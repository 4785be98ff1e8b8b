"""Each planted bug is caught by a law of the clause that it breaks, and each clause has such a bug."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from assay.implementations.load import load
from assay.spec import CLAUSES
from assay.tests.mutants import known
from assay.tests.mutants.alone import MADE
from assay.tests.mutants.catalogue import MUTANTS
from assay.tests.mutants.counters import COUNTERS
from assay.tests.mutants.described import DESCRIBED
from assay.tests.power.survivors import REASONS
from assay.tests.trial import printed
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.failure import NonConformance
from assay.tests.trial.laws import all_laws, check_bijection

# The class as printed is a statement about the document's own code: no candidate can break it. Its own test
# substitutes the mended class (test_a_class_that_can_be_constructed_is_not_the_one_as_printed).
WITHOUT_CANDIDATE = {"swiglu.class-as-printed"}


OF_CHAPTERS = tuple(mutant for mutant in MUTANTS if mutant.id in DESCRIBED)
# The witnesses of the clauses have a test of their own, which asks for more.
OF_KINDS = tuple(m for m in MUTANTS if m.id not in {*DESCRIBED, *MADE.values(), *REASONS})


@pytest.mark.parametrize("mutant", OF_CHAPTERS, ids=lambda mutant: mutant.id)
def test_a_law_of_its_clause_catches_the_bug(mutant):
    laws = known.judges(mutant)
    assert {law.clause for law in laws} == {mutant.clause}
    assert known.first_kill(mutant, laws), f"{mutant.words}: passed {', '.join(law.name for law in laws)}"


@pytest.mark.parametrize("mutant", OF_KINDS, ids=lambda mutant: mutant.id)
def test_the_gate_catches_the_bug(mutant):
    """But for those that are known to stay alive, which `assay power` meets."""
    assert known.first_kill(mutant, known.judges(mutant)), mutant.words


def test_what_is_known_of_a_bug_changes_no_verdict(monkeypatch):
    """A law that sees nothing, or is no longer there, is passed over; one that sees it is asked alone."""
    mutant = next(mutant for mutant in MUTANTS if mutant.id == "linear-infinity-blank")
    laws = known.judges(mutant)
    seen = known.first_kill(mutant, laws).found.law
    missed = next(law.name for law in laws if law.name != seen)
    monkeypatch.setitem(known.NOTED, mutant.id, ["quick", missed, "linear"])
    assert known.first_kill(mutant, laws)
    monkeypatch.setitem(known.NOTED, mutant.id, ["quick", "test_gone", "linear"])
    assert known.first_kill(mutant, laws)
    monkeypatch.delitem(known.NOTED, mutant.id)
    assert known.first_kill(mutant, laws)
    monkeypatch.setitem(known.NOTED, mutant.id, ["quick", seen, "linear"])
    assert known.first_kill(mutant, laws).found.law == seen


def test_a_class_that_can_be_constructed_is_not_the_one_as_printed(monkeypatch):
    mended = printed.class_mended(torch.nn.functional.linear, torch.nn.functional.silu)
    monkeypatch.setattr(printed, "class_as_printed", lambda: mended)
    (law,) = (law for law in all_laws() if law.clause == "swiglu.class-as-printed")
    with pytest.raises(NonConformance):
        law.function(candidate=Candidate(load("torch"), "float32"))


def test_every_clause_has_a_planted_bug():
    broken = {mutant.clause for mutant in MUTANTS}
    assert [identifier for identifier in CLAUSES if identifier not in broken | WITHOUT_CANDIDATE] == []


def test_the_bugs_have_ids_of_their_own_and_clauses_that_exist():
    assert [identifier for identifier, times in Counter(mutant.id for mutant in MUTANTS).items() if times > 1] == []
    assert {mutant.clause for mutant in MUTANTS} <= set(CLAUSES)


def test_every_clause_has_a_law():
    check_bijection(all_laws())


def test_a_clause_without_a_law_is_named():
    lawless = [law for law in all_laws() if law.clause != "conv2d.stride"]
    with pytest.raises(ValueError, match=r"no law for the clauses conv2d\.stride;"):
        check_bijection(lawless)


def test_every_counter_names_planted_bugs_that_the_gate_catches():
    named = {identifier for row in COUNTERS.values() for identifier in row}
    assert named - {mutant.id for mutant in MUTANTS} == set()
    assert named & REASONS.keys() == set()
