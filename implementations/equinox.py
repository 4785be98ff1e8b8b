"""Equinox's layers over JAX, which take one sample: Linear, Conv2d and MaxPool2d."""

from __future__ import annotations

import equinox
import jax
import jax.numpy as jnp
from equinox import nn

from assay.implementations.jax_calls import differentiating, in_jax
from assay.reference.conv2d import pair

version, array, devices = f"equinox {equinox.__version__}, jax {jax.__version__}", "numpy", ("cpu",)
dtypes = ("float64", "float32", "bfloat16", "float16")
KEY = jax.random.key(0)


def holding(layer, weight, bias):
    layer = equinox.tree_at(lambda each: each.weight, layer, weight)
    return layer if bias is None else equinox.tree_at(lambda each: each.bias, layer, bias)


@in_jax
def linear(x, w, b=None):
    layer = holding(nn.Linear(w.shape[1], w.shape[0], b is not None, key=KEY), w, b)
    return jnp.vectorize(layer, signature="(i)->(o)")(x)


@in_jax
def conv2d(input, weight, bias=None, stride=1, padding=0):
    outputs, inputs, *size = weight.shape
    layer = nn.Conv2d(inputs, outputs, size, pair(stride), pair(padding), use_bias=bias is not None, key=KEY)
    return jax.vmap(holding(layer, weight, None if bias is None else bias[:, None, None]))(input)


@in_jax
def max_pool2d(input, kernel_size, stride=None, padding=0):
    steps = kernel_size if stride is None else stride
    return jax.vmap(nn.MaxPool2d(pair(kernel_size), pair(steps), pair(padding)))(input)


def conv2d_parameters(in_channels, out_channels, kernel_size, bias=True):
    layer = nn.Conv2d(in_channels, out_channels, kernel_size, use_bias=bias, key=KEY)
    return [tensor for tensor in (layer.weight, layer.bias) if tensor is not None]


vjp = differentiating(globals())
