"""Wide layers: rows, features and outputs all long, going forward on few numbers that count, and back from dense ones.

Elements of a gradient of such a layer are judged by the outputs that they hang on: those of one row, or of one output.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from assay.reference.arithmetic.enclosure import Enclosure
from assay.tests.trial import judge, suspects
from assay.tests.trial.cases import Case
from assay.tests.trial.laws import clause
from assay.tests.trial.permitted import tape
from assay.tests.trial.textures import Picking, Texture, laid, rounded
from assay.tests.trial.whole import sums_once

FEW = 12  # elements of a result that are judged, beside the suspected
COUNT = 8  # features that are judged, of each row and output that is
SIZES = ((128, 64, 64), (131, 70, 66))  # rows, features, outputs
STALLING = ((4200, 64, 72), (20, 72, 4200))
TOKENS, CUBE = (128, 512, 512), (1024, 1024, 1024)
HALVES = ("bfloat16", "float16")
PLACES = 260 * 270  # float16 counts to 65504
OF_ROWS = {"x": (PLACES, 1), "w": (2, 1), "b": (2,)}
OF_PLACES = {"input": (1, 1, 260, PLACES // 260), "weight": (2, 1, 1, 1), "bias": (2,)}
EXACT = ("float32", "float64")  # where so many integers may have digits
BLOCK = 32  # rows, or outputs, of which one has an incoming gradient
WEIGHTS = {"linear": "w", "glu": "wv", "swiglu": "wv"}
BIASES = {"linear": "b", "glu": "bc", "swiglu": "bc"}


@dataclass(frozen=True)
class Slight(Texture):
    """A sixty-fourth of what it would be."""

    def fill(self, shape, fmt, terms=1):
        return laid(super().fill(shape, fmt, terms).values / 64.0, "contiguous")


@dataclass(frozen=True)
class Stalling(Texture):
    """Normal numbers; the last row, or column, where that is longer, has one large number, and few that are small.

    Added up in the format the sum goes no further behind the large one, nor where two of the small ones meet first.
    """

    def fill(self, shape, fmt, terms=1):
        values = super().fill(shape, fmt, terms).values.copy()
        line = values[:, -1] if shape[0] > shape[1] else values[-1]
        line[:] = 0.0
        line[::BLOCK] = np.random.default_rng(self.seed).uniform(3.5, 4.5, line[::BLOCK].shape) * fmt.unit
        line[0] = 20.0
        return laid(rounded(values, fmt), "contiguous")


def dense(operator, sizes, **textures):
    """A layer with biases; normal numbers, unless it is told others."""
    rows, features, outputs = sizes
    weights = dict.fromkeys(WEIGHTS[operator], (outputs, features))
    shapes = {"x": (rows, features), **weights, **dict.fromkeys(BIASES[operator], (outputs,))}
    held = {name: textures.get(name, Texture("normal", k)) for k, name in enumerate(shapes)}
    return Case(operator, shapes, held, {}, max(sizes), incoming=textures.get("incoming", Texture("normal", 9)))


def of_any_sign(operator):
    """Wide layers of normal numbers, through gates that are neither open nor shut."""
    weights = {name: Slight("normal", k) for k, name in enumerate(WEIGHTS[operator])}
    sizes = SIZES if operator == "linear" else SIZES[1:]
    return st.sampled_from([dense(operator, each, **weights) for each in sizes])


def of_one_sign(operator):
    """Wide layers of thousands of rows, or of outputs."""
    positive = {name: Slight("positive", k) for k, name in enumerate(WEIGHTS[operator] + BIASES[operator])}
    textures = positive | {"x": Texture("positive", 7), "incoming": Stalling("normal", 8)}
    return st.sampled_from([dense(operator, sizes, **textures) for sizes in STALLING])


def farthest(case, seen):
    """By name one element of a gradient, of those that are farthest from numpy's."""
    worst = suspects.of_the_gradients(case, seen, seen.gradients, COUNT)
    return {name: places[0] for name, places in worst.items() if places}


def lines_conform(candidate, case):
    """Judge some of the gradients of a row of x, and of an output's weights: where they are farthest from numpy's."""
    if not sums_once(candidate, case.operator, "backward"):
        return
    seen = candidate.ask_gradient(case)
    worst, (rows, outputs) = farthest(case, seen), case.result_shape
    of_outputs = [worst[name][0] for name in WEIGHTS[case.operator] if name in worst]
    are_on_lines(candidate, case, seen, worst.get("x", (rows - 1,))[0], of_outputs or [outputs - 1], worst)


def are_on_lines(candidate, case, seen, row, of_outputs, worst):
    """Judge some of the gradients of this row of x, and of the weights and biases of these outputs; and the worst."""
    incoming, columns = seen.call.cotangent.values, range(0, case.shapes["x"][1], case.shapes["x"][1] // COUNT)
    lines = {name: [row] if name == "x" else of_outputs for name in seen.gradients}
    hung_on = {(row, o) for o in np.flatnonzero(incoming[row]).tolist()}
    hung_on |= {(n, o) for o in of_outputs for n in np.flatnonzero(incoming[:, o]).tolist()}
    places = {name: [(at, k) for at in lines[name] for k in columns] for name in ("x", *WEIGHTS[case.operator])}
    places |= {name: [(o,) for o in of_outputs] for name in BIASES[case.operator]}
    are_permitted(
        candidate,
        case,
        seen,
        sorted(hung_on),
        {name: [*places[name], *by(worst, name, lines[name])] for name in places},
    )


def sums_go_on(candidate, case):
    """Judge some of the gradients of the last row of x, and of the last output."""
    if sums_once(candidate, case.operator, "backward"):
        seen = candidate.ask_gradient(case)
        rows, outputs = case.result_shape
        are_on_lines(candidate, case, seen, rows - 1, [outputs - 1], {})


def by(worst, name, lines=None):
    """The worst element of this gradient, where it is on one of the lines."""
    return [worst[name]] if name in worst and (lines is None or worst[name][0] in lines) else []


def are_permitted(candidate, case, seen, outputs, places):
    """Hold elements of gradients to what the tape permits of them, that hang on these outputs and no others."""
    enclosure = Enclosure(candidate.precision(case.operator, "backward"))
    permitted = tape(case, seen.call, enclosure, outputs)
    for name, held in places.items():
        got, balls = seen.gradients[name], {at: permitted((name, at)) for at in held}
        what = f"the gradient of {name} is outside what is permitted"
        for at in sorted(balls, key=lambda at: -balls[at].margin(float(got[at]))):
            judge.within(candidate, what, at, float(got[at]), balls[at], f"gradient of {name}")


@clause("linear.gradient", tier="gradient")
@given(case=of_any_sign("linear"))
def test_linear_gradients_of_wide_layers_stay_within_their_enclosures(candidate, case):
    """From dense reals that come back. Blind to sums in storage, where they are declared."""
    lines_conform(candidate, case)


@clause("glu.gradient", tier="gradient")
@given(case=of_any_sign("glu"))
def test_glu_gradients_of_wide_layers_stay_within_their_enclosures(candidate, case):
    """From dense reals that come back. Blind to sums in storage, where they are declared."""
    lines_conform(candidate, case)


@clause("swiglu.gradient", tier="gradient")
@given(case=of_any_sign("swiglu"))
def test_swiglu_gradients_of_wide_layers_stay_within_their_enclosures(candidate, case):
    """From dense reals that come back. Blind to sums in storage, where they are declared."""
    lines_conform(candidate, case)


@clause("linear.gradient", tier="gradient", dtypes=HALVES)
@given(case=of_one_sign("linear"))
def test_linear_gradients_of_wide_layers_are_summed_in_more_than_16_bits(candidate, case):
    """A large term and many small ones, over thousands of rows, or outputs. Blind to other gradients."""
    sums_go_on(candidate, case)


@clause("glu.gradient", tier="gradient", dtypes=HALVES)
@given(case=of_one_sign("glu"))
def test_glu_gradients_of_wide_layers_are_summed_in_more_than_16_bits(candidate, case):
    """A large term and many small ones, over thousands of rows, or outputs. Blind to other gradients."""
    sums_go_on(candidate, case)


@clause("swiglu.gradient", tier="gradient", dtypes=HALVES)
@given(case=of_one_sign("swiglu"))
def test_swiglu_gradients_of_wide_layers_are_summed_in_more_than_16_bits(candidate, case):
    """A large term and many small ones, over thousands of rows, or outputs. Blind to other gradients."""
    sums_go_on(candidate, case)


IMAGES = {"input": (2, 64, 8, 8), "weight": (66, 64, 3, 3), "bias": (66,)}
WIDE_IMAGES = Case(
    "conv2d",
    IMAGES,
    {name: Texture("normal", k) for k, name in enumerate(IMAGES)},
    {"stride": 1, "padding": 1},
    64 * 9,
    incoming=Texture("normal", 9),
)


@clause("conv2d.gradient", tier="gradient")
@given(case=st.just(WIDE_IMAGES))
def test_conv2d_gradients_of_many_channels_stay_within_their_enclosures(candidate, case):
    """64 to 66, from dense reals that come back. Blind to sums in storage, where they are declared."""
    if not sums_once(candidate, "conv2d", "backward"):
        return
    seen = candidate.ask_gradient(case)
    worst, (_, outputs, height, width) = farthest(case, seen), case.result_shape
    n, channel, i, j = worst.get("input", (1, 63, 4, 7))
    around = [(n, o, i + down, j + right) for o in range(outputs) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    hung_on = {at for at in around if 0 <= at[2] < height and 0 <= at[3] < width}
    o = worst.get("weight", (outputs - 1,))[0]
    hung_on |= {(sample, o, *at) for sample in range(2) for at in np.ndindex(height, width)}
    taps = [(o, c, *tap) for c in (0, 31, 63) for tap in np.ndindex(3, 3)]
    places = {
        "input": [(n, c, i, j) for c in {0, 17, channel}],
        "weight": [*taps, *by(worst, "weight")],
        "bias": [(o,)],
    }
    are_permitted(candidate, case, seen, sorted(hung_on), places)


def of_few(operator, sizes):
    """A wide layer that is exact in every order: each output is one feature times a one, or each row one."""
    names = "xw" if operator == "linear" else "xv"
    zeros = {name: Texture("zeros") for name in "w" + BIASES[operator]} | {"b": Texture("ones")}
    both = [zeros | {full: Texture("normal", 1), few: Picking("ones", 2)} for full, few in (names, reversed(names))]
    return [dense(operator, sizes, **textures) for textures in both]


@clause("linear.formula", tier="enclosure")
@given(case=st.sampled_from(of_few("linear", TOKENS)))
def test_linear_of_128_by_512_by_512_keeps_the_digits_of_few_that_count(candidate, case):
    """One feature an output, or a row, at all of its digits. Blind to digits that a sum of many terms hides."""
    judge.conforms(candidate, case, FEW)


@clause("glu.formula", tier="enclosure")
@given(case=st.sampled_from(of_few("glu", TOKENS)))
def test_glu_of_128_by_512_by_512_keeps_the_digits_of_few_that_count(candidate, case):
    """One feature an output, or a row, at all of its digits. Blind to digits that a sum of many terms hides."""
    judge.conforms(candidate, case, FEW)


@clause("swiglu.formula", tier="enclosure")
@given(case=st.sampled_from(of_few("swiglu", TOKENS)))
def test_swiglu_of_128_by_512_by_512_keeps_the_digits_of_few_that_count(candidate, case):
    """One feature an output, or a row, at all of its digits. Blind to digits that a sum of many terms hides."""
    judge.conforms(candidate, case, FEW)


@clause("linear.formula", tier="enclosure", dtypes=("float32",))
@given(case=st.just(of_few("linear", CUBE)[0]))
def test_linear_of_a_thousand_cubed_keeps_the_digits_of_x(candidate, case):
    """One feature an output, at all of its digits. Blind to digits of W, and to those that a sum hides."""
    judge.conforms(candidate, case, FEW)


@clause("glu.formula", tier="enclosure", dtypes=("float32",))
@given(case=st.just(of_few("glu", CUBE)[0]))
def test_glu_of_a_thousand_cubed_keeps_the_digits_of_x(candidate, case):
    """One feature an output, at all of its digits. Blind to digits of weights, and to those that a sum hides."""
    judge.conforms(candidate, case, FEW)


@clause("swiglu.formula", tier="enclosure", dtypes=("float32",))
@given(case=st.just(of_few("swiglu", CUBE)[0]))
def test_swiglu_of_a_thousand_cubed_keeps_the_digits_of_x(candidate, case):
    """One feature an output, at all of its digits. Blind to digits of weights, and to those that a sum hides."""
    judge.conforms(candidate, case, FEW)


def of_ones(operator, shapes, terms):
    """A layer of these shapes that holds ones."""
    return Case(operator, shapes, dict.fromkeys(shapes, Texture("ones")), {}, terms)


def what_a_mean_hands_back(candidate, operator, shapes):
    """Judge the bias' gradient where one small number, at one address, comes back from all places."""
    if not sums_once(candidate, operator, "backward"):
        return
    candidate.begin()
    case = of_ones(operator, shapes, PLACES)
    incoming = Texture("ones", 0, (), "expanded_all").holding(np.full(case.result_shape, 2.0**-8), 1)
    bias = [*shapes][-1]
    seen = candidate.ask_gradient(case.changed(incoming=incoming), [bias], alone=True)
    expected = rounded(np.full(shapes[bias], PLACES * 2.0**-8), candidate.format)
    judge.same_arrays(candidate, "not all places count", seen.gradients[bias], expected, f"gradient of {bias}")


def integers_come_back(candidate, operator, shapes):
    """Judge the bias' gradient where integers come back, of as many digits as their sum has exactly."""
    precision = candidate.precision(operator, "backward")
    if not (precision.exact_on_integers and precision.keeps_a_bias):
        candidate.tally.left_out = f"{precision} is declared, under which digits may be lost"
        return
    candidate.begin()
    case = of_ones(operator, shapes, PLACES)
    largest = 2 ** (candidate.format.precision - PLACES.bit_length())
    incoming = np.random.default_rng(3).integers(-largest, largest, case.result_shape, endpoint=True)
    bias = [*shapes][-1]
    held = Texture("normal").holding(incoming.astype(float), 1)
    seen = candidate.ask_gradient(case.changed(incoming=held), [bias], alone=True)
    others = tuple(k for k in range(incoming.ndim) if k != 1)  # axes that are not the outputs'
    judge.same_arrays(candidate, "digits are lost", seen.gradients[bias], incoming.sum(others), f"gradient of {bias}")


@clause("linear.gradient", tier="gradient", dtypes=EXACT)
def test_integers_of_many_digits_are_summed_exactly_by_the_bias_of_linear(candidate):
    """Over thousands of rows. Blind to other gradients."""
    integers_come_back(candidate, "linear", OF_ROWS)


@clause("conv2d.gradient", tier="gradient", dtypes=EXACT)
def test_integers_of_many_digits_are_summed_exactly_by_the_bias_of_conv2d(candidate):
    """Over thousands of places. Blind to other gradients."""
    integers_come_back(candidate, "conv2d", OF_PLACES)


@clause("linear.gradient", tier="gradient")
def test_a_mean_over_more_rows_than_float16_can_count_comes_back_to_the_bias(candidate):
    """Blind to counts of fewer rows that are rounded."""
    what_a_mean_hands_back(candidate, "linear", OF_ROWS)


@clause("conv2d.gradient", tier="gradient")
def test_a_mean_over_more_places_than_float16_can_count_comes_back_to_the_bias(candidate):
    """Blind to counts of fewer places that are rounded."""
    what_a_mean_hands_back(candidate, "conv2d", OF_PLACES)
