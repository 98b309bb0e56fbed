"""Who did this? Calls are found by what they touched, and by what their grant was issued for."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

import remit
from remit.review.who import who


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


def test_the_index_does_not_tell_a_thief_which_resources_were_touched(
    app: remit.App, session_id: str, tmp_path: Path
) -> None:
    """It holds keyed hashes: neither the address nor its plain hash is in the database."""
    with sqlite3.connect(tmp_path / "remit.db") as database:
        rows = database.execute("SELECT touch FROM touches").fetchall()

    assert rows
    assert not any("tickets" in touch for (touch,) in rows)
