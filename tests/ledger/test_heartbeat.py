"""Heartbeats: a writer that lives says so, and a silence that was not announced shows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

import remit
from remit.errors import UsageError
from remit.ledger import Ledger
from remit.testing import Clock, temporary
from tests.ledger.conftest import MovedClock, Place, append


@pytest.fixture
def moved() -> MovedClock:
    """A clock that stands until the test moves it."""
    return MovedClock()


@pytest.mark.requirement("R3")
def test_records_taken_out_of_the_end_of_a_writer_s_day_leave_a_silence(place: Place, moved: MovedClock) -> None:
    """A writer that beats every minute and says nothing for an hour: nobody was there, or what it said is gone."""
    ledger = place.create(clock=moved)
    ledger.keep_beating(60.0)
    append(ledger)
    moved.move(seconds=119)
    ledger.beat()
    assert ledger.silences() == []
    moved.move(hours=1)
    [silence] = ledger.silences()
    assert (silence.writer, silence.end, silence.announced) == (ledger.writer_id, None, timedelta(minutes=1))
    ledger.beat()
    [silence] = ledger.silences()
    assert (silence.start, silence.end) == (moved.now - timedelta(hours=1), moved.now)
    assert str(silence) == (
        f"no word from writer {ledger.writer_id} between 2026-11-24 09:01:59 UTC and 2026-11-24 10:01:59 UTC; "
        "it had announced one at least every 60 s"
    )
    ledger.close()
    moved.move(days=30)
    with place.open(clock=moved, writer=False) as later:
        assert later.silences() == [silence]  # who said that it stops owes no word


def test_a_writer_that_announced_nothing_may_be_silent(place: Place, moved: MovedClock) -> None:
    """No promise, no finding."""
    with place.create(clock=moved) as ledger:
        append(ledger)
        moved.move(days=3)
        append(ledger)
        assert ledger.silences() == []


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end


def _beats(ledger: Ledger) -> bool:
    return any(one.writer == ledger.writer_id for one in ledger.records(types=["recorder.heartbeat"]))


def test_a_heart_beats_by_itself_while_nothing_happens(place: Place) -> None:
    """The thread wakes when a beat is due; records of the writer put it off."""
    with place.create() as ledger:
        assert ledger.beat() is None  # a process that said nothing has nothing to keep up
        ledger.keep_beating(0.05)
        append(ledger)
        _until(lambda: len(list(ledger.records(types=["recorder.heartbeat"]))) >= 3)
        started = next(ledger.records(types=["recorder.started"]))
        assert started.data["heartbeat"] == 0.05
        ledger.verify()
    with place.open(writer=False) as ledger:
        assert [record.type for record in ledger.records()][-1] == "recorder.stopped"


def test_a_forked_child_has_a_heart_of_its_own(place: Place) -> None:
    """Once it records anything: its own writer beats, the parent's goes on."""
    with place.create() as ledger:
        ledger.keep_beating(0.05)
        append(ledger)
        child = os.fork()
        if child == 0:
            append(ledger)
            _until(lambda: _beats(ledger))
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        _until(lambda: _beats(ledger))


def test_an_app_announces_its_heartbeat(tmp_path: Path, clock: Clock) -> None:
    """60 s by default, another span or none by option; nonsense is refused."""

    def announced(name: str, **options: str) -> object:
        (tmp_path / name).mkdir()
        with temporary(tmp_path / name, clock=clock, **options) as app:
            app.record_no_grant("kb.search", {}, remit.Denied("no", code="no_grant"))
            return next(app.ledger.records(types=["recorder.started"])).data.get("heartbeat")

    assert announced("default") == 60.0
    assert announced("other", heartbeat="5m") == 300.0
    assert announced("none", heartbeat="off") is None
    for wrong in ("fast", "10ms", "0s"):
        with pytest.raises(UsageError, match="heartbeat"):
            remit.open(f"sqlite:///{tmp_path / 'wrong.db'}", heartbeat=wrong)
