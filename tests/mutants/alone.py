"""For each clause the planted bug that its laws see and no others: what would be missed without the clause.

A clause that follows from others cannot be broken alone: what breaks it may be seen by the laws of those, too. And a
law that meets an answer which is no tensor of the right shape, dtype and device has seen nothing of its own clause.
"""

from __future__ import annotations

from assay.spec import CLAUSES
from assay.tests.mutants import witnesses, witnesses_of_images

# Bugs that were planted for other reasons, and turned out to be seen by one clause's laws alone.
FOUND = {
    "swish.beta-learned": "gradient-swish-beta-deaf",
    "linear.gradient": "gradient-linear-w-transposed",
    "linear.special": "linear-infinity-blank",
    "linear.refuses-sizes": "linear-bias-cut",
    "glu.formula": "large-glu-rows",
    "glu.gradient": "glu-gate-forgets-x",
    "glu.special": "unusual-glu-nan-c",
    "glu.refuses-sizes": "glu-bias-cut",
    "swiglu.gradient": "gradient-swiglu-b-sign",
    "swiglu.refuses-sizes": "swiglu-shortest",
    "swiglu.special": "unusual-swiglu-nan-v",
    "pad2d.zeros": "pad2d.nan-is-zero",
    "pad2d.additive": "pad2d.at-most-nine",
    "pad2d.gradient": "gradient-pad2d-at-the-start",
    "conv2d.parameter-count": "conv2d.height-for-width",
    "conv2d.parameter-count-example": "conv2d.bias-by-request-alone",
    "conv2d.channels": "large-conv2d-kernels",
    "conv2d.gradient": "gradient-conv2d-bias-mean",
    "conv2d.special": "conv2d.infinity-is-the-largest-number",
    "conv2d.refuses-kernel": "conv2d.larger-kernels-are-cut",
    "conv2d.refuses-stride": "conv2d.zero-column-stride-is-one",
    "conv2d.refuses-padding": "conv2d.negative-padding-crops",
    "conv2d.refuses-channels": "conv2d.one-bias-is-for-all",
    "max_pool2d.definition": "large-max_pool2d-rows",
    "max_pool2d.gradient-first-tie": "gradient-max_pool2d-column-order",
    "max_pool2d.nan": "value-negative-nan",
    "max_pool2d.refuses-kernel": "max_pool2d-crops-the-kernel",
    "max_pool2d.refuses-stride": "max_pool2d-zero-stride",
    "contract.no-alias": "contract-identity",
    "contract.empty-batch": "contract-largest-of-none",
    "contract.memoryless": "meeting-plan-padding",
    "contract.results-kept": "state-one-buffer",
    "contract.some-gradients": "contract-frozen-weight",
    "contract.recording": "state-wrong-in-inference",
    "contract.threads": "threads-constants",
    "contract.surroundings": "state-default-dtype",
}
MADE = {mutant.clause: mutant.id for mutant in (*witnesses.MUTANTS, *witnesses_of_images.MUTANTS)}
ALONE = FOUND | MADE


def implied_by(clause: str) -> set[str]:
    """The clauses that this one follows from, directly or not, and itself."""
    found = {clause}
    for parent in CLAUSES[clause].follows_from:
        found |= implied_by(parent)
    return found
