"""Limits are exact: in one thread, in many, and in many processes."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.testing import Clock
from tests.core.conftest import TRIAGE, Tool, data, types
from tests.stores import temporary


def _granted(**changes: Any) -> dict[str, Any]:
    return {**TRIAGE, "tools": {"kb.search": "any", "mail.send": "any", "chat.post": "any"}, **changes}


@pytest.mark.requirement("code:limit_reached")
def test_call_past_the_limit_is_denied(app: remit.App, tool: Tool) -> None:
    """The third of two calls is refused."""
    grant = app.issue(_granted(limits={"calls": 2}), credential="user:ravi@acme.com")
    with app.session(grant) as session:
        session.call("kb.search", {"query": "a"}, run=tool)
        session.call("kb.search", {"query": "b"}, run=tool)
        with pytest.raises(remit.Denied) as caught:
            session.call("kb.search", {"query": "c"}, run=tool)

    assert caught.value.code == "limit_reached"
    assert len(tool.calls) == 2


def test_limit_belongs_to_the_grant_not_to_the_session(app: remit.App, tool: Tool) -> None:
    """A second session under the same grant finds it spent."""
    grant = app.issue(_granted(limits={"calls": 1}), credential="user:ravi@acme.com")
    with app.session(grant) as session:
        session.call("kb.search", {"query": "a"}, run=tool)
    with app.session(grant) as session, pytest.raises(remit.Denied):
        session.call("kb.search", {"query": "b"}, run=tool)

    assert len(tool.calls) == 1


def test_tools_share_one_limit(app: remit.App, tool: Tool) -> None:
    """Three messages in all, whichever way they go."""
    grant = app.issue(
        _granted(limits={"shared": [{"tools": ["mail.send", "chat.post"], "calls": 2}]}),
        credential="user:ravi@acme.com",
    )
    with app.session(grant) as session:
        session.call("mail.send", {"to": "a"}, run=tool)
        session.call("chat.post", {"to": "a"}, run=tool)
        for name in ("mail.send", "chat.post"):
            with pytest.raises(remit.Denied) as caught:
                session.call(name, {"to": "b"}, run=tool)
            assert caught.value.code == "limit_reached"
        session.call("kb.search", {"query": "still allowed"}, run=tool)


def test_only_executed_calls_spend(app: remit.App, tool: Tool) -> None:
    """Refused calls spend nothing of what a permitted one may use."""
    grant = app.issue(
        _granted(tools={"kb.search": {"arguments": {"query": "a"}}}, limits={"calls": 1}),
        credential="user:ravi@acme.com",
    )
    with app.session(grant) as session:
        for _ in range(3):
            with pytest.raises(remit.Denied):
                session.call("kb.search", {"query": "b"}, run=tool)
        session.call("kb.search", {"query": "a"}, run=tool)

    assert len(tool.calls) == 1


def test_sum_is_added_exactly(app: remit.App, tool: Tool) -> None:
    """Ten times 0.1 is 1, and the next cent is too much."""
    grant = app.issue(
        _granted(
            tools={
                "payments.refund": {
                    "arguments": {"amount": {"min": 0, "max": 1}},
                    "limits": {"sum": {"argument": "amount", "max": 1}},
                }
            }
        ),
        credential="user:ravi@acme.com",
    )
    with app.session(grant) as session:
        for _ in range(10):
            session.call("payments.refund", {"amount": 0.1}, run=tool)
        with pytest.raises(remit.Denied) as caught:
            session.call("payments.refund", {"amount": 0.01}, run=tool)

    assert caught.value.code == "limit_reached"
    assert len(tool.calls) == 10


@pytest.mark.requirement("code:session_suspended")
def test_past_the_denied_limit_the_session_is_suspended_until_a_person_resumes_it(app: remit.App, tool: Tool) -> None:
    """A looping agent is stopped, and does not flood the ledger."""
    grant = app.issue(_granted(limits={"denied": 3}), credential="user:ravi@acme.com")
    with app.session(grant, key="thread:1") as session:
        codes = []
        for _ in range(50):
            with pytest.raises(remit.Denied) as caught:
                session.call("shell.run", {"command": "id"}, run=tool)
            codes.append(caught.value.code)
        with pytest.raises(remit.Denied) as refused:
            session.call("kb.search", {"query": "a"}, run=tool)
        app.resume_session(session.id, credential="user:bob@acme.com")
        session.call("kb.search", {"query": "a"}, run=tool)

    assert codes[:5] == ["tool_not_granted"] * 4 + ["session_suspended"]
    assert refused.value.code == "session_suspended"
    assert types(app).count("call.denied") == 5
    assert types(app).count("session.suspended") == 1
    assert types(app).count("session.resumed") == 1
    assert len(tool.calls) == 1


def test_threads_cannot_overspend(app: remit.App, tool: Tool) -> None:
    """16 threads, 100 attempts, 25 allowed: exactly 25 run."""
    grant = app.issue(_granted(limits={"calls": 25, "denied": 1000}), credential="user:ravi@acme.com")
    session = app.session(grant).open()

    def attempt(number: int) -> bool:
        try:
            session.call("kb.search", {"query": str(number)}, run=tool)
        except remit.Denied:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        permitted = sum(pool.map(attempt, range(100)))

    assert permitted == len(tool.calls) == 25


def _spend(url: str, grant_id: str, attempts: int, report: Any) -> None:
    with remit.open(url, development=True) as app:
        permitted = 0
        with app.session(grant_id, key="shared") as session:
            for number in range(attempts):
                try:
                    session.call("kb.search", {"query": str(number)}, run=lambda query: query)
                except remit.Denied:
                    continue
                permitted += 1
        report.put(permitted)


def test_processes_cannot_overspend(tmp_path: Path) -> None:
    """Four processes, 160 attempts, 60 allowed: exactly 60 run, and the ledger verifies."""
    with temporary(tmp_path) as app:
        grant = app.issue(_granted(limits={"calls": 60, "denied": 1000}), credential="user:ravi@acme.com")
        spawn = multiprocessing.get_context("spawn")
        report = spawn.Queue()
        workers = [spawn.Process(target=_spend, args=(app.url, grant.id, 40, report)) for _ in range(4)]
        for worker in workers:
            worker.start()
        permitted = [report.get(timeout=60) for _ in workers]
        for worker in workers:
            worker.join(60)

        assert sum(permitted) == 60
        assert len(data(app, "call.intent")) == 60
        app.verify()


def test_refusals_by_an_ended_grant_are_bounded_and_suspend_nothing(app: remit.App, tool: Tool, clock: Clock) -> None:
    """A looping agent whose grant has ended is on record, and does not fill the ledger."""
    grant = app.issue(_granted(limits={"denied": 3}), credential="user:ravi@acme.com")
    session = app.session(grant).open()
    clock.forward(hours=1)
    for _ in range(50):
        with pytest.raises(remit.Denied) as caught:
            session.call("kb.search", {"query": "a"}, run=tool)
        assert caught.value.code == "grant_expired"

    assert types(app).count("call.denied") == 20
    assert "session.suspended" not in types(app)
