"""tract, which runs ONNX models of the operators: weights are constants of the model."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import tract

from assay.implementations import onnx_models as models

version, array, devices = f"tract {tract.version()}", "numpy", ("cpu",)
dtypes, gradients = ("float32",), False


def run(nodes, tensors):
    (name, first), *rest = tensors.items()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "operator.onnx")
        path.write_bytes(models.model(nodes, {name: first}, dict(rest)).SerializeToString())
        network = tract.onnx().load(path).into_model().into_runnable()
    return network.run([np.array(first, order="C")])[0].to_numpy()


def swish(x, beta=None):
    return run(*models.swish(x, beta, parts=True))


def linear(x, w, b=None):
    return run(*models.linear(x, w, b))


def glu(x, w, v, b=None, c=None):
    return run(*models.gated(models.GLU, x, w, v, b, c))


def swiglu(x, w, v, b=None, c=None):
    return run(*models.gated(models.SWIGLU_OF_ITS_PARTS, x, w, v, b, c))


def pad2d(x, padding):
    return run(*models.pad2d(x, padding))


def conv2d(input, weight, bias=None, stride=1, padding=0):
    return run(*models.conv2d(input, weight, bias, stride, padding))


def max_pool2d(input, kernel_size, stride=None, padding=0):
    return run(*models.max_pool2d(input, kernel_size, stride, padding))
