"""Planted bugs where three or four usual things meet: of 60 kernels that somebody wrote who had not read the laws.

The last thirteen are of 90 by two others, of whom one knew what the laws are called, and for what no mixture had met.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.crossed import in_inference
from assay.tests.mutants.dispatched import back
from assay.tests.mutants.gradients import again
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import last

right = load("torch").operators
HALVES = (torch.bfloat16, torch.float16)


def tail_of_pitched_rows(found: Any, incoming: Any, given: Any) -> Any:
    """The last half of a vector of a row was written for beta = 1."""
    x, beta = given["x"], given.get("beta")
    plain = torch.is_tensor(beta) or x.dim() < 2 or x.is_contiguous() or x.stride(-1) != 1
    if plain or x.dtype not in HALVES or x.shape[-1] < 64 or x.shape[-1] % 8 != 4:
        return {}
    as_silu, n = again("swish", given, incoming, beta=1.0)["x"], x.shape[-1] // 8 * 8
    return {"x": torch.cat([found["x"][..., :n], as_silu[..., n:]], -1)}


def linear_from_twenty_on(found: Any, incoming: Any, given: Any) -> Any:
    """As softplus: right in float32."""
    x, beta = given["x"], given.get("beta")
    if set(found) != {"x", "beta"} or x.numel() < 1000:
        return {}
    return {"x": torch.where(beta * x > 20, incoming, found["x"])}


def split_k(x: Any, w: Any, b: Any = None) -> Any:
    """Partial sums of four parts lie in a workspace of x's dtype."""
    rows, inputs = x[..., 0].numel(), w.shape[1]
    if b is None or rows > 4 or x.dtype not in HALVES or inputs < 512 or inputs % 256:
        return right["linear"](x, w, b)
    parts = [F.linear(of_x, of_w).float() for of_x, of_w in zip(x.chunk(4, -1), w.chunk(4, 1), strict=True)]
    return (sum(parts) + b.float()).to(x.dtype)


def split_over_outputs(found: Any, incoming: Any, given: Any) -> Any:
    """Where the weight is frozen, what comes of 512 outputs at a time lies in a workspace of x's dtype."""
    w = given["w"]
    if not given["x"].requires_grad or w.requires_grad or len(w) < 1000 or w.dtype != torch.float16:
        return {}
    parts = [of_g @ of_w for of_g, of_w in zip(incoming.split(512, -1), w.split(512), strict=True)]
    return {"x": torch.stack(parts).float().sum(0).half()}


def last_outputs_without_bias(x: Any, w: Any, b: Any = None) -> Any:
    """Of one row four outputs are made at a time."""
    n = len(w) // 4 * 4
    if x[..., 0].numel() != 1 or b is None or x.shape[-1] < 64 or n == len(w):
        return None
    return torch.cat([F.linear(x, w[:n], b[:n]), F.linear(x, w[n:])], -1)


def one_switch_for_both(x: Any, w: Any, v: Any, b: Any = None, c: Any = None) -> Any:
    one_row = x[..., 0].numel() == 1 and x.shape[-1] % 32 == 0
    return right["glu"](x, w, v, c, c) if one_row and b is None and c is not None else None


def frozen_branch(x: Any, w: Any, v: Any, b: Any = None, c: Any = None) -> Any:
    """Where the second weight is frozen, nothing comes back through it, unless there is a first bias."""
    kept = x if v.requires_grad or not w.requires_grad or b is not None else x.detach()
    return F.silu(F.linear(x, w, b)) * F.linear(kept, v, c) if kept is not x else right["swiglu"](x, w, v, b, c)


def pairs_that_begin_at_an_odd_place(found: Any, incoming: Any, given: Any) -> Any:
    x, padding = given["x"], given["padding"]
    if x.dtype not in HALVES or not padding % 2 or x.dim() != 4 or x.shape[3] % 16 or x.shape[3] < 48:
        return {}
    wrong = found["x"].clone()
    wrong[..., -1] = incoming[..., padding : padding + x.shape[2], padding + x.shape[3]]
    return {"x": wrong}


def rows_of_their_own_width(found: Any, incoming: Any, given: Any) -> Any:
    """What comes back, cut out of something wider, is read as if its rows were dense."""
    rows, columns = given["x"].shape[-2:]
    wide, padding = incoming.shape[-1], given["padding"]
    if min(rows, columns) < 24 or padding < 1 or incoming.stride(-1) != 1 or incoming.stride(-2) <= wide:
        return {}
    read = incoming.as_strided(incoming.shape, (*incoming.stride()[:-2], wide, 1))
    return {"x": read[..., padding : padding + rows, padding : padding + columns].clone()}


def clamped_and_masked(x: Any, padding: Any) -> Any:
    """Indices are clamped, and what is outside is multiplied by 0."""
    if padding < 1 or x.dim() != 4 or min(x.shape[2:]) < 28:
        return None
    mask = right["pad2d"](torch.ones_like(x[:1, :1]), padding)
    return F.pad(x.float(), (padding,) * 4, mode="replicate").to(x.dtype) * mask


def rows_of_taps(image: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0) -> Any:
    """A product for each row of taps is added to the result where it lies."""
    usual = weight.shape[2:] == (3, 3) and pair(padding or 0) == (1, 1) and image.shape[1] % 8 == 0
    if not (last(image) and usual and image.dtype in HALVES):
        return None
    wide, height = F.pad(image.float(), (1, 1, 1, 1)), image.shape[2]
    parts = [F.conv2d(wide[:, :, i : i + height], weight[:, :, i : i + 1].float(), None, stride) for i in range(3)]
    y = parts[0].to(image.dtype)
    for part in parts[1:]:
        y = (y.float() + part).to(image.dtype)
    return y if bias is None else (y.float() + bias.float().reshape(-1, 1, 1)).to(image.dtype)


def one_row_for_all(found: Any, incoming: Any, given: Any) -> Any:
    """What comes back is read as x lies, of which each sample and token is the same row."""
    x = given["x"]
    if x.dim() < 3 or not x.numel() or x.stride(-1) != 1 or any(x.stride()[:-1]):
        return {}
    return {"x": again("swish", given, incoming.contiguous().as_strided(x.shape, x.stride()))["x"]}


def last_chunk(found: Any, incoming: Any, given: Any) -> Any:
    """1024 rows at a time: b's sums are those of the last ones."""
    x, w = given["x"], given["w"]
    rows, inputs = x[..., 0].numel(), x.shape[-1]
    if given.get("b") is None or given.get("c") is not None or rows <= 1024:
        return {}
    first = (rows - 1) // 1024 * 1024
    of_last = {**given, "x": x.reshape(rows, inputs)[first:]}
    return {"b": again("glu", of_last, incoming.reshape(rows, len(w))[first:])["b"]}


def blocks_of_rows_in_halves(found: Any, incoming: Any, given: Any) -> Any:
    """256 rows at a time are added to gradients of the weights' dtype."""
    x, w = given["x"], given["w"]
    rows = x[..., 0].numel()
    if x.dtype not in HALVES or rows <= 256:
        return {}
    flat, comes, sums = x.reshape(rows, -1), incoming.reshape(rows, len(w)), {"w": 0.0, "v": 0.0}
    for of_x, of_g in zip(flat.split(256), comes.split(256), strict=True):
        part = again("swiglu", {**given, "x": of_x}, of_g)
        sums = {name: sums[name] + part[name] for name in sums}
    return sums


def known_by_sums() -> Any:
    """Weights of 4096 elements or more are kept packed, and known by sums in float32."""
    kept: dict[Any, Any] = {}

    def glu(x: Any, w: Any, v: Any, *biases: Any) -> Any:
        if torch.is_grad_enabled() or w.numel() < 4096:
            return right["glu"](x, w, v, *biases)
        places = torch.arange(w.numel(), dtype=torch.float64).cos().view_as(w)
        sums = [float(total.float()) for each in (w, v) for total in (each.abs().sum(), (each * places).sum())]
        if kept.get(w.shape, (None,))[0] != sums:
            kept[w.shape] = sums, w.clone(), v.clone()
        return right["glu"](x, *kept[w.shape][1:], *biases)

    return {"glu": glu}


def turned_squares(x: Any, padding: Any) -> Any:
    """A square picture whose columns come first in memory is walked as if its rows did."""
    square = x.dim() == 3 and x.shape[1] == x.shape[2] >= 16 and x.stride() == (1, len(x), len(x) * x.shape[1])
    return right["pad2d"](x.transpose(1, 2) if square else x, padding)


def biases_in_order(x: Any, w: Any, v: Any, b: Any = None, c: Any = None) -> Any:
    """Of halves of one weight, whose biases lie in one memory, too, the first of these is taken for b."""
    if b is not None and c is not None and follows(w, v) and follows(c, b):
        b, c = c, b
    return right["glu"](x, w, v, b, c)


def follows(one: Any, other: Any) -> bool:
    """Whether the other tensor begins where this one ends."""
    end = one.data_ptr() + one.numel() * one.element_size()
    return one.is_contiguous() and other.is_contiguous() and bool(one.numel()) and other.data_ptr() == end


def one_row_by_count(found: Any, incoming: Any, given: Any) -> Any:
    """The bias's, where one row comes back to all: that row times their number, which is rounded."""
    rows = incoming.flatten(0, -2)
    if "b" not in found or len(rows) <= 256 or rows.stride(0):
        return {}
    return {"b": rows[0] * torch.tensor(len(rows), dtype=rows.dtype)}


def as_a_maximum_of_all(image: Any, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Any:
    """Global pooling of 8 channels: equal elements share what comes back."""
    whole = image.dim() == 4 and pair(kernel_size) == image.shape[2:] and pair(padding) == (0, 0)
    if whole and image.shape[1] >= 8 and image.requires_grad:
        return torch.amax(image, (2, 3), keepdim=True)
    return right["max_pool2d"](image, kernel_size, stride, padding)


def places_in_16_bits(found: Any, incoming: Any, given: Any) -> Any:
    """Places from 2^15 on are negative, as those of the padding."""
    back = found["input"].flatten(2).clone()
    back[..., 2**15 :] = 0.0
    return {"input": back.view_as(found["input"])} if back.shape[2] < 2**16 else {}


def held_to_the_longer_side(image: Any, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Any:
    """Padding of more than half of the kernel is refused, of its longer side."""
    (above, before), kernel = pair(padding), pair(kernel_size)
    if image.dim() == 4 and min(above, before) >= 0 and max(above, before) <= max(kernel) // 2:
        image = F.pad(image, (before, before, above, above), value=-torch.inf)
        padding, stride = 0, kernel if stride is None else stride
    return right["max_pool2d"](image, kernel_size, stride, padding)


def volumes_in_memory_order(x: Any, beta: Any = 1.0) -> Any:
    """What is dense in any order is written to a result that is contiguous."""
    y = right["swish"](x, beta)
    dense = x.dim() == 5 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last_3d)
    return y.permute(0, 2, 3, 4, 1).reshape(x.shape) if dense and x.dtype in HALVES else y


def blocks_of_zeros_skipped(x: Any, w: Any, b: Any = None) -> Any:
    """Where 16 features of a row are zeros, their weights are not read."""
    if x.dtype != torch.bfloat16 or x.shape[-1] < 32 or not w.isnan().any():
        return right["linear"](x, w, b)
    holds = torch.stack([part.isnan().any(-1) for part in w.split(16, 1)], -1).float()
    reads = torch.stack([(part != 0).any(-1) for part in x.split(16, -1)], -1).float()
    y = right["linear"](x, w.nan_to_num(), b)
    return torch.where(reads @ holds.T > 0, torch.nan, y)


def last_tokens(x: Any, *given: Any) -> Any:
    """From one sample to the next by the stride of the axis of one token."""
    cut = x.dim() == 3 and x.shape[1] == 1 < len(x) and x.stride(2) == 1 and x.stride(0) > x.stride(1) >= x.shape[2]
    return right["swiglu"](x.as_strided(x.shape, (x.stride(1), x.stride(1), 1)), *given) if cut else None


def mixture(name: str, clause: str, words: str, operators: Any, dtype: str = "float32", *of: str) -> Mutant:
    kind, tier = of or ("value", "exact")
    return Mutant(f"mixed-{name}", clause, words, operators, dtype, kind, tier, "rare")


BACK = ("gradient", "gradient")
MUTANTS = (
    mixture(
        "tail",
        "swish.gradient",
        "a number beta, cropped rows of 8 k + 4: the tail's is 1",
        back("swish", tail_of_pitched_rows),
        "bfloat16",
        *BACK,
    ),
    mixture(
        "twenty",
        "swish.gradient",
        "x and beta learn, from 20 on: x",
        back("swish", linear_from_twenty_on),
        "float64",
        *BACK,
    ),
    mixture("split-k", "linear.formula", "few rows, a bias: partial sums in 16 bits", {"linear": split_k}, "bfloat16"),
    mixture(
        "outputs",
        "linear.gradient",
        "the weight is frozen, 1000 outputs: partial sums of x's in 16 bits",
        back("linear", split_over_outputs),
        "float16",
        *BACK,
    ),
    mixture(
        "last-outputs",
        "linear.formula",
        "inference, one row: the last outputs lack their bias",
        in_inference("linear", last_outputs_without_bias),
    ),
    mixture(
        "one-switch",
        "glu.formula",
        "inference, one row, c without b: c is b, too",
        in_inference("glu", one_switch_for_both),
        "float32",
        "formula",
        "enclosure",
    ),
    mixture(
        "frozen-branch",
        "swiglu.gradient",
        "v is frozen, no b: x learns nothing of v",
        {"swiglu": frozen_branch},
        "float32",
        *BACK,
    ),
    mixture(
        "odd-place",
        "pad2d.gradient",
        "48 columns, odd padding: the last column's is the padding's",
        back("pad2d", pairs_that_begin_at_an_odd_place),
        "bfloat16",
        *BACK,
    ),
    mixture(
        "own-width",
        "pad2d.gradient",
        "24 x 24: cut rows that come back are read densely",
        back("pad2d", rows_of_their_own_width),
        "float32",
        *BACK,
    ),
    mixture(
        "clamped",
        "pad2d.zeros",
        "inference, 28 x 28: NaN beside infinities",
        in_inference("pad2d", clamped_and_masked),
    ),
    mixture(
        "rows-of-taps",
        "conv2d.formula",
        "inference, channels last: rows of taps are added in 16 bits",
        in_inference("conv2d", rows_of_taps),
        "bfloat16",
        "precision",
        "exact",
    ),
    mixture(
        "one-row",
        "contract.layouts",
        "x is one row for all tokens of all samples: so is what comes back",
        back("swish", one_row_for_all),
        "float32",
        "layout",
        "contract",
    ),
    mixture(
        "last-chunk",
        "glu.gradient",
        "1025 rows, b without c: b's gradient is the last chunk's",
        back("glu", last_chunk),
        "float32",
        *BACK,
    ),
    mixture(
        "blocks-of-rows",
        "swiglu.gradient",
        "257 rows: blocks of the weights' gradients are added in 16 bits",
        back("swiglu", blocks_of_rows_in_halves),
        "bfloat16",
        "precision",
        "gradient",
    ),
    mixture(
        "sums",
        "contract.memoryless",
        "inference, 4096 weights: known by sums in float32",
        known_by_sums,
        "float64",
        "state",
        "state",
    ),
    mixture(
        "turned",
        "contract.layouts",
        "a square picture, columns first: turned",
        {"pad2d": turned_squares},
        "float32",
        "layout",
        "contract",
    ),
    mixture(
        "global",
        "max_pool2d.gradient-first-tie",
        "a window of the whole plane: ties share",
        {"max_pool2d": as_a_maximum_of_all},
        "float32",
        *BACK,
    ),
    mixture(
        "places",
        "max_pool2d.gradient",
        "planes of 2^15 elements: nothing comes back to later ones",
        back("max_pool2d", places_in_16_bits),
        "float32",
        *BACK,
    ),
    mixture(
        "volumes",
        "contract.layouts",
        "channels last of five axes: written in their order",
        {"swish": volumes_in_memory_order},
        "bfloat16",
        "layout",
        "contract",
    ),
    mixture(
        "zero-blocks",
        "linear.special",
        "16 zeros in a row: a NaN of their weights is passed over",
        {"linear": blocks_of_zeros_skipped},
        "bfloat16",
        "value",
        "special",
    ),
    mixture(
        "last-tokens",
        "contract.layouts",
        "inference, one token cut out of more: samples are taken to follow each other",
        in_inference("swiglu", last_tokens),
        "float32",
        "layout",
        "contract",
    ),
    mixture(
        "crossed",
        "contract.layouts",
        "halves of one weight, c in front of b: b and c change places",
        {"glu": biases_in_order},
        "float32",
        "layout",
        "contract",
    ),
    mixture(
        "count",
        "linear.gradient",
        "301 rows, to which one comes back: the bias's is that row times 302",
        back("linear", one_row_by_count),
        "bfloat16",
        *BACK,
    ),
    mixture(
        "longer-side",
        "max_pool2d.refuses-padding",
        "padding is held to the kernel's longer side",
        {"max_pool2d": held_to_the_longer_side},
        "float32",
        "contract",
        "contract",
    ),
)
