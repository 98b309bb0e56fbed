"""Who did this? Calls are found by what they touched, and by what their grant was issued for."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

import remit
from remit.review.who import who
from tests.review.conftest import Tools, attempt


@pytest.mark.requirement("R19")
def test_a_resource_finds_its_calls_in_order_refused_ones_too(app: remit.App, session_id: str) -> None:
    """Reading, writing and failing to write are all found, with whoever stands behind them."""
    deeds = who(app.deployment, "crm://tickets/88")

    assert [(deed.call.tool, deed.call.state) for deed in deeds] == [
        ("crm.read_ticket", "ok"),
        ("crm.comment", "ok"),
        ("crm.comment", "denied"),
    ]
    assert {(deed.session_id, deed.principal, deed.agent) for deed in deeds} == {
        (session_id, "user:ravi@acme.com", "spiffe://acme.com/agents/triage")
    }


def test_an_access_is_as_good_as_its_resource(app: remit.App, session_id: str) -> None:
    """`read crm://…`, as pages show it, can be pasted."""
    assert who(app.deployment, "read crm://tickets/89")[0].session_id == session_id


@pytest.mark.parametrize("wanted", ["CHG-7", "change=CHG-7"])
def test_a_binding_finds_every_call_under_its_grants(app: remit.App, session_id: str, wanted: str) -> None:
    """A change id leads to all that was done for it."""
    assert len(who(app.deployment, wanted)) == 5


def test_a_resource_that_nothing_touched_finds_nothing(app: remit.App, session_id: str) -> None:
    """Nothing is nothing."""
    assert who(app.deployment, "crm://tickets/90") == ()


def test_each_deed_says_in_words_whether_it_ran_and_by_whose_authority(
    app: remit.App, grant: remit.Grant, tools: Tools, people: dict[str, remit.Credential]
) -> None:
    """Permitted, refused, waiting, approved and refused by a person: one sentence each."""
    with app.session(grant, workload="runner-7") as session:
        attempt(session, tools, "crm.read_ticket", id=88)
        attempt(session, tools, "crm.read_ticket", id=89)
        attempt(session, tools, "payments.refund", amount=20)
        attempt(session, tools, "payments.refund", amount=30)
        attempt(session, tools, "payments.refund", amount=40)
        asked = {(question.arguments or {})["amount"]: question.id for question in app.pending(session.id)}
        app.approve(asked[20], credential=people["bob"])
        session.resume(asked[20], run=tools("payments.refund"))
        app.refuse(asked[30], credential=people["bob"], reason="ask first")
    deeds = who(app.deployment, "CHG-7")

    read, outside, refunded, refused, waiting = (deed.statement for deed in deeds)
    assert read == "It ran: the clause for crm.read_ticket permits it without anybody's approval."
    assert outside.startswith("Refused, so it did not run: resource_out_of_scope. ")
    assert refused.startswith(
        "It did not run: the clause for payments.refund asked for an approval, and user:bob@acme.com (finance, signed) "
        "refused exactly this call at 20"
    )
    assert waiting.startswith(
        "It has not run: it waits for a person. payments.refund waits for approval by role:finance"
    )
    assert refunded.startswith(
        "It ran, approved: the clause for payments.refund permits it, and user:bob@acme.com (finance, signed) approved"
    )
    for deed in deeds:
        said = deed.as_dict()
        assert (said["workload"], said["issuer"]) == ("runner-7", "user:dora@acme.com")
        assert said["bindings"] == {"change": "CHG-7"}
        assert said["known"] == {"principal": "claimed", "agent": "claimed", "workload": "claimed"}
    assert deeds[2].as_dict()["clause_text"].startswith("payments.refund may be called with `amount`")


def test_a_deed_shows_the_terms_that_it_was_decided_under(
    app: remit.App, grant: remit.Grant, tools: Tools, people: dict[str, remit.Credential]
) -> None:
    """An amendment later says nothing about what was granted before."""
    with app.session(grant) as session:
        attempt(session, tools, "crm.read_ticket", id=88)
        app.amend(grant, {"bindings": {"change": "CHG-8"}}, credential=people["dora"])
        attempt(session, tools, "crm.read_ticket", id=88)
    before, after = who(app.deployment, "crm://tickets/88")

    assert [deed.as_dict()["version"] for deed in (before, after)] == [1, 2]
    assert [deed.bindings["change"] for deed in (before, after)] == ["CHG-7", "CHG-8"]


@pytest.mark.sqlite
def test_the_index_does_not_tell_a_thief_which_resources_were_touched(
    app: remit.App, session_id: str, tmp_path: Path
) -> None:
    """It holds keyed hashes: neither the address nor its plain hash is in the database."""
    with sqlite3.connect(tmp_path / "remit.db") as database:
        rows = database.execute("SELECT touch FROM touches").fetchall()

    assert rows
    assert not any("tickets" in touch for (touch,) in rows)
