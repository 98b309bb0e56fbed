"""The transaction of a batch of jobs on PostgreSQL: no lock is held while jobs run, and none on the log at all.

```
begin    BEGIN · the server's time
jobs     each in its Txn, on rows that are known from before or read without a lock
confirm  lock the rows that jobs have read, in order, and compare: where one changed, the jobs run again on what it is
commit   write out · COMMIT, in one go; the records wait in `pending` for the sequencer
```

Rows that a batch changes are locked FOR UPDATE and rows that it only relied on FOR SHARE, in the same order everywhere,
so that a revocation, a closing or a spent limit either comes before a call or after it, on whichever host. Rows of
`sessions` are shared by everybody who appends to the session, and held alone by whoever closes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection as AlchemyConnection
from sqlalchemy import Select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql.dml import ReturningDelete

from remit.errors import EvidenceUnavailable
from remit.ledger.batch import BatchFailed, Head, Stale
from remit.ledger.forks import abandon
from remit.ledger.lease import HeldLeases, ServerLease, lock_number
from remit.ledger.merkle import EMPTY_ROOT
from remit.ledger.pending import Changed, Key, Pending
from remit.store.postgres import Connection, PostgresStore, Silent, state_of
from remit.store.postgres_sql import STATEMENTS, Statement
from remit.store.shapes import Row, shape_of

MAX_CACHED_ROWS: Final = 20_000
"""Read-model rows that are kept between batches."""

_RACES: Final = frozenset({"23505", "40001", "40P01", "55P03"})
"""Another transaction came first: a unique value, a serialisation, a deadlock, a lock."""

_UNKNOWN_AFTER_COMMIT: Final = frozenset({"08", "57", "58", "XX"})
"""Classes of errors after which nobody knows what became of a COMMIT that was sent."""

_UNKNOWN: Final = "Whether what was being written became durable is not known."

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BEGIN: Final = (
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = {}; "
    "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,"
    " (SELECT time FROM record ORDER BY rid DESC LIMIT 1)"
)


class PostgresBatch:
    """See the module's docstring, and `remit.ledger.batch.Batch`."""

    def __init__(
        self,
        store: PostgresStore,
        leases: HeldLeases,
        *,
        server_time: bool,
        appended: Callable[[str], None],
        trouble: Callable[[], EvidenceUnavailable | None],
    ) -> None:
        self._store = store
        self._leases = leases
        self._server_time = server_time
        self._appended = appended
        self._trouble = trouble
        self._engine = store.engine(self._open)
        self._alchemy: AlchemyConnection | None = None
        self._driver: Connection | None = None
        self._time = _EPOCH
        self._warned = False
        self._cache: dict[Key, Row | None] = {}
        self._artefacts: set[str] = set()
        self._last: tuple[str, str] | None = None
        self.server_version = ""
        self.offset = timedelta(0)
        self.newest: datetime | None = None
        self.committed = Head(0, EMPTY_ROOT)
        self._forget()

    def _forget(self) -> None:
        """What belongs to one transaction."""
        self._pending = Pending()
        self._read: dict[Key, Row | None] = {}
        self._sessions: set[str] = set()
        self._alone: set[Key] = set()
        self._locked: dict[Key, bool] = {}
        self._tail: tuple[str, str] | None = None
        self._at_save: tuple[dict[Key, bool], tuple[str, str] | None] = ({}, None)
        self._sent_any = False

    # -- the connection

    def _open(self) -> Connection:
        connection = self._store.connect(purpose="writer")
        connection.add_notice_handler(self._notice)
        return connection

    def _notice(self, diagnostic: Any) -> None:
        """A warning while committing: the server did not wait for the standby that it was told to wait for."""
        self._warned = self._warned or diagnostic.severity_nonlocalized == "WARNING"

    def _connect(self) -> None:
        self._alchemy = self._engine.connect()
        driver = self._alchemy.connection.driver_connection
        assert isinstance(driver, Connection)
        self._driver = driver
        self.server_version = str(driver.info.server_version)
        for writer in self._leases.writers():
            driver.execute("SELECT pg_advisory_lock_shared(%s)", (lock_number(writer),))
        self._require_own_last()

    def _require_own_last(self) -> None:
        """What this writer was told to be durable is there: the server is not one that fell behind."""
        if self._last is None:
            return
        record_id, writer = self._last
        assert self._driver is not None
        if self._driver.execute("SELECT 1 FROM record WHERE id = %s", (record_id,)).fetchone() is None:
            raise EvidenceUnavailable(
                f"the ledger at {self._store} does not hold record {record_id}, which was acknowledged to writer "
                f"{writer}: the database was taken back, perhaps to a standby that had fallen behind. Nothing is "
                "written to it; find out, and open the ledger again"
            )

    def lease(self, writer: str) -> ServerLease:
        """The lease of a writer that begins: the server frees it when the last of our connections ends."""
        assert self._driver is not None
        self._driver.execute("SELECT pg_advisory_lock_shared(%s)", (lock_number(writer),))
        return ServerLease(self._leases, writer)

    # -- the transaction

    def begin(self) -> None:
        """Begin, and ask for the time. Raises `BatchFailed`; then nothing is held."""
        trouble = self._trouble()
        if trouble is not None:
            raise BatchFailed(EvidenceUnavailable(str(trouble)))
        try:
            if not self._goes_on():
                self._connect()
                self._start()
        except EvidenceUnavailable as error:
            self.close()
            raise BatchFailed(error) from error
        except (psycopg.Error, SQLAlchemyError) as error:
            self.close()
            raise BatchFailed(self._store.unavailable(error)) from error

    def _goes_on(self) -> bool:
        """Begin on the connection that is there. One that was lost while nothing was under way is made anew, once."""
        if self._driver is None:
            return False
        try:
            self._start()
        except Silent:
            raise
        except psycopg.OperationalError:
            self.close()
            return False
        return True

    def _start(self) -> None:
        driver = self._driver
        assert driver is not None
        # One message: a pipeline of four would have the server answer, and this thread wake, four times.
        said = driver.execute(_BEGIN.format(driver.synchronous))
        said.nextset()
        said.nextset()
        [(microseconds, newest)] = said.fetchall()
        self._time = _EPOCH + timedelta(microseconds=microseconds)
        self.offset = self._time - datetime.now(UTC)
        self.newest = datetime.fromisoformat(newest) if newest is not None else None

    def now(self, clock: Callable[[], datetime]) -> datetime:
        """The server's time, unless a test gave a clock."""
        return self._time if self._server_time else clock()

    def buried(self, writer: str) -> bool:
        """Whether another process took this one for dead while its connections were lost."""
        row = self.row("writer", writer)
        return row is not None and row["state"] != "running"

    def confirm(self) -> bool:
        """Lock what was read, in order, and look whether it is still so."""
        wanted: dict[str, set[str]] = {}
        for place in [*self._read, *self._alone, *(("sessions", session) for session in self._sessions)]:
            if place not in self._locked or (place in self._alone and not self._locked[place]):
                wanted.setdefault(place[0], set()).add(place[1])
        if not wanted:
            return True
        sent = [(table, self._is_changed(table, keys), sorted(keys)) for table, keys in sorted(wanted.items())]
        same = [self._same(table, keys, alone, rows) for (table, alone, keys), rows in self._fetch(sent)]
        return all(same)

    def _is_changed(self, table: str, keys: set[str]) -> bool:
        """Whether one of these rows is held alone or changed: then all of a table are locked so, in one order."""
        rows = self._pending.rows
        for key in keys:
            changed = rows.get((table, key))
            if (table, key) in self._alone or (changed is not None and changed.columns):
                return True
        return False

    def _fetch(self, sent: Sequence[_Wanted]) -> list[tuple[_Wanted, list[Any]]]:
        driver = self._driver
        assert driver is not None
        try:
            with driver.pipeline() if len(sent) > 1 else contextlib.nullcontext():
                cursors = [driver.execute(STATEMENTS[table].lock(alone), (keys,)) for table, alone, keys in sent]
            return [(wanted, cursor.fetchall()) for wanted, cursor in zip(sent, cursors, strict=True)]
        except psycopg.Error as error:
            raise self._batch_failed(error) from error

    def _same(self, table: str, keys: Sequence[str], alone: bool, stored: list[Any]) -> bool:
        shape = shape_of(table)
        found = {row[shape.key]: row for row in (shape.loaded(one) for one in stored)}
        same = True
        for key in keys:
            place = (table, key)
            row = self._cache[place] = found.get(key)
            if place in self._read and self._read[place] != row:
                same = False
            if row is not None:
                self._locked[place] = alone or self._locked.get(place, False)
        return same

    def again(self) -> None:
        """The jobs run again on what confirming has found, under the locks that it took where that is possible."""
        if self._sent_any:  # something was written out early: only a new transaction forgets it
            self.rollback()
            self.begin()
            return
        locked = self._locked
        self._forget()
        self._locked = locked

    def commit(self) -> None:
        """Write out and commit in one go. Raises `BatchFailed`."""
        pending = self._pending
        if pending.empty and not self._sent_any:
            self._end()
            return
        driver = self._driver
        assert driver is not None
        self._warned = False
        try:
            with driver.pipeline():
                self._send(pending)
                committed = driver.execute("COMMIT")
        except psycopg.Error as error:
            raise self._batch_failed(error, committing=True) from error
        if committed.statusmessage != "COMMIT" or self._warned:
            unsure = self._warned or committed.statusmessage is None
            said = "the server did not wait for its standby" if self._warned else "the server ended the transaction"
            self.close()
            told = EvidenceUnavailable(f"the ledger at {self._store} cannot be written: {said}. {_UNKNOWN}")
            raise BatchFailed(told, unknown=unsure)
        if self._tail is not None:
            self._last = self._tail
        appended = bool(pending.hashes)
        self._remember()
        if appended and self._last is not None:
            self._appended(self._last[0])

    def _remember(self) -> None:
        cache = self._cache
        for place, changed in self._pending.rows.items():
            if changed.known:
                cache[place] = changed.row
            else:
                cache.pop(place, None)
        for place in [place for place, row in cache.items() if row is None]:
            del cache[place]  # rows appear on other hosts; that one is missing is looked up each time
        if len(cache) > MAX_CACHED_ROWS:
            cache.clear()
        self._forget()

    def _end(self) -> None:
        """Nothing was written: what was confirmed stays known."""
        driver = self._driver
        assert driver is not None
        try:
            driver.execute("COMMIT")
        except psycopg.Error as error:
            raise self._batch_failed(error) from error
        self._remember()

    def rollback(self) -> None:
        """End the transaction without a trace."""
        wrote = not self._pending.empty or self._sent_any
        self._forget()
        if wrote:
            self._artefacts.clear()
            self._cache.clear()
        driver = self._driver
        if driver is None:
            return
        try:
            if driver.pgconn.transaction_status != TransactionStatus.IDLE:
                driver.execute("ROLLBACK")
        except (psycopg.Error, SQLAlchemyError):
            self.close()

    # -- what jobs read and write

    @property
    def written(self) -> int:
        """Bytes that this batch has collected."""
        return self._pending.size

    def index(self, ahead: int) -> None:
        """The sequencer gives it."""
        return

    @property
    def ended(self) -> bool:
        """Never: the sequencer decides where a head ends."""
        return False

    def absorb(self, pending: Pending) -> None:
        """A job succeeded: what it wrote belongs to the batch."""
        self._pending.absorb(pending)

    def row(self, table: str, key: str) -> Row | None:
        """A read-model row as this batch has it. Not to be changed."""
        place = (table, key)
        changed = self._pending.rows.get(place)
        if changed is not None:
            return self.look(changed, key)
        if place in self._read:
            return self._read[place]
        found = self._cache[place] if place in self._cache else self._stored(table, key)
        self._cache[place] = self._read[place] = found
        return found

    def _stored(self, table: str, key: str) -> Row | None:
        found = self._one(STATEMENTS[shape_of(table).name].load, (key,))
        return None if found is None else shape_of(table).loaded(found)

    def _one(self, query: str, parameters: Sequence[Any]) -> Any:
        driver = self._driver
        assert driver is not None
        try:
            return driver.execute(query, parameters).fetchone()
        except psycopg.Error as error:
            raise self._batch_failed(error) from error

    def knows(self, place: Key) -> bool:
        """Whether it is known, without asking the database, what a row holds or that there is none."""
        return place in self._pending.rows or place in self._read or place in self._cache

    def look(self, changed: Changed, key: str) -> Row:
        """The whole row of one that was put without looking. Not to be changed."""
        if not changed.known:
            place = (changed.shape.name, key)
            stored = self._stored(*place)
            if not self._locked.get(place):  # written here already: this is what it will be, not what others see
                self._read.setdefault(place, stored)
            changed.known, changed.fresh = True, stored is None
            if stored is not None:
                changed.row = stored | {name: changed.row[name] for name in changed.given}
        return changed.row

    def forget(self, place: Key) -> None:
        """A row was taken away by hand: what is known of it is not so any more."""
        self._cache.pop(place, None)
        self._read.pop(place, None)

    def hold(self, table: str, key: str) -> None:
        """Until the end nobody else changes this row, nor appends to the session that it is. Raises `Stale`."""
        self._alone.add((table, key))
        if not self.confirm():
            raise Stale
        if (table, key) not in self._locked:  # there is no such row: then the name is locked
            self._one("SELECT pg_advisory_xact_lock(%s)", (lock_number(f"{table}\x1f{key}"),))

    def takes_part(self, session: str) -> None:
        """A record of this session is appended, so nobody may close the session meanwhile."""
        self._sessions.add(session)

    def has_artefact(self, digest: str) -> bool:
        """Whether content is in the ledger or in this batch."""
        if digest in self._artefacts or digest in self._pending.artefacts:
            return True
        if self._one("SELECT 1 FROM artefact WHERE digest = %s", (digest,)) is None:
            return False
        self._artefacts.add(digest)
        return True

    def leaf(self, record_id: str) -> tuple[int | None, bytes] | None:
        """Index, where there is one by now, and bytes of a record of the ledger or of this batch."""
        waiting = self._pending.leaf(record_id)
        if waiting is not None:
            return waiting
        query = "SELECT leaf.idx, record.body FROM record LEFT JOIN leaf USING (rid) WHERE record.id = %s"
        found: tuple[int | None, bytes] | None = self._one(query, (record_id,))
        return found

    def last_in_session(self, session: str, writer: str) -> int | None:
        """A writer's last sequence number in a session, as it is stored."""
        found = self._one("SELECT max(sseq) FROM record WHERE session = %s AND writer = %s", (session, writer))
        return None if found[0] is None else int(found[0])

    def query(self, select: Select[*tuple[Any, ...]] | ReturningDelete[*tuple[Any, ...]]) -> Sequence[Any]:
        """Rows of a query within the transaction."""
        assert self._alchemy is not None
        try:
            return self._alchemy.execute(select).all()
        except SQLAlchemyError as error:
            raise self._batch_failed(error) from error

    def flush(self) -> None:
        """Write out what jobs before this moment have written, once it is sure that what they read is so."""
        if not self._pending.empty:
            self.write_out(self._pending)

    def write_out(self, pending: Pending) -> None:
        """Write out a batch's or a job's rows. Raises `BatchFailed`, `Stale`."""
        if not self.confirm():
            raise Stale
        driver = self._driver
        assert driver is not None
        try:
            with driver.pipeline():
                self._send(pending)
        except psycopg.Error as error:
            raise self._batch_failed(error) from error

    def _send(self, pending: Pending) -> None:
        driver = self._driver
        assert driver is not None
        self._sent_any = True
        if pending.records:
            _, record_id, writer, *_ = pending.records[-1]
            self._tail = (record_id, writer)
        written = [place for place, changed in pending.rows.items() if changed.columns]
        for query, parameters in statements_of(pending):
            psycopg.RawCursor(driver).execute(query, parameters)
        self._locked.update(dict.fromkeys(written, True))  # what was written here is as this transaction wants it

    def save(self) -> None:
        """Begin a savepoint for one job that writes out early."""
        if not self.confirm():
            raise Stale
        self._sent_any = True
        self._at_save = (dict(self._locked), self._tail)
        self._one_off("SAVEPOINT job")

    def release(self) -> None:
        """The job succeeded."""
        self._one_off("RELEASE SAVEPOINT job")

    def back_to_save(self) -> None:
        """The job failed. Locks that it took are gone, so what it read is confirmed once more."""
        self._artefacts.clear()
        self._locked, self._tail = self._at_save
        self._one_off("ROLLBACK TO SAVEPOINT job")
        self._one_off("RELEASE SAVEPOINT job")

    def _one_off(self, statement: str) -> None:
        driver = self._driver
        assert driver is not None
        try:
            driver.execute(statement)
        except psycopg.Error as error:
            raise self._batch_failed(error) from error

    def _batch_failed(self, error: psycopg.Error | SQLAlchemyError, *, committing: bool = False) -> BatchFailed:
        state = state_of(error)
        unknown = committing and (state is None or state[:2] in _UNKNOWN_AFTER_COMMIT)
        unavailable = self._store.unavailable(error)
        if unknown:
            unavailable = EvidenceUnavailable(f"{unavailable} {_UNKNOWN}")
        lost = state is None or state[:2] in _UNKNOWN_AFTER_COMMIT
        self.rollback()
        if lost:
            self.close()
        return BatchFailed(
            unavailable,
            unknown=unknown,
            of_one_job=not lost or isinstance(error, psycopg.DataError),
            race=state in _RACES,
        )

    # -- the end

    def close(self) -> None:
        """Close the connection."""
        alchemy, self._alchemy, self._driver = self._alchemy, None, None
        if alchemy is not None:
            with contextlib.suppress(psycopg.Error, SQLAlchemyError):
                alchemy.invalidate()
                alchemy.close()
        self._cache.clear()
        self._artefacts.clear()
        self._forget()

    def before_fork(self) -> None:
        """Nothing: the child abandons the connection, and the parent keeps its lease."""

    def abandon(self) -> None:
        """In a forked child: the connection is the parent's."""
        if self._driver is not None:
            self._driver.forget()
            abandon(self._driver)
            abandon(self._alchemy)
        self._alchemy = self._driver = None


_Wanted = tuple[str, bool, list[str]]
"""Rows to lock: of which table, whether alone, and which."""


def statements_of(pending: Pending) -> Iterator[Statement]:
    """What writes out everything that is pending. Hashes and rows stay known, as written."""
    yield from STATEMENTS["record"].insert_all([row[1:] for row in pending.records])
    yield from STATEMENTS["payload"].insert_all(pending.payloads)
    yield from STATEMENTS["artefact"].insert_all([pending.artefacts[digest] for digest in sorted(pending.artefacts)])
    if pending.erased:
        yield "UPDATE payload SET ciphertext = NULL, wrapped_key = NULL WHERE record_id = ANY($1)", [pending.erased]
    for shape, changing, rows in pending.groups():
        yield from STATEMENTS[shape.name].insert_all(sorted(rows, key=lambda row: row[0]), changing)
    pending.records, pending.payloads, pending.artefacts, pending.erased = [], [], {}, []
