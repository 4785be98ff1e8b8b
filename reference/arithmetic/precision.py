"""What an implementation says of its own precision: the parameters of the accuracy model.

The default is strict: operands in the storage format, sums in float32 (float64 for float64), no flushing.

>>> from assay.reference.arithmetic.formats import BFLOAT16
>>> Precision.strict(BFLOAT16).accumulation.name
'float32'
>>> print(Precision.declared(BFLOAT16, {"accumulation": "storage"}))
accumulation=bfloat16
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from assay.reference.arithmetic.formats import FLOAT32, FLOAT64, FORMATS, TF32, Format

ALGORITHMS = ("direct", "winograd", "fft")


class Refusal(Exception):
    """No cited bound says what is permitted here: the verdict is *cannot judge*, never a pass."""


class TooLong(Refusal):
    """A sum has too many terms for its bound to say anything; of shorter ones it does."""


class BadDeclaration(ValueError):
    """A precision declaration names a key or a value that the accuracy model does not know."""


@dataclass(frozen=True)
class Precision:
    """Storage, accumulation and operand formats, whether subnormals may be flushed, and the kind of algorithm.

    ``spreads`` says that a NaN or an infinity may reach results whose formula does not read it, as it does where
    elements are multiplied in groups and the ones that do not count have a weight of zero.
    """

    storage: Format
    accumulation: Format
    operands: Format
    flush: bool = False
    spreads: bool = False
    algorithm: str = "direct"

    @property
    def reaches_further(self) -> bool:
        """Whether a NaN or an infinity may reach results whose formula does not read it."""
        return self.spreads or self.algorithm != "direct"

    @property
    def keeps_a_bias(self) -> bool:
        """Whether a bias alone is not rounded, as an operand or as a sum."""
        return self.operands is self.storage and self.accumulation.precision >= self.storage.precision

    @property
    def exact_on_integers(self) -> bool:
        """Whether sums of products of such integers as laws draw are exact: of 11 bits at most, if storage has them."""
        operands = self.operands.precision >= min(TF32.precision, self.storage.precision)
        return self.algorithm == "direct" and operands and self.accumulation.precision >= self.storage.precision

    @classmethod
    def strict(cls, storage: Format) -> Precision:
        """The default: float32 sums for formats of 32 bits or fewer, float64 sums for float64."""
        wide = FLOAT64 if storage is FLOAT64 else FLOAT32
        return cls(storage, wide, storage)

    @classmethod
    def declared(cls, storage: Format, declaration: Mapping[str, object]) -> Precision:
        """The strict precision with what ``declaration`` changes.

        Keys: ``accumulation`` and ``operands`` (a format's name, or "storage"), ``flush`` and ``spreads`` (bools),
        ``algorithm`` ("direct", "winograd" or "fft").

        Raises:
            BadDeclaration: for any other key or value.
        """
        changes = {key: _value(key, value, storage) for key, value in declaration.items()}
        return replace(cls.strict(storage), **changes)

    def __str__(self) -> str:
        strict = Precision.strict(self.storage)
        fields = ("accumulation", "operands", "flush", "spreads", "algorithm")
        parts = [f"{key}={getattr(self, key)}" for key in fields if getattr(self, key) != getattr(strict, key)]
        return ", ".join(parts) or "strict"


def _value(key: str, value: object, storage: Format) -> Any:
    allowed: dict[str, list[object]] = {
        "accumulation": [*FORMATS, "storage"],
        "operands": [*FORMATS, "storage"],
        "flush": [True, False],
        "spreads": [True, False],
        "algorithm": list(ALGORITHMS),
    }
    if key not in allowed:
        raise BadDeclaration(f"unknown key {key!r}; allowed: {', '.join(allowed)}")
    if value not in allowed[key]:
        raise BadDeclaration(f"{key}={value!r}; allowed: {', '.join(map(str, allowed[key]))}")
    if key in ("accumulation", "operands"):
        return storage if value == "storage" else FORMATS[str(value)]
    return value
