"""A call in words: each tensor in as few as say it all, and how the operator was called."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.implementations.arrays import Argument
from assay.implementations.beside import OTHERS
from assay.implementations.going_back import EARLIER, THREADS
from assay.implementations.memory import FRAMES, PARTS
from assay.implementations.observe import NO_GRAD, Call
from assay.implementations.running import BETWEEN, VISITS

EXCEPTIONS = 4  # elements that are told one by one, where all others are alike, or finite
BEGINNING = 12  # elements that are shown of a tensor whose numbers differ

# What is said of a call of which it is so, by its fields.
SAID = {
    "interrupted": f"{BETWEEN} calls, on these numbers reversed, times -0.5, in turn with those of all but the first "
    "tensor, before it goes back, each time",
    "visited": "a call of each other operator, on tensors as large as its first, before it goes back",
    "revisited": f"calls of its own operator on tensors of {VISITS} sizes, the last large, before it goes back",
    "stored": "the gradients are what `backward` has stored in the inputs' grad",
    "twice": "it has gone back already (`retain_graph`), from half of the incoming gradient, and from its reverse in "
    "the same memory",
    "halved": "the result is halved in place, and the incoming gradient doubled",
    "hidden": "the tensors are what an activation made of them, the same numbers: a ReLU, or a leaky one with slope 1",
    "residual": "another tensor is added to the result, which is dropped, and one gradient comes back to both",
    "checkpointed": "it is made once more while going back, from a checkpoint; that result is told",
    "offloaded": "what it keeps to go back are contiguous copies, which a hook makes (`saved_tensors_hooks`)",
    "elsewhere": "another thread goes back",
    "broken": "it has been broken off before, by a hook that fails on what is kept, going forward and back",
    "sharded": "a new thread makes it, and another new one goes back, which has made a call before, on its first "
    f"tensor reversed, times -0.5; so have {THREADS} others at once, when the first had ended",
    "late": "it goes back when that has ended, or, where nothing is set, when garbage has been collected twice",
    "recurrent": f"its first tensor is a clone; in one graph with it {EARLIER} calls before and one after on that one "
    "reversed, times -0.5, and clones of all tensors, from which zeros come back",
    "accumulated": "the inputs have gradients already, of ones",
    "passed": "the last result is still held, and is its first tensor, written over, where the shape fits",
    "beside": f"in a thread, while {OTHERS} others call it on these numbers reversed and negated",
}


def inputs(call: Call) -> list[str]:
    """All that the operator was given, and how it was called, a line each."""
    lines = [f"{name} {describe(name, value)}" for name, value in call.arguments.items() if value is not None]
    lines += [f"incoming gradient {describe('incoming', call.cotangent)}"] if call.cotangent else []
    lines += [f"{name} is of {call.dtype_of(name)}" for name in call.tensors if call.dtype_of(name) != call.dtype]
    lines += [f"all but the first tensor are part {call.part} of {PARTS} of one memory"] * bool(call.part)
    lines += [f"all but the first tensor are those of layer {call.layer}"] * bool(call.layer)
    lines += [f"the first tensor is part {call.frame} of {FRAMES} of one memory"] * bool(call.frame)
    lines += [words for flag, words in SAID.items() if getattr(call, flag)]
    some = 0 < len(call.differentiate) < len(call.tensors)
    lines += [f"of {', '.join(call.differentiate)} alone a gradient is asked for"] * some
    frozen = f", and {' and '.join(call.parameters)} are parameters" if len(call.parameters) > 1 else ""
    lines += [f"{', '.join(call.parameters)}: parameters"] * bool(call.parameters and call.cotangent)
    lines += [f"in inference: no gradients are recorded{frozen}"] * (call.recording is False)
    lines += ["no gradients are recorded"] * (call.recording == NO_GRAD)
    lines += ["the tensors are made in inference mode, and written over there"] * call.inferred
    lines += ["the tensors are deep copies of the last call's, which are written over"] * call.copied
    lines += ["its result is written over with NaN, and dropped"] * call.spoilt
    lines += ["an optimizer has a step before all but the first tensor are written over"] * call.stepped
    lines += [f"a thread makes it at line {call.met} of one on these numbers reversed and negated"] * bool(call.met)
    lines += [f"while PyTorch is set to {call.setting}"] * bool(call.setting)
    return lines + [f"all tensors in one memory, {call.together}"] * bool(call.together)


def describe(name: str, value: Any) -> str:
    """A tensor in as few words as say it all, or the beginning of them: "(2, 3): zeros, but x[0, 1] = 1.0"."""
    if not isinstance(value, Argument):
        return f"= {value!r}"
    shape = f"{value.values.shape}{'' if value.layout == 'contiguous' else f', {value.layout}'}"
    values = value.values
    if values.size == 0:
        return shape
    if values.size == 1:
        return f"{shape} = {number(float(values.ravel()[0]))}"
    bits = np.ascontiguousarray(values, np.float64).view(np.int64)  # by which 0 is not -0, and NaN is itself
    usual = _most_frequent(bits)
    others = np.argwhere(bits != usual)
    few = min(EXCEPTIONS if usual == 0 or values.size > BEGINNING else 0, values.size / 2)
    if len(others) <= few:
        words = f"all {number(float(usual.view(np.float64)))}" if usual else "zeros"
        return f"{shape}: {words}{', but ' * bool(len(others))}{_listed(name, values, others)}"
    shown = ", ".join(f"{float(x):.6g}" for x in values.ravel()[:BEGINNING])
    special = np.argwhere(~np.isfinite(values))
    special = special[np.ravel_multi_index(tuple(special.T), values.shape) >= BEGINNING][:EXCEPTIONS]
    more = f", ... {_listed(name, values, special)}".rstrip() if values.size > BEGINNING else ""
    return f"{shape}: {shown}{more}"


def _most_frequent(values: NDArray[np.int64]) -> np.int64:
    """Of several that are as frequent zero, if it is one of them."""
    found, counts = np.unique(values, return_counts=True)
    often: NDArray[np.int64] = found[counts == counts.max()]
    return np.int64(0) if 0 in often else often[0]


def _listed(name: str, values: NDArray[Any], places: NDArray[Any]) -> str:
    return ", ".join(f"{name}{indexed(at)} = {number(float(values[tuple(at)]))}" for at in places)


def number(x: float, digits: str = ".9g") -> str:
    """A number of so many digits, and its hexadecimal form where they do not say it exactly."""
    decimal = f"{x:{digits}}"
    return decimal if not math.isfinite(x) or float(f"{x:.6g}") == x else f"{decimal}  ({hexadecimal(x)})"


def hexadecimal(x: float) -> str:
    """The hexadecimal form without the zeros that say nothing: -0x1.8p+3."""
    return re.sub(r"\.?0*p", "p", x.hex())


def indexed(at: Any) -> str:
    """A place in a tensor as it is written in Python; nothing for a single number's."""
    return f"[{', '.join(str(int(i)) for i in at)}]" if len(at) else ""
