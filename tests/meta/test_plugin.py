"""The pytest plugin, as another project's suite meets it: a folder of its own, its own settings."""

from __future__ import annotations

import functools
import os
import subprocess
import sys

import pytest
import torch.nn.functional as F

import assay
from assay import plugin
from assay.plugin import DoesNotConform
from assay.report import session
from assay.tests.meta.test_report import quick_laws

KERNELS = """
import torch.nn.functional as F

def pad2d(x, padding):
    return F.pad(x, (padding,) * 4)

def lopsided(x, padding):
    return F.pad(x, (padding, padding, padding, padding), value=0.0 if padding < 2 else 1.0)
"""

SUITE = """
import functools
import assay
import my_kernels
import pytest

test_pad2d = assay.conforms("pad2d", dtypes=["float64", "float16"])(my_kernels.pad2d)

@pytest.mark.parametrize("unrelated", [1])
def test_of_their_own(unrelated):
    assert unrelated

@pytest.mark.filterwarnings("error")
@assay.conforms("pad2d", dtypes=["float64"])
def lopsided(x, padding):
    "A kernel of a test file, under a name that is no test's."
    return my_kernels.lopsided(x, padding)

test_partial = assay.conforms("pad2d", dtypes=["float64"])(functools.partial(my_kernels.pad2d))

def test_by_fixture(assay_conforms):
    assay_conforms(my_kernels.pad2d, "pad2d", dtypes=["float64"], waivers="waivers.toml")
"""

# Who judges a kernel in earnest asks all laws; these are about the plugin, and ask those of one file.
FEW = """
from assay.report import session
from assay.tests.trial.laws import all_laws

session.all_laws = lambda *budget: [law for law in all_laws(*budget) if law.module.endswith("test_pad2d")]
"""

CONFTEST = """
import hypothesis

hypothesis.settings.register_profile("theirs", max_examples=1, deadline=1, backend="hypothesis")
hypothesis.settings.load_profile("theirs")

def pytest_addoption(parser):
    parser.addoption("--op", default="theirs")
    parser.addoption("--seed", default="theirs")
    parser.addoption("--json", default="theirs")

def pytest_sessionfinish(session):
    import torch
    print(session.config.getoption("op"), hypothesis.settings.default.max_examples, torch.backends.cudnn.allow_tf32)
"""

WAIVERS = """
[[waiver]]
clause = "pad2d.zeros"
operator = "pad2d"
candidate = "somebody_else"
reason = "nothing of this suite"
url = "https://example.org/1"
expiry = 2999-01-01
"""


def suite(folder, *words):
    """Run pytest in a folder, as its author would."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTEST_ADDOPTS": "", "COLUMNS": "100"},
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("theirs")
    files = {"my_kernels.py": KERNELS, "test_kernels.py": SUITE, "conftest.py": FEW + CONFTEST, "waivers.toml": WAIVERS}
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def run(project):
    return suite(project, "-v", "-n", "2")


def test_a_right_kernel_passes_and_a_wrong_one_fails_under_ids_that_name_the_dtype(run):
    code, text = run
    assert code == 1
    for word in (
        "test_pad2d[float64]",
        "test_pad2d[float16]",
        "test_of_their_own[1]",
        "test_by_fixture",
        "test_partial[float64]",
    ):
        assert f"PASSED test_kernels.py::{word}" in text
    assert "FAILED test_kernels.py::lopsided[float64]" in text
    assert "1 failed, 5 passed" in text


def test_the_failure_is_the_report_and_a_script_and_no_traceback(run):
    _, text = run
    assert "FAIL pad2d.zeros   what padding adds is zero, and what was there stays as it was" in text
    for word in ("candidate  test_kernels:lopsided.pad2d", "permitted  exactly 0", "again      the script below"):
        assert word in text
    assert "test_kernels:lopsided does not conform: " in text
    assert "assay replay" not in text and "plugin.py" not in text


def test_their_options_and_settings_are_theirs(project):
    code, text = suite(project, "-s", "-k", "test_by_fixture", "--op", "mine")
    assert code == 0
    assert "mine 1 True" in text


def test_the_script_of_a_failure_runs_by_itself_and_settings_are_as_they_were(project):
    """The adapter that smaller examples are tried on turns TF32 off as it is loaded."""
    lines = [
        *FEW.splitlines(),
        "import sys",
        f"sys.path.insert(0, {str(project)!r})",
        "import assay, my_kernels",
        "try:",
    ]
    lines += ["    assay.assert_conforms(my_kernels.lopsided, 'pad2d', dtypes=['float32'])"]
    lines += ["except AssertionError as problem:", "    text = str(problem).partition('  script\\n')[2]"]
    lines += ["    exec('\\n'.join(line[4:] for line in text.split('\\n\\n')[0].splitlines()))"]
    lines += ["import torch; print(torch.backends.cudnn.allow_tf32)"]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=240)
    assert "tensor([" in done.stdout and done.stdout.endswith("True\n"), done.stderr


def test_nothing_is_imported_before_it_is_used():
    heavy = ("torch", "numpy", "hypothesis", "assay.spec", "assay.tests", "assay.implementations")
    code = f"import sys, assay.plugin; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
    code = "import sys, assay; assay.conforms('swish')(len); assay.conforms('swish', array='numpy')(len)"
    code += "; print([name for name in ('torch', 'hypothesis') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
    code = "import sys, assay, assay.reference.swish; print('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def identity(x, *_):
    return x


@pytest.mark.parametrize(
    ("operator", "words", "message"),
    [
        ("swich", {}, "unknown operator 'swich'; allowed: .*; did you mean 'swish'?"),
        ("swish", {"dtypes": ["float8"]}, "unknown dtype 'float8'"),
        ("swish", {"budget": "huge"}, "unknown budget 'huge'; allowed: quick, gate, deep"),
        ("swish", {"precision": {"swish.forward.float32": {"operand": "tf32"}}}, "unknown key 'operand'"),
        ("swish", {"array": "abacus"}, "array='abacus'; allowed: "),
        ("swish", {"waivers": "none.toml"}, "none.toml cannot be read"),
    ],
)
def test_a_word_that_is_not_understood_is_told_in_a_sentence(operator, words, message):
    with pytest.raises(ValueError, match=message):
        assay.assert_conforms(identity, operator, **words)


def test_a_decorator_is_told_at_once():
    with pytest.raises(ValueError, match="unknown operator 'swich'"):
        assay.conforms("swich")
    with pytest.raises(TypeError, match="tolerance"):
        assay.conforms("swish", tolerance=1e-3)
    with pytest.raises(ValueError, match="array='abacus'; allowed: "):
        assay.conforms("swish", array="abacus")(identity)
    with pytest.raises(AttributeError, match="module 'assay' has no attribute 'conform'; it has assert_conforms"):
        assay.conform  # noqa: B018


def test_dtypes_are_a_list():
    for call in (assay.conforms, lambda *words, **more: assay.assert_conforms(identity, *words, **more)):
        with pytest.raises(ValueError, match=r"dtypes='float32'; give a list: \['float32'\]"):
            call("swish", dtypes="float32")


class Layer:
    def __call__(self, x, beta=1.0):
        return x

    forward = __call__


@pytest.mark.parametrize("kernel", [functools.partial(identity), Layer(), Layer().forward])
def test_whatever_can_be_called_can_be_decorated(kernel):
    test = assay.conforms("swish", dtypes=["float32"])(kernel)
    assert test.__name__ == getattr(kernel, "__name__", "test") and test.kernel == kernel


@pytest.mark.parametrize("kernel", [functools.partial(identity), Layer(), Layer().forward])
def test_what_no_name_leads_to_is_put_into_the_script_by_hand(kernel):
    assert "# put the kernel here: " in plugin._recipe(kernel, "swish")
    assert "# put the kernel here: " not in plugin._recipe(identity, "swish")


def test_a_seed_draws_other_examples_and_the_same_ones_again(monkeypatch):
    laws = quick_laws("pad2d.additive")
    monkeypatch.setattr(session, "all_laws", lambda *budget: laws)

    def drawn(seed):
        seen = []

        def kernel(x, padding):
            seen.append((tuple(x.shape), float(x.sum())))
            return F.pad(x, [padding] * 4)

        assay.assert_conforms(kernel, "pad2d", dtypes=["float32"], seed=seed)
        return repr(seen)

    fixed, seeded = drawn(None), drawn(7)
    assert seeded == drawn(7) and seeded != drawn(8) != fixed == drawn(None)


def test_what_cannot_be_judged_is_no_pass(monkeypatch):
    import torch

    laws = quick_laws("linear.formula")
    monkeypatch.setattr(session, "all_laws", lambda *budget: laws)
    declared = {"linear.forward.float32": {"algorithm": "winograd"}}
    with pytest.raises(DoesNotConform, match=r"CANNOT JUDGE linear\.formula .*no cited error bound"):
        assay.assert_conforms(torch.nn.functional.linear, "linear", dtypes=["float32"], precision=declared)


def test_what_is_left_out_is_told_though_the_test_passes(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "import assay, torch\n"
        "precision = {'linear.backward.bfloat16': {'accumulation': 'storage'}}\n"
        "@assay.conforms('linear', dtypes=['bfloat16'], precision=precision)\n"
        "def test_linear(x, w, b=None):\n"
        "    return torch.nn.functional.linear(x, w, b)\n"
    )
    asked = "law.name.endswith(('tokens_are_rounded_once', 'linear_of_integers_is_exact'))"
    (tmp_path / "conftest.py").write_text(FEW.replace('law.module.endswith("test_pad2d")', asked))
    code, text = suite(tmp_path, "-n", "1")
    assert code == 0, text
    assert "LEFT OUT linear · bfloat16, as accumulation=bfloat16 is declared, which lets the sums be rounded" in text


def test_what_is_waived_is_told_though_the_test_passes(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "import assay, torch\n"
        "@assay.conforms('pad2d', dtypes=['float32'], waivers='w.toml')\n"
        "def test_pad2d(x, padding):\n"
        "    padded = torch.nn.functional.pad(x, (padding,) * 4)\n"
        "    return torch.nan_to_num(padded, nan=0.0, posinf=torch.inf, neginf=-torch.inf)\n"
    )
    (tmp_path / "conftest.py").write_text(FEW)
    named = WAIVERS.replace("somebody_else", "test_it:test_pad2d")
    (tmp_path / "w.toml").write_text(named + 'where = { special = ["nan"] }\n')
    code, text = suite(tmp_path, "-n", "1")
    assert code == 0, text
    assert "test_it.py::test_pad2d[float32]: test_it:test_pad2d conforms: " in text
    assert "1 waived (w.toml, line 2)" in text
