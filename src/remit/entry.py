"""Steps (3) and (4) of the way of one call: the store transaction that reserves and records, or refuses and records.

Everything here runs in the writer thread, inside one transaction, and looks at what is true there and then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from remit import closing, pins
from remit.attempts import Attempt
from remit.authority.calls import Decision, Facts
from remit.authority.decide import settle
from remit.calls import Amended, CallRequest, Entry, Prepared, Refused, Running
from remit.counters import without_own
from remit.errors import GrantError
from remit.facts import read_facts
from remit.reentry import GoesOn, Reentry
from remit.standing import STANDING

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.ledger import Txn
    from remit.sessions import Session


def job(
    deployment: Deployment,
    running: Running,
    session: Session,
    request: CallRequest,
    prepared: Prepared,
    *,
    parent: str | None,
) -> Callable[[Txn], Entry]:
    """The transaction for one request."""

    def enter(txn: Txn) -> Entry:
        return _enter(Attempt(deployment, running, session, request, prepared, parent, txn))

    return enter


def decide_now(deployment: Deployment, txn: Txn, session: Session, prepared: Prepared) -> Decision | None:
    """The decision at this moment, for `explain`: nothing is written. None when the grant was amended meanwhile."""
    if not session.take_up(txn, prepared.chain):
        return None
    facts = read_facts(txn, session, call=prepared.view)
    return prepared.marked.decision(settle(session.chain, prepared.matched, facts, deployment.guardrails))


def _enter(attempt: Attempt) -> Entry:
    """Decide on what is true now; then write the intent, or the refusal."""
    txn, session, prepared = attempt.txn, attempt.session, attempt.prepared
    session.join(txn)
    try:
        if not session.take_up(txn, prepared.chain):
            return Amended()
    except GrantError:
        return _invalid(attempt)
    closing.end_if_idle(attempt.deployment, txn, session.id)
    attempt.facts = facts = read_facts(txn, session, call=prepared.view)
    session.around = facts.around
    decision = _settle(attempt, facts)
    if decision.code in STANDING:
        return attempt.deny(decision, facts)
    session.standing.over()
    refusal = _identity_conflict(attempt) or _tool_changed(attempt)
    if refusal is not None:
        return attempt.deny(refusal, facts)
    if attempt.request.continues is not None or prepared.identity is not None:
        met = _reentry(attempt).met()
        if not isinstance(met, GoesOn):
            return met if not isinstance(met, Decision) else attempt.deny(met, facts)
        attempt.call_id, attempt.resumes = met
    if attempt.resumes is not None:
        attempt.facts = facts = _without_own(attempt, facts, attempt.resumes)
        decision = _settle(attempt, facts)
    if decision.effect == "ask":
        _find_approvals(attempt, decision)
    elif decision.effect == "deny" and decision.enforced:
        return attempt.deny(decision, facts)
    wanted = attempt.request.approval_id
    if wanted is not None and wanted not in {approval["id"] for approval in attempt.approvals}:
        return attempt.deny(prepared.refusal(*attempt.questions.not_usable(wanted, decision)), facts)
    if attempt.approvals and decision.effect == "ask":
        rules = facts.approved_rules | {approval["rule"] for approval in attempt.approvals}
        facts = replace(facts, approved_rules=frozenset(rules))
        decision = _settle(attempt, facts)
    if decision.effect == "deny" and decision.enforced:
        return attempt.deny(decision, facts)
    if decision.effect == "ask" and decision.enforced:
        return attempt.ask(decision, facts)
    return attempt.permit(decision, facts)


def _settle(attempt: Attempt, facts: Facts) -> Decision:
    prepared = attempt.prepared
    decision = settle(attempt.session.chain, prepared.matched, facts, attempt.deployment.guardrails)
    return prepared.marked.decision(decision)


def _reentry(attempt: Attempt) -> Reentry:
    return Reentry(
        attempt.deployment,
        attempt.txn,
        attempt.session,
        attempt.request,
        attempt.prepared,
        attempt.questions,
        attempt.parent,
    )


def _without_own(attempt: Attempt, facts: Facts, resumes: Mapping[str, Any]) -> Facts:
    """A call that goes on has spent its share already: what it took does not count against it once more."""
    used = attempt.txn.get("approvals", resumes["approval_id"]) if resumes["approval_id"] is not None else None
    if used is not None and used["state"] == "used":  # what a person approved goes on; it is not asked about again
        facts = replace(facts, approved_rules=frozenset({used["rule"]}))
    alone = _settle(attempt, replace(facts, counters={}))
    if alone.clause != resumes["clause"]:
        return facts
    return replace(facts, counters=without_own(facts.counters, alone.spends))


def _find_approvals(attempt: Attempt, decision: Decision) -> None:
    """Approvals of exactly this call. A request without an identity of its own goes on as the one that asked."""
    attempt.approvals = attempt.questions.usable(decision)
    if not attempt.approvals or attempt.prepared.identity is not None:
        return
    asked = attempt.txn.get("calls", attempt.approvals[0]["call_id"])
    if asked is not None and asked["state"] == "ask":
        attempt.call_id = asked["id"]


# -- refusals that depend on the store


def _invalid(attempt: Attempt) -> Refused:
    """What the store holds as the newest version of a grant is none that was signed and recorded here."""
    attempt.facts = read_facts(attempt.txn, attempt.session, call=attempt.prepared.view)
    reason = f"Grant {attempt.session.grant_id} is not what was signed here, so it authorises nothing."
    return attempt.deny(attempt.prepared.refusal("grant_invalid", reason), attempt.facts)


def _identity_conflict(attempt: Attempt) -> Decision | None:
    claimed = attempt.request.claimed
    session = attempt.session
    for name, authentic in (
        ("principal", session.principal),
        ("agent", session.agent),
        ("grant", session.grant_id),
    ):
        said = claimed.get(name)
        if said is not None and said != authentic:
            attempt.txn.append(
                attempt.deployment.ledger.draft(
                    "identity.conflict",
                    session=session.id,
                    data={"about": name, "authentic": authentic},
                    private={"claimed": said},
                )
            )
            return attempt.prepared.refusal(
                "identity_conflict", f"The {name} that the request claims is not the session's."
            )
    return None


def _tool_changed(attempt: Attempt) -> Decision | None:
    refusal = pins.check(attempt.deployment, attempt.txn, attempt.request, attempt.prepared.tool)
    return None if refusal is None else attempt.prepared.refusal(*refusal)
