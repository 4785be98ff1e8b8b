"""Large layers: what is remembered, written to or lost there alone, as fast code is chosen by size."""

from __future__ import annotations

import itertools
import math
from functools import partial

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from assay.implementations.arrays import Argument
from assay.implementations.observe import NO_GRAD
from assay.tests.conformance.test_contract import ALL, MODES, answered, demand, trained_together
from assay.tests.conformance.test_magnitudes import KEPT_SUBNORMAL, dense
from assay.tests.conformance.test_state import LATER, reseeded, stay_as_they_are
from assay.tests.trial import judge
from assay.tests.trial.alike import one_answer, right_alike
from assay.tests.trial.candidate import well_formed
from assay.tests.trial.cases import Case
from assay.tests.trial.laws import clause
from assay.tests.trial.layers import LAYERS, of_integers
from assay.tests.trial.nans import nan_alone_at
from assay.tests.trial.plain import GRADIENTS, convolved, linear, values_of
from assay.tests.trial.sweeps import Sweep
from assay.tests.trial.textures import Texture, rounded
from assay.tests.trial.whole import are_all, going_back, gradients_are_rounded_once, integers_are_exact, sums_once

HEAVY = {"x": (12, 1024), "w": (1024, 1024)}  # of 2^20 weights, and few samples
# Rows, features and outputs; features are no multiple of a tile, or one row meets a thousand of them, or all are of 16.
MATRIX_SIZES = ((4, 100, 40), (33, 72, 48), (1, 1024, 16), (32, 64, 48))
OF_MODELS = ((2, 640, 24), (3, 768, 16), (1, 1280, 16), (2, 3072, 8), (64, 2048, 128))  # as MATRIX_SIZES
TURNED = (64, 66)
LONG = ((4096,), TURNED, (2, 8, 1040))
GATES = ((32, 64, 64), (288, 16, 136))  # rows, features and outputs
EDGES = (12.0, 96.0, 720.0)  # where the exponential overflows in float16, float32 and float64
FEW = 12  # elements of a result, the corners among them
VALUES = (math.nan, math.inf, -math.inf)


@clause("contract.inputs-unchanged", tier="contract", operators=ALL)
def test_contract_no_input_of_a_large_layer_is_written_to(candidate, operator):
    """2^16 elements, which a result may fit into, in training and in inference. Blind to what is put back."""
    for recording in MODES:
        candidate.begin()
        seen = answered(candidate, of_integers(operator, *LAYERS[operator].wide), recording=recording)
        demand(seen, not seen.changed, f"wrote to its input {' and '.join(seen.changed)}")


@clause("contract.results-kept", tier="state", operators=ALL)
def test_state_results_of_large_layers_stay_as_they_are(candidate, operator):
    """2^16 elements in inference, through eight further calls. Blind to buffers that are used again later."""
    candidate.begin()
    case = of_integers(operator, *LAYERS[operator].wide)
    for recording in (None, False):
        stay_as_they_are(candidate, [reseeded(case, k) for k in range(LATER)], recording=recording)


@clause("contract.recording", tier="state", operators=ALL)
def test_state_results_of_large_layers_are_right_in_inference(candidate, operator):
    """2^16 elements, and those that are sampled. Blind to what every call has wrong."""
    candidate.begin()
    case = of_integers(operator, *LAYERS[operator].wide)
    one_answer(candidate, case, *(candidate.answer(case, recording=recording) for recording in (*MODES, NO_GRAD)))


@clause("contract.layouts", tier="contract", operators=("swish",), gradient=True)
def test_contract_a_long_incoming_gradient_of_any_layout_is_heeded(candidate, operator):
    """Thousands of elements, turned. Blind to what every call has wrong."""
    candidate.begin()
    case, layouts = (
        Case(operator, {"x": TURNED}, {"x": Texture("normal")}),
        ("contiguous", "swapped_last", "transposed"),
    )
    cases = [case.changed(incoming=Texture("normal", 1, (), layout)) for layout in layouts]
    one_answer(candidate, cases[0], *map(candidate.ask_gradient, cases))


def is_exact(candidate, seen):
    judge.same_results(candidate, "the result is another number", seen.output, linear(*values_of(seen)))


@clause("contract.memoryless", tier="state", operators=("linear",))
def test_state_new_values_of_large_weights_give_their_own_result(candidate, operator):
    """2^20 weights, written over in place, exactly on integers. Blind to memory of more than one call."""
    for recording in MODES:
        candidate.begin()
        case = of_integers(operator, HEAVY, {})
        seen, _ = candidate.answers_in_turn([case, reseeded(case, 1)], recording=recording)
        right_alike(*(partial(is_exact, candidate, each) for each in seen))


@clause("contract.some-gradients", tier="gradient", operators=("linear", "conv2d"))
def test_contract_some_gradients_of_usual_layers_are_exact(candidate, operator):
    """As of a first layer, whose images need none, or of biases alone. Blind to what every call has wrong."""
    if not integers_are_exact(candidate, operator, "backward"):
        return
    small = [case for case in Sweep(operator, "layers", 1).cases() if math.prod(case.result_shape) <= 2**16]
    firsts = {(case.result_shape, len(case.shapes)): case for case in reversed(small)}  # with biases, and without
    for each in firsts.values():
        candidate.begin()
        case = going_back(candidate, each, "contiguous")
        seen = candidate.ask_gradient(case)
        expected = GRADIENTS[operator](seen.call.cotangent.values, *values_of(seen))
        for names in trained_together(case):
            some = candidate.ask_gradient(case, names, alone=True)
            found = ({name: answer.gradients[name] for name in names} for answer in (seen, some))
            right_alike(*(partial(are_all, candidate, gradients, expected) for gradients in found))


def not_finite(values):
    """NaN and infinities where they are, and 0 elsewhere."""
    return np.where(np.isfinite(values), 0.0, values)


def linear_of(candidate, recording, **held):
    """The well-formed result of linear on these arrays."""
    seen = candidate.observe("linear", {name: Argument(each) for name, each in held.items()}, recording=recording)
    well_formed(seen, (*held["x"].shape[:-1], len(held["w"])))
    return seen.output


@clause("linear.special", tier="special", share=4)
@given(seed=st.integers(0, 255), place=st.integers(0, 2**16), value=st.sampled_from(VALUES))
def test_a_nan_or_infinity_in_a_large_layer_reaches_what_it_meets(candidate, seed, place, value):
    """One in x reaches all of its row, one in W all rows, NaN where it meets 0, too. Blind to more than one."""
    for (rows, features, outputs), of, recording in itertools.product(MATRIX_SIZES, "xw", MODES):
        candidate.calls.clear()
        rng = np.random.default_rng(seed)
        shapes = {"x": (rows, features), "w": (outputs, features)}
        held = {name: rng.choice((-3.0, -1.0, 1.0, 2.0), shape) for name, shape in shapes.items()}
        held[of].flat[place % held[of].size] = value
        if math.isnan(value):
            held["w" if of == "x" else "x"][0, place % held[of].size % features] = 0.0
        expected = (held["x"][:, None, :] * held["w"]).sum(-1)
        what = f"NaN or an infinity in {of} does not reach all that it meets, or reaches more"
        judge.same_arrays(candidate, what, *map(not_finite, (linear_of(candidate, recording, **held), expected)))


@clause("swish.special", tier="special", share=4)
@given(seed=st.integers(0, 255), place=st.integers(0, 2**16))
def test_a_nan_stays_where_it_is_in_a_long_swish(candidate, seed, place):
    """Thousands of elements, in training and in inference. Blind to the numbers around."""
    for shape, recording in itertools.product(LONG, MODES):
        candidate.calls.clear()
        size = math.prod(shape)
        case = Case("swish", {"x": shape}, {"x": Texture("normal", seed, ((place % size, math.nan),))})
        seen = candidate.answer(case, recording=recording)
        nans = np.isnan(seen.call.tensors["x"].values)
        nan_alone_at(candidate, "swish is NaN where x is not, or is not where x is", seen.output, nans, "result")


@clause("glu.formula", tier="special")
def test_gates_of_a_large_glu_survive_the_edges_of_the_exponential(candidate):
    """A gate far open or shut, where an exponential overflows. Blind to gates in between."""
    gates_survive(candidate, "glu", judge.conforms)


@clause("swiglu.formula", tier="special")
def test_gates_of_a_large_swiglu_survive_the_edges_of_the_exponential(candidate):
    """A gate far open or shut, where an exponential overflows. Blind to gates in between."""
    gates_survive(candidate, "swiglu", judge.conforms)


@clause("glu.formula", tier="enclosure")
def test_glu_of_layers_of_language_models_stays_within_its_enclosure(candidate):
    """Of hundreds of features, or of thousands and many rows. Blind to other sizes."""
    gates_of_models(candidate, "glu")


@clause("swiglu.formula", tier="enclosure")
def test_swiglu_of_layers_of_language_models_stays_within_its_enclosure(candidate):
    """Of hundreds of features, or of thousands and many rows. Blind to other sizes."""
    gates_of_models(candidate, "swiglu")


def gates_of_models(candidate, operator):
    """Judge few elements of layers of normal numbers, and what numpy suspects."""
    for sizes in OF_MODELS:
        candidate.begin()
        judge.conforms(candidate, dense(operator, *sizes), FEW)


@clause("linear.formula", tier="special", dtypes=KEPT_SUBNORMAL)
def test_linear_of_large_layers_of_subnormal_numbers_stays_as_near(candidate):
    """Tokens below the least normal number count unless flushing is declared. Blind to sums that are large."""
    of_subnormal_tokens(candidate, "linear")


@clause("glu.formula", tier="special", dtypes=KEPT_SUBNORMAL)
def test_glu_of_large_layers_of_subnormal_numbers_stays_as_near(candidate):
    """Tokens below the least normal number count unless flushing is declared. Blind to gates far open or far shut."""
    of_subnormal_tokens(candidate, "glu")


@clause("swiglu.formula", tier="special", dtypes=KEPT_SUBNORMAL)
def test_swiglu_of_large_layers_of_subnormal_numbers_stays_as_near(candidate):
    """Tokens below the least normal number count unless flushing is declared. Blind to gates far open or far shut."""
    of_subnormal_tokens(candidate, "swiglu")


def of_subnormal_tokens(candidate, operator):
    """Judge few elements of a layer; gates are half open."""
    rows, features, outputs = 32, 48, 64
    shapes = {"x": (rows, features), "w": (outputs, features)}
    if operator != "linear":
        shapes |= {"v": (outputs, features), "b": (outputs,)}
    textures = dict.fromkeys(shapes, Texture("ones")) | {"x": Texture("subnormal")}
    candidate.begin()
    judge.conforms(candidate, Case(operator, shapes, textures, {}, features), FEW)


@clause("linear.formula", tier="enclosure")
def test_linear_of_many_features_of_which_few_count_keeps_their_digits(candidate):
    """Weights of ones, one or two an output, or such tokens. Blind to digits that a sum of many terms hides."""
    few_count(candidate, "linear", {"x": (64, 1024), "w": (128, 1024)}, "xw")


@clause("glu.formula", tier="enclosure")
def test_glu_of_many_features_of_which_few_count_keeps_their_digits(candidate):
    """Weights of ones, one or two an output, or such tokens. Blind to digits that a sum of many terms hides."""
    few_count(candidate, "glu", {"x": (64, 1024), "w": (128, 1024), "v": (128, 1024)}, "xv")
    few_count(candidate, "glu", {"x": (64, 1024), "w": (128, 1024), "v": (128, 1024), "c": (128,)}, "xw")


@clause("swiglu.formula", tier="enclosure")
def test_swiglu_of_many_features_of_which_few_count_keeps_their_digits(candidate):
    """Weights of ones, one or two an output, or such tokens. Blind to digits that a sum of many terms hides."""
    few_count(candidate, "swiglu", {"x": (64, 1024), "w": (128, 1024), "v": (128, 1024), "b": (128,)}, "xv")
    few_count(candidate, "swiglu", {"x": (64, 1024), "w": (128, 1024), "v": (128, 1024), "c": (128,)}, "xw")


@clause("conv2d.formula", tier="enclosure")
def test_conv2d_of_many_channels_of_which_few_count_keeps_their_digits(candidate):
    """Kernels of ones, one or two an output, or such images. Blind to digits that a sum of many terms hides."""
    few_count(candidate, "conv2d", {"input": (2, 128, 12, 12), "weight": (64, 128, 3, 3)}, ("input", "weight"))


def few_count(candidate, operator, shapes, names):
    """One of two tensors is ones in few places, the other has all digits; other weights are 0, and biases 1."""
    others = {name: Texture("ones" if name in "bc" else "zeros") for name in shapes}
    for full, few in (names, reversed(names)):
        candidate.begin()
        textures = others | {full: Texture("normal", 1), few: Texture("few", 2)}
        parameters = {"stride": 1, "padding": 1} if operator == "conv2d" else {}
        judge.conforms(candidate, Case(operator, shapes, textures, parameters, math.prod(shapes[names[1]][1:])), FEW)


@clause("glu.gradient", tier="gradient")
def test_gradients_of_a_large_glu_survive_the_edges_of_the_exponential(candidate):
    """A gate far open or shut, where an exponential overflows. Blind to gates in between."""
    gates_survive(candidate, "glu", partial(judge.gradient_conforms, sparse=True))


@clause("swiglu.gradient", tier="gradient")
def test_gradients_of_a_large_swiglu_survive_the_edges_of_the_exponential(candidate):
    """A gate far open or shut, where an exponential overflows. Blind to gates in between."""
    gates_survive(candidate, "swiglu", partial(judge.gradient_conforms, sparse=True))


def gates_survive(candidate, operator, hold):
    """Judge gates of each height, up and down in turn: x is that in one feature, and W is ones."""
    for (rows, features, outputs), edge in itertools.product(GATES, EDGES):
        candidate.begin()
        shapes = {"x": (rows, features), **dict.fromkeys("wv", (outputs, features))}
        placed = tuple((row * features, edge * (-1) ** row) for row in range(0, rows, rows // 32))
        textures = {"x": Texture("zeros", 0, placed), "w": Texture("ones"), "v": Texture("ones")}
        case = Case(operator, shapes, textures, {}, features, incoming=Texture("few", 1))
        hold(candidate, case)


def few_bits(image, kernels, padding, stride=1):
    """A layer of small numbers from 0 on: sums are exact in float32, and few of them in 16 bits."""
    shapes = {"input": image, "weight": kernels}
    textures = {name: Texture("few bits", k) for k, name in enumerate(shapes)}
    return Case("conv2d", shapes, textures, {"stride": stride, "padding": padding}, 1, 0, Texture("few bits", 2))


@clause("conv2d.formula", tier="exact", dtypes=("bfloat16", "float16"))
def test_conv2d_rounds_a_long_sum_once(candidate):
    """The sum over 512 channels is exact in float32, so its nearest number is the answer. Blind to fewer outputs."""
    for image, kernels in (((1, 512, 4, 4), (8, 512, 3, 3)), ((2, 1024, 3, 3), (16, 1024, 1, 1))):
        if sums_once(candidate, "conv2d", "forward"):
            candidate.begin()
            seen = candidate.ask(few_bits(image, kernels, kernels[-1] // 2))
            expected = rounded(convolved(*values_of(seen)), candidate.format)
            judge.same_arrays(candidate, "the exact sum is rounded to another number", seen.output, expected)


@clause("conv2d.gradient", tier="gradient", dtypes=("bfloat16", "float16"))
def test_conv2d_rounds_a_gradient_that_sums_over_many_samples_once(candidate):
    """That of the weight, or over many outputs, that of the image. Blind to where sums are not in float32."""
    for image, kernels, stride in (
        ((64, 16, 5, 5), (16, 16, 3, 3), 1),
        ((96, 16, 5, 5), (16, 16, 3, 3), 2),
        ((2, 16, 6, 6), (256, 16, 1, 1), 1),
    ):
        if sums_once(candidate, "conv2d", "backward"):
            candidate.begin()
            gradients_are_rounded_once(candidate, few_bits(image, kernels, 0, stride))
