"""GLU: the gated linear unit."""

from assay.reference.glu import glu_element, glu_shape
from assay.spec.clause import Clause
from assay.spec.operator import Operator
from assay.spec.sources import SWIGLU, follows, torch

OPERATOR = Operator(
    "glu", glu_element, glu_shape, axes=("n", "o"), tensors=("x", "w", "v", "b", "c"), optional=("b", "c")
)

CLAUSES = (
    Clause("glu.formula", "glu(x) = sigmoid(W x + b) * (V x + c)", "documented", SWIGLU),
    Clause(
        "glu.product",
        "the product is elementwise (Hadamard): output o takes row o of W and row o of V, and no other",
        "documented",
        SWIGLU,
        note="The sign between the two factors in the document is read as this product.",
    ),
    Clause(
        "glu.biases",
        "b is added inside the sigmoid and c to the other branch, one entry an output: x = 0 gives sigmoid(b) * c",
        "documented",
        SWIGLU,
    ),
    Clause(
        "glu.closed-gate",
        "where W x + b is far below zero the output vanishes, far above zero it is V x + c",
        "derived",
        follows("glu.formula"),
    ),
    Clause("glu.gradient", "the derivatives by x, W, V, b and c are the formula's", "derived", follows("glu.formula")),
    Clause(
        "glu.special",
        "a NaN in a row of x reaches every output of that row, one in a row of W or V, or in b or c, that output of "
        "every row, and no other",
        "torch",
        torch("torch.nn.functional.linear"),
    ),
    Clause(
        "glu.refuses-sizes",
        "weights or biases whose sizes do not match x or each other are errors",
        "torch",
        torch("torch.nn.functional.linear"),
    ),
)
