"""OpenVINO's own operators on its CPU plugin, asked for float32 inside; it has a Swish with a beta."""

from __future__ import annotations

import functools

import numpy as np
import openvino
from openvino import opset15 as operators

from assay.implementations.through import around, is_tensor
from assay.reference.conv2d import pair

version, array, devices = f"openvino {openvino.get_version()}", "numpy", ("cpu",)
dtypes, gradients = ("float32",), False
CORE = openvino.Core()
CONFIGURATION = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}


def result_of(output, inputs=()):
    """What a model with this output gives for these (parameter, array) pairs."""
    model = openvino.Model([output], [parameter for parameter, _ in inputs])
    return np.array(CORE.compile_model(model, "CPU", CONFIGURATION)([tensor for _, tensor in inputs])[0])


def in_openvino(build):
    """The first tensor is the model's input, the others are constants: its CPU plugin has no other convolution."""

    @functools.wraps(build)
    def run(x, *arguments):
        parameter = operators.parameter(openvino.Shape(x.shape), np.float32)
        given = [operators.constant(np.array(each)) if is_tensor(each) else each for each in arguments]
        return result_of(build(parameter, *given), [(parameter, np.array(x, order="C"))])

    return run


@in_openvino
def swish(x, beta=None):
    flat = operators.reshape(beta, np.zeros(0, np.int64), False) if isinstance(beta, openvino.Node) else beta
    return operators.swish(x, np.float32(1.0 if flat is None else flat) if isinstance(flat, float | None) else flat)


@in_openvino
def linear(x, w, b=None):
    product = operators.matmul(x, w, False, True)
    return product if b is None else operators.add(product, b)


@in_openvino
def glu(x, w, v, b=None, c=None):
    return operators.multiply(operators.sigmoid(linear.__wrapped__(x, w, b)), linear.__wrapped__(x, v, c))


@in_openvino
def swiglu(x, w, v, b=None, c=None):
    return operators.multiply(operators.swish(linear.__wrapped__(x, w, b)), linear.__wrapped__(x, v, c))


@in_openvino
def pad2d(x, padding):
    added = [before for before, _ in around(x.shape, padding)]
    return operators.pad(x, added, added, "constant", np.float32(0.0))


@in_openvino
def conv2d(input, weight, bias=None, stride=1, padding=0):
    result = operators.convolution(input, weight, [*pair(stride)], [*pair(padding)], [*pair(padding)], [1, 1])
    return result if bias is None else operators.add(result, operators.reshape(bias, [1, -1, 1, 1], False))


@in_openvino
def max_pool2d(input, kernel_size, stride=None, padding=0):
    steps, added = pair(kernel_size if stride is None else stride), [*pair(padding)]
    return operators.max_pool(input, [*steps], [1, 1], added, added, [*pair(kernel_size)]).output(0)
