"""The facts of a decision: read inside the transaction that decides, kept in its record, read back to decide again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, select
from sqlmodel import col

from remit import labels
from remit.authority.calls import CallView, Facts, SessionFacts, SessionState
from remit.authority.durations import show_moment
from remit.counters import read_distinct, read_rate
from remit.store.tables import CallRow

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.ledger import Txn
    from remit.sessions import Session

_NEVER_RAN: Final = ("denied", "ask", "not_run")


def read_facts(
    txn: Txn, session: Session, approved_rules: frozenset[str] = frozenset(), *, call: CallView | None = None
) -> Facts:
    """What a decision depends on beside grant, guardrails and call, as it stands inside this transaction."""
    row = txn.get("sessions", session.id)
    state: SessionState = row["state"] if row is not None else "closed"
    revoked = []
    counters: dict[str, str] = {}
    touched: frozenset[str] = frozenset()
    for place, link in enumerate(session.chain):
        grant = txn.get("grants", link.terms.id)
        if grant is None or grant["state"] != "active":
            revoked.append(link.terms.id)
        if place == 0 and grant is not None:
            touched = labels.read(grant["labels"])
        for limit in link.limit_ids:
            counter = txn.get("counters", limit)
            if counter is not None:
                counters[limit] = counter["value"]
        for rate in link.rates:
            counters |= read_rate(txn, rate, txn.now)
        for distinct in link.distinct:
            counters |= read_distinct(txn, session.app.deployment.ledger, distinct, call)
    tool = call.tool if call is not None else None
    around = _around(txn, session, touched, row["mode"] if row is not None else "enforce", tool)
    return Facts(txn.now, state, frozenset(revoked), counters, approved_rules, around)


def _around(txn: Txn, session: Session, touched: frozenset[str], mode: str, tool: str | None) -> SessionFacts:
    deployment = session.app.deployment
    roles = deployment.people.roles(session.principal)
    calls = tool_calls = 0
    if counts_calls(deployment) and tool is not None:
        calls, tool_calls = (_count(txn, session.id, limit, one) for limit, one in counted(session.id, tool))
    return SessionFacts(touched, calls, tool_calls, mode, deployment.environment, roles)


def counts_calls(deployment: Deployment) -> bool:
    """Whether a guardrail asks how many calls there were. Only then are they counted."""
    return deployment.guardrails is not None and deployment.guardrails.counts


def counted(session_id: str, tool: str) -> tuple[tuple[str, str | None], tuple[str, str | None]]:
    """The counters of a session's calls, with the tool that each is about: of all tools, and of this one."""
    return (f"{session_id}/calls", None), (f"{session_id}/calls:{tool}", tool)


def _count(txn: Txn, session_id: str, limit: str, tool: str | None) -> int:
    """A counter's value. Where nobody has counted so far, the calls on record are."""
    row = txn.get("counters", limit)
    if row is not None:
        return int(row["value"])
    query = select(func.count()).where(col(CallRow.session_id) == session_id, col(CallRow.state).not_in(_NEVER_RAN))
    [(found,)] = txn.rows(query if tool is None else query.where(col(CallRow.tool) == tool))
    return int(found)


def facts_record(facts: Facts, *, guarded: bool = False) -> dict[str, Any]:
    """Facts as a leaf keeps them, for replay. Sums are left to the payload: they say what arguments held.

    `guarded`: guardrails took part, so what they may have read is kept whole.
    """
    around = facts.around
    found: dict[str, Any] = {
        "now": show_moment(facts.now),
        "session": facts.session,
        "revoked": sorted(facts.revoked),
        "counters": {limit: value for limit, value in sorted(facts.counters.items()) if ":sum:" not in limit},
        "approved": sorted(facts.approved_rules),
    }
    if around.labels:
        found["labels"] = sorted(around.labels)
    if guarded:
        found |= {"mode": around.mode, "environment": around.environment, "roles": sorted(around.roles)}
        if around.calls:
            found |= {"calls": around.calls, "tool_calls": around.tool_calls}
    return found


def recorded_facts(record: Mapping[str, Any], sums: Mapping[str, str] | None = None) -> Facts:
    """The facts behind a recorded decision: `data["facts"]`, and `sums` from its payload where it has some."""
    fresh = SessionFacts()
    return Facts(
        now=datetime.fromisoformat(record["now"]),
        session=record["session"],
        revoked=frozenset(record["revoked"]),
        counters={**record["counters"], **(sums or {})},
        approved_rules=frozenset(record["approved"]),
        around=SessionFacts(
            labels=frozenset(record.get("labels", ())),
            calls=record.get("calls", 0),
            tool_calls=record.get("tool_calls", 0),
            mode=record.get("mode", fresh.mode),
            environment=record.get("environment", fresh.environment),
            roles=frozenset(record.get("roles", ())),
        ),
    )
