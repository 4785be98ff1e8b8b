"""The law: every clause of the documents, and the operators that they speak of.

One literal table, `CHAPTERS`, is read from top to bottom: there a new operator's chapter is added.
"""

from assay.spec import contract, conv2d, glu, linear, max_pool2d, pad2d, swiglu, swish
from assay.spec.clause import KINDS, PROFILES, Clause
from assay.spec.operator import Operator

CHAPTERS = (swish, linear, glu, swiglu, pad2d, conv2d, max_pool2d)

OPERATORS: dict[str, Operator] = {chapter.OPERATOR.name: chapter.OPERATOR for chapter in CHAPTERS}


def collected(tables: list[tuple[Clause, ...]]) -> dict[str, Clause]:
    """The clauses of all ``tables`` by id.

    Raises:
        ValueError: an id stands twice.
    """
    found: dict[str, Clause] = {}
    for clause in (clause for table in tables for clause in table):
        if clause.id in found:
            raise ValueError(f"clause id {clause.id!r} stands twice; ids are unique, and are never used again")
        found[clause.id] = clause
    return found


CLAUSES: dict[str, Clause] = collected([*(chapter.CLAUSES for chapter in CHAPTERS), contract.CLAUSES])

__all__ = ["CLAUSES", "KINDS", "OPERATORS", "PROFILES", "Clause", "Operator", "collected"]
