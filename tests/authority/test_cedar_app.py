"""Guardrails through the public API: approvals, labels, the ceiling at issue, and records that decide again alike."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.authority.calls import CallView
from remit.authority.cedar import CedarGuardrails
from remit.authority.compile import compile_grant
from remit.authority.decide import decide
from remit.authority.terms import GrantTerms
from remit.errors import ApprovalRequired, Denied, GrantError
from remit.facts import recorded_facts
from remit.resources.access import Access
from remit.resources.definitions import ToolDefinition
from remit.testing import Clock
from tests.stores import temporary

POLICIES = """
@id("org/cap") @reason("no agent refunds more than 100")
forbid(principal, action == Action::"pay.refund", resource)
when { context.input.amount.greaterThan(decimal("100.0")) };

@id("org/second-pair") @approval("role:security") @reason("large refunds need security")
forbid(principal, action == Action::"pay.refund", resource)
when { context.input.amount.greaterThan(decimal("60.0")) };

@id("org/egress") @reason("something confidential was read")
forbid(principal, action == Action::"mail.send", resource)
when { context.session.labels.contains("confidential") };

@id("org/burst") @reason("five searches are enough")
forbid(principal, action == Action::"kb.search", resource) when { context.session.tool_call_count >= 2 };

@id("org/no-shell") @reason("no agent of this house runs a shell")
forbid(principal, action in Action::"shell.*", resource);

@id("org/interns") @reason("interns do not hand on refunds")
forbid(principal in Role::"intern", action == Action::"pay.refund", resource);

@id("org/production") @reason("production is deployed by the pipeline")
forbid(principal, action == Action::"deploy.apply", resource)
when { context.session.environment == "production" };
"""

CATALOGUE: dict[str, Any] = {
    "tools": {
        "hr.read": {"accesses": ["read hr://people/{id}"], "labels": ["confidential", "personal"]},
        "mail.send": {"accesses": ["send mailto:{to}"], "kinds": {"to": "email"}},
    }
}

PEOPLE = {
    "bob@acme.com": {"roles": ["finance"]},
    "sue@acme.com": {"roles": ["security"]},
    "ivy@acme.com": {"roles": ["intern"]},
}

TASK: dict[str, Any] = {
    "task": "Help in the office",
    "principal": "user:ravi@acme.com",
    "agent": "agent:office",
    "expires_in": "1h",
    "tools": {
        "pay.refund": [
            {"name": "small", "arguments": {"amount": {"max": 50}}},
            {"name": "large", "arguments": {"amount": {"above": 50}}, "approval": {"by": "role:finance"}},
        ],
        "hr.read": {"resources": "any"},
        "mail.send": {"resources": "any"},
        "kb.search": "any",
    },
}


def nothing(**_: Any) -> str:
    """A tool."""
    return "done"


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """The guardrails as a file."""
    path = tmp_path / "org.cedar"
    path.write_text(POLICIES, "utf-8")
    return path


@pytest.fixture
def clock() -> Clock:
    """A clock that stands."""
    return Clock()


@pytest.fixture
def app(tmp_path: Path, policies: Path, clock: Clock) -> Iterator[remit.App]:
    """An app under these guardrails."""
    with temporary(tmp_path, clock=clock, catalogue=CATALOGUE, people=PEOPLE, policies=policies) as opened:
        yield opened


def issue(app: remit.App, **changes: Any) -> remit.Grant:
    """A grant for this task."""
    return app.issue({**TASK, **changes}, credential="user:ravi@acme.com")


def test_a_forbidden_call_never_enters_the_tool_and_its_record_names_the_guardrails(app: remit.App) -> None:
    """The refusal is recorded with the policy's id and the digest of all guardrails."""
    with app.session(issue(app)) as session, pytest.raises(Denied, match="no agent refunds more than 100") as refused:
        session.call("pay.refund", {"amount": 101}, run=pytest.fail)

    assert (refused.value.code, refused.value.rule) == ("guardrail", "org/cap")
    [record] = [one for one in app.records() if one.type == "call.denied"]
    guardrails = app.deployment.guardrails
    assert guardrails is not None
    assert record.data["guardrails"] == guardrails.digest
    assert record.data["decision"]["rule"] == "org/cap"
    [changed] = [one for one in app.records() if one.type == "config.changed"]
    assert changed.data["guardrails"] == guardrails.digest
    assert app.ledger.artefact(guardrails.digest) == guardrails.source


def test_clause_and_guardrail_each_get_an_answer_and_the_call_runs_once(app: remit.App) -> None:
    """Two questions, to two people; both approvals are spent by the one call."""
    session = app.session(issue(app)).open()
    with pytest.raises(ApprovalRequired) as first:
        session.call("pay.refund", {"amount": 80}, run=pytest.fail)
    assert first.value.rule == "org/second-pair"
    with pytest.raises(remit.IdentityError):
        app.approve(first.value.approval_id, credential="user:bob@acme.com")
    app.approve(first.value.approval_id, credential="user:sue@acme.com")
    with pytest.raises(ApprovalRequired) as second:
        session.resume(first.value.approval_id, run=pytest.fail)
    assert second.value.rule == "pay.refund/large"
    assert second.value.approval_id != first.value.approval_id
    app.approve(second.value.approval_id, credential="user:bob@acme.com")

    assert session.resume(second.value.approval_id, run=nothing) == "done"

    [intent] = [one for one in app.records(session.id) if one.type == "call.intent"]
    both = {first.value.approval_id, second.value.approval_id}
    assert set(intent.data["approvals"]) == both
    assert set(intent.data["facts"]["approved"]) == {"org/second-pair", "pay.refund/large"}
    assert {one.data["approval"] for one in app.records(session.id) if one.type == "approval.used"} == both
    with pytest.raises(Denied):
        session.resume(second.value.approval_id, run=pytest.fail)


def test_an_approval_holds_only_under_the_guardrails_that_asked(tmp_path: Path, policies: Path, clock: Clock) -> None:
    """The same id may mean something else in other files: the question is asked again."""
    options: dict[str, Any] = {"clock": clock, "catalogue": CATALOGUE, "people": PEOPLE, "policies": policies}
    with temporary(tmp_path, **options) as app:
        session = app.session(issue(app), key="k").open()
        with pytest.raises(ApprovalRequired) as asked:
            session.call("pay.refund", {"amount": 80}, run=pytest.fail)
        app.approve(asked.value.approval_id, credential="user:sue@acme.com")
        session_id = session.id
    policies.write_text(POLICIES.replace("60.0", "70.0"), "utf-8")
    with temporary(tmp_path, **options) as app, pytest.raises(ApprovalRequired) as again:
        app.join(session_id).call("pay.refund", {"amount": 80}, run=pytest.fail)

    assert again.value.rule == "org/second-pair"
    assert again.value.approval_id != asked.value.approval_id


class TestLabels:
    """What a session has touched, said by the catalogue."""

    def test_accumulate_when_a_call_ended_well_and_are_recorded(self, app: remit.App) -> None:
        """The outcome says which labels; the next decision's facts hold them; the guardrail sees them."""
        with app.session(issue(app)) as session:
            session.call("mail.send", {"to": "bob@acme.com"}, run=nothing)
            session.call("hr.read", {"id": 7}, run=nothing)
            with pytest.raises(Denied, match="something confidential was read") as refused:
                session.call("mail.send", {"to": "bob@acme.com"}, run=pytest.fail)
            session_id = session.id

        assert refused.value.rule == "org/egress"
        outcomes = [one.data.get("labels") for one in app.records(session_id) if one.type == "call.outcome"]
        assert outcomes == [None, ["confidential", "personal"]]
        [denied] = [one for one in app.records(session_id) if one.type == "call.denied"]
        assert denied.data["facts"]["labels"] == ["confidential", "personal"]

    def test_are_not_set_by_a_tool_that_failed(self, app: remit.App) -> None:
        """What raised has shown nothing."""

        def fail(**_: Any) -> None:
            raise RuntimeError("no such person")

        with app.session(issue(app)) as session:
            with pytest.raises(RuntimeError):
                session.call("hr.read", {"id": 7}, run=fail)
            assert session.call("mail.send", {"to": "bob@acme.com"}, run=nothing) == "done"

    def test_stay_with_the_grant_over_sessions(self, app: remit.App) -> None:
        """A fresh session of the same grant is not clean."""
        grant = issue(app)
        with app.session(grant) as session:
            session.call("hr.read", {"id": 7}, run=nothing)
        with app.session(grant) as session, pytest.raises(Denied) as refused:
            session.call("mail.send", {"to": "bob@acme.com"}, run=pytest.fail)
        with app.session(issue(app)) as session:
            session.call("mail.send", {"to": "bob@acme.com"}, run=nothing)

        assert refused.value.rule == "org/egress"


def test_calls_are_counted_where_a_guardrail_asks(app: remit.App) -> None:
    """Calls that ran count, refused ones do not."""
    with app.session(issue(app)) as session:
        session.call("kb.search", {}, run=nothing)
        with pytest.raises(Denied):
            session.call("kb.search", {"weight": float("nan")}, run=pytest.fail)
        session.call("kb.search", {}, run=nothing)
        with pytest.raises(Denied) as refused:
            session.call("kb.search", {}, run=pytest.fail)

    assert refused.value.rule == "org/burst"


def test_calls_made_before_anybody_counted_count_too(tmp_path: Path, policies: Path, clock: Clock) -> None:
    """New guardrails see the calls that are on record already."""
    with temporary(tmp_path, clock=clock) as app:
        session = app.session(issue(app), key="k")
        for _ in range(2):
            session.call("kb.search", {}, run=nothing)
        session_id = session.id
    with temporary(tmp_path, clock=clock, policies=policies) as app, pytest.raises(Denied) as refused:
        app.join(session_id).call("kb.search", {}, run=pytest.fail)

    assert refused.value.rule == "org/burst"


class TestCeiling:
    """What a guardrail forbids whatever the call, nobody can hand on."""

    def test_a_tool_that_is_always_forbidden_cannot_be_granted(self, app: remit.App) -> None:
        """Refused when issued, with the guardrail's reason."""
        for tool in ("shell.run", "shell.*"):
            with pytest.raises(GrantError, match=r"org/no-shell.*no agent of this house runs a shell"):
                issue(app, tools={tool: "any"})

    def test_depends_on_the_principals_role(self, app: remit.App) -> None:
        """The same grant from another principal is fine."""
        tools = {"pay.refund": "any"}
        with pytest.raises(GrantError, match="interns do not hand on refunds"):
            issue(app, principal="user:ivy@acme.com", tools=tools)
        assert issue(app, tools=tools).state == "active"

    def test_depends_on_the_environment(self, tmp_path: Path, policies: Path, clock: Clock) -> None:
        """`remit.open(…, environment="production")`."""
        tools = {"deploy.apply": "any"}
        with (
            temporary(tmp_path, clock=clock, policies=policies, environment="production") as app,
            pytest.raises(GrantError, match="deployed by the pipeline"),
        ):
            issue(app, tools=tools)
        with temporary(tmp_path, clock=clock, policies=policies, environment="staging") as app:
            assert issue(app, tools=tools).state == "active"

    def test_does_not_guess_what_calls_will_be(self, app: remit.App) -> None:
        """A forbid that reads arguments, labels or the hour is left to each call."""
        assert issue(app).state == "active"

    def test_is_no_ceiling_where_a_person_can_lift_it_or_it_only_observes(self, tmp_path: Path, clock: Clock) -> None:
        """Those are asked, or recorded, call by call."""
        path = tmp_path / "soft.cedar"
        path.write_text(
            '@id("a") @approval("role:x") forbid(principal, action == Action::"kb.search", resource);'
            '@id("b") @observe forbid(principal, action == Action::"mail.send", resource);',
            "utf-8",
        )
        with temporary(tmp_path, clock=clock, policies=path) as app:
            assert issue(app, tools={"kb.search": "any", "mail.send": "any"}).state == "active"


@pytest.mark.requirement("I6")
def test_every_recorded_decision_decides_again_alike_from_its_record(app: remit.App) -> None:
    """Grant, guardrails and facts come out of the ledger; nothing else is needed."""
    with app.session(issue(app)) as session:
        for tool, arguments in (
            ("pay.refund", {"amount": 10}),
            ("pay.refund", {"amount": 101}),
            ("pay.refund", {"amount": 80}),
            ("pay.refund", {"amount": "80"}),
            ("kb.search", {}),
            ("kb.search", {}),
            ("kb.search", {}),
            ("hr.read", {"id": 7}),
            ("mail.send", {"to": "bob@acme.com"}),
        ):
            with contextlib.suppress(Denied):
                session.call(tool, arguments, run=nothing)
        session_id = session.id

    decided = [one for one in app.records(session_id) if "decision" in one.data]
    assert len(decided) == 10  # one call puts two questions
    for record in decided:
        private = record.disclosed() or {}
        accesses = tuple(Access(*text.split(" ", 1)) for text in private.get("accesses", ()))
        known = app.deployment.catalogue.entry(record.data["tool"])
        arguments = private["arguments"]
        view = CallView(
            record.data["tool"], arguments, arguments, frozenset(), {}, accesses,
            known.covered if known else frozenset(), None, known is not None,
        )  # fmt: skip
        chain = [compile_grant(GrantTerms.from_bytes(app.ledger.artefact(digest))) for digest in record.data["chain"]]
        guardrails = CedarGuardrails.from_source(app.ledger.artefact(record.data["guardrails"]))

        again = decide(chain, view, recorded_facts(record.data["facts"], private.get("sums")), guardrails)

        said = record.data["decision"]
        assert (again.effect, again.code, again.rule) == (said["effect"], said["code"], said["rule"])


def test_an_agent_does_not_touch_the_guardrails_themselves(tmp_path: Path, policies: Path, clock: Clock) -> None:
    """Policies are Remit's own files."""
    catalogue = {"tools": {"fs.write": {"accesses": ["write file://{path}"], "kinds": {"path": "path"}}}}
    with temporary(tmp_path, clock=clock, catalogue=catalogue, policies=policies) as app:
        grant = issue(app, tools={"fs.write": {"resources": "any"}})
        with app.session(grant) as session, pytest.raises(Denied) as refused:
            session.call("fs.write", {"path": str(policies)}, run=pytest.fail)

    assert refused.value.rule == "remit/own-files"


def test_a_guardrail_that_does_not_fit_an_accepted_tool_is_told_when_it_is_loaded(
    tmp_path: Path, policies: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The ledger knows what the tool takes; the log names file, line, guardrail and tool."""
    schema = {"type": "object", "properties": {"amuont": {"type": "number"}}, "required": ["amuont"]}
    definition = ToolDefinition("pay.refund", schema)
    with temporary(tmp_path, clock=clock) as app, app.session(issue(app, tools={"pay.refund": "any"})) as session:
        session.call("pay.refund", {"amuont": 5}, run=nothing, definition=definition)
    assert caplog.messages == []
    with temporary(tmp_path, clock=clock, policies=policies):
        pass

    assert f"{policies}:2: org/cap, for pay.refund: reads `amount`, which the tool does not take" in caplog.text
