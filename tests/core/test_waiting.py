"""`on_ask`: a call that needs a person raises at once, or waits for the answer wherever it is given."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import remit
from tests.core.conftest import CATALOGUE, PEOPLE, TRIAGE, Tool, data, types
from tests.stores import temporary

BOB = "user:bob@acme.com"
LARGE = {"order": "ord_4711", "amount": 30}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[remit.App]:
    """On the system's clock: whoever waits, waits in real time."""
    with temporary(tmp_path, catalogue=CATALOGUE, people=PEOPLE) as opened:
        yield opened


@pytest.fixture
def grant(app: remit.App) -> remit.Grant:
    """The triage grant."""
    return app.issue(TRIAGE, credential="user:ravi@acme.com")


def answering(app: remit.App, act: Any) -> None:
    """Answer each question as soon as it is durable, from a thread of its own."""
    app.on("approval.requested", lambda asked: threading.Thread(target=act, args=(asked["approval"],)).start())


@pytest.mark.requirement("approvals:wait")
class TestWaiting:
    """`wait:45s`."""

    def test_yes_lets_the_call_go_on(self, app: remit.App, grant: remit.Grant, tool: Tool) -> None:
        """In the same statement: whoever calls sees the result and no question."""
        answering(app, lambda approval: app.approve(approval, credential=BOB))
        with app.session(grant, on_ask="wait:45s") as session:
            assert session.call("payments.refund", LARGE, run=tool) == "done"

        assert tool.calls == [LARGE]
        assert types(app).count("approval.requested") == types(app).count("approval.used") == 1

    def test_no_is_a_refusal(self, app: remit.App, grant: remit.Grant, tool: Tool) -> None:
        """And nothing runs."""
        answering(app, lambda approval: app.refuse(approval, credential=BOB))
        with app.session(grant) as session, pytest.raises(remit.Denied) as caught:
            session.call("payments.refund", LARGE, run=tool, on_ask="wait:45s")

        assert caught.value.code == "approval_refused"
        assert tool.calls == []

    def test_nobody_in_time_raises_with_the_id(self, app: remit.App, grant: remit.Grant, tool: Tool) -> None:
        """The question stays; it can be answered and resumed later."""
        with app.session(grant, key="k", on_ask="wait:1s") as session:
            with pytest.raises(remit.ApprovalRequired) as caught:
                session.call("payments.refund", LARGE, run=tool)
            app.approve(caught.value.approval_id, credential=BOB)
            session.resume(caught.value.approval_id, run=tool)

        assert tool.calls == [LARGE]
        assert types(app).count("approval.requested") == 1

    def test_async_holds_up_nobody_else(self, app: remit.App, grant: remit.Grant, tool: Tool) -> None:
        """Twenty wait, with plain functions and async ones; the loop goes on and answers them all."""

        async def slow(**arguments: Any) -> Any:
            return tool(**arguments)

        async def all_of_them() -> list[Any]:
            async with app.session(grant, on_ask="wait:45s") as session:
                calls = [
                    asyncio.create_task(
                        session.acall(
                            "payments.refund", {**LARGE, "amount": 20 + number}, run=slow if number % 2 else tool
                        )
                    )
                    for number in range(20)
                ]
                while len(app.pending()) < 20:
                    await asyncio.sleep(0)
                for waiting in app.pending():
                    await asyncio.to_thread(app.approve, waiting.id, credential=BOB)
                return await asyncio.gather(*calls)

        assert asyncio.run(all_of_them()) == ["done"] * 20
        assert sorted(call["amount"] for call in tool.calls) == [20 + number for number in range(20)]

    def test_question_inside_a_tool_is_not_the_tools_own(self, app: remit.App, grant: remit.Grant) -> None:
        """A tool whose own call is asked about does not run a second time because its caller waits."""
        runs: list[str] = []

        with app.session(grant, on_ask="wait:1s") as session:

            def outer(**_: Any) -> Any:
                runs.append("outer")
                return session.call("payments.refund", LARGE, run=Tool(), on_ask="raise")

            with pytest.raises(remit.ApprovalRequired):
                session.call("kb.search", {"query": "a"}, run=outer)

        assert runs == ["outer"]

    def test_revoked_meanwhile_is_refused(self, app: remit.App, grant: remit.Grant, tool: Tool) -> None:
        """What is true after the answer counts."""

        def both(approval: str) -> None:
            app.revoke(grant.id, reason="enough", credential="user:ravi@acme.com")
            app.approve(approval, credential=BOB)

        answering(app, both)
        with app.session(grant, on_ask="wait:45s") as session, pytest.raises(remit.Denied) as caught:
            session.call("payments.refund", LARGE, run=tool)

        assert caught.value.code == "grant_revoked"
        assert tool.calls == []


@pytest.mark.parametrize(
    ("on_ask", "says"),
    [
        ("interrupt", "later version"),
        ("wait", "expected"),
        ("wait:soon", "span of time"),
        ("ask", "expected"),
        ("", "expected"),
    ],
)
def test_what_is_not_known_is_refused_in_a_sentence(
    app: remit.App, grant: remit.Grant, tool: Tool, on_ask: str, says: str
) -> None:
    """When the session is made, or the call; never accepted and ignored."""
    with pytest.raises(remit.UsageError, match=says):
        app.session(grant, on_ask=on_ask)
    with app.session(grant) as session, pytest.raises(remit.UsageError, match=says):
        session.call("kb.search", {"query": "a"}, run=tool, on_ask=on_ask)
    assert tool.calls == []


def _answer(url: str) -> None:
    with remit.open(url, development=True, people=PEOPLE, can={"approve"}) as app:
        while not (waiting := app.pending()):
            pass
        app.approve(waiting[0].id, credential=BOB)


@pytest.mark.requirement("approvals:other-process")
def test_answer_from_another_process_is_noticed(app: remit.App, grant: remit.Grant, tool: Tool) -> None:
    """A person at a command line answers an agent that waits elsewhere."""
    person = multiprocessing.get_context("spawn").Process(target=_answer, args=(app.url,))
    person.start()
    with app.session(grant) as session:
        session.call("payments.refund", LARGE, run=tool, on_ask="wait:60s")
    person.join(60)

    assert tool.calls == [LARGE]
    assert data(app, "approval.decided")[0]["by"]["subject"] == BOB


def _carry_on(url: str, session_id: str, approval_id: str, report: Any) -> None:
    with remit.open(url, development=True, people=PEOPLE, catalogue=CATALOGUE, can={"session"}) as app:
        report.put(app.join(session_id).resume(approval_id, run=lambda **arguments: arguments))


@pytest.mark.requirement("approvals:other-process")
def test_another_process_resumes_what_this_one_asked(app: remit.App, grant: remit.Grant, tool: Tool) -> None:
    """The worker that asked may be gone: the call lies in the ledger, exactly."""
    with app.session(grant, key="k") as session:
        with pytest.raises(remit.ApprovalRequired) as asked:
            session.call("payments.refund", LARGE, run=tool)
        app.approve(asked.value.approval_id, credential=BOB)
        spawn = multiprocessing.get_context("spawn")
        report = spawn.Queue()
        worker = spawn.Process(target=_carry_on, args=(app.url, session.id, asked.value.approval_id, report))
        worker.start()
        ran = report.get(timeout=60)
        worker.join(60)

    assert ran == LARGE
    assert tool.calls == []
    app.verify()
