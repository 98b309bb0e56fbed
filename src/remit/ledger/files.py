"""Small files in a ledger's home: appear whole or not at all, readable by their owner only; and locks on files."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from remit.errors import UsageError


def write_new(path: Path, content: bytes) -> bool:
    """Write a file that does not exist yet; False, and nothing changed, when it does."""
    draft = _write_draft(path, content)
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    _sync_folder(path.parent)
    return True


def replace(path: Path, content: bytes) -> None:
    """Put `content` in the place of whatever `path` holds, in one step that survives a crash."""
    _write_draft(path, content).replace(path)
    _sync_folder(path.parent)


def move(source: Path, target: Path) -> None:
    """Put the file `source` in the place of `target`, in one step that survives a crash."""
    source.replace(target)
    _sync_folder(target.parent)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive flock on `path` (created where missing) for the block."""
    handle = open_lock(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def open_lock(path: Path) -> int:
    """A file descriptor of a lock file, created where missing. Raises `UsageError` when that cannot be."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"cannot open the lock file {path}: {error.strerror}") from error


def make_folder(path: Path) -> None:
    """Create a folder that only its owner may enter, where missing. Raises `UsageError`."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise UsageError(f"cannot create the folder {path}: {error.strerror}") from error


def _write_draft(path: Path, content: bytes) -> Path:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return draft


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
