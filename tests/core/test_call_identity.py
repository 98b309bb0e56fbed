"""Invariant 10: one call, one run, however often a framework re-enters."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import remit
from tests.core.conftest import TRIAGE, Tool, data, types

pytestmark = pytest.mark.requirement("I10")


def test_same_scope_and_id_runs_once_and_returns_the_stored_result(app: remit.App, grant: remit.Grant) -> None:
    """The second request gets the first one's result; the replay is on record."""
    tool = Tool({"subject": "printer on fire", "n": 2**70})
    with app.session(grant) as session:
        first = session.call("crm.read_ticket", {"id": 88}, run=tool, call_id="call_1", scope="run-1")
        second = session.call("crm.read_ticket", {"id": 88}, run=tool, call_id="call_1", scope="run-1")

    assert first == second == {"subject": "printer on fire", "n": 2**70}
    assert len(tool.calls) == 1
    assert types(app).count("call.intent") == 1
    assert types(app).count("call.replayed") == 1


def test_same_id_in_another_scope_is_another_call(app: remit.App, grant: remit.Grant, tool: Tool) -> None:
    """A provider's bare call id is never an identity: two runs may use the same one."""
    with app.session(grant) as session:
        session.call("crm.read_ticket", {"id": 88}, run=tool, call_id="call_1", scope="run-1")
        session.call("crm.read_ticket", {"id": 88}, run=tool, call_id="call_1", scope="run-2")

    assert len(tool.calls) == 2


@pytest.mark.requirement("code:call_conflict")
def test_same_scope_and_id_with_other_content_is_call_conflict(app: remit.App, grant: remit.Grant, tool: Tool) -> None:
    """A re-entry that says something else is not a re-entry."""
    with app.session(grant) as session:
        session.call("kb.search", {"query": "a"}, run=tool, call_id="call_1", scope="run-1")
        with pytest.raises(remit.Denied) as caught:
            session.call("kb.search", {"query": "b"}, run=tool, call_id="call_1", scope="run-1")

    assert caught.value.code == "call_conflict"
    assert len(tool.calls) == 1


def test_without_an_id_the_same_content_is_a_new_call(app: remit.App, grant: remit.Grant, tool: Tool) -> None:
    """No stable id means a new call."""
    with app.session(grant) as session:
        session.call("kb.search", {"query": "a"}, run=tool)
        session.call("kb.search", {"query": "a"}, run=tool)

    assert len(tool.calls) == 2


@pytest.mark.requirement("code:already_executed")
def test_result_that_could_not_be_kept_is_already_executed(app: remit.App, grant: remit.Grant) -> None:
    """What evidence cannot hold cannot be given again, and the tool does not run twice for it."""
    tool = Tool(object())
    with app.session(grant) as session:
        session.call("kb.search", {"query": "a"}, run=tool, call_id="call_1", scope="run-1")
        with pytest.raises(remit.Denied) as caught:
            session.call("kb.search", {"query": "a"}, run=tool, call_id="call_1", scope="run-1")

    assert caught.value.code == "already_executed"
    assert len(tool.calls) == 1


def test_failed_call_does_not_run_again_unless_the_catalogue_calls_it_idempotent(
    app: remit.App, grant: remit.Grant
) -> None:
    """A tool that raised may have acted; only an idempotent one may be tried again."""
    failing = Tool(ValueError("boom"))
    reading = Tool(ValueError("boom"))
    with app.session(grant) as session:
        for _ in range(2):
            with pytest.raises(ValueError, match="boom"):
                session.call("crm.read_ticket", {"id": 88}, run=reading, call_id="r", scope="run-1")
        with pytest.raises(ValueError, match="boom"):
            session.call("kb.search", {"query": "a"}, run=failing, call_id="s", scope="run-1")
        with pytest.raises(remit.Denied) as caught:
            session.call("kb.search", {"query": "a"}, run=failing, call_id="s", scope="run-1")

    assert caught.value.code == "already_executed"
    assert (len(reading.calls), len(failing.calls)) == (2, 1)


def test_re_entry_passes_revocation_first(app: remit.App, grant: remit.Grant, tool: Tool) -> None:
    """A stored result is not handed out under a grant that was withdrawn."""
    with app.session(grant) as session:
        session.call("kb.search", {"query": "a"}, run=tool, call_id="call_1", scope="run-1")
        app.revoke(grant.id, reason="withdrawn", credential="user:ravi@acme.com")
        with pytest.raises(remit.Denied) as caught:
            session.call("kb.search", {"query": "a"}, run=tool, call_id="call_1", scope="run-1")

    assert caught.value.code == "grant_revoked"


def test_re_entry_while_it_runs_joins(app: remit.App, grant: remit.Grant) -> None:
    """Two threads that ask for the same call get one run and the same result."""
    entered, release = threading.Event(), threading.Event()
    runs: list[int] = []

    def slow(query: str) -> str:
        runs.append(1)
        entered.set()
        assert release.wait(20)
        return "one result"

    with app.session(grant) as session, ThreadPoolExecutor(2) as pool:

        def ask() -> Any:
            return session.call("kb.search", {"query": "a"}, run=slow, call_id="call_1", scope="run-1")

        first = pool.submit(ask)
        assert entered.wait(20)
        second = pool.submit(ask)
        while types(app).count("call.replayed") == 0:
            assert not second.done()
        release.set()

        assert [first.result(20), second.result(20)] == ["one result", "one result"]
    assert runs == [1]


def test_concurrent_acalls_with_one_identity_run_once(app: remit.App, grant: remit.Grant) -> None:
    """The same in one event loop."""
    runs: list[int] = []

    async def main() -> list[Any]:
        release = asyncio.Event()

        async def slow(query: str) -> str:
            runs.append(1)
            await release.wait()
            return "one result"

        async with app.session(grant) as session:
            tasks = [
                asyncio.create_task(
                    session.acall("kb.search", {"query": "a"}, run=slow, call_id="call_1", scope="run-1")
                )
                for _ in range(5)
            ]
            while types(app).count("call.replayed") < 4:
                await asyncio.sleep(0)
            release.set()
            return await asyncio.gather(*tasks)

    assert asyncio.run(main()) == ["one result"] * 5
    assert runs == [1]


def test_pending_call_is_resumed_and_ends_once(app: remit.App, grant: remit.Grant) -> None:
    """A framework's interrupt is not an outcome: the re-entry is decided again and ends in one terminal outcome."""

    class Interrupt(Exception):
        pass

    steps: Iterator[Interrupt | str] = iter([Interrupt("ask"), "finished"])

    def run(query: str) -> str:
        step = next(steps)
        if isinstance(step, Interrupt):
            raise step
        return step

    with app.session(grant) as session:
        with pytest.raises(Interrupt):
            session.call("kb.search", {"query": "a"}, run=run, call_id="c", scope="r", passthrough=(Interrupt,))
        result = session.call("kb.search", {"query": "a"}, run=run, call_id="c", scope="r", passthrough=(Interrupt,))

    assert result == "finished"
    assert [outcome["status"] for outcome in data(app, "call.outcome")] == ["pending", "ok"]
    assert types(app).count("call.intent") == 1
    assert types(app).count("call.resumed") == 1


def test_nested_call_names_its_parent(app: remit.App, grant: remit.Grant, tool: Tool) -> None:
    """A tool that calls a governed tool leaves a chain from the inner call to the outer one."""

    def outer(query: str) -> Any:
        return session.call("crm.read_ticket", {"id": 88}, run=tool)

    with app.session(grant) as session:
        session.call("kb.search", {"query": "a"}, run=outer)

    outer_intent, inner_intent = data(app, "call.intent")
    assert inner_intent["parent"] == outer_intent["call"]
    assert "parent" not in outer_intent
    assert TRIAGE["task"]
