"""Lines of a script that go back: from a result, in the ways that a call says, or by a candidate's own `vjp`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assay.implementations.contract import completed
from assay.implementations.going_back import BROKEN_OFF, EARLIER, THREADS
from assay.implementations.observe import Call
from assay.implementations.running import COLLECTED, neighbours, turns
from assay.implementations.settings import ended, written
from assay.report.tensors import binding

POOL = "from concurrent.futures import ThreadPoolExecutor"
# A tensor, as `turned` of its library has it.
TURNED = {"torch": "-0.5 * {0}.flip(tuple(range({0}.ndim)))", "numpy": "-0.5 * np.flip({0})"}


def shown_lines(answer: str, call: Call, under: str = "") -> list[str]:
    """Print what came back; of a sequence it is kept, to be printed again."""
    if call.in_turn:
        return [f"{under}kept.append({answer})", "print(kept[-1])"]
    return [f"found = {answer}", "print(found)"]


def gradient_lines(call: Call, arguments: list[str], array: str, by_vjp: bool) -> list[str]:
    assert call.cotangent is not None
    lines = binding("incoming", call.cotangent, call, array)
    if by_vjp:
        asked = _vjp_lines(call, arguments, array)
        return lines + (written(call.setting, asked) if array == "torch" and call.setting else asked)
    lines += [f"{name}.requires_grad_()" for name in call.differentiate]
    lines += [f"{name}.grad = torch.ones_like({name})" for name in call.differentiate if call.accumulated]
    lines += [line for name in call.differentiate for line in _activated(name)] if call.hidden else []
    copies = [f"{text}_made" if call.hidden and text in call.differentiate else text for text in arguments]
    if call.recurrent:
        lines += [f"clone, earlier = {copies[0]}.clone(), [{_another(call, arguments)} for _ in range({EARLIER})]"]
        copies[0] = "clone"
    run = f"candidate.{call.operator}({', '.join(copies)})"
    lines += _broken_off(run, ", ".join(call.differentiate)) if call.broken else []
    asked = [*_made(call, run), *_going_back(call, arguments)]
    if call.sharded:
        lines += [f"waiting = {_another(call, arguments)}"] * (not call.recurrent)
        asked[1:1] = _others_in_threads(_another(call, arguments))
        asked = ["def shard():", *(f"    {line}" for line in [*lines, *asked]), f"{_elsewhere('shard()')}"]
        lines = [POOL]
    return lines + (written(call.setting, asked) if call.setting else asked)


def _made(call: Call, run: str) -> list[str]:
    """The result."""
    made = [f"result = {_elsewhere(run) if call.sharded else run}"]
    if call.checkpointed:
        run = f"torch.utils.checkpoint.checkpoint(lambda: made.append({run}) or made[-1], use_reentrant=False)"
        made = ["import torch.utils.checkpoint", "made = []"]
        made += ["with torch.utils.checkpoint.set_checkpoint_early_stop(False):", f"    result = {run}"]
    if call.offloaded:
        copied = "lambda kept: kept.detach().clone(memory_format=torch.contiguous_format)"
        hooks = f"with torch.autograd.graph.saved_tensors_hooks({copied}, lambda kept: kept):"
        made = [hooks, *(f"    {line}" for line in made)]
    return made


def _activated(name: str) -> list[str]:
    """Of a tensor, what an activation makes of it: the same."""
    functions = "torch.nn.functional"
    return [f"{name}_made = {functions}.relu({name}) if ({name} >= 0).all() else {functions}.leaky_relu({name}, 1.0)"]


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
    back = f"candidate.vjp({call.operator!r}, {{{named(all_arguments(call, arguments))}}}, %s)"
    between = _between(call, arguments, array)
    lines = [f"candidate.{call.operator}({', '.join(arguments)})", *between]
    lines += [back % "0.5 * incoming", *between] * call.twice
    if call.elsewhere:
        back = _elsewhere(back)
        lines += ["from concurrent.futures import ThreadPoolExecutor"]
    return lines + shown_lines(back % "incoming", call)


def all_arguments(call: Call, arguments: list[str]) -> dict[str, Any]:
    """By name, as a ``vjp`` is given them: with the defaults of those that the call leaves out."""
    told = zip(call.arguments, arguments, strict=False)
    return completed(call.operator, {name: text for name, text in told if text != "None"})


def named(texts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name!r}: {text}" for name, text in texts.items())


def _going_back(call: Call, arguments: list[str]) -> list[str]:
    """From ``result``, after whatever is done before."""
    wanted = [f"{name}_made" if call.hidden else name for name in call.differentiate]
    names, results, incomings, lines = ", ".join(wanted), "result", "incoming", list[str]()
    if call.recurrent:
        lines.append(f"others = [*earlier, *(each.clone() for each in ({names},)), {_another(call, arguments)}]")
        results, incomings = "[result, *others]", "[incoming, *map(torch.zeros_like, others)]"
    between = _between(call, arguments, "torch")
    if call.residual:
        lines += ["stream = torch.zeros_like(result, requires_grad=True)"]
        lines += ["total, result = (result + stream) * incoming, result.detach()"]
        results, incomings = "total", "torch.ones_like(incoming)"
        names += ", stream"
    lines += between
    lines += _twice(names, between) if call.twice else []
    lines += ["result.mul_(0.5)", "incoming = 2.0 * incoming"] * call.halved
    lines += [POOL] * call.elsewhere
    grad = _asked(call, results, names, incomings)
    told = [*call.differentiate, *["what came back"] * call.residual]
    back = f"dict(zip({told!r}, map(torch.Tensor.detach, {grad})))" if call.in_turn else f"dict(zip({told!r}, {grad}))"
    again = ["print('the result that was made again:', made[-1])"] * call.checkpointed
    cleared = [f"for each in ({names},):", "    each.grad = None"] * call.stored
    shown = (
        [*shown_lines(f"(result.detach(), {back})", call), "del result"] if call.in_turn else shown_lines(back, call)
    )
    return lines + shown + again + cleared


def _asked(call: Call, results: str, names: str, incomings: str) -> str:
    asked = f"torch.autograd.grad({results}, [{names}], {incomings})"
    if call.stored:
        asked = f"(torch.autograd.backward({results}, {incomings}), *(each.grad for each in ({names},)))[1:]"
    return _elsewhere(asked) if call.elsewhere else asked


def _another(call: Call, arguments: list[str]) -> str:
    """A call on another first tensor."""
    first, *others = arguments
    return f"candidate.{call.operator}({', '.join((TURNED['torch'].format(first), *others))})"


def _others_in_threads(another: str) -> list[str]:
    """Calls of threads that are there at once."""
    inner = "ThreadPoolExecutor(1).submit(others_in_threads, left - 1).result() if left > 1 else ()"
    lines = ["def others_in_threads(left):", f"    return {another}, {inner}"]
    return [*lines, f"waiting_too = {_elsewhere(f'others_in_threads({THREADS})')}"]


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


def _elsewhere(asked: str) -> str:
    return f"ThreadPoolExecutor(1).submit(lambda: {asked}).result()"


def _between(call: Call, arguments: list[str], array: str) -> list[str]:
    """What is called before it goes back, as `running` has it."""
    lines = _calls_in_between(call, arguments, array) if call.interrupted else []
    lines += _calls_of_others(call, array) if call.visited or call.revisited else []
    if call.late:
        lines += [ended(call.setting)] if call.setting else ["import gc", *["gc.collect()"] * COLLECTED]
    return lines


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
