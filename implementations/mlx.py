"""MLX on the CPU: mlx.core and mlx.nn, channels last inside, gradients by mx.vjp."""

from __future__ import annotations

import ml_dtypes
import mlx.core as mx
import mlx.nn as nn
import numpy as np

from assay.implementations.through import around, inside, tensors_of, through
from assay.reference.conv2d import pair

mx.set_default_device(mx.cpu)
version, array, devices = f"mlx {mx.__version__}", "numpy", ("cpu",)
dtypes = ("float32", "bfloat16", "float16")  # float64 has no gradients of a convolution


def enter(x):
    if x.dtype == ml_dtypes.bfloat16:
        return mx.array(x.view(np.uint16)).view(mx.bfloat16)
    return mx.array(x, dtype=getattr(mx, str(x.dtype)))


def leave(y):
    return np.array(y.view(mx.uint16)).view(ml_dtypes.bfloat16) if y.dtype == mx.bfloat16 else np.array(y)


in_mlx = through(enter, leave)


@in_mlx
def swish(x, beta=None):
    return nn.silu(x) if beta is None else x * mx.sigmoid(beta * x)  # composed: silu has no beta


@in_mlx
def linear(x, w, b=None):
    return mx.matmul(x, w.T) if b is None else mx.addmm(b, x, w.T)


@in_mlx
def glu(x, w, v, b=None, c=None):
    return nn.glu(mx.concatenate([inside(linear)(x, v, c), inside(linear)(x, w, b)], axis=-1), axis=-1)


@in_mlx
def swiglu(x, w, v, b=None, c=None):
    return nn.silu(inside(linear)(x, w, b)) * inside(linear)(x, v, c)  # composed: there is no SwiGLU


@in_mlx
def pad2d(x, padding):
    return mx.pad(x, around(x.shape, padding))


@in_mlx
def conv2d(input, weight, bias=None, stride=1, padding=0):
    result = mx.conv2d(input.transpose(0, 2, 3, 1), weight.transpose(0, 2, 3, 1), pair(stride), pair(padding))
    return (result if bias is None else result + bias).transpose(0, 3, 1, 2)  # composed: conv2d has no bias


@in_mlx
def max_pool2d(input, kernel_size, stride=None, padding=0):
    pool = nn.MaxPool2d(pair(kernel_size), None if stride is None else pair(stride), pair(padding))
    return pool(input.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def vjp(operator, arguments, cotangent):
    names = tensors_of(arguments)

    def run(*tensors):
        return inside(globals()[operator])(*{**arguments, **dict(zip(names, tensors, strict=True))}.values())

    _, gradients = mx.vjp(run, [enter(arguments[name]) for name in names], [enter(cotangent)])
    return dict(zip(names, map(leave, gradients), strict=True))
