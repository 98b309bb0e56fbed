"""Errors leave as one sentence with an exit code, from the real process too."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Ran, Run


def process(folder: Path, *arguments: str) -> Ran:
    """Run `python -m remit` as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "remit", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.mark.requirement("P2")
def test_a_wrong_command_is_one_sentence_and_exit_2(run: Run) -> None:
    """The sentence says where help is."""
    done = run("sesion", "list")

    assert done.code == 2
    assert done.err.startswith("remit: No such command 'sesion'")
    assert done.err.count("\n") == 1


def test_a_missing_argument_is_exit_2(run: Run) -> None:
    """Misuse is not a refusal."""
    done = run("session", "show")

    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "remit session show --help" in done.err


def test_no_arguments_show_the_help(run: Run) -> None:
    """The nouns are listed."""
    done = run()

    assert done.code == 2
    assert "review" in done.out + done.err


def test_a_ledger_that_is_not_there_is_a_sentence_with_the_way_out(run: Run) -> None:
    """Reading never makes a ledger."""
    done = run("session", "list")

    assert done.code == 2
    assert "remit init" in done.err


def test_a_url_that_is_no_ledger_is_a_sentence(run: Run) -> None:
    """What was got, what was expected."""
    done = run("verify", "--url", "mysql://somewhere")

    assert done.code == 2
    assert "expected sqlite:///PATH" in done.err


def test_the_real_process_ends_with_the_same_code_and_no_traceback(ledger: Run, folder: Path) -> None:
    """`python -m remit` is what people run."""
    good = process(folder, "verify")
    bad = process(folder, "session", "show", "s-none")

    assert good.code == 0, good.err
    assert (bad.code, bad.out) == (2, "")
    assert bad.err == "remit: no session 's-none' is in this ledger; `remit session list` shows them\n"


@pytest.mark.requirement("R6")
def test_a_tampered_ledger_is_a_sentence_that_says_where_and_exit_1(ledger: Run, session_id: str, folder: Path) -> None:
    """One byte of one record, changed in the file: verify names the place."""
    database = folder / "remit.db"
    with sqlite3.connect(database) as editing:
        [(name,)] = editing.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'record' AND sql LIKE '%UPDATE%'"
        ).fetchall()
        editing.execute(f"DROP TRIGGER {name}")
        editing.execute(
            "UPDATE record SET body = replace(body, 'user:ravi@acme.com', 'user:rava@acme.com') "
            "WHERE type = 'call.intent'"
        )

    done = process(folder, "verify")

    assert done.code == 1
    assert done.err.startswith("remit: NOT verified at record ")
    assert "Traceback" not in done.err
    assert process(folder, "verify", "--json").json["verified"] is False


READS = [
    ("person", "list"),
    ("session", "list"),
    ("approval", "list"),
    ("tool", "list"),
    ("verify",),
    ("doctor",),
]


@pytest.mark.parametrize("command", READS, ids=" ".join)
def test_every_reading_command_speaks_json(ledger: Run, command: tuple[str, ...]) -> None:
    """One JSON document on stdout and nothing else."""
    assert isinstance(ledger(*command, "--json").json, dict)


def test_every_command_says_what_it_does(run: Run) -> None:
    """Help is written for each command and each option."""
    from typer.main import get_command

    from remit.cli import app

    def walk(command: object, path: tuple[str, ...]) -> list[tuple[str, ...]]:
        inner = getattr(command, "commands", {})
        return [path] if not inner else [found for name, one in inner.items() for found in walk(one, (*path, name))]

    for path in walk(get_command(app), ()):
        done = run(*path, "--help")
        assert done.code == 0, path
        assert "Usage: remit" in done.out
