"""Step (10) of `remit.ledger.verify`: the payloads, each opened and compared with what its leaf commits to."""

from __future__ import annotations

from typing import Any, Final

import orjson

from remit.errors import VerificationError
from remit.ledger.payload import Sealer
from remit.store.stores import Snapshot

_STORED: Final = (
    "SELECT payload.record_id, payload.ciphertext, payload.wrapped_key, record.body"
    " FROM payload LEFT JOIN record ON record.id = payload.record_id"
)
_BETWEEN: Final = " WHERE payload.record_id >= ? AND payload.record_id < ?"


def open_payloads(view: Snapshot, sealer: Sealer | None, between: tuple[str, str] | None = None) -> set[str]:
    """Check every payload, or those of record ids from the first to before the second. Returns the ids of emptied ones.

    Without `sealer` they are only looked for. Step (4) has gone over the leaves. Raises `VerificationError`.
    """
    rows = view.all(_STORED) if between is None else view.all(_STORED + _BETWEEN, between)
    gone: set[str] = set()
    for record_id, ciphertext, wrapped_key, body in rows:
        committed = orjson.loads(body).get("private") if isinstance(body, bytes) else None
        if committed is None:
            raise VerificationError(f"a payload belongs to {record_id!r}, which no record commits to")
        if ciphertext is None and wrapped_key is None:
            gone.add(record_id)
            continue
        if not isinstance(ciphertext, bytes) or not isinstance(wrapped_key, bytes):
            index = index_of(view, record_id)
            raise VerificationError(f"the payload of record {index} is damaged", index=index)
        if sealer is not None:
            try:
                sealer.open(record_id, committed, ciphertext, wrapped_key)
            except VerificationError as error:
                index = index_of(view, record_id)
                raise VerificationError(f"record {index}: {error}", index=index) from error
    return gone


def index_of(view: Snapshot, record_id: Any) -> int | None:
    """The index of a record, for sentences; None where it has none yet."""
    row = view.one("SELECT leaf.idx FROM record JOIN leaf USING (rid) WHERE record.id = ?", (record_id,))
    return None if row is None else int(row[0])


def first_without_payload(view: Snapshot) -> str | None:
    """The first record that commits to something and has no payload."""
    query = (
        "SELECT record.id, record.body FROM record LEFT JOIN payload ON payload.record_id = record.id"
        " WHERE payload.record_id IS NULL ORDER BY record.rid"
    )
    return next((record_id for record_id, body in view.all(query) if "private" in orjson.loads(body)), None)
