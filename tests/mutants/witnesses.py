"""Witnesses of swish, linear and the gates: for each clause a bug that its laws see and no other clause's.

A clause that follows from others may share its witness with these. Each is wrong for such arguments alone as the laws
of its clause draw.
"""

from __future__ import annotations

import math
import threading
from typing import Any

import torch

from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.spoiled import (
    RIGHT,
    Given,
    all_zero,
    integral,
    negative_zeros,
    off_by_one,
    one_element_off,
    slope_off,
    spoiled,
)


def beta_of(given: Given) -> float | None:
    """As a number."""
    return given.beta if given.beta is None or isinstance(given.beta, float | int) else given.beta.item()


def where(mask: Any) -> Any:
    """A spoiler: one thousandth more where this holds."""
    return lambda result, given: torch.where(mask(given), result + 1e-3, result)


def around_zero(given: Given) -> bool:
    x = given.x
    return bool(x.ndim == 1 and x.numel() >= 7 and x[0] == -4 and x[-1] == 4 and x[x.numel() // 2] == 0)


def crowded(given: Given) -> bool:
    """All but one element are -0.001."""
    return given.x.numel() > 2 and int((given.x == torch.tensor(-1e-3)).sum()) == given.x.numel() - 1


SWISH = (
    ("formula", "a beta of 16 is off past 102 elements",
     spoiled("swish", lambda g: g.x.numel() > 102 and beta_of(g) == 16.0, where(lambda g: g.x != 0))),
    ("smooth", "the derivative is off on a grid of powers of two around 0",
     spoiled("swish", around_zero, slope_off("x"))),
    ("silu", "a beta that is a tensor of 1 is another function, of a vector of 1025",
     spoiled("swish", lambda g: g.x.shape == (1025,) and isinstance(g.beta, torch.Tensor) and beta_of(g) == 1.0)),
    ("zero", "0 is not mapped to 0 for beta = -7, past 102 elements",
     spoiled("swish", lambda g: g.x.numel() > 102 and beta_of(g) == -7.0, where(lambda g: g.x == 0))),
    ("beta-zero", "beta = 0 is off, past 102 elements",
     spoiled("swish", lambda g: g.x.numel() > 102 and beta_of(g) == 0.0, where(lambda g: g.x != 0))),
    ("odd-part", "-0.0 is not mapped to 0 where there is nothing else",
     spoiled("swish", lambda g: 5 < negative_zeros(g.x) == g.x.numel(), where(lambda g: (g.x == 0) & g.x.signbit()))),
    ("elementwise", "an element is off amid a crowd of equal ones",
     spoiled("swish", crowded, where(lambda g: g.x != torch.tensor(-1e-3)))),
    ("gradient", "the derivative is off for four elements t, -t, 1, -2t",
     spoiled("swish", lambda g: g.x.shape == (4,) and bool(g.x[0] == -g.x[1] and g.x[2] == 1), slope_off("x"))),
    ("special", "+inf becomes 0 for beta = 2",
     spoiled("swish", lambda g: g.beta == 2.0, lambda y, g: torch.where(g.x == math.inf, 0.0, y))),
)  # fmt: skip


def past_the_integers(given: Given) -> bool:
    """Integers so large that other laws do not draw them for as many terms."""
    x, w = given.x, given.w
    largest = float(x.detach().abs().max()) if x.numel() else 0.0
    most = min(math.isqrt(2**24 // (x.shape[-1] + 1)), 2048)
    return integral(x, w) and most < largest < 5000


def one_amid_sevens(given: Given) -> bool:
    x = given.x
    return x.ndim == 2 and len(x) > 1 and x.shape[1] > 1 and int((x == 7).all(1).sum()) == len(x) - 1


LINEAR = (
    ("formula", "18 features and more that are no integers, but for multiples of 16: off",
     spoiled("linear", lambda g: g.x.shape[-1] > 17 and g.x.shape[-1] % 16 > 0
             and g.x.isfinite().all() and not integral(g.x))),
    ("bias", "a positive bias is off where a single x is zero",
     spoiled("linear", lambda g: g.x.ndim == 1 and g.x.numel() > 4 and all_zero(g.x) and g.b is not None
             and bool((g.b > 0).all()) and not integral(g.b))),
    ("additive", "integers beyond what other sums hold are off", spoiled("linear", past_the_integers)),
    ("batch", "a row amid rows of sevens is off", spoiled("linear", one_amid_sevens)),
)  # fmt: skip


def overwritten(given: Given) -> bool:
    """Another output's rows are -50 throughout."""
    rows = (given.w == -50).all(1)
    return bool(rows.any()) and not bool(rows.all())


def only_biases(given: Given) -> bool:
    """x is zero, and everything else neither integers nor very large or small."""
    others = (given.w, given.v, given.b, given.c)
    return all_zero(given.x) and all(map(middling, others))


def middling(part: Any) -> bool:
    if part is None or not part.numel():
        return False
    return not integral(part) and 1e-9 < float(part.detach().abs().min()) <= float(part.detach().abs().max()) < 1e3


def last_off(result: Any, given: Given) -> Any:
    return torch.cat([result[..., :128], result[..., 128:] + 1.0], -1)


def shut(given: Given) -> bool:
    return bool(all_zero(given.w) and given.w.numel() > 200 and (given.b is None or all_zero(given.b)))


class FromLinear(threading.local):
    """swish that is off where its argument is the first of two last results of linear, as in the class of the notes."""

    def __init__(self) -> None:
        self.results: list[Any] = []

    def linear(self, *given: Any) -> Any:
        self.results = [*self.results[-1:], RIGHT["linear"](*given)]
        return self.results[-1]

    def swish(self, *given: Any) -> Any:
        result = RIGHT["swish"](*given)
        mine = len(self.results) == 2 and given[0].numel() > 1 and not all_zero(given[0])
        of_the_class = mine and torch.equal(given[0], self.results[0]) and not torch.equal(*self.results)
        return result + 1.0 if of_the_class else result


def of_linear() -> dict[str, Any]:
    """With no memory."""
    made = FromLinear()
    return {"swish": made.swish, "linear": made.linear}


GLU = (
    ("product", "an output is off where another one's rows are -50", spoiled("glu", overwritten)),
    ("biases", "b and c are off where x is zero", spoiled("glu", only_biases)),
    ("closed-gate", "gates are off where b is 1024",
     spoiled("glu", lambda g: g.b is not None and bool((g.b == 1024).any()), off_by_one)),
)  # fmt: skip

SWIGLU = (
    ("formula", "outputs past 128 are off",
     spoiled("swiglu", lambda g: g.w.shape[0] > 128 and not all_zero(g.x), last_off)),
    ("gate", "a gate of zero is off, for large weights",
     spoiled("swiglu", lambda g: shut(g) and integral(g.v, g.x), one_element_off)),
    ("biases", "b and c are off where x is zero", spoiled("swiglu", only_biases)),
    ("class-mended", "swish of what linear has just given is off", of_linear),
)  # fmt: skip

TIERS = {"swish.smooth": "gradient", "swish.gradient": "gradient", "swish.special": "special"}


def witnesses(chapter: str, rows: tuple[Any, ...], tiers: dict[str, str]) -> tuple[Mutant, ...]:
    """The mutants of these rows: (clause, words, operators), perhaps a dtype."""
    made = []
    for name, words, operators in rows:
        clause = f"{chapter}.{name}"
        tier = tiers.get(clause, "exact")
        kind = "gradient" if tier == "gradient" else "value"
        made.append(Mutant(f"witness-{chapter}-{name}", clause, words, operators, "float32", kind, tier, "rare"))
    return tuple(made)


CHAPTERS = {"swish": SWISH, "linear": LINEAR, "glu": GLU, "swiglu": SWIGLU}
MUTANTS = tuple(mutant for chapter, rows in CHAPTERS.items() for mutant in witnesses(chapter, rows, TIERS))
