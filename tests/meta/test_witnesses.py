"""No clause is idle: for each there is a planted bug that its laws see and no other clause's."""

from __future__ import annotations

import pytest

from assay.spec import CLAUSES
from assay.tests.meta.test_planted_bugs import WITHOUT_CANDIDATE
from assay.tests.mutants.alone import ALONE, FOUND, MADE, implied_by
from assay.tests.mutants.catalogue import MUTANTS
from assay.tests.mutants.hunt import hunt, trials
from assay.tests.trial.laws import all_laws

BY_ID = {mutant.id: mutant for mutant in MUTANTS}


def seen_by(mutant, laws, budget):
    """The clauses whose laws see the mutant, and could judge what they saw."""
    found = hunt(mutant, trials(mutant, laws), budget, whole=True)
    return {each.clause for each in found if each.caught and not each.malformed}


@pytest.mark.parametrize("clause", ALONE)
def test_the_clauses_laws_see_its_witness_and_no_others_do(clause):
    """Its own laws at the gate's budget; the others at the quick one, which `assay power` repeats at the gate's."""
    mutant, laws = BY_ID[ALONE[clause]], all_laws()
    own = [law for law in laws if law.clause == clause]
    caught = hunt(mutant, trials(mutant, own), "gate")
    assert any(each.caught for each in caught), f"{mutant.words}: no law of {clause} sees it"
    others = [law for law in all_laws("quick") if law.clause not in implied_by(clause)]
    assert seen_by(mutant, others, "quick") == set(), f"{mutant.words}: others see it"


def test_every_clause_has_a_witness():
    missing = [clause for clause in CLAUSES if clause not in ALONE.keys() | WITHOUT_CANDIDATE]
    assert missing == [], "plant a bug that its laws alone see, in tests/mutants/witnesses*.py"


def test_witnesses_are_planted_bugs_of_their_clause():
    assert {clause: BY_ID[identifier].clause for clause, identifier in ALONE.items()} == {key: key for key in ALONE}
    assert FOUND.keys() & MADE.keys() == set()


def test_what_a_clause_follows_from_is_a_clause():
    named = {parent for clause in CLAUSES.values() for parent in clause.follows_from}
    assert named - CLAUSES.keys() == set()
    assert implied_by("conv2d.translation") == {"conv2d.translation", "conv2d.formula", "conv2d.stride"}
