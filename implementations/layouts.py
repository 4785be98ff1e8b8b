"""Layouts: where the elements of a tensor, or of several in one memory, lie."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

# How a tensor lies in memory. Whatever lies between its elements is NaN: who reads it, shows it. ``transposed`` has all
# axes in reverse, ``swapped`` the first two (sequences before samples), ``swapped_middle`` the second and the third of
# four or more (heads before tokens, frames before channels), ``swapped_last`` the last two (features before tokens).
# ``cropped`` is cut out of longer rows, ``chunked`` of more along the second axis, as half of the channels,
# ``channels_last_chunked`` where these lie last, ``channels_last_cropped`` of a larger image, and the other two that
# are called so of more rows, before they were turned. What is ``shortened`` is cut out of more rows of as many columns,
# so that planes, or where channels lie last samples, are further apart and nothing else is. What ends in ``offset``
# begins a little later in its memory.
# ``expanded`` repeats the first sample, ``expanded_second`` the first channel, as of a grey picture, ``expanded_rows``
# the first row of all, as positions that are the same in each sample, and ``expanded_columns`` and ``expanded_last``
# the first column and the first element of each plane: so a mean over columns, or over places, hands its gradient back.
# ``expanded_ends`` is of one sample and one column, as a mean over both, weighted by channels, hands back.
# ``expanded_all`` repeats one element, as the sum of all does; rows of ``expanded_frames`` are windows of a signal that
# overlap by half. ``offset_even`` begins 8 bytes later in float32.
LAYOUTS = (
    "contiguous",
    "offset",
    "offset_even",
    "strided",
    "transposed",
    "swapped",
    "swapped_middle",
    "swapped_last",
    "cropped",
    "chunked",
    "expanded",
    "channels_last",
    "channels_last_cropped",
    "channels_last_chunked",
    "shortened",
    "channels_last_shortened",
    "transposed_cropped",
    "swapped_last_cropped",
    "transposed_offset",
    "channels_last_offset",
    "expanded_second",
    "expanded_rows",
    "expanded_columns",
    "expanded_last",
    "expanded_ends",
    "expanded_all",
    "expanded_frames",
)
TIED = LAYOUTS[-6:]  # which make ties in the windows of a plane
# Tensors of three axes and of four in all orders of these, from the outermost in memory to the innermost: "axes 2013"
# are heads that were computed one by one and stacked, "axes 2310" the kernels of TensorFlow, "axes 1230" is CHWN.
ORDERS = tuple(f"axes {''.join(order)}" for ndim in (3, 4) for order in itertools.permutations("0123"[:ndim]))
# More, which laws of images alone ask for: ``within`` is cut out of the middle of a larger image, and what lies around
# it is no number; or it is a ``letterbox``, which has zeros above and below, or a ``pillarbox``, left and right.
WITHIN, AROUND = ("within", "letterbox", "pillarbox"), 3

# How tensors may lie in one memory: in the order of the arguments, from the last on, by rows in turn, in order and
# each with its axes in reverse, as the parts of a fused weight that is stored so, or in order and as much apart as the
# first is long, as parts of which others lie between them, or the matrices in order and behind them the vectors from
# the last on. Or one is another, or that with its axes in reverse: as in "v = w", "v = w.T", or "w = x, v = x.T".
TOGETHER = ("in order", "reversed", "interleaved", "turned", "apart", "crossed")
# Or those of one shape are slices of a tensor of their own, in order or the last one first, or by rows in turn.
Fused = tuple[tuple[int, ...], dict[str, slice]]  # its shape, and which rows of it are whose
FUSED = ("halves", "halves from the last", "rows in turn")


def strides_of(shape: tuple[int, ...], layout: str) -> tuple[int, tuple[int, ...], int]:
    """(elements of memory, strides, offset) of a tensor of ``shape`` that lies as ``layout`` says."""
    longer = _longer(len(shape), layout)
    step = 2 if layout == "strided" else 1
    offset = 3 if layout == "strided" or layout.endswith("offset") else 2 * (layout == "offset_even")
    strides, size, gap = [0] * len(shape), step, 2 * AROUND if layout in WITHIN else 1
    for axis in reversed(_order(len(shape), layout)):
        strides[axis] = size
        size *= max(shape[axis], 1) + gap * (axis in longer)
    if layout in WITHIN:
        offset = AROUND * sum(strides[axis] for axis in longer)
    if layout == "expanded_frames" and len(shape) > 1:
        strides[-2] = (shape[-1] + 1) // 2
    once = _once(len(shape), layout)
    return offset + size + offset, tuple(0 if axis in once else step for axis, step in enumerate(strides)), offset


def distinct(shape: tuple[int, ...], layouts: Iterable[str]) -> list[str]:
    """These layouts but for those in which a tensor of this shape lies as in one before."""
    found: dict[Any, str] = {}
    for layout in layouts:
        found.setdefault(strides_of(shape, layout), layout)
    return list(found.values())


def _order(ndim: int, layout: str) -> list[int]:
    """The axes from the outermost in memory to the innermost; in an order of more axes or fewer, as they come."""
    order = list(range(ndim))
    if layout.startswith("transposed"):
        order.reverse()
    elif layout == "swapped":
        order[:2] = reversed(order[:2])
    elif layout == "swapped_middle":
        order[1:-1] = [*reversed(order[1:-1][:2]), *order[3:-1]]  # of five axes, as of frames that were channels
    elif layout.startswith("swapped_last"):
        order[-2:] = reversed(order[-2:])
    elif layout.startswith("channels_last") and ndim in (4, 5):
        order = [0, *order[2:], 1]
    elif layout.startswith("axes ") and ndim == len(named := layout.removeprefix("axes ")):
        order = [int(axis) for axis in named]
    return order


def _longer(ndim: int, layout: str) -> Collection[int]:
    """The axes along which there is memory between the rows of a tensor that are beside each other."""
    if layout == "strided":
        return range(ndim)
    axes = {"cropped": (ndim - 1,), "transposed_cropped": (0,), "swapped_last_cropped": (ndim - 1,)}
    axes |= {"chunked": (1,), "channels_last_chunked": (1,), "channels_last_cropped": (2, 3)}
    axes |= dict.fromkeys(("shortened", "channels_last_shortened"), (ndim - 2,))
    return (axes | dict.fromkeys(WITHIN, tuple(range(ndim)[-2:]))).get(layout, ())


def _once(ndim: int, layout: str) -> Collection[int]:
    """The axes along which there is one element in memory."""
    axes = {"expanded": range(1), "expanded_second": range(1, 2), "expanded_rows": range(ndim - 1)}
    axes |= {"expanded_columns": range(ndim - 1, ndim), "expanded_last": range(min(2, ndim - 1), ndim)}
    axes |= {"expanded_ends": {0, max(ndim - 1, 0)}}
    return (axes | {"expanded_all": range(ndim)}).get(layout, ())


def strided(memory: Any, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Any:
    """Part of numpy's memory of one axis; ``strides`` are in elements."""
    return np.lib.stride_tricks.as_strided(memory[offset:], shape, [step * memory.itemsize for step in strides])


def memory_of(values: Any, layout: str) -> tuple[Any, tuple[int, ...], int]:
    """A memory of NaN in which these values lie so, and their strides and offset in it."""
    size, strides, offset = strides_of(values.shape, layout)
    memory = np.full(size, np.nan)
    if layout in WITHIN[1:]:
        axis = -2 if layout == "letterbox" else -1
        image = memory[: size - 2 * offset].reshape(*values.shape[:-2], *(n + 2 * AROUND for n in values.shape[-2:]))
        np.moveaxis(image, axis, 0)[[*range(AROUND), *range(-AROUND, 0)]] = 0.0
    strided(memory, values.shape, strides, offset)[...] = values
    return memory, strides, offset


def places_together(
    shapes: Mapping[str, tuple[int, ...]], order: str
) -> tuple[int, dict[str, tuple[int, tuple[int, ...]]]]:
    """The elements of one memory, and where each tensor of it begins, and its strides.

    Of those of one shape that are ``interleaved`` the first row of each comes first, then the second: ``fused[0::2]``
    and ``fused[1::2]`` lie so.
    """
    same = same_tensors(order)
    groups: dict[Any, list[str]] = {}
    gap = math.prod(next(iter(shapes.values()))) if order == "apart" else 0
    for name in [name for name in _ordered(shapes, order) if name not in same]:
        groups.setdefault(shapes[name] if order == "interleaved" and shapes[name] else name, []).append(name)
    found, start = dict[str, tuple[int, tuple[int, ...]]](), 0
    for names in groups.values():
        shape = shapes[names[0]]
        turned = order == "turned"
        steps = [math.prod(shape[:axis] if turned else shape[axis + 1 :]) for axis in range(len(shape))]
        for number, name in enumerate(names):
            offset = start + number * (steps[0] if steps else 1)
            found[name] = offset, tuple(step * (len(names) if axis == 0 else 1) for axis, step in enumerate(steps))
        start += len(names) * math.prod(shape) + gap
    for name, (other, turned) in same.items():
        offset, strides = found[other]
        found[name] = offset, strides[::-1] if turned else strides
    return start, found


def slices_of_fused(shapes: Mapping[str, tuple[int, ...]], order: str) -> list[Fused]:
    """What tensors of one shape are slices of, where there are several."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for name, shape in shapes.items():
        groups.setdefault(shape, []).append(name)
    found = []
    for (rows, *others), names in ((shape, names) for shape, names in groups.items() if shape and len(names) > 1):
        count, in_order = len(names), names[::-1] if order == "halves from the last" else names
        if order == "rows in turn":
            places = {name: slice(k, None, count) for k, name in enumerate(in_order)}
        else:
            places = {name: slice(k * rows, (k + 1) * rows) for k, name in enumerate(in_order)}
        found.append(((count * rows, *others), places))
    return found


def _ordered(shapes: Mapping[str, tuple[int, ...]], order: str) -> list[str]:
    """The tensors as they follow each other in the memory."""
    vectors = [name for name, shape in shapes.items() if len(shape) < 2] if order == "crossed" else []
    names = [name for name in shapes if name not in vectors]
    return names[::-1] if order == "reversed" else names + vectors[::-1]


def overlap(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether two elements have one place: none have where each step is longer than all that shorter ones reach."""
    reached = 0
    for step, size in sorted((abs(step), size) for size, step in zip(shape, strides, strict=True) if size > 1):
        if step <= reached:
            along = (step * np.arange(size) for size, step in zip(shape, strides, strict=True))
            places = sum(np.ix_(*along), np.int64(0))
            return np.unique(places).size < places.size
        reached += step * (size - 1)
    return False


def same_tensors(order: str) -> dict[str, tuple[str, bool]]:
    """Which tensor is another one, and whether with its axes in reverse: of "v = w.T", {"v": ("w", True)}."""
    ties = (tie.split(" = ") for tie in order.split(", ") if " = " in tie)
    return {name: (other.removesuffix(".T"), other.endswith(".T")) for name, other in ties}
