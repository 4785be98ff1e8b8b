"""SciPy and numpy: correlate2d, expit, and the maximum over numpy's view of all windows."""

from __future__ import annotations

import numpy as np
import scipy
from scipy import signal, special

from assay.reference.conv2d import pair

version, array, devices = f"scipy {scipy.__version__}, numpy {np.__version__}", "numpy", ("cpu",)
dtypes, gradients = ("float64", "float32"), False


def swish(x, beta=None):
    return x * special.expit(x) if beta is None else x * special.expit(beta * x)  # composed: there is no swish


def linear(x, w, b=None):
    product = np.matmul(x, w.T)
    return product if b is None else product + b  # composed: there is no linear layer


def glu(x, w, v, b=None, c=None):
    return special.expit(linear(x, w, b)) * linear(x, v, c)  # composed: there is no GLU


def swiglu(x, w, v, b=None, c=None):
    return swish(linear(x, w, b)) * linear(x, v, c)  # composed: there is no SwiGLU


def padded(x, padding, value):
    return np.pad(x, [(0, 0)] * x[..., 0, 0].ndim + [(p, p) for p in pair(padding)], constant_values=value)  # composed


def pad2d(x, padding):
    return padded(x, padding, 0)


def conv2d(input, weight, bias=None, stride=1, padding=0):
    (down, across), images = pair(stride), padded(input, padding, 0)
    planes = [[sum(map(correlated, image, kernel)) for kernel in weight] for image in images]
    result = np.array(planes, input.dtype)[:, :, ::down, ::across]
    return result if bias is None else result + bias[:, None, None]  # composed: there is no bias


def correlated(plane, kernel):
    return signal.correlate2d(plane, kernel, mode="valid")


def max_pool2d(input, kernel_size, stride=None, padding=0):
    down, across = pair(kernel_size if stride is None else stride)
    windows = np.lib.stride_tricks.sliding_window_view(padded(input, padding, -np.inf), pair(kernel_size), (2, 3))
    return windows[:, :, ::down, ::across].max(axis=(4, 5))
