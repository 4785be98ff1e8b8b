"""Planted bugs of the hand: a formula, a size or a border written down a little differently; and no formula at all.

The operators of `UNCOMPUTED` answer zeros, a constant, or their input, and refuse what PyTorch refuses.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.reference.conv2d import pair
from assay.tests.mutants.mutant import Mutant

right = load("torch").operators
INF = float("inf")

# --- swish


def beta_ignored(x, beta=1.0):
    return F.silu(x)


def beta_outside(x, beta=1.0):
    return beta * x * torch.sigmoid(x)


def beta_without_its_sign(x, beta=1.0):
    return x * torch.sigmoid(abs(beta) * x)


def beta_after_the_sigmoid(x, beta=1.0):
    return x * torch.sigmoid(x) ** beta


# --- linear, GLU and SwiGLU


def square_weight_transposed(x, w, b=None):
    return F.linear(x, w.mT if w.shape[0] == w.shape[1] else w, b)


def bias_of_matrices_alone(x, w, b=None):
    return F.linear(x, w, b if x.dim() < 3 else None)


def branches_exchanged_for_vectors(x, w, v, b=None, c=None):
    return right["glu"](x, v, w, c, b) if x.dim() == 1 else right["glu"](x, w, v, b, c)


def gate_added(x, w, v, b=None, c=None):
    return torch.sigmoid(F.linear(x, w, b)) + F.linear(x, v, c)


def one_weight_for_both(x, w, v, b=None, c=None):
    return right["glu"](x, w, w, b, c)


def second_bias_dropped(x, w, v, b=None, c=None):
    return right["glu"](x, w, v, b, None if b is not None else c)


def lone_bias_dropped(x, w, v, b=None, c=None):
    return right["swiglu"](x, w, v, None if c is None else b, c)


def b_after_the_swish(x, w, v, b=None, c=None):
    return (F.silu(F.linear(x, w)) + (0 if b is None else b)) * F.linear(x, v, c)


def swish_on_both(x, w, v, b=None, c=None):
    return F.silu(F.linear(x, w, b)) * F.silu(F.linear(x, v, c))


def swish_of_the_product(x, w, v, b=None, c=None):
    return F.silu(F.linear(x, w, b) * F.linear(x, v, c))


# --- pad2d and conv2d


def matrices_get_rows_alone(x, padding):
    columns = padding if x.dim() > 2 else 0
    result = F.pad(x, (columns, columns, padding, padding))
    return result if x.dim() > 2 else F.pad(result, (0, 2 * padding))


def true_convolution(input, weight, *rest):
    return F.conv2d(input, weight.flip(2, 3), *rest)


def rows_flipped_in_tall_kernels(input, weight, *rest):
    return F.conv2d(input, weight.flip(2) if weight.shape[2] > weight.shape[3] else weight, *rest)


def width_comes_first(input, weight, *rest):
    outputs, inputs, height, width = weight.shape
    return F.conv2d(input, weight.reshape(outputs, inputs, width, height).mT, *rest)


def strides_swapped_by_square_kernels(input, weight, bias=None, stride=1, padding=0):
    square = weight.shape[2] == weight.shape[3]
    return F.conv2d(input, weight, bias, pair(stride)[::-1] if square else stride, padding)


def square_channels_transposed(input, weight, *rest):
    return F.conv2d(input, weight.transpose(0, 1) if weight.shape[0] == weight.shape[1] else weight, *rest)


def columns_padded_before_alone(input, weight, bias=None, stride=1, padding=0):
    above, before = pair(padding)
    return F.conv2d(F.pad(input, (2 * before, 0, above, above)), weight, bias, stride)


def columns_rounded_up(input, weight, bias=None, stride=1, padding=0):
    (above, before), right_step = pair(padding), pair(stride)[1]
    more = -(input.shape[3] + 2 * before - weight.shape[3]) % right_step
    return F.conv2d(F.pad(input, (before, before + more, above, above)), weight, bias, stride)


def bias_a_step(input, weight, bias=None, stride=1, padding=0):
    """Added once in the loop over input channels."""
    result = F.conv2d(input, weight, None, stride, padding)
    return result if bias is None else result + bias[:, None, None] * weight.shape[1]


def layer(weight, bias):
    """Stands in for `torch.nn.Conv2d`: tensors of these shapes, given the arguments of the layer."""

    def parameters(inputs, outputs, kernel, biased=True):
        sizes = {"inputs": inputs, "outputs": outputs, "kernel": pair(kernel)}
        return [torch.empty(shape(**sizes)) for shape in (weight, bias)[: 2 if biased else 1]]

    return parameters


def full(inputs, outputs, kernel):
    return (outputs, inputs, *kernel)


bias_a_tap = layer(full, lambda inputs, outputs, kernel: (outputs, *kernel))
bias_an_input = layer(full, lambda inputs, outputs, kernel: (inputs,))
depthwise = layer(lambda inputs, outputs, kernel: (outputs, 1, *kernel), lambda inputs, outputs, kernel: (outputs,))


def bias_all_the_same(in_channels, out_channels, kernel_size, bias=True):
    return right["conv2d_parameters"](in_channels, out_channels, kernel_size, True)


# --- max_pool2d


def windows(x, kernel, stride, padding, added=-INF):
    """Each window's elements in row order, along a last axis."""
    (above, before), (down, across) = pair(padding), pair(kernel if stride is None else stride)
    padded = F.pad(x, (before, before, above, above), value=added)
    return padded.unfold(2, pair(kernel)[0], down).unfold(3, pair(kernel)[1], across).flatten(4)


def starts_from(number):
    """The search for the largest begins with ``number``."""
    return lambda *given: right["max_pool2d"](*given).clamp(min=number)


def padded_with_the_lowest(x, kernel, stride=None, padding=0):
    return windows(x, kernel, stride, padding, added=torch.finfo(x.dtype).min).max(-1).values


def padded_with_the_lowest_of_float16(x, kernel, stride=None, padding=0):
    return windows(x, kernel, stride, padding, added=-65504.0).max(-1).values


def nan_lost_at(place):
    """A NaN at this place of a window of several elements counts as -inf; a NaN elsewhere wins."""

    def pool(x, kernel, stride=None, padding=0):
        w = windows(x, kernel, stride, padding).clone()
        if w.shape[-1] > 1:
            w[..., place] = w[..., place].nan_to_num(-INF, INF, -INF)
        return w.max(-1).values

    return pool


def pooled_after_all_padding(x, kernel, stride=None, padding=0):
    """One-sided: what belongs after the last row and column is added before the first."""
    above, before = pair(padding)
    padded = F.pad(x, (2 * before, 0, 2 * above, 0), value=-INF)
    return F.max_pool2d(padded, kernel, stride)


def rows_rounded_up(x, kernel, stride=None, padding=0):
    (kh, _), (down, _), (above, _) = pair(kernel), pair(kernel if stride is None else stride), pair(padding)
    more = -(x.shape[2] + 2 * above - kh) % down
    return F.max_pool2d(F.pad(x, (0, 0, 0, more), value=-INF) if more else x, kernel, stride, padding)


def stride_left_out_is_turned(x, kernel, stride=None, padding=0):
    return F.max_pool2d(x, kernel, pair(kernel)[::-1] if stride is None else stride, padding)


def kernel_turned(x, kernel, stride=None, padding=0):
    """Height and width are swapped, where that gives a result of the same shape."""
    result = F.max_pool2d(x, kernel, stride, padding)
    given = kernel if stride is None else stride
    fits = all(2 * p <= k <= n + 2 * p for k, n, p in zip(pair(kernel)[::-1], x.shape[2:], pair(padding), strict=True))
    turned = F.max_pool2d(x, pair(kernel)[::-1], given, padding) if fits else result
    return turned if turned.shape == result.shape else result


# --- nothing is computed

FORMULAS = {
    "swish": "swish.formula",
    "linear": "linear.formula",
    "glu": "glu.formula",
    "swiglu": "swiglu.formula",
    "pad2d": "pad2d.both-ends",
    "conv2d": "conv2d.formula",
    "max_pool2d": "max_pool2d.definition",
}


def zeros(result, x):
    return torch.zeros_like(result)


def constant(result, x):
    return torch.ones_like(result)


def copy(result, x):
    """Of the input, where it has the result's shape."""
    return x.clone() if x.shape == result.shape else result


def tier_of(operator):
    """The tier that sees a wrong formula first: a sigmoid is never exact."""
    return "enclosure" if operator in ("swish", "glu", "swiglu") else "exact"


def uncomputed(answer, operator, words, **more):
    """A mutant that answers without computing."""
    operators = {operator: lambda *given: answer(right[operator](*given), given[0])}
    seen = {"clause": FORMULAS[operator], "tier": tier_of(operator), **more}
    return Mutant(id=f"{answer.__name__}-{operator}", words=words, operators=operators, **seen)


COPIED = "the result is the input, where the shapes allow it"
UNCOMPUTED = (
    *(uncomputed(zeros, operator, "the result is all zeros") for operator in FORMULAS),
    *(uncomputed(constant, operator, "the result is all ones") for operator in FORMULAS),
    # Not of pad2d: where the shapes allow a copy, it is right. Pooling has them for windows that overlap alone.
    uncomputed(copy, "swish", COPIED),
    *(uncomputed(copy, operator, COPIED, difficulty="subtle") for operator in ("linear", "glu", "swiglu", "conv2d")),
    uncomputed(copy, "max_pool2d", COPIED, clause="max_pool2d.nan", tier="special", difficulty="rare"),
)


def bug(clause, words, function, name="", **more):
    """A mutant named after its operator and function."""
    operator = "conv2d_parameters" if clause.startswith("conv2d.parameter-count") else clause.partition(".")[0]
    name = name or function.__name__.replace("_", "-")
    return Mutant(f"slip-{operator.replace('_', '-')}-{name}", clause, words, {operator: function}, **more)


MUTANTS = (
    bug("swish.formula", "beta is not read", beta_ignored, tier="enclosure"),
    bug("swish.formula", "beta scales the result and not the sigmoid", beta_outside, tier="enclosure"),
    bug("swish.formula", "a negative beta counts as positive", beta_without_its_sign, tier="enclosure"),
    bug("swish.formula", "beta is an exponent", beta_after_the_sigmoid, tier="enclosure"),
    bug("linear.formula", "a square W is transposed", square_weight_transposed, difficulty="rare"),
    bug("linear.bias", "for x of three axes or more the bias is dropped", bias_of_matrices_alone, difficulty="rare"),
    bug("glu.formula", "vectors have their branches exchanged", branches_exchanged_for_vectors, tier="enclosure"),
    bug("glu.product", "the branches are added", gate_added, tier="enclosure"),
    bug("glu.formula", "W stands for V too", one_weight_for_both, tier="enclosure"),
    bug("glu.biases", "where there are two biases, c is dropped", second_bias_dropped, tier="enclosure"),
    bug("swiglu.formula", "b without c is dropped", lone_bias_dropped, tier="enclosure"),
    bug("swiglu.biases", "b is added after the swish", b_after_the_swish, tier="enclosure"),
    bug("swiglu.formula", "both branches pass through swish", swish_on_both, tier="enclosure"),
    bug("swiglu.gate", "swish is taken of the product", swish_of_the_product, tier="enclosure"),
    bug("pad2d.both-ends", "matrices have their columns padded at the end alone", matrices_get_rows_alone),
    bug("conv2d.formula", "the kernel is flipped both ways", true_convolution),
    bug("conv2d.formula", "kernels higher than wide have their rows flipped", rows_flipped_in_tall_kernels),
    bug("conv2d.formula", "the kernel's elements are read as columns of rows", width_comes_first),
    bug("conv2d.stride", "square kernels swap the two strides", strides_swapped_by_square_kernels, difficulty="rare"),
    bug("conv2d.channels", "equal numbers of channels change places", square_channels_transposed, difficulty="rare"),
    bug("conv2d.padding", "columns are padded at the start alone", columns_padded_before_alone),
    bug("conv2d.output-size", "the number of columns is rounded up", columns_rounded_up),
    bug("conv2d.bias", "the bias is added once an input channel", bias_a_step),
    bug("conv2d.parameter-count", "a bias each element of a kernel", bias_a_tap, "bias-a-tap"),
    bug("conv2d.parameter-count", "a bias each input channel", bias_an_input, "bias-an-input"),
    bug("conv2d.parameter-count", "one input channel each output", depthwise, "depthwise"),
    bug("conv2d.parameter-count", "a bias, asked for or not", bias_all_the_same),
    bug("max_pool2d.definition", "the search starts from 0", starts_from(0.0), "from-zero", kind="pooling"),
    bug(
        "max_pool2d.definition",
        "the search starts from the least positive number, as numeric_limits<float>::min() invites to",
        starts_from(2.0**-126),
        "from-the-least-normal",
        kind="pooling",
    ),
    bug("max_pool2d.infinities", "pads with the lowest number", padded_with_the_lowest, kind="pooling", tier="special"),
    bug("max_pool2d.padding", "pads with -65504", padded_with_the_lowest_of_float16, kind="pooling", tier="special"),
    bug("max_pool2d.nan", "a NaN in first place is lost", nan_lost_at(0), "nan-first", kind="pooling", tier="special"),
    bug("max_pool2d.nan", "a NaN in last place is lost", nan_lost_at(-1), "nan-last", kind="pooling", tier="special"),
    bug("max_pool2d.padding", "all padding is before", pooled_after_all_padding, kind="pooling", tier="special"),
    bug("max_pool2d.output-size", "the number of rows is rounded up", rows_rounded_up, kind="pooling"),
    bug(
        "max_pool2d.default-stride", "a stride left out is the kernel turned", stride_left_out_is_turned, kind="pooling"
    ),
    bug(
        "max_pool2d.definition",
        "the kernel is turned, where the shape allows it",
        kernel_turned,
        kind="pooling",
        difficulty="rare",
    ),
    *UNCOMPUTED,
)
