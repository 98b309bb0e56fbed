"""Step (6) of the way of one call: what happened, made durable. `Gate` owns the order; this module the record."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from remit import labels
from remit.calls import CallRequest, Status, Ticket
from remit.counters import give_back
from remit.errors import EvidenceUnavailable, RemitError, Unrepresentable
from remit.ledger import values

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.ledger import Draft, Txn

logger = logging.getLogger("remit")

MAX_ERROR_TEXT = 4_000
"""Characters of an exception's text that are kept; the type is always kept whole."""


def read_result(request: CallRequest, result: Any) -> tuple[Status, str | None]:
    """What a returned value says of itself. "Returned normally" is not "succeeded" (invariant 11)."""
    if request.classify is None:
        return "ok", None
    try:
        return request.classify(result)
    except Exception as error:  # the tool has run: what cannot be read is unknown, never lost
        logger.exception("the result of %s could not be read", request.tool)
        return "unknown", f"the result could not be read: {type(error).__name__}: {error}"[:MAX_ERROR_TEXT]


def read_exception(request: CallRequest, error: BaseException) -> tuple[Status, str]:
    """What a raised exception says: control flow of the framework, a stop from outside, or a failure of the tool."""
    text = f"{type(error).__name__}: {error}"[:MAX_ERROR_TEXT]
    if request.passthrough and isinstance(error, request.passthrough):
        return "pending", text
    if isinstance(error, asyncio.CancelledError | GeneratorExit | KeyboardInterrupt | SystemExit):
        return "cancelled", text
    return "exception", text


class Outcomes:
    """Writes outcomes, and remembers those that could not be written until they are."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._lock = threading.Lock()
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
            data["result"], kept = _keep(result)
            private |= kept
        if detail is not None:
            private["error"] = detail
        draft = self._draft(session_id, data, private)

        def append(txn: Txn) -> None:
            row = txn.get("calls", ticket.call_id)
            if row is not None and row["state"] == "unknown":
                draft.data["supersedes"] = row["outcome_record"]
            appended = txn.append(draft)
            txn.put(
                "calls",
                ticket.call_id,
                state=status,
                outcome_record=appended.id,
                outcome_time=appended.time,
                kept=bool(data.get("result", {}).get("kept")),
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

    def failed(
        self, session_id: str, ticket: Ticket, job: Callable[[Txn], None], error: RemitError
    ) -> EvidenceUnavailable:
        """The outcome is not durable: hold it, stop the session, and say that the tool did run."""
        with self._lock:
            self._unsettled.setdefault(session_id, []).append(job)
        logger.error("the outcome of %s could not be recorded: %s", ticket.call_id, error)
        return EvidenceUnavailable(
            f"{ticket.tool} ran, but its outcome could not be recorded ({error}); do not call it again. "
            "The session takes no further call until the outcome is recorded.",
            executed=True,
            call_id=ticket.call_id,
        )

    def owes(self, session_id: str) -> bool:
        """Whether an outcome of this session is still to be written."""
        return session_id in self._unsettled

    def settle(self, session_id: str) -> None:
        """Write what is still owed for this session. Raises `EvidenceUnavailable` while that cannot be done."""
        if not self.owes(session_id):
            return
        with self._lock:
            owed = list(self._unsettled.get(session_id, ()))
        for job in owed:
            self._deployment.ledger.run(job)
            with self._lock:
                self._unsettled[session_id].remove(job)
                if not self._unsettled[session_id]:
                    del self._unsettled[session_id]


def _keep(result: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """(leaf part, private part) of a result: kept whole where evidence can hold it, else only what it was."""
    try:
        encoded = values.Encoded(values.encode(result))
    except Unrepresentable as error:
        return {"kept": False, "why": error.code, "type": type(result).__qualname__}, {}
    return {"kept": True}, {"result": encoded}
