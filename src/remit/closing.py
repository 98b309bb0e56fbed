"""How sessions end: because somebody says so, at the end of their block, with their grant, or unused for too long."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlmodel import col

from remit.authority.durations import show_moment
from remit.errors import UsageError
from remit.store.tables import ApprovalRow, RecordRow

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.identity import Credential
    from remit.ledger import Txn


def close_session(
    deployment: Deployment, txn: Txn, session_id: str, reason: str, by: Mapping[str, Any] | None = None
) -> None:
    """Append `session.closed`, with the last sequence number of every writer that took part, so that a gap shows."""
    row = txn.get("sessions", session_id)
    if row is None:
        raise UsageError(f"no session {session_id!r} is in this ledger")
    if row["state"] == "closed":
        return
    txn.hold("sessions", session_id)  # nobody appends to it any more until this is durable
    lasts = txn.rows(
        select(col(RecordRow.writer), func.max(col(RecordRow.sseq)))
        .where(col(RecordRow.session) == session_id)
        .group_by(col(RecordRow.writer))
    )
    data: dict[str, Any] = {"writers": {row[0]: row[1] for row in lasts}, "why": _closing_word(reason)}
    if by is not None:
        data["by"] = dict(by)
    txn.append(deployment.ledger.draft("session.closed", session=session_id, data=data, private={"reason": reason}))
    txn.put("sessions", session_id, state="closed", closed=show_moment(txn.now), reason=data["why"], session_key=None)


def _closing_word(reason: str) -> str:
    known = {"block ended": "block_ended", "grant ended": "grant_ended", "idle": "idle"}
    return known.get(reason, "block_failed" if reason.startswith("block left by") else "closed")


def close_by_person(deployment: Deployment, session_id: str, reason: str, credential: Credential | str | None) -> None:
    """See `App.close_session`."""

    def job(txn: Txn) -> None:
        who = deployment.identify(txn, credential, act="session.close", about={"session": session_id})
        close_session(deployment, txn, session_id, reason, who.as_record())

    deployment.ledger.run(job)


# -- the grant's end, and idleness


def over(txn: Txn, row: Mapping[str, Any]) -> str | None:
    """Why a session that is not closed yet has come to its end; None while it has not."""
    if row["ends"] is not None and row["ends"] <= show_moment(txn.now):
        return "grant ended"
    return "idle" if _idle_too_long(txn, row) else None


def _idle_too_long(txn: Txn, row: Mapping[str, Any]) -> bool:
    if row["idle_seconds"] is None:
        return False
    return txn.now - _last_call(row) > timedelta(seconds=row["idle_seconds"])


def _last_call(row: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(row["last_call"] or row["opened"])


def end_if_idle(deployment: Deployment, txn: Txn, session_id: str) -> None:
    """Called inside the transaction of each call: closes the session when it was idle too long."""
    row = _timed(txn, session_id)
    if row is not None and _idle_too_long(txn, row):
        close_session(deployment, txn, session_id, "idle")


def note_call(txn: Txn, session_id: str) -> None:
    """Called with each record of a call: the session is not idle."""
    if _timed(txn, session_id) is not None:
        txn.put("sessions", session_id, last_call=show_moment(txn.now))


def fades(txn: Txn, session_id: str) -> bool:
    """Whether the session would be idle before long although it is asked of all the time: a question that is put
    again leaves no record, and only records count."""
    row = _timed(txn, session_id)
    return row is not None and txn.now - _last_call(row) > timedelta(seconds=row["idle_seconds"]) / 4


def _timed(txn: Txn, session_id: str) -> Mapping[str, Any] | None:
    """The session's row, where it is open and ends by being idle."""
    row = txn.get("sessions", session_id)
    return row if row is not None and row["state"] == "open" and row["idle_seconds"] is not None else None


# -- the end of a block


def end_block(deployment: Deployment, session_id: str, reason: str) -> None:
    """Close a session whose block has ended, except while a person has not answered yet: then it is detached."""
    if _waits(deployment, session_id):
        _detach(deployment, session_id)
    else:
        deployment.ledger.run(lambda txn: close_session(deployment, txn, session_id, reason))


def _detach(deployment: Deployment, session_id: str) -> None:
    draft = deployment.ledger.draft("session.context", session=session_id, data={"claimed": [], "detached": True})

    def detach(txn: Txn) -> None:
        txn.append(draft)
        txn.put("sessions", session_id, detached=True)

    deployment.ledger.run(detach)


def end_when_answered(deployment: Deployment, session_id: str) -> None:
    """An unkeyed session that its block left open for an approval ends with the last one."""
    row = deployment.ledger.run(lambda txn: txn.get("sessions", session_id))
    if row is not None and row["detached"] and row["state"] == "open" and not _waits(deployment, session_id):
        deployment.ledger.run(lambda txn: close_session(deployment, txn, session_id, "block ended"))


def _waits(deployment: Deployment, session_id: str) -> bool:
    """Whether a question is open, or an approval unused, whose time has not passed."""
    pending = select(col(ApprovalRow.id)).where(
        col(ApprovalRow.session_id) == session_id, col(ApprovalRow.state).in_(("requested", "approved"))
    )

    def waits(txn: Txn) -> bool:
        return bool(txn.rows(pending.where(col(ApprovalRow.expires) > show_moment(txn.now)).limit(1)))

    return deployment.ledger.run(waits)


__all__ = [
    "close_by_person",
    "close_session",
    "end_block",
    "end_if_idle",
    "end_when_answered",
    "fades",
    "note_call",
    "over",
]
