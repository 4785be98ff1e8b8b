"""Planted bugs of precision: the formula is right, and its numbers are too coarse.

Each goes back as PyTorch does, so that only the values are wrong. Gates have a file of their own, gradients too.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.mutant import Mutant

right = load("torch").operators
BF16, F16, F32, F64 = torch.bfloat16, torch.float16, torch.float32, torch.float64


class Valued(torch.autograd.Function):
    """The wrong values, and the right ones' slopes."""

    @staticmethod
    def forward(ctx: Any, correct: Any, wrong: Any) -> Any:
        return wrong.to(correct.dtype, copy=True)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g, None


def wide(t):
    return t.to(torch.promote_types(t.dtype, F32))


# --- sums


def linear_by(product):
    """A linear map whose sums of products are those of ``product(x, w)``."""

    def linear(x, w, b=None):
        y = product(wide(x), wide(w))
        return y if b is None else y + wide(b)

    return linear


def gated_by(activation, linear=F.linear):
    """GLU or SwiGLU with this gate, unless ``linear`` is another, too."""
    return lambda x, w, v, b=None, c=None: activation(linear(x, w, b)) * linear(x, v, c)


def running_sum(size, dtype):
    """Products summed ``size`` at a time, in an accumulator of ``dtype``."""

    def product(x, w):
        total = torch.zeros(())
        for part, weights in zip(x.split(size, -1), w.split(size, -1), strict=True):
            total = (total + part @ weights.mT).to(dtype).to(F32)
        return total

    return product


def channel_by_channel(input, weight, bias=None, *parameters):
    """Each input channel's part is added to an accumulator in float16."""
    total = torch.zeros(())
    for part, weights in zip(wide(input).split(1, 1), wide(weight).split(1, 1), strict=True):
        total = (total + F.conv2d(part, weights, None, *parameters)).half().float()
    return total if bias is None else total + wide(bias)[:, None, None]


def cut(t, bits, half=0):
    """float32 without its last ``bits`` bits: chopped off, or with ``half`` of what is lost added before."""
    return ((wide(t).contiguous().view(torch.int32) + half) & -(1 << bits)).view(F32)


def tf32(t):
    return cut(t, 13, 0x1000)


def tf32_chopped(t):
    return cut(t, 13)


def in_two_halves(x, w):
    """float32 as two bfloat16 numbers each, of whose four products the smallest is left out."""
    (x1, x2), (w1, w2) = ((t.bfloat16().float(), (t - t.bfloat16().float()).bfloat16().float()) for t in (x, w))
    return x1 @ w1.mT + x1 @ w2.mT + x2 @ w1.mT


def by_transform(input, weight, bias=None, stride=1, padding=0):
    """Through the frequency domain in float32: the error is a share of the plane's largest element."""
    if not len(input):
        return right["conv2d"](input, weight, bias, stride, padding)
    (above, before), (down, across) = pair(padding), pair(stride)
    x = F.pad(input, (before, before, above, above))
    size, (kh, kw) = x.shape[2:], weight.shape[2:]
    seen = torch.fft.rfft2(x)[:, None] * torch.fft.rfft2(weight, s=size).conj()
    y = torch.fft.irfft2(seen.sum(2), s=size)[:, :, : size[0] - kh + 1 : down, : size[1] - kw + 1 : across]
    return y if bias is None else y + bias[:, None, None]


def half_gates(x, w, v, b=None, c=None):
    return F.silu(F.linear(x.half(), w.half(), None if b is None else b.half())).float() * F.linear(x, v, c)


# --- results


def passed_through(name, *rounded):
    """The right result in float32 (float64 from float32), rounded by each of these in turn."""

    def operator(x, *rest):
        wider = F64 if x.dtype is F32 else F32
        result = right[name](x.to(wider), *[t.to(wider) if isinstance(t, torch.Tensor) else t for t in rest])
        for to in rounded:
            result = to(result) if callable(to) else result.to(to)
        return result

    return operator


def chopped(t):
    """float64 to float32 towards zero."""
    t32 = t.float()
    return torch.where(t32.double().abs() > t.abs(), torch.nextafter(t32, torch.zeros_like(t32)), t32)


def scaled(name, factor):
    return lambda *given: right[name](*given) * factor


def last_channel_scaled(*given):
    result = right["conv2d"](*given).clone()
    result[:, -1] *= 1.001
    return result


def biases_in_bfloat16(x, w, v, b=None, c=None):
    b, c = (None if t is None else t.bfloat16().to(t.dtype) for t in (b, c))
    return right["glu"](x, w, v, b, c)


def bug(name, clause, words, wrong, dtype="float32", tier="enclosure", difficulty="subtle"):
    """A mutant of the clause's operator: ``wrong`` gives its values, PyTorch its gradients."""
    operator = clause.partition(".")[0]

    def valued(*given):
        return Valued.apply(right[operator](*given), wrong(*given))

    operators, kind = {operator: valued}, "precision"
    return Mutant(f"precision-{name}", clause, words, operators, dtype, kind=kind, tier=tier, difficulty=difficulty)


MUTANTS = (
    bug(
        "sum-in-bfloat16",
        "linear.formula",
        "sums 16 products at a time into a bfloat16",
        linear_by(running_sum(16, BF16)),
        "bfloat16",
    ),
    bug(
        "glu-sum-in-float16",
        "glu.formula",
        "sums 8 products at a time into a float16",
        gated_by(torch.sigmoid, linear_by(running_sum(8, F16))),
        "float16",
    ),
    bug(
        "swiglu-sum-in-bfloat16",
        "swiglu.formula",
        "sums 4 products at a time into a bfloat16",
        gated_by(F.silu, linear_by(running_sum(4, BF16))),
        "bfloat16",
    ),
    bug("channels-in-float16", "conv2d.formula", "adds channel to channel in float16", channel_by_channel, "float16"),
    bug("tf32", "linear.formula", "operands are rounded to TF32", linear_by(lambda x, w: tf32(x) @ tf32(w).mT)),
    bug(
        "tf32-chopped-input",
        "conv2d.formula",
        "the input is cut to TF32's bits",
        lambda x, *rest: F.conv2d(tf32_chopped(x), *rest),
    ),
    bug(
        "tf32-chopped-weights",
        "swiglu.formula",
        "weights are cut to TF32's bits",
        gated_by(F.silu, linear_by(lambda x, w: x @ tf32_chopped(w).mT)),
    ),
    bug(
        "three-products",
        "linear.formula",
        "float32 by three products of bfloat16, which drops the last bits",
        linear_by(in_two_halves),
    ),
    bug(
        "transformed", "conv2d.formula", "a Fourier transform in float32, undeclared", by_transform, difficulty="plain"
    ),
    bug(
        "float32-product",
        "linear.formula",
        "float64 is multiplied in float32",
        linear_by(lambda x, w: (x.float() @ w.float().mT).double()),
        "float64",
    ),
    bug(
        "float32-convolution",
        "conv2d.formula",
        "float64 is convolved in float32",
        lambda x, w, b=None, *rest: F.conv2d(x.float(), w.float(), None if b is None else b.float(), *rest),
        "float64",
    ),
    bug(
        "float32-border",
        "pad2d.zeros",
        "float64 is copied through float32",
        lambda x, padding: right["pad2d"](x.float(), padding),
        "float64",
        tier="exact",
        difficulty="plain",
    ),
    bug("half-gates", "swiglu.formula", "the gate's sums are in float16", half_gates),
    bug("bfloat16-biases", "glu.biases", "biases are kept in bfloat16", biases_in_bfloat16),
    bug(
        "twice-rounded",
        "linear.formula",
        "rounds to TF32's 11 bits, and then to bfloat16",
        passed_through("linear", tf32),
        "bfloat16",
        difficulty="rare",
    ),
    bug(
        "range-of-float16",
        "linear.formula",
        "bfloat16 results pass through float16, and its range",
        passed_through("linear", F16),
        "bfloat16",
    ),
    bug(
        "bits-of-bfloat16",
        "max_pool2d.definition",
        "float16 results pass through bfloat16, and its bits",
        passed_through("max_pool2d", BF16),
        "float16",
        tier="exact",
        difficulty="plain",
    ),
    bug(
        "chopped-bfloat16",
        "linear.formula",
        "bfloat16 results are cut, not rounded",
        passed_through("linear", lambda t: cut(t, 16)),
        "bfloat16",
    ),
    bug(
        "chopped-float16",
        "conv2d.formula",
        "float16 results are cut, not rounded",
        passed_through("conv2d", lambda t: cut(t, 13)),
        "float16",
    ),
    bug(
        "chopped-float32",
        "linear.formula",
        "float32 results are float64's, cut",
        passed_through("linear", chopped),
        difficulty="rare",
    ),
    bug("scaled-1e-5", "linear.formula", "results are 1 + 1e-5 times too large", scaled("linear", 1 + 1e-5)),
    bug("scaled-1e-6", "swish.odd-part", "results are 1 + 2e-6 times too large", scaled("swish", 1 + 2e-6)),
    bug(
        "scaled-1e-14",
        "glu.formula",
        "results are 1 + 1e-14 times too large",
        scaled("glu", 1 + 1e-14),
        "float64",
    ),
    bug(
        "last-channel",
        "conv2d.formula",
        "the last output channel is 1.001 times too large",
        last_channel_scaled,
        difficulty="plain",
    ),
)
