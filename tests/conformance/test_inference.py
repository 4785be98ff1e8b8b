"""Inference: what is asked of layouts, shapes and memory in training. Fast code keeps less there, and checks less."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from functools import partial

from assay.tests.conformance.test_contract import (
    ALL,
    answered,
    batched,
    demand_own_memory,
    demand_shape,
    lying,
    own_memory,
)
from assay.tests.conformance.test_layouts import give_what_copies_give
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.cases import Case
from assay.tests.trial.laws import clause
from assay.tests.trial.layers import aligned

DTYPES = ("float32", "bfloat16")
OF_ROWS = ("linear", "glu", "swiglu")  # of which x may be a single one


def has_its_shape(candidate: Candidate, case: Case) -> None:
    candidate.begin()
    demand_shape(answered(candidate, case, recording=False), case)


def batches_have_their_shapes(candidate: Candidate, operator: str, batches: Iterable[tuple[int, ...]]) -> None:
    """Hold the results of each layer for each of these batches to the formula's shape."""
    for case, batch in itertools.product(aligned(operator), batches):
        has_its_shape(candidate, batched(case, batch))


@clause("contract.layouts", tier="contract", operators=ALL, dtypes=DTYPES)
def test_contract_tensors_of_any_layout_give_in_inference_what_copies_give(candidate, operator):
    """One after the other, for kernels of one element, too, and one sample. Blind to what every call has wrong."""
    for case in [each for plain in aligned(operator) for each in (plain, batched(plain, (1,)))]:
        candidate.begin()
        give_what_copies_give(candidate, case, case.shapes, partial(candidate.answer, recording=False))


@clause("contract.shape", tier="contract", operators=ALL, dtypes=DTYPES)
def test_contract_the_result_has_the_formulas_shape_in_inference(candidate, operator):
    """Of several samples, and of a row without a batch. Blind to the order of the elements."""
    batches_have_their_shapes(candidate, operator, ((3, 2), (2, 1, 3)))
    for case in aligned(operator) if operator in OF_ROWS else ():
        has_its_shape(candidate, case.changed(shapes={**case.shapes, "x": case.shapes["x"][-1:]}))


@clause("contract.batch-of-one", tier="contract", operators=ALL, dtypes=DTYPES)
def test_contract_a_batch_of_one_keeps_its_axis_in_inference(candidate, operator):
    """As of the next word. Blind to the sample's values."""
    batches_have_their_shapes(candidate, operator, ((1,), (1, 1), (1, 3)))


@clause("contract.empty-batch", tier="contract", operators=ALL, dtypes=DTYPES)
def test_contract_an_empty_batch_gives_an_empty_result_in_inference(candidate, operator):
    """As of an expert without tokens. Blind to operators that reduce over the batch."""
    batches_have_their_shapes(candidate, operator, ((0,), (2, 0), (0, 3)))


@clause("contract.no-alias", tier="contract", operators=ALL, dtypes=DTYPES)
def test_contract_the_result_has_memory_of_its_own_in_inference(candidate, operator):
    """Windows and kernels of one element among them. Blind to memory of other calls, and padding by 0."""
    for case in aligned(operator):
        for pick, layout in itertools.product(range(4), ("contiguous", "expanded")):
            candidate.begin()
            seen = answered(candidate, lying(own_memory(case.changed(pick=pick)), layout), recording=False)
            demand_own_memory(seen)
