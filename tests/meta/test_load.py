"""Loading: what can be given, and the exact words where it cannot."""

from __future__ import annotations

import re
import sys

import pytest
import torch

from assay.implementations.load import ADAPTERS, FORMS, LoadError, described, load

OPERATORS = "swish, glu, swiglu, linear, pad2d, conv2d, max_pool2d, conv2d_parameters"


def write(folder, text, name="kernels.py"):
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ("torch", "torch-tf32"))  # the others switch things off, or need another library
def test_an_adapter_loads_by_name(name):
    assert set(load(name).operators) >= {"swish", "conv2d"}


@pytest.mark.parametrize("name", [name for name in ADAPTERS if name.startswith("torch-") and name != "torch-tf32"])
def test_collecting_doctests_imports_no_adapter_that_sets_what_pytorch_is_judged_under(name):
    assert ADAPTERS[name] not in sys.modules
    assert torch.backends.mkldnn.enabled


def test_an_adapter_whose_library_is_missing_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.delitem(sys.modules, ADAPTERS["scipy"], raising=False)
    with pytest.raises(LoadError, match=r"scipy: importing it failed: .*scipy.*; install what it needs"):
        load("scipy")


def test_a_module_loads_by_name_and_offers_what_it_has():
    assert set(load("torch.nn.functional").operators) == {"glu", "linear", "conv2d", "max_pool2d"}


def test_a_file_loads_and_so_does_an_attribute_of_it(tmp_path):
    path = write(tmp_path, "class K:\n    def swish(self, x, beta=1.0): return x\nobj = K()\n")
    assert list(load(f"{path}:obj").operators) == ["swish"]


def test_a_file_may_import_its_neighbours_when_it_is_called(tmp_path, monkeypatch):
    """As who puts off an import until it is needed; and be loaded from a folder that it leaves."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "def swish(x, beta=1.0): return x\n", "lazy_neighbour.py")
    text = "def swish(x, beta=1.0):\n    import lazy_neighbour\n    return lazy_neighbour.swish(x)\n"
    path = write(tmp_path, f"import os\nos.chdir('/')\n{text}", "lazy.py")
    for spec in (str(path), "lazy"):
        monkeypatch.chdir(tmp_path)
        assert load(spec).operators["swish"](torch.ones(1)).item() == 1.0
        assert sys.path.count(str(tmp_path)) == 1 and sys.path[0] != str(tmp_path)
        sys.path.remove(str(tmp_path))
        sys.modules.pop("lazy_neighbour")


def test_a_file_may_import_its_neighbours(tmp_path):
    write(tmp_path, "def swish(x, beta=1.0): return x\n", "neighbour_of_kernels.py")
    assert load(str(write(tmp_path, "from neighbour_of_kernels import swish\n"))).operators["swish"](3) == 3


@pytest.mark.parametrize(
    ("text", "attribute", "words"),
    [
        ("def swish(x:\n", "", "does not parse: '(' was never closed (line 1: def swish(x:)"),
        ("1 / 0\n", "", "importing it raised ZeroDivisionError: division by zero"),
        ("raise SystemExit(7)\n", "", "importing it raised SystemExit: 7"),
        ("import no_such_library_at_all\n", "", "importing it raised ModuleNotFoundError: No module named"),
        ("kernel = 1\n", ":kernels", "has no attribute 'kernels'; did you mean 'kernel'?"),
        ("kernel = 1\n", "", f"has none of the operators {OPERATORS}; it has kernel"),
        ("", "", f"has none of the operators {OPERATORS}; it has nothing public"),
        ("class K:\n    def swish(self, x): pass\n", ":K", "is a class; give an instance of it"),
        ("array = 'cupy'\ndef swish(x): pass\n", "", "array='cupy'; allowed: torch, numpy"),
        ("devices = 'cpu'\ndef swish(x): pass\n", "", "devices='cpu'; give a tuple of names"),
        ("dtypes = 5\ndef swish(x): pass\n", "", "dtypes=5; give a tuple of names"),
        ("import numpy\narray = numpy.ones(2)\ndef swish(x): pass\n", "", "array=array([1., 1.]); allowed:"),
        ("dtypes = ('half',)\ndef swish(x): pass\n", "", "names 'half'; allowed: float64, float32, bfloat16, float16"),
        ("precision = 3\ndef swish(x): pass\n", "", "precision=3 is not a mapping; for example precision = {"),
        ("precision = {'swish': {}}\ndef swish(x): pass\n", "", "is not operator.direction.dtype and a mapping"),
        (
            "precision = {'swish.forward.float32': {'accumulation': 'int8'}}\ndef swish(x): pass\n",
            "",
            "accumulation='int8'; allowed: float64, float32, tf32, bfloat16, float16, storage",
        ),
    ],
)
def test_a_file_that_cannot_be_judged_is_refused_in_clear_words(tmp_path, text, attribute, words):
    path = write(tmp_path, text)
    with pytest.raises(LoadError, match=re.escape(words)) as caught:
        load(f"{path}{attribute}")
    assert str(caught.value).startswith(f"{path}{attribute}: ")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("no_such_module", f"no_such_module: no module named 'no_such_module'; allowed: {FORMS}"),
        ("torhc", f"torhc: no module named 'torhc'; did you mean 'torch'?; allowed: {FORMS}"),
        ("there/is/none.py", f"there/is/none.py: the file there/is/none.py does not exist; allowed: {FORMS}"),
        ("./", f"./: the file . is a folder; allowed: {FORMS}"),
        ("torch.nn.functional:relu", "torch.nn.functional:relu: has none of the operators"),
    ],
)
def test_what_is_not_there_is_named(spec, words):
    with pytest.raises(LoadError, match=re.escape(words)):
        load(spec)


@pytest.mark.parametrize(
    ("line", "own"), [("from torch.func import vjp", False), ("def vjp(operator, arguments, cotangent): pass", True)]
)
def test_a_tool_that_a_file_imports_is_not_its_own_differentiation(tmp_path, line, own):
    found = load(str(write(tmp_path, f"{line}\ndef swish(x): pass\n")))
    assert (found.vjp is not None, found.gradients) == (own, True)


def test_an_object_is_described_without_a_file():
    class Kernels:
        def swish(self, x, beta=1.0):
            return x

    assert list(described(Kernels(), "kernels").operators) == ["swish"]
