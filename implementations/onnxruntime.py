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


swish, linear, glu, swiglu, pad2d, conv2d, max_pool2d = models.operators(run)
