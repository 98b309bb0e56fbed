"""Jobs on their way to the writer: who has them, who waits for them, and until when.

A job is queued, then running, then answered; or its caller gives up. Giving up on a queued job means that it never
runs. Giving up on a running one means that nobody can say whether it became durable.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from remit.errors import EvidenceUnavailable

if TYPE_CHECKING:
    from remit.ledger.txn import Txn

Job = Callable[["Txn"], Any]
"""Reads and appends within one transaction. It may be run a second time when the transaction of a batch failed."""

Late = Callable[["Txn", Any], Any]
"""Runs when a job became durable after its caller had given up on it; gets what the job returned."""


class State(Enum):
    """Where a job is."""

    QUEUED = 0
    RUNNING = 1
    ANSWERED = 2
    GIVEN_UP = 3


class Item:
    """One job with the place its answer goes to: a future, or the thread that waits for it."""

    __slots__ = ("_done", "_lock", "_state", "error", "expires", "future", "job", "late", "result", "watched")

    def __init__(self, job: Job, deadline: float, late: Late | None, future: Future[Any] | None) -> None:
        self.job = job
        self.expires = time.monotonic() + deadline
        self.late = late
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None
        self._state = State.QUEUED
        self._lock = threading.Lock()
        self._done = threading.Lock()
        self.watched = future is not None
        """Whether nobody looks after the deadline while waiting, so that `Deadlines` has to."""
        if future is None:
            self._done.acquire()

    @property
    def answered(self) -> bool:
        """Whether nobody waits for an answer any more."""
        return self._state in (State.ANSWERED, State.GIVEN_UP)

    @property
    def given_up(self) -> bool:
        """Whether its caller stopped waiting."""
        return self._state is State.GIVEN_UP

    # -- the writer's side

    def begin(self) -> bool:
        """Take the job on; False when its caller has given up, or its time has passed."""
        with self._lock:
            if self._state is not State.QUEUED:
                return self._state is State.RUNNING
            if time.monotonic() >= self.expires:
                return False
            if self.future is not None and not self.future.set_running_or_notify_cancel():
                self._state = State.GIVEN_UP
                return False
            self._state = State.RUNNING
            return True

    def answer(self, result: Any, error: BaseException | None) -> bool:
        """Hand over what the job came to; False when nobody waits for it any more."""
        with self._lock:
            if self._state in (State.ANSWERED, State.GIVEN_UP):
                return False
            self._state = State.ANSWERED
        if self.future is not None:
            if error is not None:
                self.future.set_exception(error)
            else:
                self.future.set_result(result)
            return True
        self.result, self.error = result, error
        self.hand_over()
        return True

    def hand_over(self) -> None:
        """Wake whoever waits."""
        self._done.release()

    # -- the caller's side

    def wait(self, why_queued: Callable[[], str]) -> Any:
        """The job's result. Raises what it raised, or `EvidenceUnavailable` when its time has passed."""
        try:
            patience = min(max(0.0, self.expires - time.monotonic()), threading.TIMEOUT_MAX)
            answered = self._done.acquire(timeout=patience)
        except BaseException:
            self.give_up(why_queued)  # the thread was interrupted: nobody will hear the answer
            raise
        if not answered:
            failure = self.give_up(why_queued)
            if failure is not None:
                raise failure
            self._done.acquire()
        if self.error is not None:
            raise self.error
        return self.result

    def give_up(self, why_queued: Callable[[], str]) -> EvidenceUnavailable | None:
        """Stop waiting; None when the answer is there already."""
        with self._lock:
            before = self._state
            if before in (State.ANSWERED, State.GIVEN_UP):
                return None
            self._state = State.GIVEN_UP
        if before is State.QUEUED:
            return EvidenceUnavailable(
                f"the ledger did not get to it in time ({why_queued()}); nothing was written, and nothing will be"
            )
        return EvidenceUnavailable(
            "the ledger began to write and did not come back in time; whether the record became durable is not known"
        )

    def expire(self, why_queued: Callable[[], str]) -> bool:
        """Give up on behalf of whoever holds the future; False when the answer is there already."""
        failure = self.give_up(why_queued)
        if failure is not None and self.future is not None:
            self.future.set_exception(failure)
        elif failure is not None:
            self.error = failure
            self.hand_over()
        return failure is not None


FOREVER: Final = float("inf")


class Deadlines:
    """Fails the futures whose time has passed, whatever the writer is stuck in. Sleeps while nothing can pass."""

    def __init__(self, why_queued: Callable[[], str], expired: Callable[[], None]) -> None:
        self._why_queued = why_queued
        self._expired = expired
        self._items: dict[Item, None] = {}
        self._wakes = FOREVER
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def watch(self, item: Item) -> None:
        """Look after one item until it is answered."""
        self._items[item] = None
        if item.expires < self._wakes:
            with self._condition:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="remit-deadlines", daemon=True)
                    self._thread.start()
                self._condition.notify()

    def forget(self, item: Item) -> None:
        """The item was answered."""
        self._items.pop(item, None)

    def stop(self) -> None:
        """End the thread; items that are left stay unanswered."""
        with self._condition:
            self._stopped = True
            self._condition.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        with self._condition:
            while not self._stopped:
                now = time.monotonic()
                left = list(self._items)
                for item in left:
                    if item.expires <= now:
                        self._items.pop(item, None)
                        if item.expire(self._why_queued):
                            self._expired()
                self._wakes = min((item.expires for item in left if item.expires > now), default=FOREVER)
                if any(item.expires < self._wakes for item in list(self._items)):
                    continue  # one arrived while this was reckoned
                self._condition.wait(None if self._wakes == FOREVER else max(0.0, self._wakes - now))
