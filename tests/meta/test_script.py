"""The script of a failure holds the very numbers on which it was seen."""

from __future__ import annotations

import runpy
import types

import numpy as np
import pytest

from assay.implementations.arrays import Argument
from assay.implementations.observe import Call
from assay.report.script import SPELLED_OUT, script

NARROW = np.random.default_rng(0).standard_normal(4 * SPELLED_OUT).astype(np.float32).astype(np.float64)
ODD = [-0.0, np.inf, -np.inf, np.nan, 2.0**-149]


@pytest.mark.parametrize(
    ("values", "packed"),
    [
        (np.array([*ODD, 0.1, 1e300]), "["),
        (np.concatenate([NARROW, ODD]), "'<f4'"),
        (np.concatenate([NARROW, [0.1]]), "'<f8'"),
        (np.concatenate([NARROW, [1e300, 2.0**-1074]]), "'<f8'"),
    ],
    ids=["few", "numbers of float32", "a number that float32 rounds", "numbers beyond float32"],
)
def test_the_numbers_are_the_same_bit_for_bit(tmp_path, values, packed):
    given = []
    call = Call("swish", {"x": Argument(values), "beta": None}, "float64", "cpu", None)
    text = script("", "numpy", [call], "wrong")
    (tmp_path / "script.py").write_text(text)
    runpy.run_path(str(tmp_path / "script.py"), {"candidate": types.SimpleNamespace(swish=given.append)})
    assert given[0].tobytes() == values.tobytes()
    assert packed in text
