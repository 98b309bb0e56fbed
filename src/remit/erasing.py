"""Erasing text on purpose: who may, of what, and the record that says so.

```
(1) scope     records, a closed session, or the closed sessions and grants of a subject
(2) who       a person proves who they are; where the people file has administrators, it takes one, or role:privacy
(3) destroy   in one transaction: wrapped keys and ciphertexts, and keyed digests of what they held;
              `evidence.erased` names every record, who, why and on which basis
(4) scrub     the write-ahead log is emptied; what keeps that from being done is said
```

Leaves stay as they are, and so does every proof. A call that ends after its session was erased leaves an outcome
without text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select
from sqlmodel import col

from remit.errors import IdentityError, UsageError
from remit.ledger.scrubbing import Scrubbed
from remit.parties import subject_of
from remit.store.tables import ApprovalRow, CallRow, GrantRow, PayloadRow, RecordRow, SessionRow

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.identity import Credential, Identity
    from remit.ledger import Txn

MAY: Final = ("role:admin", "role:privacy")
"""Who may erase, where the people file gives anybody one of these roles."""

MOST_NAMED: Final = 1_000
"""Records that one `evidence.erased` names, so that its leaf is bounded."""

ERASED: Final = "erased"
"""Stands in read models where a keyed digest of erased text was."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was erased: the records, the ones that say so, what is left to do, and who has copies.

    `exported` are the ids of `evidence.exported` records: copies that left, and that nobody can call back.
    """

    records: tuple[str, ...]
    said_by: tuple[str, ...]
    scrubbed: Scrubbed
    exported: tuple[Mapping[str, Any], ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return {
            "records": list(self.records),
            "said_by": list(self.said_by),
            "complete": self.scrubbed.complete,
            "advice": self.scrubbed.advice,
            "exported": [dict(one) for one in self.exported],
        }


def erase(
    deployment: Deployment,
    *,
    records: Iterable[str] = (),
    session: str | None = None,
    subject: str | None = None,
    reason: str,
    basis: str | None = None,
    credential: Credential | str | None,
) -> Erasure:
    """See `App.erase`. Raises `UsageError` where there is nothing to erase or a session runs; `IdentityError`."""
    scope = _Scope.of(tuple(records), session, subject)
    if not isinstance(reason, str) or not reason.strip():
        raise UsageError("erasing takes a reason; it is recorded")

    def job(txn: Txn) -> tuple[list[str], list[str]]:
        found = scope.records(txn)
        if not found:
            raise UsageError(f"nothing of {scope} is left to erase: it never had text, or was erased before")
        about = {**scope.as_record(), "reason": reason, "basis": basis, "count": len(found)}
        who = _authority(deployment, txn, credential, about)
        txn.erase(found)
        said = _say(deployment, txn, found, who, scope, reason, basis)
        _forget(txn, found)
        return found, said

    erased, said_by = deployment.ledger.run(job)
    return Erasure(tuple(erased), tuple(said_by), deployment.ledger.scrub(), tuple(_exported(deployment)))


@dataclass(frozen=True, slots=True)
class _Scope:
    """What is to be erased, one of three."""

    ids: tuple[str, ...]
    session: str | None
    subject: str | None

    @classmethod
    def of(cls, ids: tuple[str, ...], session: str | None, subject: str | None) -> _Scope:
        if sum((bool(ids), session is not None, subject is not None)) != 1:
            raise UsageError("say what to erase: records, or one session, or one subject")
        return cls(ids, session, subject_of(subject) if subject is not None else None)

    def __str__(self) -> str:
        return self.session or self.subject or ", ".join(self.ids)

    def as_record(self) -> dict[str, Any]:
        """The leaf part."""
        if self.session is not None:
            return {"scope": "session", "session": self.session}
        return {"scope": "subject", "subject": self.subject} if self.subject is not None else {"scope": "records"}

    def sessions(self, txn: Txn) -> list[str]:
        """The sessions to erase. Raises `UsageError` for one that still runs."""
        query = select(col(SessionRow.id), col(SessionRow.state)).order_by(col(SessionRow.id))
        if self.session is not None:
            query = query.where(col(SessionRow.id) == self.session)
        elif self.subject is not None:
            query = query.where(col(SessionRow.principal) == self.subject)
        else:
            return []
        found = [(row[0], row[1]) for row in txn.rows(query)]
        if self.session is not None and not found:
            raise UsageError(f"no session {self.session!r} is in this ledger; `remit session list` shows them")
        running = [name for name, state in found if state != "closed"]
        if running:
            more = f" (and {len(running) - 1} more)" if len(running) > 1 else ""
            raise UsageError(f"session {running[0]}{more} is not closed; `remit session close` ends it, then erase it")
        return [name for name, _ in found]

    def records(self, txn: Txn) -> list[str]:
        """The ids of the records that hold text, in the order of their ids."""
        query = (
            select(col(PayloadRow.record_id))
            .join(RecordRow, col(RecordRow.id) == col(PayloadRow.record_id))
            .where(col(PayloadRow.wrapped_key).is_not(None))
        )
        if self.ids:
            found = {row[0] for row in txn.rows(query.where(col(RecordRow.id).in_(self.ids)))}
            for name in self.ids:
                if txn.leaf(name) is None:
                    raise UsageError(f"no record {name!r} is in this ledger")
            return sorted(found)
        found = set()
        for session in self.sessions(txn):
            found |= {row[0] for row in txn.rows(query.where(col(RecordRow.session) == session))}
        for grant in self.grants(txn):
            found |= {row[0] for row in txn.rows(query.where(col(RecordRow.id).in_(grant)))}
        return sorted(found)

    def grants(self, txn: Txn) -> list[list[str]]:
        """The records of a subject's grants: their issue and what ended them."""
        if self.subject is None:
            return []
        query = select(col(GrantRow.record_id), col(GrantRow.revoked_record)).where(
            col(GrantRow.principal) == self.subject
        )
        return [[name for name in row if name is not None] for row in txn.rows(query)]


def _authority(
    deployment: Deployment, txn: Txn, credential: Credential | str | None, about: Mapping[str, Any]
) -> Identity:
    who = deployment.identify(txn, credential, act="evidence.erase", about=about)
    named = [
        name
        for name, roles in deployment.people.roles_by_subject.items()
        if {f"role:{role}" for role in roles} & set(MAY)
    ]
    if named and not deployment.development and not who.holds(MAY):
        raise IdentityError(f"{who.subject} may not erase: it takes {' or '.join(MAY)}, which {', '.join(named)} hold")
    return who


def _say(
    deployment: Deployment,
    txn: Txn,
    found: list[str],
    who: Identity,
    scope: _Scope,
    reason: str,
    basis: str | None,
) -> list[str]:
    parts = [found[at : at + MOST_NAMED] for at in range(0, len(found), MOST_NAMED)]
    said = []
    for number, part in enumerate(parts, start=1):
        data: dict[str, Any] = {**scope.as_record(), "records": part, "by": who.as_record()}
        if basis is not None:
            data["basis"] = basis
        if len(parts) > 1:
            data |= {"part": number, "of": len(parts)}
        draft = deployment.ledger.draft("evidence.erased", data=data, private={"reason": reason})
        said.append(txn.append(draft).id)
    return said


def _forget(txn: Txn, found: list[str]) -> None:
    """Read models repeat nothing of what was erased but keyed digests of it."""
    for at in range(0, len(found), MOST_NAMED):
        part = found[at : at + MOST_NAMED]
        for (name,) in txn.rows(select(col(CallRow.id)).where(col(CallRow.intent_record).in_(part))):
            txn.put("calls", name, content=ERASED)
        for (name,) in txn.rows(select(col(ApprovalRow.id)).where(col(ApprovalRow.requested_record).in_(part))):
            txn.put("approvals", name, content=ERASED)


def _exported(deployment: Deployment) -> Iterable[Mapping[str, Any]]:
    for record in deployment.ledger.records(types=("evidence.exported",)):
        yield {"record": record.id, "time": record.time, **record.data}


def is_erased(txn: Txn, record_id: str) -> bool:
    """Whether the text of a record was destroyed."""
    query = select(col(PayloadRow.record_id)).where(
        col(PayloadRow.record_id) == record_id, col(PayloadRow.wrapped_key).is_(None)
    )
    return bool(txn.rows(query))


def finish(deployment: Deployment) -> Scrubbed:
    """Empty the write-ahead log now, after an erasure that could not."""
    return deployment.ledger.scrub()


def told(deployment: Deployment, session_id: str) -> tuple[str, ...]:
    """By whom and why text of a session was erased, in a sentence for each act."""
    own: set[str] | None = None
    counts: dict[str, int] = {}
    for record in deployment.ledger.records(types=("evidence.erased",)):
        data = record.data
        if own is None:
            own = {one.id for one in deployment.ledger.records(session=session_id) if one.private}
        count = len(own.intersection(data["records"]))
        if count:
            words = sentence(data, record.disclosed())
            counts[words] = counts.get(words, 0) + count
    return tuple(f"{count} record{'s' if count > 1 else ''} {words}" for words, count in counts.items())


def sentence(data: Mapping[str, Any], private: Mapping[str, Any] | None) -> str:
    """One erasure in words."""
    by = data.get("by", {})
    how = "" if by.get("authenticated") else " (claimed, not proved)"
    reason = (private or {}).get("reason")
    because = f" because: {reason}" if reason else ""
    basis = f" ({data['basis']})" if data.get("basis") else ""
    return f"erased by {by.get('subject', 'somebody')}{how}{because}{basis}"


__all__ = ["ERASED", "Erasure", "erase", "finish", "is_erased", "sentence", "told"]
