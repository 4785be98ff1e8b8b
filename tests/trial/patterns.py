"""Patterns: zeros in rows, in channels or in taps, triangles, rows that are alike, planes that are sorted.

Tensors of real layers show them, and random numbers do not. Who looks for one to save work may take too much for it.

Each pattern is made of a tensor's values, and leaves numbers of its dtype. A layer's tensors show it one after the
other, then all at once; the calls follow each other in one shape, so that what one leaves behind where the next has
zeros shows, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from assay.implementations.arrays import Argument, Values
from assay.reference.arithmetic.formats import Format
from assay.tests.trial.cases import Case
from assay.tests.trial.planes import Untied, holding
from assay.tests.trial.textures import Texture, laid

Pattern = Callable[[Values], Values]

ENDS = 16  # elements of a sample, at its beginning and at its end, which whoever tells samples apart may look at


def _grid(values: Values, axes: int = 2) -> tuple[Values, ...]:
    """Places along the first axes, or, if ``axes`` is negative, along the last ones, against all values."""
    which = range(values.ndim)[:axes] if axes > 0 else range(values.ndim)[axes:]
    return tuple(np.indices(values.shape, sparse=True)[axis] for axis in which)


def _where(keep: Callable[..., Values], axes: int = 2) -> Pattern:
    """Zero but where so many axes' places say so."""
    return lambda values: np.where(keep(*_grid(values, axes)), values, 0.0)


def _ends_alike(values: Values) -> Values:
    flat = values.reshape(len(values), -1).copy()
    flat[:, :ENDS] = flat[:, -ENDS:] = 1.0
    return flat.reshape(values.shape)


def _exchanged(values: Values) -> Values:
    rows, columns = values.shape[-2:]
    return (values.swapaxes(-1, -2) if rows == columns else values[..., ::-1, :]).copy()


def _sides_sorted(values: Values) -> Values:
    values = values.copy()
    values[..., 0, :].sort()
    values[..., :, 0].sort()
    return values


def _adding_up(values: Values) -> Values:
    """1, 1/2 and -1/2 in each row."""
    row, column = _grid(values)
    place = (column - row) % values.shape[1]
    return np.zeros(values.shape) + np.select([place == 0, place == 1, place == 2], [1.0, 0.5, -0.5], 0.0)


def _bands(values: Values) -> Values:
    """No number of the first two rows and the last two is negative, all between them are, and no more are equal."""
    rows, columns = values.shape[-2:]
    planes = values.reshape(-1, rows * columns)
    inside = np.zeros((rows, columns), bool)
    inside[2:-2] = True
    ordered, found = np.sort(planes), np.empty(planes.shape)
    ordered = ordered - ordered[:, [inside.sum()]]
    for where, numbers in ((inside, ordered[:, : inside.sum()]), (~inside, ordered[:, inside.sum() :])):
        ranks = planes[:, where.ravel()].argsort().argsort()
        found[:, where.ravel()] = np.take_along_axis(numbers, ranks, 1)
    return found.reshape(values.shape)


# Of all tensors of two axes and more: rows are samples, or outputs, columns features, or channels.
OF_ROWS: dict[str, Pattern] = {
    "every other row": _where(lambda row, column: row % 2 == 0),
    "the first rows": _where(lambda row, column: row < 5),
    "every other column": _where(lambda row, column: column % 2 == 0),
    "all columns but one": _where(lambda row, column: column != 3),
    "two columns of four": _where(lambda row, column: (column + row) % 4 < 2),
    "a triangle": _where(lambda row, column: column <= row),
    "a diagonal": _where(lambda row, column: column == row),
    "blocks": _where(lambda row, column: (row // 8 + column // 8) % 2 == 0),
    "rows that are alike": lambda values: np.broadcast_to(values[:1], values.shape).copy(),
    "rows of one number": lambda values: np.broadcast_to(values[:, :1], values.shape).copy(),
    "rows that add up to 1": _adding_up,
    "-1 alone": lambda values: np.full(values.shape, -1.0),
    "ends that are alike": _ends_alike,
}
# Of images and kernels, besides.
OF_PLANES: dict[str, Pattern] = {
    "no middle row": _where(lambda row, column: row != row.max() // 2, -2),
    "no middle column": _where(lambda row, column: column != column.max() // 2, -2),
    "planes of one number": lambda values: np.broadcast_to(values[..., :1, :1], values.shape).copy(),
    "planes of one row": lambda values: np.broadcast_to(values[..., :1, :], values.shape).copy(),
    "turned planes": lambda values: values[..., ::-1, ::-1].copy(),
    "planes with rows for columns": _exchanged,
    "four elements of each plane": _where(lambda row, column: (row // 2 == 2) & (column // 2 == 2), -2),
}
# Of planes none of whose numbers are equal, which stay so.
OF_UNTIED: dict[str, Pattern] = {
    "sorted": lambda values: np.sort(values.reshape(*values.shape[:-2], -1), -1).reshape(values.shape),
    "sorted the other way": lambda values: -np.sort(-values.reshape(*values.shape[:-2], -1), -1).reshape(values.shape),
    "sorted along two sides": _sides_sorted,
    "bands": _bands,
}


ALL = OF_ROWS | OF_PLANES | OF_UNTIED


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


def offered(operator: str, ndim: int) -> dict[str, Pattern]:
    """Those that a tensor of so many axes may show."""
    if ndim < 2:
        return {}
    if operator == "max_pool2d":
        return OF_UNTIED
    return OF_ROWS | (OF_PLANES if ndim > 2 else {})


# The sweeps of patterns: of results; of gradients, where what comes back shows them, too; and where beta learns.
PATTERNS, BACK, OF_BETA = "patterns", "patterns going back", "patterns where beta learns"
PATTERNED = (PATTERNS, BACK, OF_BETA)
INCOMING = "incoming"
# Rows, features and outputs; samples, channels, rows and columns of planes, and kernels of images. A sweep's seed
# chooses one of them.
MATRICES = ((16, 64, 64), (24, 32, 32), (33, 20, 36), (8, 128, 16))
PLANES = ((2, 16, 8, 8), (4, 6, 9, 10), (1, 3, 11, 12))
IMAGES = (((1, 16, 8, 8), 16), ((2, 8, 9, 10), 8), ((3, 4, 7, 9), 12), ((2, 16, 6, 6), 32))


def patterned(operator: str, axes: str, seed: int) -> Iterator[Case]:
    """A layer, and then each tensor in each pattern that it may show, and all that may show it."""
    case = _layer(operator, axes, seed)
    yield case
    shapes = {**case.shapes, **({} if axes == PATTERNS else {INCOMING: case.result_shape})}
    may = {name: _offered(operator, name, len(shape)) for name, shape in shapes.items()}
    shown = dict.fromkeys(
        (pattern, together)
        for pattern in ALL
        if (names := tuple(name for name in may if pattern in may[name]))
        for together in (*((name,) for name in names), names)
    )
    for pick, (pattern, together) in enumerate(shown, 1):
        textures = {**case.textures, INCOMING: case.incoming}
        textures |= {name: Patterned.showing(pattern, textures[name]) for name in together}
        yield case.changed(pick=pick, incoming=textures.pop(INCOMING), textures=textures)


def _offered(operator: str, name: str, ndim: int) -> dict[str, Pattern]:
    """The patterns that a tensor of so many axes may show."""
    if (operator, name) == ("max_pool2d", "input"):
        return OF_UNTIED
    return OF_ROWS | (OF_PLANES if ndim > 2 else {}) if ndim > 1 else {}


def _layer(operator: str, axes: str, seed: int) -> Case:
    """A layer of normal numbers, to which such numbers come back; in pooling no two of a plane are equal."""
    shapes, parameters = _sized(operator, seed)
    shapes |= {"beta": ()} if axes == OF_BETA else {}
    textures = {name: Texture("normal", seed + k) for k, name in enumerate(shapes)}
    case = Case(operator, shapes, textures, parameters, 2**8, 0, Texture("normal", seed + 9))
    pooled = operator == "max_pool2d"
    return holding(case, Untied).changed(incoming=Texture("few bits", seed + 9)) if pooled else case


def _sized(operator: str, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Shapes and parameters."""
    if operator in ("pad2d", "max_pool2d"):
        *leading, rows, columns = PLANES[seed % len(PLANES)]
        if operator == "pad2d":
            return {"x": (*leading, rows, columns)}, {"padding": 2}
        window = {"kernel_size": 3, "stride": 2, "padding": 1}
        return {"input": (*leading, 2 * rows - 1, 2 * columns - 2)}, window
    if operator == "conv2d":
        image, kernels = IMAGES[seed % len(IMAGES)]
        shapes = {"input": image, "weight": (kernels, image[1], 3, 3), "bias": (kernels,)}
        return shapes, {"stride": 1, "padding": 1}
    rows, features, outputs = MATRICES[seed % len(MATRICES)]
    shapes = {"x": (rows, features), **dict.fromkeys("wv", (outputs, features)), **dict.fromkeys("bc", (outputs,))}
    given = {"swish": "x", "linear": "xwb"}.get(operator, "xwvbc")
    return {name: shapes[name] for name in given}, {}
