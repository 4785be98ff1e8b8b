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


def rows(nodes, tensors):
    """Its MatMul takes no vector, so samples come as the rows of a matrix."""
    if "w" not in tensors:
        return run(nodes, tensors)
    x, w = tensors["x"], tensors["w"]
    return run(nodes, tensors | {"x": x.reshape(-1, x.shape[-1])}).reshape(*x.shape[:-1], w.shape[0])


swish, linear, glu, swiglu, pad2d, conv2d, max_pool2d = models.operators(rows, parts=True)
