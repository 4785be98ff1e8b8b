"""What a candidate's program does not know of docs/protocol.md, and which laws can tell nothing of it therefore."""

from __future__ import annotations

from collections.abc import Iterable

from assay.implementations.observe import Call
from assay.implementations.protocol import FLAGS, NAMES, NUMBERS

# Clauses whose laws show nothing where the program does not heed this word of a call, or say it in its answer.
ABOUT = {
    "contract.inputs-unchanged": "changed",
    "contract.no-alias": "shares",
    "contract.layouts": "layout",
    "contract.results-kept": "memory",
    "contract.fresh-memory": "poison",
    "contract.recording": "recording",
    "contract.threads": "beside",
    "contract.surroundings": "disturbed",
}
# Words without which a call is another one. Layouts, poison, recording and what is watched are in calls of all laws.
ESSENTIAL = tuple(word for word in (*NUMBERS, *FLAGS, *NAMES) if word not in ("poison", "watched"))


def unheard(calls: Iterable[Call], knows: frozenset[str]) -> set[str]:
    """The words in these calls that make them what they are, and that the program does not know."""
    found = {word for call in calls for word in ESSENTIAL if getattr(call, word)}
    return (found | {"memory" for call in calls if call.in_turn}) - knows
