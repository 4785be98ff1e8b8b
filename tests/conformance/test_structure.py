"""Values that have structure: rows of one number each, weights that change nothing, gates of one kind, near betas.

Whoever looks at values to save work takes such for less than they are.
"""

from __future__ import annotations

import numpy as np

from assay.tests.conformance.test_contract import MODES, answered, demand_own_memory
from assay.tests.conformance.test_magnitudes import GATED, convolution, dense, times
from assay.tests.trial import judge
from assay.tests.trial.cases import Case
from assay.tests.trial.laws import clause
from assay.tests.trial.textures import Texture, rounded
from assay.tests.trial.whole import going_back, gradients_are_exact, result_is_exact

FEW = 12  # elements of a result that are judged, beside the suspected
ROWS, FEATURES, OUTPUTS = 40, 16, 24
UNITS = 64  # a few tiles of gates
BETAS = (1.0, 1.0004, 1.0, 0.9997)
PREACTIVATIONS = (-60.0, -21.0, -9.0, 9.0, 21.0)


def one_hot(candidate, operator):
    """A layer whose rows of x are one number each, as of an embedding: most features are met by several rows."""
    candidate.begin()
    case = dense(operator, ROWS, FEATURES, OUTPUTS)
    columns = np.random.default_rng(ROWS).integers(0, FEATURES, ROWS)
    values = (1.0 + np.arange(ROWS)[:, None] % 3) * (columns[:, None] == np.arange(FEATURES))
    return case.with_textures(x=case.textures["x"].holding(values, 1))


def one_hot_integers(candidate):
    """Such a layer of linear whose weights are integers: sums are exact."""
    case = one_hot(candidate, "linear")
    return case.changed(textures={**case.textures, "w": Texture("integers", 3)}, terms=ROWS)


@clause("linear.formula", tier="exact")
def test_linear_of_rows_of_one_number_each_is_exact(candidate):
    """As of words. Blind to more numbers in a row."""
    result_is_exact(candidate, one_hot_integers(candidate))


@clause("linear.gradient", tier="gradient")
def test_linear_gradients_of_rows_of_one_number_each_are_exact(candidate):
    """As of words, some of which come again. Blind to more numbers in a row."""
    gradients_are_exact(candidate, going_back(candidate, one_hot_integers(candidate), "contiguous"))


@clause("glu.gradient", tier="gradient")
def test_glu_gradients_of_rows_of_one_number_each_stay_within_their_enclosures(candidate):
    """As of words, some of which come again. Blind to more numbers in a row."""
    judge.gradient_conforms(candidate, one_hot(candidate, "glu").changed(incoming=Texture("normal", 3)))


@clause("swiglu.gradient", tier="gradient")
def test_swiglu_gradients_of_rows_of_one_number_each_stay_within_their_enclosures(candidate):
    """As of words, some of which come again. Blind to more numbers in a row."""
    judge.gradient_conforms(candidate, one_hot(candidate, "swiglu").changed(incoming=Texture("normal", 3)))


@clause("contract.no-alias", tier="contract", operators=("linear", "conv2d"))
def test_contract_what_changes_nothing_is_a_copy(candidate, operator):
    """Weights that are the identity, of dozens of features or channels, without a bias. Blind to smaller ones."""
    same = np.eye(UNITS)
    if operator == "linear":
        case, name = dense("linear", 5, UNITS, UNITS), "w"
    else:
        case, name = convolution((2, UNITS, 3, 4), (UNITS, UNITS, 1, 1), padding=0), "weight"
        same = same[:, :, None, None]
    case = case.with_textures(**{name: case.textures[name].holding(same, 1)})
    for recording in MODES:
        candidate.begin()
        seen = answered(candidate, case, recording=recording)
        demand_own_memory(seen)


def gates_of_one_kind(candidate, operator):
    """Judge layers of which all gates are nearly shut, or open, each by some more than the last."""
    for least in PREACTIVATIONS:
        candidate.begin()
        case = dense(operator, 5, 1, UNITS)
        ones = {name: Texture("ones") for name in ("x", GATED[operator][0])}
        case = case.with_textures(**ones)
        judge.conforms(candidate, times(candidate, case, w=least * (1.0 + np.arange(UNITS)[:, None] / UNITS)), FEW)


@clause("glu.formula", tier="enclosure")
def test_gates_of_glu_that_are_all_nearly_shut_or_open_count(candidate):
    """By 9 to 60, in every row. Blind to layers of which some are otherwise."""
    gates_of_one_kind(candidate, "glu")


@clause("swiglu.formula", tier="enclosure")
def test_gates_of_swiglu_that_are_all_nearly_shut_or_open_count(candidate):
    """By 9 to 60, in every row. Blind to layers of which some are otherwise."""
    gates_of_one_kind(candidate, "swiglu")


@clause("contract.memoryless", tier="state", operators=("swish",))
def test_state_betas_that_nearly_agree_give_their_own_results(candidate, operator):
    """One call after the other, in inference and in training. Blind to betas that agree in four digits."""
    values = np.linspace(-75.0, 5.0, 20 * UNITS)
    for recording in MODES:
        candidate.begin()
        for beta in BETAS:
            texture = Texture("negative").holding(rounded(values, candidate.format), 1)
            case = Case(operator, {"x": values.shape}, {"x": texture}, {"beta": beta})
            judge.answer_conforms(candidate, case, candidate.answer(case, recording=recording), FEW)
