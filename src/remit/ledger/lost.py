"""What could not be recorded is counted, and the count becomes a record once writing works again.

A caller who is told `EvidenceUnavailable` runs nothing, or has run something whose outcome is owed. Either way the log
has a hole where their record would be, and whoever reads it later has to see where, and how large it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from remit.ids import new_id
from remit.ledger.records import Draft
from remit.store.shapes import text_time

if TYPE_CHECKING:
    from remit.ledger.txn import Txn


class Lost:
    """How many records one process has given up so far: it only ever grows. `clock` says when."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._total = 0
        self._told = 0
        self._telling = 0
        self._first: datetime | None = None
        self._last: datetime | None = None

    @property
    def untold(self) -> int:
        """How many are in no record yet."""
        return self._total - self._told

    def count(self) -> None:
        """One more caller was told that nothing was recorded, or that nobody knows whether it was."""
        now = self._clock()
        with self._lock:
            self._total += 1
            self._last = now
            if self._first is None:
                self._first = now

    def record(self, txn: Txn) -> None:
        """Append `recorder.gap`, at the head of a batch that may still fail."""
        with self._lock:
            self._telling = self._total
            assert self._first is not None
            assert self._last is not None
            data: dict[str, Any] = {
                "lost": self._telling - self._told,
                "total": self._telling,
                "first": text_time(self._first),
                "last": text_time(self._last),
            }
        txn.append(Draft(new_id("r"), "recorder.gap", None, data))

    def recorded(self) -> None:
        """The batch is durable."""
        with self._lock:
            if self._telling > self._told:
                self._told = self._telling
                if self._told == self._total:
                    self._first = None
