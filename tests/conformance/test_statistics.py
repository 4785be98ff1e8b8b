"""Statistics: many long sums of random products, whose rounding errors have to average out."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from assay.implementations.arrays import Argument, Values
from assay.reference.arithmetic.enclosure import Enclosure
from assay.reference.arithmetic.formats import FLOAT64
from assay.reference.arithmetic.precision import Precision
from assay.reference.tensor import Tensor
from assay.tests.trial.candidate import Candidate, well_formed
from assay.tests.trial.failure import NonConformance
from assay.tests.trial.laws import clause
from assay.tests.trial.permitted import going_back_by_fft
from assay.tests.trial.sums import Sums, margins, sums_of
from assay.tests.trial.textures import SEEDS, rounded

SUMS, FEW = 1024, 64
TERMS = (1024, 4096, 256, 64)
LONG = 2**14


def drawn(candidate: Candidate, seed: int, *shape: int) -> Values:
    """Normal numbers of the candidate's format; of 24 bits in float64, so that products are exact there too."""
    values = np.random.default_rng([seed, *shape]).standard_normal(shape)
    return (
        values.astype(np.float32).astype(np.float64)
        if candidate.format is FLOAT64
        else rounded(values, candidate.format)
    )


def bounded(terms: int, precision: Precision) -> int:
    """So many terms, or as many as have a useful bound in a coarse accumulation."""
    return terms if 4 * terms * precision.accumulation.unit < 1.0 else int(0.25 / precision.accumulation.unit)


def hold(candidate: Candidate, subject: str, got: Values, sums: Sums, precision: Precision) -> None:
    """Hold many sums to what the errors of many sums are.

    Raises:
        NonConformance: saying in what way they are off.
    """
    found = margins(got.ravel(), sums, precision)
    worst = max(found, key=found.__getitem__)
    candidate.compared(got.size, found[worst] if found[worst] <= 1.0 else 0.0)
    if not found[worst] <= 1.0:
        what = f"the errors of {got.size} sums of {sums.terms} products {worst}"
        raise NonConformance(what, list(candidate.calls), subject, margin=found[worst], wrong=got.size, judged=got.size)


def asked(candidate: Candidate, operator: str, arguments: dict, incoming: Values, of: str) -> Values:
    """The gradient of one tensor."""
    tensors = tuple(name for name, value in arguments.items() if isinstance(value, Argument))
    seen = candidate.observe(operator, arguments, Argument(incoming), tensors)
    well_formed(seen, None)
    if seen.gradients[of] is None:
        raise NonConformance(f"{operator} gave no gradient for {of}", [seen.call])
    return seen.gradients[of]


@clause("linear.formula", tier="statistics")
@given(seed=SEEDS, terms=st.sampled_from(TERMS))
def test_linear_rounding_errors_average_out(candidate, seed, terms):
    """As those of sums in the declared precision do. Blind to what is off in few of the sums."""
    sums_of_features(candidate, seed, SUMS, terms)


@clause("linear.formula", tier="statistics", budget="gate")
@given(seed=SEEDS)
def test_linear_rounding_errors_of_very_long_sums_average_out(candidate, seed):
    """As where sums are split and put together again. Blind to what is off in few of the sums."""
    sums_of_features(candidate, seed, FEW, LONG)


def sums_of_features(candidate: Candidate, seed: int, sums: int, terms: int) -> None:
    """Hold so many sums of linear, of one row, to what their errors are."""
    precision = candidate.precision("linear")
    terms = bounded(terms, precision)
    x, w = drawn(candidate, seed, 1, terms), drawn(candidate, seed, sums, terms)
    got = candidate.values("linear", x, w)
    hold(candidate, "result", got, sums_of(w * x), precision)


@clause("linear.gradient", tier="statistics", gradient=True)
@given(seed=SEEDS, terms=st.sampled_from(TERMS))
def test_linear_rounding_errors_of_the_inputs_gradient_average_out(candidate, seed, terms):
    """A sum over outputs. Blind to what is off in few of the sums."""
    sums_going_back(candidate, "x", seed, SUMS, terms)


@clause("linear.gradient", tier="statistics", gradient=True, budget="gate")
@given(seed=SEEDS)
def test_linear_rounding_errors_of_the_inputs_gradient_of_very_long_sums_average_out(candidate, seed):
    """As where sums are split and put together again. Blind to what is off in few of the sums."""
    sums_going_back(candidate, "x", seed, FEW, LONG)


def sums_going_back(candidate: Candidate, of: str, seed: int, sums: int, terms: int) -> None:
    """Hold so many sums of linear's gradient, over outputs for x and over the batch for W, to what their errors are."""
    precision = candidate.precision("linear", "backward")
    terms = bounded(terms, precision)
    rows, outputs = (1, terms) if of == "x" else (terms, 1)
    x, w, g = (drawn(candidate, seed, *shape) for shape in ((rows, sums), (outputs, sums), (rows, outputs)))
    got = asked(candidate, "linear", {"x": Argument(x), "w": Argument(w), "b": None}, g, of)
    hold(candidate, f"gradient of {of}", got, sums_of((w * g.T if of == "x" else x * g).T), precision)


@clause("linear.gradient", tier="statistics", gradient=True)
@given(seed=SEEDS, terms=st.sampled_from(TERMS))
def test_linear_rounding_errors_of_the_weights_gradient_average_out(candidate, seed, terms):
    """A sum over the batch. Blind to what is off in few of the sums."""
    sums_going_back(candidate, "w", seed, SUMS, terms)


@clause("linear.gradient", tier="statistics", gradient=True, budget="gate")
@given(seed=SEEDS)
def test_linear_rounding_errors_of_the_weights_gradient_of_very_long_sums_average_out(candidate, seed):
    """As where sums are split and put together again. Blind to what is off in few of the sums."""
    sums_going_back(candidate, "w", seed, FEW, LONG)


def value_branch(candidate: Candidate, operator: str, seed: int, terms: int, sums: int = SUMS) -> None:
    """With W = 0 and b = 1 the gate is one number, and the result that number times V x."""
    precision = candidate.precision(operator)
    terms = bounded(terms, precision)
    x, v = drawn(candidate, seed, 1, terms), drawn(candidate, seed, sums, terms)
    got = candidate.values(operator, x, np.zeros_like(v), v, np.ones(sums))
    enclosure = Enclosure(precision)
    gate = enclosure.store(enclosure.sigmoid(enclosure.number(1.0)))
    common = 2.0 * gate.radius / gate.size + 2.0 * precision.accumulation.unit
    hold(candidate, "result", got, sums_of(v * x, float(gate.middle), stored=3, common=common), precision)


@clause("glu.formula", tier="statistics")
@given(seed=SEEDS, terms=st.sampled_from(TERMS))
def test_glu_rounding_errors_average_out(candidate, seed, terms):
    """Of the branch that is gated, its gates all alike. Blind to the gate's own sum."""
    value_branch(candidate, "glu", seed, terms)


@clause("swiglu.formula", tier="statistics")
@given(seed=SEEDS, terms=st.sampled_from(TERMS))
def test_swiglu_rounding_errors_average_out(candidate, seed, terms):
    """Of the branch that is gated, its gates all alike. Blind to the gate's own sum."""
    value_branch(candidate, "swiglu", seed, terms)


@clause("glu.formula", tier="statistics", budget="gate")
@given(seed=SEEDS)
def test_glu_rounding_errors_of_very_long_sums_average_out(candidate, seed):
    """As where sums are split and put together again. Blind to the gate's own sum."""
    value_branch(candidate, "glu", seed, LONG, FEW)


@clause("swiglu.formula", tier="statistics", budget="gate")
@given(seed=SEEDS)
def test_swiglu_rounding_errors_of_very_long_sums_average_out(candidate, seed):
    """As where sums are split and put together again. Blind to the gate's own sum."""
    value_branch(candidate, "swiglu", seed, LONG, FEW)


def windows(images: Values, kernel: int) -> Values:
    """(windows, elements of one) of images that are cut into windows side by side."""
    n, c, height, width = images.shape
    cut = images.reshape(n, c, height // kernel, kernel, width // kernel, kernel)
    return cut.transpose(0, 2, 4, 1, 3, 5).reshape(-1, c * kernel * kernel)


def apart(precision: Precision, images: Values, weight: Values) -> float:
    """What each sum may be off by a declared algorithm's own bound: its errors are not those of sums."""
    if precision.algorithm == "direct":
        return 0.0
    tensors = [Tensor(each.ravel().tolist(), each.shape) for each in (images, weight)]
    return Enclosure(precision).apart(*tensors)


@clause("conv2d.formula", tier="statistics")
@given(seed=SEEDS, channels=st.sampled_from((64, 128, 16, 4)))
def test_conv2d_rounding_errors_average_out(candidate, seed, channels):
    """Of windows side by side, so that their products' signs are independent. Blind to overlapping windows."""
    sums_of_windows(candidate, seed, channels, 48)


@clause("conv2d.formula", tier="statistics", budget="gate")
@given(seed=SEEDS, channels=st.sampled_from((1024, 512)))
def test_conv2d_rounding_errors_of_many_channels_average_out(candidate, seed, channels):
    """As in the deepest layers. Blind to overlapping windows."""
    sums_of_windows(candidate, seed, channels, 12)


def sums_of_windows(candidate: Candidate, seed: int, channels: int, size: int) -> None:
    """Hold the sums of conv2d, 3x3 windows of four images of this size, to what their errors are."""
    precision = candidate.precision("conv2d")
    channels = bounded(9 * channels, precision) // 9
    images, weight = drawn(candidate, seed, 4, channels, size, size), drawn(candidate, seed, 1, channels, 3, 3)
    got = candidate.values("conv2d", images, weight, stride=3)
    sums = sums_of(windows(images, 3) * weight.ravel(), apart=apart(precision, images, weight))
    hold(candidate, "result", got, sums, precision)


@clause("conv2d.gradient", tier="statistics", gradient=True)
@given(seed=SEEDS, places=st.sampled_from((12, 4)))
def test_conv2d_rounding_errors_of_the_weights_gradient_average_out(candidate, seed, places):
    """A sum over all places of all samples. Blind to overlapping windows."""
    precision = candidate.precision("conv2d", "backward")
    while 4 * places**2 > bounded(4 * places**2, precision):
        places -= 1
    images, weight = drawn(candidate, seed, 4, 64, 4 * places, 4 * places), drawn(candidate, seed, 1, 64, 4, 4)
    g = drawn(candidate, seed, 4, 1, places, places)
    given_ = {"input": Argument(images), "weight": Argument(weight), "bias": None, "stride": 4, "padding": 0}
    got = asked(candidate, "conv2d", given_, g, "weight")
    off = going_back_by_fft("weight", precision, images, weight, g, 4)
    sums = sums_of((windows(images, 4) * g.reshape(-1, 1)).T, apart=off)
    hold(candidate, "gradient of weight", got, sums, precision)
