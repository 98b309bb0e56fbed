"""Where a clause without approval admits calls that another clause of the same tool wants approved.

Conservative: two clauses overlap unless one argument, or their resources, show that no call can satisfy both.
"""

from __future__ import annotations

import math

from remit.authority.constraints import Constraint, fixed_values
from remit.authority.literals import Slot
from remit.authority.model import Clause, GrantDocument
from remit.authority.words.base import Scope
from remit.authority.words.numbers import Bound


def unapproved_overlaps(document: GrantDocument) -> list[str]:
    """One sentence for each pair of clauses where the one without approval wins over the one with."""
    found: list[str] = []
    for tool, clauses in document.tools.items():
        for approved in clauses:
            if approved.approval is None:
                continue
            for free in clauses:
                if free.approval is None and not disjoint(free, approved, document.addresses):
                    found.append(
                        f"{tool}: a call that fits both {free.name!r} and {approved.name!r} runs without approval; "
                        f"bound {free.name!r} so that it ends where {approved.name!r} begins."
                    )
    return found


def disjoint(one: Clause, other: Clause, addresses: tuple[str, ...]) -> bool:
    """Whether no call can satisfy both clauses, as far as this can tell; defaults of the tool's schema aside."""
    for name in one.arguments.keys() & other.arguments.keys():
        first, second = one.arguments[name], other.arguments[name]
        if not (first.optional and second.optional) and _exclude(first, second, Scope(addresses)):
            return True
    for name, bound in one.arguments.items():  # required here, unknown there
        if not bound.optional and name not in other.arguments and _closed(other):
            return True
    return any(
        not bound.optional and name not in one.arguments and _closed(one) for name, bound in other.arguments.items()
    )


def _closed(clause: Clause) -> bool:
    """Whether an argument that the clause does not name can never be in a call that it admits."""
    return clause.other_arguments is None and clause.resources is None


def _exclude(one: Constraint, other: Constraint, scope: Scope) -> bool:
    if not one.kinds & other.kinds:
        return True
    for finite, bound in ((one, other), (other, one)):
        values = fixed_values(finite)
        if values is not None and not _has_slot(bound):
            check = bound.compile(scope)
            if all(check(value) is not None for value in values):
                return True
    low_one, high_one, open_one = _range(one)
    low_other, high_other, open_other = _range(other)
    if max(low_one, low_other) > min(high_one, high_other):
        return True
    edge = max(low_one, low_other)
    return edge == min(high_one, high_other) and (edge in open_one or edge in open_other)


def _range(constraint: Constraint) -> tuple[float, float, frozenset[float]]:
    """Lower and upper end of the numbers that the constraint admits, and which ends are themselves outside."""
    low, high = -math.inf, math.inf
    outside: set[float] = set()
    for word in constraint.words:
        if not isinstance(word, Bound) or isinstance(word.bound, Slot):
            continue
        if word.name in ("min", "above"):
            low = max(low, word.bound)
        else:
            high = min(high, word.bound)
        if word.name in ("above", "below"):
            outside.add(word.bound)
    return low, high, frozenset(outside)


def _has_slot(constraint: Constraint) -> bool:
    return "${" in constraint.describe()
