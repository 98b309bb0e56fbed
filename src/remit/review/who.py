"""Who did this? Calls found by the resource they touched, or by a binding of their grant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import or_, select
from sqlmodel import col

from remit.review.calls import CallLine, read_calls
from remit.store.tables import BindingRow, CallRow, SessionRow, TouchRow

if TYPE_CHECKING:
    from remit.deployment import Deployment


@dataclass(frozen=True, slots=True)
class Deed:
    """One call with whoever stands behind it."""

    session_id: str
    principal: str
    agent: str
    grant_id: str | None
    call: CallLine

    @property
    def acting(self) -> str:
        """The agent; where a token was exchanged on the way, every agent from the first to the one that acted."""
        return " → ".join(self.call.through) or self.agent

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return {
            "session": self.session_id,
            "principal": self.principal,
            "agent": self.agent,
            "grant": self.grant_id,
            **self.call.as_dict(),
        }


def who(deployment: Deployment, wanted: str) -> tuple[Deed, ...]:
    """Calls that touched the resource `wanted` (`crm://tickets/88`, or `read crm://tickets/88`), or whose grant
    was issued for the binding `wanted` (`CHG-7`, or `change=CHG-7`): executed and refused ones, oldest first."""
    calls = _by_resource(deployment, wanted) | _by_binding(deployment, wanted)
    if not calls:
        return ()
    reading = deployment.ledger.read()
    rows = [*reading.mappings(select(CallRow).where(col(CallRow.id).in_(calls)))]
    found: list[Deed] = []
    for session_id in sorted({row["session_id"] for row in rows if row["session_id"] is not None}):
        [session] = reading.mappings(select(SessionRow).where(col(SessionRow.id) == session_id))
        found.extend(_deed(session, call) for call in read_calls(deployment, session_id) if call.id in calls)
    return tuple(sorted(found, key=lambda deed: deed.call.time))


def _deed(session: Mapping[str, Any], call: CallLine) -> Deed:
    return Deed(session["id"], session["principal"], session["agent"], session["grant_id"], call)


def _by_resource(deployment: Deployment, wanted: str) -> set[str]:
    """The index holds keyed hashes of URIs, so only whoever can open the ledger with its keys can ask it."""
    uri = wanted.rpartition(" ")[2]
    touch = deployment.ledger.keyed("touch", uri)
    return {
        row["call_id"]
        for row in deployment.ledger.read().mappings(select(TouchRow).where(col(TouchRow.touch) == touch))
    }


def _by_binding(deployment: Deployment, wanted: str) -> set[str]:
    name, separator, value = wanted.partition("=")
    matching = col(BindingRow.value) == wanted
    if separator:
        matching = or_(matching, (col(BindingRow.name) == name) & (col(BindingRow.value) == value))
    reading = deployment.ledger.read()
    grants = {row["grant_id"] for row in reading.mappings(select(BindingRow).where(matching))}
    if not grants:
        return set()
    return {row["id"] for row in reading.mappings(select(CallRow).where(col(CallRow.grant_id).in_(grants)))}


__all__ = ["Deed", "who"]
