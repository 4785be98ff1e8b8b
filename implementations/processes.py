"""What the system does with a candidate's process: its limits, its folder, its end, and how that is said."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

LINGERING = 5.0  # seconds in which a process that has closed its line has to end
WRITABLE = 5  # the column of /proc/PID/statm that counts the pages of data and stacks, as RLIMIT_DATA does


def ending(code: int) -> str:
    """How a process ended, from its exit code."""
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"by signal {-code} ({signal.strsignal(-code)})"
    return f"with exit code {code}"


def limit_memory(pid: int, more: int) -> None:
    """Let a process take this many bytes more, where the system can set another's limits (Linux).

    Bytes that it can write to: addresses that are only reserved, as drivers and arenas do, are no memory yet.
    """
    if not more:
        return
    try:
        import resource

        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[WRITABLE])
        limit = pages * resource.getpagesize() + more
        resource.prlimit(pid, resource.RLIMIT_DATA, (limit, limit))
    except (ImportError, AttributeError, OSError, ValueError):
        return


def memory_folder() -> str | None:
    """Where files are memory, if there is such a folder."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and whatever it has started, and close the line to it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            pipe.close()  # type: ignore[union-attr]


def how_it_ended(process: subprocess.Popen[bytes]) -> str:
    """How a process that has closed its line ended; one that lives on is ended here."""
    try:
        return ending(process.wait(LINGERING))
    except subprocess.TimeoutExpired:
        end(process)
        return "by closing its standard output: what ran on was killed"


def clean(process: subprocess.Popen[bytes], folder: Path) -> None:
    """End a process, and leave nothing of its folder."""
    end(process)
    shutil.rmtree(folder, ignore_errors=True)
