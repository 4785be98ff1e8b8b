"""Convolution: each position of the kernel combines the elements under it into one.

    conv2d(input, weight, bias)[n, o, i, j]
        = sum of input[n, :, i * stride ... + kernel, j * stride ... + kernel] * weight[o]  + bias[o]
                                                                             [conv2d.formula] [conv2d.kernel]
    output = floor((input + 2 padding - kernel) / stride) + 1                [conv2d.output-size]
    parameters = kernel height * kernel width * input channels * output channels + bias
                                                                             [conv2d.parameter-count]

>>> output_size(5, kernel=3, padding=1), output_size(6, kernel=3, stride=2)  # the last column is out of reach
(5, 2)
>>> parameter_count(3, 64, (3, 3))                          # [conv2d.parameter-count-example]
1792
>>> conv2d([[[[1.0, 2.0], [3.0, 4.0]]]], [[[[1.0, 10.0]]]], [0.5])           # not flipped: 1 * 1 + 2 * 10
[[[[21.5], [43.5]]]]
"""

from __future__ import annotations

from typing import Any

from assay.reference.arithmetic.primitives import dot, store
from assay.reference.tensor import Index, Tensor, build

Size = int | tuple[int, int]


def pair(size: Size) -> tuple[int, int]:
    """(rows, columns): one number stands for both."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def output_size(input: int, kernel: int, stride: int = 1, padding: int = 0) -> int:
    """floor((input + 2 padding - kernel) / stride) + 1: how many places the kernel takes along one axis."""
    return (input + 2 * padding - kernel) // stride + 1


def parameter_count(in_channels: int, out_channels: int, kernel_size: Size, bias: bool = True) -> int:
    """kernel height * kernel width * input channels * output channels, and one for each output channel's bias."""
    height, width = pair(kernel_size)
    return height * width * in_channels * out_channels + (out_channels if bias else 0)


def conv2d_element(
    at: Index, input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Size = 1, padding: Size = 0
) -> Any:
    """The element ``at`` = (n, o, i, j): ``input`` (N, C, H, W), ``weight`` (O, C, kh, kw), ``bias`` (O,)."""
    n, o, i, j = at
    kernel = (weight.shape[2], weight.shape[3])
    (down, right), (above, before) = pair(stride), pair(padding)
    window = input.window(n, None, i * down - above, j * right - before, kernel)
    return store(dot(window, weight[o], None if bias is None else bias[(o,)]))


def conv2d_shape(input: Index, weight: Index, bias: Index | None = None, stride: Size = 1, padding: Size = 0) -> Index:
    """(N, C, H, W) and (O, C, kh, kw) give (N, O, rows, columns)."""
    sizes = zip(input[2:], weight[2:], pair(stride), pair(padding), strict=True)
    return (input[0], weight[0], *(output_size(*axis) for axis in sizes))


def conv2d(input: Any, weight: Any, bias: Any = None, stride: Size = 1, padding: Size = 0) -> Any:
    """The convolution of nested lists, as a nested list."""
    input, weight, bias = Tensor(input), Tensor(weight), None if bias is None else Tensor(bias)
    shape = conv2d_shape(input.shape, weight.shape, None, stride, padding)
    return build(shape, lambda at: conv2d_element(at, input, weight, bias, stride, padding))
