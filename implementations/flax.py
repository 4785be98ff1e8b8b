"""Flax's linen layers over JAX: Dense, Conv, max_pool, swish and glu, channels last inside."""

from __future__ import annotations

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp

from assay.implementations.jax_calls import differentiating, in_jax
from assay.implementations.through import around, inside
from assay.reference.conv2d import pair

version, array, devices = f"flax {flax.__version__}, jax {jax.__version__}", "numpy", ("cpu",)
dtypes = ("float64", "float32", "bfloat16", "float16")


def parameters(kernel, bias):
    return {"params": {"kernel": kernel} if bias is None else {"kernel": kernel, "bias": bias}}


@in_jax
def swish(x, beta=None):
    return nn.swish(x) if beta is None else x * nn.sigmoid(beta * x)  # composed: swish has no beta


@in_jax
def linear(x, w, b=None):
    return nn.Dense(w.shape[0], use_bias=b is not None).apply(parameters(w.T, b), x)


@in_jax
def glu(x, w, v, b=None, c=None):
    return nn.glu(jnp.concatenate([inside(linear)(x, v, c), inside(linear)(x, w, b)], axis=-1), axis=-1)


@in_jax
def swiglu(x, w, v, b=None, c=None):
    return nn.swish(inside(linear)(x, w, b)) * inside(linear)(x, v, c)  # composed: there is no SwiGLU


def channels_last(images):
    return jnp.transpose(images, (0, 2, 3, 1))


@in_jax
def conv2d(input, weight, bias=None, stride=1, padding=0):
    sides = around((), padding)
    layer = nn.Conv(weight.shape[0], weight.shape[2:], pair(stride), sides, use_bias=bias is not None)
    result = layer.apply(parameters(jnp.transpose(weight, (2, 3, 1, 0)), bias), channels_last(input))
    return jnp.transpose(result, (0, 3, 1, 2))


@in_jax
def max_pool2d(input, kernel_size, stride=None, padding=0):
    steps = pair(kernel_size if stride is None else stride)
    return jnp.transpose(nn.max_pool(channels_last(input), pair(kernel_size), steps, around((), padding)), (0, 3, 1, 2))


def conv2d_parameters(in_channels, out_channels, kernel_size, bias=True):
    size = pair(kernel_size)
    layer = nn.Conv(out_channels, size, use_bias=bias)
    return list(layer.init(jax.random.key(0), jnp.zeros((1, *size, in_channels)))["params"].values())


vjp = differentiating(globals())
