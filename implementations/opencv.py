"""OpenCV's dnn module, which runs ONNX models of the operators: weights are constants of the model."""

from __future__ import annotations

import cv2
import numpy as np

from assay.implementations import onnx_models as models

version, array, devices = f"opencv {cv2.__version__}", "numpy", ("cpu",)
dtypes, gradients = ("float32",), False


def run(nodes, tensors):
    (name, first), *rest = tensors.items()
    model = models.model(nodes, {name: first}, dict(rest)).SerializeToString()
    network = cv2.dnn.readNetFromONNX(np.frombuffer(model, np.uint8))
    network.setInput(np.array(first, order="C"), name)
    return network.forward()


def swish(x, beta=None):
    return run(*models.swish(x, beta, parts=True))


def rows(x, w, nodes, tensors):
    """Its MatMul takes no vector, so samples come as the rows of a matrix."""
    return run(nodes, tensors | {"x": x.reshape(-1, x.shape[-1])}).reshape(*x.shape[:-1], w.shape[0])


def linear(x, w, b=None):
    return rows(x, w, *models.linear(x, w, b))


def glu(x, w, v, b=None, c=None):
    return rows(x, w, *models.gated(models.GLU, x, w, v, b, c))


def swiglu(x, w, v, b=None, c=None):
    return rows(x, w, *models.gated(models.SWIGLU_OF_ITS_PARTS, x, w, v, b, c))


def pad2d(x, padding):
    return run(*models.pad2d(x, padding))


def conv2d(input, weight, bias=None, stride=1, padding=0):
    return run(*models.conv2d(input, weight, bias, stride, padding))


def max_pool2d(input, kernel_size, stride=None, padding=0):
    return run(*models.max_pool2d(input, kernel_size, stride, padding))
