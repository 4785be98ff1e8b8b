"""What stays between the calls of a sequence: its tensors are written over, and its results are looked at again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.implementations.arrays import Argument

if TYPE_CHECKING:
    from assay.implementations.observe import Call, Observation

LAST = "the last result"  # which another may share its memory with
PARTS, FRAMES = 3, 6  # of a fused layer, as of queries, keys and values; of a ring of inputs
# By a field of a call that of each in a row: parts and frames on and back, so that the last is written to twice.
TURNS = {
    "part": (*range(1, PARTS + 1), *range(PARTS, 0, -1)),
    "frame": (*range(1, FRAMES + 1), *range(FRAMES, 0, -1)),
    "layer": (1, 2) * 5,
}


@dataclass
class Memory:
    """What stays between the calls of a sequence: tensors that were given, results, gradients."""

    arrays: dict[str, Any] = field(default_factory=dict)
    results: list[Any] = field(default_factory=list)
    originals: dict[str, Any] = field(default_factory=dict)  # of copies
    passed: Any = None  # the last result itself, if it lives on, to be passed on where it fits

    def make(self, library: Any, name: str, argument: Argument, call: Call) -> Any:
        """A tensor of these values: the last one of this name and shape, overwritten, if there is one."""
        is_first = name == next(iter(call.tensors))
        if part := call.frame if is_first else call.part:
            return self._part(library, name, argument, call, part, FRAMES if is_first else PARTS)
        key = name if is_first else f"{name} of layer {call.layer}"
        shape, known = argument.values.shape, (self.passed if is_first else None, self.arrays.get(key))
        there = (each for each in known if each is not None and tuple(each.shape) == shape)
        if (last := next((each for each in there if library.fits(each, call.recording)), None)) is not None:
            if call.copied:
                self.originals[key], last = last, library.copied(last)
                self.arrays[key] = last
            if call.stepped and not is_first:
                library.step(last)
            library.overwrite(last, argument.values)
            return last
        with library.recording(False if call.inferred else None):
            made = library.make(argument, call.dtype, call.device)
            self.arrays[key] = library.parameter(made) if name in call.parameters else made
        return self.arrays[key]

    def _part(self, library: Any, name: str, argument: Argument, call: Call, number: int, count: int) -> Any:
        rows, *others = argument.values.shape
        if name not in self.arrays:
            whole = library.make(Argument(np.zeros((count * rows, *others))), call.dtype, call.device)
            self.arrays[name] = library.parameter(whole) if name != next(iter(call.tensors)) else whole
        part = self.arrays[name][(number - 1) * rows : number * rows]
        library.overwrite(part, argument.values)
        return part

    def keep(self, seen: Observation, result: Any, gradients: Mapping[str, Any], library: Any) -> None:
        """The result and the gradients of which `Observation.arrays` has the values: their memory, and not they.

        A result that is to be spoilt is written over, and not kept.
        """
        if seen.call.spoilt and seen.output is not None:
            if library.fits(result, seen.call.recording):
                library.overwrite(result, np.full(seen.output.shape, np.nan))
            return
        if seen.output is not None and self.passed is not None and library.share(result, self.passed):
            seen.shares += (LAST,)
        self.passed = result if seen.output is not None and seen.call.passed else None
        named = [result] * (seen.output is not None)
        named += [gradients[name] for name, values in seen.gradients.items() if values is not None]
        self.results += map(library.alias, named)
