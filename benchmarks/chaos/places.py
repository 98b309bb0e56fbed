"""Where the ledger lies that processes are killed over, and what can be struck beside those processes."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any, ClassVar, Protocol

PATIENCE = 60.0
"""Seconds that a server has to come back."""


class Place(Protocol):
    """A store for a run."""

    home: Path
    strikes: dict[str, int]
    """What is struck, and how often in relation to the others."""
    version: str

    def url(self, name: str = "chaos") -> str:
        """The ledger, for a process of this name."""

    def leader(self, names: Collection[str]) -> str | None:
        """Which of these processes gives records their index now, where one is elected."""

    def strike(self, what: str, chance: random.Random) -> int:
        """Strike at the store itself. Returns how many processes were killed."""

    def remove(self) -> None:
        """Leave nothing of it."""


class Sqlite:
    """A file. Whoever commits gives the index, so every process that is killed is a writer and a sequencer."""

    strikes: ClassVar = {"process": 1}

    def __init__(self, folder: Path) -> None:
        import sqlite3

        self.home = folder / "home"
        self.version = f"SQLite {sqlite3.sqlite_version}"
        self._path = folder / "chaos.db"

    def url(self, name: str = "chaos") -> str:
        """The same for all."""
        return f"sqlite:///{self._path}"

    def leader(self, names: Collection[str]) -> str | None:
        """Nobody is elected."""
        return None

    def strike(self, what: str, chance: random.Random) -> int:
        """Only processes are struck."""
        raise ValueError(what)

    def remove(self) -> None:
        """The folder goes with the run."""


class Postgres:
    """A server of its own, started here, killed here."""

    strikes: ClassVar = {"process": 8, "leader": 8, "connection": 3, "backend": 2, "server": 3}

    def __init__(self, folder: Path) -> None:
        from tests.postgres import Server

        self.home = folder / "home"
        self.server = Server()
        self.server.execute("CREATE DATABASE chaos")
        [(version,)] = self.server.execute("SHOW server_version")
        self.version = f"PostgreSQL {version}"

    def url(self, name: str = "chaos") -> str:
        """With the name of the process, by which the server knows its connections."""
        return f"{self.server.url('chaos')}&application_name={name}"

    def leader(self, names: Collection[str]) -> str | None:
        """Whose connection holds the lock of the sequencer that was elected."""
        from remit.ledger.sequencer import LEADER

        high, low = (LEADER >> 32) & 0xFFFFFFFF, LEADER & 0xFFFFFFFF
        found = self.server.execute(
            "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory'"
            f" AND granted AND objsubid = 1 AND classid = {high} AND objid = {low}"
        )
        return next((name for (name,) in found if name in names), None)

    def strike(self, what: str, chance: random.Random) -> int:
        """Cut connections in order, kill what serves one (so that the server resets all), or kill the server."""
        if what == "server":
            return self._kill_server(chance)
        backends = [pid for (pid,) in self.server.execute(_BACKENDS)]
        chosen = chance.sample(backends, min(len(backends), 1 if what == "backend" else chance.randrange(1, 4)))
        if what == "connection":
            for pid in chosen:
                self.server.execute(f"SELECT pg_terminate_backend({pid})")
            return 0
        for pid in chosen:
            os.kill(pid, signal.SIGKILL)
        self._answers()
        return len(chosen)

    def _kill_server(self, chance: random.Random) -> int:
        """SIGKILL for the process that everything descends from, half the time for all of them; then start again."""
        pid = self.server.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        whole = chance.random() < 0.5
        for victim in (pid, *(map(int, children) if whole else ())):
            _kill(victim)
        self.server.stop(signal.SIGKILL)
        time.sleep(chance.random() * 0.3)
        self._again()
        return 1

    def _again(self) -> None:
        """Start; as long as a process of the killed server lives, the new one refuses to."""
        import psycopg

        until = time.monotonic() + PATIENCE
        while True:
            try:
                self.server.start()
            except psycopg.OperationalError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
            else:
                return

    def _answers(self) -> None:
        import psycopg

        until = time.monotonic() + PATIENCE
        while True:
            try:
                self.server.execute("SELECT 1")
            except psycopg.OperationalError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)
            else:
                return

    def remove(self) -> None:
        """The server, its files included."""
        self.server.remove()


_BACKENDS = (
    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = 'chaos'"
    " AND pid <> pg_backend_pid()"
)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def place_of(store: str, folder: Path) -> Any:
    """A place for a run on `store`: sqlite or postgres."""
    return Postgres(folder) if store == "postgres" else Sqlite(folder)
