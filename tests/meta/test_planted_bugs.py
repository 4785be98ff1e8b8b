"""Each planted bug is caught by a law of the clause that it breaks, and each clause has such a bug."""

from __future__ import annotations

from collections import Counter

import hypothesis
import pytest
import torch

from assay.implementations.load import load
from assay.spec import CLAUSES
from assay.tests.mutants.catalogue import MUTANTS
from assay.tests.trial import printed
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.failure import NonConformance
from assay.tests.trial.laws import Law, all_laws, check_bijection, under

# The class as printed is a statement about the document's own code: no candidate can break it. Its own test
# substitutes the mended class (test_a_class_that_can_be_constructed_is_not_the_one_as_printed).
WITHOUT_CANDIDATE = {"swiglu.class-as-printed"}


SEARCH = hypothesis.settings(
    hypothesis.settings.get_profile("assay-gate"), phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate]
)


def caught_by(law: Law, mutant) -> bool:
    """Whether the law fails on the mutant at the gate's budget. Shrinking would only tell it more briefly."""
    for operator in law.operators or (None,):
        given = {"operator": operator} if operator else {}
        try:
            law.function(candidate=Candidate(mutant.implementation(), mutant.dtype), **given)
        except NonConformance:
            return True
    return False


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_a_law_of_its_clause_catches_the_bug(mutant):
    laws = [law for law in all_laws() if law.clause == mutant.clause and mutant.dtype in law.dtypes]
    with under(SEARCH, laws):
        caught = any(caught_by(law, mutant) for law in laws)
    assert caught, f"{mutant.words}: passed {', '.join(law.name for law in laws)}"


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
