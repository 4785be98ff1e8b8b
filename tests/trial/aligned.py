"""Aligned layers: sizes that are multiples of 8 and 16, and a thousand elements, which is what fast code is chosen for.

Whoever remembers, writes to an input, or reads memory in an order of its own may do so there alone.
"""

from __future__ import annotations

import random
from functools import partial
from typing import Any

from hypothesis import strategies as st

from assay.tests.trial.cases import Case, kept
from assay.tests.trial.textures import SEEDS, Texture
from assay.tests.trial.usual import Blocks

ROWS = ((32,), (2, 16), (64,), (1, 48), (3, 16))
FEATURES, OUTPUTS = (16, 32, 48), (32, 64, 48)
CHANNELS = ((16, 16), (16, 32), (32, 16), (32, 32))
# Kernel, stride, padding and sides of the image.
CONVOLUTIONS = (
    (3, 1, 1, (4, 8)),
    (3, 1, 1, (8, 4)),
    (1, 1, 0, (8, 4)),
    (3, 2, 1, (9, 8)),
    (2, 2, 0, (8, 8)),
    (8, 8, 0, (16, 16)),
)
POOLINGS = ((2, 2, 0, (8, 16)), (3, 2, 1, (9, 16)), (3, 1, 1, (8, 8)), (1, 2, 0, (8, 16)), (2, None, 0, (16, 8)))
ELEMENTS = ((1024,), (2, 8, 65), (4, 16, 16, 1), (33, 32), (2, 12, 44))
LAID = ("contiguous", "contiguous", "contiguous", "channels_last", "transposed", "swapped", "swapped_last")


@kept
def aligned_cases(operator: str, families: tuple[str, ...], untied: bool = False) -> st.SearchStrategy[Case]:
    """Such layers of an operator, all from one seed; few incoming gradients are not zero.

    Pooling ``untied`` has different numbers in each window.
    """
    return SEEDS.map(partial(_case, operator, families, untied))


def _case(operator: str, families: tuple[str, ...], untied: bool, seed: int) -> Case:
    rng = random.Random(f"aligned {operator} {seed}")
    shapes, parameters, terms = ALIGNED_LAYERS[operator](rng)
    if operator in ("glu", "swiglu"):  # numbers of one sign close all gates, or open them, and gradients vanish
        families = ("normal",)
    textures: dict[str, Any] = {
        name: Texture(rng.choice(families), seed + k, (), rng.choice(LAID)) for k, name in enumerate(shapes)
    }
    if operator == "max_pool2d" and untied:
        textures["input"] = Blocks("ties", seed, (), rng.choice(LAID))
    return Case(operator, shapes, textures, parameters, terms, seed, Texture("few", seed))


def _swish(rng: random.Random) -> Any:
    shapes, beta = {"x": rng.choice(ELEMENTS)}, rng.choice((None, None, 0.5, "learned"))
    if beta == "learned":
        return {**shapes, "beta": (1,)}, {}, 1
    return shapes, {} if beta is None else {"beta": beta}, 1


def _matrices(weights: str, biases: str, rng: random.Random) -> Any:
    features, outputs = rng.choice(FEATURES), rng.choice(OUTPUTS)
    shapes = {"x": (*rng.choice(ROWS), features), **dict.fromkeys(weights, (outputs, features))}
    return shapes | {bias: (outputs,) for bias in biases if rng.random() < 0.7}, {}, features


def _pad2d(rng: random.Random) -> Any:
    return {"x": (2, 8, *rng.choice(((8, 16), (16, 8))))}, {"padding": rng.choice((1, 2, 3))}, 1


def _conv2d(rng: random.Random) -> Any:
    (inputs, outputs), (kernel, stride, padding, image) = rng.choice(CHANNELS), rng.choice(CONVOLUTIONS)
    inputs = 3 if kernel == 8 else inputs  # of a vision transformer
    shapes = {"input": (rng.choice((1, 2, 3, 5)), inputs, *image), "weight": (outputs, inputs, kernel, kernel)}
    shapes |= {"bias": (outputs,)} if rng.random() < 0.7 else {}
    return shapes, {"stride": stride, "padding": padding}, inputs * kernel**2


def _max_pool2d(rng: random.Random) -> Any:
    kernel, stride, padding, image = rng.choice(POOLINGS)
    shape = (rng.choice((1, 2, 3)), rng.choice((8, 16, 32)), *image)
    return {"input": shape}, {"kernel_size": kernel, "stride": stride, "padding": padding}, 9


ALIGNED_LAYERS: Any = {
    "swish": _swish,
    "linear": partial(_matrices, "w", "b"),
    "glu": partial(_matrices, "wv", "bc"),
    "swiglu": partial(_matrices, "wv", "bc"),
    "pad2d": _pad2d,
    "conv2d": _conv2d,
    "max_pool2d": _max_pool2d,
}
