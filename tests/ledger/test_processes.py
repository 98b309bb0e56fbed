"""Several processes on one file: appending, dying, forking. What was acknowledged is there, in one log."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from remit.errors import EvidenceUnavailable
from remit.ledger import Ledger
from remit.ledger.lease import is_dead, lease_path, process_start, this_process
from remit.store.tables import CounterRow, WriterRow
from tests.ledger.conftest import Place, append

WORKER = """
import sys
from remit.ledger import Ledger
ledger = Ledger.open(sys.argv[1])
name, turns = sys.argv[2], int(sys.argv[3])

def job(txn):
    row = txn.get("counters", "shared")
    txn.put("counters", "shared", value=str(int(row["value"]) + 1 if row else 1))
    return txn.append(ledger.draft("auth.succeeded", session="s-1", data={"name": name}, private={"turn": turn}))

turn = 0
while turns < 0 or turn < turns:
    appended = ledger.run(job)
    print(appended.id, flush=True)
    turn += 1
ledger.close()
"""


def start(place: Place, name: str, turns: int, code: str = WORKER) -> subprocess.Popen[str]:
    """Another process that appends and prints what was acknowledged."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code), place.url, name, str(turns)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def acknowledged(lines: list[str]) -> set[str]:
    """Ids from the lines that came through whole."""
    return {line.strip() for line in lines if line.endswith("\n")}


@pytest.mark.requirement("T12")
def test_four_processes_write_one_log(place: Place) -> None:
    """400 records by four processes: dense indexes, no fork, an exact counter, everything verifies."""
    place.create().close()
    processes = [start(place, f"p{n}", 100) for n in range(4)]
    found: set[str] = set()
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
        lines = acknowledged(out.splitlines(keepends=True))
        assert not lines & found
        found |= lines
    with place.open() as ledger:
        there = {record.index: record.id for record in ledger.records()}
        assert sorted(there) == list(range(408))
        assert found <= set(there.values())
        [row] = ledger.read().mappings(select(CounterRow))
        assert row["value"] == "400"
        verified = ledger.verify()
        assert (verified.size, verified.writers, verified.sessions) == (408, 4, 1)
        assert ledger.dead_writers() == []


@pytest.mark.requirement("I7")
@pytest.mark.requirement("R10")
def test_killed_processes_lose_nothing_that_was_acknowledged(place: Place) -> None:
    """Two processes at a time, killed after a varying number of records: all acknowledged ones are there and verify."""
    place.create().close()
    found: set[str] = set()
    for turn in range(3):
        pair = [start(place, f"k{turn}-{n}", -1) for n in range(2)]
        lines: list[list[str]] = [[], []]
        for n, process in enumerate(pair):
            assert process.stdout is not None
            for _ in range(1 + 11 * turn + n):
                lines[n].append(process.stdout.readline())
        for n, process in enumerate(pair):
            process.kill()
            assert process.stdout is not None
            rest = process.stdout.read()  # of the same reader: `communicate` would skip what it has read ahead
            process.communicate(timeout=30)
            found |= acknowledged(lines[n] + rest.splitlines(keepends=True))
    with place.open() as ledger:
        ledger.wait_sequenced([append(ledger).id])
        there = {record.index: record.id for record in ledger.records()}
        assert sorted(there) == list(range(len(there)))
        assert found <= set(there.values())
        assert len(found) >= 3 * 2
        assert len(ledger.dead_writers()) == 6
        assert ledger.verify().writers == 7


# -- leases


@pytest.mark.requirement("I7")
def test_only_the_kernel_decides_whether_a_writer_lives(place: Place, ledger: Ledger) -> None:
    """While the process lives its lease is held, whatever others do; when it is killed the lease is free."""
    append(ledger)
    process = start(place, "w", -1)
    assert process.stdout is not None
    process.stdout.readline()
    with place.open() as other:
        append(other)
        assert ledger.dead_writers() == []
    process.kill()
    process.communicate(timeout=30)
    rows = {row["id"]: row["state"] for row in ledger.read().mappings(select(WriterRow))}
    [dead] = ledger.dead_writers()
    assert rows[dead] == "running"
    assert ledger.run(lambda txn: txn.bury(dead)) is True
    assert ledger.run(lambda txn: txn.bury(dead)) is False
    assert ledger.dead_writers() == []


def test_a_missing_lease_is_judged_by_the_process_that_held_it(tmp_path: Path) -> None:
    """Same boot, same namespace and no such process: dead. Wherever that cannot be known: alive."""
    here = this_process()
    said: dict[str, Any] = here._asdict() | {"process_start": here.start}
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait(timeout=30)
    gone = said | {"pid": child.pid}

    def dead(row: dict[str, Any]) -> bool:
        return is_dead(tmp_path, "w-1", row)

    assert not dead(said)
    assert dead(gone)
    assert dead(said | {"process_start": "1"}), "the id was given to another process"
    assert dead(said | {"boot_id": "another"}), "the host was started again"
    assert not dead(gone | {"host": "elsewhere"})
    assert not dead(gone | {"pid_namespace": "pid:[1]"})
    lease_path(tmp_path, "w-1").touch()
    assert dead(said), "a lease file that nobody holds"
    assert process_start(child.pid) is None


# -- forks


def in_child(work: Callable[[], Any]) -> int:
    """Run `work` in a forked child; its exit code, 0 when it returned."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


forking = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@forking
@pytest.mark.requirement("T12")
def test_a_forked_child_is_a_new_writer(ledger: Ledger) -> None:
    """It gets a name and a chain of its own; parent and child go on side by side on one log."""
    append(ledger, "s-1")
    parent = ledger.writer_id

    def work() -> None:
        assert ledger.writer_id is None
        assert sum(1 for _ in ledger.records()) == 2
        for _ in range(5):
            append(ledger, "s-1")
        assert ledger.writer_id not in (None, parent)
        ledger.close()

    assert in_child(work) == 0
    append(ledger, "s-1")
    assert ledger.writer_id == parent
    found = ledger.verify()
    assert (found.size, found.writers) == (2 + 7 + 1, 2)


@forking
def test_a_child_goes_on_after_its_parent_has_closed(place: Place, ledger: Ledger) -> None:
    """The parent's end must not take the log file away under the child: what the child appends then is durable."""
    append(ledger)
    list(ledger.records())
    ready, go = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            append(ledger, n=1)
            os.write(ready[1], b"r")
            os.read(go[0], 1)
            append(ledger, n=2)
            ledger.close()
            code = 0
        finally:
            os._exit(code)
    os.read(ready[0], 1)
    ledger.close()
    os.write(go[1], b"g")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    for end in (*ready, *go):
        os.close(end)
    with place.open() as again:
        assert [record.data.get("n") for record in again.records(types=["auth.succeeded"])] == [None, 1, 2]
        again.verify()


@forking
def test_forking_in_the_middle_of_traffic_loses_nothing(ledger: Ledger) -> None:
    """Four threads append and read while the process forks ten times; children append, too."""
    stop = threading.Event()
    counts = [0] * 4

    def traffic(n: int) -> None:
        while not stop.is_set():
            append(ledger, f"s-{n}")
            counts[n] += 1
            sum(1 for _ in ledger.records(start=0 if counts[n] % 50 == 0 else max(0, counts[n] - 5)))

    threads = [threading.Thread(target=traffic, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    codes = [in_child(lambda: append(ledger, "s-child")) for _ in range(10)]
    stop.set()
    for thread in threads:
        thread.join()
    assert codes == [0] * 10
    found = ledger.verify()
    assert found.size == 1 + sum(counts) + 20
    assert found.writers == 11
    assert len(ledger.dead_writers()) == 10


@forking
def test_a_child_does_not_hold_its_parents_lease(place: Place) -> None:
    """A parent that was killed is found dead although a child that it forked lives on."""
    code = """
    import os, signal, sys
    from remit.ledger import Ledger
    ledger = Ledger.open(sys.argv[1])
    ledger.run(lambda txn: txn.append(ledger.draft("auth.succeeded", data={})))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(1)
        os.close(writing)
        os.read(reading, 1)  # until the parent is gone
        os.read(0, 1)  # until the test lets go
        os._exit(0)
    print(child, flush=True)
    signal.pause()
    """
    place.create().close()
    command = [sys.executable, "-c", textwrap.dedent(code), place.url]
    pipe, let_go = os.pipe()
    with subprocess.Popen(command, stdin=pipe, stdout=subprocess.PIPE, text=True) as parent:
        os.close(pipe)
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait(timeout=30)
        with place.open(writer=False) as reader:
            assert len(reader.dead_writers()) == 1
        os.close(let_go)
        with suppress(ProcessLookupError):
            os.kill(child, 0)


def spawned(url: str) -> None:
    """What a spawned process does."""
    with Ledger.open(url) as ledger:
        append(ledger, n=1)


def test_a_spawned_process_joins_the_log(place: Place, ledger: Ledger) -> None:
    """Spawned, not forked: it opens the ledger by its URL like any other."""
    append(ledger)
    process = multiprocessing.get_context("spawn").Process(target=spawned, args=(place.url,))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    append(ledger)
    assert ledger.verify().writers == 2


# -- a process that hangs


@pytest.mark.sqlite
@pytest.mark.requirement("code:evidence_unavailable")
@pytest.mark.requirement("R10")
def test_a_stopped_process_that_holds_the_lock_refuses_others_in_time(place: Place, ledger: Ledger) -> None:
    """A job that waits for the lock fails at its deadline and is never run later; then all is well again."""
    append(ledger)
    code = """
    import fcntl, signal, sys
    lock = open(sys.argv[1], "a")
    fcntl.flock(lock, fcntl.LOCK_EX)
    print("held", flush=True)
    signal.pause()
    """
    lock = place.home / "locks" / "commit.lock"
    command = [sys.executable, "-c", textwrap.dedent(code), str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.send_signal(signal.SIGSTOP)
        ran: list[int] = []
        for _ in range(2):
            with pytest.raises(EvidenceUnavailable, match=r"commit\.lock.*nothing was written"):
                ledger.run(lambda txn: ran.append(1), deadline=0.05)
        holder.kill()
        holder.wait(timeout=30)
    append(ledger)
    assert ran == []
    assert ledger.verify().size == 4
    [gap] = ledger.records(types=["recorder.gap"])
    assert gap.data["lost"] == 2
