"""A planted bug: an operator that is wrong in one way, and the clause that it breaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from assay.implementations.contract import Implementation
from assay.implementations.load import load


@dataclass(frozen=True)
class Mutant:
    """``operators`` replaces some of PyTorch's; the bug shows in ``dtype``; ``words`` says what is wrong."""

    id: str
    clause: str
    words: str
    operators: Mapping[str, Callable[..., Any]]
    dtype: str = "float32"

    def implementation(self) -> Implementation:
        """PyTorch with this bug."""
        torch = load("torch")
        return Implementation(f"mutant {self.id}", {**torch.operators, **self.operators}, precision=torch.precision)
