"""Planted bugs of tokens and their features, in sizes, layouts and modes that language models have: no law had seen
them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.tests.mutants.dispatched import BACK, KEPT, LAYOUTS, MEMORY, STATE, UNCHANGED, back
from assay.tests.mutants.gradients import again, going_back, rows
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import Operators, packed, valued
from assay.tests.mutants.networks_back import losing, unsaved
from assay.tests.mutants.overlooked import dense
from assay.tests.mutants.precision import tf32
from assay.tests.mutants.state import by_shape

right = load("torch").operators


def one_row(x: Any) -> bool:
    return x.numel() == x.shape[-1]


# Axes.


def ragged(tokens: Any, *given: Any, **named: Any) -> bool:
    """Eight samples or more of 128 tokens or more, which are not a multiple of 32."""
    return tokens.dim() == 3 and len(tokens) >= 8 and tokens.shape[1] >= 128 and tokens.shape[1] % 32 > 0


def short_tile(tokens: Any) -> Any:
    return tokens[:, tokens.shape[1] // 32 * 32 :]


def last_tokens_unwritten(y, x, *given):
    if ragged(x):
        short_tile(y).zero_()
    return y


def places_unwritten(y, x, *given):
    """Rows of a grid by eights of places, of which the rest is 0."""
    if x.dim() == 4 and x.shape[2] >= 7:
        y[:, :, x.shape[2] // 8 * 8 :] = 0
    return y


def outer_product_turned(where: Callable[[Any], bool]) -> Operators:
    """The gradient of a square W is transposed."""

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        outputs, features = given["w"].shape
        return {"w": found["w"].mT.contiguous()} if outputs == features and where(given["x"]) else {}

    return back("linear", spoil)


def rows_of_three_axes(found, incoming, given):
    """Of videos: as many rows as the first three axes have."""
    seen = incoming.shape[:3].numel()
    return {"w": rows(incoming)[:seen].T @ rows(given["x"])[:seen]} if incoming.dim() == 5 else {}


def none_without_weight(found, incoming, given):
    """The bias's gradient is the weight's kernel's, which does not run."""
    frozen = "b" in found and not given["w"].requires_grad and len(rows(incoming)) >= 64
    return {"b": torch.zeros_like(found["b"])} if frozen else {}


# Layouts.


def transposed_tokens(y, x, w, b=None):
    """Samples of transposed tokens are taken to follow each other, as those of x[:, 1:] do not."""
    if x.dim() != 3 or len(x) < 2 or x.shape[2] < 16:
        return y
    _, channels, tokens = x.shape
    if x.stride()[1:] != (1, channels) or x.stride(0) < channels * tokens:
        return y
    return right["linear"](x.as_strided(x.shape, (channels * tokens, 1, channels)), w, b)


def leading_dimension(y, x, w, b=None):
    """Of a transposed weight: as many as its outputs, which those of a slice are not."""
    outputs, features = w.shape
    if features < 32 or outputs < 2 or w.stride(0) != 1 or w.stride(1) < outputs:
        return y
    return right["linear"](x, w.as_strided(w.shape, (1, outputs)), b)


def by_memory(found, incoming, given):
    """An incoming gradient that fills its memory is read as it lies there."""
    whole = incoming.nbytes == incoming.untyped_storage().nbytes() and not incoming.storage_offset()
    if incoming.numel() < 4096 or incoming.stride() == given["x"].stride() or not whole:
        return {}
    return again("swish", given, dense(incoming))


# Values.


def clamped(y, x, beta=None):
    """Vectors of eight begin with fmax(x, -88), in which NaN is no number."""
    if not x.is_contiguous() or x.numel() < 4096 or x.numel() % 8:
        return y
    return right["swish"](x.nan_to_num(nan=-88.0, posinf=torch.inf, neginf=-torch.inf), beta)


def positive_beta(x, beta=None):
    """Vectors of four, in inference: |beta|."""
    vectors = x.is_contiguous() and x.numel() >= 4096 and x.numel() % 4 == 0
    fits = vectors and beta is not None and not torch.is_grad_enabled()
    return right["swish"](x, abs(beta) if fits else beta)


def exponential_twice(y, x, w, v, b=None, c=None):
    """Matrix units: exp(t) / (1 + exp(t)), where inf / inf is NaN."""
    if len(w) % 16 or x.shape[-1] % 16 or x.numel() < 16 * x.shape[-1] or not x.shape[-1]:
        return y
    e = torch.exp(F.linear(x, w, b))
    return e / (1 + e) * F.linear(x, v, c)


def past_the_row(y, x, *given):
    """The last tile of 32 features reads on in the next row, times 0."""
    features = x.shape[-1]
    if features <= 32 or features % 32 == 0 or not x.numel():
        return y
    read = rows(x)[1:, : 32 - features % 32]
    return y + F.pad((read * 0).sum(1), (0, 1)).reshape(*y.shape[:-1], 1)


def without_zeros(x, w, b=None):
    """One row of 1024 features or more, in inference: what is 0 in x is left out."""
    if torch.is_grad_enabled() or not one_row(x) or x.shape[-1] < 1024 or w.shape[1] != x.shape[-1]:
        return right["linear"](x, w, b)
    used = x.reshape(-1).nonzero()[:, 0]
    return right["linear"](x[..., used], w[:, used], b)


def on_matrix_units(y, x, w, b=None):
    """TF32 where rows, outputs and features are multiples of 8, from 512 on."""
    sizes = len(rows(x)) if x.shape[-1] else 0, *w.shape
    fits = x.dtype == torch.float32 and min(sizes) >= 512 and not any(size % 8 for size in sizes)
    return right["linear"](tf32(x), tf32(w), b) if fits else y


# Between calls.


def in_place(x, w, v, *biases):
    """Square layers of 2^16 elements or more, in inference: x is overwritten."""
    y = right["swiglu"](x, w, v, *biases)
    if not torch.is_grad_enabled() and y.shape == x.shape and x.numel() >= 1 << 16 and x.is_contiguous():
        x.copy_(y)
    return y


def workspace() -> Operators:
    """Results of 2^16 elements or more, in inference: one buffer a shape."""
    kept: dict[Any, Any] = {}

    def linear(*given):
        y = right["linear"](*given)
        if torch.is_grad_enabled() or y.numel() < 1 << 16:
            return y
        return kept.setdefault((by_shape(y), y.is_inference()), torch.empty_like(y)).copy_(y)

    return {"linear": linear}


def captured() -> Operators:
    """From the fourth call of a shape on, in inference: that call's bias."""
    calls: dict[Any, Any] = {}

    def linear(x, w, b=None):
        if b is not None and not torch.is_grad_enabled():
            seen = calls.setdefault(by_shape(x, w, b), [])
            if len(seen) < 4:
                seen.append(b.detach().clone())
            b = seen[3] if len(seen) == 4 else b
        return right["linear"](x, w, b)

    return {"linear": linear}


def split_of_rows() -> Operators:
    """16 rows or less of 1024 features or more: of the parts' sums only 8 rows become 0 again."""
    kept: dict[Any, Any] = {}

    def change(y, x, w, b=None):
        seen = len(rows(x)) if x.shape[-1] else 0
        if seen > 16 or x.shape[-1] < 1024:
            return y
        total = kept.setdefault((len(w), y.dtype, y.is_inference()), y.new_zeros(16, len(w)))
        y = y + total[:seen].reshape(y.shape)
        total[8:seen] += rows(y)[8:]
        return y

    return valued("linear", change)


def pool_of_gradients() -> Operators:
    """The gradients of W lie in the next of 32 buffers a shape."""
    pools: dict[Any, list[torch.Tensor]] = {}

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        pool = pools.setdefault(by_shape(found["w"]), [])
        pool.append(pool.pop(0).copy_(found["w"]) if len(pool) == 32 else found["w"].clone())
        return {"w": pool[-1].view_as(pool[-1])}

    return {"linear": going_back("linear", spoil)}


def accumulated(found, incoming, given):
    """What W has of a gradient is added to, too."""
    w = given["w"]
    if w.is_leaf and w.grad is not None:
        w.grad.add_(found["w"])
    return {}


def unsaved_silu(x, beta=None):
    return kept_by_hand(x) if beta is None or (isinstance(beta, float) and beta == 1.0) else right["swish"](x, beta)


def large_in_inference(w):
    return not torch.is_grad_enabled() and w.numel() >= 1 << 20


def bug(name, clause, words, operators, kind="size", tier="exact"):
    return Mutant(f"tokens-{name}", clause, words, operators, "float32", kind, tier, "rare")


def wrong(name, clause, words, operator, change, *how):
    return bug(name, clause, words, valued(operator, change), *how)


kept_by_hand = unsaved("swish")
SPECIAL, UNITS = ("value", "special"), ("precision", "enclosure")
FORMULA, GRADIENT, OF_LINEAR = "linear.formula", "linear.gradient", "linear.special"
ALIAS, MEMORYLESS = "contract.no-alias", "contract.memoryless"
IN_INFERENCE = packed("linear", lambda w: torch.is_inference_mode_enabled())
ONE_AXIS = outer_product_turned(lambda x: x.dim() == 1)
FROZEN = back("linear", none_without_weight)
MUTANTS = (
    bug("tile-b", GRADIENT, "129 tokens: b's by 32", losing("linear", "b", ragged, short_tile), *BACK),
    bug("tile-w", GRADIENT, "129 tokens: W's by 32", losing("linear", "w", ragged, short_tile), *BACK),
    wrong("tile", FORMULA, "8 samples of 129 tokens: 32 at a time", "linear", last_tokens_unwritten),
    wrong("grid", FORMULA, "grids of tokens: 8 columns at a time", "linear", places_unwritten),
    bug("one-row", GRADIENT, "one row: a square W's is transposed", outer_product_turned(one_row), *BACK),
    bug("one-axis", GRADIENT, "one axis: a square W's is transposed", ONE_AXIS, *BACK),
    bug("video", GRADIENT, "five axes: the rows of three", back("linear", rows_of_three_axes), *BACK),
    bug("frozen", "contract.some-gradients", "64 rows, W frozen: b's is 0", FROZEN, *BACK),
    wrong("transposed", LAYOUTS, "x[:, 1:], transposed, is read densely", "linear", transposed_tokens, *MEMORY),
    wrong("slice", LAYOUTS, "a slice of a transposed W is read densely", "linear", leading_dimension, *MEMORY),
    bug("memory", LAYOUTS, "4096 of a transposed gradient: as they lie", back("swish", by_memory), *MEMORY),
    wrong("clamped", "swish.special", "4096 elements: NaN is a number", "swish", clamped, *SPECIAL),
    bug(
        "positive", "swish.formula", "4096 elements in inference: |beta|", {"swish": positive_beta}, "size", "enclosure"
    ),
    wrong("exponential", "glu.special", "16 by 16 by 16: inf / inf", "glu", exponential_twice, *SPECIAL),
    wrong("past", OF_LINEAR, "the next row's NaN, where features leave a rest", "linear", past_the_row, *SPECIAL),
    bug("zeros", OF_LINEAR, "one row in inference: zeros hide NaN in W", {"linear": without_zeros}, *SPECIAL),
    wrong("tf32", FORMULA, "512 by 512 by 512: TF32", "linear", on_matrix_units, *UNITS),
    bug("in-place", UNCHANGED, "2^16 in inference: overwritten", {"swiglu": in_place}, *MEMORY),
    bug("accumulated", UNCHANGED, "W's gradient is added to", back("linear", accumulated), *STATE),
    bug("workspace", KEPT, "2^16 results in inference: one buffer", workspace, *STATE),
    bug("pool", KEPT, "W's gradients lie in 32 buffers", pool_of_gradients, *STATE),
    bug("packed-large", MEMORYLESS, "2^20 in inference: W by address", packed("linear", large_in_inference), *STATE),
    bug("packed", MEMORYLESS, "in inference mode: W by address", IN_INFERENCE, *STATE),
    bug("captured", MEMORYLESS, "in inference the bias of the fourth call", captured, *STATE),
    bug("split", MEMORYLESS, "rows 9 to 16 of 1024 features: the last call's", split_of_rows, *STATE),
    bug("unsaved", ALIAS, "going back, x as it is by then", {"swish": unsaved_silu}, *STATE),
    bug("unsaved-linear", ALIAS, "going back, x and W by then", {"linear": unsaved("linear")}, *STATE),
)
