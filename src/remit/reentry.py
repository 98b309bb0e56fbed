"""One call, one run, however often a framework re-enters (invariant 10): what became of earlier attempts at a call.

An earlier attempt is one under the same stable identity, or the pending call that a request says it goes on with. While
it runs here it is joined; after an outcome that was kept it is replayed; one that never entered the tool is tried
afresh; one that asked or is pending goes on; anything else is refused. Every look is inside the transaction of steps
(3) and (4), and follows the refusals that hold whatever the call is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from remit import closing
from remit.authority.calls import Decision
from remit.calls import RESUMABLE, CallRequest, Join, Prepared, Replay
from remit.errors import Remedy
from remit.recovery import recover_writer_of

if TYPE_CHECKING:
    from remit.asking import Questions
    from remit.deployment import Deployment
    from remit.ledger import Txn
    from remit.sessions import Session

Row = Mapping[str, Any]

REPEATABLE: Final = RESUMABLE | {"exception", "cancelled", "unknown"}
"""States after which a call is tried afresh that the operator's catalogue calls idempotent."""


class GoesOn(NamedTuple):
    """The attempt goes on as the call `call_id`; `resumes` is its row where it was pending."""

    call_id: str
    resumes: Row | None = None


class Reentry:
    """One request that may have come before, as it stands inside the transaction that decides it.

    `parent` is the call whose tool body makes this request.
    """

    def __init__(
        self,
        deployment: Deployment,
        txn: Txn,
        session: Session,
        request: CallRequest,
        prepared: Prepared,
        questions: Questions,
        parent: str | None,
    ) -> None:
        self._deployment = deployment
        self._txn = txn
        self._session = session
        self._continues = request.continues
        self._prepared = prepared
        self._questions = questions
        self._parent = parent

    def met(self) -> GoesOn | Join | Replay | Decision:
        """Under which id this attempt goes on, what it gets instead, or why it is refused."""
        if self._continues is not None:
            return self._continued(self._continues)
        txn, prepared = self._txn, self._prepared
        identity = prepared.identity
        assert identity is not None
        known = self._deployment.catalogue.entry(prepared.tool)
        free = REPEATABLE if known is not None and known.idempotent else RESUMABLE
        call_id, attempt = identity, 1
        while (row := txn.get("calls", call_id)) is not None:
            if row["content"] != prepared.content:
                return prepared.refusal("call_conflict", "The same call id came before with other content.")
            if (
                row["state"] == "running"
                and row["writer"] != txn.writer
                and recover_writer_of(self._deployment, txn, row)
            ):
                row = {**row, "state": "unknown"}
            if row["state"] not in free and not self._questions.in_vain(row):
                return self._met(call_id, row)
            attempt += 1
            call_id = f"{identity}.{attempt}"
        return GoesOn(call_id)

    def _continued(self, call_id: str) -> GoesOn | Decision:
        row = self._txn.get("calls", call_id)
        if row is None or row["session_id"] != self._session.id or row["state"] != "pending":
            return self._prepared.refusal("call_conflict", "There is no pending call that this one could continue.")
        if row["content"] != self._prepared.content:
            reason = "The pending call that this one continues had other content."
            return self._prepared.refusal("call_conflict", reason)
        return GoesOn(call_id, row)

    def _met(self, call_id: str, row: Row) -> GoesOn | Join | Replay | Decision:
        state, refusal = row["state"], self._prepared.refusal
        if state == "running":
            return self._met_running(call_id, row)
        if state == "pending":
            return GoesOn(call_id, row)
        if state == "ask":
            if self._questions.refused(row):
                return refusal("approval_refused", "A person refused exactly this call.")
            return GoesOn(call_id)  # decided again, it runs, waits on, or asks what was not asked yet
        if state in ("ok", "tool_error") and row["kept"]:
            self._append_replayed(call_id, row, joined=False)
            return Replay(call_id, row["outcome_record"])
        if state == "unknown":
            return refusal(
                "outcome_unknown",
                "This call was begun before and nobody knows whether it ran; a person has to settle that first "
                f"(`remit call resolve {call_id}`).",
            )
        return refusal("already_executed", f"This call ran before (it ended {state}); it does not run twice.")

    def _met_running(self, call_id: str, row: Row) -> Join | Decision:
        refusal = self._prepared.refusal
        if row["writer"] != self._txn.writer:
            again = Remedy("retry_after", details={"seconds": 1})
            return refusal("outcome_unknown", "This call is running in another process.", again)
        if self._is_above(call_id):
            return refusal("call_conflict", "This call runs already, and it is what makes this request.")
        self._append_replayed(call_id, row, joined=True)
        return Join(call_id)

    def _is_above(self, call_id: str) -> bool:
        """Whether this request comes from the tool body of that call, so that waiting for it would never end."""
        above = self._parent
        while above is not None:
            if above == call_id:
                return True
            row = self._txn.get("calls", above)
            above = row["parent"] if row is not None else None
        return False

    def _append_replayed(self, call_id: str, row: Row, *, joined: bool) -> None:
        append_replayed(self._deployment, self._txn, self._session.id, call_id, row, joined=joined)


def append_replayed(deployment: Deployment, txn: Txn, session_id: str, call_id: str, row: Row, *, joined: bool) -> None:
    """Record that an earlier attempt at a call was met again, and nothing ran for it."""
    closing.note_call(txn, session_id)
    data = {"call": call_id, "intent": row["intent_record"], "outcome": row["outcome_record"], "joined": joined}
    txn.append(deployment.ledger.draft("call.replayed", session=session_id, data=data))


__all__ = ["GoesOn", "Reentry", "append_replayed"]
