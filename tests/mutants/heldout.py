"""Planted bugs by somebody who had not read the laws, which no law had seen: six kernels of sixty, and their kin."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from assay.implementations.load import load
from assay.spec import OPERATORS
from assay.tests.mutants.dispatched import BACK, LAYOUTS, MEMORY, STATE, back
from assay.tests.mutants.gradients import going_back, gradients
from assay.tests.mutants.mutant import Mutant
from assay.tests.mutants.networks import valued
from assay.tests.mutants.sliced import handed_back, reading

right = load("torch").operators
Operators = dict[str, Callable[..., Any]]
BLOCK = 256
NEAR = 1e-3  # 0 is nearer than that


def first_block_of_beta(x: Any, beta: Any = None) -> Any:
    """x is frozen: the partial sums of blocks are never added up, and the first one is beta's gradient."""
    if not isinstance(beta, torch.Tensor) or not beta.requires_grad or x.requires_grad:
        return right["swish"](x, beta)

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        block = given | {"x": given["x"].reshape(-1)[:BLOCK]}
        return {"beta": gradients("swish", block, incoming.reshape(-1)[:BLOCK])["beta"]}

    return going_back("swish", spoil)(x, beta)


def behind_other_layers(operator: str) -> Operators:
    """The first tensor has a gradient where it is a leaf; behind another layer zeros come back."""
    name = OPERATORS[operator].arguments[0]

    def called(first: Any, *given: Any) -> Any:
        if first.is_leaf or not first.requires_grad:
            return right[operator](first, *given)
        return going_back(operator, lambda found, *_: {name: torch.zeros_like(found[name])})(first, *given)

    return {operator: called}


def a_line_at_zero(y: Any, x: Any, beta: Any = None) -> Any:
    """Small numbers are halved, however large beta is."""
    return torch.where(x.abs() < NEAR, x * (0.5 + 0.25 * (beta or 1.0) * x), y) if not torch.is_tensor(beta) else y


def slope_at_zero(found: Any, incoming: Any, given: Any) -> Any:
    """That of small numbers, however large beta is."""
    x, beta = given["x"], given.get("beta")
    if torch.is_tensor(beta):
        return {}
    return {"x": torch.where(x.abs() < NEAR, incoming * (0.5 + 0.5 * (beta or 1.0) * x), found["x"])}


def compiled_for_betas() -> Operators:
    """A kernel is kept for each beta, by its first five digits."""
    kept: dict[str, float] = {}

    def swish(x: Any, beta: Any = None) -> Any:
        by_digits = beta if beta is None or torch.is_tensor(beta) else kept.setdefault(f"{beta:.4e}", beta)
        return right["swish"](x, by_digits)

    return {"swish": swish}


def skipping_zeros(operator: str) -> Operators:
    """Rows of zeros are skipped: what weights hold does not reach them."""

    def change(y: Any, x: Any, *given: Any) -> Any:
        finite = [each.nan_to_num() if torch.is_tensor(each) and each.dim() == 2 else each for each in given]
        return torch.where((x == 0).all(-1, keepdim=True) & ~y.isfinite(), right[operator](x, *finite), y)

    return valued(operator, change)


def counted_in(bits: int) -> Callable[..., Any]:
    """Columns are counted in so many bits: past the last count they begin again, within the padding."""

    def change(y: Any, x: Any, padding: int) -> Any:
        width = x.shape[-1]
        past = width + padding - 2**bits
        if width < 2**bits and past > 0:
            y[..., padding : padding + x.shape[-2], width + padding + (padding - past) :] = x[..., :past]
        return y

    return change


def counted_back_in(bits: int) -> Callable[..., Any]:
    """Going back: what comes back to the padding reaches the first columns."""

    def spoil(found: Any, incoming: Any, given: Any) -> Any:
        x, padding = given["x"], given["padding"]
        past = x.shape[-1] + padding - 2**bits
        if not (x.shape[-1] < 2**bits and 0 < past <= min(x.shape[-1], padding)):
            return {}
        found["x"][..., :past] += incoming[..., padding : padding + x.shape[-2], incoming.shape[-1] - past :]
        return found

    return spoil


def lies_innermost(t: Any, times: int) -> bool:
    """Whether its channels, or a matrix' rows, lie beside each other as they usually do not, and some are left over."""
    if not torch.is_tensor(t) or t.dim() not in (2, 4) or t.is_contiguous():
        return False
    axis = 1 if t.dim() == 4 else 0
    dense = t.is_contiguous(memory_format=torch.channels_last) if axis else t.T.is_contiguous()
    return bool(dense and t.shape[axis] > times and t.shape[axis] % times)


def without_the_rest(times: int, t: Any) -> Any:
    """Such a tensor as whole vectors of so many have it: the rest is not read; others as they are."""
    if not lies_innermost(t, times):
        return t
    read = t.detach().clone()
    read.transpose(0, 1 if t.dim() == 4 else 0)[t.shape[1 if t.dim() == 4 else 0] // times * times :] = 0
    return read


def by_vectors(operator: str, position: int, times: int) -> Any:
    """The tensor of this position is read so."""
    return reading(operator, position, partial(without_the_rest, times))


def by_vectors_back(operator: str, times: int) -> Any:
    """What comes back is read so."""
    return handed_back(operator, *OPERATORS[operator].tensors, read=partial(without_the_rest, times))


def reciprocal_rows(y: Any, x: Any, padding: int) -> Any:
    """Places are told by a product with 1 / width in place of a quotient: a row begins one place too late."""
    width = y.shape[-1]
    if not y.numel() or y.shape[-2] * width < BLOCK:
        return y
    begin = torch.arange(y.shape[-2]) * width
    late = (begin.float() * torch.tensor(1.0 / width)).long() * width < begin
    y[..., late, 0] = 0.0
    return y


def bug(name: str, clause: str, words: str, operators: Any, kind: str = "value", tier: str = "enclosure") -> Mutant:
    return Mutant(f"heldout-{name}", clause, words, operators, "float32", kind, tier, "rare")


BEHIND = "behind another layer, zeros for its input"
SKIPPED = "rows of zeros are skipped, whatever a weight holds"
COLUMNS = ("size", "exact")
VECTORS = "of channels that lie innermost those left over from vectors of {} are not read".format
MUTANTS = (
    bug("frozen", "contract.some-gradients", "x frozen: 256 of beta's terms", {"swish": first_block_of_beta}, *BACK),
    bug("behind", "contract.memoryless", BEHIND, behind_other_layers("linear"), *STATE),
    bug("behind-image", "contract.memoryless", BEHIND, behind_other_layers("conv2d"), *STATE),
    bug("line", "swish.formula", "x below 0.001: a series without a look at beta", valued("swish", a_line_at_zero)),
    bug("slope", "swish.gradient", "x below 0.001: a slope without beta", back("swish", slope_at_zero), *BACK),
    bug("betas", "swish.formula", "a beta that is another from the sixth digit on", compiled_for_betas, "state"),
    bug("zeros-glu", "glu.special", SKIPPED, skipping_zeros("glu"), tier="special"),
    bug("zeros-swiglu", "swiglu.special", SKIPPED, skipping_zeros("swiglu"), tier="special"),
    bug("bytes", "pad2d.zeros", "columns counted in 8 bits", valued("pad2d", counted_in(8)), *COLUMNS),
    bug("words", "pad2d.zeros", "columns counted in 16 bits", valued("pad2d", counted_in(16)), *COLUMNS),
    bug("reciprocal", "pad2d.zeros", "rows by a product with 1 / width", valued("pad2d", reciprocal_rows), *COLUMNS),
    bug("vectors-pad2d", LAYOUTS, VECTORS(4), by_vectors("pad2d", 0, 4), *MEMORY),
    bug("vectors-max_pool2d", LAYOUTS, VECTORS(4), by_vectors("max_pool2d", 0, 4), *MEMORY),
    bug("vectors-swish", LAYOUTS, VECTORS(8), by_vectors("swish", 0, 8), *MEMORY),
    bug("vectors-conv2d", LAYOUTS, VECTORS(16), by_vectors("conv2d", 1, 16), *MEMORY),
    bug("vectors-linear", LAYOUTS, VECTORS(16), by_vectors("linear", 1, 16), *MEMORY),
    bug("vectors-glu", LAYOUTS, VECTORS(8), by_vectors("glu", 2, 8), *MEMORY),
    bug("vectors-pad2d-back", LAYOUTS, VECTORS(4), by_vectors_back("pad2d", 4), *MEMORY),
    bug("vectors-conv2d-back", LAYOUTS, VECTORS(8), by_vectors_back("conv2d", 8), *MEMORY),
    bug("bytes-back", "pad2d.gradient", "columns counted in 8 bits", back("pad2d", counted_back_in(8)), *BACK),
)
