"""Families of planted bugs whose parameters are drawn: nobody has seen them, not the authors of the laws either.

`generated` draws thresholds, axes, tile sizes, taps, relative errors, channels and counts of calls from a seed. Each
mutant is wrong for some input of ordinary size: axes of up to 129 elements, 17 channels, kernels of 7. The ranges see
to that:

- a tile, a channel or a row of a kernel is drawn below the size that its axis may have (`AXES`, `LARGEST_KERNEL`), a
  residue is one that some size has, and positions in a weight are taken modulo its sizes;
- one element in N: N is at most 512, fewer elements than 4 rows of 129 outputs have;
- a relative error is at least 8 units of rounding in the half formats, where one product and its storing may be wrong
  by 2, and at least 32 in float32 and float64, where a sigmoid of little more than 0 may be wrong by 8 (`RELATIVE`);
- a threshold on values is at most 60, and on the sigmoid's argument 11, a hundred units of rounding away from 0 or 1;
- a bias is wrong by at least 2**-14 of itself, which shows where x = 0; a pooling starts from no less than -1e38;
- a count of calls is at most 40, and a stride at most 4, which laws reach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from assay.reference.arithmetic.formats import STORAGE
from assay.spec import OPERATORS
from assay.tests.mutants import parametrised as build
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.parametrised import AXES, FAULTS, Operator
from assay.tests.mutants.slips import FORMULAS, tier_of

LARGEST_KERNEL = 7
# The dtype, and the exponents of two between which a relative error lies, in units of rounding.
RELATIVE = {"float32": (5, 14), "float64": (5, 14), "bfloat16": (3, 5), "float16": (3, 5)}
GATED = ("swish", "glu", "swiglu")
SUMS = ("linear", "conv2d", "glu", "swiglu")
BIASES = {"linear.bias": ("b",), "conv2d.bias": ("bias",), "glu.biases": ("b", "c"), "swiglu.biases": ("b", "c")}


@dataclass(frozen=True)
class Family:
    """``build(operator, **draw(rng, operator))`` is the wrong operator; ``operators`` come in turn, in a drawn order.

    ``words`` says what is wrong, with what was drawn in braces. Without a ``tier`` it is that of the formula.
    """

    name: str
    words: str
    operators: tuple[str, ...]
    draw: Callable[[Random, str], Mapping[str, Any]]
    build: Callable[..., Operator]
    kind: str
    tier: str = ""
    difficulty: str = "subtle"
    clauses: Mapping[str, str] = field(default_factory=lambda: FORMULAS | {"pad2d": "pad2d.zeros"})


def generated(seed: int, each: int = 5) -> tuple[Mutant, ...]:
    """``each`` mutants of every family. The first ones stay the same when there are more."""
    return tuple(mutant for family in FAMILIES for mutant in members(family, seed, each))


def members(family: Family, seed: int, each: int) -> Iterator[Mutant]:
    rng = Random(f"{seed} {family.name}")
    order = rng.sample(family.operators, len(family.operators))
    for number in range(each):
        operator = order[number % len(order)]
        yield made(family, operator, dict(family.draw(rng, operator)), number)


def made(family: Family, operator: str, drawn: dict[str, Any], number: int) -> Mutant:
    """The mutant of a family with these parameters."""
    label = "-".join(map(printed, drawn.values()))
    return Mutant(
        id=f"generated.{family.name}-{label}-{operator}-{number}",
        clause=family.clauses[operator],
        words=family.words.format(**{name: printed(value) for name, value in drawn.items()}),
        operators=lambda: {operator: family.build(operator, **drawn)},
        dtype=drawn.get("dtype", "float32"),
        kind=family.kind,
        tier=family.tier or tier_of(operator),
        difficulty=family.difficulty,
    )


def printed(value: Any) -> str:
    if isinstance(value, tuple):
        return ".".join(map(str, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)


# --- drawing


def between(rng: Random, least: float, most: float) -> float:
    """Log-uniform."""
    return least * (most / least) ** rng.random()


def count(rng: Random, least: int, most: int) -> int:
    """Log-uniform, both ends included."""
    return min(most, int(between(rng, least, most + 1)))


def a_tile(rng: Random, operator: str) -> dict[str, Any]:
    axis, (_, size) = rng.choice(sorted(AXES[operator].items()))
    return {"tile": count(rng, 4, size - 1), "axis": axis}


def a_residue(rng: Random, operator: str) -> dict[str, Any]:
    modulus = rng.randint(2, 9)
    return {"modulus": modulus, "residue": rng.randrange(modulus), "axis": rng.choice(sorted(AXES[operator]))}


def a_place(rng: Random, operator: str) -> dict[str, Any]:
    which = rng.choice([name for name in OPERATORS[operator].tensors if name in ("w", "v", "weight")])
    return {"tensor": which, "place": tuple(rng.randrange(17) for _ in range(4))}


def a_relative_error(rng: Random, operator: str) -> dict[str, Any]:
    dtype = rng.choice(sorted(RELATIVE))
    return {"error": STORAGE[dtype].unit * 2.0 ** rng.uniform(*RELATIVE[dtype]), "dtype": dtype}


def two_channels(rng: Random, operator: str) -> dict[str, Any]:
    first, second = sorted(rng.sample(range(17), 2))
    return {"first": first, "second": second}


def a_gradient(rng: Random, operator: str) -> dict[str, Any]:
    return {"tensor": rng.choice(OPERATORS[operator].tensors), "fault": rng.choice(sorted(FAULTS))}


def a_bias(rng: Random, operator: str) -> dict[str, Any]:
    (names,) = (names for clause, names in BIASES.items() if clause.startswith(f"{operator}."))
    return {"tensor": rng.choice(names), "error": between(rng, 2.0**-14, 1.0)}


ALL, IMAGES = tuple(AXES), ("conv2d", "max_pool2d")
WITH_GRADIENT = {op: f"{op}.gradient" for op in AXES}

FAMILIES = (
    Family(
        "tail-of-tile", "past the last whole tile of {tile} {axis} is 0", ALL, a_tile, build.tail_dropped, kind="size"
    ),
    Family("tile-repeated", "one tile of {tile} {axis} is repeated", ALL, a_tile, build.tile_repeated, kind="size"),
    Family(
        "residue",
        "if the number of {axis} is {residue} modulo {modulus}, the last is not written",
        ALL,
        a_residue,
        build.last_not_written,
        kind="size",
        difficulty="rare",
    ),
    Family(
        "tap",
        "one element of {tensor} is not read: {place}, modulo its sizes",
        SUMS,
        a_place,
        build.tap_left_out,
        kind="formula",
    ),
    Family(
        "relative",
        "the result in {dtype} is multiplied by 1 + {error}",
        ("linear", "swish", "conv2d", "max_pool2d", "glu", "swiglu"),
        a_relative_error,
        build.scaled,
        kind="precision",
    ),
    Family(
        "saturated",
        "the input is kept within {threshold} of 0",
        ("swish", "linear", "swiglu", "conv2d", "max_pool2d", "glu"),
        lambda rng, operator: {"threshold": between(rng, 2.0, 60.0)},
        build.saturated,
        kind="value",
    ),
    Family(
        "gate-shut",
        "the sigmoid is 0 or 1 further than {threshold} from 0",
        GATED,
        lambda rng, operator: {"threshold": rng.uniform(3.0, 11.0)},
        build.gate_shut_early,
        kind="value",
    ),
    Family(
        "one-in",
        "the last of {every} elements is multiplied by 1 + {error}",
        ("linear", "conv2d", "swish", "max_pool2d", "swiglu"),
        lambda rng, operator: {"every": count(rng, 16, 512), "error": between(rng, 2.0**-8, 1.0)},
        build.one_in,
        kind="size",
        difficulty="rare",
    ),
    Family(
        "channels",
        "channels or outputs {first} and {second} change places",
        (*SUMS, "max_pool2d"),
        two_channels,
        build.channels_swapped,
        kind="size",
    ),
    Family(
        "gradient",
        "the gradient of {tensor} is {fault}",
        (*SUMS, "max_pool2d"),
        a_gradient,
        build.gradient_wrong,
        kind="gradient",
        tier="gradient",
        clauses=WITH_GRADIENT,
    ),
    Family(
        "floor",
        "the search for the largest starts from -{floor}",
        ("max_pool2d",),
        lambda rng, operator: {"floor": between(rng, 2.0, 1e38)},
        build.floored,
        kind="pooling",
        tier="special",
        difficulty="plain",
        clauses={"max_pool2d": "max_pool2d.padding"},
    ),
    Family(
        "kernel-cut",
        "rows of the kernel from row {rows} on are not read",
        IMAGES,
        lambda rng, operator: {"rows": rng.randint(2, LARGEST_KERNEL - 1)},
        build.kernel_cut,
        kind="size",
    ),
    Family(
        "calls",
        "after {calls} calls the result passes through bfloat16",
        ("linear", "conv2d", "swish", "max_pool2d", "glu"),
        lambda rng, operator: {"calls": count(rng, 2, 40)},
        build.coarse_after,
        kind="state",
        difficulty="rare",
    ),
    Family(
        "stride",
        "with a stride of {stride} the kernel starts a column late",
        IMAGES,
        lambda rng, operator: {"stride": (rng.randint(1, 4), rng.randint(1, 4))},
        build.one_stride,
        kind="size",
        difficulty="rare",
    ),
    Family(
        "bias",
        "{tensor} is multiplied by 1 + {error}",
        SUMS,
        a_bias,
        build.bias_scaled,
        kind="precision",
        clauses={clause.partition(".")[0]: clause for clause in BIASES},
    ),
)

MUTANTS = generated(seed=1)
