"""Reading the ledger: records, artefacts, queries. Connections here cannot write; reading never recovers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Select, cast, literal, null, select, union_all
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from remit.errors import EvidenceUnavailable, RemitError, UsageError, VerificationError
from remit.ledger.payload import Sealer
from remit.ledger.records import parse_leaf
from remit.store.stores import Store
from remit.store.tables import NUMBER, Base

T = TypeVar("T")

_TABLES: Final = Base.metadata.tables
_LEAF: Final = _TABLES["leaf"].c
_RECORD: Final = _TABLES["record"].c
_PAYLOAD: Final = _TABLES["payload"].c
_ARTEFACT: Final = _TABLES["artefact"].c
_PENDING: Final = _TABLES["pending"].c
_BODIES: Final = select(_LEAF.idx, _RECORD.rid, _RECORD.body).where(_LEAF.rid == _RECORD.rid)
_NO_INDEX: Final = cast(null(), NUMBER).label("idx")
_WAITING: Final = select(_NO_INDEX, _RECORD.rid, _RECORD.body).where(_PENDING.rid == _RECORD.rid)

CHUNK: Final = 500
"""Records that are read at once."""


class Record:
    """One record of the log. `body` are its exact bytes; everything else is read from them.

    Not `placed`: the sequencer has not given it an index yet, which is so for moments, and on PostgreSQL only.
    """

    __slots__ = ("_index", "_order", "_parsed", "_reader", "body")

    def __init__(self, index: int | None, body: bytes, reader: Reader, *, order: int | None = None) -> None:
        self._index = index
        self._order = order if order is not None else index
        self.body = body
        self._reader = reader
        self._parsed: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"<Record {'-' if self._index is None else self._index} {self.type} {self.id}>"

    @property
    def placed(self) -> bool:
        """Whether the record has its index."""
        return self._index is not None

    @property
    def place(self) -> int | None:
        """`index`, and None while there is none: for showing it."""
        return self._index

    @property
    def order(self) -> int:
        """A number by which records sort as they were appended: what a record could build on has a smaller one.

        It is there before the index is. On SQLite it is the index.
        """
        assert self._order is not None
        return self._order

    @property
    def index(self) -> int:
        """Its place in the log. Raises `EvidenceUnavailable` while it has none: see `Ledger.wait_sequenced`."""
        if self._index is None:
            raise EvidenceUnavailable(
                f"record {self.id} has no index yet: the sequencer gives it one soon, and it is durable until then"
            )
        return self._index

    @property
    def leaf(self) -> Mapping[str, Any]:
        """The whole leaf, parsed. Raises `VerificationError` when it has not the shape of its type."""
        if self._parsed is None:
            self._parsed = parse_leaf(self.body, -1 if self._index is None else self._index)
        return self._parsed

    @property
    def id(self) -> str:
        """The record's id."""
        return str(self.leaf["id"])

    @property
    def type(self) -> str:
        """One of `remit.ledger.records.RECORD_TYPES`."""
        return str(self.leaf["type"])

    @property
    def time(self) -> str:
        """Wall time of the writer, RFC 3339 in UTC."""
        return str(self.leaf["time"])

    @property
    def at(self) -> datetime:
        """`time` as a datetime."""
        return datetime.fromisoformat(self.time)

    @property
    def session(self) -> str | None:
        """The session that the record belongs to, if any."""
        return self.leaf.get("session")

    @property
    def writer(self) -> str:
        """The writer that appended it."""
        return str(self.leaf["writer"])

    @property
    def data(self) -> dict[str, Any]:
        """What the leaf says in clear."""
        found: dict[str, Any] = self.leaf["data"]
        return found

    @property
    def private(self) -> dict[str, Any]:
        """What the leaf commits to: name → commitment, count, each."""
        found: dict[str, Any] = self.leaf.get("private", {})
        return found

    def disclosed(self) -> dict[str, Any] | None:
        """The private values in their encoding (`remit.ledger.values`), checked against the commitments.

        None when they were erased or their key is not here. Raises `VerificationError` when they were changed.
        """
        if not self.private:
            return {}
        return self._reader.payload(self.id, self.private)


class Reader:
    """Connections for reading. Each thread that reads has one to itself while it reads."""

    def __init__(self, store: Store, sealer: Sealer | None) -> None:
        self._store = store
        self._engine = store.reading_engine()
        self._sealer = sealer
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._active = 0
        self._changed = threading.Condition(self._lock)
        self._paused = False

    # -- connections

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection for the block. Raises `VerificationError` when what is stored cannot be read, and
        `EvidenceUnavailable` when the server does not answer."""
        with self.reading():
            with self._lock:
                found = self._idle.pop() if self._idle else None
            try:
                if found is None:
                    found = self._engine.connect()
                yield found
            except (SQLAlchemyError, UnicodeDecodeError) as error:
                if found is not None:
                    found.close()
                    found = None
                raise self._store.unreadable(error) from error
            finally:
                if found is not None:
                    self._keep(found)

    def _keep(self, connection: Connection) -> None:
        """For the next reader; not when the file was read as one that nobody changes, which is true of now only."""
        if self._store.at_rest():
            connection.close()
            return
        with self._lock:
            self._idle.append(connection)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """For the block, a fork of this process waits: a connection is open."""
        with self._changed:
            while self._paused:
                self._changed.wait()
            self._active += 1
        try:
            yield
        finally:
            with self._changed:
                self._active -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Close what is idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    # -- queries

    def rows(self, query: Select[*tuple[Any, ...]]) -> Sequence[Any]:
        """All rows of a query."""
        return self._ask(lambda connection: connection.execute(query).all())

    def mappings(self, query: Select[*tuple[Any, ...]]) -> list[dict[str, Any]]:
        """All rows of a query as dicts by column name."""
        return self._ask(lambda connection: [dict(row) for row in connection.execute(query).mappings()])

    def _ask(self, ask: Callable[[Connection], T]) -> T:
        """One question. The connection that was kept for it may be lost, as a server that went away and came back
        leaves it: then it is asked again, of a new one."""
        try:
            with self.connection() as connection:
                return ask(connection)
        except RemitError as error:
            cause = error.__cause__
            if not isinstance(cause, DBAPIError) or not cause.connection_invalidated:
                raise
        self.close()
        with self.connection() as connection:
            return ask(connection)

    # -- records

    def records(
        self,
        *,
        session: str | None = None,
        types: Iterable[str] | None = None,
        start: int = 0,
        placed: bool = False,
    ) -> Iterator[Record]:
        """Records in the log's order from index `start` on, and after them those that have no index yet.

        `placed`: without the latter.
        """
        conditions = []
        if session is not None:
            conditions.append(_RECORD.session == session)
        if types is not None:
            conditions.append(_RECORD.type.in_(list(types)))
        indexed_ones = _BODIES.where(*conditions).order_by(_LEAF.idx).limit(CHUNK)
        waiting = (
            None if placed or self._store.sequences else _WAITING.where(*conditions).order_by(_RECORD.rid).limit(CHUNK)
        )
        after, shown = -1, set[int]()
        while True:
            found = self._chunk(indexed_ones.where(_LEAF.idx >= start), waiting, after)
            indexed = [row for row in found if row[0] is not None]
            for index, rid, body in indexed:
                if rid not in shown:
                    yield Record(index, body, self, order=rid)
            if indexed:
                start = indexed[-1][0] + 1
            if len(indexed) == CHUNK:
                continue
            unplaced = found[len(indexed) :]
            for _, rid, body in unplaced:
                shown.add(rid)
                yield Record(None, body, self, order=rid)
            if len(unplaced) < CHUNK:
                return
            after = unplaced[-1][1]

    def _chunk(self, placed: Any, waiting: Any, after: int) -> Sequence[Any]:
        """Records with an index, then those without: of one moment, so that none is missed in between."""
        if waiting is None:
            return self.rows(placed)
        both = union_all(
            select(placed.subquery(), literal(0).label("part")),
            select(waiting.where(_PENDING.rid > after).subquery(), literal(1).label("part")),
        ).subquery()
        return self.rows(select(both.c.idx, both.c.rid, both.c.body).order_by(both.c.part, both.c.idx, both.c.rid))

    def record(self, record_id: str) -> Record | None:
        """One record by its id."""
        query = select(_LEAF.idx, _RECORD.rid, _RECORD.body).select_from(
            _TABLES["record"].outerjoin(_TABLES["leaf"], _LEAF.rid == _RECORD.rid)
        )
        found = self.rows(query.where(_RECORD.id == record_id))
        return Record(found[0][0], found[0][2], self, order=found[0][1]) if found else None

    def artefact(self, digest: str) -> bytes:
        """Content by its digest. Raises `UsageError` when it is not in the ledger."""
        found = self.rows(select(_ARTEFACT.content).where(_ARTEFACT.digest == digest))
        if not found:
            raise UsageError(f"no artefact {digest} is in this ledger")
        content: bytes = found[0][0]
        return content

    def payload(self, record_id: str, commitments: Mapping[str, Any]) -> dict[str, Any] | None:
        """The private values of a record; None when erased, or when this process has no key for them."""
        query = select(_PAYLOAD.ciphertext, _PAYLOAD.wrapped_key).where(_PAYLOAD.record_id == record_id)
        found = self.rows(query)
        if not found:
            raise VerificationError(f"the payload of record {record_id} is missing, and not as erasing leaves it")
        ciphertext, wrapped_key = found[0]
        if wrapped_key is None or ciphertext is None or self._sealer is None:
            return None
        return self._sealer.open(record_id, commitments, ciphertext, wrapped_key)

    def wrapped_key(self, record_id: str) -> bytes | None:
        """The wrapped key of a record; None when it has none, or it was erased."""
        found = self.rows(select(_PAYLOAD.wrapped_key).where(_PAYLOAD.record_id == record_id))
        key: bytes | None = found[0][0] if found else None
        return key

    # -- forks

    def before_fork(self) -> None:
        """Wait until nobody reads, and close every connection."""
        with self._changed:
            self._paused = True
            self._changed.wait_for(lambda: self._active == 0, timeout=10.0)
        self.close()

    def after_fork_in_parent(self) -> None:
        """Let readers go on."""
        with self._changed:
            self._paused = False
            self._changed.notify_all()

    def after_fork_in_child(self) -> None:
        """Nobody reads here yet."""
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._idle, self._active, self._paused = [], 0, False
        self._engine = self._store.reading_engine()
