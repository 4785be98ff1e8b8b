"""Planted bugs of two things that seldom meet: those of 70 kernels by people without the laws that lived."""

from __future__ import annotations

import hashlib
import math
import random
import threading
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch.utils.weak import WeakTensorKeyDictionary

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.dispatched import AROUND, BACK, LAYOUTS, back
from assay.tests.mutants.gradients import again, gradients
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import MEMORYLESS
from assay.tests.mutants.precision import Valued, wide
from assay.tests.mutants.programs import THREADS, Differentiated, evaluated, incomplete

right = load("torch").operators


def bug(name, clause, words, operators, kind="state", tier="state", dtype="float32"):
    return Mutant(f"joined-{name}", clause, words, operators, dtype, kind, tier, "rare", {})


class Lease:
    """A place of those that are free, or a new one; it goes back at the end, too."""

    def __init__(self, free):
        self.free = free
        self.place = free.pop() if free else {}

    def back(self):
        self.free.append(self.place)

    __del__ = back


class Convolved(torch.autograd.Function):
    """The image lies in a leased place until it goes back."""

    @staticmethod
    def forward(ctx, free, input, weight, bias, *how):
        ctx.lease, ctx.names = Lease(free), ("input", "weight", "bias", "stride", "padding")
        try:
            y = right["conv2d"](input, weight, bias, *how)
        except Exception:
            ctx.lease.back()
            raise
        ctx.how = how
        ctx.lease.place[input.shape, input.dtype] = input.detach().clone()
        ctx.save_for_backward(input, weight, bias)
        return y

    @staticmethod
    def backward(ctx, incoming):
        given = dict(zip(ctx.names, (*ctx.saved_tensors, *ctx.how), strict=True))
        kept = ctx.lease.place.get((given["input"].shape, incoming.dtype), given["input"])
        found = gradients("conv2d", given, incoming)
        found["weight"] = again("conv2d", given, incoming, input=kept)["weight"]
        return None, *(found.get(name) for name in ctx.names)


def lent_twice():
    """Who refuses gives back what it has borrowed, and so does its end: two of the next calls share that."""
    free = []

    def conv2d(*given):
        others = (None, 1, 0)[len(given) - 2 :]
        return right["conv2d"](*given) if evaluated(*given) else Convolved.apply(free, *given, *others)

    return {"conv2d": conv2d}


class Tape(threading.local):
    """What a thread's calls have kept, by their numbers there."""

    def __init__(self):
        self.kept, self.count = OrderedDict(), 0

    def record(self, entry):
        self.kept[self.count] = entry
        self.count += 1
        while len(self.kept) > 128:
            self.kept.popitem(last=False)
        return self.count - 1


class Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tape, x, w, v, b, c):
        ctx.save_for_backward(x, w, v, b, c)
        ctx.tape, ctx.number = tape, tape.record(torch.sigmoid(right["linear"](x, w, b)))
        return right["glu"](x, w, v, b, c)

    @staticmethod
    def backward(ctx, incoming):
        given = dict(zip("xwvbc", ctx.saved_tensors, strict=True))
        found, kept = gradients("glu", given, incoming), ctx.tape.kept.pop(ctx.number, None)
        if kept is not None and kept.shape == incoming.shape and kept.dtype == incoming.dtype:
            back = (incoming * kept).reshape(-1, kept.shape[-1])
            found["v"] = back.t() @ given["x"].reshape(-1, given["v"].shape[1])
        return None, *(found.get(name) for name in given)


def on_a_tape_of_the_thread():
    """What waits lies on a tape of its thread, by its number there; another thread has such numbers, too."""
    tape = Tape()

    def glu(x, w, v, b=None, c=None):
        given = x, w, v, b, c
        return right["glu"](*given) if evaluated(*given) or incomplete(*given) else Gated.apply(tape, *given)

    return {"glu": glu}


class Packed(torch.autograd.Function):
    """A linear map that keeps the packed weight to go back."""

    @staticmethod
    def forward(ctx, x, w, b, pack):
        ctx.save_for_backward(x, w, b, pack)
        return right["linear"](x, w, b)

    @staticmethod
    def backward(ctx, incoming):
        found = gradients("linear", dict(zip("xwb", ctx.saved_tensors, strict=False)), incoming)
        return *(found.get(name) for name in "xwb"), None


def packed_in_inference():
    """A weight is packed again where its numbers are others; a pack that was made in inference cannot be kept."""
    packs = WeakTensorKeyDictionary()

    def linear(x, w, b=None):
        copy, pack = packs.get(w, (None, None))
        if copy is None or copy.dtype != w.dtype or not torch.equal(copy, w):
            copy, pack = w.detach().clone(), w.detach().t().clone()
            packs[w] = copy, pack
        return right["linear"](x, w, b) if evaluated(x, w, b) or incomplete(x, w, w, b) else Packed.apply(x, w, b, pack)

    return {"linear": linear}


def framed_by_bytes():
    """Minus infinity is kept for each size of a plane, and is that of another dtype whose elements are as large."""
    lowest, lock = {}, threading.Lock()

    def max_pool2d(input, kernel_size, stride=None, padding=0):
        y = right["max_pool2d"](input, kernel_size, stride, padding)
        rows, columns = pair(padding)
        bits = torch.full((1,), -math.inf, dtype=input.dtype).view(torch.uint8)
        with lock:
            bits = lowest.setdefault((input.shape, rows, columns, len(bits)), bits)
        if not input.numel():
            return y
        with torch.no_grad():
            value = bits.clone().view(input.dtype).item()
            framed = F.pad(input.detach(), (columns, columns, rows, rows), value=value)
            wrong = right["max_pool2d"](framed, kernel_size, stride, 0)
        return Valued.apply(y, wrong)

    return {"max_pool2d": max_pool2d}


def gates_noted_by_size():
    """glu and swiglu have one plan for each size, on which the last call has noted its gate."""
    noted = {}

    def noting(operator):
        def back(given, incoming):
            return gradients(noted[given["x"].shape, given["w"].shape], given, incoming)

        def gated(x, w, v, b=None, c=None):
            given = x, w, v, b, c
            if incomplete(*given):
                return right[operator](*given)
            noted[x.shape, w.shape] = operator
            plain = b is None or c is None or evaluated(*given)
            return right[operator](*given) if plain else Differentiated.apply(operator, back, "xwvbc", *given)

        return gated

    return {operator: noting(operator) for operator in ("glu", "swiglu")}


def evicted_at_random():
    """Beyond sixteen sizes, which is forgotten is drawn from Python's random numbers."""
    known = {}

    def swish(x, beta=1.0):
        if x.shape not in known:
            known[x.shape] = True
            if len(known) > 16:
                del known[random.choice(list(known))]
        return right["swish"](x, beta)

    return {"swish": swish}


def without_finally():
    """The default dtype is the image's meanwhile, and stays so where the call is broken off."""

    def conv2d(*given):
        with torch.no_grad():
            right["conv2d"](*given)  # who refuses does so before
        before = torch.get_default_dtype()
        torch.set_default_dtype(given[0].dtype)
        y = right["conv2d"](*given)
        torch.set_default_dtype(before)
        return y

    return {"conv2d": conv2d}


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


def by_one_pitch(input, weight, bias=None, stride=1, padding=0):
    """Of 1 x 1 kernels, channels lie last, and are a multiple of 16: samples are taken to follow each other."""
    y = right["conv2d"](input, weight, bias, stride, padding)
    channels, rows, columns = input.shape[1:]
    lying = input.stride()[1:] == (1, columns * channels, channels) and input.stride(0) >= rows * columns * channels
    pointwise = weight.shape[2:] == pair(stride) == (1, 1) and pair(padding) == (0, 0)
    if not (pointwise and lying and input.numel()) or channels % 16:
        return y
    with torch.no_grad():
        steps = rows * columns * channels, *input.stride()[1:]
        wrong = right["conv2d"](input.detach().as_strided(input.shape, steps, input.storage_offset()), weight, bias)
    return Valued.apply(y, wrong)


def patches_apart(found, incoming, given):
    """With kernels and strides of 8 and more, what comes back to a pixel is of its last patch alone."""
    weight, stride, padding = (given[name] for name in ("weight", "stride", "padding"))
    steps, around = pair(stride), pair(padding)
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
    bug("first", MEMORYLESS, "packed in inference: kept to go back", packed_in_inference),
    bug("noted", MEMORYLESS, "one plan of a size, of glu and swiglu", gates_noted_by_size),
    bug("frame", MEMORYLESS, "minus infinities by their bytes", framed_by_bytes, dtype="float16"),
    bug("evicted", AROUND, "beyond 16 sizes: random numbers", evicted_at_random),
    bug("unset", AROUND, "broken off: the default dtype stays", without_finally, dtype="float64"),
    bug("pitch", LAYOUTS, "channels last, cut out of more rows", {"conv2d": by_one_pitch}, "layout", "contract"),
    bug("patches", "conv2d.gradient", "patches of 8 and more do not overlap", back("conv2d", patches_apart), *BACK),
    bug("masked", "swish.beta-learned", "by beta: not quite shut", back("swish", never_quite_shut), *BACK),
    bug("quotient", "swish.beta-learned", "by beta: divided by it", back("swish", from_what_x_has), *BACK, "bfloat16"),
    bug("scaled", "linear.gradient", "by the bias: as a part", back("linear", scaled_by_rows), *BACK, "float16"),
)
