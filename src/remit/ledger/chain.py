"""What one writer knows of itself: its name, its sequence, its last leaf, its place in each session."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from remit.errors import EvidenceUnavailable
from remit.ids import new_id
from remit.ledger.lease import Lease, Process, this_process
from remit.store.shapes import text_time

if TYPE_CHECKING:
    from remit.ledger.batch import Batch

MAX_CLOCK_LAG: Final = timedelta(minutes=5)
"""How far the clock may be behind the newest record before nothing is written any more."""

RELAXED: Final = "relaxed"
"""The durability of a writer that does not wait for the disk; every other waits."""

MAX_SESSIONS: Final = 10_000
"""Sessions whose sequence numbers are kept in memory; others are looked up."""


_BEFORE_ALL: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Mark(NamedTuple):
    """A point to go back to when a job fails."""

    wseq: int
    prev: str
    started: bool
    time: datetime
    touched: int


class Chain:
    """One writer: a process, or what follows it after a fork. Sequence numbers begin at 0 and have no gaps."""

    def __init__(self, lease: Callable[[str], Lease], store: Mapping[str, Any]) -> None:
        self.writer = new_id("w")
        self.lease = lease(self.writer)
        self._store = store
        self.process: Process = this_process()
        self.started = False
        self._wseq = 0
        self._prev = ""
        self._time = _BEFORE_ALL
        self._began = time.monotonic_ns()
        self._sessions: dict[str, int] = {}
        self._touched: list[tuple[str, int]] = []
        self._forgot = False

    # -- time

    def now(self, clock: Callable[[], datetime], newest: datetime | None) -> datetime:
        """The time of the next job: the clock's, and never before this writer's last.

        `newest` is the time of the ledger's newest record. Raises `EvidenceUnavailable` when the clock is far behind.
        """
        said = clock()
        last = self._time if newest is None else max(self._time, newest)
        if said + MAX_CLOCK_LAG < last:
            raise EvidenceUnavailable(
                f"the clock says {text_time(said)}, but the ledger's newest record is of {text_time(last)}; "
                "set the clock right, because evidence with a wrong time is worse than none"
            )
        return max(said, self._time)

    def mono(self) -> int:
        """Nanoseconds since this writer began, by the monotonic clock."""
        return time.monotonic_ns() - self._began

    # -- sequence

    @property
    def wseq(self) -> int:
        """The sequence number of this writer's next record."""
        return self._wseq

    @property
    def prev(self) -> str:
        """The leaf hash of this writer's last record, in hex; empty before its first."""
        return self._prev

    def place(self, session: str, batch: Batch) -> int:
        """This writer's next sequence number in `session`."""
        found = self._sessions.get(session)
        if found is None and self._forgot:
            last = batch.last_in_session(session, self.writer)
            return 0 if last is None else last + 1
        return found or 0

    def advance(self, leaf: bytes, moment: datetime, session: str | None, sseq: int | None) -> None:
        """A record was appended."""
        self._wseq += 1
        self._prev = leaf.hex()
        self._time = moment
        if session is not None and sseq is not None:
            self._touched.append((session, self._sessions.get(session, -1)))
            self._sessions[session] = sseq + 1

    # -- going back

    def mark(self) -> Mark:
        """A point to go back to."""
        return Mark(self._wseq, self._prev, self.started, self._time, len(self._touched))

    def back_to(self, mark: Mark) -> None:
        """Forget what was appended after `mark`."""
        self._wseq, self._prev, self.started, self._time, kept = mark
        while len(self._touched) > kept:
            session, before = self._touched.pop()
            if before < 0:
                self._sessions.pop(session, None)
            else:
                self._sessions[session] = before

    def settle(self) -> None:
        """The batch is durable: no mark before this moment is gone back to."""
        self._touched.clear()
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.clear()
            self._forgot = True

    def describe(self) -> dict[str, Any]:
        """The data of `recorder.started`."""
        return {
            "boot": self.process.boot_id,
            "host": self.process.host,
            "namespace": self.process.pid_namespace,
            "pid": self.process.pid,
            "start": self.process.start,
            **self._store,
        }
