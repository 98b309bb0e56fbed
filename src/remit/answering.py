"""A person's answer to a question: who may give it, what they were shown, and how it is recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from remit import attribution
from remit.approvals import Approval, lapse, load, shown_digest, view_of
from remit.errors import Denied, IdentityError, Remedy, UsageError

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.identity import Credential, Identity
    from remit.ledger import Txn

NOT_PERSONS = ("spiffe://", "agent:")


def answer(
    deployment: Deployment,
    approval_id: str,
    *,
    approve: bool,
    credential: Credential | str | None,
    reason: str | None,
    shown: str | None = None,
) -> Approval:
    """Record one person's answer.

    `shown` is the digest of what the person had before their eyes (`Approval.shown`); when it is given, the answer
    counts only for exactly that. Raises `IdentityError`, `UsageError`, or `Denied` (`approval_expired`,
    `approval_mismatch`).
    """
    verb = "approve" if approve else "refuse"

    def job(txn: Txn) -> bool:
        row = txn.get("approvals", approval_id)
        if row is None:
            raise UsageError(f"no approval {approval_id!r} is in this ledger; `remit approval list` shows what waits")
        if lapse(deployment, txn, row):
            return False
        if row["state"] != "requested":
            raise UsageError(f"approval {approval_id} was {row['state']} before; an answer is given once")
        session = txn.get("sessions", row["session_id"])
        grant = txn.get("grants", row["grant_id"])
        view = view_of(row, deployment.ledger.record_in(txn, row["requested_record"]), session, grant)
        if approve and view["arguments"] is None:
            raise UsageError(f"the arguments of approval {approval_id} were erased, so nobody can approve it any more")
        digest = shown_digest(deployment, view)
        if shown is not None and shown != digest:
            raise Denied(
                "What this question asks is not what was shown; look at it again (`remit approval list`).",
                code="approval_mismatch",
                remedy=Remedy("stop"),
            )
        who = deployment.identify(
            txn,
            credential,
            act=f"approval.{verb}",
            about={"approval": approval_id, "call": row["call_id"], "shown": digest},
        )
        _may_answer(deployment, txn, row, who)
        seen = {"digest": digest, "confirmed": shown is not None}
        _record(deployment, txn, row, who, approve=approve, reason=reason, shown=seen)
        return True

    if not deployment.ledger.run(job):
        raise Denied("The time to answer this question is over.", code="approval_expired", remedy=Remedy("stop"))
    return load(deployment, approval_id)


def _may_answer(deployment: Deployment, txn: Txn, row: Mapping[str, Any], who: Identity) -> None:
    session = txn.get("sessions", row["session_id"])
    assert session is not None
    wanted = json.loads(row["by"])["by"]
    acting = {link.terms.agent for link in deployment.chain(txn, session["grant_id"])}
    acting |= {session["agent"], session["workload"], *attribution.read(session).actors}
    if who.subject in acting:
        raise IdentityError("the agent that asks cannot answer itself")
    if who.subject.startswith(NOT_PERSONS):
        raise IdentityError(f"{who.subject} is no person; {', '.join(wanted)} has to answer")
    if who.subject == session["principal"] and who.subject not in wanted:
        raise IdentityError(
            f"{who.subject} is the principal that the agent acts for; {', '.join(wanted)} has to answer"
        )
    if not who.holds(wanted):
        held = ", ".join(f"role:{role}" for role in sorted(who.roles)) or "no role"
        raise IdentityError(f"{who.subject} holds {held}; this question is for {', '.join(wanted)}")
    if who.subject in json.loads(row["decided_by"]):
        raise IdentityError(f"{who.subject} has answered this question already; another person has to")


def _record(
    deployment: Deployment,
    txn: Txn,
    row: Mapping[str, Any],
    who: Identity,
    *,
    approve: bool,
    reason: str | None,
    shown: Mapping[str, Any],
) -> None:
    needed = json.loads(row["by"])["count"]
    number = len(json.loads(row["decided_by"])) + 1
    data = {
        "approval": row["id"],
        "call": row["call_id"],
        "answer": "approved" if approve else "refused",
        "by": who.as_record(),
        "shown": dict(shown),
        "number": number,
        "complete": not approve or number >= needed,
    }
    private = {"reason": reason} if reason else None
    appended = txn.append(
        deployment.ledger.draft("approval.decided", session=row["session_id"], data=data, private=private)
    )
    txn.put("approvals", row["id"], **answered(row, data, appended.id))
    if not approve:
        call = txn.get("calls", row["call_id"])
        if call is not None and call["state"] == "ask":
            txn.put("calls", row["call_id"], code="approval_refused")


def answered(row: Mapping[str, Any], data: Mapping[str, Any], record_id: str) -> dict[str, Any]:
    """Columns of an approval's row after the answer that `data`, the leaf of its record, says."""
    before = json.loads(row["decided_by"])
    return {
        "state": data["answer"] if data["complete"] else "requested",
        "decided_by": json.dumps([*before, data["by"]["subject"]]),
        "decided_record": record_id,
        "authenticated": data["by"]["authenticated"] and (not before or bool(row["authenticated"])),
    }
