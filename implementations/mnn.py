"""MNN: operators of MNN.expr on its CPU backend, four channels together inside."""

from __future__ import annotations

import importlib.metadata

import MNN.expr as F
import numpy as np

from assay.implementations.through import around, inside, through
from assay.reference.conv2d import pair

version, array, devices = f"mnn {importlib.metadata.version('mnn')}", "numpy", ("cpu",)
dtypes, gradients = ("float32",), False


def enter(x):
    return F.const(np.array(x, order="C"), x.shape, F.NCHW, F.float)


in_mnn = through(enter, lambda result: np.array(F.convert(result, F.NCHW).read()))


@in_mnn
def swish(x, beta=None):
    return x * F.sigmoid(x if beta is None else x * beta)  # composed: there is no swish


@in_mnn
def linear(x, w, b=None):
    product = F.matmul(x, w, False, True)
    return product if b is None else F.add(product, b)


@in_mnn
def glu(x, w, v, b=None, c=None):
    return F.sigmoid(inside(linear)(x, w, b)) * inside(linear)(x, v, c)  # composed: there is no GLU


@in_mnn
def swiglu(x, w, v, b=None, c=None):
    return inside(swish)(inside(linear)(x, w, b)) * inside(linear)(x, v, c)  # composed: there is no SwiGLU


@in_mnn
def pad2d(x, padding):
    sides = [each for both in around(x.shape, padding) for each in both]
    return F.pad(x, F.const(sides, [len(x.shape), 2], F.NCHW, F.int), F.CONSTANT)


@in_mnn
def conv2d(input, weight, bias=None, stride=1, padding=0):
    given = F.const([0.0] * weight.shape[0], [weight.shape[0]]) if bias is None else bias  # composed: bias is a must
    return F.conv2d(F.convert(input, F.NC4HW4), weight, given, pair(stride), pair(padding))


@in_mnn
def max_pool2d(input, kernel_size, stride=None, padding=0):
    steps = pair(kernel_size if stride is None else stride)
    return F.max_pool(F.convert(input, F.NC4HW4), pair(kernel_size), steps, F.CAFFE, pair(padding))
