"""Mutants that stay alive, and why. What is listed here is known, not removed, and still counted as alive."""

from __future__ import annotations

REASONS: dict[str, str] = {
    "value-pooled-subnormals": "subnormal values are one family among many for max_pool2d: seen by some draws only",
    "precision-beta-gradient": "shows with 1000 elements and more; the laws' gradients by beta sum a hundred or so",
    "value-subnormal-sums": "oneDNN flushes subnormal sums in bfloat16, so no law draws them for conv2d yet",
    "value-padded-past-65504": "pad2d's values are seldom beyond 65504 in float32",
    "value-padded-subnormals": "no law draws subnormal values for pad2d yet",
}
