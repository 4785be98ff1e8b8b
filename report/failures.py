"""A failure, in the form that every author of a kernel should understand: who, input, got, permitted, by how much."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from assay.implementations.contract import signature
from assay.implementations.observe import Call
from assay.report.call import hexadecimal, indexed, inputs, number
from assay.report.script import script
from assay.spec import CLAUSES, OPERATORS
from assay.tests.trial import history
from assay.tests.trial.candidate import Candidate
from assay.tests.trial.failure import DIED, ONCE, RAISED, NonConformance
from assay.tests.trial.history import SHOWN
from assay.tests.trial.laws import Law

Record = dict[str, Any]
FEW = 8  # other clauses that are named with what to replay
SHOWN_FIRST = ("float32", "float64", "bfloat16", "float16")
ORDER = list(CLAUSES)


def record(problem: NonConformance, law: Law, candidate: Candidate, nodeid: str) -> Record:
    """The failure as plain data, fit for JSON and for another process."""
    history.trace_back(problem, candidate)
    implementation = candidate.implementation
    by_itself = law.tier == "state" and history.is_of_one_call(problem)
    calls = list(problem.calls) or list(candidate.calls)
    last = calls[-1] if calls else None
    tail = hashlib.sha256(f"{nodeid} {implementation.name}".encode()).hexdigest()[:8]
    found: Record = {
        "id": f"{law.clause.split('.')[0].replace('_', '-')}-{tail}",
        "clause": law.clause,
        "statement": CLAUSES[law.clause].statement,
        "law": law.name,
        "class": history.class_of(problem, law.tier),
        "what": problem.what,
        "contract": signature(last.operator) if last and _is_of_arguments(problem) else "",
        "candidate": f"{implementation.name}{'.' + last.operator if last else ''}",
        "device": candidate.device,
        "dtype": candidate.dtype,
        "declared": str(candidate.precision(last.operator, "backward" if last.cotangent else "forward"))
        if last
        else "",
        "input": inputs(last) if last else [],
        "earlier_calls": [f"{call.operator}: {'; '.join(inputs(call))}" for call in calls[:-1]],
        "elements": sum(map(_elements, calls)),
        "subject": problem.subject,
        "nodeid": nodeid,
        "hint": str(problem.hint or ""),
        "alone": problem.alone or (history.BY_ITSELF if by_itself else ""),
        "malformed": problem.malformed,
        "notes": list(problem.notes),
    }
    found |= _numbers(problem, last)
    lines = f"{problem.what}\n" + "\n".join(f"{key} {value}" for key, value in _number_lines(found))
    lines += f"\n{problem.alone}" if problem.alone else ""
    told = last is not None and bool(implementation.recipe)  # of a command there is nothing to import
    shown = calls if problem.complete or (last and last.in_turn) else calls[-SHOWN:]
    words = (implementation.recipe, implementation.array, shown, lines.strip(), _element(problem, last))
    found["script"] = script(*words, by_vjp=implementation.vjp is not None) if told else ""
    return found


def _element(problem: NonConformance, last: Call | None) -> str:
    """The wrong element of what the last call's script has found, if it is one of that."""
    back = problem.subject.removeprefix("gradient of ")
    if last is None or problem.index is None or not problem.of_last or (back == "result") == bool(last.cotangent):
        return ""
    at = ", ".join(str(int(i)) for i in problem.index) or "()"
    return f"[{at}]" if back == "result" else f"[{back!r}][{at}]"


def _is_of_arguments(problem: NonConformance) -> bool:
    """Whether the candidate does not take the arguments that it was given."""
    return problem.kind == RAISED and bool(re.search(r"raised TypeError: .* argument", problem.what))


def _numbers(problem: NonConformance, call: Call | None) -> Record:
    if problem.index is None or problem.got is None:
        return {}
    # Plain numbers, not numpy's: the record crosses to another process.
    got = float(problem.got)
    low, high = map(float, problem.permitted or (got, got))
    return {
        "index": [int(i) for i in problem.index],
        "there": _there(problem, call),
        "got": got,
        "got_hex": hexadecimal(got),
        "permitted": [low, high],
        "permitted_hex": [hexadecimal(low), hexadecimal(high)],
        "exact": None if problem.exact is None else float(problem.exact),
        "margin": None if problem.margin is None else float(problem.margin),
        "wrong": int(problem.wrong),
        "judged": int(problem.judged),
    }


def _elements(call: Call) -> int:
    """How many numbers an operator is given: elements, and a learned number that is none."""
    learned = OPERATORS[call.operator].tensors if call.operator in OPERATORS else ()
    plain = sum(isinstance(call.arguments.get(name), int | float) for name in learned)
    return plain + sum(each.values.size for each in call.tensors.values())


def _there(problem: NonConformance, call: Call | None) -> str:
    """The element of the input at the same place: of a gradient's own input, or of the first of who reads it alone."""
    spec = OPERATORS.get(call.operator) if call else None
    elementwise = spec is not None and spec.elementwise and problem.subject == "result"
    name = spec.tensors[0] if spec and elementwise else problem.subject.removeprefix("gradient of ")
    argument = call.tensors.get(name) if call else None
    if argument is None or problem.index is None:
        return ""
    return f"{name}{indexed(problem.index)} = {number(float(argument.values[problem.index]))}"


def grouped(failures: Sequence[Record]) -> list[tuple[Record, list[Record]]]:
    """One failure of each clause and class, in the spec's order, and the others that say the same in other dtypes.

    Of one dtype the one of the fewest elements. Where integers are wrong, so are reals, which is another failure only
    if another precision would explain it. What one call shows by itself is no fault of the manners that it was met in,
    where a law of the operator fails as well. What breaks whatever clause is asked about just then is one failure
    of an operator: its crashes, its hangs, and what it raised, or returned instead of a tensor to judge, if told alike.
    """
    groups: dict[tuple[str, str], list[Record]] = {}
    ordered = sorted(failures, key=lambda found: ORDER.index(found["clause"]))
    own = {_asked(found): _kind(found) for found in reversed(ordered) if not _of_manners(found)}
    for found in ordered:
        by_itself = _of_manners(found) and found["alone"] == history.BY_ITSELF
        groups.setdefault(own.get(_asked(found), _kind(found)) if by_itself else _kind(found), []).append(found)
    for (clause, kind), group in list(groups.items()):
        if kind == "precision" and (clause, "structure") in groups and not any(found["hint"] for found in group):
            groups[clause, "structure"] += groups.pop((clause, kind))
    for group in groups.values():
        group.sort(key=_how_soon)
    return [(group[0], group[1:]) for group in groups.values()]


def _kind(found: Record) -> tuple[str, str]:
    if found["class"] in DIED:
        return found["candidate"], found["class"]
    if _unjudged(found):
        return found["candidate"], re.sub(r"\d+", "0", found["what"].partition(" | ")[0])
    return found["clause"], found["class"]


def _of_manners(found: Record) -> bool:
    """Whether the clause is one of all operators; what cannot be judged is of none."""
    return CLAUSES[found["clause"]].chapter == "contract" and not _unjudged(found)


def _asked(found: Record) -> tuple[str, bool]:
    """Of which operator something is wrong, and whether going back."""
    return found["candidate"], found["subject"].startswith("gradient")


def _how_soon(found: Record) -> tuple[bool, int, int, int, int]:
    """What is shown of a group: the operator's own, in the usual dtype, of few numbers, which are short to write.

    Of what is told alike by all clauses that of the first of them, unless the process has ended.
    """
    clause = ORDER.index(found["clause"]) * (_unjudged(found) and found["class"] not in DIED)
    written = sum(map(len, found["input"]))
    return _of_manners(found), SHOWN_FIRST.index(found["dtype"]), clause, found["elements"], written


def _unjudged(found: Record) -> bool:
    return found["malformed"] or found["class"] == RAISED


def text(found: Mapping[str, Any], others: Sequence[Record] = ()) -> str:
    """The failure as it stands in the terminal, without the script."""
    rows = [("candidate", f"{found['candidate']} · {found['device']} · {found['dtype']}")]
    if found["declared"] not in ("", "strict"):
        rows.append(("declared", found["declared"]))
    rows += [("what", f"{found['what']}  ({found['class']})")]
    rows += [("contract", f"{found['contract']}, arguments by position")] if found["contract"] else []
    before = _counted(found["earlier_calls"])
    left_out = [f"{len(before) - SHOWN + 1} others, and then"] if len(before) >= SHOWN else []
    rows += [("before", call) for call in left_out + before[1 - SHOWN :]]
    rows += [("input" if k == 0 else "", line) for k, line in enumerate(found["input"])]
    rows += _number_lines(found)
    rows += [(word, found[word]) for word in ("alone", "hint") if found[word]]
    rows += [("note", note) for note in found["notes"]]
    clause = CLAUSES[found["clause"]]
    if clause.kind == "torch" and clause.chapter != "contract":
        rows.append(("profile", "the clause is PyTorch's; the profile documented judges without it"))
    rows += [("also", _also(found, others))] if others else []
    shown = found["script"] and found["alone"] not in (history.UNTRACED, ONCE)
    # In somebody else's suite there is no replay, and what calls of other laws have left it would not show.
    by_others = shown and found["alone"] == history.BY_OTHERS
    ways = [f"assay replay {found['id']}"] if found["nodeid"] and not by_others else []
    ways += ["the script below"] if shown else []
    rows += [("again", "    or ".join(ways))] if ways else []
    heading = f"FAIL {found['clause']}   {found['statement']}"
    return "\n".join([heading, *(f"  {key:<10} {value}" for key, value in rows)])


def _also(found: Mapping[str, Any], others: Sequence[Record]) -> str:
    """Which dtypes too or, where other clauses are broken, which; and how to see them again, unless they are many."""
    elsewhere: dict[str, Record] = {}
    for other in others:
        if other["clause"] != found["clause"]:
            elsewhere.setdefault(other["clause"], other)
    if not elsewhere:
        return _of_the_clause(found, others)
    few = len(elsewhere) <= FEW
    return ", ".join(o["clause"] + _named(o) * few for o in elsewhere.values())


def _of_the_clause(found: Mapping[str, Any], others: Sequence[Record]) -> str:
    """The other dtypes, and how many other laws of the clause fail in this one."""
    dtypes = {other["dtype"]: other for other in reversed(others) if other["dtype"] != found["dtype"]}
    laws = len({other["law"] for other in others} - {found["law"]})
    words = [f"{each}{_named(dtypes[each])}" for each in SHOWN_FIRST if each in dtypes]
    return ", ".join(words + [f"{laws} other law{'s' * (laws > 1)} of the clause"] * bool(laws))


def _named(found: Record) -> str:
    """With what to replay it, where that can be."""
    return f" ({found['id']})" if found["nodeid"] else ""


def _counted(calls: Sequence[str]) -> list[str]:
    """Each once, with the number of times that it comes in a row."""
    runs = [(call, len(list(same))) for call, same in itertools.groupby(calls)]
    return [f"{call}    ({times} times)" if times > 1 else call for call, times in runs]


def _number_lines(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "got" not in found:
        return []
    low, high = found["permitted"]
    digits = ".17g" if found["dtype"] == "float64" else ".9g"
    any_number, one = (low, high) == (-math.inf, math.inf), low == high or math.isnan(low)
    permitted = f"[{low:{digits}}, {high:{digits}}]   exact {found['exact']:{digits}}"
    permitted = f"exactly {number(low, digits)}" if one else "any number" if any_number else permitted
    there = f"    {found['there']}" if found["there"] else ""
    margin = "no error is permitted here" if one or any_number else f"{found['margin']:.3g} (1.0 is the limit)"
    return [
        ("where", f"{found['subject']}{indexed(found['index'])}{there}"),
        ("got", number(found["got"], digits)),
        ("permitted", permitted),
        ("margin", f"{margin}    {found['wrong']} of {found['judged']} elements"),
    ]
