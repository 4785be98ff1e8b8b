"""TensorFlow's tf.nn on the CPU, channels last inside, gradients by GradientTape; its silu has a beta."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from assay.implementations.through import around, inside, tensors_of, through
from assay.reference.conv2d import pair

version, array, devices = f"tensorflow {tf.__version__}", "numpy", ("cpu",)
dtypes = ("float64", "float32", "bfloat16", "float16")


def enter(x):
    return tf.constant(np.array(x))


in_tensorflow = through(enter, lambda tensor: np.asarray(tensor.numpy()))


@in_tensorflow
def swish(x, beta=None):
    return tf.nn.silu(x) if beta is None else tf.nn.silu(x, beta)


@in_tensorflow
def linear(x, w, b=None):
    product = tf.tensordot(x, w, [[-1], [1]])
    return product if b is None else tf.add(product, b)


@in_tensorflow
def glu(x, w, v, b=None, c=None):
    return tf.sigmoid(inside(linear)(x, w, b)) * inside(linear)(x, v, c)  # composed: there is no GLU


@in_tensorflow
def swiglu(x, w, v, b=None, c=None):
    return tf.nn.silu(inside(linear)(x, w, b)) * inside(linear)(x, v, c)  # composed: there is no SwiGLU


@in_tensorflow
def pad2d(x, padding):
    return tf.pad(x, around(x.shape, padding))


def images_around(padding):
    return [(0, 0), *((each, each) for each in pair(padding)), (0, 0)]


@in_tensorflow
def conv2d(input, weight, bias=None, stride=1, padding=0):
    images, kernel = tf.transpose(input, (0, 2, 3, 1)), tf.transpose(weight, (2, 3, 1, 0))
    result = tf.nn.conv2d(images, kernel, pair(stride), images_around(padding))
    return tf.transpose(result if bias is None else tf.nn.bias_add(result, bias), (0, 3, 1, 2))


@in_tensorflow
def max_pool2d(input, kernel_size, stride=None, padding=0):
    steps, images = pair(kernel_size if stride is None else stride), tf.transpose(input, (0, 2, 3, 1))
    return tf.transpose(tf.nn.max_pool2d(images, pair(kernel_size), steps, images_around(padding)), (0, 3, 1, 2))


def vjp(operator, arguments, cotangent):
    tensors = {name: enter(arguments[name]) for name in tensors_of(arguments)}
    with tf.GradientTape() as tape:
        tape.watch(list(tensors.values()))
        result = inside(globals()[operator])(*{**arguments, **tensors}.values())
    found = tape.gradient(result, tensors, output_gradients=enter(cotangent))
    return {name: None if gradient is None else np.asarray(gradient.numpy()) for name, gradient in found.items()}
