"""The judge's end of a candidate's own process: start it, ask it, outlive it.

A crash, a hang, or memory that runs away is an observation of the call that was being made; then the process is
started again, and the run goes on.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from assay.implementations import protocol
from assay.implementations.arrays import Values
from assay.implementations.channel import Channel, Garbled, Gone, Message, Shared, Silent
from assay.implementations.contract import Implementation
from assay.implementations.load import LoadError, check_precision
from assay.implementations.observe import Call, Observation
from assay.implementations.processes import clean, end, ending, how_it_ended, limit_memory, memory_folder
from assay.implementations.running import calls_in
from assay.implementations.worker import SHARED

WORKER = Path(__file__).with_name("worker.py")
STARTING = 180.0  # seconds in which a process has to greet: some libraries take long to import
PATIENCE = 120.0  # seconds that an operator's hangs and crashes may cost a run; then it is not called again
OUT_OF_MEMORY = re.compile(r"^(raised|ended its process,) .*(MemoryError|bad_alloc|allocate|out of memory)")
REMEMBERED, SMALL = 4096, 2**12  # calls that a process is known to have been asked, and the elements of each
# After a hang: more than a second, and than this many times the longest answered call, or as many times more as one has
# more elements, is a hang, too. What takes less than so many times as long as usual is none.
QUICKER, SLOWER = 20.0, 3.0

# A call, and what was said of the memory of those before it: "new", "kept" or nothing.
Asked = tuple[Call, str]


class GivenUp(Exception):
    """The candidate has hung or crashed so often that it is not asked again; the text says which operator."""


@dataclass(frozen=True)
class Place:
    """Where a candidate runs, and what it may take.

    ``python`` is another interpreter; ``command`` a program that speaks the protocol; ``seconds`` what a call may
    take; ``memory`` the bytes that the process may take beyond what it has after loading, 0 for as many as there are.
    """

    python: str | None = None
    command: str | None = None
    in_process: bool = False
    seconds: float = 60.0
    memory: int = 4 * 2**30


class Worker:
    """A process that answers for a candidate."""

    def __init__(self, arguments: Sequence[str], place: Place, name: str) -> None:
        self.arguments, self.place, self.name = list(arguments), place, name
        self.folder = Path(tempfile.mkdtemp(prefix="assay-", dir=memory_folder()))
        self.errors = self.folder / "errors"
        self.process: subprocess.Popen[bytes] | None = None
        self.longest, self.hung = (0.0, 1), False  # seconds, and elements that were given
        self.met: dict[tuple[str, str, bool], float] = {}  # kinds of calls that have ended, and the last one's seconds
        self.lost: dict[str, float] = defaultdict(float)
        self.fatal: dict[bytes, Observation] = {}
        self.asked: deque[Asked] = deque(maxlen=REMEMBERED)  # of this process, but for what is large
        self.traced = 0.0  # seconds that went into what failures take
        self._finalizer = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.greeting = self._start()

    def implementation(self) -> Implementation:
        """What the process says that it is.

        Raises:
            LoadError: it says nothing that can be understood.
        """
        if self.greeting.get("fault"):
            raise LoadError(self.greeting.get("fault"))
        try:
            found = replace(protocol.greeted(self.greeting, self.name), worker=self)
        except ValueError as problem:
            raise LoadError(f"{self.name}: {problem}; docs/protocol.md has the form{self._last_words()}") from None
        check_precision(found.precision, self.name)
        return found

    @property
    def environment(self) -> str:
        """The versions of what it runs under."""
        return self.greeting.get("environment")

    @property
    def knows(self) -> frozenset[str]:
        """The optional words of the protocol that it heeds, or says."""
        return frozenset([*self.greeting.get("knows").split(), *["memory"] * self.greeting.flag("memory")])

    def observe(self, call: Call) -> Observation:
        """Ask for one call.

        Raises:
            GivenUp: its operator has cost more than `PATIENCE` already, and this is a call that did not.
        """
        return self._known(call) or self._ask(call)

    def observe_in_turn(self, calls: Sequence[Call]) -> tuple[list[Observation], list[Values]]:
        """As `observe.observe_in_turn`. Who keeps no memory between calls is asked for each alone."""
        seen = []
        for call, word in self.in_turn(calls):
            seen.append(self._known(call) or self._ask(call, word))
            if seen[-1].died:
                return seen, []
        memory = self.greeting.flag("memory")
        return seen, self._kept(seen) if memory else [values for each in seen for values in each.arrays()]

    def in_turn(self, calls: Iterable[Call]) -> list[Asked]:
        """Calls on one memory as they are asked, where memory is kept between calls."""
        memory = self.greeting.flag("memory")
        return [(call, ("kept" if number else "new") if memory else "") for number, call in enumerate(calls)]

    def renew(self) -> None:
        """Have a process that has answered nothing yet.

        Raises:
            LoadError: it cannot be started again.
        """
        self._revive(Silent())

    def ask_again(self, asked: Iterable[Asked]) -> list[Observation]:
        """Put calls again, in order, each as it was."""
        return [self._ask(call, memory) for call, memory in asked]

    def device_problem(self, device: str) -> str | None:
        """Why it cannot use a device, or None."""
        if "device" not in self.knows:
            return None if device == "cpu" else "a command runs where it likes; its tensors come from the CPU"
        try:
            return self._exchanged(Message([("device", device)]), STARTING).get("fault") or None
        except (Silent, Gone, Garbled, _Died) as problem:
            return f"asked for it, the candidate {self._what_happened(problem, STARTING)}"

    def close(self) -> None:
        """End the process and everything that it has started."""
        if self.process is not None:
            end(self.process)
            self.process = None

    # --- starting

    def _start(self) -> Message:
        self.close()
        # numpy's own threads would keep the process from having a spare; the candidate's libraries have theirs.
        environment = {"OPENBLAS_NUM_THREADS": "1", **os.environ, SHARED: str(self.folder / "tensors")}
        with self.errors.open("wb") as errors:
            try:
                self.process = subprocess.Popen(
                    self.arguments,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=environment,
                    start_new_session=True,
                )
            except OSError as problem:
                raise LoadError(f"{self.name}: {self.arguments[0]} cannot be started: {problem.strerror}") from None
        self._finalizer.detach()
        self._finalizer = weakref.finalize(self, clean, self.process, self.folder)
        reading, writing = self.process.stdout.fileno(), self.process.stdin.fileno()  # type: ignore[union-attr]
        os.set_blocking(writing, False)
        self.channel = Channel(reading, writing, Shared(str(self.folder / "tensors")))
        return self._hear_greeting()

    def _hear_greeting(self) -> Message:
        self.asked.clear()
        try:
            greeting = self.channel.receive(time.monotonic() + STARTING)
        except Silent:
            raise LoadError(f"{self.name}: said nothing in {STARTING:.0f} s{self._last_words()}") from None
        except Gone:
            how = how_it_ended(self.process)  # type: ignore[arg-type]
            raise LoadError(f"{self.name}: ended before it answered, {how}{self._last_words()}") from None
        except Garbled as problem:
            raise LoadError(f"{self.name}: {problem}; docs/protocol.md has the form{self._last_words()}") from None
        if not greeting.flag("maps"):
            self.channel.shared = None
        self.pid = _number(greeting.get("pid"), self.process.pid)  # type: ignore[union-attr]
        limit_memory(self.pid, self.place.memory)
        return greeting

    def _last_words(self) -> str:
        lines = self.errors.read_text(errors="replace").strip().splitlines()[-3:]
        return "; its last lines of stderr: " + " | ".join(line.strip() for line in lines) if lines else ""

    # --- asking

    def _ask(self, call: Call, memory: str = "") -> Observation:
        start, elements = time.monotonic(), _elements(call)
        if elements <= SMALL:
            self.asked.append((call, memory))
        try:
            seen = _read(self._exchanged(protocol.asked(call, memory), self._limit(call)), call)
        except (Silent, Gone, Garbled, _Died) as problem:
            seen = self.fatal[protocol.digest(call)] = self._dead(call, problem, start)
        else:
            took = time.monotonic() - start
            self.longest, self.met[call.kind] = max(self.longest, (took, max(1, elements))), took / calls_in(call)
        if OUT_OF_MEMORY.search(seen.fault) and self.place.memory:
            seen.fault += f"; its process may take {self.place.memory / 2**30:g} GiB more (--memory-limit)"
        self.met.setdefault(call.kind, 0.0)
        return seen

    def _dead(self, call: Call, problem: Exception, start: float) -> Observation:
        """A call that ended its process, or had it ended; there is a process again."""
        seen = Observation(call, died="hang" if isinstance(problem, Silent) else "crash")
        seen.fault = self._what_happened(problem, time.monotonic() - start)
        self._revive(problem)
        self.hung |= isinstance(problem, Silent)
        self.lost[call.operator] += time.monotonic() - start
        return seen

    def _exchanged(self, message: Message, seconds: float) -> Message:
        until = time.monotonic() + seconds
        self.channel.send(message, until)
        return self._heard(until)

    def _heard(self, until: float) -> Message:
        answer = self.channel.receive(until)
        if answer.lines[0][0] == "died":
            raise _Died(_number(answer.get("died"), -1))
        return answer

    def _limit(self, call: Call) -> float:
        (seconds, answered), usual = self.longest, self.met.get(call.kind, 0.0) * calls_in(call)
        most = max(self.place.seconds, SLOWER * usual)
        quicker = max(1.0, QUICKER * seconds * max(1.0, _elements(call) / answered))
        return min(most, quicker) if self.hung and call.kind in self.met else most  # the first of a kind may compile

    def _known(self, call: Call) -> Observation | None:
        if not self.lost:
            return None
        known = self.fatal.get(protocol.digest(call))
        if known is None and self.lost[call.operator] > PATIENCE:
            spent = f"{self.lost[call.operator]:.0f} s"
            raise GivenUp(f"{call.operator} is not called again: its hangs and crashes have cost {spent}")
        return known and replace(known, call=call)

    def _what_happened(self, problem: Exception, seconds: float) -> str:
        if isinstance(problem, Silent):
            return f"gave no answer in {seconds:.0f} s, and its process was ended"
        if isinstance(problem, Garbled):
            return f"answered with what is no message: it {problem}"
        how = ending(problem.args[0]) if isinstance(problem, _Died) else how_it_ended(self.process)  # type: ignore
        return f"ended its process, {how}{self._last_words()}"

    def _revive(self, problem: Exception) -> None:
        """Have a process again: a spare that greets by itself, or one that is started anew."""
        try:
            if isinstance(problem, Silent) and self.pid != self.process.pid:  # type: ignore[union-attr]
                os.kill(self.pid, signal.SIGKILL)
                self._heard(time.monotonic() + 5.0)
        except _Died as died:
            problem = died
        except (OSError, Silent, Gone, Garbled):
            pass
        if isinstance(problem, _Died):
            with contextlib.suppress(LoadError):
                self.greeting = self._hear_greeting()
                return
        self._start()

    def _kept(self, seen: list[Observation]) -> list[Values]:
        """What the results of these calls hold by now; who dies of being asked has died of the last one."""
        start = time.monotonic()
        try:
            answer = self._exchanged(Message([("kept", "")]), self.place.seconds)
            return [values for _, values in answer.tensors.values()]
        except (Silent, Gone, Garbled, _Died) as problem:
            seen[-1] = self._dead(seen[-1].call, problem, start)
            seen[-1].fault += " (when asked what its results hold)"
            return []


class _Died(Exception):
    """The process that answered has died, and a spare takes its place; the argument is its exit code."""


def _number(words: str, otherwise: int) -> int:
    return int(words) if words.removeprefix("-").isdecimal() else otherwise


def _read(answer: Message, call: Call) -> Observation:
    try:
        return protocol.read_answer(answer, call)
    except ValueError as problem:  # a word where a number belongs
        raise Garbled(f"cannot be read: {problem}") from None


def _elements(call: Call) -> int:
    return sum(argument.values.size for argument in call.tensors.values())


def started(spec: str | None, place: Place) -> Implementation:
    """The candidate in a process of its own.

    Raises:
        LoadError: the process cannot be started, does not greet, or cannot load the candidate.
    """
    if place.command is not None:
        try:
            arguments = shlex.split(place.command)
        except ValueError as problem:
            raise LoadError(f"--command {place.command!r}: {problem}") from None
        if not arguments:
            raise LoadError("--command '': give a program, for example --command ./server")
        return Worker(arguments, place, place.command).implementation()
    python = sys.executable if place.python is None else place.python
    if shutil.which(python) is None:
        raise LoadError(f"--python {python}: there is no such program; give the path of a Python interpreter")
    return Worker([python, str(WORKER), str(spec)], place, str(spec)).implementation()
