"""The convolutional layer: the laws of its channels, bias and parameters, and of what follows from its formula."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from assay.reference.conv2d import pair, parameter_count
from assay.reference.linear import linear
from assay.tests.conformance.test_contract import one_lying
from assay.tests.conformance.test_conv2d import arrays, conv2d, dense, few, picks
from assay.tests.trial import judge
from assay.tests.trial.cases import SMALL, WIDE, conv2d_cases
from assay.tests.trial.failure import RAISED, NonConformance
from assay.tests.trial.laws import clause
from assay.tests.trial.layers import of_integers
from assay.tests.trial.textures import INTEGERS, Texture, textures
from assay.tests.trial.whole import gradients_are_exact, result_is_exact

counts = st.sampled_from((1, 2, 3, 4, 7, 16, 33))


def integers(candidate, seed, shape, terms):
    """Integers so small that a sum of ``terms`` products of them is exact."""
    return Texture("integers", seed).fill(shape, candidate.format, terms).values


# --- parameters


def element_counts(candidate, *arguments):
    """The number of elements of each learned tensor of a layer, whatever library it is of."""
    names = ("in_channels", "out_channels", "kernel_size", "bias")
    seen = candidate.observe("conv2d_parameters", dict(zip(names, arguments, strict=False)))
    if seen.fault:
        kind = RAISED if seen.raised else ""
        raise NonConformance(f"conv2d_parameters{arguments} {seen.fault}", [seen.call], kind=kind)
    return [math.prod(shape) for shape in seen.parameters]


@clause("conv2d.parameter-count", tier="exact", needs=("conv2d_parameters",))
@given(
    inputs=counts, outputs=counts, kernel=st.tuples(*[st.integers(1, 5)] * 2) | st.integers(1, 5), bias=st.booleans()
)
def test_conv2d_has_as_many_parameters_as_the_formula_says(candidate, inputs, outputs, kernel, bias):
    """Height * width * inputs * outputs, and a bias an output or none. Blind to how they lie in tensors."""
    total = sum(element_counts(candidate, inputs, outputs, kernel, bias))
    expected = parameter_count(inputs, outputs, kernel, bias)
    candidate.compared()
    if total != expected:
        call = f"conv2d_parameters({inputs}, {outputs}, {kernel}, {bias})"
        raise NonConformance(f"{call} has {total} elements, the formula gives {expected}")


@clause("conv2d.parameter-count-example", tier="exact", needs=("conv2d_parameters",))
def test_conv2d_of_three_channels_by_64_kernels_has_1728_and_64_parameters(candidate):
    """1728 weights and 64 biases, without being asked for a bias. Blind to any other layer."""
    candidate.begin()
    found = sorted(element_counts(candidate, 3, 64, 3))
    candidate.compared(2)
    if found != [64, 1728]:
        raise NonConformance(f"conv2d_parameters(3, 64, 3) has tensors of {found} elements, the notes count 1728 + 64")


# --- channels and bias


@clause("conv2d.channels", tier="exact")
@given(outputs=st.sampled_from((64, 65, 17, 2)), channels=st.sampled_from((3, 1, 2, 8)), pick=picks)
def test_conv2d_output_channels_have_each_a_kernel_of_its_own(candidate, outputs, channels, pick):
    """An output channel is what its kernel gives by itself, and there are as many as kernels. Blind to that kernel."""
    x = integers(candidate, pick, (2, channels, 5, 4), 9 * channels)
    w = integers(candidate, pick + 1, (outputs, channels, 3, 3), 9 * channels)
    chosen = pick % outputs
    together, alone = conv2d(candidate, x, w), conv2d(candidate, x, w[chosen : chosen + 1])
    same = judge.same_results
    same(candidate, f"output channel {chosen} is not its own kernel's", together[:, chosen : chosen + 1], alone)
    judge.same_arrays(
        candidate, "the output has not a channel a kernel", np.array([together.shape[1]]), np.array([outputs])
    )


@clause("conv2d.channels", tier="exact")
@given(case=conv2d_cases(("integers",), SMALL, (3, 1, 2, 5, 8)))
def test_conv2d_sums_over_all_input_channels(candidate, case):
    """The output is the sum of what each input channel gives by itself. Blind to what single channels get wrong."""
    x, w, _ = arrays(candidate, case)
    parameters = case.parameters["stride"], case.parameters["padding"]
    parts = [conv2d(candidate, x[:, c : c + 1], w[:, c : c + 1], None, *parameters) for c in range(x.shape[1])]
    got = conv2d(candidate, x, w, None, *parameters)
    judge.same_results(candidate, "the output is not the sum over the input channels", got, sum(parts))


@clause("conv2d.bias", tier="exact")
@given(case=dense, bias=st.sampled_from(("distinct", "integers", None)))
def test_conv2d_of_zeros_is_the_bias(candidate, case, bias):
    """Zeros give each channel its bias everywhere, and zero without one. Blind to biases that are not integers."""
    x, w, _ = arrays(candidate, case)
    b = None if bias is None else Texture(bias, case.pick).fill((w.shape[0],), candidate.format).values
    got = conv2d(candidate, 0.0 * x, w, b, case.parameters["stride"], case.parameters["padding"])
    expected = np.broadcast_to((np.zeros(w.shape[0]) if b is None else b)[:, None, None], got.shape)
    judge.same_results(candidate, "conv2d of zeros is not the bias", got, expected)


# --- what follows from the formula


@clause("conv2d.translation", tier="exact")
@given(case=dense, shift=st.tuples(st.integers(0, 3), st.integers(1, 3)))
def test_conv2d_of_a_shifted_input_is_the_shifted_output(candidate, case, shift):
    """Dropping k strides of rows drops k rows, away from the padding. Blind to the border, and to any fixed kernel."""
    _, w, b = arrays(candidate, case)
    parameters = case.parameters["stride"], case.parameters["padding"]
    (down, right), (above, before) = map(pair, parameters)
    (k, m), (top, left) = shift, (-(-above // down), -(-before // right))
    samples, channels, height, width = case.shapes["input"]
    x = integers(
        candidate, case.pick, (samples, channels, height + (k + top) * down, width + (m + left) * right), case.terms
    )
    shifted = conv2d(candidate, x[:, :, k * down :, m * right :], w, b, *parameters)[:, :, top:, left:]
    expected = conv2d(candidate, x, w, b, *parameters)[:, :, k + top :, m + left :]
    judge.same_results(candidate, f"shifting by {shift} strides does not shift the output", shifted, expected)


@clause("conv2d.additive", tier="exact")
@given(case=dense, seed=picks)
def test_conv2d_of_a_sum_is_the_sum_less_one_bias(candidate, case, seed):
    """conv2d(x + y) = conv2d(x) + conv2d(y) - bias. Blind to every linear map that is not a convolution."""
    x, w, b = arrays(candidate, case.changed(terms=4 * case.terms))
    y = integers(candidate, seed, x.shape, 4 * case.terms)
    of_sum, of_x, of_y = (conv2d(candidate, part, w, b, *case.parameters.values()) for part in (x + y, x, y))
    bias = 0.0 if b is None else b[:, None, None]
    judge.same_results(candidate, "conv2d of a sum is not the sum of the conv2ds", of_sum, of_x + of_y - bias)


@clause("conv2d.batch", tier="exact")
@given(case=dense, seed=picks)
def test_conv2d_convolves_each_sample_by_itself(candidate, case, seed):
    """A sample among two others gives what it gives alone. Blind to what one sample gets wrong."""
    x, w, b = arrays(candidate, case)
    x = np.concatenate([x[:1], integers(candidate, seed, (2, *x.shape[1:]), case.terms)])[np.roll(np.arange(3), seed)]
    together = conv2d(candidate, x, w, b, *case.parameters.values())
    alone = [conv2d(candidate, x[n : n + 1], w, b, *case.parameters.values()) for n in range(3)]
    judge.same_results(candidate, "a sample differs from itself alone", together, np.concatenate(alone))


@clause("conv2d.batch", tier="special")
@given(case=dense, special=st.sampled_from((math.nan, math.inf)))
def test_conv2d_keeps_special_values_to_their_sample(candidate, case, special):
    """NaN or infinities in one sample leave another's output. Blind to how finite samples may mix."""
    x, w, b = arrays(candidate, case)
    neighbour = np.full_like(x[:1], 3.0 if candidate.precision("conv2d").reaches_further else special)
    crowd = conv2d(candidate, np.concatenate([neighbour, x[:1], neighbour]), w, b, *case.parameters.values())
    alone = conv2d(candidate, x[:1], w, b, *case.parameters.values())
    judge.same_results(candidate, f"a sample moved with neighbours of {special}", crowd[1:2], alone)


@clause("conv2d.pointwise", tier="exact")
@given(case=few, outputs=st.sampled_from((3, 2, 1, 8)), channels=st.sampled_from((3, 2, 1, 8)))
def test_conv2d_by_one_by_one_kernels_is_linear_in_the_channels(candidate, case, outputs, channels):
    """Each place's channels go through the formula of linear. Blind to kernels larger than 1 x 1."""
    samples, _, height, width = case.shapes["input"]
    x = integers(candidate, case.pick, (samples, channels, height, width), channels)
    w = integers(candidate, case.pick + 1, (outputs, channels, 1, 1), channels)
    b = integers(candidate, case.pick + 2, (outputs,), channels) if "bias" in case.shapes else None
    down, right = pair(case.parameters["stride"])
    got = conv2d(candidate, x, w, b, case.parameters["stride"])
    places = np.moveaxis(x[:, :, ::down, ::right], 1, -1).tolist()
    expected = np.array(linear(places, w[:, :, 0, 0].tolist(), None if b is None else b.tolist()))
    judge.same_results(candidate, "a 1 x 1 kernel is not linear in the channels", got, np.moveaxis(expected, -1, 1))


def plain(case):
    """The case with its weight laid out in order: other layouts, going back, are contract.layouts' matter."""
    return one_lying(case, "weight", "contiguous")


# Sums of gradients stay under 128 terms: beyond, accumulation in bfloat16, which may be declared, has no bound.
@clause("conv2d.gradient", tier="gradient")
@given(case=conv2d_cases(places=SMALL, channels=(1, 2, 3)))
def test_conv2d_gradients_stay_within_their_enclosures(candidate, case):
    """The tape's gradients for input, weight and bias. Blind to gradients of sums longer than 105 terms."""
    judge.gradient_conforms(candidate, plain(case))


@clause("conv2d.gradient", tier="gradient")
@given(case=conv2d_cases(INTEGERS, SMALL, (1, 2, 3)))
def test_conv2d_gradients_of_integers_are_exact(candidate, case):
    """The tape's gradients, to the last bit. Blind to rounding: integers are exact."""
    judge.gradient_conforms_exactly(candidate, plain(case))


def one_column_of_places(case):
    """The case with an input no wider than its kernel, stride 1 and no padding."""
    shape = (*case.shapes["input"][:2], case.shapes["weight"][2] + case.pick % 3, case.shapes["weight"][3])
    return case.changed(shapes={**case.shapes, "input": shape}, parameters={"stride": 1, "padding": 0})


wide = conv2d_cases(("integers",), (1, 2, 3), (1, 2), WIDE)
as_wide_as_the_input = conv2d_cases(("integers",), (1,), (1, 2), ((32, 16, 33, 8), (16, 15, 8))).map(
    one_column_of_places
)


# PyTorch itself is wrong here on some processors (docs/findings.md, 5): the gate says so, and a quick run does not.
@clause("conv2d.gradient", tier="gradient", budget="gate")
@given(case=wide | as_wide_as_the_input, incoming=textures(("integers",)))
def test_conv2d_gradients_with_wide_kernels_are_exact(candidate, case, incoming):
    """Kernels of 8 to 33 rows and columns, as wide as the input among them. Blind to rounding: integers are exact."""
    judge.gradient_conforms_exactly(candidate, plain(case).changed(incoming=incoming))


def of_one_place():
    """Layers of which one place comes out, for each kernel, padding and stride: of one sample, of many."""
    for kernel, padding, samples in itertools.product(range(2, 6), range(3), (1, 17)):
        for stride in range(1, kernel + 1):  # findings, 12
            fitting = [side for side in range(1, 8) if 0 <= side + 2 * padding - kernel < stride]
            for sides in {(fitting[0], fitting[-1]), (fitting[-1], fitting[0])} if fitting else ():
                shapes = {"input": (samples, 3, *sides), "weight": (4, 3, kernel, kernel)}
                yield of_integers("conv2d", shapes, {"stride": stride, "padding": padding})


@clause("conv2d.formula", tier="exact")
def test_conv2d_of_which_one_place_comes_out_is_exact(candidate):
    """2 x 2 to 5 x 5 kernels, all elements. Blind to strides beyond the kernel."""
    for case in of_one_place():
        candidate.begin()
        result_is_exact(candidate, case)


@clause("conv2d.gradient", tier="gradient")
def test_conv2d_gradients_where_one_place_comes_out_are_exact(candidate):
    """2 x 2 to 5 x 5 kernels, all elements. Blind to strides beyond the kernel."""
    for case in of_one_place():
        candidate.begin()
        gradients_are_exact(candidate, case.changed(incoming=Texture("integers", 1)))
