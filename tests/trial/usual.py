"""Usual layers: what networks have, on images and matrices of every size, square or not, in their usual layouts.

A library has code of its own for many of them, chosen by several sizes at once, and it ends where a size is no multiple
of a tile. So sizes are drawn at will, and all elements of a result are compared, by numpy.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

from assay.implementations.arrays import Argument
from assay.tests.trial.cases import ANY_SIZE, Case, kept
from assay.tests.trial.textures import SEEDS, Texture, laid

Pair = tuple[int, int]

# Input and output channels: pairs of which one, both or neither is a multiple of 4, 8, 16 or 32; and those of images.
CHANNELS = ((4, 4), (8, 8), (16, 16), (8, 24), (32, 16), (5, 7), (3, 3), (6, 16), (12, 33), (32, 12), (64, 1), (24, 40))
SQUEEZED = ((8, 2), (3, 5), (16, 4), (5, 3), (12, 8))
COLOURS = ((3, 64), (3, 5), (1, 6), (3, 16), (16, 16))
# Kernel, stride, padding and channels, and who has them.
CONVOLUTIONS = (
    ((3, 3), (1, 1), (1, 1), CHANNELS),  # VGG, ResNet
    ((3, 3), (1, 1), (1, 1), CHANNELS),  # twice, as most layers are such
    ((3, 3), (1, 1), (1, 1), COLOURS),
    ((3, 3), (2, 2), (1, 1), CHANNELS),  # ResNet, MobileNet
    ((3, 3), (2, 2), (1, 1), COLOURS),
    ((1, 1), (1, 1), (0, 0), CHANNELS),
    ((1, 1), (1, 1), (0, 0), SQUEEZED),  # squeeze and excite: images of one place, and now and then a sample a channel
    ((1, 1), (2, 2), (0, 0), CHANNELS),  # ResNet, where it gets smaller
    ((7, 7), (2, 2), (3, 3), COLOURS),  # ResNet, first
    ((3, 3), (1, 1), (0, 0), CHANNELS),  # U-Net
    ((3, 3), (2, 2), (0, 0), COLOURS),  # Inception, first
    ((5, 5), (1, 1), (0, 0), COLOURS),  # LeNet
    ((5, 5), (1, 1), (2, 2), CHANNELS),  # AlexNet, second
    ((11, 11), (4, 4), (2, 2), COLOURS),  # AlexNet, first
    ((1, 7), (1, 1), (0, 3), CHANNELS),  # Inception
    ((7, 1), (1, 1), (3, 0), CHANNELS),
    ((4, 4), (2, 2), (1, 1), CHANNELS),  # DCGAN
    ((2, 2), (2, 2), (0, 0), CHANNELS),  # ConvNeXt, between stages
    ((4, 4), (4, 4), (0, 0), COLOURS),  # ConvNeXt, first
    ((16, 16), (16, 16), (0, 0), COLOURS),  # vision transformers
    ((14, 14), (14, 14), (0, 0), COLOURS),
    ((16, 16), (10, 10), (0, 0), COLOURS),  # of spectrograms, whose patches overlap
    ((5, 5), (2, 2), (2, 2), CHANNELS),  # MobileNetV3
    ((8, 8), (4, 4), (0, 0), COLOURS),  # of those that play, from pixels
    ((1, 3), (1, 2), (0, 1), CHANNELS),  # of sound and text, as images of one row
    ((1, 4), (1, 1), (0, 2), CHANNELS),
)
POOLINGS = (
    ((2, 2), (2, 2), (0, 0)),
    ((2, 2), (2, 2), (0, 0)),  # twice, as most are such, and the next
    ((3, 3), (2, 2), (1, 1)),  # ResNet
    ((3, 3), (2, 2), (1, 1)),
    ((3, 3), (2, 2), (0, 0)),  # AlexNet, Inception
    ((3, 3), (1, 1), (1, 1)),
    ((2, 2), (1, 1), (0, 0)),
    ((5, 5), (1, 1), (2, 2)),  # YOLO
    ((9, 9), (1, 1), (4, 4)),  # spatial pyramids
    ((13, 13), (1, 1), (6, 6)),
    ((2, 2), (2, 2), (1, 1)),
    ((3, 3), (3, 3), (1, 1)),
    ((3, 3), (3, 3), (0, 0)),
    ((2, 1), (2, 1), (0, 0)),  # of text in images
    ((2, 2), (2, 1), (0, 1)),
    ((1, 4), (1, 4), (0, 0)),
)
# Of an image: a square of a long side, or a long side by a short one.
LONG = (*range(1, 10), 14, 15, 16, 17, 24, 28, 31, 32, 33, 48, 56, 63, 64, 65, 96, 128)
SHORT = (*range(1, 10), 15, 16, 17)
SAMPLES = (1, 2, 3, 4, 5)
PLANES = (3, 1, 8, 17, 64)
PRODUCTS = 2**20  # of a case, about: the places of an image are cut to that
WEIGHTS = 2**13  # of a layer of any channels
DRAWN = (1, 10), (1, 8), (0, 12)  # kernel, stride and padding of such a layer
BLOCK = 16


@dataclass(frozen=True)
class Blocks(Texture):
    """Blocks of 16 x 16 different integers, the same again and again: no window of at most that size has a tie.

    With an odd seed they are beside each other where the dtype's numbers are one apart: fewer digits tell none from
    the next.
    """

    def fill(self, shape: tuple[int, ...], fmt: Any, terms: int = 1) -> Argument:
        block = np.random.default_rng(self.seed).permutation(BLOCK**2).reshape(BLOCK, BLOCK) - BLOCK**2 / 2.0
        if self.seed % 2 and 2.0**fmt.precision > 2 * BLOCK**2:
            block += 2.0**fmt.precision - BLOCK**2
        rows, columns = (np.arange(size) % BLOCK for size in shape[2:])
        planes = np.arange(math.prod(shape[:2]))[:, None, None]
        return laid(block[(rows[:, None] + planes) % BLOCK, columns].reshape(shape), self.layout)


@dataclass(frozen=True)
class Drawn:
    """What is drawn of a layer besides its kind; ``short`` is None of a square."""

    samples: int
    channels: int
    long: int
    short: int | None
    upright: bool
    biased: bool
    layout: str
    seed: int

    def image(self, kernel: Pair, padding: Pair, places: int) -> Pair:
        """Rows and columns. Of more ``places``: what is left of a square, or of the short side."""
        if self.short is None:
            sides = ((self.long - 1) % max(1, math.isqrt(places)) + 1,) * 2
        else:
            sides = self.long, (self.short - 1) % max(1, places // self.long) + 1
        ordered = sides if self.upright else sides[::-1]
        rows, columns = (max(side, 1, k - 2 * p) for side, k, p in zip(ordered, kernel, padding, strict=True))
        return rows, columns


def _drawn_sizes(rng: random.Random) -> tuple[Pair, Pair, Pair]:
    """Kernel, stride and padding of any size in either direction; each one half of the time the same in both."""
    kernel, stride, padding = ((rng.randint(*within), rng.randint(*within)) for within in DRAWN)
    kernel, stride, padding = (size if rng.random() < 0.5 else (size[0],) * 2 for size in (kernel, stride, padding))
    return kernel, kernel if rng.random() < 0.5 else stride, padding


def _any_convolution(rng: random.Random) -> Any:
    """A layer that nobody has, of few enough products a place."""
    kernel, stride, padding = _drawn_sizes(rng)
    inputs = rng.randint(1, 40)
    outputs = rng.randint(1, min(40, WEIGHTS // (inputs * math.prod(kernel))))
    return kernel, stride, tuple(p % (k + 3) for p, k in zip(padding, kernel, strict=True)), ((inputs, outputs),)


def _any_pooling(rng: random.Random) -> Any:
    kernel, stride, padding = _drawn_sizes(rng)
    return kernel, stride, tuple(p % (k // 2 + 1) for p, k in zip(padding, kernel, strict=True))


@kept
def usual_cases(operator: str, layouts: tuple[str, ...] = ("contiguous", "channels_last", "offset")) -> Any:
    """Layers of ``conv2d`` or ``max_pool2d``, a third of them of any sizes; all tensors in one of these layouts.

    All of a case comes from one seed: of several choices Hypothesis prefers a few, and here rare meetings are looked
    for.
    """
    return SEEDS.map(partial(_usual_case, operator, layouts))


def _usual_case(operator: str, layouts: tuple[str, ...], seed: int) -> Case:
    rng, (layers, any_layer, case_of) = random.Random(seed), OF[operator]
    layer = rng.choice(layers) if rng.random() < 2 / 3 else any_layer(rng)
    short = rng.choice(SHORT) if rng.random() < 2 / 3 else None
    upright, biased = rng.random() < 0.5, rng.random() < 0.5
    sides = (rng.choice(LONG), short, upright, biased)
    return case_of(layer, Drawn(rng.choice(SAMPLES), rng.randrange(60), *sides, rng.choice(layouts), seed))


def as_given(rng: random.Random, size: Pair, left_out: Pair | None = None) -> Any:
    """A size as callers give it: a pair, one number where both are equal, nothing where it is what that stands for."""
    return rng.choice([size] + [size[0]] * (size[0] == size[1]) + [None, None] * (size == left_out))


def _conv2d(layer: Any, drawn: Drawn) -> Case:
    kernel, stride, padding, channels = layer
    inputs, outputs = channels[drawn.channels % len(channels)]
    of_a_place = max(1, drawn.samples * inputs * outputs * math.prod(kernel) // math.prod(stride))
    image = drawn.image(kernel, padding, PRODUCTS // of_a_place) if channels is not SQUEEZED else (1, 1)
    samples = outputs if channels is SQUEEZED and drawn.upright else drawn.samples
    shapes: dict[str, Any] = {"input": (samples, inputs, *image), "weight": (outputs, inputs, *kernel)}
    shapes |= {"bias": (outputs,)} if drawn.biased else {}
    textures = {name: Texture("tiled integers", drawn.seed + k, (), drawn.layout) for k, name in enumerate(shapes)}
    rng = random.Random(f"as given {drawn.seed}")
    parameters = {"stride": as_given(rng, stride), "padding": as_given(rng, padding)}
    return Case("conv2d", shapes, textures, parameters, inputs * math.prod(kernel), drawn.seed)


def _max_pool2d(layer: Any, drawn: Drawn) -> Case:
    kernel, stride, padding = layer
    planes = PLANES[drawn.channels % len(PLANES)]
    image = drawn.image(kernel, padding, PRODUCTS // (drawn.samples * planes * math.prod(kernel)))
    textures = {"input": Blocks("ties", drawn.seed, (), drawn.layout)}
    rng = random.Random(f"as given {drawn.seed}")
    parameters = {name: as_given(rng, size) for name, size in (("kernel_size", kernel), ("padding", padding))}
    parameters["stride"] = as_given(rng, stride, left_out=kernel)
    overlapping = math.prod(-(-k // s) for k, s in zip(kernel, stride, strict=True))
    return Case("max_pool2d", {"input": (drawn.samples, planes, *image)}, textures, parameters, overlapping, drawn.seed)


OF: Any = {
    "conv2d": (CONVOLUTIONS, _any_convolution, _conv2d),
    "max_pool2d": (POOLINGS, _any_pooling, _max_pool2d),
}
# Axes before the features: a vector, one token, one sample of one token, sequences, as many samples as tokens.
LEADING = ((), (1,), (1, 1), (2,), (3, 3), (5, 2), (16,), (2, 7), (1, 2, 3), (4, 4), (33,), (65,), (2, 16))
FEATURES = (*range(1, 18), 20, 24, 31, 32, 33, 48, 63, 64, 65, 96, 100, 127, 128, 129)
# What the fastest code of all takes, on matrix units.
ALIGNED, ALIGNED_ROWS = (8, 16, 32, 64, 128), ((16,), (32,), (2, 32), (64,), (128,))
OF_X = ("contiguous", "contiguous", "swapped", "transposed", "expanded")
OF_WEIGHTS = ("contiguous", "contiguous", "transposed")  # as stored by whoever computes x w
BETAS: tuple[Any, ...] = (None, None, 1.0, 0.5, -2.0)


@kept
def usual_matrices(operator: str) -> Any:
    """Layers of ``linear``, ``glu`` or ``swiglu``; half of them of aligned sizes, a quarter with square weights."""
    among, sizes = st.sampled_from, st.sampled_from(FEATURES) | st.sampled_from(ANY_SIZE)
    leading = among(LEADING) | st.tuples(among(ANY_SIZE)) | st.tuples(among(SAMPLES), among(ANY_SIZE))
    biases = (("b",), ()) if operator == "linear" else (("b", "c"), ("b",), ("c",), ())
    layouts = st.tuples(among(OF_X), among(OF_WEIGHTS))
    outputs = st.none() | sizes
    of_any = st.builds(partial(_matrices, operator), leading, sizes, outputs, among(biases), layouts, SEEDS)
    aligned = (among(each) for each in (ALIGNED_ROWS, ALIGNED, ALIGNED))
    return of_any | st.builds(partial(_matrices, operator), *aligned, among(biases), layouts, SEEDS)


@kept
def usual_activations() -> Any:
    """swish of what a layer gives."""
    drawn = [st.sampled_from(each) for each in (LEADING, FEATURES, OF_X, BETAS)]
    return st.builds(_activations, *drawn, SEEDS)


def _activations(leading: Any, features: int, layout: str, beta: float | None, seed: int) -> Case:
    texture = Texture("normal", seed, (), layout)
    return Case("swish", {"x": (*leading, features)}, {"x": texture}, {} if beta is None else {"beta": beta}, 1, seed)


def _matrices(
    operator: str, leading: Any, features: int, outputs: int | None, biases: Any, layouts: Any, seed: int
) -> Case:
    weights, family = ("w", "integers") if operator == "linear" else ("wv", "normal")
    shapes: dict[str, Any] = {"x": (*leading, features)}
    shapes |= {name: (outputs or features, features) for name in weights}
    shapes |= {name: (outputs or features,) for name in biases}
    lying = {"x": layouts[0], "w": layouts[1], "v": layouts[1]}
    textures = {name: Texture(family, seed + k, (), lying.get(name, "contiguous")) for k, name in enumerate(shapes)}
    return Case(operator, shapes, textures, {}, features, seed)
