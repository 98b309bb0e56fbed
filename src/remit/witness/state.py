"""What a witness must not forget: for each log the newest head that it cosigned.

One SQLite file with a rollback journal, every commit synchronous: what was committed survives the process and the
machine, and a file that was unlinked or replaced under the process is refused by SQLite itself. Compare and set are
one transaction, also across several processes that serve one witness.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import quote

from remit.errors import EvidenceUnavailable, UsageError
from remit.ledger.merkle import EMPTY_ROOT


class Seen(NamedTuple):
    """The newest head of a log that was cosigned, when (seconds since the epoch), and its note with cosignature."""

    size: int = 0
    root: bytes = EMPTY_ROOT
    time: int = 0
    note: bytes = b""


class State:
    """The heads that one witness has cosigned, by origin."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        self._lock = threading.Lock()  # one connection, whichever thread serves a request
        if not create and not path.exists():
            raise UsageError(
                f"the witness's memory {path} is missing: without it a witness would cosign a second history. "
                "Restore it, or make a witness with a new key"
            )
        try:
            self._connection = sqlite3.connect(
                f"file:{quote(str(path.absolute()))}?mode={'rwc' if create else 'rw'}",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
            )
            self._prepare(create)
        except sqlite3.Error as error:
            raise UsageError(f"the witness's memory {path} cannot be opened: {error}") from error

    def _prepare(self, create: bool) -> None:
        connection = self._connection
        connection.execute("PRAGMA journal_mode=TRUNCATE").fetchone()
        connection.execute("PRAGMA synchronous=FULL")
        if create:
            connection.execute(
                "CREATE TABLE seen (origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL,"
                " time INTEGER NOT NULL, note BLOB NOT NULL) WITHOUT ROWID"
            )
        connection.execute("SELECT count(*) FROM seen").fetchone()  # an emptied file is no memory

    def get(self, origin: str) -> Seen:
        """The newest head of a log; of one never seen, the head of nothing."""
        with self._lock:
            return self._read(origin)

    def advance(self, origin: str, judge: Callable[[Seen], Seen]) -> Seen:
        """Replace the newest head by what `judge` makes of it, durably. Nothing changes when `judge` raises.

        Raises `EvidenceUnavailable` when it cannot be made durable.
        """
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    seen = judge(self._read(origin))
                    self._connection.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?)", (origin, *seen))
                    self._connection.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):
                        self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise EvidenceUnavailable(f"the witness's memory {self.path} cannot be written: {error}") from error
        return seen

    def _read(self, origin: str) -> Seen:
        found = self._connection.execute("SELECT size, root, time, note FROM seen WHERE origin = ?", (origin,))
        row = found.fetchone()
        return Seen(*row) if row is not None else Seen()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()
