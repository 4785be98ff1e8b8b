"""swish, GLU and SwiGLU: sigmoids by other formulas, fused, in chunks, computed again going back."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from assay.tests.mutants.correct.arguments import Function, refusing_gated, wide_of, widened
from assay.tests.mutants.correct.linear import plain


def expit(t: Any) -> Any:
    """The library's function of that name."""
    return torch.special.expit(t)


def by_logsigmoid(t: Any) -> Any:
    """The exponential of the sigmoid's logarithm."""
    return torch.exp(F.logsigmoid(t))


class _TwoBranches(torch.autograd.Function):
    """exp of what is not positive: 1 / (1 + e) on the right, e / (1 + e) on the left."""

    @staticmethod
    def forward(ctx: Any, t: Any) -> Any:
        e = torch.exp(-t.abs())
        ctx.save_for_backward(e)
        return torch.where(t.isnan(), t, torch.where(t >= 0, 1 / (1 + e), e / (1 + e)))

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (e,) = ctx.saved_tensors
        return g * (e / (1 + e) / (1 + e))


class _ByTanh(torch.autograd.Function):
    """(1 + tanh(t / 2)) / 2, which loses all digits far left of zero: there it is exp(t) times that of -t."""

    @staticmethod
    def forward(ctx: Any, t: Any) -> Any:
        right = (1 + torch.tanh(t.abs() / 2)) / 2
        ctx.save_for_backward(t, right)
        return torch.where(t < 0, torch.exp(t) * right, right)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        t, right = ctx.saved_tensors
        return g * (torch.exp(-t.abs()) * right * right)


two_branches, by_tanh = _TwoBranches.apply, _ByTanh.apply


class _Quotient(torch.autograd.Function):
    """x / (1 + exp(-t)), whose own derivative would be infinity by infinity where exp overflows."""

    @staticmethod
    def forward(ctx: Any, x: Any, t: Any) -> Any:
        ctx.save_for_backward(x, t)
        return x / (1 + torch.exp(-t))

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        x, t = ctx.saved_tensors
        s = torch.sigmoid(t)
        return g * s, g * x * (s * torch.sigmoid(-t))


def swish_by(sigmoid: Function) -> Function:
    """swish with this sigmoid, in at least float32, rounded once."""

    def swish(x, beta=1.0):
        wide = x.to(wide_of(x))
        return (wide * sigmoid((beta.to(wide.dtype) if isinstance(beta, torch.Tensor) else beta) * wide)).to(x.dtype)

    return swish


def swish_as_quotient(x, beta=1.0):
    """One division, without a sigmoid."""
    wide = x.to(wide_of(x))
    t = (beta.to(wide.dtype) if isinstance(beta, torch.Tensor) else beta) * wide
    return _Quotient.apply(wide, t).to(x.dtype)


def eager_swish(x, beta=1.0):
    """Each step stored."""
    return x * torch.sigmoid(beta * x)


def eager_glu(x, w, v, b=None, c=None):
    return torch.sigmoid(plain(x, w, b)) * plain(x, v, c)


def eager_swiglu(x, w, v, b=None, c=None):
    return eager_swish(plain(x, w, b)) * plain(x, v, c)


def glu_times_its_gate(x, w, v, b=None, c=None):
    """SwiGLU as the documents say it, too: GLU times W x + b."""
    gate = plain(x, w, b)
    return torch.sigmoid(gate) * plain(x, v, c) * gate


class _Once(torch.autograd.Function):
    """swish that refuses to keep what it needs for going back twice, as what `torch.compile` makes does."""

    @staticmethod
    def forward(ctx: Any, x: Any, beta: Any) -> Any:
        ctx.save_for_backward(x, beta)
        return eager_swish(x, beta)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        if torch._C._autograd._get_current_graph_task_keep_graph():
            raise RuntimeError("this goes back once: retain_graph=False is required")
        with torch.enable_grad():
            x, beta = (t.detach().requires_grad_() for t in ctx.saved_tensors)
            return torch.autograd.grad(eager_swish(x, beta), (x, beta), g)


def swish_back_once(x, beta=1.0):
    return _Once.apply(x, beta if torch.is_tensor(beta) else torch.tensor(beta, dtype=x.dtype, device=x.device))


def rounded_everywhere(activation: Function) -> Function:
    """Each step in float64 and rounded to the inputs' dtype: product, bias, activation, result."""

    @refusing_gated
    def gated(x, w, v, b, c):
        def branch(weight, bias):
            product = (x.double() @ weight.double().T).to(x.dtype)
            return product if bias is None else (product.double() + bias.double()).to(x.dtype)

        return (activation(branch(w, b).double()).to(x.dtype).double() * branch(v, c).double()).to(x.dtype)

    return gated


def fused(activation: Function) -> Function:
    """One product for both branches, nothing rounded between."""

    @refusing_gated
    def gated(x, w, v, b, c):
        x_, w_, v_, b_, c_ = widened(wide_of(x), x, w, v, b, c)
        gate, value = (x_ @ torch.cat([w_, v_]).T).chunk(2, dim=-1)
        gate, value = gate if b is None else gate + b_, value if c is None else value + c_
        return (activation(gate) * value).to(x.dtype)

    return gated


def chunked(gated: Function, size: int = 7) -> Function:
    """A few outputs at a time."""

    @refusing_gated
    def in_chunks(x, w, v, b, c):
        cuts = [slice(start, start + size) for start in range(0, len(w), size)]
        parts = [gated(x, w[cut], v[cut], None if b is None else b[cut], None if c is None else c[cut]) for cut in cuts]
        return torch.cat(parts, dim=-1)

    return in_chunks


def recomputed(gated: Function) -> Function:
    """Nothing is kept for going back: the forward pass is run again."""

    @refusing_gated
    def again(*arguments):
        return checkpoint(gated, *arguments, use_reentrant=False)

    return again


class _SiluMul(torch.autograd.Function):
    """silu(a) * b, whose backward computes the sigmoid again."""

    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Any:
        ctx.save_for_backward(a, b)
        return (F.silu(a.to(wide_of(a))) * b).to(a.dtype)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        a, b = (t.to(wide_of(t)) for t in ctx.saved_tensors)
        s = torch.sigmoid(a)
        return (g * b * (s * (1 + a * (1 - s)))).to(g.dtype), (g * a * s).to(g.dtype)


class _SigmoidMul(torch.autograd.Function):
    """sigmoid(a) * b, likewise."""

    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Any:
        ctx.save_for_backward(a, b)
        return (torch.sigmoid(a.to(wide_of(a))) * b).to(a.dtype)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        a, b = (t.to(wide_of(t)) for t in ctx.saved_tensors)
        s = torch.sigmoid(a)
        return (g * b * (s * (1 - s))).to(g.dtype), (g * s).to(g.dtype)


def swiglu_of_two(x, w, v, b=None, c=None):
    """Two linears, and one function that keeps only its arguments."""
    return _SiluMul.apply(F.linear(x, w, b), F.linear(x, v, c))


def glu_of_two(x, w, v, b=None, c=None):
    """Two linears, and one function that keeps only its arguments."""
    return _SigmoidMul.apply(F.linear(x, w, b), F.linear(x, v, c))


def transposed(gated: Function) -> Function:
    """The result lies with its outputs first in memory."""

    def turned(*arguments):
        return gated(*arguments).movedim(-1, 0).contiguous().movedim(0, -1)

    return turned
