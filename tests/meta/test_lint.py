"""The project's linter: every rule is seen to fire on what it forbids, and to let what is near it pass."""

from __future__ import annotations

import pytest

lint = pytest.importorskip("assay.tools.lint", reason="the linter stands in the repository and is not installed")

LOADER = "implementations/load.py"
ADAPTER = "implementations/numpy.py"
TABLE = 'ADAPTERS = {"numpy": "assay.implementations.numpy"}\n'

# where it stands, what is planted, and words of the finding
FIRES = {
    "reference-imports-numpy": ("reference/swish.py", "import numpy as np", "imports 'numpy'"),
    "reference-imports-a-submodule": ("reference/swish.py", "from numpy.linalg import norm", "imports 'numpy.linalg'"),
    "reference-imports-the-spec": ("reference/arithmetic/tape.py", "from assay.spec import CLAUSES", "'assay.spec'"),
    "reference-imports-late": ("reference/swish.py", "def f():\n    import torch", "imports 'torch'"),
    "reference-imports-by-dots": ("reference/swish.py", "from . import linear", "imports '.'"),
    "adapter-catches": (ADAPTER, "try:\n    import a\nexcept ImportError:\n    pass", "catches an exception"),
    "adapter-suppresses": (ADAPTER, "with contextlib.suppress(ValueError):\n    f()", "catches an exception"),
    "adapter-compares": (ADAPTER, "def f(x):\n    return x if x.ndim == 4 else None", "compares with a number"),
    "adapter-compares-with-minus-one": (ADAPTER, "def f(x):\n    return x > -1", "compares with a number"),
    "adapter-names-a-tolerance": (ADAPTER, "def f(x):\n    return g(x, rtol=1e-3)", "names 'rtol'"),
    "adapter-has-a-tolerance": (ADAPTER, "MY_TOLERANCE = 1e-3", "names 'MY_TOLERANCE'"),
    "adapter-multiplies": (ADAPTER, "def f(x):\n    return x * x", "an adapter computes"),
    "adapter-adds-in-place": (ADAPTER, "def f(x):\n    x += 1", "an adapter computes"),
    "adapter-negates": (ADAPTER, "def f(x):\n    return -x", "an adapter computes"),
    "adapter-composes-elsewhere": (ADAPTER, "def f(x):\n    # composed: no cube\n    return x * x", "computes"),
    "adapter-composes-outside": (ADAPTER, "half = 1.0 / 2.0  # composed: no half", "an adapter computes"),
    "formula-asks-a-sign": ("reference/swish.py", "def swish(x):\n    if x > 0:\n        return x", "'if' on a value"),
    "formula-chooses": ("reference/glu.py", "def gated_element(x):\n    return x if x else 0", "'ifexp' on a value"),
    "formula-compares": ("reference/pad2d.py", "def pad2d_element(x):\n    return x * (x > 0)", "a comparison"),
    "formula-of-any-name": ("reference/relu6.py", "def relu6(x):\n    return x if x > 0 else 0", "a comparison"),
    "formula-falls-back": ("reference/pad2d.py", "def pad2d_element(x):\n    return x or 0", "'and' or 'or'"),
    "formula-negates": ("reference/pad2d.py", "def pad2d_element(x):\n    return not x", "'not'"),
    "formula-matches": (
        "reference/swish.py",
        "def swish(x):\n    match x:\n        case 0:\n            return x",
        "'match'",
    ),
    "formula-filters": ("reference/swish.py", "def swish(x):\n    return [y for y in x if y > 0]", "a filter"),
    "formula-clips": ("reference/linear.py", "def linear_element(x):\n    return max(0, x)", "a call of max"),
    "rtol": ("tests/trial/judge.py", "same(a, b, rtol=1e-3)", "'rtol' is a tolerance"),
    "atol": ("report/table.py", "atol = 1e-3", "'atol' is a tolerance"),
    "allclose": ("tests/conformance/test_a.py", "assert np.allclose(a, b)", "'allclose' is a tolerance"),
    "isclose": ("conftest.py", "assert math.isclose(a, b)", "'isclose' is a tolerance"),
    "approx": ("tests/meta/test_a.py", "assert a == pytest.approx(b)", "'approx' is a tolerance"),
    "assert-close": ("tests/meta/test_a.py", "torch.testing.assert_close(a, b)", "'assert_close' is a tolerance"),
    "a-tolerance-beside-the-peers": ("tests/power/smallest.py", "same(a, b, atol=1e-3)", "'atol' is a tolerance"),
    "exec": ("implementations/worker.py", "exec('x = 1')", "a call of exec"),
    "eval": ("tests/meta/test_a.py", "import builtins\nbuiltins.eval('1')", "a call of builtins.eval"),
    "sys-exit": ("report/table.py", "import sys\nsys.exit(1)", "sys.exit outside cli.py"),
    "sys-exit-by-name": ("tools/other.py", "from sys import exit", "sys.exit outside cli.py"),
    "long-function": ("spec/a.py", "def f():\n" + "    g()\n" * 26, "f has 26 lines"),
    "long-method": ("spec/a.py", "class A:\n    def f(self):\n" + "        g()\n" * 26, "f has 26 lines"),
    "long-file": ("spec/a.py", "f()\n" * 330, "331 lines"),
    "syntax-error": ("spec/a.py", "def f(:", "does not parse"),
}

PASSES = {
    "reference-imports-its-own": ("reference/swish.py", "import math\nfrom assay.reference.tensor import Tensor"),
    "others-import-numpy": ("tests/trial/judge.py", "import numpy as np"),
    "adapter-calls": (ADAPTER, "def f(x, w):\n    return cat([x, w], axis=-1)"),
    "adapter-asks-none": (ADAPTER, "def f(x, b):\n    return g(x) if b is None else h(x, b)"),
    "adapter-joins-tables": (ADAPTER, 'precision = {} | {"linear.forward.float32": {"operands": "tf32"}}'),
    "adapter-composes": (ADAPTER, "def f(x):\n    return x * g(x)  # composed: the library has no swish"),
    "others-compute": ("implementations/observe.py", "try:\n    x = a * b > 1\nexcept ValueError:\n    pass"),
    "formula-asks-none": (
        "reference/linear.py",
        "def linear_element(x, b=None):\n    return x + (0 if b is None else b) if x is not None and b is None else x",
    ),
    "shape-asks-a-number": ("reference/conv2d.py", "def conv2d_shape(x):\n    return x if x > 0 else 0"),
    "arithmetic-asks-a-number": ("reference/arithmetic/real.py", "def swish(x):\n    return x if x > 0 else 0"),
    "a-text-speaks-of-rtol": ("tests/mutants/swish.py", '"""An allclose with rtol=1e-3 passes this."""  # atol too'),
    "a-peer-tolerates": ("tests/power/peers.py", "torch.allclose(a, b, rtol=1e-2, atol=1e-2)"),
    "a-method-called-eval": ("implementations/observe.py", "module.eval()\nloader.exec_module(module)"),
    "cli-exits": ("cli.py", "import sys\nsys.exit(1)"),
    "function-of-25-lines": ("spec/a.py", 'def f():\n    """One.\n\n    Two.\n    """\n' + "    g()\n" * 25),
    "table-in-a-function": ("spec/a.py", "def f():\n    return [\n" + "        1,\n" * 30 + "    ]"),
    "table-in-a-file": ("spec/a.py", "CLAUSES = (\n" + "    Clause(),\n" * 400 + ")"),
    "built": ("build/lib/a.py", "exec('x')"),
    "hidden": (".venv/lib/a.py", "exec('x')"),
}


def planted(folder, path, text):
    """A repository of a loader, an adapter and one more file."""
    for name, content in {LOADER: TABLE, ADAPTER: "", path: text + "\n"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", FIRES)
def test_a_rule_fires_on_what_it_forbids(tmp_path, name):
    path, text, words = FIRES[name]
    found = lint.findings(planted(tmp_path, path, text))
    assert found, f"nothing was found in {text!r}"
    assert all(line.startswith(f"{path}:") for line in found)
    assert any(words in line for line in found), found


@pytest.mark.parametrize("name", PASSES)
def test_a_rule_lets_its_neighbours_pass(tmp_path, name):
    assert lint.findings(planted(tmp_path, *PASSES[name])) == []


def test_every_rule_is_seen_to_fire():
    silent = {*lint.rules_of(ADAPTER, (ADAPTER,)), *lint.rules_of("reference/swish.py", ())}
    for path, text, words in FIRES.values():
        if words != "does not parse":
            silent -= {rule for rule in lint.rules_of(path, (ADAPTER,)) if any(rule(lint.Source(path, text + "\n")))}
    assert silent == set()


def test_a_finding_is_one_line_with_its_place(tmp_path):
    found = lint.findings(planted(tmp_path, "report/table.py", "x = 1\nexec('x')"))
    assert found == ["report/table.py:2: a call of exec; import the module, or call the function"]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("ADAPTERS = dict(numpy='a')\n", "malformed"),
        ("", "assigns ADAPTERS 0 times"),
        ("ADAPTERS = {}\nADAPTERS = {}\n", "assigns ADAPTERS 2 times"),
        ('ADAPTERS = {"jax": "assay.implementations.jax"}\n', "implementations/jax.py, which does not exist"),
        ("ADAPTERS = {\n", "cannot tell"),
    ],
)
def test_a_table_of_adapters_that_cannot_be_read_is_a_finding(tmp_path, table, words):
    found = lint.findings(planted(tmp_path, LOADER, table))
    assert len(found) == 1
    assert words in found[0]


def test_an_annotated_table_of_adapters_is_read(tmp_path):
    planted(tmp_path, ADAPTER, "rtol = f()")
    (tmp_path / LOADER).write_text(TABLE.replace(" =", ": dict[str, str] ="), encoding="utf-8")
    assert "names 'rtol'" in "".join(lint.findings(tmp_path))


def test_the_repository_keeps_its_own_rules():
    assert lint.findings() == []


def test_findings_make_the_exit_code(monkeypatch, capsys):
    monkeypatch.setattr(lint, "findings", lambda: ["a.py:1: wrong"])
    assert lint.main() == 1
    assert capsys.readouterr().out == "a.py:1: wrong\n"
    monkeypatch.setattr(lint, "findings", lambda: [])
    assert lint.main() == 0
    assert capsys.readouterr().out == ""
