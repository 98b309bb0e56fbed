"""What a person decided of a session, or of one call in it: recorded, signed, superseded, never edited."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from sqlalchemy import select
from sqlmodel import col

from remit.errors import IdentityError, UsageError
from remit.store.tables import ApprovalRow, CallRow, VerdictRow

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.identity import Credential, Identity
    from remit.ledger import Appended, Txn

Verdict = Literal["within", "attempted", "exceeded", "inconclusive"]
"""`within`: everything that ran was within the grant and its task. `attempted`: nothing ran outside,
something was tried (of a session only). `exceeded`: something ran outside. `inconclusive`: nobody can tell."""

VerdictReason = Literal[
    "ran_outside_grant",
    "ran_after_revocation",
    "granted_but_outside_task",
    "grant_too_broad",
    "approval_defective",
    "identity_doubtful",
    "outcome_unknown",
    "evidence_missing",
    "attempt_benign",
    "attempt_hostile",
]
"""Why. The list is closed, so that verdicts can be counted."""

VERDICTS: Final[tuple[str, ...]] = get_args(Verdict)

REASONS_FOR: Final[Mapping[str, tuple[str, ...]]] = {
    "within": ("grant_too_broad",),
    "attempted": ("attempt_benign", "attempt_hostile"),
    "exceeded": (
        "ran_outside_grant",
        "ran_after_revocation",
        "granted_but_outside_task",
        "grant_too_broad",
        "approval_defective",
        "identity_doubtful",
    ),
    "inconclusive": ("outcome_unknown", "evidence_missing", "identity_doubtful", "approval_defective"),
}
"""Which reasons each verdict may carry. `within` may go without one; the others may not."""


def check(verdict: str, reason: str | None, *, of_call: bool) -> None:
    """Raises `UsageError` unless `verdict` and `reason` are of the closed lists and go together."""
    if verdict not in VERDICTS:
        raise UsageError(f"no verdict {verdict!r}; expected one of {', '.join(VERDICTS)}")
    if of_call and verdict == "attempted":
        raise UsageError(
            "a call is judged by what ran, it is not `attempted`; expected within, exceeded or inconclusive"
        )
    fitting = REASONS_FOR[verdict]
    if reason is None:
        if verdict != "within":
            raise UsageError(f"the verdict {verdict} needs a reason; expected one of {', '.join(fitting)}")
    elif reason not in fitting:
        raise UsageError(f"the reason {reason!r} does not go with {verdict}; expected one of {', '.join(fitting)}")


def give(
    deployment: Deployment,
    session_id: str,
    verdict: str,
    *,
    reason: str | None,
    comment: str | None = None,
    call_id: str | None = None,
    credential: Credential | str | None = None,
) -> str:
    """See `App.verdict`. Returns the id of the `review.verdict` record.

    Raises `UsageError` for unknown words or ids, `IdentityError` when the reviewer took part in the session.
    """
    check(verdict, reason, of_call=call_id is not None)

    def job(txn: Txn) -> str:
        txn.hold("sessions", session_id)  # verdicts on a session come one after the other
        session = txn.get("sessions", session_id)
        if session is None:
            raise UsageError(f"no session {session_id!r} is in this ledger; `remit session list` shows them")
        _check_call(txn, session_id, call_id)
        decided = {"call": call_id, "verdict": verdict, "reason": reason, "seen": _seen(txn, session_id, call_id)}
        draft = deployment.ledger.draft(
            "review.verdict", session=session_id, data={}, private={"comment": comment} if comment else None
        )
        about = {"session": session_id, **decided}
        if draft.private is not None:
            about["comment"] = draft.private["comment"]["commitment"]
        who = deployment.identify(txn, credential, act="review.verdict", about=about)
        refuse_part_in_it(txn, session, who)
        earlier = _standing(txn, session_id, call_id)
        supersedes = earlier[-1] if earlier else None
        of = "session" if call_id is None else "call"
        draft.data.update({**decided, "of": of, "by": who.as_record(), "supersedes": supersedes})
        appended = txn.append(draft)
        for older in earlier:
            txn.put("verdicts", older, superseded=appended.id)
        _put(txn, appended, session_id, decided, who)
        return appended.id

    return deployment.ledger.run(job)


def _put(txn: Txn, appended: Appended, session_id: str, decided: Mapping[str, Any], who: Identity) -> None:
    """The read model's row of a fresh verdict."""
    txn.put(
        "verdicts",
        appended.id,
        session_id=session_id,
        call_id=decided["call"],
        verdict=decided["verdict"],
        reason_code=decided["reason"],
        reviewer=who.subject,
        authenticated=who.authenticated,
        superseded=None,
        time=appended.time,
    )


def refuse_part_in_it(txn: Txn, session: Mapping[str, Any], who: Identity) -> None:
    """Raises `IdentityError` when the reviewer delegated, issued, approved or acted in this session."""
    if who.subject == session["agent"]:
        raise IdentityError(f"{who.subject} is the agent of this session, so it cannot review it")
    if who.subject == session["principal"]:
        raise IdentityError(f"{who.subject} is the principal whose authority was used; somebody else has to review it")
    grant_id = session["grant_id"]
    while grant_id is not None:
        grant = txn.get("grants", grant_id)
        assert grant is not None, "a session's grant is in the ledger"
        if who.subject in json.loads(grant["amenders"] or "[]"):
            raise IdentityError(f"{who.subject} amended grant {grant_id}; somebody else has to review this session")
        if who.subject in (grant["issuer"], grant["principal"]):
            raise IdentityError(f"{who.subject} issued grant {grant_id}; somebody else has to review this session")
        grant_id = grant["parent"]
    answered = select(col(ApprovalRow.id)).where(col(ApprovalRow.session_id) == session["id"])
    for (approval_id,) in txn.rows(answered):
        approval = txn.get("approvals", approval_id)
        if approval is not None and who.subject in json.loads(approval["decided_by"] or "[]"):
            raise IdentityError(
                f"{who.subject} answered approval {approval_id} in this session; somebody else has to review"
            )


def _check_call(txn: Txn, session_id: str, call_id: str | None) -> None:
    if call_id is None:
        return
    call = txn.get("calls", call_id)
    if call is None or call["session_id"] != session_id:
        raise UsageError(f"no call {call_id!r} is in session {session_id}; `remit review show {session_id}` lists them")


def _seen(txn: Txn, session_id: str, call_id: str | None) -> dict[str, int]:
    """How many calls, and of which state, this verdict was given on: it does not cover later ones."""
    query = select(col(CallRow.id)).where(col(CallRow.session_id) == session_id)
    if call_id is not None:
        query = query.where(col(CallRow.id) == call_id)
    seen: dict[str, int] = {"calls": 0}
    for (found,) in txn.rows(query):
        row = txn.get("calls", found)
        if row is not None:
            seen["calls"] += 1
            seen[row["state"]] = seen.get(row["state"], 0) + 1
    return seen


def _standing(txn: Txn, session_id: str, call_id: str | None) -> list[str]:
    """Ids of the verdicts on the same subject that nothing has superseded, oldest first."""
    query = (
        select(col(VerdictRow.id))
        .where(
            col(VerdictRow.session_id) == session_id, col(VerdictRow.call_id) == call_id
        )  # None is compared as IS NULL
        .where(col(VerdictRow.superseded).is_(None))
        .order_by(col(VerdictRow.id))
    )
    standing = []
    for (found,) in txn.rows(query):
        row = txn.get("verdicts", found)
        if row is not None and row["superseded"] is None:
            standing.append(found)
    return standing
