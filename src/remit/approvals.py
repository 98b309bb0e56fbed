"""A person's answer to one exact call: asked once, answered by whom the clause names, used once, then spent."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlmodel import col

from remit.authority.calls import ApprovalNeed
from remit.authority.durations import show_moment
from remit.calls import CallRequest
from remit.errors import Denied, Remedy, UsageError
from remit.ledger import values
from remit.ledger.canonical import canonical
from remit.ledger.hiding import hidden_names
from remit.marks import for_people
from remit.pins import in_force
from remit.store.tables import ApprovalRow, GrantRow, SessionRow

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.ledger import Record, Txn
    from remit.store.readmodels import ReadModels


@dataclass(frozen=True, slots=True)
class Approval:
    """A question that waits, or waited, for a person.

    `arguments` are what would run, secrets and redactions by their name only; None once they were erased.
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
    accesses: tuple[str, ...]
    agent: str | None
    principal: str | None
    task: str | None
    shown: str
    """The digest of all this, as a person sees it: `approve(…, shown=…)` answers exactly that."""


def question(approval_id: str, rule: str, need: ApprovalNeed, now: datetime, ends: datetime) -> dict[str, Any]:
    """The leaf part of `approval.requested` that is about the answer. No answer holds longer than the grant does."""
    return {
        "approval": approval_id,
        "asks": rule,
        "by": list(need.by),
        "count": need.count,
        "expires": show_moment(min(now + need.expires_in, ends)),
    }


def open_question(
    rows: ReadModels, session_id: str, call_id: str, data: Mapping[str, Any], content: str, record_id: str
) -> None:
    """The read model's row of a fresh question."""
    rows.put(
        "approvals",
        data["approval"],
        call_id=call_id,
        session_id=session_id,
        grant_id=data["grant"],
        state="requested",
        by=json.dumps({"by": data["by"], "count": data["count"]}),
        rule=data["asks"],
        content=content,
        expires=data["expires"],
        requested_record=record_id,
        decided_by="[]",
    )


def is_over(row: Mapping[str, Any], now: datetime) -> bool:
    """Whether the time of a question, or of its unused answer, has passed."""
    return datetime.fromisoformat(row["expires"]) <= now


def lapse(deployment: Deployment, txn: Txn, row: Mapping[str, Any]) -> bool:
    """Whether an unused approval is past its time; the first to notice records it."""
    if row["state"] not in ("requested", "approved") or not is_over(row, txn.now):
        return False
    txn.append(
        deployment.ledger.draft(
            "approval.lapsed", session=row["session_id"], data={"approval": row["id"], "call": row["call_id"]}
        )
    )
    txn.put("approvals", row["id"], state="lapsed")
    return True


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


# -- what a person is shown


def view_of(
    row: Mapping[str, Any], asked: Record, session: Mapping[str, Any] | None, grant: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Everything that an approver has to see. `arguments` is None once they were erased."""
    private = asked.disclosed() or {}
    spec = json.loads(row["by"])
    return {
        "approval": row["id"],
        "tool": asked.data["tool"],
        "arguments": private.get("arguments"),
        "accesses": private.get("accesses", []),
        "reason": private.get("reason", ""),
        "rule": row["rule"],
        "by": spec["by"],
        "count": spec["count"],
        "expires": row["expires"],
        "session": row["session_id"],
        "agent": session["agent"] if session is not None else None,
        "principal": session["principal"] if session is not None else None,
        "task": grant["task"] if grant is not None else None,
    }


def shown_digest(deployment: Deployment, view: Mapping[str, Any]) -> str:
    """The keyed digest of a view: what an answer says that it was given to."""
    return deployment.ledger.keyed("shown", canonical(dict(view)))


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
    reading = deployment.ledger.read()
    return [_approval(deployment, row, reading) for row in reading.mappings(query)]


def _approval(deployment: Deployment, row: Mapping[str, Any], reading: Any) -> Approval:
    asked = deployment.ledger.record(row["requested_record"])
    if asked is None:
        raise UsageError(f"the question {row['id']} is not in the ledger; `remit verify` says where it is broken")
    sessions = reading.mappings(select(SessionRow).where(col(SessionRow.id) == row["session_id"]))
    grants = reading.mappings(select(GrantRow).where(col(GrantRow.id) == row["grant_id"]))
    view = view_of(row, asked, next(iter(sessions), None), next(iter(grants), None))
    return Approval(
        id=row["id"],
        call_id=row["call_id"],
        session_id=row["session_id"],
        state=row["state"],
        tool=view["tool"],
        by=tuple(view["by"]),
        needed=view["count"],
        reason=view["reason"],
        rule=row["rule"],
        expires=datetime.fromisoformat(row["expires"]),
        decided_by=tuple(json.loads(row["decided_by"])),
        arguments=for_people(asked, {"arguments": view["arguments"]})["arguments"],
        accesses=tuple(view["accesses"]),
        agent=view["agent"],
        principal=view["principal"],
        task=view["task"],
        shown=shown_digest(deployment, view),
    )


def approved_call(
    deployment: Deployment, approval_id: str, run: Callable[..., Any], secrets: Mapping[str, Any] | None = None
) -> tuple[Approval, CallRequest]:
    """The approval, and exactly the call it is about. Raises `Denied` when it cannot be used (any more).

    `secrets` are the arguments that were kept nowhere; with others than those that were asked about it does not run.
    """
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
    private, defined = _around(deployment, approval_id)
    injected = _whole(private.get("injected", {}), {}, approval, "what the application fills in as")
    request = CallRequest(
        approval.tool,
        _whole(private.get("arguments", {}), secrets or {}, approval, "the argument"),
        run,
        injected=injected,
        definition=in_force(deployment, approval.tool) if defined else None,
        approval_id=approval_id,
    )
    return approval, request


def _whole(tree: Any, secrets: Mapping[str, Any], approval: Approval, what: str) -> dict[str, Any]:
    """Values as they would run, with the secrets that only the caller has. Raises `Denied` where one is missing."""
    missing = hidden_names(tree)
    if left := sorted(missing - secrets.keys()):
        raise Denied(
            f"{what[0].upper()}{what[1:]} `{left[0]}` of {approval.tool} is secret, so it was kept nowhere. Make the "
            f"same call again, or resume with secrets={{{left[0]!r}: …}}.",
            code="approval_mismatch",
            call_id=approval.call_id,
        )
    kept = {name: item for name, item in tree.items() if name not in missing}
    # evidence tells 20.0 from 20 by an encoding of its own
    return {**values.decode(kept), **{name: secrets[name] for name in missing}}


def _around(deployment: Deployment, approval_id: str) -> tuple[Mapping[str, Any], bool]:
    """The private values of a question, and whether the tool's definition was known when it was put."""
    query = select(col(ApprovalRow.requested_record)).where(col(ApprovalRow.id) == approval_id)
    [(record_id,)] = deployment.ledger.read().rows(query)
    asked = deployment.ledger.record(record_id)
    assert asked is not None
    return asked.disclosed() or {}, asked.data.get("definition") is not None
