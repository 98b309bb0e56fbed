"""What happened in a session, beside the authority it had: the report that a reviewer reads.

The machine says what it found, in the past tense; whether the agent stayed within its authority, which is the
grant *and its task*, is for a person to decide (`remit.review.verdicts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlmodel import col

from remit.authority.compile import compile_grant
from remit.authority.explain import allows
from remit.authority.terms import GrantTerms
from remit.erasing import told
from remit.errors import UsageError
from remit.review.calls import CallLine, read_calls, summarise
from remit.review.clauses import ClauseLine, LimitLine, limits_of
from remit.store.tables import ApprovalRow, CounterRow, GrantRow, SessionRow, VerdictRow

if TYPE_CHECKING:
    from remit.deployment import Deployment


@dataclass(frozen=True, slots=True)
class VerdictLine:
    """One verdict, standing or superseded. `later_calls` came after it, so it does not cover them."""

    id: str
    time: str
    call_id: str | None
    verdict: str
    reason: str | None
    comment: str | None
    reviewer: str
    authenticated: bool
    superseded: bool
    later_calls: int

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class SessionReport:
    """Everything a reviewer needs of one session."""

    session: Mapping[str, Any]
    grant: Mapping[str, Any]
    development: bool
    calls: tuple[CallLine, ...]
    clauses: tuple[ClauseLine, ...]
    limits: tuple[LimitLine, ...]
    approvals: tuple[Mapping[str, Any], ...]
    verdicts: tuple[VerdictLine, ...]
    erased: tuple[str, ...] = ()
    """By whom and why text of the session was erased."""
    relaxed: bool = False
    """Whether what recorded it did not wait for the disk."""

    @property
    def unused(self) -> tuple[ClauseLine, ...]:
        """What was granted and permitted no call."""
        return tuple(clause for clause in self.clauses if not clause.permitted)

    @property
    def unbounded(self) -> tuple[CallLine, ...]:
        """Calls that ran with something that their clause leaves open."""
        return tuple(call for call in self.calls if call.ran and call.unbounded)

    @property
    def summary(self) -> str:
        """The session in one sentence, or two where something is still open."""
        return summarise(self.calls)

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return {
            "session": dict(self.session),
            "grant": dict(self.grant),
            "development": self.development,
            "summary": self.summary,
            "calls": [call.as_dict() for call in self.calls],
            "clauses": [clause.as_dict() for clause in self.clauses],
            "unused": [clause.title for clause in self.unused],
            "unbounded": [{"call": call.id, "what": list(call.unbounded)} for call in self.unbounded],
            "limits": [limit.as_dict() for limit in self.limits],
            "approvals": [dict(approval) for approval in self.approvals],
            "verdicts": [verdict.as_dict() for verdict in self.verdicts],
            "erased": list(self.erased),
            "durability": "relaxed" if self.relaxed else "full",
        }


def report(deployment: Deployment, session_id: str) -> SessionReport:
    """Put one session's evidence together. Raises `UsageError` when this ledger has no such session."""
    reading = deployment.ledger.read()
    [*found] = reading.mappings(select(SessionRow).where(col(SessionRow.id) == session_id))
    if not found:
        raise UsageError(f"no session {session_id!r} is in this ledger; `remit session list` shows them")
    session = found[0]
    calls = read_calls(deployment, session_id)
    terms, grant = _grant(deployment, session["grant_id"])
    counters = {
        row["id"]: row["value"]
        for row in reading.mappings(select(CounterRow).where(col(CounterRow.id).startswith(f"{session['grant_id']}/")))
    }
    approvals = reading.mappings(
        select(ApprovalRow).where(col(ApprovalRow.session_id) == session_id).order_by(col(ApprovalRow.id))
    )
    return SessionReport(
        session=dict(session),
        grant=grant,
        development=_development(deployment, session_id),
        calls=calls,
        clauses=_clauses(terms, calls),
        limits=tuple(limits_of(compile_grant(terms), counters)) if terms else (),
        approvals=tuple(dict(row) for row in approvals),
        verdicts=_verdicts(deployment, session_id, calls),
        erased=told(deployment, session_id),
        relaxed=_relaxed(deployment, session_id),
    )


def _grant(deployment: Deployment, grant_id: str | None) -> tuple[GrantTerms | None, dict[str, Any]]:
    """The terms a session ran under, and what a reader asks about them; none where there was no grant."""
    if grant_id is None:
        return None, {}
    [row] = deployment.ledger.read().mappings(select(GrantRow).where(col(GrantRow.id) == grant_id))
    terms = GrantTerms.from_bytes(deployment.ledger.artefact(row["digest"]))
    about = {
        "id": terms.id,
        "version": terms.version,
        "state": row["state"],
        "template": terms.template,
        "task": terms.task,
        "issuer": row["issuer"],
        "parent": row["parent"],
        "expires": row["expires"],
        "bindings": dict(terms.bindings),
        "digest": row["digest"],
    }
    return terms, about


def _relaxed(deployment: Deployment, session_id: str) -> bool:
    """Whether a writer of the session's records chose not to wait for the disk."""
    degraded = deployment.ledger.records(types=["recorder.degraded"])
    weaker = {record.writer for record in degraded if record.data.get("durability") == "relaxed"}
    return bool(weaker) and any(record.writer in weaker for record in deployment.ledger.records(session=session_id))


def _development(deployment: Deployment, session_id: str) -> bool:
    """Whether the session was opened where claimed identities were accepted."""
    for record in deployment.ledger.records(session=session_id, types=["session.opened"]):
        return bool(record.data.get("development"))
    return False


def _clauses(terms: GrantTerms | None, calls: tuple[CallLine, ...]) -> tuple[ClauseLine, ...]:
    if terms is None:
        return ()
    lines = []
    for tool, clause in terms.document.clauses():
        of_tool = [call for call in calls if call.tool == tool or _covers(tool, call.tool)]
        permitted = tuple(c.number for c in of_tool if c.effect == "permit" and c.clause == clause.name)
        refused = tuple(
            c.number for c in of_tool if c.effect != "permit" and c.clause in (clause.name, None) and c.outside
        )
        lines.append(ClauseLine(tool, clause.name, allows(tool, clause), permitted, refused))
    return tuple(lines)


def _covers(pattern: str, tool: str) -> bool:
    return pattern.endswith(".*") and tool.startswith(pattern[:-1])


def _verdicts(deployment: Deployment, session_id: str, calls: tuple[CallLine, ...]) -> tuple[VerdictLine, ...]:
    query = select(VerdictRow).where(col(VerdictRow.session_id) == session_id).order_by(col(VerdictRow.id))
    lines = []
    for row in deployment.ledger.read().mappings(query):
        record = deployment.ledger.record(row["id"])
        private = record.disclosed() if record is not None else None
        lines.append(
            VerdictLine(
                id=row["id"],
                time=row["time"],
                call_id=row["call_id"],
                verdict=row["verdict"],
                reason=row["reason_code"],
                comment=(private or {}).get("comment"),
                reviewer=row["reviewer"],
                authenticated=bool(row["authenticated"]),
                superseded=row["superseded"] is not None,
                later_calls=sum(1 for call in calls if call.time > row["time"]) if row["call_id"] is None else 0,
            )
        )
    return tuple(lines)
