"""`remit export bundle`, `remit verify BUNDLE` and the verifier in one file, as people run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import remit
from remit import remit_verify
from remit.cli import app as command_line
from tests.cli.conftest import *  # noqa: F403 - the same folder, ledger and people
from tests.cli.conftest import Run

assert command_line


@pytest.fixture
def exported(opened: remit.App, session_id: str, ledger: Run, folder: Path) -> tuple[Path, str]:
    """A bundle that carol exported by hand, and the log's key."""
    done = ledger("export", "bundle", session_id, "--out", "evidence", "--json")
    assert done.code == 0, done.err
    assert done.json["path"] == "evidence"
    return folder / "evidence", done.json["key"]


def test_evidence_goes_from_one_command_to_the_other(exported: tuple[Path, str], ledger: Run, session_id: str) -> None:
    """Exported, verified, in words and as JSON."""
    path, key = exported
    done = ledger("verify", str(path), "--key", key)
    assert done.code == 0, done.err
    assert f"Verified: session {session_id}, whole" in done.words
    assert "Exported by user:carol@acme.com" in done.words
    found = ledger("verify", str(path), "--key", key, "--json").json
    assert found["verified"] is True
    assert found["scope"] == {"session": session_id}


def test_a_changed_bundle_is_a_sentence_and_exit_1(exported: tuple[Path, str], ledger: Run) -> None:
    """Never a traceback; the record is named."""
    path, key = exported
    record = sorted((path / "records").iterdir())[0]
    record.write_bytes(record.read_bytes() + b" ")
    done = ledger("verify", str(path), "--key", key)
    assert done.code == 1
    assert "NOT verified" in done.err
    assert f"records/{record.name} is not what the manifest lists" in " ".join(done.err.split())
    done = ledger("verify", str(path), "--key", key, "--json")
    assert (done.code, done.json["verified"]) == (1, False)


def test_what_cannot_be_asked_is_exit_2(exported: tuple[Path, str], ledger: Run, session_id: str) -> None:
    """No key, no such bundle, options without a bundle, nothing to export, or two things."""
    path, key = exported
    for command in (
        ("verify", str(path)),
        ("verify", str(path), "--key", "nonsense+1+2"),
        ("verify", str(path), "--key", "no-such-file"),
        ("verify", "no-such-bundle", "--key", key),
        ("verify", str(path), "--key", key, "--fresh", "24h"),
        ("verify", "--key", key),
        ("verify", "--fresh", "24h"),
        ("export", "bundle"),
        ("export", "bundle", session_id, "--all"),
        ("export", "bundle", session_id, "--from", "3"),
        ("export", "bundle", session_id, "--out", str(path)),
        ("export", "bundle", "s-unknown"),
    ):
        done = ledger(*command)
        assert done.code == 2, (command, done)
        assert done.err.count("\n") == 1


def test_the_ledger_is_verified_as_before(exported: tuple[Path, str], ledger: Run) -> None:
    """Without a bundle."""
    done = ledger("verify", "--json")
    assert (done.code, done.json["verified"]) == (0, True)


def test_ranges_and_the_whole_log_go_into_a_zip_here(
    opened: remit.App, session_id: str, ledger: Run, folder: Path
) -> None:
    """The name says what is in it; `--all` is tlog-tiles."""
    for command, name in (
        (("--from", "2", "--to", "4"), "evidence-2-4.zip"),
        (("--all",), "evidence-all.zip"),
        ((session_id, "--disclose", "arguments", "--for", "Auditors Ltd"), f"evidence-{session_id}.zip"),
    ):
        done = ledger("export", "bundle", *command)
        assert done.code == 0, done.err
        assert name in done.words
        key = done.words.rpartition("--key ")[2]
        assert ledger("verify", name, "--key", key).code == 0
        assert (folder / name).stat().st_mode & 0o077 == 0


def test_an_export_needs_to_know_who_asks(opened: remit.App, session_id: str, run: Run, folder: Path) -> None:
    """Where the deployment is no development: nobody, or a name alone, exports nothing."""
    (folder / "config/remit/login.json").unlink(missing_ok=True)
    for path in (folder / "config/remit").glob("*.json"):
        path.unlink()
    done = run("export", "bundle", session_id)
    assert done.code == 2
    assert "who you are" in done.err
    assert run("export", "bundle", session_id, "--as", "carol@acme.com").code == 2
    assert not list(folder.glob("evidence*"))


def _alone(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The copy in the bundle, in an interpreter that cannot import Remit nor anything else but `cryptography`."""
    program = (
        "import sys, runpy\n"
        "class Only:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        known = {'cryptography', '_cffi_backend', 'cffi'}\n"
        "        if name.partition('.')[0] not in sys.stdlib_module_names | known:\n"
        "            raise ImportError(f'{name} is not here')\n"
        "sys.meta_path.insert(0, Only())\n"
        "sys.argv = ['remit_verify.py', *sys.argv[1:]]\n"
        "runpy.run_path('remit_verify.py', run_name='__main__')\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_copy_in_the_bundle_runs_alone(exported: tuple[Path, str], session_id: str) -> None:
    """With `cryptography` and nothing else; the same words, the same exit codes."""
    path, key = exported
    done = _alone(path, ".", "--key", key)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Verified: session {session_id}" in done.stdout
    done = _alone(path, ".", "--key", key, "--json")
    assert json.loads(done.stdout)["verified"] is True
    assert _alone(path, ".").returncode == 2
    assert _alone(path, "nothing", "--key", key).returncode == 2
    assert _alone(path, ".", "--nonsense").returncode == 2
    (path / "more").write_text("x", encoding="utf-8")
    done = _alone(path, ".", "--key", key)
    assert done.returncode == 1
    assert done.stderr.startswith("NOT verified: 'more' has no place")
    assert "Traceback" not in done.stderr
    done = _alone(path, ".", "--key", key, "--json")
    assert (done.returncode, json.loads(done.stdout)["verified"]) == (1, False)


def test_a_key_can_lie_in_a_file(exported: tuple[Path, str], folder: Path) -> None:
    """One line, comments beside it."""
    path, key = exported
    (folder / "log.vkey").write_text(f"# from the operator's page\n{key}\n", encoding="utf-8")
    assert remit_verify.main([str(path), "--key", str(folder / "log.vkey")]) == 0
