"""`remit grant amend | requests | refuse | suggest` and `remit usage`."""

from __future__ import annotations

from pathlib import Path

import remit
from remit.authority.source import read_grant
from tests.cli.conftest import Run, credential
from tests.review.conftest import Tools, attempt

RAVI = ("--as", "ravi@acme.com", "--key-file", "config/remit/keys/ravi@acme.com.pem")


def issued(opened: remit.App, folder: Path, ticket: int = 88) -> remit.Grant:
    """A grant of the template, by ravi."""
    return opened.issue("triage.yaml", {"ticket": ticket}, credential=credential(folder, "ravi@acme.com"))


def test_a_change_in_a_file_becomes_the_next_version(ledger: Run, opened: remit.App, folder: Path) -> None:
    """The output says what is no longer allowed, and what is now."""
    grant = issued(opened, folder)
    (folder / "more.yaml").write_text("tools:\n  crm.close: {arguments: {id: 88}}\n", encoding="utf-8")

    done = ledger("grant", "amend", grant.id, "more.yaml", "--without", "kb.search", "--version", "1", *RAVI)

    assert done.code == 0, done.err
    assert "version 2" in done.words
    assert "crm.close may be called" in done.words
    assert "No longer" in done.words
    shown = ledger("grant", "show", grant.id, "--json").json
    assert shown["version"] == 2
    again = ledger("grant", "amend", grant.id, "more.yaml", "--version", "1", *RAVI)
    assert again.code == 1
    assert "is at version 2" in again.err


def test_a_person_who_may_not_widen_is_refused(ledger: Run, opened: remit.App, folder: Path) -> None:
    """Carol is logged in; the grant is ravi's."""
    grant = issued(opened, folder)
    (folder / "more.yaml").write_text("tools: {bash: any}\n", encoding="utf-8")

    done = ledger("grant", "amend", grant.id, "more.yaml")

    assert done.code == 1
    assert "may not widen" in done.err


def test_requests_are_listed_given_and_refused(ledger: Run, opened: remit.App, folder: Path) -> None:
    """Each with what the agent wants and why, in its own words."""
    grant = issued(opened, folder)
    with opened.session(grant) as session:
        first = session.request({"tools": {"crm.close": {"arguments": {"id": 88}}}}, reason="it is solved")
        second = session.request({"tools": {"bash": "any"}}, reason="a shell would be nice")

    listed = ledger("grant", "requests")
    assert "it is solved" in listed.words
    assert {one["request"] for one in ledger("grant", "requests", "--json").json["requests"]} == {first.id, second.id}
    assert ledger("grant", "refuse", second.id, "--reason", "no shells", *RAVI).code == 0
    given = ledger("grant", "amend", grant.id, "--request", first.id, "--json", *RAVI)
    assert given.json["version"] == 2
    assert "Nothing is asked for" in ledger("grant", "requests").out


def test_suggest_writes_a_grant_that_can_be_checked(ledger: Run, opened: remit.App, folder: Path) -> None:
    """YAML on stdout, what its replay came to on stderr; parameters as the template bounds them."""
    for ticket in (88, 89):
        with opened.session(issued(opened, folder, ticket)) as session:
            attempt(session, Tools(), "crm.read_ticket", id=ticket)
            attempt(session, Tools(), "bash", command="ls")

    done = ledger("grant", "suggest", "triage.yaml")

    assert done.code == 0, done.err
    assert "ticket: {type: integer, min: 1}" in done.out
    assert read_grant(done.out).tree["tools"]["crm.read_ticket"]["resources"] == ["read crm://tickets/${ticket}"]
    assert "2 calls of 2 sessions permitted" in done.err
    (folder / "narrow.yaml").write_text(done.out, encoding="utf-8")
    assert ledger("grant", "check", "narrow.yaml", "-p", "ticket=88").code == 0
    as_json = ledger("grant", "suggest", "--session", session.id, "--json").json
    assert as_json["permitted"] == 1
    assert as_json["still_refused"] == 1


def test_usage_tells_what_was_used_and_what_never_was(ledger: Run, opened: remit.App, folder: Path) -> None:
    """As text and as JSON."""
    with opened.session(issued(opened, folder)) as session:
        attempt(session, Tools(), "crm.read_ticket", id=88)
        attempt(session, Tools(), "bash", command="ls")

    done = ledger("usage", "triage")
    assert "crm.read_ticket" in done.words
    assert "kb.search: never called" in done.words
    assert "tool_not_granted" in done.words
    found = ledger("usage", "triage", "--json").json
    assert found["calls"] == 1
    assert found["never_used"] == ["kb.search: never called"]
    assert ledger("usage", "nothing").code == 2
