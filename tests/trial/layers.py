"""A few layers of each operator, in the sizes that laws of all operators ask about. A new operator has its own here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from assay.reference.tensor import Index
from assay.spec import OPERATORS
from assay.tests.trial.cases import Case
from assay.tests.trial.textures import Texture
from assay.tests.trial.usual import Blocks

Shapes = dict[str, Index]
Layer = tuple[Shapes, dict[str, Any]]  # the shapes of its tensors, and its parameters


@dataclass(frozen=True)
class Layers:
    """One operator's layers.

    small: a few elements.
    spread: a thousand elements, of four axes where it takes them.
    lasting: a thousand elements or more, and weights of thousands; it is called hundreds of times.
    wide: 2^16 elements and more, given and returned; of images and samples that fit into the input.
    mannered: as many, of shapes for which libraries have code of its own: one row, many outputs, other axes.
    leaving, left: what leaves numbers in a buffer, and what is smaller and of no multiple of a tile.
    """

    small: Layer
    spread: Layer
    lasting: Layer
    wide: Layer
    mannered: tuple[Layer, ...]
    leaving: tuple[Layer, ...]
    left: tuple[Layer, ...]


def matrices(names: str, features: Index, outputs: int) -> Shapes:
    """The shapes of these of x, w, v, b and c; ``features`` of x, whatever axes stand before them."""
    weights, biases = dict.fromkeys("wv", (outputs, features[-1])), dict.fromkeys("bc", (outputs,))
    of_all: Shapes = {"x": features, **weights, **biases}
    return {name: of_all[name] for name in names}


def convolution(image: Index, outputs: int, sides: int, biased: bool = True) -> Shapes:
    """The shapes of an image and of a square kernel, and of a bias."""
    weight = (outputs, image[1], sides, sides)
    return {"input": image, "weight": weight, **({"bias": (outputs,)} if biased else {})}


def completed(operator: str, shapes: Mapping[str, Index]) -> Shapes:
    """With the tensors that are left out: biases, or beta."""
    outputs = next((shapes[name][:1] for name in ("w", "weight") if name in shapes), (1,))
    return {**dict.fromkeys(OPERATORS[operator].tensors, outputs), **shapes}


# Rows, features and outputs.
MANNERED = ((257, 264, 264), (1, 1056, 72), (5, 24, 520), (4200, 6, 3))
LEAVING, LEFT = ((1, 300, 80), (3, 300, 80), (264, 300, 8)), ((1, 6, 5), (1, 37, 33), (3, 37, 5), (264, 261, 8))


def of_matrices(names: str, unbiased: str) -> Layers:
    """Layers of an operator of matrices: the names of its tensors, and of those that the larger ones have."""

    def layer(names: str, x: Index, outputs: int) -> Layer:
        return matrices(names, x, outputs), {}

    def several(sizes: tuple[Index, ...]) -> tuple[Layer, ...]:
        return tuple(layer(names, (rows, features), outputs) for rows, features, outputs in sizes)

    return Layers(
        small=layer(names, (3, 4), 5),
        spread=layer(names, (2, 3, 8, 24), 40),
        lasting=layer(unbiased, (8, 128), 128),
        wide=layer(unbiased, (260, 256), 256),
        mannered=(*several(MANNERED), layer(names.rstrip("bc"), (1, 1000), 40)),
        leaving=several(LEAVING),
        left=several(LEFT),
    )


PADDED: dict[str, Any] = {"stride": 1, "padding": 1}
LAYERS: Mapping[str, Layers] = {
    "swish": Layers(
        small=({"x": (3, 5)}, {}),
        spread=({"x": (2, 3, 9, 24)}, {"beta": -1.5}),
        lasting=({"x": (3, 37, 38)}, {"beta": -1.5}),
        wide=({"x": (4, 128, 130)}, {"beta": -1.5}),
        mannered=(
            ({"x": (16, 128, 130), "beta": ()}, {}),
            ({"x": (4, 128, 130)}, {"beta": -1.5}),
            ({"x": (96, 96)}, {}),
        ),
        leaving=(({"x": (1031,)}, {"beta": -1.5}),),
        left=(({"x": (37,)}, {"beta": -1.5}), ({"x": (6,)}, {"beta": -1.5})),
    ),
    "linear": of_matrices("xwb", "xwb"),
    "glu": of_matrices("xwvbc", "xwv"),
    "swiglu": of_matrices("xwvbc", "xwv"),
    "pad2d": Layers(
        small=({"x": (2, 3, 5, 6)}, {"padding": 1}),
        spread=({"x": (2, 4, 24, 26)}, {"padding": 1}),
        lasting=({"x": (2, 3, 14, 15)}, {"padding": 1}),
        wide=({"x": (2, 8, 64, 66)}, {"padding": 1}),
        mannered=(
            ({"x": (2, 8, 64, 66)}, {"padding": 1}),
            ({"x": (16, 128, 130)}, {"padding": 6}),
            ({"x": (2, 3, 4, 8, 10)}, {"padding": 1}),
        ),
        leaving=(({"x": (2, 9, 20, 22)}, {"padding": 1}),),
        left=(({"x": (1, 3, 5, 6)}, {"padding": 1}),),
    ),
    "conv2d": Layers(
        small=(convolution((2, 3, 5, 6), 4, 3), PADDED),
        spread=(convolution((3, 8, 9, 10), 16, 3), PADDED),
        lasting=(convolution((2, 32, 8, 8), 64, 3, biased=False), PADDED),
        wide=(convolution((9, 16, 22, 24), 16, 3, biased=False), PADDED),
        mannered=(
            (convolution((2, 64, 9, 10), 128, 3), PADDED),
            (convolution((2, 24, 9, 10), 24, 3), PADDED),
            # Of 1 x 1 with steps and fewer channels PyTorch's dies: docs/findings.md, 9.
            (convolution((2, 16, 92, 94), 20, 1), {"stride": 2, "padding": 0}),
            (convolution((2, 96, 5, 6), 68, 1), {"stride": 1, "padding": 0}),
            (convolution((1, 272, 5, 6), 12, 3), PADDED),
        ),
        leaving=((convolution((2, 17, 12, 13), 9, 3), PADDED),),
        left=((convolution((1, 3, 5, 6), 5, 3), PADDED),),
    ),
    "max_pool2d": Layers(
        small=({"input": (2, 3, 6, 8)}, {"kernel_size": 2}),
        spread=({"input": (2, 8, 12, 11)}, {"kernel_size": 2, "stride": 2, "padding": 0}),
        lasting=({"input": (2, 8, 17, 17)}, {"kernel_size": 2, "stride": 1}),
        wide=({"input": (2, 16, 66, 66)}, {"kernel_size": 2, "stride": 1}),
        mannered=tuple(
            ({"input": (images, 8, 34, 128)}, parameters)
            for images, parameters in (
                (2, {"kernel_size": 2, "stride": 2}),
                (8, {"kernel_size": 3, "stride": 1, "padding": 1}),
                (2, {"kernel_size": 4, "stride": 4}),
            )
        ),
        leaving=(({"input": (2, 9, 20, 22)}, {"kernel_size": 3, "padding": 1}),),
        left=(({"input": (1, 3, 5, 6)}, {"kernel_size": 3, "padding": 1}),),
    ),
}


def of_integers(operator: str, shapes: Mapping[str, Index], parameters: Mapping[str, Any]) -> Case:
    """A layer of integers so small that sums of their products are exact."""
    textures = {name: Texture("tiled integers", k) for k, name in enumerate(shapes)}
    terms = math.prod(next((shapes[name][1:] for name in ("w", "weight") if name in shapes), ()))
    return Case(operator, shapes, textures, parameters, terms)


def of_reals(operator: str, shapes: Mapping[str, Index], parameters: Mapping[str, Any], seed: int = 0) -> Case:
    """A layer of normal numbers; in pooling no window has a tie."""
    textures: dict[str, Any] = {name: Texture("normal", seed + k) for k, name in enumerate(shapes)}
    if operator == "max_pool2d":
        textures["input"] = Blocks("ties", seed)
    return of_integers(operator, shapes, parameters).changed(textures=textures)


def wide(operator: str) -> Case:
    """The layer of 2^16 elements, of normal numbers, to which few incoming gradients come back."""
    return of_reals(operator, *LAYERS[operator].wide).changed(incoming=Texture("few", 5))


def lasting(operator: str, **shapes: Index) -> Case:
    """The layer for a while, of normal numbers; some tensors may have other shapes, or be there besides."""
    own, parameters = LAYERS[operator].lasting
    return of_reals(operator, {**own, **shapes}, parameters).changed(pick=7, incoming=Texture("few", 3))


def of_samples(operator: str, count: int) -> Case:
    """The layer for a while, of so many samples."""
    first = OPERATORS[operator].tensors[0]
    return lasting(operator, **{first: (count, *LAYERS[operator].lasting[0][first][1:])})


def spread(operator: str, seed: int) -> Case:
    """The layer of four axes, of normal numbers."""
    return of_reals(operator, *LAYERS[operator].spread, seed).changed(pick=seed, incoming=Texture("few", seed + 9))


# Kernels, strides and paddings for which layers of images have code of their own, beside those of `spread`.
ALIGNED: Mapping[str, tuple[tuple[Shapes, dict[str, Any]], ...]] = {
    "conv2d": (
        ({"weight": (16, 8, 1, 1)}, {"stride": 1, "padding": 0}),
        ({"weight": (16, 8, 2, 2)}, {"stride": 2, "padding": 0}),
    ),
    "max_pool2d": (
        ({}, {"kernel_size": 3, "stride": 2, "padding": 1}),
        ({}, {"kernel_size": 3, "stride": 1, "padding": 0}),
    ),
    **dict.fromkeys(("linear", "glu", "swiglu"), (({"x": (6, 8, 24)}, {}), ({"x": (1, 24)}, {}))),
}


def aligned(operator: str) -> Iterator[Case]:
    """Small layers of aligned sizes."""
    case = spread(operator, 0)
    yield case
    for shapes, parameters in ALIGNED.get(operator, ()):
        yield case.changed(shapes={**case.shapes, **shapes}, parameters={**case.parameters, **parameters})
