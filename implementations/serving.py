"""What a worker does once numpy is there: greet, then one answer a message."""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from assay.implementations import protocol
from assay.implementations.arrays import IMPORTED_LATE, arrays_of
from assay.implementations.channel import Channel, Gone, Message, Shared
from assay.implementations.contract import Implementation
from assay.implementations.load import LoadError, load
from assay.implementations.memory import Memory
from assay.implementations.observe import OUTPUT, observe
from assay.implementations.worker import ENDED, end_with_parent

LOST = 98  # the exit code of a process whose GPU answers nobody any more, as after an illegal access to memory
DRIVERS = ("/dev/nvidia", "/dev/kfd")  # NVIDIA's and AMD's


def serve(spec: str, reading: int, writing: int, shared: str | None, printed: Any) -> int:
    """Load the candidate, and answer for it until the line is closed. Returns the exit code."""
    channel = Channel(reading, writing, Shared(shared) if shared else None)
    try:
        implementation = load(spec)
    except LoadError as problem:
        failed = Message()
        failed.say("assay", protocol.VERSION)
        failed.say("fault", problem)
        channel.send(failed)
        return 1
    _load_what_is_loaded_late(implementation)
    printed.anything()
    _keep_a_spare(channel)
    _greet(channel, implementation)
    answer_all(channel, implementation, printed)
    return ENDED


def _greet(channel: Channel, implementation: Implementation) -> None:
    environment = f"python {platform.python_version()} · numpy {np.__version__}"
    more = {"pid": os.getpid(), "maps": protocol.yes_or_no(channel.shared), "memory": "yes"}
    more |= {"knows": " ".join(protocol.KNOWN), "environment": environment}
    channel.send(protocol.greeting(implementation, implementation.offered(), **more))


def _load_what_is_loaded_late(implementation: Implementation) -> None:
    """So that a spare need not do it again."""
    if implementation.array == "torch" and implementation.gradients:
        with contextlib.suppress(ImportError):  # another version
            importlib.import_module(IMPORTED_LATE)


def _keep_a_spare(channel: Channel) -> None:
    """Stay behind as the process that has loaded everything: when the one that answers dies, another is forked.

    Not where a library has started threads, which a fork would not have, or a GPU's driver, which works in no fork (a
    module that asks `torch.cuda.is_available()` has started it). Returns in the process that answers.
    """
    while _threads() == 1 and not _drives_a_gpu() and hasattr(os, "fork"):
        child = os.fork()
        if child == 0:
            end_with_parent()
            return
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == ENDED:
            os._exit(ENDED)
        died = Message()
        died.say("died", os.waitstatus_to_exitcode(status))
        channel.send(died)


def _threads() -> int:
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.is_dir() else 0


def _drives_a_gpu() -> bool:
    """Whether the driver of a GPU is open here."""
    files = Path("/proc/self/fd")
    names = (os.readlink(each) for each in files.iterdir() if each.is_symlink()) if files.is_dir() else ()
    return any(name.startswith(DRIVERS) for name in names)


def answer_all(channel: Channel, implementation: Implementation, printed: Any) -> None:
    """One answer a message, until the line is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the judge's
    memory = Memory()
    while True:
        try:
            message = channel.receive()
        except Gone:
            return
        kind = message.lines[0][0]
        if kind == "call":
            memory = Memory() if message.get("memory") == "new" else memory
            channel.send(_called(implementation, message, memory, printed))
        elif kind == "kept":
            channel.send(_kept(implementation, memory))
        else:
            channel.send(_device(implementation, message.get("device")))


def _called(implementation: Implementation, message: Message, memory: Memory, printed: Any) -> Message:
    call = protocol.read_call(message)
    try:
        seen = observe(implementation, call, memory if message.get("memory") else None)
    except Exception as problem:  # not of the operator, which `observe` sees: of the array library, say
        seen = protocol.Observation(call, fault=f"could not be called: {type(problem).__name__}: {problem}")
        traceback.print_exc(file=sys.stderr)
    if seen.raised and arrays_of(implementation.array).device_problem(call.device):
        print(seen.fault, file=sys.stderr, flush=True)
        os._exit(LOST)
    if printed.anything():
        seen.disturbed += (OUTPUT,)
    return protocol.answered(seen)


def _kept(implementation: Implementation, memory: Memory) -> Message:
    answer, library = Message(), arrays_of(implementation.array)
    answer.say("answer")
    for number, result in enumerate(memory.results):
        dtype = library.dtype_of(result)
        answer.tensors[str(number)] = (protocol.travels_as(dtype), library.read(result))
    return answer


def _device(implementation: Implementation, device: str) -> Message:
    answer, problem = Message(), arrays_of(implementation.array).device_problem(device)
    answer.say("answer")
    if problem:
        answer.say("fault", problem)
    return answer
