"""A ledger in a PostgreSQL database, and connections to it.

Every connection gives up when the server does not answer for a while, refuses a server that could lose what it has
acknowledged (`fsync=off`), and names no password in anything that it raises.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Literal
from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from remit.errors import EvidenceUnavailable, UsageError, VerificationError

CONNECT_PATIENCE: Final = 5
"""Seconds to wait for a connection."""

PATIENCE: Final = 10.0
"""Seconds of silence after which a server that was asked something counts as gone."""

READING_PATIENCE: Final = 60.0
"""The same, for readers: a query over a large ledger takes its time."""

STATEMENT_TIMEOUT: Final = "8s"
LOCK_TIMEOUT: Final = "5s"
IDLE_TIMEOUT: Final = "30s"
"""After which the server ends the transaction of a process that stopped in the middle, and frees its locks."""

_NOTICES: Final = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": f"{PATIENCE:g}s",
}
"""The server's side: within about ten seconds it sees that a host has lost its power or its network, and frees what
that one held: the lead of the sequencer, its leases, rows. By itself it waits for two hours. Ignored on a socket."""

OLDEST: Final = 140000
"""The oldest version that is supported, as `server_version_num` says it."""

ROWS: Final = 2_000
"""Rows that a server-side cursor hands over at once."""


class Silent(psycopg.OperationalError):
    """The server did not answer in time. Whether it did what it was asked is not known."""


class Connection(psycopg.Connection[TupleRow]):
    """A connection whose waiting ends after `patience` seconds of silence."""

    patience: float = PATIENCE
    synchronous: str = "on"

    def forget(self) -> None:
        """In a forked child: the connection is the parent's. Nothing may be sent on it, and it may not be closed."""
        os.close(self.pgconn.socket)

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        """See psycopg. Raises `Silent`, and closes the connection: what is under way on it cannot be used any more."""
        return super().wait(self._watched(gen), *args, **options)

    def _watched(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        until = time.monotonic() + self.patience
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    until = time.monotonic() + self.patience
                elif time.monotonic() > until:
                    gen.close()
                    self.pgconn.finish()
                    raise Silent(f"the server did not answer for {self.patience:g} seconds")
                wanted = gen.send(ready)
        except StopIteration as done:
            return done.value


class PostgresStore:
    """A database. Records are appended without a lock; a sequencer gives them their index."""

    sequences = False
    relaxed = False

    def __init__(self, url: URL) -> None:
        self._url = url
        dialect: Any = PGDialect_psycopg
        self._arguments: dict[str, Any] = dialect().create_connect_args(url)[1]

    @classmethod
    def of(cls, url: str) -> PostgresStore:
        """The store of a `postgresql+psycopg://…` URL. Raises `UsageError`, which does not repeat the URL."""
        try:
            found = make_url(url)
        except (ArgumentError, ValueError):
            raise UsageError(
                "the URL of the database cannot be read; expected postgresql+psycopg://HOST/NAME"
            ) from None
        if not found.database:
            raise UsageError("the URL names no database; expected postgresql+psycopg://HOST/NAME")
        return cls(found.set(drivername="postgresql+psycopg"))

    def __str__(self) -> str:
        user = f"{self._url.username}@" if self._url.username else ""
        port = f":{self._url.port}" if self._url.port else ""
        return f"postgresql://{user}{self._host()}{port}/{self._url.database}"

    def _host(self) -> str:
        host = self._arguments.get("host") or "localhost"
        return host if isinstance(host, str) else ",".join(host)

    def default_home(self) -> Path:
        """In the user's data directory, one for each database."""
        folder = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "remit" / "postgresql"
        place = f"{self._host()}:{self._arguments.get('port') or 5432}/{self._url.database}"
        readable = re.sub(r"[^A-Za-z0-9._-]+", "-", place).strip("-.")[:80]
        return folder / f"{readable}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"

    def files(self) -> list[Path]:
        """None on this machine that an agent could name."""
        return []

    def at_rest(self) -> bool:
        """A server is never at rest."""
        return False

    # -- connections

    def connect(self, *, purpose: str, read_only: bool = False) -> Connection:
        """A connection in which every statement stands alone until BEGIN. Raises `psycopg.Error`, and
        `EvidenceUnavailable` when the server is one that loses what it acknowledged."""
        arguments: dict[str, Any] = {
            "connect_timeout": CONNECT_PATIENCE,
            "application_name": f"remit {purpose}",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": int(PATIENCE * 1000),
            "target_session_attrs": "any" if read_only else "read-write",
            **self._arguments,
        }
        connection = Connection.connect(**arguments, autocommit=True, prepare_threshold=None)
        try:
            if read_only:
                connection.patience = READING_PATIENCE
                connection.execute("SET default_transaction_read_only = on")
            else:
                self._require_durable(connection, relaxed=self.relaxed and purpose == "writer")
        except BaseException:
            connection.close()
            raise
        return connection

    def _require_durable(self, connection: Connection, *, relaxed: bool) -> None:
        names = ("fsync", "full_page_writes", "server_encoding", "server_version_num", "synchronous_commit")
        row = connection.execute(f"SELECT {', '.join(f'current_setting({name!r})' for name in names)}").fetchone()
        assert row is not None
        fsync, pages, encoding, version, synchronous = row
        for name, value in (("fsync", fsync), ("full_page_writes", pages)):
            if value != "on":
                raise EvidenceUnavailable(
                    f"the server of {self} runs with {name}={value}: after a crash it may have lost what it "
                    f"acknowledged, so nothing may run. Set {name}=on and restart the server"
                )
        if encoding != "UTF8":
            raise EvidenceUnavailable(f"{self} keeps text as {encoding}; expected a database whose encoding is UTF8")
        if int(version) < OLDEST:
            raise EvidenceUnavailable(f"the server of {self} is version {version}; expected {OLDEST} or newer")
        # A commit is acknowledged once it is on disk here; where a standby has to have it too, that stays so.
        wait_for = "off" if relaxed else synchronous if synchronous in ("on", "remote_apply") else "on"
        settings = {
            "synchronous_commit": wait_for,
            "statement_timeout": STATEMENT_TIMEOUT,
            "lock_timeout": LOCK_TIMEOUT,
            "idle_in_transaction_session_timeout": IDLE_TIMEOUT,
            **_NOTICES,
        }
        asked = ", ".join(f"set_config({name!r}, {value!r}, false)" for name, value in settings.items())
        connection.execute(f"SELECT {asked}")
        connection.synchronous = wait_for

    def reading_engine(self) -> Engine:
        """An engine whose connections cannot write."""
        return self.engine(lambda: self.connect(purpose="reader", read_only=True))

    def engine(self, connect: Any) -> Engine:
        """An engine over connections that `connect` makes, and that begin and end transactions by themselves."""
        return create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool, isolation_level="AUTOCOMMIT")

    def exists(self) -> bool:
        """Whether a ledger was created there. Raises `EvidenceUnavailable` when nobody can tell."""
        try:
            with self.connect(purpose="looking", read_only=True) as connection:
                row = connection.execute("SELECT to_regclass('pending') IS NOT NULL").fetchone()
                if row is None or not row[0]:
                    return False
                row = connection.execute("SELECT log IS NOT NULL FROM head WHERE id = 1").fetchone()
        except psycopg.Error as error:
            raise self.unavailable(error) from error
        return row is not None and bool(row[0])

    def unavailable(self, error: BaseException) -> EvidenceUnavailable:
        """What a failure of the database means to whoever wanted to record something."""
        return EvidenceUnavailable(
            f"the ledger at {self} cannot be written: {first_line(error)}. "
            f"{_ADVICE.get(_kind(error), 'Nothing was recorded, so nothing may run.')}"
        )

    def unreadable(self, error: BaseException) -> EvidenceUnavailable | VerificationError:
        """What a failure to read means: nothing about the ledger while the server is away, else that it is damaged."""
        cause = getattr(error, "orig", None) or error
        if isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError):
            return EvidenceUnavailable(f"the ledger at {self} cannot be read now: {first_line(error)}")
        return VerificationError(f"the ledger at {self} cannot be read: {first_line(error)}")

    @contextlib.contextmanager
    def snapshot(self, shared: str | None = None) -> Iterator[PostgresSnapshot]:
        """One unchanging view, with `shared` that of another connection.

        Whatever cannot be read becomes a `VerificationError`, or `EvidenceUnavailable`.
        """
        try:
            connection = self.connect(purpose="verifier", read_only=True)
        except psycopg.Error as error:
            raise self.unavailable(error) from error
        try:
            with connection:
                connection.patience = float("inf")  # sorting a large ledger takes as long as it takes
                connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                if shared is not None:
                    connection.execute(SQL("SET TRANSACTION SNAPSHOT {}").format(Literal(shared)))
                yield PostgresSnapshot(connection)
        except (psycopg.Error, SQLAlchemyError, UnicodeDecodeError) as error:
            raise self.unreadable(error) from error


class PostgresSnapshot:
    """See `remit.store.stores.Snapshot`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._names = itertools.count()

    def one(self, query: str, parameters: Sequence[Any] = ()) -> Any:
        """The first row, or None."""
        return self._connection.execute(_percent(query), parameters, binary=True).fetchone()

    def all(self, query: str, parameters: Sequence[Any] = ()) -> Iterator[Any]:
        """Rows as they are fetched."""
        with self._connection.cursor(f"remit_{next(self._names)}", binary=True) as cursor:
            cursor.itersize = ROWS
            yield from cursor.execute(_percent(query), parameters)

    def tables(self) -> set[str]:
        """The names of the tables that are there."""
        query = "SELECT table_name FROM information_schema.tables WHERE table_schema = ANY (current_schemas(false))"
        return {name for (name,) in self.all(query)}

    def share(self) -> str:
        """The name under which other connections have this view, for as long as it is open."""
        return str(self.one("SELECT pg_export_snapshot()")[0])

    def damage(self) -> str | None:
        """An index that the server itself calls invalid."""
        row = self.one("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid LIMIT 1")
        return f"its index {row[0]} is not valid" if row is not None else None


def first_line(error: BaseException) -> str:
    """What the driver says, on one line, without the places in our own statements."""
    cause = getattr(error, "orig", None) or error
    text = str(cause).strip()
    return text.splitlines()[0].rstrip(".") if text else type(cause).__name__


def state_of(error: BaseException) -> str | None:
    """The SQLSTATE that the server sent; None when the error is not the server's."""
    cause = getattr(error, "orig", None) or error
    return getattr(cause, "sqlstate", None)


def _kind(error: BaseException) -> str:
    state = state_of(error)
    return "" if state is None else state if state in _ADVICE else state[:2]


_ADVICE: Final = {
    "53": "The server is out of disk, memory or connections; free some and try again.",
    "25006": "The server is read-only, perhaps a standby: connect to the primary.",
    "28": "The server does not accept this user; check the credentials in the URL.",
    "3D": "There is no such database; create it, then `remit init`.",
    "42501": "This user lacks the rights; `remit init --grant-roles` gives them.",
    "55P03": "Another transaction holds what it needs; try again.",
    "57014": "The server took too long; try again.",
}


def _percent(query: str) -> str:
    return query.replace("%", "%%").replace("?", "%s")
