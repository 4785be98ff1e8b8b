"""Planted bugs of slices of channels that are cut out of tensors whose channels are last.

Each is read densely, as if a pixel were as long as it has channels: half of what two branches wrote side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from assay.implementations.load import load
from assay.tests.mutants.dispatched import LAYOUTS, MEMORY, back
from assay.tests.mutants.gradients import again
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import valued

right = load("torch").operators
Read = Callable[[Any], Any]


def is_slice(x: torch.Tensor) -> bool:
    """Whether there is memory between the pixels of an image whose channels are last, and nowhere else."""
    if x.dim() != 4 or not x.numel() or x.shape[1] == 1:
        return False
    samples, channel, row, pixel = x.stride()
    dense = (x.shape[2] * row, x.shape[3] * pixel) == (samples, row)
    return channel == 1 and pixel > x.shape[1] and dense


def as_if_whole(x: Any) -> Any:
    """A slice's memory from its first element on; other tensors as they are."""
    if not isinstance(x, torch.Tensor) or not is_slice(x):
        return x
    _, channels, rows, columns = x.shape
    return x.as_strided(x.shape, (rows * columns * channels, 1, columns * channels, channels))


def reading(operator: str, position: int, read: Read = as_if_whole) -> Any:
    """The tensor of this position is read so; others are, where that hands them back themselves."""

    def change(y: Any, *given: Any) -> Any:
        found = read(given[position])
        if found is given[position]:
            return y
        return right[operator](*given[:position], found, *given[position + 1 :])

    return valued(operator, change)


def handed_back(operator: str, *names: str, read: Read = as_if_whole) -> Any:
    """The incoming gradient is read so, for these tensors' gradients."""

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        other = read(incoming)
        wrong = {} if other is incoming else again(operator, given, other)
        return {name: wrong[name] for name in names if name in wrong}

    return back(operator, spoil)


def kept(operator: str, tensor: str, name: str) -> Any:
    """What was kept of a tensor is read so, for the gradient of this one; going forward all is right."""

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        if not is_slice(given[tensor]):
            return {}
        return {name: again(operator, given, incoming, **{tensor: as_if_whole(given[tensor])})[name]}

    return back(operator, spoil)


def by_fours(x: torch.Tensor) -> Any:
    """Channels that are loaded four at a time."""
    return as_if_whole(x) if x.shape[1] % 4 == 0 else x


def bug(name: str, words: str, operators: Any) -> Mutant:
    return Mutant(f"sliced-{name}", LAYOUTS, words, operators, "float32", *MEMORY, "rare")


MUTANTS = (
    bug("conv2d", "a slice of channels, these last: the image is read densely", reading("conv2d", 0)),
    bug("conv2d-fours", "the same, by four channels", reading("conv2d", 0, by_fours)),
    bug("conv2d-weight", "a slice of channels, these last: kernels are read densely", reading("conv2d", 1)),
    bug("max_pool2d", "a slice of channels, these last: read densely", reading("max_pool2d", 0, by_fours)),
    bug("pad2d", "a slice of channels, these last: read densely", reading("pad2d", 0)),
    bug("conv2d-back", "a slice comes back: read densely for the image", handed_back("conv2d", "input")),
    bug("conv2d-weight-back", "a slice comes back: read densely for kernels", handed_back("conv2d", "weight")),
    bug("conv2d-bias-back", "a slice comes back: read densely for the bias", handed_back("conv2d", "bias")),
    bug("max_pool2d-back", "a slice comes back: read densely", handed_back("max_pool2d", "input")),
    bug("pad2d-back", "a slice comes back: read densely", handed_back("pad2d", "x")),
    bug("conv2d-kept", "a slice is kept: kernels learn from what is read densely", kept("conv2d", "input", "weight")),
    bug("conv2d-kept-weight", "kernels, a slice: read densely going back", kept("conv2d", "weight", "input")),
    bug("max_pool2d-kept", "a slice is kept: the largest is sought densely", kept("max_pool2d", "input", "input")),
)
