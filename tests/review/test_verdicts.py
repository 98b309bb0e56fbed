"""A verdict is a person's, of closed words, signed, and never edited."""

from __future__ import annotations

import json

import pytest

import remit
from remit.review.report import report
from remit.review.verdicts import REASONS_FOR, VERDICTS
from remit.signing import STATEMENT_TYPE, VerifyingKey
from tests.review.conftest import Tools, attempt

People = dict[str, remit.Credential]


def test_a_verdict_is_recorded_with_the_reviewers_signature_over_what_was_decided(
    app: remit.App, session_id: str, people: People
) -> None:
    """The statement that was signed names session, verdict, reason and the calls it was given on."""
    record_id = app.verdict(
        session_id, "attempted", reason="attempt_hostile", comment="A stranger told it to.", credential=people["carol"]
    )

    [record] = [record for record in app.records(session_id) if record.type == "review.verdict"]
    assert record.id == record_id
    by = record.data["by"]
    statement = json.loads(by["statement"])
    VerifyingKey.parse(people["carol"].public_key).verify(STATEMENT_TYPE, by["statement"].encode(), by["signature"])
    about = statement["about"]
    assert (about["session"], about["verdict"], about["reason"]) == (session_id, "attempted", "attempt_hostile")
    assert about["seen"] == {"calls": 5, "ok": 2, "denied": 3}
    assert about["comment"] == record.private["comment"]["commitment"]
    assert record.disclosed() == {"comment": "A stranger told it to."}
    assert b"stranger" not in record.body


@pytest.mark.requirement("I9")
def test_a_later_verdict_supersedes_and_the_earlier_one_stays(app: remit.App, session_id: str, people: People) -> None:
    """Nothing is edited: both records verify, one of them stands."""
    first = app.verdict(session_id, "within", credential=people["carol"])
    second = app.verdict(session_id, "attempted", reason="attempt_benign", credential=people["carol"])

    verdicts = report(app.deployment, session_id).verdicts
    assert [(one.id, one.superseded) for one in verdicts] == [(first, True), (second, False)]
    records = [record for record in app.records(session_id) if record.type == "review.verdict"]
    assert [record.data["supersedes"] for record in records] == [None, first]
    app.verify()


def test_a_verdict_on_one_call_does_not_touch_the_sessions(app: remit.App, session_id: str, people: People) -> None:
    """A session and its calls are judged apart."""
    call = report(app.deployment, session_id).calls[0]
    app.verdict(session_id, "within", credential=people["carol"])
    app.verdict(session_id, "exceeded", reason="granted_but_outside_task", call_id=call.id, credential=people["carol"])

    assert [one.superseded for one in report(app.deployment, session_id).verdicts] == [False, False]


@pytest.mark.requirement("P4")
@pytest.mark.parametrize(
    ("reviewer", "why"), [("ravi", "is the principal"), ("dora", "issued grant"), ("bob", "answered approval")]
)
def test_whoever_took_part_cannot_judge(
    app: remit.App, grant: remit.Grant, tools: Tools, people: People, reviewer: str, why: str
) -> None:
    """Principal, issuer and approver are refused, with the reason; nothing is recorded as decided."""
    with app.session(grant) as session:
        attempt(session, tools, "payments.refund", amount=20)
        [question] = app.pending(session.id)
        app.approve(question.id, credential=people["bob"])
        session.resume(question.id, run=tools("payments.refund"))

    with pytest.raises(remit.IdentityError, match=why):
        app.verdict(session.id, "within", credential=people[reviewer])

    assert report(app.deployment, session.id).verdicts == ()


def test_somebody_who_is_not_enrolled_cannot_judge(app: remit.App, session_id: str) -> None:
    """A key that nobody enrolled proves nothing."""
    stranger = remit.Credential.generate("eve@acme.com")

    with pytest.raises(remit.IdentityError, match="not enrolled"):
        app.verdict(session_id, "within", credential=stranger)


def test_a_bare_name_cannot_judge_outside_development(app: remit.App, session_id: str) -> None:
    """What is only said is a claim."""
    with pytest.raises(remit.IdentityError, match="needs a credential"):
        app.verdict(session_id, "within", credential="user:carol@acme.com")


@pytest.mark.parametrize("verdict", VERDICTS)
def test_every_verdict_takes_the_reasons_that_go_with_it_and_no_other(
    app: remit.App, session_id: str, people: People, verdict: str
) -> None:
    """The closed lists are closed."""
    for reason in REASONS_FOR[verdict]:
        app.verdict(session_id, verdict, reason=reason, credential=people["carol"])
    others = {reason for reasons in REASONS_FOR.values() for reason in reasons} - set(REASONS_FOR[verdict])
    for reason in sorted(others):
        with pytest.raises(remit.UsageError, match="does not go with"):
            app.verdict(session_id, verdict, reason=reason, credential=people["carol"])


def test_anything_but_within_needs_a_reason(app: remit.App, session_id: str, people: People) -> None:
    """A judgement without a reason cannot be counted or answered."""
    with pytest.raises(remit.UsageError, match="needs a reason; expected one of attempt_benign"):
        app.verdict(session_id, "attempted", credential=people["carol"])


def test_a_word_outside_the_list_is_refused(app: remit.App, session_id: str, people: People) -> None:
    """The error names the words there are."""
    with pytest.raises(remit.UsageError, match="expected one of within, attempted, exceeded, inconclusive"):
        app.verdict(session_id, "fine", credential=people["carol"])


def test_one_call_is_judged_by_what_ran_so_it_is_never_attempted(
    app: remit.App, session_id: str, people: People
) -> None:
    """`attempted` is of a session only."""
    call = report(app.deployment, session_id).calls[1]

    with pytest.raises(remit.UsageError, match="not `attempted`"):
        app.verdict(session_id, "attempted", reason="attempt_benign", call_id=call.id, credential=people["carol"])


def test_a_call_of_another_session_is_not_judged_here(
    app: remit.App, session_id: str, grant: remit.Grant, tools: Tools, people: People
) -> None:
    """A verdict is bound to the session that it names."""
    with app.session(grant) as other:
        attempt(other, tools, "crm.read_ticket", id=88)
    foreign = report(app.deployment, other.id).calls[0]

    with pytest.raises(remit.UsageError, match="no call"):
        app.verdict(session_id, "within", call_id=foreign.id, credential=people["carol"])


def test_calls_after_the_verdict_are_shown_as_not_covered(
    app: remit.App, grant: remit.Grant, tools: Tools, people: People, clock: object
) -> None:
    """A verdict on an open session covers what stood there then."""
    assert hasattr(clock, "forward")
    session = app.session(grant, key="thread:1").open()
    attempt(session, tools, "crm.read_ticket", id=88)
    app.verdict(session.id, "within", credential=people["carol"])
    clock.forward(seconds=5)
    attempt(session, tools, "bash", command="ls")

    [verdict] = report(app.deployment, session.id).verdicts
    assert verdict.later_calls == 1


@pytest.mark.requirement("I8")
def test_people_and_what_they_do_are_in_the_agents_ledger(
    app: remit.App, session_id: str, people: People, grant: remit.Grant
) -> None:
    """Enrolling, issuing, judging, revoking and configuring are records beside the calls, and all of it verifies."""
    app.verdict(session_id, "within", credential=people["carol"])
    app.revoke(grant.id, reason="done", credential=people["dora"])

    types = [record.type for record in app.records()]
    assert types.count("person.enrolled") == 4
    assert {"config.changed", "grant.issued", "call.intent", "call.denied", "review.verdict", "grant.revoked"} <= set(
        types
    )
    app.verify()


def test_a_handle_that_cannot_review_gives_no_verdict(app: remit.App, session_id: str) -> None:
    """An agent's process gets a handle for sessions only."""
    with (
        remit.open(app.url, can={"session"}) as agents,
        pytest.raises(remit.UsageError, match="cannot review"),
    ):
        agents.verdict(session_id, "within")
