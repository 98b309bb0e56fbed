"""The questions of one call: which are open, which were answered, and whether an answer still means this call.

An answer is bound to what it was given to: arguments, accesses and injected values, every version of the grant's chain,
the clause and the rule that asked, the guardrails, the tool's definition, and its time. One of them changed, and it
lets nothing run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlmodel import col

from remit import approvals
from remit.authority.calls import ApprovalNeed, Decision
from remit.errors import DenialCode
from remit.ledger import values
from remit.prepare import accesses_of, added_digest
from remit.store.tables import ApprovalRow

if TYPE_CHECKING:
    from remit.calls import CallRequest, Prepared
    from remit.deployment import Deployment
    from remit.ledger import Txn
    from remit.sessions import Session

Row = Mapping[str, Any]


class Questions:
    """What people were asked about one call, as it stands inside the transaction that decides it."""

    def __init__(
        self, deployment: Deployment, txn: Txn, session: Session, request: CallRequest, prepared: Prepared
    ) -> None:
        self._deployment = deployment
        self._txn = txn
        self._session = session
        self._request = request
        self._prepared = prepared
        self._accesses = accesses_of(prepared)

    # -- answers

    def usable(self, decision: Decision) -> list[Row]:
        """Unused approvals of exactly this call, one for each rule that asks; the one that is resumed before others."""
        rules = {rule for rule, _ in needs_of(decision)}
        wanted = self._request.approval_id
        found: dict[str, Row] = {}
        for row in sorted(self._about("approved"), key=lambda row: (row["id"] != wanted, row["id"])):
            if row["rule"] in rules and not self._over(row) and self.changed(row, decision) is None:
                found.setdefault(row["rule"], row)
        return list(found.values())

    def waiting(self, rule: str, decision: Decision) -> Row | None:
        """The question by this rule about exactly this call that nobody has answered whole yet."""
        for row in self._about("requested"):
            if row["rule"] == rule and not self._over(row) and self.changed(row, decision) is None:
                return row
        return None

    def was_refused(self) -> bool:
        """Whether a person said no to exactly this call in this session: the same question is not put again."""
        return bool(self._about("refused"))

    def in_vain(self, call: Row) -> bool:
        """Whether an earlier attempt asked and got no answer in time, or its answer let another call run."""
        if call["state"] != "ask":
            return False
        rows = self._of_call(call)
        lapsed = [approvals.lapse(self._deployment, self._txn, row) for row in rows]
        return any(lapsed) or any(row["state"] in ("lapsed", "used") for row in rows)

    def refused(self, call: Row) -> bool:
        """Whether a person said no to one of the questions that this call asked."""
        return any(row["state"] == "refused" for row in self._of_call(call))

    def not_usable(self, approval_id: str, decision: Decision) -> tuple[DenialCode, str]:
        """Why the approval that a request names does not let it run."""
        row = self._txn.get("approvals", approval_id)
        if row is None or row["session_id"] != self._session.id:
            return "approval_mismatch", "The approval does not cover this call."
        if approvals.lapse(self._deployment, self._txn, row) or row["state"] == "lapsed":
            return "approval_expired", "The approval lapsed before it was used."
        if row["state"] == "used":
            return "already_executed", "This approval was used; it lets one call run, once."
        changed = "the arguments" if row["content"] != self._prepared.content else self.changed(row, decision)
        if changed is None:
            return "approval_mismatch", "The approval does not cover this call."
        return "approval_mismatch", f"The approval does not cover this call: since it was asked for, {changed} changed."

    def another(self) -> str | None:
        """An unused approval of another call of the same tool: the call may be meant that somebody reworded."""
        rows = self._rows(col(ApprovalRow.state) == "approved")
        for row in rows:
            call = self._txn.get("calls", row["call_id"])
            if (
                call is not None
                and call["tool"] == self._prepared.tool
                and row["content"] != self._prepared.content
                and not self._over(row)
            ):
                return str(row["id"])
        return None

    # -- what an answer is bound to

    def changed(self, row: Row, decision: Decision) -> str | None:
        """What is not any more as it was when the question was put, in words; None when nothing is."""
        asked = self._deployment.ledger.record_in(self._txn, row["requested_record"])
        said, private = asked.data, asked.disclosed()
        guardrails, definition = self._deployment.guardrails, self._request.definition
        if said["chain"] != [link.digest for link in self._session.chain]:
            return "the grant"
        if said["decision"]["clause"] != decision.clause:
            return "the clause"
        if said.get("guardrails") != (guardrails.digest if guardrails is not None else None):
            return "the guardrails"
        if said.get("definition") != (definition.digest if definition is not None else None):
            return "the tool's definition"
        if private is None:
            return "what is left of its record"
        if private.get("accesses", []) != self._accesses:
            return "what the call touches"
        if not self._same_added(private):
            return "what the application fills in"
        return None

    def _same_added(self, private: Mapping[str, Any]) -> bool:
        """Whether the application fills in what it did; what of that is secret is told by its keyed digest."""
        if "added" in private or self._prepared.injected.hidden:
            return bool(private.get("added") == added_digest(self._deployment, self._prepared))
        return bool(values.decode(private.get("injected", {})) == dict(self._prepared.view.injected))

    # -- rows

    def _over(self, row: Row) -> bool:
        return approvals.is_over(row, self._txn.now)

    def _about(self, state: str) -> list[Row]:
        content = col(ApprovalRow.content) == self._prepared.content
        return [row for row in self._rows(content, col(ApprovalRow.state) == state) if row["state"] == state]

    def _of_call(self, call: Row) -> list[Row]:
        return self._rows(col(ApprovalRow.call_id) == call["id"])

    def _rows(self, *conditions: Any) -> list[Row]:
        query = select(col(ApprovalRow.id)).where(col(ApprovalRow.session_id) == self._session.id, *conditions)
        rows = [self._txn.get("approvals", found) for (found,) in self._txn.rows(query.order_by(col(ApprovalRow.id)))]
        return [row for row in rows if row is not None]


def needs_of(decision: Decision) -> list[tuple[str, ApprovalNeed]]:
    """(rule, need) of every approval that a decision waits for."""
    if decision.effect != "ask" or decision.rule is None or decision.need is None:
        return []
    return [(decision.rule, decision.need), *decision.also]
