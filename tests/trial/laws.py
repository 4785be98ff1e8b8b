"""Laws: which clause each one decides, in which tier, and what it cannot see."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis.internal.conjecture import providers

from assay.reference.arithmetic.formats import STORAGE
from assay.spec import CLAUSES, OPERATORS
from assay.tests.trial import simplify, waivers
from assay.tests.trial.failure import TIERS

DTYPES = tuple(STORAGE)
# Examples a law, from the smallest budget to the largest.
BUDGETS = {"quick": 12, "gate": 40, "deep": 1000}


@dataclass(frozen=True)
class Law:
    """A test of one clause."""

    clause: str
    tier: str
    name: str
    module: str
    needs: tuple[str, ...]
    operators: tuple[str, ...]
    dtypes: tuple[str, ...]
    gradient: bool
    budget: str  # the least at which it is tried
    share: float  # of a budget's examples it tries one in so many
    sentence: str
    blind: str
    function: Callable[..., Any]

    @property
    def tried(self) -> str:
        """Its tier, and where it is not tried at every budget, from which one on."""
        return self.tier if self.budget == "quick" else f"{self.tier}, from {self.budget} on"

    def judged(self, given: str | None = None) -> str:
        """The operator that it judges: the one that it is given, or its clause's."""
        return given or self.clause.partition(".")[0]

    def belongs_to(self, budget: str) -> bool:
        """Whether it is tried at this budget."""
        return list(BUDGETS).index(self.budget) <= list(BUDGETS).index(budget)


LAWS: dict[str, Law] = {}

# The shares of laws that name none: manners hang on shapes and layouts, not on values; one example of statistics is
# 1000 sums.
SHARES = {"contract": 2, "state": 2, "statistics": 12}


def clause(
    identifier: str,
    *,
    tier: str,
    needs: tuple[str, ...] | None = None,
    operators: tuple[str, ...] = (),
    dtypes: tuple[str, ...] = DTYPES,
    gradient: bool | None = None,
    budget: str = "quick",
    share: float | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark a test as a law of the clause ``identifier``. Stands above ``@given``.

    ``needs`` names the operators that the candidate must have (the clause's own unless given); ``operators`` makes
    one law of a test for each of several operators, given to it as ``operator``. It is tried from ``budget`` on, on one
    in ``share`` of a budget's examples (its tier's share unless given); a share below one is that many more.

    Raises:
        ValueError: there is no such clause, tier or budget, it is a law of no operator, or the docstring does not say
            what it is blind to.
    """
    _check(identifier, tier, budget)

    def marked(test: Callable[..., Any]) -> Callable[..., Any]:
        sentence, _, blind = inspect.cleandoc(test.__doc__ or "").partition("Blind to")
        if not blind:
            raise ValueError(f"{identifier}: {test.__name__} does not say 'Blind to ...' in its docstring")
        wanted = (() if operators else (CLAUSES[identifier].chapter,)) if needs is None else needs
        if needs is None and not {*wanted, *operators} <= OPERATORS.keys():
            raise ValueError(f"{identifier}: {test.__name__} is a law of no operator; ``operators`` is to name some")
        told = " ".join(sentence.split()) or test.__name__.removeprefix("test_").replace("_", " ")
        unseen = " ".join(blind.split()).lstrip(":, ").rstrip(".")
        differentiates = tier == "gradient" if gradient is None else gradient
        where = (test.__name__, test.__module__)
        test = _keep_failures(_heed_waivers(test), tier)
        examples = budget, share or SHARES.get(tier, 1)
        law = Law(identifier, tier, *where, wanted, operators, dtypes, differentiates, *examples, told, unseen, test)
        _register(law)
        test.law = law  # type: ignore[attr-defined]
        return test

    return marked


def _check(identifier: str, tier: str, budget: str) -> None:
    if identifier not in CLAUSES:
        raise ValueError(
            f"clause {identifier!r} is not in the spec; spec/ has {len(CLAUSES)} of them, see `assay list`"
        )
    for field, value, allowed in (("tier", tier, TIERS), ("budget", budget, BUDGETS)):
        if value not in allowed:
            raise ValueError(f"{identifier}: {field}={value!r}; allowed: {', '.join(allowed)}")


def _register(law: Law) -> None:
    known = LAWS.setdefault(law.name, law)
    if known.module.rpartition(".")[2] != law.module.rpartition(".")[2]:
        raise ValueError(f"{law.name} stands in {known.module} and in {law.module}; a law has one name")
    _count_examples(law.function)
    if law.share != 1 and hasattr(law.function, "hypothesis"):
        examples = max(1, int(hypothesis.settings.default.max_examples / law.share))
        hypothesis.settings(max_examples=examples)(law.function)


def _heed_waivers(test: Callable[..., Any]) -> Callable[..., Any]:
    """The test, in which a failure on a case that is waived ends the example and not the law."""
    handle = getattr(test, "hypothesis", None)
    inner = handle.inner_test if handle else test
    heeding = functools.wraps(inner)(lambda **given: waivers.run(inner, given))
    if handle is None:
        return heeding
    handle.inner_test = heeding
    return test


def _count_examples(test: Callable[..., Any]) -> None:
    """Have every example of a Hypothesis test announced to the candidate."""
    handle = getattr(test, "hypothesis", None)
    if handle is None:
        return
    inner = handle.inner_test

    @functools.wraps(inner)
    def counted(*args: Any, **kwargs: Any) -> Any:
        kwargs["candidate"].begin()
        return inner(*args, **kwargs)

    handle.inner_test = counted


def _keep_failures(test: Callable[..., Any], tier: str) -> Callable[..., Any]:
    """The test, whose failing example is kept; the last one of a Hypothesis test is simplified further."""
    if tier == "statistics":  # which speaks of many values, and of none in particular
        return test
    handle = getattr(test, "hypothesis", None)
    inner = handle.inner_test if handle else test
    keeping = functools.wraps(inner)(lambda **given: simplify.run(inner, given))
    if handle is None:
        return keeping
    handle.inner_test = keeping
    return test


def under(settings: hypothesis.settings, laws: Iterable[Law]) -> contextlib.AbstractContextManager[None]:
    """Run laws under other Hypothesis settings than those that they were made with, for a while."""
    return _kept_on_tests("_hypothesis_internal_use_settings", settings, laws)


def seeded(seed: int | None, laws: Iterable[Law]) -> contextlib.AbstractContextManager[None]:
    """Have laws draw by a seed, or by none, for a while."""
    return _kept_on_tests("_hypothesis_internal_use_seed", seed, laws)


@contextlib.contextmanager
def _kept_on_tests(word: str, value: object, laws: Iterable[Law]) -> Iterator[None]:
    """What Hypothesis keeps on a test, and has no public way to change afterwards, is this for a while."""
    tests = [law.function for law in laws if hasattr(law.function, "hypothesis")]
    before = [getattr(test, word) for test in tests]
    try:
        for test in tests:
            setattr(test, word, value)
        yield
    finally:
        for test, kept in zip(tests, before, strict=True):
            setattr(test, word, kept)


@contextlib.contextmanager
def drawing_alike() -> Iterator[None]:
    """Have Hypothesis take no numbers out of the modules that happen to be imported, for a while.

    What a law draws would depend on which others have run, on the number of processes, and on where assay lies. There
    is no public way, and other suites' own tests are to draw as ever.
    """
    before = getattr(providers, "_get_local_constants", None)
    if before is None:  # another version, in which there may be no such numbers
        yield
        return
    nothing = providers.Constants()
    try:
        providers._get_local_constants = lambda: nothing
        providers.CONSTANTS_CACHE.cache.clear()
        yield
    finally:
        providers._get_local_constants = before
        providers.CONSTANTS_CACHE.cache.clear()


@contextlib.contextmanager
def at_budget(settings: hypothesis.settings, laws: Iterable[Law]) -> Iterator[None]:
    """Run laws at a budget, each with its share of the examples, as in a judged run, for a while."""
    by_share: dict[float, list[Law]] = {}
    for law in laws:
        by_share.setdefault(law.share, []).append(law)
    with contextlib.ExitStack() as stack:
        stack.enter_context(drawing_alike())
        for share, mine in by_share.items():
            examples = max(1, int(settings.max_examples / share))
            stack.enter_context(under(hypothesis.settings(settings, max_examples=examples), mine))
        yield


def all_laws(budget: str = "deep") -> list[Law]:
    """Every law that is tried at this budget, or every law, in the order of the files and of their lines."""
    folder = Path(__file__).resolve().parents[1] / "conformance"
    for path in sorted(folder.glob("test_*.py")):
        importlib.import_module(f"assay.tests.conformance.{path.stem}")
    stems = {path.stem for path in folder.glob("test_*.py")}
    mine = [law for law in LAWS.values() if law.module.rpartition(".")[2] in stems and law.belongs_to(budget)]
    return sorted(mine, key=lambda law: law.module.rpartition(".")[2])


def check_bijection(laws: Iterable[Law]) -> None:
    """Hold the spec to its word: each clause has a law. (A law without a clause cannot be made.)

    Raises:
        ValueError: naming the clauses that no law decides.
    """
    decided = {law.clause for law in laws}
    missing = [identifier for identifier in CLAUSES if identifier not in decided]
    if missing:
        raise ValueError(f"no law for the clauses {', '.join(missing)}; write one in tests/conformance, or drop them")
