"""Planted bugs of tokens and activations in larger sizes, rarer layouts and after many calls: no law had seen them."""

from __future__ import annotations

import weakref
from collections import Counter
from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.tests.mutants.dispatched import LAYOUTS, MEMORY, STATE, one_memory
from assay.tests.mutants.gradients import rows
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import Operators, valued
from assay.tests.mutants.overlooked import dense
from assay.tests.mutants.precision import Valued
from assay.tests.mutants.state import by_pointer, by_shape, counted

right = load("torch").operators
GRID = 65535 * 128  # elements


def count(x: Any) -> int:
    """How many rows."""
    return x.shape[:-1].numel()


# Sizes.


def second_chunk(y, x, w, v, b=None, c=None):
    """Outputs by 4096, from 32 rows on: each chunk begins with the first of c."""
    if len(w) <= 4096 or count(x) < 32 or c is None:
        return y
    return right["glu"](x, w, v, b, c[torch.arange(len(w)) % 4096])


def unfinished_group(y, x, w, b=None):
    """Tiles of 64 in groups of 8 rows of tiles: the last group, of fewer, is walked as if it had 8."""
    tall, across = -(-count(x) // 64), -(-len(w) // 64)
    rest = tall % 8
    if tall > 8 and across > 1:
        for row in range(rest):
            rows(y)[(tall - rest + row) * 64 :][:64, -(-(rest * across - row) // 8) * 64 :] = 0
    return y


def split_of_features(y, x, w, b=None):
    """Eight parts of whole tiles of 16 features, from 64 rows, 32 outputs and 1024 features on."""
    outputs, features = w.shape
    whole = features // 128 * 128
    large = count(x) >= 64 and outputs >= 32 and features >= 1024
    return right["linear"](x[..., :whole], w[:, :whole], b) if large else y


def behind_the_grid(y, x, beta=None):
    """A grid of 65535 blocks of 128 works in place on a copy of x."""
    y.view(-1)[GRID:] = x.reshape(-1)[GRID:]
    return y


# Layouts.


def fused_by_rows(y, x, w, v, b=None, c=None):
    """V right behind W, of the same strides: both are read by rows."""
    behind = one_memory(w, v) and w.data_ptr() + w.nbytes == v.data_ptr() and w.stride() == v.stride()
    return right["glu"](x, dense(w), dense(v), b, c) if behind else y


def pitch_of_w(y, x, w, b=None):
    """From 4 rows and 16 outputs on, rows of W are taken to follow each other."""
    outputs, features = w.shape
    columns = w.stride(1) == 1 and w.stride(0) >= features
    return right["linear"](x, dense(w), b) if columns and x.is_contiguous() and count(x) >= 4 and outputs >= 16 else y


def aligned_down(y, x, w, v, b=None, c=None):
    """From 128 outputs on, c is read from the aligned place below."""
    if c is None or len(w) < 128 or c.stride(0) != 1:
        return y
    at = c.storage_offset()
    return right["swiglu"](x, w, v, b, c.as_strided(c.shape, (1,), at - at % 4))


def collapsed(y, x, *given):
    """Of four axes or more, the two before the features decide whether rows have one pitch."""
    if x.dim() < 4 or not x.numel() or x.stride(-1) != 1 or x.stride(-3) != x.stride(-2) * x.shape[-2]:
        return y
    if any(x.stride(i) < x.stride(i + 1) * x.shape[i + 1] for i in range(x.dim() - 2)):
        return y
    features = x.shape[-1]
    flat = x.as_strided((x.numel() // features, features), (x.stride(-2), 1))
    return right["swiglu"](flat, *given).view_as(y)


def strides_of_w(y, x, w, v, *biases):
    """From 8 x 8 on, V is read as W lies."""
    outputs, features = w.shape
    both = {w.stride(), v.stride()} <= {(features, 1), (1, outputs)}
    return right["swiglu"](x, w, v.as_strided(v.shape, w.stride()), *biases) if both and min(w.shape) >= 8 else y


def tail_behind_prologue(y, x, beta=None):
    """Elements before an aligned address come first, and the tail begins as if there were none."""
    n, lanes = x.numel(), 16 // x.element_size()
    if n >= 1024 and x.is_contiguous():
        first = -(x.data_ptr() // x.element_size()) % lanes
        missed = slice(first + (n - first) // lanes * lanes, n - n % lanes)
        y.view(-1)[missed] = x.view(-1)[missed]
    return y


# Values.


def shut(y, x, w, v, b=None, c=None):
    """Where the gate is 0 in the dtype, so is the product, whatever the other branch."""
    return y.masked_fill_(torch.sigmoid(F.linear(x, w, b)) == 0, 0.0)


def two_halves(t: torch.Tensor) -> torch.Tensor:
    """The sum of two of 11 bits, whose exponents begin at the tensor's largest."""
    scale = 2.0 ** t.abs().max().log2().floor()
    high = (t / scale).half().float()
    return (high + (t / scale - high).half().float()) * scale


def one_scale(y, x, w, b=None):
    """From 32 rows, 256 features and 8 outputs on: float16, with one scale a tensor."""
    outputs, features = w.shape
    if x.dtype != torch.float32 or count(x) < 32 or features < 256 or outputs < 8:
        return y
    largest = x.abs().max() * w.abs().max()
    return right["linear"](two_halves(x), two_halves(w), b) if 0 < largest < torch.inf else y


def features_by_squares(y, x, w, b=None):
    """256 features or more, at most half of which have squares that are not 0: the others are left out."""
    features = w.shape[1]
    if features < 256 or not x.numel():
        return y
    alive = (rows(x) * rows(x)).sum(0) != 0
    return right["linear"](x[..., alive], w[:, alive], b) if 0 < 2 * alive.sum() <= features else y


def strassen(a: Any, b: Any) -> Any:
    """Seven products of quarters."""
    (a11, a12), (a21, a22) = (half.chunk(2, 1) for half in a.chunk(2))
    (b11, b12), (b21, b22) = (half.chunk(2, 1) for half in b.chunk(2))
    p1, p2, p3 = (a11 + a22) @ (b11 + b22), (a21 + a22) @ b11, a11 @ (b12 - b22)
    p4, p5 = a22 @ (b21 - b11), (a11 + a12) @ b22
    p6, p7 = (a21 - a11) @ (b11 + b12), (a12 - a22) @ (b21 + b22)
    return torch.cat([torch.cat([p1 + p4 - p5 + p7, p3 + p5], 1), torch.cat([p2 + p4, p1 - p2 + p3 + p6], 1)])


def by_strassen(y, x, w, b=None):
    """Where rows, outputs and features are even and 512 or more."""
    sizes = count(x), *w.shape
    if x.dtype != torch.float32 or min(sizes) < 512 or any(size % 2 for size in sizes):
        return y
    return (strassen(rows(x), w.T) + (0 if b is None else b)).view_as(y)


def six_digits(x, beta=None):
    """A number is written into the source of a kernel."""
    return right["swish"](x, float(f"{beta:g}") if isinstance(beta, (int, float)) else beta)


def polynomial(y, x, beta=None):
    """64 elements or more, all of |beta x| below 1/4: the sigmoid is a polynomial of degree 3."""
    z = x if beta is None else x * beta
    return x * (0.5 + z * (0.25 - z * z / 48)) if x.numel() >= 64 and z.abs().max() < 0.25 else y


# Between calls.


def dirty_workspace() -> Operators:
    """512 features and up to 32 rows: what was refused for its bias stays in the accumulator."""
    left: dict[Any, Any] = {}

    def linear(x, w, b=None):
        key = count(x), len(w), x.dtype
        fits = x.shape[-1] == w.shape[1] >= 512 and count(x) <= 32
        if fits and b is not None and b.shape != w.shape[:1]:
            left[key] = left.get(key, 0.0) + rows(F.linear(x, w)).detach()
        y = right["linear"](x, w, b)
        return Valued.apply(y, y.detach() + left.pop(key).view_as(y)) if fits and key in left else y

    return {"linear": linear}


def trusted_pack() -> Operators:
    """Weights of 2^14 elements or more, in inference: the first 200 calls look whether they have changed."""
    kept: dict[Any, Any] = {}

    def linear(x, w, b=None):
        if torch.is_grad_enabled() or w.numel() < 1 << 14:
            return right["linear"](x, w, b)
        key = *by_pointer(w), w.stride()
        if key not in kept or (kept[key][1] < 200 and not torch.equal(kept[key][0], w)):
            kept[key] = [w.clone(), 0]
        kept[key][1] += 1
        return right["linear"](x, kept[key][0], b)

    return {"linear": linear}


def plans_by_work() -> Operators:
    """From 2^18 products on, whether features leave a rest of 32 is kept by the number of products."""
    plans: dict[int, bool] = {}

    def change(y, x, w, b=None):
        outputs, features = w.shape
        work = x.numel() * outputs
        if work < 1 << 18 or not plans.setdefault(work, features % 32 == 0):
            return y
        whole = features // 32 * 32
        return right["linear"](x[..., :whole], w[:, :whole], b)

    return valued("linear", change)


def fingerprints() -> Operators:
    """Weights of 2^16 elements or more, in inference: packed by the address and 64 elements."""
    kept: dict[Any, Any] = {}

    def swiglu(x, w, v, *biases):
        if torch.is_grad_enabled() or w.numel() < 1 << 16:
            return right["swiglu"](x, w, v, *biases)
        marks = torch.stack([t.reshape(-1)[:: w.numel() // 64] for t in (w, v)])
        key = *by_pointer(w, v), w.stride(), v.stride()
        if key not in kept or not torch.equal(kept[key][0], marks):
            kept[key] = marks, w.clone(), v.clone()
        return right["swiglu"](x, *kept[key][1:], *biases)

    return {"swiglu": swiglu}


def tuned() -> Operators:
    """From the 151st call of a shape on, vectors of eight: the rest is x."""
    calls: Counter[Any] = Counter()

    def change(y, x, beta=None):
        calls[by_shape(x)] += 1
        tail = x.numel() % 8
        if calls[by_shape(x)] > 150 and x.numel() > 64 and tail:
            y.view(-1)[-tail:] = x.reshape(-1)[-tail:]
        return y

    return valued("swish", change)


def pool() -> Operators:
    """4096 results or more, in inference: a buffer is free when its tensor is gone, though a view of it may be held."""
    held: dict[Any, Any] = {}

    def swish(*given):
        y = right["swish"](*given)
        if torch.is_grad_enabled() or y.numel() < 4096:
            return y
        buffers = held.setdefault((y.numel(), y.dtype, y.is_inference()), [])
        entry = next((each for each in buffers if each[1]() is None), None)
        if entry is None:
            buffers.append(entry := [torch.empty_like(y).reshape(-1), None])
        found = entry[0].view(y.shape).copy_(y)
        entry[1] = weakref.ref(found)
        return found

    return {"swish": swish}


def off_at_first(calls, *given):
    return right["swish"](*given) + (0.0 if calls else 1.0)


def bug(name, clause, words, operators, kind="size", tier="exact", dtype="float32"):
    return Mutant(f"lasting-{name}", clause, words, operators, dtype, kind, tier, "rare")


def wrong(name, clause, words, operator, change, *how):
    return bug(name, clause, words, valued(operator, change), *how)


SPECIAL, UNITS, REALS = ("value", "special"), ("precision", "enclosure"), ("size", "enclosure")
FORMULA, MEMORYLESS = "linear.formula", "contract.memoryless"
MUTANTS = (
    wrong("chunk", "glu.formula", "outputs past 4096: the first ones' c", "glu", second_chunk, *REALS),
    wrong("group", FORMULA, "past 512 rows: the last tiles are not written", "linear", unfinished_group),
    wrong("split", FORMULA, "1024 features: those past a multiple of 128", "linear", split_of_features),
    wrong("grid", "swish.formula", "elements past 65535 x 128: x", "swish", behind_the_grid, *REALS),
    wrong("fused", LAYOUTS, "V right behind W, both transposed: read by rows", "glu", fused_by_rows, *MEMORY),
    wrong("pitch", LAYOUTS, "some columns of a matrix as W: read densely", "linear", pitch_of_w, *MEMORY),
    wrong("bias", LAYOUTS, "128 outputs: c is read from an aligned place", "swiglu", aligned_down, *MEMORY),
    wrong("collapsed", LAYOUTS, "x[:, :h] of four axes: rows are others'", "swiglu", collapsed, *MEMORY),
    wrong("strides", LAYOUTS, "of W and V one is transposed: V lies as W", "swiglu", strides_of_w, *MEMORY),
    wrong("prologue", LAYOUTS, "1024 elements, misaligned: the end is x", "swish", tail_behind_prologue, *MEMORY),
    wrong("shut", "glu.special", "a gate of 0 hides NaN of the other branch", "glu", shut, *SPECIAL),
    wrong("halves", FORMULA, "256 features: two float16, one scale a tensor", "linear", one_scale, *UNITS),
    wrong(
        "squares",
        FORMULA,
        "features whose squares are 0 are left out",
        "linear",
        features_by_squares,
        *UNITS,
        "float16",
    ),
    wrong("strassen", FORMULA, "512 by 512 by 512: Strassen's products", "linear", by_strassen, *UNITS),
    bug("digits", "swish.formula", "a beta that is a number has six digits", {"swish": six_digits}, *UNITS),
    wrong("polynomial", "swish.formula", "64 small elements: degree 3", "swish", polynomial, *UNITS),
    bug("refused", MEMORYLESS, "512 features: a refused product is added to the next", dirty_workspace, *STATE),
    bug("trusted", MEMORYLESS, "in inference W as it was, after 200 calls", trusted_pack, *STATE),
    bug("plans", MEMORYLESS, "features past 32, where as much work was even", plans_by_work, *STATE),
    bug("fingerprint", MEMORYLESS, "in inference W and V by 64 elements", fingerprints, *STATE),
    bug("tuned", MEMORYLESS, "after 150 calls of a shape the last elements are x", tuned, *STATE),
    bug("pool", "contract.results-kept", "in inference views are overwritten", pool, *STATE),
    bug("first-call", MEMORYLESS, "the first call of a process is off by 1", counted("swish", off_at_first), *STATE),
)
