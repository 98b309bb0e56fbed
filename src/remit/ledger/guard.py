"""Whether the files that were opened are still the files that the paths lead to.

SQLite in WAL mode goes on committing, and reports success, after its files were deleted or replaced: what it writes is
lost. So the paths are compared with what was opened, before each commit and again before it is acknowledged.
"""

from __future__ import annotations

import os
from pathlib import Path

from remit.errors import EvidenceUnavailable


class FileGuard:
    """Remembers device and inode of a ledger's files."""

    def __init__(self, database: Path, lock: Path, lock_handle: int) -> None:
        held = os.fstat(lock_handle)
        self._files: list[tuple[str, int, int]] = [(str(lock), held.st_dev, held.st_ino)]
        self._database = str(database)
        self.add(database)

    def add(self, path: Path) -> None:
        """Watch a file as it is now. Raises `EvidenceUnavailable` when it is not there."""
        found = _stat(str(path))
        self._files.append((str(path), found.st_dev, found.st_ino))

    def watch_log(self) -> None:
        """Watch the write-ahead log and its index, which SQLite has made by the first transaction."""
        for suffix in ("-wal", "-shm"):
            self.add(Path(self._database + suffix))

    def check(self) -> None:
        """Raises `EvidenceUnavailable` when a file is gone, or is another one than was opened."""
        for path, device, inode in self._files:
            found = _stat(path)
            if found.st_ino != inode or found.st_dev != device:
                raise EvidenceUnavailable(
                    f"{path} was replaced while the ledger was open; what is written now would be lost. "
                    "Stop every process that uses the ledger, find out who did this, and open it again"
                )


def _stat(path: str) -> os.stat_result:
    try:
        return os.stat(path)  # noqa: PTH116 - eight of these are on the way of every commit
    except OSError as error:
        raise EvidenceUnavailable(
            f"{path} is gone ({error.strerror}) while the ledger is open; what is written now would be lost. "
            "Stop every process that uses the ledger, restore the file, and open it again"
        ) from error
