"""Putting read models right: what differs from the records is rewritten from them, in one transaction with its record.

Evidence is never touched, and nothing is rewritten from records that do not verify.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from remit.errors import EvidenceUnavailable, UsageError
from remit.fsck.checking import Checked, compared
from remit.fsck.comparing import read_stored
from remit.fsck.rows import UNKNOWN
from remit.store.shapes import SHAPES

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.fsck.fold import Fold
    from remit.identity import Credential
    from remit.ledger import Ledger, Txn


def repair(deployment: Deployment, credential: Credential | str | None) -> Checked:
    """Rewrite the read models from the records, and record that: what differed before, and who did it.

    Refuses (`VerificationError`) when the records do not verify. Raises `IdentityError`, `UsageError`. Returns what
    was found and put right.
    """
    deployment.require("configure")
    ledger = deployment.ledger
    ledger.verify()
    fold, found = compared(ledger)
    if found.whole:
        return found
    if fold.unread:
        raise UsageError(f"what cannot be read cannot be put right: {fold.unread[0].sentence}")
    places = sorted({(finding.table, finding.row) for finding in found.findings})
    untold = _left(ledger, fold, places)
    about = {"findings": len(found.findings), "rows": len(places), "records": fold.records}
    draft = ledger.draft("config.changed", data={})

    def job(txn: Txn) -> None:
        if fold.catch_up():
            raise EvidenceUnavailable("somebody recorded meanwhile, so what was found may be old; look again")
        for table, key in places:
            txn.remove(table, key)
        for table, key in places:
            recorded = fold.rows.get(table, key)
            if recorded is not None:
                columns = {**recorded, **untold.get((table, key), {})}
                del columns[SHAPES[table].key]
                txn.put(table, key, **columns)
        # Last, so that nobody is recognised by a key that somebody put into the table of people.
        who = deployment.identify(txn, credential, act="fsck.repair", about=about)
        tables = {table: sum(1 for name, _ in places if name == table) for table, _ in places}
        draft.data.update({"repaired": tables, **about, "by": who.as_record()})
        txn.append(draft)

    ledger.run(job)
    return found


def _left(ledger: Ledger, fold: Fold, places: list[tuple[str, str]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Of values that nobody can tell: what is there, so that a repair leaves it."""
    stored = read_stored(ledger.read())
    left = {}
    for table, key in places:
        recorded, row = fold.rows.get(table, key), stored[table].get(key, {})
        unknown = [name for name, value in (recorded or {}).items() if value is UNKNOWN]
        if unknown:
            blank = {name: "" for name in unknown if not SHAPES[table].table.columns[name].nullable}
            left[table, key] = {name: row.get(name, blank.get(name)) for name in unknown}
    return left
