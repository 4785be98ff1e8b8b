"""Mutants that stay alive, and why. What is listed here is known, not removed, and still counted as alive."""

from __future__ import annotations

REASONS: dict[str, str] = {}  # by id; none at the gate's budget today
