"""Patterns: zeros in rows, in channels or in taps, triangles, rows that are alike, planes that are sorted.

Tensors of real layers show them, and random numbers do not. Who looks for one to save work may take too much for it.

Each pattern is made of a tensor's values, and leaves numbers of its dtype.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from assay.implementations.arrays import Values

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


def patterns(ndim: int) -> dict[str, Pattern]:
    """Those of tensors of so many axes."""
    if ndim < 2:
        return {}
    return OF_ROWS | (OF_PLANES if ndim > 2 else {})
