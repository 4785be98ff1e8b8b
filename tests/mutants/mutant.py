"""A planted bug: an operator that is wrong in one way, and the clause that it breaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from assay.implementations.contract import Implementation
from assay.implementations.load import load
from assay.tests.trial.failure import TIERS

# What is wrong, and how hard it is to see: in most calls; only in a sharp comparison or with some parameters; only in
# few elements, few calls or few shapes.
KINDS = ("formula", "pooling", "precision", "size", "value", "layout", "state", "contract", "gradient")
DIFFICULTIES = ("plain", "subtle", "rare")

Operators = Mapping[str, Callable[..., Any]]


@dataclass(frozen=True)
class Mutant:
    """``operators`` replaces some of PyTorch's; the bug shows in ``dtype``; ``words`` says what is wrong.

    ``tier`` is the one that should see it first. ``operators`` may be a function that makes them, for a bug that
    remembers: each `implementation` then starts with no memory. ``declares`` is what it says of its precision, besides.
    """

    id: str
    clause: str
    words: str
    operators: Operators | Callable[[], Operators]
    dtype: str = "float32"
    kind: str = "formula"
    tier: str = "exact"
    difficulty: str = "plain"
    declares: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for word, value, allowed in (
            ("kind", self.kind, KINDS),
            ("tier", self.tier, TIERS),
            ("difficulty", self.difficulty, DIFFICULTIES),
        ):
            if value not in allowed:
                raise ValueError(f"{self.id}: {word}={value!r}; allowed: {', '.join(allowed)}")

    @property
    def operator(self) -> str:
        """The operator that is wrong; the first, if there are several."""
        return next(iter(self.made()), self.clause.partition(".")[0])

    def made(self) -> Operators:
        """The wrong operators, new if they remember."""
        return self.operators() if callable(self.operators) else self.operators

    def implementation(self) -> Implementation:
        """PyTorch with this bug."""
        torch = load("torch")
        precision = {**torch.precision, **self.declares}
        return Implementation(f"mutant {self.id}", {**torch.operators, **self.made()}, precision=precision)
