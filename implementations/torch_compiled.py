"""PyTorch's operators compiled by inductor for tensors of any size, one graph for each of its guards."""

from __future__ import annotations

import torch

from assay.implementations import torch as eager

version, precision = f"{eager.version}, inductor", eager.precision
torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit = 1_000_000
torch._dynamo.config.fail_on_recompile_limit_hit = True

swish, glu, swiglu, linear, pad2d, conv2d, max_pool2d = (
    torch.compile(operator, dynamic=True, fullgraph=True)
    for operator in (
        eager.swish,
        eager.glu,
        eager.swiglu,
        eager.linear,
        eager.pad2d,
        eager.conv2d,
        eager.max_pool2d,
    )
)
