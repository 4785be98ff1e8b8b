"""Planted bugs that show in large tensors alone: along an axis, or two, what comes after the first places is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.gradients import going_back, gradients
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.parametrised import after

right = load("torch").operators


def cut(tensor: Any, axis: int, limit: int) -> Any:
    """A copy, zero after the first ``limit`` places of this axis."""
    tensor = tensor.clone(memory_format=torch.contiguous_format)
    if tensor.ndim >= -axis and tensor.shape[axis] > limit:
        tensor.narrow(axis, limit, tensor.shape[axis] - limit).zero_()
    return tensor


def unwritten(operator: str, axis: int, limit: int) -> Callable[..., Any]:
    """Past so many places of this axis of the result there are zeros."""
    return after(operator, lambda y: cut(y, axis, limit))


def one_more(operator: str, axis: int, limit: int) -> Callable[..., Any]:
    """Past so many places of this axis the result is too large by one; going back, all is right."""
    return after(operator, lambda y: y + (1.0 - cut(torch.ones_like(y), axis, limit)))


def unread(operator: str, axis: int, limit: int) -> Callable[..., Any]:
    """Past so many places of this axis of the first tensor zeros are read."""
    return lambda first, *others: right[operator](cut(first, axis, limit), *others)


def forgotten(operator: str, name: str, axis: int, limit: int) -> Callable[..., Any]:
    """The gradient of a tensor is zero past so many places of this axis."""
    return going_back(operator, lambda found, incoming, given: {name: cut(found[name], axis, limit)})


def unlearned(operator: str, name: str, axis: int, limit: int) -> Callable[..., Any]:
    """The gradient of a tensor takes so many places of this axis of the incoming one."""
    return going_back(
        operator,
        lambda found, incoming, given: {name: gradients(operator, given, cut(incoming, axis, limit)).get(name)},
    )


def steps_of_eight_at_most(input, weight, bias=None, stride=1, padding=0):
    return right["conv2d"](input, weight, bias, tuple(min(step, 8) for step in pair(stride)), padding)


def two_leading_axes_at_most(x, w, b=None):
    """The rows of x with three leading axes are those of its first two."""
    y = right["linear"](x, w, b)
    return y[..., :1, :].expand(y.shape).contiguous() if y.ndim > 3 else y


def where(operator: str, large: Callable[..., bool]) -> Callable[..., Any]:
    """The last element along the last axis is too large by one where this holds of the result and the arguments."""

    def called(*given: Any) -> Any:
        y = right[operator](*given)
        return torch.cat([y[..., :-1], y[..., -1:] + 1.0], -1) if y.numel() and large(y, *given) else y

    return called


def three_by_three(y, input, kernel_size, stride=None, padding=0):
    return pair(kernel_size) == (3, 3) and pair(stride or 3) == (2, 2) and input.shape[1] > 32


def coarse(operator: str, name: str, large: Callable[..., bool]) -> Callable[..., Any]:
    """The gradient of a tensor is rounded to bfloat16 where this holds of the arguments."""
    return going_back(
        operator,
        lambda found, incoming, given: (
            {name: found[name].bfloat16().to(found[name].dtype)} if name in found and large(*given) else {}
        ),
    )


def bug(name, clause, words, wrong, dtype="float32", tier="exact"):
    """A mutant of the clause's operator."""
    operators, kind = {clause.partition(".")[0]: wrong}, "gradient" if tier == "gradient" else "size"
    return Mutant(f"large-{name}", clause, words, operators, dtype, kind=kind, tier=tier, difficulty="rare")


MUTANTS = (
    bug(
        "swish-elements",
        "swish.formula",
        "past 65535 blocks of 2 elements nothing is written",
        unwritten("swish", 0, 2 * 65535),
        tier="enclosure",
    ),
    bug(
        "swish-gradient",
        "swish.gradient",
        "x's is zero past 100000 elements",
        forgotten("swish", "x", 0, 100000),
        "float16",
        "gradient",
    ),
    bug("linear-terms", "linear.formula", "sums end after 1024 terms", unread("linear", -1, 1024)),
    bug("linear-rows", "linear.batch", "past 65535 rows nothing is written", unwritten("linear", -2, 65535), "float16"),
    bug("linear-outputs", "linear.formula", "past 4096 outputs nothing is written", unwritten("linear", -1, 4096)),
    bug("linear-axes", "linear.batch", "two leading axes at most are gone through", two_leading_axes_at_most),
    bug(
        "linear-w-rows",
        "linear.gradient",
        "W's takes 1000 rows",
        unlearned("linear", "w", -2, 1000),
        "bfloat16",
        "gradient",
    ),
    bug("glu-terms", "glu.formula", "sums end after 4096 terms", unread("glu", -1, 4096), "float64", "enclosure"),
    bug("glu-rows", "glu.formula", "past 4096 rows one is added", one_more("glu", -2, 4096), tier="enclosure"),
    bug(
        "glu-v-features",
        "glu.gradient",
        "V's is zero past 2048 features",
        forgotten("glu", "v", -1, 2048),
        tier="gradient",
    ),
    bug(
        "swiglu-outputs",
        "swiglu.formula",
        "past 4096 outputs nothing is written",
        unwritten("swiglu", -1, 4096),
        "bfloat16",
        "enclosure",
    ),
    bug(
        "swiglu-rows",
        "swiglu.formula",
        "past 65535 rows nothing is written",
        unwritten("swiglu", -2, 65535),
        tier="enclosure",
    ),
    bug("swiglu-b-rows", "swiglu.gradient", "b's takes 512 rows", unlearned("swiglu", "b", -2, 512), tier="gradient"),
    bug("pad2d-columns", "pad2d.zeros", "columns past the 1024th are not written", unwritten("pad2d", -1, 1024)),
    bug("pad2d-planes", "pad2d.zeros", "planes past the 65535th are not written", unwritten("pad2d", -3, 65535)),
    bug(
        "pad2d-gradient",
        "pad2d.gradient",
        "is zero past 2048 rows",
        forgotten("pad2d", "x", -2, 2048),
        "float16",
        "gradient",
    ),
    bug("conv2d-inputs", "conv2d.channels", "input channels past the 64th are not read", unread("conv2d", 1, 64)),
    bug(
        "conv2d-many-inputs",
        "conv2d.channels",
        "input channels past the 1024th are not read",
        unread("conv2d", 1, 1024),
        "bfloat16",
    ),
    bug("conv2d-kernels", "conv2d.channels", "past 128 kernels one is added", one_more("conv2d", 1, 128)),
    bug("conv2d-rows", "conv2d.formula", "past 512 rows nothing is written", unwritten("conv2d", 2, 512), "float16"),
    bug("conv2d-samples", "conv2d.batch", "past 65535 samples nothing is written", unwritten("conv2d", 0, 65535)),
    bug("conv2d-steps", "conv2d.stride", "no step is longer than 8", steps_of_eight_at_most),
    bug(
        "conv2d-weight-samples",
        "conv2d.gradient",
        "the weight's takes 64 samples",
        unlearned("conv2d", "weight", 0, 64),
        tier="gradient",
    ),
    bug(
        "conv2d-input-channels",
        "conv2d.gradient",
        "the input's is zero past 256 channels",
        forgotten("conv2d", "input", 1, 256),
        "float64",
        "gradient",
    ),
    bug(
        "max_pool2d-planes",
        "max_pool2d.definition",
        "planes past the 64th are not written",
        unwritten("max_pool2d", 1, 64),
        "bfloat16",
    ),
    bug(
        "max_pool2d-rows",
        "max_pool2d.definition",
        "rows past the 1024th have one more",
        one_more("max_pool2d", 2, 1024),
    ),
    bug(
        "max_pool2d-samples",
        "max_pool2d.channels",
        "samples past the 65535th are not written",
        unwritten("max_pool2d", 0, 65535),
    ),
    bug(
        "linear-both",
        "linear.formula",
        "more than 256 outputs of as many features",
        where("linear", lambda y, x, w, b=None: min(w.shape) > 256),
    ),
    bug(
        "linear-area", "linear.formula", "weights past 2^20", where("linear", lambda y, x, w, b=None: w.numel() > 2**20)
    ),
    bug(
        "linear-samples",
        "linear.batch",
        "more than 128 rows in several samples",
        where("linear", lambda y, x, w, b=None: x.ndim > 2 and x.shape[-2] > 128),
    ),
    bug(
        "glu-both",
        "glu.formula",
        "more than 128 rows of as many outputs",
        where("glu", lambda y, *given: y.shape[-1] > 128 and y[..., 0].numel() > 128),
        tier="enclosure",
    ),
    bug(
        "swiglu-plain",
        "swiglu.formula",
        "more than 128 outputs without biases",
        where("swiglu", lambda y, x, w, v, b=None, c=None: b is None and c is None and len(w) > 128),
        "float16",
        "enclosure",
    ),
    bug(
        "conv2d-both",
        "conv2d.channels",
        "more than 32 kernels of more than 32 channels",
        where("conv2d", lambda y, input, weight, *others: min(weight.shape[:2]) > 32),
    ),
    bug(
        "conv2d-plane",
        "conv2d.formula",
        "planes of more than 4096 places",
        where("conv2d", lambda y, *given: y[0, 0].numel() > 4096),
        "float64",
    ),
    bug(
        "conv2d-steps-of-many",
        "conv2d.stride",
        "more than 64 kernels, in steps of two",
        where("conv2d", lambda y, input, w, b=None, stride=1, padding=0: len(w) > 64 and pair(stride) == (2, 2)),
    ),
    bug(
        "max_pool2d-both",
        "max_pool2d.definition",
        "more than 64 rows and columns",
        where("max_pool2d", lambda y, *given: min(y.shape[2:]) > 64),
    ),
    bug(
        "max_pool2d-window",
        "max_pool2d.definition",
        "windows longer than 33",
        where("max_pool2d", lambda y, input, kernel_size, *others: max(pair(kernel_size)) > 33),
    ),
    bug(
        "max_pool2d-residual",
        "max_pool2d.definition",
        "3 x 3 windows in steps of two, of more than 32 planes",
        where("max_pool2d", three_by_three),
    ),
    bug(
        "swish-four-axes",
        "swish.formula",
        "more than 2000 elements in four axes",
        where("swish", lambda y, *given: y.ndim == 4 and y.numel() > 2000),
        tier="enclosure",
    ),
    bug(
        "swiglu-layer",
        "swiglu.formula",
        "64 rows or more, of as many features and outputs",
        where("swiglu", lambda y, x, w, *others: min(*w.shape, y[..., 0].numel()) >= 64),
        tier="enclosure",
    ),
    bug(
        "pad2d-batch",
        "pad2d.zeros",
        "more than two samples",
        where("pad2d", lambda y, *given: y.ndim == 4 and len(y) > 2),
    ),
    bug(
        "conv2d-batch",
        "conv2d.batch",
        "8 samples or more, of 16 channels or more on both sides",
        where("conv2d", lambda y, input, w, *others: len(y) >= 8 and min(w.shape[:2]) >= 16),
    ),
    bug(
        "conv2d-layer",
        "conv2d.formula",
        "64 channels or more, 28 rows or more",
        where("conv2d", lambda y, input, w, *others: w.shape[1] >= 64 and y.shape[2] >= 28),
        "bfloat16",
    ),
    bug(
        "conv2d-coarse",
        "conv2d.gradient",
        "the input's is rounded to bfloat16 from 64 channels on",
        coarse("conv2d", "input", lambda input, *others: input.shape[1] >= 64),
        tier="gradient",
    ),
    bug(
        "max_pool2d-layer",
        "max_pool2d.definition",
        "16 planes or more, of 16 rows and columns or more",
        where("max_pool2d", lambda y, *given: min(y.shape[1:]) >= 16),
    ),
    bug(
        "max_pool2d-gradient",
        "max_pool2d.gradient",
        "is zero past 512 columns",
        forgotten("max_pool2d", "input", 3, 512),
        tier="gradient",
    ),
)
