"""The cases that are timed: one literal table, read from top to bottom.

Shapes are by tensor name. A case belongs to its set and to every larger one: quick is for a look, full is everything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from assay.reference.arithmetic.formats import STORAGE
from assay.reference.tensor import Index
from assay.spec import OPERATORS
from assay.tests.trial.cases import Case

SETS = ("quick", "standard", "full")
DTYPES = {
    "quick": ("float32",),
    "standard": ("float32", "bfloat16"),
    "full": tuple(STORAGE),
}
FORWARD, BACKWARD = "forward", "backward"


@dataclass(frozen=True)
class Layer:
    """An operator at a size that somebody uses. ``devices`` is where it is worth timing; empty means everywhere."""

    id: str
    operator: str
    words: str
    shapes: Mapping[str, Index]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    smallest: str = "standard"
    devices: tuple[str, ...] = ()

    @property
    def case(self) -> Case:
        """The case that the judge knows: shapes and parameters, and no values."""
        return Case(self.operator, self.shapes, {}, self.parameters)

    @property
    def largest(self) -> int:
        """Elements of the largest tensor, the result among them."""
        return max(math.prod(shape) for shape in (*self.shapes.values(), self.case.result_shape))

    def scale(self, name: str) -> float:
        """What normal numbers are multiplied by for this tensor: weights of a sum of n products by about 1 / sqrt(n).

        A power of two, so that results stay in range in every dtype.
        """
        terms = math.prod(self.shapes[name][1:]) if name in ("w", "v", "weight") else 1
        return 2.0 ** -round(math.log2(terms) / 2)


def _gate(tokens: int, features: int, outputs: int) -> dict[str, Index]:
    return {"x": (tokens, features), "w": (outputs, features), "v": (outputs, features)}


def _conv(inputs: int, outputs: int, kernel: int, size: int) -> dict[str, Index]:
    return {"input": (1, inputs, size, size), "weight": (outputs, inputs, kernel, kernel), "bias": (outputs,)}


LAYERS = (
    Layer(
        "conv2d.documents",
        "conv2d",
        "3 -> 64, 3x3, 224x224",
        _conv(3, 64, 3, 224),
        {"stride": 1, "padding": 1},
        "quick",
    ),
    Layer(
        "conv2d.resnet-stem", "conv2d", "3 -> 64, 7x7 by 2, 224x224", _conv(3, 64, 7, 224), {"stride": 2, "padding": 3}
    ),
    Layer(
        "conv2d.resnet-3x3",
        "conv2d",
        "64 -> 64, 3x3, 56x56",
        _conv(64, 64, 3, 56),
        {"stride": 1, "padding": 1},
        "quick",
    ),
    Layer("conv2d.resnet-1x1", "conv2d", "64 -> 256, 1x1, 56x56", _conv(64, 256, 1, 56)),
    Layer(
        "conv2d.vgg-second",
        "conv2d",
        "64 -> 64, 3x3, 224x224",
        _conv(64, 64, 3, 224),
        {"stride": 1, "padding": 1},
        "full",
    ),
    Layer("max_pool2d.2x2", "max_pool2d", "64, 112x112", {"input": (1, 64, 112, 112)}, {"kernel_size": 2}, "quick"),
    Layer(
        "max_pool2d.3x3-by-2",
        "max_pool2d",
        "64, 112x112",
        {"input": (1, 64, 112, 112)},
        {"kernel_size": 3, "stride": 2, "padding": 1},
    ),
    Layer("swiglu.1024-1", "swiglu", "1024 -> 4096, 1 token", _gate(1, 1024, 4096)),
    Layer("swiglu.1024-16", "swiglu", "1024 -> 4096, 16 tokens", _gate(16, 1024, 4096), {}, "quick"),
    Layer("swiglu.1024-4096", "swiglu", "1024 -> 4096, 4096 tokens", _gate(4096, 1024, 4096), {}, "full", ("cuda",)),
    Layer("swiglu.4096-1", "swiglu", "4096 -> 11008, 1 token", _gate(1, 4096, 11008), {}, "full"),
    Layer("swiglu.4096-16", "swiglu", "4096 -> 11008, 16 tokens", _gate(16, 4096, 11008), {}, "full"),
    Layer("swiglu.4096-4096", "swiglu", "4096 -> 11008, 4096 tokens", _gate(4096, 4096, 11008), {}, "full", ("cuda",)),
    Layer("linear.1024-16", "linear", "1024 -> 4096, 16 tokens", {"x": (16, 1024), "w": (4096, 1024)}, {}, "quick"),
    Layer("pad2d.resnet-3x3", "pad2d", "64, 56x56, by 1", {"x": (1, 64, 56, 56)}, {"padding": 1}),
    Layer("swish.million", "swish", "2^20 elements", {"x": (2**20,)}, {}, "quick"),
    Layer("glu.million", "glu", "2^20 results, 64 -> 1024", _gate(1024, 64, 1024)),
)


@dataclass(frozen=True)
class Timed:
    """One line of the result: a layer in a dtype, forward alone, or forward and backward together."""

    layer: Layer
    dtype: str
    direction: str

    @property
    def id(self) -> str:
        """The name by which runs are compared."""
        return f"{self.layer.id}-{self.dtype}-{self.direction}"

    def cost(self, itemsize: int) -> tuple[int, int]:
        """(operations, least bytes). Going back, each product has two more, and inputs and result are moved again.

        What going back moves at least: the incoming gradient and the inputs are read, one gradient an input is written.
        """
        shapes = self.layer.shapes
        operations, moved = OPERATORS[self.layer.operator].cost(shapes, self.layer.parameters, itemsize)
        if self.direction == FORWARD:
            return operations, moved
        inputs = sum(math.prod(shape) for shape in shapes.values()) * itemsize
        return 3 * operations, 2 * moved + inputs


def chosen(size: str, device: str, operators: tuple[str, ...], dtypes: tuple[str, ...], only: str = "") -> list[Timed]:
    """The lines of a set on a device: quick goes forward alone, the others back as well."""
    kept = [layer for layer in LAYERS if SETS.index(layer.smallest) <= SETS.index(size)]
    kept = [layer for layer in kept if layer.operator in operators and only in layer.id]
    kept = [layer for layer in kept if not layer.devices or device.split(":")[0] in layer.devices]
    directions = (FORWARD,) if size == "quick" else (FORWARD, BACKWARD)
    return [Timed(layer, dtype, way) for layer in kept for dtype in dtypes for way in directions]
