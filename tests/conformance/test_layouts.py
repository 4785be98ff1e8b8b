"""Layouts of one tensor at a time: the others lie plainly, so that who takes one's strides for another's is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from assay.implementations.layouts import LAYOUTS, TIED, TOGETHER
from assay.tests.conformance.test_contract import ALL
from assay.tests.trial.alike import one_answer
from assay.tests.trial.cases import Case
from assay.tests.trial.failure import RAISED, NonConformance
from assay.tests.trial.laws import clause
from assay.tests.trial.textures import REPEATED, Texture
from assay.tests.trial.usual import Blocks

# Four axes where an operator takes them, and a thousand elements.
MATRICES = {"x": (2, 3, 8, 24), **dict.fromkeys("wv", (40, 24)), **dict.fromkeys("bc", (40,))}
SPREAD = {
    "swish": ({"x": (2, 3, 9, 24)}, {"beta": -1.5}),
    "linear": ({name: MATRICES[name] for name in "xwb"}, {}),
    "glu": (MATRICES, {}),
    "swiglu": (MATRICES, {}),
    "pad2d": ({"x": (2, 4, 24, 26)}, {"padding": 1}),
    "conv2d": ({"input": (3, 8, 9, 10), "weight": (16, 8, 3, 3), "bias": (16,)}, {"stride": 1, "padding": 1}),
    "max_pool2d": ({"input": (2, 8, 12, 11)}, {"kernel_size": 2, "stride": 2, "padding": 0}),
}
OF_VECTORS = ("offset", "strided", "expanded")
SEEDS = st.integers(0, 255)


def spread(operator: str, seed: int) -> Case:
    """A layer of normal numbers; in pooling no window has a tie."""
    shapes, parameters = SPREAD[operator]
    textures = {name: Texture("normal", seed + k) for k, name in enumerate(shapes)}
    textures |= {"input": Blocks("ties", seed)} if operator == "max_pool2d" else {}
    terms = {"conv2d": 72, "linear": 24, "glu": 24, "swiglu": 24}.get(operator, 1)
    return Case(operator, shapes, textures, parameters, terms, seed, Texture("few", seed + 9))


def plain_cases(operator: str, seed: int) -> list[Case]:
    """Such a layer; of matrices another one, of x of three axes."""
    case = spread(operator, seed)
    if operator not in ("linear", "glu", "swiglu"):
        return [case]
    return [case, case.changed(shapes={**case.shapes, "x": (6, 8, 24)})]


def one_laid(case: Case, names: Iterable[str]) -> Iterator[tuple[Case | None, Case]]:
    """The case with each tensor in each layout, and with a plain copy of what that holds where it is not the same."""
    for name in names:
        shape = case.shapes[name]
        for layout in LAYOUTS[1:] if len(shape) > 1 else OF_VECTORS:
            if layout in TIED and case.operator == "max_pool2d":
                continue
            ways = (REPEATED + layout, layout) if layout.startswith("expanded") else (layout,)
            laid = [
                case.changed(textures={**case.textures, name: replace(case.textures[name], layout=way)}) for way in ways
            ]
            yield laid[0] if len(laid) > 1 else None, laid[-1]


@clause("contract.layouts", tier="contract", operators=("linear", "glu", "swiglu"))
def test_contract_wide_tensors_in_one_memory_give_what_others_give(candidate, operator):
    """More than a hundred outputs, an odd number. Blind to gaps of other sizes."""
    candidate.begin()
    case = spread(operator, 0)
    lengths = {2: (131, 24), 1: (131,)}
    case = case.changed(shapes={name: lengths.get(len(shape), shape) for name, shape in case.shapes.items()})
    one_answer(candidate, case, *(candidate.answer(case, together=together) for together in ("", *TOGETHER)))


@clause("contract.layouts", tier="contract", operators=ALL, share=6)
@given(seed=SEEDS)
def test_contract_one_tensor_of_any_layout_gives_what_a_copy_gives(candidate, operator, seed):
    """Each in each. Blind to what is wrong anyway."""
    for number, plain in enumerate(plain_cases(operator, seed)):
        usual = candidate.ask(plain)
        for copy, laid in one_laid(plain, list(plain.shapes)[: None if number == 0 else 1]):
            candidate.calls.clear()
            one_answer(candidate, copy or plain, candidate.ask(copy) if copy else usual, candidate.ask(laid))


@clause("contract.layouts", tier="contract", operators=ALL, gradient=True, share=12)
@given(seed=SEEDS)
def test_contract_one_tensor_of_any_layout_has_the_gradients_of_a_copy(candidate, operator, seed):
    """Each in each; who refuses to go back hands back no wrong number. Blind to what is wrong anyway."""
    for number, plain in enumerate(plain_cases(operator, seed)):
        usual = candidate.ask_gradient(plain)
        for copy, laid in one_laid(plain, list(plain.shapes)[: None if number == 0 else 1]):
            candidate.calls.clear()
            first = candidate.ask_gradient(copy) if copy else usual
            try:
                seen = candidate.ask_gradient(laid)
            except NonConformance as problem:
                if problem.kind != RAISED:
                    raise
            else:
                one_answer(candidate, copy or plain, first, seen)
