"""Every planted bug, in the order of the spec's chapters."""

from __future__ import annotations

from assay.tests.mutants import contract, conv2d, glu, linear, max_pool2d, pad2d, swiglu, swish

CHAPTERS = (swish, linear, glu, swiglu, pad2d, conv2d, max_pool2d, contract)

MUTANTS = tuple(mutant for chapter in CHAPTERS for mutant in chapter.MUTANTS)
