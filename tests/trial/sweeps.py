"""Sweeps: a size takes each value up to some most in turn, or two do together; a kernel, a stride and a padding do.

Or layers of networks come one after the other, whole: what is wrong in few places is sampled by nobody.

Who handles what is left over from tiles wrongly does so at one size in 64, say. Sizes that are drawn meet that now and
then; a sweep always does, and its calls are small.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import islice, product
from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from assay.tests.trial import simplify, waivers
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.cases import Case
from assay.tests.trial.large import AXES, SEEDS, SHAPED, USUAL
from assay.tests.trial.mixtures import MIXTURES, mixtures
from assay.tests.trial.networks import KNOWN_LAYERS, layers, untied
from assay.tests.trial.patterned import PATTERNED, PATTERNS, patterned
from assay.tests.trial.taps import long_kernels, long_windows, of_integers
from assay.tests.trial.textures import Texture
from assay.tests.trial.usual import Blocks, as_given

Law = Callable[..., None]
Setting = tuple[int, int, int]  # kernel, stride, padding

# Which axes take every size, or two do together, and up to which.
FEW, SIDES, ROWS, ELEMENTS = 9, 2**6 + 1, 2**7 + 1, 2**8 + 1
_MATRIX = ("rows", "features", "outputs")
_PLANE = ("rows", "columns")
SWEPT: dict[str, dict[str, int]] = {
    "swish": {"elements": ELEMENTS, "tokens": SIDES},
    "linear": {
        **dict.fromkeys(_MATRIX, ROWS),
        "samples": SIDES,
        **dict.fromkeys(("rows features", "rows outputs", "features outputs"), FEW),
    },
    "glu": dict.fromkeys((*_MATRIX, "samples"), SIDES),
    "pad2d": dict.fromkeys((*_PLANE, "planes"), SIDES),
    "conv2d": {
        **dict.fromkeys(("samples", "inputs", "outputs", *_PLANE), SIDES),
        **dict.fromkeys(("inputs outputs", "rows columns"), FEW),
    },
    "max_pool2d": {
        **dict.fromkeys(("samples", "planes", *_PLANE), SIDES),
        "rows columns": FEW,
    },
}
SWEPT["swiglu"] = SWEPT["glu"]
OTHERS = (1, 2, 3, 4, 5)
POWERS = (1, 2, 4, 8, 16)
PATCHES, STEPS = range(8, 17), range(5, 13)  # of large windows, which overlap or not
BEYOND = (*range(2**7 + 1, 2**7 + 9), 2**8 + 1, 2**8 + 2, 2**8 + 3)  # places, as of large pictures, with any rest
# Most are multiples of 32; a thousand are classes.
OF_NETWORKS = (96, 160, 184, 192, 224, 288, 320, 384, 448, 480, 640, 696, 1000)


@dataclass(frozen=True)
class Sweep:
    """Axes that take every size, or one in so many, in a usual setting, or (0) in none; the rest is the seed's."""

    operator: str
    axes: str
    seed: int
    usual: int = 0
    every: int = 1

    def cases(self) -> tuple[Case, ...]:
        """From the smallest on."""
        return _cases(self)

    def all(self) -> Iterator[Case]:
        """Every one of them, of which `cases` may leave some out."""
        rng = random.Random(f"{self.axes} {self.seed}")
        if self.axes == MIXTURES:
            yield from mixtures(self.operator, rng)
            return
        if self.axes in PATTERNED:
            yield from patterned(self.operator, self.axes, self.seed)
            return
        if made := MADE[self.operator].get(self.axes):
            yield from made(rng)
            return
        swept, most = self.axes.split(), SWEPT[self.operator][self.axes]
        for lengths in product(range(1, most + 1), repeat=len(swept)):
            yield _sized(rng, self.operator, dict(zip(swept, lengths, strict=True)), self.usual)


@lru_cache(maxsize=8)
def _cases(sweep: Sweep) -> tuple[Case, ...]:
    """Where several candidates are judged, each is put the same."""
    return tuple(islice(sweep.all(), sweep.seed % sweep.every, None, sweep.every))


def _sized(rng: random.Random, operator: str, lengths: Mapping[str, int], usual: int = 0) -> Case:
    """A case of which these axes are so long, and the others short."""
    sizes = {axis: rng.choice(OTHERS) for axis in AXES[operator]} | lengths
    return untied(SHAPED[operator](rng, operator, sizes, usual).changed(pick=rng.randrange(2**16)))


def _convolutions(rng: random.Random) -> Iterator[Case]:
    for setting in product(range(1, 8), range(1, 5), range(4)):
        inputs, outputs, *image = (rng.randint(1, 3), rng.randint(1, 5), *(rng.randint(8, 14) for _ in "hw"))
        yield _convolution(rng, setting, inputs, outputs, image)
    for kernel, stride, image in _patched(rng):  # without padding: docs/findings.md, 12
        yield _convolution(rng, (kernel, stride, 0), 1, rng.randint(1, 3), image)


def _patched(rng: random.Random) -> Iterator[tuple[int, int, list[int]]]:
    """A large kernel and a stride, each by each, and an image of two or three places along an axis."""
    for kernel, stride in product(PATCHES, STEPS):
        yield kernel, stride, [kernel + rng.randint(1, 2) * stride + rng.randrange(stride) for _ in "hw"]


def _convolution(rng: random.Random, setting: Setting, inputs: int, outputs: int, image: list[int]) -> Case:
    kernel, stride, padding = setting
    shapes: dict[str, Any] = {"input": (1, inputs, *image), "weight": (outputs, inputs, kernel, kernel)}
    textures = {name: Texture("integers", rng.randrange(2**16)) for name in shapes}
    parameters = {"stride": as_given(rng, (stride,) * 2), "padding": as_given(rng, (padding,) * 2)}
    return Case("conv2d", shapes, textures, parameters, inputs * kernel**2, rng.randrange(2**16))


def _kernels(rng: random.Random) -> Iterator[Case]:
    """Of a LeNet, a U-Net, an Inception, a first layer: most of them no zeros surround."""
    settings = ((3, 1, 0), (3, 2, 0), (5, 1, 0), (2, 2, 0), (5, 1, 2), (7, 2, 3))
    for setting, image in _narrow(rng, settings):
        inputs, outputs = rng.randint(1, 3), rng.randint(1, 5)
        yield _convolution(rng, setting, inputs, outputs, image)


def _rests(rng: random.Random) -> Iterator[Case]:
    """Of many channels on images whose rows and columns of places leave any rest of tiles of four.

    The first has more than 16 such tiles, the second 24 rows and more; the fifth pads rows otherwise than columns, and
    the last are first layers, of pictures.
    """
    many, first = ((64, 64), (64, 72), (72, 68)), ((1, 32), (3, 32), (3, 64))
    settings = (
        ((3, 3), 1, (1, 1), (16, 16), many),
        ((3, 3), 2, (1, 1), (24, 4), many),
        ((3, 3), 1, (0, 0), (4, 4), many),
        ((1, 1), 1, (0, 0), (4, 4), many),
        ((3, 3), 1, (0, 1), (4, 4), many),
        ((3, 3), 2, (1, 1), (8, 8), first),
        ((7, 7), 2, (3, 3), (8, 8), first),
    )
    for (kernel, stride, padding, least, channels), *rests in product(settings, range(4), range(4)):
        places = [whole + rest for whole, rest in zip(least, rests, strict=True)]
        inputs, outputs = rng.choice(channels)
        image = [
            (count - 1) * stride + taps - 2 * more + rng.randrange(stride)
            for count, taps, more in zip(places, kernel, padding, strict=True)
        ]
        shapes = {"input": (1, inputs, *image), "weight": (outputs, inputs, *kernel)}
        shapes |= {"bias": (outputs,)} if rng.random() < 0.5 else {}
        yield of_integers(rng, shapes, {"stride": stride, "padding": padding})


def _tiles(rng: random.Random) -> Iterator[Case]:
    """3 x 3 kernels of stride 1, on each number of tiles of four by four places along each axis, with any rest."""
    for high, wide, padding in product(range(1, 5), range(1, 9), range(2)):
        inputs, outputs = rng.choice((4, 5, 8, 16)), rng.choice((1, 3, 4, 8))
        image = [4 * tiles - rng.randrange(4) + 2 - 2 * padding for tiles in (high, wide)]
        shapes = {"input": (1, inputs, *image), "weight": (outputs, inputs, 3, 3)}
        yield of_integers(rng, shapes, {"stride": 1, "padding": padding})


def _unequal(rng: random.Random) -> Iterator[Case]:
    """Kernels and strides that are of rows otherwise than of columns, by usual numbers of channels.

    One axis has about 32 places. The padding is none, half of the kernel, all but one, or as much as the kernel, whose
    outermost windows see nothing else. Of 1 x 1 no image has fewer channels than 16: docs/findings.md, 9.
    """
    kernels = ((1, 1), (1, 2), (1, 3), (1, 5), (1, 7), (3, 1), (5, 1), (2, 2), (2, 3), (3, 3))
    strides = ((1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (3, 1), (3, 3))
    for kernel, stride, longer, most in product(kernels, strides, range(2), range(2)):
        padding = [rng.choice((0, taps // 2, taps - 1, taps)) for taps in kernel]
        inputs, outputs = rng.choice(((16, 16), (16, 8), (32, 16), (8, 32), (3, 16))[: 3 if kernel == (1, 1) else None])
        sides = [
            max(taps, (rng.randint(28, 40) if axis == longer else rng.randint(1, 4)) * step - more)
            for axis, (taps, more, step) in enumerate(zip(kernel, padding, stride, strict=True))
        ]
        shapes = {"input": (16 if most else rng.choice((1, 2)), inputs, *sides), "weight": (outputs, inputs, *kernel)}
        shapes |= {"bias": (outputs,)} if rng.random() < 0.7 else {}
        textures = {name: Texture("integers", rng.randrange(2**16)) for name in shapes}
        textures["input"] = replace(textures["input"], layout=rng.choice(("contiguous", "channels_last")))
        parameters = {"stride": as_given(rng, stride), "padding": as_given(rng, tuple(padding))}
        yield Case("conv2d", shapes, textures, parameters, inputs * math.prod(kernel), rng.randrange(2**16))


def _windows(rng: random.Random) -> Iterator[Case]:
    """That overlap and no border surrounds, usual ones, and large ones."""
    for (kernel, stride, _), image in _narrow(rng, ((3, 2, 0), (3, 1, 0), (2, 1, 0), (2, 2, 0), (4, 4, 0))):
        shapes = {"input": (1, rng.randint(1, 3), *image)}
        parameters = {"kernel_size": as_given(rng, (kernel,) * 2), "stride": as_given(rng, (stride,) * 2)}
        yield untied(Case("max_pool2d", shapes, {"input": Texture()}, parameters, 2**8, rng.randrange(2**16)))


def _narrow(rng: random.Random, settings: Iterable[Setting]) -> Iterator[tuple[Setting, list[int]]]:
    """In each setting images of each number of rows of places, or of columns, up to some, and few others."""
    for setting, axis, places in product(settings, range(2), (*range(1, SIDES + 1), *BEYOND)):
        kernel, stride, padding = setting
        least = kernel - 2 * padding
        long, short = (places - 1) * stride + least + rng.randrange(stride), rng.randint(0, 2) * stride + least
        yield setting, [short, long] if axis else [long, short]


def _poolings(rng: random.Random) -> Iterator[Case]:
    for kernel, stride in product(range(1, 9), (None, 1, 2, 3, 4)):
        for padding in range(kernel // 2 + 1):
            shape = (1, rng.randint(1, 3), *(rng.randint(8, 14) for _ in "hw"))
            sizes = {"kernel_size": kernel, "stride": stride, "padding": padding}
            parameters = {name: size if size is None else as_given(rng, (size,) * 2) for name, size in sizes.items()}
            texture = Blocks("ties", rng.randrange(2**16))
            yield Case("max_pool2d", {"input": shape}, {"input": texture}, parameters, 2**8, rng.randrange(2**16))
    for kernel, stride, image in _patched(rng):
        sizes = {"kernel_size": kernel, "stride": stride, "padding": rng.choice((0, kernel // 2))}
        texture = Blocks("ties", rng.randrange(2**16))
        yield Case("max_pool2d", {"input": (1, 1, *image)}, {"input": texture}, sizes, 2**8, rng.randrange(2**16))


def _paddings(rng: random.Random) -> Iterator[Case]:
    """Around eight planes of each width, by several columns, or none; by many, around planes that are larger; and by
    powers of two, around a few planes of aligned widths."""
    narrow = [(padding, (2, 4, rng.randint(12, 20), wide)) for padding, wide in product((0, 2, 3, 4), range(20, SIDES))]
    wide = [(padding, (1, 2, rng.randint(100, 130), rng.randint(100, 130))) for padding in range(5, 41, 5)]
    wide += [(padding, (2, rng.randint(1, 5), rng.randint(1, 9))) for padding in range(1, 41)]
    wide += [(257, (1, 1, 3, 2))]
    aligned = [(padding, (1, few, few + 3, size)) for padding, few, size in product(POWERS, (1, 3, 5), (8, 20, 32))]
    for padding, shape in narrow + wide + aligned:
        texture = Texture("integers", rng.randrange(2**16))
        yield Case("pad2d", {"x": shape}, {"x": texture}, {"padding": padding}, 1, rng.randrange(2**16))


def _hundreds(rng: random.Random) -> Iterator[Case]:
    """Of a few hundred elements to a few thousand, with any rest."""
    for number in range(2**6):
        size = 2**8 + 61 * number + rng.randrange(61)
        textures = {"x": Texture("normal", rng.randrange(2**16))}
        yield Case("swish", {"x": (size,)}, textures, {}, 1, rng.randrange(2**16))


def _of_networks(operator: str, rng: random.Random) -> Iterator[Case]:
    """As many features and outputs, or channels and kernels, as networks have: of more kernels others speak."""
    images = operator == "conv2d"
    sizes, axes = (OF_NETWORKS[:1], ("inputs", "outputs")) if images else (OF_NETWORKS, ("features", "outputs"))
    for size, axis in product(sizes, axes):
        yield _sized(rng, operator, {axis: size})


def _planes_of_networks(operator: str, rng: random.Random) -> Iterator[Case]:
    """As many channels as networks have, which lie last, or not; no two planes are alike, nor elements of one."""
    name, parameters = ("x", {"padding": 1}) if operator == "pad2d" else ("input", {"kernel_size": 2})
    for size in OF_NETWORKS:
        shape = (rng.randint(2, 3), size, 4, 5)
        planes = np.random.default_rng(rng.randrange(2**16)).random((*shape[:2], 4 * 5)).argsort(-1)
        for layout in ("contiguous", "channels_last"):
            texture = Texture("ties", 0, (), layout).holding(planes.reshape(shape) * 1.0, 1)
            yield Case(operator, {name: shape}, {name: texture}, parameters, 2**8, rng.randrange(2**16))


def _long_rests(operator: str, rng: random.Random) -> Iterator[Case]:
    """Of hundreds of rows, features or outputs to four thousand, with any rest."""
    for number, axis in product(range(24), _MATRIX):
        yield _sized(rng, operator, {axis: 2**9 + 149 * number + rng.randrange(149)}, number % 2)


def _one_row(operator: str, rng: random.Random) -> Iterator[Case]:
    """As in decoding: x of one row, or of no rows at all, in turn."""
    weights, biases = ("w", "b") if operator == "linear" else ("wv", "bc")
    for features, outputs in product(range(1, FEW + 1), repeat=2):
        missing = (features + outputs + outputs // 2) % 2  # which alternates among square weights, too
        shapes = {
            "x": (1, features)[missing:],
            **dict.fromkeys(weights, (outputs, features)),
        }
        shapes |= dict.fromkeys(biases, (outputs,)) if rng.random() < 0.5 else {}
        textures = {name: Texture("integers", rng.randrange(2**16)) for name in shapes}
        yield Case(operator, shapes, textures, {}, features, rng.randrange(2**16))


# Sweeps that no axes name.
MADE: dict[str, dict[str, Callable[[random.Random], Iterator[Case]]]] = {
    "swish": {"hundreds": _hundreds},
    **{
        operator: {"one row": partial(_one_row, operator), "long rests": partial(_long_rests, operator)}
        for operator in ("linear", "glu", "swiglu")
    },
    "pad2d": {"paddings": _paddings},
    "conv2d": {
        "settings": _convolutions,
        "kernels": _kernels,
        "long kernels": long_kernels,
        "rests": _rests,
        "tiles": _tiles,
        "unequal": _unequal,
    },
    "max_pool2d": {"settings": _poolings, "windows": _windows, "long windows": long_windows},
}
for each in ("linear", "glu", "swiglu", "conv2d"):
    MADE[each]["of networks"] = partial(_of_networks, each)
for each in ("pad2d", "max_pool2d"):
    MADE[each]["of networks"] = partial(_planes_of_networks, each)
for each in KNOWN_LAYERS:
    MADE[each]["layers"] = partial(layers, each)


def mixed(operator: str, first: int = 1) -> Callable[[Law], Any]:
    """Have a law of one case tried on hundreds of mixtures, or one in ``first``, and a quarter of other seeds'."""
    return every_size(operator, (MIXTURES,), every=4, first=first)


def in_patterns(operator: str, axes: str = PATTERNS) -> Callable[[Law], Any]:
    """Have a law of one case tried on a layer in every pattern, and on a quarter of those of other seeds."""
    return every_size(operator, (axes,), every=4)


def every_size(operator: str, only: Sequence[str] = (), every: int = 1, first: int = 1) -> Callable[[Law], Any]:
    """Have a law of one case tried on all of each sweep of an operator, or these, or on one case in ``first``.

    And on those of other seeds, of whose cases on one in ``every``.
    The first case that it fails on is simplified as if there were no others, and the same holds of waivers.
    """

    def swept(law: Law) -> Any:
        def heeding(**given: Any) -> None:
            waivers.run(law, given)

        def of_all(candidate: Candidate, sweep: Sweep) -> None:
            start, step = candidate.put
            for case in sweep.cases()[start::step]:
                candidate.calls.clear()
                simplify.run(heeding, {"candidate": candidate, "case": case})

        of_all.__name__, of_all.__doc__, of_all.__module__ = law.__name__, law.__doc__, law.__module__
        settings = st.sampled_from(range(USUAL[operator] + 1))
        named = only or [*SWEPT[operator], *MADE[operator]]
        sweeps = st.builds(Sweep, st.just(operator), st.sampled_from(sorted(named)), SEEDS, settings, st.just(every))
        test = given(sweep=sweeps)(of_all)
        for axes in named:
            seed = int(axes in (MIXTURES, *PATTERNED))  # whose seeds have nothing in common; a search begins with 0
            test = example(sweep=Sweep(operator, axes, seed, min(1, USUAL[operator]), first))(test)
        return test

    return swept
