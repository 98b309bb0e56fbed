"""Deciding one call. `match` is the expensive, factless half (`remit.authority.matching`); `settle` the cheap half that
looks at the facts.

A chain is root first, the acting grant last. The order of one decision:

```
match    tool → arguments → resources                              on every link; strictest wins
settle   (1) session  (2) window  (3) revocation  (4) hand-on-only and depth
         (5) what match found  (6) guardrails  (7) limits  (8) approval
```

Both are pure: the same chain, call, guardrails and facts give the same decision, on any machine, at any time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from remit.authority.calls import (
    ApprovalNeed,
    CallView,
    Decision,
    Facts,
    Failure,
    Ruling,
    Spend,
)
from remit.authority.compile import CompiledClause, CompiledGrant, Counter
from remit.authority.durations import say_moment
from remit.authority.guardrails import Guardrails
from remit.authority.literals import add_exactly, decimal_text
from remit.authority.matching import Match, match
from remit.errors import DenialCode, Remedy

_NO_ACCESSES: Final[tuple[Any, ...]] = ()
_MAX_DEPTH: Final = 64
"""Times that a grant may be handed on, whatever it says itself."""


def settle(
    chain: Sequence[CompiledGrant], matched: Match, facts: Facts, guardrails: Guardrails | None = None
) -> Decision:
    """Decide a matched call on the facts. Pure and cheap, so that it can be repeated inside a store transaction.

    Never raises: an error inside is a refusal.
    """
    try:
        return _settle(chain, matched, facts, guardrails)
    except Exception:  # noqa: BLE001 - whatever goes wrong in deciding, the answer is no
        reason = "The call could not be decided because of an error inside the gate."
        return _deny("evaluator_error", "remit/evaluator", reason, Remedy("stop"), _accesses(matched))


def _settle(chain: Sequence[CompiledGrant], matched: Match, facts: Facts, guardrails: Guardrails | None) -> Decision:
    if facts.session != "open":
        return _session(facts)
    now = facts.now
    for grant in chain:
        if now < grant.not_before or now >= grant.expires:
            return _window(grant, facts)
    if facts.revoked:
        for grant in chain:
            if grant.id in facts.revoked:
                return _deny(
                    "grant_revoked", grant.id, f"Grant {grant.id} was revoked.", Remedy("stop"), _accesses(matched)
                )
    if chain and (not chain[-1].may_use or len(chain) > 1):
        refused = _handed_on(chain, matched)
        if refused is not None:
            return refused
    failure, call = matched.failure, matched.call
    if failure is not None and (failure.enforced or call is None):
        return _failed(failure, matched)
    assert call is not None
    ruling = None if guardrails is None else guardrails.judge(call, chain, facts)
    if ruling is not None and ruling.effect == "deny" and ruling.enforced:
        return _forbidden(ruling, call)
    if failure is not None:
        decision = _failed(failure, matched)
    elif len(matched.links) == 1:
        decision = _single(matched.links[0], call, facts)
    else:
        decision = _several(chain, matched.links, call, facts)
    return decision if ruling is None else _under(ruling, decision, call, facts)


def decide(
    chain: Sequence[CompiledGrant], call: CallView, facts: Facts, guardrails: Guardrails | None = None
) -> Decision:
    """`settle(match(…))`."""
    return settle(chain, match(chain, call), facts, guardrails)


# -- guardrails


def _forbidden(ruling: Ruling, call: CallView) -> Decision:
    return _deny(ruling.code, ruling.rule, ruling.reason, ruling.remedy, call.accesses)


def _under(ruling: Ruling, decision: Decision, call: CallView, facts: Facts) -> Decision:
    """The grant's own decision under a ruling that does not forbid outright.

    A limit that is reached refuses before anybody is asked. Then every rule that wants an approval gets one of its
    own, the guardrails' and the clause's, whichever is answered first.
    """
    if decision.effect == "deny" and decision.enforced:
        return decision
    if ruling.effect == "ask":
        missing = [(rule, need) for rule, need in ruling.needs if rule not in facts.approved_rules]
        if not missing:
            return decision
        if decision.effect == "ask" and decision.enforced and decision.rule and decision.need:
            missing += [(decision.rule, decision.need), *decision.also]
        return replace(
            decision,
            effect="ask",
            code="approval_required",
            rule=missing[0][0],
            reason=_waits(call, missing),
            remedy=Remedy("await_approval"),
            need=missing[0][1],
            enforced=True,
            also=tuple(missing[1:]),
        )
    if decision.effect != "permit":
        return decision
    return replace(
        decision,
        effect="deny",
        code=ruling.code,
        rule=ruling.rule,
        reason=ruling.reason,
        remedy=ruling.remedy,
        enforced=False,
    )


# -- limits and approval


def _single(clauses: tuple[CompiledClause, ...], call: CallView, facts: Facts) -> Decision:
    """The decision of a chain of one link, which most are."""
    values = facts.counters
    for clause in clauses:
        if clause.counters and clause.spent(call, values) is not None:
            continue
        if clause.need is not None and clause.rule not in facts.approved_rules:
            return _ask(clause, [(clause.rule, clause.need)], call, enforced=not clause.observe)
        return _permit(clause, call, clause.spends(call), clause.unbounded(call))
    return _limit_reached(clauses, call, facts)


def _several(
    chain: Sequence[CompiledGrant],
    links: tuple[tuple[CompiledClause, ...], ...],
    call: CallView,
    facts: Facts,
) -> Decision:
    """One clause of every link has to admit the call, within its limits, and with its approval."""
    chosen: list[CompiledClause] = []
    for clauses in links:
        clause = next((one for one in clauses if one.spent(call, facts.counters) is None), None)
        if clause is None:
            return _limit_reached(clauses, call, facts)
        chosen.append(clause)
    acting = chosen[-1]
    missing: dict[str, tuple[ApprovalNeed, bool]] = {}
    for grant, clause in zip(reversed(chain), reversed(chosen), strict=True):
        if clause.need is None:
            continue
        same = clause is acting or (clause.rule == acting.rule and clause.need == acting.need)
        rule = acting.rule if same else f"{grant.id}/{clause.rule}"
        if rule not in facts.approved_rules:
            enforced = not clause.observe or (rule in missing and missing[rule][1])
            missing[rule] = (clause.need, enforced)
    if missing:  # a link that only observes asks nobody, and keeps nobody else from asking
        enforced = any(enforced for _, enforced in missing.values())
        needs = [(rule, need) for rule, (need, binds) in missing.items() if binds or not enforced]
        return _ask(acting, needs, call, enforced=enforced)
    spends = tuple(spend for clause in chosen for spend in clause.spends(call))
    free = [set(clause.unbounded(call)) for clause in chosen]
    unbounded = tuple(name for name in acting.unbounded(call) if all(name in names for names in free))
    return _permit(acting, call, spends, unbounded)


def _permit(clause: CompiledClause, call: CallView, spends: tuple[Spend, ...], unbounded: tuple[str, ...]) -> Decision:
    return Decision(
        "permit",
        None,
        clause.rule,
        clause.permitted,
        None,
        clause.source.name,
        call.accesses,
        spends,
        None,
        unbounded,
    )


def _ask(
    clause: CompiledClause, needs: Sequence[tuple[str, ApprovalNeed]], call: CallView, *, enforced: bool
) -> Decision:
    """The decision to ask: one question for each of `needs`. `clause` is the acting grant's."""
    return Decision(
        "ask",
        "approval_required",
        needs[0][0],
        _waits(call, needs),
        Remedy("await_approval"),
        clause.name,
        call.accesses,
        clause.spends(call),
        needs[0][1],
        clause.unbounded(call),
        enforced,
        tuple(needs[1:]),
    )


def _waits(call: CallView, needs: Sequence[tuple[str, ApprovalNeed]]) -> str:
    wanted = "; and by ".join(f"{_who(need)}: {need.reason}" for _, need in needs)
    return f"{call.tool} waits for approval by {wanted}."


def _who(need: ApprovalNeed) -> str:
    by = " or ".join(need.by)
    return by if need.count == 1 else f"{need.count} persons of {by}"


def _limit_reached(clauses: tuple[CompiledClause, ...], call: CallView, facts: Facts) -> Decision:
    """Every clause that admits the call is spent; the first one's limit is named."""
    clause = clauses[0]
    values, now = facts.counters, facts.now
    counter = clause.spent(call, values)
    assert counter is not None
    left = _left(counter, values)
    amount = counter.amount(call)
    if counter.patterns:
        reason = f"This call touches {amount} of {counter.label}, and only {left} more may be touched."
    elif counter.argument is None:
        reason = f"The limit of {counter.label} is reached."
    else:
        reason = (
            f"`{counter.argument}` is {decimal_text(amount)}, and of {counter.label} only {decimal_text(left)} is left."
        )
    remedy = Remedy("request_grant", details={"limit": counter.id})
    if counter.argument is not None and left > 0 and counter.argument not in call.secret:
        remedy = Remedy("change_argument", f"{counter.argument}: at most {decimal_text(left)}")
    if counter.seconds and (free := values.get(f"{counter.id}:free")) is not None:
        moment = datetime.fromisoformat(free)
        reason += f" The next call may come at {say_moment(moment)}."
        seconds = max(1, math.ceil((moment - now).total_seconds()))
        remedy = Remedy("retry_after", details={"seconds": seconds, "limit": counter.id})
    return Decision(
        "deny",
        "limit_reached",
        f"{clause.rule}:{counter.part}",
        reason,
        remedy,
        clause.name,
        call.accesses,
        clause.spends(call) if clause.observe else (),
        None,
        (),
        not clause.observe,
    )


def _left(counter: Counter, values: Mapping[str, str]) -> Decimal:
    return max(Decimal(0), add_exactly(counter.most, -Decimal(values.get(counter.id, "0"))))


# -- refusals


def _accesses(matched: Match) -> tuple[Any, ...]:
    return matched.call.accesses if matched.call is not None else _NO_ACCESSES


def _deny(code: DenialCode, rule: str | None, reason: str, remedy: Remedy, accesses: tuple[Any, ...]) -> Decision:
    return Decision("deny", code, rule, reason, remedy, None, accesses, (), None, ())


def _session(facts: Facts) -> Decision:
    if facts.session == "suspended":
        reason = "The session is suspended until a person resumes it."
        return _deny("session_suspended", "session", reason, Remedy("stop"), ())
    return _deny("session_closed", "session", "The session is closed.", Remedy("stop"), ())


def _window(grant: CompiledGrant, facts: Facts) -> Decision:
    if facts.now < grant.not_before:
        seconds = math.ceil((grant.not_before - facts.now).total_seconds())
        begins = say_moment(grant.not_before)
        remedy = Remedy("retry_after", f"a call from {begins} on", details={"seconds": seconds})
        return _deny("not_yet_valid", grant.id, f"Grant {grant.id} begins at {begins}.", remedy, ())
    ended = say_moment(grant.expires)
    return _deny("grant_expired", grant.id, f"Grant {grant.id} ended at {ended}.", Remedy("request_grant"), ())


def _handed_on(chain: Sequence[CompiledGrant], matched: Match) -> Decision | None:
    acting = chain[-1]
    if not acting.may_use:
        reason = f"Grant {acting.id} may be handed on, but not used by its own holder."
        return _deny("delegate_only", acting.id, reason, Remedy("stop"), _accesses(matched))
    for index, grant in enumerate(chain):
        below = len(chain) - 1 - index
        if below > min(grant.terms.delegation.depth, _MAX_DEPTH):
            reason = f"Grant {grant.id} was handed on {below} times; it allows {grant.terms.delegation.depth}."
            return _deny("delegation_too_deep", grant.id, reason, Remedy("stop"), _accesses(matched))
        if not grant.may_use and grant.terms.agent == acting.terms.agent:
            reason = f"Grant {grant.id} may be handed on by {grant.terms.agent}, but not come back to be used by it."
            return _deny("delegate_only", grant.id, reason, Remedy("stop"), _accesses(matched))
    return None


def _failed(failure: Failure, matched: Match) -> Decision:
    return Decision(
        "deny",
        failure.code,
        failure.rule,
        failure.reason,
        failure.remedy,
        failure.clause,
        _accesses(matched),
        (),
        None,
        (),
        failure.enforced,
    )


__all__ = [
    "ApprovalNeed",
    "CallView",
    "Decision",
    "Facts",
    "Failure",
    "Match",
    "Spend",
    "decide",
    "match",
    "settle",
]
