"""The chaos programs, in short: `benchmarks/README.md` says what the long runs came to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _chaos(folder: Path, program: str, *arguments: str) -> str:
    """Run one of them. Its last line says what happened; whatever it found violated comes before."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.chaos.{program}", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    said = f"{done.stdout}{done.stderr}"
    assert done.returncode == 0, said
    assert done.stdout.rstrip().endswith("; 0 violations"), said
    return said


@pytest.mark.sqlite
@pytest.mark.requirement("chaos:kill")
@pytest.mark.requirement("I7")
def test_kill_9_loses_nothing_on_sqlite(tmp_path: Path) -> None:
    """Writers, killed at random moments: whatever was acknowledged is there, whatever dangled is unknown."""
    _chaos(tmp_path, "kill", "--store", "sqlite", "--kills", "15")


@pytest.mark.requirement("chaos:kill")
@pytest.mark.requirement("I7")
def test_kill_9_loses_nothing_on_postgresql(tmp_path: Path) -> None:
    """Writers, sequencers, connections and the server itself: the same."""
    _chaos(tmp_path, "kill", "--store", "postgres", "--kills", "15")


@pytest.mark.requirement("chaos:hosts")
def test_two_hosts_share_one_ledger(tmp_path: Path) -> None:
    """Killed, powered off, cut off: one dense log, no living writer buried, budgets exact."""
    from benchmarks.chaos import lan

    if (reason := lan.why_not()) is not None:
        pytest.skip(f"two hosts cannot be made here: {reason}")
    _chaos(tmp_path, "hosts", "--quick", "--budget", "80", "--kills", "2")
