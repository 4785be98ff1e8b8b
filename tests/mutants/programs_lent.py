"""Planted bugs of what a program does around its calls: memory that is lent, and to whom; and tiles by eight."""

from __future__ import annotations

import contextvars
import math
import threading
import weakref
from collections import OrderedDict

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.tests.mutants.dispatched import KEPT
from assay.tests.mutants.gradients import gradients
from assay.tests.mutants.networks import MEMORYLESS, valued
from assay.tests.mutants.programs import Differentiated, bug, evaluated, incomplete

right = load("torch").operators
THREADS = "contract.threads"


def one_for_the_eighteenth():
    """Sixteen workspaces; whoever finds none shares one with all others who found none."""
    free, shared, lock = [{} for _ in range(16)], {}, threading.Lock()

    def swiglu(x, w, v, b=None, c=None):
        y = right["swiglu"](x, w, v, b, c)
        if y.requires_grad or not y.numel():
            return y
        with lock:
            space = free.pop() if free else shared
        try:
            with torch.inference_mode(False):
                place = space.setdefault((y.shape, y.dtype), torch.empty(y.shape, dtype=y.dtype))
            place.copy_(y)
            return place.clone()
        finally:
            if space is not shared:
                with lock:
                    free.append(space)

    return {"swiglu": swiglu}


def of_the_context():
    """The gate lies in a place of the context: of a thread's copy, too."""
    places = contextvars.ContextVar("places")

    def glu(x, w, v, b=None, c=None):
        y = right["glu"](x, w, v, b, c)
        if y.requires_grad:
            return y
        if places.get(None) is None:
            places.set({})
        with torch.inference_mode(False):
            place = places.get().setdefault((y.shape, y.dtype), torch.empty(y.shape, dtype=y.dtype))
        place.copy_(y)
        return place.clone()

    return {"glu": glu}


def left_inside():
    """Inside of another call a result may lie in a scratch; how deep it is, is not counted back where one fails."""
    of_thread, scratch = threading.local(), {}

    def max_pool2d(input, kernel_size, stride=None, padding=0):
        of_thread.depth = getattr(of_thread, "depth", 0)
        if not isinstance(input, torch.Tensor) or not input.requires_grad or not torch.is_grad_enabled():
            y = right["max_pool2d"](input, kernel_size, stride, padding)
            if not of_thread.depth:
                return y
            with torch.inference_mode(False):
                place = scratch.setdefault((threading.get_ident(), y.shape, y.dtype), torch.empty_like(y))
            return place.detach().copy_(y)
        right["max_pool2d"](input.detach(), kernel_size, stride, padding)  # who refuses does so before
        of_thread.depth += 1
        y = right["max_pool2d"](input, kernel_size, stride, padding)
        of_thread.depth -= 1
        return y

    return {"max_pool2d": max_pool2d}


def of_nobody_by_reference():
    """A result whose object is gone lends its memory, though another object may have that."""
    lent = {}

    def swish(x, beta=1.0):
        y = right["swish"](x, beta)
        if y.requires_grad or torch.is_inference_mode_enabled():
            return y
        known = lent.get((y.shape, y.dtype, threading.get_ident()))
        if known is not None and known[0]() is None:
            y = known[1].detach().copy_(y)
        lent[y.shape, y.dtype, threading.get_ident()] = weakref.ref(y), y.detach()
        return y

    return {"swish": swish}


def of_stored_gradients():
    """A weight's gradient whose object is gone lends its memory, though it may be the weight's by now."""
    lent = {}

    def back(given, incoming):
        found = gradients("glu", given, incoming)
        name = found["w"].shape, found["w"].dtype, threading.get_ident()
        known = lent.get(name)
        if known is not None and known[0]() is None:
            found["w"] = known[1].detach().copy_(found["w"])
        lent[name] = weakref.ref(found["w"]), found["w"].detach()
        return found

    def glu(x, w, v, *biases):
        plain = biases or evaluated(x, w, v) or incomplete(x, w, v)
        return right["glu"](x, w, v, *biases) if plain else Differentiated.apply("glu", back, "xwv", x, w, v)

    return {"glu": glu}


class Indexed(torch.autograd.Function):
    """Where the largest were lies in what is ``lent`` until the result is gone."""

    @staticmethod
    def forward(ctx, input, lent, free, *how):
        y, places = F.max_pool2d(input, *how, return_indices=True)
        same = free.setdefault((places.shape, threading.get_ident()), [])
        ctx.places, ctx.shape = same.pop() if same else torch.empty_like(places), input.shape
        ctx.places.copy_(places)
        lent.append((same, ctx.places))
        return y

    @staticmethod
    def backward(ctx, incoming):
        samples, channels, *_ = ctx.shape
        places, came = (each.reshape(samples, channels, -1) for each in (ctx.places, incoming))
        found = incoming.new_zeros(samples, channels, math.prod(ctx.shape[2:]))
        return found.scatter_add_(2, places, came).reshape(ctx.shape), None, None, None, None, None


def lent_to_a_result():
    """And not to what is left of its graph."""
    free = {}

    def max_pool2d(input, kernel_size, stride=None, padding=0):
        y = right["max_pool2d"](input, kernel_size, stride, padding)
        if evaluated(input) or input.dim() != 4 or not y.numel() or not input.isfinite().all():
            return y
        lent = []
        y = Indexed.apply(input, lent, free, kernel_size, kernel_size if stride is None else stride, padding)
        ((same, places),) = lent
        weakref.finalize(y, same.append, places).atexit = False
        return y

    return {"max_pool2d": max_pool2d}


def bordered_by_version():
    """Memory with a border of zeros is used again when it is nobody's, unless its version has changed."""
    lent = {}

    def holders(tensor):
        return torch._C._storage_Use_Count(tensor.untyped_storage()._cdata)

    alone = holders(torch.zeros(1))

    def pad2d(x, padding):
        y = right["pad2d"](x, padding)
        if y.requires_grad or torch.is_inference_mode_enabled() or padding <= 0 or not x.numel():
            return y
        name = y.shape, padding, y.dtype, threading.get_ident()
        known = lent.get(name)
        if known is None or holders(known[0]) != alone or known[0]._version != known[1]:
            known = torch.zeros_like(y), 0
        known[0][..., padding:-padding, padding:-padding] = x
        lent[name] = known[0], known[0]._version
        return known[0].detach()

    return {"pad2d": pad2d}


class Pooled(torch.autograd.Function):
    """The gradient of each plane is added where the ``plan`` has it begin."""

    @staticmethod
    def forward(ctx, input, plan, *how):
        y, places = F.max_pool2d(input, *how, return_indices=True)
        ctx.save_for_backward(places)
        ctx.kept = input.shape, plan(math.prod(input.shape[:2]), math.prod(input.shape[2:]))
        return y

    @staticmethod
    def backward(ctx, incoming):
        shape, beginnings = ctx.kept
        planes = math.prod(shape[:2])
        places = ctx.saved_tensors[0].reshape(planes, -1) + beginnings[:planes, None]
        inside = places < math.prod(shape)
        found = torch.zeros(math.prod(shape), dtype=incoming.dtype)
        found.index_add_(0, places[inside], incoming.reshape(planes, -1)[inside])
        return found.reshape(shape), None, None, None, None


def plans_of_twelve():
    """Where planes begin is kept for twelve shapes; the memory of the oldest is the next one's, of whoever holds it."""
    plans = OrderedDict()

    def plan(planes, size):
        if planes * size and (planes, size) not in plans:
            memory = plans.popitem(last=False)[1] if len(plans) >= 12 else torch.empty(1 << 12, dtype=torch.int64)
            memory[:planes] = torch.arange(planes) * size
            plans[planes, size] = memory
        return plans.get((planes, size))

    def max_pool2d(input, kernel_size, stride=None, padding=0):
        y = right["max_pool2d"](input, kernel_size, stride, padding)
        rare = input.dim() != 4 or input.dtype != torch.float32 or math.prod(input.shape[:2]) > 1 << 12
        if evaluated(input) or rare or not y.numel() or not input.isfinite().all():
            return y
        return Pooled.apply(input, plan, kernel_size, kernel_size if stride is None else stride, padding)

    return {"max_pool2d": max_pool2d}


# --- arithmetic


def fifth_of_eight_tiles(y, input, weight, bias=None, stride=1, padding=0):
    """Tiles of 4 x 4 places by eight: of a rest above four those behind the fourth miss the last channel."""
    of_ones = padding in (0, (0, 0)) and stride in (1, (1, 1)) and weight.shape[2:] == (3, 3)
    if not of_ones or input.shape[1] < 4 or y.dtype != torch.float32 or not y.numel():
        return y
    high, wide = (-(-side // 4) for side in y.shape[2:])
    short = right["conv2d"](input[:, :-1], weight[:, :-1], bias)
    for tile in range(high * wide - max(0, high * wide % 8 - 4), high * wide):
        row, column = (4 * place for place in divmod(tile, wide))
        y[..., row : row + 4, column : column + 4] = short[..., row : row + 4, column : column + 4]
    return y


MUTANTS = (
    bug("eighteenth", THREADS, "16 workspaces, and one for all others", one_for_the_eighteenth),
    bug("context", THREADS, "a copied context shares its place", of_the_context),
    bug("inside", KEPT, "a call that failed is not counted out", left_inside),
    bug("objects", KEPT, "a result that is gone lends its memory", of_nobody_by_reference),
    bug("stored", KEPT, "a gradient that is gone lends its memory", of_stored_gradients),
    bug("dropped", MEMORYLESS, "places are lent until the result is gone", lent_to_a_result),
    bug("border", "contract.fresh-memory", "a border is known by its version", bordered_by_version),
    bug("plans", MEMORYLESS, "twelve shapes have plans", plans_of_twelve),
    bug("tiles", "conv2d.formula", "the fifth of eight", valued("conv2d", fifth_of_eight_tiles), "size", "exact"),
)
