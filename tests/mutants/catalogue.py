"""Every planted bug, in the order of the spec's chapters, then by kind."""

from __future__ import annotations

from dataclasses import replace

from assay.tests.mutants import (
    beyond,
    beyond_more,
    contract,
    conv2d,
    crossed,
    crossed_back,
    defaults,
    dispatched,
    ends,
    epochs,
    epochs_of_images,
    gates,
    given_twice,
    glu,
    gradients,
    heldout,
    imaging,
    imaging_back,
    large,
    lasting,
    lasting_back,
    libraries,
    linear,
    manners,
    max_pool2d,
    meetings,
    millions,
    mixed,
    networks,
    networks_back,
    overlooked,
    owed,
    owed_back,
    pad2d,
    patterned,
    precision,
    reordered,
    reported,
    reported_more,
    sampled,
    sampled_more,
    sizes,
    sliced,
    slips,
    slopes,
    state,
    swiglu,
    swish,
    threads,
    tokens,
    training,
    transformed,
    unmet,
    unseen,
    unusual,
    usual,
    values,
    witnesses,
    witnesses_of_images,
)
from assay.tests.mutants.described import DESCRIBED
from assay.tests.mutants.mutant import Mutant

CHAPTERS = (swish, linear, glu, swiglu, pad2d, conv2d, max_pool2d, contract)
KINDS = (
    slips,
    precision,
    gates,
    slopes,
    gradients,
    sizes,
    large,
    meetings,
    values,
    unusual,
    state,
    training,
    reordered,
    reported,
    overlooked,
    dispatched,
    ends,
    defaults,
    networks,
    networks_back,
    tokens,
    imaging,
    imaging_back,
    lasting,
    lasting_back,
    epochs,
    epochs_of_images,
    given_twice,
    threads,
    unmet,
    unseen,
    sliced,
    crossed,
    crossed_back,
    millions,
    owed,
    owed_back,
    patterned,
    usual,
    reported_more,
    heldout,
    manners,
    mixed,
    transformed,
    beyond,
    beyond_more,
    libraries,
    sampled,
    sampled_more,
)
WITNESSES = (witnesses, witnesses_of_images)


def described(mutant: Mutant) -> Mutant:
    """A chapter's mutant, with what is said of it in `described`."""
    kind, tier, difficulty = DESCRIBED[mutant.id]
    return replace(mutant, kind=kind, tier=tier, difficulty=difficulty)


MUTANTS = tuple(described(mutant) for chapter in CHAPTERS for mutant in chapter.MUTANTS) + tuple(
    mutant for kind in KINDS + WITNESSES for mutant in kind.MUTANTS
)
