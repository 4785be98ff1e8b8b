"""ONNX models of the operators, one a signature, for whatever runs ONNX.

Tensors are the models' inputs, of any size; what a runtime wants to know beforehand is given as a constant.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, parser

from assay.reference.conv2d import pair

OPSET, IR = 24, 10
KINDS = {"float64": "DOUBLE", "float32": "FLOAT", "float16": "FLOAT16", "bfloat16": "BFLOAT16"}

# The nodes of each operator. There is a Swish, with a constant beta; no linear layer over any axes, GLU or SwiGLU.
SWISH = ("y = Swish<alpha = {beta}>(x)",)
SWISH_OF_ITS_PARTS = ("bx = Mul(beta, x)", "s = Sigmoid(bx)", "y = Mul(x, s)")
LINEAR = ("wt = Transpose(w)", "y = MatMul(x, wt)")
LINEAR_WITH_BIAS = ("wt = Transpose(w)", "xw = MatMul(x, wt)", "y = Add(xw, b)")
BRANCHES = ("wt = Transpose(w)", "vt = Transpose(v)", "xw = MatMul(x, wt)", "xv = MatMul(x, vt)")
BRANCHES_WITH_BIASES = (*BRANCHES[:2], "pw = MatMul(x, wt)", "pv = MatMul(x, vt)", "xw = Add(pw, b)", "xv = Add(pv, c)")
GLU, SWIGLU = ("g = Sigmoid(xw)", "y = Mul(g, xv)"), ("g = Swish(xw)", "y = Mul(g, xv)")
SWIGLU_OF_ITS_PARTS = ("s = Sigmoid(xw)", "g = Mul(xw, s)", "y = Mul(g, xv)")
CONV2D = ("y = Conv<strides = {stride}, pads = {padding}>({tensors})",)
MAX_POOL2D = ("y = MaxPool<kernel_shape = {kernel_size}, strides = {stride}, pads = {padding}>(input)",)
PAD2D = ("pads = Constant<value_ints = {padding}>()", "y = Pad(x, pads)")


def swish(x: Any, beta: Any = None, parts: bool = False) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The nodes, and the tensors by name; a beta that is a tensor, or ``parts``, takes Swish to pieces."""
    if parts or isinstance(beta, np.ndarray):
        return SWISH_OF_ITS_PARTS, {"x": x, "beta": np.asarray(1.0 if beta is None else beta, x.dtype)}
    return tuple(node.format(beta=1.0 if beta is None else float(beta)) for node in SWISH), {"x": x}


def linear(x: Any, w: Any, b: Any = None) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The nodes, and the tensors by name."""
    return (LINEAR, {"x": x, "w": w}) if b is None else (LINEAR_WITH_BIAS, {"x": x, "w": w, "b": b})


def gated(gate: tuple[str, ...], x: Any, w: Any, v: Any, b: Any = None, c: Any = None) -> Any:
    """The nodes, and the tensors by name, of GLU or SwiGLU; both biases are there, or none."""
    if b is None and c is None:
        return BRANCHES + gate, {"x": x, "w": w, "v": v}
    biases = {name: np.zeros(len(w), x.dtype) if bias is None else bias for name, bias in (("b", b), ("c", c))}
    return BRANCHES_WITH_BIASES + gate, {"x": x, "w": w, "v": v, **biases}


def conv2d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0) -> Any:
    """The nodes, and the tensors by name."""
    tensors = {"input": input, "weight": weight} | ({} if bias is None else {"bias": bias})
    words = {"stride": [*pair(stride)], "padding": [*pair(padding)] * 2, "tensors": ", ".join(tensors)}
    return tuple(node.format(**words) for node in CONV2D), tensors


def max_pool2d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Any:
    """The nodes, and the tensors by name."""
    steps = kernel_size if stride is None else stride
    words = {"kernel_size": [*pair(kernel_size)], "stride": [*pair(steps)], "padding": [*pair(padding)] * 2}
    return tuple(node.format(**words) for node in MAX_POOL2D), {"input": input}


def pad2d(x: Any, padding: int) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The nodes, and the tensors by name."""
    around = ([0] * (x.ndim - 2) + [padding] * 2) * 2
    return tuple(node.format(padding=around) for node in PAD2D), {"x": x}


def operators(run: Callable[..., Any], parts: bool = False) -> tuple[Callable[..., Any], ...]:
    """swish, linear, glu, swiglu, pad2d, conv2d and max_pool2d, as whatever ``run`` makes of nodes and tensors.

    With ``parts`` Swish is taken to pieces, for a runtime that does not have it.
    """
    gates = (GLU, SWIGLU_OF_ITS_PARTS if parts else SWIGLU)
    made = (functools.partial(swish, parts=parts), linear, *(functools.partial(gated, gate) for gate in gates))
    return tuple(_ran(run, make) for make in (*made, pad2d, conv2d, max_pool2d))


def _ran(run: Callable[..., Any], make: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *given, **named: run(*make(*given, **named))


def model(nodes: tuple[str, ...], tensors: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
    """The model of these nodes: ``tensors`` are its inputs, of their sizes, and ``constants`` are known beforehand."""
    inputs = tuple(_signature(name, tensor, tensor.shape) for name, tensor in tensors.items())
    return onnx.shape_inference.infer_shapes(build(nodes, inputs, tuple(constants.items())))


def _signature(name: str, tensor: Any, shape: tuple[int | None, ...]) -> tuple[str, str, tuple[int | None, ...]]:
    return name, str(tensor.dtype), shape


def build(nodes: tuple[str, ...], inputs: Any, constants: Any) -> Any:
    """The model of these nodes, inputs (name, dtype, shape) and constants (name, array)."""
    given = [helper.make_tensor_value_info(name, _kind(dtype), shape) for name, dtype, shape in inputs]
    kept = [numpy_helper.from_array(np.ascontiguousarray(tensor), name) for name, tensor in constants]
    result = helper.make_tensor_value_info("y", _kind(inputs[0][1]), None)
    graph = helper.make_graph([parser.parse_node(node) for node in nodes], "operator", given, [result], kept)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)


@functools.cache
def cached(nodes: tuple[str, ...], inputs: Any) -> Any:
    """The model of these nodes and inputs, made once."""
    return build(nodes, inputs, ())


def signature(tensors: Mapping[str, Any]) -> Any:
    """What a model of these tensors, of any size, depends on."""
    return tuple(_signature(name, tensor, (None,) * tensor.ndim) for name, tensor in tensors.items())


def _kind(dtype: str) -> int:
    return int(getattr(onnx.TensorProto, KINDS[dtype]))
