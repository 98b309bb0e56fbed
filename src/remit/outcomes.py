"""Step (6) of the way of one call: what happened, made durable. `Gate` owns the order; this module the record."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from remit import keeping, labels
from remit.calls import CallRequest, Status, Ticket
from remit.counters import give_back
from remit.erasing import is_erased
from remit.errors import EvidenceUnavailable, Unrepresentable

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.ledger import Draft, Txn

logger = logging.getLogger("remit")

MAX_ERROR_TEXT = 4_000
"""Characters of an exception's text that are kept; the type is always kept whole."""

STOPPED: Final = (
    asyncio.CancelledError,
    concurrent.futures.CancelledError,
    GeneratorExit,
    KeyboardInterrupt,
    SystemExit,
)
"""What is raised into a tool from outside, to stop it."""


def read_result(request: CallRequest, result: Any) -> tuple[Status, str | None]:
    """What a returned value says of itself. "Returned normally" is not "succeeded" (invariant 11)."""
    if request.classify is None:
        return "ok", None
    try:
        return request.classify(result)
    except Exception as error:  # noqa: BLE001 - the tool has run: what cannot be read is unknown, never lost
        # What it says may be what the tool returned, and a log is no place for that.
        logger.error("the result of %s could not be read (%s)", request.tool, type(error).__name__)
        return "unknown", f"the result could not be read: {error_text(error)}"


def read_exception(request: CallRequest, error: BaseException) -> tuple[Status, str]:
    """What a raised exception says: control flow of the framework, a stop from outside, or a failure of the tool."""
    text = error_text(error)
    if request.passthrough and isinstance(error, request.passthrough):
        return "pending", text
    return ("cancelled" if isinstance(error, STOPPED) else "exception"), text


def error_text(error: BaseException) -> str:
    """Type and text of an exception. One that cannot say its text still has a type."""
    try:
        said = str(error)
    except Exception as broken:  # noqa: BLE001 - whatever it raises, what happened has to be written down
        said = f"(its text could not be read: {type(broken).__name__})"
    return _encodable(f"{type(error).__name__}: {said}")


def _encodable(text: object) -> str:
    """Text that evidence can hold: lone surrogates are written out, and it is not longer than the most that is kept."""
    return str(text)[:MAX_ERROR_TEXT].encode(errors="backslashreplace").decode()


class Outcomes:
    """Writes outcomes, and remembers those that could not be written until they are."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._lock = threading.RLock()  # a stream may be collected, and so end, while this thread holds it
        self._settling = threading.RLock()
        self._unsettled: dict[str, list[Callable[[Txn], None]]] = {}

    def job(
        self,
        session_id: str,
        ticket: Ticket,
        status: Status,
        *,
        result: Any = None,
        returned: bool = False,
        detail: str | None = None,
    ) -> Callable[[Txn], None]:
        """Draft the outcome in this thread; the job appends it in the writer's."""
        data: dict[str, Any] = {
            "call": ticket.call_id,
            "intent": ticket.record_id,
            "tool": ticket.tool,
            "status": status,
            "duration_us": (time.monotonic_ns() - ticket.started) // 1000,
        }
        carried = ticket.labels if status in labels.TOUCHING else ()
        if carried:
            data["labels"] = list(carried)
        private: dict[str, Any] = {}
        if returned:
            data["result"], kept = keeping.keep(self._deployment, ticket, result)
            private |= kept
        if detail is not None:
            private["error"] = keeping.text(self._deployment, ticket, _encodable(detail))
        draft = self._draft(session_id, data, private)

        def append(txn: Txn) -> None:
            if ticket.process != os.getpid():
                return  # the tool forked and came back twice: the outcome is its own process's to write
            row = txn.get("calls", ticket.call_id)
            if row is not None and row["outcome_record"] == draft.id:
                return  # it had become durable after all: nothing is given back twice
            if row is not None and row["state"] == "unknown":
                draft.data["supersedes"] = row["outcome_record"]
            said = self._late(txn, session_id, ticket, draft)
            appended = txn.append(said)
            txn.put(
                "calls",
                ticket.call_id,
                state=status,
                outcome_record=appended.id,
                outcome_time=appended.time,
                kept=bool(said.data.get("result", {}).get("kept")),
            )
            if carried:
                labels.add(txn, ticket.root, carried)
            if status == "not_run":
                give_back(txn, ticket.spends)

        return append

    def _draft(self, session_id: str, data: dict[str, Any], private: dict[str, Any]) -> Draft:
        ledger = self._deployment.ledger
        try:
            return ledger.draft("call.outcome", session=session_id, data=data, private=private or None)
        except Unrepresentable as error:
            # Encoded one by one, these values fitted; together they do not. The outcome itself must still be kept.
            data["result"] = {"kept": False, "why": error.code}
            return ledger.draft("call.outcome", session=session_id, data=data)

    def _late(self, txn: Txn, session_id: str, ticket: Ticket, draft: Draft) -> Draft:
        """The outcome to append: without text when that of its session was erased while the call still ran."""
        session = txn.get("sessions", session_id)
        if session is None or session["state"] != "closed" or draft.private is None:
            return draft
        if not is_erased(txn, ticket.record_id):
            return draft
        data = draft.data
        if "result" in data:
            data["result"] = {"kept": False, "why": "erased"}
        return self._deployment.ledger.draft("call.outcome", session=session_id, data=data)

    def taken_back(self, session_id: str, ticket: Ticket) -> Callable[[Txn], None]:
        """The outcome of a call whose caller gave up before the tool was entered."""
        status: Status = "pending" if ticket.resumed else "not_run"
        return self.if_open(session_id, ticket, status, "its caller gave up before it began")

    def if_open(self, session_id: str, ticket: Ticket, status: Status, detail: str) -> Callable[[Txn], None]:
        """An outcome that is written only where the call has none, whatever else may have become of it since."""

        def close(txn: Txn) -> None:
            row = txn.get("calls", ticket.call_id)
            if row is not None and row["state"] == "running" and row["intent_record"] == ticket.record_id:
                self.job(session_id, ticket, status, detail=detail)(txn)

        return close

    def failed(
        self, session_id: str, ticket: Ticket, job: Callable[[Txn], None], error: Exception, *, status: Status
    ) -> EvidenceUnavailable:
        """The outcome is not durable: hold it, stop the session, and say whether the tool did run."""
        self.owe(session_id, job)
        logger.error("the outcome of %s could not be recorded: %s", ticket.call_id, error)
        ran = status != "not_run"
        happened = "ran" if ran else "did not run"
        advice = "; do not call it again" if ran else ""
        return EvidenceUnavailable(
            f"{ticket.tool} {happened}, but its outcome could not be recorded ({error}){advice}. "
            "The session takes no further call until the outcome is recorded.",
            executed=ran,
            call_id=ticket.call_id,
        )

    def owe(self, session_id: str, job: Callable[[Txn], None]) -> None:
        """Hold what could not be written; the next call of the session, or the end of the app, writes it first."""
        with self._lock:
            self._unsettled.setdefault(session_id, []).append(job)

    def owes(self, session_id: str) -> bool:
        """Whether an outcome of this session is still to be written."""
        return session_id in self._unsettled

    def settle(self, session_id: str) -> None:
        """Write what is still owed for this session. Raises `EvidenceUnavailable` while that cannot be done."""
        if not self.owes(session_id):
            return
        with self._settling:
            while owed := self._unsettled.get(session_id):
                self._deployment.ledger.run(owed[0])
                with self._lock:
                    del owed[0]
                    if not owed:
                        del self._unsettled[session_id]

    def settle_all(self) -> None:
        """Write everything that is owed. Raises `EvidenceUnavailable` when that cannot be done."""
        for session_id in list(self._unsettled):
            self.settle(session_id)
