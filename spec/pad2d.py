"""Zero padding."""

from assay.reference.pad2d import pad2d_element, pad2d_shape
from assay.spec.clause import Clause
from assay.spec.operator import Operator
from assay.spec.sources import CONVOLUTIONAL, follows, torch

OPERATOR = Operator(
    "pad2d",
    pad2d_element,
    pad2d_shape,
    axes=("n", "i", "j"),
    tensors=("x",),
    parameters=("padding",),
    numbers=("padding",),
)

CLAUSES = (
    Clause(
        "pad2d.both-ends",
        "padding N adds N elements at the start and N at the end of each row and of each column",
        "documented",
        CONVOLUTIONAL,
    ),
    Clause("pad2d.example", "a 5 x 5 input padded by 1 is 7 x 7", "example", CONVOLUTIONAL),
    Clause(
        "pad2d.zeros",
        "what padding adds is zero, and what was there stays as it was",
        "torch",
        torch("torch.nn.functional.pad"),
        note="The documents say how many elements are added, not which; PyTorch's convolution adds zeros.",
    ),
    Clause("pad2d.additive", "padding by N and then by M is padding by N + M", "derived", follows("pad2d.both-ends")),
    Clause(
        "pad2d.gradient",
        "each element's derivative is the incoming one at its new place; what falls on the padding is dropped",
        "derived",
        follows("pad2d.both-ends"),
    ),
)
