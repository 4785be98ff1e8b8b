"""What max pooling is asked about: planes without ties or with them, of a few values, with one NaN each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from assay.implementations.arrays import Argument
from assay.reference.conv2d import pair
from assay.reference.max_pool2d import pool_window
from assay.reference.tensor import Tensor
from assay.tests.trial.cases import Case, max_pool2d_cases
from assay.tests.trial.textures import Texture, laid, rounded, textures

FEW = (1, 2, 3)  # windows along an axis: results so small that all of their elements are judged


def planes(height: int, width: int, family: str = "distinct", kernel: int | tuple[int, int] = 2) -> Case:
    """Two planes of different numbers, under windows that lie side by side, the stride left out."""
    parameters = {"kernel_size": kernel, "padding": 0}
    return Case("max_pool2d", {"input": (1, 2, height, width)}, {"input": Texture(family, 1)}, parameters)


@dataclass(frozen=True)
class Untied(Texture):
    """Each plane holds different integers, 512 at most, so that bfloat16 has all of them: no window has a tie."""

    def fill(self, shape: tuple[int, ...], fmt: Any, terms: int = 1) -> Argument:
        n, c, height, width = shape
        planes = np.tile(np.arange(height * width, dtype=np.float64), (n * c, 1)) - height * width // 2
        return laid(np.random.default_rng(self.seed).permuted(planes, axis=1).reshape(shape), self.layout)


@dataclass(frozen=True)
class Palette(Texture):
    """Each element is one of a few values, infinities and NaN among them."""

    palette: tuple[float, ...] = (0.0,)

    def fill(self, shape: tuple[int, ...], fmt: Any, terms: int = 1) -> Argument:
        values = np.random.default_rng(self.seed).choice(np.array(self.palette), shape)
        return laid(np.where(np.isfinite(values), rounded(values, fmt), values), self.layout)


@dataclass(frozen=True)
class OneNaNEach(Texture):
    """Small integers; each sample's last channel holds one NaN, at a position of its own; every other is negative."""

    positions: tuple[int, ...] = ()

    def fill(self, shape: tuple[int, ...], fmt: Any, terms: int = 1) -> Argument:
        values = super().fill(shape, fmt, terms).values.copy()
        values.reshape(*shape[:2], -1)[range(shape[0]), -1, list(self.positions)] = np.copysign(
            np.nan, (-1.0) ** (self.seed + np.arange(shape[0]))
        )
        return Argument(values, self.layout)


def holding(case: Case, kind: type[Texture], **fields: Any) -> Case:
    """``case`` with an input of another kind of texture, its seed and layout kept."""
    drawn = case.textures["input"]
    return case.changed(textures={"input": kind("ties", drawn.seed, (), drawn.layout, **fields)})


def with_parameters(case: Case, **changes: Any) -> Case:
    return case.changed(parameters={**case.parameters, **changes})


def parameters_of(case: Case) -> dict[str, Any]:
    """The parameters in order, the stride None where it is left out."""
    return {name: case.parameters.get(name) for name in ("kernel_size", "stride", "padding")}


def steps_of(case: Case) -> tuple[int, int]:
    return pair(case.parameters.get("stride", case.parameters["kernel_size"]))


def windows_of(case: Case) -> Iterator[tuple[tuple[int, ...], list[int]]]:
    """Each output's index, and the flat positions that its window holds."""
    shape = case.shapes["input"]
    blank = Tensor([0.0] * math.prod(shape), shape)
    for at in np.ndindex(*case.result_shape):
        yield at, list(pool_window(at, blank, **parameters_of(case)).positions)


def few_planes(case: Case) -> Case:
    """At most two samples and two channels: so that the sampled elements are many of a gradient's."""
    n, c, height, width = case.shapes["input"]
    return case.changed(shapes={"input": (min(n, 2), min(c, 2), height, width)})


def untied_cases() -> st.SearchStrategy[Case]:
    return max_pool2d_cases(places=FEW).map(lambda case: few_planes(holding(case, Untied)))


@dataclass(frozen=True)
class Tied(Texture):
    """In each window 1, 2, 4, ... elements are 3 and the rest is below; what no window holds is 9."""

    pooling: Case | None = None

    def fill(self, shape: tuple[int, ...], fmt: Any, terms: int = 1) -> Argument:
        rng = np.random.default_rng(self.seed)
        values = np.full(math.prod(shape), 9.0)
        for _, positions in windows_of(self.pooling):
            values[positions] = rng.integers(-8, 3, len(positions))
            ties = 2 ** rng.integers(0, len(positions).bit_length())
            values[rng.permutation(positions)[:ties]] = 3.0
        return laid(values.reshape(shape), self.layout)


@st.composite
def tied_cases(draw: Any) -> Case:
    """Windows that do not overlap, each with ties, and integers that come back."""
    case = few_planes(draw(max_pool2d_cases(places=FEW)))
    kernel = pair(case.parameters["kernel_size"])
    apart = tuple(max(sizes) for sizes in zip(kernel, steps_of(case), strict=True))
    case = with_parameters(case, stride=apart)
    return holding(case, Tied, pooling=case).changed(incoming=draw(textures(("integers",))))
