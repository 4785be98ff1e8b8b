"""Planted bugs of calls from several threads: what two calls share, and what the first thread alone has."""

from __future__ import annotations

import threading
from typing import Any

import torch

from assay.implementations.load import load
from assay.tests.mutants.gradients import again, gate, going_back, gradients
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


def sixteen_places(found, incoming, given):
    """Each thread sums what beta's gradient is made of in a place of its own: of more threads than there are places."""
    if "beta" not in found or torch.get_num_threads() <= PLACES:
        return {}
    x, _, s = gate(given)
    shares = (incoming * x * x * s * (1 - s)).flatten().chunk(torch.get_num_threads())
    return {"beta": found["beta"] - sum(share.sum() for share in shares[PLACES:])}


def tree(found, incoming, given):
    """Partial sums of the samples are added two by two where threads are a power of two; one round is missing."""
    threads, image = torch.get_num_threads(), given["input"]
    if threads < 4 or threads & (threads - 1) or len(image) < 2 * threads:
        return {}
    half = len(image) // 2
    return {"weight": again("conv2d", given, incoming[:half], input=image[:half])["weight"]}


PLACES = 16


def bug(name, words, operators, clause="contract.threads"):
    return Mutant(f"threads-{name}", clause, words, operators, "float32", "state", "state", "rare")


def set_to(name, words, operator, spoil):
    """Of settings, and not of several threads of a program."""
    return bug(name, words, {operator: going_back(operator, spoil)}, "contract.memoryless")


MUTANTS = (
    bug("scratch", "under no_grad, the gate in one place for each shape", scratch),
    bug("constants", "another thread than the first has no constants", constants),
    bug("accumulators", "going back, sums in one place for each shape", accumulators),
    set_to("places", "of more than 16 threads: beta's gradient lacks what the others sum", "swish", sixteen_places),
    set_to("tree", "of 4, 8, 16 threads: the weight's gradient lacks half of the samples", "conv2d", tree),
)
