"""Planted bugs of the gate: sigmoids that are nearly right, by errors of 1e-1 to 1e-12.

Each goes back as PyTorch does, so that only the values are wrong.
"""

from __future__ import annotations

import torch

from assay.tests.mutants.precision import F32, bug, gated_by, wide


def hard(t):
    return (t / 6 + 0.5).clamp(0, 1)


def rational_tanh(t):
    h = (t / 2).clamp(-3, 3)
    return 0.5 + 0.5 * h * (27 + h * h) / (27 + 9 * h * h)


def tabled(t):
    """The nearest of 64 entries a unit."""
    return torch.sigmoid((t * 64).round() / 64)


def interpolated(t):
    """Between the two nearest of 16 entries a unit."""
    low = (t * 16).floor()
    return torch.lerp(torch.sigmoid(low / 16), torch.sigmoid((low + 1) / 16), t * 16 - low)


def from_tanh(t):
    return 0.5 + 0.5 * torch.tanh(t / 2)


def one_minus_the_other(t):
    return 1 - 1 / (1 + torch.exp(t))


def bits_of_exp(t):
    """Schraudolph's exponential: t, scaled, is the bits of exp(t). Neural Computation 11 (1999)."""
    return (12102203.0 * t.clamp(-87, 87) + 1064866805.0).to(torch.int32).view(F32)


def compound(t):
    """exp(t) as (1 + t / 1024) ** 1024."""
    return (1 + t.clamp(-1000, 1000) / 1024) ** 1024


def taylor(degree):
    """exp(t) as a power of two and a polynomial of this degree."""

    def exp(t):
        t = t.clamp(-750, 750)
        k = (t * 1.4426950408889634).round()
        r, total = t - k * 0.6931471805599453, torch.ones_like(t)
        for n in range(degree, 0, -1):
            total = 1 + total * r / n
        return torch.ldexp(total, k.int())

    return exp


def two_steps(d):
    """1 / d by Newton's method from a guess at the bits; three steps would do."""
    y = (0x7EF311C3 - d.view(torch.int32)).view(F32)
    for _ in range(2):
        y = y * (2 - d * y)
    return torch.where(d > 8e37, 0.0, y)


def one_step(d):
    """1 / d by one step of Newton's method from bfloat16."""
    y = (1 / d).bfloat16().float()
    return torch.where(d > 8e37, 0.0, y * (2 - d * y))


def quotient(exp=torch.exp, reciprocal=torch.reciprocal):
    """sigmoid(t) as the reciprocal of 1 + exp(-t)."""
    return lambda t: reciprocal(1 + exp(-t))


def within_float32(t):
    return torch.sigmoid(t.float()).to(t.dtype)


def swish_by(sigmoid):
    return lambda x, beta=1.0: wide(x) * sigmoid(wide(x if beta is None else beta * x))


def silu_by(sigmoid):
    """A fast path for where beta is left out."""
    return lambda x, beta=None: wide(x) * (sigmoid(wide(x)) if beta is None else torch.sigmoid(wide(beta * x)))


def glu_by(sigmoid):
    return gated_by(lambda t: sigmoid(wide(t)))


def swiglu_by(sigmoid):
    return gated_by(lambda t: wide(t) * sigmoid(wide(t)))


def exponential_in_float16(x, beta=None):
    return x / (1 + torch.exp(-(x if beta is None else beta * x)))


MUTANTS = (
    bug("hard-sigmoid", "swish.formula", "hard swish: 1e-1", swish_by(hard), "bfloat16", difficulty="plain"),
    bug(
        "rational-tanh",
        "glu.formula",
        "tanh is a quotient of low degree: 1e-2",
        glu_by(rational_tanh),
        "float16",
    ),
    bug("table", "swiglu.formula", "the sigmoid is looked up in a table: 1e-3", swiglu_by(tabled), "float16"),
    bug("interpolated", "glu.formula", "the sigmoid's table is interpolated: 1e-4", glu_by(interpolated)),
    bug(
        "exponent-bits",
        "swiglu.formula",
        "the exponential is written into a float's bits: 1e-2",
        swiglu_by(quotient(bits_of_exp)),
        "bfloat16",
    ),
    bug(
        "compound-interest",
        "swish.formula",
        "exp(t) is (1 + t / 1024) ** 1024: 1e-3",
        swish_by(quotient(compound)),
        "float16",
    ),
    bug(
        "four-terms",
        "swish.silu",
        "without beta, the exponential is a polynomial of degree 4: 1e-5",
        silu_by(quotient(taylor(4))),
    ),
    bug(
        "five-terms",
        "glu.biases",
        "the exponential is a polynomial of degree 5: 1e-6",
        glu_by(quotient(taylor(5))),
    ),
    bug(
        "nine-terms",
        "swish.formula",
        "float64 has the exponential of a polynomial of degree 9: 1e-11",
        swish_by(quotient(taylor(9))),
        "float64",
    ),
    bug("from-tanh", "swiglu.formula", "(1 + tanh(t / 2)) / 2 cancels where the gate closes", swiglu_by(from_tanh)),
    bug(
        "one-minus-the-other",
        "glu.formula",
        "1 - sigmoid(-t) cancels where the gate closes",
        glu_by(one_minus_the_other),
    ),
    bug(
        "two-newton-steps",
        "glu.formula",
        "divides by two steps of Newton's method: 1e-3",
        glu_by(quotient(reciprocal=two_steps)),
    ),
    bug(
        "one-newton-step",
        "swiglu.formula",
        "divides by one step of Newton's method from bfloat16: 1e-5",
        swiglu_by(quotient(reciprocal=one_step)),
    ),
    bug(
        "float32-sigmoid",
        "swish.formula",
        "float64 has the sigmoid of float32: 1e-7",
        swish_by(within_float32),
        "float64",
    ),
    bug(
        "float32-gate",
        "glu.formula",
        "float64 has the gate of float32: 1e-7",
        glu_by(within_float32),
        "float64",
    ),
    bug(
        "float16-exponential",
        "swish.formula",
        "exp(12) overflows in float16, where the result does not vanish",
        exponential_in_float16,
        "float16",
        tier="special",
        difficulty="rare",
    ),
)
