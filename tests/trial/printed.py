"""Layers as classes: the document's SwiGLU as it is printed, and mended, and PyTorch's convolution.

Torch is imported when a class is asked for: it takes a second or two, and few laws need it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def class_as_printed() -> type:
    """The class with its last line of ``__init__`` as printed: it reads ``self.c`` and assigns nothing."""
    import torch.nn.functional as F
    from torch import nn

    class SwiGLU(nn.Module):
        def __init__(self, w1: Any, w2: Any, b: Any, c: Any) -> None:
            super().__init__()
            self.w1 = w1
            self.w2 = w2
            self.b = b
            self.c  # noqa: B018  as printed

        def forward(self, x: Any) -> Any:
            x1 = F.linear(x, self.w1.weight, self.b)
            x2 = F.linear(x, self.w2.weight, self.c)
            return F.silu(x1) * x2

    return SwiGLU


def class_mended(linear: Callable[..., Any], silu: Callable[[Any], Any]) -> type:
    """The class with ``self.c = c``, over any ``linear(x, weight, bias)`` and ``silu(x)``."""
    from torch import nn

    class SwiGLU(nn.Module):
        def __init__(self, w1: Any, w2: Any, b: Any, c: Any) -> None:
            super().__init__()
            self.w1 = w1
            self.w2 = w2
            self.b = b
            self.c = c

        def forward(self, x: Any) -> Any:
            x1 = linear(x, self.w1.weight, self.b)
            x2 = linear(x, self.w2.weight, self.c)
            return silu(x1) * x2

    return SwiGLU


def layer(weight: Any) -> Any:
    """A ``torch.nn.Linear`` without a bias of its own, holding a numpy array of weights (out, in)."""
    import torch

    made = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")  # draws no random numbers
    made.weight = torch.nn.Parameter(torch.tensor(weight))
    return made


def shape_of_conv2d(input: Sequence[int], kernel_size: Sequence[int], **parameters: Any) -> tuple[int, ...]:
    """The shape that ``torch.nn.Conv2d`` with one channel gives for an input of this shape."""
    import torch

    made = torch.nn.Conv2d(1, 1, tuple(kernel_size), **parameters, device="meta")
    return tuple(made(torch.empty(tuple(input), device="meta")).shape)
