"""MaxPool: more laws, of many channels and of numbers near the least."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from assay.tests.trial import judge
from assay.tests.trial.aligned import aligned_cases
from assay.tests.trial.cases import Case
from assay.tests.trial.laws import clause
from assay.tests.trial.plain import pooled, values_of
from assay.tests.trial.planes import Palette, holding, untied_cases
from assay.tests.trial.textures import Texture
from assay.tests.trial.whole import gradients_are_exact


@clause("max_pool2d.gradient-first-tie", tier="gradient")
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


@clause("max_pool2d.nan", tier="special")
def test_max_pool2d_gives_nan_of_either_sign(candidate):
    """What 0 / 0 gives has its sign bit set on many processors. Blind to other bits of it."""
    for nan in (math.nan, -math.nan):
        candidate.begin()
        texture = Texture("normal", 1, ((7, nan), (36, nan)))
        judge.conforms_exactly(
            candidate, Case("max_pool2d", {"input": (1, 2, 6, 6)}, {"input": texture}, {"kernel_size": 2})
        )
