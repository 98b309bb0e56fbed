"""What the tests of the core share: one catalogue, one grant, and an app whose clock the test moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.testing import Clock
from tests.stores import temporary

CATALOGUE: dict[str, Any] = {
    "tools": {
        "crm.read_ticket": {"accesses": ["read crm://tickets/{id}"], "read_only": True, "idempotent": True},
        "crm.comment": {"accesses": ["write crm://tickets/{id}"]},
    }
}

TRIAGE: dict[str, Any] = {
    "task": "Triage ticket 88 and leave one comment",
    "principal": "user:ravi@acme.com",
    "agent": "spiffe://acme.com/agents/triage",
    "expires_in": "20m",
    "bindings": {"change": "CHG-7"},
    "limits": {"calls": 30, "denied": 20},
    "tools": {
        "crm.read_ticket": {"resources": ["read crm://tickets/88"]},
        "kb.search": "any",
        "crm.comment": {
            "resources": ["write crm://tickets/88"],
            "arguments": {"body": {"max_len": 4000}},
            "limits": {"calls": 1},
        },
        "payments.refund": [
            {"name": "small", "arguments": {"order": "ord_4711", "amount": {"min": 0.01, "below": 20}}},
            {
                "name": "large",
                "arguments": {"order": "ord_4711", "amount": {"min": 20, "max": 50}},
                "approval": {"by": "role:finance", "reason": "refunds from 20 up need finance"},
            },
        ],
    },
}

PEOPLE: dict[str, Any] = {
    "bob@acme.com": {"roles": ["finance", "reviewer"]},
    "carol@acme.com": {"roles": ["reviewer"]},
    "ravi@acme.com": {"roles": ["support"]},
}


class Tool:
    """A tool body that remembers what reached it."""

    def __init__(self, result: Any = "done") -> None:
        self.calls: list[dict[str, Any]] = []
        self.result = result

    def __call__(self, **arguments: Any) -> Any:
        self.calls.append(arguments)
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


@pytest.fixture
def clock() -> Clock:
    """A clock that stands until the test moves it."""
    return Clock()


@pytest.fixture
def app(tmp_path: Path, clock: Clock) -> Iterator[remit.App]:
    """A development app with the catalogue and people above."""
    with temporary(tmp_path, clock=clock, catalogue=CATALOGUE, people=PEOPLE) as opened:
        yield opened


@pytest.fixture
def grant(app: remit.App) -> remit.Grant:
    """The triage grant."""
    return app.issue(TRIAGE, credential="user:ravi@acme.com")


@pytest.fixture
def tool() -> Tool:
    """A tool body that remembers."""
    return Tool()


def types(app: remit.App, session_id: str | None = None) -> list[str]:
    """Record types in order."""
    return [record.type for record in app.records(session_id)]


def data(app: remit.App, kind: str) -> list[dict[str, Any]]:
    """Leaf data of every record of one type."""
    return [record.data for record in app.records() if record.type == kind]
