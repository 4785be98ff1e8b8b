"""Progress of long work: a bar in a terminal; in a log ten lines, and more where a tenth takes minutes."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

LINES = 10
SILENCE = 60.0  # seconds after which the next step is told anyhow


class Steps:
    """So many steps of ``what``, shown as they are done, from `begin` to `end` or inside a with statement."""

    def __init__(self, console: Console, what: str, total: int = 0) -> None:
        self.console, self.what, self.total, self.done = console, what, total, 0
        self.start = self.told = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.bar = Progress(*columns, console=console, transient=True, auto_refresh=False)
        self.task = self.bar.add_task(what, total=None)

    def begin(self, total: int) -> None:
        """The number of steps is known."""
        self.total = total
        if self.console.is_terminal:
            self.bar.start()
            self.bar.update(self.task, total=total, refresh=True)

    def step(self, of: str = "", besides: str = "") -> None:
        """One more step, ``of`` this, has ended; ``besides`` is said wherever the number is."""
        self.done += 1
        now, tenth = time.monotonic(), self.done * LINES // max(1, self.total)
        if self.console.is_terminal:
            self.bar.update(self.task, completed=self.done, description=f"{of}{besides}", refresh=True)
        elif self.total and (tenth > (self.done - 1) * LINES // self.total or now - self.told >= SILENCE):
            self.told = now
            words = f"{self.done}/{self.total} {self.what}{besides}, {now - self.start:.0f} s"
            self.console.print(words, highlight=False)

    def end(self) -> None:
        """Take the bar away."""
        if self.bar.live.is_started:
            self.bar.stop()

    def __enter__(self) -> Steps:
        self.begin(self.total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
