"""Correct but different: implementations that compute the same in other ways, which no law may reject."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.contract import Implementation
from assay.implementations.load import load
from assay.reference.conv2d import pair

STORED_SUMS = {f"conv2d.backward.{dtype}": {"accumulation": "storage"} for dtype in ("bfloat16", "float16")}


def _silu(t: Any) -> Any:
    return t * torch.special.expit(t)


def _refusing_conv2d(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, which raises on arguments that do not fit each other."""

    def checked(input, weight, bias=None, stride=1, padding=0):
        fits = all(
            size + 2 * p >= k for size, p, k in zip(input.shape[2:], pair(padding), weight.shape[2:], strict=True)
        )
        channels = input.shape[1] == weight.shape[1] and (bias is None or bias.shape == weight.shape[:1])
        if not (fits and channels and min(pair(stride)) > 0 and min(pair(padding)) >= 0):
            raise ValueError("these arguments do not fit each other")
        return function(input, weight, bias, stride, padding)

    return checked


def _refusing_pool(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, which raises on arguments that do not fit each other."""

    def checked(input, kernel_size, stride=None, padding=0):
        axes = list(zip(input.shape[2:], pair(kernel_size), pair(padding), strict=True))
        fits = all(size + 2 * p >= k >= 2 * p >= 0 for size, k, p in axes)
        if not (fits and (stride is None or min(pair(stride)) > 0)):
            raise ValueError("these arguments do not fit each other")
        return function(input, kernel_size, stride, padding)

    return checked


def _unfolded(input: Any, kernel: tuple[int, int], stride: Any, padding: Any, fill: float) -> Any:
    (above, before), (down, right) = pair(padding), pair(stride)
    padded = F.pad(input, (before, before, above, above), value=fill)
    return padded.unfold(2, kernel[0], down).unfold(3, kernel[1], right)


@_refusing_conv2d
def im2col(input, weight, bias=None, stride=1, padding=0):
    """Windows laid out as rows, one matrix product, the bias added after it."""
    columns = _unfolded(input, tuple(weight.shape[2:]), stride, padding, 0.0).permute(0, 2, 3, 1, 4, 5)
    result = (columns.flatten(3) @ weight.flatten(1).T).permute(0, 3, 1, 2)
    return result if bias is None else result + bias[:, None, None]


@_refusing_conv2d
def shift_and_add(input, weight, bias=None, stride=1, padding=0):
    """One tap of the kernel after the other, last first, summed in at least float32."""
    wide = torch.promote_types(input.dtype, torch.float32)
    (above, before), (down, right) = pair(padding), pair(stride)
    x, w = F.pad(input.to(wide), (before, before, above, above)), weight.to(wide)
    rows, columns = (x.shape[2] - w.shape[2]) // down + 1, (x.shape[3] - w.shape[3]) // right + 1
    total = 0 if bias is None else bias.to(wide)[:, None, None]
    for u in reversed(range(w.shape[2])):
        for v in range(w.shape[3]):
            tap = x[:, :, u : u + rows * down : down, v : v + columns * right : right][:, :, :rows, :columns]
            total = total + torch.einsum("ncij,oc->noij", tap, w[:, :, u, v])
    return total.to(input.dtype)


@_refusing_pool
def unfolded_max(input, kernel_size, stride=None, padding=0):
    """The maximum over windows laid out flat."""
    kernel = pair(kernel_size)
    return _unfolded(input, kernel, stride or kernel, padding, -float("inf")).flatten(4).max(-1).values


@_refusing_pool
def separable_max(input, kernel_size, stride=None, padding=0):
    """Columns first, then rows."""
    kernel, (above, before) = pair(kernel_size), pair(padding)
    down, right = pair(stride or kernel)
    padded = F.pad(input, (before, before, above, above), value=-float("inf"))
    rows = padded.unfold(3, kernel[1], right).max(-1).values
    return rows.unfold(2, kernel[0], down).max(-1).values


def padded_by_copy(x, padding):
    """A tensor of zeros, and x copied into its middle."""
    *n, height, width = x.shape
    result = x.new_zeros(*n, height + 2 * padding, width + 2 * padding)
    result[..., padding : padding + height, padding : padding + width] = x
    return result


def padded_by_cat(x, padding):
    """Zeros joined on, side by side."""
    for axis in (-1, -2):
        shape = list(x.shape)
        shape[axis] = padding
        x = torch.cat([x.new_zeros(shape), x, x.new_zeros(shape)], dim=axis)
    return x


def _wide(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same in float64 throughout, rounded once."""

    def wide(*arguments: Any) -> Any:
        given = [a.double() if isinstance(a, torch.Tensor) else a for a in arguments]
        return function(*given).to(arguments[0].dtype)

    return wide


def _reversed_linear(x, w, b=None):
    return F.linear(x.flip(-1), w.flip(-1), b)


def _split_linear(x, w, b=None):
    """The sum in two halves, the bias with the first."""
    half = x.shape[-1] // 2
    wide = torch.promote_types(x.dtype, torch.float32)
    x, w, b, dtype = x.to(wide), w.to(wide), None if b is None else b.to(wide), x.dtype
    return (F.linear(x[..., :half], w[:, :half], b) + F.linear(x[..., half:], w[:, half:])).to(dtype)


def _plain_linear(x, w, b=None):
    return x @ w.T if b is None else x @ w.T + b


def _fused_swiglu(x, w, v, b=None, c=None):
    """One product for both branches, nothing rounded between."""
    if not (w.shape == v.shape and all(bias is None or bias.shape == w.shape[:1] for bias in (b, c))):
        raise ValueError("these sizes do not fit each other")
    wide = torch.promote_types(x.dtype, torch.float32)
    both = x.to(wide) @ torch.cat([w, v]).to(wide).T
    gate, value = both.chunk(2, dim=-1)
    gate = gate if b is None else gate + b.to(wide)
    value = value if c is None else value + c.to(wide)
    return (_silu(gate) * value).to(x.dtype)


class _SiluMul(torch.autograd.Function):
    """silu(a) * b, whose backward computes the sigmoid again."""

    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return (F.silu(a.float() if a.dtype != torch.float64 else a) * b).to(a.dtype)

    @staticmethod
    def backward(ctx, g):
        a, b = (t.float() if t.dtype != torch.float64 else t for t in ctx.saved_tensors)
        s = torch.sigmoid(a)
        return (g * b * (s * (1 + a * (1 - s)))).to(g.dtype), (g * a * s).to(g.dtype)


def _swish(x, beta=1.0):
    return x * torch.sigmoid(beta * x)


EAGER = {
    "swish": _swish,
    "linear": _plain_linear,
    "glu": lambda x, w, v, b=None, c=None: torch.sigmoid(_plain_linear(x, w, b)) * _plain_linear(x, v, c),
    "swiglu": lambda x, w, v, b=None, c=None: _swish(_plain_linear(x, w, b)) * _plain_linear(x, v, c),
    "pad2d": padded_by_copy,
    "conv2d": im2col,
    "max_pool2d": unfolded_max,
}

VARIANTS: dict[str, tuple[dict[str, Callable[..., Any]], dict[str, Any]]] = {
    "eager": (EAGER, STORED_SUMS),
    "float64": ({name: _wide(function) for name, function in EAGER.items()}, {}),
    "reversed": ({"linear": _reversed_linear, "max_pool2d": separable_max}, {}),
    "shifted": ({"conv2d": shift_and_add, "linear": _split_linear, "pad2d": padded_by_cat}, {}),
    "fused": ({"swiglu": _fused_swiglu, "swish": _wide(lambda x, beta=1.0: x * torch.exp(F.logsigmoid(beta * x)))}, {}),
    "recomputed": (
        {
            "swiglu": lambda x, w, v, b=None, c=None: _SiluMul.apply(F.linear(x, w, b), F.linear(x, v, c)),
            "glu": lambda x, w, v, b=None, c=None: F.linear(x, v, c) * F.linear(x, w, b).sigmoid(),
        },
        {},
    ),
    "turned": (
        {
            "linear": lambda x, w, b=None: F.linear(x, w, b).transpose(0, -1).contiguous().transpose(0, -1),
            "conv2d": lambda *a: F.conv2d(*a).to(memory_format=torch.channels_last),
        },
        STORED_SUMS,
    ),
}


def variant(name: str) -> Implementation:
    """A correct implementation by name."""
    operators, precision = VARIANTS[name]
    torch_adapter = load("torch")
    return Implementation(
        f"correct {name}",
        {"conv2d_parameters": torch_adapter.operators["conv2d_parameters"], **operators},
        precision=precision,
        recipe=f"import types\nfrom assay.tests.mutants.correct import VARIANTS\n"
        f"candidate = types.SimpleNamespace(**VARIANTS[{name!r}][0])",
    )


def __getattr__(name: str) -> Any:
    """Each variant by name, so that `assay check assay.tests.mutants.correct:eager` judges it."""
    if name in VARIANTS:
        operators, precision = VARIANTS[name]
        return types.SimpleNamespace(**operators, precision=precision)
    raise AttributeError(name)
