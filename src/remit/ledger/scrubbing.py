"""Taking what was erased out of the database's own files: its write-ahead log, and what readers still hold of it."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from remit.ledger import files
from remit.store.engine import SqliteStore, writing_engine

if TYPE_CHECKING:
    from remit.ledger.keys import Home
    from remit.store.stores import Store

PATIENCE: Final = 5.0
"""Seconds for which readers with an older view of the database are waited for."""

ON_A_SERVER: Final = (
    "What was erased is dead to every query; the server's files hold it, encrypted under a key that is gone, until the "
    "table is rewritten: run VACUUM FULL payload and CHECKPOINT, and let archived WAL and backups run out."
)


class Scrubbed(NamedTuple):
    """Whether nothing of what was erased is left in the files here; where it is not, what to do."""

    complete: bool
    advice: str | None = None


def scrub(store: Store, home: Home) -> Scrubbed:
    """Empty the write-ahead log after an erasure. Never raises for what keeps it from being emptied: it says so."""
    if not isinstance(store, SqliteStore):
        return Scrubbed(False, ON_A_SERVER)
    try:
        return _sqlite(store.path, home.commit_lock, PATIENCE)
    except sqlite3.Error as error:
        return Scrubbed(False, _again(store.path, str(error)))


def _sqlite(path: Path, lock: Path, patience: float) -> Scrubbed:
    until = time.monotonic() + patience
    with files.locked(lock), writing_engine(path).connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        with closing(driver.cursor()) as cursor:
            cursor.execute(f"PRAGMA busy_timeout={int(min(patience, 1.0) * 1000)}").fetchone()
            while True:
                [busy, _, _] = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                if not busy:
                    return Scrubbed(True)
                if time.monotonic() >= until:
                    return Scrubbed(False, _again(path, "a program still reads an older view of the database"))


def _again(path: Path, why: str) -> str:
    return (
        f"the write-ahead log {path}-wal still holds what was erased, with its wrapped key: {why}. "
        "End whatever has it open and run `remit erase --finish`"
    )
