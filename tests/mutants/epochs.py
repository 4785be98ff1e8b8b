"""Planted bugs that epochs of training show: steps between evaluations, layers that learn in part, weights that
several calls share, checkpoints, overflows, dtypes one after the other. No law had seen them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.weak import WeakTensorKeyDictionary

from assay.implementations.load import load
from assay.tests.mutants.dispatched import BACK, LAYOUTS, MEMORY, STATE, back, recorded
from assay.tests.mutants.gradients import again, branches, gradients, rows
from assay.tests.mutants.lasting import count
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import Operators, valued
from assay.tests.mutants.precision import tf32
from assay.tests.mutants.state import by_pointer, by_shape

right = load("torch").operators
HALVES = (torch.float16, torch.bfloat16)


def on_units(x: Any, w: Any, size: int = 16) -> bool:
    """Rows, features and outputs are whole eights, from ``size`` on."""
    sizes = count(x) if x.dim() else 0, *w.shape
    return min(sizes) >= size and not any(n % 8 for n in sizes)


# Sizes and values.


def gated_before_added(y, x, w, v, b=None, c=None):
    """16 rows, 64 outputs and 1024 features or more: both halves of the features are gated, and then added."""
    if count(x) < 16 or len(w) < 64 or w.shape[1] < 1024:
        return y
    half = w.shape[1] // 2
    first = right["swiglu"](x[..., :half], w[:, :half], v[:, :half], b, c)
    return first + right["swiglu"](x[..., half:], w[:, half:], v[:, half:])


def sums_of_zero(y, x, w, b=None):
    """32 features whose sum over the batch is 0 are skipped."""
    features = x.shape[-1]
    if features % 32 or not x.numel() or not torch.isfinite(w).all():
        return y
    live = rows(x).reshape(-1, features // 32, 32).sum((0, 2)) != 0
    kept = live.repeat_interleave(32)
    return y if live.all() else right["linear"](x[..., kept], w[:, kept], b)


def sixteen_bits(y, x, w, b=None):
    """The number of features is kept in 16 bits."""
    features = x.shape[-1] % (1 << 16)
    return right["linear"](x[..., :features], w[:, :features], b) if x.shape[-1] >> 16 else y


def accumulated(y, x, w, b=None):
    """From 16 rows, 16 outputs and 1024 features on: 16 features at a time, added in the dtype."""
    if x.dtype not in HALVES or count(x) < 16 or len(w) < 16 or w.shape[1] < 1024:
        return y
    total = torch.zeros_like(y)
    for part, weights in zip(x.split(16, -1), w.split(16, -1), strict=True):
        total += F.linear(part, weights)
    return total if b is None else total + b


def subnormal_operands(y, x, w, v, *biases):
    """On matrix units subnormal float16 numbers are 0."""
    if x.dtype != torch.float16 or not on_units(x, w):
        return y
    held = [torch.where(t.abs() < torch.finfo(t.dtype).tiny, 0.0, t) for t in (x, w, v)]
    return right["glu"](*held, *biases)


def blocks_of_features(y, x, w, b=None):
    """256 features at a time of a transposed W: the next begin 256 elements on."""
    outputs, features = w.shape
    if features <= 256 or w.stride(1) in (0, 1) or not outputs:
        return y
    sizes = [min(256, features - k) for k in range(0, features, 256)]
    parts = [w.as_strided((outputs, n), w.stride(), w.storage_offset() + 256 * i) for i, n in enumerate(sizes)]
    return right["linear"](x, torch.cat(parts, 1), b)


def gap_between(y, x, w, v, *biases):
    """In inference V is what follows W, if it lies behind it in one memory."""
    fused = w.numel() and w.untyped_storage().data_ptr() == v.untyped_storage().data_ptr()
    fused = fused and w.is_contiguous() and v.is_contiguous() and not torch.is_grad_enabled()
    if not fused or v.storage_offset() < w.storage_offset() + w.numel():
        return y
    return right["glu"](x, w, w.as_strided(w.shape, w.stride(), w.storage_offset() + w.numel()), *biases)


def heads_in_order(x, beta=None):
    """Whether x fills its memory is told by its first and its last stride."""
    if x.numel() and 0 not in x.stride() and x.stride(-1) == 1 and x.stride(0) * len(x) == x.numel():
        x = x.as_strided(x.shape, x.new_empty(x.shape, device="meta").stride())
    return right["swish"](x, beta)


def from_the_beginning(x, beta=None):
    """Turned tensors without gaps are read from where their memory begins."""
    if not x.is_contiguous() and torch.empty_like(x).stride() == x.stride():
        x = x.as_strided(x.shape, x.stride(), 0)
    return right["swish"](x, beta)


# Going back.


def pooled_over_tokens(found, incoming, given):
    """What comes back is read by the stride of its rows: that of a sum over tokens has one for each sample."""
    outputs = incoming.shape[-1]
    spread = [not stride for stride in incoming.stride()]
    if incoming.dim() < 3 or incoming.stride(-1) != 1 or any(spread[:-2]) or incoming.stride(-2) not in (0, outputs):
        return {}
    read = incoming.as_strided((count(incoming), outputs), (incoming.stride(-2), 1))
    return again("swiglu", given, read.reshape(incoming.shape))


def by_atomics(found, incoming, given):
    """1024 rows or more: W's is added up by 16 rows, in the dtype."""
    if incoming.dtype not in HALVES or count(incoming) < 1024 or "w" not in found:
        return {}
    z, s, q = branches(given)
    terms = rows(incoming * q * s * (1 + z * (1 - s)))
    total = torch.zeros_like(found["w"])
    for part, its in zip(terms.split(16), rows(given["x"]).split(16), strict=True):
        total += part.T @ its
    return {"w": total}


def in_one_tf32(found, incoming, given):
    """On matrix units what comes back is one TF32 number."""
    if incoming.dtype != torch.float32 or not on_units(given["x"], given["w"]):
        return {}
    return again("linear", given, tf32(incoming))


def last_block_of_outputs(found, incoming, given):
    """x learns alone: of 64 outputs at a time the last ones' share is left."""
    if any(given[name].requires_grad for name in "wv"):
        return {}
    kept = incoming.clone()
    kept[..., : max(0, incoming.shape[-1] - 1) // 64 * 64] = 0
    return {"x": again("swiglu", given, kept)["x"]}


def sanitised(found, incoming, given):
    """x's has 0 for what is no finite number."""
    return {"x": found["x"].nan_to_num(0.0, 0.0, 0.0)}


def whole_blocks(found, incoming, given):
    """Where algorithms are deterministic: the biases' sums by 32 rows, and the rest is left out."""
    if not torch.are_deterministic_algorithms_enabled():
        return {}
    kept = rows(incoming)[: count(incoming) // 32 * 32]
    return {"b": kept.sum(0)} if "b" in found else {}


def added_twice(found, incoming, given):
    """W's is put where W keeps gradients, if there is none, and handed back, too."""
    w = given["w"]
    if w.is_leaf and w.grad is None:
        w.grad = found["w"].clone()
    return {}


def recycled(found, incoming, given):
    """x's is written where x lies, if that is an activation."""
    x = given["x"]
    if x.is_leaf or not x.is_contiguous():
        return {}
    x.data.copy_(found["x"])
    return {"x": x.data}


# Between calls.


class Shared(torch.autograd.Function):
    """What going back needs of x is kept with the weight."""

    @staticmethod
    def forward(ctx: Any, place: list[Any], x: Any, w: Any, b: Any = None) -> Any:
        place[:] = [x.detach()]
        ctx.place, ctx.bias = place, b
        ctx.save_for_backward(w)
        return right["linear"](x, w, b)

    @staticmethod
    def backward(ctx: Any, incoming: Any) -> Any:
        w, x = ctx.saved_tensors[0], ctx.place[0]
        if x.shape[:-1] != incoming.shape[:-1]:
            raise RuntimeError("the layer went on to another batch")
        found = gradients("linear", {"x": x, "w": w, "b": ctx.bias}, incoming)
        return None, found["x"], found["w"], found.get("b")


def shared() -> Operators:
    places: Any = WeakTensorKeyDictionary()

    def linear(x, w, b=None):
        return Shared.apply(places.setdefault(w, []), x, w, b) if recorded(x, w, b) else right["linear"](x, w, b)

    return {"linear": linear}


def planned() -> Operators:
    """As many tiles of 32 rows as the weight's first call had."""
    tiles: Any = WeakTensorKeyDictionary()

    def change(y, x, w, *others):
        covered = 32 * tiles.setdefault(w, max(1, -(-count(x) // 32)))
        rows(y)[covered:] = 0
        return y

    return valued("swiglu", change)


def workspace() -> Operators:
    """One memory a dtype; going back fills it before it asks for what was saved, which a checkpoint makes anew."""
    memory: dict[Any, torch.Tensor] = {}

    def held(t: torch.Tensor) -> torch.Tensor:
        if t.dtype not in memory or memory[t.dtype].numel() < t.numel():
            memory[t.dtype] = torch.empty(t.numel(), dtype=t.dtype)
        return memory[t.dtype][: t.numel()].view(t.shape).copy_(t)

    class Linear(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, w: Any, b: Any = None) -> Any:
            ctx.save_for_backward(x, w, b)
            return held(right["linear"](x, w, b)).clone()

        @staticmethod
        def backward(ctx: Any, incoming: Any) -> Any:
            kept = held(incoming)
            found = gradients("linear", dict(zip("xwb", ctx.saved_tensors, strict=True)), kept)
            return found["x"], found["w"], found.get("b")

    return {"linear": lambda *given: (Linear.apply if recorded(*given) else right["linear"])(*given)}


def third_argument() -> Operators:
    """A bias that is None, and said to be, is the last one of so many outputs."""
    last: dict[Any, Any] = {}

    def linear(x, w, *third):
        if third and third[0] is not None:
            last[len(w)] = third[0].detach().to(torch.float64)
        elif third and len(w) in last:
            return right["linear"](x, w, last[len(w)].to(x.dtype))
        return right["linear"](x, w, *third)

    return {"linear": linear}


def packed_by_version() -> Operators:
    """Under no_grad W is packed for its address and version."""
    packs: dict[Any, Any] = {}

    def linear(x, w, b=None):
        if torch.is_grad_enabled() or torch.is_inference_mode_enabled() or w.is_inference():
            return right["linear"](x, w, b)
        version, pack, _ = packs.get(by_pointer(w), (None, None, None))
        if version != w._version:
            pack = w.detach().clone()
        packs[by_pointer(w)] = w._version, pack, w
        return right["linear"](x, pack, b)

    return {"linear": linear}


def table_of_both() -> Operators:
    """A table of all 2^16 numbers serves both dtypes of 16 bits, in inference, from 2^16 elements on."""
    tables: dict[float, torch.Tensor] = {}

    def swish(x, beta=1.0):
        if x.dtype not in HALVES or x.numel() < 1 << 16 or torch.is_grad_enabled():
            return right["swish"](x, beta)
        number = float(beta)
        if number not in tables:
            patterns = torch.arange(1 << 16).to(torch.int16).view(x.dtype)
            tables[number] = right["swish"](patterns, number).view(torch.int16)
        return tables[number][x.contiguous().view(torch.int16).long() & 0xFFFF].view(x.dtype)

    return {"swish": swish}


def captured() -> Operators:
    """One row in inference, from the fourth call of its sizes on: that call's parameters."""
    calls: dict[Any, list[Any]] = {}

    def swiglu(x, w, *others):
        if count(x) != 1 or torch.is_grad_enabled():
            return right["swiglu"](x, w, *others)
        seen = calls.setdefault((by_shape(x, w), len(others), torch.is_inference_mode_enabled()), [])
        seen += [(w, *others)] if len(seen) < 4 else []
        return right["swiglu"](x, *(seen[3] if len(seen) == 4 else (w, *others)))

    return {"swiglu": swiglu}


def bug(name, clause, words, operators, kind="size", tier="exact", dtype="float32"):
    return Mutant(f"epochs-{name}", clause, words, operators, dtype, kind, tier, "rare")


def wrong(name, clause, words, operator, change, *how):
    return bug(name, clause, words, valued(operator, change), *how)


def learning(name, clause, words, operator, spoil, *how):
    return bug(name, clause, words, back(operator, spoil), *(how or BACK))


FORMULA, MEMORYLESS = "linear.formula", "contract.memoryless"
SOME = "contract.some-gradients"
MUTANTS = (
    wrong(
        "split",
        "swiglu.formula",
        "16 by 64 by 1024: gated, then added",
        "swiglu",
        gated_before_added,
        "size",
        "enclosure",
    ),
    wrong("cancelled", FORMULA, "32 features whose sum is 0 are skipped", "linear", sums_of_zero),
    wrong("features", FORMULA, "features past 65535 are not read", "linear", sixteen_bits),
    wrong(
        "accumulated",
        FORMULA,
        "16 by 16 by 1024: added in bfloat16",
        "linear",
        accumulated,
        "precision",
        "exact",
        "bfloat16",
    ),
    wrong(
        "operands",
        "glu.formula",
        "16 by 16 by 16: subnormals are 0",
        "glu",
        subnormal_operands,
        "value",
        "special",
        "float16",
    ),
    wrong("blocks", FORMULA, "256 features of a transposed W: read on densely", "linear", blocks_of_features, "layout"),
    wrong("gap", LAYOUTS, "in inference V follows W, whatever lies between", "glu", gap_between, *MEMORY),
    bug("heads", LAYOUTS, "heads before tokens are read as they lie", {"swish": heads_in_order}, *MEMORY),
    bug("begins", LAYOUTS, "turned: read from where memory begins", {"swish": from_the_beginning}, *MEMORY),
    learning("pooled", LAYOUTS, "of a sum over tokens: other samples' rows", "swiglu", pooled_over_tokens, *MEMORY),
    learning("atomics", "swiglu.gradient", "1024 rows: W's in bfloat16", "swiglu", by_atomics, *BACK, "bfloat16"),
    learning("tf32", "linear.gradient", "16 by 16 by 16: TF32 comes back", "linear", in_one_tf32),
    learning("frozen", SOME, "x learns alone: the last of 64 outputs", "swiglu", last_block_of_outputs),
    learning("sanitised", "swish.gradient", "what comes back as NaN is 0", "swish", sanitised, "value", "special"),
    learning(
        "recycled", "contract.inputs-unchanged", "an activation is written to", "swiglu", recycled, "state", "contract"
    ),
    learning("deterministic", MEMORYLESS, "deterministic: b's by 32 rows", "linear", whole_blocks, *STATE),
    learning("added", "contract.inputs-unchanged", "W.grad is set besides", "linear", added_twice, "state", "contract"),
    bug("shared", MEMORYLESS, "x is kept with W, the last call's", shared, *STATE),
    bug("planned", MEMORYLESS, "rows past those of W's first call are 0", planned, *STATE),
    bug("checkpoint", MEMORYLESS, "a checkpoint's call overwrites what came back", workspace, *STATE),
    bug("none", FORMULA, "no bias, said so: the last one", third_argument, "state"),
    bug("version", MEMORYLESS, "under no_grad W by its version", packed_by_version, *STATE),
    bug("table", MEMORYLESS, "2^16 in inference: float16's table", table_of_both, *STATE, "bfloat16"),
    bug("captured", MEMORYLESS, "one row in inference: the fourth call's parameters", captured, *STATE),
)
