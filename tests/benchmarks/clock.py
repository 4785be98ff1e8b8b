"""Clocks: of the processor, and of a device whose work goes on after a call has returned.

The functions are taken when this module is imported, before any candidate is: who patches `time` later changes nothing.
pytest-benchmark takes a clock by name (`--benchmark-timer`), reads it before and after a call and subtracts; so a
device's clock gives stamps that can be subtracted.
"""

from __future__ import annotations

import time
from typing import Any

NOW = time.perf_counter


class Stamp:
    """A moment in a device's own time: an event in its current stream."""

    def __init__(self, runtime: Any) -> None:
        self.runtime = runtime
        self.event = runtime.Event(enable_timing=True)
        self.event.record()

    def __sub__(self, earlier: Stamp) -> float:
        """Seconds from ``earlier`` until the current stream had come here, and then until every stream was empty.

        Work that was put on another stream is still going on when this one is done: it is waited for, and counted.
        """
        self.event.synchronize()
        done = NOW()
        self.runtime.synchronize()
        hidden = NOW() - done
        return float(earlier.event.elapsed_time(self.event)) / 1000.0 + hidden


class Processor:
    """The processor's time. Whatever a call leaves to a thread is seen by what it has returned (`answers`)."""

    timer = "assay.tests.benchmarks.clock.processor"

    def settle(self) -> None:
        """Nothing to wait for."""

    def flush(self) -> None:
        """Inputs are written just before they are read: caches hold the same for candidate and baseline."""

    def stamp(self) -> Any:
        return NOW()


class Device:
    """A device with streams, events and a cache, by its runtime: `torch.cuda`, or a stand-in in tests."""

    timer = "assay.tests.benchmarks.clock.device"

    def __init__(self, runtime: Any, scratch: Any = None) -> None:
        """``scratch`` is a tensor of twice the size of the last cache, which writing to it empties of all else."""
        self.runtime, self.scratch = runtime, scratch

    def settle(self) -> None:
        """Wait until every stream is empty."""
        self.runtime.synchronize()

    def flush(self) -> None:
        """Empty the last cache of what the last call left in it."""
        if self.scratch is not None:
            self.scratch.zero_()
        self.runtime.synchronize()

    def stamp(self) -> Stamp:
        return Stamp(self.runtime)


def of_device(name: str) -> Processor | Device:
    """The clock of a device by its name; what pytest-benchmark's timer reads from now on."""
    global _current
    if name.startswith("cuda"):
        import torch

        size = 2 * torch.cuda.get_device_properties(name).L2_cache_size
        _current = Device(torch.cuda, torch.empty(size, dtype=torch.uint8, device=name))
    else:
        _current = Processor()
    return _current


_current: Processor | Device = Processor()
processor = NOW


def device() -> Any:
    """A stamp of the device that `of_device` was last asked for."""
    return _current.stamp()
