"""Ctrl-C, as pytest's last line is to show it."""

from __future__ import annotations

import gc
import os
import signal
import threading
import traceback
from typing import Any

CODE = 130  # the exit code


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in a run of pytest's: it shows these words, where of a plain one it shows a place in the code."""

    def __init__(self) -> None:
        super().__init__("what follows is a part")


Interrupted.__module__ = "builtins"  # or pytest says where the class stands


def listen() -> None:
    """From now on Ctrl-C raises this."""
    signal.signal(signal.SIGINT, strike)


def strike(number: int, frame: Any) -> None:
    """The handler of the signal. Python drops what a callback of its garbage collector raises: there it asks again.

    Raises:
        Interrupted: elsewhere.
    """
    callbacks = [getattr(each, "__code__", None) for each in gc.callbacks]
    if not any(each.f_code in callbacks for each, _ in traceback.walk_stack(frame)):
        raise Interrupted
    threading.Timer(0.01, os.kill, [os.getpid(), number]).start()
