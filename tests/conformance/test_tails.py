"""Every size in turn: what is left over from tiles of any size, and every small kernel, stride and padding."""

from __future__ import annotations

import math
import random

import numpy as np

from assay.tests.conformance.test_magnitudes import dense
from assay.tests.conformance.test_usual import with_nan
from assay.tests.trial import judge
from assay.tests.trial.laws import clause
from assay.tests.trial.plain import pooled, values_of
from assay.tests.trial.sweeps import every_size
from assay.tests.trial.textures import Texture
from assay.tests.trial.whole import (
    going_back,
    gradients_are_exact,
    gradients_are_within,
    incoming_is_within,
    padding_is_exact,
    result_is_exact,
    result_is_within,
)

SHARE = 12  # beside the sweeps that are always made
GATES = ((7, 45), (9, 61), (11, 47), (13, 39))  # rows and outputs
ENDS = 5  # rows and columns at the end of a plane
FEW = 12  # elements of a result, the corners among them


@clause("swish.formula", tier="enclosure", share=SHARE)
@every_size("swish")
def test_swish_of_every_size_stays_within_its_enclosure(candidate, case):
    """1 to 257 elements, and some to 4200. Blind to elements that are not sampled."""
    judge.conforms(candidate, case, FEW)


@clause("swish.gradient", tier="gradient", share=SHARE, dtypes=("float32", "bfloat16"))
@every_size("swish")
def test_the_gradient_of_swish_of_every_size_stays_within_its_enclosure(candidate, case):
    """1 to 257 elements, and some to 4200. Blind to elements that are not sampled."""
    case = case.changed(incoming=Texture("normal", case.pick))
    judge.gradient_of_each_conforms(candidate, case, candidate.ask_gradient(case), 4)


@clause("linear.formula", tier="exact", share=SHARE)
@every_size("linear")
def test_linear_of_every_size_is_exact(candidate, case):
    """1 to 129 rows, features and outputs, some to 4000, and two of them to 9. Blind to all three at once."""
    result_is_exact(candidate, case)


@clause("linear.gradient", tier="gradient", share=SHARE)
@every_size("linear")
def test_linear_gradients_of_every_size_are_exact(candidate, case):
    """1 to 129 rows, features and outputs, some to 4000, and two of them to 9. Blind to all three at once."""
    gradients_are_exact(candidate, going_back(candidate, case, "contiguous"))


@clause("glu.formula", tier="enclosure", share=SHARE)
@every_size("glu")
def test_glu_of_every_size_stays_within_its_enclosure(candidate, case):
    """1 to 65 rows, features and outputs, and some to 4000. Blind to all three at once."""
    result_is_within(candidate, case, candidate.ask(case))


@clause("swiglu.formula", tier="enclosure", share=SHARE)
@every_size("swiglu")
def test_swiglu_of_every_size_stays_within_its_enclosure(candidate, case):
    """1 to 65 rows, features and outputs, and some to 4000. Blind to all three at once."""
    result_is_within(candidate, case, candidate.ask(case))


def gates_hand_back(candidate, case):
    """Judge the farthest elements of all gradients, to each gate of which something comes back."""
    case = case.changed(incoming=Texture("normal", case.pick))
    gradients_are_within(candidate, case, candidate.ask_gradient(case))


@clause("glu.gradient", tier="gradient", share=SHARE)
@every_size("glu")
def test_glu_gradients_of_every_size_stay_within_their_enclosures(candidate, case):
    """1 to 65 rows, features and outputs, and some to 4000. Blind to all three at once."""
    gates_hand_back(candidate, case)


@clause("swiglu.gradient", tier="gradient", share=SHARE)
@every_size("swiglu")
def test_swiglu_gradients_of_every_size_stay_within_their_enclosures(candidate, case):
    """1 to 65 rows, features and outputs, and some to 4000. Blind to all three at once."""
    gates_hand_back(candidate, case)


def of_hundreds(candidate, operator):
    """Judge gradients of some hundred gates, with any rest, to each of which something comes back."""
    for rows, outputs in GATES:
        candidate.begin()
        case = dense(operator, rows, 5, outputs).changed(pick=rows, incoming=Texture("normal", rows))
        judge.gradient_conforms(candidate, case)


@clause("glu.gradient", tier="gradient", dtypes=("float32", "bfloat16"))
def test_glu_gradients_of_hundreds_of_gates_stay_within_their_enclosures(candidate):
    """Multiples of no vector. Blind to other sizes."""
    of_hundreds(candidate, "glu")


@clause("swiglu.gradient", tier="gradient", dtypes=("float32", "bfloat16"))
def test_swiglu_gradients_of_hundreds_of_gates_stay_within_their_enclosures(candidate):
    """Multiples of no vector. Blind to other sizes."""
    of_hundreds(candidate, "swiglu")


@clause("pad2d.zeros", tier="exact", share=SHARE)
@every_size("pad2d")
def test_pad2d_of_every_size_adds_zeros_and_leaves_the_rest(candidate, case):
    """1 to 65 rows or columns, and planes of images. Blind to padding that is wider than 257."""
    padding_is_exact(candidate, case)


@clause("pad2d.gradient", tier="gradient", share=SHARE)
@every_size("pad2d")
def test_pad2d_gradients_of_every_size_are_the_incoming_ones_within(candidate, case):
    """1 to 65 rows or columns, and planes of images. Blind to padding that is wider than 257."""
    incoming_is_within(candidate, case)


@clause("conv2d.formula", tier="exact", share=SHARE)
@every_size("conv2d")
def test_conv2d_of_every_size_is_exact(candidate, case):
    """1 to 65 samples, channels, places; 33 taps along one axis; two to 9. Blind to more that are large at once."""
    result_is_exact(candidate, case)


@clause("conv2d.gradient", tier="gradient", share=SHARE)
@every_size("conv2d")
def test_conv2d_gradients_of_every_size_are_exact(candidate, case):
    """1 to 65 samples, channels, places; 33 taps along one axis; two to 9. Blind to more that are large at once."""
    gradients_are_exact(candidate, going_back(candidate, case, case.textures["input"].layout))


@clause("conv2d.gradient", tier="gradient", share=SHARE)
@every_size("conv2d", ("rests",))
def test_conv2d_gradients_of_any_rest_are_exact_where_one_tensor_learns(candidate, case):
    """Of many channels, rows and columns with any rest of tiles of four. Blind to more than one that learns."""
    for name in case.shapes:
        candidate.calls.clear()
        gradients_are_exact(candidate, going_back(candidate, case, "contiguous"), (name,))


@clause("max_pool2d.definition", tier="exact", share=SHARE)
@every_size("max_pool2d")
def test_max_pool2d_of_every_size_takes_the_largest_of_each_window(candidate, case):
    """1 to 65 planes, places, 33 of a window, two to 9. Blind to unequal windows' every size, and to ties."""
    result_is_exact(candidate, case)


@clause("max_pool2d.gradient", tier="gradient", share=SHARE)
@every_size("max_pool2d")
def test_max_pool2d_gradients_of_every_size_are_exact(candidate, case):
    """1 to 65 planes, places, 33 of a window, two to 9. Blind to unequal windows' every size, and to ties."""
    gradients_are_exact(candidate, case.changed(incoming=Texture("integers", case.pick)))


@clause("max_pool2d.nan", tier="special", share=SHARE)
@every_size("max_pool2d", ("windows",))
def test_max_pool2d_of_every_size_gives_nan_where_a_window_at_its_ends_has_one(candidate, case):
    """1 to 65 places, and large pictures' with any rest. Blind to unequal windows' every size."""
    rng, (*_, rows, columns) = random.Random(case.pick), case.shapes["input"]
    of_last = [-1 - rng.randrange(min(side, ENDS)) for side in (rows, columns)]
    places = np.arange(math.prod(case.shapes["input"])).reshape(-1, rows, columns)[:, *of_last].tolist()
    seen = with_nan(candidate, case, places)
    judge.same_arrays(candidate, "a NaN vanished, or shows elsewhere", seen.output, pooled(*values_of(seen)))


@clause("max_pool2d.gradient-first-tie", tier="gradient", share=SHARE)
@every_size("max_pool2d", ("windows",))
def test_the_first_of_ties_at_every_size_gets_the_whole_gradient(candidate, case):
    """1 to 65 places, and large pictures' with any rest, among five numbers. Blind to unequal windows' every size."""
    layout = ("contiguous", "expanded_all", "channels_last")[case.pick % 3]
    ties, incoming = Texture("ties", case.pick), Texture("integers", case.pick, (), layout)
    gradients_are_exact(candidate, case.changed(textures={"input": ties}, incoming=incoming))
