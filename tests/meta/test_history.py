"""What a failure shows is all that it takes in a fresh process, and no more; where that was not found, it says so."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

from assay.implementations.channel import Message
from assay.implementations.contract import Implementation
from assay.implementations.isolated import Place, Worker, started
from assay.implementations.observe import Call
from assay.report.failures import record, text
from assay.tests.trial import history, judge
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.cases import Case
from assay.tests.trial.failure import ONCE, NonConformance, verdict_of
from assay.tests.trial.laws import all_laws
from assay.tests.trial.textures import Texture

HEAD = """
array = "numpy"
import os
import numpy as np
calls, kept, odd = 0, {}, False
def right(x, beta=1.0):
    with np.errstate(over="ignore"):
        return (x / (1 + np.exp(-beta * x.astype(float)))).astype(x.dtype)
"""
# What swish does besides, and the law that sees it.
AFTER_EIGHT = """
def swish(x, beta=1.0):
    global calls
    calls += 1
    return right(x, beta) + (calls > 8)
"""
BY_SHAPE = """
def swish(x, beta=1.0):
    return kept.setdefault(x.shape, right(x, beta)).copy()
"""
AFTER_NO_ELEMENTS = """
def swish(x, beta=1.0):
    global odd
    odd |= x.size == 0
    return right(x, beta) + (odd and x.size > 2)
"""
LARGE = """
def swish(x, beta=1.0):
    return np.where((x > 0.5) & (x == x.ravel()[:1]), 99, right(x, beta)).astype(x.dtype)
"""
ONCE_ONLY = """
def swish(x, beta=1.0):
    global calls
    calls += 1
    once = calls == 10 and not os.path.exists(__file__ + ".seen")
    if once:
        open(__file__ + ".seen", "w").close()
    return right(x, beta) + once
"""
# As a plan is kept by the shape of the weight and by the parameters; torch, for numpy has no conv2d.
BY_PLAN = """
import torch
array = "torch"
kernels = {}
def conv2d(input, weight, bias=None, stride=1, padding=0):
    kernel = kernels.setdefault((weight.shape, stride, padding), weight.detach().clone())
    return torch.nn.functional.conv2d(input, kernel, bias, stride, padding)
"""
# Its second way back is another; that of a call before which others were made is.
SECOND = """
import torch
array, gone = "torch", []
class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, times):
        ctx.save_for_backward(x)
        ctx.times, ctx.first = times, True
        return x * torch.sigmoid(x)
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        s, times = torch.sigmoid(x), ctx.times(ctx)
        ctx.first = False
        return times * g * (s + x * s * (1 - s)), None
"""
AGAIN = """
def swish(x, beta=1.0):
    return Swish.apply(x, lambda ctx: 1 if ctx.first else 2)
"""
BETWEEN = """
def swish(x, beta=1.0):
    gone.append(x)
    mine = len(gone)
    return Swish.apply(x, lambda ctx: 1 if len(gone) < mine + 8 else 2)
"""
# Of large layers, whose calls are not kept for later failures.
BY_THREADS = """
import torch
array = "torch"
def swish(x, beta=1.0):
    return x * torch.sigmoid(beta * x) + (torch.get_num_threads() == 5)
"""
LAWS = {law.name.removeprefix("test_"): law for law in all_laws()}
ENCLOSURE = "swish_stays_within_its_enclosure"
MEMORY = "state_new_values_in_the_same_memory_give_their_own_result"
MIRRORED = "swish_minus_its_mirror_image_is_x"
EMPTY = "contract_an_empty_batch_gives_an_empty_result"
IN_BETWEEN = "state_calls_in_between_change_no_gradient"
HUNDREDTH = "state_the_hundredth_call_is_as_right_as_the_first"


FIRST_CALL = """
import torch
array, one = "torch", []
def swish(x, beta=None):
    one.extend([] if one else [torch.ones((), dtype=x.dtype)])
    return x * torch.sigmoid(x * (one[0] if beta is None else beta))
"""
UNTAUGHT = "state_who_was_first_called_in_inference_can_learn"


@pytest.fixture
def judged(tmp_path):
    """A function: what is recorded of a kernel's failure by a law, or None."""
    made: list[Implementation] = []

    def judge_it(source, *names):
        path = tmp_path / "kernel.py"
        path.write_text(HEAD + source)
        made.append(started(str(path), Place(seconds=10.0)))
        dtype = "float32" if "torch" in source else "float64"
        return [failure(LAWS[name], Candidate(made[0], dtype)) for name in names][-1]

    yield judge_it
    made[0].worker.close()


def failure(law, candidate):
    try:
        law.function(candidate=candidate, **({"operator": "swish"} if law.operators else {}))
    except Exception as problem:
        found = verdict_of(problem)
        assert isinstance(found, NonConformance)
        return record(found, law, candidate, "here")
    return None


def printed(found, tmp_path):
    """The numbers that the script of a failure prints, every digit of them."""
    (tmp_path / "script.py").write_text(found["script"])
    line = "import runpy, numpy; numpy.set_printoptions(floatmode='unique'); runpy.run_path('script.py')"
    ran = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True, cwd=tmp_path)
    return [float(word) for word in re.findall(r"[-+.e\d]+", ran.stdout.partition("the wrong")[0])]


def numbers(told):
    """Those of x in what a report says of a call."""
    return [float(each) for each in re.findall(r"-?[\d.]+(?:e[-+]\d+)?", re.split(r"\)[:=, ]*", told.split(";")[0])[1])]


@pytest.mark.parametrize(
    ("source", "law", "before"),
    [(AFTER_EIGHT, ENCLOSURE, 8), (BY_SHAPE, ENCLOSURE, 1), (AFTER_EIGHT, HUNDREDTH, 8)],
    ids=["after eight calls", "by shape", "after eight of the same"],
)
def test_the_script_makes_the_calls_that_the_fault_takes_and_no_others(judged, tmp_path, source, law, before):
    found = judged(source, law)
    assert len(found["earlier_calls"]) == before
    assert found["got"] in printed(found, tmp_path)
    assert "the script below" in text(found)
    assert found["class"] == "state"  # whatever the law's tier


def test_what_stays_of_the_call_itself_is_shown_by_it_on_other_numbers(judged):
    found = judged(BY_SHAPE, ENCLOSURE)
    (earlier,), (x, *_) = found["earlier_calls"], found["input"]
    assert [-number for number in numbers(earlier)] == numbers(x)[::-1]


@pytest.mark.parametrize(("source", "between"), [(AGAIN, False), (BETWEEN, True)])
def test_calls_in_between_are_no_part_of_a_fault_of_going_back_twice(judged, source, between):
    found = judged(SECOND + source, IN_BETWEEN)
    assert ("before it goes back" in " ".join(found["input"])) is between
    assert found["class"] == "state"


def test_the_same_call_over_and_over_is_said_once(judged):
    found = judged(AFTER_EIGHT, HUNDREDTH)
    assert found["alone"] == ""  # the law makes all the calls by itself
    assert "(8 times)" in text(found)
    assert "for _ in range(9):" in found["script"]


def test_calls_of_another_law_are_found(judged, tmp_path):
    found = judged(AFTER_NO_ELEMENTS, EMPTY, MEMORY, ENCLOSURE)
    assert found["alone"] == history.BY_OTHERS
    assert len(found["earlier_calls"]) == 1
    assert "assay replay" not in text(found)  # which runs one law
    assert found["got"] in printed(found, tmp_path)


def test_calls_that_were_made_to_simplify_the_example_are_found(judged):
    found = judged(BY_PLAN, "conv2d_counts_each_element_under_the_kernel")
    assert (found["alone"], found["class"]) == (history.BY_OTHERS, "state")
    assert len(found["earlier_calls"]) == 1


def test_a_fault_of_one_call_is_not_laid_to_another(judged):
    found = judged(LARGE, MEMORY)
    assert (found["earlier_calls"], found["class"], found["alone"]) == ([], "precision", history.BY_ITSELF)
    assert "assay replay" in text(found) and "the script below" in text(found)


def test_what_a_large_layer_does_not_take_is_left_out(judged):
    found = judged(BY_THREADS, "state_other_settings_change_no_large_result")
    assert found["earlier_calls"] == []
    assert "while PyTorch is set to 5 threads" in found["input"]
    assert "torch.set_num_threads(5)" in found["script"]


@pytest.mark.parametrize(("memory", "words"), [("yes", ["", "new", "kept", ""]), ("no", [""] * 4)])
def test_who_keeps_no_memory_between_calls_is_asked_for_each_alone(memory, words):
    worker = Worker.__new__(Worker)
    worker.greeting = Message([("memory", memory)])
    calls = [Call("swish", {}, "float32", "cpu", in_turn=turned) for turned in (False, True, True, False)]
    assert history.as_asked(calls, worker) == list(zip(calls, words, strict=True))


def test_what_does_not_show_again_is_said_not_to(judged):
    found = judged(ONCE_ONLY, ENCLOSURE)
    assert found["alone"] == history.UNTRACED
    assert "the script below" not in text(found)
    assert history.UNTRACED in text(found)


def test_in_the_judges_own_process_it_is_known_from_hypothesis_alone():
    calls = []

    def swish(x, beta=1.0):
        calls.append(x)
        return x / (1 + np.exp(-beta * x)) + (len(calls) == 10)

    with np.errstate(all="ignore"):
        found = failure(LAWS[ENCLOSURE], Candidate(Implementation("own", {"swish": swish}, array="numpy"), "float64"))
    assert found["alone"] == ONCE


def test_the_next_law_meets_a_process_that_nobody_has_asked(judged):
    assert judged(AFTER_NO_ELEMENTS, EMPTY, MIRRORED, ENCLOSURE) is None


def test_of_several_calls_the_wrong_one_stands_last():
    """And those that were made after it are not shown."""
    wrong = Implementation("own", {"swish": lambda x, beta=1.0: x}, array="numpy")
    candidate = Candidate(wrong, "float64")
    cases = [Case("swish", {"x": (2,)}, {"x": Texture("normal", seed)}, {}) for seed in range(3)]
    seen = [candidate.ask(case) for case in cases]
    with pytest.raises(NonConformance) as raised:
        judge.answer_conforms(candidate, cases[1], seen[1])
    assert [call is each.call for call, each in zip(raised.value.calls, seen, strict=False)] == [True, True]


@pytest.mark.parametrize(("first", "wrong"), [("", True), ("swish(torch.ones(1))\n", False)])
def test_the_first_call_of_a_process_may_be_one_in_inference(judged, first, wrong):
    """Though other laws have called it long before, and recorded gradients."""
    found = judged(FIRST_CALL + first, MEMORY, UNTAUGHT)
    assert bool(found) is wrong
    assert not wrong or "does not learn after a first call in inference" in str(found)
