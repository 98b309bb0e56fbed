"""The writer: one thread per process that takes jobs from everybody and commits them in batches.

It starts with the first job. Callers wait until their job is durable; while one batch is being synced the next one
gathers. A caller whose deadline passes is told whether its job was never begun, or may yet become durable.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from remit.errors import EvidenceUnavailable, UsageError
from remit.ids import new_id
from remit.ledger.backends import Backend
from remit.ledger.batch import Batch, BatchFailed, Head, Stale
from remit.ledger.chain import RELAXED, Chain
from remit.ledger.jobs import FOREVER, Deadlines, Item, Job, Late
from remit.ledger.lost import Lost
from remit.ledger.records import Draft
from remit.ledger.txn import Txn
from remit.ledger.waking import Awaited
from remit.store.shapes import text_time

logger = logging.getLogger("remit.ledger")

MAX_JOBS: Final = 256
"""Jobs in one batch."""

MAX_BYTES: Final = 4 << 20
"""Bytes in one batch, after which no further job joins it."""

MAX_PASSES: Final = 3
"""How often the jobs of one transaction run on rows that turn out to have changed, before each is tried alone."""

MAX_TRIES: Final = 5
"""How often one job is tried when other processes come first."""

FORK_PATIENCE: Final = 10.0
"""Seconds that a fork waits for the batch in progress."""

CLOSE_PATIENCE: Final = 30.0
"""Seconds that closing waits for what is queued."""


class _Turn:
    """The jobs of one batch, one after the other: what they returned, what they raised."""

    __slots__ = ("_backend", "_batch", "_mark", "_now", "_time", "chain", "done", "failed")

    def __init__(self, backend: Backend, batch: Batch, chain: Chain, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._batch = batch
        self.chain = chain
        self._mark = chain.mark()
        self._now = chain.now(lambda: batch.now(clock), batch.newest)
        self._time = text_time(self._now)
        self.done: list[tuple[Item, Any]] = []
        self.failed: list[tuple[Item, BaseException]] = []

    def run(self, item: Item) -> None:
        """Run one job; what it wrote joins the batch, or, when it raised, is forgotten."""
        if not item.begin():
            return
        batch, chain = self._batch, self.chain
        mark = chain.mark()
        txn = Txn(batch, chain, self._now, self._time)
        try:
            result = item.job(txn)
            pending = txn.finish()
        except BatchFailed:
            raise
        except Exception as error:  # noqa: BLE001 - the caller's own error goes back to the caller
            txn.discard()
            chain.back_to(mark)
            self.failed.append((item, self._of_the_store(error)))
            return
        batch.absorb(pending)
        self.done.append((item, result))

    def undo(self) -> None:
        """The transaction is gone, and with it every job."""
        self.chain.back_to(self._mark)

    def _of_the_store(self, error: Exception) -> BaseException:
        """An error of the database within a job is the store's, not the caller's."""
        if isinstance(error, (SQLAlchemyError, *self._backend.errors)):
            return EvidenceUnavailable(f"the ledger could not be read or written within the transaction: {error}")
        return error


class Writer:
    """See the module's docstring. One per open ledger; after a fork the child's becomes a new writer."""

    def __init__(self, backend: Backend, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._clock = clock
        self._closed = False
        self._broken: EvidenceUnavailable | None = None
        self.announces: dict[str, Any] = {}
        """What `recorder.started` says beside process and store."""
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._queue: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._busy = threading.Lock()
        self._lost = Lost(self._clock)
        self._deadlines = Deadlines(self._why_queued, self._lost.count)
        self._batch = self._backend.batch()
        self._chain: Chain | None = None
        self._said_stopped = False
        self._former: list[Chain] = []
        self._paused = False

    # -- callers

    @property
    def id(self) -> str | None:
        """This writer's name; None before it has taken a job."""
        chain = self._chain
        return chain.writer if chain is not None and self._pid == os.getpid() else None

    @property
    def said(self) -> int:
        """How many records this writer has appended."""
        chain = self._chain
        return chain.wseq if chain is not None and self._pid == os.getpid() else 0

    @property
    def head(self) -> Head:
        """The newest head that this writer knows to be durable."""
        return self._batch.committed

    def run(self, job: Job, deadline: float, late: Late | None) -> Any:
        """Submit a job and wait for it."""
        item = Item(job, deadline, late, None)
        self._enqueue(item)
        try:
            return item.wait(self._why_queued)
        except EvidenceUnavailable:
            if item.given_up:
                self._lost.count()
            raise

    def submit(self, job: Job, deadline: float, late: Late | None) -> Future[Any]:
        """Submit a job; the future resolves once it is durable, or when its deadline has passed."""
        future: Future[Any] = Future()
        item = Item(job, deadline, late, future)
        self._deadlines.watch(item)
        try:
            self._enqueue(item)
        except BaseException:
            self._deadlines.forget(item)
            raise
        return future

    async def arun(self, job: Job, deadline: float, late: Late | None) -> tuple[Any, asyncio.CancelledError | None]:
        """Submit a job and wait for it as a task does, to the end, even when it is cancelled meanwhile."""
        item = Awaited(job, deadline, late)
        self._deadlines.watch(item)
        try:
            self._enqueue(item)
        except BaseException:
            self._deadlines.forget(item)
            raise
        return await item.answer_of()

    def _enqueue(self, item: Item) -> None:
        if self._closed:
            raise UsageError("the ledger was closed; open it again to record anything")
        if self._pid != os.getpid():
            self.after_fork_in_child()  # a fork that Python did not know of
        if self._broken is not None:
            raise EvidenceUnavailable(str(self._broken))
        thread = self._thread
        if thread is None or not thread.is_alive():
            self._start()
        elif threading.current_thread() is thread:
            raise UsageError("a job cannot wait for another job: use the transaction that it was given")
        self._queue.put(item)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._loop, name="remit-writer", daemon=True)
                self._thread.start()

    def _why_queued(self) -> str:
        if self._busy.locked():
            return f"it is stuck in a batch, or waits for {self._backend.waits_for}"
        return (
            "its thread is not running" if self._thread is None or not self._thread.is_alive() else "it is overloaded"
        )

    # -- the thread

    def _loop(self) -> None:
        while True:
            item = self._queue.get()
            if item is None:
                return
            with self._busy:
                try:
                    self._take_batch(item)
                except BaseException as error:
                    logger.exception("the writer failed in a way that it does not know")
                    self._unrecorded(item, EvidenceUnavailable(f"the writer failed: {type(error).__name__}: {error}"))

    def _take_batch(self, first: Item, *, alone: bool = False) -> None:
        items = [first]
        for tries in range(1, MAX_TRIES + 1):
            try:
                self._commit(items, limit=1 if alone or tries > 1 else MAX_JOBS)
            except BatchFailed as failed:
                if failed.race and tries < MAX_TRIES and (len(items) == 1 or tries == 1):
                    continue  # another process came first; what it did can be seen now
                self._failed(items, failed)
            return

    def _commit(self, items: list[Item], limit: int) -> None:
        """One transaction: begin, run these jobs and those that wait by now, commit, answer."""
        batch = self._batch
        batch.begin()
        turn: _Turn | None = None
        sure = self._backend.store.sequences  # what failed, failed for reasons that cannot have changed meanwhile
        try:
            for passes in range(1, MAX_PASSES + 1):
                turn = self._turn()
                if self._run(turn, items, limit if passes == 1 else 1):
                    sure = True
                    break
                turn.undo()
                if passes == MAX_PASSES:
                    raise BatchFailed(_OVERTAKEN, of_one_job=True, race=True)
                batch.again()
            batch.commit()
        except BaseException as error:
            batch.rollback()
            if turn is not None:
                turn.undo()
                self._answer([], turn.failed if sure else [])
            if isinstance(error, BatchFailed):
                raise
            told = error if isinstance(error, EvidenceUnavailable) else self._unavailable(error)
            raise BatchFailed(told) from error
        assert turn is not None
        turn.chain.settle()
        self._lost.recorded()
        self._answer(turn.done, turn.failed)

    def _turn(self) -> _Turn:
        chain = self._chain
        if chain is not None and chain.started and self._batch.buried(chain.writer):
            logger.warning(
                "writer %s was taken for dead by another process; this process goes on as a new one", self.id
            )
            self._former.append(chain)
            chain = None
        if chain is None:
            said: dict[str, Any] = {**self._backend.describe(), **self.announces}
            if self._backend.store.relaxed:
                said["durability"] = RELAXED
            chain = self._chain = Chain(self._batch.lease, said)
        return _Turn(self._backend, self._batch, chain, self._clock)

    def _run(self, turn: _Turn, items: list[Item], limit: int) -> bool:
        """Run every job, and those that wait by now; False when they have to run again on what others have done."""
        batch, at = self._batch, 0
        try:
            if self._lost.untold:
                turn.run(Item(self._lost.record, FOREVER, None, None))
            while True:
                while at < len(items):
                    turn.run(items[at])
                    at += 1
                full = len(items) >= limit or batch.ended or batch.written >= MAX_BYTES
                if full or self._next(items) is None:
                    return batch.confirm()
        except Stale:
            return False

    def _next(self, items: list[Item]) -> Item | None:
        try:
            item = self._queue.get_nowait()
        except queue.Empty:
            return None
        if item is None:
            self._queue.put(None)  # the end comes after this batch
            return None
        items.append(item)
        return item

    def _answer(self, done: Sequence[tuple[Item, Any]], failed: Sequence[tuple[Item, BaseException]]) -> None:
        for item, result in done:
            if not self._tell(item, result) and item.late is not None:
                self._run_late(item.late, result)
        for item, error in failed:
            self._tell(item, error=error)

    def _tell(self, item: Item, result: Any = None, error: BaseException | None = None) -> bool:
        if item.watched:
            self._deadlines.forget(item)
        return item.answer(result, error)

    def _run_late(self, late: Late, result: Any) -> None:
        future: Future[Any] = Future()
        future.add_done_callback(_log_failure)
        self._queue.put(Item(lambda txn: late(txn, result), FOREVER, None, future))

    def _failed(self, items: list[Item], failed: BatchFailed) -> None:
        """The transaction is gone. One job may be to blame for all: then every job is tried alone."""
        if failed.unknown:
            self._become_new(failed)
        elif failed.of_one_job and len(items) > 1:
            for item in items:
                if not item.answered:
                    self._take_batch(item, alone=True)
            return
        for item in items:
            self._unrecorded(item, failed.error)

    def _unrecorded(self, item: Item, error: EvidenceUnavailable) -> None:
        """A job came to nothing, and that is counted, unless its caller had given up, which was counted then."""
        if self._tell(item, error=error):
            self._lost.count()

    def _become_new(self, failed: BatchFailed) -> None:
        """Nobody knows whether the last records are in the log, so none may follow them in this writer's chain."""
        if self._chain is not None:
            self._former.append(self._chain)  # its lease is held on: tools that it permitted may still be running
            self._chain = None
        self._batch.close()
        if isinstance(failed.__cause__, EvidenceUnavailable):
            self._broken = failed.error

    def _unavailable(self, error: BaseException) -> EvidenceUnavailable:
        return EvidenceUnavailable(
            f"the ledger at {self._backend.store} cannot be written: {type(error).__name__}: {error}"
        )

    # -- closing

    def say_stopped(self) -> str | None:
        """Record that the writer stops, as `close` does, while jobs that append nothing still may follow.

        Returns the record's id; None where there was nothing to say.
        """
        if not self.said:
            return None
        record: str | None = self.run(self._stop, CLOSE_PATIENCE, None)
        self._said_stopped = True
        return record

    def close(self) -> None:
        """Commit what is queued, record that the writer stopped, and let go of everything."""
        if self._closed:
            return
        thread = self._thread
        if thread is None or self._pid != os.getpid() or not thread.is_alive():
            self._closed = True
            return
        stop = Item(self._stop, CLOSE_PATIENCE, None, None)
        self._queue.put(stop)
        self._closed = True
        self._queue.put(None)
        try:
            stop.wait(self._why_queued)
        except EvidenceUnavailable as error:
            if self._chain is not None:
                logger.warning(
                    "the end of writer %s could not be recorded; others will find it dead: %s", self.id, error
                )
        thread.join(CLOSE_PATIENCE)
        self._deadlines.stop()
        if not thread.is_alive():
            self._batch.close()
            for chain in [*self._former, *([self._chain] if self._chain else [])]:
                chain.lease.release()

    def _stop(self, txn: Txn) -> str | None:
        chain = self._chain
        if chain is not None and chain.started and not self._said_stopped:
            draft = Draft(new_id("r"), "recorder.stopped", None, {"records": chain.wseq + 1})
            txn.append(draft)
            txn.put("writer", chain.writer, state="stopped", stopped=txn.now)
            return draft.id
        return None

    # -- forks

    def before_fork(self) -> None:
        """Finish the batch in progress, and let go of what a child must not inherit."""
        self._starting.acquire()
        self._paused = self._busy.acquire(timeout=FORK_PATIENCE)
        if self._paused:
            self._batch.before_fork()

    def after_fork_in_parent(self) -> None:
        """Go on; the next batch opens the database again."""
        if self._paused:
            self._busy.release()
        self._starting.release()

    def after_fork_in_child(self) -> None:
        """Become a new writer that has nothing of the parent's."""
        hung = not self._paused
        self._batch.abandon()
        for chain in [*self._former, *([self._chain] if self._chain else [])]:
            chain.lease.forget()
        self._reset()
        if hung:
            self._broken = EvidenceUnavailable(
                "this process was forked while the database did not answer; nothing is recorded from it"
            )


def _log_failure(future: Future[Any]) -> None:
    error = future.exception()
    if error is not None:
        logger.error("what should follow a job whose caller had given up could not be recorded: %s", error)


_OVERTAKEN: Final = EvidenceUnavailable(
    "other processes keep changing what this depends on; nothing was written, and trying again is safe"
)
