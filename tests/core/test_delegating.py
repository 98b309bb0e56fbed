"""Handing a grant on: attacks first, then what it is for."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.testing import Clock, denies, permits
from tests.core.conftest import CATALOGUE, PEOPLE, TRIAGE, Tool, data, types
from tests.stores import temporary

RAVI = "user:ravi@acme.com"
PARENT: dict[str, Any] = {**TRIAGE, "delegation": {"depth": 2}}
CHILD: dict[str, Any] = {
    "task": "Read ticket 88",
    "agent": "spiffe://acme.com/agents/reader",
    "expires_in": "10m",
    "limits": {"calls": 30, "denied": 20},
    "tools": {"crm.read_ticket": {"resources": ["read crm://tickets/88"]}},
}
COMMENT = TRIAGE["tools"]["crm.comment"]
REFUND = TRIAGE["tools"]["payments.refund"]
UNAPPROVED = {key: value for key, value in REFUND[1].items() if key != "approval"}


@pytest.fixture
def parent(app: remit.App) -> remit.Grant:
    """The triage grant, which may be handed on twice."""
    return app.issue(PARENT, credential=RAVI)


def child_of(app: remit.App, parent: remit.Grant | str, **change: Any) -> remit.Grant:
    """Handed on by ravi, with something otherwise; None takes a key out."""
    said = {key: value for key, value in {**CHILD, **change}.items() if value is not None}
    return app.delegate(parent, said, credential=RAVI)


# -- attacks


@pytest.mark.requirement("code:delegation_widened")
@pytest.mark.requirement("I4")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tools": {"crm.read_ticket": {"resources": ["read crm://tickets/*"]}}}, "allows read crm://tickets/*"),
        ({"tools": {"crm.read_ticket": {"resources": "any"}}}, "allows any resource"),
        ({"tools": {"crm.read_ticket": {"arguments": {"id": 88}}}}, "leaves out `resources`"),
        ({"tools": {"crm.delete": "any"}}, "its parent grants"),
        ({"tools": {"crm.*": "any"}}, "its parent grants"),
        ({"tools": {"crm.comment": {**COMMENT, "limits": {"calls": 2}}}}, "allows 2 calls; its parent 1"),
        ({"tools": {"crm.comment": {**COMMENT, "arguments": {"body": {"max_len": 4001}}}}}, "`body` allows"),
        ({"tools": {"payments.refund": {**REFUND[1], "approval": {"by": "user:eve@acme.com"}}}}, "lets user:eve"),
        ({"tools": {"payments.refund": UNAPPROVED}}, "leaves out the approval"),
        ({"limits": {"calls": 31, "denied": 20}}, "allows 31 calls in all"),
        ({"limits": None}, "leaves out the limit of 30 calls in all"),
        ({"expires_in": "21m"}, "it ends at"),
        ({"expires_in": None}, "leaves out its end"),
        ({"delegation": {"depth": 2}}, "it may be handed on 2 times, which leaves 1"),
    ],
)  # fmt: skip
def test_a_wider_child_is_refused_with_its_reason_and_recorded(
    app: remit.App, parent: remit.Grant, change: dict[str, Any], reason: str
) -> None:
    """Nothing is issued; the attempt and its reasons are evidence."""
    with pytest.raises(remit.DelegationWidened) as caught:
        child_of(app, parent, **change)
    assert any(reason in one for one in caught.value.problems), caught.value.problems
    assert caught.value.code == "delegation_widened"
    assert "grant.delegated" not in types(app)
    [refused] = data(app, "grant.refused")
    assert refused["parent"] == parent.id
    assert refused["code"] == "delegation_widened"
    assert refused["by"]["subject"] == RAVI


@pytest.mark.requirement("delegate:inherited")
@pytest.mark.parametrize(
    "restated",
    [
        {"principal": RAVI},
        {"principal": "user:eve@evil.com"},
        {"self": ["eve@evil.com"]},
        {"bindings": {"change": "CHG-7"}},
    ],
)
def test_principal_self_and_bindings_are_never_said_again(
    app: remit.App, parent: remit.Grant, restated: dict[str, Any]
) -> None:
    """Not even as they are: a child that says whose authority it is could say another."""
    with pytest.raises(remit.GrantError, match="is the parent's and is not said again") as caught:
        child_of(app, parent, **restated)
    assert not isinstance(caught.value, remit.DelegationWidened)


def test_a_parameter_cannot_bring_another_principal(app: remit.App, parent: remit.Grant) -> None:
    """A child may be a template; whose authority it is stays out of reach of its parameters."""
    said = {**CHILD, "template": "read", "parameters": {"ticket": {"type": "integer"}}}
    said["tools"] = {"crm.read_ticket": {"resources": ["read crm://tickets/${ticket}"]}}
    child = app.delegate(parent, said, {"ticket": 88}, credential=RAVI)
    assert child.principal == RAVI
    assert child.terms.bindings == {"change": "CHG-7"}
    with pytest.raises(remit.DelegationWidened):
        app.delegate(parent, said, {"ticket": 89}, credential=RAVI)


@pytest.mark.requirement("code:delegation_too_deep")
def test_deeper_than_allowed(app: remit.App, parent: remit.Grant) -> None:
    """Twice is twice, and a grant that says nothing is not handed on at all."""
    middle = child_of(app, parent, delegation={"depth": 1})
    last = child_of(app, middle, agent="agent:last")
    with pytest.raises(remit.DelegationWidened) as caught:
        child_of(app, last, agent="agent:beyond")
    assert caught.value.code == "delegation_too_deep"
    with pytest.raises(remit.DelegationWidened) as caught:
        child_of(app, app.issue(TRIAGE, credential=RAVI))
    assert caught.value.code == "delegation_too_deep"


@pytest.mark.requirement("code:delegate_only")
def test_who_may_only_hand_on_neither_uses_it_nor_comes_back_below(app: remit.App, tool: Tool) -> None:
    """`may_use: false` binds the holder, also as the agent of a grandchild."""
    holder = app.issue({**PARENT, "delegation": {"depth": 2, "may_use": False}}, credential=RAVI)
    with app.session(holder) as session:
        with pytest.raises(remit.Denied) as denied:
            session.call("crm.read_ticket", {"id": 88}, run=tool)
        assert denied.value.code == "delegate_only"
        with pytest.raises(remit.DelegationWidened) as caught:
            session.delegate({**CHILD, "agent": holder.agent})
        assert caught.value.code == "delegate_only"
        middle = session.delegate({**CHILD, "delegation": {"depth": 1}})
    with pytest.raises(remit.DelegationWidened) as caught:
        child_of(app, middle, agent=holder.agent)
    assert caught.value.code == "delegate_only"
    with app.session(middle) as session:
        session.call("crm.read_ticket", {"id": 88}, run=tool)
    assert len(tool.calls) == 1


@pytest.mark.requirement("delegate:revoked")
@pytest.mark.requirement("R14")
def test_revoking_a_link_stops_the_tree_below_it_on_the_next_call(
    app: remit.App, parent: remit.Grant, tool: Tool
) -> None:
    """Sessions that are open below it, new ones, and further delegations; a sibling goes on."""
    middle = child_of(app, parent, delegation={"depth": 1})
    last, sibling = child_of(app, middle, agent="agent:last"), child_of(app, parent, agent="agent:sibling")
    below, beside = app.session(last, key="below"), app.session(sibling, key="beside")
    for session in (below, beside):
        session.call("crm.read_ticket", {"id": 88}, run=tool)

    app.revoke(middle.id, reason="the reader misbehaves", credential=RAVI)

    with pytest.raises(remit.Denied) as denied:
        below.call("crm.read_ticket", {"id": 88}, run=tool)
    assert denied.value.code == "grant_revoked"
    assert denied.value.rule == middle.id
    with pytest.raises(remit.Denied), app.session(last):
        pass
    with pytest.raises(remit.GrantError) as refused:
        child_of(app, middle, agent="agent:other")
    assert refused.value.code == "grant_revoked"
    beside.call("crm.read_ticket", {"id": 88}, run=tool)
    assert len(tool.calls) == 3


@pytest.mark.requirement("code:grant_expired")
def test_a_grant_that_has_ended_is_not_handed_on(app: remit.App, parent: remit.Grant, clock: Clock) -> None:
    """And a child made before ends with its own time."""
    child = child_of(app, parent)
    session = app.session(child, key="k")
    session.open()
    clock.forward(minutes=11)
    denies(session, "crm.read_ticket", {"id": 88}, "grant_expired")
    clock.forward(minutes=10)
    with pytest.raises(remit.GrantError) as refused:
        child_of(app, parent)
    assert refused.value.code == "grant_expired"


@pytest.mark.requirement("delegate:tree-limits")
@pytest.mark.requirement("code:limit_reached")
def test_children_do_not_multiply_limits(app: remit.App, parent: remit.Grant, tool: Tool) -> None:
    """Ten children with one comment each have one comment together, from many threads too."""
    said = {**CHILD, "tools": {"crm.comment": COMMENT}}
    children = [app.delegate(parent, {**said, "agent": f"agent:{n}"}, credential=RAVI) for n in range(10)]
    sessions = [app.session(child, key=child.id) for child in (*children, parent)]
    barrier = threading.Barrier(len(sessions))

    def comment(session: remit.Session) -> str:
        barrier.wait()
        try:
            session.call("crm.comment", {"id": 88, "body": "hello"}, run=tool)
        except remit.Denied as denied:
            return denied.code
        return "ran"

    with ThreadPoolExecutor(len(sessions)) as pool:
        found = sorted(pool.map(comment, sessions))
    assert found == ["limit_reached"] * 10 + ["ran"]
    assert len(tool.calls) == 1


@pytest.mark.requirement("I4")
def test_a_child_that_is_handed_over_as_a_token_serves_once(app: remit.App, parent: remit.Grant, tool: Tool) -> None:
    """Presented again, by whomever, it opens nothing."""
    token = app.token(child_of(app, parent), audience=app.ledger.origin, credential=RAVI)
    with app.session(token=token, verifier=app.verifier()) as session:
        session.call("crm.read_ticket", {"id": 88}, run=tool)
        assert session.agent == CHILD["agent"]
    with pytest.raises(remit.IdentityError, match="used before"):
        app.session(token=token, verifier=app.verifier()).open()
    assert types(app).count("session.opened") == 1


@pytest.mark.requirement("I4")
def test_what_a_child_reads_marks_the_whole_tree(tmp_path: Path) -> None:
    """Labels gather on the root, so that no child reads what is confidential and leaves its parent clean."""
    catalogue = {"tools": {"crm.read_ticket": {**CATALOGUE["tools"]["crm.read_ticket"], "labels": ["confidential"]}}}
    guardrail = tmp_path / "egress.cedar"
    guardrail.write_text(
        '@id("egress") @reason("nothing leaves after confidential reads")\n'
        'forbid(principal, action == Action::"kb.search", resource)\n'
        'when { context.session.labels.contains("confidential") };\n',
        encoding="utf-8",
    )
    with temporary(tmp_path, catalogue=catalogue, policies=guardrail) as app:
        parent = app.issue(
            {**PARENT, "tools": {name: TRIAGE["tools"][name] for name in ("crm.read_ticket", "kb.search")}},
            credential=RAVI,
        )
        with app.session(parent) as session:
            permits(session, "kb.search", {"q": "x"})
            with app.session(session.delegate(CHILD)) as inner:
                inner.call("crm.read_ticket", {"id": 88}, run=Tool())
            denies(session, "kb.search", {"q": "x"}, "guardrail")


@pytest.mark.requirement("I4")
def test_every_link_is_asked_for_its_approval(app: remit.App, parent: remit.Grant) -> None:
    """A child that adds an approval does not replace its parent's."""
    clause = {**REFUND[1], "approval": {**REFUND[1]["approval"], "reason": "the reader asks"}}
    child = child_of(app, parent, tools={"payments.refund": clause})
    with app.session(child) as session:
        decision = session.explain("payments.refund", {"order": "ord_4711", "amount": 30})
    assert decision.effect == "ask"
    assert decision.need is not None
    assert decision.need.by == ("role:finance",)
    assert len(decision.also) == 1


@pytest.mark.requirement("I4")
def test_a_parent_amended_meanwhile_binds_its_children(app: remit.App, parent: remit.Grant, tool: Tool) -> None:
    """What the parent may not do any more, the child may not either, from the next call on."""
    child = child_of(app, parent)
    with app.session(child) as session:
        session.call("crm.read_ticket", {"id": 88}, run=tool)
        app.amend(parent, without=["crm.read_ticket"], credential=RAVI)
        with pytest.raises(remit.Denied) as denied:
            session.call("crm.read_ticket", {"id": 88}, run=tool)
    assert denied.value.code == "tool_not_granted"
    assert len(tool.calls) == 1


@pytest.mark.requirement("I5")
def test_who_may_not_issue_a_grant_does_not_hand_it_on(app: remit.App) -> None:
    """Its own rule says who may; the principal and the issuer always may."""
    parent = app.issue({**PARENT, "issue": {"by": ["role:support"]}}, credential=RAVI)
    with pytest.raises(remit.IdentityError, match="may not hand on"):
        app.delegate(parent, CHILD, credential="user:carol@acme.com")
    child_of(app, parent)


def test_only_a_handle_that_may_issue_hands_on(app: remit.App, parent: remit.Grant, tmp_path: Path) -> None:
    """An agent's process that cannot sign grants cannot make narrower ones either."""
    app.close()
    with temporary(tmp_path, can={"session"}, catalogue=CATALOGUE, people=PEOPLE) as agents_own:
        with pytest.raises(remit.UsageError, match="cannot issue"):
            agents_own.delegate(parent, CHILD, credential=RAVI)
        with agents_own.session(parent) as session, pytest.raises(remit.UsageError, match="cannot issue"):
            session.delegate(CHILD)


@pytest.mark.requirement("code:session_closed")
@pytest.mark.requirement("code:session_suspended")
def test_nothing_is_handed_on_from_a_session_that_has_ended(app: remit.App, parent: remit.Grant, tool: Tool) -> None:
    """Neither closed nor suspended."""
    with app.session(parent) as session:
        pass
    with pytest.raises(remit.Denied) as denied:
        session.delegate(CHILD)
    assert denied.value.code == "session_closed"
    looping = app.issue({**PARENT, "limits": {"calls": 30, "denied": 1}}, credential=RAVI)
    with app.session(looping) as session:
        for _ in range(2):
            with pytest.raises(remit.Denied):
                session.call("shell.run", {}, run=tool)
        with pytest.raises(remit.Denied) as denied:
            session.delegate({**CHILD, "limits": {"calls": 30, "denied": 1}})
    assert denied.value.code == "session_suspended"


@pytest.mark.parametrize(
    "change",
    [
        {"agent": None},
        {"task": None},
        {"tools": {}},
        {"tols": {}},
        {"agent": "reader"},
        {"expires": "soon", "expires_in": None},
    ],
)
def test_a_malformed_child_is_a_grant_error(app: remit.App, parent: remit.Grant, change: dict[str, Any]) -> None:
    """What does not read is no widening."""
    with pytest.raises((remit.GrantError, remit.IdentityError)) as caught:
        child_of(app, parent, **change)
    assert not isinstance(caught.value, remit.DelegationWidened)


# -- what it is for


@pytest.mark.requirement("R5")
def test_a_child_is_recorded_with_its_parent_and_who_made_it(app: remit.App, parent: remit.Grant) -> None:
    """Digest of the parent, place in the tree, principal and bindings as they were."""
    middle = child_of(app, parent, delegation={"depth": 1})
    last = child_of(app, middle, agent="agent:last", expires_in="5m")
    first, second = data(app, "grant.delegated")
    assert (first["grant"], first["parent"], first["parent_digest"], first["depth"]) == (
        middle.id,
        parent.id,
        parent.digest,
        1,
    )
    assert (second["parent"], second["root"], second["depth"]) == (middle.id, parent.id, 2)
    assert second["chain"] == [parent.digest, middle.digest]
    assert second["by"]["subject"] == RAVI
    assert last.terms.parent == middle.id
    assert last.principal == parent.principal
    assert last.terms.bindings == parent.terms.bindings
    assert app.grant(last.id) == last


@pytest.mark.requirement("R5")
@pytest.mark.requirement("R4")
@pytest.mark.requirement("delegate:nested")
def test_an_agent_hands_on_inside_a_call_and_the_child_runs_inside(
    app: remit.App, parent: remit.Grant, tool: Tool
) -> None:
    """The child's session and its calls name the parent's session and call."""

    def ask_the_reader(**_: Any) -> Any:
        session = remit.current_session()
        child = session.delegate(CHILD)
        with app.session(child) as inner:
            assert remit.current_session() is inner
            found = inner.call("crm.read_ticket", {"id": 88}, run=tool)
            with pytest.raises(remit.Denied):
                inner.call("kb.search", {"q": "x"}, run=tool)
        assert remit.current_session() is session
        return found

    with app.session(parent) as session:
        assert session.call("kb.search", {"q": "printer"}, run=ask_the_reader) == "done"
        outer = session.id
    call = data(app, "call.intent")[0]["call"]
    [delegated] = data(app, "grant.delegated")
    assert (delegated["session"], delegated["call"]) == (outer, call)
    assert delegated["by"]["subject"] == parent.agent
    assert delegated["by"]["authenticated"] is False
    opened = data(app, "session.opened")[1]
    assert opened["parent"] == {"session": outer, "call": call, "known": "nested"}
    assert opened["through"] == [parent.agent]
    assert data(app, "call.intent")[1]["parent"] == call
    assert len(tool.calls) == 1


@pytest.mark.requirement("R4")
def test_a_child_session_that_is_opened_elsewhere_still_names_where_it_was_handed_on(
    app: remit.App, parent: remit.Grant
) -> None:
    """Another process sees no current session; the record of the delegation says it."""
    with app.session(parent, key="k") as session:
        child = session.delegate(CHILD)
        outer = session.id
    with app.session(child):
        pass
    assert data(app, "session.opened")[1]["parent"] == {"session": outer, "call": None, "known": "delegated"}


@pytest.mark.requirement("delegate:nested")
def test_only_a_delegated_child_is_opened_inside(app: remit.App, parent: remit.Grant) -> None:
    """Not a stranger, a grandchild past its parent, or the parent inside its child; nothing is recorded of it."""
    middle = child_of(app, parent, delegation={"depth": 1})
    last, stranger = child_of(app, middle, agent="agent:last"), app.issue(PARENT, credential=RAVI)
    with app.session(parent):
        for other in (stranger, last):
            with pytest.raises(remit.UsageError, match="must be a delegated child"), app.session(other):
                pass
        with app.session(middle), app.session(last), pytest.raises(remit.UsageError, match="must be a delegated child"):
            app.session(parent, key="again").__enter__()
    assert types(app).count("session.opened") == 3


@pytest.mark.requirement("delegate:nested")
def test_nesting_in_async_code(app: remit.App, parent: remit.Grant, tool: Tool) -> None:
    """Two children at once, each current in its own task."""

    async def child(session: remit.Session, name: str) -> str:
        handed_on = await asyncio.to_thread(session.delegate, {**CHILD, "agent": f"agent:{name}"})
        async with app.session(handed_on) as inner:
            await inner.acall("crm.read_ticket", {"id": 88}, run=tool)
            return remit.current_session().agent

    async def main() -> list[str]:
        async with app.session(parent) as session:
            return list(await asyncio.gather(child(session, "one"), child(session, "two")))

    assert asyncio.run(main()) == ["agent:one", "agent:two"]
    assert {opened["parent"]["known"] for opened in data(app, "session.opened")[1:]} == {"nested"}


def test_the_same_key_gives_the_same_child(app: remit.App, parent: remit.Grant) -> None:
    """A step that is run again hands on once; other content under the key is an error."""
    with app.session(parent) as session:
        first = session.delegate(CHILD, key="step-3")
        assert session.delegate(CHILD, key="step-3").id == first.id
        with pytest.raises(remit.GrantError, match="says something else"):
            session.delegate({**CHILD, "task": "Something else"}, key="step-3")
    assert types(app).count("grant.delegated") == 1


def test_a_child_of_a_grant_that_begins_later_begins_with_it(app: remit.App, clock: Clock) -> None:
    """It is handed on ahead of time, and used when its parent may be."""
    begins = (clock() + timedelta(hours=1)).isoformat()
    parent = app.issue({**PARENT, "not_before": begins}, credential=RAVI)
    child = child_of(app, parent)
    assert child.terms.not_before == parent.terms.not_before
    clock.forward(minutes=61)
    with app.session(child) as session:
        permits(session, "crm.read_ticket", {"id": 88})
        denies(session, "crm.read_ticket", {"id": 89}, "resource_out_of_scope")


@pytest.mark.requirement("I8")
def test_delegations_are_evidence(app: remit.App, parent: remit.Grant, tool: Tool) -> None:
    """The ledger verifies with them in it, and a chain that was changed in the store authorises nothing."""
    child = child_of(app, parent)
    with app.session(child) as session:
        session.call("crm.read_ticket", {"id": 88}, run=tool)
    app.verify()
