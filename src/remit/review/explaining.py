"""Why one recorded call was decided as it was: every link, clause, condition, limit and guardrail, looked at again.

Nothing is asked of today's files. The decision is put together from its record (`remit.review.recall`), taken again,
and then each part of it is judged by itself, also those that the gate passed over once it knew the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from remit.authority.calls import CallView, Facts
from remit.authority.compile import CompiledClause, CompiledGrant, Counter
from remit.authority.durations import say_moment
from remit.authority.explain import allows
from remit.authority.failures import explain_mismatch, problems
from remit.authority.literals import decimal_text
from remit.review.recall import DECIDED, CannotRecall, Recall, Recalled, Undecidable, Verdict
from remit.review.replay import decided_again

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.ledger import Record

WHY_NOT: Final[Mapping[Undecidable, str]] = {
    "erased": "its arguments were erased",
    "secret": "it depends on an argument that is secret, and was only committed to",
    "beside": "it was refused for something beside its authority, such as a call id that came before",
    "not_kept": "its arguments could not be kept as evidence",
    "adapter": "the adapter refused what its framework would have changed",
    "inexact": "its arguments were objects, of which evidence keeps the content only",
    "own_files": "Remit's own files lay elsewhere",
    "facts_missing": "its guardrails read what was not recorded",
    "artefact_missing": "a file that it was decided by is not in this ledger",
    "other_grant": "the grant is not for this session",
}


class _Json:
    """Turns itself into JSON, field by field."""

    __slots__ = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return {one.name: _plain(getattr(self, one.name)) for one in fields(self)}  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    if isinstance(value, _Json):
        return value.as_dict()
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, Verdict):
        return {one.name: getattr(value, one.name) for one in fields(value)}
    return dict(value) if isinstance(value, Mapping) else value


@dataclass(frozen=True, slots=True)
class LimitState(_Json):
    """Where a limit stood. `spent` was spent before this call, which takes `takes` (None: it did not come to that)."""

    limit: str
    allowed: str
    spent: str | None
    takes: str | None
    reached: bool


@dataclass(frozen=True, slots=True)
class ClauseState(_Json):
    """One clause, judged by itself. `problems` are all the conditions that failed; none: it admits the call."""

    name: str
    text: str
    admits: bool
    problems: tuple[str, ...]
    limits: tuple[LimitState, ...]
    approval: str | None
    approved: bool
    observe: bool
    decided: bool


@dataclass(frozen=True, slots=True)
class LinkState(_Json):
    """One grant of the chain: the first is the principal's, the last the acting agent's."""

    grant: str
    version: int
    agent: str
    issuer: str
    window: str
    in_force: bool
    revoked: bool
    refusals: LimitState | None
    clauses: tuple[ClauseState, ...]
    problem: str | None
    """`refusals` is the limit of refused calls, where the grant has one; `problem` says that it has no clause."""


@dataclass(frozen=True, slots=True)
class GuardrailState(_Json):
    """One guardrail that speaks of the tool. `said` is None where it let the call pass, or another spoke first."""

    id: str
    observe: bool
    reason: str | None
    said: str | None


@dataclass(frozen=True, slots=True)
class Step(_Json):
    """One decision about the call. `again` is what its record gives today; `same` None where that cannot be found out,
    and `why_not` says why."""

    index: int | None
    record: str
    type: str
    time: str
    decided: Verdict
    reason: str | None
    again: Verdict | None = None
    same: bool | None = None
    why_not: str | None = None
    session: str | None = None
    now: str | None = None
    revoked: tuple[str, ...] = ()
    approved: tuple[str, ...] = ()
    accesses: tuple[str, ...] = ()
    before: str | None = None
    links: tuple[LinkState, ...] = ()
    guardrails: tuple[GuardrailState, ...] = ()
    ruling: str | None = None
    """`before` is what refused the call before any clause was looked at: its shape, or Remit's own files."""


def explain(deployment: Deployment, session_id: str, call_id: str) -> tuple[Step, ...]:
    """Every decision about one call, in order: the question to a person, and then the call itself, are two."""
    recall = Recall(deployment.ledger)
    return tuple(
        _step(deployment, recall, record)
        for record in deployment.ledger.records(session=session_id, types=DECIDED)
        if record.data["call"] == call_id
    )


def _step(deployment: Deployment, recall: Recall, record: Record) -> Step:
    recorded = (record.place, record.id, record.type, record.time, Verdict.of(record.data["decision"]))
    reason = (record.disclosed() or {}).get("reason")
    try:
        recalled = recall.of(record)
        recalled.require_readable(recalled.chain, recalled.guardrails)
    except CannotRecall as cannot:
        return Step(*recorded, reason, why_not=WHY_NOT[cannot.why])
    decision = decided_again(deployment, recalled)
    again = Verdict.of(decision)
    same: bool | None = again == recalled.decided and decision.reason == recalled.reason
    why_not = None
    if not same and recalled.inexact:
        same, why_not = None, WHY_NOT["inexact"]
    elif not same and "remit/own-files" in (again.rule, recalled.decided.rule) and again.rule != recalled.decided.rule:
        same, why_not = None, WHY_NOT["own_files"]
    facts, view = recalled.facts, recalled.view
    closed = deployment.own_files.check(view.accesses)
    before = recalled.failure or closed
    guardrails, ruling = _guardrails(recalled)
    return Step(
        *recorded,
        reason,
        again=again,
        same=same,
        why_not=why_not,
        session=facts.session,
        now=say_moment(facts.now),
        revoked=tuple(sorted(facts.revoked)),
        approved=tuple(sorted(facts.approved_rules)),
        accesses=tuple(map(str, view.accesses)),
        before=before.reason if before is not None else None,
        links=tuple(_link(link, recalled) for link in recalled.chain),
        guardrails=guardrails,
        ruling=ruling,
    )


# -- the grants


def _link(link: CompiledGrant, recalled: Recalled) -> LinkState:
    facts, view = recalled.facts, recalled.view
    clauses: tuple[CompiledClause, ...] = ()
    problem = None
    if recalled.failure is None:  # what has the wrong shape is not compared with what a clause says of it
        clauses = tuple(clause.on(view.sources) for clause in link.clauses(view.tool))
        problem = explain_mismatch(link, view).reason if not clauses else None
    return LinkState(
        grant=link.id,
        version=link.terms.version,
        agent=link.terms.agent,
        issuer=link.terms.issuer,
        window=f"{say_moment(link.not_before)} to {say_moment(link.expires)}",
        in_force=link.not_before <= facts.now < link.expires,
        revoked=link.id in facts.revoked,
        refusals=_refusals(link, facts),
        clauses=tuple(_clause(clause, link, recalled) for clause in clauses),
        problem=problem,
    )


def _clause(clause: CompiledClause, link: CompiledGrant, recalled: Recalled) -> ClauseState:
    view, facts = recalled.view, recalled.facts
    admits = clause.admits(view)
    acting = link is recalled.chain[-1]
    names = {clause.rule} if acting else {clause.rule, f"{link.id}/{clause.rule}"}
    return ClauseState(
        name=clause.name,
        text=allows(clause.tool, clause.source),
        admits=admits,
        problems=() if admits else tuple(dict.fromkeys(one.reason for one in problems(clause, view))),
        limits=tuple(_limit(one, clause, view, facts, admits=admits) for one in clause.counters),
        approval=_approval(clause),
        approved=bool(names & facts.approved_rules),
        observe=clause.observe,
        decided=acting and clause.name == recalled.decided.clause,
    )


def _approval(clause: CompiledClause) -> str | None:
    need = clause.need
    if need is None:
        return None
    by = " or ".join(need.by)
    return f"{by if need.count == 1 else f'{need.count} persons of {by}'}: {need.reason}"


def _refusals(link: CompiledGrant, facts: Facts) -> LimitState | None:
    if link.denied_limit is None:
        return None
    spent = facts.counters.get(f"{link.id}/denied", "0")
    return LimitState("refused calls", str(link.denied_limit), spent, None, int(spent) > link.denied_limit)


def _limit(counter: Counter, clause: CompiledClause, view: CallView, facts: Facts, *, admits: bool) -> LimitState:
    allowed = decimal_text(counter.most)
    if counter.argument in view.secret:  # what is spent, and what this call takes, would say what it holds
        return LimitState(counter.label, allowed, None, None, reached=False)
    takes = decimal_text(counter.amount(view)) if admits else None
    alone = CompiledClause(clause.tool, clause.source, clause.scope, (counter,))
    reached = admits and alone.spent(view, facts.counters) is not None
    return LimitState(counter.label, allowed, facts.counters.get(counter.id, "0"), takes, reached)


# -- guardrails


def _guardrails(recalled: Recalled) -> tuple[tuple[GuardrailState, ...], str | None]:
    """Those that speak of the tool, with what was said; and the ruling that they come to together."""
    guardrails, view = recalled.guardrails, recalled.view
    if guardrails is None:
        return (), None
    ruling = guardrails.judge(view, recalled.chain, recalled.facts)
    said: dict[str, str] = {}
    if ruling is not None:
        said = {rule: f"wants an approval by {' or '.join(need.by)}" for rule, need in ruling.needs}
        if ruling.effect == "deny":
            said[ruling.rule] = "forbids it"
    policies: tuple[Any, ...] = getattr(guardrails, "policies", ())
    states = tuple(
        GuardrailState(one.id, one.observe, one.reason, said.get(one.id)) for one in policies if one.covers(view.tool)
    )
    return states, ruling.reason if ruling is not None else None


__all__ = ["WHY_NOT", "ClauseState", "GuardrailState", "LimitState", "LinkState", "Step", "explain"]
