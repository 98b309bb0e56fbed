"""What a ledger needs of the place that its tables lie in, whichever database that is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Engine

from remit.errors import RemitError, UsageError
from remit.store.engine import SCHEME, SqliteStore

POSTGRES: tuple[str, ...] = ("postgresql+psycopg://", "postgresql://")


class Snapshot(Protocol):
    """One unchanging view of everything that is stored, for as long as it is open."""

    def one(self, query: str, parameters: Sequence[Any] = ()) -> Any:
        """The first row, or None. Placeholders are `?`, whichever the database."""

    def all(self, query: str, parameters: Sequence[Any] = ()) -> Iterator[Any]:
        """Rows as they are fetched, several queries at a time."""

    def tables(self) -> set[str]:
        """The names of the tables that are there."""

    def share(self) -> str | None:
        """What lets other connections have this very view, see `Store.snapshot`; None where that cannot be."""

    def damage(self) -> str | None:
        """What the database says is wrong with its own structure; None when it finds nothing."""


class Store(Protocol):
    """One place for one ledger."""

    sequences: bool
    """Whether records get their index in the transaction that appends them; else a sequencer gives it later."""

    relaxed: bool
    """Whether what writers commit does not wait for the disk: chosen by the deployment, and on record."""

    def __str__(self) -> str:
        """For sentences; without any password."""

    def default_home(self) -> Path:
        """The folder of keys and pin, where none is named."""

    def files(self) -> list[Path]:
        """Files of the database itself, which no agent may touch."""

    def exists(self) -> bool:
        """Whether there is anything there. Raises `UsageError` when that cannot be found out."""

    def reading_engine(self) -> Engine:
        """An engine whose connections cannot write."""

    def at_rest(self) -> bool:
        """Whether what is there cannot change: connections to it are not kept."""

    def unreadable(self, error: BaseException) -> RemitError:
        """What a failure to read means: `VerificationError`, or `EvidenceUnavailable` where nobody answers."""

    def snapshot(self, shared: str | None = None) -> AbstractContextManager[Snapshot]:
        """A view for the block; `shared` names one that is open elsewhere (`Snapshot.share`).

        Raises what `unreadable` says for whatever cannot be read.
        """


def store_of(url: str) -> Store:
    """The store behind a URL: `sqlite:///PATH` or `postgresql+psycopg://…`. Raises `UsageError`."""
    if url.startswith(POSTGRES):
        try:
            from remit.store.postgres import PostgresStore  # its driver comes with an extra
        except ImportError as error:
            raise UsageError('a ledger on PostgreSQL needs its driver: pip install "remit[postgres]"') from error
        return PostgresStore.of(url)
    if url.startswith(SCHEME):
        return SqliteStore.of(url)
    scheme = url.partition(":")[0]
    raise UsageError(f"cannot keep a ledger at {scheme}:…; expected sqlite:///PATH or postgresql+psycopg://HOST/NAME")


def shown(url: str) -> str:
    """A URL as it may be printed: without its password."""
    if not url.startswith(POSTGRES):
        return url
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        found = make_url(url)
    except (ArgumentError, ValueError):
        return url.partition("://")[0] + "://…"
    hidden = [name for name in found.query if "password" in name or name == "sslkey"]
    return found.difference_update_query(hidden).render_as_string(hide_password=True)
