"""Tensors in a script: Python that makes them bit for bit, in memory as they lay in a call."""

from __future__ import annotations

import base64
import math
import zlib
from typing import Any

import numpy as np

from assay.implementations.arrays import Argument, Values
from assay.implementations.layouts import strides_of
from assay.implementations.observe import Call

SPELLED_OUT = 64  # elements that are written as hexadecimal floats; longer tensors are packed
FEW = 8  # elements of a longer one, all others zero, that are written with their places


def binding(name: str, argument: Argument, call: Call, array: str) -> list[str]:
    """Lines that bind ``name`` to a tensor argument of a call, of the library ``array``."""
    shape = argument.values.shape
    values = numbers(argument)
    size, strides, offset = strides_of(shape, argument.layout)
    plain = argument.layout == "contiguous"
    if array != "torch":
        made = [f"{name} = {values}.astype({call.dtype!r})"]
        return made if plain else [*made, *_numpy_view(name, shape, size, strides, offset, call.dtype)]
    where = f"dtype=torch.{call.dtype}, device={call.device!r}"
    if plain:
        return [f"{name} = torch.tensor({values}, {where})"]
    view = f"np.lib.stride_tricks.as_strided(memory[{offset}:], {shape}, {[8 * step for step in strides]})"
    return [
        f"memory = np.full({size}, np.nan)  # {argument.layout}",
        f"{view}[...] = {values}",
        f"{name} = torch.tensor(memory, {where}).as_strided({shape}, {strides}, {offset})",
    ]


def _numpy_view(name: str, shape: Any, size: int, strides: Any, offset: int, dtype: str) -> list[str]:
    itemsize = np.dtype(dtype).itemsize
    steps = tuple(step * itemsize for step in strides)
    memory = f"np.full({size}, np.nan, {dtype!r})[{offset}:]"
    return [
        f"view = np.lib.stride_tricks.as_strided({memory}, {shape}, {steps})",
        f"view[...] = {name}",
        f"{name} = view",
    ]


def numbers(argument: Argument) -> str:
    """An expression of numpy's that has the values of an argument."""
    values = argument.values
    if _is_of_one_number(values):
        return f"np.full({values.shape}, {_literal(float(values.flat[0]))})"
    return f"np.array({_values(values)}).reshape({values.shape})"


def _is_of_one_number(values: Values) -> bool:
    first = values.ravel()[:1]
    return values.size > 1 and np.all(values == first) and np.all(np.signbit(values) == np.signbit(first))


def _is_of_few_numbers(values: Values) -> bool:
    """Whether it is zeros but for a few elements; a negative zero is none of these."""
    return values.size > SPELLED_OUT and np.count_nonzero(values) <= FEW and not np.signbit(values[values == 0]).any()


def is_packed(values: Values) -> bool:
    """Whether these are too many numbers to be spelled out."""
    return values.size > SPELLED_OUT and not _is_of_one_number(values) and not _is_of_few_numbers(values)


def _values(values: Values) -> str:
    flat = np.ascontiguousarray(values).ravel()
    if _is_of_few_numbers(values):
        at = np.flatnonzero(flat).tolist()
        return f"np.bincount({at}, [{', '.join(_literal(float(flat[k])) for k in at)}], {flat.size})"
    if is_packed(values):
        with np.errstate(over="ignore"):
            kind = "<f4" if np.array_equal(flat.astype("<f4"), flat, equal_nan=True) else "<f8"
        packed = base64.b64encode(zlib.compress(flat.astype(kind).tobytes(), 1)).decode()
        return f"np.frombuffer(zlib.decompress(base64.b64decode({packed!r})), {kind!r})"
    return "[" + ", ".join(_literal(float(x)) for x in flat) + "]"


def _literal(x: float) -> str:
    short = repr(x)
    if len(short) <= 8 and "n" not in short:
        return short
    return f"float.fromhex({x.hex()!r})" if math.isfinite(x) else f"float({short!r})"
