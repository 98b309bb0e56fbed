"""A session of the just-in-time agent (scenario A4): two calls that ran, three that were refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.testing import Clock
from tests.core.conftest import CATALOGUE, TRIAGE
from tests.stores import temporary

GRANT: dict[str, Any] = {
    **TRIAGE,
    "tools": {
        **TRIAGE["tools"],
        "payments.refund": {
            "arguments": {"amount": {"min": 0, "max": 50}},
            "approval": {"by": "role:finance", "reason": "refunds need finance"},
        },
    },
}

PEOPLE: dict[str, Any] = {
    "bob@acme.com": {"roles": ["finance"]},
    "carol@acme.com": {"roles": ["reviewer"]},
    "ravi@acme.com": {"roles": ["support"]},
}


class Tools:
    """Tool bodies, and what reached them."""

    def __init__(self) -> None:
        self.entered: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, tool: str) -> Any:
        """The body of `tool`."""

        def body(**arguments: Any) -> str:
            self.entered.append((tool, arguments))
            return f"{tool} done"

        return body


def attempt(session: remit.Session, tools: Tools, tool: str, **arguments: Any) -> str | None:
    """Make a call as an agent would; the code it was refused with, or None when it ran."""
    try:
        session.call(tool, arguments, run=tools(tool))
    except remit.Denied as denied:
        return denied.code
    return None


@pytest.fixture
def app(tmp_path: Path, clock: Clock) -> Iterator[remit.App]:
    """An app that knows the crm's resources and its people; it needs credentials."""
    with temporary(tmp_path, clock=clock, catalogue=CATALOGUE, people=PEOPLE, development=False) as opened:
        yield opened


@pytest.fixture
def people(app: remit.App) -> dict[str, remit.Credential]:
    """Everybody's credential, enrolled."""
    made = {name: remit.Credential.generate(f"{name}@acme.com") for name in ("ravi", "bob", "carol", "dora")}
    for number, credential in enumerate(made.values()):
        app.enrol(credential.subject, credential.public_key, credential=made["ravi"] if number else None)
    return made


@pytest.fixture
def grant(app: remit.App, people: dict[str, remit.Credential]) -> remit.Grant:
    """The triage grant, issued by dora for ravi."""
    return app.issue(GRANT, credential=people["dora"])


@pytest.fixture
def tools() -> Tools:
    """The tool bodies."""
    return Tools()


@pytest.fixture
def session_id(app: remit.App, grant: remit.Grant, tools: Tools) -> str:
    """Scenario A4's session: reads 88, reads 89, runs bash, comments, comments again."""
    with app.session(grant) as session:
        attempt(session, tools, "crm.read_ticket", id=88)
        attempt(session, tools, "crm.read_ticket", id=89)
        attempt(session, tools, "bash", command="ls")
        attempt(session, tools, "crm.comment", id=88, body="The cause is known.")
        attempt(session, tools, "crm.comment", id=88, body="Again.")
        return session.id
