"""What happens to open ledgers when the process forks.

SQLite keeps locks in process memory that a forked child would inherit without holding them, so nothing of SQLite may
be open while a process forks. Every ledger closes its connections before and opens them again on the next use; in the
child it is a new writer that knows nothing of the parent's. What cannot be closed in time (a database that hangs) is
abandoned in the child: never used, never closed, because closing it there could delete what the parent still writes.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from typing import Any, Protocol

logger = logging.getLogger("remit.ledger")

_abandoned: list[Any] = []


class Forkable(Protocol):
    """Something that holds connections, locks or threads."""

    def before_fork(self) -> None:
        """Let go of whatever a child must not inherit, and stay so until one of the next two is called."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        """Become new: the parent's threads are gone, its locks are not ours."""


_live: weakref.WeakSet[Any] = weakref.WeakSet()
_lock = threading.Lock()
_paused: list[Forkable] = []


def register(forkable: Forkable) -> None:
    """Tell `forkable` about every fork for as long as it lives."""
    with _lock:
        _live.add(forkable)


def abandon(connection: object) -> None:
    """Keep an inherited connection from ever being closed in this process, at its end included."""
    import ctypes

    _abandoned.append(connection)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _before() -> None:
    _lock.acquire()
    for forkable in list(_live):
        _paused.append(forkable)
        try:
            forkable.before_fork()
        except Exception:  # the fork happens either way, and the others have to be closed, too
            logger.exception("a ledger could not be closed before this process forks")


def _after_in_parent() -> None:
    for forkable in _paused:
        forkable.after_fork_in_parent()
    _paused.clear()
    _lock.release()


def _after_in_child() -> None:
    for forkable in _paused:
        forkable.after_fork_in_child()
    _paused.clear()
    _lock.release()


os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
