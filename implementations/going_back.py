"""Going back through PyTorch's graph, in the ways that a `Call` says."""

from __future__ import annotations

import contextlib
import importlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

EARLIER = 3  # calls in one graph before a call: what comes back to its input waits until they have gone back
THREADS = 8  # that are there at once when one has ended: one of them is given its name, as more names are not kept
BROKEN_OFF = 3  # times each way: at the first tensor that is kept, the second, and the third


def in_another_thread(back: Callable[[], Any]) -> Any:
    """What it gives there."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(back).result()


def in_threads(count: int, call: Callable[[], list[Any]]) -> list[Any]:
    """What so many threads make of a call, each of which waits for the next one."""

    def made(left: int) -> list[Any]:
        return [*call(), *(in_another_thread(partial(made, left - 1)) if left > 1 else ())]

    return in_another_thread(partial(made, count))


@dataclass(frozen=True)
class GoingBack:
    """How a result is made, and gone back from. ``library`` has PyTorch's tensors.

    ``between`` is called before it goes back, each time. ``how`` says what else is so:

    twice: it has gone back before from half of what comes in, and from its reverse, in whose memory it is then, if it
        can: what `torch.compile` makes refuses.
    halved: the result is, in place, and it goes back from twice what comes in, with the same gradients, if it can.
    hidden: the tensors are results of another layer; what is written to them is written to these.
    residual: a stream is added to the result, which nobody holds any more; one gradient comes back to both, and what is
        written to that is written to what comes in.
    recurrent: its first tensor is a clone, and there are calls on another one in the same graph, before and after, in
        which the tensors have other uses, too: zeros come back from all of them.
    checkpointed: it runs once more, and that result is given.
    offloaded: what is kept to go back is copied.
    elsewhere: another thread goes back.
    sharded: it has run in a thread, and another goes back, which has made a call on another first tensor before; both
        are new; between them `THREADS` others, of which one is given the first's name, have made such calls, too.
    broken: it has run before, and a hook on what is kept to go back has failed, going forward or back.
    stored: gradients are what `backward` has made the tensors' own, which may be the memory that it was handed.
    """

    library: Any
    how: Sequence[str]
    between: Callable[[], object] | None = None

    @property
    def torch(self) -> Any:
        return self.library.torch

    def gradients(
        self, run: Any, arrays: dict[str, Any], names: Sequence[str], incoming: Any
    ) -> tuple[Any, dict[str, Any]]:
        """(result, gradients by name) of ``run(arrays)``, going back from ``incoming``."""
        here = partial(self._gradients, run, arrays, names, incoming)
        found: tuple[Any, dict[str, Any]] = in_another_thread(here) if "sharded" in self.how else here()
        return found

    def _gradients(
        self, run: Any, arrays: dict[str, Any], names: Sequence[str], incoming: Any
    ) -> tuple[Any, dict[str, Any]]:
        leaves = {name: arrays[name].requires_grad_() for name in names}
        hidden, residual = "hidden" in self.how, "residual" in self.how
        given = self._given(arrays, leaves)
        before = EARLIER if "recurrent" in self.how else "sharded" in self.how
        earlier = [each for _ in range(before) for each in self._another(run, arrays)]
        if "broken" in self.how:
            self._break_off(run, given, list(leaves.values()), incoming)
        results = (made := self._made(run, given))[:1]
        waiting = in_threads(THREADS, partial(self._another, run, arrays)) if "sharded" in self.how else []
        if "recurrent" in self.how:
            results += [*earlier, *(leaf.clone() for leaf in leaves.values()), *self._another(run, arrays)]
        if not all(self.library.is_array(each) and each.requires_grad for each in results):
            return made[0], dict.fromkeys(leaves)
        incomings = [incoming, *map(self.torch.zeros_like, results[1:])]
        wanted = [given[name] if hidden else leaf for name, leaf in leaves.items()]
        if residual:
            results, incomings = self._in_a_stream(made, wanted, incoming)
        if self.between:
            self.between()
        found = self._asked(results, wanted, incomings)
        del waiting
        written = [(given[name], leaves[name]) for name in leaves if hidden]
        for copy, array in [*written, *[(found[-1], incoming)] * residual]:
            self._written_back(copy, array)
        return made[-1], dict(zip(leaves, found, strict=False))

    def _given(self, arrays: Mapping[str, Any], leaves: Mapping[str, Any]) -> dict[str, Any]:
        """What it is given for the tensors: results of another layer, or clones, of some."""
        if "hidden" in self.how:
            return {**arrays, **{name: self._activated(leaf) for name, leaf in leaves.items()}}
        first = list(arrays)[: "recurrent" in self.how]
        return {**arrays, **{name: arrays[name].clone() for name in first}}

    def _break_off(self, run: Any, given: Mapping[str, Any], wanted: list[Any], incoming: Any) -> None:
        for place, forward in itertools.product(range(BROKEN_OFF), (True, False)):
            hooks = [_failing(place), self.torch.Tensor.detach]
            kept = self.torch.autograd.graph.saved_tensors_hooks(*(hooks if forward else reversed(hooks)))
            with contextlib.suppress(Exception), kept:
                self.torch.autograd.grad(run(given), wanted, incoming, allow_unused=True)

    def _made(self, run: Any, given: Mapping[str, Any]) -> list[Any]:
        """All results that are made: once more, from a checkpoint, when it goes back."""
        if "sharded" in self.how:
            return [in_another_thread(partial(run, given))]
        with self._offloading() if "offloaded" in self.how else contextlib.nullcontext():
            return self._checkpointed(run, given) if "checkpointed" in self.how else [run(given)]

    def _in_a_stream(self, made: list[Any], wanted: list[Any], incoming: Any) -> tuple[list[Any], list[Any]]:
        """The result with another tensor, which is wanted, too, added to it, and what comes back to that."""
        wanted.append(self.torch.zeros_like(made[0], requires_grad=True))
        total = (made[0] + wanted[-1]) * incoming
        made[:] = [self.library.alias(each) for each in made]
        return [total], [self.torch.ones_like(incoming)]

    def _activated(self, leaf: Any) -> Any:
        """The same numbers, behind an activation: a ReLU, where none is negative, or one that leaks all."""
        functions = self.torch.nn.functional
        return functions.relu(leaf) if (leaf >= 0.0).all() else functions.leaky_relu(leaf, 1.0)

    def _another(self, run: Any, arrays: Mapping[str, Any]) -> list[Any]:
        """Another call in the same graph, if one can go back there: on another first tensor."""
        other = run({**arrays, **dict(list(self.library.turned(arrays).items())[:1])})
        return [other] * other.requires_grad

    def _asked(self, results: list[Any], wanted: list[Any], incomings: list[Any]) -> list[Any]:
        back = partial(self._back, results, wanted, incomings)
        try:
            return list(in_another_thread(back) if "elsewhere" in self.how else back())
        except Exception as problem:
            problem.__notes__ = [*getattr(problem, "__notes__", ()), "going back"]  # Python 3.10 has no `add_note`
            raise

    def _back(self, results: list[Any], wanted: list[Any], incomings: list[Any]) -> Any:
        if "halved" in self.how:
            results, incomings = [each.mul_(0.5) for each in results], [2.0 * each for each in incomings]
        back = partial(self.torch.autograd.grad, results, wanted, allow_unused=True)
        if "stored" in self.how:
            back = partial(self._stored, results, wanted)
        if "twice" in self.how:
            reverse = [each.flip(tuple(range(each.ndim))) for each in incomings]
            for earlier in ([0.5 * each for each in incomings], reverse):
                with contextlib.suppress(Exception):  # who refuses to go back twice gives no wrong number
                    back(earlier, retain_graph=True)
                if self.between:
                    self.between()
            incomings = [_put(each, memory) for each, memory in zip(incomings, reverse, strict=True)]
        return back(incomings)

    def _stored(self, results: list[Any], wanted: list[Any], incomings: list[Any], **more: Any) -> list[Any]:
        self.torch.autograd.backward(results, incomings, **more)
        found = [leaf.grad for leaf in wanted]
        for leaf in wanted:
            leaf.grad = None
        return found

    def _checkpointed(self, run: Any, given: Mapping[str, Any]) -> list[Any]:
        """Made once more as a whole: what stops it early is an exception, which TorchScript turns into an error."""
        checkpoint, found = importlib.import_module("torch.utils.checkpoint"), list[Any]()

        def run_and_keep() -> Any:
            found.append(run(given))
            return found[-1]

        with checkpoint.set_checkpoint_early_stop(False):
            checkpoint.checkpoint(run_and_keep, use_reentrant=False)
        return found

    def _offloading(self) -> Any:
        """As activations are kept in another memory, or compressed, until they are wanted."""
        hooks, contiguous = self.torch.autograd.graph.saved_tensors_hooks, self.torch.contiguous_format
        return hooks(lambda kept: kept.detach().clone(memory_format=contiguous), lambda kept: kept)

    def _written_back(self, copy: Any, array: Any) -> None:
        """What was written to its copy is written to the array."""
        with self.torch.no_grad():
            if not ((copy == array) | (array != array)).all():
                array.copy_(copy)


def _failing(place: int) -> Callable[[Any], Any]:
    """A hook that fails at one of the tensors that it is given."""
    turns = itertools.count()

    def hook(tensor: Any) -> Any:
        if next(turns) == place:
            raise RuntimeError("broken off")
        return tensor.detach()

    return hook


def _put(array: Any, memory: Any) -> Any:
    """The array in this memory, without a word, or where it is, if it lies in another way."""
    if array.stride() != memory.stride():
        return array
    memory.data.copy_(array)
    return memory
