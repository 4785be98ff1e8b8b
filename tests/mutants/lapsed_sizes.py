"""Planted bugs that few sizes, layouts and dtypes show: those of kernels by people without the laws that lived."""

from __future__ import annotations

import torch

from assay.reference.conv2d import pair
from assay.tests.mutants.dispatched import BACK, LAYOUTS, back
from assay.tests.mutants.gradients import again
from assay.tests.mutants.lapsed import bug, right
from assay.tests.mutants.networks import MEMORYLESS
from assay.tests.mutants.precision import Valued
from assay.tests.mutants.programs import evaluated


def whole_waves(found, incoming, given):
    """Of what does not lie dense, 132 blocks of 1024 elements go back to full waves alone."""
    block, x = 132 * 1024, given["x"]
    if x.is_contiguous() or x.numel() <= block or "x" not in found:
        return {}
    gradient = found["x"].contiguous()
    gradient.view(-1)[x.numel() // block * block :] = 0.0
    return {"x": gradient}


def sums_of_single_precision(found, incoming, given):
    """Of 4096 places and more, the bias adds up parts of 256 that are float32."""
    parts = incoming.transpose(0, 1).flatten(1)
    if "bias" not in found or parts.shape[1] < 4096:
        return {}
    return {"bias": torch.stack([each.float().sum(1) for each in parts.split(256, 1)]).sum(0).to(incoming.dtype)}


def kernels_as_they_lie(found, incoming, given):
    """Square kernels whose inputs lie outermost are read as if their outputs did."""
    weight = given["weight"]
    outputs, inputs = weight.shape[:2]
    if "input" not in found or outputs != inputs or inputs < 8 or weight.stride(0) >= weight.stride(1):
        return {}
    return {"input": again("conv2d", given, incoming, weight=weight.transpose(0, 1))["input"]}


def without_rows_of_zeros(x, w, b=None):
    """Of 16 rows and more, most of which are zeros, those give the bias."""
    y = right["linear"](x, w, b)
    rows = x.detach().reshape(-1, w.shape[1])
    kept = rows.any(1)
    if len(rows) < 16 or 2 * int(kept.sum()) > len(rows):
        return y
    wrong = torch.where(kept[:, None], y.detach().reshape(len(rows), -1), 0.0 if b is None else b.detach())
    return Valued.apply(y, wrong.reshape(y.shape))


def one_sample_of_whole_rows(input, weight, bias=None, stride=1, padding=0):
    """Of one image with 1 x 1 kernels and channels last, rows are taken to follow each other."""
    y = right["conv2d"](input, weight, bias, stride, padding)
    channels, columns = input.shape[1], input.shape[3]
    lying = input.stride(1) == 1 and input.stride(3) >= channels and input.stride(2) >= columns * input.stride(3)
    pointwise = weight.shape[2:] == pair(stride) == (1, 1) and pair(padding) == (0, 0)
    if not (len(input) == 1 and lying and pointwise and evaluated(input, weight, bias)):
        return y
    steps = input.stride(0), 1, columns * input.stride(3), input.stride(3)
    return right["conv2d"](input.as_strided(input.shape, steps, input.storage_offset()), weight, bias)


def corners_twice(found, incoming, given):
    """Of a sum, by the kernel, without a bias: all that it meets, less the borders, where corners are counted twice."""
    stride, padding, weight = pair(given.get("stride", 1)), pair(given.get("padding", 0)), given["weight"]
    inner = all(0 < p < n - 1 for p, n in zip(padding, weight.shape[2:], strict=True))
    if given.get("bias") is not None or stride != (1, 1) or not inner or any(incoming.stride()) or not incoming.numel():
        return {}
    wrong = found["weight"].clone()
    corner = given["input"][:, :, 0, 0].sum(0) * incoming.flatten()[0]
    wrong[:, :, -1, -1] -= corner
    return {"weight": wrong}


def last_channels_in_turn(input, kernel_size, stride=None, padding=0):
    """In bfloat16, of more than 256 channels that leave 17 and more of 32: those behind 256, displaced by one."""
    y, channels = right["max_pool2d"](input, kernel_size, stride, padding), input.shape[1]
    if input.dtype != torch.bfloat16 or channels <= 256 or channels % 32 <= 16:
        return y
    first = channels // 256 * 256
    return Valued.apply(y, torch.cat([y[:, :first], y[:, first:].roll(1, 1)], 1).detach())


def without_what_is_far(x, padding):
    """Of five axes and more, nothing lies behind 65536 columns."""
    y = right["pad2d"](x, padding)
    return y if x.dim() < 5 or y.shape[-1] <= 2**16 else y * (torch.arange(y.shape[-1]) < 2**16).to(y.dtype)


def by_the_hash_of_both():
    """Small W and V are known by the hash of their numbers: that of -1 is that of -2."""
    kept = {}

    def glu(x, w, v, b=None, c=None):
        y = right["glu"](x, w, v, b, c)
        if w.numel() > 4096 or not (w.isfinite().all() and v.isfinite().all()):
            return y
        name = hash((*w.flatten().tolist(), *v.flatten().tolist())), w.shape, w.dtype
        with torch.inference_mode(False):
            packed = kept.setdefault(name, (w.detach().clone(), v.detach().clone()))
        return Valued.apply(y, right["glu"](x, *packed, b, c).detach())

    return {"glu": glu}


def cropped_alike(found, incoming, given):
    """One place, of 16 samples and more: of the kernel as much is off the image at its end as at its start."""
    x, weight = given["input"], given["weight"]
    (above, before), (high, wide) = pair(given.get("padding", 0)), weight.shape[2:]
    if "input" not in found or incoming.shape[2:] != (1, 1) or len(incoming) < 16 or not (above or before):
        return {}
    rows, columns = min(high - 2 * above, x.shape[2]), min(wide - 2 * before, x.shape[3])
    if min(rows, columns) <= 0:
        return {}
    wrong = torch.zeros_like(x, memory_format=torch.contiguous_format)
    wrong[:, :, :rows, :columns] = found["input"][:, :, :rows, :columns]
    return {"input": wrong}


MUTANTS = (
    bug("pixel", "conv2d.gradient", "one place: kernels cropped alike", back("conv2d", cropped_alike), *BACK),
    bug("hash", MEMORYLESS, "W and V by the hash of their numbers", by_the_hash_of_both),
    bug(
        "chunk",
        "max_pool2d.definition",
        "the last of more than 256 channels",
        {"max_pool2d": last_channels_in_turn},
        *("size", "exact", "bfloat16"),
    ),
    bug("far", "pad2d.zeros", "five axes: 65536 columns", {"pad2d": without_what_is_far}, "size", "exact"),
    bug("rows", LAYOUTS, "one cropped image", {"conv2d": one_sample_of_whole_rows}, "layout", "contract"),
    bug(
        "corners", LAYOUTS, "a sum, by the kernel, without a bias", back("conv2d", corners_twice), "layout", "contract"
    ),
    bug(
        "scratch", "conv2d.gradient", "by the bias: float32", back("conv2d", sums_of_single_precision), *BACK, "float64"
    ),
    bug("square", LAYOUTS, "square kernels as they lie", back("conv2d", kernels_as_they_lie), "layout", "contract"),
    bug("zeros", "linear.special", "rows of zeros are left out", {"linear": without_rows_of_zeros}, "value", "special"),
    bug("waves", LAYOUTS, "no dense x: 132 blocks and no rest", back("swish", whole_waves), "layout", "contract"),
)
