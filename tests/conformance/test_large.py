"""Large sizes: what production has, along one axis or several, judged on sampled elements, the corners among them."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from assay.tests.trial import judge
from assay.tests.trial.cases import Case
from assay.tests.trial.large import SEEDS, deepest, large_case, large_cases, longest, of_millions, real
from assay.tests.trial.laws import clause
from assay.tests.trial.textures import Texture
from assay.tests.trial.whole import going_back, gradients_are_exact, incoming_is_within, padding_is_exact

SHARE = 4  # beside the examples that are always tried
PLACES = ("samples", "rows", "columns", "kernel", "rows columns", "samples inputs outputs rows columns")
CHANNELS = ("inputs", "outputs", "inputs outputs", "inputs outputs rows columns")


@clause("swish.formula", tier="enclosure", share=SHARE)
@longest("swish")
@given(case=large_cases("swish"))
def test_swish_of_long_tensors_stays_within_its_enclosure(candidate, case):
    """Up to 2^20 + 1 elements. Blind to elements that are not sampled."""
    judge.conforms(candidate, case)


@clause("swish.gradient", tier="gradient", share=SHARE)
@longest("swish")
@given(case=large_cases("swish"))
def test_gradients_of_swish_of_long_tensors_stay_within_their_enclosures(candidate, case):
    """Where few incoming gradients are not zero. Blind to elements that are not sampled."""
    judge.gradient_conforms(candidate, case, ("x",), sparse=True)


@clause("swish.beta-learned", tier="gradient", share=SHARE)
@longest("swish")
@example(case=large_case("swish", "elements", 2**21 + 2, 0))
@given(case=large_cases("swish"))
def test_the_gradient_of_swish_by_beta_of_long_tensors_stays_within_its_enclosure(candidate, case):
    """A sum over all of x, where few incoming gradients are not zero. Blind to terms that meet zeros."""
    shapes = {"x": case.shapes["x"], "beta": (1,)}
    beta = case.textures.get("beta", Texture("normal", case.pick))
    judge.gradient_conforms(
        candidate, case.changed(shapes=shapes, textures={**case.textures, "beta": beta}), ("beta",), sparse=True
    )


@clause("linear.formula", tier="exact", share=SHARE)
@example(case=large_case("linear", "rows features outputs", 2**9, 0))
@deepest("linear")
@longest("linear")
@given(case=large_cases("linear"))
def test_linear_of_long_axes_is_exact(candidate, case):
    """Up to 65537 rows, features or outputs; reals within their enclosures. Blind to terms that meet zeros."""
    judge.conforms_exactly(candidate, case)
    judge.conforms(candidate, real(case))


@clause("linear.gradient", tier="gradient", share=SHARE)
@deepest("linear")
@longest("linear")
@given(case=large_cases("linear"))
def test_linear_gradients_of_long_axes_are_exact(candidate, case):
    """As many, where few incoming gradients are not zero; and of reals. Blind to terms that meet zeros."""
    judge.gradient_conforms_exactly(candidate, case)
    judge.gradient_conforms(candidate, real(case), sparse=True)


@clause("glu.formula", tier="enclosure", share=SHARE)
@deepest("glu")
@longest("glu")
@given(case=large_cases("glu"))
def test_glu_of_long_axes_stays_within_its_enclosure(candidate, case):
    """Up to 65537 rows, features or outputs. Blind to terms that meet zeros."""
    judge.conforms(candidate, case)


@clause("glu.gradient", tier="gradient", share=SHARE)
@longest("glu")
@given(case=large_cases("glu"))
def test_glu_gradients_of_long_axes_stay_within_their_enclosures(candidate, case):
    """As many, where few incoming gradients are not zero. Blind to terms that meet zeros."""
    judge.gradient_conforms(candidate, case, sparse=True)


@clause("swiglu.formula", tier="enclosure", share=SHARE)
@deepest("swiglu")
@longest("swiglu")
@given(case=large_cases("swiglu"))
def test_swiglu_of_long_axes_stays_within_its_enclosure(candidate, case):
    """Up to 65537 rows, features or outputs. Blind to terms that meet zeros."""
    judge.conforms(candidate, case)


@clause("swiglu.gradient", tier="gradient", share=SHARE)
@longest("swiglu")
@given(case=large_cases("swiglu"))
def test_swiglu_gradients_of_long_axes_stay_within_their_enclosures(candidate, case):
    """As many, where few incoming gradients are not zero. Blind to terms that meet zeros."""
    judge.gradient_conforms(candidate, case, sparse=True)


@clause("pad2d.zeros", tier="exact", share=SHARE)
@longest("pad2d")
@given(case=large_cases("pad2d"))
def test_pad2d_of_long_axes_adds_zeros_and_leaves_the_rest(candidate, case):
    """Up to 65537 planes or columns, 4097 rows, of three to five axes. Blind to padding by more than one."""
    padding_is_exact(candidate, case)


@clause("pad2d.gradient", tier="gradient", share=SHARE)
@longest("pad2d", seed=0)
@given(case=large_cases("pad2d"), seed=SEEDS)
def test_pad2d_gradient_of_long_axes_is_the_incoming_one_at_its_new_place(candidate, case, seed):
    """As many. Blind to padding by more than one."""
    incoming_is_within(candidate, case.changed(pick=seed))


@clause("conv2d.formula", tier="exact", share=SHARE)
@longest("conv2d", PLACES, each_as_usual=True)
@given(case=large_cases("conv2d", PLACES))
def test_conv2d_of_long_axes_is_exact(candidate, case):
    """Up to 65537 samples, 1025 rows or columns, kernels of 65; and for reals. Blind to what is not sampled."""
    judge.conforms_exactly(candidate, case)
    judge.conforms(candidate, real(case))


@clause("conv2d.channels", tier="exact", share=SHARE)
@longest("conv2d", CHANNELS, each_as_usual=True)
@given(case=large_cases("conv2d", CHANNELS))
def test_conv2d_of_many_channels_is_exact(candidate, case):
    """Up to 2049 input channels, or as many kernels; and for reals. Blind to terms that meet zeros."""
    judge.conforms_exactly(candidate, case)
    judge.conforms(candidate, real(case))


@clause("conv2d.gradient", tier="gradient", share=SHARE)
@longest("conv2d")
@given(case=large_cases("conv2d"))
def test_conv2d_gradients_of_long_axes_are_exact(candidate, case):
    """As many, where few incoming gradients are not zero; and of reals. Blind to terms that meet zeros."""
    judge.gradient_conforms_exactly(candidate, case)
    judge.gradient_conforms(candidate, real(case), sparse=True)


MANY_PLANES = of_millions("max_pool2d", {"input": (257, 256, 8, 8)}, kernel_size=2, stride=2, padding=0)
MANY_PIXELS = of_millions("max_pool2d", {"input": (1, 1, 4100, 4104)}, kernel_size=2, stride=2, padding=0)
MANY_WINDOWS = of_millions("max_pool2d", {"input": (5, 65, 118, 116)}, kernel_size=5, stride=1, padding=2)
DISTINCT = {"input": Texture("distinct", 5)}
WHOLE_PLANES = Case("max_pool2d", {"input": (2, 9, 50, 50)}, DISTINCT, {"kernel_size": 50, "stride": 50, "padding": 0})
AT_ENDS = tuple((515 * plane + (514, 0, 513, 512)[plane % 4], 2.0**17 + plane) for plane in range(80))
OVER_TIME = WHOLE_PLANES.changed(
    shapes={"input": (2, 40, 515, 1)},
    textures={"input": Texture("distinct", 5, AT_ENDS)},
    parameters={"kernel_size": (515, 1), "stride": None, "padding": 0},
)
LONG_WINDOWS = WHOLE_PLANES.changed(parameters={"kernel_size": 48, "stride": 1, "padding": 1})
LONG_ROWS = of_millions("max_pool2d", {"input": (1, 1, 3, 2**15 + 77)}, kernel_size=2, stride=1, padding=0)
MANY_OUTPUTS = of_millions("conv2d", {"input": (3, 1, 301, 300), "weight": (64, 1, 1, 1)}, stride=1, padding=0)
MANY_STEPS = of_millions("conv2d", {"input": (2, 2, 259, 267), "weight": (3, 2, 3, 3)}, stride=2, padding=1)
LONG_TAPS = of_millions("conv2d", {"input": (1, 1, 8, 11000), "weight": (2, 1, 7, 7)}, stride=1, padding=3)


@clause("swish.formula", tier="enclosure", dtypes=("float32", "float16"))
@given(case=st.just(large_case("swish", "elements", 2**24 + 3, 0)))
def test_swish_of_millions_of_elements_stays_within_its_enclosure(candidate, case):
    """More than a grid of a GPU may have, or float32 can count. Blind to elements that are not sampled."""
    judge.conforms(candidate, case)


@clause("linear.formula", tier="exact", dtypes=("float32",))
@given(case=st.just(of_millions("linear", {"x": (130, 2), "w": (2**15 + 11, 2)})))
def test_linear_of_millions_of_outputs_is_exact(candidate, case):
    """As the logits of a large vocabulary. Blind to elements that are not sampled."""
    judge.conforms_exactly(candidate, case)


@clause("linear.gradient", tier="gradient", dtypes=("float32",))
@example(case=of_millions("linear", {"x": (2**15 + 5, 24), "w": (20, 24)}))
@given(case=st.just(of_millions("linear", {"x": (2**13 + 5, 2), "w": (520, 2)})))
def test_linear_gradients_of_millions_of_outputs_are_exact(candidate, case):
    """As of the tokens of a whole text, or of so many short ones. Blind to numbers that are no integers."""
    gradients_are_exact(candidate, going_back(candidate, case, "contiguous"))


@clause("pad2d.zeros", tier="exact", dtypes=("float32",))
@given(case=st.just(of_millions("pad2d", {"x": (2, 3, 3, 514, 510)}, padding=1)))
def test_pad2d_of_millions_of_elements_adds_zeros_and_leaves_the_rest(candidate, case):
    """As the frames of a video. Blind to padding by more than one."""
    padding_is_exact(candidate, case)


@clause("conv2d.formula", tier="exact", dtypes=("float32",))
@given(case=st.sampled_from((MANY_OUTPUTS, MANY_STEPS, LONG_TAPS)))
def test_conv2d_of_millions_of_outputs_is_exact(candidate, case):
    """More than float32 can count. Blind to elements that are not sampled."""
    judge.conforms_exactly(candidate, case)


@clause("linear.formula", tier="exact", dtypes=("float32",))
@given(case=st.just(of_millions("linear", {"x": (2**12 + 37, 520), "w": (3, 520)})))
def test_linear_of_millions_of_features_in_all_is_exact(candidate, case):
    """Of thousands of rows. Blind to elements that are not sampled."""
    judge.conforms_exactly(candidate, case)


@clause("swish.gradient", tier="gradient", dtypes=("float32",))
@given(case=st.just(of_millions("swish", {"x": (3 * 2**21 + 5,)})))
def test_gradients_of_swish_of_millions_of_elements_stay_within_their_enclosures(candidate, case):
    """Where few incoming gradients are not zero. Blind to elements that are not sampled."""
    judge.gradient_conforms(candidate, case.changed(incoming=Texture("few", 3)), sparse=True)


@clause("glu.gradient", tier="gradient", dtypes=("float32",))
@given(case=st.just(large_case("glu", "rows outputs", 1500, 0)))
def test_glu_gradients_of_millions_of_gates_stay_within_their_enclosures(candidate, case):
    """Where few incoming gradients are not zero. Blind to sums of many terms."""
    judge.gradient_conforms(candidate, case, sparse=True)


@clause("swiglu.gradient", tier="gradient", dtypes=("float32",))
@given(case=st.just(large_case("swiglu", "rows outputs", 1500, 0)))
def test_swiglu_gradients_of_millions_of_gates_stay_within_their_enclosures(candidate, case):
    """Where few incoming gradients are not zero. Blind to sums of many terms."""
    judge.gradient_conforms(candidate, case, sparse=True)


@clause("pad2d.gradient", tier="gradient", dtypes=("float32",))
@given(case=st.just(of_millions("pad2d", {"x": (2, 3, 3, 514, 510)}, padding=1)))
def test_pad2d_gradients_of_millions_of_elements_are_the_incoming_ones_within(candidate, case):
    """As of the frames of a video. Blind to padding by more than one."""
    incoming_is_within(candidate, case)


@clause("conv2d.gradient", tier="gradient", dtypes=("float32",))
@given(case=st.just(of_millions("conv2d", {"input": (32, 16, 64, 64), "weight": (2, 16, 3, 3)}, stride=1, padding=1)))
def test_conv2d_gradients_of_millions_of_columns_are_exact(candidate, case):
    """More than a workspace may hold, where few incoming gradients are not zero. Blind to sums of many terms."""
    judge.gradient_conforms_exactly(candidate, case.changed(incoming=Texture("few", 3)))


@clause("conv2d.gradient", tier="gradient", dtypes=("float32",))
def test_conv2d_gradients_by_a_kernel_and_a_bias_of_millions_of_places_are_exact(candidate):
    """All of them count, as where a network marks each place of large pictures. Blind to more than one output."""
    candidate.begin()
    shapes = {"input": (5, 1, 515, 520), "weight": (1, 1, 1, 1), "bias": (1,)}
    case = of_millions("conv2d", shapes, stride=1, padding=0)
    gradients_are_exact(candidate, going_back(candidate, case, "contiguous"), ("weight", "bias"))


@clause("max_pool2d.gradient", tier="gradient", dtypes=("float32",))
@given(case=st.sampled_from((MANY_PIXELS, MANY_PLANES, OVER_TIME)))
def test_max_pool2d_gradients_of_millions_of_elements_go_where_they_are_to(candidate, case):
    """More than float32 can count, or of more planes than 16 bits. Blind to elements that are not sampled."""
    judge.gradient_conforms(candidate, case.changed(incoming=Texture("few", 3)), sparse=True)


@clause("max_pool2d.definition", tier="exact", dtypes=("float32",))
@given(case=st.sampled_from((MANY_PLANES, MANY_WINDOWS, LONG_WINDOWS, WHOLE_PLANES, LONG_ROWS, OVER_TIME)))
def test_max_pool2d_of_many_planes_or_windows_takes_the_largest_of_each(candidate, case):
    """More than a grid of a GPU may have. Blind to elements that are not sampled."""
    judge.conforms_exactly(candidate, case)


@clause("max_pool2d.definition", tier="exact", share=SHARE)
@longest("max_pool2d")
@given(case=large_cases("max_pool2d"))
def test_max_pool2d_of_long_axes_takes_the_largest_of_each_window(candidate, case):
    """Up to 65537 samples, 4097 planes, rows or columns, windows of 129. Blind to elements that are not sampled."""
    judge.conforms_exactly(candidate, case)


@clause("max_pool2d.gradient", tier="gradient", share=SHARE)
@longest("max_pool2d")
@given(case=large_cases("max_pool2d"))
def test_max_pool2d_gradients_of_long_axes_are_exact(candidate, case):
    """As many, where few incoming gradients are not zero. Blind to elements that are not sampled."""
    judge.gradient_conforms_exactly(candidate, case)
