"""Planted bugs of what has lapsed since: those of kernels by people without the laws that lived."""

from __future__ import annotations

import gc
import itertools
import threading
import weakref
from collections import Counter

import torch

from assay.implementations.contract import completed
from assay.implementations.load import load
from assay.spec import OPERATORS
from assay.tests.mutants.gradients import again, gradients
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import MEMORYLESS
from assay.tests.mutants.precision import Valued, wide
from assay.tests.mutants.programs import evaluated, incomplete

right = load("torch").operators
TENSORS = {name: OPERATORS[name].tensors for name in OPERATORS}


def bug(name, clause, words, operators, kind="state", tier="state", dtype="float32"):
    return Mutant(f"lapsed-{name}", clause, words, operators, dtype, kind, tier, "rare", {})


class Noted(torch.autograd.Function):
    """The right result; going back, what ``back(noted, given, incoming)`` says besides, by name."""

    @staticmethod
    def forward(ctx, operator, back, noted, *given):
        ctx.how, names = (operator, back, noted), OPERATORS[operator].arguments
        ctx.others = dict(zip(names, given, strict=True))
        ctx.save_for_backward(*(ctx.others.pop(name) for name in TENSORS[operator]))
        return right[operator](*given)

    @staticmethod
    def backward(ctx, incoming):
        operator, back, noted = ctx.how
        given = {**dict(zip(TENSORS[operator], ctx.saved_tensors, strict=True)), **ctx.others}
        found = gradients(operator, given, incoming) | back(noted, given, incoming)
        return None, None, None, *(found.get(name) for name in OPERATORS[operator].arguments)


def noting(operator, note, back):
    """The operator, whose calls note something, which is known going back."""

    def noted(*given):
        given = completed(operator, dict(zip(OPERATORS[operator].arguments, given, strict=False))).values()
        recorded = not (evaluated(*given) or (operator in ("glu", "swiglu") and incomplete(*given)))
        return Noted.apply(operator, back, note(*given), *given) if recorded else right[operator](*given)

    return {operator: noted}


def by_the_gate(gate, given, incoming):
    """The gradient by V, of a gate that was kept."""
    if gate is None or gate.shape != incoming.shape or gate.dtype != incoming.dtype:
        return {}
    kept = (incoming * gate).reshape(-1, gate.shape[-1])
    return {"v": kept.t() @ given["x"].reshape(-1, given["v"].shape[1])}


def by_the_name_of_a_thread():
    """Gates are kept by their thread's identity, which a later one may have, and its number of calls."""
    kept, own = {}, threading.local()

    def note(x, w, v, b, c):
        own.count = getattr(own, "count", itertools.count())
        key = threading.get_ident(), next(own.count)
        kept[key] = torch.nn.functional.silu(right["linear"](x, w, b))
        return key

    return noting("swiglu", note, lambda key, *more: by_the_gate(kept.pop(key, None), *more))


def collections(*_):
    return gc.get_stats()[-1]["collections"]


def without_b_when_collected(before, given, incoming):
    """Two collections of garbage later the gate is made again, and not of all."""
    return again("glu", given, incoming, b=None) if collections() >= before + 2 else {}


def shared_by_threads(shares, given, incoming):
    """A kernel's gradient is of the shares that there were then, in turn, of which there are fewer by now."""
    samples = len(incoming)
    counted = -(-samples // shares) * torch.get_num_threads()
    if torch.get_num_threads() >= shares or counted >= samples:
        return {}
    return {"weight": again("conv2d", given, incoming[:counted], input=given["input"][:counted])["weight"]}


def in_slots():
    """Going back knows its stride and padding by a slot, of which there are 32."""
    slots, turn = [None] * 32, itertools.count()

    def note(input, weight, bias, *plan):
        plan = input.shape, weight.shape, *plan
        if plan not in slots:
            slots[next(turn) % 32] = plan
        return slots.index(plan)

    def planned(slot, given, incoming):
        stride, padding = slots[slot][2:]
        same = (stride, padding) == (given["stride"], given["padding"])
        return {} if same else again("conv2d", given, incoming, stride=stride, padding=padding)

    return noting("conv2d", note, planned)


def specialised_after_a_hundred():
    """From the hundredth image of a shape on, all of which were dense, it is read as if it were."""
    dense = Counter()

    def max_pool2d(input, kernel_size, *how):
        y = right["max_pool2d"](input, kernel_size, *how)
        key = input.shape, input.dtype, kernel_size, *how
        dense[key] += 1 if input.is_contiguous() else -1000 if dense[key] < 100 else 0
        if dense[key] < 100 or input.is_contiguous():
            return y
        with torch.no_grad():
            strides = torch.empty(input.shape, device="meta").stride()
            wrong = right["max_pool2d"](input.detach().as_strided(input.shape, strides), kernel_size, *how)
        return Valued.apply(y, wrong)

    return {"max_pool2d": max_pool2d}


def parts_left():
    """A long sum is of parts of 512, which a tree of two, four or eight adds up: some may be an earlier call's."""
    kept = {}

    def linear(x, w, b=None):
        y, (outputs, features) = right["linear"](x, w, b), w.shape
        rows = x.detach().reshape(-1, features)
        if not 512 < features <= 4096 or not 0 < len(rows) * outputs <= 4096 or not evaluated(x, w, b):
            return y
        parts = [right["linear"](wide(rows[:, k : k + 512]), wide(w[:, k : k + 512])) for k in range(0, features, 512)]
        level = kept.setdefault((len(rows), outputs, x.dtype), [torch.zeros_like(parts[0])] * 8)
        level[: len(parts)] = parts
        total = sum(level[: 1 << (len(parts) - 1).bit_length()])
        return (total if b is None else total + b).to(x.dtype).reshape(y.shape)

    return {"linear": linear}


def taken_as_packed():
    """In inference a result is packed for the next layer at once, which knows it by its identity."""
    last = []

    def linear(x, w, b=None):
        y = right["linear"](last[0][1] if last and last[0][0] is x else x, w, b)
        last[:] = [(y, y.clone())] if y.is_inference() else []
        return y

    return {"linear": linear}


def by_the_pitch_of_now():
    """Places lie in rows of 256 columns, or of as many as the widest image has had."""
    pitch = [256]

    def note(input, *_):
        pitch[0] = max(pitch[0], input.shape[-1])
        return pitch[0]

    def placed(before, given, incoming):
        if pitch[0] == before:
            return {}
        gradient = gradients("max_pool2d", given, incoming)["input"]
        rows, columns = gradient.shape[-2:]
        flat = torch.arange(rows)[:, None] * before + torch.arange(columns)
        wrong = gradient[..., (flat // pitch[0]).clamp(max=rows - 1), (flat % pitch[0]).clamp(max=columns - 1)]
        return {"input": wrong}

    return noting("max_pool2d", note, placed)


def widened_by_the_whole():
    """In inference, slices of a parameter of 16 bits are kept widened, wherever in it they begin."""
    kept = {}

    def widened(w):
        whole = w._base
        if not isinstance(whole, torch.nn.Parameter) or torch.is_grad_enabled() or w.dtype.itemsize != 2:
            return wide(w)
        key = id(whole), w.shape, w.stride()
        if key not in kept or kept[key][0] is not whole or kept[key][1] != whole._version:
            kept[key] = whole, whole._version, wide(w)
        return kept[key][2]

    def swiglu(x, w, v, b=None, c=None):
        y, others = right["swiglu"](x, w, v, b, c), (None if each is None else wide(each) for each in (b, c))
        return (
            y if not evaluated(x, w, v, b, c) else right["swiglu"](wide(x), widened(w), widened(v), *others).to(y.dtype)
        )

    return {"swiglu": swiglu}


class Shared(torch.autograd.Function):
    """A result that is there already, in its memory, with the slopes of the right one."""

    @staticmethod
    def forward(ctx, correct, there):
        return there.detach()

    @staticmethod
    def backward(ctx, incoming):
        return incoming, None


def of_an_equal_call():
    """Who goes back is given the memory of what an equal call without gradients gave, while that lives."""
    last = []

    def swish(x, beta=1.0):
        y = right["swish"](x, beta)
        if not y.requires_grad:
            last[:] = [weakref.ref(y)]
            return y
        there = last[0]() if last else None
        return Shared.apply(y, there) if there is not None and torch.equal(there, y.detach()) else y

    return {"swish": swish}


def unrounded_between():
    """Without gradients, linear goes on from what swish gave before that was rounded to 16 bits."""
    last = []

    def swish(x, beta=1.0):
        known = right["swish"](wide(x), wide(beta) if isinstance(beta, torch.Tensor) else beta)
        y = known.to(x.dtype)
        last[:] = [y.data_ptr(), known] if evaluated(x, beta) else []
        return y

    def linear(x, w, b=None):
        y = right["linear"](x, w, b)
        known = evaluated(x, w, b) and last and last[0] == x.data_ptr() and x.shape == last[1].shape
        if not known or not torch.equal(last[1].to(x.dtype), x):
            return y
        return right["linear"](last[1], wide(w), None if b is None else wide(b)).to(x.dtype)

    return {"linear": linear, "swish": swish}


def padded_at_once():
    """What is padded and padded again is padded once, if its inside is as it was."""
    last = []

    def pad2d(x, padding):
        known = last and last[0] is x and torch.equal(x[last[2]], last[1])
        y = right["pad2d"](last[1], last[3] + padding) if known else right["pad2d"](x, padding)
        inside = ..., *(slice(padding, padding + n) for n in x.shape[-2:])
        last[:] = [] if x.requires_grad or not padding else [y, x.detach().clone(), inside, padding]
        return y

    return {"pad2d": pad2d}


MUTANTS = (
    bug("equal", "contract.results-kept", "an equal call's memory, while that lives", of_an_equal_call),
    bug("unrounded", MEMORYLESS, "swish as it was before it was rounded", unrounded_between, dtype="bfloat16"),
    bug("border", MEMORYLESS, "padded again: its border was written to", padded_at_once),
    bug("passed", MEMORYLESS, "in inference: packed for the next layer", taken_as_packed),
    bug("pitch", MEMORYLESS, "places by the widest image so far", by_the_pitch_of_now),
    bug("experts", MEMORYLESS, "slices of a parameter, widened", widened_by_the_whole, dtype="bfloat16"),
    bug("name", MEMORYLESS, "what waits, by its thread's identity", by_the_name_of_a_thread),
    bug("garbage", MEMORYLESS, "kept until garbage is collected", noting("glu", collections, without_b_when_collected)),
    bug(
        "shares",
        MEMORYLESS,
        "shares of the call, by threads of now",
        noting("conv2d", lambda *_: torch.get_num_threads(), shared_by_threads),
    ),
    bug("slots", MEMORYLESS, "plans in 32 slots", in_slots, dtype="float64"),
    bug("dense", MEMORYLESS, "dense a hundred times: taken to be", specialised_after_a_hundred),
    bug("parts", MEMORYLESS, "parts of a longer sum stay", parts_left),
)
