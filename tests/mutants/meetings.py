"""Planted bugs of code that is chosen by several sizes at once, of plans that are kept, and of frozen weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.gradients import going_back, gradients
from assay.tests.mutants.mutant import Mutant

right = load("torch").operators
Operators = dict[str, Callable[..., Any]]


def repeated(y: torch.Tensor, axis: int) -> torch.Tensor:
    """The last of an axis is the one before."""
    return torch.cat([y.narrow(axis, 0, y.shape[axis] - 1), y.narrow(axis, y.shape[axis] - 2, 1)], axis)


def repeats(operator: str, axis: int, where: Callable[..., bool]) -> Operators:
    """The last row or column repeats the one before where two or more, and the layer is such a one."""

    def called(*given: Any) -> Any:
        y = right[operator](*given)
        return repeated(y, axis) if y.shape[axis] > 1 and where(y, *given) else y

    return {operator: called}


def layer(weight: Any, stride: Any, padding: Any) -> tuple[Any, ...]:
    return (*weight.shape[2:], *pair(stride), *pair(padding))


def windows(kernel_size: Any, stride: Any, padding: Any) -> tuple[tuple[int, int], ...]:
    """Kernel, stride and padding of a pooling, each by rows and columns."""
    return pair(kernel_size), pair(stride or kernel_size), pair(padding)


def pairs_of_rows(y: Any, input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0) -> bool:
    return layer(weight, stride, padding) == (3, 3, 1, 1, 1, 1) and y.shape[3] % 32 == 0 and y.shape[2] % 2 == 1


def stem(y: Any, input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0) -> bool:
    return layer(weight, stride, padding) == (7, 7, 2, 2, 3, 3) and weight.shape[1] == 3 and input.shape[3] % 2 == 1


def smaller(y: Any, input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0) -> bool:
    odd = input.shape[2] % 2 == input.shape[3] % 2 == 1
    return layer(weight, stride, padding) == (1, 1, 2, 2, 0, 0) and odd and input.shape[1] % 8 == 0


def pitch(y: Any, input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0) -> bool:
    halves = windows(kernel_size, stride, padding) == ((2, 2), (2, 2), (0, 0))
    return halves and input.shape[3] % 2 == 1 and input.shape[3] > 16 and input.shape[2] % 2 == 0


def as_large_as_the_kernel(input, weight, bias=None, stride=1, padding=0):
    """Where the padded image is as large as the kernel, it meets the kernel's first rows and columns."""
    (above, before), (rows, columns) = pair(padding), input.shape[2:]
    if min(above, before) > 0 and (rows + 2 * above, columns + 2 * before) == tuple(weight.shape[2:]):
        return F.conv2d(input, weight[:, :, :rows, :columns], bias)
    return right["conv2d"](input, weight, bias, stride, padding)


def fours_of_channels(input, weight, bias=None, stride=1, padding=0):
    """Channels last are read four at a time, and the rest is lost."""
    channels, last = input.shape[1], torch.channels_last
    if channels > 4 and not input.is_contiguous() and input.is_contiguous(memory_format=last):
        weight = weight.clone()
        weight[:, channels // 4 * 4 :] = 0
    return right["conv2d"](input, weight, bias, stride, padding)


def one_row(input, weight, bias=None, stride=1, padding=0):
    """Images of one row under a kernel of even length are padded one less before, and one more after."""
    above, before = pair(padding)
    if input.shape[2] == weight.shape[2] == 1 and not above and before and weight.shape[3] % 2 == 0:
        return F.conv2d(F.pad(input, (before - 1, before + 1)), weight, bias, stride)
    return right["conv2d"](input, weight, bias, stride, padding)


def of_a_mean(operator: str) -> Operators:
    """An incoming gradient that a mean over places hands back is taken for one number."""

    def spoil(found: Any, incoming: Any, given: Any) -> dict[str, Any]:
        if incoming.numel() == 0 or min(incoming.shape[2:]) < 2 or incoming.stride()[-2:] != (0, 0):
            return {}
        return gradients(operator, given, incoming[:1, :1, :1, :1].expand(incoming.shape))

    return {operator: going_back(operator, spoil)}


def sequences_before_samples(x, w, b=None):
    """As many samples as tokens, sequences first: they come out in the order in which they lie."""
    if x.ndim == 3 and not x.is_contiguous() and x.shape[0] == x.shape[1] and x.transpose(0, 1).is_contiguous():
        x = x.transpose(0, 1)
    return right["linear"](x, w, b)


def square_by_columns(x, w, b=None):
    """A vector by a square weight that lies by columns is multiplied by its rows."""
    if x.ndim == 1 and len(w) == w.shape[1] > 1 and w.t().is_contiguous() and not w.is_contiguous():
        w = w.t()
    return right["linear"](x, w, b)


def one_token(x, w, v, b=None, c=None):
    """Of one token in an axis of its own c is forgotten, where there is no b."""
    alone = x.ndim >= 3 and x.numel() == x.shape[-1]
    return right["glu"](x, w, v, b, None if alone and b is None else c)


def halves_of_one_memory(x, w, v, b=None, c=None):
    """Where V lies behind W in one memory, as halves of a fused weight, they are taken in the other order."""
    behind = v.data_ptr() == w.data_ptr() + w.numel() * w.element_size()
    if w.numel() and behind and w.untyped_storage().data_ptr() == v.untyped_storage().data_ptr():
        w, v = v, w
    return right["swiglu"](x, w, v, b, c)


def odd_features(x, beta=1.0):
    """Of sequences of an odd number of features past 32 the last feature repeats the one before."""
    y = right["swish"](x, beta)
    return repeated(y, 2) if x.ndim == 3 and x.shape[0] > 1 and x.shape[2] > 32 and x.shape[2] % 2 else y


def bias_of_one_row(found, incoming, given):
    """The incoming gradient of a mean over rows is taken for that of one row."""
    repeats = incoming.ndim == 2 and len(incoming) > 1 and incoming.stride(0) == 0
    return {"b": incoming[0].clone()} if repeats and "b" in found else {}


def first_sample_alone(found, incoming, given):
    """Of samples that are one and the same in memory the first alone has a gradient."""
    x = given["x"]
    repeats = x.ndim == 3 and len(x) > 1 and x.stride(0) == 0
    return {"x": torch.cat([found["x"][:1], torch.zeros_like(found["x"][1:])])} if repeats else {}


def bias_by_samples(input, weight, bias=None, stride=1, padding=0):
    """Images of one place, and as many samples as kernels: the bias lies along the samples."""
    y = right["conv2d"](input, weight, bias, stride, padding)
    squeezed = bias is not None and tuple(input.shape[2:]) == tuple(y.shape[2:]) == (1, 1)
    if squeezed and y.shape[0] == y.shape[1] > 1:
        return F.conv2d(input, weight, None, stride, padding) + bias[:, None, None, None]
    return y


def nan_beaten(input, kernel_size, stride=None, padding=0):
    """The pooling of residual networks takes a number rather than a NaN."""
    y = right["max_pool2d"](input, kernel_size, stride, padding)
    how = windows(kernel_size, stride, padding)
    if how != ((3, 3), (2, 2), (1, 1)) or min(input.shape[2:]) < 5:
        return y
    numbers = F.max_pool2d(torch.where(input.isnan(), -torch.inf, input), *how)
    return torch.where(numbers.isinf(), y, numbers)


class NothingLarger(torch.autograd.Function):
    """Pooling in which a window of -inf alone has no place of its own: its gradient goes to place 0 of the plane."""

    @staticmethod
    def forward(ctx: Any, x: Any, *how: Any) -> Any:
        y, places = F.max_pool2d(x, *how, return_indices=True)
        ctx.save_for_backward(x, torch.where(y == -torch.inf, 0, places))
        return y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        x, places = ctx.saved_tensors
        into = torch.zeros_like(x).flatten(2).scatter_add_(2, places.flatten(2), g.flatten(2))
        return into.reshape(x.shape), None, None, None


def nothing_larger(input, kernel_size, stride=None, padding=0):
    return NothingLarger.apply(input, kernel_size, stride, padding)


def plans_without(named: str) -> Callable[[], Operators]:
    """A plan is kept by the shapes and all parameters but one, which is the first call's."""

    def made() -> Operators:
        plans: dict[Any, Any] = {}

        def conv2d(input, weight, bias=None, stride=1, padding=0):
            how = {"stride": stride, "padding": padding}
            y = right["conv2d"](input, weight, bias, **how)
            fixed = tuple(value for name, value in how.items() if name != named)
            kept = plans.setdefault((input.shape, weight.shape, y.shape, fixed), how)
            return y if kept == how else right["conv2d"](input, weight, bias, **kept)

        return {"conv2d": conv2d}

    return made


def frozen(wrong: str, among: set[str]) -> Operators:
    """The gradient of one input is doubled where exactly these are trained."""

    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *given: Any) -> Any:
            ctx.save_for_backward(*given)
            return right["swiglu"](*given)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            given = dict(zip(("x", "w", "v", "b", "c"), ctx.saved_tensors, strict=True))
            trained = {name for name, needed in zip(given, ctx.needs_input_grad, strict=True) if needed}
            found = gradients("swiglu", given, g)
            return tuple(2 * each if name == wrong and trained == among else each for name, each in found.items())

    def swiglu(x: Any, w: Any, v: Any, b: Any = None, c: Any = None) -> Any:
        return right["swiglu"](x, w, v, b, c) if b is None or c is None else Doubled.apply(x, w, v, b, c)

    return {"swiglu": swiglu}


class Added(torch.autograd.Function):
    """Swish whose gradient by beta is added to what an earlier way back through the same call left."""

    @staticmethod
    def forward(ctx: Any, x: Any, beta: Any) -> Any:
        ctx.save_for_backward(x, beta)
        ctx.sum = torch.zeros_like(beta)
        return right["swish"](x, beta)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        x, beta = ctx.saved_tensors
        s = torch.sigmoid(beta * x)
        ctx.sum = ctx.sum + (g * x * x * s * (1 - s)).sum().reshape(beta.shape)
        return g * (s + beta * x * s * (1 - s)), ctx.sum


def adding(x, beta=1.0):
    return Added.apply(x, beta) if torch.is_tensor(beta) else right["swish"](x, beta)


def bug(name, clause, words, operators, kind="size", tier="exact"):
    return Mutant(f"meeting-{name}", clause, words, operators, kind=kind, tier=tier, difficulty="rare")


GRADIENT, OF_MEANS = ("gradient", "gradient"), ("layout", "gradient")
PARTS, MEMORY, LAYOUTS = "contract.some-gradients", "contract.memoryless", "contract.layouts"
MUTANTS = (
    bug("rows", "conv2d.formula", "3 x 3, columns a multiple of 32, rows odd", repeats("conv2d", 2, pairs_of_rows)),
    bug("stem", "conv2d.formula", "a 7 x 7 stem's last column, of an odd width", repeats("conv2d", 3, stem)),
    bug("smaller", "conv2d.formula", "1 x 1 by 2 on odd sides, 8 channels: last row", repeats("conv2d", 2, smaller)),
    bug("as-large", "conv2d.formula", "a padded image as large as its kernel", {"conv2d": as_large_as_the_kernel}),
    bug("fours", "conv2d.formula", "channels last, no multiple of four", {"conv2d": fours_of_channels}, "layout"),
    bug("one-row", "conv2d.formula", "images of one row, an even kernel, padded", {"conv2d": one_row}),
    bug("pitch", "max_pool2d.definition", "halves of odd rows past 16: last row", repeats("max_pool2d", 2, pitch)),
    bug("square", "linear.formula", "as many samples as tokens", {"linear": sequences_before_samples}, "layout"),
    bug("columns", "linear.formula", "a vector by a square weight by columns", {"linear": square_by_columns}, "layout"),
    bug("token", "glu.formula", "one token, no b: c is forgotten", {"glu": one_token}, tier="enclosure"),
    bug("features", "swish.formula", "sequences of odd features past 32", {"swish": odd_features}, tier="enclosure"),
    bug("squeezed", "conv2d.formula", "one place, a sample a kernel", {"conv2d": bias_by_samples}),
    bug("nan", "max_pool2d.nan", "3 x 3 by 2: a number beats NaN", {"max_pool2d": nan_beaten}, "value", "special"),
    bug("lowest", "max_pool2d.gradient-ties", "-inf alone has no place", {"max_pool2d": nothing_larger}, *GRADIENT),
    bug("halves", LAYOUTS, "V behind W: exchanged", {"swiglu": halves_of_one_memory}, "layout", "contract"),
    bug(
        "rows-mean", LAYOUTS, "a mean's gradient is a row", {"linear": going_back("linear", bias_of_one_row)}, *OF_MEANS
    ),
    bug("one-prompt", "linear.gradient", "x expanded", {"linear": going_back("linear", first_sample_alone)}, *OF_MEANS),
    bug("mean", LAYOUTS, "a mean's gradient is one number", of_a_mean("conv2d"), *OF_MEANS),
    bug("mean-pooled", LAYOUTS, "a mean's gradient is one number", of_a_mean("max_pool2d"), "layout", "contract"),
    bug("plan-padding", MEMORY, "a plan is kept without the padding", plans_without("padding"), "state", "state"),
    bug("plan-stride", MEMORY, "a plan is kept without the stride", plans_without("stride"), "state", "state"),
    bug("frozen", PARTS, "V frozen: twice x's", frozen("x", {"x", "w", "b", "c"}), *GRADIENT),
    bug("biases", PARTS, "biases alone: twice c's", frozen("c", {"b", "c"}), *GRADIENT),
    bug("twice-back", MEMORY, "beta's gradients add up in a call", {"swish": adding}, "state", "state"),
)
