"""linear by other ways than one matrix product."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from assay.tests.mutants.correct.arguments import refusing_linear, wide_of, widened


def plain(x, w, b=None):
    """The product, and the bias added after it is stored."""
    return x @ w.T if b is None else x @ w.T + b


@refusing_linear
def by_einsum(x, w, b=None):
    """The sum over k, spelled out."""
    product = torch.einsum("...k,ok->...o", x, w)
    return product if b is None else product + b


@refusing_linear
def by_bmm(x, w, b=None):
    """Each row a batch of its own."""
    rows = x.reshape(x.shape[:-1].numel(), 1, x.shape[-1])
    product = torch.bmm(rows, w.T.expand(len(rows), *w.T.shape)).reshape(*x.shape[:-1], len(w))
    return product if b is None else product + b


@refusing_linear
def by_outer_products(x, w, b=None):
    """A matrix of rank one for each feature, added to what there is."""
    x_, w_, b_ = widened(wide_of(x), x, w, b)
    total = x_.new_zeros(*x.shape[:-1], len(w)) + (0.0 if b is None else b_)
    for k in range(x.shape[-1]):
        total = total + x_[..., k : k + 1] * w_[:, k]
    return total.to(x.dtype)


@refusing_linear
def transposed(x, w, b=None):
    """W x as columns, turned back: the result does not lie in row order."""
    return F.linear(x, w, b).transpose(0, -1).contiguous().transpose(0, -1)


@refusing_linear
def into_a_buffer(x, w, b=None):
    """The result is every other column of new memory that is twice as wide, from its second row on."""
    result = F.linear(x, w, b)
    buffer = result.new_full((x.shape[:-1].numel() + 1, 2 * len(w)), float("nan"))
    view = buffer[1:, ::2].view(result.shape)
    return view.copy_(result)


class _Own(torch.autograd.Function):
    """linear whose derivatives are written out."""

    @staticmethod
    def forward(ctx: Any, x: Any, w: Any, b: Any) -> Any:
        ctx.save_for_backward(x, w)
        return F.linear(x, w, b)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        x, w = ctx.saved_tensors
        g_, x_, w_ = widened(wide_of(x), g, x, w)
        rows, features = g_.reshape(-1, len(w)), x_.reshape(-1, x.shape[-1])
        b = rows.sum(0).to(x.dtype) if ctx.needs_input_grad[2] else None
        return (g_ @ w_).to(x.dtype), (rows.T @ features).to(x.dtype), b


@refusing_linear
def with_own_gradient(x, w, b=None):
    """Derivatives by hand, in at least float32."""
    return _Own.apply(x, w, b)
