"""An approval is a person's answer to one exact call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import remit
from remit.testing import Clock
from tests.core.conftest import CATALOGUE, PEOPLE, TRIAGE, Tool, data, types
from tests.stores import temporary

LARGE = {"order": "ord_4711", "amount": 30}


def _ask(session: remit.Session, tool: Tool, arguments: dict[str, Any] | None = None) -> remit.ApprovalRequired:
    with pytest.raises(remit.ApprovalRequired) as caught:
        session.call("payments.refund", arguments or LARGE, run=tool)
    return caught.value


@pytest.mark.requirement("code:approval_required")
def test_ask_then_approve_then_resume_runs_exactly_what_was_asked_once(
    app: remit.App, grant: remit.Grant, tool: Tool
) -> None:
    """The arguments that run are those that were shown; a second resume runs nothing."""
    with app.session(grant) as session:
        asked = _ask(session, tool)
        assert tool.calls == []
        approval = app.approve(asked.approval_id, credential="user:bob@acme.com")
        session.resume(asked.approval_id, run=tool)
        with pytest.raises(remit.Denied):
            session.resume(asked.approval_id, run=tool)

    assert approval.arguments == LARGE
    assert tool.calls == [LARGE]
    kinds = types(app)
    assert [kind for kind in kinds if kind.startswith("approval")] == [
        "approval.requested",
        "approval.decided",
        "approval.used",
    ]
    assert data(app, "approval.decided")[0]["by"]["subject"] == "user:bob@acme.com"


def test_approved_call_with_a_whole_float_runs_with_that_float(app: remit.App, grant: remit.Grant, tool: Tool) -> None:
    """Evidence encodes 30.0 apart from 30; what runs after an approval is the value, not its encoding."""
    with app.session(grant) as session:
        asked = _ask(session, tool, {"order": "ord_4711", "amount": 30.0})
        app.approve(asked.approval_id, credential="user:bob@acme.com")
        session.resume(asked.approval_id, run=tool)

    assert [(call["amount"], type(call["amount"])) for call in tool.calls] == [(30.0, float)]


def test_unkeyed_session_stays_open_while_an_approval_is_pending(
    app: remit.App, grant: remit.Grant, tool: Tool
) -> None:
    """Leaving the block does not throw away the question."""
    with app.session(grant) as session:
        asked = _ask(session, tool)
    app.approve(asked.approval_id, credential="user:bob@acme.com")
    session.resume(asked.approval_id, run=tool)

    assert tool.calls == [LARGE]


def test_same_question_is_asked_once(app: remit.App, grant: remit.Grant, tool: Tool) -> None:
    """A looping agent does not flood its approvers."""
    with app.session(grant) as session:
        first, second = _ask(session, tool), _ask(session, tool)

    assert first.approval_id == second.approval_id
    assert types(app).count("approval.requested") == 1


def test_edited_call_is_a_new_call(app: remit.App, grant: remit.Grant, tool: Tool) -> None:
    """An approval of 30 does not cover 31."""
    with app.session(grant) as session:
        asked = _ask(session, tool)
        app.approve(asked.approval_id, credential="user:bob@acme.com")
        other = _ask(session, tool, {**LARGE, "amount": 31})

    assert other.approval_id != asked.approval_id
    assert tool.calls == []


@pytest.mark.requirement("code:approval_refused")
def test_refused_call_does_not_run(app: remit.App, grant: remit.Grant, tool: Tool) -> None:
    """No is an answer too."""
    with app.session(grant) as session:
        asked = _ask(session, tool)
        app.refuse(asked.approval_id, credential="user:bob@acme.com", reason="ask the customer first")
        with pytest.raises(remit.Denied) as caught:
            session.resume(asked.approval_id, run=tool)

    assert caught.value.code == "approval_refused"
    assert tool.calls == []


@pytest.mark.requirement("code:approval_expired")
def test_answer_after_its_time_is_refused(app: remit.App, grant: remit.Grant, tool: Tool, clock: Clock) -> None:
    """A question does not wait for ever."""
    with app.session(grant) as session:
        asked = _ask(session, tool)
        clock.forward(days=2)
        with pytest.raises(remit.Denied) as caught:
            app.approve(asked.approval_id, credential="user:bob@acme.com")

    assert caught.value.code == "approval_expired"
    assert "approval.lapsed" in types(app)


@pytest.mark.parametrize(
    ("who", "reason"),
    [
        ("user:carol@acme.com", "holds role:reviewer"),
        ("user:ravi@acme.com", "principal"),
        ("user:nobody@acme.com", "no role"),
    ],
)
def test_answer_of_somebody_else_is_refused(
    app: remit.App, grant: remit.Grant, tool: Tool, who: str, reason: str
) -> None:
    """Only whom the clause names, and never the one on whose behalf it is asked."""
    with app.session(grant) as session:
        asked = _ask(session, tool)
        with pytest.raises(remit.IdentityError, match=reason):
            app.approve(asked.approval_id, credential=who)

    assert app.approval(asked.approval_id).state == "requested"


class TestOutsideDevelopment:
    """Where claims are not accepted."""

    def test_bare_string_is_refused_and_an_enrolled_key_is_accepted(self, tmp_path: Path, tool: Tool) -> None:
        """The approver comes from a credential, never from what somebody says; the record carries the proof."""
        with temporary(tmp_path, development=False, catalogue=CATALOGUE, people=PEOPLE) as app:
            ravi, bob = (remit.Credential.generate(f"{name}@acme.com") for name in ("ravi", "bob"))
            app.enrol("ravi@acme.com", ravi.public_key)
            app.enrol("bob@acme.com", bob.public_key, credential=ravi)
            with pytest.raises(remit.IdentityError, match="development=True"):
                app.issue(TRIAGE, credential="user:ravi@acme.com")
            grant = app.issue(TRIAGE, credential=ravi)
            with app.session(grant) as session:
                asked = _ask(session, tool)
                with pytest.raises(remit.IdentityError, match="development=True"):
                    app.approve(asked.approval_id, credential="user:bob@acme.com")
                app.approve(asked.approval_id, credential=bob)
                session.resume(asked.approval_id, run=tool)
            [decided] = data(app, "approval.decided")

            assert tool.calls == [LARGE]
            assert decided["by"]["authenticated"] is True
            assert decided["by"]["signature"]

    def test_key_that_is_not_the_enrolled_one_is_refused(self, tmp_path: Path) -> None:
        """A name with another key proves nothing."""
        with temporary(tmp_path, development=False, people=PEOPLE) as app:
            app.enrol("ravi@acme.com", remit.Credential.generate("ravi@acme.com").public_key)
            with pytest.raises(remit.IdentityError, match="the enrolled one is"):
                app.issue(TRIAGE, credential=remit.Credential.generate("ravi@acme.com"))

    def test_handle_for_sessions_only_cannot_approve_or_issue(self, tmp_path: Path) -> None:
        """An agent's process gets a handle that cannot do a person's part."""
        with temporary(tmp_path) as whole, remit.open(whole.url, can={"session"}, development=True) as handle:
            for act in (
                lambda: handle.issue(TRIAGE, credential="user:ravi@acme.com"),
                lambda: handle.approve("a-1", credential="user:bob@acme.com"),
                lambda: handle.verdict("s-1", "within", reason="x", credential="user:bob@acme.com"),
                lambda: handle.enrol("eve@acme.com", "x"),
            ):
                with pytest.raises(remit.UsageError, match="cannot"):
                    act()


def test_same_call_is_not_asked_again_after_a_person_refused_it(app: remit.App, grant: remit.Grant, tool: Tool) -> None:
    """No, once said about exactly this call in this session, is the answer to the next request too."""
    with app.session(grant) as session:
        asked = _ask(session, tool)
        app.refuse(asked.approval_id, credential="user:bob@acme.com", reason="no")
        with pytest.raises(remit.Denied) as caught:
            session.call("payments.refund", LARGE, run=tool)

    assert caught.value.code == "approval_refused"
    assert types(app).count("approval.requested") == 1


def test_session_left_open_for_an_approval_closes_with_the_last_answer(
    app: remit.App, grant: remit.Grant, tool: Tool
) -> None:
    """The block has ended; the session ends once nothing waits any more."""
    with app.session(grant) as session:
        asked = _ask(session, tool)
    assert "session.closed" not in types(app)
    app.approve(asked.approval_id, credential="user:bob@acme.com")
    session.resume(asked.approval_id, run=tool)

    assert types(app)[-1] == "session.closed"
