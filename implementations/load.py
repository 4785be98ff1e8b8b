"""Finding an implementation: an adapter's name, a module, an attribute of one, or a file.

>>> load("torch").name
'torch'
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from assay.implementations import surroundings
from assay.implementations.contract import ARRAYS, OPERATOR_NAMES, Implementation
from assay.reference.arithmetic.formats import STORAGE
from assay.reference.arithmetic.precision import BadDeclaration, Precision

ADAPTERS = {
    "torch": "assay.implementations.torch",
    "torch-channels-last": "assay.implementations.torch_channels_last",
    "torch-compiled": "assay.implementations.torch_compiled",
    "torch-tf32": "assay.implementations.torch_tf32",
    "torch-without-onednn": "assay.implementations.torch_without_onednn",
    "equinox": "assay.implementations.equinox",
    "flax": "assay.implementations.flax",
    "jax": "assay.implementations.jax",
    "liger": "assay.implementations.liger",
    "mlx": "assay.implementations.mlx",
    "mnn": "assay.implementations.mnn",
    "ncnn": "assay.implementations.ncnn",
    "onnx-reference": "assay.implementations.onnx_reference",
    "onnxruntime": "assay.implementations.onnxruntime",
    "opencv": "assay.implementations.opencv",
    "openvino": "assay.implementations.openvino",
    "paddle": "assay.implementations.paddle",
    "scipy": "assay.implementations.scipy",
    "tensorflow": "assay.implementations.tensorflow",
    "tinygrad": "assay.implementations.tinygrad",
    "tract": "assay.implementations.tract",
    "triton": "assay.implementations.triton",
    "tvm": "assay.implementations.tvm",
}
DIRECTIONS = ("forward", "backward")
FORMS = f"an adapter ({', '.join(ADAPTERS)}), a module pkg.mod, pkg.mod:attribute, a file path.py or path.py:attribute"


class LoadError(Exception):
    """No implementation can be had from what was given; the text says what, why, and what is allowed."""


@functools.cache
def trusted() -> Implementation:
    """PyTorch as the judge trusts it, on the CPU. It is loaded where it is needed, as that takes a second or two.

    Settings that its adapter makes are put back: a candidate's are its own.
    """
    import torch  # noqa: F401  # whose settings are looked after once it is there

    before = surroundings.state()
    try:
        return load("torch")
    finally:
        surroundings.restore(before)


def load(spec: str) -> Implementation:
    """The implementation that ``spec`` names.

    Raises:
        LoadError: it does not exist, does not import, lacks the attribute, offers none of the operators, or says
            something of itself that has no meaning.
    """
    target, _, attribute = spec.partition(":")
    if target in ADAPTERS:
        module = _imported(ADAPTERS[target], spec)
        recipe = _file_recipe(Path(str(module.__file__)))
    elif target.endswith(".py") or "/" in target:
        module = _from_file(Path(target), spec)
        recipe = f"import sys\nsys.path.insert(0, {str(Path(target).resolve().parent)!r})\n"  # it may import neighbours
        recipe += _file_recipe(Path(target).resolve())
    else:
        module = _imported(target, spec)
        recipe = f"import importlib\ncandidate = importlib.import_module({target!r})"
    found: Any = module
    for part in attribute.split(".") if attribute else ():
        found = _attribute(found, part, spec)
        recipe += f"\ncandidate = candidate.{part}"
    return described(found, spec, recipe)


def described(found: Any, name: str, recipe: str = "") -> Implementation:
    """The implementation that an object or module is, by the operators and the words it has.

    Raises:
        LoadError: as `load`.
    """
    if isinstance(found, type):
        raise LoadError(f"{name}: is a class; give an instance of it, for example {name}_instance = {found.__name__}()")
    operators = {op: getattr(found, op) for op in OPERATOR_NAMES if callable(getattr(found, op, None))}
    if not operators:
        has = ", ".join(sorted(key for key in dir(found) if not key.startswith("_"))[:8]) or "nothing public"
        raise LoadError(f"{name}: has none of the operators {', '.join(OPERATOR_NAMES)}; it has {has}")
    array = getattr(found, "array", "torch")
    if not isinstance(array, str) or array not in ARRAYS:  # an array of numpy answers `in` with an array
        raise LoadError(f"{name}: array={array!r}; allowed: {', '.join(ARRAYS)}")
    vjp = _own_vjp(found)
    precision = getattr(found, "precision", {})
    check_precision(precision, name)
    return Implementation(
        name,
        operators,
        array,
        precision,
        _names(found, "devices", name),
        _names(found, "dtypes", name),
        vjp,
        (array == "torch" and bool(getattr(found, "gradients", True))) or vjp is not None,
        recipe,
        str(getattr(found, "version", "")),
        surroundings.replaced(),
    )


def _own_vjp(found: Any) -> Any:
    """Its differentiation, if it has one: not the tool of that name that a file may import from its library."""
    vjp = getattr(found, "vjp", None)
    return None if str(getattr(vjp, "__module__", "")).partition(".")[0] in ("torch", "jax") else vjp


def _names(found: Any, key: str, name: str) -> tuple[str, ...] | None:
    value = getattr(found, key, None)
    if value is None:
        return None
    if not isinstance(value, tuple | list) or not all(isinstance(part, str) for part in value):
        raise LoadError(f"{name}: {key}={value!r}; give a tuple of names, for example {key} = ('cpu',)")
    if key == "dtypes" and (unknown := [part for part in value if part not in STORAGE]):
        raise LoadError(f"{name}: dtypes={value!r} names {unknown[0]!r}; allowed: {', '.join(STORAGE)}")
    return tuple(value)


def check_precision(precision: Any, name: str) -> None:
    """Hold what a candidate declares to having a meaning.

    Raises:
        LoadError: it has none; the text says which declaration, and what is allowed.
    """
    example = "precision = {'conv2d.backward.bfloat16': {'accumulation': 'storage'}}"
    if not isinstance(precision, Mapping):
        raise LoadError(f"{name}: precision={precision!r} is not a mapping; for example {example}")
    for key, declaration in precision.items():
        parts = str(key).split(".")
        known = len(parts) == 3 and parts[0] in OPERATOR_NAMES and parts[1] in DIRECTIONS and parts[2] in STORAGE
        if not known or not isinstance(declaration, Mapping):
            raise LoadError(f"{name}: precision[{key!r}] is not operator.direction.dtype and a mapping; e.g. {example}")
        try:
            Precision.declared(STORAGE[parts[2]], declaration)
        except BadDeclaration as problem:
            raise LoadError(f"{name}: precision[{key!r}]: {problem}") from None


def _imported(module: str, spec: str) -> ModuleType:
    try:
        with _importable_from(Path.cwd()):
            return importlib.import_module(module)
    except ModuleNotFoundError as problem:
        if problem.name is None or not (module == problem.name or module.startswith(problem.name + ".")):
            raise LoadError(f"{spec}: importing it failed: {problem}; install what it needs") from None
        close = difflib.get_close_matches(module, ADAPTERS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise LoadError(f"{spec}: no module named {problem.name!r}{hint}; allowed: {FORMS}") from None
    except BaseException as problem:
        raise _raised(spec, problem) from None


@contextmanager
def _importable_from(folder: Path) -> Iterator[None]:
    """Have a folder first on the path while a module is loaded, and last from then on: it may import when called."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        if str(folder) not in sys.path:
            sys.path.append(str(folder))


def _from_file(path: Path, spec: str) -> ModuleType:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise LoadError(f"{spec}: the file {path} {what}; allowed: {FORMS}")
    located = importlib.util.spec_from_file_location(f"assay_candidate_{path.stem}", path)
    if located is None or located.loader is None:
        raise LoadError(f"{spec}: {path} is not a Python file; allowed: {FORMS}")
    module = importlib.util.module_from_spec(located)
    sys.modules[located.name] = module
    try:
        with _importable_from(path.resolve().parent):
            located.loader.exec_module(module)
    except BaseException as problem:
        raise _raised(spec, problem) from None
    return module


def _raised(spec: str, problem: BaseException) -> LoadError:
    if isinstance(problem, KeyboardInterrupt):
        raise problem
    if isinstance(problem, SyntaxError):
        return LoadError(
            f"{spec}: does not parse: {problem.msg} (line {problem.lineno}: {(problem.text or '').strip()})"
        )
    frames = traceback.extract_tb(problem.__traceback__)
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return LoadError(f"{spec}: importing it raised {type(problem).__name__}: {problem}{where}; it must import cleanly")


def _attribute(found: Any, part: str, spec: str) -> Any:
    if hasattr(found, part):
        return getattr(found, part)
    names = sorted(key for key in dir(found) if not key.startswith("_"))
    close = difflib.get_close_matches(part, names, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(names[:8]) or 'nothing public'}"
    raise LoadError(f"{spec}: has no attribute {part!r}; {hint}")


def _file_recipe(path: Path) -> str:
    return f"import runpy, types\ncandidate = types.SimpleNamespace(**runpy.run_path({str(path)!r}))"
