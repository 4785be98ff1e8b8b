"""Training: layers that learn in part, steps between evaluations, smaller batches, gradients that overflow."""

from __future__ import annotations

import itertools
import math

import numpy as np

from assay.implementations.memory import TURNS
from assay.implementations.observe import NO_GRAD
from assay.spec import OPERATORS
from assay.tests.conformance.test_contract import ALL, MODES, demand, one_lying, trained_together
from assay.tests.conformance.test_lifetimes import BATCHES
from assay.tests.conformance.test_state import answers_are_alike, refusals, reseeded, stay_as_they_are
from assay.tests.trial.alike import are_right, one_answer
from assay.tests.trial.candidate import BACK
from assay.tests.trial.laws import clause
from assay.tests.trial.layers import (
    LAYERS,
    completed,
    convolution,
    lasting,
    matrices,
    of_integers,
    of_reals,
    of_samples,
)
from assay.tests.trial.plain import GRADIENTS, values_of
from assay.tests.trial.textures import Texture, rounded

KEPT, FROZEN = len(TURNS["part"]), 24  # results; calls
LEARNING = ("linear", "glu", "swiglu", "conv2d")
# Layers whose result has the shape of their first tensor.
KEEPING = {
    "swish": ({"x": (6, 16)}, {}),
    "linear": (matrices("xwb", (6, 16), 16), {}),
    **{operator: (matrices("xwvbc", (6, 16), 16), {}) for operator in ("glu", "swiglu")},
    "conv2d": (convolution((2, 8, 6, 7), 8, 3), {"stride": 1, "padding": 1}),
    "max_pool2d": ({"input": (2, 8, 6, 7)}, {"kernel_size": 3, "stride": 1, "padding": 1}),
}
# Steps, and evaluations in between, each on other values in the same memory.
LIFE = (BACK, NO_GRAD, False, BACK, NO_GRAD, NO_GRAD, False, False)


def biased(operator):
    """A layer of 2^16 elements, or of hundreds of outputs, with biases and few incoming gradients; swish with beta."""
    if operator == "swish":
        return learned(operator)
    shapes, parameters = LAYERS[operator].wide
    return of_reals(operator, completed(operator, shapes), parameters).changed(incoming=Texture("few", 5))


def parts_give_what_the_whole_gives(candidate, case, whole):
    """Ask for the gradients of some tensors alone."""
    for names in trained_together(case):
        candidate.calls.clear()
        one_answer(candidate, case, candidate.ask_gradient(case, names, alone=True), whole)


@clause("contract.some-gradients", tier="gradient", operators=("swish", *LEARNING))
def test_contract_layers_that_learn_in_part_give_what_they_give_as_a_whole(candidate, operator):
    """Results and gradients of large layers, as of frozen ones. Blind to what every call has wrong."""
    candidate.begin()
    case = biased(operator)
    whole = candidate.ask_gradient(case)
    one_answer(candidate, case, candidate.answer(case), whole)
    parts_give_what_the_whole_gives(candidate, case, whole)


@clause("contract.some-gradients", tier="gradient", operators=("conv2d",))
def test_contract_fixed_filters_hand_back_what_learned_ones_do(candidate, operator):
    """Gauss' and Sobel's, which are symmetric or not. Blind to what every call has wrong."""
    rise, smooth = np.array([-1.0, 0.0, 1.0]), np.array([1.0, 2.0, 1.0])
    bank = np.stack([np.outer(*each) for each in ((smooth, smooth), (smooth, rise), (rise, smooth), (rise, rise))])
    case = of_integers(operator, convolution((2, 1, 8, 9), len(bank), 3), {"stride": 1, "padding": 1})
    case = case.with_textures(weight=Texture("integers").holding(bank[:, None], 9))
    for order in (case, case.with_textures(weight=Texture("integers").holding(bank[::-1, None], 9))):
        candidate.begin()
        parts_give_what_the_whole_gives(candidate, order, candidate.ask_gradient(order))


def learned(operator):
    """A layer of a thousand elements or more, all of whose tensors but the first are learned: beta, too."""
    return lasting(operator, beta=(1,)).changed(parameters={}) if operator == "swish" else lasting(operator)


@clause("contract.memoryless", tier="state", operators=("swish", *LEARNING), gradient=True)
def test_state_evaluations_between_steps_are_of_the_weights_of_then(candidate, operator):
    """That an optimizer has changed, or who writes them; of large layers, too. Blind to what every call has wrong."""
    for case, stepped in ((learned(operator), False), (learned(operator), True), (biased(operator), False)):
        candidate.begin()
        cases = [reseeded(case, k) for k in range(len(LIFE))]
        seen, _ = candidate.answers_in_modes(cases, LIFE, stepped=stepped)
        are_right(candidate, cases, seen)


def square(operator):
    """A layer whose result has its first tensor's shape; that, and what comes in, lie in no usual order."""
    shapes, parameters = KEEPING[operator]
    case = of_reals(operator, shapes, parameters)
    layout = "channels_last" if len(case.result_shape) == 4 else "transposed"
    return one_lying(case, next(iter(shapes)), layout).changed(incoming=Texture("normal", 9, layout=layout))


@clause("contract.memoryless", tier="state", operators=tuple(KEEPING), gradient=True)
def test_state_a_checkpoint_of_what_lies_otherwise_has_its_own_gradients(candidate, operator):
    """Where the result has the input's shape, and what comes in lies as it does. Blind to other shapes."""
    candidate.begin()
    case = square(operator)
    one_answer(candidate, case, *(candidate.ask_gradient(case, checkpointed=each) for each in (False, True)))


@clause("contract.results-kept", tier="state", operators=ALL, gradient=True)
def test_state_gradients_that_backward_has_stored_stay_as_they_are(candidate, operator):
    """It may make the memory that it is handed the inputs' own. Blind to buffers that are used again later."""
    for how in ({"stored": True}, {"turns": "part"}):
        candidate.begin()
        cases = [reseeded(lasting(operator), k) for k in range(KEPT)]
        stay_as_they_are(candidate, cases, back=True, **how)


@clause("contract.memoryless", tier="state", operators=ALL)
def test_state_copies_that_have_learned_give_their_own_results(candidate, operator):
    """Deep copies, with all that hangs on a tensor, as of a teacher. Blind to other ways to copy."""
    for recording in (*MODES, NO_GRAD):
        candidate.begin()
        cases = [reseeded(lasting(operator), k) for k in range(KEPT)]
        seen, _ = candidate.answers_in_turn(cases, recording=recording, copied=True)
        are_right(candidate, cases, seen)


@clause("contract.results-kept", tier="state", operators=ALL, gradient=True)
def test_state_results_of_what_had_been_broken_off_stay_as_they_are(candidate, operator):
    """Memory that is lent in the middle of a call is given back by who fails. Blind to other errors."""
    for recording in (None, NO_GRAD, False):
        candidate.begin()
        cases = [reseeded(lasting(operator), k) for k in range(KEPT)]
        stay_as_they_are(candidate, cases, [BACK, *[recording] * (KEPT - 1)], broken=True)


@clause("contract.memoryless", tier="state", operators=LEARNING)
def test_state_a_small_step_of_large_weights_shows(candidate, operator):
    """Of 16 units in the last place, in inference; a sample has one element. Blind to steps that are smaller."""
    candidate.begin()
    case = lasting(operator)
    first, *others = (name for name in case.shapes if name not in ("b", "bias"))
    ones = np.zeros((case.shapes[first][0], math.prod(case.shapes[first][1:])))
    for k, sample in enumerate(ones):
        sample[17 * k + 5] = 1.0
    alone = {first: case.textures[first].holding(ones.reshape(case.shapes[first]), case.terms)}
    case = case.with_textures(**alone)
    steps = {name: stepped(candidate, case, name) for name in others}
    cases = [case, case.with_textures(**steps)]
    seen, _ = candidate.answers_in_turn(cases, recording=False)
    are_right(candidate, cases, seen)


def stepped(candidate, case, name):
    """A tensor that is larger by 16 units in the last place."""
    texture = case.textures[name]
    values = texture.fill(case.shapes[name], candidate.format, case.terms).values
    return texture.holding(
        rounded(values * (1 + 2.0 ** (5 - candidate.format.precision)), candidate.format), case.terms
    )


@clause("contract.memoryless", tier="state", operators=LEARNING, gradient=True)
def test_state_weights_that_were_zeros_count_when_they_are_no_longer(candidate, operator):
    """As of a branch that began as nothing, in training and in inference. Blind to what every call has wrong."""
    case = biased(operator)
    nothing = {name: Texture("zeros") for name in OPERATORS[operator].tensors[1:] if name in case.shapes}
    cases = [case.with_textures(**nothing), case]
    for mode in (BACK, NO_GRAD, False, None):
        candidate.begin()
        seen, _ = candidate.answers_in_modes(cases, (mode, mode))
        are_right(candidate, cases, seen)


@clause("contract.memoryless", tier="state", operators=("swish", *LEARNING), gradient=True)
def test_state_what_was_frozen_may_learn(candidate, operator):
    """The same tensors, on the same numbers, as in fine-tuning. Blind to what every call has wrong."""
    for case, mode in itertools.product((learned(operator), biased(operator)), (None, NO_GRAD, False)):
        candidate.begin()
        cases = [case] * 3
        seen, _ = candidate.answers_in_modes(cases, (mode, mode, BACK))
        are_right(candidate, cases, seen)


@clause("contract.memoryless", tier="state", operators=("swish", *LEARNING), gradient=True)
def test_state_what_was_frozen_for_long_may_learn(candidate, operator):
    """Behind it something learned all the while. Blind to what takes dozens of steps."""
    candidate.begin()
    case = learned(operator)
    modes = [(next(iter(case.shapes)),)] * FROZEN + [BACK]
    seen, _ = candidate.answers_in_modes([case] * len(modes), modes)
    one_answer(candidate, case, seen[-1], candidate.ask_gradient(case))


@clause("contract.memoryless", tier="state", operators=ALL, gradient=True)
def test_state_what_comes_behind_an_activation_has_its_own_gradients(candidate, operator):
    """A ReLU, half of whose numbers are zero. Blind to other layers before it."""
    candidate.begin()
    case = lasting(operator)
    name, shape = next(iter(case.shapes.items()))
    values = case.textures[name].fill(shape, candidate.format, case.terms).values
    case = case.with_textures(**{name: Texture("normal").holding(np.maximum(values, 0.0), 1)})
    one_answer(candidate, case, *(candidate.ask_gradient(case, hidden=each) for each in (False, True)))


@clause("contract.memoryless", tier="state", operators=("swish", *LEARNING), gradient=True)
def test_state_the_inputs_gradient_alone_is_of_the_weights_of_then(candidate, operator):
    """As of a critic, whose weights learn elsewhere. Blind to what every call has wrong."""
    candidate.begin()
    cases = [reseeded(learned(operator), k) for k in range(3)]
    first = OPERATORS[operator].tensors[:1]
    candidate.compared()
    answers_are_alike(candidate, cases, back=True, wanted=first)


@clause("contract.memoryless", tier="state", operators=ALL, gradient=True)
def test_state_batches_of_other_sizes_have_their_own_gradients(candidate, operator):
    """The last one of an epoch is smaller. Blind to what every call has wrong."""
    candidate.begin()
    cases = [of_samples(operator, size) for size in BATCHES]
    candidate.compared()
    answers_are_alike(candidate, cases, back=True)


def overflows_are_seen(candidate, operator):
    """Have one element of what comes back infinite or NaN, and hold what it reaches to being neither a number.

    What it reaches is where a gradient of the same layer from this element alone is not zero: numpy's, too, for a
    transform leaves next to nothing where nothing belongs.
    """
    case = of_reals(operator, *LAYERS[operator].small)
    place = math.prod(case.result_shape) // 2
    for value in (1.0, math.inf, -math.inf, math.nan):
        candidate.begin()
        incoming = np.zeros(case.result_shape)
        incoming.flat[place] = value
        seen = candidate.ask_gradient(case.changed(incoming=Texture("normal").holding(incoming, 1)))
        if value == 1.0:
            exact, least = GRADIENTS[operator](incoming, *values_of(seen)), candidate.format.least_normal
            reached = {name: np.minimum(abs(exact[name]), abs(each)) > least for name, each in seen.gradients.items()}
        for name, each in seen.gradients.items():
            candidate.compared(each.size)
            lost = np.isfinite(each[reached[name]]).any() and value != 1.0
            demand(seen, not lost, f"lost an incoming gradient of {value}: its gradient of {name} is finite")


@clause("swish.gradient", tier="special", gradient=True)
def test_an_overflow_that_comes_back_to_swish_is_seen(candidate):
    """An infinity or NaN, by which a scale of losses is halved. Blind to where else it gets."""
    overflows_are_seen(candidate, "swish")


@clause("linear.gradient", tier="special", gradient=True)
def test_an_overflow_that_comes_back_to_linear_is_seen(candidate):
    """An infinity or NaN, by which a scale of losses is halved. Blind to where else it gets."""
    overflows_are_seen(candidate, "linear")


@clause("glu.gradient", tier="special", gradient=True)
def test_an_overflow_that_comes_back_to_glu_is_seen(candidate):
    """An infinity or NaN, by which a scale of losses is halved. Blind to where else it gets."""
    overflows_are_seen(candidate, "glu")


@clause("swiglu.gradient", tier="special", gradient=True)
def test_an_overflow_that_comes_back_to_swiglu_is_seen(candidate):
    """An infinity or NaN, by which a scale of losses is halved. Blind to where else it gets."""
    overflows_are_seen(candidate, "swiglu")


@clause("conv2d.gradient", tier="special", gradient=True)
def test_an_overflow_that_comes_back_to_conv2d_is_seen(candidate):
    """An infinity or NaN, by which a scale of losses is halved. Blind to where else it gets."""
    overflows_are_seen(candidate, "conv2d")


@clause("max_pool2d.gradient", tier="special", gradient=True)
def test_an_overflow_that_comes_back_to_max_pool2d_is_seen(candidate):
    """An infinity or NaN, by which a scale of losses is halved. Blind to where else it gets."""
    overflows_are_seen(candidate, "max_pool2d")


@clause("contract.memoryless", tier="state", operators=LEARNING, gradient=True)
def test_state_refused_calls_change_no_gradient(candidate, operator):
    """Of tensors that do not fit; what they had borrowed is given back once. Blind to errors while going back."""
    candidate.begin()
    case = lasting(operator, **completed(operator, LAYERS[operator].lasting[0]))
    plain, back = candidate.ask_gradient(case), (case.cotangent(candidate.format), tuple(case.shapes))
    for way in ("interrupted", "recurrent"):
        for other in refusals(case):
            candidate.observe(operator, other.arguments(candidate.format), *back)
        one_answer(candidate, case, plain, candidate.ask_gradient(case, **{way: True}))
