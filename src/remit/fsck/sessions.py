"""Sessions, and tokens that were used in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remit.fsck.fold import Fold, on
from remit.ledger.canonical import canonical

if TYPE_CHECKING:
    from remit.ledger import Record

_ATTRIBUTION = ("known", "delegation")


@on("session.opened")
def opened(fold: Fold, record: Record) -> None:
    """A session began."""
    data = record.data
    assert record.session is not None
    fold.rows.put(
        "sessions",
        record.session,
        grant_id=data["grant"],
        session_key=data.get("key"),
        state="open",
        principal=data["principal"],
        agent=data["agent"],
        workload=data["workload"]["id"],
        identity=canonical({name: data[name] for name in _ATTRIBUTION if name in data}).decode(),
        mode=data["mode"],
        opened=record.time,
        ends=data["ends"],
        idle_seconds=data.get("idle_seconds"),
        parent=data["parent"]["session"] if data.get("parent") else None,
    )


@on("session.opened", "session.joined")
def token_used(fold: Fold, record: Record) -> None:
    """A token that serves once has served this session."""
    token = record.data.get("token")
    if token is not None and "once" in token:
        fold.rows.put("tokens", token["once"], used_by=record.session, expires=token["expires"])


@on("auth.succeeded")
def shown_once(fold: Fold, record: Record) -> None:
    """A token or proof that serves once has served one act."""
    once = record.data.get("once")
    if once is not None:
        fold.rows.put("tokens", once["id"], used_by=once["used_by"], expires=once["expires"])


@on("session.context")
def context(fold: Fold, record: Record) -> None:
    """Its block may have ended while a question was open."""
    if record.data.get("detached"):
        _put(fold, record, detached=True)


@on("session.suspended")
def suspended(fold: Fold, record: Record) -> None:
    """Nothing runs until a person lets it go on."""
    _put(fold, record, state="suspended")


@on("session.resumed")
def resumed(fold: Fold, record: Record) -> None:
    """It goes on, and its refusals are counted anew."""
    for limit in record.data["reset"]:
        fold.rows.put("counters", limit, value="0")
    _put(fold, record, state="open")


@on("session.closed")
def closed(fold: Fold, record: Record) -> None:
    """It ended, and its key is free."""
    _put(fold, record, state="closed", closed=record.time, reason=record.data["why"], session_key=None)


@on("identity.exchanged")
def exchanged(fold: Fold, record: Record) -> None:
    """Another token stands behind it."""
    if record.data["effect"] == "permit":
        _put(fold, record, identity=canonical(record.data["after"]).decode())


def _put(fold: Fold, record: Record, **values: object) -> None:
    assert record.session is not None
    fold.rows.put("sessions", record.session, **values)
