"""Swish: the laws of its clauses."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from assay.implementations.arrays import Argument
from assay.reference.arithmetic.ball import UP, Ball
from assay.reference.arithmetic.enclosure import Enclosure
from assay.reference.swish import relu, swish_element
from assay.reference.tensor import Tensor
from assay.tests.conformance.test_magnitudes import times
from assay.tests.trial import judge
from assay.tests.trial.alike import right_alike
from assay.tests.trial.cases import SIZES, SMALL, Case, swish_cases
from assay.tests.trial.failure import NonConformance
from assay.tests.trial.laws import clause
from assay.tests.trial.nans import nan_alone_at
from assay.tests.trial.textures import Texture, rounded

SHORT = (*SMALL, 7, 8, 17)
STEEP = (16.0, -7.0)  # rare among the betas that a case draws
BETAS = (0.5, 2.0, -1.0, 1.702, 0.0, 1.0, 3.25, 16.0, -7.0)
# Incoming gradients that do not underflow when they meet a gate next to 0.
LOUD = ("positive", "negative", "ones")
# Where exp(t) or exp(-t) overflows, or leaves the normal numbers: 11 in float16, 88 in float32, 709 in float64.
EXPONENTIALS = (9.0, 10.0, 11.0, 12.0, 16.0, 17.0, 87.0, 88.0, 89.0, 103.0, 104.0, 708.0, 709.0, 710.0, 745.0, 746.0)


def with_beta(case: Case, value: float | None, tensor: bool = False) -> Case:
    """The same x with this beta: a tensor, a float, or (None) left out."""
    shapes, textures = {"x": case.shapes["x"]}, {"x": case.textures["x"]}
    if tensor and value is not None:
        held = Texture("zeros", 0, ((0, value),))
        shape = case.shapes.get("beta", (1,) * (case.pick % 2 if case.shapes["x"] else 0))
        return case.changed(shapes=shapes | {"beta": shape}, textures=textures | {"beta": held}, parameters={})
    return case.changed(shapes=shapes, textures=textures, parameters={} if value is None else {"beta": value})


def _holding(*values: float) -> Case:
    """swish of these values, beta left out."""
    return Case("swish", {"x": (len(values),)}, {"x": Texture("zeros", 0, tuple(enumerate(values)))})


def _around_zero(finest: int) -> Case:
    """swish at 0 and at 4, 2, 1, 1/2, ... to 2**-finest on both sides, in order."""
    steps = [2.0**-k for k in range(-2, finest + 1)]
    return _holding(*(-h for h in steps), 0.0, *reversed(steps))


OF_ALL_DIGITS = Case("swish", {"x": (8,)}, {"x": Texture("normal")}, {"beta": 0.1})


@clause("swish.formula", tier="enclosure")
@example(case=OF_ALL_DIGITS)
@given(case=swish_cases())
def test_swish_stays_within_its_enclosure(candidate, case):
    """Each element is x * sigmoid(beta * x) but for rounding. Blind to errors of a few units in the last place."""
    judge.conforms(candidate, case)


@clause("swish.formula", tier="enclosure")
@given(case=swish_cases(), tensor=st.booleans(), beta=st.sampled_from(STEEP))
def test_swish_with_a_steep_beta_stays_within_its_enclosure(candidate, case, tensor, beta):
    """Where beta makes a step of the sigmoid. Blind to a beta that is steeper yet."""
    judge.conforms(candidate, with_beta(case, beta, tensor=tensor))


@clause("swish.formula", tier="special")
@given(
    at=st.sampled_from(EXPONENTIALS), copies=st.sampled_from((1, 2, 8)), beta=st.sampled_from((None, 1.0, -1.0, 0.5))
)
def test_swish_survives_the_edges_of_the_exponential(candidate, at, copies, beta):
    """Where an exponential overflows or vanishes, swish does not. Blind to edges of a beta that is not drawn."""
    largest, least = candidate.format.largest, candidate.format.least_normal
    edges = (at, -at, largest, -largest, least, -least)
    judge.conforms(candidate, with_beta(_holding(*edges * copies), beta))


@clause("swish.beta-learned", tier="gradient")
@given(case=swish_cases(sizes=SHORT), beta=st.sampled_from(BETAS))
def test_the_gradient_of_swish_by_beta_stays_within_its_enclosure(candidate, case, beta):
    """The derivative by beta is the sum of x * x * sigmoid'(beta * x). Blind to batches of more than 102 elements."""
    judge.gradient_conforms(candidate, with_beta(case, beta, tensor=True), ["beta"])


@clause("swish.beta-learned", tier="gradient")
def test_the_gradient_of_swish_by_beta_of_a_thousand_elements(candidate):
    """A sum of a thousand terms of one sign is no running sum in the dtype. Blind to longer sums, and to most betas."""
    for seed, beta in ((0, 0.5), (1, -1.0)):
        candidate.begin()
        case = Case("swish", {"x": (1025,)}, {"x": Texture("positive", seed)}, incoming=Texture("ones"))
        judge.gradient_conforms(candidate, with_beta(case, beta, tensor=True), ["beta"])


@clause("swish.beta-learned", tier="gradient")
@given(at=st.sampled_from(EXPONENTIALS), beta=st.sampled_from((1.0, -1.0, 0.5)))
def test_the_gradient_of_swish_by_beta_survives_the_edges_of_the_exponential(candidate, at, beta):
    """Where x * x is large, or overflows in 16 bits, and the gate is shut or open. Blind to squares beyond float32."""
    case = with_beta(_holding(at, -at, 1.0, -2.0 * at), beta, tensor=True)
    judge.gradient_conforms(candidate, case.changed(incoming=Texture("ones")), ["beta"])


@clause("swish.beta-learned", tier="gradient", dtypes=("float32", "bfloat16"))
def test_the_gradient_of_swish_by_beta_counts_nothing_where_the_gate_is_shut_by_a_mask(candidate):
    """By half of the lowest number, or a part of it, or where it is wide open. Blind to masks of other sizes."""
    largest = candidate.format.largest
    for factor, beta in itertools.product((0.5, -0.5, 2.0**-9), (1.0, -1.0, 0.5)):
        candidate.begin()
        masked = tuple((at, -factor * largest) for at in (3, 4, 20))
        case = Case("swish", {"x": (33,)}, {"x": Texture("normal", 0, masked)}, incoming=Texture("ones"))
        judge.gradient_conforms(candidate, with_beta(case, beta, tensor=True), ["beta"])


@clause("swish.beta-learned", tier="gradient")
def test_the_gradient_of_swish_by_a_beta_near_zero_is_a_quarter_of_the_squares(candidate):
    """As of one that begins as next to nothing. Blind to x of other sizes."""
    for beta in (2.0**-k * sign for k in (7, 14, 24, *[40] * (candidate.dtype != "float16")) for sign in (1.0, -1.0)):
        candidate.begin()
        case = Case("swish", {"x": (35,)}, {"x": Texture("normal")}, incoming=Texture("positive"))
        judge.gradient_conforms(candidate, with_beta(case, beta, tensor=True), ["beta"])


@clause("swish.smooth", tier="gradient")
@given(finest=st.integers(0, 10))
def test_the_derivative_of_swish_is_one_half_at_zero_and_near_it_on_both_sides(candidate, finest):
    """Around 0 the derivative is the formula's, 1/2 in the middle. Blind to what lies between powers of two."""
    judge.gradient_conforms(candidate, _around_zero(finest), ["x"])


@clause("swish.smooth", tier="gradient")
@given(finest=st.integers(0, 10))
def test_the_derivative_of_swish_never_steps_as_far_as_that_of_relu(candidate, finest):
    """ReLU's slope steps by 1 at 0, swish's by less anywhere. Blind to a step that is smaller than ReLU's."""
    seen = candidate.ask_gradient(_around_zero(finest))
    slopes, h = seen.gradients["x"], 2.0**-finest
    kink = (relu(h) - relu(0.0)) / h - (relu(0.0) - relu(-h)) / h
    step = float(np.abs(np.diff(slopes)).max())
    candidate.compared(slopes.size - 1)
    if not step < kink:
        what = f"the derivative of swish steps by {step:.3g} between neighbours around 0, ReLU's steps by {kink:.3g}"
        raise NonConformance(what, [seen.call], subject="gradient of x")


@clause("swish.silu", tier="enclosure")
@example(case=Case("swish", {"x": (1025,)}, {"x": Texture("normal")}))
@given(case=swish_cases())
def test_swish_without_beta_is_swish_with_beta_one(candidate, case):
    """Left out, 1.0, and a tensor of 1 are one function. Blind to rounding: all three may differ within it."""
    for beta, tensor in ((None, False), (1.0, False), (1.0, True)):
        judge.conforms(candidate, with_beta(case, beta, tensor))


@clause("swish.zero", tier="exact")
@given(case=swish_cases(("sparse", "zeros", "normal")), zero=st.sampled_from((0.0, -0.0)), beta=st.sampled_from(BETAS))
def test_swish_of_zero_is_zero(candidate, case, zero, beta):
    """Wherever x is 0, so is swish, whatever beta. Blind to the sign of the zero."""
    x = replace(case.textures["x"], elements=((0, zero), (7, -zero)))
    seen = candidate.ask(with_beta(case.changed(textures={"x": x}), beta, tensor=case.pick % 2 == 0))
    zeros = seen.call.tensors["x"].values == 0.0
    judge.same_arrays(candidate, "swish(0) is not 0", seen.output[zeros], np.zeros(zeros.sum()))


@clause("swish.zero", tier="exact")
def test_swish_of_zero_is_zero_whatever_beta(candidate):
    """Of either sign, among 137 numbers, for each beta, a number or a tensor. Blind to the sign of the zero."""
    signed = tuple((at, math.copysign(0.0, at % 8 - 1)) for at in range(0, 137, 4))
    case = Case("swish", {"x": (137,)}, {"x": Texture("normal", 0, signed)})
    for beta, tensor in itertools.product(BETAS, (False, True)):
        candidate.begin()
        got = candidate.ask(with_beta(case, beta, tensor)).output[::4]
        judge.same_arrays(candidate, "swish(0) is not 0", got, np.zeros(got.shape))


@clause("swish.beta-zero", tier="exact")
@given(
    case=swish_cases(("integers", "positive", "negative", "spikes", "large")),
    tensor=st.booleans(),
    zero=st.sampled_from((0.0, -0.0)),
)
def test_swish_with_beta_zero_is_half_of_x(candidate, case, tensor, zero):
    """The enclosure of x / 2 is that one number wherever the format has it. Blind to halves of subnormals."""
    judge.conforms(candidate, with_beta(case, zero, tensor))


@clause("swish.odd-part", tier="enclosure")
@example(case=Case("swish", {"x": (8,)}, {"x": Texture("zeros")}), beta=0.5)
@given(case=swish_cases(sizes=SHORT), beta=st.sampled_from((None, *BETAS)))
def test_swish_minus_its_mirror_image_is_x(candidate, case, beta):
    """swish(x) - swish(-x) = x, up to what both may round. Blind to errors that are even in x."""
    x, beta = with_beta(case, beta).arguments(candidate.format).values()
    x = x.values
    right, left = (candidate.values("swish", values, beta) for values in (x, np.asarray(-x)))
    for at in np.ndindex(*x.shape):
        radius = sum(_permitted(candidate, value, beta).radius for value in (x[at], -x[at])) * UP
        permitted = Ball(Enclosure(candidate.precision("swish")), Fraction(x[at]), radius)
        judge.within(candidate, "swish(x) - swish(-x) is not x", at, _difference(right[at], left[at]), permitted)


@clause("swish.elementwise", tier="special")
@given(
    case=swish_cases(sizes=SHORT), kept=st.integers(0, 4095), other=st.sampled_from((math.nan, "largest", 2.0, -1e-3))
)
def test_the_neighbours_of_an_element_of_swish_change_nothing(candidate, case, kept, other):
    """Amid NaN, huge or other numbers an element is mapped as ever. Blind to changes that stay within rounding."""
    arguments = case.arguments(candidate.format)
    x = arguments["x"].values
    value = x.flat[kept % x.size]
    around = candidate.format.largest if other == "largest" else candidate.format.round(other)
    crowd = np.full(x.shape, around)
    crowd.flat[kept % x.size] = value
    beta = arguments["beta"].values.item() if isinstance(arguments["beta"], Argument) else arguments["beta"]
    what = f"an element of swish depends on its neighbours, which are {around}"

    def hold(x, at):
        seen = candidate.call("swish", arguments | {"x": Argument(x)}, x.shape)
        judge.within(candidate, what, at, seen.output[at], _permitted(candidate, value, beta))

    place = tuple(map(int, np.unravel_index(kept % x.size, x.shape)))
    right_alike(lambda: hold(x, place), lambda: hold(crowd, place))


@clause("swish.gradient", tier="gradient")
@given(case=swish_cases(sizes=SHORT))
def test_the_gradient_of_swish_by_x_stays_within_its_enclosure(candidate, case):
    """The tape's gradient for x, with and without beta. Blind to second derivatives."""
    judge.gradient_conforms(candidate, case, ["x"])


@clause("swish.gradient", tier="gradient")
@given(at=st.sampled_from(EXPONENTIALS), family=st.sampled_from(LOUD), seed=st.integers(0, 255))
def test_the_gradient_of_swish_survives_the_edges_of_the_exponential(candidate, at, family, seed):
    """Where an exponential overflows, the gradient does not become NaN. Blind to infinite x."""
    judge.gradient_conforms(candidate, _holding(at, -at, 1.0, -2.0 * at).changed(incoming=Texture(family, seed)), ["x"])


@clause("swish.special", tier="special")
@given(
    size=st.sampled_from(SIZES),
    seed=st.integers(0, 255),
    places=st.lists(st.tuples(st.integers(0, 4095), st.sampled_from((math.nan, math.inf, -math.inf))), min_size=1),
    beta=st.sampled_from((None, 1.0, 2.0, 0.5)),
)
def test_swish_of_nan_and_of_the_infinities(candidate, size, seed, places, beta):
    """NaN stays NaN, +inf stays +inf, -inf gives 0 or NaN. Blind to beta <= 0, where infinity has no one answer."""
    x = Texture("normal", seed).fill((size,), candidate.format).values.copy()
    for position, value in places:
        x[position % size] = value
    got, special = candidate.values("swish", x, beta), ~np.isfinite(x)
    answered = np.where(np.isneginf(x) & np.isnan(got), 0.0, got)
    expected = np.select([np.isnan(x), np.isposinf(x)], [math.nan, math.inf], 0.0)
    what = "swish(NaN) is not NaN, swish(inf) is not inf, or swish(-inf) is neither 0 nor NaN"
    judge.same_arrays(candidate, what, answered[special], expected[special])


def _permitted(candidate, x: float, beta: float | None) -> Ball:
    """The enclosure of swish at one number."""
    arithmetic = Enclosure(candidate.precision("swish"))
    parts = [Tensor([float(value)], (1,), arithmetic) for value in (x, beta) if value is not None]
    return swish_element((0,), *parts)


def _difference(a: float, b: float) -> Fraction | float:
    """a - b without a rounding, where both are finite."""
    return Fraction(a) - Fraction(b) if math.isfinite(a) and math.isfinite(b) else a - b


def beyond(candidate):
    """Betas by a thousand and less; the last has more digits than the six that "%f" writes into a program."""
    return (-(2.0**10), 2.0**6, -(2.0**-6), 2.0**-10, 1.2345e-4 if candidate.dtype == "float16" else 1.45e-6)


@clause("swish.formula", tier="enclosure")
def test_swish_of_small_numbers_by_a_large_beta_stays_within_its_enclosure(candidate):
    """And of large ones by a small beta, so that the gate is half open. Blind to betas beyond a thousand."""
    for beta in beyond(candidate):
        candidate.begin()
        case = Case("swish", {"x": (33, 32)}, {"x": Texture("normal")}, {"beta": beta})
        judge.conforms(candidate, times(candidate, case, x=1.0 / beta))


@clause("swish.gradient", tier="gradient")
def test_gradients_of_swish_of_small_numbers_by_a_large_beta_stay_within_their_enclosures(candidate):
    """And of large ones by a small beta, so that the gate is half open. Blind to betas beyond a thousand."""
    for beta in beyond(candidate):
        candidate.begin()
        case = Case("swish", {"x": (5, 7)}, {"x": Texture("normal")}, {"beta": beta})
        case = case.changed(incoming=Texture("normal"))
        judge.gradient_conforms(candidate, times(candidate, case, x=1.0 / beta), ("x",))


@clause("swish.gradient", tier="special", gradient=True)
def test_the_gradient_of_swish_at_nan_is_nan(candidate):
    """And at no other place. Blind to infinities, where a limit and the formula differ."""
    for size in (3, 33 * 32):
        candidate.begin()
        case = Case("swish", {"x": (size,)}, {"x": Texture("normal", 0, ((1, math.nan),))}, incoming=Texture("ones"))
        seen = candidate.ask_gradient(case)
        got, nans = seen.gradients["x"], np.arange(size) == 1
        nan_alone_at(candidate, "the gradient is not NaN there alone", got, nans, "gradient of x")


@clause("swish.gradient", tier="special", gradient=True)
def test_the_gradient_of_swish_is_a_number_where_products_on_the_way_overflow(candidate):
    """Of beta and x, or x and x: the sigmoid is 0 or 1 there, and does not change. Blind to which number it is."""
    largest = candidate.format.largest
    sizes = np.array([largest / 4, largest / 64, 1.5 * math.sqrt(largest), 300.0])
    texture = Texture("normal").holding(rounded(np.concatenate([sizes, -sizes]), candidate.format), 1)
    for beta, tensor in itertools.product((largest / 4, -largest / 4, 1.0, -2.0), (False, True)):
        candidate.begin()
        case = with_beta(Case("swish", {"x": (8,)}, {"x": texture}, incoming=Texture("ones")), beta, tensor)
        got = candidate.ask_gradient(case).gradients["x"]
        nan_alone_at(candidate, "the gradient is NaN", got, np.zeros(got.shape, bool), "gradient of x")
