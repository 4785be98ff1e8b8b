"""Whence the planted bugs are, by the beginnings of their ids: a catalogue that its authors alone wrote proves little.

Kernels that others wrote were judged once at quick, by the laws of that day. Those that got past are planted where they
break a promise, and laws were written for them; those that were told are not in the catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """Mutants whose ids begin so, and whence they are; of others' kernels how many there were and got past."""

    beginnings: tuple[str, ...]
    whence: str
    kernels: int | None = None
    past: int | None = None


BLIND = "people who had not read the laws"
ORIGINS = (
    Origin(("reported-",), "bugs of other libraries, as their users reported them"),
    Origin(("sliced-", "millions-", "ported-"), "kernels after other libraries' bugs"),
    Origin(("owed-", "usual-"), "for laws that had none of their own"),
    Origin(("uncalled-",), f"in calls that no law had made: when these were counted, and of {BLIND}"),
    Origin(("transformed-",), "declare an FFT or Winograd's algorithm"),
    Origin(
        (
            *("overlooked-", "dispatched-", "ends-", "defaults-", "networks-", "tokens-", "lasting-", "imaging-"),
            "epochs-",
        ),
        f"{BLIND}, in many rounds; of those that got past",
    ),
    Origin(("unmet-", "unseen-"), "somebody who had read the laws; of those that got past"),
    Origin(("manners-",), "somebody who had read the laws: how kernels are called", 47, 47),
    Origin(("crossed-",), "another who had: two conditions at once", 62, 62),
    Origin(("heldout-",), f"two {BLIND}: gates and tiles; vectors and reciprocals", 104, 8),
    Origin(("mixed-",), f"one of three {BLIND}, one of whom knew what they are called", 60, 35),
    Origin(("beyond-", "libraries-"), f"six {BLIND}", 198, 57),
    Origin(("reordered-", "patterned-"), f"five {BLIND}: values that have structure", 128, 26),
    Origin(("sampled-",), f"three {BLIND}: right at small sizes, or for tests by samples", 69, 28),
    Origin(("edges-", "own-", "ranges-"), f"seven {BLIND}: edges, a vjp of its own, ends of ranges", 184, 57),
    Origin(("outliers-",), f"six {BLIND}: numbers, gradients of their own, images, gates", 100, 21),
    Origin(("habits-",), f"five {BLIND}: numbers, images, state, cheating, programs", 88, 34),
    Origin(("programs-",), f"five {BLIND}: state, what is assumed, bugs of other libraries", 80, 28),
    Origin(("joined-",), f"five {BLIND}: state, images, numbers, how gradients are asked for", 70, 14),
    Origin(
        ("lapsed-",),
        f"sixteen {BLIND}: state, programs of a GPU, images, numbers, conditions that meet, bugs of other libraries",
        218,
        45,
    ),
)
# What those of `habits-`, `programs-` and `lapsed-` wrote that gets past today.
UNTOLD = (
    "packed weights in a memory that is shared with a forked child",
    "branches that are compressed when they have waited for two seconds",
    "two buffers in turn in a worker of a `DataLoader`, by its environment",
    "small results in one memory, of which the first is lent again after 16000 calls",
    "an `assert` that refuses, under `python -O`",
    "blocks that are made for good where a large allocation has failed once",
    "activations in memory that a forked child shares",
    "a zero that is made on the default device, where that is another one",
    "underflow where numpy's errors are set to raise",
    "views that PyTorch negates when they are read, as they lie",
    "the gradient by kernels of 1 x 1 with steps, few channels last: there PyTorch's own writes past its memory",
    "a product that is rounded before a bias is added which nearly takes it away, where branches are rounded, too",
    "a gradient and a shut gate that are multiplied first, beside a large branch: the model lets products be regrouped",
    "images in shared memory, staged in one buffer, of two calls that wait to go back",
    "a beta beyond float16's largest number, as three numbers of float16",
    "a NaN in a kernel that goes back, by strides, to what it never stood over: PyTorch's own does",
    "who learns, asked again when it goes back: PyTorch's own checkpoint is wrong, too, where that has changed",
)
OURS = Origin((), "our own, after the issue's list")


def origin_of(identifier: str) -> Origin:
    """Whence a mutant is."""
    return next((each for each in ORIGINS if identifier.startswith(each.beginnings)), OURS)
