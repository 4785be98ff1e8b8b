"""PyTorch's own operators, eager, with strict float32: TF32 is off, and on a GPU no partial sums are kept in 16 bits.

PyTorch has no swish with a beta, so its own operators compose one where beta is not the default.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

version = f"torch {torch.__version__}"

# Measured on torch 2.13, CPU (docs/findings.md): these gradients are accumulated in the storage format, and oneDNN's
# bfloat16 convolution multiplies in pairs, where a NaN beside the window meets a weight of zero, and takes subnormal
# numbers for zero, as inputs and as results (float16 and float32 keep them).
precision: dict[str, dict[str, object]] = {
    f"{operator}.backward.{dtype}": {"accumulation": "storage"}
    for operator in ("conv2d", "max_pool2d")
    for dtype in ("bfloat16", "float16")
} | {"conv2d.forward.bfloat16": {"spreads": True, "flush": True}}

torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False
torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False  # it is True unless told otherwise:
torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False  # "Numerical accuracy" in PyTorch's notes


def swish(x, beta=None):
    return F.silu(x) if beta is None else x * torch.sigmoid(beta * x)  # composed: there is no swish with a beta


def glu(x, w, v, b=None, c=None):
    return F.glu(torch.cat([F.linear(x, v, c), F.linear(x, w, b)], dim=-1), dim=-1)


def swiglu(x, w, v, b=None, c=None):
    return F.silu(F.linear(x, w, b)) * F.linear(x, v, c)  # composed: there is no SwiGLU


linear = F.linear


def pad2d(x, padding):
    return F.pad(x, (padding, padding, padding, padding))


conv2d = F.conv2d


def max_pool2d(input, kernel_size, stride=None, padding=0):
    return F.max_pool2d(input, kernel_size, stride, padding)


def conv2d_parameters(in_channels, out_channels, kernel_size, bias=True):
    return list(torch.nn.Conv2d(in_channels, out_channels, kernel_size, bias=bias).parameters())
