"""One history that leaves a row in every read model, and copies of its ledger to tamper with."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.ledger import Ledger
from remit.signing import SigningKey
from remit.testing import Clock, temporary
from tests.core.conftest import PEOPLE

CATALOGUE: dict[str, Any] = {
    "tools": {
        "crm.read_ticket": {"accesses": ["read crm://tickets/{id}"], "labels": ["customer"]},
        "crm.comment": {"accesses": ["write crm://tickets/{id}"]},
    }
}

GRANT: dict[str, Any] = {
    "task": "Triage ticket 88",
    "principal": "user:ravi@acme.com",
    "agent": "spiffe://acme.com/agents/triage",
    "expires_in": "2h",
    "bindings": {"change": "CHG-7", "number": 12},
    "limits": {"calls": 30, "denied": 2},
    "delegation": {"depth": 1},
    "tools": {
        "kb.search": {"other_arguments": "any", "limits": {"rate": "20/hour"}},
        "crm.read_ticket": {
            "resources": ["read crm://tickets/*"],
            "limits": {"distinct": {"resources": "crm://tickets/*", "max": 5}},
        },
        "crm.comment": {"resources": ["write crm://tickets/88"], "arguments": {"body": "any"}},
        "payments.refund": {
            "arguments": {"amount": {"min": 0, "max": 50}},
            "limits": {"sum": {"argument": "amount", "max": 100}},
        },
        "payments.large": {
            "arguments": {"amount": {"min": 20, "max": 50}},
            "approval": {"by": "role:finance", "reason": "large refunds need finance"},
        },
    },
}
CHILD: dict[str, Any] = {
    "task": "Look something up",
    "agent": "spiffe://acme.com/agents/helper",
    "expires_in": "30m",
    "limits": {"calls": 3, "denied": 2},
    "tools": {"kb.search": {"other_arguments": "any", "limits": {"rate": "20/hour"}}},
}
RAVI, BOB, CAROL = "user:ravi@acme.com", "user:bob@acme.com", "user:carol@acme.com"


def _done(**_: Any) -> str:
    return "done"


def _boom(**_: Any) -> None:
    raise ValueError("no")


def _calls(app: remit.App, grant: remit.Grant, clock: Clock) -> str:
    """One session with every kind of call; returns its id."""
    with app.session(grant, key="ticket-88", idle="30m") as session:
        definition = remit.ToolDefinition("kb.search", {"type": "object"}, "Search")
        session.call("kb.search", {"q": "a"}, run=lambda q: q, call_id="1", definition=definition)
        session.call("kb.search", {"q": "a"}, run=lambda q: q, call_id="1", definition=definition)
        session.call("crm.read_ticket", {"id": 88}, run=_done)
        session.call("crm.read_ticket", {"id": 89}, run=_done)
        session.call("payments.refund", {"amount": 12.5}, run=lambda amount: amount)
        with pytest.raises(ValueError, match="no"):
            session.call("payments.refund", {"amount": 7}, run=_boom)
        with pytest.raises(remit.Denied):
            session.call("payments.refund", {"amount": 99}, run=_boom)
        with pytest.raises(remit.ApprovalRequired) as asked:
            session.call("payments.large", {"amount": 30}, run=_boom)
        app.approve(asked.value.approval_id, credential=BOB)
        session.resume(asked.value.approval_id, run=lambda amount: amount)
        clock.forward(minutes=1)
        child = session.delegate(CHILD)
        with app.session(child) as nested:
            nested.call("kb.search", {"q": "b"}, run=lambda q: q)
        session.request({"limits": {"calls": 40}}, reason="thirty are not enough")
        session.context(user_turn="please triage 88", model="m-1")
    return session.id


def full_history(app: remit.App, clock: Clock) -> None:
    """Something of everything that a read model can hold."""
    app.enrol("bob@acme.com", SigningKey.generate().public.text)
    grant = app.issue(GRANT, key="ticket-88", credential=RAVI)
    session_id = _calls(app, grant, clock)
    [request] = app.requests()
    amended = app.amend(grant, {"limits": {"calls": 40, "denied": 2}}, request=request, credential=RAVI)
    token = app.token(amended, audience=app.ledger.origin, credential=RAVI)
    with app.session(token=token) as by_token, pytest.raises(remit.ApprovalRequired) as refused:
        by_token.call("payments.large", {"amount": 21}, run=_boom)
    app.refuse(refused.value.approval_id, credential=BOB, reason="no")
    app.close_session(by_token.id, "over", credential=RAVI)
    app.verdict(session_id, "within", credential=CAROL)
    app.verdict(session_id, "attempted", reason="attempt_benign", credential=CAROL)
    other = app.issue({**GRANT, "task": "Triage ticket 89"}, credential=RAVI)
    app.revoke(other.id, reason="not needed", credential=RAVI)


class Copy:
    """A copy of the ledger, for one test to change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "remit.db"
        self.url = f"sqlite:///{self.database}"

    @contextmanager
    def sql(self) -> Iterator[sqlite3.Connection]:
        """What somebody with write access to the file could do."""
        with closing(sqlite3.connect(self.database, isolation_level=None)) as connection:
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                connection.execute(f"DROP TRIGGER {name}")
            yield connection

    def ledger(self) -> Ledger:
        """Opened for reading."""
        return Ledger.open(self.url, writer=False)

    @contextmanager
    def app(self, **options: Any) -> Iterator[remit.App]:
        """Opened for everything."""
        with temporary(self.folder, people=PEOPLE, catalogue=CATALOGUE, **options) as app:
            yield app


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a ledger with a full history."""
    folder = tmp_path_factory.mktemp("original")
    clock = Clock()
    with temporary(folder, clock=clock, people=PEOPLE, catalogue=CATALOGUE) as app:
        full_history(app, clock)
    return folder


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Copy:
    """A copy of it."""
    folder = tmp_path / "copy"
    shutil.copytree(original, folder)
    return Copy(folder)


@pytest.fixture(scope="session")
def copies(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Copy]:
    """As many copies as a test wants."""

    def another() -> Copy:
        folder = tmp_path_factory.mktemp("copies") / "copy"
        shutil.copytree(original, folder)
        return Copy(folder)

    return another
