"""Showing what is masked, or one value with its proof: an act of a person, recorded before anything is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from remit.errors import UsageError
from remit.ledger.disclosures import Disclosure, check, committed_at, value_at
from remit.marks import named

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.identity import Credential
    from remit.ledger import Record, Txn


def reveal(
    deployment: Deployment, record_id: str, path: str, *, reason: str | None, credential: Credential | str | None
) -> Any:
    """See `App.reveal`."""
    record = _record(deployment, record_id)
    value = _value(record, path)
    _say(deployment, "review.revealed", record, path, reason=reason, recipient=None, credential=credential)
    return named(value)


def disclose(
    deployment: Deployment,
    record_id: str,
    path: str,
    *,
    recipient: str,
    reason: str | None,
    credential: Credential | str | None,
) -> Disclosure:
    """See `App.disclose`."""
    if not isinstance(recipient, str) or not recipient.strip():
        raise UsageError("say for whom the copy is (`recipient`, --for); it is recorded")
    record = _record(deployment, record_id)
    committed_at(record.leaf, path)  # before anything is recorded of what cannot be done
    value = _value(record, path)
    if not record.placed:
        raise UsageError(f"record {record_id} has no place in the log yet; try again in a moment")
    made = Disclosure(record.id, record.index, path, value, deployment.ledger.salt(record, path))
    check(made, record.leaf)
    _say(deployment, "evidence.exported", record, path, reason=reason, recipient=recipient, credential=credential)
    return made


def _record(deployment: Deployment, record_id: str) -> Record:
    record = deployment.ledger.record(record_id)
    if record is None:
        raise UsageError(f"no record {record_id!r} is in this ledger")
    return record


def _value(record: Record, path: str) -> Any:
    private = record.disclosed()
    if private is None:
        raise UsageError(f"the text of record {record.id} was erased, or its key is not here")
    try:
        return value_at(private, path)
    except (KeyError, TypeError, ValueError):
        known = ", ".join(f"/{name}" for name in sorted(private)) or "nothing"
        raise UsageError(f"record {record.id} holds no {path}; it holds {known}") from None


def _say(
    deployment: Deployment,
    kind: str,
    record: Record,
    path: str,
    *,
    reason: str | None,
    recipient: str | None,
    credential: Credential | str | None,
) -> None:
    # Below `/arguments` a name may be the model's own: then the leaf says only which value it is part of.
    try:
        committed_at(record.leaf, path)
        said = path
    except UsageError:
        said = "/" + path[1:].partition("/")[0]

    def job(txn: Txn) -> None:
        about = {"record": record.id, "path": said, "for": recipient}
        who = deployment.identify(txn, credential, act=kind, about=about)
        data: dict[str, Any] = {"record": record.id, "path": said, "by": who.as_record()}
        private: dict[str, Any] = {"reason": reason} if reason else {}
        if recipient is not None:
            data |= {"kind": "disclosure", "for": recipient}
        if said != path:
            private["path"] = path
        draft = deployment.ledger.draft(kind, session=record.session, data=data, private=private or None)
        txn.append(draft)

    deployment.ledger.run(job)


__all__ = ["disclose", "reveal"]
