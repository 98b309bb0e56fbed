"""The transaction that opens a session: a new one under its grant, or one that exists and is rejoined.

It is on the record who acts for whom, under which versions of which grants, and for what a token was presented. Every
further process that takes part in a session is recorded as joining it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select
from sqlmodel import col

from remit import closing, nesting, presenting
from remit.attribution import Presented
from remit.authority.compile import CompiledGrant
from remit.authority.durations import show_moment
from remit.errors import Denied, Remedy, UsageError
from remit.ids import new_id
from remit.parties import Workload
from remit.store.tables import RecordRow, SessionRow

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.ledger import Txn


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which session is to be opened: an existing one by its id, or one under a grant, which a key makes lasting.

    `workload` is this process where None; `around` is what was current where the session is opened.
    """

    session_id: str | None
    grant_id: str | None
    key: str | None
    idle: timedelta | None
    workload: Workload | None
    presented: Presented | None
    around: nesting.Around


class Opened(NamedTuple):
    """What opening came to. `writer` is set where the session began, so that this writer need not join it."""

    id: str
    chain: tuple[CompiledGrant, ...]
    writer: str | None = None


def open_or_rejoin(deployment: Deployment, txn: Txn, wanted: Wanted) -> Opened:
    """Raises `Denied` when the grant does not (any more) allow it, `GrantError`, `IdentityError`, `UsageError`."""
    row = _existing(deployment, txn, wanted)
    if row is None:
        assert wanted.grant_id is not None
        opened = _begin(deployment, txn, wanted, wanted.grant_id)
        presenting.use_once(txn, wanted.presented, opened.id)
        return opened
    if wanted.grant_id is not None and row["grant_id"] != wanted.grant_id:
        raise UsageError(
            f"session key {wanted.key!r} belongs to grant {row['grant_id']}, not to {wanted.grant_id}; "
            "one session runs under one grant"
        )
    presenting.rejoin(deployment, txn, wanted.presented, row, wanted.workload or Workload.this_process())
    return Opened(row["id"], deployment.chain(txn, row["grant_id"]))


def _existing(deployment: Deployment, txn: Txn, wanted: Wanted) -> Mapping[str, Any] | None:
    if wanted.session_id is not None:
        row = txn.get("sessions", wanted.session_id)
        if row is None:
            raise UsageError(f"no session {wanted.session_id!r} is in this ledger; `remit session list` shows them")
        return row
    if wanted.key is None:
        return None
    key = _keyed(deployment, wanted)
    for (found,) in txn.rows(select(col(SessionRow.id)).where(col(SessionRow.session_key) == key)):
        row = txn.get("sessions", found)
        if row is None or row["state"] == "closed":
            continue
        over = closing.over(txn, row)
        if over is None:
            return row
        closing.close_session(deployment, txn, found, over)  # the key is free again
    return None


def _keyed(deployment: Deployment, wanted: Wanted) -> str | None:
    """The session's key as records and tables hold it: they do not tell what it says."""
    return None if wanted.key is None else deployment.ledger.keyed("session-key", wanted.key)


def _begin(deployment: Deployment, txn: Txn, wanted: Wanted, grant_id: str) -> Opened:
    deployment.record_configuration(txn)
    chain = deployment.chain(txn, grant_id)
    acting = chain[-1].terms
    refuse_unusable(txn, chain)
    if wanted.around.entered and wanted.around.session is not None:
        nesting.refuse_stranger(chain, deployment, wanted.around.session)
    parent = nesting.parent_of(deployment, txn, chain, wanted.around)
    session_id = new_id("s")
    workload = wanted.workload or Workload.this_process()
    known = presenting.attributed(deployment, txn, chain, workload, wanted.presented)
    ends = min(link.terms.expires for link in chain)
    row = {
        "grant_id": acting.id,
        "session_key": _keyed(deployment, wanted),
        "state": "open",
        "principal": acting.principal,
        "agent": acting.agent,
        "workload": workload.id,
        "identity": known.stored(),
        "mode": "enforce",
        "opened": show_moment(txn.now),
        "ends": show_moment(ends),
        "idle_seconds": int(wanted.idle.total_seconds()) if wanted.idle else None,
        "parent": parent["session"] if parent is not None else None,
    }
    who = {"workload": workload.as_record(), **known.as_record()}
    if parent is not None:
        who["parent"] = parent
    data = _recorded(deployment, wanted, chain, ends=show_moment(ends)) | who
    txn.append(deployment.ledger.draft("session.opened", session=session_id, data=data))
    txn.put("sessions", session_id, **row)
    return Opened(session_id, chain, txn.writer)


def _recorded(deployment: Deployment, wanted: Wanted, chain: tuple[CompiledGrant, ...], *, ends: str) -> dict[str, Any]:
    """What `session.opened` says of the authority that the session runs under."""
    acting = chain[-1].terms
    return {
        "grant": acting.id,
        "version": acting.version,
        "chain": [link.digest for link in chain],
        **({"through": [link.terms.agent for link in chain[:-1]]} if len(chain) > 1 else {}),
        "principal": acting.principal,
        "agent": acting.agent,
        **({"token": wanted.presented.as_record()} if wanted.presented is not None else {}),
        "mode": "enforce",
        "key": _keyed(deployment, wanted),
        **({"idle_seconds": int(wanted.idle.total_seconds())} if wanted.idle else {}),
        "ends": ends,
        "catalogue": deployment.catalogue.digest,
        "development": deployment.development,
        **deployment.guarded(),
    }


def join(deployment: Deployment, txn: Txn, session_id: str, workload: Workload | None) -> None:
    """A writer's first record in a session says that it takes part, unless it has one there already."""
    own = select(col(RecordRow.rid)).where(col(RecordRow.session) == session_id, col(RecordRow.writer) == txn.writer)
    if not txn.rows(own.limit(1)):
        deployment.record_configuration(txn)  # this process may decide by other files than the one that began
        known = (workload or Workload.this_process()).as_record()
        txn.append(deployment.ledger.draft("session.joined", session=session_id, data={"workload": known}))


def refuse_unusable(txn: Txn, chain: Sequence[CompiledGrant]) -> None:
    """Raises `Denied` when a grant of the chain was revoked, has ended, or has not begun."""
    for link in chain:
        terms = link.terms
        row = txn.get("grants", terms.id)
        if row is None or row["state"] != "active":
            raise Denied(f"Grant {terms.id} was revoked.", code="grant_revoked", rule=terms.id)
        if txn.now >= terms.expires:
            raise Denied(
                f"Grant {terms.id} ended at {terms.expires.isoformat()}; ask for a new one.",
                code="grant_expired",
                rule=terms.id,
                remedy=Remedy("request_grant"),
            )
        if txn.now < terms.not_before:
            raise Denied(
                f"Grant {terms.id} begins at {terms.not_before.isoformat()}.",
                code="not_yet_valid",
                rule=terms.id,
                remedy=Remedy("retry_after"),
            )


__all__ = ["Opened", "Wanted", "join", "open_or_rejoin", "refuse_unusable"]
