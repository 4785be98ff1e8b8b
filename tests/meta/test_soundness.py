"""Implementations that are correct and compute in other ways: no law rejects one."""

from __future__ import annotations

import hypothesis
import pytest

from assay.implementations.contract import OPERATOR_NAMES
from assay.implementations.load import load
from assay.tests.mutants import soundness
from assay.tests.mutants.correct import VARIANTS, variant
from assay.tests.trial import permitted
from assay.tests.trial.laws import all_laws, at_budget, under

# Each law tries a few examples here: python -m assay.tests.mutants.soundness has the budgets, seeds and all dtypes.
EXAMPLES = {"float32": 2, "bfloat16": 1}
# Files about how it is called, and not about its numbers.
MANNERS = ("layouts", "manners", "test_state", "lifetimes", "threads", "habits", "training", "leftovers")
# They differ in what they do besides adding up: in what they keep, how they go back, and how results lie.
CONDUCT = ("checkpointed", "recomputed", "chunked", "buffered", "own-gradient", "numpy-vjp", "channels-last")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("module", dict.fromkeys(law.module for law in all_laws()))
def test_no_law_rejects_a_correct_implementation(module, dtype):
    """Long axes, long sums, manners of calling, and what is tried from the gate on are put to two who are fast, to one
    in 16 bits, and to all by the command; in float32 manners, and laws of own cases, to those, too, who differ in
    conduct. PyTorch itself, which is the first of the fast, is judged by its own tests."""
    settings = hypothesis.settings(max_examples=EXAMPLES[dtype])
    laws = [law for law in all_laws() if law.module == module]
    conduct = [law for law in laws if soundness.of_own_cases(law) or module.endswith(MANNERS)]
    slow = [law for law in laws if soundness.of_large_cases(law) or law.tier == "statistics"]
    slow += [law for law in laws if not law.belongs_to("quick")]
    short = [law for law in laws if law not in conduct + slow]
    with at_budget(settings, laws):
        assert soundness.searched(VARIANTS, dtype, None, short).alarms == []
        fast = soundness.FAST[1 : 3 if dtype == "float32" else 2]
        assert soundness.searched(fast, dtype, None, [law for law in laws if law not in short]).alarms == []
        if dtype == "float32":
            assert soundness.searched(CONDUCT, dtype, None, conduct).alarms == []


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
    with under(hypothesis.settings(max_examples=2), laws):
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


def test_who_is_slow_meets_the_smaller_of_the_large_cases(monkeypatch):
    """And is not called silent where there is none."""
    laws = [law for law in all_laws() if law.name == "test_linear_of_long_axes_is_exact"]
    with under(hypothesis.settings(phases=[hypothesis.Phase.explicit]), laws):
        found = soundness.searched(["eager", "sorted"], "float32", None, laws)
        monkeypatch.setattr(soundness, "TERMS", 0)
        none = soundness.searched(["sorted"], "float32", None, laws)
    assert found.alarms == none.alarms == []
    assert 0 == none.examples["sorted"] < found.examples["sorted"] < found.examples["eager"]


def test_who_is_slow_meets_all_of_the_other_laws(monkeypatch):
    monkeypatch.setattr(soundness, "TERMS", 0)
    laws = [law for law in all_laws() if law.name == "test_linear_of_integers_is_exact"]
    with under(hypothesis.settings(max_examples=2), laws):
        found = soundness.searched(["eager", "sorted"], "float32", None, laws)
    assert 0 < found.examples["sorted"] == found.examples["eager"]


def test_a_declaration_without_a_bound_is_no_alarm(monkeypatch):
    """It cannot be judged, which is not to be rejected; where nothing at all can be judged, that is said."""
    words = {"linear.forward.bfloat16": {"accumulation": "storage"}}
    monkeypatch.setitem(
        VARIANTS, "coarse", type(VARIANTS["eager"])({"linear": VARIANTS["eager"].operators["linear"]}, words)
    )
    laws = [law for law in all_laws() if law.name == "test_linear_of_long_axes_is_exact"]
    with under(hypothesis.settings(phases=[hypothesis.Phase.explicit]), laws):
        assert soundness.searched(["coarse"], "bfloat16", None, laws).alarms == []


def test_what_stands_beside_a_law_is_tried_at_the_first_seed_alone(monkeypatch):
    """It would be the same again, and most of what the laws of long axes cost."""
    monkeypatch.setattr(permitted.KEPT, "size", permitted.KEPT.size)
    module = next(law.module for law in all_laws() if law.module.endswith("test_pad2d"))
    task = module, "float32"
    first, later = (soundness.work((*task, seed), "quick", ["numpy"], 1)["examples"]["numpy"] for seed in (1, 2))
    assert 0 < later < first


def test_laws_that_draw_nothing_are_tried_at_the_first_seed_alone(monkeypatch):
    monkeypatch.setattr(permitted.KEPT, "size", permitted.KEPT.size)
    module = next(law.module for law in all_laws() if law.module.endswith("test_lifetimes"))
    assert soundness.work((module, "float32", 2), "quick", ["numpy"], 1)["laws"] == {}


def test_what_a_transform_leaves_where_nothing_belongs_is_no_alarm():
    """Next to nothing of an infinity is none, where what is not finite is summed directly."""
    laws = [law for law in all_laws() if law.name == "test_an_overflow_that_comes_back_to_conv2d_is_seen"]
    found = soundness.searched(["fft-finite"], "float32", None, laws)
    assert found.alarms == [] and found.examples["fft-finite"]


def test_laws_are_chosen_by_words_of_their_names(capsys):
    words = ["--laws", "test pad2d adds zeros and leaves", "--seeds", "1", "--variants", "numpy", "--dtypes", "float32"]
    assert soundness.main(words) == 0
    assert "1 of 1 searches" in capsys.readouterr().out


def test_words_in_no_name_are_an_error(capsys):
    with pytest.raises(SystemExit):
        soundness.main(["--laws", "nothing of the kind"])
    assert "'nothing of the kind' is in the name of no law" in capsys.readouterr().err
