"""What is permitted for a call: the formula, and its gradients, run on the arithmetic that is asked for."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from assay.implementations.arrays import Argument, Values
from assay.implementations.observe import Call
from assay.reference.arithmetic.ball import Ball
from assay.reference.arithmetic.enclosure import Enclosure
from assay.reference.arithmetic.precision import Precision
from assay.reference.arithmetic.primitives import FLOAT
from assay.reference.arithmetic.tape import Tape
from assay.reference.conv2d import pair
from assay.reference.tensor import Index, LargeTensor, Tensor
from assay.spec import OPERATORS
from assay.tests.trial.cases import Case
from assay.tests.trial.textures import LARGE

Inputs = list[Any]
Place = tuple[str, Index]  # an element of an input, by the input's name


class Kept:
    """What is permitted, of the last few calls: layouts, modes and repeated calls are judged by one set of numbers."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.found: dict[tuple[Any, ...], Callable[[Any], Any]] = {}

    def get(self, key: tuple[Any, ...], make: Callable[[], Callable[[Any], Any]]) -> Callable[[Any], Any]:
        """The function of a place under ``key``, made if it is not here; it works each place out once.

        Of calls with large arguments few are kept.
        """
        found = self.found.pop(key, None) or functools.cache(make())
        self.found[key] = found
        large = [other for other in self.found if other[-1].large]
        for other in large[:-LARGE_CALLS]:
            del self.found[other]
        while len(self.found) > self.size:
            del self.found[next(iter(self.found))]
        return found


LARGE_CALLS = 4
KEPT = Kept(LARGE_CALLS)


def forward(case: Case, call: Call) -> Callable[[Precision], Callable[[Index], Ball]]:
    """The enclosure of each element of a call's result, under a precision."""

    def under(precision: Precision) -> Callable[[Index], Ball]:
        return elements(Enclosure(precision), case, call)

    return lambda precision: KEPT.get(("forward", precision, _asked(call)), partial(under, precision))


def backward(case: Case, call: Call, name: str, sparse: bool = False) -> Callable[[Precision], Callable[[Index], Ball]]:
    """The enclosure of each element of the gradient of one of a call's inputs, under a precision.

    If ``sparse``, of the outputs those that are `not_zero` count.
    """
    assert call.cotangent is not None
    incoming = call.cotangent

    def of_all(precision: Precision) -> Callable[[Place], Ball]:
        return tape(case, call, Enclosure(precision), not_zero(incoming) if sparse else None)

    def under(precision: Precision) -> Callable[[Index], Ball]:
        apart = 0.0
        if call.operator == "conv2d" and precision.algorithm == "fft":
            tensors = (call.arguments["input"].values, call.arguments["weight"].values, incoming.values)
            apart = going_back_by_fft(name, precision, *tensors, call.arguments.get("stride") or 1)
            precision = replace(precision, algorithm="direct")
        found = KEPT.get(("backward", sparse, precision, _asked(call)), partial(of_all, precision))
        return lambda at: found((name, at)).widened(0.0, apart) if apart else found((name, at))

    return under


class Sized(NamedTuple):
    """What the bound of a convolution by FFT needs of a tensor."""

    shape: Index
    norm: float


def going_back_by_fft(
    name: str, precision: Precision, image: Values, kernel: Values, incoming: Values, stride: Any
) -> float:
    """What a gradient of conv2d may be off by FFT, where that is declared: it is a convolution, too.

    That of the image is one of the incoming gradient, whose elements the stride sets apart, by the kernel, summed over
    the outputs; that of the kernel is one of the image by the incoming gradient, summed over the samples.
    """
    if name == "bias" or precision.algorithm != "fft":
        return 0.0
    (samples, channels, *sides), (outputs, _, *taps) = image.shape, kernel.shape
    spread = [(length - 1) * step + 1 for length, step in zip(incoming.shape[2:], pair(stride), strict=True)]
    image_, kernel_, incoming_ = (tensor_of(values, FLOAT, "").norm for values in (image, kernel, incoming))
    if name == "input":
        sides = list(map(max, sides, spread))
        of, by = Sized((samples, outputs, *sides), incoming_), Sized((channels, outputs, *taps), kernel_)
    else:
        room = map(max, spread, taps)  # the image is padded by as much as for the kernel
        of, by = Sized((channels, samples, *sides), image_), Sized((outputs, samples, *room), incoming_)
    return Enclosure(precision).apart(of, by) * (1.0 + 2.0 * precision.storage.unit)


def exact_forward(case: Case, call: Call) -> Callable[[Index], float]:
    """Each element of a call's result on plain floats: the one right answer where every sum is exact."""
    return KEPT.get(("exact forward", _asked(call)), partial(elements, FLOAT, case, call))


def exact_backward(case: Case, call: Call) -> Callable[[Place], float]:
    """The same of the gradients. Incoming zeros are passed over."""
    assert call.cotangent is not None
    incoming = call.cotangent
    return KEPT.get(("exact backward", _asked(call)), lambda: tape(case, call, FLOAT, not_zero(incoming)))


def elements(arithmetic: Any, case: Case, call: Call) -> Callable[[Index], Any]:
    """Each element of a call's result, by the formula on an arithmetic."""
    inputs, element = inputs_on(arithmetic, case, call), OPERATORS[case.operator].element
    return lambda at: element(at, *inputs)


def tape(case: Case, call: Call, inner: Any, outputs: Iterable[Index] | None = None) -> Callable[[Place], Any]:
    """The gradient of any input's element: run the formula for these outputs, or for all, on a tape, and go back."""
    arithmetic = Tape(inner)
    inputs = inputs_on(arithmetic, case, call)
    by_name = dict(zip(OPERATORS[case.operator].arguments, inputs, strict=True))
    element = OPERATORS[case.operator].element
    assert call.cotangent is not None
    incoming = call.cotangent.values
    places = np.ndindex(*incoming.shape) if outputs is None else outputs
    results = [(element(at, *inputs), float(incoming[at])) for at in places]
    gradient = arithmetic.backward(results)
    return lambda place: gradient(by_name[place[0]], by_name[place[0]].position(place[1]))


def not_zero(incoming: Argument) -> Iterator[Index]:
    """The outputs whose incoming gradient is not zero, which are all that count where numbers are far from overflow.

    The products of the others are zeros, and to add zeros rounds nothing.
    """
    return map(tuple, np.argwhere(incoming.values).tolist())


def inputs_on(arithmetic: Any, case: Case, call: Call) -> Inputs:
    """The arguments of a call as tensors of an arithmetic, and its parameters, in the formula's order."""
    operator = OPERATORS[case.operator]
    inputs: Inputs = []
    for name in operator.arguments:
        value = call.arguments.get(name)
        if isinstance(value, Argument):
            value = tensor_of(value.values, arithmetic, name)
        elif name in operator.tensors and value is not None:  # a tensor of one element, given as a plain number
            value = Tensor([float(value)], (1,), arithmetic, name)
        elif name in operator.parameters and value is None:
            value = inspect.signature(operator.element).parameters[name].default
        inputs.append(value)
    return inputs


def tensor_of(values: Values, arithmetic: Any, name: str) -> Tensor:
    """A tensor of an arithmetic; a large one reads the values where they are."""
    flat = np.ascontiguousarray(values).ravel()
    if flat.size > LARGE:
        return LargeTensor(memoryview(flat), values.shape, arithmetic, name)
    return Tensor(flat.tolist(), values.shape, arithmetic, name)


@dataclass(frozen=True)
class Asked:
    """All that the formula is given, bit for bit; ``large`` if some of it is too large to be held twice."""

    given: Hashable
    large: bool


def _asked(call: Call) -> Asked:
    given = {**call.arguments, "incoming gradient": call.cotangent}
    bits = {name: _bits(value) for name, value in given.items()}
    return Asked((call.operator, *bits.items()), any(isinstance(each, Itself) for each in bits.values()))


def _bits(value: Any) -> Hashable:
    if not isinstance(value, Argument):
        return repr(value)
    return Itself(value.values) if value.values.size > LARGE else (value.values.shape, value.values.tobytes())


class Itself:
    """Stands for values that are too many to compare: equal where they are the same object, however they lie."""

    def __init__(self, values: Values) -> None:
        self.values = values

    def __hash__(self) -> int:
        return id(self.values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Itself) and other.values is self.values
