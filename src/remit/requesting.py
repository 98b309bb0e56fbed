"""An agent asks for other terms, and a person answers: by amending the grant, or by refusing.

What is asked for is only text until a person who may give it does. The agent itself can never answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select
from sqlmodel import col

from remit import issuing
from remit.amending import next_content, refuse_agent
from remit.authority.terms import GrantTerms
from remit.errors import Denied, GrantError, Remedy, UsageError
from remit.ids import new_id
from remit.ledger import values
from remit.opening import refuse_unusable
from remit.store.tables import RequestRow

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.identity import Credential
    from remit.ledger import Txn
    from remit.sessions import Session

MAX_OPEN: Final = 5
"""Requests about one grant that may wait at the same time, so that an agent cannot flood the people who answer."""

MAX_REASON: Final = 2_000


@dataclass(frozen=True, slots=True)
class GrantRequest:
    """What an agent asked for, and what became of it. `state` is requested, granted or refused.

    `changes` are what it proposes, in the words of a grant, and `reason` why; both None once they were erased. Either
    is the agent's own text: *claimed*, to be judged by whoever answers. It was made for `version` of the grant.
    """

    id: str
    grant_id: str
    version: int
    session_id: str
    agent: str
    principal: str
    state: str
    time: str
    changes: Mapping[str, Any] | None
    reason: str | None

    def require_open(self, txn: Txn) -> None:
        """Raises `UsageError` when it was answered already."""
        row = txn.get("requests", self.id)
        assert row is not None
        if row["state"] != "requested":
            raise UsageError(f"request {self.id} was {row['state']} before; an answer is given once")


def request(session: Session, changes: Mapping[str, Any] | None, reason: str) -> GrantRequest:
    """See `Session.request`."""
    deployment = session.app.deployment
    reason = reason.strip()
    if not reason or len(reason) > MAX_REASON:
        raise UsageError(f"a request says why, in 1 to {MAX_REASON:,} characters")
    asked = dict(changes) if changes is not None else None
    known = issuing.load(deployment, session.grant_id)
    if asked is not None:
        _require_change(asked)
        next_content(known.terms, asked, {}, ())  # what does not read as a change is put before nobody
    content = deployment.ledger.keyed("request", values.Encoded(values.encode(asked)).canonical)
    private = {"reason": reason, **({"changes": asked} if asked is not None else {})}
    fresh = new_id("q")
    draft = deployment.ledger.draft(
        "grant.requested",
        session=session.id,
        data={"request": fresh, "grant": known.id, "version": known.version, "keys": sorted(asked or ())},
        private=private,
    )

    def job(txn: Txn) -> str:
        _require_open_session(txn, session)
        session.take_up(txn)
        refuse_unusable(txn, session.chain)
        session.join(txn)
        waiting = _waiting(txn, known.id)
        for row in waiting:
            if row["content"] == content and row["session_id"] == session.id and asked is not None:
                return str(row["id"])
        if len(waiting) >= MAX_OPEN:
            raise Denied(
                f"{len(waiting)} requests about this grant wait for an answer already.",
                code="limit_reached",
                rule="remit/requests",
                remedy=Remedy("stop"),
            )
        appended = txn.append(draft)
        txn.put(
            "requests",
            fresh,
            grant_id=known.id,
            session_id=session.id,
            version=known.version,
            content=content,
            state="requested",
            time=appended.time,
            requested_record=appended.id,
        )
        return fresh

    found = load(deployment, deployment.ledger.run(job))
    deployment.notify("grant.requested", {"request": found.id, "grant": found.grant_id, "session": found.session_id})
    return found


def _require_change(changes: Mapping[str, Any]) -> None:
    if "principal" in changes:
        raise GrantError("an agent asks for a change, not for a whole grant: leave out whose authority it is")


def _require_open_session(txn: Txn, session: Session) -> None:
    row = txn.get("sessions", session.id)
    state = row["state"] if row is not None else "closed"
    if state != "open":
        code: Any = "session_suspended" if state == "suspended" else "session_closed"
        raise Denied(f"The session is {state}; nothing is asked for in it.", code=code, rule="session")


def _waiting(txn: Txn, grant_id: str) -> list[Mapping[str, Any]]:
    query = select(col(RequestRow.id)).where(col(RequestRow.grant_id) == grant_id, col(RequestRow.state) == "requested")
    rows = [txn.get("requests", found) for (found,) in txn.rows(query)]
    return [row for row in rows if row is not None and row["state"] == "requested"]


def refuse(
    deployment: Deployment, request_id: str, *, reason: str | None, credential: Credential | str | None
) -> GrantRequest:
    """See `App.refuse_request`."""
    deployment.require("issue")
    asked = load(deployment, request_id)

    def job(txn: Txn) -> None:
        asked.require_open(txn)
        grant = txn.get("grants", asked.grant_id)
        assert grant is not None
        who = deployment.identify(
            txn, credential, act="grant.refuse", about={"request": request_id, "grant": asked.grant_id}
        )
        refuse_agent(grant, who)
        appended = txn.append(
            deployment.ledger.draft(
                "grant.refused",
                session=asked.session_id,
                data={"request": request_id, "grant": asked.grant_id, "by": who.as_record()},
                private={"reason": reason} if reason else None,
            )
        )
        txn.put("requests", request_id, state="refused", answered_record=appended.id)

    deployment.ledger.run(job)
    return load(deployment, request_id)


def load(deployment: Deployment, request_id: str) -> GrantRequest:
    """One request as it stands. Raises `UsageError` when this ledger has none of that id."""
    found = listed(deployment, request_id=request_id)
    if not found:
        raise UsageError(f"no request {request_id!r} is in this ledger; `remit grant requests` shows what waits")
    return found[0]


def listed(
    deployment: Deployment,
    *,
    grant_id: str | None = None,
    request_id: str | None = None,
    state: str | None = None,
) -> list[GrantRequest]:
    """Requests, oldest first."""
    query = select(RequestRow).order_by(col(RequestRow.id))
    for column, wanted in ((RequestRow.grant_id, grant_id), (RequestRow.id, request_id), (RequestRow.state, state)):
        if wanted is not None:
            query = query.where(col(column) == wanted)
    return [_request(deployment, row) for row in deployment.ledger.read().mappings(query)]


def _request(deployment: Deployment, row: Mapping[str, Any]) -> GrantRequest:
    record = deployment.ledger.record(row["requested_record"])
    said = (record.disclosed() if record is not None else None) or {}
    terms: GrantTerms = issuing.load(deployment, row["grant_id"]).terms
    changes = said.get("changes")
    return GrantRequest(
        id=row["id"],
        grant_id=row["grant_id"],
        version=row["version"],
        session_id=row["session_id"],
        agent=terms.agent,
        principal=terms.principal,
        state=row["state"],
        time=row["time"],
        changes=values.decode(changes) if changes is not None else None,
        reason=said.get("reason"),
    )


__all__ = ["GrantRequest", "listed", "load", "refuse", "request"]
