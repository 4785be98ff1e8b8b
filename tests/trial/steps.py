"""The steps of the search for a simpler example: each takes away what the failure can do without, for good."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.implementations.arrays import Argument, Values
from assay.reference.arithmetic.formats import Format
from assay.spec import OPERATORS
from assay.tests.trial import smaller
from assay.tests.trial.cases import Manner
from assay.tests.trial.drawn import outcome
from assay.tests.trial.textures import Given, Texture

if TYPE_CHECKING:
    from assay.tests.trial.simplify import Search

Holder = tuple[Any, str]  # where a texture is: an argument ("") or, in a case, a tensor's or the incoming gradient's


@dataclass(frozen=True, eq=False)
class Noted(Texture):
    """A texture that notes the shapes that it fills, and the terms of their sums."""

    of: Texture = Texture()
    asked: list[tuple[tuple[int, ...], int]] = field(default_factory=list)

    def fill(self, shape: tuple[int, ...], fmt: Format, terms: int = 1) -> Argument:
        if (self.family, self.seed) == (self.of.family, self.of.seed):
            self.asked.append((shape, terms))
        return replace(self.of, **_drawn(self)).fill(shape, fmt, terms)

    def written_out(self, fmt: Format) -> Given:
        """The values of the last fill."""
        shape, terms = self.asked[-1]
        values = self.of.fill(shape, fmt, terms).values
        return self.holding(values, terms)


def _drawn(texture: Texture) -> dict[str, Any]:
    return {name: getattr(texture, name) for name in ("family", "seed", "elements", "layout")}


def write_out(search: Search) -> None:
    """The values of every texture that the law fills, in its place."""
    noted = {holder: Noted(**_drawn(texture), of=texture) for holder, texture in search.textures.items()}
    outcome(search.body, search.candidate.aside(), search.holding(noted))
    fmt = search.candidate.format
    search.all_or_each({holder: texture.written_out(fmt) for holder, texture in noted.items() if texture.asked})


def lay_plainly(search: Search) -> None:
    """Contiguous tensors."""
    odd = {holder: texture for holder, texture in search.textures.items() if texture.layout != "contiguous"}
    search.all_or_each({holder: replace(texture, layout="contiguous") for holder, texture in odd.items()})


def ask_plainly(search: Search) -> None:
    """A mixture as if nothing were mixed: each tensor learns, in memory of its own, and no setting is another."""
    for name, case in search.cases.items():
        if case.manner != Manner() and not search.changes(name, manner=Manner()):
            for plain in fields(Manner):
                manner = replace(search.state[name].manner, **{plain.name: plain.default})
                search.changes(name, manner=manner)


def leave_out(search: Search) -> None:
    """No bias, no beta."""
    for name, case in search.cases.items():
        for tensor in OPERATORS[case.operator].optional:
            for part in ("shapes", "parameters"):
                given = getattr(search.state[name], part)
                if tensor in given:
                    search.changes(name, **{part: {key: value for key, value in given.items() if key != tensor}})


def lower_parameters(search: Search) -> None:
    """Kernels and strides towards 1, padding towards 0."""
    for name in search.cases:
        search.repeat(name, smaller.lower_parameters)
        search.repeat(name, smaller.narrower_kernels)


def shorten(search: Search) -> None:
    """Fewer samples, channels, rows, columns, features, outputs: without one half or the other, then quarters, ..."""
    for name, case in search.cases.items():
        for axes in smaller.axes_to_shorten(case):
            block = _shortest(search, name, axes)
            while block > 1:
                block = (block + 1) // 2
                _cut_blocks(search, name, axes, block)
        search.repeat(name, lambda case: filter(None, [smaller.without_leading_axis(case)]))


def _cut_blocks(search: Search, name: Any, axes: tuple[Any, ...], block: int) -> None:
    start = 0
    while not search.spent() and start < (size := _shortest(search, name, axes)):
        cut = range(start, min(start + block, size))
        shorter = smaller.without_all(search.state[name], axes, cut)
        if len(cut) == size or not search.fails({**search.state, name: shorter}):
            start += block


def _shortest(search: Search, name: Any, axes: tuple[Any, ...]) -> int:
    return min(smaller.length(search.state[name], axis) for axis in axes)


def clear(search: Search) -> None:
    """Zeros or, if that is too much, ones of either sign in a whole tensor: blocks of them are alike to cut."""
    for holder, texture in search.textures.items():
        if isinstance(texture, Given):
            values = texture.values
            rounder = (np.zeros_like(values), np.sign(values)) if np.abs(values).max(initial=0.0) >= 1.0 else ()
            any(search.fails(search.holding({holder: replace(texture, values=each)})) for each in rounder)


def round_values(search: Search) -> None:
    """Zeros, ones, small integers, few bits: all values of a tensor at once, or as many as can be."""
    for holder, texture in search.textures.items():
        if isinstance(texture, Given):
            for change in smaller.changes_of(texture.values):
                _change_some(search, holder, change)


def _change_some(search: Search, holder: Holder, change: Callable[[Values], Values]) -> None:
    old = search.textures[holder].values
    new = change(old) + 0.0  # no zero becomes negative
    different = np.flatnonzero(~((new == old) & (np.signbit(new) == np.signbit(old)) | (new != new)))
    parts = [different] if len(different) else []
    while parts and not search.spent():
        part = parts.pop(0)
        texture = search.textures[holder]
        values = texture.values.copy()
        values.flat[part] = new.flat[part]
        if not search.fails(search.holding({holder: replace(texture, values=values)})) and len(part) > 1:
            parts += [part[: len(part) // 2], part[len(part) // 2 :]]


def bring_forward(search: Search) -> None:
    """A tensor's only element that is not 0 stands first, so that what follows it can go."""
    for holder, texture in search.textures.items():
        if isinstance(texture, Given) and np.count_nonzero(texture.values) == 1 and not texture.values.flat[0]:
            values = np.zeros_like(texture.values)
            values.flat[0] = texture.values.flat[np.flatnonzero(texture.values)[0]]
            search.fails(search.holding({holder: replace(texture, values=values)}))


def say_briefly(search: Search) -> None:
    """A stride of 2 for (2, 2), and none for 1."""
    for name in search.cases:
        search.repeat(name, smaller.briefer)


STEPS = (lay_plainly, ask_plainly, leave_out, lower_parameters, clear, shorten, round_values, bring_forward)
