"""What a call must leave as it was: the settings and functions that everything else in the process relies on.

They are looked at around each call, so that looking has to be cheap: the ways to read and to set each are looked up
once.

The functions are those of before any candidate was loaded: this module is imported with the judge.
"""

from __future__ import annotations

import contextlib
import decimal
import functools
import gc
import logging
import math
import operator
import random
import signal
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

THREADS = "number of Python threads"
# Functions that a judge or a benchmark trusts: (module, name).
TRUSTED = (
    ("time", "perf_counter"),
    ("time", "time"),
    ("time", "monotonic"),
    ("random", "random"),
    ("math", "isfinite"),
    ("numpy", "allclose"),
    ("numpy.testing", "assert_allclose"),
    ("torch", "allclose"),
    ("torch", "equal"),
    ("torch", "isclose"),
    ("torch", "rand"),
    ("torch", "randn"),
    ("torch.testing", "assert_close"),
    ("torch.cuda", "synchronize"),
)

# What a library may change once, when it is first used.
ONCE = (
    *(THREADS, "filters of warnings", "level of logging", "limit of recursion"),
    *("handler of Ctrl-C", "collection of garbage", "precision of decimals"),
)
REFUSED = "refused"
PRECISE = ("cudnn", "mkldnn", "cuda.matmul", "cudnn.conv", "mkldnn.matmul", "mkldnn.conv")
LEAST = math.ulp(0.0)
DRAWS = (random.random, np.random.random)  # by name, they could be somebody else's later


def _functions() -> dict[str, Any]:
    found = {}
    for module, name in TRUSTED:
        if module in sys.modules:
            found[f"{module}.{name}"] = getattr(sys.modules[module], name, None)
    return found


def replaced() -> tuple[str, ...]:
    """The trusted functions that are not their library's own: what was put in their place comes from elsewhere."""
    return tuple(name for name, function in _functions().items() if not _own(function, name.partition(".")[0]))


def _own(function: Any, library: str) -> bool:
    module = getattr(function, "__module__", None)
    builtin = isinstance(function, types.BuiltinFunctionType | types.BuiltinMethodType)
    return (builtin and module is None) or str(module).partition(".")[0] == library


class Setting(NamedTuple):
    """A setting by name, how to read it and how to set it. Functions are told apart by identity: one may lie."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], None]
    by_identity: bool = False


class Look(NamedTuple):
    """What some settings were at one moment, and what is to be put back whether or not it changes."""

    settings: tuple[Setting, ...]
    values: list[Any]
    stirred: list[tuple[Setting, Any]]

    def draw(self) -> None:
        """Draw random numbers in the middle of what is watched: who sets them back later to what they were shows."""
        if not self.stirred:
            return
        with_torch = "torch" in sys.modules
        looked = zip(self.settings, self.values, strict=True)
        randoms = [(place, *each) for place, each in enumerate(looked) if each[0] in _randoms(with_torch)]
        alike = [(place, setting) for place, setting, value in randoms if not _differs(setting, value, setting.read())]
        _stir(with_torch)
        for place, setting in alike:
            self.values[place] = setting.read()


def _attribute(label: str, owner: Any, name: str) -> Setting:
    return Setting(label, lambda: getattr(owner, name), lambda value: setattr(owner, name, value))


def _refusing(name: str, read: Callable[[], Any], write: Callable[[Any], None]) -> Setting:
    """One that PyTorch does not tell where its newer words say otherwise: that it refuses is its value then."""

    def told() -> Any:
        try:
            return read()
        except RuntimeError:
            return REFUSED

    return Setting(name, told, lambda value: None if value == REFUSED else write(value))


def _precisions(backends: Any) -> Iterator[Setting]:
    """How float32 is multiplied, in the words of PyTorch 2.9 and later: what holds for several comes first."""
    if hasattr(backends, "fp32_precision"):
        yield _attribute("float32 precision of all", backends, "fp32_precision")
        for name in PRECISE:
            yield _attribute(f"float32 precision of {name}", operator.attrgetter(name)(backends), "fp32_precision")


def _trusted(module: str, name: str) -> Setting:
    """A function, or None as long as its module is not imported."""
    modules = sys.modules
    return Setting(
        f"{module}.{name}",
        lambda: getattr(modules.get(module), name, None),
        lambda value: setattr(modules[module], name, value),
        by_identity=True,
    )


def _flushes() -> bool:
    """Whether the processor takes subnormal numbers for zero, in this thread."""
    return LEAST + LEAST == 0.0


def _of_torch() -> tuple[Setting, ...]:
    """The settings of PyTorch."""
    torch = sys.modules["torch"]
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    deterministic = (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms)
    return (
        Setting("default dtype", torch.get_default_dtype, torch.set_default_dtype),
        Setting("number of threads", torch.get_num_threads, torch.set_num_threads),
        Setting("recording of gradients", torch.is_grad_enabled, torch.set_grad_enabled),
        Setting("deterministic algorithms", *deterministic),
        Setting("flushing of subnormal numbers", _flushes, torch.set_flush_denormal),
        Setting("detection of anomalies", torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
        Setting("autocast", partial(torch.is_autocast_enabled, "cpu"), partial(torch.set_autocast_enabled, "cpu")),
        _refusing("float32 matmul precision", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        _refusing(*_attribute("TF32 of cuDNN", cudnn, "allow_tf32")[:3]),
        _refusing(*_attribute("TF32 of matmul", matmul, "allow_tf32")[:3]),
        *_precisions(torch.backends),
        Setting("oneDNN", torch._C._get_mkldnn_enabled, torch._C._set_mkldnn_enabled),
        _attribute("cuDNN", cudnn, "enabled"),
        _attribute("benchmark of cuDNN", cudnn, "benchmark"),
        *(_attribute(f"{t} sums of {t}", matmul, f"allow_{t}_reduced_precision_reduction") for t in ("fp16", "bf16")),
    )


def _set_filters(filters: tuple[Any, ...]) -> None:
    warnings.filters[:] = filters  # type: ignore[index]


def _set_collecting(on: bool) -> None:
    (gc.enable if on else gc.disable)()


def _set_precision(digits: int) -> None:
    decimal.getcontext().prec = digits


COLLECTING = Setting("collection of garbage", gc.isenabled, _set_collecting)
OF_PYTHON = (
    Setting("filters of warnings", lambda: tuple(warnings.filters), _set_filters),
    COLLECTING,
    Setting("limit of recursion", sys.getrecursionlimit, sys.setrecursionlimit),
    Setting("level of logging", lambda: logging.root.manager.disable, logging.disable),
    Setting("handler of Ctrl-C", lambda: signal.getsignal(signal.SIGINT), partial(signal.signal, signal.SIGINT)),
    Setting("precision of decimals", lambda: decimal.getcontext().prec, _set_precision),
    Setting("numpy's handling of errors", np.geterr, lambda errors: np.seterr(**errors)),
)


@functools.cache
def _randoms(with_torch: bool) -> tuple[Setting, ...]:
    """The states of random numbers, which are long."""
    found = (
        Setting("random numbers of numpy", _numpy_random, _set_numpy_random),
        Setting("random numbers of Python", random.getstate, random.setstate),
    )
    return (Setting("random numbers of torch", _torch_random, _set_torch_random), *found) if with_torch else found


def _torch_random() -> bytes:
    state: bytes = sys.modules["torch"].get_rng_state().numpy().tobytes()
    return state


def _set_torch_random(state: bytes) -> None:
    torch = sys.modules["torch"]
    torch.set_rng_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))


def _numpy_random() -> tuple[Any, ...]:
    name, keys, *rest = np.random.get_state(legacy=True)
    return (name, keys.tobytes(), *rest)


def _set_numpy_random(state: tuple[Any, ...]) -> None:
    name, keys, *rest = state
    np.random.set_state((name, np.frombuffer(keys, dtype=np.uint32), *rest))


@functools.cache
def _settings(thorough: bool, with_torch: bool) -> tuple[Setting, ...]:
    return (
        *(_of_torch() if with_torch else ()),
        *OF_PYTHON,
        *(_randoms(with_torch) if thorough else ()),
        Setting(THREADS, threading.active_count, lambda value: None),
        *(_trusted(*each) for each in TRUSTED),
    )


def state(thorough: bool = False, collecting: bool = True) -> Look:
    """Every setting that is looked after, as it is now; the states of random numbers, which are long, if thorough.

    A number of each kind is drawn first: who seeds at every call would leave the state in which its last call left it.
    Whether garbage is collected meanwhile is as ``collecting`` says, then: who turns it on shows where it is off.
    """
    with_torch = "torch" in sys.modules
    settings = _settings(thorough, with_torch)
    stirred = [(setting, setting.read()) for setting in (*_randoms(with_torch), COLLECTING)] if thorough else []
    if thorough:
        _stir(with_torch)
        COLLECTING.write(collecting)
    return Look(settings, [setting.read() for setting in settings], stirred)


def _stir(with_torch: bool) -> None:
    """Draw a number of each kind."""
    for draw in DRAWS:
        draw()
    if with_torch:
        sys.modules["torch"].empty(1).uniform_()


def restore(before: Look) -> tuple[str, ...]:
    """Put back whatever is not as it was ``before``; returns the names of what was not.

    All are looked at before any is put back, as one may change another: PyTorch's older words change its newer ones.
    """
    values = zip(before.settings, before.values, [setting.read() for setting in before.settings], strict=True)
    others = [(setting, value, now) for setting, value, now in values if now is not value]  # most are the same objects
    found = tuple(setting.name for setting, value, now in others if _differs(setting, value, now))
    for setting, value in zip(before.settings, before.values, strict=True) if found else ():
        if _differs(setting, value, setting.read()):
            setting.write(value)
    for setting, value in before.stirred:
        setting.write(value)
    return found


def _differs(setting: Setting, value: Any, now: Any) -> bool:
    other = now is not value and (setting.by_identity or now != value)
    return other and value is not None  # what was None is a function of a module that the call has imported


@contextlib.contextmanager
def on_own_kernels() -> Iterator[None]:
    """For a while, PyTorch's convolutions and products by its own sums.

    oneDNN's are wrong in places (docs/findings.md, 4, 5 and 11), and without it NNPACK's are of another algorithm (6).
    """
    backends = sys.modules["torch"].backends
    before, backends.mkldnn.enabled = backends.mkldnn.enabled, False
    try:
        with backends.nnpack.flags(False):
            yield
    finally:
        backends.mkldnn.enabled = before
