"""Which calls a waiver covers."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from assay.implementations.arrays import Argument
from assay.implementations.observe import Call
from assay.tests.trial.waivers import Waiver, Where


def call(x=(1.0,), layout="contiguous", back=False, **parameters) -> Call:
    tensor = Argument(np.asarray(x, dtype=float), layout)
    return Call("max_pool2d", {"input": tensor, **parameters}, "float16", "cpu", tensor if back else None)


def pooled(columns: int) -> Call:
    return call(np.ones((1, 1, 2, columns)), kernel_size=2, stride=1)


@pytest.mark.parametrize(
    ("where", "covered", "beside"),
    [
        ({"special": ("nan",)}, call([1, np.nan]), call([np.inf])),
        ({"special": ("inf",)}, call([-np.inf]), call([np.nan])),
        ({"special": ("subnormal",)}, call([2.0**-15]), call([2.0**-14, 0])),
        ({"special": ("negative-zero",)}, call([-0.0]), call([0.0, -1.0])),
        ({"special": ("nan", "inf")}, call([np.inf]), call([1])),
        ({"layout": ("expanded",)}, call(layout="expanded"), call(layout="strided")),
        ({"direction": ("backward",)}, call(back=True), call()),
        ({"least": {"kernel_size": 3}}, call(kernel_size=3), call(kernel_size=2)),
        ({"least": {"kernel_size": 3}}, call(kernel_size=(3, 4)), call(kernel_size=(2, 4))),
        ({"most": {"kernel_size": 3}}, call(kernel_size=(3, 3)), call(kernel_size=(3, 4))),
        ({"least": {"stride": 1}}, call(stride=1), call(stride=None)),
        ({"least": {"stride[1]": 2}}, call(stride=(1, 2)), call(stride=(2, 1))),
        ({"most": {"result.shape[3]": 1}}, pooled(2), pooled(3)),
        ({"least": {"input.shape[1]": 2}}, call([[1, 2]]), call([[1], [2]])),
        ({"most": {"input.size": 0}}, call([]), call([1])),
        ({"least": {"input.shape[3]": 0}}, call(np.ones((1, 1, 1, 1))), call([1])),
        ({"special": ("nan",), "least": {"stride": 2}}, call([np.nan], stride=2), call([np.nan], stride=1)),
    ],
)
def test_a_predicate_covers_what_it_says_and_nothing_beside(where, covered, beside):
    waiver = Waiver("f", 1, "c", "max_pool2d", "k", "r", "u", date.max, Where(**where))
    assert waiver.covers([covered]) and not waiver.covers([beside])
    assert waiver.covers([beside, covered])
    assert not waiver.covers([])


def test_what_a_predicate_asks_has_to_hold_of_one_call():
    where = Where(special=("nan",), least={"stride": 2})
    waiver = Waiver("f", 1, "c", "max_pool2d", "k", "r", "u", date.max, where)
    assert not waiver.covers([call([np.nan], stride=1), call([1], stride=2)])
