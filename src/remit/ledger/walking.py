"""Steps (3) to (7) of `remit.ledger.verify` over one stretch of the log, apart from what lies before it.

A stretch that begins at a multiple of its length hangs in the tree as a subtree of its own, so several processes can
walk stretches at once. What only the records before a stretch can tell, a walk leaves as a `Claim`, in the order in
which it came up; whoever knows what lies before (`remit.ledger.tracing`) settles the claims, and then the failure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, NamedTuple

from remit.errors import VerificationError
from remit.ledger.chain import RELAXED
from remit.ledger.epochs import LogKeys
from remit.ledger.forms import Forms, plain
from remit.ledger.merkle import Frontier
from remit.ledger.notes import Checkpoint
from remit.ledger.records import ROTATED, parse_leaf
from remit.store.stores import Snapshot

STRETCHES: Final = (1 << 9, 1 << 16)
"""Leaves of one stretch: at least and at most, and always a power of two."""

CHUNK: Final = 512
"""Rows that are looked at together."""

COLUMNS: Final = (
    "record.id, record.writer, record.wseq, record.session, record.sseq, record.type, record.time, record.body"
)
_PLACED: Final = (
    "SELECT leaf.idx, " + COLUMNS + " FROM leaf LEFT JOIN record USING (rid)"  # noqa: S608
    " WHERE leaf.idx >= ? AND leaf.idx < ? ORDER BY leaf.idx"
)
_HEADS: Final = "SELECT size, note FROM checkpoint WHERE size > ? AND size <= ? ORDER BY size"
_BEFORE: Final = -1 << 62

_sha256 = hashlib.sha256

Row = tuple[Any, ...]


class First(NamedTuple):
    """The first record of a writer in this stretch: it has to follow what the writer wrote before."""

    at: int
    writer: str
    wseq: int
    prev: str
    time: str


class Place(NamedTuple):
    """The first record of a writer in a session in this stretch."""

    at: int
    session: str
    writer: str
    sseq: int


class Opened(NamedTuple):
    """A session is opened: it had no records before."""

    at: int
    session: str


class Closed(NamedTuple):
    """A session is closed, after so many records of each writer; `here` counts those of this stretch."""

    at: int
    session: str
    said: Any
    here: dict[str, int]


class Brought(NamedTuple):
    """An artefact that no earlier record brought."""

    at: int
    digest: str


class Signed(NamedTuple):
    """A head. `fold` is the root of what this stretch has of its leaves, `row` the size that it is stored under."""

    size: int
    row: Any
    signed: Checkpoint
    fold: bytes


Claim = First | Place | Opened | Closed | Brought | Signed


@dataclass(slots=True)
class Writer:
    """What is known of a writer: how many records it wrote, the last one's index, hash and time."""

    count: int = 0
    index: int = 0
    prev: str = ""
    time: str = ""


@dataclass(slots=True)
class Stretch:
    """What a walk found, and what it left to settle."""

    start: int
    size: int = 0
    claims: list[Claim] = field(default_factory=list)
    failure: VerificationError | None = None
    peaks: bytes = b""
    signed_peaks: bytes = b""
    writers: dict[str, Writer] = field(default_factory=dict)
    sessions: dict[str, dict[str, int]] = field(default_factory=dict)
    private: int = 0
    erased: set[str] = field(default_factory=set)
    rotations: dict[int, Any] = field(default_factory=dict)
    relaxed: int = 0
    lost: int = 0


Step = Callable[[int], object]
"""Told now and then how far a walk has come."""


def walk(view: Snapshot, start: int, stop: int, keys: LogKeys, forms: Forms, step: Step | None = None) -> Stretch:
    """Steps (3) to (7) from leaf `start` up to, not including, `stop`. Does not raise `VerificationError`."""
    heads = view.all(_HEADS, (start or _BEFORE, stop))
    return _Walk(start, forms, heads, keys).go(view.all(_PLACED, (start, stop)), stop, step)


def walk_waiting(rows: Iterable[Row], start: int, forms: Forms) -> Stretch:
    """The same for records that have no index yet: those that they will have if nothing comes between."""
    placed = ((index, *row) for index, row in enumerate(rows, start))
    return _Walk(start, forms, iter(()), None).go(placed, None, None)


class _Walk:
    def __init__(self, start: int, forms: Forms, heads: Iterator[Row], keys: LogKeys | None) -> None:
        self._found = Stretch(start)
        self._forms = forms
        self._heads = heads
        self._keys = keys
        self._head: Row | None = next(heads, None)
        self._frontier = Frontier()
        self._leaves: list[bytes] = []

    def go(self, rows: Iterable[Row], stop: int | None, step: Step | None) -> Stretch:
        found = self._found
        index = found.start
        rows = iter(rows)
        try:
            while chunk := list(islice(rows, CHUNK)):
                index = self._chunk(index, chunk)
                if step is not None:
                    step(index)
            if stop is not None and index != stop:
                raise VerificationError(f"leaf {index} is missing", index=index)
        except VerificationError as error:
            found.failure = error
        self._add_up()
        found.size = self._frontier.size
        found.peaks = self._frontier.to_bytes()
        return found

    # -- records

    def _chunk(self, index: int, rows: list[Row]) -> int:
        """(3), (4), (5), (6) and (7) for rows that begin at `index`. Returns the index after them."""
        by_type = self._forms.by_type if plain([row[8] for row in rows]) else {}
        quick = by_type is self._forms.by_type
        writers, sessions, leaves = self._found.writers, self._found.sessions, self._leaves
        for place, record_id, writer, wseq, session, sseq, kind, time, body in rows:
            if place != index:
                raise VerificationError(f"leaf {index} is missing; the next one is {place}", index=index)
            match, form = None, None
            for form in by_type.get(kind, ()):
                match = form.fullmatch(body.decode("ascii"))
                if match is not None:
                    break
            if match is None:
                leaf = self._parsed(index, (record_id, writer, wseq, session, sseq, kind, time), body, learn=quick)
                prev = leaf["prev"]
                self._note(index, leaf)
            else:
                assert form is not None
                named, prev = match.groups()
                tail = f'"time":"{time}","type":"{kind}","v":1,"writer":"{writer}","wseq":{wseq}}}'
                if session is not None:
                    tail = f'"session":"{session}","sseq":{sseq},{tail}'
                if named != record_id or form.session is (session is None) or not match.string.endswith(tail):
                    raise _otherwise(index)
                if form.private:
                    self._found.private += 1
            known = writers.get(writer)
            if known is None or known.count != wseq or known.prev != prev or known.time > time:
                known = self._follow(index, writer, wseq, prev, time)
            hashed = _sha256(b"\x00" + body).digest()
            known.count += 1
            known.index, known.prev, known.time = index, hashed.hex(), time
            if session is not None:
                counts = sessions.get(session)
                if counts is not None and counts.get(writer) == sseq and kind not in _TURNS:
                    counts[writer] = sseq + 1
                else:
                    self._take_part(index, session, writer, sseq, kind, None if match else leaf["data"])
            leaves.append(hashed)
            index += 1
            if self._head is not None and self._head[0] <= index:
                self._reached(index)
        self._add_up()
        return index

    def _parsed(self, index: int, columns: Row, body: Any, *, learn: bool) -> dict[str, Any]:
        if not isinstance(body, bytes):
            raise VerificationError(f"the record of leaf {index} is missing", index=index)
        leaf = parse_leaf(body, index)
        said = [leaf.get(name) for name in ("id", "writer", "wseq", "session", "sseq", "type", "time")]
        if list(columns) != said:
            raise _otherwise(index)
        if learn:
            self._forms.learn(leaf)
        return leaf

    def _follow(self, index: int, name: str, wseq: int, prev: str, time: str) -> Writer:
        """(5) where it is not just the next record."""
        writer = self._found.writers.get(name)
        if writer is None:
            self._found.claims.append(First(index, name, wseq, prev, time))
            writer = self._found.writers[name] = Writer(wseq)
        else:
            require_next(writer, index, name, wseq, prev, time)
        return writer

    def _take_part(self, index: int, session: str, writer: str, sseq: int, kind: str, data: Any) -> None:
        """(6) where it is not just the next number."""
        claims = self._found.claims
        counts = self._found.sessions.setdefault(session, {})
        if kind == "session.opened":
            if counts:
                raise opened_late(index, session)
            claims.append(Opened(index, session))
        if kind == "session.closed":
            claims.append(Closed(index, session, data["writers"], dict(counts)))
        expected = counts.get(writer)
        if expected is None:
            claims.append(Place(index, session, writer, sseq))
        elif sseq != expected:
            raise misplaced(index, session, sseq, expected)
        counts[writer] = sseq + 1

    def _note(self, index: int, leaf: dict[str, Any]) -> None:
        """What a parsed leaf says to the steps after this one."""
        found, kind, data = self._found, leaf["type"], leaf["data"]
        for digest in leaf.get("artefacts", ()):
            found.claims.append(Brought(index, digest))
        if "private" in leaf:
            found.private += 1
        if kind == "recorder.started" and data.get("durability") == RELAXED:
            found.relaxed += 1
        if kind == "recorder.gap" and isinstance(data.get("lost"), int):
            found.lost += data["lost"]
        if kind == ROTATED and data["key"] == "log":
            found.rotations[index] = data.get("vkey")
        if kind == "evidence.erased":
            named = data["records"]
            if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
                raise VerificationError(f"record {index} does not say which records were erased", index=index)
            found.erased.update(named)

    # -- heads

    def _add_up(self) -> None:
        self._frontier.extend(self._leaves)
        self._leaves.clear()

    def _reached(self, size: int) -> None:
        """(7), as far as it can be seen from here."""
        assert self._keys is not None or self._head is None
        while self._head is not None and self._head[0] <= size and self._keys is not None:
            self._add_up()
            row, note = self._head
            self._found.claims.append(Signed(size, row, open_head(row, note, self._keys), self._frontier.root()))
            self._found.signed_peaks = self._frontier.to_bytes()
            self._head = next(self._heads, None)


_TURNS: Final = frozenset({"session.opened", "session.closed"})


def require_next(writer: Writer, index: int, name: str, wseq: int, prev: str, time: str) -> None:
    """That a record is the next one of its writer. Raises `VerificationError`."""
    if wseq != writer.count:
        raise VerificationError(
            f"record {index} is number {wseq} of writer {name}; expected number {writer.count}", index=index
        )
    if prev != writer.prev:
        raise VerificationError(
            f"record {index} does not follow record {writer.index}, the one that its writer wrote before: "
            "one of the two was changed",
            index=writer.index if writer.count else index,
        )
    if time < writer.time:
        raise VerificationError(f"record {index} is earlier than the one its writer wrote before", index=index)


def misplaced(index: int, session: str, sseq: int, expected: int) -> VerificationError:
    """A record is not the next one of its writer in its session."""
    return VerificationError(
        f"record {index} is number {sseq} of its writer in session {session}; expected {expected}", index=index
    )


def opened_late(index: int, session: str) -> VerificationError:
    """A session is opened that is open."""
    return VerificationError(f"record {index} opens session {session}, which had records before", index=index)


def _otherwise(index: int) -> VerificationError:
    return VerificationError(f"the columns beside record {index} say something else than its body", index=index)


def open_head(size: Any, note: Any, keys: LogKeys) -> Checkpoint:
    """The checkpoint that is stored under `size`, signed by the key of its size. Raises `VerificationError`."""
    if not isinstance(note, bytes):
        raise VerificationError(f"the checkpoint of {size} records is not a note")
    index = max(0, size - 1) if isinstance(size, int) else None
    try:
        checkpoint = keys.open(note)
    except VerificationError as error:
        raise VerificationError(f"the checkpoint of {size} records: {error}", index=index) from error
    if checkpoint.size != size:
        raise VerificationError(f"the checkpoint of {size} records says {checkpoint.size}", index=index)
    return checkpoint
