"""Connections to a SQLite ledger. Nothing of Remit opens the database file except through these."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool

from remit.errors import UsageError

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


def writing_engine(path: Path, *, create: bool = False) -> Engine:
    """An engine whose connections may write: WAL, every commit synchronous, deleted content overwritten.

    The database must exist, unless `create`. Transactions are begun and ended by whoever uses the connection.
    """
    mode = "rwc" if create else "rw"

    def connect() -> sqlite3.Connection:
        connection = _connect(path, mode)
        try:
            cursor = connection.execute("PRAGMA journal_mode=WAL")
            cursor.fetchone()
            connection.execute("PRAGMA synchronous=FULL")
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
