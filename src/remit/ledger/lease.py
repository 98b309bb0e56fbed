"""Leases: how one process knows whether another that wrote to the ledger still lives.

A writer holds an exclusive flock on a file of its own for as long as it lives; the kernel lets go of it when the
process ends, however it ends. A writer whose file is missing is judged by process id, boot id and process start time;
where these cannot tell (another host, another process namespace) it counts as alive.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


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


class Lease:
    """This writer's own lease, held until released or until the process ends."""

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
    if said.get("host") != here.host or not here.boot_id:
        return False
    if said.get("boot_id") != here.boot_id:
        return True
    if said.get("pid_namespace") != here.pid_namespace:
        return False
    return process_start(int(said["pid"])) != said.get("process_start")
