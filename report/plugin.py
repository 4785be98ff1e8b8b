"""The recorder: a pytest plugin that gathers what the laws saw, in this process or in workers, and reports it."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from assay.report import REPLAYS, terminal
from assay.report.interrupt import Interrupted, listen, strike
from assay.report.verdict import Verdict
from assay.tests.trial.run import Run

KEY = "assay"


class Recorder:
    """Gathers entries from test reports; prints the report and writes the JSON at the end."""

    def __init__(self, run: Run, json_path: str | None, live: bool) -> None:
        self.verdict = Verdict(run)
        self.json_path = Path(json_path) if json_path else None
        self.console = Console(soft_wrap=False)
        self.live = terminal.Live(self.console) if live else None
        self.start = time.monotonic()
        self.ran = False
        self.struck = False
        self.uncollected = False  # something, for which pytest ends a run as if it were interrupted

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        listen(self._strike)
        terminal.header(self.verdict, self.console)

    def _strike(self, number: int, frame: Any) -> None:
        """Ctrl-C, or SIGTERM. Python drops what is raised while it deletes an object, say: so note it."""
        self.struck = True
        strike(number, frame)

    def pytest_runtest_logfinish(self) -> None:
        if self.struck:
            raise Interrupted

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        self._begin(len(ids))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if session.items:
            self._begin(len(session.items))

    def _begin(self, total: int) -> None:
        if self.live and not self.live.total:
            self.live.begin(total)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> Any:
        return (report.outcome, "", "") if self.live else None

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.uncollected = True
            what = report.nodeid or "a file"  # which pytest does not name outside of the root folder
            self.verdict.errors.append(f"{what} cannot be collected: {report.longreprtext.strip()[-1500:]}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for key, value in report.user_properties:
            if key == KEY and report.when == "call":
                found: Any = value
                self.verdict.entries.append(found["entry"])
                self.verdict.failures += [found["failure"]] if found["failure"] else []
                if self.live:
                    self.live.judged(found["entry"]["operator"], found["entry"]["verdict"])
        if report.failed and report.when != "call":
            self.verdict.errors.append(f"{report.nodeid}: {report.longreprtext.strip()[-1500:]}")

    def pytest_internalerror(self, excrepr: Any) -> None:
        self.verdict.errors.append(f"internal error: {str(excrepr)[-1500:]}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Nobody needs the place: and pytest cannot print one without a line number, as Python 3.11 has in `with (`."""
        self.verdict.interrupted = self.struck or not self.uncollected
        excinfo.traceback = excinfo.traceback[:1]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        self.verdict.seconds = time.monotonic() - self.start
        self.ran = exitstatus != pytest.ExitCode.USAGE_ERROR
        self.verdict.interrupted |= exitstatus == pytest.ExitCode.INTERRUPTED and not self.uncollected
        if self.ran:
            session.exitstatus = self.verdict.exit_code()

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        if self.live:
            self.live.end()
        if not self.ran:
            return
        terminal.report(self.verdict, self.console)
        data = self.verdict.as_data()
        if self.json_path:
            self.json_path.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n")
        if not config.getoption("assay_replay"):
            self._keep_for_replay(data["failures"])

    def _keep_for_replay(self, failures: list[dict[str, Any]]) -> None:
        run = self.verdict.run
        words = {"impl": None if run.place.command else run.implementation.name, "place": asdict(run.place)}
        words |= {"precision": run.precision, "waivers": run.waivers[0].file if run.waivers else None}
        words |= {"dtypes": run.dtypes, "device": run.device, "profile": run.profile}
        kept = [{"failure": found, "run": words | {"budget": run.budget, "seed": run.seed}} for found in failures]
        try:
            if not kept:
                return REPLAYS.unlink(missing_ok=True)
            REPLAYS.parent.mkdir(exist_ok=True)
            REPLAYS.write_text(json.dumps(kept, allow_nan=False) + "\n")
        except OSError as problem:
            self.console.print(f"  replays were not kept: {problem}")
