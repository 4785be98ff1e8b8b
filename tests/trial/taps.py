"""Long kernels and windows, for sweeps: 8 to 33 taps along one axis, of which networks have few; and much padding."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from assay.tests.trial.cases import Case
from assay.tests.trial.textures import Texture
from assay.tests.trial.usual import Blocks

TAPS = range(8, 2**5 + 2)


def long_kernels(rng: random.Random) -> Iterator[Case]:
    """Kernels of many taps along one axis, and few along the other, by few channels; and much padding around few.

    It is at most four elements more than the kernel's: an FFT has room for that.
    """
    for taps, channels, across in product(TAPS, ((1, 2, 3, 12), (4,), (8,)), range(2)):
        short = rng.choice((1, 1, 2, 3))
        image = [taps + rng.randint(0, 9), short + rng.randint(0, 2)]
        axes = [taps, short], image, [rng.choice((0, taps // 2)), 0]
        yield _unpatched(rng, rng.choice(channels), *(each[::-1] if across else each for each in axes))
    for padding, across in product(range(4, 17), range(2)):
        taps, image = rng.randint(padding - 3, padding), [rng.randint(1, 9), rng.randint(1, 9)]
        axes = [taps, 1], image, [padding, rng.choice((0, 4))]
        yield _unpatched(rng, rng.choice((1, 3, 16)), *(each[::-1] if across else each for each in axes))
    # Windows from whose first place to their last there are more than 2^16.
    yield _unpatched(rng, 1, [65, 1], [67, 1100], [0, 0])
    for across in range(2):  # more places in a row than a block may hold, and rows of padding alone
        axes = [3, 3], [4100 + rng.randint(0, 9), rng.randint(2, 4)], [1, 2]
        yield _unpatched(rng, 1, *(each[::-1] if across else each for each in axes))


def _unpatched(rng: random.Random, inputs: int, kernel: list[int], image: list[int], padding: list[int]) -> Case:
    shapes = {"input": (1, inputs, *image), "weight": (rng.randint(1, 4), inputs, *kernel)}
    return of_integers(rng, shapes, {"stride": 1, "padding": tuple(padding)})


def of_integers(rng: random.Random, shapes: dict[str, Any], parameters: dict[str, Any]) -> Case:
    """A case of conv2d, all of whose numbers are small integers."""
    textures = {name: Texture("integers", rng.randrange(2**16)) for name in shapes}
    return Case("conv2d", shapes, textures, parameters, math.prod(shapes["weight"][1:]), rng.randrange(2**16))


def long_windows(rng: random.Random) -> Iterator[Case]:
    """Of many rows, or columns, and few of the other, which overlap, touch or stand apart; with any padding.

    No two elements of a plane are alike, nor planes: of one or another the largest is at a window's end. And planes
    that have more than 2^14, 2^15 and 2^16 places once they are padded; and windows from whose first place to their
    last there are more than 2^16, as of all rows of a spectrogram.
    """
    for number, (taps, across) in enumerate(product(TAPS, range(2))):
        kernel, stride = [taps, rng.randint(1, 3)], [rng.choice((1, taps, rng.randint(2, taps + 3))), 1]
        padding = [rng.choice((0, rng.randint(1, taps // 2))), 0]
        image = [max(1, taps - 2 * padding[0]) + rng.randint(0, 2) * stride[0] + rng.randint(0, 3), kernel[1]]
        kernel, stride, padding, image = (each[::-1] if across else each for each in (kernel, stride, padding, image))
        sizes = {"kernel_size": tuple(kernel), "stride": tuple(stride), "padding": tuple(padding)}
        shape = (1, 33 + number % 32, *image)
        values = np.random.default_rng(rng.randrange(2**16)).random((shape[1], math.prod(image))).argsort(-1)
        texture = Texture("ties").holding((values - math.prod(image) // 2).reshape(shape) * 1.0, 1)
        yield Case("max_pool2d", {"input": shape}, {"input": texture}, sizes, 2**8, rng.randrange(2**16))
    for image in ([127, 128], [181, 181], [255, 256]):
        sizes = {"kernel_size": 3, "stride": rng.choice((1, 2)), "padding": 1}
        texture = Blocks("ties", rng.randrange(2**16))
        yield Case("max_pool2d", {"input": (1, 1, *image)}, {"input": texture}, sizes, 2**8, rng.randrange(2**16))
    image, kernel = (65, 1100), (65, 2)
    values = np.random.default_rng(rng.randrange(2**16)).integers(-100, 100, image) * 1.0
    values[np.arange(0, 1100, 2) % 65, np.arange(0, 1100, 2) + rng.randrange(2)] = 200.0  # one in each window
    texture, sizes = Texture("ties").holding(values[None, None], 1), {"kernel_size": kernel, "stride": (1, 2)}
    yield Case("max_pool2d", {"input": (1, 1, *image)}, {"input": texture}, sizes, 2**8, rng.randrange(2**16))
