"""Which signed head a bundle is proved against."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from sqlalchemy import func, select
from sqlmodel import col

from remit.errors import EvidenceUnavailable, UsageError
from remit.store.tables import CheckpointRow, CosignatureRow

if TYPE_CHECKING:
    from remit.ledger import Ledger, Record


SEQUENCED: Final = 30.0
"""Seconds to wait for a signed head over what is recorded, where another process gives indexes and signs."""


def settle(ledger: Ledger) -> None:
    """Wait until a signed head covers everything that is recorded by now. Raises `EvidenceUnavailable`."""
    if ledger.unsequenced():
        start = newest(ledger)[1]
        waiting = [record.id for record in ledger.records(start=start)]
        ledger.wait_sequenced(waiting, deadline=SEQUENCED)


def choose(ledger: Ledger, last: Record | None, *, ask: bool) -> tuple[bytes, int]:
    """(checkpoint with its cosignatures, size): the newest head that covers `last` and that somebody cosigned.

    With `ask`, witnesses get a while to cosign such a head. Where nobody did, it is the newest head.
    Raises `UsageError` when nothing is signed yet.
    """
    if ask and last is not None:
        with contextlib.suppress(EvidenceUnavailable):  # what nobody cosigned, the receiver's verifier says
            ledger.wait_witnessed(last.id)
    least = last.index + 1 if last is not None else 1
    query = select(func.max(col(CosignatureRow.size))).where(col(CosignatureRow.size) >= least)
    [(cosigned,)] = ledger.read().rows(query)
    if cosigned is None:
        return newest(ledger)
    [(note,)] = ledger.read().rows(select(col(CheckpointRow.note)).where(col(CheckpointRow.size) == cosigned))
    return bytes(note) + _lines(ledger, cosigned), int(cosigned)


def newest(ledger: Ledger) -> tuple[bytes, int]:
    """The newest head, under the log's signature alone. Raises `UsageError` when there is none."""
    query = select(col(CheckpointRow.size), col(CheckpointRow.note)).order_by(col(CheckpointRow.size).desc()).limit(1)
    rows = ledger.read().rows(query)
    if not rows:
        raise UsageError("nothing is recorded and signed yet, so there is no evidence to export")
    return bytes(rows[0][1]), int(rows[0][0])


def _lines(ledger: Ledger, size: int) -> bytes:
    """The last cosignature of every witness of this head."""
    query = select(col(CosignatureRow.witness), col(CosignatureRow.line)).where(col(CosignatureRow.size) == size)
    found = {witness: bytes(line) for witness, line in ledger.read().rows(query.order_by(col(CosignatureRow.time)))}
    return b"".join(found[witness] for witness in sorted(found))


__all__ = ["choose", "newest"]
