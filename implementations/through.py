"""Entering and leaving a library: numpy arrays among the arguments become its tensors, its result a numpy array.

Adapters with ``array = "numpy"`` use it, so that what is theirs is the library's own call.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from assay.reference.conv2d import Size, pair

Operator = Callable[..., Any]


def through(enter: Callable[[Any], Any], leave: Callable[[Any], Any]) -> Callable[[Operator], Operator]:
    """A decorator: each array among the arguments goes through ``enter``, the result through ``leave``."""

    def decorate(operator: Operator) -> Operator:
        @functools.wraps(operator)
        def call(*arguments: Any) -> Any:
            return leave(operator(*(enter(each) if is_tensor(each) else each for each in arguments)))

        return call

    return decorate


def inside(operator: Operator) -> Operator:
    """The operator on the library's own tensors."""
    return operator.__wrapped__  # type: ignore[attr-defined, no-any-return]


def is_tensor(given: Any) -> bool:
    """Whether an argument is a tensor, and not a parameter."""
    return isinstance(given, np.ndarray)


def tensors_of(arguments: Mapping[str, Any]) -> list[str]:
    """The names of the tensors among an operator's arguments."""
    return [name for name, given in arguments.items() if is_tensor(given)]


def around(shape: Sequence[int], padding: Size) -> list[tuple[int, int]]:
    """(before, after) for each axis of a tensor that is padded along its last two."""
    return [*((0, 0) for _ in shape[:-2]), *((each, each) for each in pair(padding))]
