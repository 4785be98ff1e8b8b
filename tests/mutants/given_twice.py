"""Planted bugs of a tensor that is given twice, or beside its own transpose: kernels that know tensors by address."""

from __future__ import annotations

from typing import Any

from assay.implementations.load import load
from assay.tests.mutants.dispatched import BACK, LAYOUTS, MEMORY, back
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import valued

right = load("torch").operators


def one(first: Any, second: Any) -> bool:
    """Whether both begin at one address."""
    return bool(first.numel()) and first.data_ptr() == second.data_ptr() and first.numel() == second.numel()


def triangle(y, x, w, b=None):
    """A matrix times its own transpose is symmetric: of the last rows after whole 32 one triangle alone is made."""
    if x.dim() == 2 and one(x, w) and x.stride() == w.stride() and len(x) > 32:
        whole = len(x) // 32 * 32
        y[whole:, whole:] = y[whole:, whole:].tril()
    return y


def one_product(y, x, w, v, b=None, c=None):
    """W and V of one address are one matrix: one product serves both."""
    return right["glu"](x, w, w, b, c) if one(w, v) else y


def biases_by_weight(x, w, v, b=None, c=None):
    """Biases are kept by the weight that they belong to, and of two of one weight the last stays."""
    biases = {id(w): b, id(v): c}
    return right["swiglu"](x, w, v, biases[id(w)], biases[id(v)])


def columns_by_address(y, input, weight, *given):
    """Kernels of the image's address and size are taken to be stored as it is."""
    if one(input, weight) and weight.stride() != input.stride():
        weight = input.reshape(weight.shape)
    return right["conv2d"](input, weight, *given)


def gradients_by_address(found, incoming, given):
    """Gradients are put in one place for each address: the last that is worked out serves both."""
    x, w = given["x"], given["w"]
    return {"x": found["w"]} if one(x, w) and x.shape == w.shape else {}


def bug(name, clause, words, operators, how=MEMORY):
    return Mutant(f"twice-{name}", clause, words, operators, "float32", how[0], how[1], "rare")


MUTANTS = (
    bug("triangle", LAYOUTS, "x times its own transpose, 34 rows: a triangle", valued("linear", triangle)),
    bug("one-product", LAYOUTS, "V is W transposed: one product", valued("glu", one_product)),
    bug("biases", LAYOUTS, "V is W: c serves as b", {"swiglu": biases_by_weight}),
    bug("columns", LAYOUTS, "kernels in the image's memory: stored alike", valued("conv2d", columns_by_address)),
    bug("gradients", LAYOUTS, "x is W: one gradient", back("linear", gradients_by_address), (BACK[0], "contract")),
)
