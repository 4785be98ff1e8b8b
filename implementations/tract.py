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


swish, linear, glu, swiglu, pad2d, conv2d, max_pool2d = models.operators(run, parts=True)
