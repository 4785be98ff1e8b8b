"""Messages between the judge and a process that it judges: lines of words, an empty line, the tensors' bytes.

docs/protocol.md has the form; what the words mean stands in `protocol`. numpy and the standard library are all that
this file needs: it runs under whatever interpreter the library under test has.
"""

from __future__ import annotations

import math
import mmap
import os
import select
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from assay.implementations.arrays import Values

SIZES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}  # bytes an element
FIRST_WORDS = ("assay", "answer", "died", "call", "kept", "device")
HEADER = 2**20  # bytes of lines, at most
LARGEST = 2**36  # bytes of tensors, at most
PIPE = 2**16  # bytes that a pipe holds: room for more would be made at every reading, at 40 microseconds a call
LONGEST_WAIT = 2**31 - 1  # milliseconds that the system waits at once: 24 days
INLINE = 2**14  # bytes of tensors from which they travel in shared memory, where there is any


class Silent(Exception):
    """No message came in time."""


class Gone(Exception):
    """The other side has closed its end."""


class Garbled(Exception):
    """What came is no message; the text says why."""


@dataclass
class Message:
    """``lines`` of a key and the words behind it, and tensors by name, each with its dtype."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    tensors: dict[str, tuple[str, Values]] = field(default_factory=dict)

    def say(self, key: str, *words: object) -> None:
        """Add a line; what would break it is made a space."""
        self.lines.append((key, " ".join(" ".join(str(word).splitlines()) for word in words)))

    def all(self, key: str) -> list[str]:
        """What stands behind every line of this key."""
        return [words for found, words in self.lines if found == key]

    def get(self, key: str, otherwise: str = "") -> str:
        """What stands behind the first line of this key."""
        return next((words for found, words in self.lines if found == key), otherwise)

    def flag(self, key: str) -> bool:
        """Whether this key is said to be on."""
        return self.get(key) == "yes"


def packed(values: Values, dtype: str) -> bytes:
    """The bytes of numbers that ``dtype`` holds: in row order, little-endian."""
    if dtype == "bfloat16":
        bits = np.ascontiguousarray(values, "<f4").view("<u4")
        return (bits >> 16).astype("<u2").tobytes()  # the rest is zero, as the numbers are bfloat16's
    return values.astype(f"<f{SIZES[dtype]}", order="C").tobytes()


def unpacked(data: bytes | memoryview, dtype: str, shape: tuple[int, ...]) -> Values:
    """The numbers of these bytes, as float64."""
    if dtype == "bfloat16":
        bits = np.frombuffer(data, "<u2").astype("<u4") << 16
        return bits.view("<f4").astype(np.float64).reshape(shape)
    return np.frombuffer(data, f"<f{SIZES[dtype]}").astype(np.float64).reshape(shape)


class Shared:
    """A file that both sides have mapped; it grows as it must, and is open only while it is mapped anew."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.map: mmap.mmap | None = None
        os.close(self._opened())  # who cannot open it is told at once

    def _opened(self) -> int:
        return os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)

    def take(self, size: int) -> mmap.mmap:
        """At least ``size`` bytes of it."""
        if self.map is None or len(self.map) < size:
            file = self._opened()
            try:
                if os.fstat(file).st_size < size:
                    os.ftruncate(file, 2 * size)
                self.map = mmap.mmap(file, 0)
            finally:
                os.close(file)
        return self.map


class Channel:
    """Messages over two file descriptors, large tensors over shared memory where there is any."""

    def __init__(self, reading: int, writing: int, shared: Shared | None = None) -> None:
        self.reading, self.writing, self.shared = reading, writing, shared
        self.waiting = bytearray()

    def send(self, message: Message, until: float = math.inf) -> None:
        """Write a message; ``until`` is a time of `time.monotonic`.

        Raises:
            Silent: it could not be written in time. Gone: nobody reads.
        """
        lines = [f"{key} {words}" if words else key for key, words in message.lines]
        lines += [_line(name, dtype, values) for name, (dtype, values) in message.tensors.items()]
        parts = [packed(values, dtype) for dtype, values in message.tensors.values()]
        size = sum(map(len, parts))
        if self.shared and size > INLINE:
            memory, place = self.shared.take(size), 0
            for part in parts:
                memory[place : place + len(part)] = part
                place += len(part)
            lines, parts = [*lines, f"shared {size}"], []
        self._write(b"".join(["\n".join([*lines, "", ""]).encode(), *parts]), until)

    def receive(self, until: float = math.inf) -> Message:
        """The next message.

        Raises:
            Silent: it did not come in time. Gone: the other side has closed. Garbled: it is no message.
        """
        message, announced = Message(), list[tuple[str, str, tuple[int, ...]]]()
        for key, words in self._lines(until):
            if key == "tensor":
                announced.append(_announced(words))
            else:
                message.lines.append((key, words))
        size = sum(SIZES[dtype] * math.prod(shape) for _, dtype, shape in announced)
        if size > LARGEST:
            raise Garbled(f"announces tensors of {size} bytes; at most {LARGEST}")
        data, place = self._tensors(message, size, until), 0
        for name, dtype, shape in announced:
            end = place + SIZES[dtype] * math.prod(shape)
            message.tensors[name] = (dtype, unpacked(data[place:end], dtype, shape))
            place = end
        return message

    def _tensors(self, message: Message, size: int, until: float) -> memoryview:
        if not message.get("shared"):
            return memoryview(self._take(size, until))
        if self.shared is None or message.get("shared") != str(size):
            raise Garbled(f"says 'shared {message.get('shared')}' for tensors of {size} bytes")
        return memoryview(self.shared.take(size))[:size]

    def _lines(self, until: float) -> Iterable[tuple[str, str]]:
        while (end := self.waiting.find(b"\n\n")) < 0:
            if b"\n" in self.waiting or len(self.waiting) > HEADER:
                _check_first(bytes(self.waiting[:HEADER]))
            self._more(until)
        text = self._take(end + 2, until)
        _check_first(text)
        for line in text[:-2].decode("utf-8", "replace").split("\n"):
            key, _, words = line.partition(" ")
            yield key, words

    def _take(self, size: int, until: float) -> bytes:
        while len(self.waiting) < size:
            self._more(until)
        taken = bytes(self.waiting[:size])
        del self.waiting[:size]
        return taken

    def _more(self, until: float) -> None:
        _wait(self.reading, select.POLLIN, until)
        found = os.read(self.reading, PIPE)
        if not found:
            raise Gone
        self.waiting += found

    def _write(self, data: bytes, until: float) -> None:
        view = memoryview(data)
        while view:
            _wait(self.writing, select.POLLOUT, until)
            try:
                view = view[os.write(self.writing, view) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise Gone from None


def _check_first(text: bytes) -> None:
    line = text.split(b"\n", 1)[0].decode("utf-8", "replace")
    if line.partition(" ")[0] not in FIRST_WORDS or len(text) >= HEADER:
        raise Garbled(f"begins with {line[:200]!r}, which begins no message of less than {HEADER} bytes")


def _wait(descriptor: int, event: int, until: float) -> None:
    if until == math.inf:
        return
    poll = select.poll()
    poll.register(descriptor, event)
    if not poll.poll(min(max(0.0, until - time.monotonic()) * 1000, LONGEST_WAIT)):
        raise Silent


def _line(name: str, dtype: str, values: Values) -> str:
    return " ".join(["tensor", name.replace(" ", "-"), dtype, *map(str, values.shape)])


def _announced(words: str) -> tuple[str, str, tuple[int, ...]]:
    name, dtype, *sizes = [*words.split(), "", ""][: max(2, len(words.split()))]
    if dtype not in SIZES or not all(size.isdecimal() for size in sizes):
        raise Garbled(f"says 'tensor {words}'; allowed: a name, one of {', '.join(SIZES)}, and sizes")
    return name, dtype, tuple(map(int, sizes))
