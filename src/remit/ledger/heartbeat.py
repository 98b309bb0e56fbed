"""A heartbeat: while nothing happens, a writer says from time to time that it lives.

What a writer announces in `recorder.started` (`heartbeat`, in seconds) is how long it will be silent at most; with
every beat comes a signed head, which witnesses cosign. So silence shows: nobody was there, or records were taken out.
The thread sleeps until a beat is due, and begins anew in a forked child with its first record.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from remit.errors import RemitError
from remit.ledger import forks

if TYPE_CHECKING:
    from remit.ledger.ledger import Ledger

logger = logging.getLogger("remit.ledger")


class Heart:
    """The companion of a ledger that makes its writer say something after `interval` seconds of saying nothing."""

    def __init__(self, ledger: Ledger, interval: float) -> None:
        self._ledger = ledger
        self.interval = interval
        self._reset()
        forks.register(self)

    def _reset(self) -> None:
        self._starting = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._said = 0
        self._last = time.monotonic()

    def noticed(self) -> None:
        """Something became durable; whether this writer has said it, its count of records tells."""
        said = self._ledger.said
        if said == self._said:
            return
        self._said, self._last = said, time.monotonic()
        if self._thread is None:
            with self._starting:
                if self._thread is None and not self._stop.is_set():
                    self._thread = threading.Thread(target=self._run, name="remit-heartbeat", daemon=True)
                    self._thread.start()

    def hush(self) -> None:
        """No beat follows."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """Nothing is held."""
        self.hush()

    def _run(self) -> None:
        while not self._stop.wait(max(0.0, self._last + self.interval - time.monotonic())):
            if time.monotonic() < self._last + self.interval:
                continue
            try:
                self._ledger.beat()
            except RemitError as error:
                logger.error("a heartbeat could not be recorded: %s", error)
            self._last = time.monotonic()

    # -- forks: see remit.ledger.forks

    def before_fork(self) -> None:
        """The child has no thread; here everything goes on."""

    def after_fork_in_parent(self) -> None:
        """Everything goes on."""

    def after_fork_in_child(self) -> None:
        """The parent's thread is not here; this process's writer has said nothing yet."""
        self._reset()
