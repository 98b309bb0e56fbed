"""Recovering goes on: a process that runs for weeks also settles what others leave that die meanwhile.

What is dead of the processes of this host shows at once. A writer of another host may only have lost its connections,
so it is dead when it was gone for a while (`remit.ledger.lease`), which takes somebody who looks more than once.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from remit import recovery
from remit.errors import RemitError
from remit.ledger import forks

if TYPE_CHECKING:
    from remit.deployment import Deployment

logger = logging.getLogger("remit")

EVERY: Final = 10.0
"""Seconds between two looks for writers that are gone."""


class Burying:
    """The companion of a ledger (`remit.ledger.companions`) that recovers again and again, once sessions open here."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._reset()
        forks.register(self)
        deployment.ledger.company.join(self)

    def _reset(self) -> None:
        self._starting = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def noticed(self) -> None:
        """Something became durable: from now on this process looks after the others."""
        if self._thread is None and self._deployment.ledger.said:
            with self._starting:
                if self._thread is None and not self._stop.is_set():
                    self._thread = threading.Thread(target=self._run, name="remit-recovery", daemon=True)
                    self._thread.start()

    def hush(self) -> None:
        """Nothing is recovered any more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """Nothing is held."""
        self.hush()

    def look(self) -> None:
        """Recover, as far as that can be done now."""
        try:
            recovery.recover(self._deployment)
        except RemitError as error:
            logger.warning("what other processes left could not be settled, and is tried again: %s", error)

    def _run(self) -> None:
        while not self._stop.wait(EVERY):
            self.look()

    # -- forks: see remit.ledger.forks

    def before_fork(self) -> None:
        """The child has no thread; here everything goes on."""

    def after_fork_in_parent(self) -> None:
        """Everything goes on."""

    def after_fork_in_child(self) -> None:
        """The parent's thread is not here; it begins anew with this process's first record."""
        self._reset()


__all__ = ["Burying"]
