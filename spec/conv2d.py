"""The convolutional layer."""

from assay.reference.conv2d import conv2d_element, conv2d_shape
from assay.spec.clause import Clause
from assay.spec.operator import Operator
from assay.spec.sources import CONVOLUTIONAL, follows, torch

OPERATOR = Operator(
    "conv2d",
    conv2d_element,
    conv2d_shape,
    axes=("n", "o", "i", "j"),
    tensors=("input", "weight", "bias"),
    optional=("bias",),
    parameters=("stride", "padding"),
)

CLAUSES = (
    Clause(
        "conv2d.formula",
        "each output is the sum of products of the kernel, as it stands, with the elements under it in every input "
        "channel, plus the bias of its output channel",
        "documented",
        CONVOLUTIONAL,
        note="'Combined' is read as the sum of products without flipping the kernel: cross-correlation.",
    ),
    Clause(
        "conv2d.kernel",
        "a kernel of size N looks at N x N elements for one output: those, each of them, and no other",
        "documented",
        CONVOLUTIONAL,
    ),
    Clause(
        "conv2d.kernel-example",
        "with a 3 x 3 kernel each 3 x 3 square of the input becomes one element of the output",
        "example",
        CONVOLUTIONAL,
    ),
    Clause(
        "conv2d.stride",
        "with stride N the kernel moves N elements a step: the output is every N-th one of stride 1",
        "documented",
        CONVOLUTIONAL,
    ),
    Clause(
        "conv2d.stride-example",
        "the kernel starts with its top left on (0, 0), and with stride 1 it is on (0, 1) next",
        "example",
        CONVOLUTIONAL,
    ),
    Clause(
        "conv2d.padding",
        "padding N is N more elements at the start and the end of each row and column before the kernel moves",
        "documented",
        CONVOLUTIONAL,
    ),
    Clause(
        "conv2d.padding-zeros",
        "the elements that padding adds are zero",
        "torch",
        torch("torch.nn.Conv2d, padding_mode"),
        note="The documents do not say what is added before a convolution.",
    ),
    Clause(
        "conv2d.output-size",
        "output = floor((input + 2 padding - kernel) / stride) + 1, for rows and for columns",
        "documented",
        CONVOLUTIONAL,
        note="The brackets are read as the floor: rows and columns that no whole stride reaches are ignored.",
    ),
    Clause(
        "conv2d.parameter-count",
        "parameters = kernel height * kernel width * input channels * output channels + bias",
        "documented",
        CONVOLUTIONAL,
        note="'bias' is read as one number an output channel, or 0 where there is none.",
    ),
    Clause(
        "conv2d.parameter-count-example",
        "3 input channels, 64 output channels and a 3 x 3 kernel make 1728 + 64 parameters",
        "example",
        CONVOLUTIONAL,
    ),
    Clause(
        "conv2d.channels",
        "each output channel has a kernel of its own over all input channels: 64 kernels over 3 channels give 64",
        "example",
        CONVOLUTIONAL,
    ),
    Clause(
        "conv2d.bias",
        "there is one bias an output channel: a zero input gives it everywhere in that channel",
        "example",
        CONVOLUTIONAL,
    ),
    Clause(
        "conv2d.translation",
        "shifting the input shifts the output, away from the border",
        "derived",
        follows("conv2d.formula", "conv2d.stride"),
    ),
    Clause(
        "conv2d.additive",
        "conv2d of a sum is the sum of the conv2ds, less one bias",
        "derived",
        follows("conv2d.formula"),
    ),
    Clause(
        "conv2d.batch",
        "each sample is convolved by itself: others change nothing",
        "derived",
        follows("conv2d.formula"),
    ),
    Clause(
        "conv2d.pointwise",
        "a 1 x 1 kernel is a linear map of the channels at each place",
        "derived",
        follows("conv2d.formula", "linear.formula"),
    ),
    Clause(
        "conv2d.gradient",
        "the derivatives by input, weight and bias are the formula's",
        "derived",
        follows("conv2d.formula"),
    ),
    Clause(
        "conv2d.special",
        "a NaN or an infinity of the input reaches the outputs whose window holds it, and no other; a NaN of a kernel, "
        "or what stands in the bias, all outputs of its channel, and no other",
        "torch",
        torch("torch.nn.functional.conv2d"),
        note="Weights are not infinite or zero here; special weights over zero padding are not gated.",
    ),
    Clause(
        "conv2d.refuses-kernel",
        "a kernel larger than the padded input is an error",
        "torch",
        torch("torch.nn.functional.conv2d"),
    ),
    Clause(
        "conv2d.refuses-stride",
        "a stride of zero or less is an error",
        "torch",
        torch("torch.nn.functional.conv2d"),
    ),
    Clause("conv2d.refuses-padding", "a negative padding is an error", "torch", torch("torch.nn.functional.conv2d")),
    Clause(
        "conv2d.refuses-channels",
        "a weight for another number of input channels, and a bias for another number of outputs, are errors",
        "torch",
        torch("torch.nn.functional.conv2d"),
    ),
)
