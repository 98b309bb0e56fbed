"""What an approval is bound to: whatever changed since it was asked for, it lets nothing run. Attacks first."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.testing import Clock
from tests.core.conftest import CATALOGUE, PEOPLE, TRIAGE, Tool, data, types
from tests.stores import temporary

BOB, SUE, TIM = "user:bob@acme.com", "user:sue@acme.com", "user:tim@acme.com"
LARGE = {"order": "ord_4711", "amount": 30}
STAFF = {
    **PEOPLE,
    "sue@acme.com": {"roles": ["finance", "security"]},
    "tim@acme.com": {"roles": ["finance"]},
}
GUARDRAIL = """
@id("org/second-pair") @approval("role:security") @reason("{reason}")
forbid(principal, action == Action::"payments.refund", resource)
when {{ context.input.amount.greaterThan(decimal("25.0")) }};
"""


@pytest.fixture
def app(tmp_path: Path, clock: Clock) -> Iterator[remit.App]:
    """With more people in finance."""
    with temporary(tmp_path, clock=clock, catalogue=CATALOGUE, people=STAFF) as opened:
        yield opened


def changed(**approval: Any) -> dict[str, Any]:
    """The triage grant with other words under `approval`."""
    small, large = TRIAGE["tools"]["payments.refund"]
    tools = {**TRIAGE["tools"], "payments.refund": [small, {**large, "approval": {**large["approval"], **approval}}]}
    return {**TRIAGE, "tools": tools}


def ask(session: remit.Session, tool: Tool, arguments: dict[str, Any] | None = None, **options: Any) -> Any:
    """The question that a refund puts."""
    with pytest.raises(remit.ApprovalRequired) as caught:
        session.call("payments.refund", arguments or LARGE, run=tool, **options)
    return caught.value


def refused(session: remit.Session, approval_id: str, tool: Tool) -> remit.Denied:
    """The refusal of a resume."""
    with pytest.raises(remit.Denied) as caught:
        session.resume(approval_id, run=tool)
    assert tool.calls == []
    return caught.value


class TestWhatChangedSince:
    """A yes to something else is no yes."""

    @pytest.mark.requirement("code:approval_mismatch")
    def test_grant(self, app: remit.App, tool: Tool) -> None:
        """The next version of the grant may mean something else by the same clause."""
        grant = app.issue(TRIAGE, credential="user:ravi@acme.com")
        with app.session(grant, key="k") as session:
            asked = ask(session, tool)
            app.approve(asked.approval_id, credential=BOB)
            app.amend(
                grant, {**TRIAGE, "task": "Triage ticket 88 and refund everything"}, credential="user:ravi@acme.com"
            )
            denied = refused(session, asked.approval_id, tool)
            again = ask(session, tool)

        assert denied.code == "approval_mismatch"
        assert "the grant changed" in denied.reason
        assert again.approval_id != asked.approval_id

    def test_definition_of_the_tool(self, app: remit.App, tool: Tool) -> None:
        """Accepted by a person meanwhile, but not what the approver saw."""
        schema = {"type": "object", "properties": {"order": {}, "amount": {}}}
        first = remit.ToolDefinition("payments.refund", schema, "Refund")
        second = remit.ToolDefinition("payments.refund", schema, "Refund, twice")
        grant = app.issue(TRIAGE, credential="user:ravi@acme.com")
        with app.session(grant, key="k") as session:
            asked = ask(session, tool, definition=first)
            app.approve(asked.approval_id, credential=BOB)
            with pytest.raises(remit.Denied):
                session.call("payments.refund", LARGE, run=tool, definition=second)
            app.accept_tool("payments.refund", credential=BOB)
            denied = refused(session, asked.approval_id, tool)
            again = ask(session, tool, definition=second)

        assert denied.code == "approval_mismatch"
        assert again.approval_id != asked.approval_id

    def test_guardrails(self, tmp_path: Path, clock: Clock, tool: Tool) -> None:
        """The approval was the clause's, and the policies are bound all the same."""
        policy = tmp_path / "org.cedar"
        policy.write_text(GUARDRAIL.format(reason="large"), encoding="utf-8")
        with temporary(tmp_path, clock=clock, catalogue=CATALOGUE, people=STAFF) as app:
            grant = app.issue(TRIAGE, credential="user:ravi@acme.com")
            with app.session(grant, key="k") as session:
                asked = ask(session, tool)
                app.approve(asked.approval_id, credential=BOB)
        with (
            temporary(tmp_path, clock=clock, catalogue=CATALOGUE, people=STAFF, policies=policy) as app,
            app.session(grant, key="k") as session,
        ):
            denied = refused(session, asked.approval_id, tool)

        assert denied.code == "approval_mismatch"
        assert "the guardrails changed" in denied.reason

    def test_what_the_application_fills_in(self, app: remit.App, tool: Tool) -> None:
        """The same words of the model for another customer are another call."""
        grant = app.issue(TRIAGE, credential="user:ravi@acme.com")
        with app.session(grant, key="k") as session:
            asked = ask(session, tool, injected={"customer": "c1"})
            app.approve(asked.approval_id, credential=BOB)
            other = ask(session, tool, injected={"customer": "c2"})
            session.resume(asked.approval_id, run=tool)

        assert other.approval_id != asked.approval_id
        assert tool.calls == [LARGE]

    def test_time(self, app: remit.App, tool: Tool, clock: Clock) -> None:
        """No approval outlives the grant, however long its clause lets it stand."""
        grant = app.issue(changed(expires_in="30d"), credential="user:ravi@acme.com")
        with app.session(grant, key="k") as session:
            asked = ask(session, tool)
            expires = app.approval(asked.approval_id).expires
            app.approve(asked.approval_id, credential=BOB)
            clock.forward(minutes=21)
            denied = refused(session, asked.approval_id, tool)

        assert expires == grant.expires
        assert denied.code in ("grant_expired", "session_closed")

    def test_limit_that_was_spent_meanwhile_is_the_reason_that_is_given(self, app: remit.App, tool: Tool) -> None:
        """Not a mismatch: the person may ask for a new grant."""
        document = {**TRIAGE, "limits": {"calls": 1}}
        grant = app.issue(document, credential="user:ravi@acme.com")
        with app.session(grant, key="k") as session:
            asked = ask(session, tool)
            app.approve(asked.approval_id, credential=BOB)
            session.call("kb.search", {"query": "a"}, run=Tool())
            denied = refused(session, asked.approval_id, tool)

        assert denied.code == "limit_reached"


def test_answer_to_something_else_than_was_shown_does_not_count(app: remit.App, tool: Tool) -> None:
    """The digest of what the person saw is signed, recorded, and compared."""
    grant = app.issue(TRIAGE, credential="user:ravi@acme.com")
    with app.session(grant, key="k") as session:
        one, other = ask(session, tool), ask(session, tool, {**LARGE, "amount": 31})
        seen = app.approval(one.approval_id).shown
        with pytest.raises(remit.Denied) as caught:
            app.approve(other.approval_id, credential=BOB, shown=seen)
        app.approve(one.approval_id, credential=BOB, shown=seen)

    assert caught.value.code == "approval_mismatch"
    assert data(app, "approval.decided")[0]["shown"] == {"digest": seen, "confirmed": True}
    assert "ord_4711" not in seen


@pytest.mark.parametrize("who", ["spiffe://acme.com/agents/triage", "spiffe://acme.com/agents/other", "agent:bob"])
def test_agent_never_answers(tmp_path: Path, tool: Tool, who: str) -> None:
    """Not the one that asks, and no other: a person has to, whatever role somebody gave an agent."""
    with temporary(tmp_path, catalogue=CATALOGUE, people=STAFF) as app:
        grant = app.issue(changed(by=["role:finance"]), credential="user:ravi@acme.com")
        with app.session(grant, key="k") as session:
            asked = ask(session, tool)
            with pytest.raises(remit.IdentityError):
                app.approve(asked.approval_id, credential=who)

        assert app.approval(asked.approval_id).state == "requested"


@pytest.mark.requirement("approvals:count")
class TestSeveralPersons:
    """`count: 2`."""

    def test_two_different_persons_have_to_say_yes(self, app: remit.App, tool: Tool) -> None:
        """The same one twice is one."""
        grant = app.issue(changed(count=2), credential="user:ravi@acme.com")
        with app.session(grant, key="k") as session:
            asked = ask(session, tool)
            first = app.approve(asked.approval_id, credential=BOB)
            with pytest.raises(remit.IdentityError, match="another person"):
                app.approve(asked.approval_id, credential=BOB)
            with pytest.raises(remit.Denied) as waits:
                session.resume(asked.approval_id, run=tool)
            second = app.approve(asked.approval_id, credential=SUE)
            session.resume(asked.approval_id, run=tool)

        assert (first.state, second.state) == ("requested", "approved")
        assert waits.value.code == "approval_required"
        assert tool.calls == [LARGE]
        assert [answer["number"] for answer in data(app, "approval.decided")] == [1, 2]

    def test_one_no_is_enough(self, app: remit.App, tool: Tool) -> None:
        """After a yes, too."""
        grant = app.issue(changed(count=2), credential="user:ravi@acme.com")
        with app.session(grant, key="k") as session:
            asked = ask(session, tool)
            app.approve(asked.approval_id, credential=BOB)
            app.refuse(asked.approval_id, credential=SUE)
            denied = refused(session, asked.approval_id, tool)

        assert denied.code == "approval_refused"

    @pytest.mark.parametrize(
        ("approval", "says"),
        [({"by": [BOB, SUE], "count": 3}, "nobody could ever run this"), ({"count": 99}, "at most 16")],
    )
    def test_count_that_nobody_could_reach_is_refused(self, app: remit.App, approval: Any, says: str) -> None:
        """When the grant is issued, not when it is too late."""
        with pytest.raises(remit.GrantError, match=says):
            app.issue(changed(**approval), credential="user:ravi@acme.com")


@pytest.mark.requirement("approvals:several")
@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["guardrail first", "clause first"])
def test_guardrail_and_clause_are_two_questions_in_any_order(
    tmp_path: Path, clock: Clock, tool: Tool, order: tuple[int, int]
) -> None:
    """Both are put at once; one answer alone lets nothing run."""
    policy = tmp_path / "org.cedar"
    policy.write_text(GUARDRAIL.format(reason="large"), encoding="utf-8")
    with temporary(tmp_path, clock=clock, catalogue=CATALOGUE, people=STAFF, policies=policy) as app:
        grant = app.issue(TRIAGE, credential="user:ravi@acme.com")
        with app.session(grant, key="k") as session:
            asked = ask(session, tool)
            both = asked.remedy.details["approvals"]
            rules = {app.approval(one).rule: one for one in both}
            ids = [rules["org/second-pair"], rules["payments.refund/large"]]
            people = [SUE, TIM]
            with pytest.raises(remit.IdentityError):
                app.approve(ids[0], credential=TIM)  # finance is not security
            app.approve(ids[order[0]], credential=people[order[0]])
            with pytest.raises(remit.ApprovalRequired) as waits:
                session.resume(ids[order[0]], run=tool)
            assert tool.calls == []
            assert waits.value.approval_id == ids[order[1]]
            app.approve(ids[order[1]], credential=people[order[1]])
            session.resume(ids[0], run=tool)
            with pytest.raises(remit.Denied):
                session.resume(ids[1], run=tool)

        assert tool.calls == [LARGE]
        assert types(app).count("approval.requested") == 2
        assert {one["approval"] for one in data(app, "approval.used")} == set(ids)


def test_reworded_call_names_the_approved_one(app: remit.App, tool: Tool) -> None:
    """A model that says it another way is told what would run."""
    grant = app.issue(TRIAGE, credential="user:ravi@acme.com")
    with app.session(grant, key="k") as session:
        asked = ask(session, tool)
        app.approve(asked.approval_id, credential=BOB)
        other = ask(session, tool, {**LARGE, "amount": 30.5})

    assert other.approval_id != asked.approval_id
    assert other.remedy.details["approved"] == asked.approval_id
    assert asked.approval_id in remit.denial_text(other)


def _resume(url: str, session_id: str, approval_id: str, start: Any, report: Any) -> None:
    with remit.open(url, development=True, catalogue=CATALOGUE, people=STAFF) as app:
        session = app.join(session_id).open()
        ran: list[str] = []
        start.wait(60)
        try:
            session.resume(approval_id, run=lambda **_: ran.append("ran"))
            report.put((len(ran), None))
        except remit.Denied as denied:
            report.put((len(ran), denied.code))


@pytest.mark.requirement("approvals:once")
def test_two_processes_that_resume_one_approval_run_it_once(tmp_path: Path, tool: Tool) -> None:
    """Both were opened before the answer came, in processes that know nothing of each other."""
    with temporary(tmp_path, catalogue=CATALOGUE, people=STAFF) as app:
        grant = app.issue(TRIAGE, credential="user:ravi@acme.com")
        with app.session(grant, key="k") as session:
            asked = ask(session, tool)
            app.approve(asked.approval_id, credential=BOB)
        spawn = multiprocessing.get_context("spawn")
        report, start = spawn.Queue(), spawn.Event()
        workers = [
            spawn.Process(target=_resume, args=(app.url, session.id, asked.approval_id, start, report))
            for _ in range(2)
        ]
        for worker in workers:
            worker.start()
        start.set()
        found = [report.get(timeout=60) for _ in workers]
        for worker in workers:
            worker.join(60)

        assert sorted(ran for ran, _ in found) == [0, 1]
        assert {code for _, code in found} == {None, "already_executed"}
        assert len(data(app, "approval.used")) == 1
        assert timedelta(0) < app.grant(grant.id).expires - grant.terms.issued_at
        app.verify()


@pytest.mark.requirement("approvals:several")
def test_over_a_chain_two_different_approvals_are_both_met(app: remit.App, tool: Tool) -> None:
    """The parent's question and the child's own: each link's persons answer theirs."""
    parent = {**changed(by=["role:finance", "role:security"]), "delegation": {"depth": 1}}
    grant = app.issue(parent, credential="user:ravi@acme.com")
    large = parent["tools"]["payments.refund"][1]
    child = app.delegate(
        grant,
        {
            "task": "Refund order 4711",
            "agent": "spiffe://acme.com/agents/refunds",
            "expires_in": "10m",
            "limits": parent["limits"],
            "tools": {"payments.refund": {**large, "approval": {**large["approval"], "by": "role:security"}}},
        },
    )
    with app.session(child, key="k") as session:
        asked = ask(session, tool)
        both = {app.approval(one).rule: one for one in asked.remedy.details["approvals"]}
        own, above = both["payments.refund/large"], both[f"{grant.id}/payments.refund/large"]
        with pytest.raises(remit.IdentityError):
            app.approve(own, credential=TIM)  # finance may answer above, not here
        with pytest.raises(remit.IdentityError):
            app.approve(above, credential="spiffe://acme.com/agents/triage")
        app.approve(above, credential=TIM)
        with pytest.raises(remit.ApprovalRequired):
            session.resume(above, run=tool)
        app.approve(own, credential=SUE)
        session.resume(above, run=tool)

    assert tool.calls == [LARGE]
    assert len(data(app, "approval.used")) == 2
