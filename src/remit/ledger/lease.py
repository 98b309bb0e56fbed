"""Leases: how one process knows whether another that wrote to the ledger still lives.

On SQLite a writer holds an exclusive flock on a file of its own for as long as it lives; the kernel lets go of it when
the process ends, however it ends. A writer whose file is missing is judged by process id, boot id and process start
time; where these cannot tell (another host, another process namespace) it counts as alive.

On PostgreSQL each of a writer's connections holds a shared advisory lock of its name. The server lets go of it when the
last of them is lost, which is not yet the end of the process: where process id, boot id and start time can tell, they
decide. A writer of another host is dead when nobody held its lock for `GRACE`, for it would have come back by then.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

GRACE: Final = 30.0
"""Seconds that a writer of another host has to come back after its connections were lost."""


class Process(NamedTuple):
    """What tells this process from every other one, also after its id was reused."""

    host: str
    pid: int
    pid_namespace: str
    boot_id: str
    start: str


def this_process() -> Process:
    """The calling process."""
    pid = os.getpid()
    return Process(socket.gethostname(), pid, _namespace(), _boot_id(), process_start(pid) or "")


def process_start(pid: int) -> str | None:
    """When a process of this host started, in clock ticks since boot (proc(5), field 22); None when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()[19]


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


class Lease(Protocol):
    """This writer's own lease, held until released or until the process ends."""

    def release(self) -> None:
        """Give the lease up: the writer has said that it stopped."""

    def forget(self) -> None:
        """In a forked child: let go of what is inherited, without giving up the lease of the parent."""


class FileLease:
    """A lock file."""

    def __init__(self, folder: Path, writer: str) -> None:
        self.path = lease_path(folder, writer)
        self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(self) -> None:
        """Give the lease up: the writer has said that it stopped."""
        self.path.unlink(missing_ok=True)
        self.forget()

    def forget(self) -> None:
        """Close the file without giving up the lease that a parent process holds through its own descriptor."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def lease_path(folder: Path, writer: str) -> Path:
    """Where a writer's lease lies."""
    return folder / f"{writer}.lease"


def is_dead(folder: Path, writer: str, said: Mapping[str, Any]) -> bool:
    """Whether nobody can hold this writer's lease any more. `said` is its row of table `writer`."""
    try:
        handle = os.open(lease_path(folder, writer), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return _process_is_gone(said)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _process_is_gone(said: Mapping[str, Any]) -> bool:
    here = this_process()
    if said.get("host") == here.host and here.boot_id and said.get("boot_id") != here.boot_id:
        return True  # the file lies on this host, which was started again since
    return _process_lives(said) is False


def _process_lives(said: Mapping[str, Any]) -> bool | None:
    """Whether a process of this very host and namespace still runs; None where that cannot be told from here."""
    here = this_process()
    if not here.boot_id or (said.get("host"), said.get("boot_id")) != (here.host, here.boot_id):
        return None
    if said.get("pid_namespace") != here.pid_namespace:
        return None
    return process_start(int(said["pid"])) == said.get("process_start")


# -- on a server


def lock_number(name: str) -> int:
    """The advisory lock of a name: 64 bits of its digest, signed as PostgreSQL's bigint is."""
    return int.from_bytes(hashlib.sha256(b"remit lock v1\n" + name.encode()).digest()[:8], signed=True)


class HeldLeases:
    """The writers of this process; each connection that it makes holds the locks of all of them."""

    def __init__(self) -> None:
        self._writers: dict[str, None] = {}

    def add(self, writer: str) -> None:
        """A writer begins."""
        self._writers[writer] = None

    def drop(self, writer: str) -> None:
        """A writer has said that it stopped."""
        self._writers.pop(writer, None)

    def writers(self) -> list[str]:
        """Those that began and did not stop."""
        return list(self._writers)


class ServerLease:
    """Advisory locks on the connections of this process."""

    def __init__(self, held: HeldLeases, writer: str) -> None:
        self._held = held
        self._writer = writer
        held.add(writer)

    def release(self) -> None:
        """No further connection takes the lock; those that hold it are about to be closed."""
        self._held.drop(self._writer)

    def forget(self) -> None:
        """The connections are the parent's."""
        self._held.drop(self._writer)


class Watch:
    """Which writers hold no lease on a server, and since when this process has seen that."""

    def __init__(self) -> None:
        self._free_since: dict[str, float] = {}
        self._lock = threading.Lock()

    def dead(self, running: Iterable[Mapping[str, Any]], held: Collection[int]) -> list[str]:
        """Of the rows of writers that run, the ids of those that are gone. `held` are the locks that anybody holds."""
        now = time.monotonic()
        found = []
        with self._lock:
            rows = {row["id"]: row for row in running}
            free = [writer for writer in rows if lock_number(writer) not in held]
            self._free_since = {writer: self._free_since.get(writer, now) for writer in free}
            for writer, row in rows.items():
                lives = _process_lives(row)  # a process that is gone is, whoever has inherited its sockets
                if lives is False or (lives is None and now - self._free_since.get(writer, now) >= GRACE):
                    found.append(writer)
        return found
