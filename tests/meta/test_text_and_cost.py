"""The formulas as text, and what they cost, from the same code that judges."""

from __future__ import annotations

import pytest

from assay.reference.arithmetic.text import Symbol
from assay.spec import OPERATORS

FORMULAS = {
    "swish": "swish[i] = x[i] * sigmoid(beta * x[i])",
    "linear": "linear[n, o] = sum(x[n] * w[o]) + b[o]",
    "glu": "glu[n, o] = sigmoid(sum(x[n] * w[o]) + b[o]) * (sum(x[n] * v[o]) + c[o])",
    "swiglu": "swiglu[n, o] = (sum(x[n] * w[o]) + b[o]) * sigmoid(sum(x[n] * w[o]) + b[o]) * (sum(x[n] * v[o]) + c[o])",
    "pad2d": "pad2d[n, i, j] = (x[n, i - padding, j - padding] or 0 outside)",
    "conv2d": "conv2d[n, o, i, j] = sum(input[n, :, i * stride.rows - padding.rows : + kh, "
    "j * stride.columns - padding.columns : + kw] * weight[o]) + bias[o]",
    "max_pool2d": "max_pool2d[n, c, i, j] = max(input[n, c, i * stride.rows - padding.rows : + kernel_size.rows, "
    "j * stride.columns - padding.columns : + kernel_size.columns])",
}


def test_every_operator_has_its_formula_here():
    assert set(FORMULAS) == set(OPERATORS)


@pytest.mark.parametrize("name", FORMULAS)
def test_a_formula_prints_as_the_document_has_it(name):
    assert OPERATORS[name].formula == FORMULAS[name]


def test_brackets_stand_where_they_are_needed_and_nowhere_else():
    a, b, c = (Symbol(name) for name in "abc")
    assert [str(a + b + c), str((a + b) * c), str(a * b + c)] == ["a + b + c", "(a + b) * c", "a * b + c"]
    assert [str(a - (b - c)), str(a - b - c), str(a / (b / c))] == ["a - (b - c)", "a - b - c", "a / (b / c)"]
    assert [str(1 * a), str(2 * a), str(1 - a), str(a * (b + 1))] == ["a", "2 * a", "1 - a", "a * (b + 1)"]


def cost(name, shapes, parameters=(), itemsize=4):
    return OPERATORS[name].cost(shapes, dict(parameters), itemsize)


def test_the_documents_layer_costs_what_it_costs_by_hand():
    """3 channels to 64 with a 3 x 3 kernel, on 32 x 32: 30 x 30 places, 27 products, 26 sums and a bias each."""
    shapes = {"input": (1, 3, 32, 32), "weight": (64, 3, 3, 3), "bias": (64,)}
    operations, moved = cost("conv2d", shapes)
    assert operations == 30 * 30 * 64 * (27 + 26 + 1)
    assert moved == 4 * (3 * 32 * 32 + 1728 + 64 + 64 * 30 * 30)


def test_a_layer_without_bias_and_with_stride_costs_less():
    shapes = {"input": (2, 3, 5, 5), "weight": (4, 3, 3, 3)}
    assert cost("conv2d", shapes, {"stride": 2, "padding": 1}.items()) == (
        2 * 4 * 9 * (27 + 26),
        4 * (150 + 108 + 72),
    )


@pytest.mark.parametrize(
    ("name", "shapes", "parameters", "operations", "elements"),
    [
        ("linear", {"x": (5, 7), "w": (3, 7), "b": (3,)}, {}, 15 * 14, 35 + 21 + 3 + 15),
        ("swish", {"x": (10,)}, {}, 10 * 3, 20),  # beta = 1 is a product, a sigmoid, a product
        ("swish", {"x": (10,), "beta": (1,)}, {}, 10 * 3, 21),
        ("glu", {"x": (2, 4), "w": (3, 4), "v": (3, 4)}, {}, 6 * (7 + 7 + 1 + 1), 8 + 12 + 12 + 6),
        ("swiglu", {"x": (2, 4), "w": (3, 4), "v": (3, 4)}, {}, 6 * (7 + 7 + 3 + 1), 8 + 12 + 12 + 6),
        ("max_pool2d", {"input": (1, 1, 4, 4)}, {"kernel_size": 2}, 4 * 3, 20),
        ("pad2d", {"x": (5, 5)}, {"padding": 1}, 0, 25 + 49),
    ],
)
def test_an_operator_costs_what_it_costs_by_hand(name, shapes, parameters, operations, elements):
    assert cost(name, shapes, parameters.items(), itemsize=2) == (operations, 2 * elements)
