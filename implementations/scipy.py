"""SciPy and numpy: correlate2d, expit, and the maximum over numpy's view of all windows."""

from __future__ import annotations

import numpy as np
import scipy
from scipy import signal, special

from assay.implementations.through import around
from assay.reference.conv2d import pair

version, array, devices = f"scipy {scipy.__version__}, numpy {np.__version__}", "numpy", ("cpu",)
dtypes, gradients = ("float64", "float32"), False


def swish(x, beta=None):
    return np.asarray(x * special.expit(x if beta is None else beta * x))  # composed: there is no swish


def linear(x, w, b=None):
    product = np.matmul(x, w.T)
    return product if b is None else product + b  # composed: there is no linear layer


def glu(x, w, v, b=None, c=None):
    return special.expit(linear(x, w, b)) * linear(x, v, c)  # composed: there is no GLU


def swiglu(x, w, v, b=None, c=None):
    return swish(linear(x, w, b)) * linear(x, v, c)  # composed: there is no SwiGLU


def pad2d(x, padding):
    return np.pad(x, around(x.shape, padding))


def conv2d(input, weight, bias=None, stride=1, padding=0):
    (down, across), images = pair(stride), np.pad(input, around(input.shape, padding))
    planes = [signal.correlate(images, kernel[None], mode="valid", method="direct") for kernel in weight]
    result = np.concatenate(planes, axis=1)[:, :, ::down, ::across]
    return result if bias is None else result + bias[:, None, None]  # composed: there is no bias


def max_pool2d(input, kernel_size, stride=None, padding=0):
    down, across = pair(kernel_size if stride is None else stride)
    padded = np.pad(input, around(input.shape, padding), constant_values=float("-inf"))
    windows = np.lib.stride_tricks.sliding_window_view(padded, pair(kernel_size), (2, 3))
    return windows[:, :, ::down, ::across].max(axis=(4, 5))
