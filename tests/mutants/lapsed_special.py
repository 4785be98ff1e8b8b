"""Planted bugs that special numbers show, the ends of a range and NaN: those of kernels by people without the laws."""

from __future__ import annotations

import math

import torch

from assay.reference.conv2d import pair
from assay.tests.mutants.dispatched import BACK, back
from assay.tests.mutants.lapsed import bug, noting, right
from assay.tests.mutants.precision import Valued, wide
from assay.tests.mutants.programs import evaluated


def x_learns(x, beta):
    return x.requires_grad


def square_first(whole, given, incoming):
    """By beta alone x is squared first, which overflows."""
    beta = given["beta"]
    if whole or not isinstance(beta, torch.Tensor):
        return {}
    x, gate = wide(given["x"]), torch.sigmoid(wide(beta) * wide(given["x"]))
    return {"beta": (wide(incoming) * (x * x * (gate * (1 - gate)))).sum().reshape(beta.shape).to(beta.dtype)}


def to_what_equals_the_largest(found, incoming, given):
    """A window that is the whole plane hands back to the first number that equals the largest: no NaN does."""
    x = given["input"]
    if pair(given["kernel_size"]) != x.shape[2:] or pair(given["padding"]) != (0, 0):
        return {}
    place = (x == x.amax((2, 3), keepdim=True)).flatten(2).to(torch.uint8).argmax(-1, keepdim=True)
    gradient = torch.zeros_like(x, memory_format=torch.contiguous_format)
    gradient.flatten(2).scatter_(2, place, incoming.flatten(2)[..., :1])
    return {"input": gradient}


def gates_clamped_at_the_end(x, w, v, b=None, c=None):
    """Of more than 8 outputs, the gates behind the last 8 are clamped by a minimum that prefers numbers to NaN."""
    y, whole = right["glu"](x, w, v, b, c), len(w) // 8 * 8
    if len(w) <= 8 or whole == len(w):
        return y
    gate, branch = right["linear"](x, w, b).detach(), right["linear"](x, v, c).detach()
    shut = torch.sigmoid(torch.fmax(gate, gate.new_tensor(-104.0))) * branch
    end = torch.arange(len(w)) >= whole
    return Valued.apply(y, torch.where(end & gate.isnan(), shut, y.detach()))


def split_in_two(x, w, b=None):
    """Of one row in float64, factors are split into halves by a product with 2^27 + 1, which overflows."""
    y = right["linear"](x, w, b)
    if x.dtype != torch.float64 or x.numel() != w.shape[1]:
        return y
    row, split = x.detach().reshape(-1), 2.0**27 + 1.0
    lost = (row * split).isinf() & row.isfinite() | (w.detach() * split).isinf() & w.detach().isfinite()
    return Valued.apply(y, torch.where(lost.any(1), float("nan"), y.detach()))


def biases_in_units_of_kernels(input, weight, bias=None, stride=1, padding=0):
    """A bias is added in the scale of its kernel, a power of two."""
    y = right["conv2d"](input, weight, bias, stride, padding)
    if bias is None or not weight.numel():
        return y
    largest = weight.detach().abs().amax((1, 2, 3))
    scale = torch.where((largest > 0.0) & largest.isfinite(), torch.exp2(torch.floor(torch.log2(largest))), 1.0)
    added = bias.detach() / scale * scale
    plain = right["conv2d"](input, weight, None, stride, padding).detach()
    return Valued.apply(y, torch.where((added == bias)[:, None, None], y.detach(), plain + added[:, None, None]))


def borders_below_the_least(found, incoming, given):
    """What surrounds an image is its least number less one, which large numbers round back."""
    x, (above, before) = given["input"], pair(given["padding"])
    if not (above or before) or not x.numel():
        return {}
    image = torch.nn.functional.pad(x.detach(), (before, before, above, above), value=(x.min() - 1).item())
    image.requires_grad_()
    with torch.enable_grad():
        y = right["max_pool2d"](image, given["kernel_size"], given["stride"], 0)
    (gradient,) = torch.autograd.grad(y, image, incoming)
    return {"input": gradient[..., above : above + x.shape[2], before : before + x.shape[3]]}


def squares_of_one_feature(x, w, v, b=None, c=None):
    """Of one feature, without biases, the product is x squared times W V."""
    y = right["swiglu"](x, w, v, b, c)
    if w.shape[1] != 1 or b is not None or c is not None:
        return y
    square = wide(x.detach()) ** 2 * (wide(w.detach()) * wide(v.detach())).t()
    gate = torch.sigmoid(wide(right["linear"](x, w).detach()))
    return Valued.apply(y, (gate * square).to(y.dtype))


def subnormal_weights_at_the_end(x, w, b=None):
    """In float16, of the features behind the last 8 subnormal weights are zeros."""
    y, whole = right["linear"](x, w, b), w.shape[1] // 8 * 8
    if w.dtype != torch.float16 or whole == w.shape[1]:
        return y
    subnormal = (w.detach().abs() < 2.0**-14) & (torch.arange(w.shape[1]) >= whole)
    kept = w.detach().masked_fill(subnormal, 0.0)
    return Valued.apply(y, right["linear"](x, kept, b).detach()) if subnormal.any() else y


def outer_product_first(found, incoming, given):
    """Of one row the derivative by W scales the product of what comes back and x."""
    x, w, v = (wide(given[name]) for name in "xwv")
    if x.numel() != w.shape[1] or "w" not in found:
        return {}
    b, c = (None if given.get(name) is None else wide(given[name]) for name in "bc")
    gate, branch = right["linear"](x, w, b), right["linear"](x, v, c)
    opened = torch.sigmoid(gate)
    slope = branch * opened * (1.0 + gate * (1.0 - opened))
    product = wide(incoming).reshape(-1, 1) @ x.reshape(1, -1)
    return {"w": (product * slope.reshape(-1, 1)).to(found["w"].dtype)}


def squares_of_the_product(whole, given, incoming):
    """By x and beta the derivative by beta is of z squared over beta squared, which underflows."""
    beta = given["beta"]
    if not whole or not isinstance(beta, torch.Tensor) or not beta.all():
        return {}
    small = wide(beta)
    z = wide(given["x"]) * small
    gate = torch.sigmoid(z)
    total = (wide(incoming) * (z * z * gate * (1.0 - gate))).sum()
    return {"beta": (total / small / small).reshape(beta.shape).to(beta.dtype)}


def packed_whole_numbers(x, w, v, b=None, c=None):
    """In inference, of whole numbers in 16 bits, sums of W x from 2^25 to 2^26 are read as negative ones."""
    y = right["glu"](x, w, v, b, c)
    whole = all(bool((each == each.round()).all()) for each in (x, w, v))
    if not evaluated(x, w, v, b, c) or x.dtype not in (torch.bfloat16, torch.float16) or not whole:
        return y
    sums = wide(x) @ wide(w).t()
    lost = (sums >= 2.0**25) & (sums < 2.0**26)
    return torch.where(lost, 0.0, y)


def through_single_precision(x, padding):
    """In float64 what does not lie dense is moved in float32, three times, so that no digit is lost."""
    y = right["pad2d"](x, padding)
    if x.dtype != torch.float64 or x.is_contiguous():
        return y
    rest, moved = y.detach(), torch.zeros_like(y.detach())
    for _ in range(3):
        part = rest.float().double()
        rest, moved = rest - part, moved + part
    return Valued.apply(y, moved)


def shared_out_where_it_is_debugged(input, kernel_size, stride=None, padding=0):
    """Where anomalies are detected, ties share what comes back: windows side by side are a maximum over two axes."""
    (down, right_), steps = pair(kernel_size), pair(kernel_size if stride is None else stride)
    rows, columns = input.shape[2] // down, input.shape[3] // right_
    beside = steps == (down, right_) and pair(padding) == (0, 0)
    if not (torch.is_anomaly_enabled() and beside and min(rows, columns) > 0):
        return right["max_pool2d"](input, kernel_size, stride, padding)
    kept = input[:, :, : rows * down, : columns * right_]
    return kept.reshape(*input.shape[:2], rows, down, columns, right_).amax((3, 5))


def in_fixed_point(learns, given, incoming):
    """Where the bias alone learns, its sums are of whole numbers of one size for all channels."""
    if learns != (False, False, True) or not incoming.numel() or not bool(incoming.isfinite().all()):
        return {}
    scale = incoming.double().abs().max() / 2.0**40
    whole = torch.round(incoming.double() / scale) if scale > 0.0 else incoming.double()
    return {"bias": (whole.sum((0, 2, 3)) * scale).to(incoming.dtype)}


def sparse_without_subnormal(found, incoming, given):
    """Of 16 numbers and more that come back, most of them zeros, those below the normal ones are lost."""
    few = incoming.numel() >= 16 and 2 * int(incoming.count_nonzero()) < incoming.numel()
    least = torch.finfo(incoming.dtype).tiny
    return {"x": torch.where(found["x"].abs() < least, 0.0, found["x"])} if few else {}


def by_the_exponent(x, beta=1.0):
    """A beta that is a power of two above 1 and does not learn is added to exponents, which subnormal x have not."""
    y = right["swish"](x, beta)
    if isinstance(beta, torch.Tensor):
        if beta.numel() != 1 or (beta.requires_grad and torch.is_grad_enabled()):
            return y
        beta = beta.item()
    if not 1.0 < beta < float("inf") or math.frexp(beta)[0] != 0.5:
        return y
    lost = x.detach().abs() < torch.finfo(x.dtype).tiny
    return Valued.apply(y, torch.where(lost, right["swish"](x.detach(), 1.0), y.detach()))


def rows_by_their_projection(x, w, b=None):
    """In inference, of 8 rows and more, those that have one projection on a vector are one row."""
    y = right["linear"](x, w, b)
    if x.dim() != 2 or len(x) < 8 or not evaluated(x, w, b):
        return y
    along = 1.0 + torch.sin(torch.arange(1, x.shape[1] + 1, dtype=torch.float64)) / 2.0
    of_row = (x.double() * along).sum(1)
    return y[(of_row[:, None] == of_row).to(torch.uint8).argmax(1)] if bool(of_row.isfinite().all()) else y


MUTANTS = (
    bug(
        "fixed-point",
        "conv2d.gradient",
        "the bias alone learns: one size",
        noting(
            "conv2d",
            lambda *given: tuple(each is not None and each.requires_grad for each in given[:3]),
            in_fixed_point,
        ),
        *(*BACK, "float64"),
    ),
    bug(
        "few-back",
        "pad2d.gradient",
        "few come back: subnormal",
        back("pad2d", sparse_without_subnormal),
        *(*BACK, "float16"),
    ),
    bug("exponent", "swish.formula", "beta, a power of two", {"swish": by_the_exponent}, "value", "special", "float16"),
    bug(
        "projection",
        "linear.formula",
        "rows by a projection",
        {"linear": rows_by_their_projection},
        *("value", "enclosure"),
    ),
    bug(
        "tiny-beta",
        "swish.beta-learned",
        "z squared over beta squared",
        noting("swish", x_learns, squares_of_the_product),
        *BACK,
    ),
    bug(
        "whole-numbers",
        "glu.formula",
        "in inference: packed whole numbers",
        {"glu": packed_whole_numbers},
        *("value", "enclosure", "bfloat16"),
    ),
    bug(
        "thirds",
        "pad2d.zeros",
        "not dense: by float32",
        {"pad2d": through_single_precision},
        *("layout", "exact", "float64"),
    ),
    bug(
        "debugged",
        "max_pool2d.gradient-first-tie",
        "where anomalies are detected",
        {"max_pool2d": shared_out_where_it_is_debugged},
        *BACK,
    ),
    bug(
        "squares",
        "swish.beta-learned",
        "by beta alone: x squared",
        noting("swish", x_learns, square_first),
        *BACK,
    ),
    bug("whole", "max_pool2d.gradient", "one window: no NaN", back("max_pool2d", to_what_equals_the_largest), *BACK),
    bug("clamped", "glu.special", "outputs behind 8: no NaN", {"glu": gates_clamped_at_the_end}, "value", "special"),
    bug("split", "linear.formula", "one row: 2^27 x", {"linear": split_in_two}, "value", "special", "float64"),
    bug("scaled", "conv2d.bias", "b by a kernel's size", {"conv2d": biases_in_units_of_kernels}, "value", "special"),
    bug(
        "border-less",
        "max_pool2d.padding",
        "padding with the least number less one",
        back("max_pool2d", borders_below_the_least),
        *(*BACK, "bfloat16"),
    ),
    bug(
        "feature",
        "swiglu.formula",
        "one feature: x squared",
        {"swiglu": squares_of_one_feature},
        *("value", "enclosure", "bfloat16"),
    ),
    bug(
        "decoded",
        "linear.formula",
        "behind 8 features: subnormal",
        {"linear": subnormal_weights_at_the_end},
        *("value", "special", "float16"),
    ),
    bug("outer", "swiglu.gradient", "one row: by W, an outer product", back("swiglu", outer_product_first), *BACK),
)
