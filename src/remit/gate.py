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

If step (4) cannot be made durable (or sequenced, or witnessed, where that is asked for) the tool does not run. If step
(6) cannot, the caller is told that it *ran*.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from remit import durability, entry, prepare
from remit.calls import Amended, CallRequest, Entry, Join, Prepared, Refused, Replay, Running, Status, Ticket
from remit.errors import ApprovalRequired, Denied, Remedy, Unrepresentable, UsageError
from remit.finishing import Finishing
from remit.ledger import values
from remit.ledger.hiding import is_hidden
from remit.outcomes import Outcomes, error_text, read_exception, read_result

if TYPE_CHECKING:
    from remit.authority.calls import Decision
    from remit.deployment import Deployment
    from remit.ledger import Txn
    from remit.sessions import Session
    from remit.waiting import Waiting

T = TypeVar("T")

current_call: contextvars.ContextVar[str | None] = contextvars.ContextVar("remit_current_call", default=None)
"""The call whose tool body is running here: calls that it makes name it as their parent."""

MAX_PASSES: Final = 3
"""Times that a re-entry looks again at a call that ended while it looked."""

_AGAIN: Final = object()
"""The result of a call that was taken back before it began: whoever joined it asks anew."""


class _Unanswered(NamedTuple):
    """Stands for the result of a call that a person has to answer first, for a caller who waits for that."""

    asked: ApprovalRequired


class Gate:
    """See the module's docstring for the six steps."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._ledger = deployment.ledger
        self._outcomes = Outcomes(deployment)
        self.running = Running()
        self._finishing = Finishing(deployment, self._outcomes, self.running)

    # -- the way of one call

    def call(self, session: Session, request: CallRequest, waiting: Waiting | None = None) -> Any:
        """Decide, record and run one call; returns what the tool returned.

        A call that needs an approval waits for it as long as `waiting` says, and is then decided again. Raises
        `Denied`, `ApprovalRequired`, `EvidenceUnavailable`, or whatever the tool raised.
        """
        while True:
            found = self._call(session, request, None, waits=waiting is not None)
            if waiting is None or not isinstance(found, _Unanswered):
                return found
            waiting.answered(found.asked)

    def _call(
        self, session: Session, request: CallRequest, loop: asyncio.AbstractEventLoop | None, *, waits: bool
    ) -> Any:
        prepared = prepare.prepare(self._deployment, session, request)  # (1) resolve, (2) decide
        passes = 0
        while True:
            self._outcomes.settle(session.id)
            with self._entering(session, request, prepared) as attempt:
                found = self._ledger.run(attempt.enter, late=attempt.late)  # (3) reserve, (4) intent
                session.note_joined(attempt.writer)
                if isinstance(found, Ticket):
                    missing = durability.missing(self._deployment, request, found)
                    attempt.begun = True
                    if missing is not None:
                        self._finishing.not_durable(session, found, missing)
                    return self._run(session, request, prepared, found, loop)  # (5) run, (6) outcome
            if isinstance(found, Amended):
                prepared = prepare.prepare(self._deployment, session, request)
                continue
            if isinstance(found, Join):
                running = self._joined(found, passes := passes + 1)
                if running is None or (result := running.result()) is _AGAIN:
                    continue  # it ended in between: what it came to is in the store now
                return result
            return self._answer(session, request, found, waits=waits)

    async def acall(self, session: Session, request: CallRequest, waiting: Waiting | None = None) -> Any:
        """As `call`, without blocking the event loop. A plain function runs in a worker thread, gate and all, so that
        a cancelled await cannot claim that a tool stopped which still runs."""
        while True:
            found = await self._acall(session, request, waits=waiting is not None)
            if waiting is None or not isinstance(found, _Unanswered):
                return found
            await waiting.aanswered(found.asked)

    async def _acall(self, session: Session, request: CallRequest, *, waits: bool) -> Any:
        if not _is_async(request.run):
            return await asyncio.to_thread(self._call, session, request, asyncio.get_running_loop(), waits=waits)
        prepared = prepare.prepare(self._deployment, session, request)  # (1) resolve, (2) decide
        passes = 0
        while True:
            if self._outcomes.owes(session.id):
                await asyncio.to_thread(self._outcomes.settle, session.id)
            with self._entering(session, request, prepared) as attempt:
                found, stopped = await self._ledger.arun(attempt.enter, late=attempt.late)  # (3) reserve, (4) intent
                session.note_joined(attempt.writer)
                if isinstance(found, Ticket):
                    missing = None
                    if stopped is None and durability.needed(self._deployment, found.tool, request) != "durable":
                        missing = await asyncio.to_thread(durability.missing, self._deployment, request, found)
                    attempt.begun = True
                    if stopped is not None:
                        status: Status = "pending" if found.resumed else "not_run"
                        await self._finishing.finish_async(session, found, status, detail="cancelled before it began")
                        raise stopped
                    if missing is not None:
                        await self._finishing.not_durable_async(session, found, missing)
                    return await self._run_async(session, request, prepared, found)  # (5) run, (6) outcome
            if stopped is not None:
                raise stopped
            if isinstance(found, Amended):
                prepared = prepare.prepare(self._deployment, session, request)
                continue
            if isinstance(found, Join):
                running = self._joined(found, passes := passes + 1)
                if running is None or (result := await asyncio.shield(asyncio.wrap_future(running))) is _AGAIN:
                    continue
                return result
            return self._answer(session, request, found, waits=waits)

    def explain(self, session: Session, request: CallRequest) -> Decision:
        """What `call` would decide at this moment. Decides, runs and records nothing."""
        while True:
            prepared = prepare.prepare(self._deployment, session, request)
            found = self._ledger.run(partial(self._decided, session, prepared))
            if found is not None:
                return found

    def _decided(self, session: Session, prepared: Prepared, txn: Txn) -> Decision | None:
        return entry.decide_now(self._deployment, txn, session, prepared)

    @contextlib.contextmanager
    def _entering(self, session: Session, request: CallRequest, prepared: Prepared) -> Iterator[_Attempt]:
        """One attempt at steps (3) to (6). Whoever is thrown out of it leaves no call open.

        An intent whose tool was not entered is taken back, also one that becomes durable only later; a call that was
        stopped at a moment when nobody wrote its outcome is `cancelled`.
        """
        job = entry.job(self._deployment, self.running, session, request, prepared, parent=current_call.get())
        attempt = _Attempt(self, session.id, job)
        try:
            yield attempt
        except BaseException as error:
            ticket = attempt.ticket
            if ticket is not None and not attempt.begun:
                self._outcomes.owe(session.id, self._outcomes.taken_back(session.id, ticket))
                self.running.end(ticket.call_id, result=_AGAIN)
            elif ticket is not None and not isinstance(error, Exception | asyncio.CancelledError):
                left = self._outcomes.if_open(session.id, ticket, "cancelled", error_text(error))
                self._outcomes.owe(session.id, left)
                self._finishing.end_unshared(ticket, "was stopped where it ran first")
            raise

    def take_back(self, txn: Txn, session_id: str, found: Entry) -> None:
        """An intent became durable after its caller had given up on it."""
        if isinstance(found, Ticket):
            self._outcomes.taken_back(session_id, found)(txn)
            self.running.end(found.call_id, result=_AGAIN)

    def _joined(self, found: Join, passes: int) -> Future[Any] | None:
        """The result to come of a call that runs here; None when it has just ended, so that it is worth a new look."""
        running = self.running.of(found.call_id)
        if running is None and passes > MAX_PASSES:
            raise Denied(
                "This call was begun here before and its outcome is not written yet.",
                code="outcome_unknown",
                call_id=found.call_id,
                remedy=Remedy("retry_after", details={"seconds": 1}),
            )
        return running

    def _answer(self, session: Session, request: CallRequest, found: Entry, *, waits: bool) -> Any:
        if isinstance(found, Replay):
            return self._replayed(found)
        assert isinstance(found, Refused)
        decision = found.decision
        details = {"session": session.id, "call": found.call_id, "tool": request.tool, "rule": decision.rule}
        prepare.log_decision(session, request, found)
        if decision.effect == "ask":
            assert found.approval_id is not None
            for approval_id in found.fresh:
                self._deployment.notify("approval.requested", {**details, "approval": approval_id})
            asked = ApprovalRequired(
                decision.reason,
                approval_id=found.approval_id,
                rule=decision.rule,
                call_id=found.call_id,
                remedy=decision.remedy,
            )
            if waits:
                return _Unanswered(asked)
            raise asked
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
        if is_hidden(private["result"]):
            raise Denied(
                "This call ran before; its result held something secret, which is kept nowhere. It does not run twice.",
                code="already_executed",
                call_id=found.call_id,
            )
        try:
            return values.decode(private["result"])
        except Unrepresentable as error:
            raise Denied(
                f"This call ran before; its result cannot be given again ({error}).",
                code="already_executed",
                call_id=found.call_id,
            ) from error

    # -- (5) run and (6) outcome

    def _run(
        self,
        session: Session,
        request: CallRequest,
        prepared: Prepared,
        ticket: Ticket,
        loop: asyncio.AbstractEventLoop | None,
    ) -> Any:
        """`loop` is the one that waits for this thread: what the tool returned to be awaited is awaited there."""
        token = current_call.set(ticket.call_id)
        try:
            result = request.run(**prepared.snapshot)  # (5)
            if loop is not None and inspect.isawaitable(result):
                result = asyncio.run_coroutine_threadsafe(_await(result), loop).result()
        except BaseException as error:
            status, text = read_exception(request, error)
            self._finishing.finish(session, ticket, status, detail=text, error=error)  # (6)
            raise
        finally:
            current_call.reset(token)
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            text = "the tool returned an awaitable to a synchronous call"
            self._finishing.finish(session, ticket, "exception", detail=text)  # (6)
            raise UsageError(
                f"{ticket.tool} returned an awaitable: use `await session.acall(…)` with an async function"
            )
        if (stream := self._finishing.stream(session, ticket, result)) is not None:
            return stream
        status, detail = read_result(request, result)
        self._finishing.finish(session, ticket, status, result=result, returned=True, detail=detail)  # (6)
        return result

    async def _run_async(self, session: Session, request: CallRequest, prepared: Prepared, ticket: Ticket) -> Any:
        token = current_call.set(ticket.call_id)
        try:
            result = request.run(**prepared.snapshot)  # (5)
            if inspect.isawaitable(result):
                result = await result
        except BaseException as error:
            status, text = read_exception(request, error)
            await self._finishing.finish_async(session, ticket, status, detail=text, error=error)  # (6)
            raise
        finally:
            current_call.reset(token)
        if (stream := self._finishing.stream(session, ticket, result)) is not None:
            return stream
        status, detail = read_result(request, result)
        finish = self._finishing.finish_async
        await finish(session, ticket, status, result=result, returned=True, detail=detail)  # (6)
        return result

    def settle(self) -> None:
        """Write every outcome that is still owed. Raises `EvidenceUnavailable` when that cannot be done."""
        self._outcomes.settle_all()


class _Attempt:
    """What one attempt has come to so far, for whoever has to clean up after it."""

    __slots__ = ("_gate", "_job", "_session_id", "begun", "ticket", "writer")

    def __init__(self, gate: Gate, session_id: str, job: Callable[[Txn], Entry]) -> None:
        self._gate = gate
        self._session_id = session_id
        self._job = job
        self.ticket: Ticket | None = None
        self.begun = False
        self.writer = ""

    def enter(self, txn: Txn) -> Entry:
        """The transaction of steps (3) and (4)."""
        found = self._job(txn)
        self.writer = txn.writer
        self.ticket = found if isinstance(found, Ticket) else None
        return found

    def late(self, txn: Txn, found: Entry) -> None:
        """Follows when that transaction becomes durable although its caller has given up."""
        self._gate.take_back(txn, self._session_id, found)


def _is_async(run: Callable[..., Any]) -> bool:
    """Whether `run`, or what it wraps, is an async function: an async wrapper of a plain function is one too."""
    for target in (run, inspect.unwrap(run)):
        call = getattr(target, "__call__", None)  # noqa: B004 - the bound method is what is inspected
        if any(inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one) for one in (target, call)):
            return True
    return False


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable


__all__ = ["Gate", "current_call"]
