"""A script that shows a fault: it makes the inputs bit for bit, calls the candidate, and prints what came back."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from assay.implementations.arrays import Argument
from assay.implementations.beside import OTHERS
from assay.implementations.contract import completed
from assay.implementations.going_back import BROKEN_OFF
from assay.implementations.layouts import places_together, same_tensors
from assay.implementations.memory import PARTS
from assay.implementations.observe import Call
from assay.implementations.running import is_of_a_view, neighbours, turns
from assay.implementations.settings import written
from assay.report.tensors import binding, is_packed, numbers

# A tensor, as `turned` of its library has it.
TURNED = {"torch": "-0.5 * {0}.flip(tuple(range({0}.ndim)))", "numpy": "-0.5 * np.flip({0})"}


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
        made = {name: value.values.shape for name, value in call.tensors.items()}
    for alike, times in itertools.groupby(each):
        count = len(list(times))
        lines += alike if count == 1 else [f"for _ in range({count}):", *(f"    {line}" for line in alike)]
    lines += ["print('after the last call:', *kept, sep='\\n')"] if calls[-1].in_turn else []
    if element and not calls[-1].beside:
        pair = "[1]" * (not by_vjp and calls[-1].cotangent is not None)  # a result, and gradients
        found = f"kept[-1]{pair}" if calls[-1].in_turn else "found"
        lines.append(f"print('the wrong element:', {found}{element}.item())")
    return "\n".join([*lines, *(f"# {line}" for line in verdict.splitlines())])


def _call_lines(call: Call, array: str, made: Mapping[str, tuple[int, ...]], by_vjp: bool) -> list[str]:
    """One call; of the tensors that are ``made`` already, those that fit are written over."""
    lines = _all_tensors(call, array, made)
    lines += _put_together(call, array) if call.together else []
    if array == "torch":
        new = [name for name in call.parameters if made.get(name) != call.tensors[name].values.shape]
        parameters = [f"{name} = torch.nn.Parameter({name}, requires_grad=False)" for name in new]
        lines += _in_inference(parameters, call.inferred)
    given = call.arguments_to_give()
    arguments = [name if isinstance(value, Argument) else repr(value) for name, value in given.items()]
    if call.beside:
        return lines + _beside_lines(call, arguments, array, by_vjp)
    if call.cotangent is None:
        arguments[0] += "[...]" * is_of_a_view(call)
        in_inference = array == "torch" and call.recording is not None
        mode = f"with torch.{call.recording or 'inference_mode'}():"
        unrecorded = f"{mode} " if in_inference and call.in_turn else ""
        alias = ".detach()" if array == "torch" and call.in_turn else ""  # which does not hold the result itself
        shown = _shown(f"candidate.{call.operator}({', '.join(arguments)}){alias}", call, unrecorded)
        lines += written(call.setting, shown) if array == "torch" and call.setting else shown
        within = in_inference and not call.in_turn
        return [mode, *(f"    {line}" for line in lines)] if within else lines
    return lines + _gradient_lines(call, arguments, array, by_vjp)


def _all_tensors(call: Call, array: str, made: Mapping[str, tuple[int, ...]]) -> list[str]:
    lines: list[str] = []
    for number, (name, value) in enumerate(call.tensors.items()):
        again = made.get(name) == value.values.shape
        if part := call.part if number else call.frame:
            lines += [] if again else binding(f"{name}s", Argument(np.zeros((PARTS, *value.values.shape))), call, array)
            lines += [f"{name} = {name}s[{part - 1}]"]
        if again or part:
            lines += _copy(name, array) if again and not part and call.copied else []
            lines += _step(name) if again and number and array == "torch" and call.stepped else []
            lines += _in_inference(_written_over(name, value, array), array == "torch" and call.recording is False)
        else:
            new = binding(name, value, replace(call, dtype=call.dtype_of(name), mixed=False), array)
            lines += _in_inference(new, array == "torch" and call.inferred)
    return lines


def _copy(name: str, array: str) -> list[str]:
    copied = f"copy.deepcopy({name})" if array == "torch" else f"{name}.copy()"
    return ["import copy", f"{name}_before, {name} = {name}, {copied}"]


def _step(name: str) -> list[str]:
    """An optimizer's, which changes nothing."""
    made = f"{name}.grad = torch.zeros_like({name})"
    return [made, f"torch.optim.SGD([{name}]).step()", f"{name}.grad = None"]


def _in_inference(lines: list[str], on: bool) -> list[str]:
    return ["with torch.inference_mode():", *(f"    {line}" for line in lines)] if on and lines else lines


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
    values = numbers(argument)
    return [f"{name}.data.copy_(torch.tensor({values}))" if array == "torch" else f"{name}[...] = {values}"]


def _gradient_lines(call: Call, arguments: list[str], array: str, by_vjp: bool) -> list[str]:
    assert call.cotangent is not None
    lines = binding("incoming", call.cotangent, call, array)
    if by_vjp:
        asked = _vjp_lines(call, arguments, array)
        return lines + (written(call.setting, asked) if array == "torch" and call.setting else asked)
    lines += [f"{name}.requires_grad_()" for name in call.differentiate]
    lines += [f"{name}.grad = torch.ones_like({name})" for name in call.differentiate if call.accumulated]
    copies = [f"{text}.clone()" if call.hidden and text in call.tensors else text for text in arguments]
    run = f"candidate.{call.operator}({', '.join(copies)})"
    lines += _broken_off(run, ", ".join(call.differentiate)) if call.broken else []
    made = [f"result = {run}"]
    if call.checkpointed:
        lines += ["import torch.utils.checkpoint"]
        run = f"torch.utils.checkpoint.checkpoint(lambda: made.append({run}) or made[-1], use_reentrant=False)"
        made = ["made = []", "with torch.utils.checkpoint.set_checkpoint_early_stop(False):", f"    result = {run}"]
    if call.offloaded:
        copied = "lambda kept: kept.detach().clone(memory_format=torch.contiguous_format)"
        hooks = f"with torch.autograd.graph.saved_tensors_hooks({copied}, lambda kept: kept):"
        made = [hooks, *(f"    {line}" for line in made)]
    asked = [*made, *_going_back(call, arguments)]
    return lines + (written(call.setting, asked) if call.setting else asked)


def _broken_off(run: str, names: str) -> list[str]:
    return [
        "import itertools",
        f"for place, forward in itertools.product(range({BROKEN_OFF}), (True, False)):  # a hook fails",
        "    turns = itertools.count()",
        "    hooks = [lambda kept: kept.detach() if next(turns) != place else 1 / 0, torch.Tensor.detach]",
        "    try:",
        "        with torch.autograd.graph.saved_tensors_hooks(*(hooks if forward else hooks[::-1])):",
        f"            torch.autograd.grad({run}, [{names}], incoming)",
        "    except Exception:",
        "        pass",
    ]


def _vjp_lines(call: Call, arguments: list[str], array: str) -> list[str]:
    back = f"candidate.vjp({call.operator!r}, {{{_named(_all_arguments(call, arguments))}}}, %s)"
    between = _between(call, arguments, array)
    lines = [f"candidate.{call.operator}({', '.join(arguments)})", *between]
    lines += [back % "0.5 * incoming", *between] * call.twice
    if call.elsewhere:
        back = _elsewhere(back)
        lines += ["from concurrent.futures import ThreadPoolExecutor"]
    return lines + _shown(back % "incoming", call)


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
        lines.append(f"others = [each.clone() for each in ({names},)]")
        lines.append(f"others.append(candidate.{call.operator}({', '.join((TURNED['torch'].format(first), *others))}))")
        results, incomings = "[result, *others]", "[incoming, *map(torch.zeros_like, others)]"
    between = _between(call, arguments, "torch")
    lines += between
    if call.residual:
        lines += ["stream = torch.zeros_like(result, requires_grad=True)"]
        results, incomings = "(result + stream) * incoming", "torch.ones_like(incoming)"
        names += ", stream"
    lines += _twice(names, between) if call.twice else []
    lines += ["result.mul_(0.5)", "incoming = 2.0 * incoming"] * call.halved
    lines += ["from concurrent.futures import ThreadPoolExecutor"] * call.elsewhere
    grad = _asked(call, results, names, incomings)
    told = [*call.differentiate, *["what came back"] * call.residual]
    back = f"dict(zip({told!r}, map(torch.Tensor.detach, {grad})))" if call.in_turn else f"dict(zip({told!r}, {grad}))"
    again = ["print('the result that was made again:', made[-1])"] * call.checkpointed
    cleared = [f"for each in ({names},):", "    each.grad = None"] * call.stored
    shown = [*_shown(f"(result.detach(), {back})", call), "del result"] if call.in_turn else _shown(back, call)
    return lines + shown + again + cleared


def _twice(names: str, between: list[str]) -> list[str]:
    """From half of what comes in, and from its reverse, in whose memory it is then."""
    lines: list[str] = []
    for earlier in ("0.5 * incoming", "incoming.flip(tuple(range(incoming.ndim)))"):
        lines += [
            f"earlier = {earlier}",
            f"torch.autograd.grad(result, [{names}], earlier, retain_graph=True)",
            *between,
        ]
    lines += ["if earlier.stride() == incoming.stride():"]
    return [*lines, "    earlier.data.copy_(incoming)", "    incoming = earlier"]


def _asked(call: Call, results: str, names: str, incomings: str) -> str:
    asked = f"torch.autograd.grad({results}, [{names}], {incomings})"
    if call.stored:
        asked = f"(torch.autograd.backward({results}, {incomings}), *(each.grad for each in ({names},)))[1:]"
    return _elsewhere(asked) if call.elsewhere else asked


def _elsewhere(asked: str) -> str:
    return f"ThreadPoolExecutor(1).submit(lambda: {asked}).result()"


def _beside_lines(call: Call, arguments: list[str], array: str, by_vjp: bool) -> list[str]:
    """All that a call gives between whose lines another thread makes another, and beside which others are made."""
    mode = f"torch.{call.recording or 'inference_mode'}()" if array == "torch" and call.recording is not None else ""
    turned = "-{0}.flip(tuple(range({0}.ndim)))" if array == "torch" else "-np.flip({0})"
    others = [turned.format(each) if each in call.tensors else each for each in arguments]
    lines = binding("incoming", call.cotangent, call, array) if call.cotangent else []
    lines += [f"{name}.requires_grad_()" for name in call.differentiate if not by_vjp]
    return [
        *lines,
        "import contextlib, sys",
        "from concurrent.futures import ThreadPoolExecutor, wait",
        "def run(*given):",
        f"    with {mode or 'contextlib.nullcontext()'}:",
        f"        return {_answer(call, arguments, by_vjp)}",
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


def _answer(call: Call, arguments: list[str], by_vjp: bool) -> str:
    """What is asked of the candidate, ``given`` its arguments in order."""
    if call.cotangent is None:
        return f"candidate.{call.operator}(*given)"
    names = list(call.arguments)
    if by_vjp:
        texts = _all_arguments(call, arguments) | {name: f"given[{names.index(name)}]" for name in call.tensors}
        return f"candidate.vjp({call.operator!r}, {{{_named(texts)}}}, incoming)"
    places = [names.index(name) for name in call.differentiate]
    return f"torch.autograd.grad(candidate.{call.operator}(*given), [given[k] for k in {places}], incoming)"


def _between(call: Call, arguments: list[str], array: str) -> list[str]:
    """What is called before it goes back, as `running` has it."""
    lines = _calls_in_between(call, arguments, array) if call.interrupted else []
    return lines + (_calls_of_others(call, array) if call.visited or call.revisited else [])


def _calls_in_between(call: Call, arguments: list[str], array: str) -> list[str]:
    places = [k for k, each in enumerate(arguments) if each in call.tensors]
    others = [TURNED[array].format(each) if k in places else each for k, each in enumerate(arguments)]
    given = [others, *([*arguments[:k], others[k], *arguments[k + 1 :]] for k in places)]
    return [
        "given = [" + ", ".join(f"({', '.join(each)},)" for each in given) + "]",
        f"for turn in {turns(call)}:  # other calls, before it goes back",
        f"    candidate.{call.operator}(*given[turn])",
    ]


def _calls_of_others(call: Call, array: str) -> list[str]:
    first, *_ = call.tensors
    seven = f"torch.full(each, 7.0, dtype={first}.dtype, device={first}.device, requires_grad=True)"
    seven = seven if array == "torch" else f"np.full(each, 7.0, {first}.dtype)"
    return [
        f"for name, given in {neighbours(call)}:  # and other operators, or this one on other tensors",
        "    if hasattr(candidate, name):",
        f"        getattr(candidate, name)(*({seven} if isinstance(each, tuple) else each for each in given))",
    ]


def _tensors(call: Call) -> list[Argument]:
    return [value for value in (*call.arguments.values(), call.cotangent) if isinstance(value, Argument)]
