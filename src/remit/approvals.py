"""A person's answer to one exact call: asked once, answered by whom the clause names, used once, then spent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlmodel import col

from remit.authority.calls import Decision
from remit.authority.durations import show_moment
from remit.errors import Denied, IdentityError, Remedy, UsageError
from remit.ledger import values
from remit.store.tables import ApprovalRow

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.identity import Credential, Identity
    from remit.ledger import Txn


@dataclass(frozen=True, slots=True)
class Approval:
    """A question that waits, or waited, for a person.

    `arguments` are exactly what would run; None once they were erased.
    """

    id: str
    call_id: str
    session_id: str
    state: str
    tool: str
    by: tuple[str, ...]
    needed: int
    reason: str
    rule: str
    expires: datetime
    decided_by: tuple[str, ...]
    arguments: Mapping[str, Any] | None


def question(approval_id: str, decision: Decision, now: datetime) -> dict[str, Any]:
    """The leaf part of `approval.requested` that is about the answer."""
    need = decision.need
    assert need is not None
    return {
        "approval": approval_id,
        "by": list(need.by),
        "count": need.count,
        "expires": show_moment(now + need.expires_in),
    }


def open_question(
    txn: Txn, approval_id: str, session_id: str, data: Mapping[str, Any], content: str, record_id: str
) -> None:
    """The read model's row of a fresh question."""
    txn.put(
        "approvals",
        approval_id,
        call_id=data["call"],
        session_id=session_id,
        grant_id=data["grant"],
        state="requested",
        by=json.dumps({"by": data["by"], "count": data["count"]}),
        rule=data["decision"]["rule"],
        content=content,
        expires=data["expires"],
        requested_record=record_id,
        decided_by="[]",
    )


def waiting(txn: Txn, session_id: str, content: str, rule: str | None) -> Mapping[str, Any] | None:
    """A question by this rule about exactly this call that nobody has answered yet and that has not lapsed."""
    for row in _about(txn, session_id, content, "requested"):
        if row["rule"] == rule and datetime.fromisoformat(row["expires"]) > txn.now:
            return row
    return None


def usable(txn: Txn, session_id: str, content: str, first: str | None) -> list[Mapping[str, Any]]:
    """Approvals of exactly this call that have not been used and not lapsed: one for each rule, `first` before others.

    A call may need several: the clause's, and one for each guardrail that asks.
    """
    found: dict[str, Mapping[str, Any]] = {}
    rows = _about(txn, session_id, content, "approved")
    for row in sorted(rows, key=lambda row: (row["id"] != first, row["id"])):
        if datetime.fromisoformat(row["expires"]) > txn.now:
            found.setdefault(row["rule"], row)
    return list(found.values())


def was_refused(txn: Txn, session_id: str, content: str) -> bool:
    """Whether a person said no to exactly this call in this session: the same question is not put again."""
    return bool(_about(txn, session_id, content, "refused"))


def _about(txn: Txn, session_id: str, content: str, state: str) -> list[Mapping[str, Any]]:
    found = txn.rows(
        select(col(ApprovalRow.id)).where(
            col(ApprovalRow.session_id) == session_id,
            col(ApprovalRow.content) == content,
            col(ApprovalRow.state) == state,
        )
    )
    rows = [txn.get("approvals", row[0]) for row in found]
    return [row for row in rows if row is not None and row["state"] == state]


def lapse(deployment: Deployment, txn: Txn, row: Mapping[str, Any]) -> bool:
    """Whether an unused approval is past its time; the first to notice records it."""
    if row["state"] not in ("requested", "approved") or datetime.fromisoformat(row["expires"]) > txn.now:
        return False
    txn.append(
        deployment.ledger.draft(
            "approval.lapsed", session=row["session_id"], data={"approval": row["id"], "call": row["call_id"]}
        )
    )
    txn.put("approvals", row["id"], state="lapsed")
    return True


def still_waiting(row: Mapping[str, Any]) -> Decision:
    """The decision for a call whose question is still open."""
    by = ", ".join(json.loads(row["by"])["by"])
    return Decision(
        effect="ask",
        code="approval_required",
        rule=row["rule"],
        reason=f"This call still waits for approval by {by}.",
        remedy=Remedy("await_approval", approval_id=row["id"]),
        clause=None,
        accesses=(),
        spends=(),
        need=None,
        unbounded=(),
    )


def use(deployment: Deployment, txn: Txn, row: Mapping[str, Any], *, call_id: str, intent: str) -> None:
    """Spend an approval: it lets one call run, once."""
    txn.append(
        deployment.ledger.draft(
            "approval.used",
            session=row["session_id"],
            data={"approval": row["id"], "call": call_id, "intent": intent},
        )
    )
    txn.put("approvals", row["id"], state="used")


# -- answering


def answer(
    deployment: Deployment,
    approval_id: str,
    *,
    approve: bool,
    credential: Credential | str | None,
    reason: str | None,
) -> Approval:
    """Record one person's answer. Raises `IdentityError`, `UsageError`, or `Denied(approval_expired)`."""
    verb = "approve" if approve else "refuse"

    def job(txn: Txn) -> bool:
        row = txn.get("approvals", approval_id)
        if row is None:
            raise UsageError(f"no approval {approval_id!r} is in this ledger; `remit approval list` shows what waits")
        if lapse(deployment, txn, row):
            return False
        if row["state"] != "requested":
            raise UsageError(f"approval {approval_id} was {row['state']} before; an answer is given once")
        asked = deployment.ledger.record_in(txn, row["requested_record"])
        shown = asked.private.get("arguments", {}).get("commitment")
        who = deployment.identify(
            txn,
            credential,
            act=f"approval.{verb}",
            about={"approval": approval_id, "call": row["call_id"], "shown": shown},
        )
        _may_answer(txn, row, who)
        _record_answer(deployment, txn, row, who, approve=approve, reason=reason, shown=shown)
        return True

    if not deployment.ledger.run(job):
        raise Denied("The time to answer this question is over.", code="approval_expired", remedy=Remedy("stop"))
    return load(deployment, approval_id)


def _may_answer(txn: Txn, row: Mapping[str, Any], who: Identity) -> None:
    session = txn.get("sessions", row["session_id"])
    assert session is not None
    wanted = json.loads(row["by"])["by"]
    if who.subject == session["agent"]:
        raise IdentityError("the agent that asks cannot answer itself")
    if who.subject == session["principal"] and who.subject not in wanted:
        raise IdentityError(
            f"{who.subject} is the principal that the agent acts for; {', '.join(wanted)} has to answer"
        )
    if not who.holds(wanted):
        held = ", ".join(f"role:{role}" for role in sorted(who.roles)) or "no role"
        raise IdentityError(f"{who.subject} holds {held}; this question is for {', '.join(wanted)}")
    if who.subject in json.loads(row["decided_by"]):
        raise IdentityError(f"{who.subject} has answered this question already; another person has to")


def _record_answer(
    deployment: Deployment,
    txn: Txn,
    row: Mapping[str, Any],
    who: Identity,
    *,
    approve: bool,
    reason: str | None,
    shown: str | None,
) -> None:
    spec = json.loads(row["by"])
    decided_by = [*json.loads(row["decided_by"]), who.subject]
    complete = not approve or len(decided_by) >= spec["count"]
    appended = txn.append(
        deployment.ledger.draft(
            "approval.decided",
            session=row["session_id"],
            data={
                "approval": row["id"],
                "call": row["call_id"],
                "answer": "approved" if approve else "refused",
                "by": who.as_record(),
                "shown": shown,
                "complete": complete,
            },
            private={"reason": reason} if reason else None,
        )
    )
    state = ("approved" if approve else "refused") if complete else "requested"
    txn.put(
        "approvals",
        row["id"],
        state=state,
        decided_by=json.dumps(decided_by),
        decided_record=appended.id,
        authenticated=who.authenticated,
    )
    if not approve:
        call = txn.get("calls", row["call_id"])
        if call is not None and call["state"] == "ask":
            txn.put("calls", row["call_id"], code="approval_refused")


def load(deployment: Deployment, approval_id: str) -> Approval:
    """One approval, for a person to look at."""
    found = listed(deployment, approval_id=approval_id)
    if not found:
        raise UsageError(f"no approval {approval_id!r} is in this ledger; `remit approval list` shows what waits")
    return found[0]


def listed(
    deployment: Deployment,
    *,
    session_id: str | None = None,
    approval_id: str | None = None,
    state: str | None = None,
) -> list[Approval]:
    """Approvals, oldest first."""
    query = select(ApprovalRow).order_by(col(ApprovalRow.id))
    if session_id is not None:
        query = query.where(col(ApprovalRow.session_id) == session_id)
    if approval_id is not None:
        query = query.where(col(ApprovalRow.id) == approval_id)
    if state is not None:
        query = query.where(col(ApprovalRow.state) == state)
    return [_approval(deployment, row) for row in deployment.ledger.read().mappings(query)]


def _approval(deployment: Deployment, row: Mapping[str, Any]) -> Approval:
    record = deployment.ledger.record(row["requested_record"])
    private = record.disclosed() if record is not None else None
    spec = json.loads(row["by"])
    return Approval(
        id=row["id"],
        call_id=row["call_id"],
        session_id=row["session_id"],
        state=row["state"],
        tool=record.data["tool"] if record is not None else "",
        by=tuple(spec["by"]),
        needed=spec["count"],
        reason=(private or {}).get("reason", ""),
        rule=row["rule"],
        expires=datetime.fromisoformat(row["expires"]),
        decided_by=tuple(json.loads(row["decided_by"])),
        arguments=(private or {}).get("arguments"),
    )


def fresh_arguments(deployment: Deployment, approval_id: str) -> tuple[Approval, Mapping[str, Any]]:
    """The approval and the exact arguments it is about. Raises `Denied` when it cannot be used (any more)."""
    approval = load(deployment, approval_id)
    if approval.state == "requested":
        raise Denied(
            f"Approval {approval_id} still waits for {', '.join(approval.by)}.",
            code="approval_required",
            call_id=approval.call_id,
            remedy=Remedy("await_approval", approval_id=approval_id),
        )
    if approval.state == "refused":
        raise Denied("A person refused exactly this call.", code="approval_refused", call_id=approval.call_id)
    if approval.state == "lapsed":
        raise Denied("The approval lapsed before it was used.", code="approval_expired", call_id=approval.call_id)
    if approval.state == "used":
        raise Denied(
            "This approval was used; it lets one call run, once.", code="already_executed", call_id=approval.call_id
        )
    if approval.arguments is None:
        raise Denied("The arguments that were approved are erased.", code="approval_mismatch", call_id=approval.call_id)
    return approval, values.decode(approval.arguments)  # evidence tells 20.0 from 20 by an encoding of its own
