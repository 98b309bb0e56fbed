"""What was spent of a grant's limits stays spent when the grant is amended, whatever the limits are called then.

Counters are named by grant, tool and clause, or by the place of a limit in its list. A limit that still is what it was
keeps its counter. One that is new, stands in another place, or whose clause has another name now, begins with what the
calls that ran so far would have taken of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import select
from sqlmodel import col

from remit.authority.calls import Spend
from remit.authority.compile import CompiledGrant, Counter
from remit.authority.keys import server_wildcard
from remit.counters import Taken, take, taken
from remit.errors import GrantError
from remit.spending import view_of
from remit.store.tables import CallRow, CounterRow, GrantRow

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.ledger import Txn

NEVER_RAN: Final = ("denied", "ask", "not_run")
OPEN: Final = ("running", "pending", "unknown")
"""Calls that may yet give back what they took."""


class _Limit(NamedTuple):
    """One counter, and what spends from it: pairs of tool and clause name."""

    counter: Counter
    spenders: frozenset[tuple[str, str]]

    def means(self) -> tuple[Any, ...]:
        """What the counter counts, apart from how much of it is allowed."""
        counter = self.counter
        patterns = frozenset(pattern.text for pattern in counter.patterns)
        scope: Any = None
        if counter.id.partition("/")[2].startswith("shared:"):
            scope = frozenset(tool for tool, _ in self.spenders)
        elif counter.id.count("/") > 1:
            scope = self.spenders
        return scope, counter.argument, counter.seconds, patterns


def tree(txn: Txn, row: Mapping[str, Any]) -> list[str]:
    """The ids of a grant and of every grant that was handed on from it."""
    same_root = select(col(GrantRow.id), col(GrantRow.parent)).where(col(GrantRow.root) == row["root"])
    parents = dict(tuple(found) for found in txn.rows(same_root))
    found = [row["id"]]
    for grant_id in found:  # it grows while it is read
        found += [child for child, parent in parents.items() if parent == grant_id and child not in found]
    return found


def carry(
    deployment: Deployment, txn: Txn, row: Mapping[str, Any], before: CompiledGrant, after: CompiledGrant
) -> dict[str, str]:
    """Give every limit of the next version what was spent of it. Raises `GrantError` where nobody can tell it.

    Returns what the counters that were written hold now, for the record of the amendment.
    """
    old, new = _limits(before), _limits(after)
    fresh = [limit for name, limit in new.items() if name not in old or old[name].means() != limit.means()]
    if not fresh:
        return {}
    calls = _calls(txn, tree(txn, row))
    still = [call["id"] for call in calls if call["state"] in OPEN]
    moved = [limit for limit in fresh if limit.counter.id in old]
    if still and moved:
        raise GrantError(
            f"the limit of {moved[0].counter.label} takes the place of another one while call {still[0]} may still "
            "give back what it took; amend when it has ended"
        )
    for limit in fresh:
        _forget(txn, limit.counter.id)
        for call in calls:
            if _counts(limit, call, after):
                take(txn, _taken(deployment, txn, limit.counter, call))
    written = [name for limit in fresh for name in _parts(txn, limit.counter.id)]
    rows = {name: txn.get("counters", name) for name in written}
    return {name: stored["value"] for name, stored in rows.items() if stored is not None}


def _limits(grant: CompiledGrant) -> dict[str, _Limit]:
    spenders: dict[str, set[tuple[str, str]]] = {}
    counters: dict[str, Counter] = {}
    for tool, clauses in grant.tools.items():
        for clause in clauses:
            for counter in clause.counters:
                counters[counter.id] = counter
                spenders.setdefault(counter.id, set()).add((tool, clause.name))
    return {name: _Limit(counter, frozenset(spenders[name])) for name, counter in counters.items()}


def _calls(txn: Txn, grants: Iterable[str]) -> list[Mapping[str, Any]]:
    """Calls that ran, or may have, in the order of their intents."""
    query = select(col(CallRow.id)).where(col(CallRow.grant_id).in_(list(grants)))
    rows = [txn.get("calls", found) for (found,) in txn.rows(query)]
    ran = [row for row in rows if row is not None and row["state"] not in NEVER_RAN]
    return sorted(ran, key=lambda row: (row["time"], row["id"]))


def _parts(txn: Txn, limit: str) -> list[str]:
    """A counter's own row, and those of the moments of a rate or the resources of a limit on different ones."""
    parts = select(col(CounterRow.id)).where(col(CounterRow.id).startswith(f"{limit}#", autoescape=True))
    return [limit, *(name for (name,) in txn.rows(parts))]


def _forget(txn: Txn, limit: str) -> None:
    """Empty a counter, whole."""
    for name in _parts(txn, limit):
        if txn.get("counters", name) is not None:
            txn.put("counters", name, value="[]" if name.endswith("#times") else "0")


def _counts(limit: _Limit, call: Mapping[str, Any], after: CompiledGrant) -> bool:
    """Whether a call that ran spends from a limit: its clause does, or no clause has that name any more. A limit of the
    whole grant counts calls of tools that were taken away, too."""
    if limit.means()[0] is None:
        return True
    tool = call["tool"] if call["tool"] in after.tools else server_wildcard(call["tool"])
    if (tool, call["clause"]) in limit.spenders:
        return True
    names = {clause.name for clause in after.tools.get(tool, ())}
    return call["clause"] not in names and any(tool == spender for spender, _ in limit.spenders)


def _taken(deployment: Deployment, txn: Txn, counter: Counter, call: Mapping[str, Any]) -> Taken:
    ran_at = datetime.fromisoformat(call["time"])
    if counter.argument is None and not counter.patterns:
        return taken(deployment.ledger, [Spend(counter.id, "1", seconds=counter.seconds)], ran_at)
    intent = deployment.ledger.record_in(txn, call["intent_record"])
    private = intent.disclosed()
    if not private or "arguments" not in private:
        raise GrantError(
            f"nobody can tell what was spent of {counter.label}: the arguments of call {call['id']} were erased; issue "
            "a new grant instead"
        )
    view = view_of(deployment, intent, private)
    try:
        return taken(deployment.ledger, [counter.spend(view)], ran_at)
    except (KeyError, TypeError, ValueError, ArithmeticError):  # a call without that argument takes nothing of its sum
        return ()


__all__ = ["carry", "tree"]
