"""SwiGLU: planted bugs, one or more a clause.

`swiglu.class-as-printed` speaks of the document's own code: no operator can break it. Its planted bug is the mended
class in the place of `assay.tests.trial.printed.class_as_printed`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from assay.tests.mutants.mutant import Mutant


def gelu_for_swish(x, w, v, b=None, c=None):
    return F.gelu(F.linear(x, w, b)) * F.linear(x, v, c)


def gate_in_bfloat16(x, w, v, b=None, c=None):
    return F.silu(F.linear(x, w, b)).bfloat16().to(x.dtype) * F.linear(x, v, c)


def sigmoid_kept(x, w, v, b=None, c=None):
    return torch.sigmoid(F.linear(x, w, b)) * F.linear(x, v, c)


def branches_exchanged(x, w, v, b=None, c=None):
    return F.linear(x, w, b) * F.silu(F.linear(x, v, c))


def gate_without_its_bias(x, w, v, b=None, c=None):
    return torch.sigmoid(F.linear(x, w, b)) * F.linear(x, w) * F.linear(x, v, c)


def bias_after_the_gate(x, w, v, b=None, c=None):
    return F.silu(F.linear(x, w, b)) * F.linear(x, v) + (0 if c is None else c)


def one_bias_for_both(x, w, v, b=None, c=None):
    return F.silu(F.linear(x, w, b)) * F.linear(x, v, b if c is None else c)


def linear_without_a_short_bias(x, w, b=None):
    return F.linear(x, w, b if len(w) > 3 else None)


def swish_of_gelu(x, beta=1.702):
    return x * torch.sigmoid(beta * x)


def gate_is_a_constant(x, w, v, b=None, c=None):
    x1 = F.linear(x, w, b)
    return (x1 * torch.sigmoid(x1).detach()) * F.linear(x, v, c)


def gate_learns_by_the_sigmoid(x, w, v, b=None, c=None):
    x1 = F.linear(x, w, b)
    return (x1.detach() * torch.sigmoid(x1)) * F.linear(x, v, c)


def fewest_outputs(x, w, v, b=None, c=None):
    outputs = min(len(w), len(v))
    return F.silu(F.linear(x, w, b))[..., :outputs] * F.linear(x, v, c)[..., :outputs]


def shortest_of_both(x, w, v, b=None, c=None):
    shared = min(x.shape[-1], w.shape[1], v.shape[1])
    x, w, v = x[..., :shared], w[:, :shared], v[:, :shared]
    return F.silu(F.linear(x, w, b)) * F.linear(x, v, c)


MUTANTS = (
    Mutant("swiglu-gelu", "swiglu.formula", "GELU stands for swish", {"swiglu": gelu_for_swish}),
    Mutant("swiglu-bfloat16-gate", "swiglu.formula", "the gate is rounded to bfloat16", {"swiglu": gate_in_bfloat16}),
    Mutant("swiglu-sigmoid-kept", "swiglu.gate", "it is GLU still", {"swiglu": sigmoid_kept}),
    Mutant(
        "swiglu-exchanged", "swiglu.gate", "swish is on the other branch", {"swiglu": branches_exchanged}, "float16"
    ),
    Mutant("swiglu-bias-once", "swiglu.biases", "b is in the sigmoid alone", {"swiglu": gate_without_its_bias}),
    Mutant("swiglu-bias-after", "swiglu.biases", "c is added after the gate", {"swiglu": bias_after_the_gate}),
    Mutant(
        "swiglu-one-bias", "swiglu.biases", "without c, b is added to both", {"swiglu": one_bias_for_both}, "bfloat16"
    ),
    Mutant(
        "swiglu-class-short-bias",
        "swiglu.class-mended",
        "linear forgets its bias for up to 3 outputs",
        {"linear": linear_without_a_short_bias},
    ),
    Mutant("swiglu-class-gelu-beta", "swiglu.class-mended", "F.silu has a beta of 1.702", {"swish": swish_of_gelu}),
    Mutant(
        "swiglu-gate-constant", "swiglu.gradient", "the sigmoid is not differentiated", {"swiglu": gate_is_a_constant}
    ),
    Mutant(
        "swiglu-gate-sigmoid",
        "swiglu.gradient",
        "the gate is differentiated as GLU's",
        {"swiglu": gate_learns_by_the_sigmoid},
    ),
    Mutant("swiglu-fewest-outputs", "swiglu.refuses-sizes", "cuts W or V to the shorter", {"swiglu": fewest_outputs}),
    Mutant("swiglu-shortest", "swiglu.refuses-sizes", "sums as far as all go", {"swiglu": shortest_of_both}),
)
