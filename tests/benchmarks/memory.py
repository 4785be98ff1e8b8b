"""The most memory that a call takes besides its inputs, its result included.

On a GPU PyTorch counts it. On a CPU it is what the process's high-water mark rises by in the call, which the kernel
keeps and lets be reset (Linux, `proc(5)`, clear_refs): whoever allocates is seen, in pages, PyTorch or a library's own
`malloc`. Free memory that the process holds already would hide it, so it is given back first (`malloc_trim`).
"""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak(call: Callable[[], Any], device: str) -> int | None:
    """Bytes, or None where this system does not tell."""
    return _of_device(call, device) if device.startswith("cuda") else _of_process(call)


def _of_device(call: Callable[[], Any], device: str) -> int:
    import torch

    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    call()
    torch.cuda.synchronize(device)
    return int(torch.cuda.max_memory_allocated(device) - before)


def _of_process(call: Callable[[], Any]) -> int | None:
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    try:
        CLEAR.write_text("5")
        before = _kib("VmRSS")
        call()
        return max(0, (_kib("VmHWM") - before) * 1024)
    except OSError:
        return None


def _kib(key: str) -> int:
    found = re.search(rf"{key}:\s+(\d+)", STATUS.read_text())
    if found is None:
        raise OSError(f"{STATUS} has no {key}")
    return int(found[1])
