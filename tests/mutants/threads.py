"""Planted bugs of calls from several threads: what two calls share, and what the first thread alone has."""

from __future__ import annotations

import threading
from typing import Any

import torch

from assay.implementations.load import load
from assay.tests.mutants.gradients import gradients
from assay.tests.mutants.mutant import Mutant

right = load("torch").operators


def scratch() -> dict[str, Any]:
    """Under no_grad the gate is worked out in one place for each shape and dtype."""
    places: dict[Any, torch.Tensor] = {}

    def glu(x, w, v, b=None, c=None):
        gate = right["linear"](x, w, b)
        if torch.is_grad_enabled() or torch.is_inference_mode_enabled():
            return torch.sigmoid(gate) * right["linear"](x, v, c)
        place = places.setdefault((gate.shape, gate.dtype), torch.empty_like(gate))
        torch.sigmoid(gate, out=place)
        return place * right["linear"](x, v, c)

    return {"glu": glu}


def constants() -> dict[str, Any]:
    """The thread that loads the kernel alone has its constants; beta is 1 in every other."""
    mine = threading.local()
    mine.scale = 1.0

    def swish(x, beta=1.0):
        return right["swish"](x, beta if hasattr(mine, "scale") else 1.0)

    return {"swish": swish}


def accumulators() -> dict[str, Any]:
    """Going back, W's gradient is gathered in one place for each shape and dtype, and then copied."""
    places: dict[Any, torch.Tensor] = {}

    class Linear(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, w: Any, b: Any = None) -> Any:
            ctx.save_for_backward(x, w, b)
            return right["linear"](x, w, b)

        @staticmethod
        def backward(ctx: Any, incoming: Any) -> Any:
            found = gradients("linear", dict(zip("xwb", ctx.saved_tensors, strict=True)), incoming)
            place = places.setdefault((found["w"].shape, incoming.dtype), torch.empty_like(found["w"]))
            place.copy_(found["w"])
            return found["x"], place.clone(), found.get("b")

    return {"linear": Linear.apply}


def bug(name, words, operators):
    return Mutant(f"threads-{name}", "contract.threads", words, operators, "float32", "state", "state", "rare")


MUTANTS = (
    bug("scratch", "under no_grad, the gate in one place for each shape", scratch),
    bug("constants", "another thread than the first has no constants", constants),
    bug("accumulators", "going back, sums in one place for each shape", accumulators),
)
