"""Implementations that are correct and compute in other ways: no law rejects one."""

from __future__ import annotations

import hypothesis
import pytest

from assay.implementations.contract import OPERATOR_NAMES
from assay.implementations.load import load
from assay.tests.mutants import soundness
from assay.tests.mutants.correct import VARIANTS, variant
from assay.tests.trial.laws import all_laws, under

# Each law tries a few examples here: python -m assay.tests.mutants.soundness has the budgets, seeds and all dtypes.
EXAMPLES = 2
# Sums in an order of their own take seconds for each large tensor: the others than these meet few of them here.
FAST = ("eager", "einsum", "rows", "correlated", "adjoint", "toeplitz", "fft", "winograd", "numpy", "numpy-vjp")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("module", dict.fromkeys(law.module for law in all_laws()))
def test_no_law_rejects_a_correct_implementation(module, dtype):
    laws = [law for law in all_laws() if law.module == module]
    names = FAST if module.endswith("test_large") else VARIANTS
    with under(hypothesis.settings(max_examples=EXAMPLES), laws):
        assert soundness.searched(names, dtype, None, laws).alarms == []


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_no_law_of_long_axes_rejects_sums_in_an_order_of_their_own(dtype):
    laws = [law for law in all_laws() if law.module.endswith("test_large")]
    with under(hypothesis.settings(max_examples=EXAMPLES, phases=[hypothesis.Phase.generate]), laws):
        assert soundness.searched(set(VARIANTS) - set(FAST), dtype, None, laws).alarms == []


def test_there_are_as_many_as_promised_and_several_for_each_operator():
    offered = [variant(name).operators for name in VARIANTS]
    assert len(VARIANTS) >= 25
    assert all(sum(operator in operators for operators in offered) >= 3 for operator in OPERATOR_NAMES)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_can_be_loaded_by_name(name):
    found, loaded = variant(name), load(f"assay.tests.mutants.correct:{name}")
    assert set(loaded.operators) == set(found.operators) - {"conv2d_parameters"}
    assert (loaded.array, loaded.gradients) == (found.array, found.gradients)


def test_a_wrong_implementation_is_an_alarm(monkeypatch):
    """The search itself sees what it looks for."""
    wrong = {"pad2d": lambda x, padding: x.new_ones(*x.shape[:-2], *(n + 2 * padding for n in x.shape[-2:]))}
    monkeypatch.setitem(VARIANTS, "wrong", type(VARIANTS["eager"])(wrong))
    laws = [law for law in all_laws() if law.name == "test_pad2d_adds_zeros_and_leaves_the_rest"]
    with under(hypothesis.settings(max_examples=EXAMPLES), laws):
        (alarm,) = soundness.searched(["eager", "wrong"], "float32", None, laws).alarms
    assert alarm.variant == "wrong"
    assert alarm.law.startswith("test_pad2d_adds_zeros") and alarm.said.startswith("NonConformance: padding is not")


def test_all_are_asked_the_same(monkeypatch):
    """What one law draws for the first, before its calls or between them, is what the others get."""
    asked = {"one": [], "another": []}

    def noting(name):
        def pad2d(x, padding):
            asked[name].append((x.tolist(), padding))
            return eager["pad2d"](x, padding)

        return type(VARIANTS["eager"])({"pad2d": pad2d})

    eager = VARIANTS["eager"].operators
    for name in asked:
        monkeypatch.setitem(VARIANTS, name, noting(name))
    laws = [law for law in all_laws() if law.name == "test_state_calls_in_another_order_give_the_same"]
    with under(hypothesis.settings(max_examples=10), laws):
        assert soundness.searched(asked, "float32", None, laws).alarms == []
    assert asked["one"] == asked["another"] != []
