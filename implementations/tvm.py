"""TVM: operators of Relax, compiled by LLVM for each shape."""

from __future__ import annotations

import functools

import numpy as np
import tvm
from tvm import relax
from tvm.relax.op import add, multiply, nn, sigmoid

from assay.implementations.through import around, inside, is_tensor
from assay.reference.conv2d import pair

version, array, devices = f"tvm {tvm.__version__}", "numpy", ("cpu",)
dtypes, gradients = ("float64", "float32", "float16"), False
TENSOR = object()  # stands for a tensor among parameters, which are part of what is compiled


def in_tvm(operator):
    @functools.wraps(operator)
    def call(*arguments):
        tensors = [np.array(each, order="C") for each in arguments if is_tensor(each)]
        kinds = tuple(relax.TensorType(each.shape, str(each.dtype)) for each in tensors)
        machine = compiled(operator, kinds, tuple(TENSOR if is_tensor(each) else each for each in arguments))
        return machine["main"](*map(tvm.runtime.tensor, tensors)).numpy()

    return call


def compiled(operator, kinds, parameters):
    variables, builder = [relax.Var(f"x{at}", kind) for at, kind in enumerate(kinds)], relax.BlockBuilder()
    given = iter(variables)
    with builder.function("main", variables):
        with builder.dataflow():
            built = operator(*(next(given) if each is TENSOR else each for each in parameters))
            result = builder.emit_output(builder.normalize(built))
        builder.emit_func_output(result)
    return relax.VirtualMachine(tvm.compile(builder.get(), target="llvm"), tvm.cpu())


@in_tvm
def swish(x, beta=None):
    if beta is None:
        return nn.silu(x)
    scale = beta if isinstance(beta, relax.Expr) else relax.const(beta, x.ty.dtype)
    return multiply(x, sigmoid(multiply(scale, x)))  # there is no swish with a beta


@in_tvm
def linear(x, w, b=None):
    return relax.op.linear(x, w, b)


@in_tvm
def glu(x, w, v, b=None, c=None):
    return multiply(sigmoid(inside(linear)(x, w, b)), inside(linear)(x, v, c))


@in_tvm
def swiglu(x, w, v, b=None, c=None):
    return multiply(nn.silu(inside(linear)(x, w, b)), inside(linear)(x, v, c))


@in_tvm
def pad2d(x, padding):
    return nn.pad(x, [each for both in around(list(x.ty.shape), padding) for each in both])


@in_tvm
def conv2d(input, weight, bias=None, stride=1, padding=0):
    result = nn.conv2d(input, weight, strides=pair(stride), padding=(*pair(padding), *pair(padding)))
    return result if bias is None else add(result, relax.op.reshape(bias, (1, -1, 1, 1)))


@in_tvm
def max_pool2d(input, kernel_size, stride=None, padding=0):
    steps = pair(kernel_size if stride is None else stride)
    return nn.max_pool2d(input, pair(kernel_size), steps, (*pair(padding), *pair(padding)))
