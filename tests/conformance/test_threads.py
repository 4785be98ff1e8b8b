"""Threads: a server's, which call one operator at once, and a thread that did not import it."""

from __future__ import annotations

from assay.implementations.observe import NO_GRAD
from assay.spec import OPERATORS
from assay.tests.conformance.test_contract import ALL, MODES, one_lying
from assay.tests.trial.alike import one_answer
from assay.tests.trial.laws import clause
from assay.tests.trial.layers import LAYERS, completed, lasting, of_reals, of_samples

LINES, UNMET = 20, 52  # lines at which a call is met, and elements that an axis has more
MORE = 17  # times as many samples: what is put on a stack no longer fits, from 2^14 elements on


def larger(operator):
    first = OPERATORS[operator].tensors[0]
    return of_samples(operator, MORE * LAYERS[operator].lasting[0][first][0])


def whole(operator):
    """With all of its tensors: the biases, or beta."""
    case = lasting(operator, **completed(operator, LAYERS[operator].lasting[0]))
    return case.changed(parameters={}) if operator == "swish" else case


def of_new_sizes(operator, more):
    """A small layer whose first tensor's last axis is longer by so much."""
    shapes, parameters = LAYERS[operator].small
    longer = [name for name, shape in shapes.items() if len(shape) > 1 and name != "weight"]
    wider = {name: (*shapes[name][:-1], shapes[name][-1] + more) for name in longer}
    return of_reals(operator, {**shapes, **wider}, parameters)


def lying_otherwise(case):
    """Its first tensor channels-last, transposed, or every second element of a larger one."""
    name, shape = next(iter(case.shapes.items()))
    layout = {2: "transposed", 4: "channels_last"}.get(len(shape), "strided")
    return one_lying(case, name, layout)


@clause("contract.threads", tier="state", operators=ALL)
def test_state_calls_of_several_threads_are_right(candidate, operator):
    """On other numbers, in training and in inference. Blind to what is rarer, where a kernel is not Python."""
    case = lasting(operator)
    others = ((larger(operator), False), (lying_otherwise(case), None))
    for each, recording in (*((case, mode) for mode in (*MODES, NO_GRAD)), *others):
        candidate.begin()
        plain, beside = (candidate.answer(each, recording=recording, beside=beside) for beside in (False, True))
        one_answer(candidate, each, plain, beside)


@clause("contract.threads", tier="state", operators=ALL)
def test_state_first_calls_of_two_threads_are_right(candidate, operator):
    """Of sizes that nobody has met, one at some line of the other. Blind to what dozens of lines are before."""
    for line in range(1, 1 + LINES):
        candidate.begin()
        case, recording = of_new_sizes(operator, UNMET + line), (*MODES, NO_GRAD)[line % 3]
        met, alone = (candidate.answer(case, recording=recording, met=each) for each in (line, 0))
        one_answer(candidate, case, alone, met)


@clause("contract.threads", tier="state", operators=ALL, gradient=True)
def test_state_first_gradients_of_two_threads_are_right(candidate, operator):
    """Of sizes that nobody has met, one at some line of the other. Blind to what is met later than that."""
    for line in range(1, 1 + 2 * LINES, 2):
        candidate.begin()
        case = of_new_sizes(operator, UNMET + LINES + line)
        met, alone = (candidate.ask_gradient(case, met=each) for each in (line, 0))
        one_answer(candidate, case, alone, met)


@clause("contract.threads", tier="state", operators=ALL, gradient=True)
def test_state_gradients_that_another_thread_asks_for_are_right(candidate, operator):
    """As autograd's own threads do on a GPU. Blind to what every call has wrong."""
    for case in (lasting(operator), whole(operator)):
        candidate.begin()
        one_answer(candidate, case, *(candidate.ask_gradient(case, elsewhere=each) for each in (False, True)))


@clause("contract.threads", tier="state", operators=ALL, gradient=True)
def test_state_gradients_of_several_threads_are_right(candidate, operator):
    """Of one shape, on other numbers. Blind to what is rarer, where a kernel is not Python."""
    for case in (lasting(operator), whole(operator), larger(operator)):
        candidate.begin()
        one_answer(candidate, case, *(candidate.ask_gradient(case, beside=each) for each in (False, True)))
