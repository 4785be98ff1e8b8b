"""JAX: jax.lax and jax.nn on the CPU, each operator compiled by jax.jit, with 64-bit types; gradients by jax.vjp."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from assay.implementations.jax_calls import differentiating, in_jax
from assay.implementations.through import around, inside
from assay.reference.conv2d import pair

version, array, devices = f"jax {jax.__version__}", "numpy", ("cpu",)
dtypes = ("float64", "float32", "bfloat16", "float16")


@in_jax
def swish(x, beta=None):
    return jax.nn.silu(x) if beta is None else x * jax.nn.sigmoid(beta * x)  # composed: silu has no beta


@in_jax
def linear(x, w, b=None):
    product = jnp.matmul(x, w.T)
    return product if b is None else product + b  # composed: jax has no linear layer


@in_jax
def glu(x, w, v, b=None, c=None):
    return jax.nn.glu(jnp.concatenate([inside(linear)(x, v, c), inside(linear)(x, w, b)], axis=-1), axis=-1)


@in_jax
def swiglu(x, w, v, b=None, c=None):
    return jax.nn.silu(inside(linear)(x, w, b)) * inside(linear)(x, v, c)  # composed: there is no SwiGLU


@in_jax
def pad2d(x, padding):
    return lax.pad(x, np.zeros((), x.dtype), [(*each, 0) for each in around(x.shape, padding)])


@in_jax
def conv2d(input, weight, bias=None, stride=1, padding=0):
    result = lax.conv_general_dilated(input, weight, pair(stride), [(p, p) for p in pair(padding)])
    return result if bias is None else result + bias[:, None, None]  # composed: there is no bias


@in_jax
def max_pool2d(input, kernel_size, stride=None, padding=0):
    window, steps = (1, 1, *pair(kernel_size)), (1, 1, *pair(kernel_size if stride is None else stride))
    return lax.reduce_window(input, float("-inf"), lax.max, window, steps, around(input.shape, padding))


vjp = differentiating(globals())
