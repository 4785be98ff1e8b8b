"""A script asks for what a call says in the way that the judge does: what is passed on, late, or in threads."""

import gc
import runpy
import threading
import types

import numpy as np
import pytest
import torch

from assay.implementations.arrays import Argument
from assay.implementations.contract import Implementation
from assay.implementations.going_back import THREADS
from assay.implementations.observe import Call, observe, observe_in_turn
from assay.report.script import script

BACK = {"cotangent": Argument(np.ones(2)), "differentiate": ("x",)}


def a_call(value=1.0, **more):
    return Call("swish", {"x": Argument(np.full(2, value))}, "float32", "cpu", **more)


def by_both(folder, calls, swish, noted):
    """What is noted when the judge asks, and when the script does."""
    found = []
    (folder / "script.py").write_text(script("", "torch", calls, "wrong"))
    for ask in (
        lambda: (
            observe_in_turn(Implementation("own", {"swish": swish}), calls)
            if calls[0].in_turn
            else observe(Implementation("own", {"swish": swish}), calls[0])
        ),
        lambda: runpy.run_path(str(folder / "script.py"), {"candidate": types.SimpleNamespace(swish=swish)}),
    ):
        noted.clear()
        ask()
        found.append(list(noted))
    return found


class Noting(torch.autograd.Function):
    """Twice its input; going back, something is noted."""

    @staticmethod
    def forward(ctx, x, note):
        ctx.note = note
        return 2.0 * x

    @staticmethod
    def backward(ctx, incoming):
        ctx.note()
        return 2.0 * incoming, None


@pytest.mark.parametrize("recording", [False, "no_grad"])
def test_a_result_itself_is_passed_on(tmp_path, recording):
    noted, last = [], [None]

    def swish(x):
        noted.append((x is last[0], x.tolist()))
        last[0] = 2.0 * x
        return last[0]

    calls = [a_call(1.0 + k, recording=recording, in_turn=True, passed=True) for k in range(3)]
    judged, printed = by_both(tmp_path, calls, swish, noted)
    assert judged == printed == [(False, [1.0, 1.0]), (True, [2.0, 2.0]), (True, [3.0, 3.0])]


def test_a_result_of_another_shape_is_not_passed_on(tmp_path):
    noted, last = [], [None]

    def swish(x):
        noted.append((x is last[0], x.shape))
        last[0] = torch.nn.functional.pad(x, (1, 1))
        return last[0]

    calls = [
        Call("swish", {"x": Argument(np.ones(size))}, "float32", "cpu", recording=False, in_turn=True, passed=True)
        for size in (2, 2, 4, 5)
    ]
    judged, printed = by_both(tmp_path, calls, swish, noted)
    assert judged == printed == [(False, (2,)), (False, (2,)), (True, (4,)), (False, (5,))]


def test_a_setting_has_ended_where_a_call_goes_back_late(tmp_path):
    noted, threads = [], torch.get_num_threads()

    def swish(x):
        noted.append(torch.get_num_threads())
        return Noting.apply(x, lambda: noted.append(torch.get_num_threads()))

    judged, printed = by_both(tmp_path, [a_call(setting="17 threads", late=True, **BACK)], swish, noted)
    assert judged == printed == [17, threads] and torch.get_num_threads() == threads


def test_garbage_is_collected_twice_where_a_call_goes_back_late(tmp_path):
    noted = []

    def collections():
        noted.append(gc.get_stats()[-1]["collections"])

    def swish(x):
        collections()
        return Noting.apply(x, collections)

    assert all(after >= before + 2 for before, after in by_both(tmp_path, [a_call(late=True, **BACK)], swish, noted))


def test_threads_that_are_there_at_once_have_made_other_calls_by_then(tmp_path):
    """One before, the call itself, and the others, one of which has its thread's name."""
    noted = []

    def swish(x):
        noted.append((threading.get_ident(), x.tolist()))
        return Noting.apply(x, lambda: noted.append("back"))

    for found in by_both(tmp_path, [a_call(sharded=True, **BACK)], swish, noted):
        earlier, (name, held), *others, last = found
        assert (held, last) == ([1.0, 1.0], "back") and len(others) == THREADS
        assert all(given == [-0.5, -0.5] for _, given in (earlier, *others))
        assert name in {other for other, _ in others} and len({other for other, _ in others}) == THREADS
