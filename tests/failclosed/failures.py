"""Real failures of real storage: each is a block, inside which nothing can be recorded, and which mends at its end."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import timedelta
from pathlib import Path

from remit.testing import Clock
from tests.postgres import Server

Fails = Callable[["Place"], AbstractContextManager[None]]
"""A failure: a block in which storage fails."""

HOLDS = """
import fcntl, os, sys
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(handle, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


class Place:
    """Where one row of the table keeps its ledger: a folder, or a database of a server."""

    def __init__(self, folder: Path, clock: Clock, server: Server | None, database: str = "") -> None:
        self.folder = folder
        self.clock = clock
        self._server = server
        self.name = database
        self.database = folder / "remit.db"
        self.home = folder / "home"

    @property
    def url(self) -> str:
        """As `remit.open` takes it."""
        return self._server.url(self.name) if self._server is not None else f"sqlite:///{self.database}"

    @property
    def server(self) -> Server:
        """The PostgreSQL server."""
        assert self._server is not None
        return self._server


# -- files


@contextmanager
def disk_full(place: Place) -> Iterator[None]:
    """No file grows beyond what the write-ahead log has now: what a full disk says to it."""
    size = Path(f"{place.database}-wal").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def unlinked(name: str) -> Fails:
    """A file is deleted; SQLite itself would go on and report success. (Kept aside, to be restored.)"""

    @contextmanager
    def fails(place: Place) -> Iterator[None]:
        path = _path(place, name)
        aside = path.with_name(path.name + ".aside")
        os.link(path, aside)
        path.unlink()
        try:
            yield
        finally:
            aside.replace(path)

    return fails


def replaced(name: str) -> Fails:
    """Another file is put in the place of one that is open."""

    @contextmanager
    def fails(place: Place) -> Iterator[None]:
        path = _path(place, name)
        aside = path.with_name(path.name + ".aside")
        path.rename(aside)
        shutil.copy(aside, path)
        try:
            yield
        finally:
            aside.replace(path)

    return fails


def _path(place: Place, name: str) -> Path:
    return {
        "database": place.database,
        "log": Path(f"{place.database}-wal"),
        "lock": place.home / "locks" / "commit.lock",
    }[name]


@contextmanager
def locked(place: Place) -> Iterator[None]:
    """Another program holds a transaction open, as a forgotten database browser does."""
    with closing(sqlite3.connect(place.database, isolation_level=None)) as browser:
        browser.execute("BEGIN IMMEDIATE")
        yield
        browser.execute("ROLLBACK")


@contextmanager
def hanging(place: Place) -> Iterator[None]:
    """Another process holds the commit lock and is stopped in the middle of it."""
    lock = str(_path(place, "lock"))
    command = [sys.executable, "-c", HOLDS, lock]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGSTOP)
        yield
    finally:
        holder.kill()
        holder.communicate()


# -- a server


@contextmanager
def server_down(place: Place) -> Iterator[None]:
    """The server is killed, as a crash of its machine would."""
    place.server.stop(signal.SIGQUIT)
    try:
        yield
    finally:
        place.server.start()


@contextmanager
def server_hanging(place: Place) -> Iterator[None]:
    """The server takes connections and answers nothing."""
    place.server.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        place.server.signal(signal.SIGCONT)


@contextmanager
def server_locked(place: Place) -> Iterator[None]:
    """Somebody holds the table of records."""
    with place.server.connect(place.name) as browser:
        browser.execute("BEGIN")
        browser.execute("LOCK TABLE record IN ACCESS EXCLUSIVE MODE")
        yield
        browser.execute("ROLLBACK")


@contextmanager
def server_read_only(place: Place) -> Iterator[None]:
    """The server became a standby, or was told to take no writes."""
    place.server.execute(f"ALTER DATABASE {place.name} SET default_transaction_read_only = on")
    _lose_connections(place)
    try:
        yield
    finally:
        with place.server.connect() as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f"ALTER DATABASE {place.name} RESET default_transaction_read_only")
        _lose_connections(place)


@contextmanager
def connection_lost(place: Place) -> Iterator[None]:
    """Every connection ends, and no new one is let in."""
    place.server.execute(f"ALTER DATABASE {place.name} ALLOW_CONNECTIONS false")
    _lose_connections(place)
    try:
        yield
    finally:
        place.server.execute(f"ALTER DATABASE {place.name} ALLOW_CONNECTIONS true")


def _lose_connections(place: Place) -> None:
    query = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{place.name}'"
    place.server.execute(query)


# -- time


@contextmanager
def clock_back(place: Place) -> Iterator[None]:
    """The clock is far behind the last record: what would be written would prove nothing."""
    before = place.clock.now
    place.clock.now = before - timedelta(hours=1)
    try:
        yield
    finally:
        place.clock.now = before
