"""Planted bugs of two things that seldom meet: those of 42 kernels by people without the laws that lived."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

import torch

from assay.implementations.load import load
from assay.tests.mutants.dispatched import BACK, LAYOUTS, back
from assay.tests.mutants.gradients import gradients
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import MEMORYLESS
from assay.tests.mutants.precision import Valued, wide
from assay.tests.mutants.programs import THREADS, evaluated, incomplete

right = load("torch").operators


def bug(name, clause, words, operators, kind="state", tier="state", dtype="float32"):
    return Mutant(f"joined-{name}", clause, words, operators, dtype, kind, tier, "rare", {})


# --- what is kept between calls


def lent_twice():
    """Who refuses gives back what it has borrowed, and so does its end: two of the next calls share that."""
    free, lock = [], threading.Lock()

    class Lease:
        def __init__(self):
            with lock:
                self.place = free.pop() if free else {}

        def back(self):
            with lock:
                free.append(self.place)

        __del__ = back

    class Convolved(torch.autograd.Function):
        @staticmethod
        def forward(ctx, input, weight, bias, *how):
            lease = Lease()
            try:
                y = right["conv2d"](input, weight, bias, *how)
            except Exception:
                lease.back()
                raise
            ctx.lease, ctx.how = lease, how
            lease.place[input.shape, input.dtype] = input.detach().clone()
            ctx.save_for_backward(input, weight, *[] if bias is None else [bias])
            return y

        @staticmethod
        def backward(ctx, incoming):
            input, weight, *bias = ctx.saved_tensors
            kept = ctx.lease.place.get((input.shape, input.dtype), input)
            tensors = [each.detach().requires_grad_() for each in (input, kept, weight, *bias)]
            with torch.enable_grad():
                learned = *tensors[2:], *[None] * (not bias)
                here, other = (right["conv2d"](each, *learned, *ctx.how) for each in tensors[:2])
            dx, *biases = torch.autograd.grad(here, [tensors[0], *tensors[3:]], incoming, retain_graph=True)
            (dw,) = torch.autograd.grad(other, tensors[2], incoming)
            return dx, dw, *(biases or [None]), *[None] * len(ctx.how)

    def conv2d(input, weight, bias=None, stride=1, padding=0):
        given = input, weight, bias, stride, padding
        return right["conv2d"](*given) if evaluated(*given) else Convolved.apply(*given)

    return {"conv2d": conv2d}


def on_a_tape_of_the_thread():
    """What waits lies on a tape of its thread, by its number there; another thread has such numbers, too."""
    of_thread = threading.local()

    def tape():
        if not hasattr(of_thread, "tape"):
            of_thread.tape, of_thread.count = OrderedDict(), 0
        return of_thread.tape

    class Gated(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w, v, b, c):
            ctx.save_for_backward(x, w, v, b, c)
            kept = tape()
            ctx.number = of_thread.count
            of_thread.count += 1
            kept[ctx.number] = torch.sigmoid(right["linear"](x, w, b))
            while len(kept) > 128:
                kept.popitem(last=False)
            return right["glu"](x, w, v, b, c)

        @staticmethod
        def backward(ctx, incoming):
            given = dict(zip("xwvbc", ctx.saved_tensors, strict=True))
            found, kept = gradients("glu", given, incoming), tape().pop(ctx.number, None)
            if kept is not None and kept.shape == incoming.shape and kept.dtype == incoming.dtype:
                back = (incoming * kept).reshape(-1, kept.shape[-1])
                found["v"] = back.t() @ given["x"].reshape(-1, given["v"].shape[1])
            return tuple(found.get(name) for name in given)

    def glu(x, w, v, b=None, c=None):
        given = x, w, v, b, c
        return right["glu"](*given) if evaluated(*given) or incomplete(*given) else Gated.apply(*given)

    return {"glu": glu}


def by_what_the_memory_holds():
    """Packed weights are known by all that their memory holds, and not by where in it they begin."""
    packed = OrderedDict()

    def known(w):
        whole = torch.empty(0, dtype=torch.uint8).set_(w.detach().untyped_storage())
        return hashlib.blake2b(whole.numpy(), digest_size=16).digest(), w.shape, w.stride(), w.dtype

    def swiglu(x, w, v, *biases):
        y = right["swiglu"](x, w, v, *biases)
        if not evaluated(x, w, v, *biases):
            return y
        with torch.inference_mode(False):
            pair = packed.setdefault((known(w), known(v)), (w.detach().clone(), v.detach().clone()))
        while len(packed) > 16:
            packed.popitem(last=False)
        return right["swiglu"](x, *pair, *biases)

    return {"swiglu": swiglu}


def published_before_it_is_filled():
    """A table of places is others' to read from when it is made, and filled by then in part."""
    tables, lock = {}, threading.Lock()

    def table(features):
        with lock:
            fresh = features not in tables
            if fresh:
                with torch.inference_mode(False):
                    tables[features] = torch.zeros(features, dtype=torch.int64)
        if fresh:
            for place in range(features):
                tables[features][place] = place
        return tables[features]

    def linear(x, w, b=None):
        y = right["linear"](x, w, b)
        places = table(x.shape[-1])
        with torch.no_grad():
            wrong = right["linear"](x.detach()[..., places], w.detach(), b)
        return Valued.apply(y, wrong)

    return {"linear": linear}


# --- images


def by_one_pitch(input, weight, bias=None, stride=1, padding=0):
    """Of 1 x 1 kernels, channels lie last, and are a multiple of 16: samples are taken to follow each other."""
    y = right["conv2d"](input, weight, bias, stride, padding)
    channels, rows, columns = input.shape[1:]
    lying = input.stride()[1:] == (1, columns * channels, channels) and input.stride(0) >= rows * columns * channels
    pointwise = weight.shape[2:] == (1, 1) and stride in (1, (1, 1)) and padding in (0, (0, 0))
    if not (pointwise and lying and input.numel()) or channels % 16:
        return y
    with torch.no_grad():
        steps = rows * columns * channels, *input.stride()[1:]
        wrong = right["conv2d"](input.detach().as_strided(input.shape, steps, input.storage_offset()), weight, bias)
    return Valued.apply(y, wrong)


def patches_apart(found, incoming, given):
    """With kernels and strides of 8 and more, what comes back to a pixel is of its last patch alone."""
    weight, stride, padding = (given[name] for name in ("weight", "stride", "padding"))
    steps, around = ((each, each) if isinstance(each, int) else each for each in (stride, padding))
    kernel, image = weight.shape[2:], given["input"].shape[2:]
    if min(steps) < 8 or min(kernel) < 8 or not incoming.numel():
        return {}
    padded = torch.zeros(*given["input"].shape[:2], *(n + 2 * p for n, p in zip(image, around, strict=True)))
    padded = padded.to(incoming.dtype)
    for i in range(incoming.shape[2]):
        for j in range(incoming.shape[3]):
            patch = torch.einsum("no,ochw->nchw", incoming[:, :, i, j], weight)
            rows, columns = i * steps[0], j * steps[1]
            padded[:, :, rows : rows + kernel[0], columns : columns + kernel[1]] = patch
    return {"input": padded[:, :, around[0] : around[0] + image[0], around[1] : around[1] + image[1]].contiguous()}


# --- numbers


def never_quite_shut(found, incoming, given):
    """By beta: the exponential's argument is 103 at the most, so that a shut gate is no zero."""
    if "beta" not in found:
        return {}
    x, beta, g = (wide(each) for each in (given["x"], given["beta"], incoming))
    e = torch.exp(-(beta * x).abs().clamp(max=103.0))
    return {"beta": (g * ((e / ((1.0 + e) * (1.0 + e))) * x * x)).sum().reshape(beta.shape).to(given["beta"].dtype)}


def from_what_x_has(found, incoming, given):
    """By beta: what the slope by x has besides the sigmoid, divided by beta."""
    if "beta" not in found or not given["beta"].any():
        return {}
    x, beta, g = (wide(each) for each in (given["x"], given["beta"], incoming))
    s = torch.sigmoid(beta * x)
    slope = s + s * torch.sigmoid(-beta * x) * x * beta
    return {"beta": (g * ((slope - s) / beta * x)).sum().reshape(beta.shape).to(given["beta"].dtype)}


def scaled_by_rows(found, incoming, given):
    """The bias's gradient is kept as a part of itself, by the number of rows, in 16 bits."""
    rows = incoming.reshape(-1, given["w"].shape[0])
    if "b" not in found or len(rows) < 64:
        return {}
    scale = 2.0 ** (len(rows).bit_length() - 1)
    kept = (wide(rows).sum(0) / scale).to(rows.dtype)
    return {"b": (wide(kept) * scale).to(rows.dtype)}


MUTANTS = (
    bug("lease", MEMORYLESS, "refused: its buffer is lent twice", lent_twice),
    bug("tape", MEMORYLESS, "what waits, by its number in a thread", on_a_tape_of_the_thread),
    bug("offset", MEMORYLESS, "parts of one memory: the first of them", by_what_the_memory_holds),
    bug("table", THREADS, "a table that another thread fills", published_before_it_is_filled),
    bug("pitch", LAYOUTS, "channels last, cut out of more rows", {"conv2d": by_one_pitch}, "layout", "contract"),
    bug("patches", "conv2d.gradient", "patches of 8 and more do not overlap", back("conv2d", patches_apart), *BACK),
    bug("masked", "swish.beta-learned", "by beta: not quite shut", back("swish", never_quite_shut), *BACK),
    bug("quotient", "swish.beta-learned", "by beta: divided by it", back("swish", from_what_x_has), *BACK, "bfloat16"),
    bug("scaled", "linear.gradient", "by the bias: as a part", back("linear", scaled_by_rows), *BACK, "float16"),
)
