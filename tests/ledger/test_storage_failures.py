"""Storage that fails: what cannot be made durable is refused with a sentence, and nothing else is harmed."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from remit.errors import EvidenceUnavailable, UsageError, VerificationError
from remit.ledger import Ledger
from remit.ledger.merkle import Frontier, leaf_hash
from tests.ledger.conftest import MovedClock, Place, append
from tests.ledger.test_processes import forking, in_child

pytestmark = [pytest.mark.sqlite, pytest.mark.requirement("code:evidence_unavailable"), pytest.mark.requirement("R10")]


def _aside(path: Path) -> Callable[[], None]:
    """Take a file away; what is returned puts it back."""
    other = path.with_name(path.name + ".aside")
    path.rename(other)

    def back() -> None:
        other.replace(path)

    return back


def _replaced(path: Path) -> Callable[[], None]:
    """Put a copy in the place of a file; what is returned puts the first one back."""
    back = _aside(path)
    shutil.copy(path.with_name(path.name + ".aside"), path)
    return back


@pytest.mark.parametrize("change", [_aside, _replaced])
@pytest.mark.parametrize(
    "name", ["evidence.db", "evidence.db-wal", "evidence.db-shm", "evidence.db.remit/locks/commit.lock"]
)
def test_files_that_are_deleted_or_replaced_while_open_stop_the_recording(
    place: Place, name: str, change: Callable[[Path], Callable[[], None]]
) -> None:
    """SQLite would go on and report success. We say which file it was; once it is back, recording goes on."""
    ledger = place.create()
    append(ledger, n=1)
    path = place.database.parent / name
    back = change(path)
    for _ in range(2):
        with pytest.raises(EvidenceUnavailable, match=path.name):
            append(ledger, n=2)
    back()
    assert append(ledger, n=3).index == 3
    assert [record.data["n"] for record in ledger.records(types=["auth.succeeded"])] == [1, 3]
    [gap] = ledger.records(types=["recorder.gap"])
    assert (gap.data["lost"], gap.data["total"]) == (2, 2)
    ledger.verify()
    ledger.close()


def test_a_database_that_is_deleted_for_good_does_not_keep_the_ledger_from_closing(place: Place) -> None:
    """Closing says in the log of the program what it could not record; opening says that there is nothing."""
    ledger = place.create()
    append(ledger)
    place.database.unlink()
    ledger.close()
    with pytest.raises(VerificationError, match="no ledger"):
        place.open()


def test_an_older_copy_put_back_is_refused(place: Place) -> None:
    """A backup restored over the ledger lacks the head that was seen when it was closed."""
    ledger = place.create()
    append(ledger)
    ledger.close()
    shutil.copy(place.database, place.database.with_suffix(".backup"))
    with place.open() as again:
        append(again)
    shutil.copy(place.database.with_suffix(".backup"), place.database)
    with pytest.raises(VerificationError, match="taken back"):
        place.open()


DISK_FULL = """
import resource, sys, threading
from pathlib import Path
from remit.errors import EvidenceUnavailable
from remit.ledger import Ledger
from remit.ledger.merkle import Frontier, leaf_hash

ledger = Ledger.open(sys.argv[1])
def draft(size):
    return ledger.draft("auth.succeeded", data={}, private={"text": "x" * size})
def job(size):
    made = draft(size)
    return lambda txn: txn.append(made).index
print(ledger.run(job(10)))
log = Path(sys.argv[1].removeprefix("sqlite:///") + "-wal")
resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + 400_000,) * 2)
entered, release = threading.Event(), threading.Event()
def hold(txn):
    entered.set()
    release.wait(10)
ledger.submit(hold)
entered.wait(10)
futures = [ledger.submit(job(size)) for size in (10, 900_000, 20)]
release.set()
for future in futures:
    try:
        print(future.result())
    except EvidenceUnavailable as error:
        print(error)
ledger.close()
"""


@pytest.mark.requirement("I2")
def test_a_full_disk_refuses_what_does_not_fit_and_keeps_its_neighbours(place: Place) -> None:
    """In one batch, one job is too large for the space that is left: it alone fails, the others are durable."""
    place.create().close()
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(DISK_FULL), place.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [lines[0], lines[1], lines[3]] == ["1", "2", "4"]  # 3 says that something was lost
    assert "cannot be written" in lines[2]
    with place.open() as ledger:
        assert [record.type for record in ledger.records()][-1] == "recorder.stopped"
        assert ledger.verify().size == 6
        assert ledger.verify().lost == 1


@forking
def test_a_read_only_database_refuses(place: Place, ledger: Ledger) -> None:
    """Without write permission nothing is recorded, and reading still works."""
    append(ledger)
    ledger.close()
    place.database.chmod(0o444)

    def work() -> None:
        with place.open() as again:
            assert sum(1 for _ in again.records()) == 3
            if os.geteuid() == 0:
                os.seteuid(65534)  # root may write to anything
            with pytest.raises(EvidenceUnavailable, match=r"readonly|unable to open|ermission"):
                append(again)
            os.seteuid(os.getuid())
        os._exit(0)

    assert in_child(work) == 0


@forking
def test_a_copy_on_read_only_media_is_read_and_verified(place: Place, ledger: Ledger) -> None:
    """An auditor's copy: nothing can be written beside it, and it verifies all the same."""
    append(ledger)
    ledger.close()
    folder = Path(tempfile.mkdtemp())  # pytest's own folder belongs to one user
    copy = Place(folder)
    shutil.copy(place.database, folder)
    shutil.copytree(place.home, copy.home)
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)

    def work() -> None:
        if os.geteuid() == 0:
            os.setuid(65534)  # root may write to anything
        with copy.open(writer=False) as reader:
            assert reader.verify().size == 3
            assert [record.index for record in reader.records()] == [0, 1, 2]
            assert reader.dead_writers() == []

    try:
        assert in_child(work) == 0
        assert {path.name for path in folder.iterdir()} == {copy.database.name, copy.home.name}
    finally:
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)
        shutil.rmtree(folder)


def test_another_program_that_holds_the_database_refuses_in_time(place: Place, ledger: Ledger) -> None:
    """A forgotten transaction of a database browser: refused at the deadline, never run later, then fine again."""
    append(ledger)
    ran: list[int] = []
    with closing(sqlite3.connect(place.database, isolation_level=None)) as browser:
        browser.execute("BEGIN IMMEDIATE")
        with pytest.raises(EvidenceUnavailable, match="nothing was written"):
            ledger.run(lambda txn: ran.append(1), deadline=0.05)
        browser.execute("ROLLBACK")
    append(ledger)
    assert ran == []
    assert ledger.verify().size == 4


def test_a_ledger_taken_back_under_a_running_writer_is_refused(place: Place, ledger: Ledger) -> None:
    """Rows deleted in place, heads and all: the writer notices before it appends, and does not sign that history."""
    append(ledger)
    append(ledger)
    frontier = Frontier()
    for (body,) in place.query("SELECT body FROM record WHERE rid < 2 ORDER BY rid"):
        frontier.append(leaf_hash(body))
    place.tamper(
        "DELETE FROM record WHERE rid > 1",
        "DELETE FROM leaf WHERE idx > 1",
        "DELETE FROM checkpoint WHERE size > 2",
        f"UPDATE head SET size = 2, frontier = x'{frontier.to_bytes().hex()}'",
    )
    with pytest.raises(EvidenceUnavailable, match="took it back"):
        append(ledger)


def test_a_head_that_was_changed_is_not_signed(place: Place, ledger: Ledger) -> None:
    """A writer continues only the head that was signed last."""
    append(ledger)
    append(ledger)
    for change, match in [
        ("frontier = zeroblob(64)", "not the last one that was signed"),
        ("frontier = zeroblob(1)", "damaged"),
        ("frontier = 'text'", "damaged"),
        ("size = -1", "damaged"),
    ]:
        place.tamper(f"UPDATE head SET {change}")
        with pytest.raises(EvidenceUnavailable, match=match):
            append(ledger)


# -- time


def test_a_clock_far_behind_the_log_refuses(place: Place) -> None:
    """More than five minutes before the newest record, whoever wrote it: nothing is written until it is right."""
    clock = MovedClock()
    with place.create(clock=clock) as ledger:
        append(ledger)
        clock.move(minutes=-6)
        with pytest.raises(EvidenceUnavailable, match="set the clock right"):
            append(ledger)
        with place.open(clock=clock) as other, pytest.raises(EvidenceUnavailable, match="set the clock right"):
            append(other)
        clock.move(minutes=2)
        append(ledger)
        with place.open(clock=clock) as other:
            append(other)
            assert other.verify().writers == 2


def test_a_writers_time_never_goes_back(place: Place) -> None:
    """A small step back of the clock stands still in the log."""
    clock = MovedClock()
    with place.create(clock=clock) as ledger:
        times = []
        for minutes in (0, 1, -2, 0.5, 3):
            clock.move(minutes=minutes)
            times.append(append(ledger).time)
        assert times == sorted(times)
        assert times[1] == times[2] == times[3]
        ledger.verify()


# -- making and opening


def test_a_ledger_is_made_once(place: Place) -> None:
    """A second `create` is refused; `open_or_create` opens."""
    place.create().close()
    with pytest.raises(UsageError, match="open it instead"):
        place.create()
    with Ledger.open_or_create(place.url) as ledger:
        append(ledger)
    assert {path.name: oct(path.stat().st_mode)[-3:] for path in place.home.glob("*.*")} == {
        "log.key": "600",
        "kek.key": "600",
        "index.key": "600",
        "pin.json": "600",
    }
    assert oct(place.home.stat().st_mode)[-3:] == "700"


def test_a_creation_that_was_interrupted_is_finished(place: Place) -> None:
    """Keys and an empty database without a pin are what a crash leaves; records without a pin are something else."""
    place.create().close()
    (place.home / "pin.json").unlink()
    key = (place.home / "log.key").read_bytes()
    with place.create() as ledger:
        append(ledger)
    assert (place.home / "log.key").read_bytes() == key
    (place.home / "pin.json").unlink()
    with pytest.raises(UsageError, match="restore its home"):
        place.create()
    with pytest.raises(VerificationError, match="no pin"):
        Ledger.open_or_create(place.url)


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite://", "sqlite:///:memory:", "sqlite:///a?b", "x"])
def test_a_url_that_names_no_file_is_refused(url: str) -> None:
    """A ledger in memory would be no evidence."""
    with pytest.raises(UsageError, match="sqlite:///PATH"):
        Ledger.create(url)


def test_there_is_nothing_to_open(place: Place) -> None:
    """Opening never makes a ledger by accident."""
    with pytest.raises(UsageError, match="remit init"):
        place.open()
    assert not place.database.exists()
    assert not place.home.exists()


@pytest.mark.parametrize("origin", ["a b", "a+b", "", "a\nb"])
def test_an_origin_that_no_checkpoint_can_carry_is_refused(place: Place, origin: str) -> None:
    """Before anything is made."""
    with pytest.raises(VerificationError, match="not a log's name"):
        Ledger.create(place.url, origin=origin)
    assert not place.home.exists()


def test_a_log_key_that_was_exchanged_is_refused(place: Place, tmp_path: Path) -> None:
    """Signing with another key than the pinned one would only produce heads that nobody accepts."""
    place.create().close()
    other = Place(tmp_path / "other")
    other.database.parent.mkdir()
    other.create().close()
    shutil.copy(other.home / "log.key", place.home / "log.key")
    with pytest.raises(VerificationError, match="not the one"):
        place.open()
    (place.home / "log.key").write_text("nonsense")
    with pytest.raises(UsageError, match=r"log\.key"):
        place.open()
    with place.open(writer=False) as reader:
        assert reader.verify().size == 0
