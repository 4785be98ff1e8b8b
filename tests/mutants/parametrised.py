"""Wrong operators with parameters: how each family of `assay.tests.mutants.generated` is built.

An operator's name and what was drawn go in, the operator comes out. Each is PyTorch's but for the one thing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.spec import OPERATORS
from assay.tests.mutants.gradients import going_back, only
from assay.tests.mutants.slips import windows

right = load("torch").operators
Operator = Callable[..., Any]

# The axes of an operator's result: which one it is, and the largest size that it has in ordinary calls.
AXES = {
    "swish": {"rows": (0, 129)},
    "linear": {"outputs": (-1, 129)},
    "glu": {"outputs": (-1, 129)},
    "swiglu": {"outputs": (-1, 129)},
    "pad2d": {"rows": (-2, 129), "columns": (-1, 129)},
    "conv2d": {"channels": (1, 17), "rows": (2, 129), "columns": (3, 129)},
    "max_pool2d": {"channels": (1, 17), "rows": (2, 129), "columns": (3, 129)},
}


def after(operator: str, change: Callable[[Any], Any]) -> Operator:
    return lambda *given: change(right[operator](*given))


def with_argument(operator: str, name: str, change: Callable[[Any], Any]) -> Operator:
    """PyTorch's operator of a changed argument, where it is given."""
    place = OPERATORS[operator].arguments.index(name)

    def called(*given: Any) -> Any:
        changed = [change(a) if k == place and a is not None else a for k, a in enumerate(given)]
        return right[operator](*changed)

    return called


def places(y: Any, axis: int) -> Any:
    """The index along an axis, in a shape that goes with ``y``."""
    return torch.arange(y.shape[axis]).reshape([-1 if k == axis % y.ndim else 1 for k in range(y.ndim)])


def tail_dropped(operator: str, tile: int, axis: str) -> Operator:
    which = AXES[operator][axis][0]

    def change(y: Any) -> Any:
        size = y.shape[which]
        return torch.where(places(y, which) < size // tile * tile, y, 0.0) if size > tile else y

    return after(operator, change)


def tile_repeated(operator: str, tile: int, axis: str) -> Operator:
    which = AXES[operator][axis][0]
    return after(operator, lambda y: y.index_select(which, torch.arange(y.shape[which]) % tile))


def last_not_written(operator: str, modulus: int, residue: int, axis: str) -> Operator:
    """What was in the memory before, a one, is what stays there."""
    which = AXES[operator][axis][0]

    def change(y: Any) -> Any:
        size = y.shape[which]
        return torch.where(places(y, which) < size - 1, y, 1.0) if size % modulus == residue else y

    return after(operator, change)


def tap_left_out(operator: str, tensor: str, place: tuple[int, ...]) -> Operator:
    def change(weight: Any) -> Any:
        kept = torch.ones(weight.shape, dtype=torch.bool)
        kept[tuple(k % size for k, size in zip(place, weight.shape, strict=False))] = False
        return torch.where(kept, weight, 0.0)

    return with_argument(operator, tensor, change)


def scaled(operator: str, error: float, dtype: str) -> Operator:
    return after(operator, lambda y: (y.double() * (1.0 + error)).to(y.dtype))


def saturated(operator: str, threshold: float) -> Operator:
    return with_argument(operator, OPERATORS[operator].tensors[0], lambda x: x.clamp(-threshold, threshold))


def gate_shut_early(operator: str, threshold: float) -> Operator:
    def sigmoid(t: Any) -> Any:
        return torch.where(t > threshold, 1.0, torch.where(t < -threshold, 0.0, torch.sigmoid(t)))

    def gated(x: Any, w: Any, v: Any, b: Any = None, c: Any = None) -> Any:
        x1 = F.linear(x, w, b)
        return sigmoid(x1) * (x1 if operator == "swiglu" else 1.0) * F.linear(x, v, c)

    return gated if operator != "swish" else lambda x, beta=1.0: x * sigmoid(beta * x)


def one_in(operator: str, every: int, error: float) -> Operator:
    def change(y: Any) -> Any:
        flat = torch.arange(y.numel()).reshape(y.shape)
        return torch.where(flat % every == every - 1, y * (1.0 + error), y)

    return after(operator, change)


def channels_swapped(operator: str, first: int, second: int) -> Operator:
    which = AXES[operator]["outputs" if "outputs" in AXES[operator] else "channels"][0]

    def change(y: Any) -> Any:
        order = list(range(y.shape[which]))
        if second < len(order):
            order[first], order[second] = second, first
        return y.index_select(which, torch.tensor(order, dtype=torch.int64))

    return after(operator, change)


FAULTS: dict[str, Callable[[Any], Any]] = {
    "bfloat16": lambda gradient: gradient.bfloat16().float(),
    "doubled": lambda gradient: gradient * 2,
    "halved": lambda gradient: gradient / 2,
    "missing": lambda gradient: None,
    "negated": lambda gradient: -gradient,
    "reversed": lambda gradient: gradient.flip(0),
    "without-its-first": lambda gradient: torch.cat([torch.zeros_like(gradient[:1]), gradient[1:]]),
}


def gradient_wrong(operator: str, tensor: str, fault: str) -> Operator:
    return going_back(operator, only(tensor, FAULTS[fault]))


def floored(operator: str, floor: float) -> Operator:
    return after(operator, lambda y: y.clamp(min=-floor))


def kernel_cut(operator: str, rows: int) -> Operator:
    """Rows of the kernel, or of the window, from this one on are not read."""

    def pool(x: Any, kernel: Any, stride: Any = None, padding: Any = 0) -> Any:
        right["max_pool2d"](x, kernel, stride, padding)  # refuses what is to be refused
        read = windows(x, kernel, stride, padding).unflatten(-1, pair(kernel))[..., :rows, :]
        return read.flatten(-2).max(-1).values

    def change(weight: Any) -> Any:
        return torch.where(places(weight, 2) < rows, weight, 0.0)

    return pool if operator == "max_pool2d" else with_argument(operator, "weight", change)


def coarse_after(operator: str, calls: int) -> Operator:
    """Right for so many calls; then in bfloat16, as something that has found a faster way."""
    made: list[None] = []

    def called(*given: Any) -> Any:
        made.append(None)
        result = right[operator](*given)
        return result.bfloat16().to(result.dtype) if len(made) > calls else result

    return called


def one_stride(operator: str, stride: tuple[int, int]) -> Operator:
    """With this stride the kernel starts a column late."""
    default = (lambda *given: given[1]) if operator == "max_pool2d" else (lambda *given: 1)
    place = OPERATORS[operator].arguments.index("stride")

    def called(input: Any, *rest: Any) -> Any:
        given = rest[place - 1] if len(rest) >= place else None
        steps = pair(default(input, *rest) if given is None else given)
        return right[operator](input.roll(-1, 3) if steps == stride else input, *rest)

    return called


def bias_scaled(operator: str, tensor: str, error: float) -> Operator:
    return with_argument(operator, tensor, lambda bias: bias * (1.0 + error))
