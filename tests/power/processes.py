"""Each task in a process of its own, some at a time: what a mutant does to its process ends with it."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from typing import Any

Work = Callable[[Any], dict[str, Any]]

LIMIT = 900.0  # seconds that one task may take
# A server that has imported everything once forks a process a task: milliseconds, not an import of torch each.
METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


class Died(Exception):
    """A task's process ended without an answer, or gave none in time; the text says how."""


def each(
    work: Work, tasks: Sequence[Any], workers: int, preload: Sequence[str]
) -> Iterator[tuple[int, dict[str, Any] | Died]]:
    """(task's number, what ``work`` made of it, or how its process died), as they are done.

    Closing the iterator, as an interrupt does, ends what still runs.
    """
    context = multiprocessing.get_context(METHOD)
    if METHOD == "forkserver":
        context.set_forkserver_preload(list(preload))
        _start_server()
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the processes share the cores
    running: set[Any] = set()
    pool = ThreadPoolExecutor(workers)
    waiting = {pool.submit(_one, context, running, work, task): number for number, task in enumerate(tasks)}
    try:
        for done in as_completed(waiting):
            problem = done.exception()
            if problem is not None and not isinstance(problem, Died):
                raise problem
            yield waiting[done], problem or done.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list(running):
            process.kill()


def _start_server() -> None:
    """Have the server run, deaf to interrupts from its start: while it imports one would end in a traceback."""
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a process inherits what is ignored
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, heard)


def _one(context: Any, running: set[Any], work: Work, task: Any) -> dict[str, Any]:
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(there, work, task), daemon=True)
    process.start()
    running.add(process)
    there.close()
    try:
        if not here.poll(LIMIT):
            process.kill()
            raise Died(f"gave no answer in {LIMIT:.0f} s")
        answer: dict[str, Any] = here.recv()
        return answer
    except EOFError:
        process.join()
        raise Died(f"its process ended with exit code {process.exitcode}") from None
    finally:
        process.join(5.0)
        running.discard(process)


def _answer(there: Connection, work: Work, task: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the process that started this one
    gc.freeze()  # what was imported stays: a collection that looks at it would copy every page that processes share
    warnings.simplefilter("ignore")  # a mutant's are no verdict
    there.send(work(task))
    there.close()
