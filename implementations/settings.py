"""PyTorch's settings under which a call is made besides its own ones: none of them may change what is right."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple


class Setting(NamedTuple):
    """By name PyTorch's functions that read and write it, and its value: a number, or by name one of PyTorch's."""

    read: str
    write: str
    value: str | int


BY_DEFAULT = {
    f"{dtype} by default": Setting("get_default_dtype", "set_default_dtype", dtype) for dtype in ("float64", "float16")
}
DETERMINISTIC = {"deterministic algorithms": Setting("get_deterministic_debug_mode", "set_deterministic_debug_mode", 1)}
DEBUGGED = {"detection of anomalies": Setting("is_anomaly_enabled", "set_anomaly_enabled", True)}
# Shares of work are uneven for some of these, whatever the machine has.
THREADS = {f"{count} threads": Setting("get_num_threads", "set_num_threads", count) for count in (2, 3, 4, 5, 17)}
SETTINGS = {**BY_DEFAULT, **DETERMINISTIC, **DEBUGGED, **THREADS}


@contextlib.contextmanager
def under(torch: Any, name: str) -> Iterator[None]:
    """For a while, PyTorch has the setting of this name; without a name, whoever changes a setting is seen."""
    if not name:
        yield
        return
    setting = SETTINGS[name]
    before, write = getattr(torch, setting.read)(), getattr(torch, setting.write)
    write(getattr(torch, setting.value) if isinstance(setting.value, str) else setting.value)
    try:
        yield
    finally:
        write(before)


def written(name: str, lines: list[str]) -> list[str]:
    """Lines of a script under the setting of this name."""
    read, write, value = SETTINGS[name]
    shown = f"torch.{value}" if isinstance(value, str) else value
    return [f"before = torch.{read}()", f"torch.{write}({shown})", *lines, ended(name)]


def ended(name: str) -> str:
    """The line of a script that ends the setting of this name."""
    return f"torch.{SETTINGS[name].write}(before)"
