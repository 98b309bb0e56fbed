"""Where the files of a bundle go: a folder, or one zip. Whole or not at all, and never over anything."""

from __future__ import annotations

import hashlib
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from remit.errors import UsageError
from remit.remit_verify import write_zip


class Sink(ABC):
    """Takes files, and knows their digests."""

    def __init__(self) -> None:
        self.listed: dict[str, dict[str, Any]] = {}

    def put(self, name: str, content: bytes, *, listed: bool = True) -> None:
        """One file; in the manifest, unless it vouches for that."""
        if listed:
            self.listed[name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        self._write(name, content)

    @abstractmethod
    def _write(self, name: str, content: bytes) -> None:
        """Put the bytes where they belong."""


class _Folder(Sink):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._made: set[Path] = set()

    def _write(self, name: str, content: bytes) -> None:
        target = self._path / name
        if target.parent not in self._made:
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._made.add(target.parent)
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)


class _Zip(Sink):
    def __init__(self) -> None:
        super().__init__()
        self.content: dict[str, bytes] = {}

    def _write(self, name: str, content: bytes) -> None:
        self.content[name] = content


@contextmanager
def sink(out: Path) -> Iterator[Sink]:
    """Files go to the folder `out`, or to one zip where the name ends in `.zip`. It appears when the block ends.

    Raises `UsageError` when something is there already, or cannot be written.
    """
    if out.exists() or out.is_symlink():
        raise UsageError(f"{out} exists already; a bundle is never written over anything")
    draft = out.with_name(f".{out.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        if out.suffix == ".zip":
            zipped = _Zip()
            yield zipped
            _write_zip(zipped, draft)
        else:
            draft.mkdir(mode=0o700)
            yield _Folder(draft)
        draft.rename(out)
    except OSError as error:
        raise UsageError(f"cannot write a bundle to {out}: {error.strerror}") from error
    finally:
        if draft.is_dir():
            shutil.rmtree(draft)
        elif draft.exists():
            draft.unlink()


def _write_zip(zipped: _Zip, draft: Path) -> None:
    try:
        raw = write_zip(zipped.content)
    except ValueError as error:
        raise UsageError("this is too much for one zip; name a folder instead") from error
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(raw)


__all__ = ["Sink", "sink"]
