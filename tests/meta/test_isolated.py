"""A candidate's own process: what it does there is seen, and ends nothing else."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from assay.implementations import isolated
from assay.implementations.arrays import Argument
from assay.implementations.isolated import GivenUp, Place, Worker, started
from assay.implementations.layouts import LAYOUTS
from assay.implementations.load import LoadError, load
from assay.implementations.observe import Call, observe, observe_in_turn

# What linear does depends on how many features x has.
STRANGE = """
import ctypes, os, sys, time
import numpy as np
array = "numpy"
version = "strange 1"
def linear(x, w, b=None):
    match x.shape[-1]:
        case 3: ctypes.string_at(0)
        case 4: os._exit(0)
        case 5: time.sleep(1000)
        case 6: np.ones(2**40)
        case 7: print("hello")
        case 8: os.abort()
        case 9: raise ValueError("not nine")
        case 10: sys.exit(3)
        case 11: x[...] = 0
        case 12: np.allclose = None
        case 13: return x
    return x @ w.T
"""


def call(features, operator="linear", dtype="float32", **more):
    rng = np.random.default_rng(features)
    x, w = (Argument(rng.integers(-4, 5, (rows, features)).astype(float)) for rows in (2, 3))
    return Call(operator, {"x": x, "w": w, "b": None}, dtype, "cpu", **more)


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    path = tmp_path_factory.mktemp("strange") / "strange.py"
    path.write_text(STRANGE)
    implementation = started(str(path), Place(seconds=1.0))
    yield implementation
    implementation.worker.close()


@pytest.mark.parametrize(
    ("features", "died", "words"),
    [
        (3, "crash", "ended its process, by signal 11"),
        (4, "crash", "ended its process, with exit code 0"),
        (5, "hang", "gave no answer in 1 s, and its process was ended"),
        (6, "", "raised "),
        (8, "crash", "ended its process, by signal 6"),
        (9, "", "raised ValueError: not nine (strange.py, line 14)"),
        (10, "crash", "ended its process, with exit code "),
    ],
)
def test_whatever_happens_is_seen_and_the_next_call_is_answered(strange, features, died, words):
    seen = observe(strange, call(features))
    assert (seen.died, seen.output) == (died, None)
    assert seen.fault.startswith(words)
    assert observe(strange, call(2)).output is not None


def test_a_hang_after_a_hang_is_found_sooner(strange):
    observe(strange, call(5))
    start = time.monotonic()
    assert observe(strange, call(5)).died == "hang"
    assert time.monotonic() - start < 1.0  # known: it is not called again


@pytest.mark.parametrize(
    ("features", "what", "names"),
    [
        (7, "disturbed", ("standard output",)),
        (11, "changed", ("x",)),
        (12, "disturbed", ("numpy.allclose",)),
        (13, "shares", ("x",)),
    ],
)
def test_what_a_call_does_besides_crosses_over(strange, features, what, names):
    assert getattr(observe(strange, call(features)), what) == names


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_call_gives_what_it_gives_in_the_judges_process(dtype, layout):
    values = [-np.inf, -0.0, 0.0, 1.5, -2.0, np.nan]
    given = {"x": Argument(np.array([values, values]), layout), "beta": 0.5}
    asked = Call("swish", given, dtype, "cpu", Argument(np.full((2, 6), 3.0), layout), ("x",), True, 12, True)
    here, there = observe(load("torch"), asked), observe(torch_elsewhere(), asked)
    for a, b in ((here.output, there.output), (here.gradients["x"], there.gradients["x"])):
        assert a.tobytes() == b.tobytes() or np.array_equal(a, b, equal_nan=True)
    assert (here.dtype, here.device, here.gradient_dtypes) == (there.dtype, there.device, there.gradient_dtypes)


def torch_elsewhere(made=[]):  # noqa: B006  one process for all who ask
    if not made:
        made.append(started("torch", Place()))
    return made[0]


def test_tensors_in_one_memory_lie_there_in_the_other_process(tmp_path):
    """One behind the other, in either order; and apart unless that is asked for."""
    (tmp_path / "behind.py").write_text(
        "import torch\n"
        "def linear(x, w, b=None):\n"
        "    behind = x.untyped_storage().data_ptr() == w.untyped_storage().data_ptr()\n"
        "    return torch.full((1, 1), float(behind and (w.data_ptr() - x.data_ptr()) / (4 * x.numel())))\n"
    )
    given = {"x": Argument(np.ones((1, 3))), "w": Argument(np.ones((1, 3)))}
    candidate = started(str(tmp_path / "behind.py"), Place())
    seen = [
        observe(candidate, Call("linear", given, "float32", "cpu", together=each))
        for each in ("in order", "reversed", "")
    ]
    assert [each.output.item() for each in seen] == [1.0, -1.0, 0.0]


def test_large_tensors_travel_in_shared_memory():
    rng = np.random.default_rng(0)
    given = {"x": Argument(rng.standard_normal((512, 300)).astype(np.float32).astype(float)), "beta": None}
    asked = Call("swish", given, "float32", "cpu")
    here, there = observe(load("torch"), asked), observe(torch_elsewhere(), asked)
    assert np.array_equal(here.output, there.output)
    assert torch_elsewhere().worker.channel.shared.map is not None


def test_calls_in_turn_share_their_memory(strange):
    first, second = (call(2, dtype=dtype) for dtype in ("float32", "float32"))
    seen, kept = observe_in_turn(strange, [first, second])
    assert [each.output.tolist() for each in seen] == [each.tolist() for each in kept]


def test_learned_tensors_are_counted_there():
    asked = Call("conv2d_parameters", {"in_channels": 3, "out_channels": 64, "kernel_size": (3, 2)}, "float32", "cpu")
    assert observe(torch_elsewhere(), asked).parameters == [(64, 3, 3, 2), (64,)]


def test_an_operator_that_costs_too_much_is_not_called_again(strange, monkeypatch):
    observe(strange, call(3))
    monkeypatch.setattr(isolated, "PATIENCE", 0.0)
    assert observe(strange, call(3)).died == "crash"  # known already
    with pytest.raises(GivenUp, match="linear is not called again: its hangs and crashes have cost "):
        observe(strange, call(2))


def test_functions_that_loading_replaces_are_named(tmp_path):
    path = tmp_path / "patches.py"
    path.write_text("import time\ntime.perf_counter = lambda: 0.0\narray = 'numpy'\ndef swish(x, beta=1.0): return x\n")
    implementation = started(str(path), Place())
    assert implementation.disturbed == ("time.perf_counter",)
    asked = Call("swish", {"x": Argument(np.ones(2)), "beta": None}, "float32", "cpu")
    assert observe(implementation, asked).disturbed == ("time.perf_counter",)
    assert time.perf_counter() > 0.0


def test_a_candidate_sees_none_of_the_judges_frames(tmp_path):
    """In the judge's own process it would see the case, and what is asked of it."""
    path = tmp_path / "nosy.py"
    path.write_text(
        "import inspect\narray = 'numpy'\n"
        "def swish(x, beta=1.0):\n"
        "    return x * 0 + sum('_pytest' in f.filename for f in inspect.stack())\n"
    )
    asked = Call("swish", {"x": Argument(np.ones(1)), "beta": None}, "float32", "cpu")
    assert observe(load(str(path)), asked).output > 0.0
    assert observe(started(str(path), Place()), asked).output == 0.0


def test_the_process_ends_with_the_judge(tmp_path):
    path = tmp_path / "kernels.py"
    path.write_text("array = 'numpy'\ndef swish(x, beta=1.0): return x\n")
    text = "import sys\nfrom assay.implementations.isolated import *\nw = started(sys.argv[1], Place()).worker\n"
    words = [sys.executable, "-c", text + "print(w.pid, w.folder)", str(path)]
    pid, folder = subprocess.run(words, capture_output=True, text=True).stdout.split()
    assert ends(int(pid))
    assert not isolated.Path(folder).exists()


def alive(pid):
    status = isolated.Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def ends(pid):
    """Whether a process that was killed is gone: on a busy machine that takes a moment."""
    for _ in range(100):
        if not alive(pid):
            return True
        time.sleep(0.05)
    return False


def python_server(tmp_path, text):
    """A command that runs these lines of Python."""
    path = tmp_path / "server.py"
    path.write_text(textwrap.dedent(text))
    return Place(command=f"{sys.executable} {path}", seconds=5.0)


GREETING = "print('assay 1\\noperator linear\\ndtype float32\\n', flush=True)\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("print('Hello, world')", "begins with 'Hello, world', which begins no message"),
        ("print('assay 2\\n')", "greets with 'assay 2'; this is 'assay 1'"),
        ("print('assay 1\\n')", "offers no operator or no dtype; allowed: operator swish, glu"),
        ("print('assay 1\\noperator matmul\\ndtype float32\\n')", "offers 'matmul'; allowed: operator swish, glu"),
        ("print('assay 1\\noperator swish\\ndtype int8\\n')", "offers 'int8'; allowed: "),
        ("print('assay 1\\nfault no licence\\n')", "no licence"),
        (
            "print('assay 1\\noperator swish\\ndtype float32\\nprecision swish.forward.float32 {\"sums\": 1}\\n')",
            "precision['swish.forward.float32']: ",
        ),
        ("print('assay 1')", "ended before it answered, with exit code 0"),
        ("import sys; sys.exit('lost my keys')", "with exit code 1; its last lines of stderr: lost my keys"),
    ],
)
def test_a_command_that_does_not_greet_is_told_so(tmp_path, text, words):
    with pytest.raises(LoadError) as caught:
        started(None, python_server(tmp_path, text))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("print('what?', flush=True)", "answered with what is no message: it begins with 'what?'"),
        ("print('answer\\ntensor result float32 2 3\\n\\nabc', flush=True)", "ended its process, with exit code 0"),
        ("print('answer\\ntensor result float32 99999999 99999999\\n\\n', flush=True)", "announces tensors of"),
        ("print('answer\\nseconds few\\n', flush=True)", "cannot be read: could not convert string to float: 'few'"),
        ("print('answer\\ntensor result int8 2\\n\\n', flush=True)", "says 'tensor result int8 2'; allowed: a name"),
        ("raise SystemExit('out of paper')", "with exit code 1; its last lines of stderr: out of paper"),
    ],
)
def test_a_command_that_answers_with_something_else_has_crashed(tmp_path, text, words):
    implementation = started(None, python_server(tmp_path, GREETING + "input()\n" + text))
    seen = observe(implementation, call(2))
    assert seen.died == "crash"
    assert words in seen.fault


def test_an_answer_without_a_result_is_a_fault(tmp_path):
    implementation = started(
        None, python_server(tmp_path, GREETING + "input()\nprint('answer\\n', flush=True)\ninput()")
    )
    assert observe(implementation, call(2)).fault == "answered with no tensor called result"


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (Place(command="./no-such-server"), "./no-such-server cannot be started: No such file or directory"),
        (Place(command="'"), '--command "\'": No closing quotation'),
        (Place(command=""), "--command '': give a program"),
        (Place(python="no-such-python"), "--python no-such-python: there is no such program"),
    ],
)
def test_what_cannot_be_started_is_told(place, words):
    with pytest.raises(LoadError) as caught:
        started(None if place.command is not None else "torch", place)
    assert words in str(caught.value)


def test_an_interpreter_without_numpy_is_told(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    with pytest.raises(
        LoadError, match=r"bare/bin/python has no numpy \(No module named 'numpy'\); install numpy there"
    ):
        started("torch", Place(python=str(tmp_path / "bare" / "bin" / "python")))


def test_a_worker_is_closed_once_and_for_all(strange):
    worker = Worker(strange.worker.arguments, Place(), "strange")
    pid = worker.pid
    worker.close()
    assert ends(pid)
    worker.close()


def test_it_is_said_that_the_way_back_raised(tmp_path):
    (tmp_path / "back.py").write_text(
        "import torch\n"
        "class Back(torch.autograd.Function):\n"
        "    forward = staticmethod(lambda ctx, x: x.clone())\n"
        "    @staticmethod\n"
        "    def backward(ctx, g):\n"
        "        raise RuntimeError('no way')\n"
        "def swish(x, beta=1.0):\n"
        "    return Back.apply(x)\n"
    )
    x = Argument(np.ones(2))
    seen = observe(started(str(tmp_path / "back.py"), Place()), Call("swish", {"x": x}, "float32", "cpu", x, ("x",)))
    assert seen.fault == "raised RuntimeError: no way (back.py, line 6), going back"


COUNTING = """
import sys
calls = 0
def swish(x, beta=1.0):
    global calls
    calls += 1
    return x * (calls if beta == 1.0 else len(sys.modules))
"""


@pytest.fixture(scope="module")
def counting(tmp_path_factory):
    path = tmp_path_factory.mktemp("counting") / "counting.py"
    path.write_text(COUNTING)
    implementation = started(str(path), Place())
    yield implementation
    implementation.worker.close()


def swish_of_one(beta=None, **more):
    return Call("swish", {"x": Argument(np.ones(1)), "beta": beta}, "float64", "cpu", **more)


def test_a_renewed_process_has_answered_nothing_and_answers_again_what_it_is_asked_again(counting):
    worker = counting.worker
    worker.renew()
    assert [float(observe(counting, swish_of_one()).output[0]) for _ in range(3)] == [1.0, 2.0, 3.0]
    asked = list(worker.asked)
    worker.renew()
    assert list(worker.asked) == []
    assert [float(seen.output[0]) for seen in worker.ask_again(asked[1:])] == [1.0, 2.0]
    assert len(worker.asked) == 2


def test_large_calls_are_not_kept(counting):
    counting.worker.renew()
    large = Call("swish", {"x": Argument(np.ones(isolated.SMALL + 1)), "beta": None}, "float64", "cpu")
    observe(counting, large)
    assert list(counting.worker.asked) == []


def test_pytorch_imports_nothing_when_it_first_goes_back(counting):
    """Half a second, in each process that takes another's place."""
    counting.worker.renew()
    there = observe(counting, swish_of_one(2.0)).output[0]
    observe(counting, swish_of_one(cotangent=Argument(np.ones(1)), differentiate=("x",)))
    assert observe(counting, swish_of_one(2.0)).output[0] == there
