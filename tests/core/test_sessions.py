"""Sessions across blocks, threads, event loops, forks and processes."""

from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.testing import Clock
from tests.core.conftest import CATALOGUE, PEOPLE, TRIAGE, Tool, data, types
from tests.stores import temporary


def test_keyed_session_is_rejoined_and_stays_open_between_blocks(
    app: remit.App, grant: remit.Grant, tool: Tool
) -> None:
    """A conversation that comes back finds its session."""
    with app.session(grant, key="thread:42") as first:
        first.call("crm.read_ticket", {"id": 88}, run=tool)
    with app.session(grant, key="thread:42") as second:
        second.call("crm.read_ticket", {"id": 88}, run=tool)

    assert first.id == second.id
    assert "session.closed" not in types(app)
    second.close("done")
    assert types(app)[-1] == "session.closed"


def test_key_of_another_grant_is_an_error(app: remit.App, grant: remit.Grant) -> None:
    """One session runs under one grant."""
    other = app.issue(TRIAGE, credential="user:ravi@acme.com")
    app.session(grant, key="thread:42").open()
    with pytest.raises(remit.UsageError, match="thread:42"):
        app.session(other, key="thread:42").open()


def test_issue_with_a_key_is_repeatable(app: remit.App, clock: Clock) -> None:
    """Same content under the same key: the same grant. Other content: an error. After its end: a new one."""
    first = app.issue(TRIAGE, key="ticket-88", credential="user:ravi@acme.com")
    second = app.issue(TRIAGE, key="ticket-88", credential="user:ravi@acme.com")
    with pytest.raises(remit.GrantError, match="ticket-88"):
        app.issue({**TRIAGE, "task": "Something else"}, key="ticket-88", credential="user:ravi@acme.com")
    clock.forward(minutes=21)
    third = app.issue(TRIAGE, key="ticket-88", credential="user:ravi@acme.com")

    assert first.id == second.id
    assert third.id != first.id


def test_current_session_is_the_blocks_own(app: remit.App, grant: remit.Grant) -> None:
    """`remit.current_session()` inside; `no_grant` outside."""
    with app.session(grant) as session:
        assert remit.current_session() is session
    with pytest.raises(remit.Denied) as caught:
        remit.current_session()

    assert caught.value.code == "no_grant"


def test_session_inside_another_is_refused(app: remit.App, grant: remit.Grant) -> None:
    """A nested session would let an agent swap its authority."""
    other = app.issue(TRIAGE, credential="user:ravi@acme.com")
    with app.session(grant), pytest.raises(remit.UsageError, match="nested"), app.session(other):
        pass


def test_raw_thread_has_no_session_until_it_activates_one(app: remit.App, grant: remit.Grant, tool: Tool) -> None:
    """A thread inherits nothing; `activate` is explicit."""
    outcomes: list[str] = []

    @remit.governed("crm.read_ticket", app=app)
    def read_ticket(id: int) -> Any:
        return tool(id=id)

    with app.session(grant) as session:

        def bare() -> None:
            try:
                read_ticket(88)
            except remit.Denied as denied:
                outcomes.append(str(denied.code))

        def activated() -> None:
            with session.activate():
                read_ticket(88)
            outcomes.append("ran")

        for target in (bare, activated):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join(20)

    assert outcomes == ["no_grant", "ran"]
    assert len(tool.calls) == 1


def test_executor_of_an_event_loop_keeps_the_session(app: remit.App, grant: remit.Grant, tool: Tool) -> None:
    """`asyncio.to_thread` copies the context, and with it the session."""

    @remit.governed("crm.read_ticket")
    def read_ticket(id: int) -> Any:
        return tool(id=id)

    async def main() -> None:
        async with app.session(grant):
            await asyncio.to_thread(read_ticket, 88)

    asyncio.run(main())

    assert len(tool.calls) == 1


def test_two_hundred_concurrent_acalls_are_recorded_once_each_in_the_right_session(app: remit.App) -> None:
    """Two sessions, 100 calls each, one loop: nothing is lost, doubled or mixed up."""
    grants = [app.issue({**TRIAGE, "limits": {"calls": 100}}, credential="user:ravi@acme.com") for _ in range(2)]

    async def search(query: str) -> str:
        await asyncio.sleep(0)
        return query

    async def work(grant: remit.Grant) -> str:
        async with app.session(grant) as session:
            results = await asyncio.gather(
                *(session.acall("kb.search", {"query": f"{grant.id} {n}"}, run=search) for n in range(100))
            )
            assert results == [f"{grant.id} {n}" for n in range(100)]
            return session.id

    async def main() -> list[str]:
        return await asyncio.gather(*(work(grant) for grant in grants))

    sessions = asyncio.run(main())

    for session_id in sessions:
        records = list(app.records(session_id))
        intents = [record for record in records if record.type == "call.intent"]
        outcomes = [record.data["intent"] for record in records if record.type == "call.outcome"]
        assert len(intents) == 100
        assert sorted(outcomes) == sorted(record.id for record in intents)
    app.verify()


def test_cancelled_acall_records_what_happened(app: remit.App, grant: remit.Grant) -> None:
    """An async tool that is stopped is `cancelled`; a plain one in its thread goes on, and says how it ended."""
    started, finish = threading.Event(), threading.Event()

    async def sleeper(query: str) -> None:
        started.set()
        await asyncio.Event().wait()

    def worker(query: str) -> str:
        started.set()
        assert finish.wait(20)
        return "finished all the same"

    async def stop(run: Any) -> None:
        started.clear()
        task = asyncio.create_task(session.acall("kb.search", {"query": "a"}, run=run))
        while not started.is_set():
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def main() -> None:
        await stop(sleeper)
        await stop(worker)
        finish.set()

    session = app.session(grant).open()
    asyncio.run(main())

    assert [outcome["status"] for outcome in data(app, "call.outcome")] == ["cancelled", "ok"]


def _call_in_child(session: remit.Session, report: Any) -> None:
    session.call("kb.search", {"query": "from the child"}, run=lambda query: query)
    report.put(os.getpid())


def test_forked_child_is_a_writer_of_its_own(app: remit.App, grant: remit.Grant, tool: Tool) -> None:
    """A fork shares the session but no connection, lock or lease: both go on writing and the ledger verifies."""
    fork = multiprocessing.get_context("fork")
    report = fork.Queue()
    with app.session(grant, key="shared") as session:
        session.call("kb.search", {"query": "before"}, run=tool)
        child = fork.Process(target=_call_in_child, args=(session, report))
        child.start()
        assert report.get(timeout=30) == child.pid
        child.join(30)
        session.call("kb.search", {"query": "after"}, run=tool)

    intents = [record for record in app.records(session.id) if record.type == "call.intent"]
    assert len(intents) == 3
    assert len({record.writer for record in intents}) == 2
    assert types(app, session.id).count("session.joined") == 1
    app.verify()


def _call_by_id(url: str, session_id: str, report: Any) -> None:
    with remit.open(url, development=True, catalogue=CATALOGUE, people=PEOPLE) as app:
        session = app.join(session_id)
        report.put(session.call("kb.search", {"query": "elsewhere"}, run=lambda query: query))


def test_session_is_joined_from_another_process_by_its_id(app: remit.App, grant: remit.Grant) -> None:
    """The session page shows one session, whoever took part; its closing record counts each writer."""
    spawn = multiprocessing.get_context("spawn")
    report = spawn.Queue()
    with app.session(grant, key="shared") as session:
        other = spawn.Process(target=_call_by_id, args=(app.url, session.id, report))
        other.start()
        assert report.get(timeout=60) == "elsewhere"
        other.join(60)
        session.close("done")

    closed = data(app, "session.closed")[0]
    assert len(closed["writers"]) == 2
    app.verify()


def test_idle_session_is_closed_at_the_next_call(app: remit.App, grant: remit.Grant, tool: Tool, clock: Clock) -> None:
    """`idle=` ends a keyed session that nobody used."""
    session = app.session(grant, key="thread:1", idle="5m").open()
    session.call("kb.search", {"query": "a"}, run=tool)
    clock.forward(minutes=4)
    session.call("kb.search", {"query": "b"}, run=tool)
    clock.forward(minutes=6)
    with pytest.raises(remit.Denied) as caught:
        session.call("kb.search", {"query": "c"}, run=tool)

    assert caught.value.code == "session_closed"
    assert len(tool.calls) == 2


def test_context_is_claimed_and_erasable(app: remit.App, grant: remit.Grant) -> None:
    """What was asked stands in the payload; the leaf only says that something was said."""
    with app.session(grant) as session:
        session.context(user_turn="please look at ticket 88", model="gpt-x", refs={"thread": "42"})

    [record] = [record for record in app.records() if record.type == "session.context"]
    assert record.data["claimed"] == ["model", "refs", "user_turn"]
    assert b"please look" not in record.body
    assert (record.disclosed() or {})["user_turn"] == "please look at ticket 88"


def test_governed_functions_close_their_side_door(app: remit.App, grant: remit.Grant, tool: Tool) -> None:
    """No `__wrapped__`; positional arguments and defaults are judged by name."""

    @remit.governed("payments.refund")
    def refund(order: str, amount: float = 99) -> Any:
        return tool(order=order, amount=amount)

    with app.session(grant):
        assert not hasattr(refund, "__wrapped__")
        with pytest.raises(remit.Denied) as caught:
            refund("ord_4711")
        refund("ord_4711", 5)

    assert caught.value.code == "argument_out_of_bounds"
    assert tool.calls == [{"order": "ord_4711", "amount": 5}]


def test_governed_async_function(app: remit.App, grant: remit.Grant) -> None:
    """The same for coroutines."""

    @remit.governed("crm.read_ticket")
    async def read_ticket(id: int) -> int:
        await asyncio.sleep(0)
        return id

    async def main() -> int:
        async with app.session(grant):
            return await read_ticket(88)

    assert asyncio.run(main()) == 88


def test_executor_threads_with_activate(app: remit.App, grant: remit.Grant, tool: Tool) -> None:
    """`run_in_executor` with a plain pool: activation makes the session known there."""

    def work(number: int) -> None:
        with session.activate():
            remit.current_session().call("kb.search", {"query": str(number)}, run=tool)

    with app.session(grant) as session, ThreadPoolExecutor(4) as pool:
        concurrent.futures.wait([pool.submit(work, number) for number in range(10)], timeout=30)

    assert len(tool.calls) == 10


def test_two_apps_on_one_ledger_share_everything(tmp_path: Path, tool: Tool) -> None:
    """Two handles in one process are two writers of one log."""
    with temporary(tmp_path) as one, remit.open(one.url, development=True) as two:
        grant = one.issue({**TRIAGE, "tools": {"kb.search": "any"}}, credential="user:ravi@acme.com")
        with two.session(grant.id, key="shared") as session:
            session.call("kb.search", {"query": "a"}, run=tool)
        one.revoke(grant.id, reason="done", credential="user:ravi@acme.com")
        with pytest.raises(remit.Denied) as caught:
            session.call("kb.search", {"query": "b"}, run=tool)

        assert caught.value.code == "grant_revoked"
        one.verify()
