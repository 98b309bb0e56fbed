"""Verification of a long ledger, beside the same rows read and hashed and nothing else."""

from __future__ import annotations

import gc
import hashlib
import os
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from remit.ledger import Ledger
from remit.ledger.merkle import Frontier

BODIES = "SELECT record.body FROM leaf JOIN record USING (rid) ORDER BY leaf.idx"
ROWS = (
    "SELECT record.body, leaf.idx, record.id, record.writer, record.wseq, record.session, record.sseq, record.type,"
    " record.time FROM leaf JOIN record USING (rid) ORDER BY leaf.idx"
)
CHUNK = 4_096


class Auditor:
    """Everything that is timed, on one ledger."""

    def __init__(self, url: str, path: Path) -> None:
        self._url, self._path = url, path
        self.root = b""
        self.heads = 0

    def bare(self, query: str) -> Callable[[], None]:
        """Read rows, hash each leaf and each node of the tree: the hash loop that verification is measured against."""

        def loop() -> None:
            sha256, frontier = hashlib.sha256, Frontier()
            store = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)
            for rows in _chunks(store.execute(query)):
                frontier.extend([sha256(b"\x00" + row[0]).digest() for row in rows])
            store.close()
            self._same(frontier.root())

        return loop

    def at_once(self, count: int) -> Callable[[], None]:
        """`count` processes that read and hash everything, each for itself: what this machine has left for them."""

        def together() -> None:
            command = [sys.executable, "-c", _AT_ONCE, str(self._path), BODIES]
            running = [
                subprocess.Popen(command, env={**os.environ, "PYTHONPATH": ":".join(sys.path)}) for _ in range(count)
            ]
            if any(process.wait() for process in running):
                raise SystemExit("a process that only reads and hashes failed: this set-up measures nothing")

        return together

    def structure(self) -> None:
        """SQLite's own check of its file, which is a part of verification."""
        store = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)
        assert store.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",)
        store.close()

    def verify(self, jobs: int) -> Callable[[], None]:
        """`remit verify`, with every check that it makes."""

        def whole() -> None:
            with Ledger.open(self._url, writer=False) as ledger:
                found = ledger.verify(jobs=jobs)
            self.heads = found.checkpoints
            self._same(found.root)

        return whole

    def _same(self, root: bytes) -> None:
        if self.root and root != self.root:
            raise SystemExit("two ways to the same root give two: this set-up measures nothing")
        self.root = root


_AT_ONCE = """
import hashlib, sqlite3, sys
path, query = sys.argv[1:]
for body, in sqlite3.connect(f"file:{path}?mode=ro", uri=True).execute(query):
    left = hashlib.sha256(b"\\x00" + body).digest()
    hashlib.sha256(b"\\x01" + left + left).digest()
"""


def _chunks(cursor: sqlite3.Cursor) -> Iterator[list[Any]]:
    while rows := cursor.fetchmany(CHUNK):
        yield rows


def measure(auditor: Auditor, jobs: tuple[int, ...], rounds: int) -> dict[str, Any]:
    """Seconds by the clock and of CPU of each way, in turn."""
    ways: dict[str, Callable[[], None]] = {
        "bare_bodies": auditor.bare(BODIES),
        "bare_rows": auditor.bare(ROWS),
        "structure": auditor.structure,
        **{f"at_once_{count}": auditor.at_once(count) for count in jobs},
        **{f"verify_{count}": auditor.verify(count) for count in jobs},
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(rounds):
        for name in list(ways) if turn % 2 == 0 else reversed(list(ways)):
            gc.collect()
            wall, cpu = time.perf_counter(), time.process_time()
            ways[name]()
            found[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    seconds = {
        name: {
            "wall": statistics.median(one for one, _ in times),
            "cpu": statistics.median(one for _, one in times),
            "cpu_min": min(one for _, one in times),
            "wall_min": min(one for one, _ in times),
        }
        for name, times in found.items()
    }
    return {"heads": auditor.heads, "seconds": seconds}
