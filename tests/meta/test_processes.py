"""A candidate's process that ends in an odd way, or begins slowly."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from assay.implementations import processes, serving
from assay.implementations.arrays import Argument
from assay.implementations.isolated import Place, started
from assay.implementations.load import LoadError, load
from assay.implementations.observe import Call, observe, observe_in_turn
from assay.report import failures
from assay.tests.meta.test_failures import failing
from assay.tests.meta.test_isolated import GREETING, call, python_server

CLOSED = "import os, time; os.close(1); time.sleep(600)"


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(processes, "LINGERING", 0.2)


def test_a_server_that_closes_its_output_and_lives_on_has_crashed(tmp_path, hasty):
    implementation = started(None, python_server(tmp_path, GREETING + "input()\n" + CLOSED))
    seen = observe(implementation, call(2))
    assert seen.died == "crash"
    assert "ended its process, by closing its standard output: what ran on was killed" in seen.fault


def test_a_server_that_closes_its_output_before_it_greets_is_told_so(tmp_path, hasty):
    with pytest.raises(LoadError, match="ended before it answered, by closing its standard output"):
        started(None, python_server(tmp_path, CLOSED))


def test_a_digit_that_is_no_number_is_none(tmp_path):
    greeting = GREETING.replace("\\n'", "\\npid \\xb2\\n'")
    answer = "input()\nprint('answer\\ntensor result float32 \\xb2\\n\\n', flush=True)\ninput()"
    implementation = started(None, python_server(tmp_path, greeting + answer))
    worker = implementation.worker
    assert worker.greeting.get("pid") == "\xb2" and worker.pid == worker.process.pid
    assert "says 'tensor result float32 \xb2'; allowed: a name" in observe(implementation, call(2)).fault


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux tells which files are open")
def test_a_restart_leaves_no_file_open(tmp_path):
    worker = started(None, python_server(tmp_path, GREETING + "input()")).worker
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        worker.renew()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux tells which files are open")
def test_who_has_a_driver_open_is_not_forked(monkeypatch):
    assert not serving._drives_a_gpu()
    monkeypatch.setattr(serving, "DRIVERS", ("/dev/zero",))
    monkeypatch.setattr(serving, "_threads", lambda: 1)
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("it was forked"))
    with Path("/dev/zero").open("rb"):
        serving._keep_a_spare(None)
    assert not serving._drives_a_gpu()


LOSING = """
from assay.implementations.arrays import TorchArrays
def swish(x, beta=1.0):
    TorchArrays.device_problem = lambda *_: "lost"
    raise RuntimeError("CUDA error: an illegal memory access was encountered")
def linear(x, w, b=None):
    return x @ w.T
"""


def test_who_loses_the_gpu_has_crashed_and_the_next_call_is_made_in_another_process(tmp_path):
    (tmp_path / "losing.py").write_text(LOSING)
    implementation = started(str(tmp_path / "losing.py"), Place())
    seen = observe(implementation, Call("swish", {"x": Argument(np.ones(2))}, "float32", "cpu"))
    assert seen.died == "crash" and "illegal memory access" in seen.fault
    assert not observe(implementation, call(2)).fault


RESERVING = """
import mmap
array, kept = "numpy", []
def swish(x, beta=1.0):
    kept.append(mmap.mmap(-1, 2**38, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 0))
    return x
"""


def test_a_limit_that_is_longer_than_the_system_counts_is_a_long_one(tmp_path):
    place = python_server(tmp_path, GREETING + "input()\nprint('answer\\nraised OSError\\n', flush=True)\ninput()")
    for seconds in (1e9, 1e300):
        seen = observe(started(None, replace(place, seconds=seconds)), call(2))
        assert (seen.raised, seen.died) == ("OSError", "")


@pytest.mark.parametrize(
    ("said", "problem"),
    [("environment lisp 1", "a command runs where it likes; its tensors come from the CPU"), ("knows device", "no")],
)
def test_only_who_knows_of_devices_is_asked_about_one(tmp_path, said, problem):
    greeting = GREETING.replace("\\n'", f"\\n{said}\\n'")
    answer = "print('answer\\nfault', 'no' if input() == 'device cuda' else '?', end='\\n\\n', flush=True)\ninput()"
    implementation = started(None, python_server(tmp_path, greeting + answer))
    assert implementation.device_problem("cuda") == problem


REMEMBERING = """
import sys
print('assay 1\\noperator linear\\ndtype float32\\nmemory yes\\n', flush=True)
for line in sys.stdin.buffer:
    if b'call linear' in line:
        print('answer\\nraised OSError\\n', flush=True)
    elif line.endswith(b'kept\\n') and b'memory' not in line:
        {}
"""


@pytest.mark.parametrize(
    ("asked", "died"),
    [("sys.exit(5)", "crash"), ("import time; time.sleep(9)", "hang"), ("print('what', flush=True)", "crash")],
)
def test_who_dies_of_being_asked_what_it_kept_has_died(tmp_path, asked, died):
    place = python_server(tmp_path, REMEMBERING.format(asked))
    first, second = observe_in_turn(started(None, replace(place, seconds=1.0)), [call(2), call(2)])[0]
    assert (first.died, second.died) == ("", died) and "(when asked what its results hold)" in second.fault


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets another's memory be limited")
def test_addresses_that_are_only_reserved_are_no_memory(tmp_path):
    (tmp_path / "reserving.py").write_text(RESERVING)
    asked = Call("swish", {"x": Argument(np.ones(2))}, "float32", "cpu")
    assert not observe(started(str(tmp_path / "reserving.py"), Place(memory=2**30)), asked).fault


SLOW_AT_FIRST = """
import time
array, compiled = "numpy", []
def linear(x, w, b=None):
    time.sleep(600)
def swish(x, beta=1.0):
    if not compiled:
        time.sleep(1.5)
        compiled.append(1)
    return x
"""


def test_a_hang_takes_no_time_from_the_first_call_of_another_operator(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW_AT_FIRST)
    implementation = started(str(tmp_path / "slow.py"), Place(seconds=3.0))
    assert observe(implementation, call(2)).died == "hang"
    asked = [Call("swish", {"x": Argument(np.ones(size)), "beta": None}, "float32", "cpu") for size in (1, 2)]
    assert [observe(implementation, each).died for each in asked] == ["", ""]
    implementation.worker.close()


def test_an_operator_that_has_hung_is_waited_for_less(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW_AT_FIRST)
    implementation = started(str(tmp_path / "slow.py"), Place(seconds=3.0))
    seen = [observe(implementation, call(features)).fault for features in (2, 3)]
    assert [each.split(" and ")[0] for each in seen] == ["gave no answer in 3 s,", "gave no answer in 1 s,"]
    implementation.worker.close()


NO_NOTES = """
import torch
class Old(RuntimeError):
    @property
    def add_note(self):
        raise AttributeError("before Python 3.11 there is none")
class Back(torch.autograd.Function):
    forward = staticmethod(lambda ctx, x: x.clone())
    @staticmethod
    def backward(ctx, g):
        raise Old("no way")
def swish(x, beta=1.0):
    return Back.apply(x)
"""


def test_what_was_raised_going_back_is_told_under_python_3_10_too(tmp_path):
    (tmp_path / "back.py").write_text(NO_NOTES)
    x = Argument(np.ones(2))
    seen = observe(load(str(tmp_path / "back.py")), Call("swish", {"x": x}, "float32", "cpu", x, ("x",)))
    assert seen.fault.startswith("raised Old: no way (back.py, line ") and seen.fault.endswith("), going back")


RAISING = """
import json
def swish(x, beta=1.0):
    return json.loads("{")
def linear(x, w, b=None):
    raise ValueError("first\\n  second\\n\\n" + "more\\n" * 9)
"""


def test_what_was_raised_is_told_with_the_kernels_own_line_and_more_than_its_first(tmp_path):
    """Whether in the judge's process or in its own."""
    (tmp_path / "raising.py").write_text(RAISING)
    for implementation in (load(str(tmp_path / "raising.py")), started(str(tmp_path / "raising.py"), Place())):
        swish = Call("swish", {"x": Argument(np.ones(1))}, "float32", "cpu")
        assert observe(implementation, swish).fault.endswith(" (char 1) (raising.py, line 4)")
        told = "raised ValueError: first | second | more | more | more | ... (raising.py, line 6)"
        assert observe(implementation, call(2)).fault == told


def test_exceptions_that_begin_alike_are_one_failure_whatever_follows():
    what = "swish raised TypeError: no such shape"
    found = [failing(what=f"{what} | {each} (k.py, line 1)", malformed=True) for each in ("(2, 3)", "(2, 3, 4)")]
    assert len(failures.grouped(found)) == 1


@pytest.mark.parametrize("how", ["crash", "hang"])
def test_of_what_has_ended_a_process_the_smallest_input_is_shown(how):
    """Whichever clause was asked about just then."""
    sizes = {"swish.formula": 9000, "swish.zero": 1, "contract.layouts": 12}
    found = [failing(each, elements=size, malformed=True, **{"class": how}) for each, size in sizes.items()]
    ((first, others),) = failures.grouped(found)
    assert (first["clause"], len(others)) == ("swish.zero", 2)
