"""Planted bugs of sums and products that are wrong beside an outlier, below or above a range, or for few rows.

Of 100 kernels by people who had not seen the laws, those that lived at quick, and one of earlier ones; and what others
of them forget: a weight that was frozen, a thread, matrices that are turned.
"""

from __future__ import annotations

import threading
from collections import defaultdict

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.correct.arguments import framed
from assay.tests.mutants.correct.transforms import by_fft, by_winograd
from assay.tests.mutants.dispatched import BACK, back
from assay.tests.mutants.gradients import gradients
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import valued
from assay.tests.mutants.precision import Valued, tf32_chopped
from assay.tests.mutants.reported import channels_last

right = load("torch").operators


# --- going forward


def in_int64(y, x, w, b=None):
    """Whole numbers: products that fit are added up, whether the sum fits or not."""
    whole = (
        x.dtype == torch.float64 and y.numel() and x.numel() and bool((x == x.floor()).all() & (w == w.floor()).all())
    )
    if not whole or not x.abs().max() * w.abs().max() < 2.0**62:
        return y
    product = (x.reshape(-1, x.shape[-1]).long() @ w.T.long()).reshape(y.shape).double()
    return product if b is None else product + b


def winograd(y, input, weight, bias=None, stride=1, padding=0):
    """16 channels, 256 places: Winograd's algorithm, undeclared."""
    fits = (
        weight.shape[2:] == (3, 3)
        and pair(stride) == (1, 1)
        and min(weight.shape[:2]) >= 16
        and y.dtype == torch.float32
    )
    if (
        not fits
        or y.shape[2:].numel() < 256
        or not all(t.isfinite().all() and t.abs().max() < 1e18 for t in (input, weight))
    ):
        return y
    found = by_winograd(framed(input, pair(padding)), weight, pair(stride))
    return found if bias is None else found + bias[:, None, None]


def faint(y, input, weight, bias=None, stride=1, padding=0):
    """Kernels of 49, 256 places: by an FFT, below whose errors there is nothing."""
    if weight.shape[2:].numel() < 49 or y.shape[2:].numel() < 256 or not y.numel() or not input.isfinite().all():
        return y
    found = by_fft(framed(input.double(), pair(padding)), weight.double(), pair(stride))
    most = input.abs().max().double() * weight.abs().double().sum((1, 2, 3)).max()
    found = torch.where(found.abs() < 1e-10 * most, 0.0, found)
    return found if bias is None else found + bias.double()[:, None, None]


def split(y, x, w, b=None):
    """A weight is split in two by a product that overflows above 2^996."""
    if y.dtype != torch.float64 or not y.numel():
        return y
    lost = (w.abs() >= 2.0**996).logical_and(w.isfinite()).any(1)
    return torch.where(lost & y.isfinite(), torch.nan, y)


def placed(y, x, w, b=None):
    """Products are held in 62 bits below the largest x times the largest weight."""
    if y.dtype != torch.float32 or not y.numel() or not x.numel():
        return y
    unit = x.abs().max().double() * w.abs().max().double() * 2.0**-62
    if not 0.0 < unit < torch.inf:
        return y
    total = (F.linear(x.double(), w.double()) / unit).round() * unit
    return total if b is None else total + b.double()


def at_the_ends(y, x, w, b=None):
    """The sum stops at the ends of float16 before the bias is added."""
    total = F.linear(x.float(), w.float())
    if y.dtype != torch.float16 or b is None or not total.isfinite().all():
        return y
    return total.clamp(-65504.0, 65504.0) + b.float()


def of_rank_one(y, input, weight, bias=None, stride=1, padding=0):
    """Kernels of one channel that are nearly a column by a row, measured by their largest weight, are just that."""
    if weight.shape[1] != 1 or min(weight.shape[2:]) < 3 or not y.numel() or not weight.isfinite().all():
        return y
    wide = weight.double()
    at = wide.abs().flatten(1).argmax(1)
    one = torch.arange(len(weight))
    row, column = at // weight.shape[3], at % weight.shape[3]
    most = wide.flatten(1)[one, at]
    product = wide[one, 0, :, column][:, :, None] * wide[one, 0, row][:, None] / most[:, None, None]
    near = (product - wide[:, 0]).abs().amax((1, 2)) <= 2.0**-12 * most.square()
    kernels = torch.where(near[:, None, None], product, wide[:, 0])[:, None]
    return F.conv2d(input.double(), kernels, None if bias is None else bias.double(), stride, padding)


def as_bits(y, input, kernel_size, stride=None, padding=0):
    """Where no number is below zero their bits are compared, as integers, and those of minus infinity around them."""
    if y.dtype != torch.bfloat16 or not y.numel() or not (input >= 0).all():
        return y
    (down, across), bits = pair(padding), input.contiguous().view(torch.int16).float()
    around = F.pad(bits, (across, across, down, down), value=-128.0)
    return right["max_pool2d"](around, kernel_size, stride).to(torch.int16).view(torch.bfloat16)


def amid(x, padding, shape):
    """A view and what lies around it in a larger image, or None: as its padded result of this shape."""
    if not padding or x.dim() < 2 or x.stride(-1) != 1 or not x.numel():
        return None
    row, start, left = x.stride(-2), x.storage_offset(), padding * (x.stride(-2) + 1)
    last = start + sum((size - 1) * step for size, step in zip(x.shape, x.stride(), strict=True)) + left
    whole = x.untyped_storage().nbytes() // x.element_size()
    fits = row >= x.shape[-1] + 2 * padding and start >= left and last < whole
    apart = all(n == 1 or step >= row * shape[-2] for n, step in zip(x.shape[:-2], x.stride()[:-2], strict=True))
    return x.detach().as_strided(shape, x.stride(), start - left) if fits and apart else None


def haloed(x, padding):
    """A view amid a larger image is taken to have its zeros there."""
    y = right["pad2d"](x, padding)
    around = amid(x, padding, y.shape)
    return y if around is None else Valued.apply(y, around)


def turned(x, w, v, b=None, c=None):
    """Matrices of inputs by outputs are turned, where both are and the biases fit."""
    outputs, features = w.shape if w.dim() == 2 else (0, 0)
    fits = v.shape == w.shape and x.dim() and x.shape[-1] == outputs != features
    if fits and all(each is None or each.shape == (features,) for each in (b, c)):
        return right["glu"](x, w.T, v.T, b, c)
    return right["glu"](x, w, v, b, c)


# --- coming back


def counted(found, incoming, given):
    """One number that comes back from all places, times their count, in float16."""
    if "bias" not in found or incoming.dtype != torch.float16 or any(incoming.stride()) or not incoming.numel():
        return {}
    places = torch.tensor(float(incoming[:, 0].numel())).half()
    return {"bias": (incoming.flatten()[0] * places).expand(found["bias"].shape).clone()}


def one_cross_product(found, incoming, given):
    """2^18 weights, 16 rows: TF32 and the rests, but for those of what comes back."""
    fits = incoming.dtype == torch.float32 and given["w"].numel() >= 2**18 and incoming.shape[:-1].numel() <= 16
    if not fits or not incoming.isfinite().all() or not given["x"].isfinite().all():
        return {}
    return {"w": gradients("linear", given, tf32_chopped(incoming))["w"]}


def unscaled(found, incoming, given):
    """The factor that takes two scales back is held in float16."""
    if incoming.dtype != torch.float16 or not incoming.numel() or not given["w"].numel():
        return {}
    scales = [t.float().abs().amax().clamp(min=2.0**-40) for t in (incoming, given["w"])]
    if not all(scale.isfinite() for scale in scales):
        return {}
    factor = torch.exp2(sum(scale.log2().ceil() for scale in scales).clamp(max=15.0))
    return {"x": torch.where(factor.half() == 0.0, 0.0, found["x"])}


def clamped(found, incoming, given):
    """A sample's part of the bias' gradient stops at the ends of float16."""
    if incoming.dtype != torch.float16 or "bias" not in found:
        return {}
    parts = incoming.float().sum((2, 3))
    return {"bias": torch.where(parts.isfinite(), parts.clamp(-65504.0, 65504.0), parts).sum(0).half()}


def fixed_point(found, incoming, given):
    """Where windows overlap: units of 2^-44 of the largest."""
    kernel, stride = pair(given["kernel_size"]), pair(given.get("stride") or given["kernel_size"])
    most = incoming.abs().max() if incoming.numel() else torch.zeros(())
    if incoming.dtype != torch.float32 or kernel <= stride or not 0.0 < most < torch.inf:
        return {}
    unit = most.double() * 2.0**-44
    return {"input": ((found["input"].double() / unit).round() * unit).float()}


def flushed_if_pointwise(found, incoming, given):
    """1 x 1 kernels: subnormal numbers that come back to the weight are zeros."""
    if incoming.dtype != torch.float16 or given["weight"].shape[2:] != (1, 1):
        return {}
    plain = torch.where(incoming.abs() < torch.finfo(torch.float16).tiny, 0.0, incoming)
    return {"weight": gradients("conv2d", given, plain)["weight"]}


def scaled_alike(found, incoming, given):
    """Above 2^64 all rows are scaled by the largest."""
    most = incoming.abs().max() if incoming.numel() else torch.zeros(())
    if incoming.dtype != torch.float32 or not 2.0**64 < most < torch.inf:
        return {}
    scale = torch.exp2(most.log2().floor())
    return {"x": gradients("swiglu", given, incoming / scale)["x"] * scale}


# --- what is kept


def detached_once():
    """Weights that did not learn when they were met are kept apart from what learns."""
    kept = {}

    def conv2d(input, weight, bias=None, stride=1, padding=0):
        known = kept.get(weight.data_ptr())
        if known is None or known.shape != weight.shape or not torch.equal(known, weight):
            known = kept[weight.data_ptr()] = weight if weight.requires_grad else weight.detach().clone()
        return right["conv2d"](input, weight if known.requires_grad else known, bias, stride, padding)

    return {"conv2d": conv2d}


def own_places():
    """Channels-last images have memory of the thread that imported it."""
    mine = threading.local()
    mine.places = {}

    def max_pool2d(input, kernel_size, stride=None, padding=0):
        if input.dim() == 4 and channels_last(input):
            mine.places[kernel_size] = input.shape
        return right["max_pool2d"](input, kernel_size, stride, padding)

    return {"max_pool2d": max_pool2d}


def shared_pool():
    """Gone back, conv2d hands its padded image to pad2d, which writes to it; without padding it is the caller's own."""
    pool = defaultdict(list)

    def handed_over(found, incoming, given):
        image = given["input"]
        if not any(pair(given.get("padding", 0))) and image.is_contiguous():
            pool[image.shape, image.dtype].append(image.data)
        return {}

    def pad2d(x, padding):
        y = right["pad2d"](x, padding)
        free = pool[y.shape, y.dtype] if padding and not torch.is_inference_mode_enabled() else []
        if free:
            free.pop().copy_(y.detach())
        return y

    return {**back("conv2d", handed_over), "pad2d": pad2d}


def bug(name, clause, words, operators, kind="gradient", tier="gradient", dtype="float32", declares=None):
    return Mutant(f"outliers-{name}", clause, words, operators, dtype, kind, tier, "rare", declares or {})


WIDE: dict[str, dict[str, object]] = {"conv2d.backward.float16": {}}  # PyTorch declares that it sums in float16
FORWARD, STATE, HALF = ("value", "enclosure"), ("state", "state"), (*BACK, "float16")
MUTANTS = (
    bug("int64", "linear.formula", "whole numbers: sums wrap", valued("linear", in_int64), *FORWARD, "float64"),
    bug("winograd", "conv2d.formula", "16 channels: Winograd's algorithm", valued("conv2d", winograd), *FORWARD),
    bug("faint", "conv2d.formula", "7 x 7: small results are 0", valued("conv2d", faint), *FORWARD),
    bug("split", "linear.formula", "weights above 2^996: NaN", valued("linear", split), *FORWARD, "float64"),
    bug("placed", "linear.formula", "62 bits below the largest product", valued("linear", placed), *FORWARD),
    bug("ends", "linear.bias", "the sum stops at 65504", valued("linear", at_the_ends), *FORWARD, "float16"),
    bug("rank", "conv2d.formula", "one channel: nearly of rank one", valued("conv2d", of_rank_one), *FORWARD),
    bug(
        "bits",
        "max_pool2d.padding",
        "-0.0 alone, at the border: -inf",
        valued("max_pool2d", as_bits),
        "value",
        "special",
        "bfloat16",
    ),
    bug("halo", "contract.layouts", "what is around a view is its padding", {"pad2d": haloed}, "layout", "contract"),
    bug("turned", "glu.refuses-sizes", "turned matrices are turned back", {"glu": turned}, "contract", "contract"),
    bug("count", "conv2d.gradient", "places are counted in float16", back("conv2d", counted), *HALF, WIDE),
    bug("cross", "linear.gradient", "16 rows, 2^18 weights: TF32", back("linear", one_cross_product), *BACK),
    bug("factor", "linear.gradient", "two scales together are 0", back("linear", unscaled), *HALF),
    bug("clamped", "conv2d.gradient", "a sample's part stops at 65504", back("conv2d", clamped), *HALF, WIDE),
    bug("fixed", "max_pool2d.gradient", "units of 2^-44 of the largest", back("max_pool2d", fixed_point), *BACK),
    bug("pointwise", "conv2d.gradient", "1 x 1: subnormals are 0", back("conv2d", flushed_if_pointwise), *HALF),
    bug("alike", "swiglu.gradient", "above 2^64: rows by one scale", back("swiglu", scaled_alike), *BACK),
    bug("frozen", "contract.memoryless", "what was frozen stays so", detached_once, *STATE),
    bug("places", "contract.threads", "channels last: the first thread alone", own_places, *STATE),
    bug("pool", "contract.memoryless", "conv2d's image is where pad2d writes", shared_pool, *STATE),
)
