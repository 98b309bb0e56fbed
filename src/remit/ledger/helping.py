"""Verification by several processes: who walks which stretch, who opens which payloads.

A helper is this interpreter once more, a process of its own, told over a pipe which store, which keys of the log, and,
where payloads are to be opened and the key for them is a plain one, that key. Each reads in transactions of its own. On
PostgreSQL all see the one exported snapshot. On SQLite a helper may see what was appended since, and is asked only for
what was there before: records never change, and what was erased since is settled by whoever asked.
"""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol

from remit.errors import RemitError, UsageError, VerificationError
from remit.ledger.epochs import LogKeys
from remit.ledger.forms import Forms
from remit.ledger.opening import open_payloads
from remit.ledger.payload import Sealer
from remit.ledger.walking import STRETCHES, Stretch, walk
from remit.ledger.wrapping import LocalKey
from remit.store.stores import Snapshot, Store

MAX_JOBS = 64
"""Processes that may help."""

PARTS = 4
"""Parts of the work for each process."""

Progress = Callable[[int, int], object]
"""Told how many records have been verified, and how many there are."""


class Helpers(Protocol):
    """Whoever does the work."""

    def damage(self, *, before: bool) -> str | None:
        """What the database says is wrong with its own structure, if this is the moment at which it is known."""

    def walk(self, total: int) -> Iterator[Stretch]:
        """The log's stretches, in order."""

    def open_payloads(self) -> set[str]:
        """See `remit.ledger.opening`."""


@contextmanager
def helpers(
    store: Store, view: Snapshot, keys: LogKeys, sealer: Sealer | None, jobs: int, progress: Progress | None
) -> Iterator[Helpers]:
    """This process alone, or a crew of `jobs`. Raises `UsageError`."""
    if not 1 <= jobs <= MAX_JOBS:
        raise UsageError(f"cannot verify with {jobs} jobs; expected 1 to {MAX_JOBS}")
    if jobs == 1:
        yield _Alone(view, keys, sealer, progress)
        return
    crew = _Crew(store, view, keys, sealer, jobs, progress)
    try:
        yield crew
    finally:
        crew.dismiss()


def _stretches(total: int, jobs: int) -> list[tuple[int, int]]:
    """Where stretches begin and end: several for each process, so that none is done long before the others."""
    least, most = STRETCHES
    length = min(most, max(least, 1 << (total // (jobs * PARTS)).bit_length()))
    return [(start, min(start + length, total)) for start in range(0, total, length)]


class _Alone:
    def __init__(self, view: Snapshot, keys: LogKeys, sealer: Sealer | None, progress: Progress | None) -> None:
        self._view, self._keys, self._sealer = view, keys, sealer
        self._progress = progress

    def damage(self, *, before: bool) -> str | None:
        return self._view.damage() if before else None

    def walk(self, total: int) -> Iterator[Stretch]:
        forms, progress = Forms(), self._progress
        step = None if progress is None else lambda index: progress(index, total)
        for start, stop in _stretches(total, 1):
            yield walk(self._view, start, stop, self._keys, forms, step)

    def open_payloads(self) -> set[str]:
        return open_payloads(self._view, self._sealer)


class _Crew:
    """Processes, and a thread for each of them that hands out work and waits for it."""

    def __init__(
        self,
        store: Store,
        view: Snapshot,
        keys: LogKeys,
        sealer: Sealer | None,
        jobs: int,
        progress: Progress | None,
    ) -> None:
        self._view, self._sealer, self._jobs, self._progress = view, sealer, jobs, progress
        local = sealer.wrapping if sealer is not None and isinstance(sealer.wrapping, LocalKey) else None
        self._opens = sealer is None or local is not None
        told = pickle.dumps((store, [epoch.text for epoch in keys.epochs], local, view.share()))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        for _ in range(jobs):
            process = _start(told)
            self._processes.append(process)
            self._idle.put(process)
        self._threads = ThreadPoolExecutor(jobs, "remit-verify")
        self._damage: Future[Any] = self._ask("damage")

    def _ask(self, *task: Any) -> Future[Any]:
        return self._threads.submit(self._do, task)

    def _do(self, task: tuple[Any, ...]) -> Any:
        process = self._idle.get()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            pickle.dump(task, process.stdin)
            process.stdin.flush()
            found = pickle.load(process.stdout)  # noqa: S301 - from our own child, over our own pipe
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise VerificationError(
                "a process that helped to verify ended before it was done; nothing is known"
            ) from error
        finally:
            self._idle.put(process)
        if isinstance(found, RemitError):
            raise found
        return found

    def damage(self, *, before: bool) -> str | None:
        found: str | None = None if before else self._damage.result()
        return found

    def walk(self, total: int) -> Iterator[Stretch]:
        for (_, stop), asked in [(bounds, self._ask("walk", *bounds)) for bounds in _stretches(total, self._jobs)]:
            yield asked.result()
            if self._progress is not None:
                self._progress(stop, total)

    def open_payloads(self) -> set[str]:
        if not self._opens:
            return open_payloads(self._view, self._sealer)  # the key service is reached from here
        low, gone = "", set[str]()
        asked = []
        for high in [*self._bounds(), _LAST]:
            asked.append(self._ask("payloads", low, high))
            low = high
        for part in asked:
            gone |= part.result()
        return gone

    def _bounds(self) -> list[str]:
        """Some record ids, in order, between which about as many records lie."""
        [total] = self._view.one("SELECT count(*) FROM leaf")
        parts = self._jobs * PARTS
        query = "SELECT record.id FROM leaf JOIN record USING (rid) WHERE leaf.idx = ?"
        return sorted({self._view.one(query, (total * part // parts,))[0] for part in range(1, parts)})

    def dismiss(self) -> None:
        """End the processes."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in self._processes:
            process.kill()
            process.wait()
        self._threads.shutdown()
        for process in self._processes:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


_PROGRAM = "from remit.ledger.helping import run; run()"

_LAST = "\U0010ffff"
"""After every record id."""


def _start(told: bytes) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(  # noqa: S603 - this interpreter, and a program that stands here
        [sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    assert process.stdin is not None
    process.stdin.write(told)
    process.stdin.flush()
    return process


def run() -> None:
    """What a helper does: one task after the other, until the pipe ends."""
    taken, given = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else prints does not end up in the answers
    store, texts, wrapping, shared = pickle.load(taken)  # noqa: S301 - from the process that started this one
    keys, forms = LogKeys.parse(texts), Forms()
    sealer = None if wrapping is None else Sealer(wrapping)
    while True:
        try:
            kind, *arguments = pickle.load(taken)  # noqa: S301
        except EOFError:
            return
        found: Any
        try:
            with store.snapshot(shared) as view:
                if kind == "damage":
                    found = view.damage()
                elif kind == "walk":
                    found = walk(view, arguments[0], arguments[1], keys, forms)
                else:
                    found = open_payloads(view, sealer, (arguments[0], arguments[1]))
        except RemitError as error:
            found = error
        pickle.dump(found, given, protocol=pickle.HIGHEST_PROTOCOL)
        given.flush()
