"""The bounds of convolutions by FFT and by Winograd's algorithm hold what simulations of them give, and little else."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assay.implementations.contract import Implementation
from assay.reference.arithmetic import enclosure
from assay.reference.arithmetic.algorithms import BEYOND, DEVIATIONS, Deviation
from assay.reference.arithmetic.enclosure import Enclosure
from assay.reference.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64
from assay.reference.arithmetic.precision import Precision, Refusal
from assay.reference.conv2d import conv2d_element, pair
from assay.reference.linear import linear_element
from assay.reference.max_pool2d import max_pool2d_element
from assay.reference.swish import swish_element
from assay.reference.tensor import LargeTensor, Tensor
from assay.tests.conformance.test_conv2d import sized, sizes
from assay.tests.meta.oracles import budget
from assay.tests.mutants.correct.transforms import both_ways_by_fft
from assay.tests.mutants.dispatched import back
from assay.tests.mutants.gradients import only
from assay.tests.trial import judge
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.cases import Case, conv2d_cases
from assay.tests.trial.failure import NonConformance
from assay.tests.trial.mixtures import MIXTURES
from assay.tests.trial.sweeps import MADE, SWEPT, Sweep
from assay.tests.trial.textures import REALS, Texture
from assay.tests.trial.usual import _usual_case

SEEDS = st.integers(0, 2**16 - 1)
KINDS = st.tuples(st.sampled_from(REALS), st.sampled_from(REALS))
IMAGES = st.tuples(*map(st.sampled_from, ((1, 2), (1, 2, 3, 8), (3, 4, 7, 8, 16), (3, 5, 6, 11))))
KERNELS = st.sampled_from(((1, 1), (3, 3), (2, 3), (3, 1)))


def drawn(image, kernel, kinds, seed, fmt):
    """Image and two kernels of numbers of a format, as float64."""
    shapes = (image, (2, image[1], *kernel))
    return [Texture(kind, seed + i).fill(s, fmt).values for i, (kind, s) in enumerate(zip(kinds, shapes, strict=True))]


# Each simulation gives every place of a convolution of stride one without padding, in one format.


def by_numpy_fft(x, w):
    """Complex transforms of any length: numpy's, which is float64."""
    size = [a + b - 1 for a, b in zip(x.shape[2:], w.shape[2:], strict=True)]
    image, kernel = np.fft.fft2(x, size), np.fft.fft2(w[:, :, ::-1, ::-1], size)
    return np.fft.ifft2(np.einsum("nchw,ochw->nohw", image, kernel)).real[valid(x, w)]


def by_torch_fft(x, w):
    """Real transforms in float32, of the least length that is a product of 2, 3, 5 and 7."""
    size = [smooth(a + b - 1) for a, b in zip(x.shape[2:], w.shape[2:], strict=True)]
    image, kernel = (torch.fft.rfft2(torch.tensor(part).float(), size) for part in (x, w[:, :, ::-1, ::-1].copy()))
    product = (image[:, None] * kernel).sum(2)
    return torch.fft.irfft2(product, size).double().numpy()[valid(x, w)]


def by_radix_two(x, w):
    """The textbook's recursion, one line after the other, every operation in float32."""
    size = [1 << (a + b - 2).bit_length() for a, b in zip(x.shape[2:], w.shape[2:], strict=True)]
    image, kernel = (transformed(framed(part, size), -1) for part in (x, w[:, :, ::-1, ::-1]))
    product = np.zeros((len(x), len(w), *size), np.complex64)
    for c in range(x.shape[1]):
        product += image[:, None, c] * kernel[:, c]
    return (transformed(product, 1).real / np.float32(math.prod(size)))[valid(x, w)].astype(np.float64)


def framed(part, size):
    """The planes with zeros after them."""
    return np.pad(part, [(0, 0), (0, 0), *((0, s - n) for s, n in zip(size, part.shape[2:], strict=True))])


def transformed(planes, sign):
    """Both axes, in complex64."""
    lines = recursion(planes.astype(np.complex64), sign)
    return recursion(lines.swapaxes(-1, -2), sign).swapaxes(-1, -2)


def recursion(lines, sign):
    """Cooley and Tukey's, along the last axis."""
    if lines.shape[-1] == 1:
        return lines
    even, odd = recursion(lines[..., ::2], sign), recursion(lines[..., 1::2], sign)
    half = even.shape[-1]
    odd = odd * np.exp(sign * 1j * np.pi * np.arange(half) / half).astype(np.complex64)
    return np.concatenate([even + odd, even - odd], axis=-1)


def smooth(length):
    """The least number from ``length`` on without a prime factor above 7."""
    return next(n for n in range(length, 2 * length + 1) if 2520**20 % n == 0)


def valid(x, w):
    """The places where the kernel lies on the image, of a full convolution."""
    return (..., *(slice(k - 1, n) for n, k in zip(x.shape[2:], w.shape[2:], strict=True)))


A = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], float)
G = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]], float) / 2
B = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], float)


def by_winograd(x, w, fmt=FLOAT32):
    """Tiles of 4 x 4, every sum and product rounded to ``fmt``, term after term."""
    n, _, height, width = x.shape
    rows, columns = height - 2, width - 2
    tiles = np.pad(x, [(0, 0), (0, 0), (0, rows % 2), (0, columns % 2)])
    tiles = np.lib.stride_tricks.sliding_window_view(tiles, (4, 4), axis=(2, 3))[:, :, ::2, ::2]
    image, kernel = sandwiched(B, tiles, fmt), sandwiched(G, w, fmt)
    total = 0.0
    for c in range(x.shape[1]):
        total = rounded(total + rounded(image[:, None, c] * kernel[:, c, None, None], fmt), fmt)
    every = sandwiched(A, total, fmt).transpose(0, 1, 2, 4, 3, 5)
    return every.reshape(n, len(w), 2 * every.shape[2], -1)[:, :, :rows, :columns]


def sandwiched(matrix, middle, fmt):
    """matrix @ middle @ matrix.T, each entry a sum in order."""
    for _ in range(2):
        middle = np.stack([summed(row, middle, fmt) for row in matrix], axis=-1)
    return middle


def summed(row, middle, fmt):
    """The sum of a row's products with the second last axis."""
    total = 0.0
    for k in np.flatnonzero(row):
        total = rounded(total + rounded(row[k] * middle[..., k, :], fmt), fmt)
    return total


def rounded(values, fmt):
    """To nearest in float32 or bfloat16."""
    narrow = np.asarray(values).astype(np.float32)
    if fmt is BFLOAT16:
        narrow = torch.tensor(narrow).bfloat16().float().numpy()
    return narrow.astype(np.float64)


def balls(x, w, fmt, declared, kind=Tensor):
    """The enclosure of every place, by index."""
    arithmetic = Enclosure(Precision.declared(fmt, declared))
    numbers = [kind(memoryview(np.ascontiguousarray(part).ravel()), part.shape, arithmetic) for part in (x, w)]
    shape = (len(x), len(w), *(n - k + 1 for n, k in zip(x.shape[2:], w.shape[2:], strict=True)))
    return {at: conv2d_element(at, *numbers) for at in np.ndindex(*shape)}


def worst(got, permitted):
    """The largest margin of all places."""
    return max(ball.margin(float(got[at])) for at, ball in permitted.items())


FFTS = {
    "numpy, float64": (by_numpy_fft, FLOAT64, "float64"),
    "torch, float32": (by_torch_fft, FLOAT32, "float32"),
    "radix two, float32": (by_radix_two, FLOAT32, "float32"),
}


@pytest.mark.parametrize("name", FFTS)
@budget(150)
@given(image=IMAGES, kernel=KERNELS, kinds=KINDS, seed=SEEDS)
def test_a_convolution_by_fft_is_enclosed(name, image, kernel, kinds, seed):
    simulation, fmt, accumulation = FFTS[name]
    x, w = drawn(image, kernel, kinds, seed, fmt)
    permitted = balls(x, w, fmt, {"algorithm": "fft", "accumulation": accumulation})
    assert worst(simulation(x, w), permitted) <= 1.0


@pytest.mark.parametrize(("fmt", "accumulation"), ((FLOAT32, "float32"), (BFLOAT16, "storage")), ids=str)
@budget(150)
@given(image=IMAGES, kinds=KINDS, seed=SEEDS)
def test_a_convolution_by_winograd_is_enclosed(fmt, accumulation, image, kinds, seed):
    x, w = drawn(image, (3, 3), kinds, seed, fmt)
    permitted = balls(x, w, fmt, {"algorithm": "winograd", "accumulation": accumulation})
    assert worst(by_winograd(x, w, fmt), permitted) <= 1.0


ORDINARY = [drawn((1, 3, 8, 8), (3, 3), ("normal", "normal"), seed, FLOAT32) for seed in range(5)]
SIMULATIONS = {"fft": by_torch_fft, "winograd": by_winograd}


@pytest.mark.parametrize("algorithm", SIMULATIONS)
@pytest.mark.parametrize("k", range(len(ORDINARY)))
def test_a_thousandth_too_much_is_outside_on_ordinary_data(algorithm, k):
    permitted = balls(*ORDINARY[k], FLOAT32, {"algorithm": algorithm})
    got = {at: float(ball.middle) * 1.001 for at, ball in permitted.items()}
    assert worst(got, permitted) > 1.0


LESS = 1e4


def less(deviation):
    """A bound that is so many times as narrow."""
    return Deviation(1, deviation.mass * deviation.roundings / LESS, 0.0, deviation.largest)


@pytest.mark.parametrize("algorithm", SIMULATIONS)
def test_the_simulations_need_their_bound(algorithm, monkeypatch):
    """One number amid zeros leaves its rounding errors in places whose own windows hold zeros alone."""
    _, w = drawn((1, 1, 16, 16), (3, 3), ("normal", "normal"), 7, FLOAT32)
    x = np.zeros((1, 1, 16, 16))
    x[0, 0, 7, 9] = FLOAT32.round(0.7)
    got = SIMULATIONS[algorithm](x, w)
    assert worst(got, balls(x, w, FLOAT32, {"algorithm": algorithm})) <= 1.0
    assert worst(got, balls(x, w, FLOAT32, {})) > 1.0
    narrow = {algorithm: lambda *tensors: less(DEVIATIONS[algorithm](*tensors))}
    monkeypatch.setattr(enclosure, "DEVIATIONS", narrow)
    assert worst(got, balls(x, w, FLOAT32, {"algorithm": algorithm})) > 1.0


def beyond(case):
    """How many rows or columns of padding a convolution has more than its kernel has of its own."""
    sides = zip(pair(case.parameters["padding"] or 0), case.shapes["weight"][2:], strict=True)
    return max(padding - taps for padding, taps in sides)


@budget(100)
@given(case=st.one_of(conv2d_cases(), st.builds(sized, sizes(), sizes())))
def test_no_law_draws_more_padding_than_a_transform_has_room_for(case):
    assert beyond(case) <= BEYOND


def test_no_sweep_and_no_usual_layer_has_more_padding_than_a_transform_has_room_for():
    swept = (
        case for axes in (*SWEPT["conv2d"], *MADE["conv2d"], MIXTURES) for case in Sweep("conv2d", axes, 1, 1).cases()
    )
    usual = (_usual_case("conv2d", ("contiguous",), seed) for seed in range(2**12))
    assert max(map(beyond, (*swept, *usual))) <= BEYOND


def test_a_large_tensor_has_the_bound_of_a_small_one():
    x, w = ORDINARY[0]
    for algorithm in SIMULATIONS:
        small, large = (balls(x, w, FLOAT32, {"algorithm": algorithm}, kind) for kind in (Tensor, LargeTensor))
        assert [ball.radius for ball in small.values()] == [ball.radius for ball in large.values()]


@pytest.mark.parametrize("algorithm", SIMULATIONS)
def test_nan_stays_nan_and_what_else_it_reaches_is_left_open(algorithm):
    x, w = (part.copy() for part in ORDINARY[0])
    x[0, 0, 0, 0] = math.nan
    permitted = balls(x, w, FLOAT32, {"algorithm": algorithm})
    assert 1.0 not in permitted[0, 0, 0, 0] and math.nan in permitted[0, 0, 0, 0]
    assert 1.0 in permitted[0, 0, 5, 5] and math.nan in permitted[0, 0, 5, 5]


def test_numbers_on_the_way_may_overflow():
    """The spectrum of 64 times 30000 is far above the largest number of float16."""
    x, w = np.full((1, 1, 8, 8), 3e4), np.full((1, 1, 3, 3), 2.0**-14)
    declared = {"accumulation": "storage", "algorithm": "fft"}
    assert not balls(x, w, FLOAT16, declared)[0, 0, 0, 0].determined
    assert balls(x, w, FLOAT16, {})[0, 0, 0, 0].determined


def test_a_kernel_that_winograd_has_no_tiles_for_is_summed_directly():
    x, w = drawn((1, 2, 6, 6), (2, 3), ("normal", "normal"), 3, FLOAT32)
    direct, other = (balls(x, w, FLOAT32, {"algorithm": name}) for name in ("direct", "winograd"))
    assert [ball.radius for ball in direct.values()] == [ball.radius for ball in other.values()]


def test_either_bound_permits_what_the_direct_sum_may_be():
    for name in SIMULATIONS:
        direct, other = (balls(*ORDINARY[1], FLOAT32, {"algorithm": each}) for each in ("direct", name))
        assert all(Fraction(direct[at].radius) <= Fraction(other[at].radius) for at in direct)


@pytest.mark.parametrize("algorithm", SIMULATIONS)
def test_what_is_no_convolution_has_no_bound(algorithm):
    arithmetic = Enclosure(Precision.declared(FLOAT32, {"algorithm": algorithm}))
    row, image = Tensor([[1.0, 2.0]], arithmetic=arithmetic), Tensor([1.0] * 4, (1, 1, 2, 2), arithmetic)
    for formula in (
        lambda: linear_element((0, 0), row, row),
        lambda: swish_element((0, 0), row),
        lambda: max_pool2d_element((0, 0, 0, 0), image, 2),
        lambda: arithmetic.dot([row[0, 0]], [1.0]),
    ):
        with pytest.raises(Refusal, match=f"no cited error bound for algorithm={algorithm}"):
            formula()


LAYER = {"input": (2, 3, 9, 10), "weight": (4, 3, 3, 3), "bias": (4,)}
TRAINED = Case(
    "conv2d",
    LAYER,
    {name: Texture("normal", k) for k, name in enumerate(LAYER)},
    {"stride": 2, "padding": 1},
    27,
    incoming=Texture("normal", 9),
)


def going_back(conv2d, algorithm):
    """A candidate that declares an algorithm in float64, both ways."""
    declared = {"algorithm": algorithm, "accumulation": "float64"}
    both = {f"conv2d.{direction}.float32": declared for direction in ("forward", "backward")}
    return Candidate(Implementation("transforms", {"conv2d": conv2d}, precision=both), "float32")


def test_gradients_by_fft_conform():
    judge.gradient_conforms(going_back(both_ways_by_fft, "fft"), TRAINED)


@pytest.mark.parametrize("name", LAYER)
def test_gradients_by_fft_that_are_a_thousandth_too_large_do_not_conform(name):
    wrong = back("conv2d", only(name, lambda gradient: gradient * 1.001))["conv2d"]

    def in_float64(input, weight, bias, *how):
        return wrong(input.double(), weight.double(), bias.double(), *how).to(input.dtype)

    with pytest.raises(NonConformance, match=f"gradient of {name}"):
        judge.gradient_conforms(going_back(in_float64, "fft"), TRAINED)


def test_gradients_by_winograd_have_no_bound():
    with pytest.raises(Refusal, match="no cited error bound for algorithm=winograd"):
        judge.gradient_conforms(going_back(both_ways_by_fft, "winograd"), TRAINED)
