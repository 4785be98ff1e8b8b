"""A call beside others: what two calls share shows every time, and who has thought of threads is left in peace."""

from __future__ import annotations

import contextvars
import runpy
import threading
import types

import numpy as np
import pytest

from assay.implementations import beside
from assay.implementations.arrays import Argument
from assay.implementations.beside import TURNS, beside_others
from assay.implementations.contract import Implementation
from assay.implementations.isolated import Place, started
from assay.implementations.observe import Call, observe
from assay.report.script import script

PLACE, LOCK, FREE = {}, threading.Lock(), [{} for _ in range(16)]
OF_CONTEXT = contextvars.ContextVar("of_context")


def in_one_place(number):
    PLACE["number"] = number
    return PLACE["number"]


def in_one_place_behind_a_lock(number):
    with LOCK:
        PLACE["number"] = number
        return PLACE["number"]


def in_one_of_sixteen_places(number):
    place = FREE.pop() if FREE else PLACE
    place["number"] = number
    found = place["number"]
    FREE.extend([place] * (place is not PLACE))
    return found


def in_a_place_of_its_context(number):
    place = OF_CONTEXT.get({})
    place["number"] = number
    return place["number"]


def in_its_own_place(number):
    place = {"number": number}
    return place["number"]


@pytest.mark.parametrize(
    ("kernel", "expected"), [(in_one_place, 2), (in_one_place_behind_a_lock, 1), (in_its_own_place, 1)]
)
def test_what_two_calls_share_is_seen_and_a_lock_is_heeded(kernel, expected):
    assert beside_others(lambda: kernel(1), lambda: kernel(2), int.__eq__) == expected


@pytest.mark.parametrize("many", [beside.MANY, 12])
def test_what_more_calls_at_once_share_than_there_are_places_is_seen(monkeypatch, many):
    monkeypatch.setattr(beside, "MANY", many)
    found = beside_others(lambda: in_one_of_sixteen_places(1), lambda: in_one_of_sixteen_places(2), int.__eq__)
    assert found == 1 + (many > len(FREE))


@pytest.mark.parametrize("shared", [False, True])
def test_threads_share_what_their_context_holds(shared):
    """A copy of it each, and what lies there is one."""

    def asked():
        if shared:
            OF_CONTEXT.set({})
        found = beside_others(lambda: in_a_place_of_its_context(1), lambda: in_a_place_of_its_context(2), int.__eq__)
        assert found == 1 + shared

    contextvars.copy_context().run(asked)


@pytest.mark.parametrize(("module", "expected"), [("scipy", 2), ("running", 1)])
def test_an_adapters_lines_are_a_candidates_and_those_that_call_it_are_not(module, expected):
    named = {"__name__": f"{beside.__name__.rpartition('.')[0]}.{module}", "PLACE": {}}
    kernel = types.FunctionType(in_one_place.__code__, named)
    assert beside_others(lambda: kernel(1), lambda: kernel(2), int.__eq__) == expected


def test_it_is_made_so_often_and_never_where_it_was_asked_for():
    threads = []
    beside_others(lambda: threads.append(threading.get_ident()), lambda: None, lambda first, second: True)
    assert len(threads) == 2 + TURNS
    assert set(threads) == {threads[0]} != {threading.get_ident()}


def test_what_another_thread_raises_is_raised():
    def wrong():
        raise ValueError("not in this thread")

    with pytest.raises(ValueError, match="not in this thread"):
        beside_others(lambda: 1, wrong, int.__eq__)


def test_a_call_that_makes_many_slow_ones_is_no_hang(tmp_path):
    lines = "import time", "array = 'numpy'", "def swish(x, beta=None):", "    time.sleep(0.1)", "    return x * 1.0"
    (tmp_path / "slow.py").write_text("\n".join(lines))
    slow, given = started(str(tmp_path / "slow.py"), Place(seconds=1.0)), {"x": Argument(np.ones(2)), "beta": None}
    seen = [observe(slow, Call("swish", given, "float32", "cpu", beside=each)) for each in (False, True)]
    slow.worker.close()
    assert [each.died for each in seen] == ["", ""]


def swish(x, beta=1.0):
    PLACE["x"] = x
    return PLACE["x"] / (1 + np.exp(-beta * PLACE["x"]))


PLACES = {}


def doubled(x, beta=1.0):
    places = PLACES.get(x.shape)
    if places is None:
        places = PLACES[x.shape] = np.zeros(x.shape)
        places += 2.0
    return places * x


@pytest.mark.parametrize(("line", "expected"), [(1, 2.0), (2, 2.0), (3, 2.0), (4, 0.0), (5, 2.0), (6, 2.0)])
def test_a_first_call_in_the_middle_of_another_is_met_and_its_script_is(capsys, tmp_path, line, expected):
    """What is known to all before it is filled."""
    call = Call("swish", {"x": Argument(np.ones(2)), "beta": None}, "float64", "cpu", met=line)
    PLACES.clear()
    seen = observe(Implementation("own", {"swish": doubled}, array="numpy"), call)
    assert seen.output.tolist() == [expected] * 2
    PLACES.clear()
    (tmp_path / "script.py").write_text(script("", "numpy", [call], "wrong"))
    runpy.run_path(str(tmp_path / "script.py"), {"candidate": types.SimpleNamespace(swish=doubled)})
    assert str(seen.output) in capsys.readouterr().out


@pytest.mark.parametrize("back", [False, True])
def test_a_call_and_its_script_show_it_alike(capsys, tmp_path, back):
    """The kernel keeps its input where the next call does: between its lines stands another's."""
    x = np.array([1.0, 2.0])
    cotangent = Argument(np.ones(2)) if back else None
    call = Call("swish", {"x": Argument(x), "beta": None}, "float64", "cpu", cotangent, ("x",) * back, beside=True)

    def vjp(operator, arguments, incoming):
        return {"x": swish(arguments["x"], arguments["beta"]) * incoming}

    seen = observe(Implementation("own", {"swish": swish}, array="numpy", vjp=vjp if back else None), call)
    got = seen.gradients["x"] if back else seen.output
    assert not np.array_equal(got, swish(x))
    (tmp_path / "script.py").write_text(script("", "numpy", [call], "wrong"))
    runpy.run_path(str(tmp_path / "script.py"), {"candidate": types.SimpleNamespace(swish=swish, vjp=vjp)})
    assert f"{got[0]:.8f}" in capsys.readouterr().out
