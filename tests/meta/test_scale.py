"""A production-size result costs the oracle what its sampled elements cost, and no more."""

from __future__ import annotations

from assay.implementations.load import load
from assay.reference.arithmetic.primitives import FLOAT
from assay.reference.conv2d import conv2d_element
from assay.reference.tensor import LargeTensor, Tensor
from assay.tests.trial import judge
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.cases import Case
from assay.tests.trial.textures import Texture


class Watched(list):
    """A buffer that counts the elements that are taken from it."""

    taken = 0

    def __getitem__(self, key):
        found = super().__getitem__(key)
        self.taken += len(found) if isinstance(key, slice) else 1
        return found


def test_an_element_of_a_large_convolution_reads_its_window_and_its_kernel_alone():
    image, kernels = Watched([1.0] * (8 * 64 * 30 * 30)), Watched([1.0] * (64 * 64 * 9))
    x, w = LargeTensor(image, (8, 64, 30, 30)), LargeTensor(kernels, (64, 64, 3, 3))
    assert conv2d_element((7, 63, 4, 5), x, w, None, 1, 1) == 64 * 9
    assert (image.taken, kernels.taken) == (64 * 9, 64 * 9)


def test_a_large_tensor_has_the_vectors_of_a_small_one():
    values = [float(k) for k in range(2 * 3 * 4 * 5)]
    small, large = Tensor(values, (2, 3, 4, 5)), LargeTensor(values, (2, 3, 4, 5), FLOAT)
    for window in ((0, None, -1, -1, (3, 3)), (1, 2, 2, 3, (3, 3))):
        assert list(small.window(*window)) == list(large.window(*window))
        assert list(small.clipped_window(1, 2, -1, 3, (2, 4))) == list(large.clipped_window(1, 2, -1, 3, (2, 4)))
    assert (list(small[1, 2]), small[1, 2, 3, 4]) == (list(large[1, 2]), large[1, 2, 3, 4])


def test_a_production_size_convolution_is_judged_on_sampled_elements():
    shapes = {"input": (8, 64, 56, 56), "weight": (64, 64, 3, 3), "bias": (64,)}
    textures = {name: Texture("normal", seed) for seed, name in enumerate(shapes)}
    candidate = Candidate(load("torch"), "float32")
    judge.conforms(candidate, Case("conv2d", shapes, textures, {"stride": 1, "padding": 1}))
    assert candidate.tally.compared == judge.SAMPLED
    assert 0.0 < candidate.tally.margin <= 1.0
