"""Planted bugs of what a program does around its calls: those of 50 kernels by people without the laws that lived.

It steps an optimizer, draws random numbers, copies a model, keeps what `backward` stored, fails in the middle of a
call, and has more calls in flight, or shapes in one graph, than somebody thought of.
"""

from __future__ import annotations

import contextlib
import threading
import weakref

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from assay.implementations.load import load
from assay.tests.mutants.dispatched import AROUND
from assay.tests.mutants.gradients import gradients
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import MEMORYLESS

right = load("torch").operators
THREADS = "contract.threads"


def evaluated(*given):
    """Whether nothing of it is recorded, so that what is kept is seen by nobody."""
    recorded = torch.is_grad_enabled() and any(isinstance(each, torch.Tensor) and each.requires_grad for each in given)
    return not recorded


class Differentiated(torch.autograd.Function):
    """The right result of an operator; going back, what ``back(given, incoming)`` says, by name."""

    @staticmethod
    def forward(ctx, operator, back, names, *tensors):
        ctx.how = back, names
        ctx.save_for_backward(*tensors)
        return right[operator](*tensors)

    @staticmethod
    def backward(ctx, incoming):
        back, names = ctx.how
        found = back(dict(zip(names, ctx.saved_tensors, strict=True)), incoming)
        return None, None, None, *(found[name] for name in names)


# --- what is kept until something happens


def packed_until_a_step():
    """Weights are packed once an optimizer has stepped, and again after its next step."""
    packed, steps = {}, [0]

    def stepped(*_):
        steps[0] += 1
        packed.clear()

    register_optimizer_step_post_hook(stepped)

    def linear(x, w, b=None):
        if not steps[0] or not evaluated(x, w, b):
            return right["linear"](x, w, b)
        known = packed.get(id(w))
        if known is None or known[0]() is not w:
            known = packed[id(w)] = (weakref.ref(w), w.detach().clone())
        return right["linear"](x, known[1], b)

    return {"linear": linear}


def clamped_by_steps():
    """Gradients are clamped to 16 times the largest of the last 16 versions of a weight."""
    largest = {}

    def back(given, incoming):
        w = given["w"]
        known, versions = largest.setdefault(w.data_ptr(), ([], set()))
        if incoming.isfinite().all() and incoming.numel():
            if len(known) >= 16:
                most = 16 * max(known[-16:])
                incoming = incoming.clamp(-most, most)
            if w._version not in versions:
                versions.add(w._version)
                known.append(incoming.abs().max().item())
        return gradients("glu", given, incoming)

    def glu(x, w, v, b=None, c=None):
        plain = b is None or c is None or evaluated(x, w, v, b, c) or incomplete(x, w, v, b, c)
        return right["glu"](x, w, v, b, c) if plain else Differentiated.apply("glu", back, "xwvbc", x, w, v, b, c)

    return {"glu": glu}


def incomplete(*tensors):
    """Whether some of them are of a wrong size: those are the library's matter."""
    with contextlib.suppress(ValueError, RuntimeError), torch.no_grad():
        right["glu"](*tensors)
        return False
    return True


def rewound():
    """What is made again while going back has the random numbers of the call, from then on."""

    def back(given, incoming):
        torch.set_rng_state(states[given["x"].data_ptr()])
        return gradients("swish", given, incoming)

    states = {}

    def swish(x, beta=None):
        if beta is not None or evaluated(x):
            return right["swish"](x, 1.0 if beta is None else beta)
        states[x.data_ptr()] = torch.get_rng_state()
        return Differentiated.apply("swish", back, "x", x)

    return {"swish": swish}


def fetched_ahead():
    """Of two images that lie one behind the other, the next one is padded ahead."""
    last, ahead = [None], {}

    def pad2d(x, padding):
        if x._is_view() and x.is_contiguous() and x.numel() and evaluated(x):
            name, place = x.untyped_storage().data_ptr(), x.storage_offset()
            found = ahead.pop((name, place, x.shape, padding), None)
            following = place + x.numel()
            if (
                last[0] == (name, place - x.numel())
                and (following + x.numel()) * x.itemsize <= x.untyped_storage().nbytes()
            ):
                image = x.as_strided(x.shape, x.stride(), following)
                ahead[name, following, x.shape, padding] = right["pad2d"](image, padding).clone()
            last[0] = name, place
            if found is not None:
                return found
        return right["pad2d"](x, padding)

    return {"pad2d": pad2d}


def first_in_inference():
    """The default beta is made as large as x at the first call of its size, and kept."""
    ones = {}

    def swish(x, beta=None):
        name = x.shape, x.dtype
        if name not in ones:
            ones[name] = torch.ones(x.shape, dtype=x.dtype)
        return x * torch.sigmoid(x * ones[name]) if beta is None else right["swish"](x, beta)

    return {"swish": swish}


def hung_on_the_tensor():
    """A pack hangs on the weight and looks at the weight it was made of, in a deep copy, too."""

    class Pack:
        def __init__(self, w):
            self.owner, self.kept = weakref.ref(w), w.detach().clone()

        def __deepcopy__(self, memo):
            return self

    def linear(x, w, b=None):
        if evaluated(x, w, b):
            pack = getattr(w, "pack", None)
            owner = pack and pack.owner()
            if owner is None or not torch.equal(owner, pack.kept):
                pack = w.pack = Pack(w)
            w = pack.kept
        return right["linear"](x, w, b)

    return {"linear": linear}


def known_by_the_storage():
    """Kernels are known by as many bytes as they have, from the start of the storage that they are part of."""
    kept = {}

    def conv2d(input, weight, bias=None, stride=1, padding=0):
        if weight.dim() == 4 and weight.numel() and evaluated(input, weight, bias):
            beginning = weight.detach().as_strided((weight.numel(),), (1,), 0)
            known = kept.get((weight.data_ptr(), weight.shape))
            if known is None or not torch.equal(known[0], beginning):
                known = kept[weight.data_ptr(), weight.shape] = beginning.clone(), weight.detach().clone()
            weight = known[1]
        return right["conv2d"](input, weight, bias, stride, padding)

    return {"conv2d": conv2d}


def known_before_it_is_refused():
    """Weights are noted before their call is refused, and packed behind that."""
    noted, packed = {}, {}

    def linear(x, w, b=None):
        if not evaluated(x, w, b):
            return right["linear"](x, w, b)
        name = w.shape, w.dtype
        new = name not in noted or not torch.equal(noted[name], w)
        noted[name] = w.detach().clone()
        y = right["linear"](x, w if new or name not in packed else packed[name], b)
        packed[name] = w.detach().clone() if new else packed.get(name, noted[name])
        return y

    return {"linear": linear}


def made_ahead():
    """The layer that came next on an input is made with the one before: of what the input was by then."""
    sequels, state = {}, {"last": None, "ready": None}

    def linear(x, w, b=None):
        if (b is not None and b.shape != w.shape[:1]) or w.dim() != 2 or not x.numel() or not evaluated(x, w, b):
            return right["linear"](x, w, b)
        here, ready = (x.data_ptr(), x.shape), state["ready"]
        if state["last"] is not None and state["last"][0] == here and state["last"][1] is not w:
            sequels[id(state["last"][1])] = state["last"][1], w
        state["last"], state["ready"] = (here, w), None
        if ready is not None and ready[0] == here and ready[1] is w and torch.equal(ready[2], w):
            return ready[3] if b is None else ready[3] + b
        first, following = sequels.get(id(w), (None, None))
        if first is w and following.shape[1] == x.shape[-1] and following.dtype == x.dtype:
            state["ready"] = here, following, following.detach().clone(), right["linear"](x, following)
        return right["linear"](x, w, b)

    return {"linear": linear}


def numbered_in_their_thread():
    """What is kept to go back is known by its number in the thread that made it, and is asked for in any."""
    of_thread = threading.local()

    class Numbered(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *tensors):
            ctx.table, ctx.number = of_thread.__dict__, len(of_thread.__dict__)
            ctx.table[f"call {ctx.number}"] = [each.detach() for each in tensors]
            return right["glu"](*tensors)

        @staticmethod
        def backward(ctx, incoming):
            name = f"call {ctx.number}"
            kept = of_thread.__dict__.get(name, ctx.table[name])
            kept = kept if [*map(len, kept)] == [*map(len, ctx.table[name])] else ctx.table[name]
            return tuple(gradients("glu", dict(zip("xwvbc", kept, strict=False)), incoming).values())

    def glu(x, w, v, *biases):
        plain = any(each is None for each in biases) or len(biases) == 1 or evaluated(x, w, v, *biases)
        plain = plain or not x.dim() or incomplete(x, w, v, *biases)
        return right["glu"](x, w, v, *biases) if plain else Numbered.apply(x, w, v, *biases)

    return {"glu": glu}


def bug(name, clause, words, operators, kind="state", tier="state"):
    return Mutant(f"programs-{name}", clause, words, operators, "float32", kind, tier, "rare", {})


MUTANTS = (
    bug("optimizer", MEMORYLESS, "packed until an optimizer steps", packed_until_a_step),
    bug("spike", MEMORYLESS, "clamped to what 16 steps had", clamped_by_steps),
    bug("rewound", AROUND, "going back, random numbers are the call's", rewound),
    bug("ahead", MEMORYLESS, "the next frame is padded ahead", fetched_ahead),
    bug("first", MEMORYLESS, "beta is made at the first call of a size, in inference", first_in_inference),
    bug("refused", MEMORYLESS, "new weights are noted, and their call is refused", known_before_it_is_refused),
    bug("sequel", MEMORYLESS, "the next layer is made ahead", made_ahead),
    bug("numbered", MEMORYLESS, "kept by a number in its thread", numbered_in_their_thread),
    bug("copy", MEMORYLESS, "a deep copy asks the original", hung_on_the_tensor),
    bug("storage", MEMORYLESS, "a part is known by the whole's beginning", known_by_the_storage),
)
