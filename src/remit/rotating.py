"""A person changes the log's key: recorded under the old key, and from the next head on the new one signs.

The mechanics are `remit.ledger.rotation`'s. A stolen old key signs nothing that counts: every verifier and witness who
knows the epochs refuses a head outside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from remit.ledger.records import ROTATED
from remit.peopling import administrator

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.identity import Credential
    from remit.ledger import Appended, Txn
    from remit.ledger.epochs import Epoch


@dataclass(frozen=True, slots=True)
class Rotation:
    """The record of a change, and all keys since the log began, each with the sizes of the heads that it signs."""

    record_id: str
    epochs: tuple[Epoch, ...]


def rotate(deployment: Deployment, *, reason: str | None, credential: Credential | str | None) -> Rotation:
    """See `App.rotate_key`."""
    ledger = deployment.ledger
    former, after = ledger.keys.current, ledger.next_key()
    data = {"key": "log", "former": former.vkey, "vkey": after.vkey}
    draft = ledger.draft(ROTATED, data=data, private={"reason": reason} if reason is not None else None)

    def job(txn: Txn) -> Appended:
        draft.data["by"] = administrator(
            deployment, txn, credential, act="key.rotate", about={"former": former.vkey, "vkey": after.vkey}
        )
        return txn.append(draft)

    appended = ledger.run(job)
    return Rotation(appended.id, ledger.rotated(appended.id, after).epochs)
