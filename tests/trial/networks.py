"""Layers of networks, whole: what is wrong in few places of them is sampled by nobody."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from itertools import product
from typing import Any

from assay.tests.trial.cases import Case
from assay.tests.trial.textures import Texture
from assay.tests.trial.usual import Blocks

# Samples, rows and features, and outputs.
MATRICES = (
    ((4, 50, 64), 192),
    ((300, 32), 40),
    ((1, 17, 96), 97),
    ((8, 197, 24), 40),
    ((2, 14, 14, 32), 48),
    ((2, 3, 4, 4, 5), 7),
    ((600, 16), 72),
    ((4200, 6), 5),
    ((1, 8200), 130),
    ((4, 25, 8), 100),
    ((40, 24), 4200),
    ((70, 1100), 36),
    ((8, 640), 24),
    ((9, 768), 16),
    ((5, 1280), 40),
)
# Input, kernels, stride and padding.
CONVOLUTIONS = (
    ((5, 64, 7, 7), (64, 1, 1), 1, 0),
    ((6, 16, 14, 14), (64, 3, 3), 1, 1),
    ((4, 3, 32, 32), (32, 16, 16), 16, 0),
    ((2, 3, 29, 45), (32, 14, 14), 14, 0),
    ((2, 3, 64, 64), (32, 7, 7), 2, 3),
    ((2, 8, 56, 56), (16, 3, 3), 1, 1),
    ((1, 3, 224, 224), (4, 3, 3), 1, 1),
    ((1, 2, 264, 260), (2, 3, 3), 1, 1),
    ((1, 16, 208, 208), (16, 3, 3), 1, 1),
    ((1, 64, 14, 14), (256, 1, 1), 1, 0),
    ((1, 24, 14, 14), (144, 1, 1), 1, 0),
    ((2, 64, 8, 8), (128, 1, 1), 2, 0),
    ((2, 16, 5, 5), (4, 1, 1), 1, 1),
    ((48, 16, 7, 7), (16, 3, 3), 1, 1),
    ((2, 64, 7, 7), (32, 3, 3), 1, 1),
    ((1, 1, 1, 4000), (32, 1, 10), (1, 5), 0),
    ((1, 4, 72, 72), (4, 31, 31), 1, 15),
    ((1, 16, 13, 13), (255, 1, 1), 1, 0),
    ((1, 120, 7, 7), (8, 3, 3), 1, 1),
    ((1, 184, 5, 5), (6, 1, 1), 1, 0),
    ((2, 32, 16, 20), (32, 3, 3), (2, 1), 1),
    ((1, 4, 64, 96), (4, 3, 3), 1, 1),
    ((1, 3, 30, 30), (8, 7, 7), 4, 3),
    ((1, 3, 190, 180), (4, 7, 7), 4, 3),
    ((3, 32, 40, 40), (16, 3, 3), 1, 1),
    ((100, 3, 32, 32), (4, 3, 3), 1, 1),
    ((1, 64, 14, 14), (64, 3, 3), 1, 1),
)
# Input, window, stride and padding.
POOLINGS = (
    ((3, 16, 64, 96), 2, None, 0),
    ((2, 24, 56, 56), 3, 1, 1),
    ((2, 32, 112, 112), 3, 2, 1),
    ((2, 4, 147, 147), 3, 2, 0),
    ((1, 8, 16, 100), (1, 12), (1, 5), 0),
    ((1, 70, 9, 12), 2, None, 0),
    ((1, 2, 260, 264), 3, 2, 1),
    ((1, 4, 70, 70), 9, 1, 4),
    ((1, 3, 13, 13), 13, 1, 6),
    ((1, 8, 64, 40), 2, (2, 1), 0),
)
# Input and padding.
PADDINGS = (
    ((1, 3, 224, 224), 3),
    ((2, 8, 48, 56), 2),
    ((1, 2, 64, 64), 4),
    ((1, 1, 3, 513), 2),
    ((1, 1, 2, 769), 3),
    ((2, 1, 28, 28), 2),
    ((1, 3, 58, 60), 3),
)
SMALL = 2**18  # products, up to which a layer comes with and without biases, in either layout


def untied(case: Case) -> Case:
    """The case; in pooling with numbers that are different in each window, and terms for as many that overlap."""
    if case.operator != "max_pool2d":
        return case
    return case.changed(textures={"input": Blocks("ties", case.pick, (), case.textures["input"].layout)}, terms=2**8)


def layers(operator: str, rng: random.Random) -> Iterator[Case]:
    """All of an operator: with biases and without, as they lie and channels-last; a large one in one layout."""
    for case in KNOWN_LAYERS[operator]:
        biases = [name for name in ("b", "c", "bias") if name in case.shapes]
        layouts = ("contiguous", "channels_last") if "input" in case.shapes or operator == "pad2d" else ("contiguous",)
        ways = list(product((True, False) if biases else (False,), layouts))
        for biased, layout in ways if _products(case) <= SMALL else [rng.choice(ways[: len(layouts)])]:
            pick, family = rng.randrange(2**16), "tiled normal" if operator in ("glu", "swiglu") else "tiled integers"
            shapes = {name: shape for name, shape in case.shapes.items() if biased or name not in biases}
            textures = {name: Texture(family, pick + k, (), layout) for k, name in enumerate(shapes)}
            yield untied(case.changed(shapes=shapes, textures=textures, pick=pick))


def _products(case: Case) -> int:
    return math.prod(case.result_shape) * case.terms


def _dense(operator: str, leading: tuple[int, ...], outputs: int) -> Case:
    weights, biases = ("w", "b") if operator == "linear" else ("wv", "bc")
    shapes = {"x": leading, **dict.fromkeys(weights, (outputs, leading[-1])), **dict.fromkeys(biases, (outputs,))}
    return Case(operator, shapes, {}, {}, leading[-1])


def _convolution(image: tuple[int, ...], kernels: tuple[int, ...], stride: Any, padding: int) -> Case:
    shapes = {"input": image, "weight": (kernels[0], image[1], *kernels[1:]), "bias": kernels[:1]}
    terms = image[1] * kernels[1] * kernels[2]
    return Case("conv2d", shapes, {}, {"stride": stride, "padding": padding}, terms)


def _pooling(image: tuple[int, ...], kernel: Any, stride: Any, padding: int) -> Case:
    return Case("max_pool2d", {"input": image}, {}, {"kernel_size": kernel, "stride": stride, "padding": padding})


KNOWN_LAYERS = {
    **{operator: [_dense(operator, *layer) for layer in MATRICES] for operator in ("linear", "glu", "swiglu")},
    "conv2d": [_convolution(*layer) for layer in CONVOLUTIONS],
    "max_pool2d": [_pooling(*layer) for layer in POOLINGS],
    "pad2d": [Case("pad2d", {"x": planes}, {}, {"padding": padding}) for planes, padding in PADDINGS],
}
