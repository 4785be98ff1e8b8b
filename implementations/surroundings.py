"""What a call must leave as it was: the settings and functions that everything else in the process relies on.

The functions are those of before any candidate was loaded: this module is imported with the judge.
"""

from __future__ import annotations

import random
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

import numpy as np

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


def _torch_settings() -> dict[str, tuple[Any, Callable[[Any], None]]]:
    """The settings of PyTorch by name: what each is, and how to set it."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul

    def flag(owner: Any, name: str) -> tuple[Any, Callable[[Any], None]]:
        return getattr(owner, name), lambda value: setattr(owner, name, value)

    return {
        "default dtype": (torch.get_default_dtype(), torch.set_default_dtype),
        "number of threads": (torch.get_num_threads(), torch.set_num_threads),
        "recording of gradients": (torch.is_grad_enabled(), torch.set_grad_enabled),
        "deterministic algorithms": (
            torch.are_deterministic_algorithms_enabled(),
            lambda value: torch.use_deterministic_algorithms(value),
        ),
        "float32 matmul precision": (torch.get_float32_matmul_precision(), torch.set_float32_matmul_precision),
        "TF32 of cuDNN": flag(cudnn, "allow_tf32"),
        "TF32 of matmul": flag(matmul, "allow_tf32"),
        "oneDNN": (torch._C._get_mkldnn_enabled(), torch._C._set_mkldnn_enabled),
        "cuDNN": flag(cudnn, "enabled"),
        "benchmark of cuDNN": flag(cudnn, "benchmark"),
        "random numbers of torch": (torch.get_rng_state().numpy().tobytes(), _set_torch_random),
    }


def _set_torch_random(state: bytes) -> None:
    torch = sys.modules["torch"]
    torch.set_rng_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))


def state(thorough: bool = False) -> dict[str, tuple[Any, Callable[[Any], None]]]:
    """Every setting that is looked after, and how to set it again; random numbers, which are long, if thorough."""
    randoms: dict[str, tuple[Any, Callable[[Any], None]]] = (
        {
            "random numbers of numpy": (_numpy_random(), _set_numpy_random),
            "random numbers of Python": (random.getstate(), random.setstate),
        }
        if thorough
        else {}
    )
    return {
        **_torch_settings(),
        **randoms,
        "number of Python threads": (threading.active_count(), lambda value: None),
        **{name: (function, _setter(name)) for name, function in _functions().items()},
    }


def _numpy_random() -> tuple[Any, ...]:
    name, keys, *rest = np.random.get_state(legacy=True)
    return (name, keys.tobytes(), *rest)


def _set_numpy_random(state: tuple[Any, ...]) -> None:
    name, keys, *rest = state
    np.random.set_state((name, np.frombuffer(keys, dtype=np.uint32), *rest))


def _setter(name: str) -> Callable[[Any], None]:
    module, _, function = name.rpartition(".")
    return lambda value: setattr(sys.modules[module], function, value)


def restore(before: dict[str, tuple[Any, Callable[[Any], None]]]) -> tuple[str, ...]:
    """Put back whatever is not as it was ``before``; returns the names of what was not."""
    now = state("random numbers of numpy" in before)
    changed = tuple(name for name, (value, _) in before.items() if name in now and now[name][0] != value)
    for name in changed:
        value, put_back = before[name]
        put_back(value)
    return changed
