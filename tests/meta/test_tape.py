"""Gradients by tape: equal to derivatives found otherwise, and enclosing every way in which they are computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assay.reference.arithmetic.enclosure import Enclosure
from assay.reference.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64
from assay.reference.arithmetic.precision import Precision
from assay.reference.arithmetic.primitives import EXACT, FLOAT
from assay.reference.arithmetic.tape import Tape
from assay.reference.tensor import Tensor
from assay.spec import OPERATORS
from assay.tests.meta.formulas import SHAPES, TRUE, a_case, true_max_pool2d, true_sigmoid
from assay.tests.meta.oracles import (
    FAMILIES,
    REAL,
    SEEDS,
    Machine,
    budget,
    inside,
    machines,
    real,
    under,
)

KINDS = st.tuples(*[st.sampled_from(FAMILIES)] * 3)


def gradients(inner, operator, arrays, cotangent):
    """The gradients by tape: an array of the inner arithmetic's numbers for each input."""
    tape, results = Tape(inner), []
    tensors = [Tensor(array.ravel().tolist(), array.shape, tape, str(k)) for k, array in enumerate(arrays)]
    for at, g in np.ndenumerate(cotangent):
        results.append((OPERATORS[operator].element(at, *tensors, *SHAPES[operator][1]), float(g)))
    gradient = tape.backward(results)
    found = [np.array([gradient(x, p) for p in range(len(x.values))], dtype=object) for x in tensors]
    return [flat.reshape(array.shape) for flat, array in zip(found, arrays, strict=True)]


STEP = REAL.mpf(10) ** -30  # a central difference errs by its square


def difference(operator, arrays, cotangent, k, at):
    """The derivative of sum(cotangent * result) by one element, as a central difference."""
    sides = []
    for step in (STEP, -STEP):
        moved = [array.astype(object) for array in arrays]
        moved[k][at] = real(arrays[k][at]) + step
        results = TRUE[operator](*moved)
        sides.append(REAL.fsum(real(float(g)) * real(results[place]) for place, g in np.ndenumerate(cotangent)))
    return (sides[0] - sides[1]) / (2 * STEP)


@pytest.mark.parametrize("operator", SHAPES)
@budget(4)
@given(seed=SEEDS)
def test_exact_gradients_are_derivatives(operator, seed):
    arrays, cotangent = a_case(operator, BFLOAT16, ("normal",), seed)
    found = gradients(EXACT, operator, arrays, cotangent)
    for k, array in enumerate(arrays):
        at = tuple(int(seed) % size for size in array.shape)
        slope = difference(operator, arrays, cotangent, k, at)
        assert abs(real(found[k][at]) - slope) < REAL.mpf(10) ** -45


@pytest.mark.parametrize("operator", SHAPES)
@budget(4)
@given(seed=SEEDS, kinds=KINDS)
def test_float_gradients_are_within_float64(operator, seed, kinds):
    arrays, cotangent = a_case(operator, FLOAT32, kinds, seed)
    floats = gradients(FLOAT, operator, arrays, cotangent)
    balls = gradients(Enclosure(Precision.strict(FLOAT64)), operator, arrays, cotangent)
    for got, permitted in zip(floats, balls, strict=True):
        assert all(g in ball for g, ball in zip(got.ravel(), permitted.ravel(), strict=True))


@budget(10)
@given(seed=SEEDS, kinds=KINDS)
def test_the_gradient_of_swish_is_its_closed_form(seed, kinds):
    """d swish / dx = s + beta x s (1 - s),  d swish / d beta = x^2 s (1 - s)."""
    (x, beta), g = a_case("swish", BFLOAT16, kinds, seed)
    by_x, by_beta = gradients(EXACT, "swish", [x, beta], g)
    s = [true_sigmoid(real(beta[0]) * real(v)) for v in x]
    total = REAL.fsum(real(g[i]) * real(x[i]) ** 2 * s[i] * (1 - s[i]) for i in range(len(x)))
    slope = real(g[0]) * (s[0] + real(beta[0]) * real(x[0]) * s[0] * (1 - s[0]))
    size = 1 + sum(abs(real(v)) for v in (*g, *x, *beta)) ** 4
    assert abs(real(by_x[0]) - slope) < size * REAL.mpf(10) ** -45
    assert abs(real(by_beta[0]) - total) < size * REAL.mpf(10) ** -45


# Going back as implementations do: eager code stores what it pleases between its steps, fused code nothing.


class Back(Machine):
    """A machine's backward passes."""

    def step(self, x):
        """A value computed, and perhaps stored."""
        return self.perhaps_stored(self.computed(x))

    def product(self, a, b):
        """A product computed, and perhaps stored."""
        return self.perhaps_stored(self.times(a, b))

    def sigmoid_slope(self, s):
        """s (1 - s)."""
        return self.product(s, self.step(1 - s))

    def swish(self, x, g, beta=1):
        """(gradient by x, gradient by t = beta x): eager, or as silu has it, g s (1 + t (1 - s))."""
        t = self.perhaps_stored(self.times(real(beta), x))
        s = self.perhaps_stored(self.sigmoid(t))
        by_t = self.product(self.product(g, x), self.sigmoid_slope(s))
        if self.choice.random() < 0.5:
            return self.stored(self.computed(self.product(g, s) + self.product(by_t, real(beta)))), by_t
        grown = self.step(1 + self.product(t, self.step(1 - s)))
        factors = (g, self.product(s, grown)) if self.choice.random() < 0.5 else (self.product(g, s), grown)
        return self.stored(self.times(*factors)), by_t

    def gated(self, activation, x1, x2, g):
        """(gradient by x1, gradient by x2) of activation(x1) * x2."""
        g, s = real(float(g)), self.perhaps_stored(self.sigmoid(x1))
        gate = s if activation == "sigmoid" else self.product(x1, s)
        back = self.product(g, x2)
        if activation == "sigmoid":
            return self.stored(self.times(back, self.sigmoid_slope(s))), self.stored(self.times(g, gate))
        return self.swish(x1, back)[0], self.stored(self.times(g, gate))

    def gradient(self, gs, ws=None):
        """A stored sum of gradients, or of gradients times factors."""
        return self.stored(self.total(gs) if ws is None else self.dot(gs, ws))


def backs():
    return machines().map(lambda machine: Back(machine.precision, machine.rounding, machine.seed))


def held(found, got):
    """Every simulated gradient of an input lies in its enclosure."""
    return all(inside(value, found[at]) for at, value in got.items())


@budget(150)
@given(machine=backs(), seed=SEEDS, kinds=KINDS)
def test_gradients_of_swish_are_enclosed(machine, seed, kinds):
    (x, beta), g = a_case("swish", machine.precision.storage, kinds, seed)
    beta = np.ones(1) if machine.choice.random() < 0.5 else beta
    by_x, by_beta = gradients(under(machine), "swish", [x, beta], g)
    went = [machine.swish(real(x[i]), real(g[i]), beta[0]) for i in range(len(x))]
    parts = [machine.product(by_t, real(x[i])) for i, (_, by_t) in enumerate(went)]
    assert held(by_x, {i: by for i, (by, _) in enumerate(went)})
    assert held(by_beta, {0: machine.gradient(parts)})


@pytest.mark.parametrize("operator", ("glu", "swiglu"))
@budget(60)
@given(machine=backs(), seed=SEEDS, kinds=st.tuples(st.sampled_from((*FAMILIES, *["zeros"] * 4)), KINDS, KINDS))
def test_gradients_of_gated_units_are_enclosed(operator, machine, seed, kinds):
    kinds = (kinds[0], *kinds[1], *kinds[2])  # where x is zero, b alone is the gate's argument
    (x, w, v, b, c), g = a_case(operator, machine.precision.storage, kinds, seed)
    by_x, by_w, by_v, by_b, by_c = gradients(under(machine), operator, [x, w, v, b, c], g)
    activation = "sigmoid" if operator == "glu" else "swish"
    n, o, k = machine.choice.randrange(2), machine.choice.randrange(4), machine.choice.randrange(3)

    def back(n, o):
        x1, x2 = (machine.perhaps_stored(machine.dot(x[n], m[o], a[o])) for m, a in ((w, b), (v, c)))
        return machine.gated(activation, x1, x2, g[n, o])

    column = [back(n, o) for n in range(2)]
    row = [back(n, o) for o in range(4)]
    for found, which, factors in ((by_w, 0, x[:, k]), (by_v, 1, x[:, k])):
        assert held(found, {(o, k): machine.gradient([pair[which] for pair in column], factors)})
    for found, which in ((by_b, 0), (by_c, 1)):
        assert held(found, {(o,): machine.gradient([pair[which] for pair in column])})
    gs, ws = [[pair[which] for pair in row] for which in (0, 1)], [w[:, k], v[:, k]]
    if machine.choice.random() < 0.5:  # one product of [gate, up] and [w; v]
        assert held(by_x, {(n, k): machine.gradient(gs[0] + gs[1], [*ws[0], *ws[1]])})
    else:
        parts = [machine.gradient(g, w) for g, w in zip(gs, ws, strict=True)]
        assert held(by_x, {(n, k): machine.stored(machine.computed(parts[0] + parts[1]))})


def conv2d_pairs(input, weight, g):
    """What each element of input and weight is multiplied with going back: by loops over everything."""
    (down, right), (above, before) = SHAPES["conv2d"][1]
    by_input, by_weight = {}, {}
    for (n, o, i, j), value in np.ndenumerate(g):
        for c, a, b in np.ndindex(*weight.shape[1:]):
            at = (n, c, i * down - above + a, j * right - before + b)
            if 0 <= at[2] < input.shape[2] and 0 <= at[3] < input.shape[3]:
                by_input.setdefault(at, []).append((value, weight[o, c, a, b]))
                by_weight.setdefault((o, c, a, b), []).append((value, input[at]))
    return by_input, by_weight


@budget(25)
@given(machine=backs(), seed=SEEDS, kinds=KINDS)
def test_gradients_of_conv2d_are_enclosed(machine, seed, kinds):
    (input, weight, bias), g = a_case("conv2d", machine.precision.storage, kinds, seed)
    found = gradients(under(machine), "conv2d", [input, weight, bias], g)
    for by, pairs in zip(found, conv2d_pairs(input, weight, g), strict=False):
        for at in machine.choice.sample(sorted(pairs), 3):
            assert held(by, {at: machine.gradient(*zip(*pairs[at], strict=True))})
    assert held(found[2], {(1,): machine.gradient(g[:, 1].ravel())})


@budget(25)
@given(machine=backs(), seed=SEEDS, kinds=KINDS)
def test_gradients_of_max_pool2d_are_enclosed(machine, seed, kinds):
    (input,), g = a_case("max_pool2d", machine.precision.storage, kinds, seed)
    taken = {}
    for (n, c, i, j), largest in true_max_pool2d(input).items():
        (place,) = zip(*np.nonzero(input[n, c] == largest), strict=True)
        taken.setdefault((n, c, *place), []).append(g[n, c, i, j])
    (found,) = gradients(under(machine), "max_pool2d", [input], g)
    assert held(found, {at: machine.gradient(parts) for at, parts in taken.items()})
    assert all(ball.margin(0.0) == 0.0 for at, ball in np.ndenumerate(found) if at not in taken)


@pytest.mark.parametrize(
    ("fmt", "x", "g", "got"),
    [
        (BFLOAT16, 0.0390625, 1.234375, "0.6328"),
        (FLOAT16, -17.328125, 1.5, "-1.967e-06"),
        (FLOAT16, -10.5, 0.0010833740234375, "-5.96e-07"),  # g s has underflowed before it meets 1 + x (1 - s)
    ],
    ids=("bfloat16", "float16", "float16-underflow"),
)
def test_a_gradient_whose_every_step_is_stored_is_enclosed(fmt, x, g, got):
    """(g s) (1 + x (1 - s)), eager, in PyTorch's own arithmetic."""
    dtype = getattr(torch, fmt.name)
    wide, s = torch.tensor(x, dtype=dtype), torch.sigmoid(torch.tensor(x, dtype=dtype))
    slope = torch.tensor(g, dtype=dtype) * s * (1 + wide * (1 - s))
    by_x, _ = gradients(Enclosure(Precision.strict(fmt)), "swish", [np.array([x]), np.ones(1)], np.array([g]))
    assert f"{float(slope):.4g}" == got and float(slope) in by_x[0]


def test_a_slope_whose_every_step_is_stored_is_enclosed():
    """d swish / d beta = ((g x) (s (1 - s))) x at beta = 1, every step away from zero by storage's roundoff."""
    machine = Back(Precision.strict(BFLOAT16), "away", 0)
    machine.habit, x, g = 1.0, -5.03125, 1.328125
    _, by_t = machine.swish(real(x), real(g))
    _, by_beta = gradients(under(machine), "swish", [np.array([x]), np.ones(1)], np.array([g]))
    assert held(by_beta, {0: machine.stored(machine.product(by_t, real(x)))})


def test_a_subnormal_input_may_be_flushed_going_back_too():
    """dw = g x, with x below the normal numbers and g far above 1."""
    flushing = Enclosure(Precision.declared(FLOAT32, {"flush": True}))
    arrays = [np.array([[2.0**-130]]), np.array([[1.0]]), np.array([0.0])]
    assert 0.0 in gradients(flushing, "linear", arrays, np.array([[2.0**100]]))[1][0, 0]


def test_a_fused_gradient_may_add_both_operators_products_in_one_sum():
    """x = 0 and c = 2: dx = sum(w) + sum(v), one large term and 15 that float32 loses beside it, one by one."""
    tiny, outputs = 0.49 * 2.0**-23, 8
    w, v = np.full((outputs, 1), FLOAT32.round(tiny)), np.full((outputs, 1), FLOAT32.round(tiny))
    v[0, 0] = 1.0
    arrays = [np.zeros((1, 1)), w, v, np.zeros(outputs), np.full(outputs, 2.0)]
    by_x, *_ = gradients(Enclosure(Precision.strict(FLOAT32)), "glu", arrays, np.full((1, outputs), 2.0))
    total = np.float32(0.0)
    for term in sorted([*w.ravel(), *v.ravel()], reverse=True):
        total += np.float32(term)
    assert total == 1.0 and total in by_x[0, 0]
