"""Threads: a call that is made in one, while others make another call.

Where a kernel is Python, the other call is made between its lines, one line after the other: so what two calls share is
seen without luck. What is compiled has to be met by chance, and several times.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from types import FrameType
from typing import Any, TypeVar

TURNS, OTHERS = 12, 2  # calls that are made beside others, and threads that make those
LINES = 200  # of a call, between which others are made at most
SECONDS = 2.0  # after which no other call is made between lines, nor the call itself once more
WAIT = 0.5  # seconds that a line waits: who holds a lock meanwhile has thought of threads
# Modules whose lines are none of a candidate's: what calls it, but not the adapters that lie beside that.
CALLING = ("arrays", "beside", "contract", "going_back", "layouts", "observe", "running", "settings")
OURS = {f"{__name__.rpartition('.')[0]}.{name}" for name in CALLING}
LIBRARIES = sys.stdlib_module_names | {"torch", "numpy"}
Answer = TypeVar("Answer")


def beside_others(
    once: Callable[[], Answer], other: Callable[[], object], alike: Callable[[Answer, Answer], bool]
) -> Answer:
    """The first answer that is not like the one by itself, or the last of all; whatever a thread raises is raised."""
    stop = threading.Event()

    def others() -> None:
        while not stop.is_set():
            other()

    def again() -> Answer:
        plain, found, until = once(), between_lines(once, other), time.monotonic() + SECONDS
        beside = [pool.submit(others) for _ in range(OTHERS)]
        try:
            for _ in range(TURNS):
                if not alike(plain, found) or time.monotonic() > until:
                    break
                found = once()
        finally:
            stop.set()
        for each in beside:
            each.result()
        return found

    with ThreadPoolExecutor(1 + OTHERS) as pool:
        return pool.submit(again).result()


def between_lines(once: Callable[[], Answer], other: Callable[[], object]) -> Answer:
    """The answer of a call, between whose lines of Python the other one is made, in another thread."""
    left, until = LINES, time.monotonic() + SECONDS

    def step(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        module = str(frame.f_globals.get("__name__"))
        if module in OURS or module.partition(".")[0] in LIBRARIES:
            return None
        if event == "line" and left > 0 and time.monotonic() < until:
            left -= 1
            try:
                pool.submit(other).result(WAIT)
            except TimeoutError:
                left = 0
        return step

    with ThreadPoolExecutor(1) as pool:
        pool.submit(other).result()  # what takes long the first time
        sys.settrace(step)
        try:
            return once()
        finally:
            sys.settrace(None)
