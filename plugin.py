"""The pytest plugin for other people's suites: a decorator, a function and a fixture that judge one operator.

It adds no option and changes no setting. What judges is imported when a test judges, and not before.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

NOTE = "assay-note"
_notes: list[str] = []  # what a test that passes has to say: that laws were waived, or left out

Kernel = Callable[..., Any]


class DoesNotConform(AssertionError):
    """The kernel does not conform, or cannot be judged; the text is the report."""


def assert_conforms(
    kernel: Kernel,
    operator: str,
    *,
    budget: str = "quick",
    dtypes: Sequence[str] | None = None,
    device: str = "cpu",
    profile: str = "torch",
    precision: Mapping[str, Mapping[str, object]] | None = None,
    waivers: str | Path | None = None,
    seed: int | None = None,
    array: str = "torch",
    vjp: Callable[..., Mapping[str, Any]] | None = None,
    gradients: bool = True,
) -> None:
    """Judge ``kernel`` as ``operator``, with its signature in `assay.implementations.contract`, by every law.

    ``dtypes`` are those to judge in (all that its array library has); ``precision`` is what it declares, by
    "operator.direction.dtype"; ``waivers`` a file of waivers; ``array``, ``vjp`` and ``gradients`` are what a module
    may say of itself. The rest is as on the command line of `assay check`. It runs in this process.

    Raises:
        DoesNotConform: an AssertionError, with the report of `assay check`.
        ValueError: a word is not understood; the text says which, what is allowed and what to do.
    """
    __tracebackhide__ = True  # as of every function here: what is inside tells an author nothing
    own = {"vjp": vjp} if vjp else {}
    candidate = SimpleNamespace(
        **{operator: kernel}, precision=precision or {}, array=array, gradients=gradients, **own
    )
    verdict = _judged(candidate, kernel, operator, waivers, (dtypes or (), device, profile, budget, seed))
    from assay.report.session import closing, said

    if verdict.exit_code():
        raise DoesNotConform(said(verdict))
    left_out = verdict.left_out()
    if verdict.word != "conforms" or left_out:
        _notes.extend([closing(verdict), *left_out])


def conforms(operator: str, *, dtypes: Sequence[str] | None = None, **words: Any) -> Callable[[Kernel], Any]:
    """Make a test of a kernel, one for each dtype: ``test_swish[float32]``. Words as of `assert_conforms`.

    Raises:
        ValueError: there is no such operator, or ``dtypes`` is one word.
        TypeError: there is no such word.
    """
    __tracebackhide__ = True
    _check_operator(operator)
    _check_dtypes(dtypes)
    inspect.signature(assert_conforms).bind(None, operator, **words)

    def decorate(kernel: Kernel) -> Any:
        def test(assay_dtype: str) -> None:
            __tracebackhide__ = True
            assert_conforms(kernel, operator, dtypes=[assay_dtype], **words)

        for word in ("__name__", "__qualname__", "__doc__", "__module__"):  # an object may have no name
            setattr(test, word, getattr(kernel, word, getattr(test, word)))
        test.__test__ = True  # type: ignore[attr-defined]  # a test, whatever it is called
        test.kernel = test.place_as = kernel  # type: ignore[attr-defined]  # where pytest says that it stands
        return pytest.mark.parametrize("assay_dtype", dtypes or _dtypes(words.get("array", "torch")))(test)

    return decorate


@pytest.fixture
def assay_conforms() -> Callable[..., None]:
    """`assay.assert_conforms`, for test files that import nothing of assay."""
    return assert_conforms


def _check_operator(operator: str) -> None:
    __tracebackhide__ = True
    from assay.spec import OPERATORS
    from assay.tests.trial.usage import UsageProblem, known

    try:
        known("operator", [operator], OPERATORS)
    except UsageProblem as problem:
        raise ValueError(str(problem)) from None


def _check_dtypes(dtypes: object) -> None:
    __tracebackhide__ = True
    if isinstance(dtypes, str):  # whose letters are words, too
        raise ValueError(f"dtypes={dtypes!r}; give a list: [{dtypes!r}]")


def _dtypes(array: str) -> tuple[str, ...]:
    __tracebackhide__ = True
    from assay.implementations.arrays import arrays_of
    from assay.implementations.contract import ARRAYS
    from assay.reference.arithmetic.formats import STORAGE

    if array not in ARRAYS:
        raise ValueError(f"array={array!r}; allowed: {', '.join(ARRAYS)}")
    return tuple(STORAGE) if array == "torch" else tuple(arrays_of(array).dtypes)  # torch, not imported, has all


def _judged(candidate: Any, kernel: Kernel, operator: str, waivers: Any, words: Sequence[Any]) -> Any:
    __tracebackhide__ = True
    from assay.implementations.load import LoadError, described
    from assay.report.session import judge
    from assay.tests.trial.run import UsageProblem, make_run
    from assay.tests.trial.waiver_file import read

    _check_operator(operator)
    _check_dtypes(words[0])
    try:
        implementation = described(candidate, _name(kernel, operator), _recipe(kernel, operator))
        run = make_run(implementation, [operator], *words)
        run = run.under([], read(waivers) if waivers is not None else ())
    except (LoadError, UsageProblem) as problem:
        raise ValueError(str(problem)) from None
    return judge(run)


def _name(kernel: Kernel, operator: str) -> str:
    """As one would give it to `assay check`: the module, and the function unless it is called as the operator is."""
    module, name = getattr(kernel, "__module__", "?"), getattr(kernel, "__qualname__", type(kernel).__name__)
    return str(module) if name == operator else f"{module}:{name}"


def _recipe(kernel: Kernel, operator: str) -> str:
    """Python that binds ``candidate``, for the script that shows a fault; a line to fill in where nothing names it."""
    name, module = getattr(kernel, "__qualname__", "<"), inspect.getmodule(kernel)
    if "<" in name or inspect.ismethod(kernel) or module is None or not getattr(module, "__file__", None):
        return f"import types\ncandidate = types.SimpleNamespace({operator}=...)  # put the kernel here: {kernel!r}"
    if "." in module.__name__:
        lines = ["import importlib, types", f"made = importlib.import_module({module.__name__!r})"]
    else:
        path = Path(str(module.__file__)).resolve()
        lines = ["import runpy, sys, types", f"sys.path.insert(0, {str(path.parent)!r})"]
        lines += [f"made = types.SimpleNamespace(**runpy.run_path({str(path)!r}))"]
    lines += [
        f"kernel = made.{name}",
        f"candidate = types.SimpleNamespace({operator}=getattr(kernel, 'kernel', kernel))",
    ]
    return "\n".join(lines)


# --- hooks


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A decorated test shows the report and no traceback, in which there is nothing of its author's."""
    report = yield
    if call.when == "call":
        report.user_properties += [(NOTE, f"{item.nodeid}: {note}") for note in _notes]
        _notes.clear()
        problem = call.excinfo.value if call.excinfo else None
        if isinstance(problem, DoesNotConform) and hasattr(getattr(item, "function", None), "kernel"):
            report.longrepr = str(problem)
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What was waived or left out is told, though the tests passed."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    notes = [value for report in reports for key, value in getattr(report, "user_properties", ()) if key == NOTE]
    if notes:
        terminalreporter.section("assay")
        for note in notes:
            terminalreporter.write_line(note)
