"""Mixtures: what is usual by itself, several at once: sizes, layouts, what learns, what is missing, what comes back."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np

from assay.reference.arithmetic.formats import BFLOAT16
from assay.tests.trial import judge, transforms, whole
from assay.tests.trial.laws import clause
from assay.tests.trial.mixtures import INCOMING
from assay.tests.trial.plain import RESULTS, values_of
from assay.tests.trial.suspects import GATES
from assay.tests.trial.sweeps import mixed
from assay.tests.trial.textures import Texture, rounded
from assay.tests.trial.whole import are_rounded_once, sums_once

SHARE = 12


def is_exact(candidate, case, direction):
    """Whether sums of the case's integers are exact by what is declared; if not, the tally says why."""
    precision = candidate.precision(case.operator, direction)
    few = precision.operands.precision < candidate.format.precision
    if few and any(each.family == "broad" for each in (*case.textures.values(), case.incoming)):
        return False  # other mixtures have numbers of fewer bits
    return sums_once(candidate, case.operator, direction)


def is_asked(candidate, case):
    """Whether a gate's numbers are far from subnormal ones, which PyTorch's products in bfloat16 take for zero."""
    return candidate.format is not BFLOAT16 or case.operator not in GATES or case.textures["x"].family != "large"


def answer_of(candidate, case):
    """What comes of the case, asked in its manner."""
    manner = case.manner
    return candidate.answer(case, recording=manner.recording, together=manner.together, setting=manner.setting)


def result_is_right(candidate, case):
    """Hold the result to numpy's, rounded once, or, where a bias is added after the sum is rounded, twice."""
    seen = answer_of(candidate, case)
    expected = expected_of(candidate, seen)
    judge.same_arrays(candidate, "the result is another number", seen.output, expected, of_last=True)


def specials_are_right(candidate, case):
    """Hold to numpy's what is no number, or should be none."""
    seen = answer_of(candidate, with_specials(candidate, case))
    expected = expected_of(candidate, seen)
    if candidate.precision(case.operator).reaches_further:  # but none of it may vanish
        expected = np.where(np.isfinite(seen.output), expected, seen.output)
    expected = np.where(np.isfinite(seen.output) & np.isfinite(expected), seen.output, expected)
    what = "what is no number vanished, or shows elsewhere"
    judge.same_arrays(candidate, what, seen.output, expected, of_last=True)


@np.errstate(invalid="ignore")
def expected_of(candidate, seen):
    """What numpy gives, rounded as the candidate may have rounded it."""
    operator, values, fmt = seen.call.operator, values_of(seen), candidate.format
    if operator not in ("linear", "conv2d") or values[2] is None:
        return stored(RESULTS[operator](*values), fmt)
    x, w, bias, *parameters = values
    bias = bias[:, None, None] if operator == "conv2d" else bias
    bare = RESULTS[operator](x, w, None, *parameters)
    once, twice = stored(bare + bias, fmt), stored(stored(bare, fmt) + bias, fmt)
    return np.where(seen.output == twice, twice, once)


def stored(values, fmt):
    """Numbers rounded to the format; what is none stays so."""
    return np.where(np.isfinite(values), rounded(np.nan_to_num(values), fmt), values)


def gradients_of(candidate, case):
    """What comes back to the tensors that learn, asked in the case's manner."""
    manner = case.manner
    how = {"together": manner.together, "setting": manner.setting, **dict.fromkeys(manner.way, True)}
    return candidate.ask_gradient(case, case.learning, True, **how)


def gradients_are_right(candidate, case):
    """Hold all of them to numpy's, rounded once."""
    seen = gradients_of(candidate, case)
    are_rounded_once(candidate, seen, seen.gradients)


def result_is_within(candidate, case):
    """Judge the farthest elements of a result that is not near to numpy's."""
    if is_asked(candidate, case):
        whole.result_is_within(candidate, case, answer_of(candidate, case))


def gradients_are_within(candidate, case, names=()):
    """Judge the farthest elements of these gradients, or of all, that are not near to numpy's."""
    if is_asked(candidate, case):
        whole.gradients_are_within(candidate, case, gradients_of(candidate, case), names)


def numbers_of(candidate, case, name):
    """The numbers of a tensor of a case, or of what comes back, before they are laid out; they may be changed."""
    back = name == INCOMING
    texture, shape = (case.incoming, case.result_shape) if back else (case.textures[name], case.shapes[name])
    return np.array(replace(texture, layout="contiguous").fill(shape, candidate.format, case.terms).values)


def with_specials(candidate, case):
    """The case, a few of whose first tensor's elements are infinities or NaN."""
    rng, name = random.Random(f"specials {case.pick}"), next(iter(case.shapes))
    values = numbers_of(candidate, case, name)
    for at in rng.sample((0, -1, *(rng.randrange(values.size) for _ in range(3))), 2):
        values.flat[at] = rng.choice((math.inf, -math.inf, math.nan, math.nan))
    return case.with_textures(**{name: case.textures[name].holding(values, case.terms)})


@clause("swish.formula", tier="enclosure", share=SHARE)
@mixed("swish")
def test_swish_in_any_mixture_stays_within_its_enclosure(candidate, case):
    """Sizes, layouts, betas, magnitudes, inference. Blind to mixtures that are rare."""
    result_is_within(candidate, case)


def swish_goes_back(candidate, case, names):
    """Judge these of the gradients that are asked for: exactly where beta is zero."""
    wanted = [name for name in names if name in case.learning]
    if not wanted:
        return
    if case.textures["x"].family != "few bits":
        gradients_are_within(candidate, case, wanted)
    elif sums_once(candidate, "swish", "backward"):
        are_rounded_once(candidate, gradients_of(candidate, case), wanted)


@clause("swish.gradient", tier="gradient", share=SHARE)
@mixed("swish")
def test_gradients_of_swish_in_any_mixture_are_right(candidate, case):
    """By x. Blind to mixtures that are rare."""
    swish_goes_back(candidate, case, ["x"])


@clause("swish.beta-learned", tier="gradient", share=SHARE)
@mixed("swish")
def test_gradients_of_swish_by_beta_in_any_mixture_are_right(candidate, case):
    """Of hundreds of sizes, layouts and magnitudes. Blind to mixtures that are rare."""
    swish_goes_back(candidate, case, ["beta"])


@clause("linear.formula", tier="exact", share=SHARE)
@mixed("linear")
def test_linear_in_any_mixture_is_rounded_once(candidate, case):
    """Sizes, layouts, biases, inference, numbers of many bits. Blind to mixtures that are rare."""
    if is_exact(candidate, case, "forward"):
        result_is_right(candidate, case)


@clause("linear.gradient", tier="gradient", share=SHARE)
@mixed("linear")
def test_linear_gradients_in_any_mixture_are_rounded_once(candidate, case):
    """Sizes, layouts, what learns, numbers of many bits. Blind to mixtures that are rare."""
    if is_exact(candidate, case, "backward"):
        gradients_are_right(candidate, case)


@clause("glu.formula", tier="enclosure", share=SHARE)
@mixed("glu")
def test_glu_in_any_mixture_stays_within_its_enclosure(candidate, case):
    """Sizes, layouts, biases, inference. Blind to mixtures that are rare."""
    result_is_within(candidate, case)


@clause("glu.gradient", tier="gradient", share=SHARE)
@mixed("glu")
def test_glu_gradients_in_any_mixture_stay_within_their_enclosures(candidate, case):
    """Sizes, layouts, what learns. Blind to mixtures that are rare."""
    gradients_are_within(candidate, case)


@clause("swiglu.formula", tier="enclosure", share=SHARE)
@mixed("swiglu")
def test_swiglu_in_any_mixture_stays_within_its_enclosure(candidate, case):
    """Sizes, layouts, biases, inference. Blind to gates of zero, and to mixtures that are rare."""
    if case.textures["w"].family != "zeros":
        result_is_within(candidate, case)


@clause("swiglu.gradient", tier="gradient", share=SHARE)
@mixed("swiglu")
def test_swiglu_gradients_in_any_mixture_stay_within_their_enclosures(candidate, case):
    """Sizes, layouts, what learns. Blind to mixtures that are rare."""
    gradients_are_within(candidate, case)


@clause("pad2d.zeros", tier="exact", share=SHARE)
@mixed("pad2d")
def test_pad2d_in_any_mixture_adds_zeros_and_leaves_the_rest(candidate, case):
    """Sizes, layouts, inference; at times beside infinities and NaN. Blind to mixtures that are rare."""
    result_is_right(candidate, with_specials(candidate, case) if case.pick % 3 == 0 else case)


@clause("pad2d.gradient", tier="gradient", share=SHARE)
@mixed("pad2d")
def test_pad2d_gradients_in_any_mixture_are_the_incoming_ones_within(candidate, case):
    """Sizes, layouts. Blind to mixtures that are rare."""
    gradients_are_right(candidate, case)


@clause("conv2d.formula", tier="exact", share=SHARE)
@mixed("conv2d")
def test_conv2d_in_any_mixture_is_rounded_once(candidate, case):
    """Sizes, layouts, biases, inference, numbers of many bits. Blind to mixtures that are rare."""
    if transforms.is_bounded(candidate, "forward"):
        transforms.result_is_within(candidate, answer_of(candidate, case))
    elif is_exact(candidate, case, "forward"):
        result_is_right(candidate, case)


@clause("conv2d.gradient", tier="gradient", share=SHARE)
@mixed("conv2d")
def test_conv2d_gradients_in_any_mixture_are_rounded_once(candidate, case):
    """Sizes, layouts, what learns, numbers of many bits. Blind to mixtures that are rare."""
    if transforms.is_bounded(candidate, "backward"):
        seen = gradients_of(candidate, case)
        transforms.gradients_are_within(candidate, seen, seen.gradients)
    elif is_exact(candidate, case, "backward"):
        gradients_are_right(candidate, case)


@clause("max_pool2d.definition", tier="exact", share=SHARE)
@mixed("max_pool2d")
def test_max_pool2d_in_any_mixture_takes_the_largest_of_each_window(candidate, case):
    """Sizes, layouts, inference. Blind to ties, and to mixtures that are rare."""
    result_is_right(candidate, case)


@clause("max_pool2d.gradient", tier="gradient", share=SHARE)
@mixed("max_pool2d")
def test_max_pool2d_gradients_in_any_mixture_are_rounded_once(candidate, case):
    """Sizes, layouts. Blind to ties, and to mixtures that are rare."""
    if sums_once(candidate, "max_pool2d", "backward"):
        gradients_are_right(candidate, case)


@clause("max_pool2d.gradient-first-tie", tier="gradient", share=SHARE)
@mixed("max_pool2d")
def test_the_first_of_ties_in_any_mixture_gets_the_whole_gradient(candidate, case):
    """Among five numbers. Blind to mixtures that are rare."""
    if sums_once(candidate, "max_pool2d", "backward"):
        ties = replace(Texture("ties", case.pick), layout=case.textures["input"].layout)
        gradients_are_right(candidate, case.changed(textures={"input": ties}))


@clause("max_pool2d.nan", tier="special", share=SHARE)
@mixed("max_pool2d")
def test_max_pool2d_in_any_mixture_gives_nan_where_a_window_has_one(candidate, case):
    """And nowhere else, and infinities. Blind to mixtures that are rare."""
    specials_are_right(candidate, case)


@clause("linear.special", tier="special", share=SHARE)
@mixed("linear")
def test_linear_in_any_mixture_has_nan_and_infinities_where_its_rows_have(candidate, case):
    """And nowhere else. Blind to weights that are none, and to mixtures that are rare."""
    if is_exact(candidate, case, "forward"):
        specials_are_right(candidate, case)


@clause("conv2d.special", tier="special", share=SHARE)
@mixed("conv2d")
def test_conv2d_in_any_mixture_has_nan_and_infinities_where_its_windows_have(candidate, case):
    """And, unless it is declared to spread, nowhere else. Blind to weights that are none, and to rare mixtures."""
    if is_exact(candidate, case, "forward"):
        specials_are_right(candidate, case)
