"""Recorded decisions, taken again: as they were, and under other files."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.authority.source import read_grant
from remit.ledger.values import Encoded
from remit.resources.catalogue import Catalogue
from remit.review.replay import Others, Row, compare, replay, reproduce
from tests.stores import temporary

GRANT: dict[str, Any] = {
    "task": "Pay the bill of event 12",
    "principal": "user:ravi@acme.com",
    "agent": "agent:assistant",
    "expires_in": "20m",
    "limits": {"calls": 10},
    "tools": {
        "crm.read": {"resources": "any"},
        "pay.send": {
            "arguments": {"to": {"from": {"tool": "crm.read", "at": "/iban"}}, "amount": {"min": 0, "max": 50}},
            "limits": {"calls": 3, "sum": {"argument": "amount", "max": 60}},
        },
        "pay.plan": {"arguments": {"amount": {"min": 0}}, "approval": {"by": "user:bob@acme.com"}},
    },
}
CATALOGUE = {"tools": {"crm.read": {"accesses": ["read crm://events/{id}"], "read_only": True}}}


@pytest.fixture
def app(tmp_path: Path) -> Any:
    """A development app with a catalogue."""
    with temporary(tmp_path, catalogue=CATALOGUE) as opened:
        yield opened


@pytest.fixture
def session(app: remit.App) -> remit.Session:
    """A session with permits, refusals, a question, an approval and a spent sum behind it."""
    work = app.session(app.issue(GRANT, credential="user:ravi@acme.com")).open()
    _try(work, "pay.send", to="DE1", amount=1)
    _try(work, "crm.read", id=12)
    _try(work, "pay.send", to="DE1", amount=50)
    _try(work, "pay.send", to="DE2", amount=1)
    _try(work, "pay.send", to="DE1", amount=20)
    _try(work, "pay.send", to="DE1", amount=75)
    _try(work, "crm.nothing")
    _try(work, "pay.send", to={"z": 1, "a": {"y": 1, "b": 2}}, amount=1)
    with pytest.raises(remit.ApprovalRequired) as held:
        work.call("pay.plan", {"amount": 5}, run=lambda **_: None)
    app.approve(held.value.approval_id, credential="user:bob@acme.com")
    work.resume(held.value.approval_id, run=lambda **_: None)
    return work


def _try(work: remit.Session, tool: str, **arguments: Any) -> None:
    with contextlib.suppress(remit.Denied):
        work.call(tool, arguments, run=lambda **_: {"iban": "DE1"})


def _changed(app: remit.App, **grant: Any) -> list[Row]:
    found = replay(app, Others(grant=read_grant({**GRANT, **grant})))
    return found.rows()


@pytest.mark.requirement("replay:reproduces")
@pytest.mark.requirement("I6")
def test_every_decision_is_taken_again_identically(app: remit.App, session: remit.Session) -> None:
    """Permits, refusals, questions, approved calls and spent limits."""
    found = reproduce(app)

    assert (found.decisions, found.same) == (10, 10)
    assert not found.undecidable
    assert reproduce(app, session.id).same == 10


@pytest.mark.requirement("replay:tampered")
@pytest.mark.changes_evidence
def test_a_record_that_says_another_decision_is_named(app: remit.App, session: remit.Session) -> None:
    """Whoever wrote it: its own facts do not give it."""
    [denied] = [record for record in app.records(session.id) if record.data.get("tool") == "crm.nothing"]
    private = denied.disclosed()
    assert private is not None
    data = {**denied.data, "decision": {**denied.data["decision"], "effect": "permit", "code": None}}
    draft = app.ledger.draft(
        "call.intent", session=session.id, data=data, private={name: Encoded(tree) for name, tree in private.items()}
    )
    app.ledger.run(lambda txn: txn.append(draft))

    with pytest.raises(remit.VerificationError, match=r"recorded permit .* decided again deny tool_not_granted"):
        reproduce(app)
    assert len(compare(app.deployment).different) == 1


@pytest.mark.requirement("replay:other")
def test_a_tighter_grant_says_what_it_would_have_refused(app: remit.App, session: remit.Session) -> None:
    """By old and new decision and by rule."""
    tools = {**GRANT["tools"], "pay.send": {"arguments": {"to": "DE9", "amount": {"max": 50}}}}

    assert ("permit", "deny argument_out_of_bounds", "pay.send/only:to", 1) in _changed(app, tools=tools)


def test_a_wider_grant_counts_its_own_limits(app: remit.App, session: remit.Session) -> None:
    """What a limit held then is not what it would have held: it is counted anew."""
    tools = {**GRANT["tools"], "pay.send": {"arguments": {"to": "any", "amount": {"min": 0, "max": 50}},
                                            "limits": {"calls": 2}}}  # fmt: skip
    found = _changed(app, tools=tools)

    assert ("deny argument_out_of_bounds", "permit", "pay.send/only", 1) in found
    assert ("deny argument_out_of_bounds", "deny limit_reached", "pay.send/only:calls", 2) in found
    assert not any(row[0] == "permit" for row in found)


def test_other_sources_are_looked_for_in_the_records(app: remit.App, session: remit.Session) -> None:
    """A new `from` is decided from the results that were there at that moment, not later ones."""
    tools = {**GRANT["tools"], "pay.send": {"arguments": {"to": {"from": {"tool": "crm.read", "at": "/other"}},
                                                          "amount": "any"}}}  # fmt: skip

    assert ("permit", "deny argument_out_of_bounds", "pay.send/only:to", 1) in _changed(app, tools=tools)


def test_the_same_files_change_nothing(app: remit.App, session: remit.Session) -> None:
    """Also where limits are counted anew."""
    found = replay(app, Others(grant=read_grant(GRANT), catalogue=Catalogue.load(CATALOGUE)))

    assert found.rows() == []
    assert found.unchanged == found.decisions == 10
    assert found.resolver_changed == 0


def test_what_another_catalogue_reads_differently_is_counted_apart(app: remit.App, session: remit.Session) -> None:
    """Whether or not it changes the decision."""
    other = {"tools": {"crm.read": {"accesses": ["read crm://meetings/{id}"], "read_only": True}}}

    found = replay(app, Others(catalogue=Catalogue.load(other)))

    assert found.resolver_changed == 1
    assert found.rows() == []


def test_an_erased_call_is_counted_and_not_guessed(app: remit.App, session: remit.Session) -> None:
    """Its arguments are gone, so nobody decides it again."""
    first = next(record for record in app.records(session.id) if record.type == "call.intent")

    app.erase(records=[first.id], reason="asked to", credential="user:dora@acme.com")

    assert reproduce(app).undecidable == {"erased": 1}
    assert reproduce(app).same == 9
    assert replay(app, Others()).undecidable == {"erased": 1}


def test_a_decision_outlives_its_source(app: remit.App, session: remit.Session) -> None:
    """What was found is kept with the decision, so that the source may be erased."""
    source = next(r for r in app.records(session.id) if r.type == "call.outcome" and r.data["tool"] == "crm.read")

    def erase(txn: Any) -> None:
        txn.erase([source.id])
        txn.append(app.ledger.draft("evidence.erased", data={"records": [source.id]}))

    app.ledger.run(erase)

    assert reproduce(app).same == 10


def test_a_grant_of_another_template_is_for_other_sessions(app: remit.App, session: remit.Session) -> None:
    """Its parameters would mean something else."""
    other = {**GRANT, "template": "other", "parameters": {"n": {"type": "integer"}}, "bindings": {"n": "${n}"}}

    assert replay(app, Others(grant=read_grant(other))).undecidable == {"other_grant": 10}


def test_a_deployment_without_any_catalogue_is_reproduced_too(tmp_path: Path) -> None:
    """The empty catalogue is one to decide by, and not a missing file."""
    with temporary(tmp_path) as app:
        work = app.session(app.issue(GRANT | {"tools": {"kb.search": "any"}}, credential="user:ravi@acme.com")).open()
        _try(work, "kb.search", text="billing")
        _try(work, "crm.nothing")
        found = reproduce(app)

    assert (found.decisions, found.same, dict(found.undecidable)) == (2, 2, {})
