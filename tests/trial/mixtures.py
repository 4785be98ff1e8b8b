"""Mixtures: layers of sizes that networks have, in several circumstances at once, each of which is usual by itself.

What is wrong with one circumstance other laws tell: a layout, a tensor that is frozen, a bias that is missing, a size
that is no multiple of a vector. Who is wrong where two or three of them meet is wrong in few calls of many, and their
pairs are too many to write down. So they are drawn, by the hundred, and answers are compared by numpy.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from assay.implementations.layouts import LAYOUTS, TIED, TOGETHER
from assay.implementations.observe import NO_GRAD
from assay.implementations.settings import BY_DEFAULT, DETERMINISTIC
from assay.tests.trial.cases import Case, Manner
from assay.tests.trial.textures import Picking, Texture
from assay.tests.trial.usual import CONVOLUTIONS, POOLINGS, Blocks

Rng = random.Random
Sizes = tuple[tuple[int, ...], int, int]  # the axes before the features, these, and the outputs

MANY = 384  # mixtures of a sweep, and twice as many of what takes half as long
CHEAP = ("swish", "pad2d")
# Rows in all, or samples and tokens; features, and outputs: half of the layers have aligned sizes alone.
ROWS = (1, 1, 1, 2, 3, 4, 7, 8, 16, 17, 32, 40, 64, 100, 128, 256, 300, 301, 520, 777, 1030, 2050)
TOKENS = (1, 1, 1, 2, 5, 8, 12, 16, 33, 64, 130)
ALIGNED = (16, 32, 64, 96, 128, 256, 512, 1024, 2560)
FEATURES = (8, 24, 36, 40, 68, 72, 100, 144, 160, 260, 320, 384, 640, 768, 1000, 1280, 1, 3, 5, 33, 65)
OUTPUTS = (1, 2, 4, 8, 10, 20, 24, 36, 48, 68, 72, 100, 144, 160, 260, 320, 384, 640, 1000, 3, 5, 33, 65)
MANY_TOKENS, NARROW = ((1030,), (2050,), (4100,), (8, 260), (3, 700), (2, 1025)), (1, 3, 4, 8, 12, 16, 24, 32)
PRODUCTS, ELEMENTS = 2**21, 2**17  # of a layer, and of a tensor, at most
# Of images and planes: samples, channels, rows and columns.
SAMPLES = (1, 1, 1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 33)
CHANNELS = (1, 3, 3, 4, 8, 16, 16, 24, 32, 64)
OF_KERNELS = (*CHANNELS, 10, 12, 20, 21, 36, 100, 125)
SIDES = (1, 2, 4, 5, 7, 8, 10, 13, 14, 16, 17, 20, 28, 32, 33, 48, 56, 64, 112)
SMALL = (1, 2, 2, 3, 4)
POINTWISE = ((1, 1), (1, 1), (0, 0), ())
INCOMING = "incoming gradient"
MAGNITUDES = ("normal", "normal", "large", "spikes")
BETAS = (None, 1.0, 1.702, -1.5, 0.5, 2.0, (), (), (), (1,))
# How tensors of so many axes lie that do not lie as they were made, besides all other layouts now and then.
LIE = {
    1: ("expanded", "strided", "offset", "offset_even"),
    2: ("transposed", "transposed", "cropped", "cropped", "expanded", "expanded_last", "offset"),
    3: (
        *("swapped", "swapped", "chunked", "chunked", "cropped", "expanded", "expanded_rows", "expanded_columns"),
        *("swapped_last", "transposed"),
    ),
    4: (
        *("channels_last", "channels_last", "channels_last", "channels_last", "cropped", "chunked", "expanded"),
        *("channels_last_chunked", "swapped_middle", "swapped_last"),
    ),
}
RECORDINGS = (None, False, False, NO_GRAD)
# What else is so when it goes back.
ONE_WAY = ("hidden", "twice", "revisited", "halved", "halved", "accumulated", "checkpointed", "offloaded", "offloaded")
WAYS = (*[()] * 12, *((way,) for way in ONE_WAY), ("twice", "visited"))
AT_TIMES = ("",) * 12 + (*BY_DEFAULT, *DETERMINISTIC)
TOGETHER_AT_TIMES = ("",) * 6 + TOGETHER


def mixtures(operator: str, rng: Rng) -> Iterator[Case]:
    """So many, one unlike the other: what is drawn otherwise of one changes none of the others."""
    for _ in range(2 * MANY if operator in CHEAP else MANY):
        own = Rng(rng.randrange(2**32))
        case = _lying(own, MIXED[operator](own, operator))
        yield case.changed(manner=_manner(Rng(case.pick), list(case.shapes)))


def _manner(rng: Rng, names: list[str]) -> Manner:
    """One tensor learns, or all but one, or each may."""
    one, kind = rng.choice(names), rng.random()
    others = tuple(name for name in names if name != one)
    some = tuple(name for name in names if rng.random() < 0.5)
    learn = (one,) if kind < 0.3 else others if kind < 0.5 else some
    together = rng.choice(TOGETHER_AT_TIMES) if len(names) > 2 else ""
    return Manner(learn or (one,), rng.choice(RECORDINGS), rng.choice(WAYS), together, rng.choice(AT_TIMES))


def _lying(rng: Rng, case: Case) -> Case:
    """The case with its tensors, and what comes back, in layouts."""
    made = FILLED[case.operator](rng, case)
    shapes = {**case.shapes, INCOMING: case.result_shape}
    layouts = {name: _layout(rng, case.operator, name, len(shape)) for name, shape in shapes.items()}
    first = next(iter(shapes))
    if isinstance(made.get("v"), Picking) and layouts["v"].startswith("expanded"):
        layouts["v"] = "contiguous"  # repeated, it would have more than one element in a row
    alike = 0.5 if layouts[first].startswith("expanded") else 0.15  # what is said of a sample comes back to each copy
    if rng.random() < alike and case.operator != "max_pool2d":
        layouts[INCOMING] = layouts[first]
    textures = {name: replace(made[name], layout=layouts[name]) for name in shapes}
    return case.changed(incoming=textures.pop(INCOMING), textures=textures, pick=rng.randrange(2**16))


def _layout(rng: Rng, operator: str, name: str, axes: int) -> str:
    if rng.random() < (0.5 if name in ("x", "input", INCOMING) else 0.8):
        return "contiguous"
    layout = rng.choice(LAYOUTS if axes not in LIE or rng.random() < 0.2 else LIE[axes])
    tied = layout in TIED and name == "input" and operator == "max_pool2d"
    repeated = layout.startswith("expanded") and name == "weight"  # which PyTorch may refuse: docs/findings.md, 3
    return "contiguous" if tied or repeated else layout


def _filled(rng: Rng, families: dict[str, str]) -> dict[str, Texture]:
    return {name: Texture(family, rng.randrange(2**16)) for name, family in families.items()}


def _behind_gates(rng: Rng, case: Case) -> dict[str, Texture]:
    """Inputs that may be large, and gradients that may come back to few; or gates of zero, behind which all is exact.

    Of those the other branch is one number of few digits, and what comes back are sums of integers.
    """
    names = (*case.shapes, INCOMING)
    if rng.random() < 0.4:
        families = dict.fromkeys(names, "digits") | {name: "zeros" for name in "wbc" if name in names}
        return _filled(rng, families) | {"v": Picking("ones", rng.randrange(2**16))}
    families = dict.fromkeys(names, "normal") | dict.fromkeys("wv", "weights")
    families["x"] = rng.choice(("normal",) * 23 + ("large",))
    return _filled(rng, families | {INCOMING: rng.choice(("normal",) * 3 + ("few",))})


def _integers(rng: Rng, case: Case) -> dict[str, Texture]:
    """All of as many bits, or all but one of few."""
    names = [*case.shapes, INCOMING]
    broad = rng.choice([None, *(name for name in names if name not in ("b", "bias"))])
    families = dict.fromkeys(names, "narrow" if broad else "even")
    return _filled(rng, families | ({broad: "broad"} if broad else {}))


def _arguments(rng: Rng, case: Case) -> dict[str, Texture]:
    """Those of an activation: of every size. Where beta is a zero that is learned, all is exact."""
    if "beta" in case.shapes and rng.random() < 0.5:
        return _filled(rng, {"x": "few bits", "beta": "zeros", INCOMING: "digits"})
    incoming = "few" if "beta" in case.shapes else "normal"  # of a long sum of gates a bound takes seconds
    beta = rng.choice(("normal", "normal", "ones"))  # which it is before it has learned
    return _filled(rng, {"x": rng.choice(MAGNITUDES), "beta": beta, INCOMING: incoming})


def _moved(rng: Rng, case: Case) -> dict[str, Texture]:
    return _filled(rng, {"x": "normal", INCOMING: rng.choice(("normal",) * 3 + ("few",))})


def _untied(rng: Rng, case: Case) -> dict[str, Texture]:
    return {"input": Blocks("ties", rng.randrange(2**16)), INCOMING: Texture("signed bytes", rng.randrange(2**16))}


FILLED = {
    "swish": _arguments,
    **dict.fromkeys(("glu", "swiglu"), _behind_gates),
    **dict.fromkeys(("linear", "conv2d"), _integers),
    "max_pool2d": _untied,
    "pad2d": _moved,
}


def _matrices(rng: Rng, operator: str) -> Case:
    """A layer of a network, with biases or without; of gates fewer products."""
    weights, biases = ("w", "b") if operator == "linear" else ("wv", "bc")
    most = PRODUCTS if operator == "linear" else PRODUCTS // 8
    kind = rng.random()
    sizes = _one_token(rng) if kind < 0.15 else _many_tokens(rng, most) if kind > 0.9 else _that_fit(rng, most)
    leading, features, outputs = sizes
    shapes = {"x": (*leading, features), **dict.fromkeys(weights, (outputs, features))}
    shapes |= {name: (outputs,) for name in biases if rng.random() < 0.5}
    return Case(operator, shapes, {}, {}, max(math.prod(leading), features, outputs) + 1)


def _one_token(rng: Rng) -> Sizes:
    """As in decoding, of a layer whose sizes are aligned."""
    features = rng.choice(ALIGNED)
    return rng.choice(((1,), (1, 1))), features, rng.choice([each for each in ALIGNED if features * each <= ELEMENTS])


def _many_tokens(rng: Rng, most: int) -> Sizes:
    """Of thousands of rows, by as many outputs as fit."""
    leading, features = rng.choice(MANY_TOKENS), rng.choice(NARROW)
    room = most // (math.prod(leading) * features)
    return leading, features, rng.choice([each for each in NARROW if each <= room])


def _that_fit(rng: Rng, most: int) -> Sizes:
    """Sizes of so many products. One stays as it was drawn first: what is long would be rare, as it fits with few."""
    first = list(_sizes(rng))
    stays = rng.randrange(len(first))
    while True:
        sizes = list(_sizes(rng))
        sizes[stays] = first[stays]
        leading, features, outputs = sizes
        rows = math.prod(leading)
        if rows * features * outputs <= most and features * max(rows, outputs) <= ELEMENTS:
            return leading, features, outputs


def _sizes(rng: Rng) -> Sizes:
    many = [(rng.choice(ROWS),)] * 3 + [(rng.choice(SAMPLES), rng.choice(TOKENS))] * 2
    leading = rng.choice([*many, (2, 3, 4)] * 2 + [()])
    features, outputs = (ALIGNED, ALIGNED) if rng.random() < 0.5 else (FEATURES, OUTPUTS)
    return leading, rng.choice(features), rng.choice(outputs)


def _images(rng: Rng, operator: str) -> Case:
    """A convolution of a network, on an image of any size."""
    kernel, stride, padding, _ = POINTWISE if rng.random() < 0.2 else rng.choice(CONVOLUTIONS)
    while True:
        samples, inputs, outputs = rng.choice(SAMPLES), rng.choice(CHANNELS), rng.choice(OF_KERNELS)
        if (kernel, stride) == ((1, 1), (2, 2)) and inputs < 16:  # docs/findings.md, 9: PyTorch's process dies of it
            continue
        sides = _sides(rng)
        if any(side + 2 * more < taps for side, more, taps in zip(sides, padding, kernel, strict=True)):
            continue
        shapes = {"input": (samples, inputs, *sides), "weight": (outputs, inputs, *kernel)}
        shapes |= {"bias": (outputs,)} if rng.random() < 0.5 else {}
        case = Case(operator, shapes, {}, {"stride": stride, "padding": padding})
        places, taps = math.prod(case.result_shape) // outputs, math.prod(kernel)
        if places * outputs * inputs * taps <= PRODUCTS and math.prod(shapes["input"]) <= ELEMENTS:
            return case.changed(terms=max(places, inputs * taps, outputs * taps) + 1)


def _sides(rng: Rng) -> list[int]:
    """Of a plane: half of them are squares, and some so small that a kernel sees all of them."""
    sides = SMALL if rng.random() < 0.2 else SIDES
    rows, columns = rng.choice(sides), rng.choice(sides)
    return [rows, columns if rng.random() < 0.5 else rows]


def _planes(rng: Rng) -> tuple[int, ...]:
    while True:
        shape = (rng.choice(SAMPLES), rng.choice(CHANNELS), *_sides(rng))
        if math.prod(shape) <= ELEMENTS // 4:
            return shape


def _pooled(rng: Rng, operator: str) -> Case:
    kernel, stride, padding = rng.choice(POOLINGS)
    whole = rng.random() < 0.1  # each plane is one window
    shape = _planes(rng)
    if whole:
        kernel, stride, padding = shape[2:], rng.choice((None, (1, 1))), (0, 0)
    while any(side + 2 * more < taps for side, more, taps in zip(shape[2:], padding, kernel, strict=True)):
        shape = _planes(rng)
    parameters = {"kernel_size": kernel, "stride": stride, "padding": padding}
    return Case(operator, {"input": shape}, {}, parameters, 2**8)


def _padded(rng: Rng, operator: str) -> Case:
    shape, padding = _planes(rng), rng.choice((0, 1, 1, 2, 3, 4, 4, 5, 6, 8))
    return Case(operator, {"x": shape[rng.choice((0, 0, 0, 1, 2)) :]}, {}, {"padding": padding})


def _activations(rng: Rng, operator: str) -> Case:
    """Of vectors to images; beta is left out, a number, or a tensor of one."""
    while True:
        width = rng.choice(ALIGNED if rng.random() < 0.5 else FEATURES)
        leading = [(), (rng.choice((*ROWS, width)),), *[(rng.choice(SAMPLES), rng.choice(TOKENS))] * 2]
        shape = rng.choice([(*each, width) for each in leading] + [_planes(rng)] * 2)
        if math.prod(shape) <= ELEMENTS // 4:
            break
    beta = rng.choice(BETAS)
    if isinstance(beta, tuple):
        return Case(operator, {"x": shape, "beta": beta}, {})
    return Case(operator, {"x": shape}, {}, {} if beta is None else {"beta": beta})


MIXED: dict[str, Callable[[Rng, str], Case]] = {
    "swish": _activations,
    **dict.fromkeys(("linear", "glu", "swiglu"), _matrices),
    "pad2d": _padded,
    "conv2d": _images,
    "max_pool2d": _pooled,
}
MIXTURES = "mixtures"  # the name of their sweep
