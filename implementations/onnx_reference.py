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


swish, linear, glu, swiglu, pad2d, conv2d, max_pool2d = models.operators(run)
