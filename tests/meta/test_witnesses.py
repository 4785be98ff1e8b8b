"""No clause is idle: for each there is a planted bug that its laws see and no other clause's."""

from __future__ import annotations

import pytest

from assay.implementations.contract import Implementation
from assay.implementations.load import load
from assay.spec import CLAUSES
from assay.tests.meta.test_planted_bugs import WITHOUT_CANDIDATE
from assay.tests.mutants import known
from assay.tests.mutants.alone import ALONE, FOUND, MADE, implied_by
from assay.tests.mutants.catalogue import MUTANTS
from assay.tests.mutants.hunt import searching, trials
from assay.tests.mutants.soundness import OF_EACH_LAYOUT, put_to_all
from assay.tests.mutants.spoiled import RIGHT, Spoiled, watching
from assay.tests.trial import permitted
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.failure import NonConformance
from assay.tests.trial.laws import all_laws
from assay.tests.trial.run import operators_of

ONE_IN = 3
BY_ID = {mutant.id: mutant for mutant in MUTANTS}


@pytest.mark.parametrize("clause", ALONE)
def test_a_law_of_the_clause_sees_its_witness(clause):
    mutant = BY_ID[ALONE[clause]]
    own = [law for law in all_laws() if law.clause == clause]
    assert known.first_kill(mutant, own), f"{mutant.words}: no law of {clause} sees it"


def that_meet(law, operator, mutants):
    """The mutants but for those that spoil nothing of what the law asks: it is asked of one right kernel, for all."""
    spoilers, met = {}, set()
    for each in mutants:
        if len(made := each.made()) == 1 and isinstance(spoiler := made[each.operator], Spoiled):
            spoilers.setdefault(each.operator, {})[each.id] = spoiler
    if spoilers:
        right = {**RIGHT, **{name: watching(name, those, met) for name, those in spoilers.items()}}
        implementation = Implementation("right", right, precision=load("torch").precision)
        candidate = Candidate(implementation, mutants[0].dtype, put=(0, ONE_IN))
        assert put_to_all(law, operator, {"right": candidate}) == {}
    spared = {name for those in spoilers.values() for name in those} - met
    return [each for each in mutants if each.id not in spared]


def wrongly_seen(law, operator, mutants):
    """Those of the mutants that the law sees, of whose answers it could judge what it saw."""
    met = that_meet(law, operator, mutants)
    candidates = {each.id: Candidate(each.implementation(), each.dtype, put=(0, ONE_IN)) for each in met}
    raised = put_to_all(law, operator, candidates)
    return {name for name, each in raised.items() if isinstance(each, NonConformance) and not each.malformed}


# Laws of long axes, large layers, long lives, threads, hundreds of calls and each layout in turn, which are dear, are
# left to `assay power`, which puts all to all.
DEAR = ("test_large", "layers", "test_lifetimes", "test_manners", "test_wide_gradients")
DEAR_LAWS = (
    *OF_EACH_LAYOUT,
    *("in_inference_what_copies", "incoming_gradient_of_any_layout", "threads_are_right", "hundredth_call"),
)
LAWS = [law for law in all_laws("quick") if not law.module.endswith(DEAR)]
QUICK = [law for law in LAWS if not any(words in law.name for words in DEAR_LAWS)]


@pytest.mark.parametrize("law", QUICK, ids=lambda law: law.name.removeprefix("test_"))
def test_a_law_sees_no_witness_of_another_clause(law, monkeypatch):
    """By one example in so many, and one case of a sweep, of the quick budget; `assay power` puts each to all."""
    monkeypatch.setattr(permitted.KEPT, "size", 64)
    others = [BY_ID[ALONE[clause]] for clause in ALONE if law.clause not in implied_by(clause)]
    met = [(operator or operators_of(law)[0], each) for each in others for _, operator in trials(each, [law])]
    with searching("quick", [law], share=ONE_IN):
        for operator, dtype in dict.fromkeys((operator, each.dtype) for operator, each in met):
            mutants = [each for name, each in met if (name, each.dtype) == (operator, dtype)]
            assert wrongly_seen(law, operator, mutants) == set(), f"{law.name} on {operator}: so their clauses are idle"


def test_who_spoils_nothing_is_spared_and_who_spoils_is_seen(monkeypatch):
    monkeypatch.setattr(permitted.KEPT, "size", 64)
    (law,) = (law for law in all_laws("quick") if law.name == "test_linear_of_zero_is_the_bias_or_nothing")
    mutants = [BY_ID[ALONE[clause]] for clause in ("linear.bias", "linear.formula", "linear.special")]
    with searching("quick", [law]):
        assert that_meet(law, None, mutants) == [mutants[0], mutants[2]]  # the last is made in another way
        assert wrongly_seen(law, None, mutants) == {mutants[0].id}


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
