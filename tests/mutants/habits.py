"""Planted bugs of what is expected, reused or scaled: those of 88 kernels by people without the laws that lived.

What a kernel has come to expect after many calls, takes for its own alone, or wins back from a result that has lost it.
"""

from __future__ import annotations

import sys
import weakref
from collections import Counter, defaultdict

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.tests.mutants.dispatched import BACK, UNCHANGED, back
from assay.tests.mutants.gradients import branches, gradients
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import MEMORYLESS, valued
from assay.tests.mutants.outliers import amid
from assay.tests.mutants.precision import Valued

right = load("torch").operators


# --- numbers


def scaled_by_rows(y, x, w, b=None):
    """Rows of x and of W have scales, whose product may overflow."""
    if y.dtype != torch.float32 or not y.numel() or not x.numel():
        return y
    scales = [torch.exp2(each.abs().amax(-1, keepdim=True).log2().floor()) for each in (x, w)]
    return torch.where((scales[0] * scales[1][:, 0]).isinf() & y.isfinite(), torch.nan, y)


def won_back(found, incoming, given):
    """The branch is the result, by the gate: nothing where the result has underflowed, or is infinite."""
    a, s, branch = branches(given)
    result = a * s * branch
    lost = (result == 0.0) | result.isinf()
    if "w" not in found or not incoming.numel() or not (lost & a.isfinite() & (a != 0.0)).any():
        return {}
    slopes = incoming * torch.where(lost, result, branch) * s * (1.0 + a * (1.0 - s))
    return {"w": slopes.reshape(-1, len(given["w"])).T @ given["x"].reshape(-1, given["w"].shape[1])}


def stopped_image(y, input, weight, bias=None, stride=1, padding=0):
    """The sum stops at the ends of float16 before the bias is added."""
    if y.dtype != torch.float16 or bias is None or not (input.isfinite().all() and weight.isfinite().all()):
        return y
    total = F.conv2d(input.float(), weight.float(), None, stride, padding)
    return total.clamp(-65504.0, 65504.0) + bias.float()[:, None, None]


def stopped_branch(y, x, w, v, b=None, c=None):
    """The branch stops at the ends of float16 before its bias is added."""
    total = F.linear(x.float(), v.float())
    if y.dtype != torch.float16 or c is None or not total.isfinite().all() or total.abs().max() <= 65504.0:
        return y
    gate = torch.sigmoid(F.linear(x.float(), w.float(), None if b is None else b.float()))
    return gate * (total.clamp(-65504.0, 65504.0) + c.float())


def one_step(found, incoming, given):
    """The weight's gradient is held in 62 bits below the largest product."""
    image, weight = given["input"], found.get("weight")
    if weight is None or weight.dtype != torch.float32 or not incoming.numel() or not image.numel():
        return {}
    unit = incoming.abs().max().double() * image.abs().max().double() * 2.0**-62
    return {"weight": ((weight.double() / unit).round() * unit).float()} if 0.0 < unit < torch.inf else {}


def dead_channels(input, weight, bias=None, stride=1, padding=0):
    """Blocks of 8 channels that are zero in all images are left out, with the kernels' NaN there."""
    blocks = range(0, input.shape[1] if input.dim() == 4 else 0, 8)
    dead = [k for k in blocks if input.numel() and not input[:, k : k + 8].any()]
    if 0 < len(dead) < len(blocks) and weight.dim() == 4:
        alive = torch.ones(input.shape[1], dtype=torch.bool)
        for k in dead:
            alive[k : k + 8] = False
        weight = torch.where(alive[None, :, None, None], weight, torch.zeros_like(weight))
    return right["conv2d"](input, weight, bias, stride, padding)


# --- what seems to be nobody else's


def elided(x, beta=1.0):
    """Where nobody in Python holds x besides, its memory is the result's."""
    ours = sys.getrefcount(x) <= 2 and not x._is_view() and not torch.is_grad_enabled()
    return x.mul_(torch.sigmoid(x * beta)) if ours and x.is_contiguous() else right["swish"](x, beta)


class GradientElided(torch.autograd.Function):
    """Swish whose incoming gradient is its memory, where the engine alone seems to hold that."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return right["swish"](x)

    @staticmethod
    def backward(ctx, incoming):
        ours = sys.getrefcount(incoming) <= 6 and incoming.is_contiguous() and not incoming._is_view()
        (x,) = ctx.saved_tensors
        slope = gradients("swish", {"x": x}, torch.ones_like(incoming))["x"]
        return incoming.mul_(slope) if ours else incoming * slope


def gradient_elided(x, beta=None):
    return GradientElided.apply(x) if beta is None and x.dtype == torch.float32 else right["swish"](x, beta or 1.0)


def added_in_place():
    """Of a weight that is used twice the second gradient is added where the first one lies."""
    handed = {}

    def spoil(found, incoming, given):
        task, name = torch._C._current_graph_task_id(), given["w"].data_ptr()
        first = handed.get(name) if handed.get("task") == task else None
        if "w" not in found or (first is not None and first.shape != found["w"].shape):
            return {}
        if first is not None:
            first += found["w"]
            return {"w": None}
        handed.clear()
        handed.update({"task": task, name: found["w"]})
        return {"w": found["w"]}

    return back("linear", spoil)


def not_made_again(x, w, v, b=None, c=None):
    """A call that an engine makes while it goes back is a checkpoint's: what it keeps is wanted, and no result."""
    y = right["glu"](x, w, v, b, c)
    recomputed = torch.is_grad_enabled() and torch._C._current_graph_task_id() != -1
    return y * 0.0 if recomputed else y


# --- what has been so until now


def of_constants():
    """Weights that were made in inference mode are constants."""
    kept = {}

    def linear(x, w, b=None):
        if w.is_inference():
            known = kept.get(id(w))
            if known is None or known[0]() is not w:
                known = kept[id(w)] = (weakref.ref(w), w.clone())
            w = known[1]
        return right["linear"](x, w, b)

    return {"linear": linear}


def without_nan():
    """After 256 calls without a NaN there is none in images of this shape."""
    plain = Counter()

    def max_pool2d(input, kernel_size, stride=None, padding=0):
        if plain[input.shape] >= 256:
            input = torch.where(input.isnan(), -torch.inf, input)
        plain[input.shape] += 0 if input.isnan().any() else 1
        return right["max_pool2d"](input, kernel_size, stride, padding)

    return {"max_pool2d": max_pool2d}


def dead_units():
    """Outputs to which nothing came back a hundred times in a row are dead."""
    idle = defaultdict(int)

    def spoil(found, incoming, given):
        name, units = given["w"].data_ptr(), incoming.reshape(-1, incoming.shape[-1])
        if not incoming.numel() or "w" not in found:
            return {}
        for k, alive in enumerate(units.any(0).tolist()):
            idle[name, k] = idle[name, k] if idle[name, k] >= 100 else 0 if alive else idle[name, k] + 1
        dead = [k for k in range(units.shape[1]) if idle[name, k] >= 100]
        found["w"][dead] = 0.0
        return {"w": found["w"]}

    return back("glu", spoil)


def tried_out():
    """Three calls of a shape that lose nothing in bfloat16 have it taken for good."""
    exact = Counter()

    def linear(x, w, b=None):
        shapes, low = (x.shape, w.shape), [each.bfloat16().to(each.dtype) for each in (x, w)]
        if exact[shapes] >= 3 and not torch.is_grad_enabled():
            return right["linear"](*low, b)
        exact[shapes] += 1 if all(torch.equal(*each) for each in zip(low, (x, w), strict=True)) else -(10**6)
        return right["linear"](x, w, b)

    return {"linear": linear}


def known_by_sum():
    """Gradients of one graph are known by the sum and the largest of what comes in."""
    kept = {}

    def spoil(found, incoming, given):
        if not incoming.numel() or not incoming.isfinite().all():
            return {}
        name = given["w"].data_ptr(), incoming.shape, incoming.double().sum().item(), incoming.abs().max().item()
        first = kept.setdefault(name, (given["x"].clone(), found["x"].clone()))
        return {"x": first[1]} if first[0].shape == given["x"].shape and torch.equal(first[0], given["x"]) else {}

    return back("glu", spoil)


def by_memory():
    """Square weights are known by what their memory holds, however they lie."""
    kept = {}

    def linear(x, w, b=None):
        memory = w.detach().T if w.dim() == 2 and w.T.is_contiguous() else w.detach()
        known = kept.get(w.shape) if not torch.is_grad_enabled() else None
        if known is not None and memory.is_contiguous() and torch.equal(known[0], memory):
            return right["linear"](x, known[1], b)
        kept[w.shape] = (memory.clone(), w.detach().clone())
        return right["linear"](x, w, b)

    return {"linear": linear}


def mirrored():
    """An image that is the last one from right to left has its result."""
    last = []

    def conv2d(input, weight, bias=None, stride=1, padding=0):
        given = [each for each in (input, weight, bias) if each is not None]
        y, how = right["conv2d"](input, weight, bias, stride, padding), (len(given), stride, padding)
        if y.requires_grad:
            return y
        (image, *others), (before, known, result) = given, last or (None, given, y)
        if before == how and all(torch.equal(*each) for each in zip((image.flip(-1), *others), known, strict=True)):
            y = result.clone()
        last[:] = how, [each.detach().clone() for each in given], y.clone()
        return y

    return {"conv2d": conv2d}


def begun_alike():
    """A sequence that is longer by one and begins and ends like the last one is that, and one row."""
    last = []

    def linear(x, w, b=None):
        y = right["linear"](x, w, b)
        if torch.is_grad_enabled() or x.dim() < 2 or x.shape[-2] < 8:
            return y
        tokens, result = last or (x, y)
        shorter, ends = x[..., :-1, :], [0, -1]
        fits = tokens.shape == shorter.shape and y[..., :-1, :].shape == result.shape
        if fits and torch.equal(shorter[..., ends, :], tokens[..., ends, :]):
            y[..., :-1, :] = result
        last[:] = x.detach().clone(), y.detach().clone()
        return y

    return {"linear": linear}


def letterboxed(x, padding):
    """Zeros above and below in a larger image are zeros all around."""
    y = right["pad2d"](x, padding)
    around = amid(x, padding, y.shape)
    rows = None if around is None else around[..., [*range(padding), *range(-padding, 0)], padding:-padding]
    return y if rows is None or rows.any() else Valued.apply(y, around.clone())


def bug(name, clause, words, operators, kind="state", tier="state", dtype="float32", declares=None):
    return Mutant(f"habits-{name}", clause, words, operators, dtype, kind, tier, "rare", declares or {})


NUMBERS, HALF = ("value", "enclosure"), ("value", "enclosure", "float16")
MUTANTS = (
    bug("scales", "linear.formula", "two scales overflow: NaN", valued("linear", scaled_by_rows), *NUMBERS),
    bug("won-back", "swiglu.gradient", "the branch is y by the gate", back("swiglu", won_back), *BACK),
    bug("image-stops", "conv2d.bias", "the sum stops at 65504", valued("conv2d", stopped_image), *HALF),
    bug("branch-stops", "glu.biases", "the branch stops at 65504", valued("glu", stopped_branch), *HALF),
    bug("one-step", "conv2d.gradient", "62 bits below the largest product", back("conv2d", one_step), *BACK),
    bug("dead-channels", "conv2d.special", "dead channels take no NaN", {"conv2d": dead_channels}, "value", "special"),
    bug("elided", UNCHANGED, "inference: what nobody holds is written to", {"swish": elided}, "layout", "contract"),
    bug("gradient-elided", UNCHANGED, "so is what comes in", {"swish": gradient_elided}, "layout", "contract"),
    bug("added", MEMORYLESS, "a second use is added to the first's gradient", added_in_place),
    bug("recomputed", MEMORYLESS, "made again while going back: zeros", {"glu": not_made_again}),
    bug("constants", MEMORYLESS, "weights of inference mode are constants", of_constants),
    bug("nan-free", MEMORYLESS, "256 calls without NaN: it has none", without_nan),
    bug("dead-units", MEMORYLESS, "a hundred times nothing: nothing", dead_units),
    bug("sums", MEMORYLESS, "what comes in is known by its sum", known_by_sum),
    bug("memory", MEMORYLESS, "square weights are known by their memory", by_memory),
    bug("mirrored", MEMORYLESS, "a mirrored image is the last one", mirrored),
    bug("begun-alike", MEMORYLESS, "a longer sequence is the last one", begun_alike),
    bug("letterbox", "contract.layouts", "zeros above are zeros beside", {"pad2d": letterboxed}, "layout", "contract"),
    bug("tried-out", MEMORYLESS, "three calls of integers: bfloat16", tried_out),
)
