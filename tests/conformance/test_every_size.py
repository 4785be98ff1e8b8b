"""Numbers of every size: large ones by small ones, whole ones, and those that are moved or chosen as they are."""

from __future__ import annotations

import itertools
import math

import numpy as np

from assay.implementations.layouts import LAYOUTS
from assay.tests.conformance.test_contract import MODES
from assay.tests.conformance.test_magnitudes import SEED, coming_back, dense, normal, times
from assay.tests.conformance.test_ranges import from_one_to_two, holding, near_one
from assay.tests.conformance.test_swish import with_beta
from assay.tests.trial import judge
from assay.tests.trial.cases import Case
from assay.tests.trial.laws import clause
from assay.tests.trial.plain import pad2d, pooled, values_of
from assay.tests.trial.textures import Texture, rounded

BITS = range(8, 31)  # of a gate's sum


def large_by_a_small_beta(candidate):
    """Cases whose x and beta are of any size, of either sign, with an ordinary product or none to speak of.

    What comes back has a product with x squared that is a number.
    """
    root = 2.0 ** (math.log2(candidate.format.largest) / 2 - 1.0)
    sizes = ((root, 1.0 / root, 1.0 / root), (1.0 / root, root, root), (1.0, 4.0 * candidate.format.least_normal, 1.0))
    for (x, beta, incoming), shape in itertools.product(sizes, ((1,), ())):
        candidate.begin()
        case = Case("swish", {"x": (5, 7), "beta": shape}, normal({"x": None, "beta": None}))
        case = holding(candidate, times(candidate, case, x=x), beta=np.full(shape, 1.25 * beta))
        yield coming_back(candidate, case, from_one_to_two(case.result_shape) * incoming)


@clause("swish.formula", tier="enclosure")
def test_swish_of_the_largest_numbers_by_a_small_beta_stays_within_its_enclosure(candidate):
    """And of the smallest by a large one, so that the gate is half open. Blind to sums that overflow."""
    for case in large_by_a_small_beta(candidate):
        judge.conforms(candidate, case)


@clause("swish.gradient", tier="gradient")
def test_gradients_of_swish_of_the_largest_numbers_by_a_small_beta_stay_within_their_enclosures(candidate):
    """And of the smallest by a large one; where beta learns and where it does not. Blind to sums that overflow."""
    for case in large_by_a_small_beta(candidate):
        for alone in (False, True):
            judge.gradient_conforms(candidate, case, ("x",), alone)


@clause("swish.beta-learned", tier="gradient")
def test_a_small_beta_learns_from_the_largest_numbers(candidate):
    """And a large one from the smallest; where x learns and where it does not. Blind to sums that overflow."""
    for case in large_by_a_small_beta(candidate):
        for alone in (False, True):
            judge.gradient_conforms(candidate, case, ("beta",), alone)


def of_subnormal_numbers(candidate):
    """Cases of x times whose beta, a power of two, is an ordinary number: a number, or a tensor."""
    case = Case("swish", {"x": (5, 7)}, {"x": Texture("subnormal", 1)}, incoming=Texture("normal"))
    for tensor in (False, True):
        candidate.begin()
        yield with_beta(case, 1.0 / candidate.format.least_normal, tensor)


@clause("swish.formula", tier="special")
def test_swish_of_subnormal_numbers_by_a_beta_that_makes_them_ordinary_stays_as_near(candidate):
    """Unless flushing is declared. Blind to betas that are no power of two."""
    for case in of_subnormal_numbers(candidate):
        judge.conforms(candidate, case)


@clause("swish.gradient", tier="special", gradient=True)
def test_gradients_of_swish_of_subnormal_numbers_by_a_beta_that_makes_them_ordinary_stay_as_near(candidate):
    """Unless flushing is declared; by x alone. Blind to betas that are no power of two."""
    for case in of_subnormal_numbers(candidate):
        judge.gradient_conforms(candidate, case, ("x",), alone=True)


def of_every_size(candidate, shape):
    """Numbers of either sign, from the least normal one to the largest, in no order."""
    fmt, count = candidate.format, math.prod(shape)
    sizes = 2.0 ** np.linspace(math.log2(fmt.least_normal), math.log2(fmt.largest) - 1.0, count)
    return rounded(np.random.default_rng(SEED).permutation(sizes * (-1.0) ** np.arange(count)), fmt).reshape(shape)


@clause("pad2d.zeros", tier="exact")
def test_pad2d_moves_numbers_of_every_size_out_of_any_layout(candidate):
    """In training and in inference. Blind to subnormal numbers."""
    for layout, recording in itertools.product(LAYOUTS, MODES):
        candidate.begin()
        x = Texture("normal", 0, (), layout).holding(of_every_size(candidate, (2, 3, 6, 8)), 1)
        seen = candidate.answer(Case("pad2d", {"x": (2, 3, 6, 8)}, {"x": x}, {"padding": 2}), recording=recording)
        judge.same_arrays(candidate, "a number is another one", seen.output, pad2d(*values_of(seen)))


@clause("pad2d.gradient", tier="gradient")
def test_pad2d_hands_back_numbers_of_every_size(candidate):
    """Of any layout, subnormal ones, too, unless flushing is declared; all, or one in three. Blind to other shares."""
    least = candidate.format.least_normal
    for layout, share in itertools.product(LAYOUTS, (1, 3)):
        candidate.begin()
        values = of_every_size(candidate, (2, 3, 6, 8))
        if not candidate.precision("pad2d", "backward").flush:
            values[:, 0] = rounded(from_one_to_two((2, 6, 8)) * (least / 16), candidate.format)
        values *= np.arange(values.size).reshape(values.shape) % share == 0
        case = Case("pad2d", {"x": (2, 3, 2, 4)}, {"x": Texture("normal")}, {"padding": 2})
        seen = candidate.ask_gradient(case.changed(incoming=Texture("normal", 0, (), layout).holding(values, 1)))
        expected = seen.call.cotangent.values[..., 2:-2, 2:-2]
        judge.same_arrays(candidate, "a number is another one", seen.gradients["x"], expected, "gradient of x")


@clause("max_pool2d.definition", tier="exact")
def test_max_pool2d_takes_numbers_of_every_size_out_of_any_layout(candidate):
    """Of planes of two columns, and of more, in training and in inference. Blind to ties."""
    for layout, recording, columns in itertools.product(LAYOUTS, MODES, (2, 8)):
        candidate.begin()
        shape = (2, 3, 6, columns)
        x = Texture("normal", 0, (), layout).holding(of_every_size(candidate, shape), 1)
        case = Case("max_pool2d", {"input": shape}, {"input": x}, {"kernel_size": 2, "padding": 0})
        seen = candidate.answer(case, recording=recording)
        judge.same_arrays(candidate, "a number is another one", seen.output, pooled(*values_of(seen)))


def of_whole_numbers(candidate, operator):
    """Judge gates whose sums are whole numbers of so many bits, in training and in inference: far open, or shut."""
    signs = (-1.0) ** np.arange(6)[:, None]
    for bits, recording in itertools.product(BITS, MODES):
        candidate.begin()
        values = {
            "x": np.full((3, 1), 2.0 ** (bits // 2)),
            "w": 1.25 * signs * 2.0 ** (bits - bits // 2),
            "v": 3 * signs,
        }
        case = holding(candidate, dense(operator, 3, 1, 6), **values)
        judge.answer_conforms(candidate, case, candidate.answer(case, recording=recording))


@clause("glu.formula", tier="enclosure")
def test_glu_of_whole_numbers_of_any_size_stays_within_its_enclosure(candidate):
    """Of one feature, as of quantised weights. Blind to gates that are half open."""
    of_whole_numbers(candidate, "glu")


@clause("swiglu.formula", tier="enclosure")
def test_swiglu_of_whole_numbers_of_any_size_stays_within_its_enclosure(candidate):
    """Of one feature, as of quantised weights. Blind to gates that are half open."""
    of_whole_numbers(candidate, "swiglu")


@clause("linear.formula", tier="enclosure")
def test_rows_of_linear_that_share_a_large_number_are_told_apart(candidate):
    """By small ones beside it, whose weights are large; in training and in inference. Blind to fewer rows."""
    large, small = (2.0**14, 2.0**-8) if candidate.dtype == "float16" else (2.0**40, 2.0**-24)
    for recording in MODES:
        candidate.begin()
        case = dense("linear", 17, 6, 5)
        values = near_one(case)
        values = {"x": values["x"] * small, "w": values["w"] / small}
        values["x"][:, 0], values["w"][:, 0] = large, 1.0 / large
        case = holding(candidate, case, **values)
        judge.answer_conforms(candidate, case, candidate.answer(case, recording=recording))
