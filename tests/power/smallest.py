"""The smallest relative error that each tier sees: bisection on a planted x (1 + e), of all elements or of one.

The element that alone is wrong stands at the golden section of the result, so that no judge that samples corners and
drawn places looks there on purpose.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from assay.implementations.load import load
from assay.reference.arithmetic.formats import STORAGE
from assay.tests.conformance.test_statistics import SUMS as SUMMED
from assay.tests.conformance.test_statistics import drawn, hold, windows
from assay.tests.mutants import hunt
from assay.tests.mutants.mutant import Mutant
from assay.tests.trial import judge
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.cases import Case
from assay.tests.trial.failure import TIERS, NonConformance
from assay.tests.trial.laws import Law, all_laws
from assay.tests.trial.sums import Sums, sums_of
from assay.tests.trial.textures import Texture

OPERATORS = ("linear", "conv2d", "glu", "swiglu", "swish")
WHERE = ("all", "one")  # elements that are wrong
STEPS = 7
GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0

# By n: the sums that have so many terms, and how a tier judges one result, on which values.
TERMS = (16, 256, 4096)
SUMS = ("linear", "conv2d")
SEEDS = (1, 2, 3)


@functools.lru_cache(len(SEEDS))
def _summed(operator: str, dtype: str, n: int, seed: int) -> tuple[dict[str, Any], Sums]:
    """The arguments of an operator that gives 1024 sums of n random products, and what is known of these."""
    right = Candidate(load("torch"), dtype)
    if operator == "linear":
        x, w = drawn(right, seed, 1, n), drawn(right, seed, SUMMED, n)
        return {"x": x, "w": w}, sums_of(w * x)
    images, weight = drawn(right, seed, 4, n // 16, 64, 64), drawn(right, seed, 1, n // 16, 4, 4)
    return {"input": images, "weight": weight, "stride": 4}, sums_of(windows(images, 4) * weight.ravel())


def averages_out(candidate: Candidate, case: Case) -> None:
    """Hold 1024 sums, of as many terms as the case's, to what the errors of many sums are, as the laws do.

    Raises:
        NonConformance: they are off.
    """
    arguments, sums = _summed(case.operator, candidate.dtype, case.terms, case.pick)
    hold(candidate, "result", candidate.values(case.operator, **arguments), sums, candidate.precision(case.operator))


TRIED: Mapping[str, tuple[Callable[[Candidate, Case], Any], str]] = {
    "exact": (judge.conforms_exactly, "integers"),
    "enclosure": (judge.conforms, "normal"),
    "statistics": (averages_out, "normal"),
}


def planted(operator: str, dtype: str, where: str, e: float) -> Mutant:
    """PyTorch, but the operator's result is multiplied by 1 + e, in all elements or in one."""
    right = load("torch").operators[operator]

    def wrong(*arguments: Any) -> Any:
        result = right(*arguments)
        factor = torch.full(result.shape, 1.0 + (e if where == "all" else 0.0), dtype=torch.float64)
        if result.numel():
            factor.view(-1)[int(GOLDEN * result.numel())] = 1.0 + e
        return (result.double() * factor).to(result.dtype)

    return Mutant(f"{operator}-{where}-{e:g}", f"{operator}.formula", "x (1 + e)", {operator: wrong}, dtype)


def smallest(sees: Callable[[float], bool], dtype: str) -> float | None:
    """The least e that is seen, by bisection of its logarithm between a quarter of the unit roundoff and 1.

    A law's sight is not monotonic to the last bit; what is returned was seen. None where not even 1 is.
    """
    if not sees(1.0):
        return None
    blind, seen = math.log10(STORAGE[dtype].unit / 4), 0.0
    for _ in range(STEPS):
        middle = (blind + seen) / 2
        blind, seen = (blind, middle) if sees(10.0**middle) else (middle, seen)
    return 10.0**seen


def laws_of(operator: str, dtype: str, laws: Iterable[Law]) -> dict[str, list[hunt.Trial]]:
    """By tier, the laws of the operator's formula, its gradient, and its statistics."""
    found: dict[str, list[hunt.Trial]] = {}
    for law in laws:
        chapter, _, word = law.clause.partition(".")
        given = operator if operator in law.operators else None
        if dtype in law.dtypes and (chapter == operator or given) and _sought(law, word):
            found.setdefault(law.tier, []).append((law, given))
    return found


def _sought(law: Law, word: str) -> bool:
    return law.tier == "statistics" or word in ("formula", "gradient")


def by_tier(operator: str, dtype: str) -> list[dict[str, Any]]:
    """For each tier that has such laws, and all elements or one, the smallest error that they see at quick."""
    groups = laws_of(operator, dtype, all_laws())
    rows = []
    for tier in (tier for tier in TIERS if tier in groups):
        for where in WHERE:

            def sees(e: float, where: str = where, tier: str = tier) -> bool:
                return hunt.hunt(planted(operator, dtype, where, e), groups[tier], "quick")[-1].caught

            rows.append(_row(operator, dtype, tier, where, smallest(sees, dtype)))
    return rows


def by_terms(operator: str, dtype: str) -> list[dict[str, Any]]:
    """As `by_tier`, for sums of a given number of terms, in three results of 128 elements each."""
    rows = []
    for n in TERMS:
        for tier, (judged, family) in TRIED.items():
            cases = [_case(operator, n, family, seed) for seed in SEEDS]
            for where in WHERE:

                def sees(e: float, where: str = where, judged: Any = judged, cases: Any = cases) -> bool:
                    mutant = planted(operator, dtype, where, e)
                    return any(_rejects(judged, mutant, case) for case in cases)

                rows.append(_row(operator, dtype, tier, where, smallest(sees, dtype)) | {"n": n})
    return rows


def _row(operator: str, dtype: str, tier: str, where: str, e: float | None) -> dict[str, Any]:
    rounded = None if e is None else float(f"{e:.2g}")
    return {"operator": operator, "dtype": dtype, "tier": tier, "where": where, "e": rounded}


def _rejects(judged: Callable[[Candidate, Case], Any], mutant: Mutant, case: Case) -> bool:
    try:
        judged(Candidate(mutant.implementation(), mutant.dtype), case)
    except NonConformance:
        return True
    return False


def _case(operator: str, n: int, family: str, seed: int) -> Case:
    """A result of 128 elements, each the sum of n products."""
    shapes = {"x": (8, n), "w": (16, n)}
    if operator == "conv2d":
        shapes = {"input": (2, n // 16, 5, 7), "weight": (8, n // 16, 4, 4)}
    textures = {name: Texture(family, 10 * seed + k) for k, name in enumerate(shapes)}
    parameters = {"stride": 1, "padding": 0} if operator == "conv2d" else {}
    return Case(operator, shapes, textures, parameters, terms=n, pick=seed)
