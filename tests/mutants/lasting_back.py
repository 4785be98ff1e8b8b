"""Planted bugs of the way back from tokens and activations, in larger sizes and rarer layouts: no law had seen them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from assay.tests.mutants.dispatched import BACK, LAYOUTS, MEMORY, STATE, back
from assay.tests.mutants.gradients import again, branches, gate, going_back, rows
from assay.tests.mutants.lasting import bug, count
from assay.tests.mutants.networks_back import losing
from assay.tests.mutants.overlooked import dense
from assay.tests.mutants.precision import wide

CHUNK = 1 << 21  # elements


def gates_in_place(*given):
    """2^14 results or more: going back turns the gates that were kept into their slopes."""
    times = [0]

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        times[0] += 1
        if times[0] == 1 or incoming.numel() < 1 << 14:
            return {}
        return again("glu", given, incoming * torch.sigmoid(-branches(given)[0]) ** (times[0] - 1))

    return going_back("glu", spoil)(*given)


def running(terms: torch.Tensor) -> torch.Tensor:
    """Sums of rows by fours, in the dtype."""
    lanes = torch.zeros_like(terms[:4])
    for part in terms.split(4):
        lanes[: len(part)] += part
    return lanes.sum(0)


def running_sums(found, incoming, given):
    """Of 128 rows and 8 outputs or more: the biases'."""
    if count(incoming) < 128 or incoming.shape[-1] < 8 or incoming.dtype not in (torch.float16, torch.bfloat16):
        return {}
    _, s, q = branches(given)
    terms = {"b": incoming * q * s * (1 - s), "c": incoming * s}
    return {name: running(rows(each)) for name, each in terms.items() if name in found}


def in_default_dtype(found, incoming, given):
    """The bias's is added up in the default dtype."""
    if "b" not in found or incoming.dtype == torch.float64:
        return {}
    return {"b": found["b"].to(torch.get_default_dtype()).to(incoming.dtype)}


def subnormal_lost(found, incoming, given):
    """In float16, from 128 rows and 32 outputs on: subnormal numbers are 0 in products."""
    if incoming.dtype != torch.float16 or count(incoming) < 128 or incoming.shape[-1] < 32:
        return {}
    tiny = torch.finfo(incoming.dtype).tiny
    flushed = again("linear", given, torch.where(incoming.abs() < tiny, 0.0, incoming))
    return {name: flushed[name] for name in ("x", "w")}


def sample_by_sample(found, incoming, given):
    """Four samples or more of tokens: W's is added up in the dtype."""
    x = given["x"]
    if x.dim() != 3 or len(x) < 4 or x.dtype not in (torch.float16, torch.bfloat16):
        return {}
    total = torch.zeros_like(found["w"])
    for sample, its in zip(x, incoming, strict=True):
        total += its.T @ sample
    return {"w": total}


def in_memory_order(found, incoming, given):
    """Samples and tokens that were swapped are read as they lie, and what comes back is not."""
    x = given["x"]
    swapped = x.dim() == 3 and x.transpose(0, 1).is_contiguous() and not x.is_contiguous()
    return {"w": rows(incoming).T @ rows(dense(x))} if swapped and incoming.is_contiguous() else {}


def compressed(found, incoming, given):
    """2^18 results or more: both branches are kept in bfloat16."""
    if incoming.dtype != torch.float32 or incoming.numel() < 1 << 18:
        return {}
    z, _, q = branches(given)
    kept = [t.bfloat16().float().requires_grad_() for t in (z, q)]
    with torch.enable_grad():
        y = F.silu(kept[0]) * kept[1]
    dz, dq = torch.autograd.grad(y, kept, incoming)
    x, w, v = (given[name] for name in "xwv")
    return {"x": dz @ w + dq @ v, "w": rows(dz).T @ rows(x), "v": rows(dq).T @ rows(x)}


def larger(incoming, x, beta):
    return x.numel() > CHUNK


def all_but_the_last(incoming):
    return incoming.view(-1)[: (incoming.numel() - 1) // CHUNK * CHUNK]


def added_in_half(found, incoming, given):
    """8192 elements or more: blocks of 1024, added in beta's dtype."""
    beta, half = found.get("beta"), (torch.float16, torch.bfloat16)
    if beta is None or beta.dtype not in half or incoming.numel() < 8192:
        return {}
    x = wide(given["x"])
    s = torch.sigmoid(given["beta"] * x)
    total = torch.zeros_like(beta)
    for block in (incoming * x * x * s * (1 - s)).reshape(-1).split(1024):
        total += block.sum().to(total.dtype)
    return {"beta": total}


def from_the_result(found, incoming, given):
    """2^16 elements or more: the sigmoid is the result over x."""
    x, beta, s = gate(given)
    if x.numel() < 1 << 16:
        return {}
    s = torch.where(x == 0, 0.5, (x * s).to(x.dtype).float() / x.float())
    return {"x": (incoming * (s + beta * x * s * (1 - s))).to(x.dtype)}


def of_linear(name, clause, words, spoil, *how):
    return bug(f"back-{name}", clause, words, back("linear", spoil), *how)


GRADIENT, MEMORYLESS, OF_BETA = "linear.gradient", "contract.memoryless", "swish.beta-learned"
BETA_BY_CHUNKS = losing("swish", "beta", larger, all_but_the_last)
MUTANTS = (
    bug("back-gates", MEMORYLESS, "2^14 results, twice: the gates' slopes", {"glu": gates_in_place}, *STATE),
    bug(
        "back-running",
        "glu.gradient",
        "128 rows: b's and c's in bfloat16",
        back("glu", running_sums),
        *BACK,
        "bfloat16",
    ),
    of_linear("default", MEMORYLESS, "b's is added up in the default dtype", in_default_dtype, *STATE),
    of_linear("subnormal", GRADIENT, "128 rows: subnormal gradients are 0", subnormal_lost, *BACK, "float16"),
    of_linear("samples", GRADIENT, "4 samples: W's are added in bfloat16", sample_by_sample, *BACK, "bfloat16"),
    of_linear("order", LAYOUTS, "swapped samples and tokens: W's as they lie", in_memory_order, *MEMORY),
    bug("back-compressed", "swiglu.gradient", "2^18 results: bfloat16 is kept", back("swiglu", compressed), *BACK),
    bug("back-chunk", OF_BETA, "2^21 elements at a time: the last chunk's", BETA_BY_CHUNKS, *BACK),
    bug("back-blocks", OF_BETA, "8192 elements: added in bfloat16", back("swish", added_in_half), *BACK, "bfloat16"),
    bug("back-result", "swish.gradient", "2^16 elements: y / x", back("swish", from_the_result), *BACK, "float16"),
)
