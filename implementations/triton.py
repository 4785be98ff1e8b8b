"""Two Triton kernels of this project's own, in Triton's interpreter where there is no GPU. They only go forward."""

from __future__ import annotations

import os

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

import triton

from assay.implementations.triton_kernels import silu_times, window_maximum
from assay.reference.conv2d import output_size, pair

# Triton's interpreter multiplies bfloat16 as if it were integers, and says that it does not support it.
dtypes = ("float64", "float32", "float16", *(("bfloat16",) if torch.cuda.is_available() else ()))
version, gradients = f"triton {triton.__version__}, torch {torch.__version__}", False
BLOCK = 128


def blocks(result):
    return (triton.cdiv(result.numel(), BLOCK),) if result.numel() else None


def swiglu(x, w, v, b=None, c=None):
    gate, branch = torch.nn.functional.linear(x, w, b), torch.nn.functional.linear(x, v, c)
    result = torch.empty_like(gate)
    if result.numel():
        silu_times[blocks(result)](gate, branch, result, result.numel(), BLOCK=BLOCK)
    return result


def max_pool2d(input, kernel_size, stride=None, padding=0):
    steps, sizes = pair(kernel_size if stride is None else stride), pair(kernel_size)
    places = map(output_size, input.shape[2:], sizes, steps, pair(padding))
    result = input.new_empty((*input.shape[:2], *places))
    words = (*input.shape[2:], *sizes, *steps, *pair(padding), BLOCK, *result.shape[2:])
    if result.numel():
        window_maximum[blocks(result)](input.contiguous(), result, result.numel(), *words)
    return result
