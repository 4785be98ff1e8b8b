"""OpenVINO's own operators on its CPU plugin, asked for float32 inside; it has a Swish with a beta."""

from __future__ import annotations

import functools

import numpy as np
import openvino
from openvino import opset15 as operators

from assay.implementations.through import tensors_of
from assay.reference.conv2d import pair

version, array, devices = f"openvino {openvino.get_version()}", "numpy", ("cpu",)
dtypes, gradients = ("float32",), False
CORE = openvino.Core()
CONFIGURATION = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}


@functools.cache
def compiled(build, ranks, parameters):
    """The operator for tensors of these ranks (None: a parameter), of any size."""
    inputs = [None if rank is None else operators.parameter([-1] * rank, np.float32) for rank in ranks]
    given = [parameter if tensor is None else tensor for tensor, parameter in zip(inputs, parameters, strict=True)]
    model = openvino.Model([build(*given)], [tensor for tensor in inputs if tensor is not None])
    return CORE.compile_model(model, "CPU", CONFIGURATION)


def in_openvino(build):
    @functools.wraps(build)
    def run(*arguments):
        named = dict(enumerate(arguments))
        tensors = {at: arguments[at] for at in tensors_of(named)}
        ranks = tuple(tensors[at].ndim if at in tensors else None for at in named)
        parameters = tuple(None if at in tensors else each for at, each in named.items())
        return np.array(compiled(build, ranks, parameters)(list(map(np.ascontiguousarray, tensors.values())))[0])

    return run


@in_openvino
def swish(x, beta=None):
    flat = (
        operators.reshape(beta, [], False)
        if isinstance(beta, openvino.Node)
        else np.float32(1.0 if beta is None else beta)
    )
    return operators.swish(x, flat)


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
    around = [0] * len(x.get_partial_shape()[:-2]) + [padding] * 2  # composed: a list of one entry an axis
    return operators.pad(x, around, around, "constant", np.float32(0.0))


@in_openvino
def conv2d(input, weight, bias=None, stride=1, padding=0):
    result = operators.convolution(input, weight, [*pair(stride)], [*pair(padding)], [*pair(padding)], [1, 1])
    return result if bias is None else operators.add(result, operators.reshape(bias, [1, -1, 1, 1], False))


@in_openvino
def max_pool2d(input, kernel_size, stride=None, padding=0):
    steps, around = pair(kernel_size if stride is None else stride), [*pair(padding)]
    return operators.max_pool(input, [*steps], [1, 1], around, around, [*pair(kernel_size)]).output(0)
