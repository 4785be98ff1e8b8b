"""Planted bugs for laws that had none of their own: those of their clause died of other laws before. Going forward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.dispatched import LAYOUTS, MEMORY, STATE, one_memory
from assay.tests.mutants.gradients import rows
from assay.tests.mutants.lasting import count, two_halves
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import valued
from assay.tests.mutants.precision import tf32
from assay.tests.mutants.unseen import crowded_rows, gates_of_multiples, gates_of_nothing, tf32_of

right = load("torch").operators
Change = Callable[..., Any]
LONG = 1 << 14  # features


def are_bytes(t: torch.Tensor, least: float) -> bool:
    """Whether all are whole numbers from this one to that and 255 more."""
    return bool(t.numel()) and bool(((t == t.floor()) & (t >= least) & (t <= least + 255)).all())


# Numbers.


def pairs_of_bytes(y, x, w, b=None):
    """Bytes: two products together stop at 16 bits."""
    features = w.shape[1] // 2 * 2
    if features < 32 or not are_bytes(x, 0.0) or not are_bytes(w, -128.0) or x.max() * w.abs().max() < 2**14:
        return y
    total = right["linear"](x[..., features:], w[:, features:], b)
    for k in range(0, features, 2):
        total = total + (x[..., k : k + 2] @ w[:, k : k + 2].T).clamp(-(2**15), 2**15 - 1)
    return total


def beside_an_outlier(y, x, w, b=None):
    """A row with an element of 100 times their mean is two float16 numbers of one scale."""
    if x.dtype != torch.float32 or x.dim() != 2 or w.shape[1] < 128 or not x.isfinite().all():
        return y
    far = (x.abs().amax(1) > 100 * x.abs().mean(1)).nonzero().flatten()
    for row in far:
        y[row] = right["linear"](two_halves(x[row]), w, b)
    return y


def one_scale_a_batch(y, input, weight, *given):
    """8 samples of 32 channels and more: two float16 numbers of one scale."""
    if input.dtype != torch.float32 or len(input) < 8 or input.shape[1] < 32:
        return y
    return right["conv2d"](two_halves(input), weight, *given) if 0 < input.abs().max() < torch.inf else y


def flushed(y, x, w, b=None):
    """From 32 rows and 64 outputs on numbers below the least normal one are read as 0."""
    if count(x) < 32 or len(w) < 64:
        return y
    return right["linear"](torch.where(x.abs() < torch.finfo(x.dtype).tiny, 0.0, x), w, b)


def coarse_others(y, x, w, v, *biases):
    """From 64 rows and 1024 features to 128 outputs V is TF32."""
    fits = x.dtype == torch.float32 and count(x) >= 64 and w.shape[1] >= 1024 and len(w) <= 128
    return right["glu"](x, w, tf32(v), *biases) if fits else y


def overflowing(y, x, w, v, b=None, c=None):
    """From 32 rows, 64 features and 64 outputs on the gate is e / (1 + e)."""
    if min(count(x), *w.shape) < 32 or not x.isfinite().all():
        return y
    return torch.where(torch.exp(F.linear(x, w, b)) == torch.inf, torch.nan, y)


def by_16_bits(y, input, kernel_size, stride=None, padding=0):
    """Planes of 200 x 200 are compared by their first bits."""
    if input.dtype != torch.float32 or min(input.shape[2:]) < 200 or not input.isfinite().all():
        return y
    places = F.max_pool2d(tf32(input), kernel_size, stride, padding, return_indices=True)[1]
    return input.flatten(2).gather(2, places.flatten(2)).view_as(y)


def infinities_first(y, input, *given):
    """An infinity ends the search, whatever NaN there is."""
    found = right["max_pool2d"](torch.where(input.isnan(), -torch.inf, input), *given)
    return torch.where(found == torch.inf, found, y)


def blind_units(y, input, weight, *given):
    """From 16 channels on a NaN of the image is 0."""
    return right["conv2d"](input.nan_to_num(0.0, torch.inf, -torch.inf), weight, *given) if weight.shape[1] >= 16 else y


def last_kernels_clamped(y, input, weight, bias=None, stride=1, padding=0):
    """Padded: what is left of kernels behind eights is clamped, and a NaN of them is 0."""
    rest = len(weight) // 8 * 8 if pair(padding) != (0, 0) else len(weight)
    kept = torch.cat([weight[:rest], weight[rest:].nan_to_num(0.0, torch.inf, -torch.inf)])
    return right["conv2d"](input, kept, bias, stride, padding)


def rows_of_64_products(y, input, weight, *given):
    """Fewer than 16 channels, by so many columns that 32 of both fit often: behind 64 products of a row none counts."""
    channels, columns = weight.shape[1], weight.shape[3]
    if channels >= 16 or channels * columns % 32 or channels * columns < 64:
        return y
    counting = max(1, 63 // channels)
    kept = torch.zeros_like(weight)
    kept[..., :counting] = weight[..., :counting]
    return right["conv2d"](input, kept, *given)


def pruned_gates(y, x, w, v, *others):
    """From 16 features on, outputs without weights are what their biases give."""
    dead = ((w == 0) & (v == 0)).all(1)
    return torch.where(dead, right["glu"](torch.zeros_like(x), w, v, *others), y) if w.shape[1] >= 16 else y


def few_rows_flushed(y, x, w, b=None):
    """To 16 rows numbers below the least normal one are read as 0."""
    fits = x.dtype == torch.float32 and count(x) <= 16
    return right["linear"](torch.where(x.abs() < torch.finfo(x.dtype).tiny, 0.0, x), w, b) if fits else y


def finite(y, x, w, b=None):
    """To 16 features an infinity of x is the largest number."""
    most = torch.finfo(x.dtype).max
    return right["linear"](x.clamp(-most, most), w, b) if w.shape[1] <= 16 and x.isinf().any() else y


def clipped(y, *given):
    """Products of finite branches that overflow are the largest number."""
    most = torch.finfo(y.dtype).max
    return y.clamp(-most, most) if all(t is None or t.isfinite().all() for t in given) else y


def small_flushed(y, *given):
    """Of fewer than 1024 results those below the least normal number are 0."""
    return torch.where(y.abs() < torch.finfo(y.dtype).tiny, 0.0, y) if y.numel() < 1024 else y


def few_tokens(y, x, w, b=None):
    """128 to 255 rows of 512 features and outputs and more: TF32."""
    fits = x.dtype == torch.float32 and 128 <= count(x) < 256 and min(w.shape) >= 512
    return right["linear"](tf32(x), tf32(w), b) if fits else y


# Sizes.


def first_parts(y, x, w, v, *biases):
    """Up to three rows of 640 features and more, in 64s: by 512, and the rest is left out."""
    features = w.shape[1]
    if count(x) > 3 or features < 640 or features % 64 or features % 512 == 0:
        return y
    whole = features // 512 * 512
    return right["glu"](x[..., :whole], w[:, :whole], v[:, :whole], *biases)


def long_sums(operator: str) -> Any:
    """Rows of 2^14 features and more without a zero are TF32."""

    def change(y: Any, x: Any, *others: Any) -> Any:
        dense = x.dtype == torch.float32 and x.shape[-1] >= LONG and (x != 0).all()
        return right[operator](tf32(x), *others) if dense else y

    return valued(operator, change)


def small_halves(y, x, w, v, *biases):
    """V before W in one memory, up to 64 outputs: the first is taken for the gate's."""
    fused = one_memory(w, v) and v.is_contiguous() and v.data_ptr() + v.nbytes == w.data_ptr()
    return right["swiglu"](x, v, w, *biases) if fused and len(w) <= 64 and rows(x).numel() else y


def ring() -> dict[str, Any]:
    """Without gradients fewer than 1024 results lie in eight buffers of a shape."""
    rings: dict[Any, list[torch.Tensor]] = {}

    def swish(*given: Any) -> Any:
        y = right["swish"](*given)
        if y.requires_grad or y.is_inference() or not 0 < y.numel() < 1024:
            return y
        buffers = rings.setdefault((y.shape, y.dtype), [])
        buffers.append(buffers.pop(0) if len(buffers) >= 8 else torch.empty_like(y))
        return buffers[-1].copy_(y)

    return {"swish": swish}


def bug(name: str, clause: str, words: str, operators: Any, kind: str, tier: str, dtype: str = "float32") -> Mutant:
    return Mutant(f"owed-{name}", clause, words, operators, dtype, kind, tier, "rare")


def wrong(name: str, clause: str, words: str, operator: str, change: Change, *how: str) -> Mutant:
    return bug(name, clause, words, valued(operator, change), *how)


LINEAR, GLU, SWIGLU = "linear.formula", "glu.formula", "swiglu.formula"
FORMULA, LARGEST = "conv2d.formula", "max_pool2d.definition"
UNITS, SPECIAL, REALS = ("precision", "enclosure"), ("value", "special"), ("size", "enclosure")
BIASED = ("precision", "statistics")
MUTANTS = (
    wrong("bytes", LINEAR, "bytes: two products together stop at 32767", "linear", pairs_of_bytes, "value", "exact"),
    wrong("outlier", LINEAR, "beside an outlier: two float16 numbers", "linear", beside_an_outlier, *UNITS),
    wrong("samples", FORMULA, "8 samples: two float16 numbers of one scale", "conv2d", one_scale_a_batch, *UNITS),
    wrong("subnormal", LINEAR, "32 rows, 64 outputs: subnormals are 0", "linear", flushed, *SPECIAL),
    wrong("others", GLU, "64 rows of 1024 features: V is TF32", "glu", coarse_others, *UNITS),
    wrong("tf32", LINEAR, "128 by 512 by 512: TF32", "linear", few_tokens, *UNITS),
    bug("tf32-glu", GLU, "128 by 512 by 512: TF32", tf32_of("glu", 128, 512), *UNITS),
    bug("cube-glu", GLU, "a thousand cubed: TF32", tf32_of("glu", 1024, 1024), *UNITS),
    bug("cube-swiglu", SWIGLU, "a thousand cubed: TF32", tf32_of("swiglu", 1024, 1024), *UNITS),
    wrong("exponential", GLU, "32 by 64 by 64: e / (1 + e)", "glu", overflowing, *SPECIAL),
    wrong("decoding", GLU, "three rows of 640 features: 512 count", "glu", first_parts, *REALS),
    bug("padded", SWIGLU, "a sparse batch: full rows are cut", crowded_rows("swiglu"), "value", "enclosure"),
    wrong("pruned", "glu.special", "no weights: a NaN is not seen", "glu", pruned_gates, *SPECIAL),
    bug("nothing", "swiglu.biases", "no features: no biases", gates_of_nothing("swiglu"), *REALS),
    bug("multiples", "glu.refuses-sizes", "twice the features", gates_of_multiples("glu"), "size", "contract"),
    wrong("reals", LARGEST, "200 x 200: compared by 10 bits", "max_pool2d", by_16_bits, "precision", "exact"),
    wrong("infinity", "max_pool2d.nan", "infinity is above NaN", "max_pool2d", infinities_first, *SPECIAL),
    wrong("clamped", "conv2d.special", "kernels behind eights: a NaN is 0", "conv2d", last_kernels_clamped, *SPECIAL),
    wrong("columns", FORMULA, "8 channels by 8 columns: 7 count", "conv2d", rows_of_64_products, "size", "exact"),
    wrong("nan", "conv2d.special", "16 channels: a NaN of the image is 0", "conv2d", blind_units, *SPECIAL),
    bug("long", LINEAR, "2^14 features: TF32", long_sums("linear"), *BIASED),
    bug("long-glu", GLU, "2^14 features: TF32", long_sums("glu"), *BIASED),
    bug("long-swiglu", SWIGLU, "2^14 features: TF32", long_sums("swiglu"), *BIASED),
    wrong("few-rows", LINEAR, "16 rows: subnormals are 0", "linear", few_rows_flushed, *SPECIAL),
    wrong("finite", "linear.special", "16 features: an infinity is a number", "linear", finite, *SPECIAL),
    wrong("clipped", SWIGLU, "products past 65504 are 65504", "swiglu", clipped, *SPECIAL, "float16"),
    wrong("flushed", SWIGLU, "of 1023 results subnormals are 0", "swiglu", small_flushed, *SPECIAL),
    bug("ring", "contract.results-kept", "eight buffers of small results go round", ring, *STATE),
    wrong("fused", LAYOUTS, "64 outputs: V before W is the gate's", "swiglu", small_halves, *MEMORY),
)
