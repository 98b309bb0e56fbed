"""What the record of a call holds for whoever has to judge it, and that nothing of it can be changed unseen."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.signing import GRANT_TYPE
from remit.testing import Clock
from tests.core.conftest import CATALOGUE
from tests.review.conftest import GRANT, PEOPLE, Tools, attempt
from tests.stores import tamper, temporary

WORKLOAD = "spiffe://acme.com/ns/prod/triage"


def intents(app: remit.App) -> list[remit.Record]:
    """Every intent, in order."""
    return [record for record in app.records() if record.type == "call.intent"]


@pytest.mark.requirement("R2")
def test_a_record_leads_to_the_exact_grant_and_the_clause_that_decided(
    app: remit.App, grant: remit.Grant, session_id: str
) -> None:
    """Grant, version, digest of the signed bytes, clause and rule are in the leaf; the bytes verify."""
    intent = intents(app)[0]

    assert (intent.data["grant"], intent.data["version"]) == (grant.id, 1)
    assert intent.data["decision"] == {
        "effect": "permit",
        "code": None,
        "rule": "crm.read_ticket/only",
        "clause": "only",
        "enforced": True,
    }
    [digest] = intent.data["chain"]
    content = app.ledger.artefact(digest)
    assert digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    app.deployment.issue_public.verify(GRANT_TYPE, content, grant.signature)


@pytest.mark.requirement("R23")
def test_what_a_decision_read_is_recorded_with_it(app: remit.App, session_id: str, clock: Clock) -> None:
    """The time, the session's state, revocations and counters, as they stood in that transaction."""
    denied = [record for record in app.records() if record.type == "call.denied"][-1]
    facts = denied.data["facts"]

    assert datetime.fromisoformat(facts["now"]) == clock.now
    assert (facts["session"], facts["revoked"]) == ("open", [])
    assert {limit.partition("/")[2]: spent for limit, spent in facts["counters"].items()} == {
        "calls": "2",
        "denied": "2",
        "crm.comment/only:calls": "1",
    }


@pytest.mark.requirement("R22")
def test_revocation_expiry_and_limits_are_read_again_on_each_call(
    app: remit.App, grant: remit.Grant, tools: Tools, people: dict[str, remit.Credential], clock: Clock
) -> None:
    """What holds for one call need not hold for the next, in one and the same session."""
    with app.session(grant) as session:
        first = attempt(session, tools, "crm.comment", id=88, body="a")
        spent = attempt(session, tools, "crm.comment", id=88, body="b")
        before = attempt(session, tools, "crm.read_ticket", id=88)
        app.revoke(grant.id, reason="enough", credential=people["dora"])
        revoked = attempt(session, tools, "crm.read_ticket", id=88)
        clock.forward(minutes=21)
        over = attempt(session, tools, "crm.read_ticket", id=88)

    assert (first, spent, before) == (None, "limit_reached", None)
    assert revoked == "grant_revoked"
    assert over in ("grant_expired", "grant_revoked")
    assert len(tools.entered) == 2


@pytest.mark.sqlite
@pytest.mark.requirement("R21")
def test_reserving_and_recording_happen_together_or_not_at_all(
    app: remit.App, grant: remit.Grant, tools: Tools, tmp_path: Path
) -> None:
    """A store that fails between counter and call leaves neither: nothing ran, was spent, or is recorded."""
    with app.session(grant) as session:
        with closing(sqlite3.connect(tmp_path / "remit.db")) as database, database:
            database.execute("CREATE TRIGGER broken BEFORE INSERT ON calls BEGIN SELECT RAISE(ABORT, 'broken'); END")
        with pytest.raises(remit.EvidenceUnavailable) as raised:
            session.call("crm.comment", {"id": 88, "body": "a"}, run=tools("crm.comment"))
        with closing(sqlite3.connect(tmp_path / "remit.db")) as database, database:
            database.execute("DROP TRIGGER broken")
        assert (raised.value.executed, tools.entered, intents(app)) == (False, [], [])
        assert attempt(session, tools, "crm.comment", id=88, body="a") is None

    assert len(tools.entered) == 1
    app.verify()


def _approved_call(folder: Path) -> dict[str, str]:
    """A ledger with one approved call; the parts of its intent that bind it, by name."""
    with temporary(folder, catalogue=CATALOGUE, people=PEOPLE) as app:
        grant = app.issue(GRANT, credential="user:dora@acme.com")
        with app.session(grant, workload=WORKLOAD) as session:
            attempt(session, Tools(), "crm.read_ticket", id=89)
            attempt(session, Tools(), "payments.refund", amount=20)
            question = app.pending(session.id)[0]
            app.approve(question.id, credential="user:bob@acme.com")
            session.resume(question.id, run=Tools()("payments.refund"))
        [intent] = intents(app)
        [denied] = [record for record in app.records() if record.type == "call.denied"]
        parts = {
            "approval": intent.data["approval"],
            "workload": WORKLOAD,
            "principal": "user:ravi@acme.com",
            "arguments": intent.private["arguments"]["commitment"],
            "effect": '"effect":"deny"',
            "code": denied.data["decision"]["code"],
            "rule": denied.data["decision"]["rule"],
            "reason": denied.private["reason"]["commitment"],
            "accesses": denied.private["accesses"]["commitment"],
            "session": session.id,
        }
    return {name: json.dumps(part)[1:-1] if name != "effect" else part for name, part in parts.items()}


def _other(text: str) -> str:
    """Another text of the same length."""
    letter = "a" if text[-2] != "a" else "b"
    return f"{text[:-2]}{letter}{text[-1]}"


@pytest.mark.requirement("R8")
@pytest.mark.requirement("T4")
@pytest.mark.parametrize(
    "part",
    [
        "approval",
        "workload",
        "principal",
        "arguments",
        "effect",
        "code",
        "rule",
        "reason",
        "accesses",
        "session",
    ],
)
@pytest.mark.sqlite  # its SQL is; bytes of a body on a server are as much evidence
def test_no_part_of_a_record_can_be_swapped(tmp_path: Path, part: str) -> None:
    """Who, where, with whose approval, on what, what was decided and why: one letter changed, and nothing verifies."""
    text = _approved_call(tmp_path)[part]
    with closing(sqlite3.connect(tmp_path / "remit.db")) as database, database:
        for (trigger,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'record'"
        ).fetchall():
            database.execute(f"DROP TRIGGER {trigger}")
        changed = database.execute(
            "UPDATE record SET body = CAST(replace(CAST(body AS TEXT), ?, ?) AS BLOB) "
            "WHERE type IN ('call.intent', 'call.denied') AND instr(CAST(body AS TEXT), ?)",
            (text, _other(text), text),
        ).rowcount
    assert changed

    with temporary(tmp_path, catalogue=CATALOGUE, people=PEOPLE) as app, pytest.raises(remit.VerificationError):
        app.verify()


GRANT_EDITS: list[tuple[str, Any]] = [
    ("signature", "AAAA" * 21 + "AA=="),
    ("record_id", "r-none"),
]


@pytest.mark.requirement("code:grant_invalid")
@pytest.mark.parametrize(("column", "value"), GRANT_EDITS, ids=[column for column, _ in GRANT_EDITS])
def test_a_grant_that_was_not_signed_and_recorded_here_authorises_nothing(
    tmp_path: Path, column: str, value: str
) -> None:
    """A row in the grants table is no authority: the signature and the record of its issue are checked."""
    with temporary(tmp_path, catalogue=CATALOGUE) as app:
        grant = app.issue(GRANT, credential="user:dora@acme.com")
    tamper(tmp_path, f"UPDATE grants SET {column} = '{value}'")

    with temporary(tmp_path, catalogue=CATALOGUE) as app, pytest.raises(remit.GrantError) as raised:
        app.session(grant.id).open()

    assert raised.value.code == "grant_invalid"
