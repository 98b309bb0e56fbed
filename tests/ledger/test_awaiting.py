"""Jobs that tasks of an event loop wait for."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from remit.errors import EvidenceUnavailable, UsageError
from remit.ledger import Ledger
from tests.ledger.conftest import Place, note


@pytest.fixture
def ledger(place: Place) -> Any:
    """An open ledger."""
    with place.create() as opened:
        yield opened


def test_many_tasks_wait_at_once_and_each_gets_its_own_answer(ledger: Ledger) -> None:
    """Two hundred tasks on one loop, whose answers come in batches."""

    async def main() -> list[str]:
        found = await asyncio.gather(*(ledger.arun(note(ledger, n=n)) for n in range(200)))
        assert all(stopped is None for _, stopped in found)
        return [appended.id for appended, _ in found]

    ids = asyncio.run(main())

    stored = {record.id: record.data["n"] for record in ledger.records(types=["auth.succeeded"])}
    assert [stored[one] for one in ids] == list(range(200))


def test_what_a_job_raises_is_raised_where_it_is_awaited(ledger: Ledger) -> None:
    """And its neighbours in the batch commit."""

    def fails(txn: Any) -> None:
        raise KeyError("no such order")

    async def main() -> list[Any]:
        jobs = (ledger.arun(fails if n == 3 else note(ledger, n=n)) for n in range(6))
        return await asyncio.gather(*jobs, return_exceptions=True)

    found = asyncio.run(main())

    assert [type(one) for one in found].count(KeyError) == 1
    assert len(list(ledger.records(types=["auth.succeeded"]))) == 5


def test_a_cancelled_task_waits_until_the_job_is_durable_and_is_told_that_it_was_cancelled(ledger: Ledger) -> None:
    """However often: what is being written is not left alone."""
    entered, go_on = threading.Event(), threading.Event()

    def slow(txn: Any) -> str:
        entered.set()
        assert go_on.wait(20)
        return str(txn.append(ledger.draft("auth.succeeded", data={})).id)

    async def main() -> tuple[str, asyncio.CancelledError | None]:
        task = asyncio.ensure_future(ledger.arun(slow))
        assert await asyncio.to_thread(entered.wait, 20)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
            assert not task.done()
        go_on.set()
        return await task

    record, stopped = asyncio.run(main())

    assert isinstance(stopped, asyncio.CancelledError)
    assert ledger.record(record) is not None


def test_a_deadline_passes_for_a_task_as_for_a_thread(ledger: Ledger) -> None:
    """A job that has not begun by then never runs."""
    entered, go_on = threading.Event(), threading.Event()

    def slow(txn: Any) -> None:
        entered.set()
        assert go_on.wait(20)

    async def main() -> None:
        first = asyncio.ensure_future(ledger.arun(slow))
        assert await asyncio.to_thread(entered.wait, 20)
        with pytest.raises(EvidenceUnavailable, match="nothing was written, and nothing will be"):
            await ledger.arun(note(ledger), deadline=0.05)
        go_on.set()
        await first

    asyncio.run(main())
    assert list(ledger.records(types=["auth.succeeded"])) == []


def test_a_loop_that_ended_leaves_the_writer_at_work(ledger: Ledger) -> None:
    """Whoever does not wait any more does not keep others from being answered."""
    entered, go_on = threading.Event(), threading.Event()

    def slow(txn: Any) -> None:
        entered.set()
        assert go_on.wait(20)

    loop = asyncio.new_event_loop()
    waiting = ledger.arun(slow)
    task = loop.create_task(waiting)
    loop.run_until_complete(asyncio.sleep(0))
    assert entered.wait(20)
    left: Any = task
    left._log_destroy_pending = False  # it is left waiting on purpose
    loop.close()
    go_on.set()

    assert ledger.run(note(ledger)).id
    waiting.close()


def test_a_ledger_that_is_open_for_reading_says_so_to_tasks(ledger: Ledger, place: Place) -> None:
    """As it does to threads."""
    with place.open(writer=False) as reading, pytest.raises(UsageError, match="opened for reading"):
        asyncio.run(reading.arun(lambda txn: None))
