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


def _where_one(keep: Callable[..., Values]) -> Pattern:
    """1 where the first two axes' places say so, and 0."""
    return lambda values: np.broadcast_to(keep(*_grid(values)) * 1.0, values.shape).copy()


def _is_inside(places: Values) -> Values:
    """Neither the first place along an axis nor the last."""
    return (places > 0) & (places < places.max())


def _at_the_border(pattern: Pattern) -> Pattern:
    def shown(values: Values) -> Values:
        row, column = _grid(values)
        return np.where(_is_inside(row) & _is_inside(column), values, pattern(values))

    return shown


def _but_two(pattern: Pattern) -> Pattern:
    """All but two neighbours within, whose sum is 0: who looks at samples, or at sums, takes them for the rest."""

    def shown(values: Values) -> Values:
        found = pattern(values).copy()
        found[*_within(values.shape)] = (0.5, -0.5)
        return found

    return shown


def _within(shape: tuple[int, ...]) -> list[int | slice]:
    """Two neighbours along the last axis that is longer than one, near the middle of the others, at odd places.

    Past it of rows and before it of channels, so that they are on no diagonal.
    """
    last = max(axis for axis, size in enumerate(shape) if size > 1)
    start = max(shape[last] // 2 - 2, 0)
    start = min(start + (1, 0, 0, -2)[start % 4], shape[last] - 2)  # neither is at a fourth place
    past = [(size // 2 + (-1 if axis == 1 and size > 2 else 1)) | 1 for axis, size in enumerate(shape[:last])]
    before = (place if place < size - 1 else (size - 1) // 2 for place, size in zip(past, shape, strict=False))
    return [*before, slice(start, start + 2), *(0 for _ in shape[last + 1 :])]


def _every_eighth_row(number: float) -> Pattern:
    """Large in its first element: where the first column of weights is ones, gates are open there, or shut."""

    def shown(values: Values) -> Values:
        found = values.copy()
        found[::8, 0] = number
        return found

    return shown


def _first_column_of_ones(values: Values) -> Values:
    found = values.copy()
    found[:, 0] = 1.0
    return found


def _of_mean_one(values: Values) -> Values:
    """Ones first, then halves and their complements in turn."""
    row, column = _grid(values)
    even = column.max() + column.max() % 2 - 1
    return np.broadcast_to(np.where((row == 0) | (column > even), 1.0, 0.5 + column % 2), values.shape).copy()


def _frames(values: Values) -> Values:
    """Samples that are alike, but for the two largest elements of a plane of one, which are exchanged."""
    found = np.broadcast_to(values[:1], values.shape).copy()
    sample, channel, row, columns = _within(values.shape)
    top = 2.0 ** np.ceil(np.log2(np.abs(values).max() + 1.0))
    found[:, channel, row, columns] = (top, 1.5 * top)
    found[sample, channel, row, columns] = (1.5 * top, top)
    return found


def _untied_at_the_ends(values: Values) -> Values:
    """No two elements of the first plane of the first sample are equal, nor of the last one of the last."""
    found, size = values.copy(), values[0, 0].size
    for plane in (found[0, 0], found[-1, -1]):
        plane[:] = plane.ravel().argsort(kind="stable").argsort().reshape(plane.shape) - size // 2
    return found


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


def _rising(values: Values) -> Values:
    return np.sort(values.reshape(*values.shape[:-2], -1), -1).reshape(values.shape)


def _rising_around(values: Values) -> Values:
    """Sorted, but for what is within, which falls."""
    found = _rising(values)
    within = found[..., 1:-1, 1:-1]
    within[:] = within[..., ::-1, ::-1].copy()
    return found


def _in_each_row(*numbers: float) -> Pattern:
    """These numbers in each row, from the diagonal on, and zeros."""

    def shown(values: Values) -> Values:
        row, column = _grid(values)
        place = (column - row) % values.shape[1]
        return np.zeros(values.shape) + np.select([place == k for k in range(len(numbers))], numbers, 0.0)

    return shown


def _filter(values: Values) -> Values:
    """The same three numbers in each row, from the diagonal on."""
    row, column = _grid(values)
    first = (np.where(column - row == k, values[:1, k : k + 1], 0.0) for k in range(min(3, values.shape[1])))
    return np.add.reduce(list(first))


def _symmetric(values: Values) -> Values:
    return _mirrored_at_the_diagonal(values, 1.0)


def _rotation(values: Values) -> Values:
    """The identity and a matrix whose elements are those on the other side of the diagonal, with the other sign."""
    row, column = _grid(values)
    return np.where(row == column, 1.0, _mirrored_at_the_diagonal(np.copysign(0.5, values), -1.0))


def _mirrored_at_the_diagonal(values: Values, sign: float) -> Values:
    found, size = values.copy(), min(values.shape[:2])
    square = values[:size, :size]
    row, column = _grid(square)
    found[:size, :size] = np.where(row <= column, square, sign * square.swapaxes(0, 1))
    return found


def _odd(values: Values) -> Values:
    """The numbers from the last on, with the other sign, as of a grid around 0."""
    flat = values.ravel().copy()
    half = flat.size // 2
    flat[half:] = -flat[: flat.size - half][::-1]
    flat[half : half + flat.size % 2] = 0.0
    return flat.reshape(values.shape)


def _of_norm_one(values: Values) -> Values:
    """Four halves in each row, of either sign."""
    row, column = _grid(values)
    return np.where((column - row) % values.shape[1] < 4, np.copysign(0.5, values), 0.0)


def _three_rows_of_one_number(values: Values) -> Values:
    """The first, the one in the middle, and the last."""
    found, size = values.copy(), len(values)
    for row in (0, size // 2, size - 1):
        found[row] = values[row, :1]
    return found


def _opposite_rows(values: Values) -> Values:
    found = values.copy()
    found[1::2] = -values[: 2 * (len(values) // 2) : 2]
    return found


def _powers_of_two(values: Values) -> Values:
    return np.copysign(2.0 ** np.clip(np.round(values), -2, 2), values)


def _columns_by_rows(values: Values) -> Values:
    """Planes of one column by one row, of powers of two."""
    powers = _powers_of_two(values)
    return powers[..., :1] * powers[..., :1, :]


def _columns_by_rows_with_zeros(values: Values) -> Values:
    """As `_columns_by_rows`; a row of each is zero, and the column after it, which are others in every sample."""
    rows, columns = values.shape[-2:]
    number, row, column = np.arange(len(values)).reshape(-1, *(1,) * (values.ndim - 1)), *_grid(values, -2)
    return np.where((row == number % rows) | (column == (number + 1) % columns), 0.0, _columns_by_rows(values))


def _dirac(values: Values) -> Values:
    """1 in the middle of the first plane of the first kernel, of the second one of the second, ..."""
    (row, column), middle = _grid(values), [size // 2 for size in values.shape[-2:]]
    places = [place == at for place, at in zip(_grid(values, -2), middle, strict=True)]
    return np.where((row == column) & places[0] & places[1], 1.0, np.zeros(values.shape))


def _mirrored(values: Values) -> Values:
    """Planes with a right half as the left one, and samples, or kernels, of which the second half is as the first."""
    halves, left = len(values) // 2, values.shape[-1] // 2
    found = values.copy()
    found[halves : 2 * halves] = found[:halves]
    found[..., found.shape[-1] - left :] = found[..., :left][..., ::-1]
    return found


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
    "the other diagonal": _where(lambda row, column: column == column.max() - row),
    "blocks": _where(lambda row, column: (row // 8 + column // 8) % 2 == 0),
    "rows that are alike": lambda values: np.broadcast_to(values[:1], values.shape).copy(),
    "rows of one number": lambda values: np.broadcast_to(values[:, :1], values.shape).copy(),
    "rows that add up to 1": _in_each_row(1.0, 0.5, -0.5),
    "-1 alone": lambda values: np.full(values.shape, -1.0),
    "ends that are alike": _ends_alike,
    "one row": _where(lambda row, column: row == 1),
    "one column": _where(lambda row, column: column == 1),
    "a filter": _filter,
    "what is symmetric": _symmetric,
    "a rotation": _rotation,
    "rows of norm 1": _of_norm_one,
    "rows of 1 and a little": _in_each_row(1.0, 2.0**-5),  # whose square 16 bits lose beside 1
    "three rows of one number": _three_rows_of_one_number,
    "rows and their opposites": _opposite_rows,
    "a grid around 0": _odd,
    "powers of two": _powers_of_two,
    "five levels": lambda values: np.clip(np.round(2.0 * values), -2.0, 2.0) / 2.0,
    "nothing negative": lambda values: np.maximum(values, 0.0),
    "rows in order": lambda values: np.sort(values, -1),
    "the identity": _where_one(lambda row, column: row == column),
    "whole numbers": lambda values: np.round(4.0 * values),
    "numbers whose mean is 1": _of_mean_one,
    "bags of two": _where_one(lambda row, column: (row % 2 == 0) & ((column - row) % (column.max() + 1) < 2)),
    "clipped after a row of zeros": lambda values: np.where(_grid(values)[0] == 0, 0.0, np.clip(values, -0.5, 0.5)),
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
    "no corners": _where(lambda row, column: _is_inside(row) | _is_inside(column), -2),
    "zeros above and to the left": _where(lambda row, column: (row > 0) & (column > 0), -2),
    "zeros below and to the right": _where(lambda row, column: (row < row.max()) & (column < column.max()), -2),
    "a border of zeros": _where(lambda row, column: _is_inside(row) & _is_inside(column), -2),
    "a checkerboard": _where(lambda row, column: (row + column) % 2 == 0, -2),
    "columns by rows": _columns_by_rows,
    "columns by rows with zeros": _columns_by_rows_with_zeros,
    "kernels that change nothing": _dirac,
    "planes that are mirrored": _mirrored,
}
# Of planes none of whose numbers are equal, which stay so.
OF_UNTIED: dict[str, Pattern] = {
    "sorted": _rising,
    "sorted the other way": lambda values: -_rising(-values),
    "sorted at the border": _rising_around,
    "sorted along two sides": _sides_sorted,
    "bands": _bands,
    "frames that are alike, but for two": _frames,
}

# Of planes many of whose numbers are equal.
OF_TIED: dict[str, Pattern] = {"no ties in the first plane and the last": _untied_at_the_ends}
# Of biases.
OF_VECTORS: dict[str, Pattern] = {
    "zeros at first": _where(lambda place: place > place.max() // 2, 1),
    "zeros at last": _where(lambda place: place <= place.max() // 2, 1),
    "zeros everywhere": np.zeros_like,
    "one number": lambda values: np.broadcast_to(values[:1], values.shape).copy(),
}
# Of what has gates, rows of which somebody may take for all of them, by weights that show the last one.
OF_SAMPLED: dict[str, Pattern] = {
    "every eighth row shut": _every_eighth_row(-128.0),
    "every eighth row open": _every_eighth_row(128.0),
}
OF_ONES = "a first column of ones"
# Of what an activation lets through as it is, or not at all.
OF_GATES: dict[str, Pattern] = {
    "32 and more": lambda values: np.maximum(np.abs(values), 32.0),
    "-32 and less": lambda values: np.minimum(-np.abs(values), -32.0),
    "32 and more of either sign": lambda values: np.copysign(np.maximum(np.abs(values), 32.0), values),
}

# And those of rows where a check that is to cost little may look, alone: in the first row and column and in the last,
# or everywhere but within.
OF_BORDERS = {f"{name}, at the border": _at_the_border(pattern) for name, pattern in OF_ROWS.items()}
BUT_TWO = ", but for two"
OF_ROWS_BUT_TWO = {f"{name}{BUT_TWO}": _but_two(pattern) for name, pattern in OF_ROWS.items()}
OF_ROWS_BUT_TWO[f"zeros{BUT_TWO}"] = _but_two(np.zeros_like)
OF_NUMBERS_BUT_TWO = [f"{name}{BUT_TWO}" for name in ("whole numbers", "powers of two", "nothing negative")]
OF_GATES |= {f"{name}{BUT_TWO}": _but_two(pattern) for name, pattern in OF_GATES.items()}
ALL = OF_ROWS | OF_BORDERS | OF_ROWS_BUT_TWO | OF_PLANES | OF_UNTIED | OF_TIED | OF_VECTORS | OF_SAMPLED | OF_GATES
ALL[OF_ONES] = _first_column_of_ones
