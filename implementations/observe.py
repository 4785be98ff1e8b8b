"""One call is one observation: what came back, in plain numbers, and what it did besides.

A `Call` and an `Observation` hold numpy arrays, strings and numbers alone: what could cross to another process.
"""

from __future__ import annotations

import sysconfig
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from assay.implementations import surroundings
from assay.implementations.arrays import Argument, Values, arrays_of
from assay.implementations.contract import Implementation
from assay.implementations.memory import Memory
from assay.implementations.running import made, run

PACKAGE = str(Path(__file__).resolve().parents[1])
ITSELF = "other elements of its own"  # which a result shares its memory with, if it is expanded
STANDARD = sysconfig.get_path("stdlib")
TOLD = 5  # lines of what an exception says
OUTPUT = "standard output"  # which a call may not write to
NO_GRAD = "no_grad"  # where no gradients are recorded, and tensors are what they are otherwise
# Arguments that may be None and stand last: in inference they are given so, as `torch.nn.Linear` does.
NONE_AT_THE_END = ("b", "c")
COPIED = 2**12  # elements up to which copies of two arrays' bytes are the quickest to compare: they fit into a cache


@dataclass(frozen=True)
class Call:
    """An operator by name, its arguments in order, and where and in what dtype it runs."""

    operator: str
    arguments: Mapping[str, Any]  # Argument for tensors, plain values for the rest; None for what is left out
    dtype: str
    device: str
    cotangent: Argument | None = None  # the incoming gradient: asks for the gradients too
    differentiate: tuple[str, ...] = ()
    recording: bool | str | None = None  # of gradients: as it is, in inference (False), or merely off (NO_GRAD)
    poison: int = 0  # elements of NaN to leave in the memory that the result may be given
    watched: bool = False  # for what it does to random numbers, too
    interrupted: bool = False  # by other calls, before it goes back
    visited: bool = False  # before it goes back, by a call of each other operator
    revisited: bool = False  # and by some of this operator, on tensors of other sizes
    twice: bool = False  # it has gone back before, from half of what comes in and from its reverse
    in_turn: bool = False  # on the memory of the call before, if there was one
    inferred: bool = False  # tensors that are new are made in inference mode, too
    spoilt: bool = False  # what it gave is written over with NaN, without a word, and dropped
    passed: bool = False  # its result lives on, and is the first tensor of the next call, written over, if that fits
    copied: bool = False  # deep copies of tensors are written over, not they
    stepped: bool = False  # before all but the first are written over an optimizer has had a step
    mixed: bool = False  # the second tensor is of another dtype
    layer: int = 0  # of this number are all tensors but the first: those of a layer of its own, in one memory
    part: int = 0  # of this number, from 1 on, of the same memory, are all tensors but the first; none if 0
    frame: int = 0  # as ``part``, of the first tensor
    halved: bool = False  # the result is, in place, before going back from twice what comes in
    hidden: bool = False  # the tensors are results of others, and none is a leaf
    residual: bool = False  # another tensor is added to the result: one tensor comes back to both
    checkpointed: bool = False  # it is made once more while going back
    offloaded: bool = False  # what it keeps to go back lies elsewhere meanwhile, and comes back as contiguous copies
    recurrent: bool = False  # it is made on another first tensor, too, and all have other uses: zeros come back there
    elsewhere: bool = False  # another thread goes back, as an engine's own threads do
    sharded: bool = False  # it is made in another thread, as the parts of a batch may be
    stored: bool = False  # what comes back is stored with the inputs, as `backward` does
    late: bool = False  # it goes back when its setting has ended; without one, when garbage has been collected
    broken: bool = False  # it has been broken off before, by a hook that fails on what is kept to go back
    accumulated: bool = False  # the inputs have gradients already, to which nothing is to be added
    beside: bool = False  # it is made in a thread of its own, over and over, while others make it on other numbers
    met: int = 0  # at this line of one on other numbers another thread makes it, if that has so many
    together: str = ""  # how tensors lie in one memory, as `layouts.TOGETHER` says, if they do
    setting: str = ""  # of `settings.SETTINGS`, that PyTorch has meanwhile

    @property
    def tensors(self) -> dict[str, Argument]:
        """The tensor arguments by name."""
        return {name: value for name, value in self.arguments.items() if isinstance(value, Argument)}

    @property
    def is_even(self) -> bool:
        """Whether the sizes of its tensors add up to an even number: so of half of all calls, and of each once more."""
        return sum(sum(tensor.values.shape) for tensor in self.tensors.values()) % 2 == 0

    @property
    def kind(self) -> tuple[str, str, bool]:
        """What a kernel is compiled for: the operator, the dtype, and whether gradients are asked for."""
        return self.operator, self.dtype, self.cotangent is not None

    def dtype_of(self, name: str) -> str:
        """The dtype in which a tensor is given."""
        other = "float32" if self.dtype == "float64" else "float64"
        return other if self.mixed and list(self.tensors)[1:2] == [name] else self.dtype

    def on_other_numbers(self) -> Call:
        """The call, each of whose tensors has its numbers in reverse, negated, and lies in memory as it did."""
        others = {name: replace(each, values=-np.flip(each.values)) for name, each in self.tensors.items()}
        return replace(self, arguments={**self.arguments, **others})

    def arguments_to_give(self) -> dict[str, Any]:
        """All but the last that are None, which take their defaults: in inference biases do not."""
        values = dict(self.arguments)
        while values and next(reversed(values.values())) is None:
            if self.recording is not None and next(reversed(values)) in NONE_AT_THE_END:
                break
            values.popitem()
        return values

    @property
    def parameters(self) -> list[str]:
        """The tensors that are a model's parameters: all but the first, in inference, or in turn where they learn."""
        learn = (self.in_turn or self.recurrent) and self.cotangent is not None
        return list(self.tensors)[1:] if (learn or self.recording is False) and not self.part else []


@dataclass
class Observation:
    """What a call did. ``fault`` says what made its result unreadable, or is empty."""

    call: Call
    output: Values | None = None
    dtype: str = ""
    device: str = ""
    fault: str = ""
    raised: str = ""
    changed: tuple[str, ...] = ()
    shares: tuple[str, ...] = ()
    recorded: bool = False  # whether gradients can be asked of the result
    gradients: dict[str, Values | None] = field(default_factory=dict)
    gradient_dtypes: dict[str, str] = field(default_factory=dict)
    disturbed: tuple[str, ...] = ()
    parameters: list[tuple[int, ...]] = field(default_factory=list)  # the shapes of what conv2d_parameters gave
    died: str = ""  # "crash" or "hang": the process that was asked did not live to answer
    seconds: float = 0.0

    def named(self) -> dict[str, Values]:
        """The result and the gradients, as far as there are any."""
        all_of_them = {"result": self.output, **{f"gradient of {name}": each for name, each in self.gradients.items()}}
        return {name: values for name, values in all_of_them.items() if values is not None}

    def arrays(self) -> list[Values]:
        """As `named`, without the names."""
        return list(self.named().values())


def observe_in_turn(implementation: Implementation, calls: Sequence[Call]) -> tuple[list[Observation], list[Values]]:
    """One call after the other on the same memory, each tensor's new values written over the last call's.

    Returns what was seen, and what the readable results and gradients hold after the last call, in the same order.
    """
    if implementation.worker is not None:
        return implementation.worker.observe_in_turn(calls)
    library, memory = arrays_of(implementation.array), Memory()
    seen = [observe(implementation, call, memory) for call in calls]
    return seen, [library.read(result) for result in memory.results]


def observe(implementation: Implementation, call: Call, memory: Memory | None = None) -> Observation:
    """Make the tensors, call the operator, and note everything that a law may ask for.

    With a ``memory``, tensors are taken from it where they fit, and the result is kept there. Where the candidate has a
    process of its own, that one is asked.
    """
    if implementation.worker is not None:
        return implementation.worker.observe(call)
    if call.operator == "conv2d_parameters":
        return _observe_parameters(implementation, call)
    return _observe(implementation, call, memory)


def _observe(implementation: Implementation, call: Call, memory: Memory | None) -> Observation:
    library = arrays_of(implementation.array)
    arrays = made(call, library, memory)
    incoming = library.make(call.cotangent, call.dtype, call.device) if call.cotangent else None
    given = _given(call, library, arrays, incoming)
    had = _had(call, library, arrays)
    seen = Observation(call)
    before = surroundings.state(call.watched, collecting=call.is_even)
    start = time.perf_counter()
    try:
        result, gradients = run(implementation, call, library, arrays, incoming, before.draw)
        library.synchronise(call.device)
    except Exception as problem:
        seen.raised = type(problem).__name__
        seen.fault, seen.changed = f"raised {_where(problem)}", _written_to(given, library)
        return seen
    finally:
        seen.disturbed = (*implementation.disturbed, *surroundings.restore(before))
    seen.seconds = time.perf_counter() - start
    _describe(seen, result, library, arrays)
    for name, gradient in gradients.items():
        _describe_gradient(seen, name, gradient, library)
    if memory:
        memory.keep(seen, result, gradients, library)
    seen.changed = _written_to(given, library) + _added_to(had, arrays, library)
    return seen


def _given(call: Call, library: Any, arrays: dict[str, Any], incoming: Any) -> list[tuple[str, Any, Argument, int]]:
    """Every tensor of a call by name, what it holds, and how often it was written to."""
    held = [(name, arrays[name], argument) for name, argument in call.tensors.items()]
    held += [("incoming gradient", incoming, call.cotangent)] if call.cotangent else []
    return [(name, array, argument, library.version(array)) for name, array, argument in held]


def _written_to(given: list[tuple[str, Any, Argument, int]], library: Any) -> tuple[str, ...]:
    """Those that hold something else by now, or that were written to and put back."""
    return tuple(
        name
        for name, array, held, version in given
        if library.version(array) != version or not _same(library.read(array), held.values)
    )


def _had(call: Call, library: Any, arrays: dict[str, Any]) -> dict[str, Any]:
    """The gradients that tensors have before: of ones, if the call wants that."""
    have = library.accumulate if call.accumulated else library.accumulated
    return {name: have(arrays[name]) for name in call.differentiate}


def _added_to(had: dict[str, Any], arrays: dict[str, Any], library: Any) -> tuple[str, ...]:
    """The gradients of ones, or none, that tensors ``had`` and that are something else now."""
    return tuple(
        f"{name}.grad"
        for name, grad in had.items()
        if library.accumulated(arrays[name]) is not grad or (grad is not None and (library.read(grad) != 1.0).any())
    )


def _observe_parameters(implementation: Implementation, call: Call) -> Observation:
    """Note the shapes of a layer's learned tensors, of whatever library they are."""
    seen = Observation(call)
    try:
        found = implementation.operators[call.operator](*call.arguments.values())
        if hasattr(found, "shape"):
            seen.fault = f"gave one {type(found).__name__}, not a sequence of tensors"
        else:
            seen.parameters = [tuple(map(int, tensor.shape)) for tensor in found]
    except Exception as problem:
        seen.raised, seen.fault = type(problem).__name__, f"gave no sequence of tensors: {_where(problem)}"
    return seen


def _describe(seen: Observation, result: Any, library: Any, arrays: dict[str, Any]) -> None:
    if not library.is_array(result):
        seen.fault = f"returned {type(result).__name__}, not a plain array of its library"
        return
    seen.dtype, seen.device = library.dtype_of(result), library.device_of(result)
    if not _here(seen.device, seen.call):
        seen.fault = f"returned a tensor on {seen.device} for inputs on {seen.call.device}"
        return  # it may have no values to read
    seen.output = library.read(result)
    seen.shares = tuple(name for name, array in arrays.items() if library.share(result, array))
    seen.shares += (ITSELF,) * library.overlaps(result)
    seen.recorded = library.recorded(result)
    if seen.dtype != seen.call.dtype:
        seen.fault = f"returned dtype {seen.dtype} for inputs of dtype {seen.call.dtype}"


def _here(device: str, call: Call) -> bool:
    return device.split(":")[0] == call.device.split(":")[0]


def _describe_gradient(seen: Observation, name: str, gradient: Any, library: Any) -> None:
    if gradient is None:
        seen.gradients[name] = None
    elif not library.is_array(gradient):
        seen.fault = f"gave {type(gradient).__name__} as the gradient of {name}, not a plain array of its library"
    elif not _here(library.device_of(gradient), seen.call):
        seen.fault = f"gave a gradient of {name} on {library.device_of(gradient)} for inputs on {seen.call.device}"
    else:
        seen.gradients[name] = library.read(gradient)
        seen.gradient_dtypes[name] = library.dtype_of(gradient)


def _same(a: Values, b: Values) -> bool:
    if a.shape != b.shape:
        return False
    small = a.size <= COPIED
    alike = a.tobytes() == b.tobytes() if small else np.array_equal(a.view(np.int64), b.view(np.int64))
    return alike or bool(np.all((a == b) & (np.signbit(a) == np.signbit(b)) | (a != a) & (b != b)))


def _where(problem: Exception) -> str:
    frames = [frame for frame in traceback.extract_tb(problem.__traceback__) if not frame.filename.startswith(PACKAGE)]
    own = [frame for frame in frames if not _of_library(frame.filename)] or frames
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    text = " | ".join([*lines[:TOLD], *["..."] * (len(lines) > TOLD)])
    place = f" ({own[-1].filename.rsplit('/', 1)[-1]}, line {own[-1].lineno})" if own else ""
    when = "".join(f", {note}" for note in getattr(problem, "__notes__", ()))
    return f"{type(problem).__name__}: {text}{place}{when}"


def _of_library(file: str) -> bool:
    """Python's own, or what was installed: the author of a kernel looks for a line elsewhere first."""
    return file.startswith((STANDARD, "<")) or "-packages/" in file
