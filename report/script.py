"""A script that shows a fault: it makes the inputs bit for bit, calls the candidate, and prints what came back."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from assay.implementations.arrays import Argument
from assay.implementations.beside import OTHERS
from assay.implementations.layouts import FUSED, places_together, same_tensors, slices_of_fused
from assay.implementations.memory import FRAMES, PARTS
from assay.implementations.observe import Call
from assay.implementations.running import is_of_a_view
from assay.implementations.settings import written
from assay.report.script_back import all_arguments, gradient_lines, named, shown_lines
from assay.report.tensors import binding, is_packed, numbers


def script(
    recipe: str, array: str, calls: Sequence[Call], verdict: str, element: str = "", by_vjp: bool = False
) -> str:
    """Lines of Python that make these calls, and need only the candidate and its array library.

    ``element`` is which one of what comes back is wrong, as Python writes it: "[0, 2]", or "['x'][0]" of a gradient.
    """
    by_vjp = by_vjp or array != "torch"
    lines = ["import numpy as np", "import torch"] if array == "torch" else ["import numpy as np"]
    if any(is_packed(value.values) for call in calls for value in _tensors(call)):
        lines += ["import base64, zlib"]
    lines += recipe.splitlines()
    lines += ["kept = []"] if calls[-1].in_turn else []
    made: dict[str, tuple[int, ...]] = {}
    each: list[list[str]] = []
    for call in calls:
        each.append(_call_lines(call, array, made if call.in_turn else {}, by_vjp))
        made |= {_own(name, call): each.values.shape for name, each in call.tensors.items()}
    for alike, times in itertools.groupby(each):
        count = len(list(times))
        lines += alike if count == 1 else [f"for _ in range({count}):", *(f"    {line}" for line in alike)]
    lines += ["print('after the last call:', *kept, sep='\\n')"] if calls[-1].in_turn else []
    if element and not (calls[-1].beside or calls[-1].met or calls[-1].spoilt):
        pair = "[1]" * (not by_vjp and calls[-1].cotangent is not None)  # a result, and gradients
        found = f"kept[-1]{pair}" if calls[-1].in_turn else "found"
        lines.append(f"print('the wrong element:', {found}{element}.item())")
    return "\n".join([*lines, *(f"# {line}" for line in verdict.splitlines())])


def _call_lines(call: Call, array: str, made: Mapping[str, tuple[int, ...]], by_vjp: bool) -> list[str]:
    """One call; of the tensors that are ``made`` already, those that fit are written over."""
    lines = _all_tensors(call, array, made)
    lines += _put_together(call, array) if call.together else []
    if array == "torch":
        new = [name for name in call.parameters if made.get(_own(name, call)) != call.tensors[name].values.shape]
        parameters = [f"{name} = torch.nn.Parameter({name}, requires_grad=False)" for name in new]
        lines += _in_inference(parameters, call.inferred)
    lines += [f"{_own(name, call)} = {name}" for name in list(call.tensors)[1:] if call.layer]
    given = call.arguments_to_give()
    arguments = [name if isinstance(value, Argument) else repr(value) for name, value in given.items()]
    if call.beside or call.met:
        return lines + _beside_lines(call, arguments, array, by_vjp)
    if call.cotangent is None:
        arguments[0] += "[...]" * is_of_a_view(call)
        in_inference = array == "torch" and call.recording is not None
        mode = f"with torch.{call.recording or 'inference_mode'}():"
        unrecorded = f"{mode} " if in_inference and call.in_turn else ""
        alias = ".detach()" if array == "torch" and call.in_turn else ""  # which does not hold the result itself
        asked = f"candidate.{call.operator}({', '.join(arguments)})"
        if call.passed:
            lines, asked = [*lines, f"{unrecorded}passed_on = {asked}"], "passed_on"
        shown = _spoilt(asked, array, unrecorded) if call.spoilt else shown_lines(asked + alias, call, unrecorded)
        lines += written(call.setting, shown) if array == "torch" and call.setting else shown
        within = in_inference and not call.in_turn
        return [mode, *(f"    {line}" for line in lines)] if within else lines
    return lines + gradient_lines(call, arguments, array, by_vjp)


def _spoilt(answer: str, array: str, under: str) -> list[str]:
    """Print what came back, write it over, without a word, and drop it."""
    spoil = "found.data.fill_(float('nan'))" if array == "torch" else "if found.flags.writeable: found[...] = np.nan"
    return [f"{under}found = {answer}", "print(found)", f"{under}{spoil}", "del found"]


def _own(name: str, call: Call) -> str:
    """What a tensor of this layer is called."""
    return f"{name}_{call.layer}" if call.layer and name != next(iter(call.tensors)) else name


def _all_tensors(call: Call, array: str, made: Mapping[str, tuple[int, ...]]) -> list[str]:
    lines: list[str] = []
    for number, (name, value) in enumerate(call.tensors.items()):
        again = made.get(_own(name, call)) == value.values.shape
        lines += [f"{name} = {_own(name, call)}"] * bool(again and number and call.layer)
        if part := call.part if number else call.frame:
            count = PARTS if number else FRAMES
            if not again:
                lines += binding(f"{name}s", Argument(np.zeros((count, *value.values.shape))), call, array)
                own = f"{name}s = torch.nn.Parameter({name}s, requires_grad=False)"
                lines += [own] * bool(number and array == "torch")
            lines += [f"{name} = {name}s[{part - 1}]"]
        passed_on = call.passed and number == 0 and bool(made)
        if not (again or part):
            lines += _new(name, call, array)
        if again or part or passed_on:
            lines += _passed_on(name, value.values.shape, array) if passed_on else []
            lines += _copy(name, array) if again and not part and call.copied else []
            lines += _step(name) if again and number and array == "torch" and call.stepped else []
            lines += _in_inference(_written_over(name, value, array), array == "torch" and call.recording is False)
    return lines


def _new(name: str, call: Call, array: str) -> list[str]:
    """A tensor that is made for the call."""
    made = binding(name, call.tensors[name], replace(call, dtype=call.dtype_of(name), mixed=False), array)
    return _in_inference(made, array == "torch" and call.inferred)


def _passed_on(name: str, shape: tuple[int, ...], array: str) -> list[str]:
    """The last result itself, if it has this shape."""
    fits = f"passed_on.shape == {shape}" + (" and passed_on.flags.writeable" if array == "numpy" else "")
    return [f"{name} = passed_on if {fits} else {name}"]


def _copy(name: str, array: str) -> list[str]:
    copied = f"copy.deepcopy({name})" if array == "torch" else f"{name}.copy()"
    return ["import copy", f"{name}_before, {name} = {name}, {copied}"]


def _step(name: str) -> list[str]:
    """An optimizer's, which changes nothing."""
    made = f"{name}.grad = torch.zeros_like({name})"
    return [made, f"torch.optim.SGD([{name}]).step()", f"{name}.grad = None"]


def _in_inference(lines: list[str], on: bool) -> list[str]:
    return ["with torch.inference_mode():", *(f"    {line}" for line in lines)] if on and lines else lines


def _put_together(call: Call, array: str) -> list[str]:
    shapes = {name: each.values.shape for name, each in call.tensors.items()}
    if call.together in FUSED:
        return _fused(call, shapes, array)
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


def _fused(call: Call, shapes: Mapping[str, tuple[int, ...]], array: str) -> list[str]:
    lines = []
    for shape, places in slices_of_fused(shapes, call.together):
        first, *_ = places
        where = f", device={first}.device" if array == "torch" else ""
        lines.append(f"fused = {'torch' if array == 'torch' else 'np'}.empty({shape}, dtype={first}.dtype{where})")
        ends = {name: "" if part.stop is None else part.stop for name, part in places.items()}
        rows = {name: f"fused[{part.start}:{ends[name]}:{part.step or 1}]" for name, part in places.items()}
        lines += [f"{text} = {name}" for name, text in rows.items()]
        lines.append(f"{', '.join(rows)} = {', '.join(rows.values())}")
    return lines


def _written_over(name: str, argument: Argument, array: str) -> list[str]:
    values = numbers(argument)
    return [f"{name}.data.copy_(torch.tensor({values}))" if array == "torch" else f"{name}[...] = {values}"]


def _beside_lines(call: Call, arguments: list[str], array: str, by_vjp: bool) -> list[str]:
    """All that a call gives between whose lines another thread makes another, and beside which others are made; or that
    another thread makes at a line of the first one."""
    mode = f"torch.{call.recording or 'inference_mode'}()" if array == "torch" and call.recording is not None else ""
    turned = "-{0}.flip(tuple(range({0}.ndim)))" if array == "torch" else "-np.flip({0})"
    others = [turned.format(each) if each in call.tensors else each for each in arguments]
    lines = binding("incoming", call.cotangent, call, array) if call.cotangent else []
    lines += [f"{name}.requires_grad_()" for name in call.differentiate if not by_vjp]
    lines += [
        "import contextlib, itertools, sys",
        "from concurrent.futures import ThreadPoolExecutor, wait",
        "def run(*given):",
        f"    with {mode or 'contextlib.nullcontext()'}:",
        f"        return {_answer(call, arguments, by_vjp)}",
        f"mine, others = ({', '.join(arguments)},), ({', '.join(others)},)",
    ]
    return lines + (_met_lines(call.met) if call.met else BESIDE)


# Between the lines of a call, and beside it.
BESIDE = [
    "def step(frame, event, argument):",
    "    if event == 'line':",
    "        wait([pool.submit(run, *others)], 1)",
    "    return step",
    f"with ThreadPoolExecutor({1 + OTHERS}) as pool:",
    "    sys.settrace(step)",
    "    try:",
    "        found = [run(*mine)]",
    "    finally:",
    "        sys.settrace(None)",
    "    later = [pool.submit(run, *(others if k % 3 else mine)) for k in range(300)]",
    "print(*{str(each) for each in [*found, *(one.result() for one in later[::3])]}, sep='\\n')",
]


def _met_lines(line: int) -> list[str]:
    """The first call is the other one, at a line of whose own another thread makes this one."""
    return [
        "lines, made = itertools.count(1), []",
        "def step(frame, event, argument):",
        "    name = frame.f_globals.get('__name__', '').partition('.')[0]",
        "    if name in sys.stdlib_module_names | {'torch', 'numpy', __name__}:",
        "        return None",
        f"    if event == 'line' and next(lines) == {line}:",
        "        made.append(pool.submit(run, *mine))",
        "        wait(made, 1)",
        "    return step",
        "with ThreadPoolExecutor(1) as pool:",
        "    sys.settrace(step)",
        "    try:",
        "        run(*others)",
        "    finally:",
        "        sys.settrace(None)",
        "    print((made or [pool.submit(run, *mine)])[0].result())",
    ]


def _answer(call: Call, arguments: list[str], by_vjp: bool) -> str:
    """What is asked of the candidate, ``given`` its arguments in order."""
    if call.cotangent is None:
        return f"candidate.{call.operator}(*given)"
    names = list(call.arguments)
    if by_vjp:
        texts = all_arguments(call, arguments) | {name: f"given[{names.index(name)}]" for name in call.tensors}
        return f"candidate.vjp({call.operator!r}, {{{named(texts)}}}, incoming)"
    places = [names.index(name) for name in call.differentiate]
    return f"torch.autograd.grad(candidate.{call.operator}(*given), [given[k] for k in {places}], incoming)"


def _tensors(call: Call) -> list[Argument]:
    return [value for value in (*call.arguments.values(), call.cotangent) if isinstance(value, Argument)]
