"""The evaluator that ships with ONNX as the reference of its operators, in numpy."""

from __future__ import annotations

import functools

import onnx
from onnx.reference import ReferenceEvaluator

from assay.implementations import onnx_models as models

version, array, devices = f"onnx {onnx.__version__}", "numpy", ("cpu",)
dtypes, gradients = ("float64", "float32", "bfloat16", "float16"), False


@functools.cache
def evaluator(nodes, inputs):
    return ReferenceEvaluator(models.cached(nodes, inputs))


def run(nodes, tensors):
    return evaluator(nodes, models.signature(tensors)).run(None, dict(tensors))[0]


def swish(x, beta=None):
    return run(*models.swish(x, beta))


def linear(x, w, b=None):
    return run(*models.linear(x, w, b))


def glu(x, w, v, b=None, c=None):
    return run(*models.gated(models.GLU, x, w, v, b, c))


def swiglu(x, w, v, b=None, c=None):
    return run(*models.gated(models.SWIGLU, x, w, v, b, c))


def pad2d(x, padding):
    return run(*models.pad2d(x, padding))


def conv2d(input, weight, bias=None, stride=1, padding=0):
    return run(*models.conv2d(input, weight, bias, stride, padding))


def max_pool2d(input, kernel_size, stride=None, padding=0):
    return run(*models.max_pool2d(input, kernel_size, stride, padding))
