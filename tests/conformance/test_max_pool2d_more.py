"""MaxPool: more laws, of many channels and of numbers near the least."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from assay.reference.conv2d import pair
from assay.tests.conformance.test_max_pool2d import windows_add_up
from assay.tests.trial import judge
from assay.tests.trial.aligned import aligned_cases
from assay.tests.trial.cases import Case
from assay.tests.trial.laws import clause
from assay.tests.trial.plain import pooled, pooled_back, values_of
from assay.tests.trial.planes import Palette, holding, untied_cases, windows_of
from assay.tests.trial.textures import Texture, rounded
from assay.tests.trial.usual import Blocks
from assay.tests.trial.whole import gradients_are_exact

# Eight numbers of one place lie in a row, as vectors take them.
OVER_CHANNELS = Case(
    "max_pool2d", {"input": (2, 8, 9, 12)}, {"input": Texture("ties", 0, (), "channels_last")}, {"kernel_size": 2}, 9
)


@clause("max_pool2d.gradient-first-tie", tier="gradient")
@example(case=OVER_CHANNELS)
@given(case=aligned_cases("max_pool2d", ("ties",)))
def test_max_pool2d_gradients_of_ties_go_to_the_first_in_many_channels(candidate, case):
    """8 to 32 channels, all elements. Blind to a zero tying with a negative zero."""
    gradients_are_exact(candidate, case.changed(incoming=Texture("integers", case.pick)))


@clause("max_pool2d.gradient", tier="gradient")
@given(case=untied_cases(), seed=st.integers(0, 255))
def test_max_pool2d_gradients_of_subnormal_incoming_ones_stay_as_near(candidate, case, seed):
    """What comes back below the least normal number counts unless flushing is declared. Blind to ties."""
    judge.gradient_conforms(candidate, case.changed(incoming=Texture("subnormal", seed)))


@clause("max_pool2d.infinities", tier="special")
@given(case=aligned_cases("max_pool2d", ("normal",)))
def test_max_pool2d_of_many_channels_gives_minus_infinity_where_a_window_is(candidate, case):
    """8 to 32 channels, as of masked maps, all elements. Blind to infinities that are positive."""
    seen = candidate.ask(holding(case, Palette, palette=(-math.inf, -math.inf, -math.inf, 1.0)))
    judge.same_arrays(candidate, "infinities are ordered otherwise", seen.output, pooled(*values_of(seen)))


@clause("max_pool2d.gradient-first-tie", tier="gradient")
def test_max_pool2d_gradients_of_ties_in_wide_windows_go_to_the_first_in_row_order(candidate):
    """Windows of 81 and of a whole plane. Blind to a zero tying with a negative zero."""
    for kernel, stride, padding in ((9, 1, 4), (13, 1, 6), (7, 7, 0), (14, 1, 0)):
        candidate.begin()
        parameters = {"kernel_size": kernel, "stride": stride, "padding": padding}
        case = Case("max_pool2d", {"input": (1, 2, 14, 14)}, {"input": Texture("ties", kernel)}, parameters, 2**8)
        judge.gradient_conforms_exactly(candidate, case.changed(incoming=Texture("integers", 1)))


LARGE = {"input": (1, 1, 224, 226)}
OVERLAPPING = {"kernel_size": 3, "stride": 2, "padding": 1}


@clause("max_pool2d.gradient-first-tie", tier="gradient")
def test_max_pool2d_gradients_of_ties_in_a_wide_image_go_to_the_first(candidate):
    """All elements, as of what a ReLU left; of 2^15 in a plane, too. Blind to a zero tying with a negative zero."""
    for shapes in ({"input": (1, 4, 40, 48)}, LARGE):
        candidate.begin()
        case = Case("max_pool2d", shapes, {"input": Texture("ties")}, OVERLAPPING, 2**8)
        gradients_are_exact(candidate, case.changed(incoming=Texture("integers", 1)))


@clause("max_pool2d.definition", tier="exact")
def test_max_pool2d_of_a_large_plane_of_reals_takes_the_largest_of_each_window(candidate):
    """All elements. Blind to other windows."""
    candidate.begin()
    seen = candidate.ask(Case("max_pool2d", LARGE, {"input": Texture("normal")}, OVERLAPPING))
    judge.same_arrays(candidate, "it is not the largest of a window", seen.output, pooled(*values_of(seen)))


@clause("max_pool2d.infinities", tier="special")
def test_max_pool2d_of_a_large_plane_that_is_masked_gives_minus_infinity_where_a_window_is(candidate):
    """A rectangle of -inf among reals, all elements. Blind to infinities that are positive."""
    candidate.begin()
    texture = Texture("normal")
    masked = texture.fill(LARGE["input"], candidate.format).values.copy()
    masked[..., 20:80, 30:100] = -math.inf
    seen = candidate.ask(Case("max_pool2d", LARGE, {"input": texture.holding(masked, 1)}, OVERLAPPING))
    judge.same_arrays(candidate, "infinities are ordered otherwise", seen.output, pooled(*values_of(seen)))


@clause("max_pool2d.gradient", tier="gradient")
def test_max_pool2d_gradients_of_reals_that_come_back_to_windows_of_any_size_stay_as_they_are(candidate):
    """Of all digits, and tiny. Blind to windows that overlap."""
    small = 2.0**-13 if candidate.dtype == "float16" else 2.0**-30
    for kernel, size in ((2, small), (4, 1.0), (5, small)):
        candidate.begin()
        shapes, parameters = {"input": (2, 4, 8 * kernel, 10 * kernel)}, {"kernel_size": kernel}
        case = Case("max_pool2d", shapes, {"input": Blocks("ties")}, parameters, incoming=Texture("normal", kernel))
        digits = np.random.default_rng(kernel).uniform(0.5, 1.5, case.result_shape)
        incoming = rounded(digits * size, candidate.format)
        seen = candidate.ask_gradient(case.changed(incoming=case.incoming.holding(incoming, 1)))
        expected = pooled_back(seen.call.cotangent.values, *values_of(seen))["input"]
        got = seen.gradients["input"]
        judge.same_arrays(candidate, "it is not what came back", got, expected, "gradient of input")


@clause("max_pool2d.nan", tier="special")
def test_max_pool2d_gives_nan_of_either_sign(candidate):
    """What 0 / 0 gives has its sign bit set on many processors. Blind to other bits of it."""
    for nan in (math.nan, -math.nan):
        candidate.begin()
        texture = Texture("normal", 1, ((7, nan), (36, nan)))
        judge.conforms_exactly(
            candidate, Case("max_pool2d", {"input": (1, 2, 6, 6)}, {"input": texture}, {"kernel_size": 2})
        )


SIDE_BY_SIDE = {"kernel_size": 2, "padding": 0}


@clause("max_pool2d.gradient", tier="special", gradient=True)
def test_max_pool2d_gradients_of_a_window_with_one_nan_go_to_it(candidate):
    """It is what was taken, at each place of a window in turn. Blind to more than one NaN."""
    for place, parameters in enumerate((SIDE_BY_SIDE,) * 4 + (OVERLAPPING,)):
        candidate.begin()
        values = np.random.default_rng(place).permutation(72).reshape(1, 2, 6, 6) - 36.0
        values[0, 0, place // 2, place % 2] = values[0, 0, 4, 2] = values[0, 1, 3, 3] = math.nan
        texture = Texture("normal").holding(values, 1)
        case = Case("max_pool2d", {"input": (1, 2, 6, 6)}, {"input": texture}, parameters, 2**8)
        judge.gradient_conforms_exactly(candidate, case.changed(incoming=Texture("digits", place)))


@clause("max_pool2d.gradient-ties", tier="gradient")
def test_max_pool2d_gradients_of_minus_infinity_at_the_border_reach_no_other_window(candidate):
    """What padding cuts of a masked map, every other of these windows in turn. Blind to what padding, a tie, keeps."""
    texture = Texture("normal").holding(np.full((1, 2, 11, 11), -math.inf), 1)
    for kernel, padding in ((3, 1), (2, 1), (5, 2), ((2, 3), (0, 1))):
        parameters = {"kernel_size": kernel, "padding": padding}
        case = Case("max_pool2d", {"input": (1, 2, 11, 11)}, {"input": texture}, parameters)
        cut = [window for window in windows_of(case) if len(window[1]) < math.prod(pair(kernel))]
        for asked in (cut[::2], cut[1::2]):
            candidate.begin()
            incoming = np.zeros(case.result_shape)
            for at, _ in asked:
                incoming[at] = 3.0
            seen = candidate.ask_gradient(case.changed(incoming=Texture("normal").holding(incoming, 1)))
            others = np.ones(2 * 11 * 11, dtype=bool)
            others[[place for _, positions in asked for place in positions]] = False
            astray = seen.gradients["input"].ravel()[others]
            judge.same_arrays(candidate, "an element of another window has a derivative", astray, np.zeros_like(astray))


@clause("max_pool2d.padding", tier="special")
def test_windows_of_negative_zeros_alone_are_zeros_at_the_border(candidate):
    """Padding is less than they are. Blind to the sign of a zero."""
    candidate.begin()
    images = np.full((1, 2, 6, 7), -0.0)
    images[0, 1, 3:, 4:] = 1.0
    got = candidate.values("max_pool2d", images, 3, 3, 1)
    expected = np.zeros((1, 2, 2, 3))
    expected[0, 1, 1, 1:] = 1.0
    judge.same_arrays(candidate, "the largest of negative zeros is not zero", got, expected)


@clause("max_pool2d.padding", tier="gradient")
def test_max_pool2d_gradients_of_padded_planes_of_one_number_arrive(candidate):
    """Of any size: a border that is a number a little smaller may tie. Blind to windows that overlap."""
    most = candidate.format.largest
    what = "a window's derivatives do not add up to its incoming one"
    for number, (kernel, padding) in itertools.product((600.0, -600.0, most / 16, -most / 16, -most), ((2, 1), (5, 2))):
        candidate.begin()
        parameters = {"kernel_size": kernel, "padding": padding}
        plane = Texture("normal").holding(rounded(np.full((1, 1, 7, 8), number), candidate.format), 1)
        case = Case("max_pool2d", {"input": (1, 1, 7, 8)}, {"input": plane}, parameters, incoming=Texture("normal", 1))
        windows_add_up(candidate, case, what)
