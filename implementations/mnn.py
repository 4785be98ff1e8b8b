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


def leave(result):
    planar = F.convert(result, F.NCHW)
    return np.array(planar.read())  # a copy, made while what it looks at is still there


in_mnn = through(enter, leave)


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


def across_and_down(size):
    """MNN names columns first."""
    rows, columns = pair(size)
    return [columns, rows]


@in_mnn
def conv2d(input, weight, bias=None, stride=1, padding=0):
    given = F.const([0.0] * weight.shape[0], [weight.shape[0]]) if bias is None else bias  # composed: bias is a must
    steps, sides, images = across_and_down(stride), across_and_down(padding), F.convert(input, F.NC4HW4)
    return F.conv2d(images, weight, given, steps, sides, padding_mode=F.CAFFE)


@in_mnn
def max_pool2d(input, kernel_size, stride=None, padding=0):
    sizes, steps = across_and_down(kernel_size), across_and_down(kernel_size if stride is None else stride)
    mode = F.CAFFE if any(pair(padding)) else F.VALID  # VALID knows no padding
    return F.max_pool(F.convert(input, F.NC4HW4), sizes, steps, mode, across_and_down(padding))
