"""Values: Hypothesis draws which family, a seed and a few special elements; numpy fills the bulk.

So an example costs microseconds, not a draw an element, and it shrinks to things like "zeros, but x[0, 0, 1, 2] = 1".
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from hypothesis import strategies as st

from assay.implementations.arrays import Argument, Values
from assay.implementations.layouts import LAYOUTS, memory_of, strided
from assay.reference.arithmetic.formats import FLOAT16, FLOAT64, TF32, Format

# From the simplest, which shrinking prefers, to the nastiest.
REALS = ("zeros", "integers", "normal", "positive", "negative", "wide", "cancelling", "spikes", "large", "tiny")
INTEGERS = ("zeros", "integers", "sparse")
# For laws about manners, and for those that need other values from another seed. No element is set by hand in these:
# drawing them costs more than all the rest of a texture.
MANNERS = ("normal", "integers", "positive", "negative", "spikes")  # no zeros: who writes x * 2 to zeros, hides it
SEEDED = ("normal", "positive", "negative")
PLAIN = (MANNERS, SEEDED)
# For results that a candidate going forward must not flush to zero, unless it declares that.
WITH_SUBNORMALS = (*REALS, "subnormal")
REPEATED = "copy of "  # before a layout: the contiguous copy of a tensor that lies so
LARGE = 2**16  # elements from which a tensor is not copied as a whole, nor filled again
HEADROOM = 2  # bits that a sum leaves to who adds up parts of tensors first, as Strassen does
TILE = 509  # a prime: tiles and blocks of tiles do not repeat with it
Family = Callable[[np.random.Generator, int, Format, int], Values]
SPECIAL_ELEMENTS = (1.0, -1.0, 2.0, -3.0, 0.5, -0.0, 10.0, -20.0, 100.0)


@dataclass(frozen=True)
class Texture:
    """What a tensor holds, before it is known in which format: a family, a seed, elements set by hand, a layout."""

    family: str = "zeros"
    seed: int = 0
    elements: tuple[tuple[int, float], ...] = ()
    layout: str = "contiguous"

    def fill(self, shape: tuple[int, ...], fmt: Format, terms: int = 1) -> Argument:
        """An argument of ``shape`` whose values are numbers of ``fmt``.

        ``terms`` is the length of the longest sum that the values enter: integers are drawn so small that such a
        sum of products of two of them is exact in ``fmt``, in any order.
        """
        kept = next(kept for most, kept in _KEPT.items() if math.prod(shape) <= most)
        return kept(self, shape, fmt, terms, repr(self.elements))

    def _made(self, shape: tuple[int, ...], fmt: Format, terms: int, written: str) -> Argument:
        """``written`` are the elements, in which a zero has its sign: tuples that differ in that alone are equal.

        What lies otherwise holds the same array, if it can, so that what is permitted is worked out once.
        """
        if self.layout.startswith("expanded"):
            return Argument(replace(self, layout=REPEATED + self.layout).fill(shape, fmt, terms).values, self.layout)
        if self.layout != "contiguous":
            made = laid(replace(self, layout="contiguous").fill(shape, fmt, terms).values, self.layout)
        else:
            size = math.prod(shape)
            values = FAMILIES[self.family](np.random.default_rng(self.seed), size, fmt, terms)
            for position, value in self.elements if size else ():
                values[position % size] = value
            made = Argument(rounded(values, fmt).reshape(shape))
        made.values.flags.writeable = False
        return made

    def holding(self, values: Values, terms: int) -> Given:
        """This texture with values written out, those that it holds or some of them."""
        return Given(self.family, self.seed, (), self.layout, values, terms, (self.family, self.seed))


@dataclass(frozen=True)
class Picking(Texture):
    """One in each row of a matrix, of either sign, each in another column: products are exact in every order."""

    def fill(self, shape: tuple[int, ...], fmt: Format, terms: int = 1) -> Argument:
        rows, columns = np.arange(shape[0]), shape[1]
        values = np.zeros(shape)
        values[rows, (rows * 37 + self.seed) % columns] = (-1.0) ** rows
        return laid(values, self.layout)


# Tensors that are asked for again are the same ones, by how many elements they have at most: a law asks for one in
# every layout and mode, of every candidate. Of large ones fewer are kept; who judges them again knows them.
_KEPT = {
    most: functools.lru_cache(maxsize=tensors)(Texture._made)
    for most, tensors in ((2**12, 1024), (LARGE, 32), (2**21, 12), (math.inf, 4))
}


@dataclass(frozen=True, eq=False)
class Given(Texture):
    """The values of a drawn texture, written out, so that they can be simplified one by one.

    It keeps the family and the seed of the texture whose values it holds: a law that asks it for another family or
    seed, or for elements of its own, gets what it would have got. ``drawn`` is that family and seed.
    """

    values: Values = field(default_factory=lambda: np.zeros(0))
    terms: int = 1
    drawn: tuple[str, int] = ("", 0)

    def fill(self, shape: tuple[int, ...], fmt: Format, terms: int = 1) -> Argument:
        if (self.family, self.seed) != self.drawn:
            return Texture(self.family, self.seed, self.elements, self.layout).fill(shape, fmt, terms)
        values = np.zeros(shape)
        if self.values.ndim != len(shape) or (
            values.size > self.values.size and self.family not in (*WITH_SUBNORMALS, *INTEGERS)
        ):
            raise ValueError(f"values of shape {self.values.shape} of the family {self.family!r} do not fill {shape}")
        kept = tuple(slice(min(old, new)) for old, new in zip(self.values.shape, shape, strict=True))
        values[kept] = self.values[kept]
        if self.family in INTEGERS and terms > self.terms:
            values = np.clip(values, -largest_integer(fmt, terms), largest_integer(fmt, terms))
        for position, value in self.elements if values.size else ():
            values.flat[position % values.size] = value
        return laid(values, self.layout)


def laid(values: Values, layout: str) -> Argument:
    """An argument that lies so, and holds what such a tensor can: an expanded one repeats what it has."""
    way = layout.removeprefix(REPEATED)
    if way.startswith("expanded") and values.size:
        memory, *place = memory_of(values, way)
        values = np.array(strided(memory, values.shape, *place))
    return Argument(values, "contiguous" if layout.startswith(REPEATED) else layout)


def rounded(values: Values, fmt: Format) -> Values:
    """Every value rounded to nearest in ``fmt``, kept finite."""
    if fmt is FLOAT64:
        return values
    values = np.clip(values, -fmt.largest, fmt.largest)
    if fmt.name == "bfloat16":
        bits = values.astype(np.float32).view(np.uint32)
        bits = bits + 0x7FFF + ((bits >> 16) & 1) & 0xFFFF0000
        return np.clip(bits.view(np.float32).astype(np.float64), -fmt.largest, fmt.largest)
    return values.astype(fmt.name).astype(np.float64)


def largest_integer(fmt: Format, terms: int) -> int:
    """The largest m such that ``terms`` products of integers up to m, and one more, sum to a number of ``fmt``.

    No larger than TF32 holds, so that a candidate that declares such operands is exact here too.
    """
    return min(math.isqrt(2**fmt.precision // (terms + 1)), 2**TF32.precision)


def _integers(rng: np.random.Generator, size: int, fmt: Format, terms: int) -> Values:
    most = largest_integer(fmt, terms)
    if not most:
        return _sparse(rng, size, fmt, terms)
    return rng.integers(-most, most + 1, size).astype(np.float64)


def _of_bits(share: Callable[[int, int], int]) -> Family:
    """Integers of a share of the bits that the sum's format has for the product of two; in float16, so many 256ths.

    That format is binary64 for float64, else binary32: of such sums results are rounded once, and none overflows.
    """

    def family(rng: np.random.Generator, size: int, fmt: Format, terms: int) -> Values:
        bits = share((53 if fmt is FLOAT64 else 24) - HEADROOM - terms.bit_length(), fmt.precision)
        most = 2 ** max(1, min(bits, fmt.precision)) - 1
        return rng.integers(-most, most + 1, size) * (2.0**-8 if fmt is FLOAT16 else 1.0)

    return family


def _sparse(rng: np.random.Generator, size: int, fmt: Format, terms: int) -> Values:
    """Ones and minus ones, so rare that a sum over ``terms`` products stays small."""
    density = min(0.5, 2.0**fmt.precision / (4.0 * (terms + 1)))
    return (rng.integers(0, 2, size) * 2.0 - 1.0) * (rng.random(size) < density)


def _few(rng: np.random.Generator, size: int, fmt: Format, terms: int) -> Values:
    """Ones and minus ones, first and last element among them, and else zeros: times digits any sum of them is exact."""
    values = np.zeros(size)
    places = rng.integers(0, max(1, size), min(64, 2**fmt.precision // 16))
    places[:2] = 0, size - 1
    values[places[:size]] = rng.choice((-1.0, 1.0), places[:size].size)
    return values


def _digits(rng: np.random.Generator, size: int, fmt: Format, terms: int) -> Values:
    """Integers of one digit, and no zero."""
    return rng.integers(1, 9, size) * rng.choice((-1.0, 1.0), size)


def _tiled(family: Family) -> Family:
    """The family's first numbers again and again: those of a large tensor are few to write down."""
    return lambda rng, size, fmt, terms: np.resize(family(rng, min(size, TILE), fmt, terms), size)


def _normal(rng: np.random.Generator, size: int, fmt: Format, terms: int) -> Values:
    return rng.standard_normal(size)


def _weights(rng: np.random.Generator, size: int, fmt: Format, terms: int) -> Values:
    """As networks have: sums of normal numbers times these are as large as a few of those, and a gate is half open."""
    return rng.standard_normal(size) * min(1.0, 4.0 / math.sqrt(terms))


def _wide(rng: np.random.Generator, size: int, fmt: Format, terms: int) -> Values:
    span = min(fmt.emax // 4, 40)
    return rng.standard_normal(size) * 2.0 ** rng.integers(-span, span // 2 + 1, size)


def _cancelling(rng: np.random.Generator, size: int, fmt: Format, terms: int) -> Values:
    """Neighbours of opposite sign and nearly equal size: sums of them lose most of their digits."""
    half = rng.standard_normal((size + 1) // 2) * 4.0
    return np.stack([half, -half * (1.0 + rng.integers(-1, 2, half.size) * fmt.unit * 2)], axis=1).ravel()[:size]


def _spikes(rng: np.random.Generator, size: int, fmt: Format, terms: int) -> Values:
    """Heavy tails: a few elements carry the sum."""
    return np.where(rng.random(size) < 0.1, rng.standard_normal(size) * 100.0, rng.standard_normal(size) * 0.01)


def _large(rng: np.random.Generator, size: int, fmt: Format, terms: int) -> Values:
    return rng.standard_normal(size) * min(30.0, 2.0 ** (fmt.emax // 4))


def _tiny(rng: np.random.Generator, size: int, fmt: Format, terms: int) -> Values:
    return rng.standard_normal(size) * 2.0 ** -(fmt.emax // 4)


def _few_bits(rng: np.random.Generator, size: int, fmt: Format, terms: int) -> Values:
    return rng.integers(0, 4, size).astype(np.float64)


def _subnormal(rng: np.random.Generator, size: int, fmt: Format, terms: int) -> Values:
    """On both sides of the least normal number, most of them below."""
    return rng.standard_normal(size) * fmt.least_normal * 0.5


FAMILIES: dict[str, Family] = {
    "zeros": lambda rng, size, fmt, terms: np.zeros(size),
    "ones": lambda rng, size, fmt, terms: np.ones(size),
    "integers": _integers,
    "sparse": _sparse,
    "few": _few,
    "digits": _digits,
    "normal": _normal,
    "positive": lambda *given: np.abs(_normal(*given)) + 0.125,
    "negative": lambda *given: -np.abs(_normal(*given)) - 0.125,
    "weights": _weights,
    "wide": _wide,
    "cancelling": _cancelling,
    "spikes": _spikes,
    "large": _large,
    "tiny": _tiny,
    "subnormal": _subnormal,
    "few bits": _few_bits,
    "broad": _of_bits(lambda bits, most: bits - 1),
    "narrow": _of_bits(lambda bits, most: bits - max(1, min(bits - 1, most))),
    "even": _of_bits(lambda bits, most: bits // 2),
    "bytes": lambda rng, size, fmt, terms: rng.integers(0, 256, size).astype(np.float64),
    "signed bytes": lambda rng, size, fmt, terms: rng.integers(-127, 128, size).astype(np.float64),
    "distinct": lambda rng, size, fmt, terms: rng.permutation(size).astype(np.float64) - size // 2,
    "ties": lambda rng, size, fmt, terms: rng.integers(-2, 3, size).astype(np.float64),
}

FAMILIES |= {f"tiled {name}": _tiled(FAMILIES[name]) for name in ("integers", "digits", "normal", "distinct")}

SEEDS = st.integers(0, 2**16 - 1)
_ELEMENTS = st.lists(st.tuples(st.integers(0, 4095), st.sampled_from(SPECIAL_ELEMENTS)), max_size=3).map(tuple)
# Integers so sparse that their sums are exact would no longer be, expanded over what is summed.
_LAYOUTS = st.sampled_from(("contiguous", *(layout for layout in LAYOUTS if not layout.startswith("expanded_"))))


@functools.cache
def textures(families: tuple[str, ...] = REALS) -> st.SearchStrategy[Texture]:
    """Textures of these families, in any layout."""
    elements = _ELEMENTS if "normal" in families and families not in PLAIN else st.just(())
    parts = st.tuples(st.sampled_from(families), SEEDS, elements, _LAYOUTS)
    return parts.map(lambda drawn: Texture(*drawn))
