"""The script of a failure holds the very numbers on which it was seen."""

from __future__ import annotations

import runpy
import subprocess
import sys
import types

import numpy as np
import pytest
import torch

from assay.implementations.arrays import Argument, arrays_of, made_together
from assay.implementations.contract import Implementation
from assay.implementations.layouts import FUSED, LAYOUTS, TOGETHER
from assay.implementations.load import load
from assay.implementations.observe import Call, observe, observe_in_turn
from assay.implementations.running import VISITS, WAYS_BACK
from assay.report.script import script
from assay.report.tensors import SPELLED_OUT
from assay.tests.trial.textures import laid

NARROW = np.random.default_rng(0).standard_normal(4 * SPELLED_OUT).astype(np.float32).astype(np.float64)
ODD = [-0.0, np.inf, -np.inf, np.nan, 2.0**-149]


@pytest.mark.parametrize(
    ("values", "packed"),
    [
        (np.array([*ODD, 0.1, 1e300]), "["),
        (np.concatenate([NARROW, ODD]), "'<f4'"),
        (np.concatenate([NARROW, [0.1]]), "'<f8'"),
        (np.concatenate([NARROW, [1e300, 2.0**-1074]]), "'<f8'"),
        (np.full(4 * SPELLED_OUT, -0.0), "np.full((256,), -0.0)"),
        (np.array([0.0] * SPELLED_OUT + [-0.0]), "'<f4'"),
        (np.full(2, -np.inf), "np.full((2,), float('-inf'))"),
        (np.bincount([3, 99], [257.0, np.inf], 100), "np.bincount([3, 99], [257.0, float('inf')], 100)"),
    ],
    ids=[
        "few",
        "numbers of float32",
        "a number that float32 rounds",
        "numbers beyond float32",
        "one number",
        "zeros of both signs",
        "one infinity",
        "zeros but for two",
    ],
)
def test_the_numbers_are_the_same_bit_for_bit(tmp_path, values, packed):
    given = []
    call = Call("swish", {"x": Argument(values), "beta": None}, "float64", "cpu", None)
    text = script("", "numpy", [call], "wrong")
    (tmp_path / "script.py").write_text(text)
    runpy.run_path(str(tmp_path / "script.py"), {"candidate": types.SimpleNamespace(swish=given.append)})
    assert given[0].tobytes() == values.tobytes()
    assert packed in text


@pytest.mark.parametrize("array", ["torch", "numpy"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("together", ["", *TOGETHER, *FUSED])
def test_tensors_lie_as_in_the_call(tmp_path, array, layout, together):
    """In their strides, or in one memory; and hold what they held."""
    given = []
    library, values = arrays_of(array), np.arange(24.0).reshape(2, 3, 2, 2)
    tensors = {
        name: laid(values + k, "contiguous" if together else layout) for k, name in enumerate(("input", "weight"))
    }
    call = Call("conv2d", {**tensors, "bias": None}, "float64", "cpu", together=together)
    (tmp_path / "script.py").write_text(script("", array, [call], "wrong"))
    conv2d = types.SimpleNamespace(conv2d=lambda *arguments: given.extend(arguments))
    runpy.run_path(str(tmp_path / "script.py"), {"candidate": conv2d})
    made = made_together(library, tensors, "float64", "cpu", together) if together else None
    for seen, (name, argument) in zip(given, tensors.items(), strict=True):
        expected = made[name] if made else library.make(argument, "float64", "cpu")
        assert np.array_equal(library.read(seen), argument.values)
        assert steps(seen) == steps(expected)
    if together:
        apart = {"in order": values.nbytes, "reversed": -values.nbytes, "interleaved": values[0].nbytes}
        apart |= {"turned": values.nbytes, "apart": 2 * values.nbytes, "crossed": values.nbytes}
        apart |= {"halves": values.nbytes, "halves from the last": -values.nbytes, "rows in turn": values[0].nbytes}
        assert address(given[1]) == address(given[0]) + apart[together]


@pytest.mark.parametrize("array", ["torch", "numpy"])
@pytest.mark.parametrize(("ties", "same"), [("w = x", True), ("w = x.T", False)])
def test_one_tensor_given_twice_is_one(tmp_path, array, ties, same):
    """In the call and in its script; or two of one memory, where one is turned."""
    given = []

    def linear(x, w, b=None):
        given.append((x, w))
        return x * 1.0

    values = np.arange(6.0).reshape(2, 3)
    tensors = {"x": Argument(values), "w": Argument(values if same else values.T)}
    call = Call("linear", {**tensors, "b": None}, "float64", "cpu", together=ties)
    observe(Implementation("own", {"linear": linear}, array=array), call)
    (tmp_path / "script.py").write_text(script("", array, [call], "wrong"))
    runpy.run_path(str(tmp_path / "script.py"), {"candidate": types.SimpleNamespace(linear=linear)})
    for x, w in given:
        assert (x is w) is same
        assert address(x) == address(w)
        for tensor, argument in zip((x, w), tensors.values(), strict=True):
            assert np.array_equal(arrays_of(array).read(tensor), argument.values)
    assert len(given) == 2


def address(tensor):
    return tensor.ctypes.data if isinstance(tensor, np.ndarray) else tensor.data_ptr()


def steps(tensor):
    return tensor.strides if isinstance(tensor, np.ndarray) else (tensor.stride(), tensor.storage_offset())


def test_the_way_back_was_gone_before(tmp_path, capsys):
    """From half of the incoming gradient first, and from its reverse, each time after another call."""
    more = {"interrupted": True, "twice": True}
    call = Call("swish", {"x": Argument(np.ones(2))}, "float64", "cpu", Argument(np.array([1.0, 2.0])), ("x",), **more)
    (tmp_path / "script.py").write_text(script("", "torch", [call], "wrong"))
    came = []

    class Noting(torch.autograd.Function):
        forward = staticmethod(lambda ctx, x: x.clone())
        backward = staticmethod(lambda ctx, g: came.append(g.tolist()) or g)

    runpy.run_path(str(tmp_path / "script.py"), {"candidate": types.SimpleNamespace(swish=Noting.apply)})
    assert came == [[0.5, 1.0], [2.0, 1.0], [1.0, 2.0]]
    assert "1., 2." in capsys.readouterr().out


@pytest.mark.parametrize("array", ["torch", "numpy"])
@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("in_turn", [False, True])
def test_the_wrong_element_is_printed_in_full_whatever_is_around_it(tmp_path, capsys, array, back, in_turn):
    """Of a large array its library prints a few elements, and of each a few digits."""
    values = np.full((40, 60), 1.0)
    values[17, 23] += 2.0**-10
    cotangent = {"cotangent": Argument(values), "differentiate": ("x",)} if back else {}
    call = Call("swish", {"x": Argument(values)}, "float16", "cpu", in_turn=in_turn, **cotangent)
    text = script("", array, [call] * (1 + in_turn), "wrong", "['x'][17, 23]" if back else "[17, 23]")
    (tmp_path / "script.py").write_text(text)
    own = types.SimpleNamespace(swish=lambda x: x * 1.0, vjp=lambda operator, arguments, incoming: {"x": incoming})
    runpy.run_path(str(tmp_path / "script.py"), {"candidate": own})
    assert capsys.readouterr().out.splitlines()[-1] == "the wrong element: 1.0009765625"


def test_a_kernel_imports_its_neighbour_in_the_script_too(tmp_path):
    (tmp_path / "neighbour.py").write_text("def twice(x): return 2 * x\n")
    (tmp_path / "kernel.py").write_text(
        "from neighbour import twice\narray = 'numpy'\ndef swish(x, beta=1.0): return twice(x)\n"
    )
    call = Call("swish", {"x": Argument(np.ones(2))}, "float32", "cpu")
    text = script(load(str(tmp_path / "kernel.py")).recipe, "numpy", [call], "wrong")
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, cwd="/")
    assert (done.stdout, done.stderr) == ("[2. 2.]\n", "")


@pytest.mark.parametrize("recording", [None, False, "no_grad"])
def test_inference_is_inference_in_the_script(tmp_path, recording):
    call = Call("swish", {"x": Argument(np.ones(2))}, "float64", "cpu", recording=recording)
    (tmp_path / "script.py").write_text(script("", "torch", [call], "wrong"))
    seen = []
    swish = types.SimpleNamespace(swish=lambda x: seen.append(torch.is_grad_enabled()))
    runpy.run_path(str(tmp_path / "script.py"), {"candidate": swish})
    assert seen == [recording is None]


def test_in_inference_all_but_the_first_tensor_are_parameters(tmp_path):
    """As in the call, with the bias that is None; those that are written over stay the parameters that they are."""
    given = []
    tensors = {name: Argument(np.ones((1, 1))) for name in ("x", "w")}
    calls = [Call("linear", {**tensors, "b": None}, "float32", "cpu", recording=False, in_turn=True)] * 2
    (tmp_path / "script.py").write_text(script("", "torch", calls, "wrong"))
    linear = types.SimpleNamespace(linear=lambda *all: given.append([*all, torch.is_grad_enabled()]) or all[0])
    runpy.run_path(str(tmp_path / "script.py"), {"candidate": linear})
    kinds = [(type(x), type(w), w.requires_grad, recording) for x, w, none, recording in given if none is None]
    assert kinds == [(torch.Tensor, torch.nn.Parameter, False, False)] * 2
    assert given[0][1] is given[1][1]


def test_who_differentiates_is_given_what_a_call_leaves_out(tmp_path):
    """In the script as by the judge."""
    given = []
    call = Call(
        "conv2d",
        {"input": Argument(np.ones((1, 1, 2, 2))), "weight": Argument(np.ones((1, 1, 1, 1))), "padding": 1},
        "float32",
        "cpu",
        Argument(np.ones((1, 1, 4, 4))),
        ("input", "weight"),
    )

    def conv2d(*arguments):
        return np.ones((1, 1, 4, 4), np.float32)

    def vjp(operator, arguments, incoming):
        given.append(arguments)
        return {}

    observe(Implementation("own", {"conv2d": conv2d}, array="numpy", vjp=vjp), call)
    (tmp_path / "script.py").write_text(script("", "numpy", [call], "wrong"))
    runpy.run_path(str(tmp_path / "script.py"), {"candidate": types.SimpleNamespace(conv2d=conv2d, vjp=vjp)})
    words = [{name: value for name, value in each.items() if name not in call.tensors} for each in given]
    assert words == [{"bias": None, "stride": 1, "padding": 1}] * 2
    assert [list(each) for each in given] == [["input", "weight", "bias", "stride", "padding"]] * 2


# How often a candidate is asked, in these ways.
ASKED = {
    (): 2,
    ("elsewhere",): 2,
    ("interrupted",): 68,
    ("visited", "revisited"): 3 + VISITS,
    ("twice", "interrupted"): 135,
}


@pytest.mark.parametrize("array", ["torch", "numpy"])
@pytest.mark.parametrize("ways", list(ASKED))
def test_who_differentiates_is_asked_in_the_script_what_the_judge_asks(tmp_path, array, ways):
    """The call itself, whatever is called in between, and the way back, or both of them."""
    asked = []

    def noting(name):
        return lambda *given: asked.append((name, [getattr(value, "tolist", lambda v=value: v)() for value in given]))

    def vjp(operator, arguments, incoming):
        noting("vjp")(*arguments.values(), incoming)
        return {"x": incoming}

    operators = {name: noting(name) for name in ("swish", "linear")}
    values = Argument(np.array([1.0, 2.0]))
    call = Call("swish", {"x": values}, "float32", "cpu", values, ("x",), **dict.fromkeys(ways, True))
    observe(Implementation("own", operators, array=array, vjp=vjp), call)
    judged, asked = asked, []
    (tmp_path / "script.py").write_text(script("", array, [call], "wrong", by_vjp=True))
    runpy.run_path(str(tmp_path / "script.py"), {"candidate": types.SimpleNamespace(**operators, vjp=vjp)})
    assert asked == judged and len(asked) == ASKED[ways]


@pytest.mark.parametrize("way", WAYS_BACK)
def test_in_each_way_back_the_script_asks_what_the_judge_asks(tmp_path, capsys, way):
    """On the same numbers, as often, and told the same gradient."""
    asked = []

    def swish(x, beta=None):
        asked.append(x.tolist())
        return 2.0 * x

    values = Argument(np.array([1.0, 2.0]))
    call = Call("swish", {"x": values}, "float32", "cpu", values, ("x",), **{way: True})
    seen = observe(Implementation("own", {"swish": swish}), call)
    judged, asked[:] = list(asked), []
    (tmp_path / "script.py").write_text(script("", "torch", [call], "wrong"))
    runpy.run_path(str(tmp_path / "script.py"), {"candidate": types.SimpleNamespace(swish=swish)})
    assert asked == judged and not seen.fault and not seen.changed
    assert seen.gradients["x"].tolist() == [2.0, 4.0] and "'x': tensor([2., 4.])" in capsys.readouterr().out


@pytest.mark.parametrize("sizes", [(1, 1), (1, 2), (2, 1), (2, 2)])
@pytest.mark.parametrize(("recording", "inferred"), [(None, False), (False, False), (False, True)])
def test_the_script_makes_tensors_in_inference_mode_where_the_judge_does(tmp_path, sizes, recording, inferred):
    asked, more = [], {"recording": recording, "inferred": inferred, "in_turn": True}

    def swish(x, beta):
        asked.append((x.tolist(), x.is_inference(), beta.is_inference(), type(beta)))
        return 2.0 * x

    tensors = [{"x": Argument(np.ones(size)), "beta": Argument(np.ones(1))} for size in sizes]
    calls = [Call("swish", each, "float32", "cpu", **more) for each in tensors]
    observe_in_turn(Implementation("own", {"swish": swish}), calls)
    judged, asked[:] = list(asked), []
    (tmp_path / "script.py").write_text(script("", "torch", calls, "wrong"))
    runpy.run_path(str(tmp_path / "script.py"), {"candidate": types.SimpleNamespace(swish=swish)})
    assert asked == judged and [each[1:3] for each in asked] == [(inferred, inferred)] * 2


PLAIN = [(0, 0)] * 3
# What a call is, where its two tensors begin in each of three calls, and how often the second was written to.
IN_MEMORY = [("part", [(0, 0), (0, 2), (0, 0)], 0), ("frame", [(0, 0), (2, 0), (0, 0)], 0), ("stepped", PLAIN, 2)]
IN_MEMORY += [("copied", PLAIN, 1), ("layer", PLAIN, 0), ("spoilt", PLAIN, 0), ("passed", PLAIN, 0)]


@pytest.mark.parametrize(("more", "offsets", "steps"), IN_MEMORY)
def test_the_script_has_parts_of_a_memory_and_steps_of_an_optimizer_where_the_judge_has(tmp_path, more, offsets, steps):
    asked = []

    def swish(x, beta):
        asked.append((x.tolist(), beta.tolist(), x.storage_offset(), beta.storage_offset(), x._version, beta._version))
        return x * beta

    def call(k):
        tensors = {"x": Argument(np.full(2, 1.0 + k)), "beta": Argument(np.full(2, 5.0 + k))}
        return Call("swish", tensors, "float32", "cpu", in_turn=True, **{more: True if steps else 1 + k % 2})

    calls = [call(k) for k in range(3)]
    observe_in_turn(Implementation("own", {"swish": swish}), calls)
    judged, asked[:] = list(asked), []
    (tmp_path / "script.py").write_text(script("", "torch", calls, "wrong"))
    runpy.run_path(str(tmp_path / "script.py"), {"candidate": types.SimpleNamespace(swish=swish)})
    assert asked == judged and [each[2:4] for each in asked] == offsets
    assert asked[-1][5] - asked[0][5] == steps


@pytest.mark.parametrize("back", [False, True])
def test_a_setting_holds_while_the_script_calls_and_no_longer(tmp_path, capsys, back):
    cotangent = {"cotangent": Argument(np.ones(1)), "differentiate": ("x",)} if back else {}
    call = Call("swish", {"x": Argument(np.ones(1))}, "float32", "cpu", setting="17 threads", **cotangent)
    (tmp_path / "script.py").write_text(script("", "torch", [call], "wrong"))
    before, seen = torch.get_num_threads(), []
    swish = types.SimpleNamespace(swish=lambda x: (seen.append(torch.get_num_threads()), 2 * x)[1])
    runpy.run_path(str(tmp_path / "script.py"), {"candidate": swish})
    assert seen == [17] and torch.get_num_threads() == before


@pytest.mark.parametrize("back", [False, True])
def test_what_is_left_of_each_result_is_printed_after_the_last_call(tmp_path, capsys, back):
    """So that a result that lies where the next one is written shows."""
    buffer = torch.zeros(1)
    cotangent = {"cotangent": Argument(np.ones(1)), "differentiate": ("x",)} if back else {}
    calls = [
        Call("swish", {"x": Argument(np.full(1, n)), "beta": None}, "float32", "cpu", in_turn=True, **cotangent)
        for n in (1.0, 2.0)
    ]
    (tmp_path / "script.py").write_text(script("", "torch", calls, "wrong"))
    swish = types.SimpleNamespace(swish=lambda x: x * buffer.copy_(x.detach()).clone() if back else buffer.copy_(x))
    runpy.run_path(str(tmp_path / "script.py"), {"candidate": swish})
    printed = capsys.readouterr().out.splitlines()
    assert printed[2] == "after the last call:" and len(printed) == 5
    assert [line in printed[3:] for line in printed[:2]] == [back, True]
