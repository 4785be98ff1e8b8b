"""tinygrad: methods of its Tensor, on its CPU backend (which calls clang), with its own differentiation."""

from __future__ import annotations

import importlib.metadata

import numpy as np
from tinygrad import Tensor

from assay.implementations.through import inside, tensors_of, through
from assay.reference.conv2d import pair

version, array, devices = f"tinygrad {importlib.metadata.version('tinygrad')}", "numpy", ("cpu",)
dtypes = ("float64", "float32", "float16")  # its C for bfloat16 is refused by clang before 17


def enter(x):
    return Tensor(np.array(x), device="CPU")


in_tinygrad = through(enter, Tensor.numpy)


@in_tinygrad
def swish(x, beta=None):
    return x.swish() if beta is None else x * (beta * x).sigmoid()  # composed: swish has no beta


@in_tinygrad
def linear(x, w, b=None):
    return x.linear(w.T, b)


@in_tinygrad
def glu(x, w, v, b=None, c=None):
    return x.linear(w.T, b).sigmoid() * x.linear(v.T, c)  # composed: there is no GLU


@in_tinygrad
def swiglu(x, w, v, b=None, c=None):
    return x.linear(w.T, b).silu() * x.linear(v.T, c)  # composed: there is no SwiGLU


@in_tinygrad
def pad2d(x, padding):
    return x.pad((padding,) * 4)  # composed: a tuple, both ends of both axes


@in_tinygrad
def conv2d(input, weight, bias=None, stride=1, padding=0):
    (rows, columns), steps = pair(padding), pair(stride)
    return input.conv2d(weight, bias, stride=steps, padding=(columns, columns, rows, rows))


@in_tinygrad
def max_pool2d(input, kernel_size, stride=None, padding=0):
    (rows, columns), steps = pair(padding), None if stride is None else pair(stride)
    return input.max_pool2d(pair(kernel_size), steps, padding=(columns, columns, rows, rows))


def vjp(operator, arguments, cotangent):
    tensors = {name: enter(arguments[name]) for name in tensors_of(arguments)}
    result = inside(globals()[operator])(*{**arguments, **tensors}.values())
    found = result.gradient(*tensors.values(), gradient=enter(cotangent))
    return {name: gradient.numpy() for name, gradient in zip(tensors, found, strict=True)}
