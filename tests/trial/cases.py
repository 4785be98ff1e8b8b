"""Cases: which shapes and parameters an operator is asked about. The output's size is drawn first, nothing is filtered.

A case knows no dtype: a candidate's dtype fills its textures. Small sizes come first, because shrinking prefers them;
among the rest stand the sizes that tiled kernels get wrong, around multiples of 4, 8, 16, 32, 64 and 128.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from assay.implementations.arrays import Argument
from assay.reference.arithmetic.formats import Format
from assay.reference.conv2d import pair
from assay.reference.tensor import Index
from assay.spec import OPERATORS
from assay.tests.trial.textures import INTEGERS, PLAIN, REALS, Texture, textures

SMALL = (1, 2, 3, 4, 5)
SIZES = (*SMALL, 6, 7, 8, 9, 10, 12, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 96, 127, 128, 129)
ANY_SIZE = tuple(range(1, 130))
PLACES = (*SMALL, 8, 9, 17)
CHANNELS = (1, 2, 3, 4, 5, 8, 17)
# Rows and columns of kernels and of windows, and those that are larger than what is usual.
KERNELS = (1, 2, 3, 4, 5, 7), (3, 2, 1, 5, 4)
WINDOWS = (2, 3, 1, 4, 5, 7), (2, 3, 1, 4, 7)
WIDE = (8, 16, 31, 32, 33), (8, 15, 16, 17, 32)
# Steps of usual kernels, and of wide ones: those that cut an image into patches step as far as they are long.
STRIDES = (1, 2, 3, 4)
LONG_STRIDES = (1, 2, 8, 16, 33)
Draw = Callable[[st.SearchStrategy[Any]], Any]

# Making a strategy costs more than drawing from it, so each is made once.
kept = functools.cache
_among = functools.lru_cache(maxsize=None, typed=True)(st.sampled_from)
_PICKS = st.integers(0, 255)
# Of an elementwise operator, behind the first; None is a tensor of no axes at all.
_OTHER_AXES = (*((), (2,), (3, 2), (2, 1, 3), (1, 2, 1, 2, 2)) * 2, None)
# Long in one direction and short in the others, so that they stay cheap: (leading axes, features, outputs).
_LONG_LINEAR = (((), 257, 1), ((65,), 3, 2), ((2,), 257, 2), ((65,), 1, 5))
_LONG_GATED = (((64,), 1, 64), ((1,), 257, 1), ((65,), 2, 1))
# The same of convolutions: (rows, columns, kernel's rows, kernel's columns, inputs, outputs).
_LONG_CONV2D = (
    ((1, 2), (65, 128), (1, 2, 3), (1, 2, 3), (1,), (1, 2)),
    ((1, 2), (1, 2), (1, 2), (2, 1), (33,), (1, 2, 33)),
    ((1, 2, 3), (1, 2, 3), (7,), (7,), (1, 2), (1, 2)),
)


@dataclass(frozen=True)
class Manner:
    """How a mixture is asked: what learns, whether going forward that is recorded, how it goes back, by which setting.

    Unless it says so: each tensor, recorded, in no way and memory of its own.
    """

    learn: tuple[str, ...] = ()
    recording: bool | str | None = None
    way: tuple[str, ...] = ()
    together: str = ""
    setting: str = ""


@dataclass(frozen=True)
class Case:
    """An operator's name, the shapes and textures of its tensors, its parameters, and the incoming gradient's texture.

    ``terms`` bounds the number of terms of every sum that the operator, or its gradient, takes. ``pick`` is the seed
    by which elements of a large result are sampled. Laws of mixtures alone heed the ``manner``.
    """

    operator: str
    shapes: Mapping[str, Index]
    textures: Mapping[str, Texture]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    terms: int = 1
    pick: int = 0
    incoming: Texture = Texture("ones")
    manner: Manner = Manner()

    @property
    def result_shape(self) -> Index:
        """The shape that the formula gives."""
        return OPERATORS[self.operator].shape_of(self.shapes, self.parameters)

    @property
    def learning(self) -> tuple[str, ...]:
        """The tensors that learn, of those that there are."""
        return tuple(name for name in self.shapes if name in (self.manner.learn or self.shapes))

    def arguments(self, fmt: Format) -> dict[str, Any]:
        """Every argument in order, tensors filled with numbers of ``fmt``, None for what is left out."""
        return {name: self._argument(name, fmt) for name in OPERATORS[self.operator].arguments}

    def _argument(self, name: str, fmt: Format) -> Any:
        if name in self.shapes:
            return self.textures[name].fill(self.shapes[name], fmt, self.terms)
        value = self.parameters.get(name)
        # A tensor of one element that is given as a plain number is a number of the dtype too.
        return fmt.round(value) if name in OPERATORS[self.operator].tensors and value is not None else value

    def cotangent(self, fmt: Format) -> Argument:
        """The incoming gradient."""
        return self.incoming.fill(self.result_shape, fmt, self.terms)

    def changed(self, **changes: Any) -> Case:
        """This case with other fields."""
        return replace(self, **changes)

    def with_textures(self, **textures: Texture) -> Case:
        """This case with other textures of the tensors that it has."""
        mine = {name: texture for name, texture in textures.items() if name in self.shapes}
        return replace(self, textures={**self.textures, **mine})


def _case(
    draw: Draw, operator: str, shapes: dict[str, Index], parameters: dict[str, Any], families: Any, **more: Any
) -> Case:
    filled = {name: draw(textures(families)) for name in shapes}
    pick, incoming = draw(_PICKS), draw(textures(_incoming(families)))
    return Case(operator, shapes, filled, parameters, pick=pick, incoming=incoming, **more)


def _incoming(families: tuple[str, ...]) -> tuple[str, ...]:
    return families if families is INTEGERS or families in PLAIN else REALS[:8]


def _leading(draw: Draw) -> Index:
    return draw(_among(((2,), (1,), (3,), (), (2, 2), (5,), (1, 3, 2), (2, 1, 1, 2, 1))))


def _long(draw: Draw, usual: bool, kinds: tuple[Any, ...]) -> Any:
    """One of the long kinds, one time in four where the sizes are the usual ones; else None."""
    return draw(_among((*(None,) * 3 * len(kinds), *kinds))) if usual else None


def _matrix(draw: Draw, sizes: tuple[int, ...], long: tuple[Any, ...]) -> tuple[Index, int, int]:
    """The leading axes of x, the number of features and that of outputs."""
    return _long(draw, sizes is SIZES, long) or (_leading(draw), draw(_among(sizes)), draw(_among(sizes)))


@kept
@st.composite
def swish_cases(draw: Draw, families: tuple[str, ...] = REALS, sizes: tuple[int, ...] = SIZES) -> Case:
    """swish of tensors of none to six axes; beta a tensor of one axis or none, a float, or left out."""
    long = _long(draw, sizes is SIZES, ((1025,), ANY_SIZE))
    size, others = draw(_among(long or sizes)), draw(_among(_OTHER_AXES))
    shape = () if others is None else (size, *others)
    beta = draw(_among((None, "float", (), (1,) * len(shape[:1]))))
    shapes: dict[str, Index] = {"x": shape} | ({"beta": beta} if isinstance(beta, tuple) else {})
    case = _case(draw, "swish", shapes, {}, families)
    value = draw(_among((0.5, 2.0, -1.0, 1.702, 0.0, 1.0, 3.25, 16.0, -7.0, 0.1)))
    if isinstance(beta, tuple):
        return case.with_textures(beta=Texture("zeros", 0, ((0, value),)))
    return case.changed(parameters={"beta": value} if beta == "float" else {})


@kept
@st.composite
def linear_cases(draw: Draw, families: tuple[str, ...] = REALS, sizes: tuple[int, ...] = SIZES) -> Case:
    """linear with up to five leading axes, and a bias more often than not."""
    leading, features, outputs = _matrix(draw, sizes, _LONG_LINEAR)
    shapes: dict[str, Index] = {"x": (*leading, features), "w": (outputs, features)}
    if draw(_among((True, True, False))):
        shapes["b"] = (outputs,)
    rows = max(1, math.prod(shapes["x"][:-1]))
    return _case(draw, "linear", shapes, {}, families, terms=max(features, outputs, rows))


@kept
@st.composite
def gated_cases(draw: Draw, operator: str, families: tuple[str, ...] = REALS, sizes: tuple[int, ...] = SIZES) -> Case:
    """GLU or SwiGLU; both biases, one of them, or none."""
    leading, features, outputs = _matrix(draw, sizes, _LONG_GATED)
    shapes: dict[str, Index] = {
        "x": (*leading, features),
        "w": (outputs, features),
        "v": (outputs, features),
    }
    for bias in draw(_among((("b", "c"), ("b",), ("c",), ()))):
        shapes[bias] = (outputs,)
    rows = max(1, math.prod(shapes["x"][:-1]))
    return _case(draw, operator, shapes, {}, families, terms=max(features, 2 * outputs, rows))


@kept
@st.composite
def pad2d_cases(draw: Draw, families: tuple[str, ...] = REALS, sizes: tuple[int, ...] = SIZES) -> Case:
    """Padding of tensors of two to six axes by 0 to 9."""
    leading = draw(_among(((), (2,), (3, 2), (1, 1), (2, 1, 1, 2))))
    long, short = draw(_among(sizes)), draw(_among(SMALL))
    shape = (*leading, *draw(_among(((long, short), (short, long)))))
    padding = draw(_among((1, 2, 3, 0, 5, 9)))
    return _case(draw, "pad2d", {"x": shape}, {"padding": padding}, families)


def _axis(draw: Draw, places: tuple[int, ...], kernels: tuple[int, ...], half: bool) -> tuple[int, int, int, int]:
    """(input, kernel, stride, padding) along one axis, the number of places drawn first."""
    count, kernel = draw(_among(places)), draw(_among(kernels))
    stride = draw(_among(LONG_STRIDES if kernels in WIDE else STRIDES))
    padding = draw(_among(range(1 + (kernel // 2 if half else kernel))))
    unreached = draw(_among(range(stride)))
    return max(1, (count - 1) * stride + kernel - 2 * padding + unreached), kernel, stride, padding


def _as_drawn(draw: Draw, down: int, right: int) -> Any:
    """A pair, or one number where both are equal and that is drawn."""
    return down if down == right and draw(_among((False, True))) else (down, right)


@kept
@st.composite
def conv2d_cases(
    draw: Draw,
    families: tuple[str, ...] = REALS,
    places: tuple[int, ...] = PLACES,
    channels: tuple[int, ...] = CHANNELS,
    kernels: tuple[tuple[int, ...], tuple[int, ...]] = KERNELS,
) -> Case:
    """Convolutions with unequal kernel, stride and padding in the two directions, and a bias more often than not."""
    usual = (places, places[:5], *kernels, channels, channels)
    kind = _long(draw, places is PLACES and channels is CHANNELS, _LONG_CONV2D) or usual
    height, kh, down, above = _axis(draw, kind[0], kind[2], half=False)
    width, kw, right, before = _axis(draw, kind[1], kind[3], half=False)
    batch, inputs, outputs = draw(_among((2, 1, 3))), draw(_among(kind[4])), draw(_among(kind[5]))
    shapes: dict[str, Index] = {"input": (batch, inputs, height, width), "weight": (outputs, inputs, kh, kw)}
    if draw(_among((True, True, False))):
        shapes["bias"] = (outputs,)
    parameters = {"stride": _as_drawn(draw, down, right), "padding": _as_drawn(draw, above, before)}
    case = _case(draw, "conv2d", shapes, parameters, families)
    _, _, rows, columns = case.result_shape
    return case.changed(terms=max(inputs * kh * kw, outputs * kh * kw, batch * rows * columns))


@kept
@st.composite
def max_pool2d_cases(
    draw: Draw,
    families: tuple[str, ...] = ("ties", "distinct", "normal", "negative", "large", "wide", "subnormal"),
    places: tuple[int, ...] = PLACES,
    channels: tuple[int, ...] = (2, 1, 3, 5),
    windows: tuple[tuple[int, ...], tuple[int, ...]] = WINDOWS,
) -> Case:
    """Pooling with and without a stride of its own, overlapping or with gaps, padded up to half the kernel."""
    height, kh, down, above = _axis(draw, places, windows[0], half=True)
    width, kw, right, before = _axis(draw, places[:5], windows[1], half=True)
    batch, planes = draw(_among((2, 1, 3))), draw(_among(channels))
    parameters: dict[str, Any] = {"kernel_size": _as_drawn(draw, kh, kw), "padding": _as_drawn(draw, above, before)}
    if draw(_among((True, True, False))):
        parameters["stride"] = _as_drawn(draw, down, right)
    steps = pair(parameters.get("stride", (kh, kw)))
    overlapping = -(-kh // steps[0]) * -(-kw // steps[1])
    case = _case(draw, "max_pool2d", {"input": (batch, planes, height, width)}, parameters, families)
    return case.changed(terms=overlapping)
