"""Planted bugs of conv2d that declares an FFT, or Winograd's algorithm: what it declares does not excuse them."""

from __future__ import annotations

from typing import Any

import torch

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.correct import BY_FFT, declared
from assay.tests.mutants.correct.transforms import by_fft, by_winograd, convolving, long_enough
from assay.tests.mutants.crossed import in_inference
from assay.tests.mutants.dispatched import back
from assay.tests.mutants.gradients import again
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import last

right = load("torch").operators


def wrapping(x: Any, w: Any, stride: Any) -> Any:
    """Images of more than 64 columns: a column comes round."""
    rows, columns = x.shape[2:]
    return by_fft(x, w, stride, [long_enough(rows), long_enough(columns) if columns <= 64 else columns - 1])


def of_half_spectra(x: Any, w: Any, stride: Any) -> Any:
    """The kernel's spectrum is kept in 16 bits."""
    return by_fft(x, w, stride, kept=lambda spectrum: halved(torch.view_as_real(spectrum)))


def halved(parts: torch.Tensor) -> torch.Tensor:
    return torch.view_as_complex(parts.to(torch.float16).to(parts.dtype))


def without_bias(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0) -> Any:
    return right["conv2d"](input, weight, None, stride, padding) if last(input) and bias is not None else None


def planned() -> dict[str, Any]:
    """A kernel's spectrum is found again by the kernel's shape and sum, where nothing is recorded."""
    plans: dict[Any, Any] = {}

    def answer(input: Any, weight: Any, *given: Any) -> Any:
        key = tuple(weight.shape), input.shape[1:], float(weight.sum()), weight.dtype
        return right["conv2d"](input, plans.setdefault(key, weight.clone()), *given)

    return in_inference("conv2d", answer)


def odd_columns(x: Any, w: Any, stride: Any) -> Any:
    """3 x 3, results of an odd number of columns, 16 channels: the last one is half of a tile, and its neighbour's."""
    y = by_winograd(x, w, stride)
    if tuple(w.shape[2:]) != (3, 3) or stride != (1, 1) or x.shape[1] < 16 or y.shape[-1] % 2 == 0 or y.shape[-1] < 16:
        return y
    return torch.cat([y[..., :-1], y[..., -2:-1]], -1)


def fifth_sample(input: Any, weight: Any, *given: Any) -> Any:
    """1 x 1, 32 outputs, 5 samples: the last is as the one before."""
    y = right["conv2d"](input, weight, *given)
    if len(input) != 5 or tuple(weight.shape[2:]) != (1, 1) or len(weight) < 32:
        return y
    return torch.cat([y[:-1], y[-2:-1]])


def rolled(found: Any, incoming: Any, given: Any) -> Any:
    """Several samples of 16 channels, strided, of an odd number of rows: the kernel's come round by one."""
    image, stride = given["input"], pair(given.get("stride") or 1)
    if "weight" not in found or stride == (1, 1) or len(image) < 2 or image.shape[1] < 16 or image.shape[2] % 2 == 0:
        return {}
    return {"weight": again("conv2d", given, incoming)["weight"].roll(1, -1)}


FFT = declared("conv2d", **BY_FFT) | declared("conv2d", "backward", **BY_FFT)
WINOGRAD = declared("conv2d", algorithm="winograd")


def bug(
    name: str, clause: str, words: str, operators: Any, declares: Any = FFT, *told: str, dtype: str = "float32"
) -> Mutant:
    kind, tier = told or ("size", "exact")
    return Mutant(f"transformed-{name}", clause, words, operators, dtype, kind, tier, "rare", declares)


FORMULA = "conv2d.formula"
MUTANTS = (
    bug(
        "wraps", FORMULA, "FFT, more than 64 columns: one comes round", {"conv2d": convolving(wrapping, torch.float64)}
    ),
    bug(
        "spectra",
        FORMULA,
        "FFT: the kernel's spectrum in 16 bits",
        {"conv2d": convolving(of_half_spectra, torch.float64)},
        FFT,
        "precision",
        "enclosure",
        dtype="float16",
    ),
    bug(
        "bias",
        FORMULA,
        "FFT, inference, channels last: no bias",
        in_inference("conv2d", without_bias),
        FFT,
        "layout",
        "contract",
    ),
    bug(
        "plans", "contract.memoryless", "FFT, inference: a kernel's spectrum by its sum", planned, FFT, "state", "state"
    ),
    bug("sample", FORMULA, "FFT, 1 x 1, five samples: the last", {"conv2d": fifth_sample}),
    bug(
        "rolled",
        "conv2d.gradient",
        "FFT, strided, odd rows: the kernel's",
        back("conv2d", rolled),
        FFT,
        "gradient",
        "gradient",
    ),
    bug("columns", FORMULA, "Winograd, odd columns: the last", {"conv2d": convolving(odd_columns)}, WINOGRAD),
)
