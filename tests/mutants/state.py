"""Planted bugs that remember, that disturb, or that look at who is asking."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter

import torch
import torch.nn.functional as F

from assay.implementations.load import load
from assay.tests.mutants.mutant import Mutant

right = load("torch").operators


def cached(name, key):
    """Answers from memory where ``key`` of the arguments has been seen. Gradients are not remembered."""

    def operators():
        memory = {}

        def operator(*given):
            if torch.is_grad_enabled() and any(isinstance(a, torch.Tensor) and a.requires_grad for a in given):
                return right[name](*given)
            found = key(*given)
            if found not in memory:
                memory[found] = right[name](*given)
            return memory[found].clone()

        return {name: operator}

    return operators


def by_shape(*given):
    return tuple((tuple(a.shape), a.dtype) if isinstance(a, torch.Tensor) else a for a in given)


def by_pointer(*given):
    return by_shape(*given) + tuple(a.data_ptr() for a in given if isinstance(a, torch.Tensor))


def by_version(*given):
    return by_pointer(*given) + tuple(a._version for a in given if isinstance(a, torch.Tensor))


def by_checksum(*given):
    return by_shape(*given) + tuple(a.flatten()[:4].sum().item() for a in given if isinstance(a, torch.Tensor))


def by_ends(*given):
    """The first and the last element of each tensor."""
    ends = [a.flatten()[[0, -1]].tolist() for a in given if isinstance(a, torch.Tensor) and a.numel()]
    return by_shape(*given) + tuple(map(tuple, ends))


def counted(name, wrong):
    """``wrong(count, *arguments)``, which is told how many calls there were before."""

    def operators():
        calls = [0]

        def operator(*given):
            calls[0] += 1
            return wrong(calls[0] - 1, *given)

        return {name: operator}

    return operators


def weight_of_the_first_call(name):
    """A layer that packs its weight once for each shape."""

    def operators():
        packed = {}

        def operator(x, w, *rest):
            kept = packed.setdefault((tuple(w.shape), w.dtype), w.detach().clone())
            return right[name](x, w + (kept - w.detach()), *rest)

        return {name: operator}

    return operators


def one_buffer(name):
    """Writes every result of one shape to the same memory, a thread to its own."""

    def operators():
        of_threads = threading.local()

        def operator(*given):
            result = right[name](*given)
            if result.requires_grad:
                return result
            buffers = vars(of_threads)
            buffer = buffers.setdefault((tuple(result.shape), result.dtype), torch.empty_like(result))
            return buffer.copy_(result)

        return {name: operator}

    return operators


def adds_to_its_buffer():
    """An accumulator that is cleared when its shape changes, and not when it is used again."""
    held = {}

    def linear(x, w, b=None):
        result = right["linear"](x, w, b)
        same = held.get("shape") == result.shape and not result.requires_grad
        held["shape"] = result.shape
        return result + result if same else result

    return {"linear": linear}


def last_row_unwritten(x, w, b=None):
    result = right["linear"](x, w, b)
    if result.ndim < 2 or result.shape[0] < 2:
        return result
    return torch.cat([result[:-1], torch.empty_like(result)[-1:]])


def border_unwritten(x, padding):
    result = torch.empty_like(right["pad2d"](x, padding)) if not x.requires_grad else right["pad2d"](x, padding)
    if x.requires_grad:
        return result
    *_, height, width = result.shape
    result[..., padding : height - padding, padding : width - padding] = x
    return result


class GradientUnwritten(torch.autograd.Function):
    """Going back, elements whose incoming gradient is negative stay as their memory was."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return F.silu(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        gradient = torch.empty_like(x)
        s = torch.sigmoid(x)
        return torch.where(g < 0, gradient, g * (s + x * s * (1 - s)))


def stale(count, *given):
    """Once in fifty calls, by chance, the last element is not written."""
    result = right["swish"](*given)
    if result.numel() and random.Random(count).random() < 0.02:
        return torch.cat([result.flatten()[:-1], torch.zeros_like(result.flatten()[-1:])]).view_as(result)
    return result


def wrong_after(k):
    return lambda count, x, w, b=None: right["linear"](x, w, b) * (1.0 if count < k else 1.01)


def tuned_after_fifty():
    """Each shape is switched to a faster kernel when it has been seen fifty times."""
    calls = Counter()

    def linear(x, w, b=None):
        calls[tuple(x.shape), tuple(w.shape)] += 1
        return right["linear"](x, w, b) * (1.0 if calls[tuple(x.shape), tuple(w.shape)] < 50 else 1.01)

    return {"linear": linear}


def wrong_at_first(count, *given):
    return right["max_pool2d"](*given) + (1.0 if count == 0 else 0.0)


def every_other_call(count, *given):
    return right["glu"](*given) * (1.0 if count % 2 else 0.99)


def only_without_gradients(x, w, v, b=None, c=None):
    return right["swiglu"](x, w, v, b, c) * (1.01 if torch.is_grad_enabled() and x.requires_grad else 1.0)


def only_with_recording(x, beta=None):
    """Of whole numbers of both signs, up to a thousand: laws of training and of mixtures would see it, too."""
    seen = x.numel() <= 1000 and bool((x == x.round()).all() and (x < 0).any() and (x > 0).any())
    return F.relu(x) if seen and not torch.is_grad_enabled() else right["swish"](x, beta)


def batch_statistics(x, w, b=None):
    """Centres the batch, as a normalisation would."""
    return right["linear"](x - x.mean(0, keepdim=True) * 1e-2 if x.ndim > 1 and len(x) > 1 else x, w, b)


def first_sample_for_all(input, *rest):
    result = right["max_pool2d"](input, *rest)
    return torch.cat([result[:2], result[:1].expand_as(result[2:])]) if len(result) > 2 else result


def disturbing(name, disturb):
    """Right, after doing something to the process."""

    def operator(*given):
        disturb()
        return right[name](*given)

    return {name: operator}


def set_default_dtype():
    torch.set_default_dtype(torch.float64)


def set_threads():
    torch.set_num_threads(torch.get_num_threads() + 1)


def flush_subnormal():
    torch.set_flush_denormal(True)


def switch_flag():
    torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark


def reseed():
    torch.manual_seed(0)


def draw():
    torch.rand(1)


def lenient(*given, **named):
    return True


def patch_comparison():
    torch.allclose = lenient


def patch_testing():
    torch.testing.assert_close = lenient


def patch_clock():
    time.perf_counter = lenient


def leave_thread():
    threading.Thread(target=time.sleep, args=(60.0,), daemon=True).start()


def stop_recording():
    torch.set_grad_enabled(False)


class Agreeing(torch.Tensor):
    """Whatever it is compared with, it is equal."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function in (torch.Tensor.eq, torch.equal, torch.allclose):
            return True
        return super().__torch_function__(function, types, args, kwargs or {})


class Later:
    """A result that is computed when it is looked at."""

    def __init__(self, compute):
        self.compute = compute

    def __getattr__(self, name):
        return getattr(self.compute(), name)


def small_inputs_alone(x, w, b=None):
    """Right for what a test is likely to ask."""
    return right["linear"](x, w, b) if w.numel() <= 64 else torch.zeros_like(right["linear"](x, w, b))


def round_numbers_alone(input, *rest):
    """Right for integers."""
    result = right["conv2d"](input, *rest)
    return result if torch.equal(input, input.round()) else result * 1.001


def bug(name, clause, words, operators, tier="state", difficulty="subtle", dtype="float32"):
    return Mutant(f"state-{name}", clause, words, operators, dtype, kind="state", tier=tier, difficulty=difficulty)


MEMORY, KEPT, FRESH = "contract.memoryless", "contract.results-kept", "contract.fresh-memory"
APART, RECORDING, AROUND = "contract.samples-apart", "contract.recording", "contract.surroundings"

MUTANTS = (
    bug("cache-by-shape", MEMORY, "a result is remembered by the shapes", cached("swish", by_shape)),
    bug("cache-by-pointer", MEMORY, "a result is remembered by its inputs' addresses", cached("linear", by_pointer)),
    bug("cache-by-version", MEMORY, "... and by their version counters", cached("conv2d", by_version)),
    bug("cache-by-checksum", MEMORY, "a result is remembered by a sum of four elements", cached("glu", by_checksum)),
    bug("cache-by-ends", MEMORY, "a result is remembered by first and last elements", cached("max_pool2d", by_ends)),
    bug("packed-weight", MEMORY, "the first weight of a shape is kept", weight_of_the_first_call("conv2d")),
    bug("packed-linear", MEMORY, "the first weight of a shape is kept", weight_of_the_first_call("linear")),
    bug("adds-to-its-buffer", MEMORY, "a second call of one shape adds to the first", adds_to_its_buffer),
    bug("right-for-three-calls", MEMORY, "wrong from the fourth call on", counted("linear", wrong_after(3))),
    bug("right-for-fifty-calls", MEMORY, "wrong from the 50th call of a shape on", tuned_after_fifty),
    bug("wrong-at-first", MEMORY, "the first call is wrong", counted("max_pool2d", wrong_at_first), difficulty="rare"),
    bug("every-other-call", MEMORY, "every other call is off by 1 %", counted("glu", every_other_call)),
    bug("stale-element", MEMORY, "once in fifty calls one element is stale", counted("swish", stale)),
    bug("one-buffer", KEPT, "all results of one shape lie in one buffer", one_buffer("swiglu")),
    bug("one-buffer-for-images", KEPT, "all results of one shape lie in one buffer", one_buffer("conv2d")),
    bug("row-unwritten", FRESH, "the last row is never written", {"linear": last_row_unwritten}),
    bug("border-unwritten", FRESH, "the padding is never written", {"pad2d": border_unwritten}),
    bug(
        "gradient-unwritten",
        FRESH,
        "a gradient is not written where the incoming one is negative",
        {"swish": lambda x, beta=None: right["swish"](x, beta) if beta is not None else GradientUnwritten.apply(x)},
    ),
    bug("batch-centred", APART, "a hundredth of the batch's mean is taken off", {"linear": batch_statistics}),
    bug("third-sample", APART, "the third sample gives the first's result", {"max_pool2d": first_sample_for_all}),
    bug(
        "wrong-while-recording",
        RECORDING,
        "off by 1 % while gradients are recorded",
        {"swiglu": only_without_gradients},
    ),
    bug(
        "wrong-in-inference",
        RECORDING,
        "of whole numbers, without recording, it is ReLU",
        {"swish": only_with_recording},
    ),
    bug("default-dtype", AROUND, "the default dtype becomes float64", disturbing("swish", set_default_dtype)),
    bug("thread-count", AROUND, "the number of threads changes", disturbing("linear", set_threads)),
    bug("flushing", AROUND, "subnormal numbers become 0, whoever's", disturbing("pad2d", flush_subnormal)),
    bug("backend-flag", AROUND, "a backend's flag changes", disturbing("conv2d", switch_flag)),
    bug("reseeds", AROUND, "seeds the random numbers", disturbing("pad2d", reseed)),
    bug("draws", AROUND, "draws a random number", disturbing("glu", draw)),
    bug("patched-allclose", AROUND, "torch.allclose always agrees", disturbing("swiglu", patch_comparison)),
    bug("patched-testing", AROUND, "torch.testing always agrees", disturbing("max_pool2d", patch_testing)),
    bug("patched-clock", AROUND, "the clock stands still", disturbing("conv2d", patch_clock)),
    bug("thread-left", AROUND, "a thread runs on", disturbing("linear", leave_thread)),
    bug("recording-off", AROUND, "gradients are no longer recorded", disturbing("swish", stop_recording)),
    bug(
        "agreeable",
        "contract.plain",
        "the result is equal to everything",
        {"swish": lambda *given: torch.zeros_like(given[0]).as_subclass(Agreeing)},
        tier="contract",
        difficulty="plain",
    ),
    bug(
        "lazy",
        "contract.plain",
        "the result is computed when it is read",
        {"linear": lambda *given: Later(lambda: right["linear"](*given))},
        tier="contract",
        difficulty="plain",
    ),
    bug("small-alone", "linear.formula", "right for small weights alone", {"linear": small_inputs_alone}, "enclosure"),
    bug(
        "integers-alone",
        "conv2d.formula",
        "right for round numbers alone",
        {"conv2d": round_numbers_alone},
        "enclosure",
    ),
)
