"""A run: who is judged, on what, by which laws, and how hard. Made from the command line's words, all checked."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, settings

from assay.implementations.contract import Implementation
from assay.implementations.isolated import Place, started
from assay.implementations.load import LoadError, load
from assay.reference.arithmetic.formats import STORAGE
from assay.spec import CLAUSES, OPERATORS, PROFILES
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.laws import Law

# Examples a law. The gate is derandomised: the same verdict on the same code.
# PyTorch's own adapters run in the judge's process, unless told otherwise: it is PyTorch that the judge trusts.
AT_HOME = ("torch", "torch-tf32")
BUDGETS = {"quick": 12, "gate": 40, "deep": 1000}


class UsageProblem(ValueError):
    """The run cannot be made from what was given; the text says what was given, what is allowed, what to do."""


@dataclass(frozen=True)
class Run:
    """Everything that decides which laws run, and on what."""

    implementation: Implementation
    operators: tuple[str, ...]
    dtypes: tuple[str, ...]
    device: str
    profile: str
    budget: str
    seed: int | None
    place: Place = Place(in_process=True)

    def candidates(self, law: Law) -> list[Candidate]:
        """The candidate once for each dtype that the law and the run have in common."""
        return [Candidate(self.implementation, dtype, self.device) for dtype in self.dtypes if dtype in law.dtypes]

    def wants(self, law: Law, operator: str) -> bool:
        """Whether the law belongs to the run."""
        return operator in self.operators and CLAUSES[law.clause].kind in PROFILES[self.profile]

    def missing(self, law: Law, operator: str) -> str:
        """What the candidate would have to offer for the law to be judged, or nothing."""
        lacking = [name for name in (operator, *law.needs) if name not in self.implementation.operators]
        if lacking:
            return lacking[0]
        return "gradients" if law.gradient and not self.implementation.gradients else ""


def make_run(
    spec: str | None,
    operators: Sequence[str] = (),
    dtypes: Sequence[str] = (),
    device: str = "cpu",
    profile: str = "torch",
    budget: str = "quick",
    seed: int | None = None,
    place: Place = Place(in_process=True),
) -> Run:
    """The run that these words ask for.

    Raises:
        UsageProblem: a word is unknown, the device is missing, or the candidate has nothing of what is asked.
        LoadError: the candidate cannot be loaded.
    """
    _known("operator", operators, OPERATORS)
    _known("dtype", dtypes, STORAGE)
    _known("profile", [profile], PROFILES)
    _known("budget", [budget], BUDGETS)
    implementation = found(spec, place)
    wanted = tuple(operators) or tuple(OPERATORS)
    if not any(name in implementation.operators for name in wanted):
        has = ", ".join(implementation.operators)
        raise UsageProblem(f"{spec} has none of the operators asked for ({', '.join(wanted)}); it has {has}")
    _check_device(implementation, device)
    return Run(implementation, wanted, _dtypes(implementation, dtypes), device, profile, budget, seed, place)


def found(spec: str | None, place: Place) -> Implementation:
    """The implementation, where it is to run.

    Raises:
        LoadError: it cannot be loaded, or its process cannot be started.
    """
    if (spec is None) == (place.command is None):
        raise LoadError("give an implementation to load, or --command and a program, and not both")
    if place.in_process and (place.command or place.python):
        raise LoadError("--in-process runs in this interpreter: give no --python and no --command with it")
    at_home = spec in AT_HOME and place.python is None
    return load(str(spec)) if place.in_process or at_home else started(spec, place)


def _known(what: str, given: Sequence[str], allowed: Sequence[str] | dict[str, object]) -> None:
    for word in given:
        if word not in allowed:
            close = difflib.get_close_matches(word, allowed, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise UsageProblem(f"unknown {what} {word!r}; allowed: {', '.join(allowed)}{hint}")


def _check_device(implementation: Implementation, device: str) -> None:
    name, _, number = device.partition(":")
    if name not in ("cpu", "cuda") or (number and not (name == "cuda" and number.isdigit())):
        raise UsageProblem(f"unknown device {device!r}; allowed: cpu, cuda, cuda:N")
    if implementation.devices is not None and name not in implementation.devices:
        raise UsageProblem(
            f"{implementation.name} supports the devices {', '.join(implementation.devices)}, not {name}"
        )
    problem = implementation.device_problem(device)
    if problem:
        raise UsageProblem(f"device {device!r} is not to be had here: {problem}; use --device cpu")


def _dtypes(implementation: Implementation, asked: Sequence[str]) -> tuple[str, ...]:
    offered = implementation.offered()
    for dtype in asked:
        if dtype not in offered:
            raise UsageProblem(f"{implementation.name} has no {dtype}; it has {', '.join(offered)}")
    return tuple(asked) or offered


def register_budgets() -> None:
    """Make each budget a Hypothesis profile, "assay-" and its name, and another "-seeded" for runs with a seed."""
    for name, examples in BUDGETS.items():
        for suffix, fixed in (("", True), ("-seeded", False)):
            settings.register_profile(
                f"assay-{name}{suffix}",
                max_examples=examples,
                derandomize=fixed,
                database=None,
                deadline=None,
                print_blob=False,
                report_multiple_bugs=False,
                phases=(Phase.explicit, Phase.generate, Phase.shrink),
                suppress_health_check=list(HealthCheck),
            )
