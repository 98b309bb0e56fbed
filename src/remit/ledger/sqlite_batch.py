"""The transaction of a batch of jobs on SQLite: begin, read, write out, sign, commit.

```
begin    flock commit.lock · BEGIN IMMEDIATE · if another process committed: read the head again, forget cached rows
jobs     each in its Txn; what it wrote is absorbed, or dropped
commit   write out · sign the new head · guard · COMMIT · guard · unlock
```
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select
from sqlalchemy.sql.dml import ReturningDelete

from remit.errors import EvidenceUnavailable, UsageError, VerificationError
from remit.ledger import files
from remit.ledger.batch import BatchFailed, Head
from remit.ledger.forks import abandon
from remit.ledger.guard import FileGuard
from remit.ledger.lease import FileLease
from remit.ledger.merkle import Frontier
from remit.ledger.notes import checkpoint_body
from remit.ledger.pending import Changed, Key, Pending
from remit.ledger.rotation import LogSigner
from remit.store.engine import writing_engine
from remit.store.shapes import Row, Shape, shape_of

MAX_CACHED_ROWS = 20_000
"""Read-model rows that are kept between batches."""

_NOT_WRITTEN = frozenset({"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_BUSY", "SQLITE_READONLY"})
"""Errors of COMMIT after which the transaction is certainly not in the log."""

_OF_ONE_JOB = frozenset({"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_TOOBIG", "SQLITE_CONSTRAINT"})
"""Errors that one job of a batch can cause for all: the others are worth another try without it."""


class SqliteBatch:
    """See the module's docstring, and `remit.ledger.batch.Batch`."""

    def __init__(self, database: Path, locks: Path, lock: Path, signer: LogSigner, *, relaxed: bool = False) -> None:
        self._database = database
        self._locks = locks
        self._lock_path = lock
        self._signer = signer
        self._engine = writing_engine(database, relaxed=relaxed)
        self._connection: Connection | None = None
        self._driver: sqlite3.Connection | None = None
        self._lock = -1
        self._guard: FileGuard | None = None
        self._version: int | None = None
        self._frontier = Frontier()
        self._cache: dict[Key, Row | None] = {}
        self._artefacts: set[str] = set()
        self._pending = Pending()
        self.newest: datetime | None = None
        self.committed = self._signed = Head(0, self._frontier.root())
        self.cursor: sqlite3.Cursor

    def lease(self, writer: str) -> FileLease:
        """A lock file of the writer's own."""
        return FileLease(self._locks, writer)

    # -- the transaction

    def begin(self) -> None:
        """Lock, begin, and look at what others have done. Raises `BatchFailed`; then nothing is held."""
        try:
            self._begin()
        except BatchFailed:
            self.rollback()
            raise
        except (sqlite3.Error, OSError) as error:
            self.rollback()
            raise BatchFailed(self._unavailable(error)) from error
        except EvidenceUnavailable as error:
            self.rollback()
            raise BatchFailed(error) from error
        except UsageError as error:  # the lock file belongs to somebody else, or its folder is read-only
            self.rollback()
            raise BatchFailed(EvidenceUnavailable(f"{error}. Nothing was recorded, so nothing may run.")) from error
        except (VerificationError, TypeError, ValueError) as error:
            self.rollback()
            raise BatchFailed(EvidenceUnavailable(f"the head that is stored is damaged ({error}); {_LOOK}")) from error

    def _begin(self) -> None:
        if self._lock < 0:
            self._lock = files.open_lock(self._lock_path)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        fresh = self._driver is None
        if fresh:
            self._connect()
        self.cursor.execute("BEGIN IMMEDIATE")
        if fresh:
            assert self._guard is not None
            self._guard.watch_log()
        [version] = self.cursor.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._read_head()
            self._version = version

    def _connect(self) -> None:
        guard = FileGuard(self._database, self._lock_path, self._lock)
        connection = self._engine.connect()
        try:
            guard.check()
        except EvidenceUnavailable:
            connection.close()
            raise
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        self._connection, self._driver, self._guard = connection, driver, guard
        self.cursor = driver.cursor()
        self._version = None

    def _read_head(self) -> None:
        self._cache.clear()
        size, peaks = self.cursor.execute("SELECT size, frontier FROM head WHERE id = 1").fetchone()
        self._frontier = Frontier.from_bytes(size, peaks)
        head = Head(size, self._frontier.root())
        note = self._require_signed(head)
        if size < self.committed.size:
            raise EvidenceUnavailable(
                f"the ledger holds {size} records and held {self.committed.size} before: somebody took it back; {_LOOK}"
            )
        self.committed = self._signed = head
        row = self.cursor.execute("SELECT time, body FROM record ORDER BY rid DESC LIMIT 1").fetchone()
        self.newest = datetime.fromisoformat(row[0]) if row else None
        self._signer.follow(size, note, row[1] if row else None)

    def _require_signed(self, head: Head) -> bytes:
        """The head that this writer is about to continue has to be the last one that was signed."""
        row = self.cursor.execute("SELECT size, note FROM checkpoint ORDER BY size DESC LIMIT 1").fetchone()
        signed, note = row if row is not None else (0, b"")
        body = checkpoint_body(self._signer.verifier.name, *head) if head.size else b""
        if signed != head.size or not note.startswith(body):
            raise EvidenceUnavailable(
                f"the head of {head.size} records is not the last one that was signed ({signed}): somebody changed it; "
                f"{_LOOK}"
            )
        return bytes(note)

    def now(self, clock: Callable[[], datetime]) -> datetime:
        """The time by the ledger's clock."""
        return clock()

    def buried(self, writer: str) -> bool:
        """Never: the kernel holds the lease for as long as the process lives."""
        return False

    def confirm(self) -> bool:
        """Nobody else writes meanwhile, so what was read is so."""
        return True

    def again(self) -> None:
        """Never needed: see `confirm`."""

    def commit(self) -> None:
        """Write out, sign, commit and look again. Raises `BatchFailed`; then nothing is held and nothing is cached."""
        if self._pending.empty:
            self.rollback()
            return
        committing, erased = False, bool(self._pending.erased)
        try:
            self.flush()
            self._sign()
            assert self._guard is not None
            self._guard.check()
            committing = True
            self.cursor.execute("COMMIT")
            self._guard.check()
            if erased:
                # What was erased is overwritten in the database; this takes it out of the write-ahead log as well.
                self.cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except BatchFailed:
            self.rollback()
            raise
        except (sqlite3.Error, OSError) as error:
            self.rollback()
            raise self._batch_failed(error, committing=committing) from error
        except EvidenceUnavailable as error:
            self.rollback()
            told = EvidenceUnavailable(f"{error} {_UNKNOWN}") if committing else error
            raise BatchFailed(told, unknown=committing) from error
        self._remember()
        self._unlock()

    def _sign(self) -> None:
        hashes = self._pending.hashes
        if not hashes:
            return
        frontier = self._frontier
        for leaf in hashes:
            frontier.append(leaf)
        self._signed = Head(frontier.size, frontier.root())
        note = self._signer.checkpoint(*self._signed)
        self.cursor.execute("INSERT INTO checkpoint (size, note) VALUES (?, ?)", (frontier.size, note))
        self.cursor.execute("UPDATE head SET size = ?, frontier = ? WHERE id = 1", (frontier.size, frontier.to_bytes()))

    def _remember(self) -> None:
        pending = self._pending
        if pending.rows:
            if len(self._cache) > MAX_CACHED_ROWS:
                self._cache.clear()
            for key, changed in pending.rows.items():
                if changed.known:
                    self._cache[key] = changed.row
        self.committed = self._signed
        if pending.last:
            self._version = None  # who signs next is looked up before anything is appended
        self._pending = Pending()

    def rollback(self) -> None:
        """End the transaction without a trace, and let go of the lock."""
        wrote = not self._pending.empty
        self._pending = Pending()
        driver = self._driver
        if driver is not None and driver.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self.cursor.execute("ROLLBACK")
        if wrote or driver is None:
            self._version = None
            self._artefacts.clear()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock >= 0:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    # -- what jobs read and write

    def index(self, ahead: int) -> int:
        """Leaves so far: those in the log, those of this batch, and those of the job."""
        return self._frontier.size + len(self._pending.hashes) + ahead

    @property
    def written(self) -> int:
        """Bytes that this batch has collected."""
        return self._pending.size

    @property
    def ended(self) -> bool:
        """Whether nothing may follow in this batch."""
        return self._pending.last

    def absorb(self, pending: Pending) -> None:
        """A job succeeded: what it wrote belongs to the batch."""
        self._pending.absorb(pending)

    def row(self, table: str, key: str) -> Row | None:
        """A read-model row as this batch has it. Not to be changed."""
        place = (table, key)
        changed = self._pending.rows.get(place)
        if changed is not None:
            return self.look(changed, key)
        if place in self._cache:
            return self._cache[place]
        found = self._cache[place] = self._stored(shape_of(table), key)
        return found

    def _stored(self, shape: Shape, key: str) -> Row | None:
        stored = self.cursor.execute(shape.load, (key,)).fetchone()
        return None if stored is None else shape.loaded(stored)

    def knows(self, place: Key) -> bool:
        """Whether it is known, without asking the database, what a row holds or that there is none."""
        return place in self._pending.rows or place in self._cache

    def look(self, changed: Changed, key: str) -> Row:
        """The whole row of one that was put without looking. Not to be changed."""
        if not changed.known:
            stored = self._stored(changed.shape, key)
            changed.known, changed.fresh = True, stored is None
            if stored is not None:
                changed.row = stored | {name: changed.row[name] for name in changed.given}
        return changed.row

    def forget(self, place: Key) -> None:
        """A row was taken away by hand: what is known of it is not so any more."""
        self._cache.pop(place, None)

    def hold(self, table: str, key: str) -> None:
        """Nobody else writes meanwhile."""

    def takes_part(self, session: str) -> None:
        """Nobody else writes meanwhile."""

    def has_artefact(self, digest: str) -> bool:
        """Whether content is in the ledger or in this batch."""
        if digest in self._artefacts or digest in self._pending.artefacts:
            return True
        if self.cursor.execute("SELECT 1 FROM artefact WHERE digest = ?", (digest,)).fetchone() is None:
            return False
        self._artefacts.add(digest)
        return True

    def leaf(self, record_id: str) -> tuple[int | None, bytes] | None:
        """Index and bytes of a record of the ledger or of this batch."""
        waiting = self._pending.leaf(record_id)
        if waiting is not None:
            return waiting
        query = "SELECT leaf.idx, record.body FROM record JOIN leaf USING (rid) WHERE record.id = ?"
        found: tuple[int, bytes] | None = self.cursor.execute(query, (record_id,)).fetchone()
        return found

    def last_in_session(self, session: str, writer: str) -> int | None:
        """A writer's last sequence number in a session, as it is stored."""
        query = "SELECT max(sseq) FROM record WHERE session = ? AND writer = ?"
        [(last,)] = self.cursor.execute(query, (session, writer)).fetchall()
        return None if last is None else int(last)

    def query(self, select: Select[*tuple[Any, ...]] | ReturningDelete[*tuple[Any, ...]]) -> Sequence[Any]:
        """Rows of a query within the transaction."""
        assert self._connection is not None
        return self._connection.execute(select).all()

    def flush(self) -> None:
        """Write out what jobs before this moment have written. Raises `BatchFailed`: it concerns all of them."""
        if not self._pending.empty:
            self.write_out(self._pending)

    def write_out(self, pending: Pending) -> None:
        """Write out a batch's or a job's rows. Raises `BatchFailed`."""
        self._require_transaction()
        try:
            pending.flush(self.cursor)
        except sqlite3.Error as error:
            raise self._batch_failed(error) from error

    def save(self) -> None:
        """Begin a savepoint for one job that writes out early."""
        self.cursor.execute("SAVEPOINT job")

    def release(self) -> None:
        """The job succeeded."""
        self.cursor.execute("RELEASE job")

    def back_to_save(self) -> None:
        """The job failed."""
        self._require_transaction()
        self._artefacts.clear()
        self.cursor.execute("ROLLBACK TO job")
        self.cursor.execute("RELEASE job")

    def _require_transaction(self) -> None:
        """After some errors SQLite ends the transaction by itself; what came next would be committed piece by piece."""
        if self._driver is None or not self._driver.in_transaction:
            raise BatchFailed(EvidenceUnavailable("the database ended the transaction by itself"), of_one_job=True)

    def _batch_failed(self, error: Exception, *, committing: bool = False) -> BatchFailed:
        name = _error_name(error)
        unavailable = self._unavailable(error)
        unknown = committing and name not in _NOT_WRITTEN
        if unknown:
            unavailable = EvidenceUnavailable(f"{unavailable} {_UNKNOWN}")
        of_one_job = not unknown and any(name.startswith(one) for one in _OF_ONE_JOB)
        return BatchFailed(unavailable, unknown=unknown, of_one_job=of_one_job)

    # -- the end

    def close(self) -> None:
        """Close the connection, under the lock: the last one to close also checkpoints."""
        if self._connection is not None:
            if self._lock >= 0:
                fcntl.flock(self._lock, fcntl.LOCK_EX)
            try:
                self._connection.close()
            finally:
                self._connection = self._driver = None
                self._unlock()
        self._version = None
        self._cache.clear()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def before_fork(self) -> None:
        """Close: SQLite keeps locks in memory that a child would inherit without holding them."""
        self.close()

    def abandon(self) -> None:
        """In a forked child: never touch again what could not be closed before the fork."""
        if self._driver is not None:
            abandon(self._driver)
            abandon(self._connection)
        if self._lock >= 0:
            os.close(self._lock)
        self._connection = self._driver = None
        self._lock = -1

    def _unavailable(self, error: Exception) -> EvidenceUnavailable:
        return EvidenceUnavailable(
            f"the ledger at {self._database} cannot be written: {error} ({_error_name(error)}). "
            f"{_ADVICE.get(_error_name(error), 'Nothing was recorded, so nothing may run.')}"
        )


_LOOK = "nothing is written to it; run `remit verify`"

_UNKNOWN = "Whether what was being written became durable is not known."

_ADVICE = {
    "SQLITE_FULL": "The disk is full; free some space and try again.",
    "SQLITE_READONLY": "The file or its folder is read-only for this process; give it write permission.",
    "SQLITE_CANTOPEN": "The file is missing, or this process may not open it.",
    "SQLITE_BUSY": "Another program holds the database; close it and try again.",
    "SQLITE_CORRUPT": "The file is damaged; run `remit verify`.",
    "SQLITE_NOTADB": "The file is not a database; run `remit verify`.",
}


def _error_name(error: Exception) -> str:
    return str(getattr(error, "sqlite_errorname", type(error).__name__))
