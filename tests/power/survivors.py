"""Mutants that stay alive, and why. What is listed here is known, not removed, and still counted as alive."""

from __future__ import annotations

UNSAVED = (
    "right as long as nobody writes to the inputs between a call and its going back; a kernel that keeps them without "
    "save_for_backward, which would have PyTorch refuse, is not called wrong for that"
)
REASONS: dict[str, str] = dict.fromkeys(  # by id
    ("networks-back-unsaved", "tokens-unsaved", "tokens-unsaved-linear"), UNSAVED
)
