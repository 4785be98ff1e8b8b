"""MaxPool."""

from assay.reference.max_pool2d import max_pool2d_element, max_pool2d_shape
from assay.spec.clause import Clause
from assay.spec.operator import Operator
from assay.spec.sources import MAXPOOL, follows, torch

OPERATOR = Operator(
    "max_pool2d",
    max_pool2d_element,
    max_pool2d_shape,
    axes=("n", "c", "i", "j"),
    tensors=("input",),
    parameters=("kernel_size", "stride", "padding"),
)

CLAUSES = (
    Clause(
        "max_pool2d.definition",
        "from each window the largest element is taken, bit for bit, and the rest is dropped",
        "documented",
        MAXPOOL,
        note="The sign of a zero is free.",
    ),
    Clause("max_pool2d.example", "the document's 4 x 4 input and 2 x 2 windows give 7 4 / 6 8", "example", MAXPOOL),
    Clause(
        "max_pool2d.default-stride",
        "without a stride the windows lie side by side: the stride is the kernel's size",
        "example",
        MAXPOOL,
    ),
    Clause(
        "max_pool2d.overlap",
        "with a stride below the kernel's size windows overlap, and an element may be taken more than once",
        "derived",
        follows("max_pool2d.definition"),
    ),
    Clause(
        "max_pool2d.output-size",
        "output = floor((input + 2 padding - kernel) / stride) + 1: a last, partial window is ignored",
        "derived",
        follows("conv2d.output-size", "max_pool2d.definition"),
    ),
    Clause(
        "max_pool2d.order",
        "an increasing map of the elements before pooling is the same map after it",
        "derived",
        follows("max_pool2d.definition"),
    ),
    Clause(
        "max_pool2d.channels",
        "each channel of each sample is pooled by itself",
        "derived",
        follows("max_pool2d.definition"),
    ),
    Clause(
        "max_pool2d.gradient",
        "each output's incoming derivative goes to the element that was taken, and contributions add up",
        "derived",
        follows("max_pool2d.definition"),
    ),
    Clause(
        "max_pool2d.gradient-ties",
        "where elements tie, their derivatives together are the incoming one, and no other element gets any",
        "derived",
        follows("max_pool2d.definition"),
    ),
    Clause(
        "max_pool2d.gradient-first-tie",
        "where elements tie, the first in row order gets the whole derivative",
        "torch",
        torch("torch.nn.MaxPool2d"),
        note="Not in the documentation's text: what every released version does, and what a drop-in must do.",
    ),
    Clause(
        "max_pool2d.padding",
        "padding adds minus infinity, which is never taken: an all-negative input stays negative at the border",
        "torch",
        torch("torch.nn.MaxPool2d, padding"),
    ),
    Clause(
        "max_pool2d.nan",
        "a window that holds a NaN gives NaN, wherever in the window it is",
        "torch",
        torch("torch.nn.MaxPool2d"),
    ),
    Clause(
        "max_pool2d.infinities",
        "+inf is taken where there is one; a window of nothing but -inf gives -inf",
        "torch",
        torch("torch.nn.MaxPool2d"),
    ),
    Clause(
        "max_pool2d.refuses-padding",
        "a negative padding, or one of more than half the kernel, is an error",
        "torch",
        torch("torch.nn.MaxPool2d, padding"),
    ),
    Clause(
        "max_pool2d.refuses-kernel",
        "a kernel larger than the padded input is an error",
        "torch",
        torch("torch.nn.MaxPool2d"),
    ),
    Clause("max_pool2d.refuses-stride", "a stride of zero or less is an error", "torch", torch("torch.nn.MaxPool2d")),
)
