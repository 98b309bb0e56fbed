"""Why a call was decided as it was: every part of the decision, judged again from its record."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.review.explaining import Step, explain
from remit.testing import Clock
from tests.stores import temporary

GRANT: dict[str, Any] = {
    "task": "Refund order 4711",
    "principal": "user:ravi@acme.com",
    "agent": "agent:support",
    "expires_in": "20m",
    "limits": {"denied": 9},
    "delegation": {"depth": 1},
    "tools": {
        "pay.refund": [
            {
                "name": "small",
                "arguments": {"order": 4711, "amount": {"min": 1, "below": 20}},
                "limits": {"calls": 1, "sum": {"argument": "amount", "max": 30}},
            },
            {
                "name": "large",
                "arguments": {"order": 4711, "amount": {"min": 20, "max": 50}},
                "approval": {"by": "user:bob@acme.com", "reason": "from 20 up"},
            },
        ],
        "bank.login": {"arguments": {"pin": {"like": "????"}}, "secret": ["pin"]},
    },
}
GUARDRAILS = """\
@id("night") @reason("not at night")
forbid (principal, action == Action::"pay.refund", resource) when { context.session.hour_utc < 6 };
@id("other") forbid (principal, action == Action::"crm.write", resource);
"""


@pytest.fixture
def app(tmp_path: Path, clock: Clock) -> Any:
    """A development app with one guardrail on refunds, and one on something else."""
    (tmp_path / "guard.cedar").write_text(GUARDRAILS, encoding="utf-8")
    clock.now = clock.now.replace(hour=12)
    with temporary(tmp_path, clock=clock, policies=tmp_path / "guard.cedar") as opened:
        yield opened


@pytest.fixture
def session(app: remit.App) -> remit.Session:
    """An open session under the grant."""
    return app.session(app.issue(GRANT, credential="user:ravi@acme.com")).open()


def attempt(session: remit.Session, tool: str, **arguments: Any) -> str:
    """Make a call; its id."""
    before = {record.data["call"] for record in session.app.records(session.id) if "call" in record.data}
    with contextlib.suppress(remit.Denied):
        session.call(tool, arguments, run=lambda **_: None)
    [call] = {record.data["call"] for record in session.app.records(session.id) if "call" in record.data} - before
    return str(call)


def why(app: remit.App, session: remit.Session, call: str) -> Step:
    """The one decision about a call."""
    [step] = explain(app.deployment, session.id, call)
    return step


def test_every_failed_condition_of_every_clause_is_named(app: remit.App, session: remit.Session) -> None:
    """The refusal that the model saw names one; a developer sees them all."""
    step = why(app, session, attempt(session, "pay.refund", order=4712, amount=99))

    assert (step.decided.code, step.same, step.why_not) == ("argument_out_of_bounds", True, None)
    [link] = step.links
    small, large = link.clauses
    assert (link.in_force, link.revoked, link.agent) == (True, False, "agent:support")
    assert small.problems == (
        "The argument `amount` of pay.refund is 99; the grant allows less than 20.",
        "The argument `order` of pay.refund is 4712; the grant allows exactly 4711.",
    )
    assert (large.admits, len(large.problems), large.decided or small.decided) == (False, 2, True)


def test_limits_say_where_they_stood_before_the_call(app: remit.App, session: remit.Session) -> None:
    """Spent, taken and allowed, of the clause that admits; the second call is over one of two."""
    first = why(app, session, attempt(session, "pay.refund", order=4711, amount=12.5))
    second = why(app, session, attempt(session, "pay.refund", order=4711, amount=15))

    def small(step: Step) -> list[tuple[str | None, str | None, str, bool]]:
        return [(one.spent, one.takes, one.allowed, one.reached) for one in step.links[0].clauses[0].limits]

    assert small(first) == [("0", "1", "1", False), ("0", "12.5", "30", False)]
    assert small(second) == [("1", "1", "1", True), ("12.5", "15", "30", False)]
    assert (first.decided.effect, second.decided.code) == ("permit", "limit_reached")
    assert first.links[0].clauses[0].decided
    third = why(app, session, attempt(session, "pay.refund", order=4711, amount=15))
    assert [(one.spent, one.allowed) for one in (third.links[0].refusals,) if one is not None] == [("1", "9")]


def test_a_call_that_was_asked_about_has_two_decisions(app: remit.App, session: remit.Session) -> None:
    """Not given, then given: the approval is an input of the second one."""
    with pytest.raises(remit.ApprovalRequired) as held:
        session.call("pay.refund", {"order": 4711, "amount": 30}, run=lambda **_: None)
    app.approve(held.value.approval_id, credential="user:bob@acme.com")
    session.resume(held.value.approval_id, run=lambda **_: None)
    call = app.approval(held.value.approval_id).call_id

    asked, ran = explain(app.deployment, session.id, call)
    assert [(step.type, step.same) for step in (asked, ran)] == [("approval.requested", True), ("call.intent", True)]
    for step, given in ((asked, False), (ran, True)):
        large = next(clause for clause in step.links[0].clauses if clause.name == "large")
        assert (large.approval, large.approved) == ("user:bob@acme.com: from 20 up", given)


def test_guardrails_that_speak_of_the_tool_are_listed_with_what_they_said(
    app: remit.App, session: remit.Session, clock: Clock
) -> None:
    """By day it lets the call pass, by night it forbids it; the one about another tool is not asked."""
    by_day = why(app, session, attempt(session, "pay.refund", order=4711, amount=2))
    assert [(one.id, one.said) for one in by_day.guardrails] == [("night", None)]

    clock.forward(hours=24 - clock.now.hour + 3)
    work = app.session(app.issue(GRANT, credential="user:ravi@acme.com")).open()
    by_night = why(app, work, attempt(work, "pay.refund", order=4711, amount=2))
    assert [(one.id, one.said, one.reason) for one in by_night.guardrails] == [("night", "forbids it", "not at night")]
    assert by_night.ruling == "The guardrail night forbids this call of pay.refund: not at night."
    assert (by_night.decided.code, by_night.links[0].clauses[0].admits) == ("guardrail", True)


def test_every_link_of_a_chain_is_judged(app: remit.App, session: remit.Session) -> None:
    """What the child may do and its parent may not, or was revoked, shows at the link."""
    child = app.delegate(
        session.grant_id,
        {
            "task": "Refund a little",
            "agent": "agent:clerk",
            "expires_in": "5m",
            "limits": {"denied": 9},
            "tools": {"pay.refund": [{**GRANT["tools"]["pay.refund"][0], "name": "little"}]},
        },
        credential="user:ravi@acme.com",
    )
    work = app.session(child).open()
    app.revoke(session.grant_id, reason="enough", credential="user:ravi@acme.com")
    step = why(app, work, attempt(work, "pay.refund", order=4711, amount=2))

    assert (step.decided.code, step.same, step.revoked) == ("grant_revoked", True, (session.grant_id,))
    assert [(link.agent, link.revoked) for link in step.links] == [("agent:support", True), ("agent:clerk", False)]
    assert [[clause.name for clause in link.clauses if clause.admits] for link in step.links] == [["small"], ["little"]]


def test_a_tool_that_is_not_granted_and_an_end_that_has_passed(
    app: remit.App, session: remit.Session, clock: Clock
) -> None:
    """What is missing is said at the link; so is whether it was in force."""
    missing = why(app, session, attempt(session, "crm.write", id=1))
    assert missing.links[0].problem == "The grant does not include crm.write; it includes bank.login and pay.refund."
    clock.forward(minutes=21)
    late = why(app, session, attempt(session, "pay.refund", order=4711, amount=2))
    assert (late.decided.code, late.links[0].in_force) == ("grant_expired", False)
    assert late.links[0].clauses[0].admits


def test_what_was_kept_nowhere_is_not_guessed(app: remit.App, session: remit.Session) -> None:
    """A secret that the clause reads, and text that was erased: it says so, and shows nothing."""
    secret = why(app, session, attempt(session, "bank.login", pin="4711"))
    assert (secret.again, secret.same) == (None, None)
    assert secret.why_not == "it depends on an argument that is secret, and was only committed to"
    assert "4711" not in str(secret.as_dict())

    call = attempt(session, "pay.refund", order=4711, amount=2)
    session.close("done")
    app.erase(session=session.id, reason="asked to", credential="user:ravi@acme.com")
    erased = why(app, session, call)
    assert (erased.reason, erased.why_not, erased.links) == (None, "its arguments were erased", ())


@pytest.mark.changes_evidence
def test_a_record_that_does_not_give_its_decision_is_said_to_be_so(app: remit.App, session: remit.Session) -> None:
    """The answer is the recorded one, today's, and that they differ."""
    call = attempt(session, "pay.refund", order=4711, amount=2)
    [record] = [record for record in app.records(session.id) if record.type == "call.intent"]
    data = {**record.data, "decision": {**record.data["decision"], "clause": "large"}, "call": "c-forged"}
    private = record.disclosed() or {}
    draft = app.ledger.draft("call.intent", session=session.id, data=data, private=private, named=frozenset())
    app.ledger.run(lambda txn: txn.append(draft))

    assert why(app, session, call).same is True
    forged = why(app, session, "c-forged")
    assert (forged.same, forged.decided.clause) == (False, "large")
    assert forged.again is not None
    assert forged.again.clause == "small"
