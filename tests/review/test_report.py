"""The session report says what happened, beside the authority there was."""

from __future__ import annotations

import pytest

import remit
from remit.review.report import report
from tests.review.conftest import GRANT, Tools, attempt


@pytest.mark.requirement("A4")
def test_the_just_in_time_agent_is_stopped_before_the_tool_body_and_the_page_says_so(
    app: remit.App, session_id: str, tools: Tools, people: dict[str, remit.Credential]
) -> None:
    """Scenario A4: two calls run, three are refused with their codes, the unused clause is listed, another signs."""
    found = report(app.deployment, session_id)

    assert [(call.tool, call.state, call.code) for call in found.calls] == [
        ("crm.read_ticket", "ok", None),
        ("crm.read_ticket", "denied", "resource_out_of_scope"),
        ("local.bash", "denied", "tool_not_granted"),
        ("crm.comment", "ok", None),
        ("crm.comment", "denied", "limit_reached"),
    ]
    assert [tool for tool, _ in tools.entered] == ["crm.read_ticket", "crm.comment"]
    assert found.summary == ("Everything that ran was within the authority given; 3 attempts outside it were blocked.")
    assert [clause.title for clause in found.unused] == ["kb.search", "payments.refund"]

    app.verdict(session_id, "attempted", reason="attempt_benign", credential=people["carol"])

    [verdict] = report(app.deployment, session_id).verdicts
    assert (verdict.reviewer, verdict.authenticated) == ("user:carol@acme.com", True)


@pytest.mark.requirement("R18")
def test_each_call_stands_beside_the_clause_that_decided_it(app: remit.App, session_id: str) -> None:
    """A clause lists the numbers of the calls that it permitted and refused, and a call has its reason in words."""
    found = report(app.deployment, session_id)
    clauses = {clause.tool: clause for clause in found.clauses}

    assert (clauses["crm.read_ticket"].permitted, clauses["crm.read_ticket"].refused) == ((1,), (2,))
    assert (clauses["crm.comment"].permitted, clauses["crm.comment"].refused) == ((4,), (5,))
    assert clauses["crm.read_ticket"].text == "crm.read_ticket may read crm://tickets/88."
    assert found.calls[1].reason is not None
    assert "crm://tickets/89" in found.calls[1].reason
    assert all(call.id.startswith("c-") for call in found.calls)


@pytest.mark.requirement("R17")
def test_what_was_granted_and_never_used_is_listed(app: remit.App, session_id: str) -> None:
    """A clause without a permitted call is unused, whether or not it refused one."""
    assert [clause.title for clause in report(app.deployment, session_id).unused] == ["kb.search", "payments.refund"]


def test_a_call_with_arguments_that_nothing_bounds_is_listed_as_unbounded(
    app: remit.App, grant: remit.Grant, tools: Tools
) -> None:
    """`any` is recorded on the call that used it."""
    with app.session(grant) as session:
        attempt(session, tools, "kb.search", query="export")

    [call] = report(app.deployment, session.id).unbounded

    assert (call.tool, call.unbounded) == ("kb.search", ("1 other argument",))


def test_limits_show_what_is_spent_and_which_are_at_their_edge(app: remit.App, session_id: str) -> None:
    """Four fifths of a limit are its edge."""
    limits = {limit.what: limit for limit in report(app.deployment, session_id).limits}
    [comments] = [limit for what, limit in limits.items() if "crm.comment" in what]

    assert (comments.spent, comments.allowed, comments.at_edge) == ("1", "1", True)
    assert not limits["30 calls in all"].at_edge


def test_a_session_without_calls_says_so(app: remit.App, grant: remit.Grant) -> None:
    """Nothing is claimed about nothing."""
    with app.session(grant) as session:
        pass

    assert report(app.deployment, session.id).summary == "Nothing was called."


def test_one_attempt_is_told_in_the_singular(app: remit.App, grant: remit.Grant, tools: Tools) -> None:
    """Words agree with their number."""
    with app.session(grant) as session:
        attempt(session, tools, "bash", command="ls")

    assert report(app.deployment, session.id).summary == (
        "Nothing ran; 1 attempt outside the authority given was blocked."
    )


def test_a_session_in_which_nothing_outside_was_tried_says_so(app: remit.App, grant: remit.Grant, tools: Tools) -> None:
    """The good case has a sentence of its own."""
    with app.session(grant) as session:
        attempt(session, tools, "crm.read_ticket", id=88)

    assert report(app.deployment, session.id).summary == (
        "Everything that ran was within the authority given; nothing outside it was attempted."
    )


def test_a_call_that_waits_for_a_person_is_neither_within_nor_outside(
    app: remit.App, grant: remit.Grant, tools: Tools
) -> None:
    """An open question is told apart."""
    with app.session(grant) as session:
        attempt(session, tools, "payments.refund", amount=20)

    assert report(app.deployment, session.id).summary == "Nothing ran. 1 call waits for a person's approval."


def test_an_approved_call_is_one_line_that_names_its_approval(
    app: remit.App, grant: remit.Grant, tools: Tools, people: dict[str, remit.Credential]
) -> None:
    """Asked, approved and run: the report shows one call that ran, and who approved it."""
    with app.session(grant) as session:
        attempt(session, tools, "payments.refund", amount=20)
        [question] = app.pending(session.id)
        app.approve(question.id, credential=people["bob"])
        session.resume(question.id, run=tools("payments.refund"))

    found = report(app.deployment, session.id)

    ran = [call for call in found.calls if call.ran]
    assert [(call.tool, call.state, call.approval_id) for call in ran] == [("payments.refund", "ok", question.id)]
    assert found.summary.startswith("Everything that ran was within the authority given")
    assert "waits" not in found.summary


def test_a_tool_that_failed_shows_its_error(app: remit.App, grant: remit.Grant) -> None:
    """An exception is an outcome, and its text is kept for the reviewer."""

    def broken(**_: object) -> None:
        raise RuntimeError("the database is gone")

    with app.session(grant) as session, pytest.raises(RuntimeError):
        session.call("crm.read_ticket", {"id": 88}, run=broken)

    [call] = report(app.deployment, session.id).calls
    assert (call.state, call.error) == ("exception", "RuntimeError: the database is gone")


def test_an_unknown_session_is_a_sentence(app: remit.App) -> None:
    """The error says what to do."""
    with pytest.raises(remit.UsageError, match="remit session list"):
        report(app.deployment, "s-none")


def test_the_report_is_json(app: remit.App, session_id: str) -> None:
    """Everything on the page is in its JSON form, in plain types."""
    found = report(app.deployment, session_id).as_dict()

    assert found["summary"].startswith("Everything that ran")
    assert found["calls"][1]["decision"]["code"] == "resource_out_of_scope"
    assert found["unused"] == ["kb.search", "payments.refund"]


def test_a_call_that_a_person_refused_says_so(
    app: remit.App, grant: remit.Grant, tools: Tools, people: dict[str, remit.Credential]
) -> None:
    """No is an answer, not an attempt outside."""
    with app.session(grant) as session:
        attempt(session, tools, "payments.refund", amount=20)
        app.refuse(app.pending(session.id)[0].id, credential=people["bob"], reason="not this one")

    found = report(app.deployment, session.id)
    assert found.calls[0].state == "refused"
    assert found.summary == "Nothing ran. 1 call was refused by a person."


def test_a_call_that_came_while_the_session_was_suspended_is_told_apart(
    app: remit.App, people: dict[str, remit.Credential], tools: Tools
) -> None:
    """It may have been within the grant; it was refused for another reason."""
    grant = app.issue({**GRANT, "limits": {"denied": 1}}, credential=people["dora"])
    session = app.session(grant, key="thread:1").open()
    for number in (1, 2, 88):
        attempt(session, tools, "crm.read_ticket", id=number)

    assert report(app.deployment, session.id).summary == (
        "Nothing ran; 2 attempts outside the authority given were blocked. "
        "1 call was refused for a reason beside its authority."
    )
