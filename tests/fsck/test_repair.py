"""Putting read models right: from records that verify, recorded, and never anything else."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from remit.cli import app as cli
from remit.errors import IdentityError, UsageError, VerificationError
from remit.fsck import check, repair
from remit.identity import Credential
from remit.signing import SigningKey
from tests.fsck.conftest import BOB, Copy

HARM = (
    "UPDATE counters SET value = '0'",
    "UPDATE grants SET state = 'active', issue_key = NULL",
    "UPDATE sessions SET state = 'open'",
    "DELETE FROM approvals",
    "DELETE FROM touches",
    "INSERT INTO people (id, key, state, record_id) VALUES ('user:eve@acme.com', 'x', 'enrolled', 'r')",
    "UPDATE settings SET value = 'no JSON'",
)


def _harm(copy: Copy) -> None:
    with copy.sql() as connection:
        for statement in HARM:
            connection.execute(statement)


def test_rewrites_what_differs_and_records_who_did_it(copy: Copy) -> None:
    """Afterwards everything is whole and verifies; the record says how much was put right, and by whom."""
    _harm(copy)
    with copy.app() as app:
        found = repair(app.deployment, BOB)
        assert len(found.findings) > 10
        assert check(app.ledger).whole
        last = [record for record in app.records() if record.type == "config.changed"][-1]
        assert last.data["by"]["subject"] == BOB
        assert set(last.data["repaired"]) == {
            "counters", "grants", "sessions", "approvals", "touches", "people", "settings",
        }  # fmt: skip
        again = repair(app.deployment, BOB)
        assert again.whole
    with copy.ledger() as ledger:
        assert check(ledger).whole


def test_a_key_that_was_planted_does_not_repair(copy: Copy) -> None:
    """People are put right before anybody is recognised."""
    key = SigningKey.generate()
    with copy.sql() as connection:
        connection.execute("UPDATE people SET key = ?", (key.public.text,))
    with copy.app() as app, pytest.raises(IdentityError):
        repair(app.deployment, Credential(BOB, key))
    with copy.ledger() as ledger:
        [finding] = check(ledger).findings
    assert (finding.table, finding.column) == ("people", "key")


def test_refuses_where_the_records_do_not_verify(copy: Copy) -> None:
    """What cannot be believed puts nothing right."""
    _harm(copy)
    with copy.app() as app:
        with copy.sql() as connection:
            connection.execute(
                "UPDATE payload SET ciphertext = zeroblob(40) WHERE record_id = (SELECT min(record_id) FROM payload)"
            )
        with pytest.raises(VerificationError):
            repair(app.deployment, BOB)


def test_takes_a_handle_that_may_configure(copy: Copy) -> None:
    """An agent's process cannot."""
    with copy.app(can={"session"}) as app, pytest.raises(UsageError, match="configure"):
        repair(app.deployment, BOB)


class TestCommand:
    """`remit fsck`."""

    def test_says_whole_and_exits_zero(self, copy: Copy) -> None:
        """With how much was compared."""
        done = CliRunner().invoke(cli, ["fsck", "--url", copy.url])
        assert done.exit_code == 0, done.output
        assert "Whole:" in done.output

    def test_says_what_differs_and_exits_one(self, copy: Copy) -> None:
        """In sentences, and as JSON."""
        _harm(copy)
        done = CliRunner().invoke(cli, ["fsck", "--url", copy.url])
        assert done.exit_code == 1
        assert "somebody gave budget back" in done.output
        assert "a key speaks for somebody whom nobody enrolled" in done.output
        asked = CliRunner().invoke(cli, ["fsck", "--url", copy.url, "--json"])
        assert asked.exit_code == 1
        said = json.loads(asked.output)
        assert said["whole"] is False
        assert {finding["table"] for finding in said["findings"]} >= {"counters", "people", "settings"}

    def test_repairs_with_a_credential(self, copy: Copy) -> None:
        """And is whole the next time."""
        _harm(copy)
        asked = ["fsck", "--url", copy.url, "--repair", "--development", "--as", BOB]
        done = CliRunner().invoke(cli, asked)
        assert done.exit_code == 0, done.output
        assert "Put right" in done.output
        assert CliRunner().invoke(cli, ["fsck", "--url", copy.url]).exit_code == 0

    def test_says_that_records_do_not_verify(self, copy: Copy) -> None:
        """Exit 1, one sentence, no traceback."""
        with copy.sql() as connection:
            connection.execute("UPDATE record SET body = zeroblob(10) WHERE rid = 3")
        done = CliRunner().invoke(cli, ["fsck", "--url", copy.url])
        assert done.exit_code == 1
        assert "do not verify" in done.output
