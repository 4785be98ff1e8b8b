"""Units that multiply numbers of fewer bits than the tensors have: bfloat16 in place of float32, float32 of float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F

from assay.tests.mutants.correct.arguments import refusing_conv2d, refusing_linear, windows

Rounding = Mapping[torch.dtype, torch.dtype]
FEW_BITS: Rounding = {torch.float32: torch.bfloat16}
SINGLE: Rounding = {torch.float64: torch.float32}


def operands(by: Rounding, *tensors: Any) -> list[Any]:
    """The numbers as the unit reads them, in the format in which it adds up."""
    return [t.to(by[t.dtype]).float() if t.dtype in by else t for t in tensors]


def linear(by: Rounding) -> Any:
    """linear on such a unit, and both of its products going back."""

    class Linear(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, w: Any, b: Any) -> Any:
            ctx.save_for_backward(x, w, b)
            product = F.linear(*operands(by, x, w)).to(x.dtype)
            return product if b is None else product + b

        @staticmethod
        def backward(ctx: Any, incoming: Any) -> Any:
            x, w, b = ctx.saved_tensors
            of_x, of_w, of_g = operands(by, rows_of(x), w, rows_of(incoming))
            by_b = None if b is None else rows_of(incoming).sum(0)
            return (of_g @ of_w).to(x.dtype).reshape(x.shape), (of_g.T @ of_x).to(w.dtype), by_b

    return refusing_linear(lambda x, w, b=None: Linear.apply(x, w, b))


def rows_of(t: torch.Tensor) -> torch.Tensor:
    return t.reshape(t.shape[:-1].numel(), t.shape[-1])


def conv2d(by: Rounding) -> Any:
    """conv2d as products of windows on such a unit."""
    product = linear(by)

    @refusing_conv2d
    def called(input: Any, weight: Any, bias: Any, stride: Any, padding: Any) -> Any:
        columns = windows(input, weight.shape[2:], stride, padding).permute(0, 2, 3, 1, 4, 5).flatten(3)
        return product(columns, weight.flatten(1), bias).permute(0, 3, 1, 2)

    return called
