"""What was granted, used, at the edge, attempted and never used."""

from __future__ import annotations

from typing import Any

import pytest

import remit
from remit.errors import UsageError
from remit.review.usage import ClauseUse, Usage, usage
from tests.review.conftest import Tools, attempt

DESK: dict[str, Any] = {
    "template": "desk",
    "parameters": {"ticket": {"type": "integer", "min": 1}},
    "task": "Answer about ticket ${ticket}",
    "principal": "user:ravi@acme.com",
    "agent": "agent:desk",
    "expires_in": "20m",
    "limits": {"calls": 6},
    "tools": {
        "crm.read_ticket": {"resources": ["read crm://tickets/${ticket}", "read crm://tickets/12"]},
        "crm.comment": {"resources": ["write crm://tickets/${ticket}"], "arguments": {"body": {"max_len": 10}}},
        "kb.search": {
            "arguments": {
                "q": {"max_len": 50},
                "scope": ["all", "mine", "team"],
                "limit": {"max": 10, "optional": True},
            }
        },
        "chat.post": "any",
    },
}


@pytest.fixture
def found(app: remit.App, people: dict[str, remit.Credential]) -> Usage:
    """Two grants of the template, a session under each."""
    tools = Tools()
    for ticket in (88, 89):
        grant = app.issue(DESK, {"ticket": ticket}, credential=people["dora"])
        with app.session(grant) as session:
            attempt(session, tools, "crm.read_ticket", id=ticket)
            attempt(session, tools, "crm.comment", id=ticket, body="long enough"[: ticket - 80])
            attempt(session, tools, "kb.search", q="printer", scope="all")
            attempt(session, tools, "kb.search", q="printer", scope="all" if ticket == 88 else "mine")
            attempt(session, tools, "kb.search", q="scanner", scope="all")
            attempt(session, tools, "crm.read_ticket", id=99)
            attempt(session, tools, "bash", command="ls")
    return usage(app.deployment, "desk")


def of(found: Usage, tool: str) -> ClauseUse:
    """The only clause of a tool."""
    [one] = [clause for clause in found.clauses if clause.tool == tool]
    return one


@pytest.mark.requirement("usage:levels")
def test_use_is_told_to_the_level_of_arguments_and_resources(found: Usage) -> None:
    """Over all sessions of all grants of a template; lines with parameters are one line."""
    assert (found.grants, found.sessions, found.calls) == (2, 2, 10)
    read, search = of(found, "crm.read_ticket"), of(found, "kb.search")
    assert (read.grants, read.sessions, read.calls) == (2, 2, 2)
    assert [(line.calls, line.distinct) for line in read.resources] == [(2, 2), (0, 0)]
    assert {one.name: (one.calls, one.distinct) for one in search.arguments} == {
        "q": (6, 2),
        "scope": (6, 2),
        "limit": (0, 0),
    }


@pytest.mark.requirement("usage:levels")
def test_what_never_served_is_listed(found: Usage) -> None:
    """A clause, a resource, an argument, a choice."""
    assert set(found.never_used) == {
        "crm.read_ticket: nothing of read crm://tickets/12",
        "kb.search, `limit`: never given",
        'kb.search, `scope`: never "team"',
        "chat.post: never called",
    }


@pytest.mark.requirement("usage:levels")
def test_what_came_near_its_bound_is_listed(found: Usage) -> None:
    """From four fifths on: limits of each grant, and bounds of arguments."""
    assert sum("5 of 6" in line for line in found.at_edge) == 2
    assert any(line.startswith("crm.comment, `body`: 2 of 2 calls near") for line in found.at_edge)


@pytest.mark.requirement("usage:levels")
def test_what_was_attempted_is_counted_by_its_reason(found: Usage) -> None:
    """Refused calls are no use; they say what the agent tried."""
    tried = {(one.tool, one.code): (one.calls, one.sessions, one.examples) for one in found.attempts}
    assert tried == {
        ("crm.read_ticket", "resource_out_of_scope"): (2, 2, ("read crm://tickets/99",)),
        ("local.bash", "tool_not_granted"): (2, 2, ('command="ls"',)),
    }


def test_one_grant_is_told_alone_and_in_its_newest_version(app: remit.App, people: dict[str, remit.Credential]) -> None:
    """Calls of older versions count for the clause of the same name."""
    grant = app.issue(DESK, {"ticket": 88}, credential=people["dora"])
    with app.session(grant) as session:
        attempt(session, Tools(), "crm.read_ticket", id=88)
        app.amend(grant, without=["chat.post"], credential=people["dora"])
        attempt(session, Tools(), "crm.read_ticket", id=12)

    found = usage(app.deployment, grant.id)

    assert of(found, "crm.read_ticket").calls == 2
    assert "chat.post" not in {clause.tool for clause in found.clauses}


def test_a_name_that_is_neither_is_said(app: remit.App) -> None:
    """With where to look."""
    with pytest.raises(UsageError, match="no grant or template 'nothing'"):
        usage(app.deployment, "nothing")
