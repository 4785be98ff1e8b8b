"""What an implementation offers: any of these callables, over tensors, and a few optional words about itself.

Names and meanings follow ``torch.nn.functional`` where it has them. Arguments are passed by position. What is missing
is reported as *not provided*, never as passed. For every operator: dtype out is dtype in; inputs are never written
to; any strides, offset or expanded view is accepted; an empty batch gives an empty result; invalid arguments raise.
Which are invalid, what becomes of NaN, and who gets the gradient of a tie, the clauses say (``assay list``).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from assay.implementations.arrays import arrays_of

Size = int | tuple[int, int]


class Operators(Protocol):
    """The operators. An implementation has one or more of them, as functions, or as methods of an object."""

    def swish(self, x: Any, beta: Any = 1.0) -> Any:
        """x * sigmoid(beta * x); ``x`` of any shape, ``beta`` a float, or a tensor (), or (1,), that may learn."""

    def glu(self, x: Any, w: Any, v: Any, b: Any = None, c: Any = None) -> Any:
        """sigmoid(x @ w.T + b) * (x @ v.T + c); ``x`` (..., in), ``w`` and ``v`` (out, in), ``b`` and ``c`` (out,)."""

    def swiglu(self, x: Any, w: Any, v: Any, b: Any = None, c: Any = None) -> Any:
        """silu(x @ w.T + b) * (x @ v.T + c), shapes as in glu."""

    def linear(self, x: Any, w: Any, b: Any = None) -> Any:
        """x @ w.T + b; ``x`` (..., in), ``w`` (out, in), ``b`` (out,)."""

    def pad2d(self, x: Any, padding: int) -> Any:
        """``padding`` zeros, none or more, around the last two axes of ``x`` (..., H, W)."""

    def conv2d(self, input: Any, weight: Any, bias: Any = None, stride: Size = 1, padding: Size = 0) -> Any:
        """Cross-correlation; ``input`` (N, C, H, W), ``weight`` (O, C, kh, kw), ``bias`` (O,)."""

    def max_pool2d(self, input: Any, kernel_size: Size, stride: Size | None = None, padding: Size = 0) -> Any:
        """Largest of each window; ``input`` (N, C, H, W); ``stride`` defaults to ``kernel_size``."""

    def conv2d_parameters(self, in_channels: int, out_channels: int, kernel_size: Size, bias: bool = True) -> Any:
        """The learned tensors of a convolutional layer with these arguments, as a sequence."""


@functools.cache
def _parameters(operator: str) -> tuple[inspect.Parameter, ...]:
    _, *parameters = inspect.signature(getattr(Operators, operator)).parameters.values()
    return tuple(parameters)


def signature(operator: str) -> str:
    """How an operator is called, as text.

    >>> signature("linear")
    'linear(x, w, b=None)'
    """
    unannotated = [each.replace(annotation=inspect.Parameter.empty) for each in _parameters(operator)]
    return f"{operator}{inspect.Signature(unannotated)}"


def completed(operator: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of a call by name: what is left out of it has its default.

    >>> completed("conv2d", {"input": 1, "weight": 2, "stride": None, "padding": 3})
    {'input': 1, 'weight': 2, 'bias': None, 'stride': 1, 'padding': 3}
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    return {each.name: given.get(each.name, each.default) for each in _parameters(operator)}


OPERATOR_NAMES = ("swish", "glu", "swiglu", "linear", "pad2d", "conv2d", "max_pool2d", "conv2d_parameters")

# Gradients of "torch" are asked for by `torch.autograd.grad`: a checkpoint has to be of `use_reentrant=False`.
#
# Optional words of an implementation, besides the operators:
#   array      "torch" (default) or "numpy": the library whose arrays it takes and returns
#   precision  {"conv2d.backward.bfloat16": {"accumulation": "storage"}, ...}: what it declares of its precision;
#              keys operator.direction.dtype, values as in assay.reference.arithmetic.precision.Precision.declared
#   devices    the devices it supports, ("cpu",) by default for "numpy", any that torch has for "torch"
#   dtypes     the dtypes it supports, all that its array library has by default
#   vjp        vjp(operator, arguments, cotangent) -> {name: gradient}: its own differentiation; arguments are all of
#              a call's, by name, with the defaults above; a gradient for each tensor that is given
#   gradients  False if it has none: reported as not provided
ARRAYS = ("torch", "numpy")


@dataclass(frozen=True)
class Implementation:
    """A loaded candidate: its operators by name, what it says of itself, and where it came from."""

    name: str
    operators: Mapping[str, Callable[..., Any]]
    array: str = "torch"
    precision: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    devices: Sequence[str] | None = None
    dtypes: Sequence[str] | None = None
    vjp: Callable[..., Mapping[str, Any]] | None = None
    gradients: bool = True
    recipe: str = ""  # Python that binds `candidate` to it, for scripts that show a fault
    version: str = ""
    disturbed: tuple[str, ...] = ()  # other people's functions that loading it has replaced
    worker: Any = None  # where it runs, if not in this process: an `isolated.Worker`

    def offered(self) -> tuple[str, ...]:
        """The dtypes that it has, and its array library."""
        library = self.dtypes if self.worker is not None else tuple(arrays_of(self.array).dtypes)
        return tuple(dtype for dtype in library or () if self.dtypes is None or dtype in self.dtypes)

    def device_problem(self, device: str) -> str | None:
        """Why its array library cannot use ``device`` here, or None."""
        return (self.worker or arrays_of(self.array)).device_problem(device)
