"""Threads: a call that is made in one, while others make another call.

Where a kernel is Python, the other call is made between its lines, one line after the other: so what two calls share is
seen without luck; and it is made in the middle of so many others as a server has, which wait for it. What is compiled
has to be met by chance, and several times.
"""

from __future__ import annotations

import contextvars
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError, wait
from functools import partial
from itertools import count
from types import FrameType
from typing import Any, TypeVar

TURNS, OTHERS = 12, 2  # calls that are made beside others, and threads that make those
LINES = 200  # of a call, between which others are made at most
MANY = 33  # calls that are in the middle of one another: more than a pool of 32 workspaces has
SECONDS = 2.0  # after which no other call is made between lines, nor the call itself once more
WAIT = 0.5  # seconds that a line waits: who holds a lock meanwhile has thought of threads
MEETING = 0.05  # and where one call of a few elements is waited for
# Modules whose lines are none of a candidate's: what calls it, but not the adapters that lie beside that.
CALLING = ("arrays", "beside", "contract", "going_back", "layouts", "memory", "observe", "running", "settings")
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
        plain, until = once(), time.monotonic() + SECONDS
        found, lines = between_lines(once, other)
        for line in sorted({lines * eighth // 8 for eighth in (4, 5, 6, 7)} - {0}):
            in_time = time.monotonic() < until and alike(plain, found)
            found = among_many(once, other, line) if in_time else found
        beside = [_in_context(pool, others) for _ in range(OTHERS)]
        try:
            for _ in range(TURNS):
                found = once() if time.monotonic() < until and alike(plain, found) else found
        finally:
            stop.set()
        for each in beside:
            each.result()
        return found

    with ThreadPoolExecutor(1 + OTHERS) as pool:
        return _in_context(pool, again).result()


def _in_context(pool: ThreadPoolExecutor, call: Callable[[], Answer]) -> Future[Answer]:
    """In a copy of the caller's context, as `asyncio.to_thread` has it: what it holds is shared."""
    return pool.submit(contextvars.copy_context().run, call)


def met(once: Callable[[], Answer], first: Callable[[], object], line: int) -> Answer:
    """The answer of a call that another thread makes at this line of the ``first``, or behind it."""
    return _inside(line, first, once, lambda made: wait([made], MEETING))[1].result()


def between_lines(once: Callable[[], Answer], other: Callable[[], object]) -> tuple[Answer, int]:
    """The answer of a call, between whose lines of Python the other one is made, in another thread; how many there are.

    No other is made after one that has to wait.
    """
    counted, left, until = 0, LINES, time.monotonic() + SECONDS

    def at_line() -> None:
        nonlocal counted, left
        counted += 1
        if counted <= left and time.monotonic() < until:
            left *= _made_in_time(pool, other)

    with ThreadPoolExecutor(1) as pool:
        _in_context(pool, other).result()  # what takes long the first time
        return _traced(once, at_line), counted


def among_many(once: Callable[[], Answer], other: Callable[[], object], line: int) -> Answer:
    """The answer of a call in the middle of which others are, and which is in the middle of `MANY`: at this line."""
    found, around = list[Answer](), partial(_around, line, threading.Event())

    def mine() -> None:
        found.append(around(once, partial(around, other, other)))

    call: Callable[[], object] = mine
    for _ in range(MANY):
        call = partial(around, other, call)
    call()
    return found[0]


def _around(line: int, late: threading.Event, outer: Callable[[], Any], inner: Callable[[], object]) -> Any:
    """The answer of the outer call, at whose line, or behind it, the inner one is made in another thread.

    It is waited for, unless one of them was ``late`` before.
    """

    def waiting(made: Future[object]) -> None:
        if wait([made], 0.0 if late.is_set() else WAIT).not_done:
            late.set()

    answer, made = _inside(line, outer, inner, waiting)
    made.result()
    return answer


def _inside(
    line: int, outer: Callable[[], Any], inner: Callable[[], Answer], waiting: Callable[[Future[Answer]], object]
) -> tuple[Any, Future[Answer]]:
    """The outer call's answer, and the inner one's, made in another thread at this line of the outer, or behind it."""
    made, lines = list[Future[Answer]](), count(1)

    def at_line() -> None:
        if next(lines) == line:
            made.append(_in_context(pool, inner))
            waiting(made[0])

    with ThreadPoolExecutor(1) as pool:
        answer = _traced(outer, at_line)
        return answer, made[0] if made else _in_context(pool, inner)


def _made_in_time(pool: ThreadPoolExecutor, call: Callable[[], object]) -> bool:
    try:
        _in_context(pool, call).result(WAIT)
    except TimeoutError:
        return False
    return True


def _traced(call: Callable[[], Answer], at_line: Callable[[], None]) -> Answer:
    """What it gives, where something is done at each line of a candidate's Python."""

    def step(frame: FrameType, event: str, argument: Any) -> Any:
        module = str(frame.f_globals.get("__name__"))
        if module in OURS or module.partition(".")[0] in LIBRARIES:
            return None
        if event == "line":
            at_line()
        return step

    sys.settrace(step)
    try:
        return call()
    finally:
        sys.settrace(None)
