"""Planted bugs of the way back from images, in layouts, sizes and modes that networks have: no law had seen them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.spec import OPERATORS
from assay.tests.mutants.dispatched import LAYOUTS, MEMORY, STATE, back, recorded
from assay.tests.mutants.gradients import again, gradients
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import Operators, last
from assay.tests.mutants.state import by_shape

right = load("torch").operators


def losing(operator: str, name: str, where: Callable[..., Any], part: Callable[[Any], Any]) -> Operators:
    """The gradient of ``name`` without a part of the incoming one, where sizes or layouts are such."""

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        if name not in found or not where(incoming, **given):
            return {}
        kept = incoming.clone()
        part(kept).zero_()
        return {name: again(operator, given, kept)[name]}

    return back(operator, spoil)


def unsaved(operator: str) -> Callable[..., Any]:
    """What going back needs is kept where nobody sees that it was written to."""
    names = OPERATORS[operator].arguments

    class Unsaved(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *given: Any) -> Any:
            ctx.given = [a.detach() if isinstance(a, torch.Tensor) else a for a in given]
            return right[operator](*given)

        @staticmethod
        def backward(ctx: Any, incoming: Any) -> Any:
            given = dict(zip(names, ctx.given, strict=False))
            found = gradients(operator, given, incoming)
            return tuple(found.get(name) for name in given)

    return Unsaved.apply


# Padding, and convolution: where, and which part of the incoming gradient is lost.


def pitch_of_tiles(found, incoming, given):
    """Aligned rows are read by tiles of 32, and each tile starts too early by the padding."""
    padding, (rows, columns) = given["padding"], given["x"].shape[-2:]
    if padding < 4 or padding % 4 or columns % 4 or not incoming.is_contiguous():
        return {}
    row = torch.arange(rows)[:, None]
    at = (padding + row) * (columns + 2 * padding) + padding + torch.arange(columns) - padding * (row // 32)
    return {"x": incoming.flatten(-2)[..., at]}


def odd_rows(incoming, weight, **given):
    return last(incoming) and weight.shape[0] % 8 == weight.shape[1] % 8 == 0 and incoming.shape[2] % 2


def threes(incoming, weight, **given):
    return last(incoming) and weight.shape[0] >= 32 and weight.shape[1] >= 8 and weight.shape[2] == 3


def stem(incoming, input, weight, stride=1, padding=0, **given):
    first = not input.requires_grad and weight.requires_grad and weight.shape[1] <= 4
    return first and weight.shape[2] >= 7 and pair(stride)[0] == 2 and pair(padding)[0]


def colours(incoming, input, stride=1, padding=0, **given):
    first = not input.requires_grad and input.shape[1] == 3
    return first and pair(stride) == (2, 2) and max(pair(padding)) and incoming.shape[3] > 1


def groups_of_samples(incoming, weight, **given):
    return len(incoming) > 32 and min(weight.shape[:2]) >= 16


def sounds(incoming, input, weight, **given):
    return input.shape[2] == 1 and max(weight.shape[:2]) >= 32 and incoming.shape[3] > 512


def bias_alone(incoming, input, weight, **given):
    return len(weight) % 8 == 0 and not input.requires_grad and not weight.requires_grad


def turned(found, incoming, given):
    """Where channels are last in both, the rows of a kernel are its columns."""
    outputs, inputs, *kernel = given["weight"].shape
    both = last(given["input"]) and last(given["weight"]) and kernel[0] == kernel[1] > 1
    return {"weight": found["weight"].mT.contiguous()} if both and outputs % 8 == inputs % 8 == 0 else {}


# Between the calls.


def ring_of_inputs() -> Operators:
    """The input is kept for the way back in the next of 20 buffers."""
    rings: dict[Any, Any] = {}

    class InRing(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, input: Any, weight: Any, *given: Any) -> Any:
            ring = rings.setdefault(by_shape(input), [torch.empty_like(input) for _ in range(20)])
            ring.append(ring.pop(0))
            ctx.input, ctx.given = ring[-1].copy_(input), given
            ctx.save_for_backward(weight)
            return right["conv2d"](input, weight, *given)

        @staticmethod
        def backward(ctx: Any, incoming: Any) -> Any:
            values = ctx.input, *ctx.saved_tensors, *ctx.given
            given = dict(zip(OPERATORS["conv2d"].arguments, values, strict=False))
            found = gradients("conv2d", given, incoming)
            return tuple(found.get(name) for name in given)

    return {"conv2d": lambda *given: (InRing.apply if recorded(*given[:3]) else right["conv2d"])(*given)}


def last_row(incoming):
    return incoming[:, :, -1:]


def bug(name, clause, words, operators, kind="gradient", tier="gradient"):
    return Mutant(f"networks-back-{name}", clause, words, operators, "float32", kind, tier, "rare")


def of_weight(name, clause, words, where, part, *how):
    return bug(name, clause, words, losing("conv2d", "weight", where, part), *how)


SOME, GRADIENT = "contract.some-gradients", "conv2d.gradient"
MUTANTS = (
    bug("pitch", "pad2d.gradient", "by 4, aligned: rows past 32 are read too early", back("pad2d", pitch_of_tiles)),
    of_weight("odd", LAYOUTS, "channels last, odd rows: the last", odd_rows, last_row, *MEMORY),
    of_weight("threes", LAYOUTS, "channels last, 3 x 3: the last row", threes, last_row, *MEMORY),
    bug("turned", LAYOUTS, "all channels last: kernels are turned", back("conv2d", turned), *MEMORY),
    of_weight("stem", SOME, "a first layer of 7 x 7 by 2: the first row", stem, lambda g: g[:, :, :1]),
    of_weight("colours", SOME, "a first layer by 2: the last column", colours, lambda g: g[..., -1:]),
    bug("bias", SOME, "the bias alone: 8 samples", losing("conv2d", "bias", bias_alone, lambda g: g[8:])),
    of_weight("groups", GRADIENT, "32 samples at a time", groups_of_samples, lambda g: g[len(g) // 32 * 32 :]),
    of_weight(
        "sounds", GRADIENT, "one row: 512 columns at a time", sounds, lambda g: g[..., g.shape[3] // 512 * 512 :]
    ),
    bug("ring", "contract.memoryless", "20 inputs are kept for the way back", ring_of_inputs, *STATE),
    bug(
        "unsaved", "contract.no-alias", "going back, the input as it is by then", {"conv2d": unsaved("conv2d")}, *STATE
    ),
)
