"""Ctrl-C, and the signal that ends a process, as pytest's last line is to show them."""

from __future__ import annotations

import _weakrefset
import gc
import os
import signal
import threading
import traceback
import weakref
from collections.abc import Callable
from typing import Any

CODE = 130  # the exit code
SIGNALS = (signal.SIGINT, signal.SIGTERM)  # the other one comes from a time limit, or a CI that is cancelled
CALLED_BACK = (weakref.__file__, _weakrefset.__file__)


class Interrupted(KeyboardInterrupt):
    """Either of them in a run of pytest's: it shows these words, where of a plain one it shows a place in the code."""

    def __init__(self) -> None:
        super().__init__("what follows is a part")


Interrupted.__module__ = "builtins"  # or pytest says where the class stands


def listen(handler: Callable[[int, Any], None] | None = None) -> None:
    """From now on either raises this."""
    for each in SIGNALS:
        signal.signal(each, handler or strike)


def strike(number: int, frame: Any) -> None:
    """The handler of the signal. Where Python would print and forget what is raised, it asks again a moment later.

    Raises:
        Interrupted: elsewhere.
    """
    if not any(_forgetful(each.f_code) for each, _ in traceback.walk_stack(frame)):
        raise Interrupted
    threading.Timer(0.01, os.kill, [os.getpid(), number]).start()


def _forgetful(code: Any) -> bool:
    """Whether this is called back by a collection of garbage, a weak reference or the end of an object."""
    collecting = any(getattr(each, "__code__", None) is code for each in gc.callbacks)
    return collecting or code.co_name == "__del__" or code.co_filename in CALLED_BACK
