"""pytest wiring: options, parametrisation, Hypothesis profiles, and the recorder of a judged run."""

from __future__ import annotations

import contextlib
import gc
import math
import sys
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from assay.implementations.isolated import Place
from assay.implementations.load import ADAPTERS, LoadError
from assay.report.failures import record
from assay.report.plugin import KEY, Recorder
from assay.report.verdict import LEFT_OUT, NOT_PROVIDED, WAIVED, entry
from assay.tests.trial.candidate import Tally
from assay.tests.trial.costs import cost
from assay.tests.trial.failure import NonConformance, verdict_of
from assay.tests.trial.laws import BUDGETS, LAWS, Law, check_bijection, drawing_alike
from assay.tests.trial.run import Run, make_run, register_budgets
from assay.tests.trial.usage import UsageProblem, writable
from assay.tests.trial.waiver_file import read
from assay.tests.trial.waivers import Waiver

LAW_FOLDER = Path(__file__).resolve().parent / "tests" / "conformance"
TORCH_WAIVERS = Path(__file__).resolve().parent / "implementations" / "torch_waivers.toml"
LEAST_MEMORY, MOST_MEMORY = 0.0625, 2.0**32  # GiB; more than that no system counts
RUN = pytest.StashKey[Run]()
RECORDER = pytest.StashKey[Recorder]()

# Adapters of other libraries, and what several of them share, import what is not in this environment; PyTorch's other
# adapters set what all that is judged after them would be judged under.
OTHERS = [module.rpartition(".")[2] for name, module in ADAPTERS.items() if name != "torch"]
collect_ignore = [f"implementations/{name}.py" for name in (*OTHERS, "jax_calls", "onnx_models", "triton_kernels")]

register_budgets()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("assay", "judging an implementation")
    group.addoption(
        "--impl", help="judge this implementation: a name, module, pkg.mod:attribute or path.py[:attribute]"
    )
    group.addoption("--op", action="append", default=[], help="judge this operator only (may be repeated)")
    group.addoption("--dtype", action="append", default=[], help="judge in this dtype only (may be repeated)")
    group.addoption("--device", default="cpu", help="cpu, cuda or cuda:N")
    group.addoption("--profile", default="torch", help="documented, or torch (a drop-in replacement)")
    group.addoption(
        "--budget", default="quick", help=", ".join(f"{name} ({n} examples)" for name, n in BUDGETS.items())
    )
    group.addoption("--seed", type=int, help="draw other examples than the fixed ones")
    group.addoption("--precision", action="append", default=[], help="declare this over what the candidate declares")
    group.addoption("--waivers", metavar="FILE", help="cases on which it is known to fail (docs/waivers.md)")
    group.addoption("--json", dest="assay_json", metavar="FILE", help="write everything that the terminal shows")
    group.addoption("--command", help="judge this program, which speaks docs/protocol.md on its standard streams")
    group.addoption("--python", help="the interpreter in which the implementation is loaded")
    group.addoption("--in-process", action="store_true", help="load it into this process, for debugging")
    group.addoption("--time-limit", type=float, default=60.0, help="seconds that a call may take")
    group.addoption("--memory-limit", type=float, default=4.0, help="GiB that its process may take after loading")
    group.addoption("--assay-replay", action="store_true", help="keep the failures of the run before for replays")
    group.addoption("--assay-live", action="store_true", help="show progress")


def pytest_configure(config: pytest.Config) -> None:
    option = config.getoption
    words = (option("op"), option("dtype"), option("device"), option("profile"), option("budget"), option("seed"))
    spec = option("impl") if _judges(config) else "torch"
    try:
        run = make_run(spec, *words, _place(config))
        hypothesis.settings.load_profile(f"assay-{run.budget}{'' if run.seed is None else '-seeded'}")
        run = run.under(option("precision"), _waivers(config))  # whose reading imports laws, made under the profile
        if path := option("assay_json"):
            writable("--json", path)
    except (LoadError, UsageProblem) as problem:
        raise pytest.UsageError(str(problem)) from None
    config.stash[RUN] = run
    for each in ("default", *sys.warnoptions) if _judges(config) else ():  # as whoever judges has them, in no test
        config.addinivalue_line("filterwarnings", each)
    drawing = contextlib.ExitStack()
    drawing.enter_context(drawing_alike())
    config.add_cleanup(drawing.close)
    if _judges(config) and not hasattr(config, "workerinput"):
        config.stash[RECORDER] = Recorder(run, option("assay_json"), live=option("assay_live"))
        config.pluginmanager.register(config.stash[RECORDER])


def _judges(config: pytest.Config) -> bool:
    return config.getoption("impl") is not None or config.getoption("command") is not None


def _waivers(config: pytest.Config) -> tuple[Waiver, ...]:
    """The waivers of the run; where nobody is named, those of PyTorch, which this suite is tried on.

    Raises:
        UsageProblem: there is nobody who is judged, or the file is not understood.
    """
    path = config.getoption("waivers")
    if path is None:
        return () if _judges(config) else read(TORCH_WAIVERS)
    if not _judges(config):
        raise UsageProblem(f"--waivers {path}: give --impl too; a waiver is about one candidate")
    return read(path)


def _place(config: pytest.Config) -> Place:
    """Where the candidate is to run.

    Raises:
        UsageProblem: a limit is not a positive number, or no interpreter could live on it.
    """
    seconds, memory = config.getoption("time_limit"), config.getoption("memory_limit")
    for name, value in (("time-limit", seconds), ("memory-limit", memory)):
        if not 0 < value < math.inf:
            raise UsageProblem(f"--{name} {value:g}: give a positive number")
    if memory < LEAST_MEMORY:
        raise UsageProblem(f"--memory-limit {memory:g}: give at least {LEAST_MEMORY}; an interpreter takes some itself")
    words = (config.getoption("python"), config.getoption("command"), config.getoption("in_process"))
    limited = config.getoption("device") == "cpu"  # a GPU's driver reserves more addresses than there is memory
    return Place(*words, seconds, int(min(memory, MOST_MEMORY) * 2**30) if limited else 0)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    law = getattr(metafunc.function, "law", None)
    if law is None:
        return
    run = metafunc.config.stash[RUN]
    if law.operators:
        metafunc.parametrize("operator", law.operators)
    candidates = run.candidates(law)
    if not _judges(metafunc.config):  # the laws are tried on PyTorch: in each dtype on other cases of a sweep
        for k, candidate in enumerate(candidates):
            candidate.put = k, len(candidates)
    metafunc.parametrize("candidate", candidates, ids=[f"{each.device}-{each.dtype}" for each in candidates])


def _law_of(item: pytest.Item) -> Law | None:
    """The law that a test is, if it is one."""
    return getattr(getattr(item, "function", None), "law", None)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Have -k know a law by its clause, too."""
    law = _law_of(item)
    if law is not None:
        item.extra_keyword_matches.add(law.clause)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    collected = {law.module.rpartition(".")[2] for law in LAWS.values()}
    if collected >= {path.stem for path in LAW_FOLDER.glob("test_*.py")}:
        try:
            check_bijection(LAWS.values())
        except ValueError as problem:
            raise pytest.UsageError(str(problem)) from None
    run, recorder = config.stash[RUN], config.stash.get(RECORDER, None)
    kept, dropped = [], []
    for item in items:
        (kept if _belongs(item, run, recorder) else dropped).append(item)
    config.hook.pytest_deselected(items=dropped)
    items[:] = kept if recorder is None else sorted(kept, key=lambda item: cost(item.function.law))
    gc.freeze()  # what was imported and collected stays: garbage collections that look at it took a seventh of a run
    gc.set_threshold(10_000, 20, 50)


def _belongs(item: pytest.Item, run: Run, recorder: Recorder | None) -> bool:
    law = _law_of(item)
    if law is None:
        return recorder is None  # a judged run runs the laws alone
    parameters: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
    operator = law.judged(parameters.get("operator"))
    if "candidate" not in parameters or not run.wants(law, operator):
        return False
    missing = run.missing(law, operator)
    if missing and recorder is not None:
        recorder.verdict.lacking[operator, law.tier, missing] = None
    if run.seed is not None and hasattr(law.function, "hypothesis"):
        hypothesis.seed(run.seed)(law.function)
    return not missing


def pytest_runtest_setup(item: pytest.Item) -> None:
    law = _law_of(item)
    if law and hasattr(item, "callspec"):
        candidate = item.callspec.params["candidate"]
        operator = law.judged(item.callspec.params.get("operator"))
        candidate.tally = Tally()
        candidate.waivers = item.config.stash[RUN].waivers_for(law, operator, candidate.dtype)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    law = _law_of(item)
    if law is not None and call.when == "call" and hasattr(item, "callspec"):
        candidate = item.callspec.params["candidate"]
        problem = verdict_of(call.excinfo.value if call.excinfo else None)
        operator = law.judged(item.callspec.params.get("operator"))
        found = entry(law, operator, candidate, problem, call.duration)
        failure = record(problem, law, candidate, item.nodeid) if isinstance(problem, NonConformance) else None
        report.user_properties.append((KEY, {"entry": found, "failure": failure}))
        if found["verdict"] == WAIVED:  # which pytest calls an expected failure: it is not among what passed
            report.outcome, report.wasxfail = "skipped", f"waived: {found['reason']}"
        elif found["verdict"] == LEFT_OUT:
            report.outcome, report.longrepr = "skipped", (str(item.path), item.location[1] or 0, found["reason"])
        elif found["verdict"] == NOT_PROVIDED:
            report.outcome, report.wasxfail = "skipped", f"not provided: {found['reason']}"
        elif problem is None and found["verdict"] != "conforms":
            report.outcome, report.longrepr = "failed", found["reason"]
    return report
