"""Planted bugs of kernels that differentiate by themselves, in a ``vjp`` of which PyTorch knows nothing.

Of 20 such kernels by somebody who had not seen the laws, those that lived at quick.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import torch

from assay.implementations.contract import Implementation
from assay.implementations.load import load
from assay.tests.mutants.gradients import gradients
from assay.tests.mutants.mutant import Mutant

right = load("torch").operators


@dataclass(frozen=True)
class Own(Mutant):
    """Among the wrong ``operators`` there is a ``vjp``."""

    def implementation(self) -> Implementation:
        made = dict(self.made())
        vjp = made.pop("vjp")
        return replace(super().implementation(), operators={**right, **made}, vjp=vjp)


def last_gate():
    """Where x and W are those of the last call, its gate is taken, whatever b is now."""
    last = {}

    def swiglu(x, w, v, b=None, c=None):
        last.update(x=x.clone(), w=w.clone(), b=torch.zeros_like(w[:, 0]) if b is None else b.clone())
        return right["swiglu"](x, w, v, b, c)

    def vjp(operator, arguments, incoming):
        known = operator == "swiglu" and last and all(torch.equal(arguments[name], last[name]) for name in "xw")
        found = gradients(operator, {**arguments, "b": last["b"]} if known else arguments, incoming)
        return {name: each for name, each in found.items() if arguments[name] is not None}

    return {"swiglu": swiglu, "vjp": vjp}


def own_thread():
    """The memory in which beta's gradient is made is one of the thread that imported it."""
    mine = threading.local()
    mine.memory = {}

    def vjp(operator, arguments, incoming):
        if operator == "swish" and isinstance(arguments["beta"], torch.Tensor):
            mine.memory.setdefault(incoming.shape, torch.empty_like(incoming))
        return gradients(operator, arguments, incoming)

    return {"swish": right["swish"], "vjp": vjp}


def bug(name, clause, words, operators):
    return Own(f"own-{name}", clause, words, operators, "float32", "state", "state", "rare")


MUTANTS = (
    bug("last-gate", "contract.memoryless", "x and W of the last call: its gate", last_gate),
    bug("thread", "contract.threads", "beta learns in the thread that imported it", own_thread),
)
