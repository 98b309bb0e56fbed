"""The writing side of a ledger on PostgreSQL: batches, leases on the server, the sequencer, the schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import psycopg
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from remit.errors import EvidenceUnavailable, UsageError
from remit.ledger.batch import Head
from remit.ledger.keys import Home, Pin
from remit.ledger.lease import HeldLeases, Watch, lock_number
from remit.ledger.postgres_batch import PostgresBatch
from remit.ledger.sequencer import Sequencer
from remit.store.migrate import REVISION, revision_of, upgrade
from remit.store.postgres import PostgresStore
from remit.store.stores import Store

if TYPE_CHECKING:
    from remit.ledger.reading import Reader

CLOSE_PATIENCE: Final = 10.0
"""Seconds that closing waits for a signature over what was recorded last."""

SETTLE_PATIENCE: Final = 5.0
"""Seconds that verification waits for a signature over what this process has recorded last."""

_HELD: Final = text(
    "SELECT classid::bigint, objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


class PostgresBackend:
    """See `remit.ledger.backends.Backend`."""

    waits_for = "the database, which does not answer"
    errors: tuple[type[Exception], ...] = (psycopg.Error,)

    def __init__(self, store: Store, home: Home, pin: Pin | None, *, server_time: bool) -> None:
        assert isinstance(store, PostgresStore)
        self.store: Store = store
        self._server = store
        self._server_time = server_time
        self._leases = HeldLeases()
        self._watch = Watch()
        self._sequencer = Sequencer(store, home, self._leases)
        self._batch: PostgresBatch | None = None
        self._last_record: str | None = None
        if pin is not None and home.signs:
            home.signer(pin.verifier)  # a wrong key is found out now, and not when nobody looks

    def batch(self) -> PostgresBatch:
        """See `PostgresBatch`."""
        self._batch = PostgresBatch(
            self._server,
            self._leases,
            server_time=self._server_time,
            appended=self._appended,
            trouble=self._sequencer.trouble,
        )
        return self._batch

    def _appended(self, record_id: str) -> None:
        self._last_record = record_id
        self._sequencer.appended()

    def describe(self) -> Mapping[str, str]:
        """The version of the server."""
        assert self._batch is not None
        return {"postgresql": self._batch.server_version}

    def dead(self, running: Sequence[Mapping[str, Any]], reader: Reader) -> list[str]:
        """By the locks that connections hold; see `remit.ledger.lease`."""
        with reader.connection() as connection:
            found = connection.execute(_HELD).all()
        numbers = {(high << 32) | low for high, low in found}
        held = {number - (1 << 64) if number >= 1 << 63 else number for number in numbers}
        return self._watch.dead(running, held)

    def clock_offset(self) -> timedelta:
        """How far the server's clock is ahead of this host's, by the last batch."""
        return self._batch.offset if self._batch is not None and self._server_time else timedelta(0)

    def wait_sequenced(self, record_ids: Sequence[str], deadline: float) -> None:
        """See `Sequencer.wait`. Raises `EvidenceUnavailable`."""
        if self._sequencer.wait(record_ids, deadline):
            return
        raise self._sequencer.trouble() or EvidenceUnavailable(
            f"no sequencer of {self.store} has signed for it within {deadline:g} seconds: it is durable, but under no "
            "signed head. Is a process running that holds the log's key?"
        )

    def settle(self) -> None:
        """Wait, for a while, until the last record of this process is under a signed head."""
        if self._last_record is not None:
            self._sequencer.wait([self._last_record], SETTLE_PATIENCE)

    def close(self) -> Head | None:
        """Wait for a signature over this process's last record, then stop."""
        return self._sequencer.close(self._last_record, CLOSE_PATIENCE)

    def before_fork(self) -> None:
        """Make sure that a child knows of every connection that it inherits, to abandon it."""
        self._sequencer.before_fork()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._sequencer.after_fork_in_parent()

    def after_fork_in_child(self) -> None:
        """A new writer, with leases of its own."""
        self._leases = HeldLeases()
        self._sequencer.after_fork_in_child(self._leases)
        self._watch = Watch()
        self._last_record = None


def migrate_postgres(store: Store, *, log: str | None) -> None:
    """Bring the schema to what this version writes, in one transaction, one process at a time.

    `log` names the key of the log that is created: whoever comes second with another key is refused. Raises
    `UsageError`, `EvidenceUnavailable`.
    """
    assert isinstance(store, PostgresStore)
    try:
        with store.engine(lambda: store.connect(purpose="migration")).connect() as connection:
            connection.exec_driver_sql("BEGIN")
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (lock_number("migration"),))
            if revision_of(connection) != REVISION:
                upgrade(connection)
                connection.exec_driver_sql(
                    "INSERT INTO head (id, size, frontier) VALUES (1, 0, '') ON CONFLICT DO NOTHING"
                )
            if log is not None:
                row = connection.exec_driver_sql("SELECT log FROM head WHERE id = 1 FOR UPDATE").one()
                if row[0] not in (None, log):
                    raise UsageError(
                        f"a ledger was created in {store} from another place: copy its home (keys and pin) here"
                    )
                connection.exec_driver_sql("UPDATE head SET log = %s WHERE id = 1", (log,))
            connection.exec_driver_sql("COMMIT")
    except (psycopg.Error, SQLAlchemyError) as error:
        raise store.unavailable(error) from error
