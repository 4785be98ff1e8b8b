"""A script that shows a fault: it makes the inputs bit for bit, calls the candidate, and prints what came back."""

from __future__ import annotations

import base64
import itertools
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from assay.implementations.arrays import Argument, Values
from assay.implementations.beside import OTHERS
from assay.implementations.contract import completed
from assay.implementations.layouts import places_together, same_tensors, strides_of
from assay.implementations.observe import PARTS, Call
from assay.implementations.running import BETWEEN, NEIGHBOURS
from assay.implementations.settings import written

SPELLED_OUT = 64  # elements that are written as hexadecimal floats; longer tensors are packed
TURNED = "-0.5 * {0}.flip(tuple(range({0}.ndim)))"  # a tensor, as `TorchArrays.turned` has it
FEW = 8  # elements of a longer one, all others zero, that are written with their places


def script(recipe: str, array: str, calls: Sequence[Call], verdict: str, element: str = "") -> str:
    """Lines of Python that make these calls, and need only the candidate and its array library.

    ``element`` is which one of what comes back is wrong, as Python writes it: "[0, 2]", or "['x'][0]" of a gradient.
    """
    lines = ["import numpy as np", "import torch"] if array == "torch" else ["import numpy as np"]
    if any(_is_packed(value.values) for call in calls for value in _tensors(call)):
        lines += ["import base64, zlib"]
    lines += recipe.splitlines()
    lines += ["kept = []"] if calls[-1].in_turn else []
    made: dict[str, tuple[int, ...]] = {}
    each: list[list[str]] = []
    for call in calls:
        each.append(_call_lines(call, array, made if call.in_turn else {}))
        made = {name: value.values.shape for name, value in call.tensors.items()}
    for alike, times in itertools.groupby(each):
        count = len(list(times))
        lines += alike if count == 1 else [f"for _ in range({count}):", *(f"    {line}" for line in alike)]
    lines += ["print('after the last call:', *kept, sep='\\n')"] if calls[-1].in_turn else []
    if element and not calls[-1].beside:
        pair = "[1]" * (array == "torch" and calls[-1].cotangent is not None)  # a result, and gradients
        found = f"kept[-1]{pair}" if calls[-1].in_turn else "found"
        lines.append(f"print('the wrong element:', {found}{element}.item())")
    return "\n".join([*lines, *(f"# {line}" for line in verdict.splitlines())])


def _call_lines(call: Call, array: str, made: Mapping[str, tuple[int, ...]]) -> list[str]:
    """One call; of the tensors that are ``made`` already, those that fit are written over."""
    lines = _tensor_lines(call, array, made)
    lines += _put_together(call, array) if call.together else []
    if array == "torch":
        new = [name for name in call.parameters if made.get(name) != call.tensors[name].values.shape]
        lines += [f"{name} = torch.nn.Parameter({name}, requires_grad=False)" for name in new]
    given = call.arguments_to_give()
    arguments = [name if isinstance(value, Argument) else repr(value) for name, value in given.items()]
    if call.beside:
        return lines + _beside_lines(call, arguments, array)
    if call.cotangent is None:
        in_inference = array == "torch" and call.recording is not None
        mode = f"with torch.{call.recording or 'inference_mode'}():"
        unrecorded = f"{mode} " if in_inference and call.in_turn else ""
        shown = _shown(f"candidate.{call.operator}({', '.join(arguments)})", call, unrecorded)
        lines += written(call.setting, shown) if array == "torch" and call.setting else shown
        within = in_inference and not call.in_turn
        return [mode, *(f"    {line}" for line in lines)] if within else lines
    return lines + _gradient_lines(call, arguments, array)


def _tensor_lines(call: Call, array: str, made: Mapping[str, tuple[int, ...]]) -> list[str]:
    lines: list[str] = []
    for number, (name, value) in enumerate(call.tensors.items()):
        again = made.get(name) == value.values.shape
        if call.part and number:
            lines += [] if again else _made(f"{name}s", Argument(np.zeros((PARTS, *value.values.shape))), call, array)
            lines += [f"{name} = {name}s[{call.part - 1}]"]
        if again or (call.part and number):
            lines += _written_over(name, value, array)
        else:
            lines += _made(name, value, replace(call, dtype=call.dtype_of(name), mixed=False), array)
    return lines


def _shown(answer: str, call: Call, under: str = "") -> list[str]:
    """Print what came back; of a sequence it is kept, to be printed again."""
    if call.in_turn:
        return [f"{under}kept.append({answer})", "print(kept[-1])"]
    return [f"found = {answer}", "print(found)"]


def _put_together(call: Call, array: str) -> list[str]:
    shapes = {name: each.values.shape for name, each in call.tensors.items()}
    (size, places), (first, *_) = places_together(shapes, call.together), shapes
    if array == "torch":
        lines = [f"memory = torch.full(({size},), float('nan'), dtype={first}.dtype, device={first}.device)"]
    else:
        lines = [f"memory = np.full({size}, np.nan, {first}.dtype)"]
    whole = same_tensors(call.together) if call.cotangent is None else {}
    for name, (offset, strides) in places.items():
        other, turned = whole.get(name, ("", True))
        if not turned:
            lines.append(f"{name} = {other}")
        elif array == "torch":
            lines.append(f"{name} = memory.as_strided({shapes[name]}, {strides}, {offset}).copy_({name})")
        else:
            steps = f"[step * memory.itemsize for step in {strides}]"
            lines.append(f"part = np.lib.stride_tricks.as_strided(memory[{offset}:], {shapes[name]}, {steps})")
            lines.append(f"part[...], {name} = {name}, part")
    return lines


def _written_over(name: str, argument: Argument, array: str) -> list[str]:
    values = _array(argument)
    return [f"{name}.data.copy_(torch.tensor({values}))" if array == "torch" else f"{name}[...] = {values}"]


def _gradient_lines(call: Call, arguments: list[str], array: str) -> list[str]:
    assert call.cotangent is not None
    lines = _made("incoming", call.cotangent, call, array)
    if array != "torch":
        given = _named(_all_arguments(call, arguments))
        return [*lines, *_shown(f"candidate.vjp({call.operator!r}, {{{given}}}, incoming)", call)]
    lines += [f"{name}.requires_grad_()" for name in call.differentiate]
    lines += [f"{name}.grad = torch.ones_like({name})" for name in call.differentiate if call.accumulated]
    copies = [f"{text}.clone()" if call.hidden and text in call.tensors else text for text in arguments]
    run = f"candidate.{call.operator}({', '.join(copies)})"
    made = [f"result = {run}"]
    if call.checkpointed:
        lines += ["import torch.utils.checkpoint"]
        run = f"torch.utils.checkpoint.checkpoint(lambda: {run}, use_reentrant=False)"
        made = ["with torch.utils.checkpoint.set_checkpoint_early_stop(False):", f"    result = {run}"]
    if call.offloaded:
        copied = "lambda kept: kept.detach().clone(memory_format=torch.contiguous_format)"
        hooks = f"with torch.autograd.graph.saved_tensors_hooks({copied}, lambda kept: kept):"
        made = [hooks, *(f"    {line}" for line in made)]
    asked = [*made, *_going_back(call, arguments)]
    return lines + (written(call.setting, asked) if call.setting else asked)


def _all_arguments(call: Call, arguments: list[str]) -> dict[str, Any]:
    """By name, as a ``vjp`` is given them: with the defaults of those that the call leaves out."""
    told = zip(call.arguments, arguments, strict=False)
    return completed(call.operator, {name: text for name, text in told if text != "None"})


def _named(texts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name!r}: {text}" for name, text in texts.items())


def _going_back(call: Call, arguments: list[str]) -> list[str]:
    """From ``result``, after whatever is done before."""
    first, *others = arguments
    names, results, incomings, lines = ", ".join(call.differentiate), "result", "incoming", list[str]()
    if call.recurrent:
        lines.append(f"other = candidate.{call.operator}({', '.join((TURNED.format(first), *others))})")
        results, incomings = "[result, other]", "[incoming, torch.zeros_like(other)]"
    lines += _calls_in_between(call, arguments) if call.interrupted else []
    lines += _calls_of_others(call) if call.visited or call.revisited else []
    if call.twice:
        lines += ["half = 0.5 * incoming", f"torch.autograd.grad(result, [{names}], half, retain_graph=True)"]
        lines += _calls_in_between(call, arguments) if call.interrupted else []
        lines += ["if half.stride() == incoming.stride():", "    half.data.copy_(incoming)", "    incoming = half"]
    lines += ["result.mul_(0.5)", "incoming = 2.0 * incoming"] * call.halved
    grad = f"torch.autograd.grad({results}, [{names}], {incomings})"
    if call.elsewhere:
        lines += ["from concurrent.futures import ThreadPoolExecutor"]
        grad = f"ThreadPoolExecutor(1).submit(lambda: {grad}).result()"
    back = f"dict(zip({list(call.differentiate)!r}, {grad}))"
    return lines + _shown(f"(result, {back})" if call.in_turn else back, call)


def _beside_lines(call: Call, arguments: list[str], array: str) -> list[str]:
    """All that a call gives between whose lines another thread makes another, and beside which others are made."""
    mode = f"torch.{call.recording or 'inference_mode'}()" if array == "torch" and call.recording is not None else ""
    turned = "-{0}.flip(tuple(range({0}.ndim)))" if array == "torch" else "-np.flip({0})"
    others = [turned.format(each) if each in call.tensors else each for each in arguments]
    lines = _made("incoming", call.cotangent, call, array) if call.cotangent else []
    lines += [f"{name}.requires_grad_()" for name in call.differentiate if array == "torch"]
    return [
        *lines,
        "import contextlib, sys",
        "from concurrent.futures import ThreadPoolExecutor, wait",
        "def run(*given):",
        f"    with {mode or 'contextlib.nullcontext()'}:",
        f"        return {_answer(call, arguments, array)}",
        "def step(frame, event, argument):",
        "    if event == 'line':",
        "        wait([pool.submit(run, *others)], 1)",
        "    return step",
        f"mine, others = ({', '.join(arguments)},), ({', '.join(others)},)",
        f"with ThreadPoolExecutor({1 + OTHERS}) as pool:",
        "    sys.settrace(step)",
        "    try:",
        "        found = [run(*mine)]",
        "    finally:",
        "        sys.settrace(None)",
        "    later = [pool.submit(run, *(others if k % 3 else mine)) for k in range(300)]",
        "print(*{str(each) for each in [*found, *(one.result() for one in later[::3])]}, sep='\\n')",
    ]


def _answer(call: Call, arguments: list[str], array: str) -> str:
    """What is asked of the candidate, ``given`` its arguments in order."""
    if call.cotangent is None:
        return f"candidate.{call.operator}(*given)"
    names = list(call.arguments)
    if array != "torch":
        texts = _all_arguments(call, arguments) | {name: f"given[{names.index(name)}]" for name in call.tensors}
        return f"candidate.vjp({call.operator!r}, {{{_named(texts)}}}, incoming)"
    places = [names.index(name) for name in call.differentiate]
    return f"torch.autograd.grad(candidate.{call.operator}(*given), [given[k] for k in {places}], incoming)"


def _calls_in_between(call: Call, arguments: list[str]) -> list[str]:
    first, *_ = call.tensors
    others = [TURNED.format(each) if each in call.tensors else each for each in arguments]
    shared = [text if each == first else each for each, text in zip(arguments, others, strict=True)]
    run = f"candidate.{call.operator}(*(({', '.join(shared)},) if k % 2 else ({', '.join(others)},)))"
    return [f"for k in range({BETWEEN}):  # other calls, before it goes back", f"    {run}"]


def _calls_of_others(call: Call) -> list[str]:
    first, *_ = call.tensors
    asked = {name: call.revisited if name == call.operator else call.visited for name in NEIGHBOURS}
    given = {name: tensors for name, tensors in NEIGHBOURS.items() if asked[name]}
    seven = f"torch.full(each, 7.0, dtype={first}.dtype, device={first}.device, requires_grad=True)"
    return [
        f"for name, given in {given}.items():  # and other operators, or this one on other tensors",
        "    if hasattr(candidate, name):",
        f"        getattr(candidate, name)(*({seven} if isinstance(each, tuple) else each for each in given))",
    ]


def _tensors(call: Call) -> list[Argument]:
    return [value for value in (*call.arguments.values(), call.cotangent) if isinstance(value, Argument)]


def _made(name: str, argument: Argument, call: Call, array: str) -> list[str]:
    shape = argument.values.shape
    values = _array(argument)
    size, strides, offset = strides_of(shape, argument.layout)
    plain = argument.layout == "contiguous"
    if array != "torch":
        made = [f"{name} = {values}.astype({call.dtype!r})"]
        return made if plain else [*made, *_numpy_view(name, shape, size, strides, offset, call.dtype)]
    where = f"dtype=torch.{call.dtype}, device={call.device!r}"
    if plain:
        return [f"{name} = torch.tensor({values}, {where})"]
    view = f"np.lib.stride_tricks.as_strided(memory[{offset}:], {shape}, {[8 * step for step in strides]})"
    return [
        f"memory = np.full({size}, np.nan)  # {argument.layout}",
        f"{view}[...] = {values}",
        f"{name} = torch.tensor(memory, {where}).as_strided({shape}, {strides}, {offset})",
    ]


def _numpy_view(name: str, shape: Any, size: int, strides: Any, offset: int, dtype: str) -> list[str]:
    itemsize = np.dtype(dtype).itemsize
    steps = tuple(step * itemsize for step in strides)
    memory = f"np.full({size}, np.nan, {dtype!r})[{offset}:]"
    return [
        f"view = np.lib.stride_tricks.as_strided({memory}, {shape}, {steps})",
        f"view[...] = {name}",
        f"{name} = view",
    ]


def _array(argument: Argument) -> str:
    values = argument.values
    if _is_of_one_number(values):
        return f"np.full({values.shape}, {_literal(float(values.flat[0]))})"
    return f"np.array({_values(values)}).reshape({values.shape})"


def _is_of_one_number(values: Values) -> bool:
    first = values.ravel()[:1]
    return values.size > 1 and np.all(values == first) and np.all(np.signbit(values) == np.signbit(first))


def _is_of_few_numbers(values: Values) -> bool:
    """Whether it is zeros but for a few elements; a negative zero is none of these."""
    return values.size > SPELLED_OUT and np.count_nonzero(values) <= FEW and not np.signbit(values[values == 0]).any()


def _is_packed(values: Values) -> bool:
    return values.size > SPELLED_OUT and not _is_of_one_number(values) and not _is_of_few_numbers(values)


def _values(values: Values) -> str:
    flat = np.ascontiguousarray(values).ravel()
    if _is_of_few_numbers(values):
        at = np.flatnonzero(flat).tolist()
        return f"np.bincount({at}, [{', '.join(_literal(float(flat[k])) for k in at)}], {flat.size})"
    if _is_packed(values):
        with np.errstate(over="ignore"):
            kind = "<f4" if np.array_equal(flat.astype("<f4"), flat, equal_nan=True) else "<f8"
        packed = base64.b64encode(zlib.compress(flat.astype(kind).tobytes(), 1)).decode()
        return f"np.frombuffer(zlib.decompress(base64.b64decode({packed!r})), {kind!r})"
    return "[" + ", ".join(_literal(float(x)) for x in flat) + "]"


def _literal(x: float) -> str:
    short = repr(x)
    if len(short) <= 8 and "n" not in short:
        return short
    return f"float.fromhex({x.hex()!r})" if math.isfinite(x) else f"float({short!r})"
