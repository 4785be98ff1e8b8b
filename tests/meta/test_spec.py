"""The clauses themselves: what cannot be written down wrongly."""

from __future__ import annotations

import pytest

from assay.spec import CLAUSES, OPERATORS, Clause, collected
from assay.tests.trial.laws import clause


@pytest.mark.parametrize("identifier", ["Conv2d.formula", "conv2d", "conv2d.1st", "conv2d.output_size", ""])
def test_an_id_is_an_operator_and_words(identifier):
    with pytest.raises(ValueError, match="is not operator"):
        Clause(identifier, "says", "documented", "notes")


def test_a_kind_is_one_of_four():
    with pytest.raises(ValueError, match="kind='wished'; allowed: documented, example, derived, torch"):
        Clause("swish.formula", "says", "wished", "notes")


def test_a_clause_says_something_and_names_its_source():
    with pytest.raises(ValueError, match="statement='', source='notes'; both are needed"):
        Clause("swish.formula", "", "documented", "notes")


def test_an_id_stands_once():
    twice = Clause("swish.formula", "says", "documented", "notes")
    with pytest.raises(ValueError, match=r"clause id 'swish\.formula' stands twice"):
        collected([(twice,), (twice,)])


def test_every_chapter_is_an_operator_or_the_contract():
    assert {each.chapter for each in CLAUSES.values()} == {*OPERATORS, "contract"}


def test_a_law_of_no_clause_cannot_be_made():
    with pytest.raises(ValueError, match=r"clause 'swish\.colour' is not in the spec"):
        clause("swish.colour", tier="exact")


def test_a_law_says_what_it_is_blind_to():
    def test_that_says_nothing(candidate):
        """A sentence."""

    with pytest.raises(ValueError, match="does not say 'Blind to"):
        clause("swish.formula", tier="exact")(test_that_says_nothing)


def test_a_law_is_of_some_operator():
    def test_of_nobody(candidate):
        """A sentence. Blind to all."""

    with pytest.raises(ValueError, match="test_of_nobody is a law of no operator; ``operators`` is to name some"):
        clause("contract.layouts", tier="exact")(test_of_nobody)


def test_a_law_stands_in_a_tier():
    with pytest.raises(ValueError, match="tier='luck'; allowed: exact, enclosure, special, contract, gradient"):
        clause("swish.formula", tier="luck")
