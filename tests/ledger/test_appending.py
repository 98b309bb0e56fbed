"""Jobs and the writer: what commits together, what leaves nothing, and who is told what."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select

from remit.errors import EvidenceUnavailable, Unrepresentable, UsageError
from remit.ledger import Ledger, Txn
from remit.ledger.records import MAX_LEAF, RECORD_TYPES
from remit.store.tables import CounterRow, GrantRow, ToolRow
from tests.ledger.conftest import MovedClock, Place, append, index_of, note


def count(txn: Txn, key: str, by: int = 1) -> int:
    """Add to a counter, read through the transaction."""
    row = txn.get("counters", key)
    value = (int(row["value"]) if row is not None else 0) + by
    txn.put("counters", key, value=str(value))
    return value


def counters(ledger: Ledger) -> dict[str, str]:
    """The counters as a reader sees them."""
    return {row["id"]: row["value"] for row in ledger.read().mappings(select(CounterRow))}


class Gate:
    """Holds the writer in a job until the test lets it go, so that what comes next gathers into one batch."""

    def __init__(self, ledger: Ledger) -> None:
        self.entered, self.open = threading.Event(), threading.Event()
        self.future = ledger.submit(self._job)
        assert self.entered.wait(10)

    def _job(self, txn: Txn) -> str:
        self.entered.set()
        self.open.wait(10)
        return "done"


def test_a_record_is_appended_and_read_back(ledger: Ledger) -> None:
    """The first job starts the writer, whose own record comes first; indexes are dense."""
    first, second = append(ledger, n=1), append(ledger, n=2)
    assert (index_of(ledger, first), index_of(ledger, second)) == (1, 2)
    records = list(ledger.records())
    assert [record.type for record in records] == ["recorder.started", "auth.succeeded", "auth.succeeded"]
    assert [record.index for record in records] == [0, 1, 2]
    assert records[2].data == {"n": 2}
    assert records[2].time == second.time
    assert ledger.record(second.id) is not None
    assert ledger.record("r-none") is None
    assert ledger.verify().size == 3


def test_nothing_is_written_before_the_first_record(ledger: Ledger) -> None:
    """Opening a ledger and reading in a transaction leave no trace."""
    assert ledger.run(lambda txn: txn.get("counters", "a")) is None
    assert list(ledger.records()) == []
    assert ledger.verify().size == 0


@pytest.mark.requirement("I2")
def test_a_job_that_fails_leaves_nothing_and_its_neighbours_commit(ledger: Ledger) -> None:
    """In one batch: good, failing half way, good. The failing one leaves neither record, row nor gap."""
    gate = Gate(ledger)

    def bad(txn: Txn) -> None:
        count(txn, "shared")
        txn.append(ledger.draft("auth.succeeded", session="s-1", data={}))
        raise ValueError("no")

    def good(txn: Txn) -> int:
        txn.append(ledger.draft("auth.succeeded", session="s-1", data={}))
        return count(txn, "shared")

    futures = [ledger.submit(job) for job in (good, bad, good)]
    gate.open.set()
    assert [futures[0].result(), futures[2].result()] == [1, 2]
    with pytest.raises(ValueError, match="no"):
        futures[1].result()
    assert [record.leaf["sseq"] for record in ledger.records(session="s-1")] == [0, 1]
    assert counters(ledger) == {"shared": "2"}
    found = ledger.verify()
    assert (found.size, found.checkpoints) == (3, 1)


def test_a_failing_job_that_queried_leaves_nothing_either(ledger: Ledger) -> None:
    """A query writes out early; what it wrote goes with the job, in whatever order jobs come."""
    gate = Gate(ledger)

    def ask(txn: Txn) -> list[str]:
        txn.append(ledger.draft("auth.succeeded", session="s-1", data={}))
        count(txn, "a")
        return [value for (value,) in txn.rows(select(CounterRow.value).where(CounterRow.id == "a"))]

    def bad(txn: Txn) -> None:
        ask(txn)
        count(txn, "b")
        assert [value for (value,) in txn.rows(select(CounterRow.id))] == ["a", "b"]
        raise ValueError("no")

    futures = [ledger.submit(job) for job in (bad, ask, bad, ask, bad)]
    gate.open.set()
    assert [futures[1].result(), futures[3].result()] == [["1"], ["2"]]
    assert all(isinstance(futures[at].exception(), ValueError) for at in (0, 2, 4))
    assert counters(ledger) == {"a": "2"}
    assert ledger.verify().size == 3


def test_a_job_that_breaks_a_unique_column_fails_alone(ledger: Ledger) -> None:
    """The database refuses the batch for one job's sake; the others are tried again without it."""
    columns = dict.fromkeys(
        ["state", "digest", "signature", "key_id", "principal", "agent", "issuer", "task", "root", "record_id"], "x"
    )

    def issue(name: str) -> Any:
        draft = ledger.draft("auth.succeeded", data={"grant": name})

        def job(txn: Txn) -> str:
            txn.append(draft)
            txn.put("grants", name, version=1, issue_key="same", not_before="", expires="", **columns)
            return name

        return job

    ledger.run(issue("g-1"))
    gate = Gate(ledger)
    futures = [ledger.submit(job) for job in (note(ledger, n=1), issue("g-2"), note(ledger, n=2))]
    gate.open.set()
    assert index_of(ledger, futures[0].result()) < index_of(ledger, futures[2].result())
    with pytest.raises(EvidenceUnavailable, match=r"(?i)unique"):
        futures[1].result()
    assert [row["id"] for row in ledger.read().mappings(select(GrantRow))] == ["g-1"]
    ledger.verify()


def test_a_row_keeps_what_was_put_into_it(ledger: Ledger, place: Place) -> None:
    """Rows merge column by column, in one job and across jobs; times become text, JSON stays JSON, bools stay bools."""
    clock = MovedClock()
    ledger.run(lambda txn: txn.put("settings", "k", value={"b": [1, None], "a": True}))
    ledger.run(
        lambda txn: txn.put(
            "verdicts",
            "v",
            session_id="s",
            verdict="within",
            reason_code="r",
            reviewer="user:bob@acme.com",
            authenticated=True,
            time=clock(),
        )
    )
    ledger.run(lambda txn: txn.put("verdicts", "v", superseded="w", authenticated=False))
    other = place.open()
    row = other.run(lambda txn: txn.get("verdicts", "v"))
    assert row is not None
    assert (row["superseded"], row["authenticated"], row["verdict"]) == ("w", False, "within")
    assert row["time"] == "2026-11-24T09:00:00.000000Z"
    assert other.run(lambda txn: txn.get("settings", "k")) == {"key": "k", "value": {"b": [1, None], "a": True}}
    other.close()


def test_a_row_that_was_there_unseen_is_changed_not_replaced(ledger: Ledger, place: Place) -> None:
    """A writer that never read the row puts all that a new one needs: what the row held besides stays."""
    whole = {"digest": "sha256:1", "state": "accepted", "record_id": "r-1"}
    ledger.run(lambda txn: txn.put("tools", "crm.read", schema_digest="sha256:2", **whole))
    with place.open() as other:
        gate = Gate(other)

        def blind(txn: Txn) -> None:
            txn.put("tools", "crm.read", digest="sha256:3", state="changed", record_id="r-2")
            txn.append(other.draft("auth.succeeded", data={}))

        def blind_and_asking(txn: Txn) -> list[Any]:
            txn.put("tools", "crm.read", digest="sha256:4", state="changed", record_id="r-3")
            return list(txn.rows(select(ToolRow.digest, ToolRow.schema_digest)))

        futures = [other.submit(job) for job in (note(other, n=1), blind, blind_and_asking, note(other, n=2))]
        gate.open.set()
        assert futures[2].result() == [("sha256:4", "sha256:2")]
        assert all(future.exception() is None for future in futures)
        row = other.run(lambda txn: txn.get("tools", "crm.read"))
        assert row == {"key": "crm.read", "text_digest": None, "schema_digest": "sha256:2", "seen": None} | {
            "digest": "sha256:4",
            "state": "changed",
            "record_id": "r-3",
        }
        assert len(list(other.records(types=["auth.succeeded"]))) == 3
        other.verify()


def test_changing_a_row_that_was_got_changes_nothing(ledger: Ledger) -> None:
    """What `get` returns is a copy."""
    ledger.run(lambda txn: count(txn, "a"))

    def job(txn: Txn) -> Any:
        row = txn.get("counters", "a")
        assert row is not None
        row["value"] = "99"
        return txn.get("counters", "a")

    assert ledger.run(job) == {"id": "a", "value": "1"}


def test_a_column_or_table_that_does_not_exist_is_refused(ledger: Ledger) -> None:
    """A misspelt column raises in the job that wrote it, and nothing of it stays."""
    for job in (
        lambda txn: txn.put("counters", "a", valeu="1"),
        lambda txn: txn.put("counters", "a", id="b"),
        lambda txn: txn.put("nowhere", "a", value="1"),
        lambda txn: txn.get("nowhere", "a"),
    ):
        with pytest.raises(UsageError):
            ledger.run(job)
    assert counters(ledger) == {}


@pytest.mark.requirement("T12")
def test_two_ledgers_on_one_file_see_each_others_rows(place: Place, ledger: Ledger) -> None:
    """Rows that one writer has cached are read again after another has committed."""
    with place.open() as other:
        for turn in range(1, 6):
            assert ledger.run(lambda txn: count(txn, "a")) == 2 * turn - 1
            assert other.run(lambda txn: count(txn, "a")) == 2 * turn
            append(ledger, "s-1")
            append(other, "s-1")
        found = other.verify()
        assert (found.writers, found.sessions) == (2, 1)


@pytest.mark.requirement("T9")
def test_many_threads_append_and_none_is_lost(ledger: Ledger) -> None:
    """32 threads: every acknowledged record is there once, under its index, and a counter counts exactly."""

    def one(n: int) -> tuple[str, int]:
        draft = ledger.draft("auth.succeeded", session=f"s-{n % 7}", data={"n": n}, private={"n": n})

        def job(txn: Txn) -> tuple[str, int]:
            return txn.append(draft).id, count(txn, "a")

        return ledger.run(job)

    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(one, range(600)))
    assert sorted(counted for _, counted in found) == list(range(1, 601))
    ledger.wait_sequenced([name for name, _ in found])
    there = {record.index: record.id for record in ledger.records()}
    assert {name for name, _ in found} <= set(there.values())
    assert sorted(there) == list(range(601))
    assert ledger.verify().size == 601


def test_futures_resolve_for_an_event_loop(ledger: Ledger) -> None:
    """`submit` gives a future that asyncio can wait for without blocking its loop."""

    async def main() -> list[int]:
        futures = [asyncio.wrap_future(ledger.submit(note(ledger, n=n))) for n in range(20)]
        return [index_of(ledger, appended) for appended in await asyncio.gather(*futures)]

    assert asyncio.run(main()) == list(range(1, 21))


def test_a_future_that_was_cancelled_before_its_turn_does_not_run(ledger: Ledger) -> None:
    """Cancelling is final, too: what the caller gave up on is not written later."""
    gate = Gate(ledger)
    future = ledger.submit(note(ledger, n=1))
    assert future.cancel()
    gate.open.set()
    assert gate.future.result() == "done"
    assert index_of(ledger, append(ledger)) == 1


@pytest.mark.requirement("code:evidence_unavailable")
def test_a_job_whose_deadline_passes_in_the_queue_never_runs(ledger: Ledger) -> None:
    """The caller is told that nothing was written, and nothing is, also after the writer is free again."""
    gate = Gate(ledger)
    ran: list[str] = []
    with pytest.raises(EvidenceUnavailable, match="nothing was written"):
        ledger.run(lambda txn: ran.append("run"), deadline=0.02)
    future = ledger.submit(lambda txn: ran.append("submit"), deadline=0.02)
    with pytest.raises(EvidenceUnavailable, match="nothing was written"):
        future.result(timeout=10)
    gate.open.set()
    gate.future.result()
    append(ledger)
    assert ran == []


@pytest.mark.requirement("code:evidence_unavailable")
def test_a_job_whose_deadline_passes_while_it_runs_is_said_to_be_unknown(ledger: Ledger) -> None:
    """It had begun, so nobody can say; when it does become durable, `late` gets to know what it came to."""
    heard = threading.Event()
    told: list[Any] = []

    def late(txn: Txn, result: Any) -> None:
        told.append(result)
        txn.append(ledger.draft("recorder.gap", data={"late": result}))
        heard.set()

    for wait in (lambda job: ledger.run(job, deadline=0.3, late=late), lambda job: _submitted(ledger, job, late)):
        entered, release = threading.Event(), threading.Event()

        def job(txn: Txn, entered: threading.Event = entered, release: threading.Event = release) -> str:
            entered.set()
            release.wait(10)
            return txn.append(ledger.draft("auth.succeeded", data={})).id

        with pytest.raises(EvidenceUnavailable, match="not known"):
            wait(job)
        heard.clear()
        release.set()
        assert heard.wait(10)
    append(ledger)
    gaps = [record for record in ledger.records(types=["recorder.gap"]) if "late" in record.data]
    assert [gap.data["late"] for gap in gaps] == told
    assert len(told) == 2


def _submitted(ledger: Ledger, job: Any, late: Any) -> Any:
    return ledger.submit(job, deadline=0.3, late=late).result(timeout=10)


def test_a_job_that_waits_for_another_is_refused(ledger: Ledger) -> None:
    """The writer cannot wait for itself; that is said at once instead of hanging until the deadline."""
    with pytest.raises(UsageError, match="cannot wait for another job"):
        ledger.run(lambda txn: ledger.run(lambda inner: None))


@pytest.mark.sqlite
def test_a_closed_ledger_takes_nothing(place: Place) -> None:
    """Closing commits what was queued, says that the recorder stopped, and refuses what comes after."""
    ledger = place.create()
    futures = [ledger.submit(note(ledger, n=n)) for n in range(50)]
    ledger.close()
    assert all(future.result() for future in futures)
    with pytest.raises(UsageError, match="closed"):
        append(ledger)
    ledger.close()
    assert {path.name for path in place.database.parent.iterdir()} == {place.database.name, place.home.name}
    with place.open(writer=False) as reader:
        assert [record.type for record in reader.records()][-1] == "recorder.stopped"
        assert reader.dead_writers() == []
        with pytest.raises(UsageError, match="for reading"):
            append(reader)
        assert reader.verify().pinned_size == 52


# -- what may stand in a record


def test_a_type_outside_the_closed_list_is_refused(ledger: Ledger) -> None:
    """Nobody invents record types, and each type needs what it exists to say."""
    with pytest.raises(UsageError, match="closed"):
        ledger.draft("call.maybe", data={})
    with pytest.raises(UsageError, match="needs call, decision, tool"):
        ledger.run(lambda txn: txn.append(ledger.draft("call.intent", data={})))
    with pytest.raises(UsageError, match="session id"):
        ledger.draft("auth.succeeded", session='s"1', data={})
    assert all(kind.reason.endswith(".") for kind in RECORD_TYPES.values())


@pytest.mark.requirement("code:too_large")
def test_a_leaf_beyond_64_kib_is_refused(ledger: Ledger) -> None:
    """The job is told; nothing of it stays."""
    with pytest.raises(Unrepresentable) as refused:
        append(ledger, text="x" * MAX_LEAF)
    assert refused.value.code == "too_large"
    assert index_of(ledger, append(ledger, text="x" * (MAX_LEAF - 1000))) == 1


def test_data_may_be_completed_in_the_job_that_appends_it(ledger: Ledger) -> None:
    """What only the transaction knows is added there."""
    draft = ledger.draft("auth.succeeded", data={"a": 1})

    def job(txn: Txn) -> str:
        draft.data["b"] = 2
        return txn.append(draft).id

    record = ledger.record(ledger.run(job))
    assert record is not None
    assert record.data == {"a": 1, "b": 2}


def test_the_same_draft_is_not_appended_twice(ledger: Ledger) -> None:
    """A retry of something that turned out to be durable finds its record instead of writing another."""
    job = note(ledger, n=1)
    first, second = ledger.run(job), ledger.run(job)
    assert (first.id, first.time) == (second.id, second.time)
    assert ledger.verify().size == 2


def test_an_artefact_is_kept_once_and_covered_by_the_log(ledger: Ledger) -> None:
    """Its digest names it; the record that brought it says so; one that no record covers is refused."""

    def store(txn: Txn) -> str:
        digest = txn.artefact(b'{"grant":1}')
        assert txn.artefact(b'{"grant":1}') == digest
        txn.append(ledger.draft("auth.succeeded", data={"digest": digest}))
        return digest

    digest = ledger.run(store)
    assert ledger.run(store) == digest
    assert ledger.artefact(digest) == b'{"grant":1}'
    assert [record.leaf.get("artefacts") for record in ledger.records()] == [None, [digest], None]
    with pytest.raises(UsageError, match="no record"):
        ledger.run(lambda txn: txn.artefact(b"loose"))
    with pytest.raises(UsageError):
        ledger.artefact("sha256:00")
    ledger.verify()


def test_a_record_of_the_same_transaction_can_be_read(ledger: Ledger) -> None:
    """What was appended a moment ago is there for the job itself."""

    def job(txn: Txn) -> Any:
        appended = txn.append(ledger.draft("auth.succeeded", data={"n": 1}))
        return ledger.record_in(txn, appended.id).data

    assert ledger.run(job) == {"n": 1}
    with pytest.raises(UsageError, match="no record"):
        ledger.run(lambda txn: ledger.record_in(txn, "r-none"))


def test_records_are_found_by_session_and_type_in_order(ledger: Ledger) -> None:
    """Filters keep the log's order, and reading goes on over more than one chunk."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: append(ledger, "s-even" if n % 2 == 0 else "s-odd"), range(1100)))
    even = list(ledger.records(session="s-even"))
    assert [record.leaf["sseq"] for record in even] == list(range(550))
    assert all(record.session == "s-even" for record in even)
    assert len(list(ledger.records(types=["auth.succeeded"], start=2))) == 1099
    assert list(ledger.records(session="s-none")) == []


def test_keyed_hashes_depend_on_key_order_and_boundaries(
    ledger: Ledger, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Moving a letter from one part to the next, or to another deployment, gives another hash."""
    assert ledger.keyed("a", "bc") == ledger.keyed(b"a", "bc")
    assert len({ledger.keyed("a", "bc"), ledger.keyed("ab", "c"), ledger.keyed("bc", "a"), ledger.keyed("abc")}) == 4
    with Place(tmp_path_factory.mktemp("other")).create() as other:
        assert other.keyed("a", "bc") != ledger.keyed("a", "bc")
