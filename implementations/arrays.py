"""Array libraries: making a tensor of given values, dtype and memory layout, and reading one back as float64.

The judge's side of every tensor is a float64 numpy array, which holds the values of all four formats exactly.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from assay.implementations import settings
from assay.implementations.going_back import GoingBack
from assay.implementations.layouts import FUSED, Fused, memory_of, overlap, places_together, slices_of_fused, strided

Values = npt.NDArray[np.float64]

POISONED = 4  # blocks: a result, and tensors between


@dataclass(frozen=True)
class Argument:
    """A tensor argument: its values, rounded to the dtype already, and how it lies in memory."""

    values: Values
    layout: str = "contiguous"


# What PyTorch imports when it is first asked for a gradient, in some 0.6 s.
IMPORTED_LATE = "torch.fx.experimental.symbolic_shapes"


class TorchArrays:
    """Tensors of PyTorch."""

    def __init__(self) -> None:
        import torch

        self.torch = torch
        self.dtypes = {name: getattr(torch, name) for name in ("float64", "float32", "bfloat16", "float16")}

    def device_problem(self, device: str) -> str | None:
        """Why ``device`` is not to be had here, or no longer, or None."""
        try:
            self.torch.empty(1, device=device)
            self.synchronise(device)
        except (RuntimeError, AssertionError) as problem:
            return str(problem).strip().splitlines()[0]
        return None

    def make(self, argument: Argument, dtype: str, device: str) -> Any:
        """A tensor with these values on ``device``."""
        if argument.layout == "contiguous":
            return self._moved(np.array(argument.values), dtype, device)
        memory, strides, offset = memory_of(argument.values, argument.layout)
        return self._moved(memory, dtype, device).as_strided(argument.values.shape, strides, offset)

    def _moved(self, values: Values, dtype: str, device: str) -> Any:
        """A tensor whose memory PyTorch has allocated."""
        found = self.torch.from_numpy(values).to(device=device, dtype=self.dtypes[dtype])
        return found.clone() if dtype == "float64" and device == "cpu" else found

    def view(self, memory: Any, shape: tuple[int, ...], offset: int, strides: tuple[int, ...]) -> Any:
        """Part of a memory of one axis."""
        return memory.as_strided(shape, strides, offset)

    def overwrite(self, array: Any, values: Values) -> None:
        """Write other values into a tensor's memory; ``data`` does not bump the tensor's version counter."""
        with self.torch.inference_mode(array.is_inference()):
            array.data.copy_(self.torch.from_numpy(np.array(values)))

    def copied(self, array: Any) -> Any:
        """Another tensor that holds the same, as of a model that is copied."""
        return copy.deepcopy(array)

    def step(self, array: Any) -> None:
        """A step of an optimizer that changes nothing: whoever listens to optimizers, or counts versions, hears."""
        if array.is_leaf and not array.is_inference():
            array.grad = self.torch.zeros_like(array)
            self.torch.optim.SGD([array]).step()
            array.grad = None

    def fits(self, array: Any, recording: bool | str | None) -> bool:
        """Whether it may be given in this mode: what was made in inference mode, in that alone."""
        return recording is False or not array.is_inference()

    def parameter(self, array: Any) -> Any:
        """The tensor as a model holds it that learns no more."""
        return self.torch.nn.Parameter(array, requires_grad=False)

    def version(self, array: Any) -> int:
        """How often the tensor was written to: what was put back counts, too."""
        count: int = 0 if array.is_inference() else array._version
        return count

    def poison(self, elements: int, dtype: str, device: str) -> None:
        """Fill blocks of this size with NaN and free them, so that the next ones of it are likely to hold NaN."""
        if elements:
            nan, kind = float("nan"), self.dtypes[dtype]
            blocks = [self.torch.full((elements,), nan, dtype=kind, device=device) for _ in range(POISONED)]
            del blocks

    def recording(self, on: bool | str | None) -> Any:
        """A context in which gradients are not recorded: in inference, or merely so; or (None) nothing is changed."""
        if on is None:
            return contextlib.nullcontext()
        return self.torch.no_grad() if on else self.torch.inference_mode()

    def under(self, setting: str) -> Any:
        """A context in which PyTorch has the setting of this name, if there is one."""
        return settings.under(self.torch, setting)

    def recorded(self, array: Any) -> bool:
        """Whether gradients can be asked of it."""
        return bool(array.requires_grad)

    def is_array(self, found: Any) -> bool:
        """Whether ``found`` is a plain, dense tensor: no subclass, whose comparisons may lie."""
        plain = type(found) in (self.torch.Tensor, self.torch.nn.Parameter)
        return plain and found.layout is self.torch.strided

    def read(self, array: Any) -> Values:
        """The values, as a float64 copy."""
        values: Values = array.detach().to(device="cpu", dtype=self.torch.float64, copy=True).numpy()
        return values

    def dtype_of(self, array: Any) -> str:
        return str(array.dtype).removeprefix("torch.")

    def device_of(self, array: Any) -> str:
        return str(array.device)

    def share(self, a: Any, b: Any) -> bool:
        """Whether two tensors lie in the same memory."""
        return bool(a.numel() and a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr())

    def overlaps(self, array: Any) -> bool:
        """Whether elements of a tensor share their memory: along an axis of stride 0, all do; so do frames."""
        return overlap(array.shape, array.stride())

    def alias(self, array: Any) -> Any:
        """Another tensor in the same memory, which does not hold this one, as what numpy makes of it."""
        return array.detach()

    def accumulate(self, array: Any) -> Any:
        """A gradient that the tensor has already, of ones."""
        array.grad = self.torch.ones_like(array)
        return array.grad

    def accumulated(self, array: Any) -> Any:
        """The gradient that the tensor has."""
        return array.grad

    def gradients(
        self, run: Any, arrays: dict[str, Any], names: Sequence[str], incoming: Any, *how: str, between: Any = None
    ) -> tuple[Any, dict[str, Any]]:
        """(result, gradients by name) of ``run(arrays)``, going back from ``incoming``, as `GoingBack` says."""
        return GoingBack(self, how, between).gradients(run, arrays, names, incoming)

    def turned(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Each array with its numbers in reverse, times -0.5."""
        return {name: -0.5 * each.flip(tuple(range(each.ndim))) for name, each in arrays.items()}

    def synchronise(self, device: str) -> None:
        """Wait until everything that was started on ``device`` has ended."""
        if device.startswith("cuda"):
            self.torch.cuda.synchronize()


def _numpy_dtypes() -> dict[str, Any]:
    found: dict[str, Any] = {name: np.dtype(name) for name in ("float64", "float32", "float16")}
    if importlib.util.find_spec("ml_dtypes"):  # where it is installed, numpy has bfloat16
        found["bfloat16"] = np.dtype(importlib.import_module("ml_dtypes").bfloat16)
    return found


class NumpyArrays:
    """Arrays of numpy: bfloat16 with ml_dtypes alone, the CPU, and gradients only by the candidate's own ``vjp``."""

    dtypes: ClassVar = _numpy_dtypes()

    def device_problem(self, device: str) -> str | None:
        return None if device == "cpu" else "numpy has the CPU alone"

    def make(self, argument: Argument, dtype: str, device: str) -> Any:
        memory, strides, offset = memory_of(argument.values, argument.layout)
        return strided(memory.astype(self.dtypes[dtype]), argument.values.shape, strides, offset)

    def view(self, memory: Any, shape: tuple[int, ...], offset: int, strides: tuple[int, ...]) -> Any:
        """Part of a memory of one axis."""
        return strided(memory, shape, strides, offset)

    def overwrite(self, array: Any, values: Values) -> None:
        array[...] = values

    def copied(self, array: Any) -> Any:
        return array.copy()

    def step(self, array: Any) -> None:
        """There is no optimizer."""

    def fits(self, array: Any, recording: bool | str | None) -> bool:
        """Whether it may be written over: what another library has made may be read alone."""
        return bool(array.flags.writeable)

    def parameter(self, array: Any) -> Any:
        return array

    def turned(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        return {name: -0.5 * np.flip(each) for name, each in arrays.items()}

    def version(self, array: Any) -> int:
        return 0

    def poison(self, elements: int, dtype: str, device: str) -> None:
        blocks = [np.full(elements, np.nan, self.dtypes[dtype]) for _ in range(POISONED)]
        del blocks

    def recording(self, on: bool | str | None) -> Any:
        return contextlib.nullcontext()

    def under(self, setting: str) -> Any:
        return contextlib.nullcontext()

    def recorded(self, array: Any) -> bool:
        return False

    def is_array(self, found: Any) -> bool:
        """Whether it is a plain array, or a number of numpy's: what its arithmetic makes of arrays of no axes."""
        return type(found) is np.ndarray or isinstance(found, np.generic)

    def read(self, array: Any) -> Values:
        return np.array(array, dtype=np.float64, copy=True)

    def dtype_of(self, array: Any) -> str:
        return str(array.dtype)

    def device_of(self, array: Any) -> str:
        return "cpu"

    def share(self, a: Any, b: Any) -> bool:
        return bool(np.shares_memory(a, b))

    def overlaps(self, array: Any) -> bool:
        return overlap(array.shape, array.strides)

    def alias(self, array: Any) -> Any:
        return array[...]

    def accumulate(self, array: Any) -> Any:
        """There is nothing that a gradient would be added to."""

    def accumulated(self, array: Any) -> Any:
        return None

    def synchronise(self, device: str) -> None:
        """Nothing to wait for."""


def made_together(library: Any, tensors: Mapping[str, Argument], dtype: str, device: str, order: str) -> dict[str, Any]:
    """Tensors that are parts of one, as those of a fused layer, or of a model whose parameters are kept in one."""
    shapes = {name: each.values.shape for name, each in tensors.items()}
    if order in FUSED:
        return _made_fused(library, tensors, dtype, device, slices_of_fused(shapes, order))
    size, places = places_together(shapes, order)
    memory = np.full(size, np.nan)
    for name, (offset, strides) in places.items():
        strided(memory, tensors[name].values.shape, strides, offset)[...] = tensors[name].values
    flat = library.make(Argument(memory), dtype, device)
    return {name: library.view(flat, each.values.shape, *places[name]) for name, each in tensors.items()}


def _made_fused(
    library: Any, tensors: Mapping[str, Argument], dtype: str, device: str, fused: Sequence[Fused]
) -> dict[str, Any]:
    found = {name: library.make(each, dtype, device) for name, each in tensors.items()}
    for shape, places in fused:
        values = np.empty(shape)
        for name, rows in places.items():
            values[rows] = tensors[name].values
        whole = library.make(Argument(values), dtype, device)
        found |= {name: whole[rows] for name, rows in places.items()}
    return found


_LIBRARIES = {"torch": TorchArrays, "numpy": NumpyArrays}
_MADE: dict[str, Any] = {}


def arrays_of(library: str) -> Any:
    """The arrays of ``library``, imported when first asked for."""
    if library not in _MADE:
        _MADE[library] = _LIBRARIES[library]()
    return _MADE[library]
