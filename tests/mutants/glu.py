"""GLU: planted bugs, one or more a clause."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from assay.tests.mutants.mutant import Mutant


def branches_exchanged(x, w, v, b=None, c=None):
    return torch.sigmoid(F.linear(x, v, c)) * F.linear(x, w, b)


def gate_in_bfloat16(x, w, v, b=None, c=None):
    return torch.sigmoid(F.linear(x, w, b)).bfloat16().to(x.dtype) * F.linear(x, v, c)


def hard_sigmoid(x, w, v, b=None, c=None):
    return (F.linear(x, w, b) / 4 + 0.5).clamp(0, 1) * F.linear(x, v, c)


def gates_in_reverse_when_many(x, w, v, b=None, c=None):
    gate = torch.sigmoid(F.linear(x, w, b))
    return (gate.flip(-1) if gate.shape[-1] > 16 else gate) * F.linear(x, v, c)


def gate_of_the_sum(x, w, v, b=None, c=None):
    x1 = F.linear(x, w, b)
    return torch.sigmoid(x1 + 1e-3 * (x1.mean(-1, keepdim=True) - x1)) * F.linear(x, v, c)


def bias_outside_the_sigmoid(x, w, v, b=None, c=None):
    return (torch.sigmoid(F.linear(x, w)) + (0 if b is None else b)) * F.linear(x, v, c)


def biases_exchanged(x, w, v, b=None, c=None):
    return torch.sigmoid(F.linear(x, w, c)) * F.linear(x, v, b)


def bias_after_the_gate(x, w, v, b=None, c=None):
    return torch.sigmoid(F.linear(x, w, b)) * F.linear(x, v) + (0 if c is None else c)


def gate_never_quite_closed(x, w, v, b=None, c=None):
    return torch.sigmoid(F.linear(x, w, b)).clamp_min(1e-4) * F.linear(x, v, c)


def exponentials_that_overflow(x, w, v, b=None, c=None):
    grown = torch.exp(F.linear(x, w, b))
    return grown / (1 + grown) * F.linear(x, v, c)


def gate_is_a_constant(x, w, v, b=None, c=None):
    return torch.sigmoid(F.linear(x, w, b).detach()) * F.linear(x, v, c) + 0 * F.linear(x, w, b)


def gate_forgets_half(x, w, v, b=None, c=None):
    x1 = F.linear(x.detach(), w, b)
    return torch.sigmoid(x1) * F.linear(x, v, c)


def fewest_outputs(x, w, v, b=None, c=None):
    outputs = min(len(w), len(v))
    return torch.sigmoid(F.linear(x, w, b))[..., :outputs] * F.linear(x, v, c)[..., :outputs]


def bias_cut_to_length(x, w, v, b=None, c=None):
    cut = None if c is None else F.pad(c, (0, max(0, len(v) - len(c))))[: len(v)]
    return torch.sigmoid(F.linear(x, w, b)) * F.linear(x, v, cut)


MUTANTS = (
    Mutant("glu-exchanged", "glu.formula", "the sigmoid is on the other branch", {"glu": branches_exchanged}),
    Mutant("glu-bfloat16-gate", "glu.formula", "the gate is rounded to bfloat16", {"glu": gate_in_bfloat16}),
    Mutant("glu-hard-sigmoid", "glu.formula", "the sigmoid is three straight lines", {"glu": hard_sigmoid}, "bfloat16"),
    Mutant(
        "glu-gates-reversed",
        "glu.product",
        "with more than 16 outputs the gates come in reverse order",
        {"glu": gates_in_reverse_when_many},
    ),
    Mutant("glu-gates-mixed", "glu.product", "a thousandth of every gate is the mean gate", {"glu": gate_of_the_sum}),
    Mutant("glu-bias-outside", "glu.biases", "b is added after the sigmoid", {"glu": bias_outside_the_sigmoid}),
    Mutant("glu-biases-exchanged", "glu.biases", "b and c are exchanged", {"glu": biases_exchanged}, "float16"),
    Mutant("glu-bias-after", "glu.biases", "c is added after the gate", {"glu": bias_after_the_gate}),
    Mutant("glu-leaks", "glu.closed-gate", "the gate closes to 1e-4 and no further", {"glu": gate_never_quite_closed}),
    Mutant(
        "glu-exponentials-overflow",
        "glu.closed-gate",
        "exp(t) / (1 + exp(t)) is NaN where exp(t) overflows",
        {"glu": exponentials_that_overflow},
    ),
    Mutant("glu-gate-constant", "glu.gradient", "the gate is not differentiated", {"glu": gate_is_a_constant}),
    Mutant("glu-gate-forgets-x", "glu.gradient", "x learns nothing through the gate", {"glu": gate_forgets_half}),
    Mutant("glu-fewest-outputs", "glu.refuses-sizes", "cuts W or V to the shorter", {"glu": fewest_outputs}),
    Mutant(
        "glu-bias-cut", "glu.refuses-sizes", "cuts c to length, or fills it with zeros", {"glu": bias_cut_to_length}
    ),
)
