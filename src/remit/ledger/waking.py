"""Jobs that tasks of an event loop wait for: many are answered, and the loop is woken once.

`asyncio.wrap_future` writes to the loop's pipe for every future. Here the answers of a batch gather, and only the first
of them wakes the loop, which takes all that have gathered by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from remit.ledger.jobs import Item

if TYPE_CHECKING:
    from remit.ledger.jobs import Job, Late


class Awaited(Item):
    """A job that a task waits for."""

    __slots__ = ("_bell", "_heard", "_waiter")

    def __init__(self, job: Job, deadline: float, late: Late | None) -> None:
        super().__init__(job, deadline, late, None)
        self.watched = True
        self._bell = _bell_of(asyncio.get_running_loop())
        self._heard = False
        self._waiter: asyncio.Future[None] | None = None

    def hand_over(self) -> None:
        """Called in whatever thread has the answer."""
        self._bell.ring(self)

    def hear(self) -> None:
        """Called in the loop."""
        self._heard = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def answer_of(self) -> tuple[Any, asyncio.CancelledError | None]:
        """The job's result, and whether this task was cancelled meanwhile: it waits for the writer all the same.

        Raises what the job raised.
        """
        stopped: asyncio.CancelledError | None = None
        loop = asyncio.get_running_loop()
        while not self._heard:
            self._waiter = loop.create_future()
            try:
                await self._waiter
            except asyncio.CancelledError as error:
                stopped = error
        self._waiter = None
        if self.error is not None:
            raise self.error
        return self.result, stopped


class _Bell:
    """Wakes one loop. A ring that finds the loop already called is heard by the turn that is to come."""

    __slots__ = ("_called", "_loop", "_rung")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._rung: deque[Awaited] = deque()
        self._called = False

    def ring(self, item: Awaited) -> None:
        self._rung.append(item)
        if not self._called:
            self._called = True
            loop = self._loop()
            if loop is not None:
                with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
                    loop.call_soon_threadsafe(self._hear)

    def _hear(self) -> None:
        self._called = False  # before looking, so that whoever rings from here on calls again
        rung = self._rung
        while rung:
            rung.popleft().hear()


_bells: Final[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Bell]] = weakref.WeakKeyDictionary()


def _bell_of(loop: asyncio.AbstractEventLoop) -> _Bell:
    bell = _bells.get(loop)
    if bell is None:
        bell = _bells[loop] = _Bell(loop)
    return bell
