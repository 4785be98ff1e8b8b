"""Implementations that are correct and compute in other ways: no law rejects one."""

from __future__ import annotations

import hypothesis
import pytest

from assay.tests.mutants.correct import VARIANTS, variant
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.laws import all_laws, under

# Each law tries a few examples here; docs/performance.md has the command for the gate's and deeper budgets.
EXAMPLES = 4


def pairs(laws):
    """Each law with each operator that it judges."""
    return [(law, operator) for law in laws for operator in law.operators or (law.clause.split(".")[0],)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", VARIANTS)
def test_a_correct_implementation_is_accepted(name, dtype):
    implementation, laws = variant(name), all_laws()
    with under(hypothesis.settings(max_examples=EXAMPLES), laws):
        for law, operator in pairs(laws):
            if dtype in law.dtypes and {operator, *law.needs} <= implementation.operators.keys():
                given = {"operator": operator} if law.operators else {}
                law.function(candidate=Candidate(implementation, dtype), **given)
