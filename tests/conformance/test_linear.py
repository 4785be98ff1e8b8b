"""Linear: the laws of its clauses."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from assay.tests.conformance.test_contract import are_refused
from assay.tests.trial import judge
from assay.tests.trial.cases import SMALL, Case, linear_cases
from assay.tests.trial.laws import clause
from assay.tests.trial.plain import linear, values_of
from assay.tests.trial.textures import INTEGERS, WITH_SUBNORMALS, Texture, rounded, textures
from assay.tests.trial.whole import gradients_are_rounded_once, sums_once

SHORT = (*SMALL, 7, 8, 17)
LONG_SUMS = (2049, 1000, 4097)


def _with_bias(case: Case, bias: Texture, rows: str = "drawn") -> Case:
    """The case with a bias, and x a vector, or a square's worth of rows, where a bias fits along either axis."""
    outputs, features = case.shapes["w"]
    x = {"drawn": case.shapes["x"], "square": (outputs, features), "none": (features,)}[rows]
    shapes = case.shapes | {"b": (outputs,), "x": x}
    return case.changed(shapes=shapes, textures=case.textures | {"b": bias})


def _without_bias(case: Case) -> Case:
    return case.changed(shapes={name: case.shapes[name] for name in ("x", "w")})


def _in_rows(case: Case, rows: int) -> Case:
    return case.changed(shapes=case.shapes | {"x": (rows, case.shapes["w"][1])})


biased_cases = st.builds(
    _with_bias, linear_cases(INTEGERS), textures(INTEGERS[1:]), st.sampled_from(("drawn", "square", "none"))
)
A_VECTOR = Case("linear", {"x": (5,), "w": (3, 5)}, {"x": Texture("zeros"), "w": Texture("integers", 1)}, {}, 5)
batches = st.builds(_in_rows, linear_cases(INTEGERS), st.sampled_from((2, 3, 5, 65)))


@clause("linear.formula", tier="exact")
@given(case=linear_cases(INTEGERS))
def test_linear_of_integers_is_exact(candidate, case):
    """Each output is its row of W times x plus its bias. Blind to rounding: integers hide low precision."""
    judge.conforms_exactly(candidate, case)


@clause("linear.formula", tier="enclosure")
@given(case=linear_cases(WITH_SUBNORMALS))
def test_linear_stays_within_its_enclosure(candidate, case):
    """Each output is among the results of some order of summation. Blind to errors below the worst order's."""
    judge.conforms(candidate, case)


@clause("linear.bias", tier="exact")
@given(case=biased_cases)
def test_linear_with_a_bias_is_linear_without_it_plus_one_entry_an_output(candidate, case):
    """The bias is the whole difference, on integers. Blind to a bias that is left out of both."""
    bias = case.arguments(candidate.format)["b"].values
    added = candidate.ask(case).output - candidate.ask(_without_bias(case)).output
    what = "what the bias adds to linear is not its entry for the output, once"
    judge.same_results(candidate, what, added, np.broadcast_to(bias, added.shape))


@clause("linear.bias", tier="exact")
@example(case=A_VECTOR, bias=Texture("positive", 1))
@given(case=biased_cases, bias=textures(("integers", "positive", "negative")))
def test_linear_of_zero_is_the_bias_or_nothing(candidate, case, bias):
    """Nothing is rounded where x = 0. Blind to what the bias does to other x."""
    zero = _with_bias(case.changed(textures=case.textures | {"x": Texture("zeros")}), bias)
    expected = zero.arguments(candidate.format)["b"].values
    with_it, without = candidate.ask(zero).output, candidate.ask(_without_bias(zero)).output
    if candidate.precision("linear").keeps_a_bias:
        judge.same_arrays(candidate, "linear(0) is not b", with_it, np.broadcast_to(expected, with_it.shape))
    else:
        judge.conforms(candidate, zero)
    judge.same_arrays(candidate, "linear(0) without a bias is not 0", without, np.zeros(without.shape))


@clause("linear.additive", tier="exact")
@given(case=linear_cases(INTEGERS), addend=textures(INTEGERS[1:]))
def test_linear_of_a_sum_is_the_sum_of_linears_less_one_bias(candidate, case, addend):
    """linear(x + y) = linear(x) + linear(y) - b on integers. Blind to any other linear map in its place."""
    case = case.changed(terms=2 * case.terms + 2)
    x, w, b = case.arguments(candidate.format).values()
    y = addend.fill(case.shapes["x"], candidate.format, case.terms)
    whole = candidate.values("linear", x.values + y.values, w, b)
    parts = candidate.values("linear", x, w, b) + candidate.values("linear", y, w, b)
    what = "linear(x + y) is not linear(x) + linear(y) - b"
    judge.same_results(candidate, what, whole, parts - (0.0 if b is None else b.values))


@clause("linear.batch", tier="exact")
@given(case=batches, row=st.integers(0, 4), other=st.sampled_from((7.0, math.nan, math.inf, "largest")))
def test_a_row_of_linear_alone_is_that_row_amid_others(candidate, case, row, other):
    """NaN, infinite, huge or plain neighbours change nothing. Blind to what changes a row wherever it is."""
    x, w, b = (None if part is None else part.values for part in case.arguments(candidate.format).values())
    kept = [row % len(x)]
    crowd = np.full(x.shape, candidate.format.largest if other == "largest" else other)
    crowd[kept] = x[kept]
    alone, amid = candidate.values("linear", x[kept], w, b), candidate.values("linear", crowd, w, b)
    judge.same_results(candidate, "a row of linear depends on the rows beside it", amid[kept], alone)


@clause("linear.batch", tier="exact")
@given(case=batches)
def test_linear_of_rows_turned_round_is_turned_round(candidate, case):
    """The order of rows is the order of results, on integers. Blind to rows that are treated alike but wrongly."""
    x, w, b = (None if part is None else part.values for part in case.arguments(candidate.format).values())
    there, back = candidate.values("linear", x, w, b), candidate.values("linear", x[::-1].copy(), w, b)
    judge.same_results(candidate, "linear of the rows in reverse is not its result in reverse", back[::-1], there)


@clause("linear.gradient", tier="gradient")
@given(case=linear_cases(sizes=SHORT))
def test_linear_gradients_stay_within_their_enclosures(candidate, case):
    """The tape's gradients for x, W and b. Blind to gradients of sums longer than a few dozen terms."""
    judge.gradient_conforms(candidate, case)


@clause("linear.gradient", tier="gradient")
@given(case=linear_cases(INTEGERS, sizes=(*SHORT, 31, 33, 65)))
def test_linear_gradients_of_integers_are_exact(candidate, case):
    """Every sum on the way back is exact, so one answer is right. Blind to rounding."""
    judge.gradient_conforms_exactly(candidate, case)


@clause("linear.formula", tier="special")
@given(features=st.sampled_from(SHORT), outputs=st.sampled_from(SHORT), seed=st.integers(0, 255))
def test_linear_of_subnormal_numbers_stays_as_near(candidate, features, outputs, seed):
    """Numbers below the least normal one, times ones, count unless flushing is declared. Blind to other weights."""
    textures = {"x": Texture("subnormal", seed), "w": Texture("ones")}
    judge.conforms(candidate, Case("linear", {"x": (2, features), "w": (outputs, features)}, textures))


@clause("linear.gradient", tier="gradient")
@given(case=linear_cases(("normal",), sizes=SHORT), seed=st.integers(0, 255))
def test_linear_gradients_of_subnormal_incoming_ones_stay_as_near(candidate, case, seed):
    """What comes back below the least normal number counts unless flushing is declared. Blind to long sums."""
    judge.gradient_conforms(candidate, case.changed(incoming=Texture("subnormal", seed)))


def summed(seed, **shapes):
    """A case of small numbers from 0 on: sums are exact in float32, and few of them in 16 bits."""
    textures = {name: Texture("few bits", seed + k) for k, name in enumerate(shapes)}
    return Case("linear", shapes, textures, pick=seed, incoming=Texture("few bits", seed))


@clause("linear.formula", tier="exact", dtypes=("bfloat16", "float16"))
@given(
    rows=st.sampled_from((1, 2, 3, 17, 64)),
    features=st.sampled_from(LONG_SUMS),
    outputs=st.sampled_from((1, 2, 3, 33, 64)),
    seed=st.integers(0, 255),
)
def test_linear_rounds_a_long_sum_once(candidate, rows, features, outputs, seed):
    """The sum is exact in float32, so its nearest number is the answer. Blind to biases, and to other accumulation."""
    if not sums_once(candidate, "linear", "forward"):
        judge.conforms(candidate, summed(seed, x=(rows, 8), w=(outputs, 8)))
        return
    seen = candidate.ask(summed(seed, x=(rows, features), w=(outputs, features)))
    expected = rounded(linear(*values_of(seen)), candidate.format)
    judge.same_arrays(candidate, "the exact sum is rounded to another number", seen.output, expected)


@clause("linear.gradient", tier="gradient", dtypes=("bfloat16", "float16"))
@given(rows=st.sampled_from(LONG_SUMS), features=st.integers(1, 3), outputs=st.integers(1, 3), seed=st.integers(0, 255))
def test_linear_rounds_a_gradient_that_sums_over_many_rows_once(candidate, rows, features, outputs, seed):
    """Those of W and b, in float32 exact. Blind to batches of more than one axis, and to other accumulation."""
    weights = {"w": (outputs, features), "b": (outputs,)}
    if not sums_once(candidate, "linear", "backward"):
        judge.gradient_conforms(candidate, summed(seed, x=(8, features), **weights))
        return
    gradients_are_rounded_once(candidate, summed(seed, x=(rows, features), **weights))


@clause("linear.special", tier="special")
@given(
    features=st.sampled_from(SHORT),
    outputs=st.sampled_from((*SHORT, 33, 64)),
    seed=st.integers(0, 255),
    places=st.lists(st.tuples(st.integers(0, 50), st.sampled_from((math.nan, math.inf, -math.inf))), min_size=1),
    biased=st.booleans(),
)
def test_a_nan_or_infinity_reaches_every_output_of_its_row_alone(candidate, features, outputs, seed, places, biased):
    """Nonzero weights pass NaN on, and infinities with their sign. Blind to weights of 0 or without end."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 4, (3, features)).astype(np.float64)
    w = rng.choice((-3.0, -2.0, -1.0, 1.0, 2.0, 3.0), (outputs, features))
    b = rng.integers(-3, 4, outputs).astype(np.float64) if biased else None
    for position, value in places:
        x.flat[position % x.size] = value
    with np.errstate(invalid="ignore"):
        expected = (x[:, None, :] * w).sum(-1) + (0.0 if b is None else b)
    what = "NaN or an infinity in x does not reach every output of its row, or reaches another row"
    judge.same_results(candidate, what, candidate.values("linear", x, w, b), expected)


@clause("linear.special", tier="special")
@given(
    features=st.sampled_from(SHORT),
    outputs=st.sampled_from((*SHORT, 33, 64)),
    seed=st.integers(0, 255),
    place=st.integers(0, 4095),
    value=st.sampled_from((math.nan, math.inf, -math.inf)),
)
def test_a_nan_or_infinity_of_w_or_b_reaches_its_output_of_every_row(candidate, features, outputs, seed, place, value):
    """In each of them in turn; NaN meets a 0, and no infinity does. Blind to more than one."""
    shapes = {"x": (3, features), "w": (outputs, features), "b": (outputs,)}
    for of in "wb":
        rng = np.random.default_rng(seed)
        held = {name: rng.choice((-3.0, -1.0, 1.0, 2.0), shape) for name, shape in shapes.items()}
        held[of].flat[place % held[of].size] = value
        if of == "w" and math.isnan(value):
            held["x"][0, place % held["w"].size % features] = 0.0
        expected = (held["x"][:, None, :] * held["w"]).sum(-1) + held["b"]
        what = f"NaN or an infinity in {of} does not reach its output of every row, or reaches another"
        judge.same_results(candidate, what, candidate.values("linear", *held.values()), expected)


@clause("linear.refuses-sizes", tier="contract")
@given(
    features=st.sampled_from((3, 4, 5, 8, 17, 64)),
    outputs=st.sampled_from((3, 4, 6, 9, 33)),
    off=st.sampled_from((1, -1)),
)
def test_linear_refuses_sizes_that_do_not_match(candidate, features, outputs, off):
    """Weights or a bias one too long or too short are errors. Blind to sizes of 1, which may be spread out."""
    right = {"x": (2, features), "w": (outputs, features), "b": (outputs,)}
    turned = {"x": (2, features), "w": (features, outputs + (outputs == features))}
    for sizes in (right | {"w": (outputs, features + off)}, right | {"b": (outputs + off,)}, turned):
        are_refused(candidate, "linear", sizes)
