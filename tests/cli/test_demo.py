"""`remit demo` runs as a stranger would run it, and leaves its ledger for them to look at."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Ran, Run

pytest.importorskip("mcp_server_git", reason="the demo's MCP server comes with remit[demo]")


def demo(folder: Path) -> Ran:
    """The demo in a process of its own."""
    command = [sys.executable, "-m", "remit", "demo", "--folder", str(folder)]
    done = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, check=False, env=os.environ)
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.mark.requirement("P1")
def test_the_demo_tells_its_story_and_leaves_the_ledger(run: Run, folder: Path) -> None:
    """Grant, work, sentence, verdict, evidence; then every command that it recommends works on what it left."""
    told = demo(folder / "demo")

    assert told.code == 0, told.err
    assert "Everything that ran was within the authority given; 5 attempts outside it were blocked." in told.words
    for code in ("resource_out_of_scope", "resource_unresolved", "tool_not_granted", "limit_reached"):
        assert code in told.out
    assert "ravi@acme.com tries: user:ravi@acme.com is the principal" in told.words
    assert "was judged attempted (attempt_hostile) by user:carol@acme.com (signed)" in told.words
    assert "the copy does not verify" in told.words

    url = f"sqlite:///{folder / 'demo' / 'remit.db'}"
    [session] = run("session", "list", "--json", "--url", url).json["sessions"]
    shown = run("session", "show", session["id"], "--json", "--url", url).json
    assert [call["state"] for call in shown["calls"]] == ["ok"] * 3 + ["denied"] * 4 + ["ok", "denied"]
    assert {call["tool"] for call in shown["calls"]} >= {"git.git_log", "crm.comment", "shell.run"}
    assert run("verify", "--url", url).code == 0
    replayed = run("policy", "replay", "--json", "--url", url).json
    assert replayed["decisions"] == replayed["reproduced"] + sum(replayed["undecidable"].values())
    assert replayed["decisions"] >= 9
    assert set(replayed["undecidable"]) <= {"beside"}
    assert run("verify", "--url", f"sqlite:///{folder / 'demo' / 'tampered' / 'remit.db'}").code == 1
    with sqlite3.connect(folder / "demo" / "tickets.db") as tickets:
        assert tickets.execute("SELECT count(*) FROM comments").fetchone() == (1,)


def test_the_demo_does_not_touch_a_folder_that_is_not_its_own(folder: Path) -> None:
    """Somebody's files are somebody's files."""
    theirs = folder / "demo"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("years of work", encoding="utf-8")

    told = demo(theirs)

    assert told.code == 2
    assert "holds something else" in told.err
    assert (theirs / "thesis.txt").exists()
