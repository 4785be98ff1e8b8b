"""PyTorch on its own CPU kernels: oneDNN is switched off, and NNPACK, which would take its place."""

from __future__ import annotations

import torch

from assay.implementations.torch import *  # noqa: F403  the same operators, on other kernels
from assay.implementations.torch import precision as precision
from assay.implementations.torch import version as version

devices = ("cpu",)
torch.backends.mkldnn.set_flags(False)
torch.backends.nnpack.set_flags(False)
