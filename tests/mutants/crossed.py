"""Planted bugs where two things meet that laws asked about one at a time: 52 kernels by somebody who had read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.dispatched import BACK, KEPT, LAYOUTS, MEMORY, STATE, back
from assay.tests.mutants.gradients import again
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import valued
from assay.tests.mutants.precision import tf32

right = load("torch").operators
Operators = dict[str, Callable[..., Any]]
ROWS, CHANNELS = 64, 16  # from which on fast code is taken
HALF = 65504.0  # the largest number of float16

# --- inference


def in_inference(operator: str, answer: Callable[..., Any]) -> Operators:
    """Where nothing is recorded, this is what is answered, unless it is None."""

    def called(*given: Any) -> Any:
        found = None if torch.is_grad_enabled() else answer(*given)
        return right[operator](*given) if found is None else found

    return {operator: called}


def no_chunks(x: Any, *given: Any) -> Any:
    return torch.cat([]) if x.numel() == 0 else None


def one_token(x: Any, *given: Any) -> Any:
    return right["swiglu"](x, *given).reshape(1, -1) if x[..., 0].numel() == 1 and x.dim() > 1 else None


def one_row(x: Any, *given: Any) -> Any:
    return right["glu"](x, *given).reshape(1, -1) if x.dim() == 1 else None


def tokens_in_a_row(x: Any, *given: Any) -> Any:
    """The rows of all samples are taken to be as far apart as those of the first."""
    if x.dim() != 3 or x.is_contiguous() or x.stride(2) != 1 or x.stride(1) < x.shape[2]:
        return None
    tokens = x.shape[1]
    return right["swiglu"](x.as_strided(x.shape, (min(tokens * x.stride(1), x.stride(0)), x.stride(1), 1)), *given)


def as_if_whole(image: Any) -> Any:
    """Rows of an image that was cut out are taken to be as long as they are wide; others are None."""
    cut = image.dim() == 4 and image.stride(3) == 1 and image.stride(2) > image.shape[3] > 1
    return image.as_strided(image.shape, (*image.stride()[:2], image.shape[3], 1)) if cut else None


def pointwise_pitch(image: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0) -> Any:
    read = as_if_whole(image) if weight.shape[2:] == (1, 1) and pair(stride) == (1, 1) else None
    return None if read is None else right["conv2d"](read, weight, bias, stride, padding)


def pooled_pitch(image: Any, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Any:
    read = as_if_whole(image) if (pair(kernel_size), pair(stride or 1)) == ((3, 3), (2, 2)) else None
    return None if read is None else right["max_pool2d"](read, kernel_size, stride, padding)


def strided_view(image: Any, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Any:
    down, right_ = pair(stride or kernel_size)
    return image[..., ::down, ::right_] if pair(kernel_size) == (1, 1) and pair(padding) == (0, 0) else None


def rows_of_features(x: Any, w: Any, b: Any = None) -> Any:
    if x.dim() < 2 or x.shape[-1] == w.shape[1] or not w.shape[1] or x.shape[-1] % w.shape[1]:
        return None
    return F.linear(x.reshape(-1, w.shape[1]), w, b).view(*x.shape[:-1], -1)


def any_padding(image: Any, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Any:
    (down, right_), window = pair(padding), pair(kernel_size)
    if min(down, right_) < 0 or (2 * down <= window[0] and 2 * right_ <= window[1]):
        return None
    return F.max_pool2d(F.pad(image, (right_, right_, down, down), value=-float("inf")), kernel_size, stride)


def maximum_without_nan(image: Any, *given: Any) -> Any:
    most = float("inf")
    return right["max_pool2d"](image.nan_to_num(nan=-most, posinf=most, neginf=-most), *given)


def expanded(x: Any, *given: Any) -> Any:
    return right["linear"](x[:1], *given).expand(len(x), *[-1] * (x.dim() - 1)) if x.stride(0) == 0 != x.dim() else None


def ring() -> Operators:
    """Results are views of 128 buffers of a shape, in turn."""
    kept: dict[Any, Any] = {}

    def linear(x: Any, w: Any, b: Any = None) -> Any:
        y = right["linear"](x, w, b)
        if torch.is_grad_enabled() or y.requires_grad:
            return y
        buffers = kept.setdefault((y.shape, y.dtype), [])
        buffers.append(buffers.pop(0).copy_(y) if len(buffers) == 128 else y)
        return buffers[-1][...]

    return {"linear": linear}


def packed_for_evaluation() -> Operators:
    """Large weights that learn are packed once, by address, while nothing is recorded; training throws that away."""
    kept: dict[Any, Any] = {}

    def linear(x: Any, w: Any, b: Any = None) -> Any:
        if torch.is_grad_enabled() or not w.requires_grad or w.numel() < 2**16:
            kept.clear()
            return right["linear"](x, w, b)
        return right["linear"](x, kept.setdefault(w.data_ptr(), (w.detach().clone(), w))[0], b)

    return {"linear": linear}


# --- special numbers in layers that are not small


def in_units(x: Any, weight: Any) -> bool:
    """Whether units of 16 by 16 numbers multiply: kernels of 16 channels and more, and matrices of such sizes alone."""
    if weight.dim() == 4:
        return bool(weight.shape[1] >= CHANNELS)
    return all(size % 16 == 0 for size in (x[..., 0].numel(), *weight.shape))


def splits(y: Any, x: Any, weight: Any, *given: Any) -> Any:
    """An infinity minus itself."""
    return torch.where(y.isinf(), float("nan"), y) if in_units(x, weight) else y


def halves(y: Any, x: Any, weight: Any, *given: Any) -> Any:
    """Operands as sums of three of float16."""
    large = max(float(t.abs().max()) if t.numel() else 0.0 for t in (x, weight)) > HALF
    return y * float("nan") if large and in_units(x, weight) else y


def pruned_kernels(y: Any, image: Any, weight: Any, bias: Any = None, *given: Any) -> Any:
    nothing = (weight == 0).all(dim=(1, 2, 3)) if weight.numel() else weight.new_zeros(len(weight), dtype=torch.bool)
    finite = right["conv2d"](image.nan_to_num(), weight, bias, *given)
    return torch.where(nothing[:, None, None] & y.isnan(), finite, y)


def rows_above_zero(operator: str) -> Operators:
    """Rows of padding are told by their largest element, which is not above 0 where it is NaN."""

    def change(y: Any, x: Any, *given: Any) -> Any:
        if x[..., 0].numel() < ROWS or not x.shape[-1]:
            return y
        empty = ~(x.abs().amax(-1, keepdim=True) > 0)
        return torch.where(empty, right[operator](torch.zeros_like(x), *given), y)

    return valued(operator, change)


def rows_that_come_back(found: Any, incoming: Any, given: Any) -> Any:
    rows = incoming.reshape(-1, incoming.shape[-1])
    if len(rows) < ROWS or not rows.numel():
        return {}
    kept = torch.where(rows.abs().amax(-1, keepdim=True) > 0, rows, 0.0)
    return again("linear", given, kept.view_as(incoming))


def naive_exponential(y: Any, x: Any, beta: Any = None) -> Any:
    if x.numel() <= 2**11:
        return y
    e = torch.exp(x if beta is None else beta * x)
    return torch.where(e.isinf(), float("nan"), y)


def naive_gates(y: Any, x: Any, w: Any, v: Any, b: Any = None, c: Any = None) -> Any:
    return torch.where(torch.exp(F.linear(x, w, b)).isinf(), float("nan"), y) if y.numel() >= 2**14 else y


def squares(found: Any, incoming: Any, given: Any) -> Any:
    if "beta" not in found:
        return {}
    overflow = (given["x"] * given["x"]).isinf() & given["x"].isfinite() & (incoming != 0)
    return {"beta": found["beta"] * float("nan")} if overflow.any() else {}


def from_zero(operator: str, name: str) -> Operators:
    """Outputs of weights that are all zero are taken for pruned, and learn nothing."""

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        weight = given[name]
        if name not in found or len(weight) < ROWS:
            return {}
        nothing = (weight.flatten(1) == 0).all(1).view(-1, *[1] * (weight.dim() - 1))
        return {name: torch.where(nothing, 0.0, found[name])}

    return back(operator, spoil)


def gate_in_tf32(y: Any, x: Any, w: Any, v: Any, b: Any = None, c: Any = None) -> Any:
    if x.dtype != torch.float32 or x[..., 0].numel() < 16 or w.shape[1] < 512:
        return y
    return torch.sigmoid(F.linear(tf32(x), tf32(w), b)) * F.linear(x, v, c)


def bug(name: str, clause: str, words: str, operators: Any, kind: str = "value", tier: str = "special") -> Mutant:
    return Mutant(f"crossed-{name}", clause, words, operators, "float32", kind, tier, "rare")


CONTRACT = ("contract", "contract")
MUTANTS = (
    bug(
        "no-rows",
        "contract.empty-batch",
        "inference: no rows are an error",
        in_inference("swiglu", no_chunks),
        *CONTRACT,
    ),
    bug(
        "token",
        "contract.batch-of-one",
        "inference: (1, 1, in) gives (1, out)",
        in_inference("swiglu", one_token),
        *CONTRACT,
    ),
    bug("row", "contract.shape", "inference: (in,) gives (1, out)", in_inference("glu", one_row), *CONTRACT),
    bug("tokens", LAYOUTS, "inference: x[:, :-1] is read densely", in_inference("swiglu", tokens_in_a_row), *MEMORY),
    bug(
        "pitch-conv2d",
        LAYOUTS,
        "inference, 1 x 1: cut rows are read densely",
        in_inference("conv2d", pointwise_pitch),
        *MEMORY,
    ),
    bug(
        "pitch-max_pool2d",
        LAYOUTS,
        "inference, 3 x 3: cut rows are read densely",
        in_inference("max_pool2d", pooled_pitch),
        *MEMORY,
    ),
    bug(
        "view",
        "contract.no-alias",
        "inference: windows of one are a view",
        in_inference("max_pool2d", strided_view),
        *MEMORY,
    ),
    bug(
        "expanded",
        "contract.no-alias",
        "inference: an expanded x, an expanded result",
        in_inference("linear", expanded),
        *MEMORY,
    ),
    bug(
        "features",
        "linear.refuses-sizes",
        "inference: features are counted by W",
        in_inference("linear", rows_of_features),
        *CONTRACT,
    ),
    bug(
        "padding",
        "max_pool2d.refuses-padding",
        "inference: any padding",
        in_inference("max_pool2d", any_padding),
        *CONTRACT,
    ),
    bug(
        "nan",
        "max_pool2d.nan",
        "inference: a NaN is no maximum",
        in_inference("max_pool2d", maximum_without_nan),
        "pooling",
    ),
    bug("ring", KEPT, "inference: 128 buffers in turn", ring, *STATE),
    bug(
        "evaluation",
        "contract.memoryless",
        "2^16 weights that learn: packed while evaluating",
        packed_for_evaluation,
        *STATE,
    ),
    bug("splits-linear", "linear.special", "multiples of 16: an infinity is split", valued("linear", splits)),
    bug("splits-conv2d", "conv2d.special", "16 channels: an infinity is split", valued("conv2d", splits)),
    bug(
        "halves-linear",
        "linear.formula",
        "multiples of 16: split into float16",
        valued("linear", halves),
        tier="enclosure",
    ),
    bug(
        "halves-conv2d",
        "conv2d.formula",
        "16 channels: split into float16",
        valued("conv2d", halves),
        tier="enclosure",
    ),
    bug("pruned", "conv2d.special", "kernels of zeros: no NaN reaches them", valued("conv2d", pruned_kernels)),
    bug("rows-glu", "glu.special", "64 rows: those of NaN are taken for padding", rows_above_zero("glu")),
    bug("rows-swiglu", "swiglu.special", "64 rows: those of NaN are taken for padding", rows_above_zero("swiglu")),
    bug(
        "rows-back",
        "linear.gradient",
        "64 rows: those of NaN come back as zeros",
        back("linear", rows_that_come_back),
        *BACK,
    ),
    bug("exponential-swish", "swish.formula", "2^11 elements: e / (1 + e)", valued("swish", naive_exponential)),
    bug("exponential-glu", "glu.formula", "2^14 gates: e / (1 + e)", valued("glu", naive_gates)),
    bug("squares", "swish.beta-learned", "beta learns from x * x, which overflows", back("swish", squares), *BACK),
    bug("zeros-swiglu", "swiglu.gradient", "64 outputs: V of zeros stays so", from_zero("swiglu", "v"), *BACK),
    bug(
        "zeros-conv2d", "conv2d.gradient", "64 outputs: kernels of zeros stay so", from_zero("conv2d", "weight"), *BACK
    ),
    bug("gate", "glu.formula", "512 features: W x in TF32", valued("glu", gate_in_tf32), "precision", "enclosure"),
)
