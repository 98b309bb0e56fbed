"""What processes, servers and hosts do that go away, one at a time: found by the chaos runs, kept here."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import remit
from remit.burying import Burying
from remit.ledger import lease
from remit.testing import temporary
from tests.postgres import Server

GRANT = {
    "task": "Try",
    "principal": "user:ravi@acme.com",
    "agent": "spiffe://acme.com/agents/chaos",
    "expires_in": "20h",
    "tools": {"crm.note": "any"},
}


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    """A server that these tests may kill."""
    started = Server()
    yield started
    started.remove()


@pytest.fixture
def opened(own: Server, tmp_path: Path) -> Iterator[remit.App]:
    """An app on that server."""
    own.execute(f"CREATE DATABASE {_name(tmp_path)}")
    with temporary(tmp_path, url=own.url(_name(tmp_path)), home=tmp_path / "home") as app:
        yield app


def _name(folder: Path) -> str:
    return "d" + folder.name.replace("-", "_").lower()


@pytest.mark.requirement("chaos:away")
def test_a_server_that_is_away_is_unavailable_evidence_and_not_broken_evidence(own: Server, opened: remit.App) -> None:
    """Nothing is known about a ledger that cannot be reached: nobody may read that as a finding of tampering."""
    grant = opened.issue(GRANT, credential="user:olga@acme.com")
    own.stop(signal.SIGQUIT)
    try:
        for what in (
            lambda: opened.session(grant).open(),
            lambda: list(opened.records()),
            opened.verify,
            lambda: remit.open(opened.url, development=True, home=opened.ledger.home),
        ):
            with pytest.raises(remit.EvidenceUnavailable, match=r"cannot be (read|written)"):
                what()
    finally:
        own.start()
    with opened.session(grant) as session:  # although the connection that was open is lost
        assert session.call("crm.note", {}, run=lambda: "noted") == "noted"


@pytest.mark.requirement("chaos:bury")
@pytest.mark.requirement("I7")
def test_who_runs_on_buries_who_died_on_another_host(
    own: Server, opened: remit.App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer of another host is dead once it was gone for a while, which takes somebody who looks more than once."""
    monkeypatch.setattr(lease, "GRACE", 1e-9)
    grant = opened.issue(GRANT, credential="user:olga@acme.com")
    session = opened.session(grant).open()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:  # pragma: no cover - it is killed

        def hang() -> None:
            os.write(writing, b"!")
            signal.pause()

        opened.session(grant).call("crm.note", {}, run=hang)
    assert os.read(reading, 1) == b"!"
    database = opened.url.partition("@/")[2].partition("?")[0]
    own.execute("UPDATE writer SET host = 'elsewhere' WHERE state = 'running'", database)
    burying = opened._burying
    assert isinstance(burying, Burying)
    try:
        burying.look()
        assert _states(own, database) == ["running"]  # it lives, and its connections say so
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    while own.execute("SELECT 1 FROM pg_stat_activity WHERE application_name = 'remit writer' OFFSET 1"):
        pass  # until the server has seen it
    for _ in range(2):
        burying.look()
    assert _states(own, database) == ["unknown"]
    session.close("done")


def _states(own: Server, database: str) -> list[str]:
    return [state for (state,) in own.execute("SELECT state FROM calls", database)]
