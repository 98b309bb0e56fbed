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
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from remit.errors import VerificationError
from remit.ledger.chain import RELAXED
from remit.ledger.keys import Pin
from remit.ledger.merkle import EMPTY_ROOT, Frontier, leaf_hash
from remit.ledger.notes import Checkpoint, Verifier
from remit.ledger.payload import Sealer
from remit.ledger.records import ROTATED, parse_leaf
from remit.ledger.witnessed import check_cosignatures, check_rotations
from remit.store.stores import Snapshot, Store

Progress = Callable[[int, int], object]

REQUIRED_TABLES: Final = ("artefact", "checkpoint", "head", "leaf", "payload", "record", "writer")

PROGRESS_EVERY: Final = 1_000


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


@dataclass(slots=True)
class _Writer:
    """What is known of a writer so far."""

    count: int = 0
    index: int = 0
    prev: str = ""
    time: str = ""


@dataclass(slots=True)
class _Found:
    """What the records said, for the steps after them."""

    frontier: Frontier = field(default_factory=Frontier)
    writers: dict[str, _Writer] = field(default_factory=dict)
    sessions: dict[str, dict[str, int]] = field(default_factory=dict)
    artefacts: dict[str, int] = field(default_factory=dict)
    private: dict[str, int] = field(default_factory=dict)
    erased: set[str] = field(default_factory=set)
    rotations: dict[int, Any] = field(default_factory=dict)
    rotations_signed: set[int] = field(default_factory=set)
    checkpoints: int = 0
    root: bytes = EMPTY_ROOT
    pinned_seen: bool = False
    relaxed: int = 0
    lost: int = 0


def verify(store: Store, pin: Pin, sealer: Sealer | None, progress: Progress | None = None) -> Verified:
    """Recompute everything; see the module's docstring for the steps. Raises `VerificationError`."""
    with store.snapshot() as view:
        found = _Found(pinned_seen=pin.size == 0)  # (1) the pin is the caller's
        _require_tables(view, store)  # (2)
        said = view.damage()
        if said is not None:
            raise VerificationError(f"the database {store} is damaged: {said}")
        [total] = view.one("SELECT count(*) FROM leaf")
        heads = _Heads(view, pin)
        for index, row in enumerate(view.all(_PLACED)):  # (3)
            _check_record(index, row, found)  # (4), (5), (6)
            heads.reached(found)  # (7)
            if progress is not None and index % PROGRESS_EVERY == 0:
                progress(index, total)
        check_rotations(found.rotations, found.rotations_signed, pin.keys, heads.last_size)
        unsigned = _check_coverage(view, found, heads, store)  # (8)
        _check_artefacts(view, found)  # (9)
        erased = _check_payloads(view, found, sealer)  # (10)
        cosigned = check_cosignatures(view)  # (11)
        if not found.pinned_seen:  # (12)
            raise VerificationError(
                f"the head of {pin.size} records that was seen before is not in this ledger of {found.frontier.size}: "
                "records were taken back, or this is another ledger",
                index=min(pin.size, found.frontier.size),
            )
        if progress is not None:
            progress(total, total)
        return Verified(
            size=heads.last_size,
            root=found.root,
            checkpoints=found.checkpoints,
            writers=len(found.writers),
            sessions=len(found.sessions),
            erased=erased,
            pinned_size=pin.size,
            payloads_opened=sealer is not None,
            unsigned=unsigned,
            cosignatures=cosigned,
            relaxed=found.relaxed,
            lost=found.lost,
        )


def check_pin(store: Store, pin: Pin) -> None:
    """The quick check of every open: the newest head is signed by the pinned key, and the last head seen is there.

    Raises `VerificationError`.
    """
    with store.snapshot() as view:
        _require_tables(view, store)
        row = view.one("SELECT size, note FROM checkpoint ORDER BY size DESC LIMIT 1")
        if row is not None:
            _open(row[0], row[1], pin)
        if pin.size == 0:
            return
        row = view.one("SELECT size, note FROM checkpoint WHERE size = ?", (pin.size,))
        if row is None or _open(row[0], row[1], pin).root != pin.root:
            raise VerificationError(
                f"the ledger at {store} does not hold the head of {pin.size} records that was seen before: "
                "records were taken back or changed, or this is another ledger; run `remit verify`",
                index=pin.size,
            )


def _require_tables(view: Snapshot, store: Store) -> None:
    missing = sorted(set(REQUIRED_TABLES) - view.tables())
    if missing:
        raise VerificationError(f"{store} lacks the tables {', '.join(missing)}: it is no ledger, or was damaged")


_COLUMNS: Final = (
    "record.id, record.writer, record.wseq, record.session, record.sseq, record.type, record.time, record.body"
)
_PLACED: Final = "SELECT leaf.idx, " + _COLUMNS + " FROM leaf LEFT JOIN record USING (rid) ORDER BY leaf.idx"  # noqa: S608
_WAITING: Final = "SELECT " + _COLUMNS + " FROM pending JOIN record USING (rid) ORDER BY pending.rid"  # noqa: S608


def _check_record(index: int, row: tuple[Any, ...], found: _Found) -> None:
    place, record_id, writer, wseq, session, sseq, kind, time, body = row
    if place != index:
        raise VerificationError(f"leaf {index} is missing; the next one is {place}", index=index)
    if not isinstance(body, bytes):
        raise VerificationError(f"the record of leaf {index} is missing", index=index)
    leaf = parse_leaf(body, index)
    columns = (record_id, writer, wseq, session, sseq, kind, time)
    said = (leaf["id"], leaf["writer"], leaf["wseq"], leaf.get("session"), leaf.get("sseq"), leaf["type"], leaf["time"])
    if columns != said:
        raise VerificationError(f"the columns beside record {index} say something else than its body", index=index)
    _check_writer(index, leaf, body, found)
    if session is not None:
        _check_session(index, leaf, found)
    for digest in leaf.get("artefacts", ()):
        if not isinstance(digest, str) or digest in found.artefacts:
            raise VerificationError(
                f"record {index} names artefact {digest!r}, which an earlier one brought", index=index
            )
        found.artefacts[digest] = index
    if "private" in leaf:
        found.private[record_id] = index
    if kind == "recorder.started" and leaf["data"].get("durability") == RELAXED:
        found.relaxed += 1
    if kind == "recorder.gap" and isinstance(leaf["data"].get("lost"), int):
        found.lost += leaf["data"]["lost"]
    if kind == ROTATED and leaf["data"]["key"] == "log":
        found.rotations[index] = leaf["data"].get("vkey")
    if kind == "evidence.erased":
        named = leaf["data"]["records"]
        if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
            raise VerificationError(f"record {index} does not say which records were erased", index=index)
        found.erased.update(named)


def _check_writer(index: int, leaf: dict[str, Any], body: bytes, found: _Found) -> None:
    writer = found.writers.setdefault(leaf["writer"], _Writer())
    if leaf["wseq"] != writer.count:
        raise VerificationError(
            f"record {index} is number {leaf['wseq']} of writer {leaf['writer']}; expected number {writer.count}",
            index=index,
        )
    if leaf["prev"] != writer.prev:
        raise VerificationError(
            f"record {index} does not follow record {writer.index}, the one that its writer wrote before: "
            "one of the two was changed",
            index=writer.index if writer.count else index,
        )
    if leaf["time"] < writer.time:
        raise VerificationError(f"record {index} is earlier than the one its writer wrote before", index=index)
    hashed = leaf_hash(body)
    found.frontier.append(hashed)
    writer.count += 1
    writer.index = index
    writer.prev = hashed.hex()
    writer.time = leaf["time"]


def _check_session(index: int, leaf: dict[str, Any], found: _Found) -> None:
    session, writer = leaf["session"], leaf["writer"]
    counts = found.sessions.setdefault(session, {})
    if leaf["type"] == "session.opened" and counts:
        raise VerificationError(f"record {index} opens session {session}, which had records before", index=index)
    if leaf["type"] == "session.closed":
        last = {name: count - 1 for name, count in counts.items()}
        if leaf["data"]["writers"] != last:
            raise VerificationError(
                f"record {index} closes session {session} after {leaf['data']['writers']}; the records show {last}",
                index=index,
            )
    expected = counts.get(writer, 0)
    if leaf["sseq"] != expected:
        raise VerificationError(
            f"record {index} is number {leaf['sseq']} of its writer in session {session}; expected {expected}",
            index=index,
        )
    counts[writer] = expected + 1


class _Heads:
    """The checkpoints in order of size, each checked when the records have come that far."""

    def __init__(self, view: Snapshot, pin: Pin) -> None:
        self._rows = view.all("SELECT size, note FROM checkpoint ORDER BY size")
        self._pin = pin
        self._next: Any = next(self._rows, None)
        self.last_size = 0
        self.frontier = b""

    def reached(self, found: _Found) -> None:
        """Check the checkpoint of this size, if there is one."""
        size = found.frontier.size
        if self._next is None or self._next[0] > size:
            return
        checkpoint = _open(self._next[0], self._next[1], self._pin)
        root = found.frontier.root()
        if checkpoint.size != size or checkpoint.root != root:
            raise VerificationError(
                f"the records up to {size - 1} do not give the root that the checkpoint of {self._next[0]} signs: "
                f"one of the records {self.last_size} to {size - 1} was changed",
                index=self.last_size,
            )
        if size == self._pin.size:
            if root != self._pin.root:
                raise VerificationError(
                    f"the head of {size} records is not the one that was seen before: history was rewritten", index=0
                )
            found.pinned_seen = True
        if size - 1 in found.rotations:
            found.rotations_signed.add(size - 1)
        found.checkpoints += 1
        found.root = root
        self.last_size = size
        self.frontier = found.frontier.to_bytes()
        self._next = next(self._rows, None)

    def keys_named(self) -> set[str]:
        """The log's keys, as a database that several hosts share names the one that it was made for."""
        return {Verifier("log", epoch.verifier.public_key).vkey for epoch in self._pin.keys.epochs}

    def left(self) -> Any:
        """The first checkpoint that no record reached."""
        return self._next


def _open(size: Any, note: Any, pin: Pin) -> Checkpoint:
    if not isinstance(note, bytes):
        raise VerificationError(f"the checkpoint of {size} records is not a note")
    try:
        checkpoint = pin.keys.open(note)
    except VerificationError as error:
        raise VerificationError(f"the checkpoint of {size} records: {error}", index=_index_of(size)) from error
    if checkpoint.size != size:
        raise VerificationError(f"the checkpoint of {size} records says {checkpoint.size}", index=_index_of(size))
    return checkpoint


def _index_of(size: Any) -> int | None:
    return max(0, size - 1) if isinstance(size, int) else None


def _check_coverage(view: Snapshot, found: _Found, heads: _Heads, store: Store) -> int:
    """How many records are under no signed head yet: each found whole, and known to wait for it."""
    size = found.frontier.size
    left = heads.left()
    if left is not None:
        raise VerificationError(
            f"a checkpoint signs {left[0]} records, and {size} are here: the end was cut off", index=size
        )
    if heads.last_size != size and store.sequences:
        raise VerificationError(
            f"records {heads.last_size} to {size - 1} are under no signed head", index=heads.last_size
        )
    head = view.one("SELECT size, frontier, log FROM head WHERE id = 1")
    if head is None or head[0] != heads.last_size or head[1] != heads.frontier:
        raise VerificationError("the head that writers go on from is not that of the records", index=size)
    if head[2] not in ({None} if store.sequences else heads.keys_named()):
        raise VerificationError("the head that writers go on from names another log's key", index=size)
    for index, row in enumerate(view.all(_WAITING), start=size):
        _check_record(index, (index, *row), found)
    waiting = found.frontier.size - size
    if waiting and store.sequences:
        raise VerificationError(f"{waiting} records are in no leaf of the tree", index=size)
    [missing] = view.one("SELECT count(*) FROM pending LEFT JOIN record USING (rid) WHERE record.id IS NULL")
    if missing:
        raise VerificationError(f"{missing} records that waited for their place in the tree are missing", index=size)
    [stray] = view.one(
        "SELECT count(*) FROM record LEFT JOIN leaf USING (rid) LEFT JOIN pending USING (rid)"
        " WHERE leaf.idx IS NULL AND pending.rid IS NULL"
    )
    if stray:
        raise VerificationError(f"{stray} records are in no leaf of the tree")
    twice = view.one("SELECT id FROM record GROUP BY id HAVING count(*) > 1 LIMIT 1")
    if twice is not None:
        raise VerificationError(f"two records have the id {twice[0]}")
    return waiting + size - heads.last_size


def _check_artefacts(view: Snapshot, found: _Found) -> None:
    missing = dict(found.artefacts)
    for digest, content in view.all("SELECT digest, content FROM artefact"):
        index = missing.pop(digest, None)
        if index is None:
            raise VerificationError(f"artefact {digest} is in no record: somebody put it there")
        if not isinstance(content, bytes) or "sha256:" + hashlib.sha256(content).hexdigest() != digest:
            raise VerificationError(f"artefact {digest}, which record {index} brought, was changed", index=index)
    for digest, index in missing.items():
        raise VerificationError(f"artefact {digest}, which record {index} brought, is missing", index=index)


def _check_payloads(view: Snapshot, found: _Found, sealer: Sealer | None) -> int:
    """How many payloads were erased."""
    missing = dict(found.private)
    erased = 0
    query = (
        "SELECT payload.record_id, payload.ciphertext, payload.wrapped_key, record.body"
        " FROM payload LEFT JOIN record ON record.id = payload.record_id"
    )
    for record_id, ciphertext, wrapped_key, body in view.all(query):
        index = missing.pop(record_id, None)
        if index is None:
            raise VerificationError(f"a payload belongs to {record_id!r}, which no record commits to")
        if ciphertext is None and wrapped_key is None:
            if record_id not in found.erased:
                raise VerificationError(
                    f"the text of record {index} is gone, and no record says that it was erased", index=index
                )
            erased += 1
            continue
        if record_id in found.erased:
            raise VerificationError(f"the text of record {index} was to be erased and is still there", index=index)
        if not isinstance(ciphertext, bytes) or not isinstance(wrapped_key, bytes):
            raise VerificationError(f"the payload of record {index} is damaged", index=index)
        if sealer is not None:
            try:
                sealer.open(record_id, parse_leaf(body, index)["private"], ciphertext, wrapped_key)
            except VerificationError as error:
                raise VerificationError(f"record {index}: {error}", index=index) from error
    for record_id, index in missing.items():
        raise VerificationError(f"the payload of record {index} ({record_id}) is missing", index=index)
    return erased
