"""Where the clauses come from."""

from assay.spec.clause import FOLLOWS

SWIGLU = "notes, Activation Functions / SwiGLU"
CONVOLUTIONAL = "notes, Layers / Convolutional"
MAXPOOL = "notes, Layers / MaxPool"


def torch(page: str) -> str:
    """A page of PyTorch's documentation."""
    return f"PyTorch 2.13 documentation, {page}"


def follows(*clauses: str) -> str:
    """What a derived clause follows from."""
    return FOLLOWS + ", ".join(clauses)
