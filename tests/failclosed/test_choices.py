"""What a deployment may choose, and what is counted: weaker durability, sequencers that are dead, records given up."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

import remit
from remit.cli import app as command_line
from remit.errors import UsageError
from remit.ledger import Ledger
from remit.ledger.notes import Cosigner
from remit.ledger.sequencer import LEADER
from remit.review.report import report
from remit.testing import Clock, temporary
from tests.failclosed.failures import Place, disk_full
from tests.failclosed.test_table import GRANT, Notes
from tests.postgres import Server, server

_numbers = itertools.count()


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    """The tool."""
    return Notes(tmp_path / "traces")


class TestRelaxedDurability:
    """Chosen, recorded, and shown wherever somebody looks."""

    pytestmark = pytest.mark.requirement("durability")

    def test_the_default_waits_for_the_disk(self, tmp_path: Path) -> None:
        """SQLite's synchronous=FULL, and nothing is said of it."""
        with temporary(tmp_path) as app:
            app.issue(GRANT, credential="user:ravi@acme.com")
            assert _synchronous(app) == 2
            assert list(app.ledger.records(types=["recorder.degraded"])) == []
            assert app.verify().relaxed == 0

    def test_relaxed_is_recorded_and_shown(self, tmp_path: Path, notes: Notes) -> None:
        """By the writer as it begins, in the configuration, by verify, and by the report of the session."""
        with temporary(tmp_path, durability="relaxed") as app:
            with app.session(app.issue(GRANT, credential="user:ravi@acme.com")) as session:
                session.call("notes.write", {"text": "a"}, run=notes)
            assert _synchronous(app) == 1
            [degraded] = app.ledger.records(types=["recorder.degraded"])
            [changed] = app.ledger.records(types=["config.changed"])
            assert (degraded.data["durability"], degraded.data["why"]) == ("relaxed", "chosen")
            assert changed.data["durability"] == "relaxed"
            assert app.verify().relaxed == 1
            assert report(app.deployment, session.id).as_dict()["durability"] == "relaxed"
            session_id = session.id
        url = f"sqlite:///{tmp_path / 'remit.db'}"
        said = CliRunner().invoke(command_line, ["verify", "--url", url])
        assert "1 writer recorded with relaxed durability" in " ".join(said.output.split())
        shown = CliRunner().invoke(command_line, ["session", "show", session_id, "--url", url])
        assert "did not wait for the disk" in " ".join(shown.output.split())

    def test_going_back_to_full_is_recorded_too(self, tmp_path: Path) -> None:
        """The configuration changed, and the next writer says nothing of being weaker."""
        for durability in ("relaxed", "full"):
            with temporary(tmp_path, durability=durability) as app:
                app.issue(GRANT, credential="user:ravi@acme.com")
        with Ledger.open(f"sqlite:///{tmp_path / 'remit.db'}", writer=False) as ledger:
            changes = [record.data.get("durability") for record in ledger.records(types=["config.changed"])]
            assert changes == ["relaxed", None]
            assert len(list(ledger.records(types=["recorder.degraded"]))) == 1

    def test_the_environment_may_say_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """For proxies, which no program opens."""
        monkeypatch.setenv("REMIT_DURABILITY", "relaxed")
        with temporary(tmp_path) as app:
            assert app.ledger.durability == "relaxed"

    def test_another_word_is_refused(self, tmp_path: Path) -> None:
        """Nothing is guessed."""
        with pytest.raises(UsageError, match="expected full or relaxed"), temporary(tmp_path, durability="fast"):
            pass

    def test_it_goes_with_no_witnesses(self, tmp_path: Path) -> None:
        """A head that was cosigned must not be lost."""
        key = Cosigner("w1.example.com", Ed25519PrivateKey.generate()).key
        with temporary(tmp_path) as app:
            policy = app.ledger.home / "witness.policy"
        policy.write_text(f"witness w1 {key.vkey} http://127.0.0.1:1\nquorum w1\n", encoding="utf-8")
        with pytest.raises(UsageError, match="goes with no witnesses"), temporary(tmp_path, durability="relaxed"):
            pass

    def test_on_a_server_only_appending_does_not_wait(self, tmp_path: Path) -> None:
        """What is signed is on disk all the same."""
        place = _database(tmp_path, server())
        with remit.open(place.url, home=place.home, development=True, durability="relaxed") as app:
            app.issue(GRANT, credential="user:ravi@acme.com")
            assert len(list(app.ledger.records(types=["recorder.degraded"]))) == 1
            assert app.verify().relaxed == 1


def _synchronous(app: remit.App) -> int:
    """What the writer's own connection is set to."""
    found: list[int] = []

    def look(txn: object) -> None:
        found.append(txn._batch.cursor.execute("PRAGMA synchronous").fetchone()[0])  # type: ignore[attr-defined]

    app.ledger.run(look)
    return found[0]


def _database(folder: Path, on: Server) -> Place:
    name = f"choices{os.getpid()}x{next(_numbers)}"
    on.execute(f"CREATE DATABASE {name}")
    return Place(folder, Clock(), on, name)


@pytest.fixture
def lonely(tmp_path: Path) -> Place:
    """A database on the shared server."""
    return _database(tmp_path, server())


@pytest.mark.requirement("I2")
@pytest.mark.requirement("R10")
def test_with_the_sequencer_dead_a_call_that_waits_for_it_does_not_run(
    lonely: Place, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its intent is durable and has no index, so it ends `not_run`; once a sequencer leads again, calls run."""
    monkeypatch.setattr("remit.durability.PATIENCE", 1.0)
    with remit.open(lonely.url, home=lonely.home, development=True, wait="sequenced") as app:
        session = app.session(app.issue(GRANT, credential="user:ravi@acme.com"), key="notes").open()
        session.call("notes.write", {"text": "before"}, run=notes)
        with _leading(lonely), pytest.raises(remit.EvidenceUnavailable, match="has to be sequenced") as refused:
            session.call("notes.write", {"text": "during"}, run=notes)
        assert refused.value.executed is False
        assert notes.ran == 1
        monkeypatch.setattr("remit.durability.PATIENCE", 30.0)
        session.call("notes.write", {"text": "after"}, run=notes)
        assert notes.ran == 2
        assert [r.data["status"] for r in app.records() if r.type == "call.outcome"] == ["ok", "not_run", "ok"]
        app.verify()


class _leading:  # noqa: N801 - a block
    """Somebody else holds the place of the sequencer, and does nothing in it."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._connection: psycopg.Connection[object] | None = None

    def __enter__(self) -> None:
        self._connection = self._place.server.connect(self._place.name)
        where = f"datname = '{self._place.name}' AND application_name = 'remit sequencer'"
        while True:
            self._place.server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {where}")
            row = self._connection.execute("SELECT pg_try_advisory_lock(%s)", (LEADER,)).fetchone()
            if row == (True,):
                return

    def __exit__(self, *_: object) -> None:
        assert self._connection is not None
        self._connection.close()


class TestGaps:
    """What was given up is counted, and the count is a record."""

    pytestmark = pytest.mark.requirement("gap")

    def test_each_refusal_is_counted_and_told_once(self, tmp_path: Path, notes: Notes) -> None:
        """The count only grows; each record says how many are new, and since when."""
        clock = Clock()
        place = Place(tmp_path, clock, None)
        with temporary(tmp_path, clock=clock) as app:
            session = app.session(app.issue(GRANT, credential="user:ravi@acme.com"), key="notes").open()
            for times in (2, 1):
                with disk_full(place):
                    for _ in range(times):
                        with pytest.raises(remit.EvidenceUnavailable):
                            session.call("notes.write", {"text": "during"}, run=notes)
                session.call("notes.write", {"text": "after"}, run=notes)
            gaps = [record.data for record in app.ledger.records(types=["recorder.gap"])]
            assert [(gap["lost"], gap["total"]) for gap in gaps] == [(2, 2), (1, 3)]
            assert app.verify().lost == 3
        said = CliRunner().invoke(command_line, ["verify", "--url", f"sqlite:///{tmp_path / 'remit.db'}", "--json"])
        assert json.loads(said.output)["lost"] == 3

    def test_nothing_is_told_where_nothing_was_lost(self, tmp_path: Path, notes: Notes) -> None:
        """A refusal by the grant is a record, not a gap."""
        with temporary(tmp_path) as app, app.session(app.issue(GRANT, credential="user:ravi@acme.com")) as session:
            with pytest.raises(remit.Denied):
                session.call("shell.run", {}, run=notes)
            assert list(app.ledger.records(types=["recorder.gap"])) == []
