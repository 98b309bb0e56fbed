"""Attacks on Remit itself through what a tool may do: its command line, and its database by way of other databases."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import pytest

from remit.authority.guardrails import OwnFiles
from remit.resources.access import Access
from remit.resources.catalogue import Catalogue
from tests.authority.granting import view

DATABASE = "/srv/remit.db"
OWN = OwnFiles([DATABASE, f"{DATABASE}.remit"])
REMITS = ["remit", "REMIT", "Remit"]
CATALOGUE = Catalogue.load(
    {
        "tools": {
            "dev.shell": {
                "accesses": ["{command}"],
                "kinds": {"command": "shell"},
                "base": "/work",
                "programs": [*REMITS, "python", "python3.12", "uv", "uvx", "poetry", "pipx", "pytest", "make"],
            },
            "any.shell": {
                "accesses": ["{command}"], "kinds": {"command": "shell"}, "base": "/work", "programs": "any",
            },
            "db.query": {
                "accesses": ["{sql}"], "kinds": {"sql": "sql"}, "dialect": "sqlite", "base": "sqlite://app",
            },
            "db.open": {"accesses": ["read sqlite://{path}"], "kinds": {"path": "path"}},
            "os.run": {"accesses": ["run program://{program}"]},
        }
    }
)  # fmt: skip

STARTING = [
    "remit approve a-1",
    "REMIT approve a-1",
    "/usr/local/bin/remit approve a-1",
    "./remit approve a-1",
    "/opt/venv/bin/Remit grant revoke g-1",
    "cd /tmp && remit verify",
    "true; remit approve a-1",
    'echo "$(remit approve a-1)"',
    "echo y | remit approve a-1",
    "bash -c 'remit approve a-1'",
    "sh -c \"sh -c 'remit approve a-1'\"",
    "env LANG=C remit approve a-1",
    "timeout 5 remit approve a-1",
    "nohup nice -n 5 remit approve a-1",
    "command remit approve a-1",
    "re''mit approve a-1",
    "python -m remit approve a-1",
    "python3.12 -m remit approve a-1",
    "python -Im remit approve a-1",
    "python -mremit approve a-1",
    "python -m remit.cli approve a-1",
    "python -m 're'mit approve a-1",
    "timeout 5 python -m remit approve a-1",
    "python /opt/venv/bin/remit approve a-1",
    "python src/remit/__main__.py approve a-1",
    "python -c 'import remit; remit.open()'",
    "python -c 'from remit.cli import main; main()'",
    "uv run remit approve a-1",
    "uv run python -m remit approve a-1",
    "uvx remit approve a-1",
    "uvx remit@1.0 approve a-1",
    "pipx run remit approve a-1",
    "poetry run remit approve a-1",
]


@pytest.mark.requirement("code:guardrail")
class TestCommandLine:
    """Whoever can run it can approve, revoke and issue."""

    @pytest.mark.parametrize("command", STARTING)
    @pytest.mark.parametrize("tool", ["dev.shell", "any.shell"])
    def test_no_shell_runs_it(self, tool: str, command: str) -> None:
        """However it is spelled: by name, by path, as a module, by a runner, in code."""
        call = view(tool, {"command": command}, catalogue=CATALOGUE)
        assert call.unresolved is None, call.unresolved

        failure = OWN.check(call.accesses)

        assert failure is not None, call.accesses
        assert (failure.code, failure.rule) == ("guardrail", "remit/own-files")
        assert "command line" in failure.reason

    @pytest.mark.parametrize(
        "program", ["remit", "Remit", "/usr/bin/remit", "remit approve a-1", "remit.exe", "python -m remit"]
    )
    def test_no_tool_that_runs_programs_runs_it(self, program: str) -> None:
        """A program as one segment of a URI, whatever is in it."""
        call = view("os.run", {"program": program}, catalogue=CATALOGUE)

        assert call.unresolved or OWN.check(call.accesses) is not None
        assert OWN.check([Access("run", f"program://{quote(program, safe='')}")]) is not None

    def test_a_link_to_it_is_it(self, tmp_path: Path) -> None:
        """A program that is run by its path is followed to where it lies."""
        (tmp_path / "remit").touch()
        (tmp_path / "harmless").symlink_to(tmp_path / "remit")

        assert OWN.check([Access("run", f"file://{tmp_path}/harmless")]) is not None

    @pytest.mark.parametrize(
        "command",
        [
            "git status", "pytest tests/remit", "make remit", "ls remit", "cat /srv/remit/README.md", "mkdir -p remit",
            "uv add remit", "python -m pytest remit", "python remittance.py", "python -m remittance", "echo remit",
            "pytest -c remit.cfg", "pytest src/remit/cli", "python -c 'print(1)'", "grep -r remit src",
        ],
    )  # fmt: skip
    def test_what_only_speaks_of_it_is_none_of_its_business(self, command: str) -> None:
        """A project may well be called like that, and be tested, searched and listed."""
        call = view("dev.shell", {"command": command}, catalogue=CATALOGUE)
        assert call.unresolved is None, call.unresolved

        assert OWN.check(call.accesses) is None, call.accesses


@pytest.mark.requirement("code:guardrail")
class TestDatabase:
    """A database that another one opens is touched like any file."""

    @pytest.mark.parametrize(
        "sql",
        [
            f"ATTACH '{DATABASE}' AS x",
            f"ATTACH DATABASE '{DATABASE}' AS x",
            f"attach '{DATABASE.upper()}' as x",
            f"SELECT readfile('{DATABASE}')",
            f"SELECT writefile('{DATABASE}-wal', 'x')",
            f"VACUUM INTO '{DATABASE}'",
            f"SELECT load_extension('{DATABASE}.remit/log.key')",
        ],
    )
    def test_no_statement_reaches_it(self, sql: str) -> None:
        """Files in SQL are accesses to files."""
        call = view("db.query", {"sql": sql}, catalogue=CATALOGUE)
        assert call.unresolved is None, call.unresolved

        assert OWN.check(call.accesses) is not None, call.accesses

    @pytest.mark.parametrize(
        "sql",
        [f"ATTACH 'file:{DATABASE}?mode=rwc' AS x", "ATTACH '../srv/remit.db' AS x", "ATTACH '/srv/./remit.db' AS x"],
    )
    def test_other_spellings_of_it_are_not_understood(self, sql: str) -> None:
        """What is no canonical path is refused before anybody asks whose file it is."""
        assert view("db.query", {"sql": sql}, catalogue=CATALOGUE).unresolved is not None

    def test_no_tool_that_opens_databases_opens_it(self) -> None:
        """A path in the URI of a database is a path."""
        for path, refused in ((DATABASE, True), ("/SRV/Remit.db", True), ("/srv/other.db", False), ("/srv", False)):
            call = view("db.open", {"path": path}, catalogue=CATALOGUE)
            assert call.accesses
            assert (OWN.check(call.accesses) is not None) is refused, path

    @pytest.mark.parametrize(
        "uri",
        [
            f"sqlite:{DATABASE}", f"sqlite://{DATABASE}", f"sqlite:///{DATABASE}", f"sqlite+pysqlite://{DATABASE}",
            f"sqlite://{DATABASE}/main.record", f"sqlite://localhost{DATABASE}", f"file://localhost{DATABASE}",
            f"file:{DATABASE}", "sqlite:///srv/remit%2Edb", f"sqlite://{DATABASE}?mode=rw", f"duckdb://{DATABASE}",
        ],
    )  # fmt: skip
    def test_a_uri_of_it_is_refused_however_it_is_written(self, uri: str) -> None:
        """With and without an authority, tables below it, a query behind it."""
        for action in ("read", "write", "admin"):
            assert OWN.check([Access(action, uri)]) is not None

    def test_a_relative_one_is_taken_from_where_the_process_runs(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`sqlite:///remit.db` is how libraries write the file beside them."""
        monkeypatch.chdir(tmp_path)
        own = OwnFiles([os.path.join(tmp_path, "remit.db")])  # noqa: PTH118 - as a URL gives it

        assert own.check([Access("read", "sqlite:///remit.db")]) is not None
        assert own.check([Access("read", "sqlite:remit.db")]) is not None
        assert own.check([Access("read", "sqlite:///other.db")]) is None

    @pytest.mark.parametrize(
        "uri", ["https://acme.com/srv/remit.db", "crm://tickets/88", "mailto:bob@acme.com", "s3://bucket/srv/remit.db"]
    )
    def test_elsewhere_the_same_path_is_another_thing(self, uri: str) -> None:
        """A path on another machine is no file of this one."""
        assert OWN.check([Access("read", uri)]) is None
