"""What gets past other judges, and the planted bugs that show that it does not get past this one."""

from __future__ import annotations

COUNTERS: dict[str, tuple[str, ...]] = {
    "zeros or a constant, below an absolute tolerance": ("zeros-conv2d", "constant-swish", "copy-swish"),
    "a prefix of a sum, skipped channels, every n-th tile": (
        "size-terms-past-256",
        "conv2d.third-input-channel-unread",
        "size-one-in-4096",
    ),
    "right for small, round or non-negative inputs alone": (
        "state-small-alone",
        "state-integers-alone",
        "max_pool2d-padding-zero",
    ),
    "stale or unwritten memory": ("state-row-unwritten", "state-border-unwritten", "state-stale-element"),
    "remembered by pointer, shape, version counter or checksum": (
        "state-cache-by-pointer",
        "state-cache-by-shape",
        "state-cache-by-version",
        "state-cache-by-checksum",
    ),
    "an input overwritten, a result that aliases an input or an earlier result": (
        "contract-in-place",
        "contract-in-place-back",
        "contract-identity",
        "state-one-buffer",
    ),
    "a broadcastable result, another dtype, a subclass": (
        "contract-one-output",
        "contract-float32-inside",
        "contract-subclass",
        "state-agreeable",
    ),
    "lower precision inside": ("conv2d.ten-bit-operands", "swish-half-sigmoid"),
    "a thread, a lazy tensor, a patched timer or comparison": (
        "state-thread-left",
        "state-lazy",
        "state-patched-clock",
        "state-patched-allclose",
    ),
}
