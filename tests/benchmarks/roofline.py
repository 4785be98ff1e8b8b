"""How near a time comes to what the machine can do: its ceilings are measured in the same run, device and dtype.

A case needs at least operations / (operations a second of a matrix product) and bytes / (bytes a second of a copy); the
larger of the two is the nearer ceiling. The copy moves as many bytes as the case, so that both find them in the same
level of memory. Both ceilings are what PyTorch reaches, by its best of several calls: a case can pass them.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

from assay.implementations.arrays import arrays_of
from assay.tests.benchmarks import clock as clocks

SIDE = 512  # of the square matrices: large enough to be the product's speed, short enough to be left alone
SIDE_OF_A_DEVICE = 8192
LEAST_COPY = 2**16  # bytes, below which a call costs more than the copy
SECONDS, MOST_CALLS = 0.5, 60


@dataclass(frozen=True)
class Ceilings:
    """What the machine reaches: operations a second, bytes a second."""

    operations: float
    bytes: float

    def fraction(self, operations: int, moved: int, seconds: float) -> tuple[float, str]:
        """(the least possible time over ``seconds``, which ceiling is nearer)."""
        product, copy = operations / self.operations, moved / self.bytes
        return max(product, copy) / seconds, "product" if product > copy else "copy"


def ceilings(device: str, dtype: str, moved: int) -> Ceilings:
    """The ceilings for a case that moves this many bytes; measured once for each power of two of them.

    Who is given 16 bits may calculate in 32, and is the faster for it where a processor has no arithmetic of 16.
    """
    power = max(LEAST_COPY, 2 ** round(math.log2(moved)))
    wide = (dtype, "float32") if itemsize(dtype) == 2 else (dtype,)
    return Ceilings(max(_product(device, each) for each in wide), _copy(device, dtype, power))


def itemsize(dtype: str) -> int:
    """Bytes of a number."""
    size: int = arrays_of("torch").dtypes[dtype].itemsize
    return size


@functools.cache
def _product(device: str, dtype: str) -> float:
    torch = arrays_of("torch").torch
    side = SIDE if device == "cpu" else SIDE_OF_A_DEVICE
    a, b = (torch.randn(side, side, device=device).to(arrays_of("torch").dtypes[dtype]) for _ in range(2))
    return float((2 * side - 1) * side**2 / _least(lambda: torch.mm(a, b), device))


@functools.cache
def _copy(device: str, dtype: str, moved: int) -> float:
    torch = arrays_of("torch").torch
    source = torch.ones(moved // 2 // itemsize(dtype), device=device, dtype=arrays_of("torch").dtypes[dtype])
    target = torch.empty_like(source)
    return moved / _least(lambda: target.copy_(source), device)


def _least(call: Any, device: str) -> float:
    """The least seconds of several calls."""
    clock, times, begun = clocks.of_device(device), [], clocks.NOW()
    call()
    while not times or (clocks.NOW() - begun < SECONDS and len(times) < MOST_CALLS):
        clock.settle()
        start = clock.stamp()
        call()
        end = clock.stamp()
        times.append(float(end - start))
    return min(times)
