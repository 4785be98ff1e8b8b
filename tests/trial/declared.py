"""What the command line says of a candidate's precision, over what the candidate says of itself.

>>> overridden({}, ["linear.forward.float32=operands:tf32,flush:true"])
{'linear.forward.float32': {'operands': 'tf32', 'flush': True}}
>>> overridden({"linear.forward.float32": {"flush": True}}, ["strict"])
{}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from assay.implementations.contract import OPERATOR_NAMES
from assay.implementations.load import DIRECTIONS
from assay.reference.arithmetic.formats import STORAGE
from assay.reference.arithmetic.precision import BadDeclaration, Precision
from assay.tests.trial.usage import UsageProblem, known

STRICT = "strict"
FORM = "give operator.direction.dtype=key:value,... , for example linear.forward.float32=operands:tf32, or strict"
BOOLS: dict[str, object] = {"true": True, "false": False}

Declarations = Mapping[str, Mapping[str, object]]


def overridden(candidates: Declarations, words: Sequence[str]) -> dict[str, Mapping[str, object]]:
    """The declarations of a candidate with what the words of ``--precision`` change.

    A word ``operator.direction.dtype=key:value,...`` stands in place of whatever the candidate declares there, and
    with ``strict`` behind the sign it declares nothing there. The word ``strict`` alone drops all that the candidate
    declares, wherever it stands.

    Raises:
        UsageProblem: a word has another form, or names what the accuracy model does not know.
    """
    kept = {} if STRICT in words else dict(candidates)
    stated: dict[str, Mapping[str, object]] = {}
    for word in words:
        if word != STRICT:
            key, declaration = _declaration(word)
            if key in stated:
                raise UsageProblem(f"--precision {word}: {key} is declared twice; give its keys in one word")
            stated[key] = declaration
    return {**kept, **stated}


def keys(words: Sequence[str]) -> list[str]:
    """The operator.direction.dtype of each word that has one."""
    return [word.partition("=")[0] for word in words if word != STRICT]


def _declaration(word: str) -> tuple[str, dict[str, object]]:
    key, equals, text = word.partition("=")
    parts = key.split(".")
    if not equals or len(parts) != 3 or not text:
        raise UsageProblem(f"--precision {word!r} is not understood; {FORM}")
    try:
        for what, part, allowed in zip(("operator", "direction", "dtype"), parts, _ALLOWED, strict=True):
            known(what, [part], allowed)
        declaration = {} if text == STRICT else _pairs(text)
        Precision.declared(STORAGE[parts[2]], declaration)
    except (UsageProblem, BadDeclaration) as problem:
        raise UsageProblem(f"--precision {word}: {problem}") from None
    return key, declaration


_ALLOWED = (OPERATOR_NAMES, DIRECTIONS, tuple(STORAGE))


def _pairs(text: str) -> dict[str, object]:
    found: dict[str, object] = {}
    for pair in text.split(","):
        name, colon, value = (part.strip() for part in pair.partition(":"))
        if not colon:
            raise UsageProblem(f"{pair!r} is not key:value; {FORM}")
        if name in found:
            raise UsageProblem(f"{name} is given twice")
        found[name] = BOOLS.get(value.lower(), value)
    return found
