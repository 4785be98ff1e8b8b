"""ncnn: layers given as its text and weights, one sample a run, for it knows no batch. Winograd is switched off."""

from __future__ import annotations

import importlib.metadata

import ncnn
import numpy as np

from assay.reference.conv2d import pair

version, array, devices = f"ncnn {importlib.metadata.version('ncnn')}", "numpy", ("cpu",)
dtypes, gradients = ("float32",), False
HEAD = "7767517\n2 2\nInput input 0 1 x\n{layer} layer 1 1 x y {words}\n"
RAW = bytes(4)  # stands before weights in float32


def network(layer, words, *weights):
    net = ncnn.Net()
    net.opt.num_threads, net.opt.use_winograd_convolution = 1, False
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    text = " ".join(f"{number}={value}" for number, value in words.items())
    ask(net.load_param_mem(HEAD.format(layer=layer, words=text)), net, f"{layer} {text}")
    held = b"".join([RAW, *(np.array(weight, order="C").tobytes() for weight in weights), RAW])
    net.load_model_mem(held)
    return net, held  # it looks at the weights where they are, and keeps nothing alive


def ask(refused, found, what):
    """What ncnn gave, unless it says by its return code that it gives nothing: to Python that is an exception."""
    if refused:
        raise ValueError(f"ncnn returned {refused} for {what}")
    return found


def answer(network, sample):
    (net, _), given = network, np.array(sample, order="C")
    extractor = net.create_extractor()
    extractor.input("x", ncnn.Mat(given).clone())
    refused, found = extractor.extract("y")
    return np.array(ask(refused, found, f"an input of {sample.shape}"))


def swish(x, beta=None):
    if beta is None:
        return answer(network("Swish", {}), x.ravel()).reshape(x.shape)
    return x * answer(network("Sigmoid", {}), (beta * x).ravel()).reshape(x.shape)  # composed: Swish has no beta


def linear(x, w, b=None):
    words = {0: w.shape[0], 1: int(b is not None), 2: w.size}
    result = answer(network("InnerProduct", words, w, *([] if b is None else [b])), x.reshape(-1, x.shape[-1]))
    return result.reshape(*x.shape[:-1], w.shape[0])


def glu(x, w, v, b=None, c=None):
    both = np.concatenate([linear(x, v, c), linear(x, w, b)], axis=-1)
    return answer(network("GLU", {0: -1}), both.reshape(-1, both.shape[-1])).reshape(*x.shape[:-1], w.shape[0])


def swiglu(x, w, v, b=None, c=None):
    return swish(linear(x, w, b)) * linear(x, v, c)  # composed: there is no SwiGLU


def pad2d(x, padding):
    net = network("Padding", dict.fromkeys(range(4), padding))
    images = [answer(net, image) for image in x.reshape(-1, 1, *x.shape[-2:])]
    return np.stack(images).reshape(*x.shape[:-2], *images[0].shape[-2:])


def conv2d(input, weight, bias=None, stride=1, padding=0):
    (down, across), (rows, columns), (outputs, _, high, wide) = pair(stride), pair(padding), weight.shape
    sizes = {0: outputs, 1: wide, 11: high, 3: across, 13: down, 4: columns, 14: rows, 15: columns, 16: rows}
    words = sizes | {5: int(bias is not None), 6: weight.size}
    net = network("Convolution", words, weight, *([] if bias is None else [bias]))
    return np.stack([answer(net, image) for image in input])


def max_pool2d(input, kernel_size, stride=None, padding=0):
    (high, wide), (down, across) = pair(kernel_size), pair(kernel_size if stride is None else stride)
    (rows, columns), valid = pair(padding), 1
    words = {0: 0, 1: wide, 11: high, 2: across, 12: down, 3: columns, 13: rows, 14: columns, 15: rows, 5: valid}
    net = network("Pooling", words)
    return np.stack([answer(net, image) for image in input])
