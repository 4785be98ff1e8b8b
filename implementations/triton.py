"""Two Triton kernels of this project's own, in Triton's interpreter where there is no GPU. They only go forward."""

from __future__ import annotations

import os

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

import triton

from assay.implementations.triton_kernels import max_pool2d as max_pool2d
from assay.implementations.triton_kernels import swiglu as swiglu

# Triton's interpreter multiplies bfloat16 as if it were integers, and says that it does not support it.
dtypes = ("float64", "float32", "float16", *(("bfloat16",) if torch.cuda.is_available() else ()))
version, gradients = f"triton {triton.__version__}, torch {torch.__version__}", False
