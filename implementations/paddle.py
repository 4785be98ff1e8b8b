"""Paddle's functional operators on the CPU, with its own differentiation. It has no half precision there."""

from __future__ import annotations

import numpy as np
import paddle
import paddle.nn.functional as F

from assay.implementations.through import around, inside, tensors_of, through
from assay.reference.conv2d import pair

paddle.set_device("cpu")
version, array, devices = f"paddle {paddle.__version__}", "numpy", ("cpu",)
dtypes = ("float64", "float32")


def enter(x):
    return paddle.to_tensor(np.array(x), stop_gradient=False)


in_paddle = through(enter, lambda tensor: tensor.numpy())


@in_paddle
def swish(x, beta=None):
    return F.silu(x) if beta is None else x * F.sigmoid(beta * x)  # composed: there is no swish with a beta


@in_paddle
def linear(x, w, b=None):
    return F.linear(x, w.T, b)


@in_paddle
def glu(x, w, v, b=None, c=None):
    return F.glu(paddle.concat([F.linear(x, v.T, c), F.linear(x, w.T, b)], axis=-1), axis=-1)


@in_paddle
def swiglu(x, w, v, b=None, c=None):
    return F.swiglu(F.linear(x, w.T, b), F.linear(x, v.T, c))


@in_paddle
def pad2d(x, padding):
    return F.pad(x, [each for both in around(x.shape, padding) for each in both], pad_from_left_axis=True)


@in_paddle
def conv2d(input, weight, bias=None, stride=1, padding=0):
    return F.conv2d(input, weight, bias, list(pair(stride)), list(pair(padding)))


@in_paddle
def max_pool2d(input, kernel_size, stride=None, padding=0):
    steps = None if stride is None else list(pair(stride))
    return F.max_pool2d(input, list(pair(kernel_size)), steps, list(pair(padding)))


def conv2d_parameters(in_channels, out_channels, kernel_size, bias=True):
    return paddle.nn.Conv2D(in_channels, out_channels, kernel_size, bias_attr=None if bias else False).parameters()


def vjp(operator, arguments, cotangent):
    tensors = {name: enter(arguments[name]) for name in tensors_of(arguments)}
    result = inside(globals()[operator])(*{**arguments, **tensors}.values())
    found = paddle.grad([result], list(tensors.values()), [enter(cotangent)])
    return {name: gradient.numpy() for name, gradient in zip(tensors, found, strict=True)}
