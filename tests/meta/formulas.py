"""The formulas again, on reals of 400 bits and in plain loops, and a small case of each operator to try them on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from assay.spec import OPERATORS
from assay.tests.meta.oracles import REAL, real, values

SHAPES = {  # the tensors of a small case of each operator, and its parameters
    "swish": ([(4,), (1,)], ()),
    "linear": ([(3, 4), (2, 4), (2,)], ()),
    "glu": ([(2, 3), (4, 3), (4, 3), (4,), (4,)], ()),
    "swiglu": ([(2, 3), (4, 3), (4, 3), (4,), (4,)], ()),
    "pad2d": ([(2, 2, 3)], (2,)),
    "conv2d": ([(2, 2, 4, 5), (3, 2, 2, 3), (3,)], ((2, 1), (1, 2))),
    "max_pool2d": ([(2, 2, 5, 6)], ((3, 2), (1, 2), (1, 1))),
}


def result_shape(operator):
    shapes, parameters = SHAPES[operator]
    return OPERATORS[operator].shape(*shapes, *parameters)


def a_case(operator, fmt, kinds, seed):
    """Arrays and an incoming gradient, numbers of ``fmt``."""
    shapes = [*SHAPES[operator][0], result_shape(operator)]
    arrays = [values(shape, fmt, kinds[k % len(kinds)], seed + k) for k, shape in enumerate(shapes)]
    if operator == "max_pool2d":
        arrays[0] = values(shapes[0], fmt, "distinct", seed)
    return arrays[:-1], arrays[-1]


def true_sigmoid(t: Any) -> Any:
    """1 / (1 + exp(-t)), to 120 digits."""
    return 1 / (1 + REAL.exp(-real(t)))


def true_dot(xs: Sequence[Any], ws: Sequence[Any], bias: Any = None) -> Any:
    """The sum of products, to 120 digits."""
    products = [real(x) * real(w) for x, w in zip(xs, ws, strict=True)]
    return REAL.fsum(products) + (0 if bias is None else real(bias))


def true_swish(x: Any, beta: Any = 1) -> Any:
    """x * sigmoid(beta * x), to 120 digits."""
    return real(x) * true_sigmoid(real(beta) * real(x))


def window(image: Any, at: tuple[int, int], kernel: tuple[int, int], steps: Any, padding: Any, fill: float) -> Any:
    """What a kernel at place ``at`` sees of an image (..., H, W), outside which all is ``fill``."""
    rims = [(0, 0)] * (image.ndim - 2) + [(p, p) for p in padding]
    padded = np.pad(image, rims, constant_values=fill)
    top, left = at[0] * steps[0], at[1] * steps[1]
    return padded[..., top : top + kernel[0], left : left + kernel[1]].ravel()


def true_linear(x, w, b):
    return {at: true_dot(x[at[0]], w[at[1]], b[at[1]]) for at in np.ndindex(len(x), len(w))}


def true_gated(activation, x, w, v, b, c):
    gates, ups = true_linear(x, w, b), true_linear(x, v, c)
    return {at: activation(gates[at]) * ups[at] for at in gates}


def true_conv2d(input, weight, bias):
    (steps, padding), kernel = SHAPES["conv2d"][1], weight.shape[2:]

    def element(n, o, i, j):
        return true_dot(window(input[n], (i, j), kernel, steps, padding, 0), weight[o].ravel(), bias[o])

    return {at: element(*at) for at in np.ndindex(*result_shape("conv2d"))}


def true_max_pool2d(input):
    kernel, steps, padding = SHAPES["max_pool2d"][1]
    at = np.ndindex(*result_shape("max_pool2d"))
    return {(n, c, i, j): max(window(input[n, c], (i, j), kernel, steps, padding, -np.inf)) for n, c, i, j in at}


TRUE = {
    "swish": lambda x, beta: {(i,): true_swish(x[i], beta[0]) for i in range(len(x))},
    "linear": true_linear,
    "glu": lambda *arrays: true_gated(true_sigmoid, *arrays),
    "swiglu": lambda *arrays: true_gated(true_swish, *arrays),
    "pad2d": lambda x: dict(np.ndenumerate(np.pad(x, [(0, 0), (2, 2), (2, 2)]))),
    "conv2d": true_conv2d,
    "max_pool2d": true_max_pool2d,
}
