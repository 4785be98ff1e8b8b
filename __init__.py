"""assay: an executable specification of neural-network operators, and the judge of whoever claims to implement them.

For a kernel's own test file (docs/pytest.md):

    import assay

    @assay.conforms("swish")
    def test_swish(x, beta=1.0):
        return my_kernels.swish(x, beta)

PYTEST_DONT_REWRITE: pytest, which wants to rewrite the asserts of its plugins' packages, warns that `assay check` has
imported this one before; and here warnings are errors.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["assert_conforms", "conforms"]


def __getattr__(name: str) -> Any:
    """What other suites use, on first use: neither pytest nor a law is imported by whoever needs a formula alone."""
    if name in __all__:
        return getattr(importlib.import_module("assay.plugin"), name)
    raise AttributeError(f"module 'assay' has no attribute {name!r}; it has {', '.join(__all__)}, and its packages")
