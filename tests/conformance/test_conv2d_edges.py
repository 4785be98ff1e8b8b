"""The convolutional layer at its edges: the laws of NaN and the infinities, and of what is refused."""

from __future__ import annotations

import itertools
import math
from operator import mul

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from assay.implementations.arrays import Argument
from assay.reference.arithmetic.primitives import FloatArithmetic
from assay.spec import OPERATORS
from assay.tests.conformance.test_conv2d_more import conv2d, few, picks
from assay.tests.trial import judge
from assay.tests.trial.cases import SMALL
from assay.tests.trial.laws import clause
from assay.tests.trial.permitted import elements
from assay.tests.trial.textures import Texture

# --- special values


class InOrder(FloatArithmetic):
    """Floats summed as IEEE 754 has it, infinities of both signs among them."""

    def dot(self, xs, ws, bias=None):
        return sum(map(mul, xs, ws), start=bias or 0.0)


specials = st.lists(st.tuples(picks, st.sampled_from((math.nan, math.inf, -math.inf))), min_size=1, max_size=3)


@clause("conv2d.special", tier="special")
@given(case=few, placed=specials)
def test_conv2d_special_values_reach_their_windows_and_no_other(candidate, case, placed):
    """NaN and infinities among integers: every output as IEEE 754 sums it. Blind to special or zero weights."""
    arguments = case.arguments(candidate.format)
    x, w = arguments["input"].values.copy(), arguments["weight"].values
    for place, value in placed:
        x.flat[place % x.size] = value
    arguments |= {"input": Argument(x), "weight": Argument(np.where(w == 0.0, 1.0, w))}
    seen = candidate.call("conv2d", arguments, case.result_shape)
    element = elements(InOrder(), case, seen.call)
    expected = {at: element(at) for at in np.ndindex(*case.result_shape)}
    precision = candidate.precision("conv2d")
    if precision.exact_on_integers and not precision.reaches_further:
        return judge.same_elements(candidate, seen.call, "result", seen.output, expected)
    reached = [at for at, value in expected.items() if not math.isfinite(value)]
    vanished = np.isfinite([seen.output[at] for at in reached])
    judge.same_arrays(candidate, "a NaN or an infinity vanished", vanished * 1.0, np.zeros(len(reached)))


@clause("conv2d.special", tier="special")
@given(case=few, output=picks, place=picks, value=st.sampled_from((math.inf, -math.inf, math.nan)))
def test_conv2d_special_values_of_a_channel_reach_all_its_outputs(candidate, case, output, place, value):
    """NaN in a kernel, anything in a bias; no other channel has it. Blind to infinite weights, and to padding."""
    case = case.with_textures(input=Texture("positive", case.pick))
    arguments, (_, _, down, right) = case.arguments(candidate.format), case.shapes["weight"]
    x = np.pad(arguments["input"].values, ((0, 0), (0, 0), (0, down), (0, right)), constant_values=1.0)
    for of in "wb":
        w = arguments["weight"].values.copy()
        b, channel = np.ones(len(w)), output % len(w)
        special, put = (w[channel], math.nan) if of == "w" else (b[channel : channel + 1], value)
        special.flat[place % special.size] = put
        seen = conv2d(candidate, x, w, b)
        seen = np.where(np.isfinite(seen), 0.0, seen)
        expected = np.zeros(seen.shape)
        expected[:, channel] = put
        if candidate.precision("conv2d").reaches_further:
            seen, expected = seen[:, channel], expected[:, channel]
        what = "what a channel's kernel or bias holds is not in all its outputs, or is in another's"
        judge.same_arrays(candidate, what, seen, expected)


# --- refusals

MISFITS = ((4, 2), (2, 1), (2, 4), (1, 2), (3, 4), (16, 48), (64, 32))  # channels of an image, and of kernels


def refused(candidate, why, *arguments):
    """Raise unless a call of ones of these shapes, with these parameters, is answered by an error."""
    tensors = [shape and Argument(np.ones(shape)) for shape in arguments[:3]]
    named = dict(zip(OPERATORS["conv2d"].arguments, (*tensors, *arguments[3:]), strict=True))
    judge.refuses(candidate, "conv2d", named, f"for {why}")


@clause("conv2d.refuses-kernel", tier="contract")
@given(size=st.sampled_from(SMALL), padding=st.integers(0, 2), stride=st.integers(1, 3))
def test_conv2d_refuses_a_kernel_larger_than_the_padded_input(candidate, size, padding, stride):
    """Larger in one direction is enough. Blind to which error it is."""
    for excess in ((1, 0), (0, 1), (1, 1), (3, 0)):
        kernel = (size + 2 * padding + excess[0], size + 2 * padding + excess[1])
        why = f"a kernel of {kernel} on {(size, size)} padded by {padding}"
        refused(candidate, why, (1, 2, size, size), (3, 2, *kernel), (3,), stride, padding)


@clause("conv2d.refuses-stride", tier="contract")
@given(size=st.integers(3, 6))
def test_conv2d_refuses_a_stride_of_zero_or_less(candidate, size):
    """In one direction is enough. Blind to which error it is."""
    for stride in (0, (0, 1), (1, 0), (0, 2), -1, (-1, 1), (1, -2)):
        refused(candidate, f"stride={stride}", (1, 2, size, size), (3, 2, 3, 3), None, stride, 0)


@clause("conv2d.refuses-padding", tier="contract")
@given(stride=st.integers(1, 2))
def test_conv2d_refuses_a_negative_padding(candidate, stride):
    """Also where the input would be large enough without those rows. Blind to which error it is."""
    for padding in (-1, (-1, 0), (0, -1), (1, -1), (-1, 2)):
        refused(candidate, f"padding={padding}", (1, 2, 7, 7), (3, 2, 3, 3), None, stride, padding)


@clause("conv2d.refuses-channels", tier="contract")
@given(outputs=st.sampled_from((4, 2, 1)), padding=st.integers(0, 1))
def test_conv2d_refuses_a_weight_for_other_input_channels(candidate, outputs, padding):
    """Fewer, more, a part and one. Blind to which error it is."""
    for (inputs, others), taps in itertools.product(MISFITS, (3, 1)):
        why = f"{inputs} input channels and a weight for {others}"
        refused(candidate, why, (1, inputs, 4, 4), (outputs, others, taps, taps), None, 1, padding)


@clause("conv2d.refuses-channels", tier="contract")
@given(taps=st.sampled_from((3, 1)))
def test_conv2d_refuses_a_bias_for_other_output_channels(candidate, taps):
    """One number for all included. Blind to which error it is."""
    for outputs, length in ((2, 1), (1, 2), (2, 3), (3, 2), (4, 5)):
        why = f"{outputs} output channels and a bias for {length}"
        refused(candidate, why, (1, 2, 4, 4), (outputs, 2, taps, taps), (length,), 1, 0)
