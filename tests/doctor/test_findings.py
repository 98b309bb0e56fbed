"""`remit doctor`: each thing that endangers recording, its proof or the gate is found, with what to do."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any, ClassVar

import pytest

import remit
from remit.doctor import Finding, examine, reachable
from remit.testing import Clock, temporary
from tests.core.conftest import TRIAGE, Tool

pytestmark = pytest.mark.requirement("doctor")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this account is looked at."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def grant(app: remit.App) -> remit.Grant:
    """The triage grant."""
    return app.issue(TRIAGE, credential="user:ravi@acme.com")


def found(app: remit.App) -> dict[str, Finding]:
    """What the doctor says, by what it is about."""
    return {one.what: one for one in examine(app)}


def test_a_fresh_ledger_fails_nothing(app: remit.App, grant: remit.Grant) -> None:
    """What is only worth knowing says so."""
    said = found(app)
    assert {one.what for one in said.values() if one.state == "fail"} == set()
    assert said["durability"].said.startswith("full")
    assert said["backlog"].state == "ok"
    assert said["witnesses"].state == "warn"


def test_everything_that_is_not_ok_says_what_to_do(app: remit.App, grant: remit.Grant, clock: Clock) -> None:
    """A finding without a remedy helps nobody."""
    app.session(grant, key="left").open()
    clock.forward(days=400)
    for one in examine(app):
        assert one.state == "ok" or one.do, one


class TestSqlite:
    """The WAL-reset bug matters where several processes write."""

    def test_several_processes_on_an_old_version_are_told(
        self, app: remit.App, grant: remit.Grant, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two writers at once, SQLite 3.40."""
        monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 40, 1))
        assert found(app)["SQLite"].state == "ok"
        with remit.open(app.url, development=True, clock=app.ledger.now) as second:
            second.issue({**TRIAGE, "task": "Another"}, credential="user:ravi@acme.com")
            said = found(app)["SQLite"]
        assert (said.state, "3.51.3" in said.said) == ("warn", True)

    def test_a_mended_version_is_ok(self, app: remit.App, grant: remit.Grant, monkeypatch: pytest.MonkeyPatch) -> None:
        """3.51.3 and later."""
        monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 3))
        with remit.open(app.url, development=True, clock=app.ledger.now) as second:
            second.issue({**TRIAGE, "task": "Another"}, credential="user:ravi@acme.com")
            assert found(app)["SQLite"].state == "ok"


class TestSessions:
    """That nobody closed, that nobody uses."""

    def test_past_the_end_of_their_grant_are_told(self, app: remit.App, grant: remit.Grant, clock: Clock) -> None:
        """They are closed by the next one that opens; until then they count as open."""
        session = app.session(grant, key="left").open()
        clock.forward(hours=1)
        assert session.id in found(app)["sessions never closed"].said

    def test_without_a_record_for_a_day_are_told(self, app: remit.App, clock: Clock) -> None:
        """Under a grant that goes on."""
        long = app.issue({**TRIAGE, "expires_in": "7d"}, credential="user:ravi@acme.com")
        session = app.session(long, key="left").open()
        clock.forward(hours=25)
        assert session.id in found(app)["sessions left open"].said

    def test_that_are_suspended_need_a_person(self, app: remit.App) -> None:
        """Nothing runs in them until somebody looks."""
        strict = app.issue({**TRIAGE, "limits": {"denied": 1}}, credential="user:ravi@acme.com")
        session = app.session(strict, key="loops").open()
        for _ in range(3):
            with pytest.raises(remit.Denied):
                session.call("shell.run", {}, run=Tool())
        assert found(app)["suspended sessions"].state == "fail"


class TestKey:
    """The log's key does not sign for ever."""

    @pytest.mark.parametrize(("days", "state"), [(10, "ok"), (340, "warn"), (370, "fail")])
    def test_near_its_rotation_is_told(
        self, app: remit.App, grant: remit.Grant, clock: Clock, days: int, state: str
    ) -> None:
        """A year, and a month's notice."""
        clock.forward(days=days)
        assert found(app)["log key"].state == state


def test_tools_with_another_definition_are_told(app: remit.App, grant: remit.Grant) -> None:
    """They are refused until a person accepts them."""
    with app.session(grant) as session:
        session.call("kb.search", {}, run=Tool(), definition=remit.ToolDefinition("kb.search", {}, "Search"))
        with pytest.raises(remit.Denied):
            session.call("kb.search", {}, run=Tool(), definition=remit.ToolDefinition("kb.search", {}, "Other"))
    assert found(app)["tools"].state == "fail"


def test_records_that_were_given_up_are_told(app: remit.App, grant: remit.Grant, tmp_path: Path) -> None:
    """Once the disk came back."""
    database = tmp_path / "remit.db"
    database.rename(tmp_path / "aside")
    with pytest.raises(remit.EvidenceUnavailable):
        app.session(grant).open()
    (tmp_path / "aside").rename(database)
    app.session(grant).open()
    assert found(app)["gaps"].state == "warn"


class TestOutsideTheGate:
    """What agents can reach without Remit, as far as configuration tells."""

    PROXIED: ClassVar[dict[str, Any]] = {
        "command": "remit",
        "args": ["mcp", "proxy", "--name", "git", "--", "mcp-server-git"],
    }

    @pytest.mark.requirement("R11")
    @pytest.mark.parametrize(
        "entry",
        [
            {"command": "mcp-server-git", "args": []},
            {"command": "uvx", "args": ["mcp-server-git"]},
            {"command": "npx", "args": ["-y", "server", "remit", "mcp", "proxy"]},
            {"command": "bash", "args": ["-c", "remit mcp proxy; mcp-server-git"]},
            {"command": "remit", "args": ["mcp"]},
            {"command": "remit-mcp", "args": ["mcp", "proxy"]},
            {"url": "https://tools.acme.com/mcp?key=secret"},
            {},
        ],
        ids=str,
    )
    def test_a_server_that_is_not_behind_the_proxy_is_told(self, tmp_path: Path, entry: dict[str, Any]) -> None:
        """Whatever is not understood counts as reachable, and no secret of a URL is shown."""
        file = tmp_path / ".mcp.json"
        file.write_text(json.dumps({"mcpServers": {"git": self.PROXIED, "other": entry}}), encoding="utf-8")
        [one] = reachable.look(None, [file])
        assert (one.state, "other" in one.said, "secret" in one.said) == ("fail", True, False)

    @pytest.mark.parametrize(
        "entry",
        [
            PROXIED,
            {**PROXIED, "command": "/opt/venv/bin/remit"},
            {"command": "uvx", "args": ["--from", "remit[mcp]", "remit", "mcp", "proxy", "--", "x"]},
            {"command": "python3.11", "args": ["-m", "remit", "mcp", "proxy", "--", "x"]},
        ],
        ids=str,
    )
    def test_a_server_behind_the_proxy_is_ok(self, tmp_path: Path, entry: dict[str, Any]) -> None:
        """Under its own name, or through a launcher."""
        file = tmp_path / ".mcp.json"
        file.write_text(json.dumps({"servers": {"git": entry}}), encoding="utf-8")
        assert [one.state for one in reachable.look(None, [file])] == ["ok"]

    def test_a_file_of_the_working_folder_or_the_account_is_found(self, tmp_path: Path) -> None:
        """Also servers of one project in a client's own file."""
        Path(".mcp.json").write_text(json.dumps({"mcpServers": {"a": {"command": "x"}}}), encoding="utf-8")
        home = tmp_path / "home"
        home.mkdir()
        tree = {"projects": {"/srv": {"mcpServers": {"b": {"command": "y"}}}}}
        (home / ".claude.json").write_text(json.dumps(tree), encoding="utf-8")
        said = " ".join(one.said for one in reachable.look(None))
        assert "the server a " in said
        assert "the server b " in said

    def test_a_file_that_cannot_be_read_is_told(self, tmp_path: Path) -> None:
        """Nobody can say what it holds."""
        file = tmp_path / "mcp.json"
        file.write_text("{", encoding="utf-8")
        assert [one.state for one in reachable.look(None, [file])] == ["warn"]

    def test_tools_that_were_listed_and_never_called_are_told(self, app: remit.App, grant: remit.Grant) -> None:
        """An agent that uses them all the same goes past the gate."""
        from remit import pins

        listed = remit.ToolDefinition("git.push", {"type": "object"}, "Push")
        app.ledger.run(lambda txn: pins.note_listed(app.deployment, txn, listed, accept_new=True))
        assert "git.push" in found(app)["tools never called"].said


@pytest.mark.requirement("durability")
def test_relaxed_durability_is_told(tmp_path: Path) -> None:
    """As long as a writer that chose it runs; afterwards that it was so."""
    with temporary(tmp_path, durability="relaxed") as app:
        app.issue(TRIAGE, credential="user:ravi@acme.com")
        assert found(app)["durability"].state == "warn"
    with temporary(tmp_path) as app:
        said = found(app)["durability"]
        assert said.state == "ok"
        assert "was relaxed" in said.said
