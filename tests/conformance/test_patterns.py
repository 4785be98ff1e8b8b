"""Patterns in values: one tensor in each of them, and all at once, in results and in gradients that are compared whole.

The calls follow each other in one shape, so that what one leaves behind where the next has zeros shows, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from assay.tests.trial import transforms
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.cases import Case
from assay.tests.trial.laws import clause
from assay.tests.trial.patterns import OF_UNTIED, Pattern, patterns
from assay.tests.trial.planes import Untied, holding
from assay.tests.trial.suspects import SUMS
from assay.tests.trial.textures import Texture
from assay.tests.trial.whole import (
    are_rounded_once,
    going_back,
    gradients_are_rounded_once,
    gradients_are_within,
    of_whole_numbers,
    result_is_exact,
    result_is_within,
    sums_once,
)

SQUARE = {"x": (24, 32), **dict.fromkeys("wv", (32, 32)), **dict.fromkeys("bc", (32,))}
LAYERS = {
    "swish": ({"x": (24, 32)}, {}),
    "linear": ({name: SQUARE[name] for name in "xwb"}, {}),
    **dict.fromkeys(("glu", "swiglu"), (SQUARE, {})),
    "pad2d": ({"x": (4, 6, 9, 10)}, {"padding": 2}),
    "conv2d": ({"input": (2, 8, 9, 10), "weight": (8, 8, 3, 3), "bias": (8,)}, {"stride": 1, "padding": 1}),
    "max_pool2d": ({"input": (4, 6, 17, 18)}, {"kernel_size": 3, "stride": 2, "padding": 1}),
}
INCOMING = "incoming"


def layer(operator: str, incoming: str = "normal") -> Case:
    """A layer of normal numbers, to which such numbers come back; in pooling no two of a plane are equal."""
    shapes, parameters = LAYERS[operator]
    textures = {name: Texture("normal", k) for k, name in enumerate(shapes)}
    case = Case(operator, shapes, textures, parameters, 2**8, 0, Texture(incoming, 9))
    return holding(case, Untied) if operator == "max_pool2d" else case


def shown(candidate: Candidate, case: Case, name: str, pattern: Pattern) -> Case:
    """The case, one of whose tensors shows the pattern."""
    given = {**case.textures, INCOMING: case.incoming}
    values = given[name].fill({**case.shapes, INCOMING: case.result_shape}[name], candidate.format, case.terms).values
    given[name] = given[name].holding(pattern(values), case.terms)
    return case.changed(incoming=given.pop(INCOMING), textures=given)


def each(candidate: Candidate, case: Case, back: bool = False) -> Iterator[Case]:
    """The case, and with each tensor in each pattern that it may have, and with all that may have it."""
    candidate.begin()
    yield case
    shapes = {**case.shapes, **({INCOMING: case.result_shape} if back else {})}
    offered = {name: patterns(len(shape)) for name, shape in shapes.items()}
    if case.operator == "max_pool2d":
        offered["input"] = OF_UNTIED
    for words in dict.fromkeys(words for found in offered.values() for words in found):
        names = tuple(name for name, found in offered.items() if words in found)
        for together in dict.fromkeys((*((name,) for name in names), names)):
            showing = case
            for name in together:
                showing = shown(candidate, showing, name, offered[name][words])
            candidate.begin()
            yield showing


def is_exact(candidate: Candidate, operator: str, direction: str) -> bool:
    """Whether sums are asked of integers: numpy is near to no reals by transforms, nor by operands of fewer bits."""
    precision = candidate.precision(operator, direction)
    plain = precision.algorithm == "direct" and precision.operands.precision >= candidate.format.precision
    return operator in SUMS and not plain


def results_are_within(candidate: Candidate, operator: str) -> None:
    """Judge what of the results is not near to numpy's, in training and in inference in turn."""
    exact, plain = is_exact(candidate, operator, "forward"), layer(operator)
    for number, case in enumerate(each(candidate, of_whole_numbers(plain) if exact else plain)):
        if exact:
            result_is_exact(candidate, case.changed(pick=number))
        else:
            result_is_within(candidate, case, candidate.answer(case, recording=(None, False)[number % 2]))


def all_gradients_are_within(candidate: Candidate, plain: Case, names: Sequence[str] = ()) -> None:
    """Judge what of the gradients, or of these, is not near to numpy's."""
    if not is_exact(candidate, plain.operator, "backward"):
        for case in each(candidate, plain, back=True):
            gradients_are_within(candidate, case, candidate.ask_gradient(case), names)
        return
    bounded = plain.operator == "conv2d" and transforms.is_bounded(candidate, "backward")
    if bounded or sums_once(candidate, plain.operator, "backward"):
        for case in each(candidate, going_back(candidate, of_whole_numbers(plain), "contiguous"), back=True):
            seen = candidate.ask_gradient(case)
            judged = transforms.gradients_are_within if bounded else are_rounded_once
            judged(candidate, seen, seen.gradients)


@clause("swish.formula", tier="enclosure")
def test_swish_of_patterns_stays_within_its_enclosure(candidate):
    """Zeros in rows, rows that are alike. Blind to patterns of other sizes."""
    results_are_within(candidate, "swish")


@clause("swish.gradient", tier="gradient")
def test_gradients_of_swish_of_patterns_stay_within_their_enclosures(candidate):
    """Of zeros in rows, in what comes back, too. Blind to patterns of other sizes."""
    all_gradients_are_within(candidate, layer("swish"))


@clause("swish.beta-learned", tier="gradient")
def test_the_gradient_of_swish_by_beta_of_patterns_stays_within_its_enclosure(candidate):
    """Zeros in rows, in what comes back, too. Blind to patterns of other sizes."""
    shapes = {**LAYERS["swish"][0], "beta": ()}
    case = layer("swish").changed(shapes=shapes, textures={name: Texture("normal", k) for k, name in enumerate(shapes)})
    all_gradients_are_within(candidate, case, ("beta",))


@clause("linear.formula", tier="enclosure")
def test_linear_of_patterns_stays_within_its_enclosure(candidate):
    """Weights of triangles, of two columns of four. Blind to patterns of other sizes."""
    results_are_within(candidate, "linear")


@clause("linear.gradient", tier="gradient")
def test_linear_gradients_of_patterns_stay_within_their_enclosures(candidate):
    """Zeros of weights have gradients, too. Blind to patterns of other sizes."""
    all_gradients_are_within(candidate, layer("linear"))


@clause("glu.formula", tier="enclosure")
def test_glu_of_patterns_stays_within_its_enclosure(candidate):
    """Weights of triangles, of two columns of four. Blind to patterns of other sizes."""
    results_are_within(candidate, "glu")


@clause("glu.gradient", tier="gradient")
def test_glu_gradients_of_patterns_stay_within_their_enclosures(candidate):
    """Zeros of weights have gradients, too. Blind to patterns of other sizes."""
    all_gradients_are_within(candidate, layer("glu"))


@clause("swiglu.formula", tier="enclosure")
def test_swiglu_of_patterns_stays_within_its_enclosure(candidate):
    """Weights of triangles, of two columns of four. Blind to patterns of other sizes."""
    results_are_within(candidate, "swiglu")


@clause("swiglu.gradient", tier="gradient")
def test_swiglu_gradients_of_patterns_stay_within_their_enclosures(candidate):
    """Zeros of weights have gradients, too. Blind to patterns of other sizes."""
    all_gradients_are_within(candidate, layer("swiglu"))


@clause("pad2d.zeros", tier="exact")
def test_pad2d_of_patterns_adds_zeros_and_leaves_the_rest(candidate):
    """Planes of zeros beside others. Blind to patterns of other sizes."""
    results_are_within(candidate, "pad2d")


@clause("pad2d.gradient", tier="gradient")
def test_pad2d_gradients_of_patterns_are_the_incoming_ones_within(candidate):
    """Planes of zeros beside others. Blind to patterns of other sizes."""
    all_gradients_are_within(candidate, layer("pad2d"))


@clause("conv2d.formula", tier="enclosure")
def test_conv2d_of_patterns_stays_within_its_enclosure(candidate):
    """Taps of zeros, planes of one number, of one row, turned. Blind to patterns of other sizes."""
    results_are_within(candidate, "conv2d")


@clause("conv2d.gradient", tier="gradient")
def test_conv2d_gradients_of_patterns_stay_within_their_enclosures(candidate):
    """Zeros of kernels have gradients, too. Blind to patterns of other sizes."""
    all_gradients_are_within(candidate, layer("conv2d"))


@clause("max_pool2d.definition", tier="exact")
def test_max_pool2d_of_patterns_takes_the_largest_of_each_window(candidate):
    """Sorted planes, and negative ones within positive rows. Blind to patterns of other sizes."""
    results_are_within(candidate, "max_pool2d")


@clause("max_pool2d.gradient", tier="gradient")
def test_max_pool2d_gradients_of_patterns_are_rounded_once(candidate):
    """Few outputs whose windows share an element come back, or whole rows. Blind to patterns of other sizes."""
    if sums_once(candidate, "max_pool2d", "backward"):
        for case in each(candidate, layer("max_pool2d", "few bits"), back=True):
            gradients_are_rounded_once(candidate, case)
