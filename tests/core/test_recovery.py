"""Invariant 7: whatever dies, a reviewer can read what is left; and nothing runs without a record (invariant 2)."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

import remit
from tests.core.conftest import TRIAGE, Tool, data, types
from tests.stores import temporary, url_for

GRANTED = {**TRIAGE, "tools": {"kb.search": "any", "notes.read": "any"}}

DIES_IN_THE_TOOL = """
import os, signal, sys
import remit
app = remit.open(sys.argv[1], development=True)
session = app.session(sys.argv[2], key="shared")
def search(query):
    open(sys.argv[3], "w").close()
    os.kill(os.getpid(), signal.SIGKILL)
session.call("kb.search", {"query": "a"}, run=search, call_id="call_1", scope="run-1")
"""


def _die(url: str, grant_id: str, marker: Path) -> None:
    died = subprocess.run([sys.executable, "-c", DIES_IN_THE_TOOL, url, grant_id, str(marker)], timeout=60, check=False)
    assert died.returncode == -signal.SIGKILL
    assert marker.exists()


@pytest.mark.requirement("I7")
def test_dangling_intent_of_a_dead_writer_becomes_unknown_and_a_person_settles_it(tmp_path: Path, tool: Tool) -> None:
    """Not a guess: `unknown`, refused on re-entry, until a person says what happened."""
    with temporary(tmp_path) as app:
        grant = app.issue(GRANTED, credential="user:ravi@acme.com")
        _die(app.url, grant.id, tmp_path / "ran")
        assert data(app, "call.outcome") == []
    with temporary(tmp_path) as app:
        assert types(app).count("recorder.gap") == 0  # reading and opening recover nothing
        with app.session(grant.id, key="shared") as session, pytest.raises(remit.Denied) as caught:
            session.call("kb.search", {"query": "a"}, run=tool, call_id="call_1", scope="run-1")
        [outcome] = data(app, "call.outcome")
        app.resolve(outcome["call"], "ok", reason="the index log shows it", credential="user:bob@acme.com")
        app.verify()

        assert outcome["status"] == "unknown"
        assert caught.value.code == "outcome_unknown"
        assert tool.calls == []
        assert types(app).count("call.resolved") == 1


@pytest.mark.requirement("code:outcome_unknown")
def test_idempotent_tool_may_run_again_after_unknown(tmp_path: Path, tool: Tool) -> None:
    """The operator's catalogue says so, nobody else."""
    catalogue = {"tools": {"kb.search": {"idempotent": True, "accesses": ["read kb://all"]}}}
    granted = {**TRIAGE, "tools": {"kb.search": {"resources": "any", "other_arguments": "any"}}}
    with temporary(tmp_path, catalogue=catalogue) as app:
        grant = app.issue(granted, credential="user:ravi@acme.com")
        _die(app.url, grant.id, tmp_path / "ran")
    with temporary(tmp_path, catalogue=catalogue) as app:
        with app.session(grant.id, key="shared") as session:
            session.call("kb.search", {"query": "a"}, run=tool, call_id="call_1", scope="run-1")

        assert len(tool.calls) == 1


def test_living_writers_calls_are_never_recovered(tmp_path: Path) -> None:
    """A second process opens, lists and writes while a call of the first one runs: no false `unknown`."""
    script = (
        "import sys, remit\n"
        "app = remit.open(sys.argv[1], development=True)\n"
        "with app.session(sys.argv[2], key='other') as s:\n"
        "    s.call('notes.read', {}, run=lambda: 1)\n"
        "app.verify(); app.close()\n"
    )
    with temporary(tmp_path) as app:
        grant = app.issue(GRANTED, credential="user:ravi@acme.com")

        def slow(query: str) -> None:
            subprocess.run([sys.executable, "-c", script, app.url, grant.id], timeout=60, check=True)

        with app.session(grant, key="shared") as session:
            session.call("kb.search", {"query": "a"}, run=slow)

        assert sorted(outcome["status"] for outcome in data(app, "call.outcome")) == ["ok", "ok"]
        app.verify()


def _call_where_nothing_can_be_written(folder: Path, grant_id: str, report: Any) -> None:
    for path in folder.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    folder.chmod(0o555)
    if os.geteuid() == 0:  # root writes wherever it likes
        os.setgid(65534)
        os.setuid(65534)
    tool = Tool()
    try:
        with temporary(folder) as app:
            app.session(grant_id).open().call("kb.search", {"query": "a"}, run=tool)
        said = "nothing"
    except remit.RemitError as error:
        said = type(error).__name__
    with remit.Ledger.open(url_for(folder), writer=False) as ledger:
        verified = ledger.verify().size
    report.put((said, len(tool.calls), verified))


class TestNoRecordNoCall:
    """Wherever recording fails before the tool, the tool does not run, and the error says why."""

    @pytest.mark.requirement("I2")
    @pytest.mark.requirement("code:evidence_unavailable")
    @pytest.mark.sqlite
    @pytest.mark.parametrize("harm", ["unlinked", "replaced", "wal unlinked"])
    def test_database_file_that_is_gone_or_another(self, tmp_path: Path, tool: Tool, harm: str) -> None:
        """SQLite itself would go on and say OK."""
        with temporary(tmp_path) as app:
            grant = app.issue(GRANTED, credential="user:ravi@acme.com")
            session = app.session(grant).open()
            session.call("kb.search", {"query": "a"}, run=tool)
            database = tmp_path / "remit.db"
            if harm == "unlinked":
                database.unlink()
            elif harm == "replaced":
                shutil.copy(database, tmp_path / "copy.db")
                (tmp_path / "copy.db").replace(database)
            else:
                Path(f"{database}-wal").unlink()
            with pytest.raises(remit.EvidenceUnavailable) as caught:
                session.call("kb.search", {"query": "b"}, run=tool)

            assert caught.value.executed is False
            assert len(tool.calls) == 1

    @pytest.mark.sqlite
    def test_database_that_disappears_while_the_tool_runs_says_that_it_ran(self, tmp_path: Path) -> None:
        """Do not retry: it ran. The session takes no further call until that is settled."""
        with temporary(tmp_path) as app:
            grant = app.issue(GRANTED, credential="user:ravi@acme.com")
            session = app.session(grant).open()
            database = tmp_path / "remit.db"

            def search(query: str) -> str:
                database.rename(tmp_path / "elsewhere.db")
                return query

            with pytest.raises(remit.EvidenceUnavailable) as first:
                session.call("kb.search", {"query": "a"}, run=search)
            tool = Tool()
            with pytest.raises(remit.EvidenceUnavailable) as second:
                session.call("notes.read", {}, run=tool)
            (tmp_path / "elsewhere.db").rename(database)
            session.call("notes.read", {}, run=tool)

            assert (first.value.executed, second.value.executed) == (True, False)
            assert "do not call it again" in str(first.value)
            assert len(tool.calls) == 1
            assert [outcome["status"] for outcome in data(app, "call.outcome")] == ["ok", "ok"]

    @pytest.mark.sqlite
    def test_read_only_database(self) -> None:
        """Not even an intent can be written, and the error says why."""
        folder = Path(tempfile.mkdtemp())  # pytest's own folder belongs to one user; this test becomes another
        try:
            with temporary(folder) as app:
                grant = app.issue(GRANTED, credential="user:ravi@acme.com")
            fork = multiprocessing.get_context("fork")
            report = fork.Queue()
            child = fork.Process(target=_call_where_nothing_can_be_written, args=(folder, grant.id, report))
            child.start()
            said, ran, verified = report.get(timeout=60)
            child.join(60)
        finally:
            shutil.rmtree(folder)

        assert said == "EvidenceUnavailable"
        assert ran == 0
        assert verified > 0  # an auditor needs no write permission

    def test_clock_that_goes_far_back(self, tmp_path: Path, tool: Tool) -> None:
        """A clock behind the ledger's last record proves nothing."""
        from datetime import timedelta

        from remit.testing import Clock

        clock = Clock()
        with temporary(tmp_path, clock=clock) as app:
            grant = app.issue(GRANTED, credential="user:ravi@acme.com")
        early = Clock(clock.now - timedelta(hours=1))
        with temporary(tmp_path, clock=early) as app, pytest.raises(remit.EvidenceUnavailable, match="clock"):
            app.session(grant.id).open().call("kb.search", {"query": "a"}, run=tool)

        assert tool.calls == []


@pytest.mark.requirement("I7")
def test_call_of_a_process_that_died_meanwhile_is_unknown_to_one_that_lives_on(tmp_path: Path, tool: Tool) -> None:
    """A server that has recovered once does not say for ever that the call runs in another process."""
    with temporary(tmp_path) as app:
        grant = app.issue(GRANTED, credential="user:ravi@acme.com")
        with app.session(grant.id, key="shared") as session:
            _die(app.url, grant.id, tmp_path / "ran")
            with pytest.raises(remit.Denied) as caught:
                session.call("kb.search", {"query": "a"}, run=tool, call_id="call_1", scope="run-1")
        [outcome] = data(app, "call.outcome")
        app.resolve(outcome["call"], "not_run", reason="the index log shows nothing", credential="user:bob@acme.com")
        with app.session(grant.id, key="shared") as session:
            assert session.call("kb.search", {"query": "a"}, run=tool, call_id="call_1", scope="run-1") == "done"
        app.verify()

        assert outcome["status"] == "unknown"
        assert "remit call resolve" in caught.value.reason
        assert types(app).count("recorder.gap") == 1


@pytest.mark.requirement("I7")
def test_call_that_ran_while_its_recorder_stopped_becomes_unknown(tmp_path: Path) -> None:
    """A writer that stopped in good order can leave an intent too: the tool outlived the app."""
    app = remit.open(url_for(tmp_path), development=True)
    grant = app.issue(GRANTED, credential="user:ravi@acme.com")
    session = app.session(grant, key="shared")
    with pytest.raises(remit.EvidenceUnavailable):
        session.call("kb.search", {"query": "a"}, run=lambda query: app.close())

    with temporary(tmp_path) as reopened:
        with reopened.session(grant.id, key="shared"):
            pass
        reopened.verify()
        assert [outcome["status"] for outcome in data(reopened, "call.outcome")] == ["unknown"]


def test_call_that_a_person_says_did_not_run_gets_its_limits_back(tmp_path: Path, tool: Tool) -> None:
    """Only executed calls spend, also when it takes a person to say that this one was not."""
    limits = {"calls": 1, "sum": {"argument": "amount", "max": 100}}
    spend = {"arguments": {"query": "any", "amount": {"min": 0, "max": 80}}, "limits": limits}
    dies = DIES_IN_THE_TOOL.replace("def search(query)", "def search(query, amount)")
    dies = dies.replace('{"query": "a"}', '{"query": "a", "amount": 80}')
    with temporary(tmp_path) as app:
        grant = app.issue({**GRANTED, "tools": {"kb.search": spend}}, credential="user:ravi@acme.com")
        subprocess.run([sys.executable, "-c", dies, app.url, grant.id, str(tmp_path / "ran")], timeout=60, check=False)
        with app.session(grant.id, key="shared") as session:
            arguments = {"query": "a", "amount": 80}
            with pytest.raises(remit.Denied, match="limit"):
                session.call("kb.search", arguments, run=tool)
            [outcome] = data(app, "call.outcome")
            app.resolve(outcome["call"], "not_run", reason="nothing was paid", credential="user:bob@acme.com")
            assert session.call("kb.search", arguments, run=tool) == "done"
            with pytest.raises(remit.Denied, match="limit"):
                session.call("kb.search", arguments, run=tool)
    assert len(tool.calls) == 1
