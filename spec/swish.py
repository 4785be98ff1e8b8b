"""Swish, as the documents have it."""

from assay.reference.swish import swish_element, swish_shape
from assay.spec.clause import Clause
from assay.spec.operator import Operator
from assay.spec.sources import SWIGLU, follows, torch

OPERATOR = Operator("swish", swish_element, swish_shape, ("i",), ("x", "beta"), optional=("beta",), elementwise=True)

CLAUSES = (
    Clause("swish.formula", "swish(x) = x * sigmoid(beta * x)", "documented", SWIGLU),
    Clause(
        "swish.beta-learned",
        "beta is a parameter that is learned: the derivative by beta exists and is the formula's",
        "documented",
        SWIGLU,
    ),
    Clause(
        "swish.smooth",
        "around 0 swish changes more smoothly than ReLU: its derivative is continuous and 1/2 at 0 (beta = 1), "
        "where ReLU's jumps from 0 to 1",
        "documented",
        SWIGLU,
    ),
    Clause(
        "swish.silu", "F.silu is swish with beta = 1, and 1 is what beta is unless it is given", "documented", SWIGLU
    ),
    Clause("swish.zero", "swish(0) = 0, for every beta", "derived", follows("swish.formula")),
    Clause(
        "swish.beta-zero", "with beta = 0 the sigmoid is 1/2, so swish(x) = x / 2", "derived", follows("swish.formula")
    ),
    Clause(
        "swish.odd-part",
        "swish(x) - swish(-x) = x, because the two sigmoids add up to 1",
        "derived",
        follows("swish.formula"),
    ),
    Clause(
        "swish.elementwise",
        "each element of the result depends on its own element of x alone",
        "derived",
        follows("swish.formula"),
    ),
    Clause("swish.gradient", "the derivative by x is the formula's", "derived", follows("swish.formula")),
    Clause(
        "swish.special",
        "NaN gives NaN, +inf gives +inf, and -inf gives 0 (the limit) or NaN (the formula in IEEE arithmetic)",
        "torch",
        torch("torch.nn.SiLU"),
        note="The formula at -inf is -inf * 0, which is NaN; its limit is 0. Both are admissible, -inf is not.",
    ),
)
