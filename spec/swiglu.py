"""SwiGLU: formula and class."""

from assay.reference.swiglu import swiglu_element, swiglu_shape
from assay.spec.clause import Clause
from assay.spec.operator import Operator
from assay.spec.sources import SWIGLU, follows, torch

OPERATOR = Operator(
    "swiglu", swiglu_element, swiglu_shape, axes=("n", "o"), tensors=("x", "w", "v", "b", "c"), optional=("b", "c")
)

CLAUSES = (
    Clause("swiglu.formula", "swiglu(x) = swish(W x + b) * (V x + c)", "documented", SWIGLU),
    Clause(
        "swiglu.gate",
        "SwiGLU is GLU with the gate's sigmoid replaced by swish: it is GLU times W x + b",
        "documented",
        SWIGLU,
    ),
    Clause(
        "swiglu.biases",
        "b is added inside the swish and c to the other branch, one entry an output: x = 0 gives swish(b) * c",
        "documented",
        SWIGLU,
    ),
    Clause(
        "swiglu.class-as-printed",
        "the class as printed cannot be constructed: it reads self.c where it means to assign it, an AttributeError",
        "example",
        SWIGLU,
        note="A statement about the document's own code: it is judged once a run, without the candidate.",
    ),
    Clause(
        "swiglu.class-mended",
        "the class with self.c = c, holding two linear layers, computes silu(linear(x, w1, b)) * linear(x, w2, c)",
        "example",
        SWIGLU,
        note="The candidate's own linear and swish stand in for F.linear and F.silu in the class.",
    ),
    Clause(
        "swiglu.gradient", "the derivatives by x, W, V, b and c are the formula's", "derived", follows("swiglu.formula")
    ),
    Clause(
        "swiglu.special",
        "a NaN in a row of x reaches every output of that row, one in a row of W or V, or in b or c, that output of "
        "every row, and no other",
        "torch",
        torch("torch.nn.functional.linear"),
    ),
    Clause(
        "swiglu.refuses-sizes",
        "weights or biases whose sizes do not match x or each other are errors",
        "torch",
        torch("torch.nn.functional.linear"),
    ),
)
