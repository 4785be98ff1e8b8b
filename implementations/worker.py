"""A candidate's own process: it loads the candidate, and answers calls until the judge closes the line.

    python implementations/worker.py SPEC

It runs under any Python of 3.10 and later that has numpy and whatever the candidate needs: assay need not be installed
there. Messages go over what was standard input and output; what a candidate prints goes elsewhere, and is seen.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENDED = 99  # the exit code of a process whose judge has closed the line
SHARED = "ASSAY_SHARED"  # the environment's word for the file that carries large tensors
PR_SET_PDEATHSIG = 1


def find_assay() -> None:
    """Make ``assay`` importable where it is not installed: the repository's root is the package."""
    sys.path[:] = [folder for folder in sys.path if Path(folder or ".").resolve() != ROOT / "implementations"]
    package = types.ModuleType("assay")
    package.__path__ = [str(ROOT)]
    sys.modules.setdefault("assay", package)


def end_with_parent() -> None:
    """Be killed when the process that started this one ends, however it ends, where the system can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Printed:
    """Standard output, as a file of its own: whatever a candidate writes there is noticed."""

    def __init__(self) -> None:
        self.file = os.memfd_create("printed") if hasattr(os, "memfd_create") else os.dup(2)
        os.dup2(self.file, 1)
        self.flush = ctypes.CDLL(None).fflush

    def anything(self) -> bool:
        """Whether anything was written since this was last asked."""
        sys.stdout.flush()
        self.flush(None)
        size = os.fstat(1).st_size
        if size:
            os.ftruncate(1, 0)
            os.lseek(1, 0, os.SEEK_SET)
        return size > 0


def main() -> int:
    """Load, greet, answer."""
    reading, writing = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    printed = Printed()
    end_with_parent()
    find_assay()
    try:
        import numpy  # noqa: F401  the one thing that is needed, and it may be missing
    except ImportError as problem:
        line = f"assay 1\nfault {sys.executable} has no numpy ({problem}); install numpy there\n\n"
        os.write(writing, line.encode())
        return 1
    from assay.implementations import serving

    return serving.serve(sys.argv[1], reading, writing, os.environ.get(SHARED), printed)


if __name__ == "__main__":
    raise SystemExit(main())
