"""The judge passes what conforms, and says of what does not where, how far and under what it would."""

from __future__ import annotations

import contextlib
import math
from functools import partial

import numpy as np
import pytest
import torch

from assay.implementations.contract import Implementation
from assay.implementations.load import load
from assay.implementations.observe import Call, Observation
from assay.reference.arithmetic.precision import Refusal
from assay.report import failures
from assay.tests.conformance.test_contract import demand_device
from assay.tests.trial import history, judge, simplify, suspects, whole
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.cases import Case
from assay.tests.trial.failure import NonConformance
from assay.tests.trial.laws import all_laws
from assay.tests.trial.suspects import WORST
from assay.tests.trial.textures import Texture

TORCH = load("torch")
LINEAR = Case(
    "linear",
    {"x": (3, 32), "w": (4, 32), "b": (4,)},
    {name: Texture("positive", seed) for seed, name in enumerate(("x", "w", "b"))},
    terms=32,
    incoming=Texture("normal", 9),
)
INTEGERS = LINEAR.changed(textures={name: Texture("integers", k) for k, name in enumerate(("x", "w", "b"))})


def candidate(dtype="float32", precision=None, **operators):
    """PyTorch with some operators replaced."""
    return Candidate(Implementation("planted", {**TORCH.operators, **operators}, precision=precision or {}), dtype)


@pytest.mark.parametrize(
    ("asked", "found", "holds"),
    [("cpu", "cpu", 1), ("cuda", "cuda:0", 1), ("cuda:1", "cuda:1", 1), ("cuda:1", "cuda:0", 0), ("cuda", "cpu", 0)],
)
def test_a_result_is_on_the_device_that_was_asked_for(asked, found, holds):
    seen = Observation(Call("swish", {}, "float32", asked), device=found)
    with contextlib.nullcontext() if holds else pytest.raises(NonConformance, match=f"on {found} for inputs on"):
        demand_device(seen, asked)


def off_by(factor, at):
    """linear whose element ``at`` is a little too large."""

    def linear(x, w, b=None):
        y = torch.nn.functional.linear(x, w, b).clone()
        y[at] *= factor
        return y

    return linear


def failure(verdict, *given):
    with pytest.raises(NonConformance) as raised:
        verdict(*given)
    return raised.value


@pytest.mark.parametrize("dtype", ("float64", "float32", "bfloat16", "float16"))
def test_what_conforms_passes_and_is_counted(dtype):
    seen = candidate(dtype)
    judge.conforms(seen, LINEAR)
    judge.gradient_conforms(seen, LINEAR)
    judge.conforms_exactly(seen, INTEGERS)
    sampled = 12 + 2 * 16 + 4 + 12  # and as many of x and of w as were suspected
    assert sampled <= seen.tally.compared <= sampled + 2 * (WORST + 1) and 0.0 < seen.tally.margin <= 1.0


def test_one_wrong_element_is_found_and_measured():
    wrong = failure(judge.conforms, candidate(linear=off_by(1.0001, (2, 1))), LINEAR)
    assert (wrong.index, wrong.wrong, wrong.judged, wrong.subject) == ((2, 1), 1, 12, "result")
    first_order = 1e-4 / (33 * 2**-24)
    assert first_order / 1.2 < wrong.margin < first_order * 1.2
    low, high = wrong.permitted
    assert low < wrong.exact < high < wrong.got


def test_the_worst_of_several_wrong_elements_is_named():
    def linear(x, w, b=None):
        y = torch.nn.functional.linear(x, w, b)
        return y * (1 + 1e-4 * torch.arange(12.0).reshape(3, 4))

    wrong = failure(judge.conforms, candidate(linear=linear), LINEAR)
    assert (wrong.index, wrong.wrong) == ((2, 3), 11)


def test_an_integer_off_by_one_is_not_exact():
    def linear(x, w, b=None):
        y = torch.nn.functional.linear(x, w, b).clone()
        y[0, 0] += 1
        return y

    wrong = failure(judge.conforms_exactly, candidate(linear=linear), INTEGERS)
    assert (wrong.index, wrong.margin, wrong.got - wrong.exact) == ((0, 0), math.inf, 1.0)


def bfloat16_sums(x, w, b=None):
    total = x.new_zeros(*x.shape[:-1], w.shape[0]) if b is None else b
    for k in range(x.shape[-1]):
        total = total + x[..., k : k + 1] * w[:, k]
    return total


def test_a_failure_says_under_which_declaration_it_would_hold():
    wrong = failure(judge.conforms, candidate("bfloat16", linear=bfloat16_sums), LINEAR)
    assert str(wrong.hint).startswith("would hold, with a margin of ")
    assert str(wrong.hint).endswith("under precision = {'linear.forward.bfloat16': {'accumulation': 'storage'}}")


def test_what_is_declared_is_what_is_judged():
    declared = {"linear.forward.bfloat16": {"accumulation": "storage"}}
    judge.conforms(candidate("bfloat16", declared, linear=bfloat16_sums), LINEAR)


def bfloat16_operands(x, w, b=None):
    return torch.nn.functional.linear(x.bfloat16().float(), w.bfloat16().float(), b)


def test_a_hint_goes_on_from_what_is_declared():
    declared = {"linear.forward.float32": {"operands": "tf32", "spreads": True}}
    case = LINEAR.changed(shapes={"x": (9, 1), "w": (4, 1)})
    wrong = failure(judge.conforms, candidate(precision=declared, linear=bfloat16_operands), case)
    assert str(wrong.hint).endswith("{'linear.forward.float32': {'operands': 'bfloat16', 'spreads': True}}")


def first_row_twice(x, w, b=None):
    return torch.nn.functional.linear(x, w[[0, 0]], b)


@pytest.mark.parametrize(("linear", "rounds"), [(bfloat16_operands, True), (first_row_twice, False)])
def test_a_hint_stays_where_zeros_and_ones_are_right(linear, rounds):
    """Two numbers may be as near to each other as if one were the other's rounding."""
    textures = {"x": Texture("ones"), "w": Texture("zeros", 0, ((0, 1.0), (1, 1.001)))}
    case = Case("linear", {"x": (1, 1), "w": (2, 1)}, textures)
    asked = candidate(linear=linear)
    wrong = failure(judge.conforms, asked, case)
    assert "bfloat16" in str(wrong.hint)
    assert simplify.Search(judge.conforms, asked, {"case": case}, wrong).only_rounds() is rounds


def without_its_last_row(x, w, b=None):
    y = torch.nn.functional.linear(x, w, b)
    return torch.cat([y[:-1], 0 * y[-1:]])


@pytest.mark.parametrize(("linear", "rounds"), [(bfloat16_operands, True), (without_its_last_row, False)])
def test_a_hint_stays_where_it_holds_for_other_numbers(linear, rounds):
    """A row that is left out may have been so small, beside the others, that it could be a rounding."""
    textures = {"x": Texture("zeros", 0, ((0, 8.015625), (1, 0.03))), "w": Texture("ones")}
    case = Case("linear", {"x": (2, 1), "w": (1, 1)}, textures, {}, 2, 0, Texture("ones"))
    asked = candidate(linear=linear)

    def law(candidate, case):
        judge.gradient_conforms(candidate, case, ("w",))

    wrong = failure(law, asked, case)
    assert "bfloat16" in str(wrong.hint)
    state = {"case": case}
    assert simplify.Search(law, asked, state, wrong).holds_under(wrong.hint, state) is rounds


def test_what_would_permit_nearly_anything_is_no_hint():
    """TF32 would permit errors of 1e-13, and has nothing to do with them."""
    case = Case("swish", {"x": (3,)}, {"x": Texture("normal", 1)})
    off = candidate("float64", swish=lambda *given: TORCH.operators["swish"](*given) * (1 + 1e-13))
    assert failure(judge.gradient_conforms, off, case).hint is None


def test_a_failure_that_nothing_would_mend_gives_no_hint():
    assert failure(judge.conforms, candidate(linear=off_by(1.5, (0, 0))), LINEAR).hint is None


def test_an_algorithm_without_a_bound_cannot_be_judged():
    by_fft = candidate(precision={"linear.forward.float32": {"algorithm": "fft"}})
    with pytest.raises(Refusal):
        judge.conforms(by_fft, LINEAR)
    zeros = np.zeros((3, 4))
    with pytest.raises(Refusal):
        judge.same_results(by_fft, "of two calls", zeros, zeros)


@pytest.mark.parametrize(
    ("linear", "words"),
    [
        (lambda x, w, b: None, "linear returned NoneType, not a plain array of its library"),
        (lambda x, w, b: (x @ w.T + b).double(), "linear returned dtype float64 for inputs of dtype float32"),
        (lambda x, w, b: (x @ w.T + b).T, "linear returned shape (4, 3) where the formula gives (3, 4)"),
        (lambda x, w, b: x[99], "linear raised IndexError"),
    ],
    ids=("none", "dtype", "shape", "raises"),
)
def test_an_answer_that_is_none_is_told_as_what_it_is(linear, words):
    assert failure(judge.conforms, candidate(linear=linear), LINEAR).what.startswith(words)


def test_a_result_of_another_shape_is_told_where_a_law_has_values_of_its_own():
    wrong = Candidate(Implementation("wrong", {"linear": lambda x, w, b=None: (x @ w.T).squeeze()}), "float32")
    with pytest.raises(
        NonConformance, match=r"linear returned shape \(4,\) where the formula gives \(1, 4\)"
    ) as caught:
        wrong.values("linear", np.ones((1, 3)), np.ones((4, 3)))
    assert caught.value.malformed
    assert wrong.values("linear", np.ones((2, 3)), np.ones((4, 3))).shape == (2, 4)


def test_a_gradient_that_is_missing_or_wrong_is_named():
    detached = failure(judge.gradient_conforms, candidate(linear=lambda x, w, b: x @ w.detach().T + b), LINEAR)
    scaled = failure(
        judge.gradient_conforms, candidate(linear=lambda x, w, b: x @ (w + w.detach()).T / 2 + b), LINEAR, ("w",)
    )
    assert (detached.subject, scaled.subject) == ("gradient of w", "gradient of w")
    assert "gave no gradient for w" in detached.what and scaled.margin > 1.0


def test_an_undetermined_element_is_counted_and_not_compared():
    big = Texture("zeros", 0, tuple((k, 3e38) for k in range(64)))
    case = LINEAR.changed(shapes={"x": (1, 2), "w": (1, 2)}, textures={"x": big, "w": big})
    seen = candidate()
    judge.conforms(seen, case)
    assert (seen.tally.undetermined, seen.tally.compared) == (1, 0)


def test_of_sums_that_are_too_long_for_a_bound_nothing_is_required_and_the_tally_says_so():
    """Where the result is such a sum, or a gradient is; one term fewer is judged."""
    declared = {f"linear.{way}.bfloat16": {"accumulation": "storage"} for way in ("forward", "backward")}

    def asked(judged, x, w):
        zeros = candidate("bfloat16", declared, linear=lambda x, w, b=None: 0 * (x @ w.T))
        judged(zeros, LINEAR.changed(shapes={"x": x, "w": w}, terms=w[1], incoming=Texture("positive", 9)))
        return zeros.tally

    by_w = partial(judge.gradient_conforms, names=("w",))
    for judged, long, short in (
        (judge.conforms, ((1, 128), (1, 128)), ((1, 127), (1, 127))),
        (by_w, ((128, 1), (1, 1)), ((127, 1), (1, 1))),
    ):
        said = "accumulation=bfloat16 is declared, under which sums of more than 127 terms have no useful bound"
        assert (asked(judged, *long).compared, asked(judged, *long).left_out) == (0, said)
        assert failure(asked, judged, *short).margin > 1.0


def test_arrays_are_held_to_each_other_but_for_the_sign_of_zero():
    seen = candidate()
    judge.same_arrays(seen, "alike", np.array([0.0, np.nan, 1.0]), np.array([-0.0, np.nan, 1.0]))
    wrong = failure(judge.same_arrays, seen, "unlike", np.array([0.0, np.nan]), np.array([0.0, 1.0]))
    assert (wrong.what, wrong.index, wrong.exact) == ("unlike", (1,), 1.0)
    assert (
        failure(judge.same_arrays, seen, "short", np.zeros(1), np.zeros(2)).what == "short: shape (1,), expected (2,)"
    )


def test_a_whole_result_and_a_whole_gradient_name_the_wrong_element_of_the_last_call():
    """Which the script of the failure prints by itself."""
    result = failure(whole.result_is_exact, candidate(linear=off_by(3.0, (1, 2))), INTEGERS)
    twice = candidate(linear=lambda x, w, b: x @ (2.0 * w - w.detach()).T + b)
    gradient = failure(whole.gradients_are_exact, twice, INTEGERS.changed(incoming=Texture("integers", 9)))
    assert (result.subject, result.index, result.of_last) == ("result", (1, 2), True)
    assert (gradient.subject, gradient.of_last) == ("gradient of w", True)


@pytest.mark.parametrize("shape", ((3, 4), (1,), (0, 5), (100, 100), (7, 8, 9, 10)))
def test_a_sample_has_the_corners_and_no_element_twice(shape):
    sample = suspects._sample(3, shape, 40)
    assert len(sample) == len(set(sample)) == min(40, math.prod(shape))
    assert all(0 <= i < size for at in sample for i, size in zip(at, shape, strict=True))
    assert not sample or {(0,) * len(shape), tuple(size - 1 for size in shape)} <= set(sample)


@pytest.mark.parametrize(
    ("linear", "told"), [(lambda x, w: x, True), (lambda *given: [][0], False), (lambda *given: 1 + [], False)]
)
def test_who_does_not_take_the_arguments_is_told_the_signature(linear, told):
    """And who raises for another reason is not."""
    asked = candidate(linear=linear)
    problem = failure(judge.conforms, asked, LINEAR)
    (law,) = (law for law in all_laws() if law.name == "test_linear_of_integers_is_exact")
    words = failures.text(failures.record(problem, law, asked, "here"))
    assert ("  contract   linear(x, w, b=None), arguments by position\n" in words) is told


def test_what_raised_or_cannot_be_judged_is_of_no_tier():
    """A kernel that raises is not imprecise."""
    plain = {"what": "swish raised TypeError: no", "malformed": True}
    kinds = [NonConformance(**plain, kind="exception"), NonConformance(**plain), NonConformance("it is wrong")]
    assert [history.class_of(each, "enclosure") for each in kinds] == ["exception", "malformed", "precision"]


def test_who_refuses_to_go_back_twice_goes_back_once():
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.gone = False
            return x.clone()

        @staticmethod
        def backward(ctx, incoming):
            if ctx.gone:
                raise RuntimeError("gone")
            ctx.gone = True
            return incoming

    candidate = Candidate(Implementation("once", {"swish": lambda x, beta=1.0: Once.apply(x)}), "float64")
    case = Case("swish", {"x": (2,)}, {"x": Texture("ones")}, incoming=Texture().holding(np.full(2, 3.0), 1))
    seen = candidate.ask_gradient(case, twice=True)
    assert (seen.raised, seen.gradients["x"].tolist()) == ("", [3.0, 3.0])
