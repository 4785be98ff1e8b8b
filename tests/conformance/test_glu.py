"""GLU: the laws of its clauses."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from assay.implementations.arrays import Values
from assay.tests.conformance.test_contract import are_refused
from assay.tests.trial import judge
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.cases import SMALL, Case, gated_cases
from assay.tests.trial.laws import clause
from assay.tests.trial.textures import INTEGERS, Texture

SHORT = (*SMALL, 7, 8, 17)
GATES = ((-256.0, 256.0), (256.0, -1024.0, 1024.0), (-1024.0,), (-40.0, 40.0, -104.0))
MODERATE = ("integers", "normal", "positive", "negative", "cancelling")


def _amid(case: Case, output: int, other: float) -> Case:
    """The case with everything that is not of one output overwritten by ``other``, and no zero in x."""
    outputs = case.shapes["w"][0]
    changed = {"x": Texture("positive", case.textures["x"].seed)}
    for name in ("w", "v", "b", "c"):
        length = math.prod(case.shapes.get(name, ())) // outputs
        rest = [k for k in range(length * outputs) if k // max(length, 1) != output % outputs]
        old = case.textures.get(name, Texture())
        changed[name] = Texture(old.family, old.seed, tuple((k, other) for k in rest))
    return case.with_textures(**changed)


def _gated_by(case: Case, gates: tuple[float, ...]) -> Case:
    """The case with these biases in the gate, one after the other, and no more than a few units of W x besides."""
    outputs = case.shapes["w"][0]
    b = Texture("zeros", 0, tuple((o, gates[o % len(gates)]) for o in range(outputs)))
    shapes = {name: case.shapes[name] for name in ("x", "w", "v")} | {"b": (outputs,)}
    shapes |= {"c": case.shapes["c"]} if "c" in case.shapes else {}
    textures = case.textures | {"b": b, "w": replace(case.textures["w"], family="sparse")}
    return case.changed(shapes=shapes, textures=textures)


@clause("glu.formula", tier="enclosure")
@given(case=gated_cases("glu"))
def test_glu_stays_within_its_enclosure(candidate, case):
    """Each element is sigmoid(W x + b) * (V x + c) but for rounding. Blind to errors below the worst order's."""
    judge.conforms(candidate, case)


@clause("glu.formula", tier="exact")
@given(case=gated_cases("glu", INTEGERS))
def test_glu_with_a_gate_of_zero_is_half_of_the_other_branch(candidate, case):
    """With W and b zero the sigmoid is 1/2, so integers give halves. Blind to W and b, which are zero here."""
    judge.conforms_exactly(candidate, case.with_textures(w=Texture("zeros"), b=Texture("zeros")))


@clause("glu.product", tier="enclosure")
@given(
    case=gated_cases("glu", MODERATE, (*SMALL, 7, 8, 17, 33)),
    output=st.integers(0, 99),
    other=st.sampled_from((math.nan, 3.0, -50.0, 0.0)),
)
def test_an_output_of_glu_takes_its_own_rows_alone(candidate, case, output, other):
    """Whatever stands in the other rows, an output is as ever. Blind to mixtures that stay within rounding."""
    judge.conforms(candidate, _amid(case, output, other))


@clause("glu.biases", tier="enclosure")
@given(case=gated_cases("glu", ("normal", "positive", "negative", "spikes")))
def test_glu_of_zero_is_the_sigmoid_of_b_times_c(candidate, case):
    """With x = 0 only b and c are left, or nothing without c. Blind to biases that depend on x."""
    judge.conforms(candidate, case.with_textures(x=Texture("zeros")))


@clause("glu.closed-gate", tier="enclosure")
@given(case=gated_cases("glu", MODERATE, SHORT))
def test_a_closed_gate_of_glu_gives_nothing_and_an_open_one_everything(candidate, case):
    """Far below zero the enclosure is next to 0, far above next to V x + c. Blind to gates around zero."""
    x = replace(case.textures["x"], family="positive")
    for gates in GATES:
        judge.conforms(candidate, _gated_by(case, gates).with_textures(x=x))


def of_biases(operator: str, b: Values, c: Values) -> Case:
    """A gated operator of these biases, and of zeros else."""
    shapes = {"x": (2, 3), "w": (len(b), 3), "v": (len(c), 3), "b": b.shape, "c": c.shape}
    elements = {name: tuple(enumerate(values.tolist())) for name, values in (("b", b), ("c", c))}
    return Case(operator, shapes, {name: Texture("zeros", 0, elements.get(name, ())) for name in shapes})


def tiny_results(candidate: Candidate, operator: str, outputs: int, seed: int) -> Case:
    """Gates of moderate numbers times ones that are just normal: many a result is not."""
    rng, least = np.random.default_rng(seed), candidate.format.least_normal
    gates = rng.choice((0.25, 0.5, 1.0, -0.5, -1.0), outputs)
    return of_biases(operator, gates, rng.choice((-least, least, 1.5 * least), outputs))


@clause("glu.formula", tier="special")
@given(outputs=st.sampled_from((*SHORT, 33, 64)), seed=st.integers(0, 255))
def test_glu_does_not_flush_what_is_below_the_least_normal_number(candidate, outputs, seed):
    """Results that are subnormal count unless flushing is declared. Blind to products that are subnormal."""
    judge.conforms(candidate, tiny_results(candidate, "glu", outputs, seed))


@clause("glu.gradient", tier="gradient")
@given(case=gated_cases("glu", sizes=SHORT))
def test_glu_gradients_stay_within_their_enclosures(candidate, case):
    """The tape's gradients for x, W, V, b and c. Blind to gradients of sums longer than a few dozen terms."""
    judge.gradient_conforms(candidate, case)


def a_nan_reaches_its_row_or_output(
    candidate: Candidate, operator: str, features: int, outputs: int, seed: int, place: int
) -> None:
    """Give a gated operator one NaN, in each of its tensors in turn; the other numbers are small, and not 0."""
    for of in "xwvbc":
        _a_nan_in(of, candidate, operator, features, outputs, seed, place)


def _a_nan_in(of: str, candidate: Candidate, operator: str, features: int, outputs: int, seed: int, place: int) -> None:
    rng = np.random.default_rng(seed)
    shapes = {"x": (3, features), "w": (outputs, features), "v": (outputs, features), "b": (outputs,), "c": (outputs,)}
    given_ = {name: rng.choice((-0.5, 0.25, 0.5, 1.0), shape) for name, shape in shapes.items()}
    row = place % len(given_[of])
    given_[of].reshape(len(given_[of]), -1)[row, place % features if given_[of].ndim == 2 else 0] = math.nan
    got = candidate.values(operator, *given_.values())
    expected = np.zeros(got.shape)
    expected[(row,) if of == "x" else (..., row)] = math.nan
    what = f"a NaN in {of} is not in all results of its {'row' if of == 'x' else 'output'}, or is in others"
    judge.same_arrays(candidate, what, np.where(np.isnan(got), got, 0.0), expected)


A_NAN = {
    "features": st.sampled_from(SHORT),
    "outputs": st.sampled_from((*SHORT, 33, 64)),
    "seed": st.integers(0, 255),
    "place": st.integers(0, 4095),
}


@clause("glu.special", tier="special")
@given(**A_NAN)
def test_a_nan_reaches_every_result_of_its_row_or_output_of_glu(candidate, features, outputs, seed, place):
    """One of x its row, one of a weight or a bias its output. Blind to infinities, and to more than one NaN."""
    a_nan_reaches_its_row_or_output(candidate, "glu", features, outputs, seed, place)


@clause("glu.refuses-sizes", tier="contract")
@given(
    features=st.sampled_from((3, 4, 5, 8, 17, 64)),
    outputs=st.sampled_from((3, 4, 6, 9, 33)),
    off=st.sampled_from((1, -1)),
)
def test_glu_refuses_sizes_that_do_not_match(candidate, features, outputs, off):
    """Weights or biases one too long or too short are errors. Blind to sizes of 1, and to sizes further off."""
    refuses_sizes(candidate, "glu", features, outputs, off)


def refuses_sizes(candidate, operator, features, outputs, off):
    """Hold a gate to refusing each of its weights and biases where an axis is off by so much, and weights turned."""
    for wrong, axis in (("w", 1), ("v", 1), ("b", 0), ("c", 0), ("w", 0), ("v", 0)):
        sizes = {"x": [2, features], "w": [outputs, features], "v": [outputs, features]}
        sizes |= {} if (wrong, axis) in (("w", 0), ("v", 0)) else {"b": [outputs], "c": [outputs]}
        sizes[wrong][axis] += off
        are_refused(candidate, operator, sizes)
    others = outputs + (outputs == features)
    turned = {"x": (2, features), "w": (features, others), "v": (features, others)}
    for biases in ({}, {"b": (others,), "c": (others,)}):
        are_refused(candidate, operator, turned | biases)


@clause("glu.formula", tier="special")
def test_an_infinite_gate_of_glu_is_open_or_shut(candidate):
    """As a mask sets it. Blind to infinities that come of a sum."""
    candidate.begin()
    b = np.array([math.inf, -math.inf, 1.0] * 12)
    got = candidate.values("glu", np.zeros((2, 3)), np.zeros((36, 3)), np.zeros((36, 3)), b, np.full(36, 2.0))
    expected = np.tile([2.0, 0.0], (2, 12))
    judge.same_arrays(candidate, "an infinite gate is not 1 or 0", np.delete(got, slice(2, None, 3), axis=1), expected)
