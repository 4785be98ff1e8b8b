"""PyTorch's operators, spoiled in one narrow place each: what the witnesses of the clauses are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch

from assay.implementations.load import load
from assay.spec import OPERATORS

Given = Any  # an operator's arguments by name, None for what is left out; ``count``: how many were given
When = Callable[[Given], Any]
Spoil = Callable[[Any, Given], Any]

RIGHT = load("torch").operators


def arguments(operator: str, given: tuple[Any, ...]) -> Given:
    """The arguments by name."""
    names = OPERATORS[operator].arguments
    return SimpleNamespace(**dict(zip(names, (*given, *[None] * len(names)), strict=False)), count=len(given))


def off_by_one(result: Any, given: Given) -> Any:
    """One more, everywhere."""
    return result + 1.0


def one_element_off(result: Any, given: Given) -> Any:
    """One more in the first element."""
    first = torch.zeros_like(result)
    first.view(-1)[:1] = 1.0
    return result + first


def slope_off(name: str) -> Spoil:
    """The right result; the gradient by this argument is larger by the sum of what comes in."""

    def spoil(result: Any, given: Given) -> Any:
        tensor = getattr(given, name)
        return result + (tensor - tensor.detach()).sum()

    return spoil


@dataclass(frozen=True)
class Spoiled:
    """The operator, spoiled for the arguments for which ``when`` holds."""

    operator: str
    when: When
    spoil: Spoil

    def __call__(self, *given: Any) -> Any:
        named = arguments(self.operator, given)
        result = RIGHT[self.operator](*given)
        return self.spoil(result, named) if self.when(named) else result


def spoiled(operator: str, when: When, spoil: Spoil = off_by_one) -> Mapping[str, Spoiled]:
    """As a mutant has it."""
    return {operator: Spoiled(operator, when, spoil)}


def watching(operator: str, spoilers: Mapping[str, Spoiled], met: set[str]) -> Callable[..., Any]:
    """The right operator, which adds to ``met`` the names of those that would have spoiled what it gives."""

    def right(*given: Any) -> Any:
        result = RIGHT[operator](*given)
        named = arguments(operator, given)
        met.update(name for name in spoilers.keys() - met if spoilers[name].when(named))
        return result

    return right


def pair(value: Any) -> tuple[int, int]:
    """One number stands for both directions."""
    return (value, value) if isinstance(value, int) else tuple(value)


def all_zero(tensor: Any) -> bool:
    """Whether there is nothing but zeros, and something."""
    return bool(tensor.numel() and (tensor == 0).all())


def integral(*tensors: Any) -> bool:
    """Whether these hold integers alone."""
    return all(bool((tensor == tensor.round()).all()) for tensor in tensors if tensor is not None)


def negative_zeros(tensor: Any) -> int:
    """How many there are."""
    return int(((tensor == 0) & tensor.signbit()).sum())
