"""ONNX Runtime: models of the operators on its CPU provider. ONNX has a Swish; the gates are made of its operators."""

from __future__ import annotations

import functools

import onnxruntime

from assay.implementations import onnx_models as models

version, array, devices = f"onnxruntime {onnxruntime.__version__}", "numpy", ("cpu",)
dtypes, gradients = ("float32", "float16"), False  # its CPU provider has no Conv in float64


@functools.cache
def session(nodes, inputs):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return onnxruntime.InferenceSession(models.cached(nodes, inputs).SerializeToString(), options)


def run(nodes, tensors):
    return session(nodes, models.signature(tensors)).run(None, dict(tensors))[0]


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
