"""Linear: the W x + b inside GLU and SwiGLU."""

from assay.reference.linear import linear_element, linear_shape
from assay.spec.clause import Clause
from assay.spec.operator import Operator
from assay.spec.sources import SWIGLU, follows, torch

OPERATOR = Operator("linear", linear_element, linear_shape, axes=("n", "o"), tensors=("x", "w", "b"), optional=("b",))

CLAUSES = (
    Clause("linear.formula", "linear(x) = W x + b: output o is row o of W times x, plus b[o]", "documented", SWIGLU),
    Clause(
        "linear.bias",
        "b has one entry for each output, added once; without b nothing is added",
        "documented",
        SWIGLU,
    ),
    Clause("linear.additive", "linear(x + y) = linear(x) + linear(y) - b", "derived", follows("linear.formula")),
    Clause(
        "linear.batch",
        "each row of x is mapped by itself: other rows change nothing",
        "derived",
        follows("linear.formula"),
    ),
    Clause("linear.gradient", "the derivatives by x, W and b are the formula's", "derived", follows("linear.formula")),
    Clause(
        "linear.special",
        "a NaN or an infinity in a row of x reaches every output of that row, and no other row; one in a row of W, or "
        "in b, that output of every row, and no other",
        "torch",
        torch("torch.nn.functional.linear"),
        note="Nothing that an infinity meets is zero here; an infinite weight times a zero is not gated.",
    ),
    Clause(
        "linear.refuses-sizes",
        "a weight whose rows do not have x's length, and a bias whose length is not W's rows, are errors",
        "torch",
        torch("torch.nn.functional.linear"),
    ),
)
