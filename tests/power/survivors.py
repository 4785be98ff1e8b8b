"""Mutants that stay alive, and why. What is listed here is known, not removed, and still counted as alive."""

from __future__ import annotations

UNSAVED = (
    "right as long as nobody writes to the inputs between a call and its going back; a kernel that keeps them without "
    "save_for_backward, which would have PyTorch refuse, is not called wrong for that"
)
DECLARED = (
    "a mutant takes over what PyTorch declares, sums in storage going back: under that no bound tells; a kernel that "
    "declares nothing is told by the law of gradients by the bias of an image"
)
REASONS: dict[str, str] = {  # by id
    **dict.fromkeys(("networks-back-unsaved", "tokens-unsaved", "tokens-unsaved-linear"), UNSAVED),
    "imaging-rows": DECLARED,
}
