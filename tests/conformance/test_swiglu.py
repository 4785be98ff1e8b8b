"""SwiGLU: the laws of its clauses."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from assay.implementations.arrays import Values
from assay.implementations.observe import Observation
from assay.reference.arithmetic.ball import UP, Ball
from assay.reference.arithmetic.enclosure import Enclosure
from assay.reference.arithmetic.precision import Precision
from assay.reference.arithmetic.primitives import store
from assay.reference.linear import linear_element
from assay.reference.swish import swish
from assay.reference.tensor import Index, Tensor
from assay.tests.conformance.test_glu import (
    A_NAN,
    a_nan_reaches_its_row_or_output,
    of_biases,
    refuses_sizes,
    tiny_results,
)
from assay.tests.trial import judge, printed
from assay.tests.trial.cases import SMALL, Case, gated_cases
from assay.tests.trial.failure import NonConformance
from assay.tests.trial.laws import clause
from assay.tests.trial.permitted import elements
from assay.tests.trial.textures import INTEGERS, Texture, textures

SHORT = (*SMALL, 7, 8, 17)
SPARSE = ("sparse",)


def _with_branch(case: Case, v: Texture, c: Texture) -> Case:
    return case.with_textures(v=v, c=c)


# Gates W x + b of small integers, exact in every order; the other branch is anything.
integer_gates = st.builds(
    _with_branch,
    gated_cases("swiglu", SPARSE, (*SMALL, 7, 8, 17, 33)),
    textures(("integers", "normal", "cancelling")),
    textures(("normal", "positive")),
)


@clause("swiglu.formula", tier="enclosure")
@given(case=gated_cases("swiglu"))
def test_swiglu_stays_within_its_enclosure(candidate, case):
    """Each element is swish(W x + b) * (V x + c) but for rounding. Blind to errors below the worst order's."""
    judge.conforms(candidate, case)


@clause("swiglu.gate", tier="enclosure", needs=("glu", "swiglu"))
@given(case=integer_gates)
def test_swiglu_is_glu_times_the_argument_of_the_gate(candidate, case):
    """swiglu(x) = glu(x) * (W x + b), up to what both may round. Blind to errors that both share."""
    (gated, permitted), (plain, allowed) = (_answer(candidate, case, name) for name in ("swiglu", "glu"))
    x, w, b = (gated.call.arguments[name] for name in ("x", "w", "b"))
    gates = x.values @ w.values.T + (0.0 if b is None else b.values)
    for at in _some(case.result_shape):
        gate, value = Fraction(gates[at]), float(plain.output[at])
        middle = gate * Fraction(value) if math.isfinite(value) else value
        radius = (permitted(at).radius + float(abs(gate)) * allowed(at).radius) * UP
        product = Ball(Enclosure(candidate.precision("swiglu")), middle, radius)
        judge.within(candidate, "swiglu(x) is not glu(x) * (W x + b)", at, float(gated.output[at]), product)


@clause("swiglu.gate", tier="exact")
@given(case=gated_cases("swiglu", INTEGERS))
def test_swiglu_with_a_gate_of_zero_is_zero(candidate, case):
    """With W and b zero swish gives 0, where GLU's sigmoid gives 1/2. Blind to all gates but zero."""
    judge.conforms_exactly(candidate, case.with_textures(w=Texture("zeros"), b=Texture("zeros")))


@clause("swiglu.biases", tier="enclosure")
@given(case=gated_cases("swiglu", ("normal", "positive", "negative", "spikes")))
def test_swiglu_of_zero_is_the_swish_of_b_times_c(candidate, case):
    """With x = 0 only b and c are left, or nothing without one of them. Blind to biases that depend on x."""
    judge.conforms(candidate, case.with_textures(x=Texture("zeros")))


@clause("swiglu.class-as-printed", tier="contract", needs=(), dtypes=("float32",))
def test_the_swiglu_class_as_printed_cannot_be_constructed(candidate):
    """Reading self.c before there is one is an AttributeError. Blind to the candidate: it is the document's code."""
    candidate.begin()
    candidate.compared()
    weight = printed.layer(np.ones((2, 3)))
    try:
        printed.class_as_printed()(weight, weight, None, None)
    except AttributeError:
        return
    raise NonConformance("the SwiGLU class as printed was constructed, although it reads self.c before assigning it")


@clause("swiglu.class-mended", tier="enclosure", needs=("linear", "swish"))
@given(case=gated_cases("swiglu", sizes=SHORT))
def test_the_mended_swiglu_class_computes_swiglu(candidate, case):
    """The class over the candidate's linear and swish gives the formula. Blind to the candidate's own swiglu."""
    x, w, v, b, c = (None if part is None else part.values for part in case.arguments(candidate.format).values())
    module = printed.class_mended(
        lambda x, weight, bias: candidate.values("linear", x, weight.detach().numpy(), bias),
        lambda x1: candidate.values("swish", x1),
    )(printed.layer(w), printed.layer(v), b, c)
    with np.errstate(invalid="ignore", over="ignore"):
        result = module(x)
    permitted = _composed(candidate, x, w, v, b, c)
    for at in _some(result.shape):
        got = candidate.format.round(float(result[at]))
        judge.within(candidate, "the mended class does not compute silu(x1) * x2", at, got, permitted(at))


@clause("swiglu.gradient", tier="gradient")
@given(case=gated_cases("swiglu", sizes=SHORT))
def test_swiglu_gradients_stay_within_their_enclosures(candidate, case):
    """The tape's gradients for x, W, V, b and c. Blind to gradients of sums longer than a few dozen terms."""
    judge.gradient_conforms(candidate, case)


@clause("swiglu.special", tier="special")
@given(**A_NAN)
def test_a_nan_reaches_every_result_of_its_row_or_output_of_swiglu(candidate, features, outputs, seed, place):
    """One of x its row, one of a weight or a bias its output. Blind to infinities, and to more than one NaN."""
    a_nan_reaches_its_row_or_output(candidate, "swiglu", features, outputs, seed, place)


@clause("swiglu.formula", tier="special")
@given(outputs=st.sampled_from((*SHORT, 33, 64)), seed=st.integers(0, 255))
def test_swiglu_overflows_to_infinity_alone(candidate, outputs, seed):
    """Gates times numbers next to the largest are infinite, or as the formula has it. Blind to sums that overflow."""
    rng, large = np.random.default_rng(seed), 0.75 * candidate.format.largest
    signs, gates = rng.choice((-large, large), outputs), rng.choice((16.0, 8.0, -8.0, -1.0, 0.5), outputs)
    judge.conforms(candidate, of_biases("swiglu", gates, signs))


@clause("swiglu.formula", tier="special")
@given(outputs=st.sampled_from((*SHORT, 33, 64)), seed=st.integers(0, 255))
def test_swiglu_does_not_flush_what_is_below_the_least_normal_number(candidate, outputs, seed):
    """Results that are subnormal count unless flushing is declared. Blind to products that are subnormal."""
    judge.conforms(candidate, tiny_results(candidate, "swiglu", outputs, seed))


@clause("swiglu.refuses-sizes", tier="contract")
@given(
    features=st.sampled_from((3, 4, 5, 8, 17, 64)),
    outputs=st.sampled_from((3, 4, 6, 9, 33)),
    off=st.sampled_from((1, -1, 2)),
)
def test_swiglu_refuses_sizes_that_do_not_match(candidate, features, outputs, off):
    """Weights or biases too long or too short are errors. Blind to sizes of 1, which may be spread out."""
    refuses_sizes(candidate, "swiglu", features, outputs, off)


def _answer(candidate, case: Case, operator: str) -> tuple[Observation, Callable[[Index], Ball]]:
    """The operator's answer to the case's arguments, and the enclosure of any of its elements."""
    case = case.changed(operator=operator)
    seen = candidate.ask(case)
    return seen, elements(Enclosure(candidate.precision(operator)), case, seen.call)


def _composed(candidate, x: Values, w: Values, v: Values, b: Values | None, c: Values | None) -> Callable[..., Ball]:
    """The enclosures of swiglu out of the candidate's linear and swish, each under its own declared precision.

    The product is the judge's: one rounding.
    """
    linear, activation, product = (
        Enclosure(precision)
        for precision in (
            candidate.precision("linear"),
            candidate.precision("swish"),
            Precision.strict(candidate.format),
        )
    )
    x, w, v, b, c = (
        part if part is None else Tensor(part.ravel().tolist(), part.shape, linear) for part in (x, w, v, b, c)
    )

    def permitted(at: Index) -> Ball:
        gate = store(swish(_on(activation, linear_element(at, x, w, b))))
        return store(_on(product, gate) * _on(product, linear_element(at, x, v, c)))

    return permitted


def _on(arithmetic: Enclosure, ball: Ball) -> Ball:
    """The same set, for an operator under another precision."""
    return Ball(arithmetic, ball.middle, ball.radius, ball.overflow, ball.stored)


def _some(shape: Index) -> list[Index]:
    """Every index of a small shape, and at most some forty of a large one, spread evenly."""
    places = [tuple(at) for at in np.ndindex(*shape)]
    return places[:: max(1, len(places) // 40)]
