"""Approvals where calls have identities, continue, or come too late."""

from __future__ import annotations

from typing import Any

import pytest

import remit
from remit.testing import Clock
from tests.core.conftest import TRIAGE, Tool, types

LARGE = {"order": "ord_4711", "amount": 30}
BOB = "user:bob@acme.com"
ID: dict[str, Any] = {"call_id": "1", "scope": "run"}

HASTY: dict[str, Any] = {
    **TRIAGE,
    "tools": {
        "payments.refund": {
            "arguments": {"order": "any", "amount": "any"},
            "approval": {"by": "role:finance", "reason": "money", "expires_in": "5m"},
        }
    },
}


class Pause(Exception):
    """A framework's control flow."""


def _ask(session: remit.Session, tool: Any, **options: Any) -> str:
    with pytest.raises(remit.ApprovalRequired) as caught:
        session.call("payments.refund", LARGE, run=tool, **options)
    return caught.value.approval_id


@pytest.mark.requirement("I10")
def test_call_that_was_resumed_replays_under_its_own_identity(app: remit.App, grant: remit.Grant, tool: Tool) -> None:
    """The framework that asked comes back after somebody else resumed: it gets the result, and nobody's refusal."""
    with app.session(grant) as session:
        asked = _ask(session, tool, **ID)
        app.approve(asked, credential=BOB)
        assert session.resume(asked, run=tool) == "done"
        assert session.call("payments.refund", LARGE, run=tool, **ID) == "done"
    assert len(tool.calls) == 1
    assert "call.replayed" in types(app)


def test_question_that_lapsed_is_asked_anew_under_the_same_identity(app: remit.App, tool: Tool, clock: Clock) -> None:
    """Nobody refused: nobody answered."""
    with app.session(app.issue(HASTY, credential=BOB)) as session:
        asked = _ask(session, tool, **ID)
        clock.forward(minutes=6)
        with pytest.raises(remit.Denied):
            app.approve(asked, credential=BOB)
        again = _ask(session, tool, **ID)
        app.approve(again, credential=BOB)
        session.call("payments.refund", LARGE, run=tool, **ID)
    assert again != asked
    assert len(tool.calls) == 1


@pytest.mark.requirement("code:approval_expired")
def test_approval_that_lapsed_before_it_was_used_says_so(app: remit.App, tool: Tool, clock: Clock) -> None:
    """A yes has an end as well."""
    with app.session(app.issue(HASTY, credential=BOB)) as session:
        asked = _ask(session, tool)
        app.approve(asked, credential=BOB)
        clock.forward(minutes=6)
        with pytest.raises(remit.Denied) as denied:
            session.resume(asked, run=tool)
    assert denied.value.code == "approval_expired"
    assert tool.calls == []
    assert "approval.lapsed" in types(app)


def test_unkeyed_session_does_not_stay_open_for_a_question_that_lapsed(
    app: remit.App, tool: Tool, clock: Clock
) -> None:
    """What nobody can answer any more is not pending."""
    with app.session(app.issue(HASTY, credential=BOB)) as session:
        _ask(session, tool)
        clock.forward(minutes=6)
    assert types(app, session.id)[-1] == "session.closed"


def test_approved_call_that_pauses_goes_on_without_a_second_question(app: remit.App, grant: remit.Grant) -> None:
    """A person approved the call, not its first half."""
    runs: list[int] = []

    def refund(order: str, amount: int) -> str:
        runs.append(amount)
        if len(runs) == 1:
            raise Pause
        return "done"

    with app.session(grant) as session:
        options: dict[str, Any] = {**ID, "passthrough": (Pause,)}
        app.approve(_ask(session, refund, **options), credential=BOB)
        with pytest.raises(Pause):
            session.call("payments.refund", LARGE, run=refund, **options)
        assert session.call("payments.refund", LARGE, run=refund, **options) == "done"
    assert types(app).count("approval.requested") == 1
    assert types(app).count("call.intent") == 1


def test_approval_used_by_one_call_does_not_let_the_other_that_asked_run(
    app: remit.App, grant: remit.Grant, tool: Tool
) -> None:
    """Two calls of the same content share one question; one answer lets one of them run."""
    with app.session(grant) as session:
        asked = _ask(session, tool, **ID)
        assert _ask(session, tool, call_id="2", scope="run") == asked
        app.approve(asked, credential=BOB)
        session.call("payments.refund", LARGE, run=tool, call_id="2", scope="run")
        assert _ask(session, tool, **ID) != asked
    assert len(tool.calls) == 1


@pytest.mark.requirement("code:approval_mismatch")
def test_approval_of_arguments_that_were_erased_lets_nothing_run(
    app: remit.App, grant: remit.Grant, tool: Tool
) -> None:
    """What was approved cannot be told any more, so nothing is what was approved."""
    with app.session(grant) as session:
        asked = _ask(session, tool)
        app.approve(asked, credential=BOB)
        requested = next(record for record in app.records() if record.type == "approval.requested")
        app.erase(records=[requested.id], reason="asked to", credential=BOB)
        with pytest.raises(remit.Denied) as denied:
            session.resume(asked, run=tool)
    assert denied.value.code == "approval_mismatch"
    assert tool.calls == []
