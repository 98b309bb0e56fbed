"""Amending a grant: attacks first, then what it is for."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.testing import Clock, denies, permits
from tests.core.conftest import CATALOGUE, PEOPLE, TRIAGE, Tool, data, types
from tests.stores import tamper, temporary, url_for

RAVI = "user:ravi@acme.com"
COMMENT = {"resources": ["write crm://tickets/88"], "arguments": {"body": {"max_len": 4000}}, "limits": {"calls": 2}}
MORE_COMMENTS: dict[str, Any] = {"tools": {"crm.comment": COMMENT}}
LESS: dict[str, Any] = {"tools": {"crm.read_ticket": {"resources": ["read crm://tickets/88"], "limits": {"calls": 1}}}}


def amended(app: remit.App, grant: remit.Grant, changes: Any, **options: Any) -> remit.Grant:
    """As ravi, whose authority it is."""
    return app.amend(grant, changes, **{"credential": RAVI, **options})


# -- attacks


@pytest.mark.requirement("amend:agent")
def test_an_agent_cannot_amend_its_own_grant(app: remit.App, grant: remit.Grant, tmp_path: Path) -> None:
    """Not by name, and not with the handle that its process has."""
    with pytest.raises(remit.IdentityError, match="names nobody"):
        app.amend(grant, MORE_COMMENTS, credential=grant.agent)
    app.close()

    with temporary(tmp_path, can={"session"}, catalogue=CATALOGUE, people=PEOPLE) as agents_own:
        with pytest.raises(remit.UsageError, match="cannot issue"):
            agents_own.amend(grant, MORE_COMMENTS, credential=RAVI)
        assert agents_own.grant(grant.id).version == 1


@pytest.mark.requirement("amend:agent")
def test_an_agent_cannot_answer_its_own_request(app: remit.App, grant: remit.Grant, tmp_path: Path) -> None:
    """Neither with yes nor with no."""
    with app.session(grant) as session:
        asked = session.request(MORE_COMMENTS, reason="a second comment")
    with pytest.raises(remit.IdentityError):
        app.amend(grant, request=asked, credential=grant.agent)
    with pytest.raises(remit.IdentityError):
        app.refuse_request(asked.id, credential=grant.agent)
    app.close()

    with temporary(tmp_path, can={"session"}, catalogue=CATALOGUE, people=PEOPLE) as agents_own:
        with pytest.raises(remit.UsageError, match="cannot issue"):
            agents_own.amend(grant, request=asked.id, credential=RAVI)
        with pytest.raises(remit.UsageError, match="cannot issue"):
            agents_own.refuse_request(asked.id, credential=RAVI)
        assert agents_own.request(asked.id).state == "requested"


@pytest.mark.requirement("amend:ceiling")
def test_somebody_else_cannot_widen_a_grant(app: remit.App, grant: remit.Grant) -> None:
    """Bob may issue grants of his own; ravi's is for ravi to widen."""
    with pytest.raises(remit.IdentityError, match="may not widen"):
        app.amend(grant, MORE_COMMENTS, credential="user:bob@acme.com")

    assert app.grant(grant.id).version == 1
    assert "grant.amended" not in types(app)


@pytest.mark.requirement("amend:ceiling")
@pytest.mark.parametrize(
    "changes",
    [
        {"expires_in": "40m"},
        {"tools": {"bash": "any"}},
        {"limits": {"calls": 31, "denied": 20}},
        {"limits": {"denied": 20}},
        {"delegation": {"depth": 1}},
        {"tools": {"crm.read_ticket": {"resources": ["read crm://tickets/*"]}}},
        {"bindings": {"change": "CHG-8"}},
    ],
    ids=["time", "tool", "limit", "no limit", "handing on", "resources", "bindings"],
)
def test_every_way_of_widening_is_seen(app: remit.App, grant: remit.Grant, changes: dict[str, Any]) -> None:
    """Longer, more, others, handed on: each takes whoever may issue the grant."""
    with pytest.raises(remit.IdentityError, match="may not widen"):
        app.amend(grant, changes, credential="user:carol@acme.com")


@pytest.mark.requirement("amend:ceiling")
def test_anybody_known_may_narrow_a_grant(app: remit.App, grant: remit.Grant) -> None:
    """Who could revoke it may take a part of it away; the record says that nothing was widened."""
    narrowed = app.amend(grant, LESS, without=["kb.search"], credential="user:bob@acme.com")

    assert narrowed.version == 2
    assert "kb.search" not in narrowed.terms.tools
    [record] = data(app, "grant.amended")
    assert record["widened"] is False
    assert record["issuer"]["subject"] == "user:bob@acme.com"


@pytest.mark.requirement("amend:ceiling")
def test_the_rule_for_issuing_is_the_ceiling_for_amending(app: remit.App) -> None:
    """Where a role issues, the principal alone does not widen; and nobody amends the rule away."""
    grant = app.issue({**TRIAGE, "issue": {"by": "role:finance"}}, credential="user:bob@acme.com")

    with pytest.raises(remit.IdentityError, match="which takes role:finance"):
        amended(app, grant, MORE_COMMENTS)
    with pytest.raises(remit.GrantError, match="no `issue`"):
        amended(app, grant, {"issue": {"by": "role:support"}})
    with pytest.raises(remit.GrantError, match="another `issue`"):
        amended(app, grant, TRIAGE)
    assert app.amend(grant, MORE_COMMENTS, credential="user:bob@acme.com").version == 2


@pytest.mark.requirement("amend:version")
def test_a_stale_version_is_refused(app: remit.App, grant: remit.Grant) -> None:
    """Two people read version 1; the second one's change was written for something that is no more."""
    amended(app, grant, LESS)

    with pytest.raises(remit.GrantError, match="is at version 2, and this was written for version 1"):
        amended(app, grant, MORE_COMMENTS)
    with pytest.raises(remit.UsageError, match="say which version"):
        app.amend(grant.id, MORE_COMMENTS, credential=RAVI)
    assert app.amend(grant.id, MORE_COMMENTS, version=2, credential=RAVI).version == 3


@pytest.mark.requirement("amend:version")
def test_of_many_amendments_at_once_one_takes_hold(app: remit.App, grant: remit.Grant) -> None:
    """The version is compared where it is written."""
    start = threading.Barrier(4)

    def attempt(number: int) -> bool:
        start.wait()
        try:
            amended(app, grant, {"task": f"Triage ticket 88, take {number}"})
        except remit.GrantError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(attempt, range(4))) == [False, False, False, True]
    assert app.grant(grant.id).version == 2


@pytest.mark.parametrize("name", ["principal", "agent"])
def test_another_party_is_another_grant(app: remit.App, grant: remit.Grant, name: str) -> None:
    """Authority that was given to one agent for one principal does not become another's."""
    other = {"principal": "user:bob@acme.com", "agent": "agent:other"}[name]

    with pytest.raises(remit.GrantError, match=f"another `{name}`"):
        amended(app, grant, {**TRIAGE, name: other})


def test_a_revoked_or_ended_grant_is_not_amended(app: remit.App, grant: remit.Grant, clock: Clock) -> None:
    """What was withdrawn does not come back by the side door."""
    other = app.issue(TRIAGE, credential=RAVI)
    app.revoke(other.id, reason="over", credential=RAVI)
    with pytest.raises(remit.GrantError, match="revoked"):
        amended(app, other, {"expires_in": "1h"})

    clock.forward(minutes=21)
    with pytest.raises(remit.GrantError, match="ended"):
        amended(app, grant, {"expires_in": "1h"})


@pytest.mark.requirement("amend:limits")
def test_what_was_spent_stays_spent(app: remit.App, grant: remit.Grant, tool: Tool) -> None:
    """One comment was left under version 1; version 2 allows two in all."""
    with app.session(grant) as session:
        session.call("crm.comment", {"id": 88, "body": "one"}, run=tool)
        amended(app, grant, MORE_COMMENTS)
        session.call("crm.comment", {"id": 88, "body": "two"}, run=tool)
        denies(session, "crm.comment", {"id": 88, "body": "three"}, "limit_reached")


@pytest.mark.requirement("amend:limits")
def test_another_name_for_a_clause_gives_no_fresh_budget(app: remit.App, grant: remit.Grant, tool: Tool) -> None:
    """A limit whose clause is called otherwise begins with the calls that ran already."""
    with app.session(grant) as session:
        session.call("crm.comment", {"id": 88, "body": "one"}, run=tool)
        amended(app, grant, {"tools": {"crm.comment": {**COMMENT, "name": "again", "limits": {"calls": 1}}}})
        denies(session, "crm.comment", {"id": 88, "body": "two"}, "limit_reached")


@pytest.mark.requirement("amend:limits")
def test_shared_limits_keep_their_counts_when_their_order_changes(app: remit.App, tool: Tool) -> None:
    """They are counted by their place in the list; another place does not mean another's count."""
    tools = {"mail.send": "any", "chat.post": "any"}
    mail, chat = {"tools": ["mail.send"], "calls": 1}, {"tools": ["chat.post"], "calls": 2}
    grant = app.issue({**TRIAGE, "tools": tools, "limits": {"shared": [mail, chat]}}, credential=RAVI)
    with app.session(grant) as session:
        session.call("mail.send", {}, run=tool)
        amended(app, grant, {"limits": {"shared": [chat, mail]}})
        denies(session, "mail.send", {}, "limit_reached")
        session.call("chat.post", {}, run=tool)
        session.call("chat.post", {}, run=tool)
        denies(session, "chat.post", {}, "limit_reached")


@pytest.mark.requirement("amend:limits")
def test_a_new_sum_begins_with_what_was_spent(app: remit.App, tool: Tool) -> None:
    """In exact decimals, from the recorded arguments."""
    refund = {"arguments": {"amount": {"min": 0, "max": 50}}}
    grant = app.issue({**TRIAGE, "tools": {"payments.refund": refund}}, credential=RAVI)
    limited = {**refund, "limits": {"sum": {"argument": "amount", "max": 30}}}
    with app.session(grant) as session:
        for amount in (0.1, 0.2, 19.7):
            session.call("payments.refund", {"amount": amount}, run=tool)
        amended(app, grant, {"tools": {"payments.refund": limited}})
        denies(session, "payments.refund", {"amount": 10.01}, "limit_reached")
        permits(session, "payments.refund", {"amount": 10})


def test_a_limit_takes_no_other_ones_place_while_a_call_runs(app: remit.App) -> None:
    """That call may still give back what it took, and would give it to the wrong one."""
    mail, chat = {"tools": ["mail.send"], "calls": 3}, {"tools": ["chat.post"], "calls": 3}
    tools = {"mail.send": "any", "chat.post": "any"}
    grant = app.issue({**TRIAGE, "tools": tools, "limits": {"shared": [mail, chat]}}, credential=RAVI)

    def meanwhile() -> str:
        with pytest.raises(remit.GrantError, match="may still give back"):
            amended(app, grant, {"limits": {"shared": [chat, mail]}})
        return "done"

    with app.session(grant) as session:
        session.call("mail.send", {}, run=meanwhile)


def test_an_approval_of_other_persons_is_no_approval(app: remit.App, grant: remit.Grant, tool: Tool) -> None:
    """Finance said yes under version 1; version 2 asks the board."""
    large = {**TRIAGE["tools"]["payments.refund"][1], "approval": {"by": "role:board"}}
    arguments = {"order": "ord_4711", "amount": 30}
    with app.session(grant) as session:
        with pytest.raises(remit.ApprovalRequired) as first:
            session.call("payments.refund", arguments, run=tool)
        app.approve(first.value.approval_id, credential="user:bob@acme.com")
        amended(app, grant, {"tools": {"payments.refund": large}})
        with pytest.raises(remit.ApprovalRequired) as second:
            session.call("payments.refund", arguments, run=tool)

        assert app.approval(second.value.approval_id).by == ("role:board",)
        assert tool.calls == []
        with pytest.raises(remit.Denied):
            session.resume(first.value.approval_id, run=tool)


def test_an_approval_holds_under_the_version_that_it_was_given_under(
    app: remit.App, grant: remit.Grant, tool: Tool
) -> None:
    """A person said yes to a call under these terms, not under others."""
    with app.session(grant) as session:
        with pytest.raises(remit.ApprovalRequired) as asked:
            session.call("payments.refund", {"order": "ord_4711", "amount": 30}, run=tool)
        app.approve(asked.value.approval_id, credential="user:bob@acme.com")
        amended(app, grant, {"expires_in": "1h"})
        with pytest.raises(remit.Denied) as denied:
            session.resume(asked.value.approval_id, run=tool)
    assert denied.value.code == "approval_mismatch"
    assert tool.calls == []


def test_who_amended_a_grant_does_not_review_its_sessions(app: remit.App, grant: remit.Grant, tool: Tool) -> None:
    """Carol is a reviewer, but she had a hand in this authority."""
    with app.session(grant) as session:
        session.call("kb.search", {}, run=tool)
    app.amend(grant, LESS, credential="user:carol@acme.com")

    with pytest.raises(remit.IdentityError, match="amended grant"):
        app.verdict(session.id, "within", credential="user:carol@acme.com")


@pytest.mark.changes_evidence
def test_a_version_that_nobody_signed_authorises_nothing(app: remit.App, grant: remit.Grant, tmp_path: Path) -> None:
    """Whoever writes a digest into the database has a refusal, recorded, and no authority."""
    tool = Tool()
    with app.session(grant) as session:
        session.call("kb.search", {}, run=tool)
        other = app.issue({**TRIAGE, "tools": {"bash": "any"}}, credential=RAVI)
        tamper(tmp_path, f"UPDATE grants SET digest = '{other.digest}' WHERE id = '{grant.id}'")
        with pytest.raises(remit.Denied) as denied:
            session.call("bash", {}, run=tool)

    assert denied.value.code == "grant_invalid"
    assert len(tool.calls) == 1


# -- what it is for


@pytest.mark.requirement("amend:session")
def test_a_session_goes_on_with_the_next_version_from_its_next_call(
    app: remit.App, grant: remit.Grant, tool: Tool
) -> None:
    """Wider and narrower alike; each decision names the version that it was taken by."""
    with app.session(grant) as session:
        session.call("kb.search", {}, run=tool)
        second = amended(app, grant, {"tools": {"crm.close": {"arguments": {"id": 88}}}}, reason="the ticket is solved")
        session.call("crm.close", {"id": 88}, run=tool)
        app.amend(second, without=["kb.search"], credential=RAVI)
        with pytest.raises(remit.Denied) as denied:
            session.call("kb.search", {}, run=tool)

    assert denied.value.code == "tool_not_granted"
    assert [record["version"] for record in data(app, "call.intent")] == [1, 2]
    assert data(app, "call.denied")[0]["version"] == 3
    assert "crm.close" in app.session(grant.id).brief()
    app.verify()


@pytest.mark.requirement("amend:session")
def test_an_async_call_goes_on_with_the_next_version(app: remit.App, grant: remit.Grant) -> None:
    """The same transaction, the same answer."""

    async def close(**_: Any) -> str:
        return "closed"

    async def work() -> Any:
        async with app.session(grant) as session:
            await session.acall("kb.search", {}, run=close)
            amended(app, grant, {"tools": {"crm.close": {"arguments": {"id": 88}}}})
            return await session.acall("crm.close", {"id": 88}, run=close)

    assert asyncio.run(work()) == "closed"


@pytest.mark.requirement("amend:session")
def test_another_process_takes_it_up_too(app: remit.App, grant: remit.Grant, tmp_path: Path) -> None:
    """Another handle on the same ledger is as good as another process: nothing but the store is between them."""
    tool = Tool()
    with remit.open(url_for(tmp_path), can={"session"}, catalogue=CATALOGUE) as agents:
        session = agents.session(grant.id, key="thread:1").open()
        session.call("kb.search", {}, run=tool)
        amended(app, grant, {"tools": {"crm.close": {"arguments": {"id": 88}}}})
        session.call("crm.close", {"id": 88}, run=tool)
    assert len(tool.calls) == 2


def test_more_time_reaches_the_sessions_that_are_open(app: remit.App, grant: remit.Grant, clock: Clock) -> None:
    """The span counts from now; a session ends with its grant, whichever version that is."""
    tool = Tool()
    with app.session(grant, key="thread:1") as session:
        clock.forward(minutes=15)
        longer = amended(app, grant, {"expires_in": "20m"})
        clock.forward(minutes=10)
        session.call("kb.search", {}, run=tool)
        assert longer.expires > grant.expires
        clock.forward(minutes=11)
        with pytest.raises(remit.Denied) as denied:
            session.call("kb.search", {}, run=tool)
    assert denied.value.code == "grant_expired"


def test_a_whole_grant_replaces_everything(app: remit.App, grant: remit.Grant) -> None:
    """A file that could be issued says all of it: what it leaves out is gone."""
    whole = {**TRIAGE, "tools": {"kb.search": "any"}}

    replaced = amended(app, grant, whole)

    assert set(replaced.terms.tools) == {"kb.search"}
    assert replaced.terms.tools.keys() == app.grant(grant.id).terms.tools.keys()


def test_a_change_leaves_what_it_does_not_name(app: remit.App, grant: remit.Grant) -> None:
    """Tools one by one; everything else key by key. `null` and unknown keys are refused, with their line."""
    changed = amended(app, grant, "tools:\n  crm.close: {arguments: {id: 88}}\n")

    assert set(changed.terms.tools) == {*grant.terms.tools, "crm.close"}
    assert changed.expires == grant.expires
    assert changed.task == grant.task
    with pytest.raises(remit.GrantError, match=r"line 2: .*is no constraint word"):
        amended(app, changed, "tools:\n  crm.close: {arguments: {id: {most: 3}}}\n")
    with pytest.raises(remit.GrantError, match="resources"):
        amended(app, changed, {"tools": {"crm.comment": "any", "crm.read_ticket": {"other_arguments": "any"}}})


def test_a_template_fills_the_next_version_too(app: remit.App) -> None:
    """The same template with other parameters: the grant stays the same, its terms do not."""
    template = {
        **TRIAGE,
        "template": "triage",
        "parameters": {"ticket": {"type": "integer"}},
        "tools": {"crm.read_ticket": {"resources": ["read crm://tickets/${ticket}"]}},
    }
    grant = app.issue(template, {"ticket": 88}, key="thread", credential=RAVI)

    second = app.amend(grant, template, {"ticket": 89}, credential=RAVI)

    assert second.id == grant.id
    assert second.terms.parameters == {"ticket": 89}
    assert app.issue(template, {"ticket": 88}, key="thread", credential=RAVI).version == 2


def test_the_record_says_who_why_and_from_what(app: remit.App, grant: remit.Grant) -> None:
    """Version, digest and signature as of an issue; what it supersedes; the reason is kept erasable."""
    second = amended(app, grant, MORE_COMMENTS, reason="two questions were open")

    [record] = [one for one in app.records() if one.type == "grant.amended"]
    assert record.data["version"] == 2
    assert record.data["digest_before"] == grant.digest
    assert record.data["digest"] == second.digest
    assert record.data["supersedes"] == grant.record_id
    assert record.data["widened"] is True
    assert (record.disclosed() or {})["reason"] == "two questions were open"
    assert b"questions" not in record.body


# -- requests


@pytest.mark.requirement("amend:request")
def test_an_agent_asks_and_a_person_gives(app: remit.App, grant: remit.Grant, tool: Tool) -> None:
    """What was proposed is what is given, unless the person says otherwise."""
    heard: list[Any] = []
    app.on("grant.requested", heard.append)
    with app.session(grant) as session:
        asked = session.request(MORE_COMMENTS, reason="a second question came in")
        [waiting] = app.requests()
        assert waiting == asked
        assert waiting.reason == "a second question came in"
        second = app.amend(grant, request=asked, credential=RAVI)
        session.call("crm.comment", {"id": 88, "body": "one"}, run=tool)
        session.call("crm.comment", {"id": 88, "body": "two"}, run=tool)

    assert heard[0]["request"] == asked.id
    assert second.version == 2
    assert app.requests() == []
    assert app.request(asked.id).state == "granted"
    [record] = data(app, "grant.amended")
    assert (record["request"], record["as_requested"]) == (asked.id, True)


@pytest.mark.requirement("amend:request")
def test_a_person_refuses_and_nothing_changes(app: remit.App, grant: remit.Grant) -> None:
    """The refusal is a record; an answer is given once."""
    with app.session(grant) as session:
        asked = session.request({"tools": {"bash": "any"}}, reason="I would like a shell")
        refused = app.refuse_request(asked.id, reason="no shells", credential="user:bob@acme.com")
        denies(session, "bash", {}, "tool_not_granted")

    assert refused.state == "refused"
    assert data(app, "grant.refused")[0]["by"]["subject"] == "user:bob@acme.com"
    with pytest.raises(remit.UsageError, match="was refused before"):
        app.amend(grant, request=asked.id, credential=RAVI)


@pytest.mark.requirement("amend:request")
def test_a_request_gives_nothing_by_itself(app: remit.App, grant: remit.Grant) -> None:
    """And who could not widen the grant cannot widen it because an agent asked."""
    with app.session(grant) as session:
        asked = session.request({"tools": {"bash": "any"}}, reason="please")
        denies(session, "bash", {}, "tool_not_granted")
    with pytest.raises(remit.IdentityError, match="may not widen"):
        app.amend(grant, request=asked, credential="user:carol@acme.com")
    assert app.request(asked.id).state == "requested"


def test_a_request_for_an_older_version_is_looked_at_again(app: remit.App, grant: remit.Grant) -> None:
    """It was written for version 1; the person who answers says that it is meant for version 2."""
    with app.session(grant) as session:
        asked = session.request(MORE_COMMENTS, reason="a second comment")
    second = amended(app, grant, LESS)

    with pytest.raises(remit.GrantError, match="written for version 1"):
        app.amend(grant.id, request=asked.id, credential=RAVI)
    assert app.amend(second, request=asked.id, credential=RAVI).version == 3


def test_requests_do_not_flood_the_people_who_answer(app: remit.App, grant: remit.Grant) -> None:
    """The same request is the same; beyond five that wait, none is taken."""
    with app.session(grant) as session:
        asked = {session.request(MORE_COMMENTS, reason="please").id for _ in range(3)}
        assert len(asked) == 1
        for number in range(4):
            session.request({"task": f"Triage ticket {number}"}, reason="please")
        with pytest.raises(remit.Denied) as denied:
            session.request(reason="anything")
    assert denied.value.code == "limit_reached"
    assert len(app.requests()) == 5


@pytest.mark.parametrize(
    ("changes", "reason", "error"),
    [
        ({"tools": {"bash": {"most": 1}}}, "please", remit.GrantError),
        ({"principal": "user:root@acme.com"}, "please", remit.GrantError),
        ({"issue": {"by": "role:support"}}, "please", remit.GrantError),
        (None, "  ", remit.UsageError),
        (None, "x" * 2001, remit.UsageError),
    ],
    ids=["no grant's words", "another principal", "the rule", "no reason", "too long"],
)
def test_what_no_person_could_judge_is_put_before_nobody(
    app: remit.App, grant: remit.Grant, changes: Any, reason: str, error: type[Exception]
) -> None:
    """A request reads as a change, and says why."""
    with app.session(grant) as session, pytest.raises(error):
        session.request(changes, reason=reason)
    assert app.requests() == []


def test_a_closed_session_asks_for_nothing(app: remit.App, grant: remit.Grant) -> None:
    """Nor does one whose grant was revoked."""
    with app.session(grant) as session:
        pass
    with pytest.raises(remit.Denied) as denied:
        session.request(reason="one more thing")
    assert denied.value.code == "session_closed"


# -- handed on


PARENT: dict[str, Any] = {
    **TRIAGE,
    "delegation": {"depth": 1},
    "tools": {"kb.search": "any", "crm.read_ticket": {"resources": ["read crm://tickets/*"]}},
}
CHILD: dict[str, Any] = {
    "task": "Read ticket 88",
    "agent": "agent:reader",
    "expires_in": "10m",
    "limits": {"calls": 10, "denied": 5},
    "tools": {"kb.search": "any", "crm.read_ticket": {"resources": ["read crm://tickets/88"]}},
}


@pytest.mark.requirement("amend:chain")
def test_a_child_is_amended_within_its_parent(app: remit.App) -> None:
    """Whoever asks: what the parent does not have is not there to be given."""
    parent = app.issue(PARENT, credential=RAVI)
    child = app.delegate(parent, CHILD, credential=RAVI)

    wider = amended(app, child, {"tools": {"crm.read_ticket": {"resources": ["read crm://tickets/*"]}}})
    assert wider.version == 2
    for changes in ({"tools": {"bash": "any"}}, {"expires_in": "2h"}, {"limits": {"denied": 5}}):
        with pytest.raises(remit.DelegationWidened):
            amended(app, wider, changes)
    assert app.grant(child.id).version == 2


@pytest.mark.requirement("amend:chain")
def test_what_a_parent_loses_its_children_lose_on_the_next_call(app: remit.App, tool: Tool) -> None:
    """The child still says it; every link is asked."""
    parent = app.issue(PARENT, credential=RAVI)
    child = app.delegate(parent, CHILD, credential=RAVI)
    with app.session(child) as session:
        session.call("kb.search", {}, run=tool)
        amended(app, parent, None, without=["kb.search"])
        with pytest.raises(remit.Denied) as denied:
            session.call("kb.search", {}, run=tool)
        session.call("crm.read_ticket", {"id": 88}, run=tool)

    assert denied.value.code in ("tool_not_granted", "delegation_widened")
    assert app.grant(child.id).version == 1
    newest = app.grant(parent.id).digest
    assert [record["chain"][0] == newest for record in data(app, "call.intent")] == [False, True]


@pytest.mark.requirement("amend:chain")
def test_a_shorter_parent_ends_the_sessions_below_it(app: remit.App, clock: Clock, tool: Tool) -> None:
    """A session ends with the first link of its chain that ends."""
    parent = app.issue(PARENT, credential=RAVI)
    child = app.delegate(parent, CHILD, credential=RAVI)
    with app.session(child, key="thread:1") as session:
        session.call("kb.search", {}, run=tool)
        amended(app, parent, {"expires_in": "2m"})
        clock.forward(minutes=3)
        with pytest.raises(remit.Denied) as denied:
            session.call("kb.search", {}, run=tool)
    assert denied.value.code == "grant_expired"
    assert denied.value.rule == parent.id
