"""What differs between one file and a server: how records are written, how leases are held, who gives indexes."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from remit.ledger import files
from remit.ledger.batch import Batch, Head
from remit.ledger.keys import Home, Pin
from remit.ledger.lease import is_dead
from remit.ledger.rotation import LogSigner
from remit.ledger.sqlite_batch import SqliteBatch
from remit.store.engine import SqliteStore, writing_engine
from remit.store.migrate import REVISION, revision_of, upgrade
from remit.store.stores import Store

if TYPE_CHECKING:
    from remit.ledger.reading import Reader


class Backend(Protocol):
    """The writing side of one opened ledger."""

    store: Store

    waits_for: str
    """What a batch may be waiting for, for sentences."""

    errors: tuple[type[Exception], ...]
    """What the driver raises."""

    def batch(self) -> Batch:
        """A connection that writes; opened on its first use."""

    def describe(self) -> Mapping[str, str]:
        """For `recorder.started`: which database, of which version."""

    def dead(self, running: Sequence[Mapping[str, Any]], reader: Reader) -> list[str]:
        """Of the rows of writers that run, the ids of those that hold no lease any more. Changes nothing."""

    def clock_offset(self) -> timedelta:
        """How far the clock that decides windows is ahead of this process's."""

    def wait_sequenced(self, record_ids: Sequence[str], deadline: float) -> None:
        """Wait until these records are under a signed head. Raises `EvidenceUnavailable` at the deadline."""

    def settle(self) -> None:
        """Give the sequencer a moment, so that what this process has recorded is under a signed head."""

    def close(self) -> Head | None:
        """Nothing more is written: have what was written sequenced, and let go of everything.

        Returns the newest signed head, where that is not the writer's own.
        """

    def before_fork(self) -> None:
        """Let go of what a child must not inherit."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        """Become new."""


class SqliteBackend:
    """A file: one process at a time writes, sequences and signs."""

    waits_for = "another process that holds commit.lock"
    errors: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(self, store: SqliteStore, home: Home, pin: Pin | None) -> None:
        self.store: Store = store
        self._path = store.path
        self._home = home
        self._signer = LogSigner(home, pin.keys) if pin is not None else None

    def batch(self) -> SqliteBatch:
        """See `SqliteBatch`."""
        assert self._signer is not None
        home = self._home
        return SqliteBatch(self._path, home.locks, home.commit_lock, self._signer, relaxed=self.store.relaxed)

    def describe(self) -> Mapping[str, str]:
        """The version of the library."""
        return {"sqlite": sqlite3.sqlite_version}

    def dead(self, running: Sequence[Mapping[str, Any]], reader: Reader) -> list[str]:
        """By the lock files; see `remit.ledger.lease`."""
        return [row["id"] for row in running if is_dead(self._home.locks, row["id"], row)]

    def clock_offset(self) -> timedelta:
        """One machine, one clock."""
        return timedelta(0)

    def wait_sequenced(self, record_ids: Sequence[str], deadline: float) -> None:
        """Records get their index, and their head its signature, in the transaction that appends them."""

    def settle(self) -> None:
        """Everything is under a signed head."""

    def close(self) -> None:
        """Nothing runs beside the writer."""
        return

    def before_fork(self) -> None:
        """Nothing runs beside the writer."""

    def after_fork_in_parent(self) -> None:
        """Nothing runs beside the writer."""

    def after_fork_in_child(self) -> None:
        """Nothing runs beside the writer."""


def migrate_sqlite(store: SqliteStore, home: Home, *, create: bool) -> None:
    """Bring the schema to what this version writes, under the lock that every writer takes."""
    with files.locked(home.commit_lock):
        engine = writing_engine(store.path, create=create)
        with engine.connect() as connection:
            if revision_of(connection) == REVISION:
                return
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            upgrade(connection)
            connection.exec_driver_sql("INSERT OR IGNORE INTO head (id, size, frontier) VALUES (1, 0, x'')")
            connection.exec_driver_sql("COMMIT")


def migrate(store: Store, home: Home, *, log: str | None = None) -> None:
    """Make or update the schema. `log`: what names the key of the log that is created here. Raises `UsageError`."""
    if isinstance(store, SqliteStore):
        migrate_sqlite(store, home, create=log is not None)
        return
    from remit.ledger.postgres_backend import migrate_postgres  # its driver comes with an extra

    migrate_postgres(store, log=log)


def backend_of(store: Store, home: Home, pin: Pin | None, *, server_time: bool) -> Backend:
    """The writing side of a store; without a pin, nothing is written by it.

    `server_time`: the server's clock decides, where it has one.
    """
    if isinstance(store, SqliteStore):
        return SqliteBackend(store, home, pin)
    from remit.ledger.postgres_backend import PostgresBackend

    return PostgresBackend(store, home, pin, server_time=server_time)
