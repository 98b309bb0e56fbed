"""Hosts on one machine: each with a network, a name, process ids and a boot of its own, on a bridge that a server has.

Linux namespaces, by root only. Everything is gone when the process ends that called `enter`.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

from benchmarks.chaos.scene import forked

SERVER = "10.77.0.1"
"""Where the bridge, and whoever listens there, is reached."""

NAME = "agent"
"""What every host calls itself: two that share a name must not be taken for one."""

_NEWNS, _NEWUTS, _NEWPID, _NEWNET = 0x00020000, 0x04000000, 0x20000000, 0x40000000
_PR_SET_PDEATHSIG = 1
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_numbers = itertools.count()


def why_not() -> str | None:
    """Why hosts cannot be made here; None when they can."""
    if not sys.platform.startswith("linux"):
        return "namespaces are Linux's"
    if shutil.which("ip") is None or shutil.which("mount") is None:
        return "the programs `ip` (iproute2) and `mount` are needed"
    if os.geteuid() != 0:
        return "only root makes network namespaces"
    pid = os.fork()
    if not pid:
        try:
            _unshare(_NEWNET | _NEWUTS | _NEWPID | _NEWNS)
            done = subprocess.run(["ip", "link", "add", "x0", "type", "veth", "peer", "name", "x1"], check=False)
            os._exit(done.returncode)
        except OSError:
            os._exit(1)
    return "this kernel or container lets nobody make network namespaces" if os.waitpid(pid, 0)[1] else None


def enter() -> None:
    """Put the calling process into a network of its own, with a bridge for the hosts."""
    _unshare(_NEWNET | _NEWNS)
    _run("mount", "--make-rprivate", "/")
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "link", "add", "lan", "type", "bridge")
    _run("ip", "addr", "add", f"{SERVER}/24", "dev", "lan")
    _run("ip", "link", "set", "lan", "up")


class Host:
    """A machine, or a container of this one, that runs one program at a time."""

    def __init__(self, number: int, folder: Path) -> None:
        self.number = number
        self.address = f"10.77.0.{10 + number}"
        self.folder = folder
        self.home = folder / "home"
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, work: Callable[[], object], chance: random.Random) -> None:
        """Boot, and run `work` as its first process: a machine with another boot id, or a container without."""
        boot = str(uuid.UUID(int=chance.getrandbits(128), version=4)) if chance.random() < 0.5 else None
        told_read, told_write = os.pipe()
        go_read, go_write = os.pipe()
        self._outside = forked(lambda: _boot(work, self, boot, told_write, go_read))
        os.close(told_write)
        os.close(go_read)
        with os.fdopen(told_read) as told:
            self.pid = int(told.readline())
        self._link = f"v{next(_numbers)}"
        hardware = f"02:00:00:00:00:{10 + self.number:02x}"
        _run("ip", "link", "add", self._link, "type", "veth", "peer", "name", "eth0", "address", hardware,
             "netns", str(self.pid))  # fmt: skip
        _run("ip", "link", "set", self._link, "master", "lan", "up")
        os.write(go_write, b"!")
        os.close(go_write)

    def cut(self) -> None:
        """Take its network away. Neither side is told."""
        _run("ip", "link", "set", self._link, "nomaster", "down")

    def mend(self) -> None:
        """Give its network back."""
        _run("ip", "link", "set", self._link, "master", "lan", "up")

    def kill(self) -> None:
        """End every process of it at once; its kernel still says goodbye to the server."""
        with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self._outside, 0)

    def power_off(self) -> None:
        """End it so that nobody hears of it."""
        self.cut()
        self.kill()

    def status(self) -> int | None:
        """How its program ended by itself; None while it runs."""
        pid, status = os.waitpid(self._outside, os.WNOHANG)
        return status if pid else None


def _boot(work: Callable[[], object], host: Host, boot: str | None, told: int, go: int) -> None:
    """In a child: go apart, and run `work` in a child of that, which has process id 1 there."""
    _unshare(_NEWNET | _NEWUTS | _NEWPID | _NEWNS)
    pid = forked(lambda: _inside(work, host, boot, go))
    os.write(told, f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _inside(work: Callable[[], object], host: Host, boot: str | None, go: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.read(go, 1) != b"!":
        raise RuntimeError("nobody connected this host")
    _run("mount", "--make-rprivate", "/")
    _run("mount", "-t", "proc", "proc", "/proc")
    if boot is not None:
        said = host.folder / "boot_id"
        said.write_text(f"{boot}\n", encoding="ascii")
        _run("mount", "--bind", str(said), str(_BOOT_ID))
    name = NAME.encode()
    if ctypes.CDLL(None, use_errno=True).sethostname(name, len(name)):
        raise OSError(ctypes.get_errno(), "sethostname")
    _run("ip", "addr", "add", f"{host.address}/24", "dev", "eth0")
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "link", "set", "eth0", "up")
    work()


def _unshare(flags: int) -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(flags):
        raise OSError(ctypes.get_errno(), "unshare")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
