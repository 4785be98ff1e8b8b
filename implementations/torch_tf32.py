"""PyTorch's own operators with TF32 allowed for float32, and declared: on a device that has it, operands lose bits."""

from __future__ import annotations

import torch

from assay.implementations.torch import *  # noqa: F403  the same operators, under another declaration
from assay.implementations.torch import precision as strict
from assay.implementations.torch import version as version

precision = strict | {
    f"{operator}.{direction}.float32": {"operands": "tf32"}
    for operator in ("linear", "conv2d", "glu", "swiglu")
    for direction in ("forward", "backward")
}

torch.backends.cuda.matmul.allow_tf32 = True
torch.backends.cudnn.allow_tf32 = True
