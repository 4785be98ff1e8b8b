"""What the judge and a server say to each other, in the messages of `channel`; docs/protocol.md has it in words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from assay.implementations.arrays import Argument
from assay.implementations.channel import SIZES, Message
from assay.implementations.contract import OPERATOR_NAMES, Implementation
from assay.implementations.observe import NO_GRAD, Call, Observation
from assay.implementations.running import WAYS_BACK

VERSION = "1"
GRADIENT = "gradient:"  # before the name of the input that it is of
RESULT, INCOMING = "result", "incoming"
FLAGS = ("watched", *WAYS_BACK, "accumulated", "beside", "mixed", "inferred", "spoilt", "passed", "copied", "stepped")
NUMBERS, NAMES = ("poison", "layer", "part", "frame", "met"), ("together", "setting")
# Fields of a call that are said where they are set.
OPTIONAL = ("recording", *NUMBERS, *FLAGS, *NAMES)
# What the worker says that it knows, besides memory.
KNOWN = ("device", "layout", *OPTIONAL, "changed", "shares", "disturbed")


def greeting(implementation: Implementation, dtypes: tuple[str, ...], **more: object) -> Message:
    """What a server says first: that it speaks this protocol, and what it offers."""
    message = Message()
    message.say("assay", VERSION)
    for operator in implementation.operators:
        message.say("operator", operator)
    for dtype in dtypes:
        message.say("dtype", dtype)
    for device in implementation.devices or ():
        message.say("device", device)
    for key, declared in implementation.precision.items():
        message.say("precision", key, json.dumps(dict(declared)))
    for name in implementation.disturbed:
        message.say("disturbed", name)
    words = {"name": implementation.name, "array": implementation.array, "version": implementation.version}
    words |= {"gradients": yes_or_no(implementation.gradients), "recipe": json.dumps(implementation.recipe), **more}
    for key, word in words.items():
        message.say(key, word)
    return message


def greeted(message: Message, name: str) -> Implementation:
    """The implementation that a server says it is.

    Raises:
        ValueError: the greeting is of another version, or offers nothing that is known.
    """
    if message.lines[:1] != [("assay", VERSION)]:
        first = " ".join(message.lines[0]) if message.lines else ""
        raise ValueError(f"greets with {first!r}; this is 'assay {VERSION}'")
    operators = {operator: _elsewhere(operator) for operator in message.all("operator")}
    unknown = [word for word in operators if word not in OPERATOR_NAMES]
    unknown += [word for word in message.all("dtype") if word not in SIZES]
    if unknown or not operators or not message.all("dtype"):
        what = f"offers {unknown[0]!r}" if unknown else "offers no operator or no dtype"
        raise ValueError(f"{what}; allowed: operator {', '.join(OPERATOR_NAMES)}; dtype {', '.join(SIZES)}")
    precision = dict(line.split(" ", 1) for line in message.all("precision"))
    return Implementation(
        message.get("name", name),
        operators,
        message.get("array", "bytes"),
        {key: json.loads(declared) for key, declared in precision.items()},
        tuple(message.all("device")) or None,
        tuple(message.all("dtype")),
        gradients=message.flag("gradients"),
        recipe=json.loads(message.get("recipe", '""')),
        version=message.get("version"),
        disturbed=tuple(message.all("disturbed")),
    )


def _elsewhere(operator: str) -> Callable[..., Any]:
    def refuse(*arguments: Any) -> Any:
        raise RuntimeError(f"{operator} runs in another process; ask its worker")

    return refuse


def asked(call: Call, memory: str = "") -> Message:
    """A call, as a message. ``memory`` is "new" or "kept" where a sequence of calls shares its tensors."""
    message = Message()
    message.say("call", call.operator)
    message.say("dtype", call.dtype)
    message.say("device", call.device)
    for name, value in call.arguments.items():
        if isinstance(value, Argument):
            _say_tensor(message, name, value, call.dtype)
        else:
            message.say(*_argument(name, value))
    if call.cotangent is not None:
        _say_tensor(message, INCOMING, call.cotangent, call.dtype)
    for name in call.differentiate:
        message.say("differentiate", name)
    optional = {key: getattr(call, key) for key in OPTIONAL}
    for key, value in {**optional, "memory": memory}.items():
        if value not in (None, 0, False, "") or (key == "recording" and value is False):
            message.say(key, yes_or_no(value) if isinstance(value, bool) else value)
    return message


def digest(call: Call) -> bytes:
    """What tells one call from another: every word and every byte of its message."""
    digest = hashlib.sha256(repr(asked(call).lines).encode())
    for argument in (*call.tensors.values(), *([call.cotangent] if call.cotangent else [])):
        digest.update(repr(argument.values.shape).encode())
        digest.update(np.ascontiguousarray(argument.values).data)
    return digest.digest()


def _say_tensor(message: Message, name: str, argument: Argument, dtype: str) -> None:
    message.say("argument", name)
    message.tensors[name] = (dtype, argument.values)
    if argument.layout != "contiguous":
        message.say("layout", name, argument.layout)


def _argument(name: str, value: Any) -> tuple[str, ...]:
    if value is None:
        return ("none", name)
    if isinstance(value, bool):
        return ("flag", name, yes_or_no(value))
    if isinstance(value, int):
        return ("integer", name, str(value))
    if isinstance(value, float):
        return ("number", name, repr(value))
    if isinstance(value, tuple | list):
        return ("integers", name, *map(str, value))
    raise TypeError(f"{name}={value!r}: an argument is a tensor, None, a bool, an int, a float, or a pair of int")


READ: dict[str, Callable[[str], Any]] = {
    "none": lambda words: None,
    "flag": lambda words: words == "yes",
    "integer": int,
    "number": float,
    "integers": lambda words: tuple(map(int, words.split())),
}


def read_call(message: Message) -> Call:
    """The call that a message asks for."""
    layouts = dict(line.split(" ", 1) for line in message.all("layout"))
    given: dict[str, Any] = {}
    for key, words in message.lines:
        name, _, rest = words.partition(" ")
        if key == "argument":
            given[name] = Argument(message.tensors[name][1], layouts.get(name, "contiguous"))
        elif key in READ:
            given[name] = READ[key](rest)
    return Call(
        message.get("call"),
        {name: value for name, value in given.items() if name != INCOMING},
        message.get("dtype"),
        message.get("device", "cpu"),
        given.get(INCOMING),
        tuple(message.all("differentiate")),
        {"no": False, NO_GRAD: NO_GRAD}.get(message.get("recording")),
        in_turn=bool(message.get("memory")),
        **{key: int(message.get(key, "0")) for key in NUMBERS},
        **{key: message.get(key, "") for key in NAMES},
        **{key: message.flag(key) for key in FLAGS},
    )


def answered(seen: Observation) -> Message:
    """An observation, as a message."""
    message = Message()
    message.say("answer")
    words = {"dtype": seen.dtype, "device": seen.device, "fault": seen.fault, "raised": seen.raised}
    for key, word in words.items():
        if word:
            message.say(key, word)
    message.say("seconds", repr(seen.seconds))
    if seen.recorded:
        message.say("recorded", "yes")
    for key, names in (("changed", seen.changed), ("shares", seen.shares), ("disturbed", seen.disturbed)):
        for name in names:
            message.say(key, name)
    for shape in seen.parameters:
        message.say("parameter", *shape)
    if seen.output is not None:
        message.tensors[RESULT] = (travels_as(seen.dtype), seen.output)
    for name, gradient in seen.gradients.items():
        message.say("gradient", name, seen.gradient_dtypes.get(name, ""))
        if gradient is not None:
            message.tensors[GRADIENT + name] = (travels_as(seen.gradient_dtypes[name]), gradient)
    return message


def read_answer(message: Message, call: Call) -> Observation:
    """The observation that a message tells of ``call``."""
    result = message.tensors.get(RESULT)
    seen = Observation(call, result[1] if result else None, message.get("dtype", result[0] if result else ""))
    seen.device, seen.fault = message.get("device", call.device if result else ""), message.get("fault")
    seen.raised, seen.seconds = message.get("raised"), float(message.get("seconds", "0"))
    seen.changed, seen.shares = tuple(message.all("changed")), tuple(message.all("shares"))
    seen.disturbed, seen.recorded = tuple(message.all("disturbed")), message.flag("recorded")
    seen.parameters = [tuple(map(int, words.split())) for words in message.all("parameter")]
    for words in message.all("gradient"):
        name, _, dtype = words.partition(" ")
        seen.gradients[name] = message.tensors.get(GRADIENT + name, (None, None))[1]
        if dtype:
            seen.gradient_dtypes[name] = dtype
    if not (seen.fault or seen.raised or result or seen.parameters or call.operator == "conv2d_parameters"):
        seen.fault = "answered with no tensor called result"
    elif seen.dtype != call.dtype and not seen.fault and result:
        seen.fault = f"returned dtype {seen.dtype} for inputs of dtype {call.dtype}"
    if seen.raised and not seen.fault:
        seen.fault = f"raised {seen.raised}"
    return seen


def travels_as(dtype: str) -> str:
    return dtype if dtype in SIZES else "float64"


def yes_or_no(value: object) -> str:
    return "yes" if value else "no"
