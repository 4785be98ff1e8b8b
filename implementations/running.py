"""One call: its tensors are made, and the candidate is run on them, in the way that the call says."""

from __future__ import annotations

import contextlib
import gc
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.implementations.arrays import Argument, made_together
from assay.implementations.beside import MANY, beside_others, met
from assay.implementations.contract import Implementation, completed
from assay.implementations.going_back import BROKEN_OFF, EARLIER, THREADS, in_another_thread
from assay.implementations.layouts import same_tensors

if TYPE_CHECKING:
    from assay.implementations.memory import Memory
    from assay.implementations.observe import Call

Named, Step = dict[str, Any], Callable[[], None]
Answer = tuple[Any, Named]
WAYS_BACK = (
    "interrupted",
    "visited",
    "revisited",
    "twice",
    "halved",
    "hidden",
    "residual",
    "checkpointed",
    "offloaded",
    "recurrent",
    "elsewhere",
    "sharded",
    "broken",
    "stored",
    "late",
)
# Those of them that may be refused by an error: by who goes back once, or needs its result again, and by a checkpoint,
# which is made again of copies of what it was given, where they lie in another way.
MAY_BE_REFUSED = frozenset(("twice", "halved", "offloaded"))
# What other operators are given in between, unless the call has such tensors.
ROWS, OUTPUTS, IMAGE = (4, 8), 8, (1, 2, 8, 8)
VISITS = 66  # sizes of one operator's tensors, of which few are remembered
WIDER = 1023  # features or columns that the last of them has more
COLLECTED = 2  # times garbage is: what is held weakly is gone by then
BETWEEN = 66  # calls between a call and its going back: of a network of so many layers of one shape


def made(call: Call, library: Any, memory: Memory | None = None) -> dict[str, Any]:
    """The tensors of a call by name: those of the memory where they fit, new ones where there is none."""
    if memory:
        return {name: memory.make(library, name, argument, call) for name, argument in call.tensors.items()}
    with library.recording(call.recording):  # in inference, a model's tensors may have been made so
        return _new(call, library)


def _new(call: Call, library: Any) -> dict[str, Any]:
    if call.together:
        found = made_together(library, call.tensors, call.dtype, call.device, call.together)
        whole = {name: other for name, (other, turned) in same_tensors(call.together).items() if not turned}
        if call.cotangent is None:  # each has a gradient of its own otherwise
            found |= {name: found[other] for name, other in whole.items()}
    else:
        found = {name: library.make(each, call.dtype_of(name), call.device) for name, each in call.tensors.items()}
    return found | {name: library.parameter(found[name]) for name in call.parameters}


def run(implementation: Implementation, call: Call, library: Any, arrays: Named, incoming: Any, draw: Step) -> Answer:
    """The result, and the gradients by name, of which there are some where ``incoming`` comes back.

    ``draw`` is called before it goes back.

    Raises:
        Exception: whatever the candidate raises.
    """
    if not (call.beside or call.met):
        return _once(implementation, call, library, arrays, incoming, draw)

    def anew(asked: Call) -> Answer:
        return _once(implementation, asked, library, made(asked, library), incoming, lambda: None)

    once, other = partial(anew, call), partial(anew, call.on_other_numbers())
    return met(once, other, call.met) if call.met else beside_others(once, other, partial(_alike, library))


def _once(implementation: Implementation, call: Call, library: Any, arrays: Named, incoming: Any, draw: Step) -> Answer:
    function = implementation.operators[call.operator]

    def forward(given: Mapping[str, Any], through: Any = _called) -> Any:
        return through(function, *(given.get(name, value) for name, value in call.arguments_to_give().items()))

    library.poison(call.poison, call.dtype, call.device)
    if incoming is None:
        with library.recording(call.recording), library.under(call.setting):
            return forward(arrays, _of_a_view if is_of_a_view(call) else _called), {}

    def between() -> None:
        draw()
        _call_others(implementation, call, library, forward, arrays)
        if call.late:
            until_late.close()
            collect(0 if call.setting else COLLECTED)

    with contextlib.ExitStack() as until_late:
        until_late.enter_context(library.under(call.setting))
        if implementation.vjp is None:
            how = [word for word in WAYS_BACK if getattr(call, word)]
            found: Answer = library.gradients(forward, arrays, call.differentiate, incoming, *how, between=between)
            return found
        back = partial(implementation.vjp, call.operator, completed(call.operator, {**call.arguments, **arrays}))
        return forward(arrays), dict(_by_vjp(call, back, incoming, between))


def collect(times: int) -> None:
    """Collect garbage so often."""
    for _ in range(times):
        gc.collect()


def _called(function: Callable[..., Any], *given: Any) -> Any:
    return function(*given)


def is_of_a_view(call: Call) -> bool:
    """Whether its first tensor is a view, which nobody else holds, of a memory that others do."""
    return call.recording is False and not call.in_turn and bool(call.tensors)


def _of_a_view(function: Callable[..., Any], first: Any, *others: Any) -> Any:
    """The first is a view that nobody else holds: ``function(*given)`` would hold it, in a tuple."""
    match others:
        case ():
            return function(first[...])
        case (second,):
            return function(first[...], second)
        case (second, third):
            return function(first[...], second, third)
        case (second, third, fourth):
            return function(first[...], second, third, fourth)
        case (second, third, fourth, fifth):
            return function(first[...], second, third, fourth, fifth)
    return function(first[...], *others)


def _by_vjp(call: Call, back: Callable[[Any], Any], incoming: Any, between: Callable[[], None]) -> Any:
    """What a candidate's own ``vjp`` makes of it, after what is called ``between``, in the ways that concern it."""
    between()
    if call.twice:
        back(0.5 * incoming)
        between()
    return in_another_thread(partial(back, incoming)) if call.elsewhere else back(incoming)


def _call_others(
    implementation: Implementation, call: Call, library: Any, forward: Callable[[Any], Any], arrays: dict[str, Any]
) -> None:
    """What is called before it goes back, if anything is.

    "interrupted": many times on other values of these shapes, as layers that are alike; every other time with the same
    tensors but for one, as a layer that is called in turn on other inputs, or layers that share weights. "visited": the
    other operators that the candidate has. "revisited": this one, on tensors of `VISITS` other sizes.
    """
    if call.interrupted:
        others = library.turned(arrays)
        given = [others, *(arrays | {name: others[name]} for name in others)]
        kept = [forward(given[turn]) for turn in turns(call)]
        del kept
    for name, arguments in neighbours(call):
        given = [_seven(library, each, call) if isinstance(each, tuple) else each for each in arguments]
        if name in implementation.operators:
            with contextlib.suppress(Exception):  # who cannot is told elsewhere
                implementation.operators[name](*given)


def neighbours(call: Call) -> list[tuple[str, tuple[Any, ...]]]:
    """The operators that are called in between, besides: shapes of tensors, which hold sevens, and parameters.

    The others have tensors, or results, as large as the call's first tensor, where they can have, as their neighbours
    in a network, and as many outputs; its own operator has others.
    """
    (first, *more), own = (each.values.shape for each in call.tensors.values()), call.operator
    image = first if len(first) == 4 and min(first[2:]) > 2 else IMAGE
    outputs = more[0][0] if more and len(more[0]) == 2 else OUTPUTS
    others = _arguments(first if math.prod(first) and first else ROWS, image, outputs) if call.visited else {}
    others.pop(own, None)
    (rows, features), (*outer, height, width) = ROWS, IMAGE
    sizes = [*((k % 8, k // 8) for k in range(VISITS - 1)), (0, WIDER)] if call.revisited else []
    visits = [_arguments((rows + k, features + more), (*outer, height + k, width + more))[own] for k, more in sizes]
    return [*others.items(), *((own, arguments) for arguments in visits)]


def _arguments(rows: tuple[int, ...], image: tuple[int, ...], outputs: int = OUTPUTS) -> dict[str, tuple[Any, ...]]:
    """Of operators on rows and on images of these shapes; pad2d's result has that of the image."""
    weights, (*outer, height, width) = (outputs, rows[-1]), image
    return {
        "swish": (rows, 0.5),
        "linear": (rows, weights),
        "glu": (rows, weights, weights),
        "swiglu": (rows, weights, weights),
        "pad2d": ((*outer, height - 2, width - 2), 1),
        "conv2d": (image, (3, image[1], 3, 3)),
        "max_pool2d": (image, 2),
    }


def turns(call: Call) -> list[int]:
    """Of each call in between, which tensor alone is another one, from 1 on, or 0 for all of them.

    By the sizes of the tensors it is another one that stands last.
    """
    first, count = sum(sum(each.values.shape) for each in call.tensors.values()), len(call.tensors)
    return [1 + (first + k // 2) % count if k % 2 else 0 for k in range(BETWEEN)]


def calls_in(call: Call) -> int:
    """How many calls of the operator one call makes at the most, about."""
    between = BETWEEN * call.interrupted + VISITS * call.revisited
    times = 3 if call.twice else 1
    further = 2 * EARLIER * call.recurrent + THREADS * call.sharded + 2 * BROKEN_OFF * call.broken + MANY * call.beside
    return 1 + times * between + further


def _seven(library: Any, shape: tuple[int, ...], call: Call) -> Any:
    made = library.make(Argument(np.full(shape, 7.0)), call.dtype, call.device)
    return made.requires_grad_() if hasattr(made, "requires_grad_") else made


def _alike(library: Any, first: Answer, second: Answer) -> bool:
    """Whether a result, and gradients, are those of another time, as far as they are arrays."""
    pairs = zip((first[0], *first[1].values()), (second[0], *second[1].values()), strict=True)
    read = [tuple(map(library.read, pair)) for pair in pairs if all(map(library.is_array, pair))]
    return all(np.array_equal(*pair, equal_nan=True) for pair in read)
