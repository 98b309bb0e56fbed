"""What witnesses said, kept in the ledger's own store: cosignatures, where each witness is, and what went wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import select

from remit.errors import EvidenceUnavailable, VerificationError
from remit.ledger.merkle import Frontier
from remit.ledger.notes import WitnessKey, cosignatures
from remit.store.shapes import text_time
from remit.store.tables import Base
from remit.witness.policy import Policy

if TYPE_CHECKING:
    from remit.ledger import Ledger, Reader, Txn

logger = logging.getLogger("remit.witness")

LOOKED_AT: Final = 8
"""Cosigned heads that are looked at for one that enough witnesses cosigned."""

MAX_WHY: Final = 300
"""Characters of a failure that are kept."""

_COSIGNATURE: Final = Base.metadata.tables["cosignature"].c
_CHECKPOINT: Final = Base.metadata.tables["checkpoint"].c
_WITNESS: Final = Base.metadata.tables["witness"].c


class Keeper:
    """Writes through the ledger's writer, reads beside it."""

    def __init__(self, ledger: Ledger, policy: Policy) -> None:
        self._ledger = ledger
        self._policy = policy

    def tree(self, key: WitnessKey) -> Frontier:
        """The tree that this witness cosigned last, as far as this store knows."""
        query = select(_WITNESS.size, _WITNESS.frontier).where(_WITNESS.id == key.vkey)
        for size, peaks in self._ledger.read().rows(query):
            try:
                return Frontier.from_bytes(size, peaks)
            except VerificationError:
                logger.warning("what is stored of witness %s is damaged; it is reckoned anew", key.name)
        return Frontier()

    def keep(self, key: WitnessKey, size: int, moment: int, line: bytes, tree: Frontier) -> None:
        """Keep a cosignature, and where the witness is now."""
        place = f"{size}/{key.key_id.hex()}/{moment}"

        def job(txn: Txn) -> None:
            if txn.get("cosignature", place) is None:
                txn.put("cosignature", place, size=size, witness=key.vkey, time=moment, line=line)
            row = txn.get("witness", key.vkey)
            if row is None or row["size"] <= size:
                cosigned = text_time(datetime.fromtimestamp(moment, UTC))
                peaks = tree.to_bytes()
                txn.put("witness", key.vkey, size=size, frontier=peaks, cosigned=cosigned, failed=None, why=None)

        self._ledger.run(job)

    def failed(self, key: WitnessKey, why: str) -> None:
        """Remember the first failure since the witness last cosigned."""

        def job(txn: Txn) -> None:
            row = txn.get("witness", key.vkey)
            if row is None:
                txn.put("witness", key.vkey, size=0, frontier=b"", failed=txn.now, why=why[:MAX_WHY])
            elif row["failed"] is None:
                txn.put("witness", key.vkey, failed=txn.now, why=why[:MAX_WHY])

        self._ledger.run(job)

    def conflict(self, key: WitnessKey, shown: bytes) -> None:
        """Keep the head that a witness showed, which this log signed and this ledger does not hold."""

        def job(txn: Txn) -> None:
            row = txn.get("witness", key.vkey)
            rest = {"size": 0, "frontier": b""} if row is None else {}
            txn.put("witness", key.vkey, conflict=shown, **rest)

        self._ledger.run(job)

    def witnessed_beyond(self, size: int) -> int:
        """The largest size above `size` that enough witnesses cosigned, as far as this store knows; else `size`."""
        query = (
            select(_COSIGNATURE.size, _CHECKPOINT.note)
            .where(_COSIGNATURE.size > size, _CHECKPOINT.size == _COSIGNATURE.size)
            .group_by(_COSIGNATURE.size, _CHECKPOINT.note)
            .order_by(_COSIGNATURE.size.desc())
            .limit(LOOKED_AT)
        )
        for found, note in self._ledger.read().rows(query):
            whole = bytes(note) + b"".join(line for _, line in _lines(self._ledger, found))
            if self._policy.satisfied(cosignatures(whole, self._policy.keys).keys()):
                return int(found)
        return size

    def degraded(self, missing: Iterable[str], *, over: bool) -> None:
        """Record that too few witnesses cosign, or do so again."""
        data = {"what": "witnesses", "wanted": self._policy.describe(), "missing": sorted(missing), "over": over}
        draft = self._ledger.draft("recorder.degraded", data=data)
        try:
            self._ledger.run(lambda txn: txn.append(draft))
        except EvidenceUnavailable as error:
            logger.error("that witnesses do not cosign cannot be recorded: %s", error)


class WitnessState(NamedTuple):
    """What is known of a witness: see `remit.store.tables.WitnessRow`."""

    name: str
    size: int
    cosigned: str | None
    failed: str | None
    why: str | None
    conflict: bool

    def as_record(self) -> dict[str, Any]:
        """As JSON."""
        return self._asdict()


def states(reader: Reader) -> list[WitnessState]:
    """Every witness that was ever asked for this ledger, by name."""
    query = select(_WITNESS.id, _WITNESS.size, _WITNESS.cosigned, _WITNESS.failed, _WITNESS.why, _WITNESS.conflict)
    rows = [
        WitnessState(vkey.split("+")[0], size, cosigned, failed, why, conflict is not None)
        for vkey, size, cosigned, failed, why, conflict in reader.rows(query)
    ]
    return sorted(rows)


def cosigned_note(ledger: Ledger, size: int | None = None) -> bytes | None:
    """The checkpoint of `size` records with every witness's latest cosignature on it; the newest one when omitted.

    None when there is no checkpoint of that size.
    """
    query = select(_CHECKPOINT.size, _CHECKPOINT.note).order_by(_CHECKPOINT.size.desc()).limit(1)
    if size is not None:
        query = query.where(_CHECKPOINT.size == size)
    rows = ledger.read().rows(query)
    if not rows:
        return None
    found, note = rows[0]
    latest = dict(_lines(ledger, found))
    return bytes(note) + b"".join(latest.values())


def _lines(ledger: Ledger, size: int) -> list[tuple[str, bytes]]:
    query = select(_COSIGNATURE.witness, _COSIGNATURE.line).where(_COSIGNATURE.size == size)
    return [(row[0], bytes(row[1])) for row in ledger.read().rows(query.order_by(_COSIGNATURE.time, _COSIGNATURE.id))]
