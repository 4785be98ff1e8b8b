"""Layers whose tensors show patterns: one after the other, then all at once, then two of them the same numbers.

The calls follow each other in one shape, so that what one leaves behind where the next has zeros shows, too.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from assay.implementations.arrays import Argument
from assay.reference.arithmetic.formats import Format
from assay.tests.trial.cases import Case
from assay.tests.trial.patterns import (
    ALL,
    BUT_TWO,
    OF_BORDERS,
    OF_GATES,
    OF_NUMBERS_BUT_TWO,
    OF_ONES,
    OF_PLANES,
    OF_ROWS,
    OF_ROWS_BUT_TWO,
    OF_SAMPLED,
    OF_TIED,
    OF_UNTIED,
    OF_VECTORS,
    Pattern,
)
from assay.tests.trial.planes import Untied, holding
from assay.tests.trial.textures import Texture, laid

# The sweeps of patterns: of results; of gradients, where what comes back shows them, too; where beta learns; of ties.
PATTERNS, BACK, OF_BETA, OF_TIES = "patterns", "patterns going back", "patterns where beta learns", "patterns of ties"
PATTERNED = (PATTERNS, BACK, OF_BETA, OF_TIES)
INCOMING = "incoming"
# Rows, features and outputs; samples, channels, rows and columns of planes, and kernels of images. A sweep's seed
# chooses one of them.
MATRICES = ((16, 64, 64), (72, 32, 32), (33, 20, 36), (8, 128, 16))
MATRICES_OF = {
    "linear": ("xwb", "xw"),
    **dict.fromkeys(("glu", "swiglu"), ("xwvbc", "xwv", "xwvb")),
}
PLANES = ((2, 16, 8, 8), (4, 6, 9, 10), (1, 3, 11, 12))
IMAGES = (((1, 16, 8, 8), 16), ((6, 8, 7, 6), 8), ((3, 4, 7, 9), 12), ((2, 16, 6, 6), 32))
OF_INPUTS = {"swish": OF_GATES, "max_pool2d": OF_UNTIED, **dict.fromkeys(("glu", "swiglu"), OF_SAMPLED)}
KERNELS = ((3, 1, 1), (3, 2, 0), (1, 1, 0))  # sizes, strides and paddings
LARGE = (5, 1, 2)  # of a first layer, whose images have one channel
# Layers of 2^14 weights, or elements, and more: nobody looks at those of small ones.
LARGE_MATRIX, LARGE_ARRAY, LARGE_PLANE, LARGE_IMAGE = (3, 128, 128), (128, 130), (66, 130), ((1, 32, 5, 6), 64)


@dataclass(frozen=True)
class Patterned(Texture):
    """A texture that shows a pattern."""

    of: Texture = Texture()
    pattern: str = ""

    def fill(self, shape: tuple[int, ...], fmt: Format, terms: int = 1) -> Argument:
        plain = replace(self.of, family=self.family, seed=self.seed, elements=self.elements, layout="contiguous")
        return laid(ALL[self.pattern](plain.fill(shape, fmt, terms).values), self.layout)

    @classmethod
    def showing(cls, pattern: str, of: Texture) -> Patterned:
        """The texture, which shows this pattern."""
        return cls(of.family, of.seed, of.elements, of.layout, of, pattern)


@dataclass(frozen=True)
class Result(Texture):
    """What comes back is the result itself, as where half the sum of its squares is the loss: a law fills that in."""


def patterned(operator: str, axes: str, seed: int) -> Iterator[Case]:
    """Of each layer a case without a pattern, and what it may show; of every second one the input is frozen."""
    for number, layer in enumerate(_layers(operator, axes, seed)):
        held = {**layer.textures, INCOMING: layer.incoming}
        for step, textures in enumerate(_shown(layer, axes, held, number == 0)):
            shown, pick = held | textures, 2 * step + number % 2
            yield layer.changed(pick=pick, incoming=shown.pop(INCOMING), textures=shown)


def _shown(layer: Case, axes: str, held: dict[str, Texture], in_part: bool) -> Iterator[dict[str, Texture]]:
    """The textures that take the place of others, case by case; whether they may be patterns in part."""
    back = axes in (BACK, OF_BETA)
    shapes = {**layer.shapes, **({INCOMING: layer.result_shape} if back else {})}
    may = {name: _offered(layer, axes, name, len(shape), in_part) for name, shape in shapes.items()}
    yield {}
    for pattern in ALL:
        names = [name for name in may if pattern in may[name]]
        for name in names:
            beside = {"w": Patterned.showing(OF_ONES, held["w"])} if pattern in OF_SAMPLED else {}
            yield {name: Patterned.showing(pattern, held[name]), **beside}
        for several in dict.fromkeys((tuple(names), tuple(name for name in names if name in "wv"))):
            if len(several) > 1 and pattern not in OF_ROWS_BUT_TWO:
                yield {name: Patterned.showing(pattern, held[name]) for name in several}
        for one in names if pattern in OF_NUMBERS_BUT_TWO and len(names) > 1 else ():
            others = pattern.removesuffix(BUT_TWO)
            yield {name: Patterned.showing(pattern if name == one else others, held[name]) for name in names}
    for one, other in itertools.combinations(shapes, 2):
        if shapes[one] == shapes[other]:
            yield {other: held[one]}
    if back:
        yield {INCOMING: Result()}


def _offered(layer: Case, axes: str, name: str, ndim: int, in_part: bool) -> dict[str, Pattern]:
    """The patterns that a tensor of so many axes may show; those in part in the first layer, and by 1 x 1.

    Going back through pooling those alone that leave no ties; images of one channel, whose rows are one number, those
    of planes.
    """
    if ndim < 2:
        return OF_VECTORS if ndim else {}
    if (layer.operator, name, axes) == ("max_pool2d", "input", BACK):
        return OF_UNTIED
    planes = OF_PLANES if ndim > 2 else {}
    own = OF_INPUTS.get(layer.operator, {}) if name in ("x", "input") else {}
    tied = OF_TIED if axes == OF_TIES and own else {}
    parts = OF_BORDERS | OF_ROWS_BUT_TWO if in_part or layer.shapes.get("weight", ())[-1:] == (1,) else {}
    rows = {} if name == "input" and layer.shapes[name][1] == 1 else OF_ROWS
    return rows | parts | planes | own | tied


def _layers(operator: str, axes: str, seed: int) -> list[Case]:
    """Layers of normal numbers, to which such numbers come back; in pooling no two of a plane are equal, or many.

    Of an activation's three the second has large numbers.
    """
    found = []
    for number, (shapes, parameters) in enumerate(_sized(operator, seed)):
        shapes |= {"beta": ()} if axes == OF_BETA else {}
        textures = {name: Texture("normal", seed + k) for k, name in enumerate(shapes)}
        if operator == "swish" and number == 1:
            textures["x"] = Texture("large", seed)
        case = Case(operator, shapes, textures, parameters, 2**8, 0, Texture("normal", seed + 9))
        if operator == "max_pool2d":
            case = case.changed(incoming=Texture("few bits", seed + 9))
            ties = case.changed(textures={"input": Texture("ties", seed)})
            case = ties if axes == OF_TIES else holding(case, Untied)
        found.append(case)
    return found


def _sized(operator: str, seed: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Shapes and parameters: of a layer with its biases, without, and with the first alone; and of a large one."""
    if operator in ("pad2d", "max_pool2d"):
        *leading, rows, columns = PLANES[seed % len(PLANES)]
        if operator == "pad2d":
            yield {"x": (*leading, rows, columns)}, {"padding": 2}
            yield {"x": (1, 2, *LARGE_PLANE)}, {"padding": 1}
        else:
            window = {"kernel_size": 3, "stride": 2, "padding": 1}
            yield {"input": (*leading, 2 * rows - 1, 2 * columns - 2)}, window
            yield {"input": (*leading, 2 * rows, 2 * columns - 2)}, {"kernel_size": 2}
    elif operator == "conv2d":
        yield from _convolutions(*IMAGES[seed % len(IMAGES)])
        yield next(_convolutions(*LARGE_IMAGE))
    elif operator == "swish":
        rows, features, _ = MATRICES[seed % len(MATRICES)]
        yield from [({"x": (2 * rows, features)}, {})] * 2
        yield {"x": LARGE_ARRAY}, {}
    else:
        for names in MATRICES_OF[operator]:
            yield _of_matrices(names, *MATRICES[seed % len(MATRICES)]), {}
        yield _of_matrices(MATRICES_OF[operator][1], *LARGE_MATRIX), {}


def _of_matrices(names: str, rows: int, features: int, outputs: int) -> dict[str, Any]:
    shapes = {"x": (rows, features), **dict.fromkeys("wv", (outputs, features)), **dict.fromkeys("bc", (outputs,))}
    return {name: shapes[name] for name in names}


def _convolutions(image: tuple[int, ...], kernels: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """With biases and without in turn; on wider images where there is a stride, and of one channel by large kernels."""
    for number, (kernel, stride, padding) in enumerate((*KERNELS, LARGE)):
        samples, channels, rows, columns = image
        channels, columns = (1 if kernel == LARGE[0] else channels), columns + 28 * (stride > 1)
        shapes = {"input": (samples, channels, rows, columns), "weight": (kernels, channels, kernel, kernel)}
        shapes |= {"bias": (kernels,)}
        missing = ("bias",) * (number % 2)
        yield {name: shapes[name] for name in shapes if name not in missing}, {"stride": stride, "padding": padding}
