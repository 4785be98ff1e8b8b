"""What a sum of products may lose at the ends of a format's range, where relative errors say nothing.

Under ``flush`` a number below the normal ones may be taken for zero: an input, a product, a sum on the way. Under
``operands`` a factor is rounded to a format of its own, whose least numbers and largest one are not storage's.

>>> from assay.reference.arithmetic.formats import FLOAT16, FLOAT32
>>> tf32 = Precision.declared(FLOAT32, {"operands": "tf32"})
>>> lost(tf32, [Factors(1e-39, 1e-39, 1.0, True)]) == 2.0**-137 * (1.0 + 2.0**-11)  # half of TF32's least number
True
>>> flushing = Precision.declared(FLOAT16, {"accumulation": "storage", "flush": True})
>>> lost(flushing, [Factors(0.5, 0.5, 2.0**-14, True), Factors(0.5, 0.5, 0.5, True)]) == 2.0**-15
True
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from assay.reference.arithmetic.precision import Precision


class Factors(NamedTuple):
    """A product: the least and the largest magnitude of one factor, the other one's magnitude, and the sign."""

    least: float
    most: float
    other: float
    positive: bool


def lost(precision: Precision, products: Iterable[Factors], bias: float = 0.0) -> float:
    """An absolute error of their sum, besides its relative one; infinite where an operand may overflow.

    That the sum itself may be flushed is not counted.
    """
    products, found = list(products), 0.0
    if precision.operands is not precision.storage:
        found += sum(_by_operands(precision, each) for each in products)
    some = [each for each in products if each.most and each.other]
    if precision.flush:
        found += sum(_flushed(precision, each) for each in some)
        if _may_cancel(some, bias):
            found += max(0, len(some) + (bias != 0) - 2) * precision.accumulation.least_normal
    return found


def _may_cancel(some: list[Factors], bias: float) -> bool:
    """Whether some terms of a sum may be of different signs; those of one sign add up to no less than each of them."""
    signs = {each.positive for each in some} | ({bias > 0} if bias else set())
    return len(signs) > 1 or any(each.least == 0.0 for each in some)


def _flushed(precision: Precision, each: Factors) -> float:
    """What is lost of one product: an input is taken for zero, or the product itself is."""
    read, computed = precision.storage.least_normal, precision.accumulation.least_normal
    shrunk = 0.0 if precision.operands is precision.storage else 4.0 * precision.operands.unit
    found = each.most * each.other if each.other < read else 0.0
    if each.least < read:
        found = max(found, min(each.most, read) * each.other)
    if each.least * each.other * (1.0 - shrunk) < computed:
        found = max(found, min(max(each.most * each.other, math.ulp(0.0)), computed))
    return found


def _by_operands(precision: Precision, each: Factors) -> float:
    """What rounding below the operands' normal numbers adds to their relative error."""
    operands = precision.operands
    if max(each.most, each.other) > operands.largest:
        return math.inf
    least, flushed = operands.least_subnormal / 2, operands.least_normal if precision.flush else 0.0
    first = max(least, min(flushed, each.most)) if each.most > 0.0 and each.least < operands.least_normal else 0.0
    second = max(least, min(flushed, each.other)) if 0.0 < each.other < operands.least_normal else 0.0
    return (first * each.other + each.most * second) * (1.0 + operands.unit) + first * second


def unsettled(precision: Precision, x: float, w: float) -> bool:
    """Whether a product may be infinite or NaN though its exact value is not, or the other way round.

    A factor of an infinity may be taken for zero; a finite one may be infinite as an operand.
    """
    least, largest = precision.storage.least_normal if precision.flush else 0.0, math.inf
    if precision.operands is not precision.storage:
        least, largest = max(least, precision.operands.least_normal), precision.operands.largest
    meets = any(math.isinf(a) and 0.0 < abs(b) < least for a, b in ((x, w), (w, x)))
    return meets or any(largest < abs(a) < math.inf for a in (x, w))
