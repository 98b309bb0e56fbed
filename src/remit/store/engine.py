"""A ledger in a SQLite file, and connections to it. Nothing of Remit opens the file except through these."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from remit.errors import UsageError, VerificationError

SCHEME: Final = "sqlite:///"

BUSY_TIMEOUT: Final = 5.0
"""Seconds to wait for a program other than Remit that holds the database."""

STATEMENTS: Final = 512
"""Prepared statements kept on a writer's connection."""


def database_path(url: str) -> Path:
    """The file that a `sqlite:///PATH` URL names, absolute. Raises `UsageError`."""
    name = url.removeprefix(SCHEME)
    if not url.startswith(SCHEME) or not name or name.startswith(":") or "?" in name:
        raise UsageError(f"cannot keep a ledger at {url!r}; expected sqlite:///PATH, with a file of its own")
    return Path(name).absolute()


def writing_engine(path: Path, *, create: bool = False, relaxed: bool = False) -> Engine:
    """An engine whose connections may write: WAL, every commit synchronous, deleted content overwritten.

    The database must exist, unless `create`. Transactions are begun and ended by whoever uses the connection.
    `relaxed`: commits do not wait for the disk, so that a power loss may take the last ones back.
    """
    mode = "rwc" if create else "rw"

    def connect() -> sqlite3.Connection:
        connection = _connect(path, mode)
        try:
            cursor = connection.execute("PRAGMA journal_mode=WAL")
            cursor.fetchone()
            connection.execute(f"PRAGMA synchronous={'NORMAL' if relaxed else 'FULL'}")
            connection.execute("PRAGMA secure_delete=ON").fetchone()
            connection.execute("PRAGMA temp_store=MEMORY")
        except BaseException:
            connection.close()
            raise
        return connection

    return _engine(connect)


def reading_engine(path: Path) -> Engine:
    """An engine whose connections cannot write, nor checkpoint, nor recover anything that writers left."""

    def connect() -> sqlite3.Connection:
        connection = _connect(path, "ro&immutable=1" if at_rest(path) else "ro")
        connection.execute("PRAGMA query_only=ON")
        return connection

    return _engine(connect)


def at_rest(path: Path) -> bool:
    """Whether nobody has the database open and this process could not join in: an auditor's copy on read-only media.

    SQLite would need to write beside the file even to read it, unless it is told that nothing changes meanwhile.
    """
    return not os.access(path.parent, os.W_OK) and not Path(f"{path}-wal").exists()


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=STATEMENTS,
    )


def _engine(connect: Any) -> Engine:
    return create_engine(
        "sqlite://", creator=connect, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args={}
    )


class SqliteStore:
    """A file. Its records get their index in the transaction that appends them."""

    sequences = True
    relaxed = False

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, url: str) -> SqliteStore:
        """The store of a `sqlite:///PATH` URL. Raises `UsageError`."""
        return cls(database_path(url))

    def __str__(self) -> str:
        return str(self.path)

    def default_home(self) -> Path:
        """Beside the file."""
        return Path(f"{self.path}.remit")

    def files(self) -> list[Path]:
        """The file, and what SQLite keeps beside it."""
        return [self.path, *(Path(f"{self.path}{suffix}") for suffix in ("-wal", "-shm", "-journal"))]

    def exists(self) -> bool:
        """Whether the file is there."""
        return self.path.exists()

    def reading_engine(self) -> Engine:
        """See `reading_engine`."""
        return reading_engine(self.path)

    def at_rest(self) -> bool:
        """See `at_rest`."""
        return at_rest(self.path)

    def unreadable(self, error: BaseException) -> VerificationError:
        """What a failure to read means."""
        cause = getattr(error, "orig", None) or error
        text = str(cause).strip()
        return VerificationError(f"the ledger at {self} cannot be read: {text.splitlines()[0] if text else cause!r}")

    @contextlib.contextmanager
    def snapshot(self, shared: str | None = None) -> Iterator[SqliteSnapshot]:
        """One unchanging view of the database as it is now, whatever is `shared`.

        What SQLite cannot read becomes a `VerificationError`.
        """
        if not self.path.exists():
            raise VerificationError(f"there is no ledger at {self.path}")
        try:
            with reading_engine(self.path).connect() as connection:
                driver = connection.connection.driver_connection
                assert isinstance(driver, sqlite3.Connection)
                driver.execute("BEGIN")
                try:
                    yield SqliteSnapshot(driver)
                finally:
                    driver.execute("ROLLBACK")
        except (sqlite3.Error, SQLAlchemyError, OverflowError, UnicodeDecodeError) as error:
            cause = getattr(error, "orig", None) or error
            raise VerificationError(f"the ledger at {self.path} cannot be read as one: {cause}") from error


class SqliteSnapshot:
    """See `remit.store.stores.Snapshot`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def one(self, query: str, parameters: Sequence[Any] = ()) -> Any:
        """The first row, or None."""
        return self._connection.execute(query, parameters).fetchone()

    def all(self, query: str, parameters: Sequence[Any] = ()) -> Iterator[Any]:
        """Rows as they are fetched."""
        return self._connection.execute(query, parameters)

    def tables(self) -> set[str]:
        """The names of the tables that are there."""
        return {name for (name,) in self.all("SELECT name FROM sqlite_master WHERE type = 'table'")}

    def share(self) -> None:
        """Other processes cannot have this view; what they open later holds everything that this one does."""

    def damage(self) -> str | None:
        """What SQLite's own check finds first: an index that does not show what its table holds, and so on."""
        [said] = self.one("PRAGMA integrity_check(1)")
        return None if said == "ok" else str(said)
