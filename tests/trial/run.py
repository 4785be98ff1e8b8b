"""A run: who is judged, on what, by which laws, and how hard. Made from the command line's words, all checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from hypothesis import HealthCheck, Phase, Verbosity, settings

from assay.implementations.contract import Implementation
from assay.implementations.isolated import Place, started
from assay.implementations.load import LoadError, load
from assay.reference.arithmetic.formats import STORAGE
from assay.spec import CLAUSES, OPERATORS, PROFILES
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.declared import overridden
from assay.tests.trial.laws import BUDGETS, Law
from assay.tests.trial.usage import UsageProblem, known
from assay.tests.trial.waivers import Waiver

# These run in the judge's process, unless told otherwise: it is PyTorch that the judge trusts.
AT_HOME = ("torch", "torch-tf32")


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
    precision: tuple[str, ...] = ()  # what the command line says of it
    waivers: tuple[Waiver, ...] = ()

    def candidates(self, law: Law) -> list[Candidate]:
        """The candidate once for each dtype that the law and the run have in common."""
        return [
            Candidate(self.implementation, dtype, self.device, shown=True)
            for dtype in self.dtypes
            if dtype in law.dtypes
        ]

    def wants(self, law: Law, operator: str) -> bool:
        """Whether the law belongs to the run."""
        profiled = CLAUSES[law.clause].kind in PROFILES[self.profile]
        return operator in self.operators and profiled and law.belongs_to(self.budget)

    def missing(self, law: Law, operator: str) -> str:
        """What the candidate would have to offer for the law to be judged, or nothing."""
        return missing(law, operator, self.implementation)

    def under(self, precision: Sequence[str], waivers: Sequence[Waiver]) -> Run:
        """The run with other words about the candidate's precision, and with waivers.

        Raises:
            UsageProblem: a word about the precision is not understood.
        """
        stated = overridden(self.implementation.precision, precision)
        implementation = replace(self.implementation, precision=stated)
        return replace(self, implementation=implementation, precision=tuple(precision), waivers=tuple(waivers))

    def waivers_for(self, law: Law, operator: str, dtype: str) -> list[Waiver]:
        """The waivers that may cover a case of this law on this operator in this dtype today."""
        return [
            waiver
            for waiver in self.waivers
            if (waiver.clause, waiver.operator, waiver.candidate) == (law.clause, operator, self.implementation.name)
            and waiver.where.may_hold(law.tier, dtype, self.device)
            and not waiver.expired(date.today())
        ]


def missing(law: Law, operator: str, implementation: Implementation) -> str:
    """What the implementation would have to offer for the law to be judged, or nothing."""
    lacking = [name for name in (operator, *law.needs) if name not in implementation.operators]
    if lacking:
        return lacking[0]
    return "gradients" if law.gradient and not implementation.gradients else ""


def operators_of(law: Law) -> tuple[str, ...]:
    """The operators that a law judges: those that it names, or its clause's."""
    return law.operators or (law.judged(),)


def make_run(
    spec: str | Implementation | None,
    operators: Sequence[str] = (),
    dtypes: Sequence[str] = (),
    device: str = "cpu",
    profile: str = "torch",
    budget: str = "quick",
    seed: int | None = None,
    place: Place = Place(in_process=True),
) -> Run:
    """The run that these words ask for, of what ``spec`` names, or of an implementation that is loaded already.

    Raises:
        UsageProblem: a word is unknown, the device is missing, or the candidate has nothing of what is asked.
        LoadError: the candidate cannot be loaded.
    """
    known("operator", operators, OPERATORS)
    known("dtype", dtypes, STORAGE)
    known("profile", [profile], PROFILES)
    known("budget", [budget], BUDGETS)
    implementation = spec if isinstance(spec, Implementation) else found(spec, place)
    wanted = tuple(operators) or tuple(OPERATORS)
    if not any(name in implementation.operators for name in wanted):
        has, asked = ", ".join(implementation.operators), ", ".join(wanted)
        raise UsageProblem(f"{implementation.name} has none of the operators asked for ({asked}); it has {has}")
    _check_device(implementation, device)
    return Run(implementation, wanted, _dtypes(implementation, dtypes), device, profile, budget, seed, place)


def found(spec: str | None, place: Place) -> Implementation:
    """The implementation, where it is to run.

    Raises:
        LoadError: it cannot be loaded, or its process cannot be started.
    """
    if (spec is None) == (place.command is None):
        raise LoadError("give an implementation to load, or --command and a program, and not both")
    if place.in_process and (place.command, place.python) != (None, None):
        raise LoadError("--in-process runs in this interpreter: give no --python and no --command with it")
    if None not in (place.command, place.python):
        raise LoadError("--command runs a program as it is: give no --python with it")
    if not (place.in_process or (spec in AT_HOME and place.python is None)):
        return started(spec, place)
    if place.seconds != Place.seconds or place.memory not in (0, Place.memory):  # 0: a GPU's driver is not limited
        raise LoadError(
            f"{spec} runs in the judge's process, which --time-limit and --memory-limit leave alone: give neither, "
            "or have a process of its own, by --python and without --in-process"
        )
    return load(str(spec))


def _check_device(implementation: Implementation, device: str) -> None:
    name, _, number = device.partition(":")
    if name not in ("cpu", "cuda") or (number and not (name == "cuda" and number.isdecimal())):
        raise UsageProblem(f"unknown device {device!r}; allowed: cpu, cuda, cuda:N")
    if implementation.devices is not None and name not in implementation.devices:
        raise UsageProblem(
            f"{implementation.name} supports the devices {', '.join(implementation.devices)}, not {name}: "
            f"use --device {implementation.devices[0]}, or name it in its `devices`"
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
                derandomize=fixed,  # the same verdict on the same code
                database=None,
                deadline=None,
                print_blob=False,
                verbosity=Verbosity.normal,  # and the engine: not what somebody else's profile has made the default
                backend="hypothesis",
                report_multiple_bugs=False,
                phases=(Phase.explicit, Phase.generate, Phase.shrink),
                suppress_health_check=list(HealthCheck),
            )
