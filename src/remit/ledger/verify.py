"""Recomputing a whole ledger, trusting nothing but the pin.

```
(1) pin         which log this is, by which key it signs, and the last head seen; never read from the database
(2) schema      the tables are there, and the database's own structure is whole: an index shows what its table holds
(3) leaves      indexes 0, 1, 2 … each with its record; the columns beside a body say what the body says
(4) records     canonical, of a known type and version, with what that type must say
(5) writers     each writer's records count 0, 1, 2 …, name the hash of the one before, and never go back in time
(6) sessions    opened first; each (session, writer) counts 0, 1, 2 …; `session.closed` names the last of every writer
(7) heads       every checkpoint is signed by the key of its size and holds the root of as many leaves as it says;
                a change of the key is recorded where it happened
(8) coverage    the newest checkpoint covers every record, ids are unique; the head that writers go on from is the same
(9) artefacts   digests are right; each is named by exactly one record, and none that is named is missing
(10) payloads   open with their own key and hold what the leaf commits to, or were erased by a record that says so
(11) witnesses  every cosignature that is kept is one, on a head that is here
(12) pin        the head last seen is one of the heads here, so that nothing was taken back since
```

Any difference raises `VerificationError`, with the index of the record where there is one. Nothing is written.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import orjson

from remit.errors import VerificationError
from remit.ledger.forms import Forms
from remit.ledger.helping import Helpers, Progress, helpers
from remit.ledger.keys import Pin
from remit.ledger.merkle import leaf_hash
from remit.ledger.notes import Verifier
from remit.ledger.opening import first_without_payload, index_of
from remit.ledger.payload import Sealer
from remit.ledger.tracing import Trace, Unsigned
from remit.ledger.walking import COLUMNS, open_head, walk_waiting
from remit.ledger.witnessed import check_cosignatures, check_rotations
from remit.store.stores import Snapshot, Store

REQUIRED_TABLES: Final = ("artefact", "checkpoint", "head", "leaf", "payload", "record", "writer")


@dataclass(frozen=True, slots=True)
class Verified:
    """What was recomputed and found whole: how many records, heads, writers and sessions, under which root.

    `erased` counts records whose text was destroyed on purpose, `pinned_size` is the head that was known before.
    `payloads_opened` is False when the key for payloads was not here, so that only their presence was checked.
    `unsigned` counts records that were found whole, and that no signed head covers yet: on PostgreSQL the newest ones.
    `cosignatures` counts those of witnesses that are kept and hold, whosever they are: see `require_witnessed`.
    `relaxed` counts writers that did not wait for the disk, and `lost` records that were given up, by their own word.
    """

    size: int
    root: bytes
    checkpoints: int
    writers: int
    sessions: int
    erased: int
    pinned_size: int
    payloads_opened: bool
    unsigned: int = 0
    cosignatures: int = 0
    relaxed: int = 0
    lost: int = 0


def verify(
    store: Store, pin: Pin, sealer: Sealer | None, progress: Progress | None = None, *, jobs: int = 1
) -> Verified:
    """Recompute everything; see the module's docstring for the steps. Raises `VerificationError`.

    `jobs` processes share the work; what they find is put together here, in order.
    """
    with store.snapshot() as view:
        _require_tables(view, store)  # (2)
        [total] = view.one("SELECT count(*) FROM leaf")
        with helpers(store, view, pin.keys, sealer, jobs, progress) as crew:
            trace = Trace(pin, pinned_seen=pin.size == 0)  # (1) the pin is the caller's
            _require_whole(crew, store, before=True)
            try:
                try:
                    for stretch in crew.walk(total):  # (3), (4), (5), (6), (7)
                        trace.join(stretch)
                except Unsigned as error:
                    raise _narrowed(view, error) from error
                check_rotations(trace.rotations, trace.rotations_signed, pin.keys, trace.signed)
                unsigned = _check_coverage(view, trace, store, total)  # (8)
                _check_artefacts(view, trace)  # (9)
                erased = _check_payloads(view, trace, crew)  # (10)
                cosigned = check_cosignatures(view)  # (11)
                _require_pinned(trace)  # (12)
            finally:
                _require_whole(crew, store, before=False)
        if progress is not None:
            progress(total, total)
        return Verified(
            size=trace.signed,
            root=trace.root,
            checkpoints=trace.checkpoints,
            writers=len(trace.writers),
            sessions=len(trace.sessions),
            erased=erased,
            pinned_size=pin.size,
            payloads_opened=sealer is not None,
            unsigned=unsigned,
            cosignatures=cosigned,
            relaxed=trace.relaxed,
            lost=trace.lost,
        )


def _narrowed(view: Snapshot, found: Unsigned) -> VerificationError:
    """Which of the records under a wrong head was changed, where the one that its writer wrote next tells."""
    if found.first == found.last:
        return found
    rows = view.all(
        "SELECT leaf.idx, record.body, after.body FROM leaf JOIN record USING (rid)"
        " JOIN record AS after ON after.writer = record.writer AND after.wseq = record.wseq + 1"
        " WHERE leaf.idx BETWEEN ? AND ? ORDER BY leaf.idx",
        (found.first, found.last),
    )
    for index, body, after in rows:
        try:
            same = orjson.loads(after)["prev"] == leaf_hash(body).hex()
        except (ValueError, TypeError, KeyError):
            continue  # damaged otherwise, which the steps that parse it say
        if not same:
            return VerificationError(f"{found}: record {index}, by what its writer wrote next", index=index)
    return found


def _require_whole(crew: Helpers, store: Store, *, before: bool) -> None:
    """(2), which several processes do meanwhile, and one alone before everything else."""
    said = crew.damage(before=before)
    if said is not None:
        raise VerificationError(f"the database {store} is damaged: {said}")


def _require_pinned(trace: Trace) -> None:
    pin = trace.pin
    if not trace.pinned_seen:
        raise VerificationError(
            f"the head of {pin.size} records that was seen before is not in this ledger of {trace.frontier.size}: "
            "records were taken back, or this is another ledger",
            index=min(pin.size, trace.frontier.size),
        )


def check_pin(store: Store, pin: Pin) -> None:
    """The quick check of every open: the newest head is signed by the pinned key, and the last head seen is there.

    Raises `VerificationError`.
    """
    with store.snapshot() as view:
        _require_tables(view, store)
        row = view.one("SELECT size, note FROM checkpoint ORDER BY size DESC LIMIT 1")
        if row is not None:
            open_head(row[0], row[1], pin.keys)
        if pin.size == 0:
            return
        row = view.one("SELECT size, note FROM checkpoint WHERE size = ?", (pin.size,))
        if row is None or open_head(row[0], row[1], pin.keys).root != pin.root:
            raise VerificationError(
                f"the ledger at {store} does not hold the head of {pin.size} records that was seen before: "
                "records were taken back or changed, or this is another ledger; run `remit verify`",
                index=pin.size,
            )


def _require_tables(view: Snapshot, store: Store) -> None:
    missing = sorted(set(REQUIRED_TABLES) - view.tables())
    if missing:
        raise VerificationError(f"{store} lacks the tables {', '.join(missing)}: it is no ledger, or was damaged")


_WAITING: Final = f"SELECT {COLUMNS} FROM pending JOIN record USING (rid) ORDER BY pending.rid"  # noqa: S608


def _check_coverage(view: Snapshot, trace: Trace, store: Store, size: int) -> int:
    """How many records are under no signed head yet: each found whole, and known to wait for it."""
    left = view.one("SELECT size FROM checkpoint WHERE size > ? ORDER BY size LIMIT 1", (size,))
    if left is not None:
        raise VerificationError(
            f"a checkpoint signs {left[0]} records, and {size} are here: the end was cut off", index=size
        )
    [heads] = view.one("SELECT count(*) FROM checkpoint")
    if heads != trace.checkpoints:
        raise VerificationError(f"{heads - trace.checkpoints} checkpoints are of no size that a log can have")
    if trace.signed != size and store.sequences:
        raise VerificationError(f"records {trace.signed} to {size - 1} are under no signed head", index=trace.signed)
    head = view.one("SELECT size, frontier, log FROM head WHERE id = 1")
    if head is None or head[0] != trace.signed or head[1] != trace.signed_frontier:
        raise VerificationError("the head that writers go on from is not that of the records", index=size)
    named = {Verifier("log", epoch.verifier.public_key).vkey for epoch in trace.pin.keys.epochs}
    if head[2] not in ({None} if store.sequences else named):
        raise VerificationError("the head that writers go on from names another log's key", index=size)
    waiting = trace.await_index(walk_waiting(view.all(_WAITING), size, Forms()))
    if waiting and store.sequences:
        raise VerificationError(f"{waiting} records are in no leaf of the tree", index=size)
    [missing] = view.one("SELECT count(*) FROM pending LEFT JOIN record USING (rid) WHERE record.id IS NULL")
    if missing:
        raise VerificationError(f"{missing} records that waited for their place in the tree are missing", index=size)
    _check_ids(view, size + waiting)
    return waiting + size - trace.signed


def _check_ids(view: Snapshot, placed: int) -> None:
    """Every record is a leaf or waits to be one, and no two have the same id."""
    [stored] = view.one("SELECT count(*) FROM record")
    if stored != placed:
        [stray] = view.one(
            "SELECT count(*) FROM record LEFT JOIN leaf USING (rid) LEFT JOIN pending USING (rid)"
            " WHERE leaf.idx IS NULL AND pending.rid IS NULL"
        )
        raise VerificationError(f"{stray} records are in no leaf of the tree")
    twice = view.one("SELECT id FROM record GROUP BY id HAVING count(*) > 1 LIMIT 1")
    if twice is not None:
        raise VerificationError(f"two records have the id {twice[0]}")


def _check_artefacts(view: Snapshot, trace: Trace) -> None:
    missing = dict(trace.artefacts)
    for digest, content in view.all("SELECT digest, content FROM artefact"):
        index = missing.pop(digest, None)
        if index is None:
            raise VerificationError(f"artefact {digest} is in no record: somebody put it there")
        if not isinstance(content, bytes) or "sha256:" + hashlib.sha256(content).hexdigest() != digest:
            raise VerificationError(f"artefact {digest}, which record {index} brought, was changed", index=index)
    for digest, index in missing.items():
        raise VerificationError(f"artefact {digest}, which record {index} brought, is missing", index=index)


def _check_payloads(view: Snapshot, trace: Trace, crew: Helpers) -> int:
    """How many payloads were erased."""
    [stored] = view.one("SELECT count(*) FROM payload")
    gone = crew.open_payloads()
    for record_id in sorted(gone - trace.erased):
        # A helper may have seen what was erased since: what is stored is what this view shows.
        if view.one(_GONE, (record_id,)) is not None:
            index = index_of(view, record_id)
            raise VerificationError(
                f"the text of record {index} is gone, and no record says that it was erased", index=index
            )
    for record_id in sorted(trace.erased - gone):
        if view.one("SELECT 1 FROM payload WHERE record_id = ?", (record_id,)) is not None:
            index = index_of(view, record_id)
            raise VerificationError(f"the text of record {index} was to be erased and is still there", index=index)
    if stored != trace.private:  # each that is stored belongs to a record of its own
        lacking = first_without_payload(view)
        index = index_of(view, lacking)
        raise VerificationError(f"the payload of record {index} ({lacking}) is missing", index=index)
    return len(gone & trace.erased)


_GONE: Final = "SELECT 1 FROM payload WHERE record_id = ? AND ciphertext IS NULL AND wrapped_key IS NULL"
