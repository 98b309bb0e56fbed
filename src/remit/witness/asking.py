"""Having a ledger's heads cosigned: one round after the other, always for the newest head, until enough agree.

```
(1) wait     for a head that is newer than the last one that was cosigned; at most one round a `pace`, unless a call
             waits for its record to be witnessed; longer after rounds that failed; the same head again when idle
(2) ask      every witness at once, with a proof from the head that it cosigned last
(3) keep     each cosignature, in the ledger's own store, as it comes
(4) settle   the round: enough agreed, or everybody answered, or their time has passed
(5) alarm    a witness shows a head that this log signed and this ledger does not hold: nothing is recorded any more
```

It works from what is in the store, whoever sequenced and signed it. A witness that hangs delays nobody but itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from remit.errors import EvidenceUnavailable, RemitError, UsageError
from remit.ledger import forks
from remit.ledger.notes import WitnessKey
from remit.witness.client import TIMEOUT, NotConsistent, OtherSize
from remit.witness.keeping import Keeper
from remit.witness.policy import Policy
from remit.witness.seats import Head, HistoryProved, Seat, newest_head

if TYPE_CHECKING:
    from remit.ledger import Ledger

logger = logging.getLogger("remit.witness")

PACE: Final = 1.0
"""Seconds between two rounds while nobody waits for one."""

REFRESH: Final = 600.0
"""Seconds after which an idle log's head is cosigned again, so that its age says that nothing happened."""

LONGEST: Final = 60.0
"""Seconds between two rounds while witnesses fail."""

CLOSING: Final = 2.0
"""Seconds that closing waits for a last round."""

GRACE: Final = 1.0
"""Seconds that a round waits for the slow once it takes another one to get enough: somebody has failed."""

BREATH: Final = 0.02
"""Seconds between two looks at the store, however urgent."""


class _Round:
    """One head, who was asked for it, and who has answered."""

    def __init__(self, head: Head, asked: list[Seat]) -> None:
        self.head = head
        self.open = {seat.key for seat in asked}
        self.cosigned: set[WitnessKey] = set()
        self.overtaken = False
        """A witness has cosigned a later head of this very log, which another process asked it for."""


class Witnesses:
    """See the module's docstring. The companion of one ledger that is open for writing."""

    def __init__(
        self, ledger: Ledger, policy: Policy, *, pace: float = PACE, refresh: float = REFRESH, timeout: float = TIMEOUT
    ) -> None:
        if any(one.url is None for one in policy.witnesses):
            missing = ", ".join(one.name for one in policy.witnesses if one.url is None)
            raise UsageError(f"the witness policy does not say where to ask {missing}: witness NAME VKEY URL")
        self._ledger = ledger
        self.policy = policy
        self._pace = pace
        self._refresh = refresh
        self._timeout = timeout
        self._keeper = Keeper(ledger, policy)
        self._reset()
        forks.register(self)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._seats = [
            Seat(self._ledger, self._keeper, one.key, one.url or "", self._timeout) for one in self.policy.witnesses
        ]
        self._round: _Round | None = None
        self._known = False
        self._news = False
        self._urgent = 0
        self._witnessed = 0
        self._failures = 0
        self._last = self._looked = -LONGEST
        self._closed = self._hushed = self._settling = False
        self._alarm: EvidenceUnavailable | None = None

    # -- the ledger's side

    def noticed(self) -> None:
        """The ledger has changed; the thread starts with the first change."""
        if self._news and self._thread is not None:
            return
        with self._changed:
            self._news = True
            if self._closed:
                return
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="remit-witnesses", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def wait(self, size: int, deadline: float) -> None:
        """See `remit.ledger.companions.Witnessing`."""
        end = time.monotonic() + deadline
        self.noticed()
        with self._changed:
            self._urgent = max(self._urgent, size)
            self._changed.notify_all()
            while self._witnessed < size:
                if self._alarm is not None:
                    raise EvidenceUnavailable(str(self._alarm))
                left = end - time.monotonic()
                if left <= 0 or self._closed:
                    raise EvidenceUnavailable(
                        f"it was not witnessed in time by {self.policy.describe()}{self._reasons()}"
                    )
                self._changed.wait(left)

    @property
    def witnessed(self) -> int:
        """The size of the newest head that this process knows enough witnesses to have cosigned."""
        return self._witnessed

    def hush(self) -> None:
        """What the round in progress came to is recorded; after that nothing is."""
        with self._changed:
            self._changed.wait_for(lambda: not self._settling, CLOSING)
            self._hushed = True

    def close(self) -> None:
        """Ask once more for the newest head where it is not cosigned yet, and end."""
        thread = self._thread
        if thread is not None and thread.is_alive() and self._alarm is None:
            try:
                newest = newest_head(self._ledger)
                if self._failures == 0:
                    self.wait(newest.size, CLOSING)
            except RemitError as error:
                logger.warning("the last head is not witnessed: %s", error)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if thread is not None:
            thread.join(CLOSING)
        for seat in self._seats:
            seat.client.close()

    def _reasons(self) -> str:
        said = [f"{one.key.name}: {one.failed}" for one in self._seats if one.failed]
        return f" ({'; '.join(said)})" if said else ""

    # -- the thread

    def _run(self) -> None:
        while self._await_news():  # (1)
            try:
                self._take_round()
            except RemitError as error:
                logger.error("heads cannot be witnessed: %s", error)
                self._settled(None)
            except Exception:
                logger.exception("asking witnesses failed in a way that is not known")
                self._settled(None)

    def _await_news(self) -> bool:
        """Until a round is due; False when there will be none any more."""
        with self._changed:
            while not self._closed and self._alarm is None:
                now = time.monotonic()
                due = self._due()
                if now >= due:
                    self._news = False
                    return True
                self._changed.wait(due - now)
        return False

    def _due(self) -> float:
        if self._failures:
            patience = min(LONGEST, self._pace * 2.0**self._failures)
            return self._last + (min(patience, self._pace / 4) if self._waited_for() else patience)
        if self._waited_for():
            return self._looked + BREATH
        return self._last + (self._pace if self._news else self._refresh)

    def _waited_for(self) -> bool:
        return self._urgent > self._witnessed

    def _take_round(self) -> None:
        self._looked = time.monotonic()
        head = newest_head(self._ledger)
        if not self._known:
            self._recall()
        stale = time.monotonic() - self._last >= self._refresh
        if head.size == 0 or (head.size == self._witnessed and not stale and not self._failures):
            if not self._ledger.sequences:
                self._come_back()  # what was noticed is durable, and its head is still to be signed
            return
        with self._changed:
            self._settling = True
            current = self._round = _Round(head, self._seats)
            idle = [seat for seat in self._seats if not seat.busy]
            for seat in idle:
                seat.busy = True
        for seat in idle:  # (2); who is busy joins when it is done with an earlier head
            threading.Thread(target=self._ask, args=(seat,), name="remit-witness", daemon=True).start()
        end = self._looked + 2 * self._timeout
        with self._changed:  # (4)
            while current.open and not self._enough(current) and not self._closed and self._alarm is None:
                if len(current.open) + len(current.cosigned) < len(self._seats):
                    end = min(end, time.monotonic() + GRACE)
                left = end - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
        self._settled(current)

    def ask_all(self) -> dict[str, str]:
        """One round, in this thread, that waits for every witness."""
        self._recall()
        self._round = _Round(newest_head(self._ledger), self._seats)
        if self._round.head.size == 0:
            return {}
        threads = [threading.Thread(target=self._ask, args=(one,), daemon=True) for one in self._seats]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._alarm is not None:
            raise self._alarm
        return {one.key.name: one.failed for one in self._seats if one.failed}

    def _come_back(self) -> None:
        with self._changed:
            self._last = time.monotonic()
            self._news = True

    def _settled(self, current: _Round | None) -> None:
        try:
            self._settle(current)
        finally:
            with self._changed:
                self._settling = False
                self._changed.notify_all()

    def _settle(self, current: _Round | None) -> None:
        enough = current is not None and self._enough(current)
        if not enough and current is not None and current.overtaken:
            self._look_at_others()
            return
        with self._changed:
            self._last = time.monotonic()
            before, self._failures = self._failures, 0 if enough else self._failures + 1
            self._changed.notify_all()
        if self._alarm is None and not self._hushed and current is not None and enough != (before == 0):
            self._keeper.degraded([one.key.name for one in self._seats if one.failed], over=enough)

    def _look_at_others(self) -> None:
        """Another process of this deployment has later heads cosigned: what it has got counts here as well."""
        found = self._keeper.witnessed_beyond(self._witnessed)
        with self._changed:
            self._witnessed = max(self._witnessed, found)
            self._last, self._news = time.monotonic(), True
            self._changed.notify_all()

    def _enough(self, current: _Round) -> bool:
        if not self.policy.satisfied(current.cosigned):
            return False
        self._witnessed = max(self._witnessed, current.head.size)
        return True

    def _recall(self) -> None:
        for seat in self._seats:
            seat.recall()
        self._known = True

    # -- one witness

    def _ask(self, seat: Seat) -> None:
        """Ask one witness for the head of this round, and of the one that has begun meanwhile."""
        while True:
            with self._changed:
                current = self._round
                if current is None or seat.key not in current.open or self._closed or self._alarm is not None:
                    seat.busy = False
                    return
            failure = self._try(current, seat)
            with self._changed:
                seat.failed = failure
                current.open.discard(seat.key)
                if failure is None:
                    current.cosigned.add(seat.key)
                    self._enough(current)
                self._changed.notify_all()

    def _try(self, current: _Round, seat: Seat) -> str | None:
        """Why the witness did not cosign; None when it did."""
        try:
            try:
                seat.cosign(current.head)  # (3)
            except (OtherSize, NotConsistent) as error:
                if not seat.recognise():
                    raise
                current.overtaken = True
                return str(error)
        except HistoryProved as proved:
            self._raise_alarm(seat, proved)
            return str(proved)
        except RemitError as error:
            self._failed(seat, str(error))
            return str(error)
        except Exception as error:  # whatever it is, the round must not wait for this witness
            logger.exception("asking witness %s failed", seat.key.name)
            return f"{type(error).__name__}: {error}"
        return None

    def _failed(self, seat: Seat, why: str) -> None:
        if seat.failed is None and self._alarm is None:
            logger.warning("%s", why)
            self._guarded(seat, lambda: self._keeper.failed(seat.key, why))

    def _guarded(self, seat: Seat, act: Callable[[], None]) -> None:
        try:
            act()
        except RemitError as error:
            logger.error("what witness %s did cannot be kept: %s", seat.key.name, error)

    def _raise_alarm(self, seat: Seat, proved: HistoryProved) -> None:
        """(5): nothing is recorded any more, here and now."""
        logger.critical("%s:\n%s", proved, proved.shown.decode())
        self._guarded(seat, lambda: self._keeper.conflict(seat.key, proved.shown))
        with self._changed:
            self._alarm = proved
            self._changed.notify_all()
        self._ledger.company.distrust(proved)

    # -- forks: see remit.ledger.forks

    def before_fork(self) -> None:
        """The child starts anew; here everything goes on."""

    def after_fork_in_parent(self) -> None:
        """Everything goes on."""

    def after_fork_in_child(self) -> None:
        """Threads and connections are the parent's."""
        self._reset()


def ask_once(ledger: Ledger, policy: Policy) -> dict[str, str]:
    """Have the newest head cosigned by every witness now; why those did not that did not, by name."""
    witnesses = Witnesses(ledger, policy)
    try:
        return witnesses.ask_all()
    finally:
        witnesses.close()


__all__ = ["PACE", "REFRESH", "Witnesses", "ask_once"]
