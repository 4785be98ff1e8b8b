"""Liger-Kernel's fused SiLU and product, a Triton kernel, in Triton's interpreter where there is no GPU."""

from __future__ import annotations

import importlib.metadata
import os

import torch
import torch.nn.functional as F

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

from liger_kernel.ops.swiglu import LigerSiLUMulFunction

# Triton's interpreter multiplies bfloat16 as if it were integers, and says that it does not support it.
dtypes = ("float64", "float32", "float16", *(("bfloat16",) if torch.cuda.is_available() else ()))
version = f"liger-kernel {importlib.metadata.version('liger-kernel')}, torch {torch.__version__}"


def swiglu(x, w, v, b=None, c=None):
    return LigerSiLUMulFunction.apply(F.linear(x, w, b), F.linear(x, v, c))
