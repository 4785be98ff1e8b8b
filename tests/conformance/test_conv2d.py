"""The convolutional layer: the laws of its formula, kernel, stride, padding and output size."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from assay.implementations.arrays import Argument
from assay.reference.conv2d import pair
from assay.tests.trial import judge, printed
from assay.tests.trial.cases import SMALL, WIDE, Case, conv2d_cases
from assay.tests.trial.failure import NonConformance
from assay.tests.trial.laws import clause
from assay.tests.trial.textures import INTEGERS, WITH_SUBNORMALS, Texture

dense = conv2d_cases(("integers",))
few = conv2d_cases(("integers",), SMALL, (1, 2, 3))
picks = st.integers(0, 4095)
SUBNORMAL = Case(
    "conv2d",
    {"input": (1, 1, 6, 5), "weight": (2, 1, 3, 2), "bias": (2,)},
    {"input": Texture("subnormal", 1), "weight": Texture("ones"), "bias": Texture("zeros")},
    {"stride": 1, "padding": 0},
    terms=6,
)


def arrays(candidate, case):
    """Input, weight and bias (or None) as numpy arrays of numbers of the candidate's dtype."""
    given = [value for value in case.arguments(candidate.format).values()][:3]
    return [value.values if isinstance(value, Argument) else None for value in given]


def conv2d(candidate, *arguments):
    return candidate.values("conv2d", *arguments)


def unpadded(case):
    """The same places without padding, and after the last one as many rows and columns as no stride reaches."""
    steps, kernel = pair(case.parameters["stride"]), case.shapes["weight"][2:]
    sizes = [n * step - 1 + k for n, step, k in zip(case.result_shape[2:], steps, kernel, strict=True)]
    shape = (*case.shapes["input"][:2], *sizes)
    return case.changed(shapes={**case.shapes, "input": shape}, parameters={**case.parameters, "padding": 0})


def window_at(case, i, j):
    """The rows and columns under the kernel for output (i, j) of a case without padding."""
    (down, right), (height, width) = pair(case.parameters["stride"]), case.shapes["weight"][2:]
    return slice(i * down, i * down + height), slice(j * right, j * right + width)


def unpredictable(candidate):
    """NaN; where the candidate declares that a NaN may spread to other windows, another number."""
    return 3.0 if candidate.precision("conv2d").reaches_further else math.nan


@clause("conv2d.formula", tier="exact")
@given(case=conv2d_cases(INTEGERS))
def test_conv2d_of_integers_is_exact(candidate, case):
    """Each output is the sum of its window times its kernel, plus its bias. Blind to rounding: integers are exact."""
    judge.conforms_exactly(candidate, case)


@clause("conv2d.formula", tier="enclosure")
@example(case=SUBNORMAL)
@given(case=conv2d_cases(WITH_SUBNORMALS))
def test_conv2d_stays_within_its_enclosure(candidate, case):
    """Each output is among the results of some order of summation. Blind to errors below the worst order's."""
    judge.conforms(candidate, case)


@clause("conv2d.formula", tier="exact")
@given(case=conv2d_cases(("integers",), (1, 2, 3), (1, 2), WIDE))
def test_conv2d_with_wide_kernels_is_exact(candidate, case):
    """Kernels of 8 to 33 rows and columns, as some models have them. Blind to rounding: integers are exact."""
    judge.conforms_exactly(candidate, case)


@clause("conv2d.formula", tier="exact")
@given(case=few, place=picks)
def test_conv2d_of_a_single_one_shows_the_kernel_as_it_stands(candidate, case, place):
    """A one among zeros picks single weights, all different. Blind to sums: no two products meet."""
    textures = {"input": Texture("zeros", 0, ((place, 1.0),)), "weight": Texture("distinct", place)}
    judge.conforms_exactly(candidate, case.with_textures(**textures))


@clause("conv2d.kernel", tier="exact")
@given(case=dense, pick=picks, seed=picks)
def test_conv2d_looks_at_nothing_outside_the_kernel(candidate, case, pick, seed):
    """Other numbers everywhere outside one window leave its outputs. Blind to elements within that do not count."""
    case = unpadded(case)
    x, w, b = arrays(candidate, case)
    n, _, i, j = np.unravel_index(pick % math.prod(case.result_shape), case.result_shape)
    held = (n, slice(None), *window_at(case, i, j))
    other = Texture("integers", seed).fill(x.shape, candidate.format, case.terms).values.copy()
    other[held] = x[held]
    before, after = (conv2d(candidate, values, w, b, case.parameters["stride"])[n, :, i, j] for values in (x, other))
    judge.same_results(candidate, f"output [{n}, :, {i}, {j}] moved with elements outside its window", after, before)


@clause("conv2d.kernel", tier="exact")
@given(case=few, pick=picks)
def test_conv2d_counts_each_element_under_the_kernel(candidate, case, pick):
    """A one under each tap in turn, a sample a tap, gives that tap's weight. Blind to sums of several taps."""
    case = unpadded(case)
    _, w, _ = arrays(candidate, case)
    _, _, i, j = np.unravel_index(pick % math.prod(case.result_shape), case.result_shape)
    outputs, taps = w.shape[0], w[0].size
    x = np.zeros((taps, *case.shapes["input"][1:]))
    x[(slice(None), slice(None), *window_at(case, i, j))] = np.eye(taps).reshape(taps, *w.shape[1:])
    got = conv2d(candidate, x, w, None, case.parameters["stride"])[:, :, i, j]
    judge.same_results(candidate, f"a tap does not count in output [:, :, {i}, {j}]", got, w.reshape(outputs, taps).T)


@clause("conv2d.kernel-example", tier="exact")
@given(height=st.integers(3, 12), width=st.integers(3, 12), seed=picks)
def test_conv2d_makes_one_element_of_each_three_by_three_square(candidate, height, width, seed):
    """Each square of nine elements times the nine weights. Blind to other kernels, channels, strides and padding."""
    x = Texture("integers", seed).fill((1, 1, height, width), candidate.format, 9).values
    w = Texture("integers", seed + 1).fill((1, 1, 3, 3), candidate.format, 9).values
    squares = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    expected = (squares * w[0, 0]).sum(axis=(-2, -1))
    judge.same_results(candidate, "a 3 x 3 square is not combined", conv2d(candidate, x, w), expected)


@clause("conv2d.stride", tier="exact")
@given(case=dense)
def test_conv2d_with_a_stride_takes_every_so_many_of_stride_one(candidate, case):
    """Stride (s, t) is stride 1, every s-th row and t-th column. Blind to what stride 1 gets wrong itself."""
    down, right = pair(case.parameters["stride"])
    got, every = (
        conv2d(candidate, *arrays(candidate, case), stride, case.parameters["padding"])
        for stride in (case.parameters["stride"], 1)
    )
    judge.same_results(
        candidate, f"stride ({down}, {right}) is not a part of stride 1", got, every[:, :, ::down, ::right]
    )


@clause("conv2d.stride-example", tier="exact")
@given(height=st.integers(1, 5), width=st.integers(1, 5), kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)))
def test_conv2d_starts_at_the_top_left_and_steps_by_one(candidate, height, width, kernel):
    """A kernel that reads its top left alone shows (0, 0), (0, 1), ... in order. Blind to larger strides and sums."""
    shape = (1, 1, height + kernel[0] - 1, width + kernel[1])
    x = np.arange(1.0, math.prod(shape) + 1).reshape(shape)
    w = np.zeros((1, 1, *kernel))
    w[0, 0, 0, 0] = 1.0
    for got in (conv2d(candidate, x, w), conv2d(candidate, x, w, None, 1)):
        expected = x[:, :, :height, : width + 1]
        judge.same_results(candidate, "the kernel's top left is not where the output is", got, expected)


@clause("conv2d.padding", tier="exact")
@given(case=dense)
def test_conv2d_with_padding_is_conv2d_of_the_padded_input(candidate, case):
    """Padding (p, q) is p rows and q columns at both ends, added before. Blind to what no padding gets wrong."""
    x, w, b = arrays(candidate, case)
    stride, (above, before) = case.parameters["stride"], pair(case.parameters["padding"])
    got = conv2d(candidate, x, w, b, stride, case.parameters["padding"])
    padded = np.pad(x, ((0, 0), (0, 0), (above, above), (before, before)))
    expected = conv2d(candidate, padded, w, b, stride)
    judge.same_results(candidate, f"padding ({above}, {before}) differs from a padded input", got, expected)


@clause("conv2d.padding-zeros", tier="exact")
@given(case=few)
def test_conv2d_padding_adds_nothing_to_the_sums_at_the_border(candidate, case):
    """Ones with padding around give sums of the weights that lie on ones. Blind to where inside a window they lie."""
    above, before = pair(case.parameters["padding"])
    parameters = {**case.parameters, "padding": (above + 1, before + 1)}
    ones = {**case.textures, "input": Texture("ones")}
    judge.conforms_exactly(candidate, case.changed(parameters=parameters, textures=ones))


@clause("conv2d.padding-zeros", tier="exact")
@given(case=few)
def test_conv2d_of_padding_alone_is_the_bias(candidate, case):
    """Padding as wide as the kernel leaves windows without input, first of all. Blind to windows partly outside."""
    x, w, b = arrays(candidate, case)
    got = conv2d(candidate, x, w, b, case.parameters["stride"], w.shape[2:])
    bias = np.zeros(w.shape[0]) if b is None else b
    for border in (got[:, :, 0, :], got[:, :, :, 0]):
        expected = np.broadcast_to(bias[:, None], border.shape)
        judge.same_results(candidate, "a window of padding alone does not give the bias", border, expected)


@st.composite
def sizes(draw):
    """(input, kernel, stride, padding) along one axis: all that the formula allows."""
    kernel, stride, padding = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(0, 5))
    return max(1, kernel - 2 * padding) + draw(st.integers(0, 20)), kernel, stride, padding


def sized(rows, columns):
    """A convolution of one channel with these sizes along its two axes."""
    (height, kh, down, above), (width, kw, right, before) = rows, columns
    shapes = {"input": (1, 1, height, width), "weight": (1, 1, kh, kw)}
    textures = dict.fromkeys(shapes, Texture("ones"))
    return Case("conv2d", shapes, textures, {"stride": (down, right), "padding": (above, before)})


@clause("conv2d.output-size", tier="exact")
@given(rows=sizes(), columns=sizes())
def test_conv2d_has_the_output_size_of_the_formula(candidate, rows, columns):
    """As many places as whole strides fit, on each axis by itself. Blind to values."""
    candidate.ask(sized(rows, columns))  # whose shape is held to the formula's
    candidate.compared(2)


@clause("conv2d.output-size", tier="exact")
@given(rows=sizes(), columns=sizes())
def test_conv2d_has_the_output_size_of_the_layer_in_pytorch(candidate, rows, columns):
    """The size that torch.nn.Conv2d gives, asked itself. Blind to values."""
    case = sized(rows, columns)
    expected = printed.shape_of_conv2d(case.shapes["input"], case.shapes["weight"][2:], **case.parameters)
    got = conv2d(candidate, *arrays(candidate, case), *case.parameters.values()).shape
    candidate.compared(2)
    if got != expected:
        raise NonConformance(f"conv2d returned shape {got} where torch.nn.Conv2d has {expected}", candidate.calls[:])


@clause("conv2d.output-size", tier="special")
@given(case=dense)
def test_conv2d_ignores_what_no_whole_stride_reaches(candidate, case):
    """NaN in the rows and columns after the last window changes nothing. Blind to strides of one: all is reached."""
    case = unpadded(case)
    x, w, b = arrays(candidate, case)
    rows, columns = window_at(case, case.result_shape[2] - 1, case.result_shape[3] - 1)
    beyond = np.full_like(x, unpredictable(candidate))
    beyond[:, :, : rows.stop, : columns.stop] = x[:, :, : rows.stop, : columns.stop]
    before, after = (conv2d(candidate, values, w, b, case.parameters["stride"]) for values in (x, beyond))
    judge.same_results(candidate, "an output moved with elements that no whole stride reaches", after, before)
