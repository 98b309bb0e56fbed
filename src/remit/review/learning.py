"""What may be learned from recorded sessions: calls that were permitted and ran, and that nobody found fault with.

Never from a call that was refused, whose outcome is unknown, or that a reviewer judged to have exceeded the authority
(of the call, or of its session): else whoever gets an agent to try a thing often enough would write its next grant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select
from sqlmodel import col

from remit.authority.model import Clause
from remit.review.history import History
from remit.review.recall import CannotRecall, Recall, Recalled
from remit.store.tables import CallRow, VerdictRow

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.ledger import Record

RAN: Final = frozenset({"ok", "tool_error", "exception", "cancelled", "pending"})
FAULTS: Final = ("exceeded", "inconclusive")

WHY: Final[Mapping[str, str]] = {
    "judged": "a reviewer judged it exceeded or inconclusive",
    "unknown": "nobody knows how it ended",
    "not_run": "it was permitted and did not run",
    "observed": "it ran although it was refused (observed)",
    "erased": "its arguments were erased",
    "secret": "it reads a secret, which is kept nowhere",
    "unreadable": "its record does not give its decision again",
}
"""Why a call was left out, in words."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One recorded call. `parameters` are those of its grant, `clause` is the one that it was decided by."""

    session_id: str
    grant_id: str
    parameters: Mapping[str, Any]
    recalled: Recalled
    clause: Clause | None
    approved: bool

    @property
    def tool(self) -> str:
        """The tool's key."""
        return self.recalled.view.tool

    @property
    def key(self) -> tuple[str, str]:
        """Tool and clause name: what is learned together."""
        return self.tool, self.clause.name if self.clause is not None else ""


@dataclass(slots=True)
class Learned:
    """`samples` are learned from; `others` were permitted but left out, with the reason; `refused` were denied."""

    samples: list[Sample] = field(default_factory=list)
    others: list[tuple[str, Sample]] = field(default_factory=list)
    refused: list[Sample] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def learn(deployment: Deployment, history: History) -> Learned:
    """Read every decision of the sessions back from its record."""
    found, recall = Learned(), Recall(deployment.ledger)
    for session in history.sessions:
        if session["grant_id"] in history.grants:
            _learn_session(deployment, recall, found, session)
    return found


def _learn_session(deployment: Deployment, recall: Recall, found: Learned, session: Mapping[str, Any]) -> None:
    judged, calls = _judged(deployment, session["id"])
    rows = deployment.ledger.read().mappings(select(CallRow).where(col(CallRow.session_id) == session["id"]))
    states = {row["id"]: row["state"] for row in rows}
    for record in deployment.ledger.records(session=session["id"], types=("call.intent", "call.denied")):
        call = record.data["call"]
        why = _why_not(record, states.get(call, "unknown"), judged or call in calls)
        try:
            sample = _sample(recall, record, session)
        except CannotRecall as cannot:
            if why != "refused":
                found.left_out[why or ("erased" if cannot.why == "erased" else "unreadable")] += 1
            continue
        if why is None:
            found.samples.append(sample)
        elif why == "refused":
            found.refused.append(sample)
        else:
            found.left_out[why] += 1
            if why != "observed":
                found.others.append((why, sample))


def _why_not(record: Record, state: str, judged: bool) -> str | None:
    if record.type == "call.denied":
        return "refused"
    if record.data["decision"]["effect"] != "permit":
        return "observed"
    if judged:
        return "judged"
    if state == "not_run":
        return "not_run"
    return None if state in RAN else "unknown"


def _judged(deployment: Deployment, session_id: str) -> tuple[bool, frozenset[str]]:
    """Whether the session as a whole, and which of its calls, were found fault with by a verdict that stands."""
    query = select(VerdictRow).where(
        col(VerdictRow.session_id) == session_id,
        col(VerdictRow.superseded).is_(None),
        col(VerdictRow.verdict).in_(FAULTS),
    )
    found = deployment.ledger.read().mappings(query)
    calls = frozenset(row["call_id"] for row in found if row["call_id"] is not None)
    return any(row["call_id"] is None for row in found), calls


def _sample(recall: Recall, record: Record, session: Mapping[str, Any]) -> Sample:
    recalled = recall.of(record)
    acting = recalled.chain[-1]
    name = record.data["decision"]["clause"]
    clauses = acting.clauses(recalled.view.tool)
    clause = next((one.source for one in clauses if one.source.name == name), None)
    return Sample(
        session_id=session["id"],
        grant_id=session["grant_id"],
        parameters=acting.terms.parameters,
        recalled=recalled,
        clause=clause,
        approved="approval" in record.data,
    )


__all__ = ["WHY", "Learned", "Sample", "learn"]
