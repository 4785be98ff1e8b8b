"""Zero padding: the laws of its clauses."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from assay.tests.trial import judge
from assay.tests.trial.cases import Case, pad2d_cases
from assay.tests.trial.laws import clause
from assay.tests.trial.textures import Texture
from assay.tests.trial.whole import padding_is_exact

paddings = st.integers(0, 6) | st.sampled_from((9, 16, 33))
SPECIALS = (math.nan, math.inf, -math.inf, -0.0)
EXTREMES = ("largest", "least_subnormal", "least_normal")  # of the dtype
special_elements = st.lists(st.tuples(st.integers(0, 4095), st.sampled_from((*SPECIALS, *EXTREMES))), max_size=4)


def within(case, values):
    """What lies ``padding`` elements from every end of the last two axes."""
    p = case.parameters["padding"]
    return values[..., p : values.shape[-2] - p, p : values.shape[-1] - p]


def extreme(candidate, name):
    """The format's number of this name; the least that is not flushed, where flushing is declared."""
    flushed = name == "least_subnormal" and candidate.precision("pad2d").flush
    return getattr(candidate.format, "least_normal" if flushed else name)


@clause("pad2d.both-ends", tier="exact")
@example(case=Case("pad2d", {"x": (2, 200)}, {"x": Texture("normal")}, {"padding": 3}))  # wider than other laws draw
@given(case=pad2d_cases())
def test_pad2d_adds_as_many_elements_at_both_ends(candidate, case):
    """The result has the formula's shape and the input in its middle. Blind to what is around it."""
    seen = candidate.ask(case)
    x = seen.call.tensors["x"].values
    judge.same_arrays(candidate, "the input is not in the middle of the padded one", within(case, seen.output), x)


@clause("pad2d.example", tier="exact")
@given(seed=st.integers(0, 255), leading=st.sampled_from(((), (2,), (2, 3))))
def test_pad2d_of_five_by_five_by_one_is_seven_by_seven(candidate, seed, leading):
    """The sizes that the notes show. Blind to any other size."""
    x = Texture("distinct", seed).fill((*leading, 5, 5), candidate.format).values
    got = np.array(candidate.values("pad2d", x, 1).shape, dtype=float)
    judge.same_arrays(candidate, "5 x 5 padded by 1 is not 7 x 7", got, np.array((*leading, 7.0, 7.0)))


@clause("pad2d.zeros", tier="exact")
@example(case=Case("pad2d", {"x": (2, 3)}, {"x": Texture("ones")}, {"padding": 1}), placed=[*enumerate(EXTREMES)])
@given(case=pad2d_cases(), placed=special_elements)
def test_pad2d_adds_zeros_and_leaves_the_rest(candidate, case, placed):
    """Every element, NaN, infinities and extremes of the dtype among them. Blind to the sign of a zero."""
    x, p = case.arguments(candidate.format)["x"].values.copy(), case.parameters["padding"]
    for place, value in placed:
        x.flat[place % x.size] = extreme(candidate, value) if isinstance(value, str) else value
    expected = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(p, p)] * 2)
    judge.same_arrays(candidate, "padding is not zeros around the input", candidate.values("pad2d", x, p), expected)


@clause("pad2d.additive", tier="exact")
@example(case=Case("pad2d", {"x": (2, 3)}, {"x": Texture("normal")}, {"padding": 0}), first=6, second=6)
@given(case=pad2d_cases(), first=paddings, second=paddings)
def test_pad2d_twice_is_pad2d_by_the_sum(candidate, case, first, second):
    """pad(pad(x, n), m) = pad(x, n + m). Blind to what is added, where it is the same everywhere."""
    x = case.arguments(candidate.format)["x"].values
    twice = candidate.values("pad2d", candidate.values("pad2d", x, first), second)
    once = candidate.values("pad2d", x, first + second)
    judge.same_arrays(candidate, f"padding by {first} and by {second} is not padding by the sum", twice, once)


@clause("pad2d.gradient", tier="gradient")
@given(case=pad2d_cases())
def test_pad2d_gradient_is_the_incoming_one_at_its_new_place(candidate, case):
    """Nothing is rounded, so the tape's gradient is the only one. Blind to special values."""
    judge.gradient_conforms_exactly(candidate, case)


@clause("pad2d.gradient", tier="gradient")
@given(case=pad2d_cases(), special=st.sampled_from(SPECIALS[:3]))
def test_pad2d_gradient_drops_what_falls_on_the_padding(candidate, case, special):
    """NaN or an infinity coming back to the padding reaches no input. Blind to what comes back within."""
    held = np.zeros(case.result_shape, dtype=bool)
    within(case, held)[...] = True
    incoming = Texture("integers", case.pick).fill(held.shape, candidate.format).values
    cotangent = np.where(held, incoming, special)
    arguments = case.arguments(candidate.format)
    seen = candidate.observe("pad2d", arguments, type(arguments["x"])(cotangent), ("x",))
    gradient = seen.gradients.get("x")
    if gradient is None:
        candidate.ask_gradient(case)  # which says what is wrong
    what = f"{special} on the padding came back to the input"
    judge.same_arrays(candidate, what, gradient, within(case, incoming), "gradient of x")


# Wide padding around few elements; and elements with which counters of 8 and 16 bits end within the padding.
WIDE = [((2, 1 + k % 3, 2), padding) for k, padding in enumerate((67, 70, 96, 127, 128, 129, 140))]
WIDE += [((2, 3, 253), 4), ((2, 251, 2), 6), ((1, 120), 12), ((1, 65531), 6), ((32762, 1), 8), ((5, 128, 130), 6)]


@clause("pad2d.zeros", tier="exact")
def test_pad2d_by_more_than_the_input_adds_zeros_and_leaves_the_rest(candidate):
    """By 67 to 140, or where 2^7, 2^8, 2^15 or 2^16 lies within the padding. Blind to planes of two long axes."""
    for k, (shape, padding) in enumerate(WIDE):
        candidate.begin()
        padding_is_exact(candidate, Case("pad2d", {"x": shape}, {"x": Texture("normal", k)}, {"padding": padding}))


@clause("pad2d.gradient", tier="gradient")
def test_pad2d_gradient_of_few_elements_is_the_incoming_one_amid_wide_padding(candidate):
    """By 67 to 140, or where 2^7, 2^8, 2^15 or 2^16 lies within the padding. Blind to planes of two long axes."""
    for k, (shape, padding) in enumerate(WIDE):
        candidate.begin()
        case = Case("pad2d", {"x": shape}, {"x": Texture("normal", k)}, {"padding": padding})
        seen = candidate.ask_gradient(case.changed(incoming=Texture("normal", k)))
        expected, got = within(case, seen.call.cotangent.values), seen.gradients["x"]
        judge.same_arrays(candidate, "the gradient is not the incoming one within", got, expected, "gradient of x")
