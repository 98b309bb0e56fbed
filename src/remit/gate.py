"""The way of one call. `Gate` is the only door: adapters, the command line and plain Python all come through it.

```
Gate.call(session, request)
    (1) resolve   snapshot the arguments, check them against the tool's pinned schema without coercion, fill its
                  defaults into the view that is judged; catalogue → accesses, canonical or refused
    (2) decide    window → revocation → tool → arguments → resources, on every link of the delegation chain
                  → guardrails → limits → approval                                      (pure, replayable)
    (3) reserve   limits of the whole chain   ┐ one store transaction: re-reads revocation, session, approval and
    (4) intent    durable record              ┘ counters, then writes call.intent, call.denied or approval.requested
    (5) run       the tool, with exactly the snapshot that was decided on
    (6) outcome   durable record; only `not_run` gives back what was reserved
```

If step (4) cannot be made durable the tool does not run. If step (6) cannot, the caller is told that it *ran*.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from remit import entry, prepare
from remit.calls import Amended, CallRequest, Entry, Join, Prepared, Refused, Replay, Running, Status, Ticket
from remit.errors import ApprovalRequired, Denied, EvidenceUnavailable, UsageError
from remit.ledger import values
from remit.outcomes import Outcomes, read_exception, read_result
from remit.streams import AsyncStream, Stream

if TYPE_CHECKING:
    from remit.authority.calls import Decision
    from remit.deployment import Deployment
    from remit.ledger import Txn
    from remit.sessions import Session

T = TypeVar("T")

current_call: contextvars.ContextVar[str | None] = contextvars.ContextVar("remit_current_call", default=None)
"""The call whose tool body is running here: calls that it makes name it as their parent."""


class Gate:
    """See the module's docstring for the six steps."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._ledger = deployment.ledger
        self._outcomes = Outcomes(deployment)
        self.running = Running()

    # -- the way of one call

    def call(self, session: Session, request: CallRequest) -> Any:
        """Decide, record and run one call; returns what the tool returned.

        Raises `Denied`, `ApprovalRequired`, `EvidenceUnavailable`, or whatever the tool raised.
        """
        prepared = prepare.prepare(self._deployment, session, request)  # (1) resolve, (2) decide
        while True:
            self._outcomes.settle(session.id)
            found = self._ledger.run(self._entry(session, request, prepared))  # (3) reserve, (4) intent
            if isinstance(found, Ticket):
                return self._run(session, request, prepared, found)  # (5) run, (6) outcome
            if isinstance(found, Amended):
                prepared = prepare.prepare(self._deployment, session, request)
                continue
            if isinstance(found, Join):
                running = self.running.of(found.call_id)
                if running is None:
                    continue  # it ended in between: what it came to is in the store now
                return running.result()
            return self._answer(session, request, found)

    async def acall(self, session: Session, request: CallRequest) -> Any:
        """As `call`, without blocking the event loop. A plain function runs in a worker thread, gate and all, so that
        a cancelled await cannot claim that a tool stopped which still runs."""
        if not _is_async(request.run):
            return await asyncio.to_thread(self.call, session, request)
        prepared = prepare.prepare(self._deployment, session, request)  # (1) resolve, (2) decide
        while True:
            if self._outcomes.owes(session.id):
                await asyncio.to_thread(self._outcomes.settle, session.id)
            job = self._entry(session, request, prepared)
            found, stopped = await _durable(self._ledger.submit(job))  # (3) reserve, (4) intent
            if isinstance(found, Ticket):
                if stopped is not None:
                    await self._finish_async(session, found, "not_run", detail="cancelled before it began")
                    raise stopped
                return await self._run_async(session, request, prepared, found)  # (5) run, (6) outcome
            if stopped is not None:
                raise stopped
            if isinstance(found, Amended):
                prepared = prepare.prepare(self._deployment, session, request)
                continue
            if isinstance(found, Join):
                running = self.running.of(found.call_id)
                if running is None:
                    continue
                return await asyncio.shield(asyncio.wrap_future(running))
            return self._answer(session, request, found)

    def explain(self, session: Session, request: CallRequest) -> Decision:
        """What `call` would decide at this moment. Decides, runs and records nothing."""
        while True:
            prepared = prepare.prepare(self._deployment, session, request)
            found = self._ledger.run(partial(self._decided, session, prepared))
            if found is not None:
                return found

    def _decided(self, session: Session, prepared: Prepared, txn: Txn) -> Decision | None:
        return entry.decide_now(self._deployment, txn, session, prepared)

    def _entry(self, session: Session, request: CallRequest, prepared: Prepared) -> Callable[..., Entry]:
        return entry.job(self._deployment, self.running, session, request, prepared, parent=current_call.get())

    def _answer(self, session: Session, request: CallRequest, found: Entry) -> Any:
        if isinstance(found, Replay):
            return self._replayed(found)
        assert isinstance(found, Refused)
        decision = found.decision
        details = {"session": session.id, "call": found.call_id, "tool": request.tool, "rule": decision.rule}
        prepare.log_decision(session, request, found)
        if decision.effect == "ask":
            assert found.approval_id is not None
            if found.fresh_approval:
                self._deployment.notify("approval.requested", {**details, "approval": found.approval_id})
            raise ApprovalRequired(
                decision.reason, approval_id=found.approval_id, rule=decision.rule, call_id=found.call_id
            )
        code = decision.code
        assert code is not None
        self._deployment.notify("call.denied", {**details, "code": code})
        raise Denied(decision.reason, code=code, rule=decision.rule, call_id=found.call_id, remedy=decision.remedy)

    def _replayed(self, found: Replay) -> Any:
        record = self._ledger.record(found.result_record)
        private = record.disclosed() if record is not None else None
        if private is None or "result" not in private:
            raise Denied(
                "This call ran before and its result was erased; it does not run twice.",
                code="already_executed",
                call_id=found.call_id,
            )
        try:
            return values.decode(private["result"])
        except ValueError as error:
            raise Denied(
                f"This call ran before; its result cannot be given again ({error}).",
                code="already_executed",
                call_id=found.call_id,
            ) from error

    # -- (5) run and (6) outcome

    def _run(self, session: Session, request: CallRequest, prepared: Prepared, ticket: Ticket) -> Any:
        token = current_call.set(ticket.call_id)
        try:
            result = request.run(**prepared.snapshot)  # (5)
        except BaseException as error:
            status, text = read_exception(request, error)
            self._finish(session, ticket, status, detail=text, error=error)  # (6)
            raise
        finally:
            current_call.reset(token)
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            self._finish(session, ticket, "exception", detail="the tool returned an awaitable to a synchronous call")
            raise UsageError(
                f"{ticket.tool} returned an awaitable: use `await session.acall(…)` with an async function"
            )
        if inspect.isgenerator(result):
            return Stream(result, lambda status, detail: self._finish(session, ticket, status, detail=detail))
        status, detail = read_result(request, result)
        self._finish(session, ticket, status, result=result, returned=True, detail=detail)  # (6)
        return result

    async def _run_async(self, session: Session, request: CallRequest, prepared: Prepared, ticket: Ticket) -> Any:
        token = current_call.set(ticket.call_id)
        try:
            result = request.run(**prepared.snapshot)  # (5)
            if inspect.isawaitable(result):
                result = await result
        except BaseException as error:
            status, text = read_exception(request, error)
            await self._finish_async(session, ticket, status, detail=text, error=error)  # (6)
            raise
        finally:
            current_call.reset(token)
        if inspect.isasyncgen(result):
            return AsyncStream(
                result,
                lambda status, detail: self._finish_async(session, ticket, status, detail=detail),
                lambda status, detail: self._finish(session, ticket, status, detail=detail),
            )
        status, detail = read_result(request, result)
        await self._finish_async(session, ticket, status, result=result, returned=True, detail=detail)  # (6)
        return result

    def _finish(
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
        job = self._outcomes.job(session.id, ticket, status, result=result, returned=returned, detail=detail)
        try:
            self._ledger.run(job)
        except EvidenceUnavailable as failure:
            raised = self._outcomes.failed(session.id, ticket, job, failure)
            self.running.end(ticket.call_id, error=raised)
            raise raised from (error or failure)
        self._ended(session, ticket, status, result, error)

    async def _finish_async(
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
        """As `_finish`. Shielded: a cancelled task still waits until what happened is durable."""
        job = self._outcomes.job(session.id, ticket, status, result=result, returned=returned, detail=detail)
        try:
            _, stopped = await _durable(self._ledger.submit(job))
        except EvidenceUnavailable as failure:
            raised = self._outcomes.failed(session.id, ticket, job, failure)
            self.running.end(ticket.call_id, error=raised)
            raise raised from (error or failure)
        self._ended(session, ticket, status, result, error)
        if stopped is not None and error is None:
            raise stopped

    def _ended(
        self, session: Session, ticket: Ticket, status: Status, result: Any, error: BaseException | None
    ) -> None:
        if error is not None and not isinstance(error, Exception):
            error = Denied(
                f"{ticket.tool} was cancelled where it ran first.",
                code="already_executed",
                call_id=ticket.call_id,
            )
        self.running.end(ticket.call_id, result=result, error=error)
        details = {"session": session.id, "call": ticket.call_id, "tool": ticket.tool, "status": status}
        self._deployment.notify("call.outcome", details)


def _is_async(run: Callable[..., Any]) -> bool:
    target = inspect.unwrap(run)
    call = getattr(target, "__call__", None)  # noqa: B004 - the bound method is what is inspected
    return (
        inspect.iscoroutinefunction(target)
        or inspect.isasyncgenfunction(target)
        or inspect.iscoroutinefunction(call)
        or inspect.isasyncgenfunction(call)
    )


async def _durable(future: Future[T]) -> tuple[T, asyncio.CancelledError | None]:
    """Wait until the writer has answered, even when this task is cancelled meanwhile; then say that it was."""
    waiting = asyncio.wrap_future(future)
    waiting.add_done_callback(lambda done: done.cancelled() or done.exception())  # always retrieved
    stopped: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.shield(waiting)
        except asyncio.CancelledError as error:
            stopped = error
    return future.result(), stopped


__all__ = ["Gate", "current_call"]
