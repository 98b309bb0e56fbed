"""The end of one call, as its caller meets it: step (6) is waited for, and then told to whoever joined or listens.

`remit.outcomes` makes the record. Where that fails the outcome is owed, and the caller is told that the tool *ran*.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from remit import durability
from remit.calls import Running, Status, Ticket
from remit.errors import Denied, EvidenceUnavailable
from remit.outcomes import Outcomes
from remit.streams import AsyncStream, Stream

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.ledger import Txn
    from remit.sessions import Session

T = TypeVar("T")

_NOTHING: Final = object()
"""Stands for the result of a call that has none to share: it streamed, failed, or never ran."""


class Finishing:
    """Finishes calls whose tool was entered."""

    def __init__(self, deployment: Deployment, outcomes: Outcomes, running: Running) -> None:
        self._deployment = deployment
        self._ledger = deployment.ledger
        self._outcomes = outcomes
        self._running = running

    def stream(self, session: Session, ticket: Ticket, result: Any) -> Stream | AsyncStream | None:
        """A generator has not run yet when it is returned, whichever kind of function returned it."""

        def finish(status: Status, detail: str | None) -> None:
            self.finish(session, ticket, status, detail=detail)  # (6)

        if inspect.isgenerator(result):
            return Stream(result, finish)
        if inspect.isasyncgen(result):
            return AsyncStream(
                result, lambda status, detail: self.finish_async(session, ticket, status, detail=detail), finish
            )
        return None

    def finish(
        self,
        session: Session,
        ticket: Ticket,
        status: Status,
        *,
        result: Any = None,
        returned: bool = False,
        detail: str | None = None,
        error: BaseException | None = None,
    ) -> None:
        """Write the outcome. `returned`: `result` is what the tool returned; `error` is what it raised.

        Raises `EvidenceUnavailable` when that cannot be done.
        """
        job = self._outcomes.job(session.id, ticket, status, result=result, returned=returned, detail=detail)
        try:
            if returned and durability.may_queue(self._deployment, ticket.tool):
                self._queue(session.id, ticket, job, status)
            else:
                self._ledger.run(job)
        except BaseException as failure:
            self._unrecorded(session, ticket, job, status, failure, error)
            raise
        self._ended(session, ticket, status, result if returned else _NOTHING, error)

    def not_durable(self, session: Session, ticket: Ticket, missing: EvidenceUnavailable) -> NoReturn:
        """End a call whose record was not as durable as it has to be: the tool was not entered. Raises `missing`."""
        self.finish(session, ticket, _not_begun(ticket), detail=str(missing))
        raise missing

    async def not_durable_async(self, session: Session, ticket: Ticket, missing: EvidenceUnavailable) -> NoReturn:
        """As `not_durable`."""
        await self.finish_async(session, ticket, _not_begun(ticket), detail=str(missing))
        raise missing

    async def finish_async(
        self,
        session: Session,
        ticket: Ticket,
        status: Status,
        *,
        result: Any = None,
        returned: bool = False,
        detail: str | None = None,
        error: BaseException | None = None,
    ) -> None:
        """As `finish`. Shielded: a cancelled task still waits until what happened is durable."""
        job = self._outcomes.job(session.id, ticket, status, result=result, returned=returned, detail=detail)
        stopped = None
        try:
            if returned and durability.may_queue(self._deployment, ticket.tool):
                self._queue(session.id, ticket, job, status)
            else:
                _, stopped = await self._ledger.arun(job)
        except BaseException as failure:
            self._unrecorded(session, ticket, job, status, failure, error)
            raise
        self._ended(session, ticket, status, result if returned else _NOTHING, error)
        if stopped is not None and error is None:
            raise stopped

    def _queue(self, session_id: str, ticket: Ticket, job: Callable[[Txn], None], status: Status) -> None:
        """Hand the outcome over without waiting for it. Where it fails later, it is owed like any other."""

        def done(future: Future[None]) -> None:
            failure = future.exception()
            if isinstance(failure, Exception):
                self._outcomes.failed(session_id, ticket, job, failure, status=status)

        self._ledger.submit(job).add_done_callback(done)

    def _unrecorded(
        self,
        session: Session,
        ticket: Ticket,
        job: Callable[[Txn], None],
        status: Status,
        failure: BaseException,
        error: BaseException | None,
    ) -> None:
        """The outcome is owed. Raises `EvidenceUnavailable`, unless this thread was stopped from outside."""
        if not isinstance(failure, Exception):
            self._outcomes.owe(session.id, job)
            self.end_unshared(ticket, "was stopped where it ran first")
            return
        raised = self._outcomes.failed(session.id, ticket, job, failure, status=status)
        self._running.end(ticket.call_id, error=raised)
        raise raised from (error or failure)

    def _ended(
        self, session: Session, ticket: Ticket, status: Status, result: Any, error: BaseException | None
    ) -> None:
        if error is not None and not isinstance(error, Exception):
            self.end_unshared(ticket, "was cancelled where it ran first")
        elif error is None and result is _NOTHING:
            self.end_unshared(ticket, f"ended {status} where it ran first, and left no result that can be given again")
        else:
            self._running.end(ticket.call_id, result=result, error=error)
        details = {"session": session.id, "call": ticket.call_id, "tool": ticket.tool, "status": status}
        self._deployment.notify("call.outcome", details)

    def end_unshared(self, ticket: Ticket, what: str) -> None:
        """Tell whoever joined this call that there is no result to share."""
        refused = Denied(f"{ticket.tool} {what}.", code="already_executed", call_id=ticket.call_id)
        self._running.end(ticket.call_id, error=refused)


def _not_begun(ticket: Ticket) -> Status:
    return "pending" if ticket.resumed else "not_run"


__all__ = ["Finishing"]
