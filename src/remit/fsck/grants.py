"""Grants, their bindings, and requests for other terms."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from remit import issuing, labels
from remit.fsck.fold import Fold, on, private, told
from remit.fsck.rows import UNKNOWN
from remit.ledger.canonical import canonical

if TYPE_CHECKING:
    from remit.ledger import Record

_SAID_ANEW: Final = (
    "version",
    "digest",
    "signature",
    "template",
    "template_digest",
    "principal",
    "agent",
    "not_before",
    "expires",
)


@on("grant.issued", "grant.delegated")
def issued(fold: Fold, record: Record) -> None:
    """A grant came into being; whoever held its issue key before holds it no more."""
    data = record.data
    key = data.get("issue_key")
    if key is not None:
        earlier = fold.issue_keys.get(key)
        if earlier is not None:
            fold.rows.put("grants", earlier, issue_key=None)
        fold.issue_keys[key] = data["grant"]
    fold.rows.put(
        "grants",
        data["grant"],
        state="active",
        issue_key=key,
        content_key=data["content"],
        issuer=data["issuer"]["subject"],
        parent=data.get("parent"),
        root=data.get("root", data["grant"]),
        record_id=record.id,
        **_version(fold, data),
    )


@on("grant.amended")
def amended(fold: Fold, record: Record) -> None:
    """The next version; open sessions end when the first grant above them does; an agent may have asked for it."""
    data = record.data
    row = fold.rows.get("grants", data["grant"])
    assert row is not None
    amenders = {*json.loads(row["amenders"] or "[]"), data["issuer"]["subject"]}
    columns = _version(fold, data)
    fold.rows.put("grants", data["grant"], record_id=record.id, amenders=json.dumps(sorted(amenders)), **columns)
    for session in fold.rows.of("sessions").values():
        if session["state"] != "closed" and data["grant"] in (chain := fold.above(session["grant_id"])):
            session["ends"] = min(fold.rows.of("grants")[link]["expires"] for link in chain)
    if "request" in data:
        fold.rows.put("requests", data["request"], state="granted", answered_record=record.id)


@on("grant.revoked")
def revoked(fold: Fold, record: Record) -> None:
    """Authority ended, and its issue key is free."""
    row = fold.rows.get("grants", record.data["grant"])
    if row is not None and row["issue_key"] is not None:
        fold.issue_keys.pop(row["issue_key"], None)
    fold.rows.put("grants", record.data["grant"], state="revoked", revoked_record=record.id, issue_key=None)


def _version(fold: Fold, data: dict[str, Any]) -> dict[str, Any]:
    """Columns that every version of a grant says anew. Binds it, too."""
    terms = fold.terms(data["digest"])
    if terms is not None:
        issuing.bind(fold.rows, terms)
    return {
        **{name: data[name] for name in _SAID_ANEW},
        "key_id": data["key"],
        "task": terms.task if terms is not None else UNKNOWN,
    }


@on("call.outcome")
def labelled(fold: Fold, record: Record) -> None:
    """What a call touched stays on the root of its grant's tree."""
    call = fold.rows.get("calls", record.data["call"])
    if call is not None and record.data.get("labels"):
        labels.add(fold.rows, call["grant_id"], record.data["labels"])


@on("grant.requested")
def requested(fold: Fold, record: Record) -> None:
    """An agent asked for other terms."""
    data = record.data
    asked = told(private(record), "changes") if "changes" in record.private else None
    content = UNKNOWN if asked is UNKNOWN else fold.ledger.keyed("request", canonical(asked))
    fold.rows.put(
        "requests",
        data["request"],
        grant_id=data["grant"],
        session_id=record.session,
        version=data["version"],
        content=content,
        state="requested",
        time=record.time,
        requested_record=record.id,
    )


@on("grant.refused")
def refused(fold: Fold, record: Record) -> None:
    """A person said no. A delegation that was refused is no request."""
    if "request" in record.data:
        fold.rows.put("requests", record.data["request"], state="refused", answered_record=record.id)
