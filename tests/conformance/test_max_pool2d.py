"""MaxPool: the laws of its clauses. It rounds nothing, so every comparison of results is exact."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from assay.implementations.arrays import Argument
from assay.reference.arithmetic.ball import Ball
from assay.reference.arithmetic.enclosure import Enclosure
from assay.reference.conv2d import pair
from assay.tests.trial import judge
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.cases import WIDE, Case, max_pool2d_cases
from assay.tests.trial.laws import clause
from assay.tests.trial.planes import (
    FEW,
    OneNaNEach,
    Palette,
    few_planes,
    holding,
    parameters_of,
    planes,
    steps_of,
    tied_cases,
    untied_cases,
    windows_of,
    with_parameters,
)
from assay.tests.trial.textures import INTEGERS, SEEDS, Texture, rounded, textures

AXES = st.sampled_from(((1, 1), (0, 1), (1, 0)))  # both directions, or one of them
INF, HUGE = math.inf, 1e300  # HUGE stands for the dtype's largest finite number


@clause("max_pool2d.definition", tier="exact")
@example(case=planes(6, 6, "subnormal"))
@given(case=max_pool2d_cases(channels=(2, 1, 3, 5, 9, 17, 33)))
def test_max_pool2d_takes_the_largest_of_each_window_bit_for_bit(candidate, case):
    """Every output is its window's largest element. Blind to NaN and infinities."""
    judge.conforms(candidate, case)


@clause("max_pool2d.definition", tier="exact")
@given(case=max_pool2d_cases(("distinct", "wide"), places=(31, 33, 65, 16)))
def test_max_pool2d_of_large_planes_takes_the_largest_of_each_window(candidate, case):
    """As in the law above, on planes larger than a tile. Blind to outputs that are not sampled."""
    judge.conforms_exactly(candidate, case)


@clause("max_pool2d.definition", tier="exact")
@given(case=max_pool2d_cases(("distinct", "wide"), FEW, (1, 2), WIDE))
def test_max_pool2d_takes_the_largest_of_wide_windows(candidate, case):
    """Windows of 8 to 33 rows and columns, as the last pooling of a network has them. Blind to NaN and infinities."""
    judge.conforms_exactly(candidate, case)


@clause("max_pool2d.example", tier="exact")
def test_max_pool2d_gives_what_the_notes_example_shows(candidate):
    """The document's 4 x 4 input and its answer. Blind to everything but one example."""
    candidate.begin()
    notes = np.array([[1.0, 3, 2, 4], [5, 7, 0, 2], [1, 2, 3, 4], [2, 6, 7, 8]]).reshape(1, 1, 4, 4)
    got = candidate.values("max_pool2d", notes, 2)
    judge.same_arrays(candidate, "the notes' example gives 7 4 / 6 8", got, np.array([[[[7.0, 4.0], [6.0, 8.0]]]]))


@clause("max_pool2d.default-stride", tier="exact")
@given(case=max_pool2d_cases(("distinct", "ties"), places=FEW))
def test_max_pool2d_without_a_stride_steps_by_its_kernel(candidate, case):
    """A stride left out, and the kernel given as the stride, pool alike. Blind to what both get wrong."""
    beside = with_parameters(case, stride=case.parameters["kernel_size"])
    given = judge.conforms_exactly(candidate, beside).output
    left_out = judge.conforms_exactly(candidate, with_parameters(beside, stride=None)).output
    judge.same_arrays(candidate, "without a stride the result is another one than with the kernel's", left_out, given)


@clause("max_pool2d.overlap", tier="exact")
@given(case=max_pool2d_cases(("sparse",), places=(2, 3, 4, 5)), kernel=st.tuples(st.integers(2, 5), st.integers(2, 4)))
def test_max_pool2d_of_overlapping_windows_takes_an_element_in_each(candidate, case, kernel):
    """Windows a step apart share their largest elements. Blind to larger strides."""
    _, _, height, width = case.shapes["input"]
    kernel = (min(kernel[0], height), min(kernel[1], width))
    judge.conforms_exactly(candidate, with_parameters(case, kernel_size=kernel, stride=1, padding=0))


@clause("max_pool2d.output-size", tier="exact")
@given(case=max_pool2d_cases(("distinct",), places=FEW), more=st.tuples(st.integers(0, 3), st.integers(0, 3)))
def test_max_pool2d_ignores_rows_and_columns_that_no_whole_window_reaches(candidate, case, more):
    """The result has the formula's shape, and NaN beyond the last whole window is not seen. Blind to the values."""
    (n, c, *sizes), steps = case.shapes["input"], steps_of(case)
    wider = [size + min(extra, step - 1) for size, extra, step in zip(sizes, more, steps, strict=True)]
    case = case.changed(shapes={"input": (n, c, *wider)})
    values = np.full(case.shapes["input"], np.nan)
    for _, positions in windows_of(case):
        values.reshape(-1)[positions] = 1.0
    seen = candidate.call("max_pool2d", {"input": Argument(values), **parameters_of(case)}, case.result_shape)
    judge.same_arrays(
        candidate, "an element outside every whole window is seen", seen.output, np.ones_like(seen.output)
    )


@clause("max_pool2d.order", tier="exact")
@given(case=max_pool2d_cases(places=FEW), seed=SEEDS, close=st.booleans())
def test_max_pool2d_commutes_with_increasing_maps(candidate, case, seed, close):
    """Mapping the ranks 0 to 8 to increasing numbers, far apart or neighbours, pools alike. Blind to linear maps."""
    rng = np.random.default_rng(seed)
    spread = 1.0 + np.arange(9) * 2 * candidate.format.unit if close else rng.standard_normal(9) * 10.0
    numbers = np.sort(rounded(spread * rng.choice((-1.0, 1.0)), candidate.format))
    ranks = rng.integers(0, 9, case.shapes["input"])
    pooled = candidate.values("max_pool2d", ranks.astype(np.float64), **parameters_of(case))
    judged = np.isin(pooled, np.arange(9)).astype(float)
    judge.same_arrays(candidate, "a rank of 0 to 8 pools to something else", judged, np.ones_like(judged))
    mapped = candidate.values("max_pool2d", numbers[ranks], **parameters_of(case))
    judge.same_arrays(
        candidate, "an increasing map before pooling is another one after it", mapped, numbers[pooled.astype(int)]
    )


@clause("max_pool2d.channels", tier="exact")
@given(case=max_pool2d_cases(places=FEW), plane=st.integers(0, 14))
def test_max_pool2d_of_a_plane_does_not_see_the_other_planes(candidate, case, plane):
    """One plane pools as before when all others are NaN. Blind to planes that agree in being wrong."""
    arguments, (n, c, *_) = case.arguments(candidate.format), case.shapes["input"]
    at = divmod(plane % (n * c), c)
    alone = np.full(case.shapes["input"], np.nan)
    alone[at] = arguments["input"].values[at]
    before = candidate.ask(case).output[at]
    seen = candidate.call("max_pool2d", {**arguments, "input": Argument(alone)}, case.result_shape)
    judge.same_arrays(candidate, f"plane {at} pools to something else among planes of NaN", seen.output[at], before)


@clause("max_pool2d.gradient", tier="gradient")
@given(case=untied_cases())
def test_max_pool2d_gradients_stay_within_their_enclosures(candidate, case):
    """Without ties, an element gets the sum of what comes back to its windows. Blind to ties."""
    judge.gradient_conforms(candidate, case)


@clause("max_pool2d.gradient", tier="gradient")
@given(case=untied_cases(), incoming=textures(INTEGERS))
def test_max_pool2d_gradients_of_integers_are_exact(candidate, case, incoming):
    """Integers come back whole, to the element that was taken. Blind to rounding, and to ties."""
    judge.gradient_conforms_exactly(candidate, case.changed(incoming=incoming))


def shared(candidate: Candidate, incoming: float) -> Ball:
    """What the shares of an incoming derivative may sum to: each is divided twice at most, by rows and by columns."""
    enclosure = Enclosure(candidate.precision("max_pool2d", "backward"))
    divided = enclosure.number(incoming).widened(enclosure.unit, enclosure.least)
    return enclosure.store(divided.widened(enclosure.unit, enclosure.least))


def windows_add_up(candidate: Candidate, case: Case, what: str, least: int = 0) -> None:
    """Hold the derivatives of each window that has so many elements, or more, to adding up to its incoming one."""
    seen = candidate.ask_gradient(case)
    gradient = seen.gradients["input"].ravel()
    for at, positions in windows_of(case):
        if len(positions) >= least:
            permitted = shared(candidate, float(seen.call.cotangent.values[at]))
            judge.within(candidate, what, at, math.fsum(gradient[positions]), permitted, "derivatives of window ")


@clause("max_pool2d.gradient", tier="gradient")
@given(height=st.integers(8, 33), width=st.integers(8, 33), place=SEEDS)
def test_max_pool2d_gradient_of_a_wide_window_goes_to_its_largest_element(candidate, height, width, place):
    """A window over the whole plane, as in global pooling, with a one among zeros. Blind to smaller windows."""
    one = Texture("zeros", 0, ((place, 1.0),))
    parameters = {"kernel_size": (height, width), "padding": 0}
    case = Case("max_pool2d", {"input": (1, 1, height, width)}, {"input": one}, parameters)
    seen = candidate.ask_gradient(case)
    largest = seen.call.tensors["input"].values
    what, got = "not the largest element alone gets the gradient", seen.gradients["input"]
    judge.same_arrays(candidate, what, got, largest, "gradient of input")


@clause("max_pool2d.gradient-ties", tier="gradient")
@given(case=tied_cases())
def test_max_pool2d_gradients_of_tied_elements_are_together_the_incoming_one(candidate, case):
    """Each window's incoming gradient arrives, whole or in parts. Blind to windows that overlap."""
    windows_add_up(candidate, case, "a window's derivatives do not add up to its incoming one")


@clause("max_pool2d.gradient-ties", tier="gradient")
@given(case=tied_cases())
def test_max_pool2d_gradients_go_to_no_element_below_the_largest(candidate, case):
    """Elements below their window's largest, or in no window, get nothing. Blind to how ties share."""
    seen = candidate.ask_gradient(case)
    below = seen.call.tensors["input"].values != 3.0
    astray = seen.gradients["input"][below]
    judge.same_arrays(candidate, "an element that was not taken has a derivative", astray, np.zeros_like(astray))


@clause("max_pool2d.gradient-ties", tier="gradient", share=4)
@example(case=planes(6, 6))
@example(case=planes(6, 6, kernel=(1, 2)))
@example(case=planes(6, 6, kernel=(3, 1)))
@given(case=tied_cases())
def test_max_pool2d_gradients_of_windows_of_minus_infinity_stay_in_them(candidate, case):
    """Where all of a window is -inf, its incoming gradient is its own elements'. Blind to padding, which ties."""
    whole = math.prod(pair(case.parameters["kernel_size"]))
    what = "a window of -inf alone does not have its incoming derivative"
    windows_add_up(candidate, holding(case, Palette, palette=(-INF,)), what, whole)


@clause("max_pool2d.gradient-first-tie", tier="gradient")
@given(case=max_pool2d_cases(("ties",), places=FEW).map(few_planes), incoming=textures(("integers",)))
def test_max_pool2d_gradients_of_ties_go_to_the_first_in_row_order(candidate, case, incoming):
    """The first of the tied elements gets the whole. Blind to a zero tying with a negative zero."""
    judge.gradient_conforms_exactly(candidate, case.changed(incoming=incoming))


@st.composite
def padded_cases(draw: Any) -> Case:
    """Negative numbers up to the largest of the dtype, padded by as much as is allowed."""
    case = draw(max_pool2d_cases(("negative",), places=FEW))
    kernel = tuple(max(2, size) for size in pair(case.parameters["kernel_size"]))
    half = (kernel[0] // 2, kernel[1] // 2)
    case = with_parameters(case, kernel_size=kernel, padding=draw(st.sampled_from((half, (1, 1), (0, 1), (1, 0)))))
    case = case.changed(shapes={"input": (*case.shapes["input"][:2], *map(max, case.shapes["input"][2:], kernel))})
    palette = draw(st.sampled_from(((-0.5, -1.0), (-HUGE, -3.0), (-HUGE,), (-3e4, -5e4, -4e4))))
    return draw(st.sampled_from((case, holding(case, Palette, palette=palette))))


LOWEST = holding(with_parameters(planes(3, 3), padding=1), Palette, palette=(-HUGE,))


@clause("max_pool2d.padding", tier="special")
@example(case=LOWEST)
@example(case=with_parameters(planes(13, 13, "negative"), kernel_size=13, stride=1, padding=6))
@given(case=padded_cases())
def test_max_pool2d_never_takes_what_padding_adds(candidate, case):
    """Negative numbers, however low, are taken at the border too. Blind to inputs of -inf."""
    judge.conforms_exactly(candidate, case)


@st.composite
def nan_cases(draw: Any) -> Case:
    """One window, and a sample for each of its positions, in which NaN is there."""
    case = draw(max_pool2d_cases(places=(2, 1, 3)))
    one_plane = case.changed(shapes={"input": (1, 1, *case.shapes["input"][2:])})
    windows = [positions for _, positions in windows_of(one_plane)]
    positions = windows[draw(st.integers(0, 8)) % len(windows)]
    layout = draw(st.sampled_from(("contiguous", "strided", "channels_last", "transposed")))
    one = OneNaNEach(draw(st.sampled_from(("ties", "zeros", "negative"))), draw(SEEDS), (), layout, tuple(positions))
    shape = (len(positions), draw(st.sampled_from((2, 8))), *case.shapes["input"][2:])
    return case.changed(shapes={"input": shape}, textures={"input": one})


@clause("max_pool2d.nan", tier="special")
@given(case=nan_cases())
def test_max_pool2d_gives_nan_wherever_in_the_window_it_is(candidate, case):
    """NaN at each position of a window in turn, and in no other window's result. Blind to more than one NaN."""
    judge.conforms_exactly(candidate, case)


@clause("max_pool2d.nan", tier="special")
@given(case=max_pool2d_cases(places=FEW), palette=st.sampled_from(((np.nan, INF, -INF, 1.0, 2.0), (np.nan, -INF, 0.0))))
def test_max_pool2d_prefers_nan_to_infinities(candidate, case, palette):
    """NaN among infinities and numbers gives NaN. Blind to which NaN it is."""
    judge.conforms_exactly(candidate, holding(case, Palette, palette=(*palette, -1.0, -2.0)))


INFINITE = ((-INF,), (INF, HUGE, 1.0, -INF), (-INF, -INF, -INF, -HUGE, -1.0), (INF, *(0.0,) * 8))


@clause("max_pool2d.infinities", tier="special")
@given(case=max_pool2d_cases(places=FEW), palette=st.sampled_from(INFINITE))
def test_max_pool2d_orders_infinities_around_the_finite_numbers(candidate, case, palette):
    """+inf is above the largest finite number, -inf below the lowest, padded or not. Blind to NaN."""
    judge.conforms_exactly(candidate, holding(case, Palette, palette=palette))


def refused(candidate: Candidate, case: Case, what: str) -> None:
    """The candidate raises. That ``case`` is refused for its parameters is shown by one with good ones beside it.

    Raises:
        NonConformance: it answered.
    """
    candidate.ask(case.changed(parameters={"kernel_size": 1, "stride": 1, "padding": 0}))
    judge.refuses(candidate, "max_pool2d", case.arguments(candidate.format), what)


@clause("max_pool2d.refuses-padding", tier="contract")
@given(case=max_pool2d_cases(places=(2, 3)), excess=st.integers(1, 2))
@example(case=with_parameters(planes(4, 4), kernel_size=(1, 4)), excess=1)
def test_max_pool2d_refuses_padding_of_more_than_half_the_kernel(candidate, case, excess):
    """Padding above kernel / 2, in one direction or both, raises. Blind to the kind of error."""
    kernel = pair(case.parameters["kernel_size"])
    for axes in ((1, 1), (0, 1), (1, 0)):
        padding = tuple(size // 2 + excess * axis for size, axis in zip(kernel, axes, strict=True))
        refused(candidate, with_parameters(case, padding=padding), f"for kernel_size={kernel} and padding={padding}")


@clause("max_pool2d.refuses-padding", tier="contract")
@given(case=max_pool2d_cases(places=(3, 4)))
def test_max_pool2d_refuses_negative_padding(candidate, case):
    """Negative padding, in one direction or both, raises. Blind to the kind of error."""
    for padding in (-1, (-1, 0), (0, -1), (-2, 1), (1, -1)):
        refused(candidate, with_parameters(case, padding=padding, kernel_size=2), f"for padding={padding}")


@clause("max_pool2d.refuses-kernel", tier="contract")
@given(
    case=max_pool2d_cases(places=FEW),
    axes=AXES,
    stride=st.sampled_from((None, 1, 3)),
)
def test_max_pool2d_refuses_a_kernel_larger_than_the_padded_input(candidate, case, axes, stride):
    """A kernel one element too large, in one direction or both, raises. Blind to the kind of error."""
    sizes, padding = case.shapes["input"][2:], pair(case.parameters["padding"])
    padded = [size + 2 * added for size, added in zip(sizes, padding, strict=True)]
    kernel = tuple(size + axis for size, axis in zip(padded, axes, strict=True))
    changed = with_parameters(case, kernel_size=kernel, stride=stride)
    refused(candidate, changed, f"for kernel_size={kernel} on a padded input of {padded[0]} x {padded[1]}")


@clause("max_pool2d.refuses-stride", tier="contract")
@given(case=max_pool2d_cases(places=FEW))
def test_max_pool2d_refuses_a_stride_of_zero_or_less(candidate, case):
    """Such a stride, in one direction or both, raises. Blind to the kind of error."""
    for stride in (0, (0, 1), (2, 0), -1, (-2, 1), (1, -1)):
        refused(candidate, with_parameters(case, stride=stride), f"for stride={stride}")
