"""An infinity that comes back makes infinities where the formula has them, and nowhere else."""

from __future__ import annotations

import math
import random
from functools import partial

import numpy as np

from assay.tests.conformance.test_mixtures import SHARE, gradients_of, is_asked, numbers_of
from assay.tests.conformance.test_special_layers import spreads
from assay.tests.conformance.test_special_mixtures import changed, that_learn, without_zeros_coming_back
from assay.tests.trial import judge
from assay.tests.trial.cases import Case
from assay.tests.trial.laws import clause
from assay.tests.trial.mixtures import INCOMING
from assay.tests.trial.plain import GRADIENTS, bare, gate, linear, sigmoid, values_of
from assay.tests.trial.suspects import GATES
from assay.tests.trial.sweeps import mixed
from assay.tests.trial.textures import Texture

EVERY = 4  # one mixture in so many
LENGTHS = (1, 2, 5, 33, 70, 130, 260, 520, 1030, 2060, 4100)  # of rows or places
# What an infinity is multiplied by, and what others come to, which no dtype stores as zero or infinity.
LEAST, MOST, LARGEST = 2.0**-6, 2.0**6, 2.0**12


def factors(operator, values):
    """What is multiplied by what comes back to each element of a result, and the number whose gate it passes."""
    if operator == "swish":
        x, beta = values[0], 1.0 if values[1] is None else values[1]
        z, (_, slope) = beta * x, gate("glu", beta * x)
        return (sigmoid(z) + z * slope, x * x * slope, slope), z
    x, w, v, b, c = values
    z, other = linear(x, w, b), linear(x, v, c)
    opened, slope = gate(operator, z)
    return (opened, other, slope, slope * other, gate("glu", z)[1]), z


@np.errstate(over="ignore")
def moderate(candidate, case):
    """Where a result's element has factors of moderate size alone, none of which is the difference of two.

    Nowhere if other factors, times what comes back, are so large that float16 may store one as an infinity.
    """
    if case.operator not in (*GATES, "swish"):
        return np.ones(case.result_shape, dtype=bool)
    found, z = factors(case.operator, bare(case.arguments(candidate.format)))
    sizes, incoming = [np.abs(each) for each in found], np.abs(case.cotangent(candidate.format).values)
    fits = all(np.all(each * np.maximum(1.0, incoming) < LARGEST) for each in (*sizes, np.abs(z)))
    within = np.logical_and.reduce([(each > LEAST) & (each < MOST) for each in sizes])
    return within & fits & (z > 0.0)


def with_an_infinity(candidate, case):
    """The case to which one comes back, at the end or anywhere; or None where that place is not moderate.

    One that lies in several places, as of an expanded tensor, is in all of them.
    """
    rng = random.Random(f"an infinity {case.pick}")
    values, may = numbers_of(candidate, case, INCOMING), moderate(candidate, case)
    places = np.flatnonzero(may)
    if not len(places):
        return None
    values.flat[places[rng.choice((-1, rng.randrange(len(places))))]] = rng.choice((math.inf, -math.inf))
    found = changed(case, INCOMING, values)
    return found if may[np.isinf(found.cotangent(candidate.format).values)].all() else None


@np.errstate(invalid="ignore", over="ignore")
def are_infinite(candidate, seen, names):
    """Hold infinities of these gradients to numpy's: what is zero times one, or near to overflow, is free."""
    expected = GRADIENTS[seen.call.operator](seen.call.cotangent.values, *values_of(seen))
    for name in names:
        got, right = seen.gradients[name], expected[name]
        free = np.isnan(right) | (np.abs(right) > candidate.format.largest / 2.0) & np.isfinite(right)
        held = np.where(free | np.isfinite(got) & np.isfinite(right), got, right)
        what = "an infinity vanished, shows elsewhere, or is another"
        judge.same_arrays(candidate, what, got, held, f"gradient of {name}", of_last=True)


def goes_back(candidate, case, learning=()):
    """Hold all gradients, or these, of one infinity to numpy's."""
    wanted = that_learn(case, learning)
    case = with_an_infinity(candidate, without_zeros_coming_back(candidate, case)) if wanted else None
    if case is not None and is_asked(candidate, case):
        are_infinite(candidate, gradients_of(candidate, case), wanted)


def halves(operator, **shapes):
    """A case of tensors of halves alone."""
    textures = {name: Texture("ones").holding(np.full(shape, 0.5), 1) for name, shape in shapes.items()}
    return Case(operator, shapes, textures)


def goes_back_in_any_number(candidate, of_length):
    """To the first row, one in the middle and the last, of one and of thousands, all of which the sums are of."""
    for length in LENGTHS:
        candidate.begin()
        case = of_length(length)
        count = math.prod(case.result_shape)
        for at in (0, count // 2, count - 1):
            values = np.ones(case.result_shape)
            values.flat[at] = math.inf
            asked = case.changed(incoming=Texture("ones").holding(values, 1))
            are_infinite(candidate, candidate.ask_gradient(asked), case.shapes)


def of_rows(operator, rows):
    weights, biases = ("w", "b") if operator == "linear" else ("wv", "bc")
    return halves(operator, x=(rows, 3), **dict.fromkeys(weights, (5, 3)), **dict.fromkeys(biases, (5,)))


@clause("linear.gradient", tier="special", gradient=True)
def test_an_infinity_that_comes_back_to_a_linear_of_any_number_of_rows_is_one(candidate):
    """1 to 4100 rows of halves. Blind to more than one."""
    goes_back_in_any_number(candidate, partial(of_rows, "linear"))


@clause("glu.gradient", tier="special", gradient=True)
def test_an_infinity_that_comes_back_to_a_glu_of_any_number_of_rows_is_one(candidate):
    """1 to 4100 rows of halves. Blind to more than one."""
    goes_back_in_any_number(candidate, partial(of_rows, "glu"))


@clause("swiglu.gradient", tier="special", gradient=True)
def test_an_infinity_that_comes_back_to_a_swiglu_of_any_number_of_rows_is_one(candidate):
    """1 to 4100 rows of halves. Blind to more than one."""
    goes_back_in_any_number(candidate, partial(of_rows, "swiglu"))


@clause("swish.beta-learned", tier="special", gradient=True)
def test_an_infinity_that_comes_back_to_any_number_of_elements_reaches_beta(candidate):
    """1 to 4100 halves. Blind to more than one."""
    goes_back_in_any_number(candidate, lambda count: halves("swish", x=(count,), beta=(1,)))


@clause("conv2d.gradient", tier="special", gradient=True)
def test_an_infinity_that_comes_back_to_any_number_of_places_of_conv2d_is_one(candidate):
    """1 to 4100 places without padding, unless it is declared to spread. Blind to more than one."""
    if spreads(candidate, "backward"):
        return
    goes_back_in_any_number(
        candidate, lambda count: halves("conv2d", input=(1, 3, 3, count + 1), weight=(5, 3, 3, 2), bias=(5,))
    )


@clause("linear.gradient", tier="special", share=SHARE, gradient=True)
@mixed("linear", first=EVERY)
def test_linear_gradients_in_any_mixture_are_infinite_where_an_infinity_comes_back(candidate, case):
    """What comes back. Blind to infinities of tensors, and to mixtures that are rare."""
    goes_back(candidate, case)


@clause("glu.gradient", tier="special", share=SHARE, gradient=True)
@mixed("glu", first=EVERY)
def test_glu_gradients_in_any_mixture_are_infinite_where_an_infinity_comes_back(candidate, case):
    """To a gate that is neither shut nor open. Blind to infinities of tensors, and to mixtures that are rare."""
    goes_back(candidate, case)


@clause("swiglu.gradient", tier="special", share=SHARE, gradient=True)
@mixed("swiglu", first=EVERY)
def test_swiglu_gradients_in_any_mixture_are_infinite_where_an_infinity_comes_back(candidate, case):
    """To a gate that is neither shut nor open. Blind to infinities of tensors, and to mixtures that are rare."""
    goes_back(candidate, case)


@clause("swish.gradient", tier="special", share=SHARE, gradient=True)
@mixed("swish", first=EVERY)
def test_gradients_of_swish_in_any_mixture_are_infinite_where_an_infinity_comes_back(candidate, case):
    """By x. Blind to infinities of x, and to mixtures that are rare."""
    goes_back(candidate, case, learning=["x"])


@clause("swish.beta-learned", tier="special", share=SHARE, gradient=True)
@mixed("swish", first=EVERY)
def test_the_gradient_of_swish_by_beta_in_any_mixture_is_infinite_where_an_infinity_comes_back(candidate, case):
    """By beta. Blind to infinities of x, and to mixtures that are rare."""
    goes_back(candidate, case, learning=["beta"])
