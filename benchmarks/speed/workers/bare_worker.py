"""The bare limits: a predicate by hand, and SQLite alone taking the bytes of Remit's leaves with a group commit.

The writer below is what remains of a ledger when everything is taken away but durability: WAL, `synchronous=FULL`,
one thread, as many waiting bodies per commit as Remit's own writer takes, one table of one blob. No tree, no
signature, no index, no read model, no payload. A call is two appends, as with Remit: the caller waits for the first
commit, runs the tool, and waits for the second.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import queue
import sqlite3
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import serving
from workload import CALLS, predicate, refund

BATCH = 256
"""Bodies in one commit at most, as `MAX_JOBS` in `remit.ledger.writer`."""

Waiting = Any  # a locked `threading.Lock`, or a future of an event loop
folder = Path(tempfile.mkdtemp(dir=sys.argv[1]))


class GroupCommit:
    """One thread, one connection; a body is acknowledged when the commit that holds it has returned."""

    def __init__(self, path: Path) -> None:
        self._queue: queue.SimpleQueue[tuple[bytes, Waiting]] = queue.SimpleQueue()
        self._path = path
        threading.Thread(target=self._write, daemon=True).start()

    def append(self, body: bytes) -> None:
        """Wait, as a thread, until `body` is durable."""
        done = threading.Lock()
        done.acquire()
        self._queue.put((body, done))
        done.acquire()

    async def aappend(self, body: bytes) -> None:
        """Wait, as a task, until `body` is durable."""
        done = asyncio.get_running_loop().create_future()
        self._queue.put((body, done))
        await done

    def _write(self) -> None:
        store = sqlite3.connect(self._path, isolation_level=None)
        store.execute("PRAGMA journal_mode=WAL")
        store.execute("PRAGMA synchronous=FULL")
        store.execute("CREATE TABLE record (rid INTEGER PRIMARY KEY, body BLOB NOT NULL)")
        while True:
            batch = [self._queue.get()]
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get())
            store.execute("BEGIN IMMEDIATE")
            store.executemany("INSERT INTO record (body) VALUES (?)", [(body,) for body, _ in batch])
            store.execute("COMMIT")
            futures = [done for _, done in batch if isinstance(done, asyncio.Future)]
            if futures:  # one wake-up of the loop for the whole batch
                futures[0].get_loop().call_soon_threadsafe(_resolve, futures)
            for _, done in batch:
                if not isinstance(done, asyncio.Future):
                    done.release()


def _resolve(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        future.set_result(None)


bodies: list[tuple[bytes, bytes]] = [(b"i" * 1400, b"o" * 900)]
writer = GroupCommit(folder / "bare.db")


def load(asked: serving.Mapping[str, Any]) -> dict[str, Any]:
    """Take the leaves of real calls, as pairs of intent and outcome, from the file that Remit's worker wrote."""
    pairs = json.loads(Path(asked["path"]).read_text("utf-8"))
    bodies[:] = [(base64.b64decode(intent), base64.b64decode(outcome)) for intent, outcome in pairs]
    sizes = [len(intent) + len(outcome) for intent, outcome in bodies]
    return {"bytes": sum(sizes) / len(sizes)}


def one(n: int) -> object:
    intent, outcome = bodies[n % len(bodies)]
    writer.append(intent)
    result = refund(**CALLS[n & 63])
    writer.append(outcome)
    return result


async def aone(n: int) -> object:
    intent, outcome = bodies[n % len(bodies)]
    await writer.aappend(intent)
    result = refund(**CALLS[n & 63])
    await writer.aappend(outcome)
    return result


def by_hand(n: int) -> object:
    arguments = CALLS[n & 63]
    if not predicate(arguments):
        raise PermissionError
    return arguments


def fsync(asked: serving.Mapping[str, Any]) -> dict[str, Any]:
    """One append of 1 KiB and one `fsync`, ms: what this disk asks for durability at all."""
    handle = os.open(folder / "fsync", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    found = []
    for _ in range(asked["calls"]):
        os.write(handle, b"x" * 1024)
        began = time.perf_counter_ns()
        os.fsync(handle)
        found.append((time.perf_counter_ns() - began) / 1e6)
    os.close(handle)
    return {"ms": found}


if __name__ == "__main__":
    serving.serve(
        {
            "load": load,
            "fsync": fsync,
            "decide": lambda asked: serving.latencies(by_hand, asked["calls"]),
            "off": lambda asked: serving.cost(by_hand, asked["calls"]),
            "solo": lambda asked: serving.cost(one, asked["calls"]),
            "threads": lambda asked: serving.threads(one, asked["callers"], asked["calls"]),
            "tasks": lambda asked: serving.tasks(aone, asked["callers"], asked["calls"]),
        },
        {"name": "bare", "version": f"SQLite {sqlite3.sqlite_version}"},
    )
