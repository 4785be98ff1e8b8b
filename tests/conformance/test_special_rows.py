"""Rows of layers that are not small: of tokens that are lost already, and of those that are masked."""

from __future__ import annotations

import math

import numpy as np

from assay.tests.conformance.test_special_layers import FEATURES, OUTPUTS, ROWS
from assay.tests.conformance.test_unusual_inputs import what_is_not_finite
from assay.tests.trial.laws import clause


def reaches_rows_of_zeros(candidate, operator, weights, name):
    """Give one weight a NaN, where most rows of x are zeros, as of tokens that are masked."""
    held = {"x": np.zeros((ROWS, FEATURES)), **{each: np.ones((OUTPUTS, FEATURES)) for each in weights}}
    held["x"][::5], held[name][3, 2] = 1.0, math.nan
    expected = np.zeros((ROWS, OUTPUTS))
    expected[:, 3] = math.nan
    what = "a NaN of a weight does not reach rows of zeros, or reaches another output"
    what_is_not_finite(candidate, operator, held, what, expected)


@clause("linear.special", tier="special")
def test_a_nan_of_a_weight_reaches_rows_of_zeros_in_linear(candidate):
    """In training and in inference. Blind to fewer rows."""
    reaches_rows_of_zeros(candidate, "linear", "w", "w")


@clause("glu.special", tier="special")
def test_a_nan_of_a_weight_reaches_rows_of_zeros_in_glu(candidate):
    """In training and in inference. Blind to fewer rows."""
    for name in "wv":
        reaches_rows_of_zeros(candidate, "glu", "wv", name)


@clause("swiglu.special", tier="special")
def test_a_nan_of_a_weight_reaches_rows_of_zeros_in_swiglu(candidate):
    """In training and in inference. Blind to fewer rows."""
    for name in "wv":
        reaches_rows_of_zeros(candidate, "swiglu", "wv", name)


def rows_of_nan_are_nan(candidate, operator, weights):
    """Give x rows of nothing but NaN, as of tokens that are lost already, among many others."""
    held = {"x": np.ones((ROWS, FEATURES)), **dict.fromkeys(weights, np.ones((OUTPUTS, FEATURES)))}
    held["x"][::7] = math.nan
    expected = np.zeros((ROWS, OUTPUTS))
    expected[::7] = math.nan
    what_is_not_finite(candidate, operator, held, "rows of NaN do not give NaN, or others do", expected)


@clause("linear.special", tier="special")
def test_rows_of_nan_give_nan_in_a_linear_of_many(candidate):
    """In training and in inference. Blind to fewer rows."""
    rows_of_nan_are_nan(candidate, "linear", "w")


@clause("glu.special", tier="special")
def test_rows_of_nan_give_nan_in_a_glu_of_many(candidate):
    """In training and in inference. Blind to fewer rows."""
    rows_of_nan_are_nan(candidate, "glu", "wv")


@clause("swiglu.special", tier="special")
def test_rows_of_nan_give_nan_in_a_swiglu_of_many(candidate):
    """In training and in inference. Blind to fewer rows."""
    rows_of_nan_are_nan(candidate, "swiglu", "wv")
