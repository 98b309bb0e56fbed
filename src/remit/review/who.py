"""Who did this? Calls found by the resource they touched, or by a binding of their grant.

What is said of each comes from its records and from the terms that it was decided under: person, agent, workload,
resource, time, decision, clause, and who approved it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import or_, select
from sqlmodel import col

from remit.authority.explain import allows
from remit.authority.terms import GrantTerms
from remit.errors import RemitError
from remit.review.answers import Answer
from remit.review.calls import CallLine, read_calls
from remit.store.tables import BindingRow, CallRow, SessionRow, TouchRow

if TYPE_CHECKING:
    from remit.deployment import Deployment


@dataclass(frozen=True, slots=True)
class Deed:
    """One call with whoever stands behind it. `terms` are those that it was decided under; None without a grant."""

    session_id: str
    principal: str
    agent: str
    grant_id: str | None
    call: CallLine
    terms: GrantTerms | None = None

    @property
    def acting(self) -> str:
        """The agent; where a token was exchanged on the way, every agent from the first to the one that acted."""
        return " → ".join(self.call.through) or self.agent

    @property
    def bindings(self) -> Mapping[str, Any]:
        """What the grant was issued for, such as a change and a commit."""
        return self.terms.bindings if self.terms is not None else {}

    @property
    def clause(self) -> str | None:
        """The clause that permitted the call, or asked about it, in words."""
        if self.terms is None or self.call.clause is None:
            return None
        for tool, clause in self.terms.document.clauses():
            if clause.name == self.call.clause and (tool == self.call.tool or _covers(tool, self.call.tool)):
                return allows(tool, clause)
        return None

    @property
    def statement(self) -> str:
        """Whether it ran, and by whose authority, in one sentence or two."""
        call = self.call
        if call.effect == "deny":
            ran = "It ran outside its authority, which was only observed" if call.ran else "Refused, so it did not run"
            return f"{ran}: {call.code}. {call.reason or 'Why is erased.'}"
        by = rule_words(call)
        refusals = [one for one in call.answers if one.answer == "refused"]
        if refusals:
            return f"It did not run: {by} asked for an approval, and {answered(refusals[-1])}."
        if call.state in _WAITING:
            return f"It has not run: {_WAITING[call.state]}. {call.reason or ''}".rstrip()
        how = _ENDED.get(call.state, "It ran")
        if not call.answers:
            return f"{how}: {by} permits it without anybody's approval."
        people = "; ".join(answered(one) for one in call.answers)
        return f"{how}, approved: {by} permits it, and {people}."

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        terms = self.terms
        return {
            "session": self.session_id,
            "principal": self.principal,
            "agent": self.agent,
            "grant": self.grant_id,
            "version": terms.version if terms is not None else None,
            "issuer": terms.issuer if terms is not None else None,
            "task": terms.task if terms is not None else None,
            "bindings": dict(self.bindings),
            "statement": self.statement,
            "clause_text": self.clause,
            **self.call.as_dict(),
        }


_WAITING: Final[Mapping[str, str]] = {
    "ask": "it waits for a person",
    "approved": "it was approved, and the agent has not come back to run it",
    "lapsed": "nobody answered, or the answer was not used, in time",
    "refused": "a person refused it",
    "not_run": "it was permitted, and is known not to have run",
}
_ENDED: Final[Mapping[str, str]] = {
    "running": "It is running",
    "pending": "It began and waits for a continuation",
    "tool_error": "It ran, and the tool said that it failed",
    "exception": "It ran into an error",
    "cancelled": "It was cancelled while it ran",
    "unknown": "It began, and nobody knows how it ended",
}


def answered(one: Answer) -> str:
    """`user:bob@acme.com (release-manager, signed) approved exactly this call at 2026-11-24 10:02:00 UTC`."""
    how = {"claimed": "claimed, not proved", "ed25519": "signed"}.get(one.method, f"proved by {one.method}")
    held = ", ".join([*one.roles, how])
    moment = f"{one.time[:10]} {one.time[11:19]} UTC"
    return f"{one.by} ({held}) {one.answer} exactly this call at {moment}"


def rule_words(call: CallLine) -> str:
    """`clause payments.refund/large`, or the tool's only one: `the clause for crm.comment`."""
    if call.clause in (None, "only"):
        return f"the clause for {call.tool}"
    return f"clause {call.tool}/{call.clause}"


def who(deployment: Deployment, wanted: str) -> tuple[Deed, ...]:
    """Calls that touched the resource `wanted` (`crm://tickets/88`, or `read crm://tickets/88`), or whose grant
    was issued for the binding `wanted` (`CHG-7`, or `change=CHG-7`): executed and refused ones, oldest first."""
    calls = _by_resource(deployment, wanted) | _by_binding(deployment, wanted)
    if not calls:
        return ()
    reading = deployment.ledger.read()
    rows = [*reading.mappings(select(CallRow).where(col(CallRow.id).in_(calls)))]
    found: list[Deed] = []
    known: dict[str, GrantTerms | None] = {}
    for session_id in sorted({row["session_id"] for row in rows if row["session_id"] is not None}):
        [session] = reading.mappings(select(SessionRow).where(col(SessionRow.id) == session_id))
        for call in read_calls(deployment, session_id):
            if call.id in calls:
                found.append(_deed(session, call, _terms(deployment, call.terms, known)))
    return tuple(sorted(found, key=lambda deed: deed.call.time))


def _deed(session: Mapping[str, Any], call: CallLine, terms: GrantTerms | None) -> Deed:
    return Deed(session["id"], session["principal"], session["agent"], session["grant_id"], call, terms)


def _terms(deployment: Deployment, digest: str | None, known: dict[str, GrantTerms | None]) -> GrantTerms | None:
    """Terms by their digest, each read once; None where what lies under it is not what the digest says."""
    if digest is None:
        return None
    if digest not in known:
        try:
            found = GrantTerms.from_bytes(deployment.ledger.artefact(digest))
        except RemitError:
            found = None
        known[digest] = found if found is not None and found.digest == digest else None
    return known[digest]


def _covers(pattern: str, tool: str) -> bool:
    return pattern.endswith(".*") and tool.startswith(pattern[:-1])


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


__all__ = ["Deed", "answered", "who"]
