"""Failures: how their numbers are shown, and which are told as one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from assay.implementations.arrays import Argument
from assay.implementations.observe import Call
from assay.report import failures
from assay.report.call import describe
from assay.spec import CLAUSES
from assay.tests.trial import history
from assay.tests.trial.failure import NonConformance


def told(dtype="float32", **more):
    """What is recorded of a failure, as far as its numbers go."""
    numbers = {
        "got": 0.1 + 2**-56,
        "permitted": [0.1, 0.1 + 2**-55],
        "exact": 0.1,
        "margin": 1.5,
        "wrong": 1,
        "judged": 1,
    }
    return {"dtype": dtype, "subject": "result", "index": [0], "there": "", **numbers, **more}


def test_a_number_is_shown_with_the_digits_of_what_is_permitted():
    shown = dict(failures._number_lines(told("float64", got=0.1 + 2**-54)))
    assert shown["got"].startswith("0.10000000000000006 ") and "[0.10000000000000001, 0.1" in shown["permitted"]
    assert dict(failures._number_lines(told("float32")))["got"].startswith("0.1  (")


def test_a_failure_names_itself_by_its_sentence_alone():
    """Who reports it asks for its name, and its calls may hold millions of numbers."""
    call = Call("swish", {"x": Argument(np.zeros(2))}, "float32", "cpu")
    assert repr(NonConformance("it is another number", [call])) == "NonConformance('it is another number')"


def test_an_infinity_where_an_interval_is_permitted_is_not_said_to_be_exact():
    assert dict(failures._number_lines(told(got=math.inf, margin=math.inf)))["margin"].startswith(
        "inf (1.0 is the limit)"
    )
    exact = told(permitted=[0.1, 0.1], margin=math.inf)
    assert dict(failures._number_lines(exact))["margin"].startswith("no error is permitted here")


@pytest.mark.parametrize(
    ("permitted", "said"), [((math.nan, math.nan), "exactly nan"), ((-math.inf, math.inf), "any number")]
)
def test_where_a_nan_has_to_be_and_where_none_may_be_is_said(permitted, said):
    shown = dict(failures._number_lines(told(got=1.0, permitted=permitted, margin=math.inf)))
    assert shown["permitted"] == said and shown["margin"].startswith("no error is permitted here")


def failing(clause="swish.formula", **more):
    """What is recorded of a failure, as far as it says which are alike."""
    plain = {"class": "precision", "dtype": "float32", "elements": 1, "malformed": False, "hint": ""}
    plain |= {"what": "another number", "subject": "result", "alone": "", "input": []}
    return {"clause": clause, "candidate": "k.py.swish", **plain, **more}


def test_of_the_failures_of_a_clause_the_smallest_in_the_first_dtype_is_shown():
    kinds = [("float64", 1), ("float32", 90), ("float32", 3)]
    found = [failing(dtype=dtype, elements=elements) for dtype, elements in kinds]
    round_ = failing(elements=3, input=["x = 1"])
    found = [*found[:2], {**found[2], "input": ["x = 0.10000000149011612"]}, round_]
    ((first, others),) = failures.grouped(found)
    assert first is round_ and len(others) == 3


@pytest.mark.parametrize(("hint", "shown"), [("", 1), ("would hold", 2)])
def test_reals_that_are_wrong_where_integers_are_stand_apart_only_with_a_hint(hint, shown):
    found = [failing(hint=hint), failing(**{"class": "structure", "hint": "", "elements": 9})]
    groups = failures.grouped(found)
    assert len(groups) == shown
    assert sum(1 + len(others) for _, others in groups) == 2


def test_what_one_call_shows_is_told_with_the_operators_own_failure():
    """A wrong number that the laws of memory met, too; but not one that they alone see, nor one going back."""
    alone = failing("contract.memoryless", alone=history.BY_ITSELF)
    back, elsewhere = {**alone, "subject": "gradient of x"}, {**alone, "candidate": "k.py.linear"}
    remembers = {**alone, "alone": history.BY_OTHERS}
    groups = failures.grouped([alone, back, elsewhere, remembers, failing(elements=9)])
    assert (groups[0][0]["clause"], groups[0][1]) == ("swish.formula", [alone])
    assert len(groups) == 2 and len(groups[1][1]) == 2


def test_one_mistake_that_breaks_every_clause_is_one_failure():
    """Numbers in its words apart; what is wrong with numbers is told clause by clause."""
    clauses = ("swish.formula", "swish.zero", "contract.layouts")
    raised = [
        failing(clause, what=f"swish raised TypeError: {n} numbers", malformed=True) for n, clause in enumerate(clauses)
    ]
    other = failing("swish.zero", what="swish returned a list", malformed=True)
    groups = failures.grouped([*raised, other, *map(failing, clauses)])
    assert [(len(others), first["what"]) for first, others in groups] == [
        (2, "swish raised TypeError: 0 numbers"),
        (0, "another number"),
        (0, "swish returned a list"),
        (0, "another number"),
        (0, "another number"),
    ]


def test_of_what_is_raised_the_smallest_of_the_first_clause_is_shown():
    """Not the smallest of all: a mistake in an argument breaks every clause, and the first of them says what it is."""
    told = [("swish.zero", 1), ("swish.formula", 90), ("swish.formula", 3)]
    found = [failing(clause, elements=elements, what="it raised", malformed=True) for clause, elements in told]
    ((first, others),) = failures.grouped(found)
    assert first is found[2] and len(others) == 2


@pytest.mark.parametrize(("broken", "replays"), [(4, True), (12, False)])
def test_all_clauses_that_one_mistake_breaks_are_named_and_few_with_what_to_replay(broken, replays):
    """Each once."""
    rest = {"statement": "", "device": "cpu", "declared": "", "earlier_calls": [], "input": [], "script": "", "id": "i"}
    rest |= {"alone": "", "hint": "", "notes": [], "nodeid": "n", "subject": "", "contract": ""}
    clauses = list(CLAUSES)[:broken]
    first, *others = (failing(clause, malformed=True) | rest for clause in clauses)
    lines = failures.text(first, [*others, first, *others]).splitlines()
    (also,) = (line.split("also")[1].strip() for line in lines if line.startswith("  also"))
    assert also == ", ".join(clause + " (i)" * replays for clause in clauses[1:])


def test_of_one_clause_other_dtypes_are_named_once_and_other_laws_counted():
    found = [("float32", "a"), ("float64", "a"), ("float32", "b"), ("float64", "b"), ("float16", "c")]
    first, *others = (failing(dtype=t, law=law, id=f"{t}-{law}", nodeid="n") for t, law in found)
    expected = "float64 (float64-a), float16 (float16-c), 2 other laws of the clause"
    assert failures._also(first, others) == expected


ODD = np.ones((8, 9))
ODD[7, 3] = math.nan
LONG = np.arange(24.0)
LONG[[0, 20]] = math.inf


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((2, 3)), "(2, 3): zeros"),
        ([0.0, 0.0, -2.0], "(3,): zeros, but x[2] = -2"),
        (ODD, "(8, 9): all 1, but x[7, 3] = nan"),
        ([-0.0, -0.0], "(2,): all -0"),
        ([0.0, -0.0, 0.0], "(3,): zeros, but x[1] = -0"),
        ([1.0, 2.0, 2.0], "(3,): 1, 2, 2"),
        (LONG, f"(24,): inf, {', '.join(map(str, range(1, 12)))}, ... x[20] = inf"),
        (np.zeros((0, 3)), "(0, 3)"),
        (5.0, "() = 5"),
    ],
)
def test_a_tensor_is_told_by_what_is_rare_in_it(values, words):
    assert describe("x", Argument(np.asarray(values))) == words
